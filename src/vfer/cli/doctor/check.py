"""A check, its result, and how one that fails is kept from stopping the others."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vfer.errors import VferError

Status = Literal["ok", "warn", "fail"]
Verdict = tuple[Status, str] | tuple[Status, str, str]

INSTALL = "create the environment again: delete .venv and run `make repro`"


@dataclass(frozen=True)
class Check:
    """What one check found; `remedy` says what to do, and is empty if nothing is."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def check(name: str) -> Callable[[Callable[[Path], Verdict]], Callable[[Path], Check]]:
    """Make a check of a function of the repository's root; whatever the function raises becomes a failed check."""

    def decorate(function: Callable[[Path], Verdict]) -> Callable[[Path], Check]:
        @functools.wraps(function)
        def checked(root: Path) -> Check:
            try:
                return Check(name, *function(root))
            except VferError as error:
                detail, _, remedy = str(error).partition("; ")
                return Check(name, "fail", detail, remedy)
            except Exception as error:
                return Check(
                    name, "fail", f"{type(error).__name__}: {' '.join(str(error).split())}", f"{INSTALL}; if that does not help, report it"
                )

        return checked

    return decorate
