"""Ask an MLflow server over REST for a registered model, and fetch its files through the server's artifact proxy."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from vfer import env
from vfer.errors import TrackingError
from vfer.register.refusal import LOGIN, PAGE

TIMEOUT = (5, 60)  # seconds to connect, and between two parts of an answer
CHUNK = 1 << 20
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
REMEDY = "start the server, unset MLFLOW_TRACKING_URI, or name a model folder with --model"


def find(address: str, name: str, alias: str, version: str) -> tuple[str, str, str] | None:
    """Return the version, run id and location of a registered model; None if the server knows none.

    Raises `TrackingError` if the server does not answer, or refuses.
    """
    if alias:
        answer = _ask(address, "registered-models/alias", name=name, alias=alias)
    elif version == "latest":
        answer = _ask(address, "model-versions/search", filter=f"name = '{name}'", order_by="version_number DESC", max_results=1)
    else:
        answer = _ask(address, "model-versions/get", name=name, version=version)
    if answer is None:
        return None
    rows = answer.get("model_versions", []) if version == "latest" else [answer["model_version"]]
    if not rows:
        return None
    number = str(rows[0]["version"])
    location = _ask(address, "model-versions/get-download-uri", name=name, version=number) or {}
    return number, str(rows[0].get("run_id", "")), str(location.get("artifact_uri") or rows[0]["source"])


def key(address: str, location: str) -> str:
    """Return the name under which the files of a location are cached; what is registered never changes."""
    return hashlib.sha256(f"{address}\n{location}".encode()).hexdigest()[:32]


def download(address: str, path: str, target: Path) -> None:
    """Fetch what a model needs to answer, its description and its artifacts, into a folder; all of it or nothing."""
    with whole(target) as temporary:
        for name in ("MLmodel", *_files(address, f"{path.strip('/')}/artifacts", "artifacts")):
            _fetch(address, f"{path.strip('/')}/{name}", temporary / name)


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`, which takes its place at the end, and is deleted after an error."""
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if not target.exists():
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _files(address: str, path: str, below: str) -> list[str]:
    entries = (_get(address, "mlflow-artifacts/artifacts", {"path": path}).json()).get("files", [])
    files = []
    for entry in sorted(entries, key=lambda entry: str(entry["path"])):
        name = str(entry["path"]).rpartition("/")[2]
        files += _files(address, f"{path}/{name}", f"{below}/{name}") if entry.get("is_dir") else [f"{below}/{name}"]
    return files


def _fetch(address: str, path: str, target: Path) -> None:
    import requests

    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _get(address, f"mlflow-artifacts/artifacts/{quote(path)}", {}, stream=True) as answer, target.open("wb") as file:
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
    except requests.RequestException as error:
        raise TrackingError(f"{address}: the download of {path} broke off; try again") from error


def _ask(address: str, call: str, **query: object) -> dict[str, Any] | None:
    answer = _get(address, f"mlflow/{call}", query)
    try:
        content = answer.json()
    except ValueError as error:
        raise TrackingError(f"{address}: {PAGE}; check MLFLOW_TRACKING_URI, and {LOGIN}") from error
    if answer.ok:
        return dict(content)
    if content.get("error_code") in ABSENT:
        return None
    raise TrackingError(f"{address}: cannot be asked for a model ({content.get('message', answer.status_code)}); {REMEDY}")


def _get(address: str, call: str, query: dict[str, object], *, stream: bool = False) -> Any:
    import requests

    user, password, token = env.mlflow_login()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = requests.get(
            f"{address.rstrip('/')}/api/2.0/{call}",
            params={name: str(value) for name, value in query.items()},
            headers=headers,
            auth=(user, password) if user and not token else None,
            timeout=TIMEOUT,
            stream=stream,
        )
    except requests.RequestException as error:
        raise TrackingError(f"{address}: does not answer ({type(error).__name__}); {REMEDY}") from error
    if answer.status_code in (401, 403):
        raise TrackingError(f"{address}: denies access ({answer.status_code}); {LOGIN}")
    if not answer.ok and answer.status_code >= 500:
        raise TrackingError(f"{address}: fails ({answer.status_code}); {REMEDY}")
    if stream and not answer.ok:
        raise TrackingError(f"{address}: has no {call} ({answer.status_code}); name a model folder with --model")
    return answer
