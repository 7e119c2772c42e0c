"""A model's prediction for one clip."""

from collections.abc import Mapping
from dataclasses import dataclass, field

UNCERTAIN = "uncertain"
LONG = "long"
SHOTS = "shots"
SEVERAL = "several faces"
PARTLY = "face missing"


@dataclass(frozen=True)
class Prediction:
    """The answer to one clip.

    `expression` is the most probable one, None if no frame shows a face or the clip cannot be used; `error` then says why.
    `probabilities` and `confidence` are the model's, `coverage` is the share of the sampled frames that show the face, `frames` their
    number, and `seconds` the clip's length. `flags` are reasons to doubt the answer. Where the person's own baseline was used, `plain`
    holds the probabilities without it, and `baseline` says what it was taken from.
    """

    path: str
    expression: str | None = None
    confidence: float | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    coverage: float | None = None
    frames: int = 0
    seconds: float | None = None
    flags: tuple[str, ...] = ()
    error: str | None = None
    person: str | None = None
    baseline: str | None = None
    plain: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_answer(self) -> bool:
        """Whether there is an expression."""
        return self.expression is not None
