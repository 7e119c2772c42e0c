"""The network that comes with vfer on real, labelled clips, without further training, beside the package `fer`.

Clips go through `frames` and `faces`, ten frames a second; a clip's answer is the mean over its frames. `fer` sees the same frames in
colour, with its own detector. Of CK+'s 48x48 set each sequence is three crops as they are, and contempt, which the network does not
answer, is left out. RAVDESS's calm counts as neutral. Intervals are over subjects.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import peer
from benchmarks.rows import Goal, Row, missing
from vfer.data.readers import READERS, expression, scan
from vfer.data.readers.items import FoundClip
from vfer.errors import VferError
from vfer.evaluate.intervals import FEW, intervals
from vfer.nets.session import Session
from vfer.predict.models import model as models
from vfer.predict.recogniser import Recogniser

CLASSES = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
FOLDERS = {"MEAD": ("mead", "folder"), "RAVDESS": ("ravdess", "ravdess")}
CKPLUS = "ckplus48.zip"
GOALS = {"MEAD": Goal(least=0.67), "CK+": Goal(least=0.84)}
MARGINS = (0.1, 0.0, -0.1, -0.2, -0.3)


@dataclass(frozen=True)
class LabelledClip:
    """A clip whose expression is known: a video file, or crops of a face, uint8 (n, 48, 48)."""

    name: str
    expression: str
    subject: str
    recording: str
    path: Path | None = None
    crops: NDArray[np.uint8] | None = None


def run(scratch: Path, real_data: Path | None) -> list[Row]:
    """Score the shipped network, then `fer` with both of its detectors, on every source that is there."""
    sources = {name: clips for name, clips in labelled_clips(real_data).items() if clips} if real_data else {}
    if not sources:
        return [missing("accuracy on real clips", "no labelled clips in the folder of real data")]
    rows = []
    for name, clips in sources.items():
        rows += scores(f"{name}, vfer", clips, ours(clips), GOALS.get(name))
    for margin in MARGINS:
        videos = [clip for clips in sources.values() for clip in clips if clip.path]
        rows += scores(f"videos, vfer, faces.margin {margin:g}", videos, ours(videos, margin))[:1]
    try:
        python = peer.install(scratch / "cache")
        for detector in ("mtcnn", "haar"):
            for name, clips in sources.items():
                rows += scores(f"{name}, fer with {detector}", clips, theirs(python, detector, clips, scratch / "run"))
    except VferError as error:
        rows.append(missing("fer", str(error)))
    return rows


def labelled_clips(real_data: Path) -> dict[str, list[LabelledClip]]:
    """Return the labelled clips of each source, of the expressions that the network knows."""
    sources = {
        name: list(videos(real_data / folder, reader)) for name, (folder, reader) in FOLDERS.items() if (real_data / folder).is_dir()
    }
    if (real_data / CKPLUS).is_file():
        sources["CK+"] = list(ckplus(real_data / CKPLUS))
    return {name: [clip for clip in clips if clip.expression in CLASSES] for name, clips in sources.items()}


def videos(folder: Path, reader: str) -> Iterator[LabelledClip]:
    """Yield the videos that a reader finds in a folder."""
    for clip in READERS[reader].read(scan([folder])[0]):
        if isinstance(clip, FoundClip):
            word = "neutral" if clip.expression == "calm" else expression(clip.expression)
            yield LabelledClip(clip.name, word, clip.subject, clip.recording or clip.name, path=Path(clip.origin))


def ckplus(archive: Path) -> Iterator[LabelledClip]:
    """Yield the sequences of CK+'s 48x48 set."""
    sequences: dict[tuple[str, str], list[NDArray[np.uint8]]] = {}
    with zipfile.ZipFile(archive) as zip_file:
        for name in sorted(zip_file.namelist()):
            if name.endswith(".png"):
                word, file = name.split("/")[-2:]
                crop = cv2.imdecode(np.frombuffer(zip_file.read(name), np.uint8), cv2.IMREAD_GRAYSCALE)
                sequences.setdefault((word, file.rpartition("_")[0]), []).append(np.asarray(crop, np.uint8))
    for (word, sequence), crops in sequences.items():
        yield LabelledClip(sequence, expression(word), sequence.partition("_")[0], sequence, crops=np.stack(crops))


def ours(clips: Sequence[LabelledClip], margin: float | None = None) -> list[str | None]:
    """Return the shipped network's answers, at its own margin or another; None if no frame shows a face."""
    model = models.shipped(Path().resolve())
    if margin is not None:
        faces = model.settings.faces.model_copy(update={"margin": margin})
        model = replace(model, settings=model.settings.model_copy(update={"faces": faces}))
    recogniser, session = Recogniser.open(model), Session(model.cnn)

    def answer(clip: LabelledClip) -> str | None:
        if clip.path:
            return recogniser.predict(clip.path).expression
        assert clip.crops is not None
        return session.classes[int(session(clip.crops[..., np.newaxis])["probabilities"].mean(axis=0).argmax())]

    return [answer(clip) for clip in clips]


def theirs(python: Path, detector: str, clips: Sequence[LabelledClip], scratch: Path) -> list[str | None]:
    """Return the answers of `fer`."""
    scratch.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, clip in enumerate(clips):
        path = clip.path or scratch / f"{number}.npy"
        if clip.crops is not None:
            np.save(path, clip.crops)
        paths.append(str(path))
    (scratch / "clips.json").write_text(json.dumps(paths))
    return peer.answers(python, detector, scratch / "clips.json")


def scores(what: str, clips: Sequence[LabelledClip], answers: Sequence[str | None], goal: Goal | None = None) -> list[Row]:
    """Return the rows of accuracy and UAR; a clip without an answer counts as wrong."""
    truth = np.array([CLASSES.index(clip.expression) for clip in clips])
    predictions = np.array([CLASSES.index(answer) if answer in CLASSES else -1 for answer in answers])
    subjects, recordings = [clip.subject for clip in clips], [clip.recording for clip in clips]
    by_name = intervals(truth, predictions, subjects, recordings, len(CLASSES), 0.95)
    count = f"{len(clips)} clips, {len(set(subjects))} subjects"
    rows = []
    for name in ("accuracy", "uar"):
        one, bound = by_name[name], goal if name == "accuracy" else None
        interval = FEW if one.low is None else f"95 % interval {one.low:.3f} to {one.high:.3f}"
        met = bound.met(one.value) if bound else None
        rows.append(Row(f"{what}: {name}", one.value, runs=1, goal=str(bound or ""), met=met, note=f"{count}; {interval}"))
    return rows
