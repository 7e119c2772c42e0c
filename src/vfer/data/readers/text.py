"""Read tables of other tools line by line, in bounded memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from vfer.data.readers.items import Entry
from vfer.data.tables import text


@contextmanager
def lines(entry: Entry) -> Iterator[Iterator[str]]:
    """Open a text in UTF-8, or in UTF-16 with a byte order mark; yield its lines, with their ends.

    Raises:
        DataError: If a line is too long to be one of a table, and `UnicodeDecodeError` for another encoding.
    """
    with entry.open() as stream, text.lines(stream) as rows:
        yield rows
