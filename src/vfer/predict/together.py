"""Predict all clips of a person together: each relative to the baseline of the person's other clips, unlabelled."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from vfer.clips.digests import digest
from vfer.errors import DataError
from vfer.predict.answering import EmbeddedFrames
from vfer.predict.batch import BatchResult
from vfer.predict.inputs import Input
from vfer.predict.models.model import Model
from vfer.predict.recogniser import Recogniser

FOLDER, NAME = "folder", "name"


def persons(inputs: Sequence[Input], source: str) -> dict[str, str]:
    """Return the person of each clip, empty if unknown.

    Args:
        inputs: The clips.
        source: `folder`, for the name of the folder that holds a clip; `name`, for its own up to the first underscore; or a column of
            the tables that list the clips.

    Raises:
        DataError: No clip is listed in a table that has the column.
    """
    if source == FOLDER:
        return {one.clip: one.path.absolute().parent.name for one in inputs}
    if source == NAME:
        return {one.clip: one.path.stem.partition("_")[0] for one in inputs}
    if not any(source in one.columns for one in inputs):
        columns = sorted({name for one in inputs for name in one.columns} - {"path"})
        raise DataError(
            f"--person-from {source}: is not a column of the tables that list the clips; expected {', '.join((FOLDER, NAME, *columns))}"
        )
    return {one.clip: one.columns.get(source, "") for one in inputs}


def settings(inputs: Iterable[Input], people: Mapping[str, str], plain: str) -> dict[str, str]:
    """Return, for each clip, the hash of what its answer depends on: that of the plain answer, and the contents of the person's clips."""
    contents: dict[str, list[str]] = defaultdict(list)
    for one in inputs:
        try:
            contents[people[one.clip]].append(digest(one.path))
        except OSError:
            continue  # it is reported with its answer
    by_person = {
        person: hashlib.sha256("\n".join([plain, *sorted(hashes)]).encode()).hexdigest()[:16] for person, hashes in contents.items()
    }
    return {clip: by_person.get(person, plain) for clip, person in people.items()}


def together(model: Model, answers: Iterable[BatchResult], people: Mapping[str, str]) -> Iterator[BatchResult]:
    """Yield the answers of each person's clips once all of them are looked at.

    Args:
        model: The model.
        answers: The plain answers, with what was recognised.
        people: The person of each clip that is answered.
    """
    recogniser = Recogniser.open(model)
    waiting = Counter(people.values())
    groups: dict[str, list[BatchResult]] = defaultdict(list)
    for one in answers:
        person = people[one.prediction.path]
        groups[person].append(one)
        waiting[person] -= 1
        if not waiting[person]:
            yield from _of_person(recogniser, groups.pop(person), person)


def _of_person(recogniser: Recogniser, answers: list[BatchResult], person: str) -> Iterator[BatchResult]:
    recognised = [one for one in answers if one.recognition]
    reference = recogniser.answerer.from_others([EmbeddedFrames.of(one.recognition.sequence) for one in recognised if one.recognition])
    baselines = {one.prediction.path: baseline for one, baseline in zip(recognised, reference, strict=True)}
    for one in answers:
        prediction = one.prediction
        baseline, count = baselines.get(prediction.path, (None, 0))
        if one.recognition and baseline and person and count:
            source = f"{count} other clip{'s' * (count > 1)} of {person}"
            prediction = recogniser.answer(prediction.path, one.recognition, (baseline, source))
        elif prediction.has_answer:
            why = f"no other clip of {person}" if person else "the person is not known"
            prediction = replace(prediction, baseline=f"none: {why}")
        yield replace(one, prediction=replace(prediction, person=person or None), recognition=None)
