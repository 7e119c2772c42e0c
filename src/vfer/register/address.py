"""The address of the MLflow store, and the folder of its artifacts."""

import re
from pathlib import Path
from urllib.parse import unquote

from vfer import env

SQLITE = re.compile(r"sqlite(?:\+\w+)?:///(?P<path>[^?]*)(?P<options>\?.*)?")
DATABASE, ARTIFACTS = "mlflow.db", "mlruns"


def uri(root: Path) -> str:
    """Return the address of the MLflow store: the user's where one is set, else SQLite in the repository at `root`."""
    configured = env.tracking_uri()
    return anchored(configured, root) if configured else local(root)


def local(root: Path) -> str:
    """Return the address of the repository's own store."""
    return f"sqlite:///{_quoted(root.resolve() / DATABASE)}"


def anchored(address: str, root: Path) -> str:
    """Return an address whose SQLite file, where it is relative, lies below `root`: a temporary copy's folder does not last."""
    match = SQLITE.fullmatch(address)
    if not match or not match["path"] or match["path"].startswith(("/", ":memory:", "file:")):
        return address
    return address.replace(match["path"], f"{_quoted(root.resolve())}/{match['path']}", 1)


def database(address: str) -> Path | None:
    """Return the file of an address of SQLite; None for other stores."""
    match = SQLITE.fullmatch(address)
    return Path(unquote(match["path"])) if match and match["path"] else None


def artifacts(root: Path) -> Path | None:
    """Return the folder in which new experiments keep their artifacts; None if a server decides."""
    address = uri(root)
    if path := database(address):
        return (path.parent / ARTIFACTS).resolve()
    return None if address.startswith(("http:", "https:", "databricks")) else (root / ARTIFACTS).resolve()


def is_shared(root: Path) -> bool:
    """Return whether other machines may use the store, too: any but the repository's own."""
    return uri(root) != local(root)


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3F")  # SQLAlchemy decodes `%`, and takes what follows a `?` for options
