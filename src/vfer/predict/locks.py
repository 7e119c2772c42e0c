"""Keep two runs from writing the same files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vfer.errors import DataError
from vfer.files import FULL


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file or folder that is to be written.

    Raises:
        DataError: If another run holds it, or nothing can be written.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise DataError(f"{path}: another run writes there; wait for it to end, or give another --output") from error
    except OSError as error:
        if error.errno in FULL:
            raise
        raise DataError(f"{path}: cannot be written there ({error.strerror}); give another --output") from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
