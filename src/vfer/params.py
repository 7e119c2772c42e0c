"""Read params.yaml: one frozen, checked class per section."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from vfer.errors import ParamsError

SECTIONS = ("seed", "labels", "split", "frames", "faces", "pretrain", "cnn", "tune", "features", "lstm", "evaluate", "register")
SOURCES = ("cnn", "openface", "pyfeat")
"""Values of `features.source`."""
COMPARISON = ("compare", "methods")
"""The sections of comparison/params.yaml."""


class Params(BaseModel):
    """Base of the params sections: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


P = TypeVar("P", bound=Params)


def read(path: Path, known: Sequence[str] = SECTIONS) -> dict[str, object]:
    """Read the params file and check the names of its sections.

    Raises:
        ParamsError: If the file is missing, is not YAML, or holds an unknown section.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read ({error.strerror}); restore it with `git checkout {path.name}`") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: holds no sections; expected {', '.join(known)}")
    for section in content:
        if section not in known:
            raise ParamsError(f"{path}: {section}: unknown section; expected one of {', '.join(known)}")
    return content


def load(path: Path, section: str, kind: type[P]) -> P:
    """Return one section of the params file as its class.

    Raises `ParamsError` with the file, the key, and what was expected.
    """
    content = read(path, COMPARISON if section in COMPARISON else SECTIONS)
    if section not in content:
        raise ParamsError(f"{path}: {section}: the section is missing")
    try:
        return kind.model_validate(content[section])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([section, *(str(part) for part in first["loc"])])
        if first["type"] == "extra_forbidden":
            known = ", ".join(kind.model_fields)
            raise ParamsError(f"{path}: {key}: unknown key; {section} has {known}") from error
        raise ParamsError(f"{path}: {key}: {first['msg'].lower()}, got {first['input']!r}") from error


def seed(path: Path) -> int:
    """Return the seed of every random choice, a non-negative integer."""
    value = read(path).get("seed")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32:
        raise ParamsError(f"{path}: seed: expected an integer from 0 to 4294967295, got {value!r}")
    return value


def unneeded(path: Path) -> str:
    """Return why frames, faces and CNN have nothing to do, which is that features come from another tool; empty if they have.

    Raises:
        ParamsError: If `features.source` is unknown.
    """
    section = read(path).get("features")
    source = section.get("source", SOURCES[0]) if isinstance(section, dict) else SOURCES[0]
    if source not in SOURCES:
        raise ParamsError(f"{path}: features.source: expected one of {', '.join(SOURCES)}, got {source!r}")
    return "" if source == SOURCES[0] else f"nothing to do, since features.source is {source}"
