"""Answers many clips, in this process or in several."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vfer.clips import executor
from vfer.clips.attempt import attempt
from vfer.clips.digests import digest
from vfer.data.manifest import Framing
from vfer.errors import ClipError
from vfer.predict import source
from vfer.predict.model import Model
from vfer.predict.prediction import Prediction
from vfer.predict.recogniser import Recogniser
from vfer.predict.source import WHOLE, Span
from vfer.video.container import check_file


@dataclass(frozen=True)
class Options:
    """How videos are looked at: a part of each, one frame in `every` (None: as in training), detection in one of `detect_every`."""

    span: Span = WHOLE
    every: int | None = None
    detect_every: int | None = None
    framing: Framing | None = None

    def digest(self, model: Model) -> str:
        """Returns the hash of the options and the model: what an answer depends on beside the video."""
        return hashlib.sha256(json.dumps([asdict(self), model.digest], sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ClipJob:
    """One clip to be answered."""

    clip: str
    path: Path
    options: Options


@dataclass(frozen=True)
class Answered:
    """An answer, and the hash of the video that it belongs to; empty where the file cannot be read."""

    prediction: Prediction
    sha256: str


def answers(model: Model, jobs: Sequence[ClipJob], workers: int) -> Iterator[Answered]:
    """Yields the answers in the order in which they are ready; a clip that cannot be used has an `error`."""
    results: Iterator[tuple[ClipJob, Answered | ClipError]]
    if workers == 1 or len(jobs) == 1:
        _start(model)
        results = ((job, attempt(_answer, job)) for job in jobs)
    else:
        results = executor.each_clip(_answer, jobs, workers=workers, initializer=_start, initargs=(model,))
    for job, result in results:
        yield Answered(Prediction(job.clip, error=str(result)), "") if isinstance(result, ClipError) else result


_recogniser: Recogniser  # of this process


def _start(model: Model) -> None:
    import cv2

    global _recogniser
    cv2.setNumThreads(1)  # clips run side by side, one thread each
    _recogniser = Recogniser.open(model)


def _answer(job: ClipJob) -> Answered:
    check_file(job.path)
    options = job.options
    recogniser = _recogniser.with_rates(fps=source.fps(job.path, options.every), detect_every=options.detect_every)
    return Answered(recogniser.predict(job.path, span=options.span, framing=options.framing, name=job.clip), digest(job.path))
