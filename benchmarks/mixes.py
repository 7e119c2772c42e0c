"""What each kind of a person's own baseline gains, where a person's clips are an even mix of expressions and where most are neutral.

    dvc repro features
    python -m benchmarks.mixes --resting neutral --resting calm

A logistic regression learns from the clips' mean features in each fold of params.yaml's split. It answers all test clips (`all`), and,
for `mostly neutral`, all resting clips of each test person with so few of the others, drawn anew each time, that the resting ones make
up `--share`. Training and validation people keep all of their clips.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.folds import Baseline, folds_of
from benchmarks.repository import HOME
from vfer import files, params
from vfer.cli import console
from vfer.compare.relative import relative
from vfer.data.catalogue.split import SplitRow
from vfer.features import cache
from vfer.features.cache import Embeddings
from vfer.lstm.params import LstmParams
from vfer.nets.scores import score


def main(
    resting: Annotated[list[str], typer.Option(help="Expressions of a face at rest.")] = ["neutral"],  # noqa: B006
    share: Annotated[float, typer.Option(min=0.1, max=0.9, help="Share of resting clips in the mix that is mostly neutral.")] = 0.6,
    draws: Annotated[int, typer.Option(min=1, help="Mixes drawn for each fold.")] = 10,
    root: Annotated[Path, typer.Option(help="The repository.")] = HOME,
    out: Annotated[Path, typer.Option(help="The results, a JSON file.")] = HOME / "outputs/mixes.json",
) -> None:
    """Write accuracy and UAR by kind of baseline and by mix."""
    config = root / "params.yaml"
    settings = params.load(config, "lstm", LstmParams)
    with console.Stage("mixes") as stage:
        embeddings = cache.embeddings(root / "outputs" / "features" / "features.parquet")
        names, folds = folds_of(root, config, embeddings)
        visible = [[row for row in fold if len(embeddings[row.clip])] for fold in folds]
        figures = {}
        for mode in Baseline:
            how = settings.model_copy(update={"baseline": mode.value})
            mixes = {"all": [(fold, [fold]) for fold in visible]}
            mixes["mostly neutral"] = [
                (fold, [mostly(fold, resting, share, np.random.default_rng([number, draw])) for draw in range(draws)])
                for number, fold in enumerate(visible)
            ]
            figures[mode.value] = {mix: measure(each, embeddings, names, how) for mix, each in mixes.items()}
            console.console.print(f"{mode.value}: {figures[mode.value]}", markup=False)
        files.write_json(out, {"facts": machine.facts(), "figures": figures})
        stage.summary = f"{len(folds)} folds of {len(folds[0])} clips, {draws} draws -> {out}"


def mostly(rows: Sequence[SplitRow], resting: Sequence[str], share: float, random: np.random.Generator) -> list[SplitRow]:
    """Return the rows without so many test recordings that resting ones make up about `share` of each test person's."""
    omissions: set[str] = set()
    for subject in sorted({row.subject for row in rows if row.part == "test"}):
        own = {row.recording: row.expression in resting for row in rows if row.subject == subject}
        others = sorted(recording for recording, rests in own.items() if not rests)
        few = round(sum(own.values()) * (1 - share) / share)
        omissions |= set(random.permutation(others)[few:].tolist())
    return [row for row in rows if row.part != "test" or row.recording not in omissions]


def measure(
    folds: Sequence[tuple[Sequence[SplitRow], Sequence[Sequence[SplitRow]]]],
    embeddings: dict[str, Embeddings],
    names: list[str],
    how: LstmParams,
) -> dict[str, float]:
    """Return the scores over the test clips of all mixes; each fold comes with the mixes that its model answers."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    truth, answers = [], []
    for fold, mixes in folds:
        rows, relative_embeddings = relative(fold, embeddings, how.baseline, how.neutral, how.neutral_clips)
        train_rows = [row for row in rows if row.part != "test"]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        model.fit(means(train_rows, relative_embeddings), [row.expression for row in train_rows])
        for mix in mixes:
            rows, relative_embeddings = relative(mix, embeddings, how.baseline, how.neutral, how.neutral_clips)
            test_rows = [row for row in rows if row.part == "test"]
            truth += [names.index(row.expression) for row in test_rows]
            answers += [names.index(str(answer)) for answer in model.predict(means(test_rows, relative_embeddings))]
    scores = score(np.array(truth), np.array(answers), len(names))
    return {"accuracy": round(scores.accuracy, 4), "uar": round(scores.uar, 4)}


def means(rows: Sequence[SplitRow], clips: dict[str, Embeddings]) -> NDArray[np.float32]:
    """Return the mean features of clips, float32 (n, d)."""
    return np.stack([clips[row.clip].values.mean(axis=0) for row in rows])


if __name__ == "__main__":
    console.run(main)
