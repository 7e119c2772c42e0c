"""The clips of a fold relative to each person's own baseline, and what nothing may reach."""

from dataclasses import replace

import numpy as np
import pytest
from test_people import CLIPS, EXPRESSIONS, ROWS

from vfer.compare.relative import relative
from vfer.data.catalogue.split import SplitRow
from vfer.features.cache import Embeddings
from vfer.lstm.baseline import Mode

MODES: list[Mode] = ["subject", "neutral", "iterative"]


def nearest(clips: dict[str, Embeddings], rows: list[SplitRow]) -> float:
    """The accuracy on test clips of the nearest mean of the training clips."""
    means = {row.clip: clips[row.clip].values.mean(axis=0) for row in rows}
    centres = {
        name: np.mean([means[row.clip] for row in rows if row.part == "train" and row.expression == name], axis=0) for name in EXPRESSIONS
    }
    test_rows = [row for row in rows if row.part == "test"]
    return float(
        np.mean([min(centres, key=lambda name: np.linalg.norm(means[row.clip] - centres[name])) == row.expression for row in test_rows])
    )


@pytest.mark.parametrize("mode", MODES)
def test_every_method_can_do_better_by_it(mode: Mode) -> None:
    rows, relative_clips = relative(ROWS, CLIPS, mode, "neutral", 2)
    assert nearest(relative_clips, rows) > nearest(CLIPS, ROWS) + 0.1
    neutrals = {row.clip for row in ROWS} - {row.clip for row in rows}
    assert len(neutrals) == (4 if mode == "neutral" else 0)  # two of each test person
    assert all("neutral" in clip for clip in neutrals)


def test_without_a_baseline_nothing_changes() -> None:
    assert relative(ROWS, CLIPS, "none", "neutral", 2) == (ROWS, CLIPS)


@pytest.mark.parametrize("mode", MODES)
def test_test_clips_and_their_labels_reach_nothing_but_their_own_people(mode: Mode) -> None:
    _, before = relative(ROWS, CLIPS, mode, "neutral", 2)
    person = next(row.subject for row in ROWS if row.part == "test")
    far = {row.clip: CLIPS[row.clip].moved(lambda values: values + 50) for row in ROWS if row.subject == person}
    _, after = relative(ROWS, CLIPS | far, mode, "neutral", 2)
    for row in ROWS:
        if row.clip in after and row.subject != person:
            np.testing.assert_array_equal(after[row.clip].values, before[row.clip].values)
    swaps = [replace(row, expression={"sad": "angry", "angry": "sad"}.get(row.expression, row.expression)) for row in ROWS]
    with_swaps = [new if new.part == "test" else old for new, old in zip(swaps, ROWS, strict=True)]
    _, after = relative(with_swaps, CLIPS, mode, "neutral", 2)
    assert all((after[clip].values == before[clip].values).all() for clip in after)
