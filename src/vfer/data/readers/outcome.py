"""What an intake did, for the report to the user."""

from dataclasses import dataclass, field

from vfer.data.manifest import Clip
from vfer.data.readers.found import Passed, Refused

Votes = list[tuple[str, int]]  # by expression, sorted: what Arrow makes a map of
SAMPLE = "sample"  # source of the embedded sample's rows, which give way to real data


@dataclass(frozen=True)
class Still:
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

    `there` counts what stood there already with the same bytes, `voted` those of them that got the votes they lacked; `converted` the
    stills that were no 48x48 grey pictures;
    `identical` pairs the name of each added clip with another clip of the same bytes, `identical_stills` likewise, and `leaked`
    counts the validation and test stills whose bytes stand in train too; `sample` counts the sample's rows that gave way.
    """

    clips: list[Clip] = field(default_factory=list)
    stills: list[Still] = field(default_factory=list)
    there: int = 0
    voted: int = 0
    converted: int = 0
    refused: list[Refused] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    identical: list[tuple[str, str]] = field(default_factory=list)
    identical_stills: list[tuple[str, str]] = field(default_factory=list)
    leaked: int = 0
    sample: int = 0

    @property
    def usable(self) -> bool:
        """Whether anything was added or stood there already."""
        return bool(self.clips or self.stills or self.there)
