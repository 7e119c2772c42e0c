"""The people of a set of clips, and the baseline of each clip, made from the other clips of its person."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer.data.catalogue.split import SplitRow
from vfer.errors import DataError
from vfer.features.cache import Embeddings
from vfer.lstm import baseline
from vfer.lstm.baseline import Baseline, Mode
from vfer.lstm.sequences import predict
from vfer.lstm.settings import SequenceSettings
from vfer.nets.reference import Moments, Reference, everybody, join, reference_of
from vfer.nets.session import Network

Answer = Callable[[Sequence[Embeddings]], NDArray[np.floating]]
"""Returns the probability of neutral, (n,), of clips that show a face."""
UNKNOWN = 0.25
"""Share of the clips in training of whose person nothing is known, so that the model also answers for strangers."""
SOME = 0.5
"""Share of the others for which only some of the person's clips are known."""


@dataclass(frozen=True, eq=False)
class PeopleClips:
    """n clips, their persons and recordings by name, and which of them are neutral, bool (n,)."""

    embeddings: Sequence[Embeddings]
    subjects: Sequence[str]
    recordings: Sequence[str]
    neutral: NDArray[np.bool_]

    def people(self) -> dict[str, NDArray[np.int64]]:
        """Return the rows of each person's clips, sorted by the person's name."""
        subjects = np.array(self.subjects)
        return {str(name): np.flatnonzero(subjects == name) for name in np.unique(subjects)}

    def moments(self, rows: NDArray[np.int64]) -> Moments:
        """Return the moments of some of the clips."""
        return Moments([self.embeddings[row].values for row in rows], [self.recordings[row] for row in rows])

    def values(self, rows: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """Return the embeddings of some of the clips, float32 (frames, d) each."""
        return [self.embeddings[row].values for row in rows]


def clips_of(rows: Sequence[SplitRow], embeddings: Mapping[str, Embeddings], neutral: NDArray[np.bool_]) -> PeopleClips:
    """Return the clips of some rows of a split, of which `neutral`, bool (n,), are known to be so."""
    return PeopleClips([embeddings[row.clip] for row in rows], [row.subject for row in rows], [row.recording for row in rows], neutral)


def labelled_neutral(rows: Sequence[SplitRow], neutral: str) -> NDArray[np.bool_]:
    """Return which clips show the expression `neutral`, bool (n,)."""
    return np.array([row.expression == neutral for row in rows], bool)


def known_neutral(rows: Sequence[SplitRow], neutral: str, count: int) -> NDArray[np.bool_]:
    """Return which clips serve as their person's neutral face, bool (n,): those of the first `count` recordings, by name, that show it."""
    first: dict[str, set[str]] = {}
    for subject in {row.subject for row in rows}:
        recordings = sorted({row.recording for row in rows if row.subject == subject and row.expression == neutral})
        first[subject] = set(recordings[:count])
    return np.array([row.recording in first[row.subject] for row in rows], bool)


def check(rows: Sequence[SplitRow], mode: Mode, neutral: str, where: Path) -> list[str]:
    """Check that the clips of the manifest `where` allow for baselines of a mode; return warnings.

    Raises:
        DataError: A recording is of two subjects, no subject has two recordings, or none of the training clips is neutral.
    """
    if mode == "none":
        return []
    subjects: dict[str, set[str]] = {}
    for row in rows:
        subjects.setdefault(row.subject, set()).add(row.recording)
    owners = [(recording, subject) for subject, recordings in subjects.items() for recording in recordings]
    if len({recording for recording, _ in owners}) < len(owners):
        recording = next(name for name, _ in owners if sum(name == other for other, _ in owners) > 1)
        raise DataError(f"{where}: recording {recording} is of several subjects; give a person one name in the column subject")
    single = sum(len(recordings) == 1 for recordings in subjects.values())
    if single == len(subjects):
        raise DataError(
            f"{where}: no subject has two recordings, which lstm.baseline: {mode} needs; "
            "name the persons in the column subject, or set lstm.baseline: none"
        )
    train_expressions = sorted({row.expression for row in rows if row.part == "train"})
    if mode != "subject" and neutral not in train_expressions:
        raise DataError(
            f"{where}: no training clip shows {neutral}, which lstm.baseline: {mode} needs; "
            f"set lstm.neutral to one of {', '.join(train_expressions)}, or lstm.baseline: subject"
        )
    return [f"{single} of {len(subjects)} subjects have one recording, and get the plain answer"] if single else []


def reference(clips: PeopleClips) -> Reference:
    """Return the statistics that stand for everybody, of the people of these clips, of which one at least shows a face."""
    people = [(clips.moments(rows), clips.neutral[rows]) for rows in clips.people().values()]
    return everybody([moments.statistics() for moments, _ in people], [moments.statistics(neutral) for moments, neutral in people])


def baselines(clips: PeopleClips, mode: Mode, everybody: Reference, answer: Answer | None = None) -> list[Baseline]:
    """Return the baseline of each clip, made of the other recordings of its person among these clips.

    Args:
        clips: The clips; for `neutral`, their `neutral` are those that are known to be.
        mode: Which of a person's clips make the baseline.
        everybody: The statistics of the people in the training clips.
        answer: For `iterative`, which finds the neutral clips by it.
    """
    result = [baseline.identity(everybody)] * len(clips.embeddings)
    for rows in clips.people().values():
        neutral = clips.neutral[rows]
        if mode == "iterative" and answer:
            neutral = _neutral_by_answers(clips, rows, everybody, answer)
        for row, own in zip(rows, baseline.each_from_others(clips.moments(rows), everybody, mode, neutral), strict=True):
            result[row] = own
    return result


def _neutral_by_answers(clips: PeopleClips, rows: NDArray[np.int64], everybody: Reference, answer: Answer) -> NDArray[np.bool_]:
    times = [clips.embeddings[row].time for row in rows if len(clips.embeddings[row])]

    def of_values(values: Sequence[NDArray[np.float32]]) -> NDArray[np.floating]:
        return answer([Embeddings(value, time) for value, time in zip(values, times, strict=True)])

    return baseline.find_neutral(clips.values(rows), everybody, of_values)


def answers(
    network: Network, rows: Sequence[SplitRow], embeddings: Mapping[str, Embeddings], settings: SequenceSettings, part: str
) -> tuple[list[SplitRow], NDArray[np.float32]]:
    """Answer the clips of a part relative to their persons' baselines, which are made of all clips of those persons in `rows`.

    Args:
        network: A sequence model, which holds everybody's statistics.
        rows: A split, or what may be known of it.
        embeddings: Frames that show a face, by clip.
        settings: How the model is to be used, and which baseline.
        part: The part that is answered.

    Returns:
        The part's rows without those known to be neutral, and their probabilities, float32 (n, classes); a row of NaN shows no face.
    """
    persons = {row.subject for row in rows if row.part == part}
    rows = [row for row in rows if row.subject in persons]
    neutral = known_neutral(rows, settings.neutral, settings.neutral_clips if settings.baseline == "neutral" else 0)
    clips = clips_of(rows, embeddings, neutral)

    def neutrality(visible: Sequence[Embeddings]) -> NDArray[np.floating]:
        return np.asarray(predict(network, visible, settings.max_frames)[:, network.classes.index(settings.neutral)])

    own = baselines(clips, settings.baseline, reference_of(network), neutrality)
    scored = [number for number, row in enumerate(rows) if row.part == part and not neutral[number]]
    moved = [clips.embeddings[number].moved(own[number]) for number in scored]
    return [rows[number] for number in scored], predict(network, moved, settings.max_frames)


class Acquaintance:
    """Draws, for a clip that is trained on, how well the model knows its person this time.

    Sometimes not at all, else by all of the person's other recordings or a random number of them, so that one model learns to use
    whatever is known at use.
    """

    def __init__(self, clips: PeopleClips, mode: Mode, everybody: Reference) -> None:
        self._everybody = everybody
        self._make = baseline.from_clips if mode == "subject" else baseline.from_neutral
        self._known: dict[int, tuple[NDArray[np.float64], NDArray[np.bool_]]] = {}
        for rows in clips.people().values():
            moments = clips.moments(rows)
            numbers, means = moments.by_recording(None if mode == "subject" else clips.neutral[rows])
            self._known |= {row: (means, numbers != own) for row, own in zip(rows.tolist(), moments.recordings, strict=True)}

    def __call__(self, row: int, rng: np.random.Generator) -> Baseline:
        """Return a baseline for a clip."""
        means, others = self._known[row]
        places = np.flatnonzero(others)
        if not len(places) or rng.random() < UNKNOWN:
            return baseline.identity(self._everybody)
        if rng.random() < SOME:
            places = rng.choice(places, round(len(places) ** rng.random()), replace=False)  # as often 1 to 4 as 4 to 16
        return self._make(join(means[places]), self._everybody)
