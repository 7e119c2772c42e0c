"""Searching key frames and following faces between them: where the faces are, and what the detector is asked."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import toys
from numpy.typing import NDArray
from test_detectors import draw_face

from benchmarks import profile_faces
from vfer.faces import centerface, clip, likeness, scrfd, table
from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams
from vfer.faces.track import iou
from vfer.video import frames

Grey = NDArray[np.uint8]
PLACES = [(100 + 4 * i, 90) for i in range(21)]


def box(x: float, y: float, tall: float = 90, score: float = 0.9) -> list[float]:
    return [x - 0.37 * tall, y - 0.5 * tall, x + 0.37 * tall, y + 0.5 * tall, score]


def pictures_of(places: Sequence[tuple[float, float]], tall: float = 90) -> list[Grey]:
    """One face in each of its places; a pixel in a corner tells two pictures of one place apart."""
    pictures = [draw_face(place, tall) for place in places]
    for index, picture in enumerate(pictures):
        picture[0, 0] = index
    return pictures


class Oracle:
    """A detector that knows the boxes of each picture, and notes the pictures that it is shown."""

    name, sha256 = "oracle", "0"

    def __init__(self, pictures: Sequence[Grey], boxes: Sequence[Sequence[Sequence[float]]]) -> None:
        self._indices = {picture.tobytes(): index for index, picture in enumerate(pictures)}
        self._boxes = boxes
        self.searches: list[int] = []

    def __call__(self, grey: Grey, score: float | None = None) -> NDArray[np.float32]:
        index = self._indices[grey.tobytes()]
        self.searches.append(index)
        boxes = np.array(self._boxes[index], np.float32).reshape(-1, 5)
        return boxes[boxes[:, 4] >= (score or 0.5)]


def find(pictures: Sequence[Grey], detector: Detector, fps: float = 25, **params: object) -> table.Faces:
    rows = [(index, index / fps, lambda picture=picture: picture.copy()) for index, picture in enumerate(pictures)]
    return clip.find(lambda: iter(rows), {"clip": "a"}, detector, FacesParams(**params))  # type: ignore[arg-type]


def overlaps(result: table.Faces, truth: table.Faces) -> NDArray[np.float32]:
    both = result.present & truth.present
    return np.array([iou(one[None], other[None])[0, 0] for one, other in zip(result.box[both], truth.box[both], strict=True)])


def search(
    pictures: Sequence[Grey], boxes: Sequence[Sequence[Sequence[float]]], **params: object
) -> tuple[table.Faces, table.Faces, list[int]]:
    """Return the faces, those of a search of every frame, and the frames that the detector saw."""
    oracle = Oracle(pictures, boxes)
    faces = find(pictures, oracle, **params)
    searches = sorted(oracle.searches)
    assert len(set(searches)) == len(searches), "no picture is searched twice"
    return faces, find(pictures, Oracle(pictures, boxes), **{**params, "detect_every": 1}), searches


def test_a_face_that_moves_evenly_is_detected_in_key_frames_and_tracked_between() -> None:
    faces, truth, searches = search(pictures_of(PLACES), [[box(*place)] for place in PLACES])
    assert searches == [0, 5, 10, 15, 20]
    assert faces.status == ["detected" if index % 5 == 0 else "tracked" for index in range(21)]
    assert np.isnan(faces.score).tolist() == [status == "tracked" for status in faces.status]
    assert set(truth.status) == {"detected"}
    assert overlaps(faces, truth).min() > 0.95
    assert np.abs(faces.crop.astype(float) - truth.crop).mean() < 3


def test_each_frame_is_searched_at_one() -> None:
    *_, searches = search(pictures_of(PLACES), [[box(*place)] for place in PLACES], detect_every=1)
    assert searches == list(range(21))


@pytest.mark.parametrize("direction", [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_a_face_that_sways_between_key_frames_is_followed_there(direction: tuple[int, int]) -> None:
    sway = [14 * np.sin(np.pi * i / 5) ** 2 for i in range(11)]  # back in place at each key frame
    places = [(160 + direction[0] * far, 90 + direction[1] * far) for far in sway]
    faces, truth, searches = search(pictures_of(places), [[box(*place)] for place in places])
    assert searches == [0, 5, 10]
    straight = iou(np.array([box(160, 90)], np.float32), np.array([box(*places[2])], np.float32))[0, 0]
    assert straight < 0.76
    assert overlaps(faces, truth).min() > 0.93


def test_a_mirrored_clip_has_mirrored_boxes() -> None:
    places = [(130 + 6 * i + 8 * np.sin(i), 90) for i in range(11)]
    faces, *_ = search(pictures_of(places), [[box(*place)] for place in places])
    mirror_images = [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures_of(places)]
    others, *_ = search(mirror_images, [[box(319 - x, y)] for x, y in places])
    np.testing.assert_allclose(319 - others.box[:, [2, 0]], faces.box[:, [0, 2]], atol=1)
    np.testing.assert_allclose(others.box[:, [1, 3]], faces.box[:, [1, 3]], atol=1)


def test_light_that_changes_does_not_matter() -> None:
    pictures = [cv2.convertScaleAbs(picture, alpha=1 - 0.03 * i) for i, picture in enumerate(pictures_of(PLACES))]
    faces, truth, searches = search(pictures, [[box(*place)] for place in PLACES])
    assert searches == [0, 5, 10, 15, 20]
    assert overlaps(faces, truth).min() > 0.95


@pytest.mark.parametrize("last", [5, 6, 8, 9])
def test_a_face_that_leaves_between_key_frames_is_lost_at_its_last_frame(last: int) -> None:
    pictures = [picture if i <= last else np.full_like(picture, 60) - i for i, picture in enumerate(pictures_of(PLACES))]
    faces, truth, searches = search(pictures, [[box(*place)] if i <= last else [] for i, place in enumerate(PLACES)])
    assert faces.present.tolist() == truth.present.tolist() == [i <= last for i in range(21)]
    assert {last, last + 1} <= set(searches)
    assert len(searches) <= 8
    backwards, truth, _ = search(pictures[::-1], [[box(*place)] if i <= last else [] for i, place in enumerate(PLACES)][::-1])
    assert backwards.present.tolist() == truth.present.tolist() == faces.present.tolist()[::-1]


@pytest.mark.parametrize("first", [6, 7, 8, 9])
@pytest.mark.parametrize("aside", [18, 120])
def test_a_cut_between_key_frames_is_found(first: int, aside: int) -> None:
    """The other face stands where it overlaps the first one, or elsewhere; it is turned on its head, so it looks different."""
    places = [(110, 90) if i < first else (110 + aside, 90) for i in range(16)]
    pictures = [picture if i < first else np.ascontiguousarray(255 - picture[::-1]) for i, picture in enumerate(pictures_of(places))]
    pictures = [cv2.add(picture, np.full_like(picture, i)) for i, picture in enumerate(pictures)]
    faces, truth, searches = search(pictures, [[box(*place)] for place in places])
    assert {first - 1, first} <= set(searches)
    assert overlaps(faces, truth).min() > 0.95
    assert faces.status.count("tracked") > 6
    assert (faces.box[first:, 0] - faces.box[0, 0]).min() > aside - 3


def test_two_faces_that_cross_are_told_apart() -> None:
    left, right = [(60 + 10 * i, 75) for i in range(21)], [(260 - 10 * i, 115) for i in range(21)]
    smaller, larger = pictures_of(left, 60), pictures_of(right, 90)
    pictures = [np.where(above > 60, above, below) for above, below in zip(larger, smaller, strict=True)]
    boxes = [[box(*one, tall=60), box(*other)][:: 1 if i % 2 else -1] for i, (one, other) in enumerate(zip(left, right, strict=True))]
    faces, truth, searches = search(pictures, boxes)
    assert len(searches) < 18
    assert overlaps(faces, truth).min() > 0.85
    assert np.diff(faces.box[:, 0]).max() < 0, "the larger one goes left throughout"


def test_a_face_that_is_covered_is_detected_anew() -> None:
    pictures = pictures_of(PLACES)
    for i in (7, 8):
        cv2.rectangle(pictures[i], (PLACES[i][0] - 40, 60), (PLACES[i][0] + 40, 160), 30 + i, -1)
    faces, _, searches = search(pictures, [[] if i in (7, 8) else [box(*place)] for i, place in enumerate(PLACES)])
    assert {7, 8} <= set(searches)
    assert [index for index, status in enumerate(faces.status) if status == "interpolated"] == [7, 8]
    assert faces.status[11] == "tracked"


def test_a_face_that_is_almost_detected_is_searched_in_every_frame() -> None:
    """The detector is sure in two frames only, neither of them a key frame."""
    boxes = [[box(*place, score=0.6 if i in (6, 13) else 0.3)] for i, place in enumerate(PLACES)]
    faces, truth, searches = search(pictures_of(PLACES), boxes)
    assert searches == list(range(21))
    assert faces.status == truth.status
    assert faces.status.count("detected") == 2
    *_, searches = search(pictures_of(PLACES), [[box(*place, score=0.2)] for place in PLACES])
    assert searches == [0, 5, 10, 15, 20]


def test_key_frames_are_a_second_apart_at_most() -> None:
    pictures, boxes = pictures_of(PLACES[:7]), [[box(*place)] for place in PLACES[:7]]
    assert search(pictures, boxes, fps=2)[2] == [0, 2, 4, 6]
    assert search(pictures, boxes, fps=0.5)[2] == list(range(7))


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 12])
def test_a_clip_of_any_length_has_a_box_in_each_frame(count: int) -> None:
    faces, truth, searches = search(pictures_of(PLACES[:count]), [[box(*place)] for place in PLACES[:count]])
    assert faces.present.all()
    assert overlaps(faces, truth).min() > 0.95
    assert {0, count - 1} <= set(searches)


def test_many_faces_are_followed_at_once() -> None:
    spots = [(x, y) for y in (50, 130) for x in (50, 120, 190, 260)]
    pictures, boxes = [], []
    for i in range(11):
        parts = [draw_face((x + 2 * i, y + i), 44 + 2 * n) for n, (x, y) in enumerate(spots)]
        pictures.append(np.max([np.where(part == 60, 0, part) for part in parts], axis=0))
        boxes.append([box(x + 2 * i, y + i, 44 + 2 * n) for n, (x, y) in enumerate(spots)][:: 1 if i % 2 else -1])
    faces, truth, searches = search(pictures, boxes)
    assert searches == [0, 5, 10]
    assert overlaps(faces, truth).min() > 0.9


class CountedPictures:
    """Pictures that count how often each is decoded, and how many are alive at once."""

    def __init__(self, pictures: Sequence[Grey]) -> None:
        self._pictures = pictures
        self._alive: list[weakref.ref[Grey]] = []
        self.decodes = [0] * len(pictures)
        self.most = 0

    def __call__(self) -> Iterator[tuple[int, float, Callable[[], Grey]]]:
        for index in range(len(self._pictures)):
            yield index, index / 25, lambda index=index: self._decode(index)  # type: ignore[misc]

    def _decode(self, index: int) -> Grey:
        self.decodes[index] += 1
        grey = self._pictures[index].copy()
        self._alive = [reference for reference in self._alive if reference() is not None] + [weakref.ref(grey)]
        self.most = max(self.most, len(self._alive))
        return grey


def count_decodes(count: int, **params: object) -> tuple[CountedPictures, table.Faces]:
    places = [(100 + i % 50, 90 + i / 100) for i in range(count)]
    pictures = pictures_of(places)
    pictures[3:5] = [np.full_like(pictures[0], 60 + i) for i in range(2)]
    watch = CountedPictures(pictures)
    oracle = Oracle(pictures, [[] if i in (3, 4) else [box(*place)] for i, place in enumerate(places)])
    return watch, clip.find(watch, {"clip": "a"}, oracle, FacesParams(**params))  # type: ignore[arg-type]


def test_few_pictures_are_held_and_only_those_of_a_gap_are_decoded_twice() -> None:
    for count in (60, 120):
        watch, faces = count_decodes(count)
        assert watch.most <= 5 + 3
        assert [index for index, times in enumerate(watch.decodes) if times != 1] == [3, 4]
        assert [faces.status[index] for index in (3, 4)] == ["interpolated"] * 2


def test_crops_that_are_not_held_come_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    _, faces = count_decodes(60)
    monkeypatch.setattr(clip, "MAX_CROPS", 20)
    again, others = count_decodes(60)
    assert sum(again.decodes) == 60 + 40
    assert again.most <= 5 + 3
    np.testing.assert_array_equal(others.crop, faces.crop)
    np.testing.assert_array_equal(others.box, faces.box)


def test_a_flat_face_is_in_doubt_and_no_error() -> None:
    flat = np.full((48, 64), 80, np.uint8)
    pictures = [flat + np.uint8(i) for i in range(7)]
    faces, *_ = search(pictures, [[box(30, 24, 20)]] * 7)
    assert faces.present.all()
    assert np.isfinite(faces.box).all()


def test_a_rendered_face_is_tracked_as_it_is_detected(tmp_path: Path) -> None:
    pictures = [frame.grey for frame in frames.sample(toys.render(tmp_path / "a.mp4", seconds=2), 15, 640)]
    detector = centerface.CenterFace(centerface.path().read_bytes(), "", det_size=320, score=0.5)
    faces, truth = (find(pictures, detector, 15, detect_every=every) for every in (5, 1))
    assert faces.present.all()
    assert truth.present.all()
    assert faces.status.count("tracked") >= 16
    assert np.median(overlaps(faces, truth)) > 0.9


def test_real_faces_are_tracked_as_they_are_detected(real_data: Path) -> None:
    model = (real_data / "weights" / "scrfd_500m_bnkps.onnx").read_bytes()
    detectors = [
        scrfd.Scrfd(model, "", det_size=320, score=0.5),
        centerface.CenterFace(centerface.path().read_bytes(), "", det_size=320, score=0.5),
    ]
    clips = ["ravdess/Actor_01/02-01-08-01-02-02-01.mp4", "videos/single_face.mp4", "videos/face_noface.mov"]
    for name in clips:
        for fps, part in ((1000, slice(40, 100)), (10, slice(None))):
            part_frames = list(frames.sample(real_data / name, fps, 640))[part]
            rows = [(frame.index, frame.time, lambda frame=frame: frame.grey) for frame in part_frames]
            for detector in detectors:
                faces, truth = (
                    clip.find(lambda rows=rows: iter(rows), {}, detector, FacesParams(detect_every=every))  # type: ignore[misc]
                    for every in (5, 1)
                )
                case = f"{name} at {fps} with {detector.name}"
                assert np.median(overlaps(faces, truth)) > 0.95, case
                assert overlaps(faces, truth).min() > 0.8, case
                assert abs(faces.present.mean() - truth.present.mean()) <= 0.01, case
                assert faces.status.count("detected") < 0.35 * len(rows), case


def variants(pictures: Sequence[Grey]) -> dict[str, list[Grey]]:
    """Real pictures that are shaken, covered by a passing bar, darkened to the edge of being seen, and cut."""
    height, width = pictures[0].shape
    noise = np.random.default_rng(0).normal(0, 9, (len(pictures), height, width))
    moves = [np.array([[1, 0, 60 * np.sin(i / 3)], [0, 1, 30 * np.sin(i / 2)]]) for i in range(len(pictures))]
    with_bar = [picture.copy() for picture in pictures]
    for i, picture in enumerate(with_bar):
        picture[:, max(0, 9 * i - 200) : 9 * i] = 90
    return {
        "shaken": [
            cv2.warpAffine(one, move, (width, height), borderMode=cv2.BORDER_REFLECT) for one, move in zip(pictures, moves, strict=True)
        ],
        "covered": with_bar,
        "dark": [np.clip(picture * 0.12 + grain, 0, 255).astype(np.uint8) for picture, grain in zip(pictures, noise, strict=True)],
        "cut": [np.roll(picture[:, ::-1], 60, axis=1) if i // 7 % 2 else picture for i, picture in enumerate(pictures)],
    }


def test_real_faces_that_are_hard_to_follow_are_detected_instead(real_data: Path) -> None:
    model = (real_data / "weights" / "scrfd_500m_bnkps.onnx").read_bytes()
    detector = scrfd.Scrfd(model, "", det_size=320, score=0.5)
    for name, start in (("ravdess/Actor_01/02-01-08-02-01-01-01.mp4", 0), ("videos/WolfgangLanger_Pexels.mp4", 50)):
        originals = [frame.grey for frame in islice(frames.sample(real_data / name, 1000, 640), start, start + 50)]
        for change, pictures in variants(originals).items():
            faces, truth = (find(pictures, detector, detect_every=every) for every in (5, 1))
            case = f"{name}, {change}"
            assert overlaps(faces, truth).min() > 0.8, case
            assert abs(faces.present.mean() - truth.present.mean()) <= 0.01, case


def test_the_profile_tells_time_and_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile_faces.main([toys.render(tmp_path / "a.mp4")], detector="centerface", folder=tmp_path, every="5")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 clips, 15 frames, centerface; milliseconds a frame"
    assert [lines[n].split(":")[0] for n in (1, 2, 4)] == ["frames", "faces, detect_every 1", "faces, detect_every 5"]
    assert lines[3] == "    100% of the frames detected, none tracked; coverage 100.00%"
    assert "; tracked boxes overlap by 0.9" in lines[5]


def test_the_look_is_found_where_it_is() -> None:
    picture = draw_face((160, 90), 110)
    here = np.array(box(160, 90, 110), np.float32)
    aside = here + np.array([9, -6, 9, -6, 0], np.float32)
    result = likeness._match(likeness._window(picture, aside), likeness._look(picture, here))
    assert result is not None
    assert result.likeness > 0.95
    assert (result.x * (here[2] - here[0]) / likeness.SIDE, result.y * (here[3] - here[1]) / likeness.SIDE) == pytest.approx(
        (-9, 6), abs=0.7
    )
    assert likeness._match(likeness._window(picture, here + 60), likeness._look(picture, here)) is None
