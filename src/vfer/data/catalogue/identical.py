"""Clips whose files hold the same bytes: one recording, whatever their names are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from vfer.clips.digests import Digests
from vfer.data.catalogue.manifest import Clip
from vfer.errors import DataError


@dataclass(frozen=True)
class Resolved:
    """The clips that remain, with their expressions, and why others were left out, by clip; `renamed` counts changed subjects."""

    clips: list[Clip]
    expressions: list[str]
    conflicts: dict[str, str]
    renamed: int


def digests(clips: Sequence[Clip], folder: Path, store: Path | None, threads: int) -> dict[str, str]:
    """Return the sha256 of each clip's file, by clip; with a clip store, files that it has seen are not read again.

    Raises:
        DataError: If a file cannot be read.
    """
    digest_of = Digests(store / "digests.sqlite" if store else None)
    try:
        with ThreadPoolExecutor(threads) as pool:
            values = list(pool.map(lambda clip: digest_of(folder / clip.path), clips))
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); run `dvc checkout`") from error
    digest_of.save()
    return {clip.clip: value for clip, value in zip(clips, values, strict=True)}


def resolve(clips: Sequence[Clip], expressions: Sequence[str], digest_of: Mapping[str, str]) -> Resolved:
    """Give identical clips the recording and the subject of the first of them, and leave out those of unlike expressions."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number in sorted(range(len(clips)), key=lambda number: clips[number].clip):
        groups[digest_of[clips[number].clip]].append(number)
    first = {number: numbers[0] for numbers in groups.values() for number in numbers}
    conflicts: dict[str, str] = {}
    for numbers in groups.values():
        if len(labels := sorted({expressions[number] for number in numbers})) > 1:
            names = [clips[number].clip for number in numbers]
            reason = f"{', '.join(names)} are the same file, labelled {' and '.join(labels)}; correct or remove rows"
            conflicts |= dict.fromkeys(names, reason)
    rows = [number for number, clip in enumerate(clips) if clip.clip not in conflicts]
    resolved = [replace(clips[i], recording=clips[first[i]].recording, subject=clips[first[i]].subject) for i in rows]
    renamed = sum(clip.subject != clips[i].subject for i, clip in zip(rows, resolved, strict=True))
    return Resolved(resolved, [expressions[number] for number in rows], conflicts, renamed)
