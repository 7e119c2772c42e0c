"""Unexpected errors of a stage: a log of their tracebacks, and whether they are a bug in vfer."""

from collections import Counter
from pathlib import Path

from vfer.errors import ClipError, UnexpectedError, VferError

ALIKE = 10  # clips that fail in one place, and none that does not, are taken for a bug in vfer
WHOLE = 3  # tracebacks of one place that are written out


class Failures:
    """Counts results, and writes the tracebacks of unexpected errors to a log."""

    def __init__(self, log: Path | None) -> None:
        self._log = log
        self._places: Counter[str] = Counter()
        self._last: UnexpectedError | None = None
        self._successes = 0
        if log:
            log.unlink(missing_ok=True)

    @property
    def note(self) -> str:
        """The part of a stage's closing line about them."""
        count = self._places.total()
        return f"{count} unexpected error{'s' * (count > 1)}, see {self._log}" if count and self._log else ""

    def add(self, clip: str, result: object) -> None:
        """Count a clip's result.

        Raises:
            VferError: If every clip so far fails alike.
        """
        if not isinstance(result, UnexpectedError):
            self._successes += not isinstance(result, ClipError)
            return
        place = _place(result.trace)
        self._places[place] += 1
        self._write(clip, result, whole=self._places[place] <= WHOLE)
        self._last = result
        if self._places[place] == ALIKE:
            self.check()

    def check(self) -> None:
        """Raise `VferError` if several clips have failed in one place, and none has succeeded."""
        if self._last and not self._successes and len(self._places) == 1 and self._places.total() > 1:
            where = f"; {self._log} has the traceback" if self._log else ""
            raise VferError(
                f"every clip fails in the same way: {self._last}; this is a bug in vfer, not in the clips; please report it{where}"
            )

    def _write(self, clip: str, error: UnexpectedError, *, whole: bool) -> None:
        if self._log:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(f"{clip}: {error}\n{error.trace if whole else ''}\n")


def _place(trace: str) -> str:
    """Return the line of code that raised the first error of a traceback, and the error's type."""
    first = trace.partition("\n\nThe above exception")[0].strip().splitlines()
    files = [line.strip() for line in first if line.lstrip().startswith('File "')]
    return f"{files[-1] if files else ''} {first[-1].partition(':')[0] if first else ''}"
