"""Watch a video once and yield every face of every sampled frame: its place, its track, and the CNN's output."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vfer.data.catalogue.manifest import Framing
from vfer.faces import crop
from vfer.faces.detector import Detector
from vfer.faces.likeness import SearchedFrame
from vfer.faces.params import FacesParams
from vfer.faces.search import search
from vfer.nets.session import Session
from vfer.predict import quality, source
from vfer.predict.ahead import ahead
from vfer.predict.render.pictures import thumbnail
from vfer.predict.source import WHOLE, Span
from vfer.predict.timeline import looks
from vfer.predict.timeline.shots import shots
from vfer.predict.timeline.tracking import Linker, Place, TrackedFrame, follow
from vfer.video import jpeg
from vfer.video.decode import Frame, Video
from vfer.video.frames import FramesParams
from vfer.video.timing import Ticks

BATCH = 64  # crops a call of the CNN
AHEAD = 16  # frames decoded before they are looked at
NOBODY = -1
PICTURES = 0.5  # seconds between two pictures of a face
SLACK = 1e-6  # seconds; times are rounded
LOOKS = 8  # descriptions kept of a track


@dataclass(frozen=True, slots=True)
class Observation:
    """One face in one sampled frame, or, with the track `NOBODY`, a frame that shows none.

    `frame` counts all frames of the video, and `time` is in seconds since its first. `box` is float32 (4,) in pixels of the upright
    source, `size` its shorter side; `sharp` and `yaw` are those of `quality`. `probabilities` and `embedding` are the CNN's.
    """

    frame: int
    time: float
    shot: int
    track: int = NOBODY
    status: str = "none"
    score: float = np.nan
    box: NDArray[np.float32] = field(default_factory=lambda: np.full(4, np.nan, np.float32))
    sharp: float = np.nan
    yaw: float = np.nan
    probabilities: NDArray[np.float32] | None = None
    embedding: NDArray[np.float32] | None = None
    picture: bytes | None = None

    @property
    def size(self) -> float:
        """The shorter side of the box in source pixels."""
        return float(min(self.box[2] - self.box[0], self.box[3] - self.box[1]))


@dataclass
class Tracklet:
    """A track once it has ended: its shot, when and where it began and ended, and how it looks in some of its frames."""

    number: int
    shot: int
    start: float
    first: NDArray[np.float32]
    end: float
    last: NDArray[np.float32]
    count: int = 0
    described: looks.Sample[NDArray[np.uint8]] = field(default_factory=lambda: looks.Sample(LOOKS))


class _Waiting(NamedTuple):
    observation: Observation
    crop: NDArray[np.uint8] | None


class Observer:
    """The eyes of a model: samples frames, finds and follows the faces, and runs the CNN over them.

    After `observations` has ended, `tracklets` holds the tracks by number, `starts` when each shot begins, `decoded` counts
    the frames, and `seconds` is the time of the last.
    """

    def __init__(
        self,
        cnn: Session,
        detector: Detector,
        frames_params: FramesParams,
        faces_params: FacesParams,
        framing: Framing,
        *,
        pictures: bool = False,
    ) -> None:
        self._cnn, self._detector, self._frames, self._faces, self._framing = cnn, detector, frames_params, faces_params, framing
        self._pictures = pictures
        self._pictured: dict[int, float] = {}
        self.tracklets: dict[int, Tracklet] = {}
        self.starts: list[float] = []
        self.decoded = 0
        self.seconds = 0.0

    def observations(self, video: Path, about: Video, span: Span = WHOLE) -> Iterator[Observation]:
        """Yield what a part of a video shows, in the order of time.

        Raises:
            ClipError: If it cannot be decoded.
        """
        rate = min(about.rate, source.EVERY_FRAME)
        waiting: list[_Waiting] = []
        pictures = ahead(source.frames(video, span, self._frames.max_side), AHEAD)
        first, ticks = 0, Ticks(self._frames.fps)
        for shot, group in groupby(shots(pictures, rate), key=itemgetter(0)):
            linker = Linker(first, self._faces.max_gap)
            searched = self._searched(self._noted(frame for _, frame in group), ticks, rate)
            for faces in follow(searched, linker, self._faces.max_gap):
                waiting += self._sights(faces, shot, about)
                if sum(one.crop is not None for one in waiting) >= BATCH:
                    yield from self._answered(waiting)
                    waiting = []
            first = linker.next
        yield from self._answered(waiting)

    def _noted(self, pictures: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames of a shot, and note when it begins."""
        for number, frame in enumerate(pictures):
            if not number:
                self.starts.append(frame.time)
            yield frame

    def _searched(self, decoded_frames: Iterator[Frame], ticks: Ticks, rate: float) -> Iterator[tuple[SearchedFrame, bool]]:
        """Yield the frames of a shot with their faces, and whether they are sampled."""
        sampled: set[int] = set()

        def pictures() -> Iterator[tuple[int, float, NDArray[np.uint8]]]:
            for frame in decoded_frames:
                self.decoded, self.seconds = self.decoded + 1, frame.time
                if ticks.take(frame.time):
                    sampled.add(frame.index)
                yield frame.index, frame.time, frame.grey

        # As many seconds between two key frames as in training, though every frame of the video is looked at.
        step = max(1, round(self._faces.detect_every * rate / min(rate, self._frames.fps)))
        params = self._faces.model_copy(update={"detect_every": step})
        searched = map(_whole, pictures()) if self._framing == "face" else search(pictures(), self._detector, params)
        for item in searched:
            yield item, item.frame in sampled
            sampled.discard(item.frame)

    def _sights(self, faces: TrackedFrame, shot: int, about: Video) -> Iterator[_Waiting]:
        frame = faces.frame
        if not faces.places:
            yield _Waiting(Observation(frame.frame, frame.time, shot), None)
            return
        # Crops are cut from the frame as the stages store it, through JPEG, for the network was trained on those.
        grey = jpeg.decode(jpeg.encode(frame.grey, self._frames.jpeg_quality))
        for number, place in faces.places:
            cropped = self._framing == "face"
            face = crop.resize(grey) if cropped else crop.crop(grey, place.box, self._faces.margin)
            self._note(number, shot, place, face)
            box = np.asarray(place.box * (about.width / grey.shape[1]), np.float32)
            status = "given" if cropped else place.status
            sharp, picture = quality.sharpness(face), self._picture(number, frame, place)
            yield _Waiting(Observation(frame.frame, frame.time, shot, number, status, place.score, box, sharp, picture=picture), face)

    def _picture(self, number: int, frame: SearchedFrame, place: Place) -> bytes | None:
        """Return a small JPEG of a face, every now and then."""
        if not self._pictures or frame.time - self._pictured.get(number, -np.inf) < PICTURES - SLACK:
            return None
        self._pictured[number] = frame.time
        return thumbnail(frame.grey, place.box)

    def _note(self, number: int, shot: int, place: Place, face: NDArray[np.uint8]) -> None:
        one = self.tracklets.setdefault(number, Tracklet(number, shot, place.time, place.box, place.time, place.box))
        one.end, one.last, one.count = place.time, place.box, one.count + 1
        one.described.add(lambda: looks.describe(face))

    def _answered(self, waiting: list[_Waiting]) -> Iterator[Observation]:
        crops = [one.crop for one in waiting if one.crop is not None]
        if not crops:
            yield from (one.observation for one in waiting)
            return
        outputs = self._cnn(np.stack(crops)[..., np.newaxis])
        rows = iter(zip(outputs["probabilities"], outputs["embedding"], strict=True))
        for one in waiting:
            if one.crop is None:
                yield one.observation
            else:
                probabilities, embedding = next(rows)
                yield replace(one.observation, probabilities=probabilities, embedding=embedding)


def _whole(picture: tuple[int, float, NDArray[np.uint8]]) -> SearchedFrame:
    """Return a picture that is a face as a whole."""
    frame, time, grey = picture
    return SearchedFrame(frame, time, grey, np.array([[0, 0, *grey.shape[::-1], 1]], np.float32), tracked=False)
