"""The project's name in MLflow, so that two projects on one server do not share a champion."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from vfer import params
from vfer.register import address
from vfer.register.params import RegisterParams

DEFAULT = "vfer"
"""The name in a repository's own store, which no other project shares: it stays where the repository is moved or renamed."""


@dataclass(frozen=True)
class Names:
    """The names of the project's experiment, which its end-to-end model shares, and of its other registered models."""

    project: str

    @property
    def cnn(self) -> str:
        """The registered CNN."""
        return f"{self.project}-cnn"

    @property
    def lstm(self) -> str:
        """The registered sequence model."""
        return f"{self.project}-lstm"

    def of(self, stage: str) -> str:
        """The registered network of a stage, `cnn` or `lstm`."""
        return f"{self.project}-{stage}"


def name(config: Path, root: Path) -> str:
    """Return `register.name` of the params file; where that is empty, the repository's name on a shared server."""
    return params.load(config, "register", RegisterParams).name or default(root)


def default(root: Path) -> str:
    """Return the name of a project that names itself nowhere, by its remote `origin`, or by its folder."""
    if not address.is_shared(root):
        return DEFAULT
    command = ["git", "-C", str(root), "config", "--get", "remote.origin.url"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    last = re.split(r"[/:\\]", process.stdout.strip().rstrip("/"))[-1].removesuffix(".git")
    return re.sub(r"[^\w.-]+", "-", last or root.resolve().name)
