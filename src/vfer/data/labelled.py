"""The clips that a sequence model can learn from, with what each of them shows."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from vfer.data import manifest
from vfer.data.labels import LabelsParams, classes
from vfer.data.manifest import Clip


@dataclass(frozen=True)
class Labelled:
    """n clips, sorted, their merged expressions (n), the classes in the order of the models, and how many clips were left out."""

    clips: list[Clip]
    expressions: list[str]
    classes: list[str]
    left_out: int


def labelled(where: Path, labels: LabelsParams, cached: Container[str]) -> Labelled:
    """Returns the clips of a manifest that are in the feature cache and show one of the classes; raises `DataError` as `classes` does."""
    listed = [clip for clip in manifest.read(where) if clip.clip in cached]
    expressions = labels.merged(clip.expression for clip in listed)
    names = classes(expressions, labels.clips, where)
    kept = [i for i, expression in enumerate(expressions) if expression in names]
    return Labelled([listed[i] for i in kept], [expressions[i] for i in kept], names, len(listed) - len(kept))
