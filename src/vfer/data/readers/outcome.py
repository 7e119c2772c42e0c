"""The result of adding a dataset, for the report to the user."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from vfer.data.catalogue.manifest import Clip, Framing
from vfer.data.readers.expressions import SYNONYMS
from vfer.data.readers.items import Passed, Refused

Votes = list[tuple[str, int]]  # by expression, sorted: what Arrow makes a map of


@dataclass(frozen=True)
class ReadOptions:
    """How a dataset is taken in.

    `source` names it; `expressions` are the user's own beside the known ones; `framing` holds for clips whose dataset names none; `fps`
    is the rate of sequences of pictures, or that of their reader.
    """

    source: str
    expressions: Sequence[str] = ()
    framing: Framing = "scene"
    fps: float | None = None


@dataclass(frozen=True)
class StillRow:
    """One row of `stills.parquet`."""

    still: str
    expression: str
    usage: str
    source: str
    subject: str | None
    image: bytes
    votes: Votes | None


@dataclass
class Outcome:
    """The rows that were added, and the count of the rest.

    `there` counts what existed already with the same bytes, `voted` those of them that got votes that they lacked, and `converted` the
    stills that were not 48x48 and grey. `identical` pairs the name of each added clip with another clip of the same bytes,
    `identical_stills` likewise, and `leaked` counts the validation and test stills whose bytes also occur in train. `sample` counts the
    sample's rows that were replaced; `odd` pairs the file of each added clip whose name is not UTF-8 with its clip.
    """

    clips: list[Clip] = field(default_factory=list)
    stills: list[StillRow] = field(default_factory=list)
    there: int = 0
    voted: int = 0
    converted: int = 0
    refused: list[Refused] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    identical: list[tuple[str, str]] = field(default_factory=list)
    identical_stills: list[tuple[str, str]] = field(default_factory=list)
    leaked: int = 0
    sample: int = 0

    odd: list[tuple[str, str]] = field(default_factory=list)

    @property
    def doubtful_subjects(self) -> list[str]:
        """Subjects that may be classes: those named like what they show, or all where each expression has one subject of its own."""
        expressions: dict[str, set[str]] = {}
        subjects: dict[str, set[str]] = {}
        for clip in self.clips:
            expressions.setdefault(clip.subject, set()).add(clip.expression)
            subjects.setdefault(clip.expression, set()).add(clip.subject)
        alone = 1 < len(subjects) < len(self.clips) and all(len(own) == 1 for own in subjects.values())
        if alone and all(len(words) == 1 for words in expressions.values()):
            return sorted(expressions)

        def word(subject: str) -> str:
            name = subject.rpartition("/")[2].lower()
            return SYNONYMS.get(name, name)

        return sorted(subject for subject, words in expressions.items() if {word(subject)} == words)

    @property
    def usable(self) -> bool:
        """Whether anything was added or stood there already."""
        return bool(self.clips or self.stills or self.there)
