"""The clip store: the result of a step for one clip, stored under everything it depends on, so that it is computed once."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from vfer.clips import attempt
from vfer.clips.digests import Digests, digest
from vfer.clips.executor import each_clip
from vfer.clips.failures import Failures
from vfer.clips.fingerprint import fingerprint
from vfer.errors import ClipError
from vfer.files import replacing, sweep_folders

log = logging.getLogger(__name__)


class FileJob(attempt.Job, Protocol):
    """One clip's work: it makes one file, `target`, of another, `source`; `about` is what else of the clip decides the result.

    The job of `pretrain` is one subject's, and its source a folder of pictures.
    """

    @property
    def source(self) -> Path:
        """The file or folder that is read."""
        ...

    @property
    def target(self) -> Path:
        """The file that is made."""
        ...

    @property
    def about(self) -> str:
        """What the result depends on beside the source's content and the recipe; not the clip's name."""
        ...


J = TypeVar("J", bound=FileJob)
R = TypeVar("R")
HANGS = 3600.0
"""Seconds after which one clip's work is stopped, where a stage has no param for it."""


@dataclass(frozen=True)
class Recipe:
    """A step, and the hash of everything that decides its result for a clip: params, weights, code and packages."""

    step: str
    digest: str


def recipe(step: str, settings: Mapping[str, object], code: Iterable[str]) -> Recipe:
    """Return the recipe of a step, given the modules that do its work on a clip."""
    return Recipe(step, fingerprint({"step": step, **settings}, code=code))


class Store:
    """A folder of entries `<step>/<key[:2]>/<key>.<sha256 of the content>`; without a folder it holds nothing and keeps nothing.

    An entry appears whole or not at all, and is checked against its name each time it is taken; one that fails is deleted.
    Any number of runs may use one store at once. A store that cannot be read or written costs time, never a result.
    """

    def __init__(self, root: Path | None, *, links: bool = False) -> None:
        self.root, self.links = root, links

    def take(self, recipe: Recipe, key: str, target: Path) -> bool:
        """Put the entry of a key at `target`; return whether there was a sound one.

        It is a hard link where the store `links`, or DVC's cache has links to it (`cache.type` hardlink), and a copy elsewhere: of a link
        in an output, DVC itself makes a copy, file by file, which takes a multiple of the time.
        """
        for entry in self._entries(recipe.step, key):
            try:
                if digest(entry) == entry.suffix[1:]:
                    (link if self.links or entry.stat().st_nlink > 1 else copy)(entry, target)
                    _touch(entry)
                    return True
                entry.unlink()
            except OSError:  # another's file, a broken disk, or pruned just now
                continue
        return False

    def keep(self, recipe: Recipe, key: str, file: Path) -> str:
        """Keep a file as the entry of a key; return why that failed, empty if it did not."""
        if self.root is None:
            return ""
        try:
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
            entry = self._folder(recipe.step, key) / f"{key}.{digest(file)}"
            entry.parent.mkdir(parents=True, exist_ok=True)
            if not entry.exists():
                link(file, entry)
        except OSError as error:
            return f"{self.root}: cannot be written ({error.strerror})"
        return ""

    def _entries(self, step: str, key: str) -> list[Path]:
        if self.root is None:
            return []
        try:
            return sorted(self._folder(step, key).glob(f"{key}.*"))
        except OSError:
            return []

    def _folder(self, step: str, key: str) -> Path:
        return Path(str(self.root)) / step / key[:2]


def link(source: Path, target: Path) -> None:
    """Put a file at `target`, whole or not at all: as a hard link, or as a copy where the file system has none."""
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def copy(source: Path, target: Path) -> None:
    """Put a copy of a file at `target`, where there is none; what a process that dies leaves there is no output of DVC's yet."""
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError:
        target.unlink(missing_ok=True)
        raise


def _touch(entry: Path) -> None:
    """Note the time in the entry's access time, which `vfer store prune` goes by; the other times are DVC's to go by."""
    with suppress(OSError):  # only its owner may
        os.utime(entry, ns=(time.time_ns(), entry.stat().st_mtime_ns))


@dataclass(frozen=True)
class Keyed(Generic[J]):
    """A job and its key, None if its source cannot be read; what a worker gets."""

    job: J
    key: str | None

    @property
    def clip(self) -> str:
        """Name of the clip."""
        return self.job.clip


@dataclass
class ClipRunner(Generic[J]):
    """Runs a step over clips through a store; afterwards `taken` says how many came out of it.

    A clip's work may take `seconds`; the tracebacks of errors that nobody foresaw go to `log`.
    """

    store: Store
    recipe: Recipe
    workers: int
    log: Path | None = None
    seconds: float | None = HANGS
    reused: int = 0
    _failure: str = field(default="", init=False)
    _failures: Failures = field(init=False)

    @property
    def note(self) -> str:
        """The part of a stage's closing line about the store and the log."""
        parts = [f"{self.reused} from the clip store"] if self.reused else []
        parts += [self._failures.note] if self._failures.note else []
        return f" ({'; '.join(parts)})" if parts else ""

    def each(
        self,
        work: Callable[[J], R],
        jobs: Sequence[J],
        summary: Callable[[Path], R],
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> Iterator[tuple[J, R | ClipError]]:
        """Yield each job with its result or `ClipError`, as `each_clip` does, in no given order.

        What the store holds is not made again, and clips of one content are made once. `summary` returns of a made file
        what `work` returned when it made it.
        """
        self._failures = Failures(self.log)
        to_make: dict[str, list[Keyed[J]]] = {}
        with ThreadPoolExecutor(self.workers) as pool:
            digests = Digests(self.store.root / "digests.sqlite" if self.store.root else None)
            for job, key, result in pool.map(partial(self._take, digests, summary), jobs):
                if result is None:
                    to_make.setdefault(key or job.clip, []).append(Keyed(job, key))
                else:
                    self.reused += 1
                    self._failures.add(job.clip, result)
                    yield job, result
            digests.save()
        firsts = [twins[0] for twins in to_make.values()]
        make = partial(_make, work, self.store, self.recipe)
        results = each_clip(make, firsts, workers=self.workers, initializer=initializer, initargs=initargs, seconds=self.seconds)
        try:
            with closing(results):
                for keyed, outcome in results:
                    self._failures.add(keyed.clip, outcome)
                    yield from self._twins([twin.job for twin in to_make.pop(keyed.key or keyed.clip)], outcome)
        finally:
            sweep_folders({keyed.job.target.parent for keyed in firsts})  # of workers that died or were ended
        self._failures.check()

    def _take(self, digests: Digests, summary: Callable[[Path], R], job: J) -> tuple[J, str | None, R | None]:
        try:
            key = fingerprint({"recipe": self.recipe.digest, "about": job.about}, inputs=[digests(job.source)])
        except (OSError, ValueError):
            return job, None, None  # the work itself says what is wrong with the file
        return job, key, summary(job.target) if self.store.take(self.recipe, key, job.target) else None

    def _twins(self, twins: list[J], outcome: "tuple[R, str] | ClipError") -> Iterator[tuple[J, R | ClipError]]:
        first = twins[0]
        if isinstance(outcome, ClipError):
            yield first, outcome
            for twin in twins[1:]:
                yield twin, ClipError(f"{twin.source}: has the content of {first.clip}, which was set aside; fix or remove both")
            return
        result, failure = outcome
        if failure and not self._failure:
            log.warning(f"{failure}; the results are complete, but the next run will compute them again: free space, or allow writing")
        self._failure = self._failure or failure
        for twin in twins:
            yield twin, result if twin is first else attempt.attempt(lambda other: _linked(first, other, result), twin)


def _linked(first: J, twin: J, result: R) -> R:
    link(first.target, twin.target)
    return result


def _make(work: Callable[[J], R], store: Store, recipe: Recipe, keyed: Keyed[J]) -> tuple[R, str]:
    result = work(keyed.job)
    return result, store.keep(recipe, keyed.key, keyed.job.target) if keyed.key else ""
