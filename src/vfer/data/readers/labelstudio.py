"""Label Studio's JSON exports of tasks that `vfer timeline` wrote and people corrected."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
from numpy.typing import NDArray

from vfer.data.readers.annotated import AnnotatedPart, AnnotatedVideo, place
from vfer.errors import DataError

UNCONFIRMED = "answers of the model that nobody has submitted"


def read(path: Path, content: bytes, videos: Mapping[str, Path]) -> list[AnnotatedVideo]:
    """Return the videos of an export with their parts.

    Raises:
        DataError: If it is none.
    """
    try:
        tasks = json.loads(content)
        return [_task(path, task, videos) for task in tasks if task["data"].get("video")]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError("is not an export of Label Studio in the format JSON") from error


def _task(path: Path, task: Mapping[str, Any], videos: Mapping[str, Path]) -> AnnotatedVideo:
    data = task["data"]
    provenance = data.get("vfer") or {}
    video = _video(path, str(data["video"]), str(provenance.get("video", "")), videos)
    annotations = [one for one in task.get("annotations") or [] if not one.get("was_cancelled")]
    size = _size(video) if annotations else (1, 1)
    parts = [part for one in annotations for result in one["result"] for part in _part(result, size)]
    if not annotations:
        results = [result for one in task.get("predictions") or [] for result in one["result"]]
        parts = [AnnotatedPart("", 0, 0, "", reason=UNCONFIRMED) for _ in results]
    return AnnotatedVideo(str(path), video, parts, str(provenance.get("video_sha256", "")))


def _part(result: Mapping[str, Any], size: tuple[int, int]) -> Iterator[AnnotatedPart]:
    if result.get("type") != "videorectangle":
        return
    value = result["value"]
    sequence = sorted(value["sequence"], key=lambda key: key["frame"])
    rate = value["framesCount"] / value["duration"] if value.get("framesCount") and value.get("duration") else 25.0
    times = [float(key.get("time", (key["frame"] - 1) / rate)) for key in sequence]
    closed = not sequence[-1].get("enabled", True)
    end = times[-1] if closed else float(value.get("duration") or times[-1])
    boxes = np.array([_box(key, size) for key in sequence], np.float32)
    words = value.get("labels") or [""]
    person = " ".join((result.get("meta") or {}).get("text") or [f"P{result.get('id', '')}"])
    yield AnnotatedPart(person, times[0], end, str(words[0]), boxes)


def _box(key: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.float32]:
    across, down = size[0] / 100, size[1] / 100
    left, top = key["x"] * across, key["y"] * down
    return np.array([left, top, left + key["width"] * across, top + key["height"] * down], np.float32)


def _size(video: Path) -> tuple[int, int]:
    from vfer.errors import ClipError
    from vfer.video import decode

    try:
        about = decode.probe(video)
    except ClipError:  # it is reported with its own reason
        return 1, 1
    return about.width, about.height


def _video(path: Path, address: str, name: str, videos: Mapping[str, Path]) -> Path:
    """Return the path of a task's video; Label Studio puts eight letters before the name of a file that is uploaded."""
    there = unquote(urlparse(address).query.removeprefix("d=") or urlparse(address).path)
    file_name = name or Path(there).name
    return place(file_name, [path.parent / file_name, path.parent / Path(there).name, Path(there)], videos)
