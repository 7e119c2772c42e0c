"""Update the places of artifacts in the repository's own MLflow store after the repository was moved, copied or renamed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
WAIT = 10  # seconds for another process that writes


@dataclass(frozen=True)
class Relocated:
    """The folder in which the artifacts were, how many places now lead here, and how many still lead there, where the files are."""

    former: Path
    moved: int
    left: int


def relocate(database: Path, project: str, artifacts: Path) -> Relocated | None:
    """Make the places in a database of MLflow lead to the artifacts beside it.

    Absolute places are all that MLflow can store. They follow where the files came along, or are nowhere any more; a place whose files
    are only in the former folder keeps leading there. No file is touched.

    Args:
        database: The SQLite file.
        project: Name of the experiment whose place tells where the artifacts were.
        artifacts: The folder in which they are now.

    Returns:
        What was changed; None if nothing has to be.

    Raises:
        sqlite3.Error: The file is not a database, or another process keeps it locked.
    """
    if not database.is_file():
        return None
    with closing(sqlite3.connect(database, timeout=WAIT, isolation_level=None)) as connection:
        former = former_artifacts(connection, project)
        if former is None or former == artifacts:
            return None
        connection.execute("BEGIN IMMEDIATE")
        moved = left = 0
        for table, column, place, tail in list(_places(connection, former)):
            here = artifacts / tail
            if table != "experiments" and not here.exists() and (former / tail).exists():
                left += 1
                continue
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (_like(place, here), place))
            moved += 1
        connection.execute("COMMIT")
    return Relocated(former, moved, left)


def former_artifacts(connection: sqlite3.Connection, project: str) -> Path | None:
    """Return the folder in which a database says that the artifacts of a project are; None if it does not know the project."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return None
    row = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (project,)).fetchone()
    return folder(row[0]) if row else None


def _places(connection: sqlite3.Connection, former: Path) -> Iterator[tuple[str, str, str, Path]]:
    """Yield table, column and value of each place in the former folder, and where in it that is."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, column in PLACES:
        if table in tables:
            for (place,) in connection.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL").fetchall():
                at = folder(place)
                if at and at.is_relative_to(former):
                    yield table, column, place, at.relative_to(former)


def folder(place: str) -> Path | None:
    """Return the local folder that a place names; None for another machine's and for `models:/`."""
    parts = urlparse(place)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(place) if place.startswith("/") else None


def _like(place: str, path: Path) -> str:
    return str(path) if place.startswith("/") else path.as_uri()
