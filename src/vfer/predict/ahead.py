"""Decode in one thread while another works on the frames."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
WAIT = 0.2  # seconds between two looks at whether anybody still listens


def ahead(items: Iterable[T], most: int) -> Iterator[T]:
    """Yield the items, which a thread of its own makes, at most `most` ahead; what that thread raises is raised here."""
    waiting: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(most)
    closed = threading.Event()

    def put(item: T | None, error: BaseException | None) -> bool:
        while not closed.is_set():
            try:
                waiting.put((item, error), timeout=WAIT)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put(item, None):
                    return
            put(None, StopIteration())
        except BaseException as error:  # raised again in the thread that listens
            put(None, error)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # only an error comes without one
    finally:
        closed.set()
        thread.join()
