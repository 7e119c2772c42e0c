"""The checks of `vfer doctor`, in the order in which they are shown."""

from collections.abc import Iterator
from pathlib import Path

from vfer.cli.doctor import machine, remote, repository
from vfer.cli.doctor.check import Check

CHECKS = (
    machine.python,
    machine.packages,
    machine.codecs,
    repository.parameters,
    repository.detector,
    repository.data,
    repository.dvc,
    remote.remote,
    repository.mlflow,
    machine.disk,
    machine.machine,
    machine.precision,
)

__all__ = ["CHECKS", "Check", "examine"]


def examine(root: Path) -> Iterator[Check]:
    """Run every check on the repository at `root`; raise nothing, load no TensorFlow, and make neither data nor MLflow's store."""
    for run in CHECKS:
        yield run(root.resolve())
