"""Following, cropping and storing one face, and the `faces` stage."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from test_detectors import draw_face

from stages.faces import main
from vfer.errors import ClipError, DataError, ParamsError
from vfer.faces import clip, crop, table, track, weights
from vfer.faces.params import FacesParams
from vfer.params import load

SIZE = (640, 360)
PARAMS = FacesParams(detector="centerface", det_size=96, score=0.3)


def box(x: float, y: float = 100, side: float = 100, score: float = 0.9) -> list[float]:
    return [x, y, x + side, y + side, score]


def boxes_of(*frames: list[list[float]]) -> list[NDArray[np.float32]]:
    return [np.array(boxes, np.float32).reshape(-1, 5) for boxes in frames]


def follow(frames: list[NDArray[np.float32]], policy: str = "largest", max_gap: float = 0.5) -> track.Path:
    return track.follow(frames, np.arange(len(frames)) / 10, SIZE, policy, max_gap)  # type: ignore[arg-type]


def write_frames(path: Path, pictures: list[NDArray[np.uint8]], framing: str = "scene", fps: float = 10) -> None:
    """A frames table as the `frames` stage writes it."""
    height, width = pictures[0].shape if pictures else (0, 0)
    metadata = {"clip": path.stem, "framing": framing, "width": str(width), "height": str(height)}
    jpegs = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
    columns = [pa.array(range(0, 3 * len(pictures), 3), pa.int32()), pa.array([i / fps for i in range(len(pictures))], pa.float64())]
    schema = pa.schema([("frame", pa.int32()), ("time", pa.float64()), ("jpeg", pa.binary())], metadata=metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_arrays([*columns, pa.array(jpegs, pa.binary())], schema=schema), path, row_group_size=4)


def test_a_gap_is_interpolated_and_a_long_one_is_not() -> None:
    frames = boxes_of([box(0)], [], [], [box(30)], [], [], [], [], [], [], [box(40)])
    path = follow(frames, max_gap=0.3)
    assert path.status == ["detected", "interpolated", "interpolated", "detected", *["none"] * 6, "detected"]
    np.testing.assert_allclose(path.box[:4, 0], [0, 10, 20, 30], atol=1e-4)
    assert np.isnan(path.score[[1, 2, 4]]).all()
    assert path.score[0] == np.float32(0.9)
    assert np.isnan(path.box[4:10]).all()


def test_interpolation_follows_time_and_not_the_count_of_frames() -> None:
    path = track.follow(boxes_of([box(0)], [], [box(40)]), np.array([0, 0.1, 0.4]), SIZE, "largest", 0.5)
    assert path.box[1, 0] == pytest.approx(10)


def test_neighbouring_frames_are_linked_however_slow_the_sampling() -> None:
    frames = boxes_of(*[[box(10 * i), box(400, side=90)] for i in range(5)])
    path = track.follow(frames, np.arange(5) * 2.0, SIZE, "largest", 0.5)
    np.testing.assert_allclose(path.box[:, 0], [0, 10, 20, 30, 40])


@pytest.mark.parametrize(("policy", "left"), [("largest", 0), ("central", 280), ("constant", 500)])
def test_each_policy_takes_its_face(policy: str, left: float) -> None:
    always, central, large = box(500, side=60), box(280, 140, side=80), box(0, side=150)
    frames = boxes_of(*[[always, central, large]] * 6, [always, central], [always])
    assert follow(frames, policy).box[0, 0] == left


def test_the_face_keeps_its_identity_when_another_grows_and_the_order_of_boxes_changes() -> None:
    frames = boxes_of(*[[box(0, side=120), box(300, side=60 + 10 * i)][:: 1 if i % 2 else -1] for i in range(10)])
    assert (follow(frames).box[:, 0] == 0).all()


def test_a_lost_face_is_found_again_after_a_cut_but_never_a_bystander() -> None:
    bystander = box(500, side=40)
    frames = boxes_of(*[[box(0), bystander]] * 4, *[[bystander]] * 8, *[[box(250, side=80), bystander]] * 4)
    path = follow(frames)
    assert path.status == ["detected"] * 4 + ["none"] * 8 + ["detected"] * 4
    assert (path.box[12:, 0] == 250).all()


def test_a_brief_large_false_alarm_does_not_displace_the_face() -> None:
    frames = boxes_of(*[[box(200, side=80)] + ([box(0, 0, 300)] if i == 5 else []) for i in range(12)])
    path = follow(frames)
    assert (path.box[:, 0] == 200).all()


def test_no_boxes_give_no_face() -> None:
    assert follow(boxes_of([], [], [])).status == ["none"] * 3


def test_iou() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(track.iou(boxes[:1], boxes), [[1, 1 / 3, 0]], rtol=1e-6)


def test_the_crop_is_the_square_around_the_box() -> None:
    picture = np.zeros((200, 300), np.uint8)
    picture[52:148, 102:198] = 200
    square = np.array([102, 52, 198, 148], np.float32)
    assert (crop.crop(picture, square, 0.0) == 200).all()
    assert (crop.crop(picture, np.array([126, 52, 174, 148], np.float32), 0.0) == 200).all()
    wide = crop.crop(picture, square, 1.0)
    assert (wide[12:36, 12:36] == 200).all()
    assert wide[:12].max() == wide[36:].max() == wide[:, :12].max() == 0


def test_a_crop_beyond_the_picture_repeats_its_edge() -> None:
    picture = np.tile(np.arange(100, dtype=np.uint8), (60, 1))
    out = crop.crop(picture, np.array([-48, 0, 0, 48], np.float32), 0.0)
    assert out.shape == (48, 48)
    assert (out == 0).all()
    assert (crop.crop(picture, np.array([500, 500, 501, 501], np.float32), 0.0) == 99).all()


def example_faces() -> table.Faces:
    status = ["detected", "tracked", "none"]
    nan = np.nan
    crops = np.random.default_rng(0).integers(0, 255, (3, 48, 48), np.uint8)
    crops[2] = 0
    boxes = np.array([[1, 2, 3, 4], [2, 3, 4, 5], [nan] * 4], np.float32)
    score, frames = np.array([0.75, nan, nan], np.float32), np.array([0, 3, 6], np.int32)
    return table.Faces(frames, np.array([0, 0.1, 0.2]), status, score, boxes, crops, {"clip": "a", "detector": "x"})


def test_the_table_round_trips_and_its_bytes_are_stable(tmp_path: Path) -> None:
    faces = example_faces()
    table.write(tmp_path / "deep" / "a.parquet", faces)
    table.write(tmp_path / "b.parquet", faces)
    assert (tmp_path / "deep" / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    back = table.read(tmp_path / "b.parquet")
    assert (back.status, dict(back.metadata)) == (faces.status, faces.metadata)
    for name in ("frame", "time", "score", "box", "crop"):
        np.testing.assert_array_equal(getattr(back, name), getattr(faces, name))
        assert getattr(back, name).dtype == getattr(faces, name).dtype
    assert back.present.tolist() == [True, True, False]
    rows = pq.read_table(tmp_path / "b.parquet").to_pylist()
    assert rows[2]["crop"] is rows[2]["x0"] is rows[1]["score"] is None
    assert rows[0]["crop"] == faces.crop[0].tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.parquet", "deep"]


def test_parts_make_the_table_that_the_whole_makes(tmp_path: Path) -> None:
    faces = example_faces()
    parts = [
        table.Faces(
            faces.frame[at : at + 2], faces.time[at : at + 2], faces.status[at : at + 2], faces.score[at : at + 2], faces.box[at : at + 2],
            faces.crop[at : at + 2], faces.metadata,
        )
        for at in (0, 2)
    ]  # fmt: skip
    counts = table.write_parts(tmp_path / "parts.parquet", iter(parts))
    assert counts == {"detected": 1, "tracked": 1, "interpolated": 0, "given": 0, "none": 1}
    back = table.read(tmp_path / "parts.parquet")
    whole = table.join(parts)
    for name in ("frame", "time", "score", "box", "crop"):
        np.testing.assert_array_equal(getattr(back, name), getattr(faces, name))
        np.testing.assert_array_equal(getattr(whole, name), getattr(faces, name))
    assert back.status == whole.status == faces.status
    assert dict(back.metadata) == dict(faces.metadata)


def test_a_part_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def parts() -> Iterator[table.Faces]:
        yield example_faces()
        raise ClipError("damaged")

    with pytest.raises(ClipError, match="damaged"):
        table.write_parts(tmp_path / "a.parquet", parts())
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1junk")
    with pytest.raises(DataError, match="is not a readable Parquet file"):
        table.read(tmp_path / "a.parquet")
    pq.write_table(pa.table({"frame": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="lacks the columns"):
        table.read(tmp_path / "a.parquet")


def test_the_table_module_is_light() -> None:
    code = "import sys, vfer.faces.table; print([m for m in ('cv2', 'onnx', 'onnxruntime', 'insightface', 'dvc') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_a_drawn_face_is_followed_across_row_groups_and_cropped(tmp_path: Path) -> None:
    centres = [(110 + 10 * i, 90) for i in range(9)]
    pictures = [draw_face(centre) for centre in centres]
    pictures[4] = np.full_like(pictures[4], 60)
    write_frames(tmp_path / "a.parquet", pictures)
    faces = clip.find_in(tmp_path / "a.parquet", weights.resolve(PARAMS, tmp_path), PARAMS)
    assert faces.status == ["detected", "tracked", "tracked", "detected", "interpolated", "detected", "tracked", "tracked", "detected"]
    assert faces.frame.tolist() == list(range(0, 27, 3))
    np.testing.assert_allclose((faces.box[:, 0] + faces.box[:, 2]) / 2, [x for x, _ in centres], atol=8)
    crops = np.delete(faces.crop, 4, axis=0).astype(float)
    assert np.abs(crops - crops.mean(axis=0)).mean() < 12  # the same face, wherever it stands
    assert crops.std() > 30
    assert faces.metadata["detector"] == "centerface"
    assert (faces.metadata["framing"], faces.metadata["width"]) == ("scene", "320")


def test_given_crops_are_taken_whole_without_detection(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (48, 48), np.uint8)
    write_frames(tmp_path / "a.parquet", [picture] * 3, framing="face")
    faces = clip.find_in(tmp_path / "a.parquet", None, PARAMS)  # type: ignore[arg-type]  # nothing may call it
    assert faces.status == ["given"] * 3
    image = cv2.imdecode(np.frombuffer(pq.read_table(tmp_path / "a.parquet")["jpeg"][0].as_py(), np.uint8), 0)
    assert (faces.crop == image).all()
    assert faces.box.tolist() == [[0, 0, 48, 48]] * 3
    assert np.isnan(faces.score).all()


def test_damaged_frames_set_their_clip_aside(tmp_path: Path) -> None:
    detector, path = weights.resolve(PARAMS, tmp_path), tmp_path / "a.parquet"
    write_frames(path, [])
    with pytest.raises(ClipError, match="holds no frames"):
        clip.find_in(path, detector, PARAMS)
    write_frames(path, [draw_face()] * 9)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ClipError, match="is not a readable Parquet file"):
        clip.find_in(path, detector, PARAMS)
    pq.write_table(pa.table({"frame": [0], "time": [0.0], "jpeg": [b"junk"]}), path)
    with pytest.raises(ClipError, match="frame 0 is not a JPEG"):
        clip.find_in(path, detector, PARAMS)
    pq.write_table(pa.table({"frame": [0]}), path)
    with pytest.raises(ClipError, match="is not a frames table"):
        clip.find_in(path, detector, PARAMS)


def make_project(root: Path, **keys: object) -> list[Path]:
    """Three clips with a face, one without, one given, one damaged; returns the stage's arguments."""
    frames = root / "frames" / "clips"
    for index in range(3):
        write_frames(frames / "a" / f"0{index}.parquet", [draw_face((130 + 20 * index + 4 * i, 90)) for i in range(6)])
    write_frames(frames / "b" / "empty.parquet", [np.full((180, 320), 60, np.uint8)] * 5)
    write_frames(frames / "b" / "given.parquet", [np.full((48, 48), 90, np.uint8)] * 2, framing="face")
    (frames / "b" / "junk.parquet").write_bytes(b"junk")
    section = {"detector": "auto", "det_size": 96, "score": 0.3, "max_faceless": 0.5} | keys
    (root / "params.yaml").write_text(json.dumps({"faces": section, "features": {"source": "cnn"}}))
    return [frames, root / "weights", root / "params.yaml"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_stage_gives_the_same_bytes_with_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = make_project(tmp_path)
    stale = tmp_path / "2" / "clips" / "gone.parquet"
    stale.parent.mkdir(parents=True)
    stale.touch()
    for workers in ("1", "2"):
        monkeypatch.setenv("VFER_WORKERS", workers)
        main(*arguments, tmp_path / workers)
    out = contents(tmp_path / "1")
    assert contents(tmp_path / "2") == out
    assert list(out) == [f"clips/{name}.parquet" for name in ("a/00", "a/01", "a/02", "b/empty", "b/given")] + [
        "metrics.json",
        "refused.csv",
    ]
    refusals = list(csv.reader(out["refused.csv"].decode().splitlines()))
    assert refusals[:2] == [["clip", "reason"], ["b/empty", "no face in any of its 5 frames"]]
    assert refusals[2][0] == "b/junk"
    metrics = json.loads(out["metrics.json"])
    assert (metrics["clips"], metrics["faceless"], metrics["set_aside"], metrics["frames"]) == (6, 1, 1, 25)
    assert (metrics["detected"] + metrics["tracked"], metrics["given"], metrics["none"]) == (18, 2, 5)
    assert metrics["tracked"] == 12
    assert metrics["coverage"] == 0.8
    assert (metrics["detector"], len(metrics["detector_sha256"])) == ("centerface", 64)
    assert set(table.read(tmp_path / "1" / "clips" / "b" / "empty.parquet").status) == {"none"}
    assert f"detector centerface {metrics['detector_sha256'][:12]}, since" in capsys.readouterr().out


def test_too_many_faceless_clips_fail_the_stage_and_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFER_WORKERS", "1")
    arguments = make_project(tmp_path, max_faceless=0.3)
    with pytest.raises(DataError, match=r"2 of 6 clips show no face or cannot be read, more than faces.max_faceless \(0.3\)"):
        main(*arguments, tmp_path / "out")
    assert [row.split(",")[0] for row in (tmp_path / "out" / "refused.csv").read_text().splitlines()] == ["clip", "b/empty", "b/junk"]


def test_no_frames_at_all_fail_the_stage(tmp_path: Path) -> None:
    _, *rest = make_project(tmp_path)
    with pytest.raises(DataError, match="holds no clips' frames"):
        main(tmp_path / "absent", *rest, tmp_path / "out")


@pytest.mark.parametrize(("key", "value"), [("det_size", 300), ("score", 1.5), ("follow", "nearest"), ("max_gap", -1), ("det", 1)])
def test_params_out_of_range_are_refused(tmp_path: Path, key: str, value: object) -> None:
    (tmp_path / "params.yaml").write_text(json.dumps({"faces": {key: value}}))
    with pytest.raises(ParamsError, match=f"params.yaml: faces.{key}: "):
        load(tmp_path / "params.yaml", "faces", FacesParams)


def test_a_face_that_leaves_a_real_video_is_lost(real_data: Path, tmp_path: Path) -> None:
    capture = cv2.VideoCapture(str(real_data / "videos" / "face_noface.mov"))
    pictures = []
    while capture.grab():
        picture = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2GRAY)
        pictures.append(cv2.resize(picture, (320, 180), interpolation=cv2.INTER_AREA))
    capture.release()
    write_frames(tmp_path / "a.parquet", pictures[::9], fps=3)
    params = FacesParams(detector="centerface")
    status = clip.find_in(tmp_path / "a.parquet", weights.resolve(params, tmp_path), params).status
    assert 0.3 < status.count("none") / len(status) < 0.9
    assert status.count("detected") > 3
    assert status.count("tracked") > 3
