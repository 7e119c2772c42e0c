"""The `compare` section of comparison/params.yaml; each key is explained there."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from vfer.compare.table import ENTRIES
from vfer.data.catalogue.split import FoldCount, Protocol, SplitParams
from vfer.evaluate.figures import Faceless
from vfer.lstm.baseline import Mode
from vfer.params import Params

RELATIVE = "-baseline-"
"""Stands in a table's name between the protocol and the baseline."""


def embeddings_of(folder: Path, protocol: str, fold: int, repeat: int) -> Path:
    """Return the file of the embeddings of the network that is fine-tuned for a fold and a seed."""
    return folder / f"{protocol}-{fold}-{repeat}.parquet"


class Folds(Params):
    """Into how many folds a protocol divides the clips, and from how many seeds each method is trained on each."""

    folds: FoldCount
    seeds: Annotated[int, Field(ge=1, le=100)]


class CompareParams(Params):
    """What is compared, and how sure the figures are to be."""

    methods: Annotated[list[str], Field(min_length=1)]
    protocols: Annotated[dict[Protocol, Folds], Field(min_length=1)]
    baselines: Annotated[list[Mode], Field(min_length=1)]
    faceless: Faceless
    confidence: Annotated[float, Field(gt=0, lt=1)]

    @field_validator("protocols")
    @classmethod
    def _fitting(cls, protocols: dict[Protocol, Folds]) -> dict[Protocol, Folds]:
        for protocol, folds in protocols.items():
            if isinstance(folds.folds, str) and protocol != "subject":
                raise ValueError(f"{protocol}: {folds.folds} goes with subject alone; give a number of folds")
        return protocols

    @field_validator("methods")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in ENTRIES:
                raise ValueError(f"{name} is not a method; expected some of {', '.join(ENTRIES)}")
        return names

    @property
    def tables(self) -> dict[str, tuple[Protocol, Mode]]:
        """The protocol and the baseline of each table, by its name."""
        pairs = [(protocol, mode) for protocol in self.protocols for mode in self.baselines]
        return {protocol if mode == "none" else f"{protocol}{RELATIVE}{mode}": (protocol, mode) for protocol, mode in pairs}

    def split(self, protocol: Protocol, fold: int) -> SplitParams:
        """Return the params of one fold of a protocol."""
        return SplitParams(protocol=protocol, folds=self.protocols[protocol].folds, fold=fold)
