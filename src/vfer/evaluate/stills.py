"""The evaluation of the CNN on single stills: intervals, classes, calibration, and its worst mistakes."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vfer import files
from vfer.cnn.predictions import Predictions
from vfer.data.catalogue import stills as stills_table
from vfer.evaluate import figures, plots
from vfer.evaluate.intervals import intervals
from vfer.nets.scores import confusion

WORST = 40


def report(test: Predictions, pictures: Path, confidence: float, out: Path) -> dict[str, Any]:
    """Write the tables and pictures of the test stills, of which there is one at least, into `out`; return their figures.

    Each still counts as a subject, since most datasets do not identify people. `without_twins` are the figures of those whose
    photo was not trained on, where some were. The sheet shows the mistakes it was surest of.
    """
    truth, predicted = test.truth, test.predicted
    test_scores = scores(test, confidence)
    if any(test.twin):
        test_scores["without_twins"] = scores(test.fresh, confidence)
    error, curve = figures.calibration(truth, test.probabilities)
    classes = figures.per_class(truth, predicted, test.classes)
    files.write_csv(out / "plots" / "stills_per_class.csv", list(classes[0]), classes)
    plots.confusion(out / "plots" / "stills_confusion.png", confusion(truth, predicted, len(test.classes)), test.classes, "test stills")
    plots.reliability(out / "plots" / "stills_reliability.png", curve, "test stills")
    sure = test.probabilities.max(axis=1)
    worst = [int(row) for row in np.argsort(-sure, kind="stable") if truth[row] != predicted[row]][:WORST]
    faces = stills_table.pictures(pictures, [test.still[row] for row in worst])
    captions = [f"{test.expression[row]},\nnot {test.classes[predicted[row]]} ({sure[row]:.2f})" for row in worst]
    plots.sheet(out / "plots" / "stills_mistakes.png", faces, captions, "test stills: the surest mistakes")
    return test_scores | {"calibration_error": error}


def scores(stills: Predictions, confidence: float) -> dict[str, Any]:
    """Return the scores of stills, by name, with intervals that take each still for a subject of its own, and their number."""
    result = intervals(stills.truth, stills.predicted, stills.still, stills.still, len(stills.classes), confidence)
    return {name: asdict(interval) for name, interval in result.items()} | {"stills": len(stills.still)}
