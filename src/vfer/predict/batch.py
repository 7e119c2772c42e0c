"""Predict many clips, in this process or in several."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vfer.clips import executor
from vfer.clips.attempt import attempt
from vfer.clips.digests import digest
from vfer.data.catalogue.manifest import Framing
from vfer.errors import ClipError
from vfer.predict import source
from vfer.predict.clip import NoClipError
from vfer.predict.models.model import Model
from vfer.predict.prediction import Prediction
from vfer.predict.recogniser import Recogniser, Recognition
from vfer.predict.source import WHOLE, Span
from vfer.video.container import check_file


@dataclass(frozen=True)
class BatchOptions:
    """How videos are looked at: a part of each, one frame in `every` (None: as in training), detection in one of `detect_every`.

    With `keep`, what was recognised is given with each answer.
    """

    span: Span = WHOLE
    every: int | None = None
    detect_every: int | None = None
    framing: Framing | None = None
    keep: bool = False

    def digest(self, model: Model) -> str:
        """Return the hash of the options and the model: what an answer depends on beside the video."""
        return hashlib.sha256(json.dumps([asdict(self), model.digest], sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ClipJob:
    """One clip to be answered."""

    clip: str
    path: Path
    options: BatchOptions


@dataclass(frozen=True)
class BatchResult:
    """An answer, the hash of the video that it belongs to, empty if the file cannot be used, and what was recognised, where kept."""

    prediction: Prediction
    sha256: str
    recognition: Recognition | None = None


def answers(model: Model, jobs: Sequence[ClipJob], workers: int) -> Iterator[BatchResult]:
    """Yield the answers in the order in which they are ready; a clip that cannot be used has an `error`."""
    results: Iterator[tuple[ClipJob, BatchResult | ClipError]]
    if workers == 1 or len(jobs) == 1:
        _start(model)
        results = ((job, attempt(_answer, job)) for job in jobs)
    else:
        limit = model.settings.frames.timeout
        results = executor.each_clip(_answer, jobs, workers=workers, initializer=_start, initargs=(model,), seconds=limit)
    for job, result in results:
        yield BatchResult(Prediction(job.clip, error=str(result)), "") if isinstance(result, ClipError) else result


_recogniser: Recogniser  # of this process


def _start(model: Model) -> None:
    import cv2

    global _recogniser
    cv2.setNumThreads(1)  # clips run side by side, one thread each
    _recogniser = Recogniser.open(model)


def _answer(job: ClipJob) -> BatchResult:
    check_file(job.path)
    how = job.options
    recogniser = _recogniser.with_rates(fps=source.fps(job.path, how.every), detect_every=how.detect_every)
    if not how.keep:
        return BatchResult(recogniser.predict(job.path, span=how.span, framing=how.framing, name=job.clip), digest(job.path))
    try:
        recognition = recogniser.recognise(job.path, span=how.span, framing=how.framing, only_clip=True)
    except NoClipError as error:
        return BatchResult(Prediction(job.clip, flags=(error.flag,), error=str(error)), digest(job.path))
    return BatchResult(recogniser.answer(job.clip, recognition), digest(job.path), recognition)
