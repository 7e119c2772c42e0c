"""Keep more items than fit into memory, in an anonymous file that disappears with the process."""

import pickle
import tempfile
import weakref
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
ROWS = 512


class Spool(Generic[T]):
    """Things in the order in which they came; to be read as often as needed once all are there."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="vfer-")  # noqa: SIM115  # it has no name, and lives as long as this object
        weakref.finalize(self, self._file.close)
        self._rows: list[T] = []
        self._batches = 0

    def add(self, thing: T) -> None:
        """Take one more thing."""
        self._rows.append(thing)
        if len(self._rows) == ROWS:
            self._file.seek(0, 2)
            pickle.dump(self._rows, self._file, pickle.HIGHEST_PROTOCOL)
            self._batches += 1
            self._rows = []

    def __iter__(self) -> Iterator[T]:
        rows, place = list(self._rows), 0
        for _ in range(self._batches):
            self._file.seek(place)  # another reader may have moved on meanwhile
            batch = pickle.load(self._file)
            place = self._file.tell()
            yield from batch
        yield from rows
