"""The figures of every method under every protocol, from its predictions for the test clips."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfer.compare.answers import Answers
from vfer.compare.params import RELATIVE, CompareParams
from vfer.compare.table import ENTRIES
from vfer.evaluate import figures, intervals, paired
from vfer.evaluate.figures import Numbers
from vfer.lstm.baseline import KNOWS
from vfer.nets.scores import confusion, score

LSTM = "lstm"
Scores = dict[str, Any]


class MethodResults:
    """A method under a protocol: its tested clips over all folds, sorted, the truth, int64 (n,), and the answers, int64 (seeds, n)."""

    def __init__(self, trained: Sequence[Answers], params: CompareParams) -> None:
        self.trained, self.classes = list(trained), trained[0].classes
        self._repeats = sorted({one.repeat for one in trained})
        self.folds = self._of("repeat", self._repeats[0])
        rows = [row for fold in self.folds for row in fold.rows]
        order = np.argsort([row.clip for row in rows], kind="stable")
        self.subjects, self.recordings = ([getattr(rows[i], kind) for i in order] for kind in ("subject", "recording"))
        self.truth: Numbers = np.concatenate([_truth(fold) for fold in self.folds])[order]
        self._params = params
        answers = [[_answers(fold, params) for fold in self._of("repeat", repeat)] for repeat in self._repeats]
        self.predicted: Numbers = np.stack([np.concatenate(of_folds)[order] for of_folds in answers])

    def _of(self, kind: str, number: int) -> list[Answers]:
        return [one for one in self.trained if getattr(one, kind) == number]

    @property
    def right(self) -> NDArray[np.float64]:
        """The share of the seeds that got each clip right, float64 (n,)."""
        return np.asarray((self.truth == self.predicted).mean(axis=0))

    @property
    def confusion(self) -> Numbers:
        """Truth in rows, answers of all seeds in columns, int64 (classes, classes)."""
        by_seed = [confusion(self.truth, answers, len(self.classes)) for answers in self.predicted]
        return np.asarray(np.sum(by_seed, axis=0), np.int64)

    def by_subject(self) -> list[dict[str, object]]:
        """Return the scores of every subject, each the mean over the seeds."""
        by_seed = [figures.per_subject(self.truth, answers, self.subjects, len(self.classes)) for answers in self.predicted]
        return [rows[0] | {name: mean(row[name] for row in rows) for name in figures.TITLES} for rows in zip(*by_seed, strict=True)]

    def by_fold(self) -> list[dict[str, float]]:
        """Return the scores of every fold that has a test clip, each the mean over the seeds."""
        return [_mean([self._score(one) for one in self._of("fold", fold.fold)]) for fold in self.folds if fold.rows]

    def _score(self, one: Answers) -> dict[str, float]:
        return asdict(score(_truth(one), _answers(one, self._params), len(self.classes)))

    def scores(self) -> Scores:
        """Return its figures over all tested clips, with intervals over subjects, and what it cost."""
        costs, confidence = [one.cost for one in self.trained], self._params.confidence
        whole = intervals.intervals(self.truth, self.predicted, self.subjects, self.recordings, len(self.classes), confidence)
        single = [row["accuracy"] for row in self.by_fold()]
        by_seed = [float(np.mean(self.truth == answers)) for answers in self.predicted]
        clips = [len(fold.rows) for fold in self.folds]
        return {
            **{name: asdict(interval) for name, interval in whole.items()},
            "folds": {"mean": mean(single), "deviation": stdev(single) if len(single) > 1 else 0.0, "number": len(single)},
            "seeds": {"deviation": stdev(by_seed) if len(by_seed) > 1 else None, "number": len(by_seed)},
            "clips": len(self.truth),
            "faceless": sum(int(np.isnan(fold.probabilities).any(axis=1).sum()) for fold in self.folds),
            "leakage": {
                kind: float(np.average([fold.leakage[kind] for fold in self.folds], weights=clips)) for kind in self.folds[0].leakage
            },
            "parameters": max(cost.parameters for cost in costs),
            "training_seconds": mean(cost.seconds for cost in costs),
            "milliseconds": mean(cost.milliseconds for cost in costs),
        }


def _mean(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: mean(one[name] for one in scores) for name in scores[0]}


def _truth(fold: Answers) -> Numbers:
    return np.array([fold.classes.index(row.expression) for row in fold.rows], np.int64)


def _answers(fold: Answers, params: CompareParams) -> Numbers:
    return figures.answers(fold.probabilities, fold.prior, params.faceless)


def table(results: Mapping[str, MethodResults]) -> dict[str, Scores]:
    """Return the figures of a protocol's methods, the most accurate first, with the p of each one's difference to the LSTM.

    p is of a paired test over subjects, corrected for the number of methods by Holm's procedure.
    """
    scores = {name: one.scores() for name, one in results.items()}
    if base := results.get(LSTM):
        raw = {
            name: paired.paired(one.right, base.right, base.subjects, base.recordings).p for name, one in results.items() if name != LSTM
        }
        for name, p in paired.holm(raw).items():
            scores[name] |= {"p": raw[name], "p_corrected": p}
    return dict(sorted(scores.items(), key=lambda item: (-item[1]["accuracy"]["value"], item[0])))


def flat(tables: Mapping[str, Mapping[str, Scores]]) -> list[dict[str, object]]:
    """Return one row a protocol and method, for CSV and plots."""
    rows: list[dict[str, object]] = []
    for protocol, methods in tables.items():
        for name, scores in methods.items():
            intervals = {
                f"{score}{'' if bound == 'value' else '_' + bound}": scores[score][bound]
                for score in figures.TITLES
                for bound in ("value", "low", "high")
            }
            rows.append(
                {"protocol": protocol, "method": name, "title": ENTRIES[name].title}
                | intervals
                | {
                    "folds_mean": scores["folds"]["mean"],
                    "folds_deviation": scores["folds"]["deviation"],
                    "folds": scores["folds"]["number"],
                }
                | {"seeds_deviation": scores["seeds"]["deviation"], "seeds": scores["seeds"]["number"]}
                | {key: scores.get(key, "") for key in ("p", "p_corrected")}
                | {key: scores[key] for key in ("clips", "faceless", "parameters", "training_seconds", "milliseconds")}
            )
    return rows


def markdown(tables: Mapping[str, Mapping[str, Scores]], confidence: float, *, tuned: bool = False) -> str:
    """Return the figures as a Markdown table a protocol, in per cent; `tuned` says whether the CNN was fine-tuned for each fold."""
    return "\n".join(_section(protocol, methods, confidence, tuned) for protocol, methods in tables.items())


def heading(name: str, *, tuned: bool = False) -> str:
    """Return how a table's clips were split, what the CNN has learned from, and what was known of the clips' people."""
    protocol, relative, mode = name.partition(RELATIVE)
    network = ", with the CNN fine-tuned on each fold's training clips" if tuned else ""
    return f"By {protocol}{network}" + (f", relative to each person's baseline ({mode}: {KNOWS[mode]})" if relative else "")


def _section(protocol: str, methods: Mapping[str, Scores], confidence: float, tuned: bool) -> str:
    first = next(iter(methods.values()))
    leaks = first["leakage"]
    leakage = f"{leaks['recording']:.0%} of their recordings and {leaks['subject']:.0%} of their subjects were seen in training"
    scored = [head for title in figures.TITLES.values() for head in (title, intervals.head(confidence))]
    heads = ("method", *scored, "folds", "seeds", "p", "parameters", "training s", "ms a clip")
    lines = [
        f"### {heading(protocol, tuned=tuned)}: {first['clips']} test clips in {first['folds']['number']} folds; {leakage}\n",
        f"| {' | '.join(heads)} |",
        "|---" + "|--:" * (len(heads) - 1) + "|",
    ]
    for name, row in methods.items():
        scores = [cell for score in figures.TITLES for cell in intervals.cells(row[score], ".1f", 100)]
        cells = [
            ENTRIES[name].title,
            *scores,
            f"{100 * row['folds']['mean']:.1f} ± {100 * row['folds']['deviation']:.1f}",
            _spread(row["seeds"]),
            paired.p_text(row["p_corrected"]) if "p" in row else "",
            f"{row['parameters']:,}",
            f"{row['training_seconds']:.1f}",
            f"{row['milliseconds']:.2g}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _spread(seeds: Scores) -> str:
    return "one seed" if seeds["deviation"] is None else f"± {100 * seeds['deviation']:.1f} over {seeds['number']}"
