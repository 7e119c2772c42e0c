"""What a model has learned from: the subjects of its clips, stills and identities, and the digests of their files."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from vfer.files import read_table, replacing

if TYPE_CHECKING:
    from vfer.data.catalogue.split import SplitRow

FILE = "learned.parquet"
Kind = Literal["clip", "still", "identity"]


@dataclass(frozen=True)
class Example:
    """Something that trained, validated or tested a model; `subject` and `digest` (sha256) are empty if nobody knows them.

    An identity is all faces of one subject.
    """

    kind: Kind
    name: str
    part: str
    subject: str = ""
    digest: str = ""


_FIELDS: "list[pa.Field[Any]]" = [pa.field(field.name, pa.string(), nullable=False) for field in fields(Example)]
SCHEMA = pa.schema(_FIELDS)


def of_split(rows: "Iterable[SplitRow]") -> list[Example]:
    """Return the clips of a split."""
    return [Example("clip", row.clip, row.part, row.subject, row.digest) for row in rows]


def of_stills(table: pa.Table) -> list[Example]:
    """Return the stills of a table of `vfer.data.catalogue.stills`."""
    columns = (table[name].to_pylist() for name in ("still", "usage", "subject", "image"))
    return [
        Example("still", name, usage, subject or "", hashlib.sha256(image).hexdigest())
        for name, usage, subject, image in zip(*columns, strict=True)
    ]


def write(path: Path, examples: Iterable[Example]) -> None:
    """Write the examples as a Parquet table of `SCHEMA`, atomically."""
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist([vars(example) for example in examples], SCHEMA), temporary)


def read(path: Path) -> list[Example]:
    """Read the examples.

    Raises:
        DataError: If the file is missing or is no such table.
    """
    table = read_table(path, SCHEMA, "table of what a model has learned from", "run `dvc repro`")
    return [Example(**row) for row in table.to_pylist()]
