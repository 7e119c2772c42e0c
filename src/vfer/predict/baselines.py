"""Each person's own baseline in a film, from all footage of the person, from a stretch of time, or from another video or picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vfer.clips.digests import digest
from vfer.errors import ClipError, DataError
from vfer.lstm.baseline import Baseline
from vfer.predict.answering import EmbeddedFrames
from vfer.predict.source import Span
from vfer.predict.timeline.looks import Sample
from vfer.predict.timeline.observe import Observation

if TYPE_CHECKING:
    from vfer.predict.recogniser import Recogniser

MOST = 256  # windows of a person that are kept to make the baseline
FOOTAGE = "footage"


@dataclass(frozen=True)
class BaselineSource:
    """Where baselines come from.

    `span` is a stretch in which people are neutral, `files` names neutral videos or pictures by person ("" for everybody). With
    neither, each person's whole footage is taken.
    """

    span: Span | None = None
    files: Mapping[str, Path] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Return it for the provenance."""
        if self.files:
            return {"from": {name or "everybody": [path.name, digest(path)] for name, path in sorted(self.files.items())}}
        return {"from": [self.span.start, self.span.end] if self.span else FOOTAGE}


def embedded(frames: Sequence[Observation]) -> EmbeddedFrames:
    """Return observed frames, each with a face, as the model takes them."""
    embeddings, probabilities = ([getattr(one, name) for one in frames] for name in ("embedding", "probabilities"))
    return EmbeddedFrames(np.array(embeddings, np.float32), np.array(probabilities, np.float32), np.array([one.time for one in frames]))


def of_people(
    recogniser: "Recogniser", source: BaselineSource, observations: Iterable[Observation], owner: Mapping[int, str]
) -> dict[str, Baseline]:
    """Return the baseline of each person for whom there is material.

    Args:
        recogniser: The model.
        source: Where baselines come from.
        observations: All that was observed.
        owner: Each track's person.

    Raises:
        ClipError: A neutral video or picture cannot be used, or shows no face.
        WeightsError: The model knows no neutral face, or holds no statistics.
    """
    answerer = recogniser.answerer
    if source.files:
        return _from_files(recogniser, source.files, dict.fromkeys(owner.values()))
    windows: dict[str, Sample[EmbeddedFrames]] = {}
    open_: dict[str, list[Observation]] = {}
    length = recogniser.settings.windows.length

    def close(person: str) -> None:
        frames = open_.pop(person)
        windows.setdefault(person, Sample(MOST)).add(lambda: embedded(frames))

    for one in observations:
        person = owner.get(one.track)
        if person is None or not _inside(one.time, source.span):
            continue
        if person in open_ and one.time - open_[person][0].time >= length:
            close(person)
        open_.setdefault(person, []).append(one)
    for person in list(open_):
        close(person)
    make = answerer.from_neutral if source.span else answerer.find_neutral
    return {person: make(sample.items) for person, sample in sorted(windows.items())}


def _inside(time: float, span: Span | None) -> bool:
    return span is None or (span.start <= time and (span.end is None or time < span.end))


def _from_files(recogniser: "Recogniser", files: Mapping[str, Path], people: Iterable[str]) -> dict[str, Baseline]:
    everybody = list(people)
    unknown = sorted(set(files) - {"", *everybody})
    if unknown:
        raise DataError(f"--baseline {unknown[0]}=...: there is no such person; there are {', '.join(everybody) or 'none'}")
    baselines = {name: recogniser.answerer.from_neutral([_neutral(recogniser, path)]) for name, path in files.items()}
    return {person: baselines[person if person in baselines else ""] for person in everybody if person in baselines or "" in baselines}


def _neutral(recogniser: "Recogniser", path: Path) -> EmbeddedFrames:
    frames = EmbeddedFrames.of(recogniser.recognise(path, fewest=1).sequence)
    if not len(frames.time):
        raise ClipError(f"{path}: shows no face to take a baseline from; give another video or picture")
    return frames
