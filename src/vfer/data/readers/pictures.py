"""Add found stills to `stills.parquet`."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from vfer.data.catalogue import manifest, stills
from vfer.data.catalogue.manifest import SAMPLE
from vfer.data.readers.expressions import expression
from vfer.data.readers.items import FoundStill, readable
from vfer.data.readers.outcome import Outcome, ReadOptions, StillRow, Votes
from vfer.errors import DataError

Standing = tuple[bytes, str, str]  # digest, expression, usage


class StillIntake:
    """Collects stills one by one; the table is written at the end, in `commit`, and the rows of the sample give way.

    Where there are clips alone, the table is written without rows, since the pipeline depends on the file.
    """

    def __init__(self, data: Path, options: ReadOptions, outcome: Outcome) -> None:
        self.source, self.own, self.outcome = options.source, options.expressions, outcome
        self.path = data / stills.FILE
        sources = stills.labels(self.path)["source"].to_pylist() if self.path.exists() else []
        self.replaced = sources.count(SAMPLE)
        outcome.sample += self.replaced
        self.late: dict[str, Votes] = {}

    @cached_property
    def table(self) -> pa.Table:
        """The present stills without the sample's; read only where stills are added or the sample gives way."""
        table = stills.read(self.path, empty=True) if self.path.exists() else stills.SCHEMA.empty_table()
        return table.filter(pc.field("source") != SAMPLE)

    @cached_property
    def stills(self) -> dict[str, Standing]:
        """Each still's digest, expression and usage, by name."""
        columns = (self.table[name].to_pylist() for name in ("still", "image", "expression", "usage"))
        return {name: (_digest(image), word, usage) for name, image, word, usage in zip(*columns, strict=True)}

    @cached_property
    def names(self) -> dict[bytes, str]:
        """A still's name, by the digest of its bytes."""
        return {digest: name for name, (digest, _, _) in self.stills.items()}

    @cached_property
    def votes(self) -> dict[str, Votes | None]:
        """The votes of each still that was there before, by name, in the order of the table."""
        names = [str(name) for name in self.table["still"].to_pylist()]
        return dict(zip(names, self.table[stills.VOTES.name].to_pylist(), strict=True))

    def take(self, item: FoundStill) -> None:
        """Add one still.

        Raises:
            DataError: If it must be refused.
        """
        name = f"{self.source}/{item.name}"
        if not manifest.NAME.fullmatch(name):
            raise DataError(f"still {name!r} is not a safe name; use letters, digits, '.', '_', '-' and '/'")
        word = expression(item.expression, self.own)
        votes = None if item.votes is None else self._counted(item.votes)
        image, converted = stills.normalise(item.read())
        standing = (_digest(image), word, str(item.usage))
        if name in self.stills:
            self._again(name, standing, votes)
            return
        if (twin := self.names.setdefault(standing[0], name)) != name:
            self.outcome.identical_stills.append((name, twin))
        self.stills[name] = standing
        self.outcome.converted += converted
        subject = item.subject and manifest.full_name(self.source, readable(item.subject))
        self.outcome.stills.append(StillRow(name, word, item.usage, self.source, subject, image, votes))

    def commit(self) -> None:
        """Write the table where anything in it changed, or where there is none."""
        if self.path.exists() and not (self.outcome.stills or self.late or self.replaced):
            return
        train_digests = {digest for digest, _, usage in self.stills.values() if usage == "train"}
        self.outcome.leaked = sum(usage != "train" and digest in train_digests for digest, _, usage in self.stills.values())
        new_rows = pa.Table.from_pylist([vars(still) for still in self.outcome.stills], stills.SCHEMA)
        stills.write(self.path, pa.concat_tables([self._voted(), new_rows]))

    def _counted(self, votes: Mapping[str, int]) -> Votes:
        counts = Counter[str]()
        for word, count in votes.items():
            if not 0 <= count < 2**31:
                raise DataError(f"its votes for {word} are {count}, which is not a count of people")
            counts[expression(word, self.own)] += count
        if not counts.total():
            raise DataError("its votes are all 0")
        return sorted((word, count) for word, count in counts.items() if count)

    def _voted(self) -> pa.Table:
        """Return the present stills with the votes that came late."""
        if not self.late:
            return self.table
        filled = pa.array([self.late.get(name, former) for name, former in self.votes.items()], stills.VOTES.type)
        return self.table.set_column(self.table.schema.get_field_index(stills.VOTES.name), stills.VOTES, filled)

    def _again(self, name: str, standing: Standing, votes: Votes | None) -> None:
        if self.stills[name][0] != standing[0]:
            raise DataError(f"still {name} already exists with other bytes; give this one another --source")
        if self.stills[name] != standing:
            raise DataError(
                f"still {name} already exists as {self.stills[name][1]} for {self.stills[name][2]}; give this one another --source"
            )
        if votes and (former := self.votes.get(name, votes)) != votes:
            if former:
                raise DataError(f"still {name} already exists with other votes; give this one another --source")
            self.late[name] = votes
            self.outcome.voted += 1
        self.outcome.there += 1


def _digest(image: bytes) -> bytes:
    return hashlib.blake2b(image, digest_size=16).digest()
