"""The places of subjects, recordings and clips in the order in which splits deal them out; decided once and stored with the data."""

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from vfer.data.catalogue.manifest import Clip
from vfer.errors import DataError
from vfer.files import write_csv

Kind = Literal["subject", "recording", "clip"]
Places = dict[Kind, dict[str, int]]
"""By kind and name: a number from 0, which no other of that kind has."""
KINDS: tuple[Kind, ...] = get_args(Kind)
COLUMNS = ("kind", "name", "place")
FILE = "places.csv"


def extended(places: Mapping[Kind, Mapping[str, int]], clips: Iterable[Clip]) -> Places:
    """Return the known places, unchanged, and those of whatever of these clips has none yet, behind them.

    Newcomers are ordered so that neighbours show the same expressions about equally often, those of the rarest expressions first. Dealing
    neighbours to different folds then stratifies, whatever the number of folds. The order depends on names and labels alone.
    """
    all_clips = list(clips)
    return {kind: _appended(places.get(kind, {}), kind, all_clips) for kind in KINDS}


def _appended(places: Mapping[str, int], kind: Kind, clips: list[Clip]) -> dict[str, int]:
    expressions: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        if (name := getattr(clip, kind)) not in places:
            expressions[name][clip.expression] += 1
    frequency = Counter(expression for counts in expressions.values() for expression in counts)
    rarest_first = sorted(frequency, key=lambda expression: (frequency[expression], expression))

    def order(name: str) -> tuple[object, ...]:
        counts = expressions[name]
        return *(expression not in counts for expression in rarest_first), -counts.total(), hashlib.sha256(name.encode()).digest()

    start = max(places.values(), default=-1) + 1
    return {**places, **{name: start + number for number, name in enumerate(sorted(expressions, key=order))}}


def fold(place: int, kind: Kind, folds: int, seed: int) -> int:
    """Return the fold of a place: of each run of `folds` neighbours every fold gets one, in an order drawn by the seed."""
    block, offset = divmod(place, folds)
    return _dealt(block, kind, folds, seed)[offset]


@cache
def _dealt(block: int, kind: Kind, folds: int, seed: int) -> list[int]:
    return list(np.random.default_rng([seed, KINDS.index(kind), folds, block]).permutation(folds).tolist())


def read(path: Path) -> Places:
    """Read the places; raise `DataError`, with the line, where the file is missing or damaged, or a name or place appears twice."""
    places: Places = {kind: {} for kind in KINDS}
    taken: set[tuple[Kind, int]] = set()
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise DataError(f"{path}: its columns are not {', '.join(COLUMNS)}; restore it with `dvc checkout`")
            for row in reader:
                kind, name, place = _parsed(row, f"{path}:{reader.line_num}")
                if name in places[kind] or (kind, place) in taken:
                    raise DataError(
                        f"{path}:{reader.line_num}: {kind} {name} or place {place} appears twice; restore it with `dvc checkout`"
                    )
                places[kind][name] = place
                taken.add((kind, place))
    except FileNotFoundError as error:
        raise DataError(f"{path}: does not exist; run `vfer data places` to decide the places") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); restore it with `dvc checkout`") from error
    return places


def _parsed(row: Mapping[str, str], where: str) -> tuple[Kind, str, int]:
    kind, name, place = (row[column] or "" for column in COLUMNS)
    for kinds in KINDS:
        if kind == kinds and name and place.isdecimal():
            return kinds, name, int(place)
    raise DataError(f"{where}: expected a kind ({', '.join(KINDS)}), a name and a number; restore the file with `dvc checkout`")


def update(data: Path, clips: Iterable[Clip], dropped: str = "", *, again: bool = False) -> int:
    """Give whatever has no place in the file of a dataset's folder one, and return how many got one; the file changes only then.

    Names of the source `dropped` lose theirs; `again`, all do.
    """
    path = data / FILE
    before = read(path) if path.exists() and not again else {}
    current: Places = {
        kind: {name: place for name, place in numbers.items() if not (dropped and name.startswith(f"{dropped}/"))}
        for kind, numbers in before.items()
    }
    places = extended(current, clips)
    if places != before:
        rows = [(kind, name, place) for kind in KINDS for name, place in places[kind].items()]
        write_csv(
            path, COLUMNS, [dict(zip(COLUMNS, row, strict=True)) for row in sorted(rows, key=lambda row: (KINDS.index(row[0]), row[2]))]
        )
    return sum(len(places[kind]) - len(current.get(kind, {})) for kind in KINDS)
