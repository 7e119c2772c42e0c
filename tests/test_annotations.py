"""The way back: answers that people corrected in ELAN or Label Studio become training clips of the right person, time and label."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from pympi import Elan
from typer.testing import CliRunner

import vfer
from benchmarks import films
from benchmarks.films import Act, Film, Role
from vfer.cli.app import app
from vfer.data.catalogue import manifest
from vfer.data.catalogue.manifest import Clip
from vfer.predict import formats

SIZE, FPS = (320, 240), 12


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of two people, and what `vfer timeline` writes of it."""
    rng = np.random.default_rng(0)
    roles = [
        Role(actor, films.walk(rng, 36, FPS, SIZE, 30, home, 0.3), 30, [Act(0.5, 2, act)])
        for actor, home, act in ((1, 0.27, "happy"), (2, 0.73, "surprise"))
    ]
    folder = tmp_path_factory.mktemp("written")
    Film(SIZE, FPS, [roles], 4).render(folder / "film.mp4")
    timeline = vfer.load("shipped").timeline(folder / "film.mp4")
    for kind in formats.FORMATS.values():
        kind.write(folder / f"film{kind.ending}", timeline)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(original, tmp_path / "film")
    return tmp_path / "film"


def add(*paths: Path) -> tuple[list[Clip], Any]:
    outcome = CliRunner().invoke(app, ["data", "add", "annotations", *map(str, paths), "--no-dvc"])
    clips = manifest.read(Path("data/clips.csv")) if Path("data/clips.csv").exists() else []
    return clips, outcome


def correct(path: Path, change: Callable[[Any], None]) -> None:
    eaf = Elan.Eaf(str(path))
    change(eaf)
    path.unlink()
    eaf.to_file(str(path))


def relabel(eaf: Any) -> None:
    """Give the second person other segments than the model did."""
    eaf.remove_all_annotations_from_tier("P2")
    eaf.add_annotation("P2", 400, 1400, "fear")
    eaf.add_annotation("P2", 1400, 2600, "Surprised")


def test_only_what_people_have_changed_becomes_clips(folder: Path) -> None:
    correct(folder / "film.eaf", relabel)
    clips, outcome = add(folder / "film.eaf")
    assert outcome.exit_code == 0, outcome.output
    assert [(clip.clip, clip.expression, clip.subject, clip.framing) for clip in clips] == [
        ("annotations/film/P2-00000400", "fear", "annotations/film-P2", "scene"),
        ("annotations/film/P2-00001400", "surprise", "annotations/film-P2", "scene"),
    ]
    assert len({clip.recording for clip in clips}) == 1
    assert "unchanged answers of the model" in outcome.output
    again, _ = add(folder / "film.eaf")
    assert again == clips


def test_a_tier_that_somebody_vouches_for_counts_whole(folder: Path) -> None:
    def vouch(eaf: Any) -> None:
        eaf.tiers["P1"][2]["ANNOTATOR"] = "Ada"

    correct(folder / "film.eaf", vouch)
    clips, outcome = add(folder)
    labels = [one[2] for one in Elan.Eaf(str(folder / "film.eaf")).get_annotation_data_for_tier("P1")]
    assert outcome.exit_code == 0, outcome.output
    assert [clip.expression for clip in clips] == labels
    assert {clip.subject for clip in clips} == {"annotations/film-P1"}


def test_a_clip_shows_the_right_person_at_the_right_time(folder: Path) -> None:
    correct(folder / "film.eaf", relabel)
    clips, _ = add(folder / "film.eaf")
    with av.open(str(folder / "film.mp4")) as container:
        whole = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    for clip, start, end in zip(clips, (0.4, 1.4), (1.4, 2.6), strict=True):
        with av.open(str(Path("data") / clip.path)) as container:
            pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        assert len(pictures) == pytest.approx((end - start) * FPS, abs=1)
        assert pictures[0].shape[1] < SIZE[0] * 0.6
        right_half = whole[int(np.ceil(start * FPS))][:, SIZE[0] // 3 :].astype(float)
        best = min(
            np.abs(right_half[y : y + pictures[0].shape[0], x : x + pictures[0].shape[1]] - pictures[0]).mean()
            for y in range(right_half.shape[0] - pictures[0].shape[0] + 1)
            for x in range(right_half.shape[1] - pictures[0].shape[1] + 1)
        )
        assert best < 12, "it is cut from the second person's side of the first frame of that time"
        answer = vfer.load("shipped").predict(Path("data") / clip.path)
        assert answer.coverage is not None
        assert answer.coverage > 0.8
        assert "several faces" not in answer.flags


def submit(tasks: Any) -> None:
    """Do what Label Studio does when someone submits the first prediction with another label."""
    [task] = tasks
    result = json.loads(json.dumps(task["predictions"][0]["result"][0]))
    result["value"]["labels"] = ["sad"]
    result["meta"]["text"] = ["Zoë"]
    task["annotations"] = [{"result": [result], "was_cancelled": False}, {"result": [result], "was_cancelled": True}]
    task["data"]["video"] = "/data/upload/1/0a1b2c3d-film.mp4"


def test_what_is_submitted_in_label_studio_becomes_clips(folder: Path) -> None:
    path = folder / "film.labelstudio.json"
    tasks = json.loads(path.read_text())
    first = tasks[0]["predictions"][0]["result"][0]["value"]["sequence"]
    submit(tasks)
    path.write_text(json.dumps(tasks))
    clips, outcome = add(path)
    assert outcome.exit_code == 0, outcome.output
    assert [(clip.expression, clip.subject) for clip in clips] == [("sad", "annotations/Zoë")]
    with av.open(str(Path("data") / clips[0].path)) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        assert stream.width < SIZE[0] * 0.6
    assert frames == pytest.approx((first[-1]["time"] - first[0]["time"]) * FPS, abs=1)


def test_predictions_that_nobody_submitted_are_no_labels(folder: Path) -> None:
    clips, outcome = add(folder / "film.labelstudio.json")
    assert (clips, outcome.exit_code) == ([], 1)
    assert "nobody has submitted" in str(outcome.exception)


def other_video(folder: Path) -> None:
    Film((64, 48), 10, [[Role(1, np.full((5, 2), 30.0), 15, [])]], 0).render(folder / "film.mp4")


def no_boxes(folder: Path) -> None:
    for path in folder.glob("film.frames.*"):
        path.unlink()


def no_video(folder: Path) -> None:
    (folder / "film.mp4").unlink()
    correct(folder / "film.eaf", lambda eaf: eaf.media_descriptors[0].update(MEDIA_URL="file:///nowhere/film.mp4"))


def damage(folder: Path) -> None:
    (folder / "film.eaf").write_text((folder / "film.eaf").read_text()[:900])


def no_tier(folder: Path) -> None:
    correct(folder / "film.eaf", lambda eaf: [eaf.remove_tier(name) for name in list(eaf.get_tier_names())])


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (other_video, "differs from the one that was analysed"),
        (no_boxes, "says nothing of where P1 is"),
        (no_video, "is not where it says"),
        (damage, "is not a readable ELAN file"),
        (no_tier, "has no tier"),
    ],
)
def test_what_cannot_be_cut_is_refused_and_nothing_changes(spoil: Callable[[Path], None], part: str, folder: Path) -> None:
    correct(folder / "film.eaf", relabel)
    spoil(folder)
    clips, outcome = add(folder / "film.eaf")
    assert (clips, outcome.exit_code) == ([], 1)
    assert part in str(outcome.exception)


def test_a_video_that_lies_elsewhere_can_be_given(folder: Path, tmp_path: Path) -> None:
    correct(folder / "film.eaf", relabel)
    (tmp_path / "videos").mkdir()
    (folder / "film.mp4").rename(tmp_path / "videos" / "film.mp4")
    clips, outcome = add(folder / "film.eaf", tmp_path / "videos")
    assert (len(clips), outcome.exit_code) == (2, 0), outcome.output
