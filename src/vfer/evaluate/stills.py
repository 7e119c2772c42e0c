"""What the CNN makes of single stills: intervals, classes, calibration, and its worst mistakes."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vfer import files
from vfer.cnn.predictions import Predictions
from vfer.data import stills as stills_table
from vfer.evaluate import figures, plots
from vfer.evaluate.params import EvaluateParams
from vfer.evaluate.scores import confusion

WORST = 40


def report(test: Predictions, pictures: Path, params: EvaluateParams, seed: int, out: Path) -> dict[str, Any]:
    """Writes the tables and pictures of the test stills, of which there is one at least, into `out`; returns their figures.

    The stills are resampled one by one, since most datasets do not say whom they show. `without_twins` are the figures of those whose
    photo was not trained on, where some were. The sheet shows the mistakes it was surest of.
    """
    truth, predicted = test.truth, test.predicted
    scored = _scored(test, params, seed)
    if any(test.twin):
        scored["without_twins"] = _scored(test.fresh, params, seed)
    error, curve = figures.calibration(truth, test.probabilities)
    classes = figures.per_class(truth, predicted, test.classes)
    files.write_csv(out / "plots" / "stills_per_class.csv", list(classes[0]), classes)
    plots.confusion(out / "plots" / "stills_confusion.png", confusion(truth, predicted, len(test.classes)), test.classes, "test stills")
    plots.reliability(out / "plots" / "stills_reliability.png", curve, "test stills")
    sure = test.probabilities.max(axis=1)
    worst = [int(row) for row in np.argsort(-sure, kind="stable") if truth[row] != predicted[row]][:WORST]
    shown = stills_table.pictures(pictures, [test.still[row] for row in worst])
    captions = [f"{test.expression[row]},\nnot {test.classes[predicted[row]]} ({sure[row]:.2f})" for row in worst]
    plots.sheet(out / "plots" / "stills_mistakes.png", shown, captions, "test stills: the surest mistakes")
    return scored | {"calibration_error": error}


def intervals(said: Predictions, *, resamples: int, confidence: float, seed: int) -> dict[str, Any]:
    """Returns the scores of stills with their intervals over the stills, by name."""
    found = figures.bootstrap(
        said.truth, said.predicted, said.still, len(said.classes), resamples=resamples, confidence=confidence, seed=seed
    )
    return {name: asdict(interval) for name, interval in found.items()}


def _scored(said: Predictions, params: EvaluateParams, seed: int) -> dict[str, Any]:
    return intervals(said, resamples=params.resamples, confidence=params.confidence, seed=seed) | {"stills": len(said.still)}
