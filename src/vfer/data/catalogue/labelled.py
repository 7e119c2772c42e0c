"""The clips that a sequence model can learn from, with their expressions."""

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from vfer.data.catalogue import identical, manifest, places, split
from vfer.data.catalogue.labels import LabelsParams, classes
from vfer.data.catalogue.manifest import Clip
from vfer.data.catalogue.places import Kind
from vfer.data.catalogue.split import SplitParams, SplitRow
from vfer.files import MOST_SHOWN


@dataclass(frozen=True)
class LabelledClips:
    """n clips, sorted, with their merged expressions (n), and the classes in the order of the models.

    `manifest` is the file that lists them; `digests` are the sha256 of their files, by clip; `reasons` say, a sentence each, why other
    clips were left out or renamed.
    """

    manifest: Path
    clips: list[Clip]
    expressions: list[str]
    classes: list[str]
    digests: dict[str, str]
    reasons: list[str]

    def split(self, params: SplitParams, seed: int, known: Mapping[Kind, Mapping[str, int]]) -> list[SplitRow]:
        """Return the split of the clips, as `split.split` makes it."""
        return split.split(self.clips, self.expressions, params, seed, self.manifest, known, self.digests)


def labelled_clips(data: Path, labels: LabelsParams, cached: Container[str], store: Path | None, threads: int) -> LabelledClips:
    """Return the clips of a dataset's folder that are in the feature cache and show one of the classes.

    Identical files become one recording of one subject; those that are labelled unlike are left out. The clip `store` remembers digests.
    Raises `DataError` as `classes` does.
    """
    where = data / manifest.FILE
    with_features = [clip for clip in manifest.read(where) if clip.clip in cached]
    digests = identical.digests(with_features, data, store, threads)
    resolved = identical.resolve(with_features, labels.merged(clip.expression for clip in with_features), digests)
    names = classes(resolved.expressions, labels.clips, where)
    rows = [i for i, expression in enumerate(resolved.expressions) if expression in names]
    conflicts = sorted(set(resolved.conflicts.values()))
    reasons = [f"{where}: {reason}" for reason in conflicts[:MOST_SHOWN]]
    if len(conflicts) > MOST_SHOWN:
        reasons.append(f"{where}: {len(conflicts) - MOST_SHOWN} more files are labelled differently under other names")
    if resolved.renamed:
        reasons.append(f"{where}: {resolved.renamed} clips are identical to one of another subject, and count as that subject's")
    if left_out := len(resolved.clips) - len(rows):
        reasons.append(f"{left_out} of {len(resolved.clips)} clips show expressions that labels.clips leaves out")
    return LabelledClips(where, [resolved.clips[i] for i in rows], [resolved.expressions[i] for i in rows], names, digests, reasons)


@dataclass(frozen=True)
class SplitClips:
    """The classes, the split of the clips that show one of them, and warnings, a sentence each."""

    classes: list[str]
    rows: list[SplitRow]
    warnings: list[str]


def split_clips(
    data: Path,
    labels: LabelsParams,
    params: SplitParams,
    seed: int,
    cached: Collection[str],
    store: Path | None,
    threads: int,
) -> SplitClips:
    """Return the split of the clips of a dataset's folder, by its table of places; every stage that needs it gets the same.

    The other arguments and what is raised are those of `labelled_clips` and of `split.split`.
    """
    dataset = labelled_clips(data, labels, cached, store, threads)
    table = data / places.FILE
    numbers = places.read(table)
    warnings = list(dataset.reasons)
    if unknown := sorted({clip.subject for clip in dataset.clips} - set(numbers["subject"])):
        warnings.append(
            f"{table}: lacks {len(unknown)} subjects, {unknown[0]} first; run `vfer data places`, or later additions may move them"
        )
    rows = dataset.split(params, seed, numbers)
    return SplitClips(dataset.classes, rows, warnings + split.absent(rows))
