"""Read text files of other programs line by line, in bounded memory."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from vfer.errors import DataError

MAX_LINE = 1 << 20
"""Characters of a line."""


@contextmanager
def lines(stream: IO[bytes]) -> Iterator[Iterator[str]]:
    """Decode a text in UTF-8, or in UTF-16 with a byte order mark; yield its lines, with their ends.

    Raises:
        DataError: If a line is longer than `MAX_LINE`, and `UnicodeDecodeError` for another encoding.
    """
    with io.BufferedReader(stream) as buffered:  # type: ignore[type-var]
        wide = buffered.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff")
        with io.TextIOWrapper(buffered, "utf-16" if wide else "utf-8-sig", newline="") as text:
            yield _lines(text)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise DataError(f"has a line of more than {MAX_LINE} characters; it is not a table")
        yield line
