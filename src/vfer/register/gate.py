"""The gate to the alias `champion`: one paired test of two systems on clips of people in neither's training data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vfer.evaluate.paired import FEWEST, p_text, paired
from vfer.register.record import ClipAnswer, Record

Ask = Callable[[Sequence[ClipAnswer]], Mapping[str, str | None]]
"""Lets the champion answer clips, and returns its answers by digest; clips that it could not be asked about are missing."""


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger takes the alias, why, in one line, and whether the test clips were looked at for it."""

    promoted: bool
    reason: str
    looked: bool = False


@dataclass(frozen=True)
class EarlierChallenger:
    """An earlier challenger of the same champion whose answers to the test clips were looked at, with its accuracy on validation."""

    challenger: str
    validation: float
    validated: str


def contest(challenger: Record, champion: Record, name: str, looks: Sequence[EarlierChallenger], significance: float, ask: Ask) -> Verdict:
    """Judge whether a challenger is more accurate than the champion, which is called `name`.

    The challenger must do at least as well on validation as the champion and each earlier challenger that validated on the same clips; only
    then the test clips are looked at. The k-th look in a champion's reign is held to significance / (k (k + 1)). These levels sum up to the
    significance, so that however many challengers come, that is the probability that one which is no better takes the alias.
    """
    if difference := _unlike(challenger, champion):
        return Verdict(False, f"no contest: {name} {difference}")
    rivals = [(name, champion.validation, champion.validated), *((look.challenger, look.validation, look.validated) for look in looks)]
    same = [(accuracy, who) for who, accuracy, clips in rivals if clips == challenger.validated]
    if same and challenger.validation < max(same)[0]:
        accuracy, who = max(same)
        return Verdict(
            False, f"on validation {challenger.validation:.3f} against {accuracy:.3f} of {who}; the test clips were not looked at"
        )
    unseen = _unseen(challenger, champion)
    if not unseen:
        return Verdict(False, f"no contest: each test clip shows somebody whom this model or {name} has learned from")
    predictions = {answer.digest: answer.predicted for answer in champion.answers}
    predictions |= ask([answer for answer in unseen if answer.digest not in predictions])
    return _judge(
        [answer for answer in unseen if answer.digest in predictions], predictions, name, len(unseen), significance, len(looks) + 1
    )


def level(significance: float, look: int) -> float:
    """Return the significance level of a look at the test clips, counted from 1."""
    return significance / (look * (look + 1))


def _unlike(challenger: Record, champion: Record) -> str:
    mine, theirs = challenger.rules, champion.rules
    if mine.source != theirs.source:
        return f"works on features of {theirs.source}, not of {mine.source} (features.source)"
    if mine.classes != theirs.classes:
        return f"distinguishes {', '.join(theirs.classes)}, not {', '.join(mine.classes)}"
    if mine.merge != theirs.merge:
        return "has learned from labels that were merged otherwise (labels.merge)"
    if mine.baseline != theirs.baseline:
        return f"answers with lstm.baseline {theirs.baseline}, not {mine.baseline}"
    if mine.faceless != theirs.faceless:
        return f"counts clips without a face as {theirs.faceless}, not {mine.faceless} (evaluate.faceless)"
    return ""


def _unseen(challenger: Record, champion: Record) -> list[ClipAnswer]:
    people, contents = (one | other for one, other in zip(challenger.training_examples, champion.training_examples, strict=True))
    return [answer for answer in challenger.answers if answer.digest and answer.subject not in people and answer.digest not in contents]


def _judge(
    answers: Sequence[ClipAnswer], champion: Mapping[str, str | None], name: str, unseen: int, significance: float, look: int
) -> Verdict:
    if not answers:
        return Verdict(False, f"no contest: {name} could not be asked about any of {unseen} clips")
    mine = np.array([answer.predicted == answer.expression for answer in answers])
    theirs = np.array([champion[answer.digest] == answer.expression for answer in answers])
    test = paired(mine, theirs, [answer.subject for answer in answers], [answer.recording for answer in answers])
    left_out = f" ({unseen - len(answers)} more could not be asked)" if unseen > len(answers) else ""
    people = f"{test.recordings} recordings of {test.subjects} people whom neither has learned from{left_out}"
    if test.p is None:
        return Verdict(False, f"too few people to tell: {people}; {FEWEST} people are needed")
    scores = f"{mine.mean():.3f} against {theirs.mean():.3f} of {name} on {people}"
    if test.difference <= 0:
        return Verdict(False, f"not more accurate: {scores}", looked=True)
    scores_text = f"{scores}, p {p_text(test.p)}"
    most = level(significance, look)
    limit_text = f"below {most:.2g}, the level of look {look} at the test clips"
    if test.p >= most:
        return Verdict(False, f"more accurate, but it may be due to chance: {scores_text}, not {limit_text}", looked=True)
    return Verdict(True, f"more accurate: {scores_text}, {limit_text}", looked=True)
