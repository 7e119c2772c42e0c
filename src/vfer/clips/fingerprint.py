"""The hash of everything that a result depends on: for the clip store, checkpoints of trainings, and the key of an experiment."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer.clips import closure
from vfer.clips.digests import digest

Input = Path | str | NDArray[np.generic]


def fingerprint(settings: Mapping[str, object], *, code: Iterable[str] = (), inputs: Iterable[Input] = ()) -> str:
    """Return 32 hex digits that change with whatever may change a result, and with nothing else.

    Args:
        settings: Params and labels, as JSON can hold them.
        code: The modules that do the work; what they import counts too, and so do the installed versions of the packages that compute.
        inputs: Files or folders by their content, arrays by their values, and text, in an order that matters.
    """
    work = closure.closure(code)
    parts = {
        "settings": settings,
        "code": {name: closure.digest(file) for name, file in work.files.items()},
        "packages": closure.versions(work.packages),
        "inputs": [_digest(one) for one in inputs],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _digest(value: Input) -> str:
    if isinstance(value, str):
        return f"text {value}"
    if isinstance(value, Path):
        return digest(value)
    values = np.ascontiguousarray(value)
    return f"{values.dtype} {values.shape} {hashlib.sha256(values.data).hexdigest()}"
