"""The figures of every method under every protocol, from what each says of the tested clips."""

from dataclasses import asdict
from statistics import mean, stdev
from typing import Any

import numpy as np

from vfer.comparison.answers import Answers
from vfer.comparison.params import CompareParams
from vfer.evaluate import figures
from vfer.methods.base import Numbers
from vfer.methods.table import ENTRIES
from vfer.register.gate import mcnemar
from vfer.scores import score
from vfer.split import Row

LSTM = "lstm"
HEADS = ("accuracy", "95 % interval", "UAR", "macro F1", "folds", "p against the LSTM", "parameters", "training s", "ms a clip")
Told = dict[str, Any]


def told(folds: list[Answers], params: CompareParams, seed: int) -> tuple[Told, dict[str, bool]]:
    """Returns a method's figures under a protocol, over the test clips of all folds, and which clips it got right.

    Intervals are over resampled subjects; a clip without a face counts as `faceless` says.
    """
    names = folds[0].classes
    rows = [row for fold in folds for row in fold.rows]
    predicted = np.concatenate([answered(fold, params.faceless) for fold in folds])
    truth = np.array([names.index(row.expression) for row in rows], np.int64)
    subjects = [row.subject for row in rows]
    whole = figures.bootstrap(
        truth, predicted, subjects, len(names), resamples=params.resamples, confidence=params.confidence, seed=seed
    )
    single = [score(_truth(fold), answered(fold, params.faceless), len(names)).accuracy for fold in folds if fold.rows]
    made = {
        **{name: asdict(interval) for name, interval in whole.items()},
        "folds": {"mean": mean(single), "deviation": stdev(single) if len(single) > 1 else 0.0, "accuracy": single},
        "clips": len(rows),
        "faceless": sum(int(np.isnan(fold.probabilities).any(axis=1).sum()) for fold in folds),
        "parameters": max(fold.cost.parameters for fold in folds),
        "training_seconds": mean(fold.cost.seconds for fold in folds),
        "milliseconds": mean(fold.cost.milliseconds for fold in folds),
    }
    return made, {row.clip: bool(hit) for row, hit in zip(rows, truth == predicted, strict=True)}


def answered(fold: Answers, faceless: str) -> Numbers:
    """Returns the class numbers of a fold's answers; without a face -1, which is wrong, or the likeliest class by the training clips."""
    missing = np.isnan(fold.probabilities).any(axis=1)
    instead = int(fold.prior.argmax()) if faceless == "prior" else -1
    return np.where(missing, instead, np.nan_to_num(fold.probabilities).argmax(axis=1))


def _truth(fold: Answers) -> Numbers:
    return np.array([fold.classes.index(row.expression) for row in fold.rows], np.int64)


def compared(right: dict[str, dict[str, bool]]) -> dict[str, float]:
    """Returns the p of each method's difference to the LSTM on the same clips; `right` has which clips each got right."""
    base = right.get(LSTM)
    if base is None:
        return {}
    hits = np.array(list(base.values()))
    return {
        name: mcnemar(np.array([found[clip] for clip in base]), hits) for name, found in right.items() if name != LSTM
    }


def leaked(rows: list[Row]) -> dict[str, float]:
    """Returns the leakage of a split."""
    return figures.leakage(rows)


def markdown(table: dict[str, dict[str, Told]]) -> str:
    """Returns the figures, by protocol and method, as a Markdown table a protocol, in per cent, the most accurate first."""
    return "\n".join(_section(protocol, methods) for protocol, methods in table.items())


def _section(protocol: str, methods: dict[str, Told]) -> str:
    lines = [f"### {protocol}\n", f"| method | {' | '.join(HEADS)} |", "|---" * (len(HEADS) + 1) + "|"]
    for name, made in sorted(methods.items(), key=lambda item: -item[1]["accuracy"]["value"]):
        value, low, high = (100 * made["accuracy"][key] for key in ("value", "low", "high"))
        cells = [
            ENTRIES[name].title,
            f"{value:.1f}",
            f"{low:.1f} to {high:.1f}",
            f"{100 * made['uar']['value']:.1f}",
            f"{100 * made['macro_f1']['value']:.1f}",
            f"{100 * made['folds']['mean']:.1f} ± {100 * made['folds']['deviation']:.1f}",
            f"{made['p']:.2g}" if "p" in made else "",
            f"{made['parameters']:,}",
            f"{made['training_seconds']:.1f}",
            f"{made['milliseconds']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
