"""The trained pipeline end to end: a video in, its expression out, computed as the stages compute it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer import features
from vfer.errors import ClipError
from vfer.faces.clip import Picture, find
from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams
from vfer.lstm.sequences import predict
from vfer.nets.session import Session
from vfer.video import frames
from vfer.video.frames import FramesParams


@dataclass(frozen=True)
class Recognition:
    """What a video shows.

    `probabilities` holds one a class, float32 (classes,), NaN where no frame shows a face; `sequence` holds the frames with
    their times, statuses and the CNN's own probabilities.
    """

    probabilities: NDArray[np.float32]
    sequence: features.Sequence


class Recogniser:
    """The CNN, the sequence model and the detector, with the params that the stages ran with."""

    def __init__(
        self, cnn: Session, lstm: Session, detector: Detector, frames_params: FramesParams, faces_params: FacesParams, max_frames: int
    ) -> None:
        self._cnn, self._lstm, self._detector = cnn, lstm, detector
        self._frames, self._faces, self._max_frames = frames_params, faces_params, max_frames
        self.classes = lstm.classes
        self.frame_classes = cnn.classes

    def recognise(self, video: Path) -> Recognition:
        """Recognises the expression of the followed face; raises `ClipError` where the video cannot be used."""
        stored = [
            (frame.index, frame.time, frames.encode(frame.grey, self._frames.jpeg_quality))
            for frame in frames.sample(video, self._frames.fps, self._frames.max_side)
        ]
        if len(stored) < self._frames.min_frames:
            raise ClipError(f"{video}: gives {len(stored)} frame, fewer than frames.min_frames ({self._frames.min_frames})")

        def pictures() -> Iterator[Picture]:
            for index, time, jpeg in stored:  # through JPEG, as the stages store them, for the same answer to the last bit
                yield index, time, partial(frames.decode, jpeg)

        height, width = frames.decode(stored[0][2]).shape
        metadata = {"clip": str(video), "framing": "scene", "width": str(width), "height": str(height)}
        sequence = features.embed(self._cnn, str(video), find(pictures, metadata, self._detector, self._faces), batch_size=256)
        return Recognition(predict(self._lstm, [sequence.faces], self._max_frames)[0], sequence)
