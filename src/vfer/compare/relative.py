"""The clips of a fold relative to each person's own baseline, for methods without a notion of people."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vfer.data.catalogue.split import SplitRow
from vfer.features.cache import Embeddings
from vfer.lstm import people
from vfer.lstm.baseline import Mode
from vfer.lstm.people import Answer
from vfer.nets.reference import Reference

VISIBLE = {"train": ("train",), "validation": ("train", "validation"), "test": ("train", "validation", "test")}
"""The parts whose clips may serve a clip of each part: a person's test clips say nothing in training."""


def relative(
    rows: Sequence[SplitRow], embeddings: Mapping[str, Embeddings], mode: Mode, neutral: str, neutral_clips: int
) -> tuple[list[SplitRow], dict[str, Embeddings]]:
    """Move the clips of a fold by the baselines that their persons' other clips make.

    Everybody's statistics are those of the training clips. With `neutral`, the labels say which clips of the training and validation
    people are neutral, and `neutral_clips` recordings of each test person are known to be; with `iterative`, a logistic regression
    on the training clips finds the neutral ones.

    Args:
        rows: The split of the fold.
        embeddings: Frames that show a face, by clip.
        mode: Which of a person's clips make the baseline.
        neutral: The neutral expression.
        neutral_clips: As in the section `lstm`.

    Returns:
        The rows without test clips that are known to be neutral, and the embeddings of their clips.
    """
    if mode == "none":
        return list(rows), dict(embeddings)
    train = [row for row in rows if row.part == "train"]
    everybody = people.reference(people.clips_of(train, embeddings, people.labelled_neutral(train, neutral)))
    moved = _moved(train, "train", people.labelled_neutral(train, neutral), embeddings, mode, everybody, None)
    answer = _neutrality([(moved[row.clip], row.expression == neutral) for row in train]) if mode == "iterative" else None
    left_out: set[str] = set()
    for part in ("validation", "test"):
        visible = [row for row in rows if row.part in VISIBLE[part]]
        known_neutral = people.labelled_neutral(visible, neutral)
        if part == "test":
            known_neutral = people.known_neutral(visible, neutral, neutral_clips if mode == "neutral" else 0)
            left_out = {row.clip for row, is_known in zip(visible, known_neutral, strict=True) if is_known and row.part == "test"}
        moved |= _moved(visible, part, known_neutral, embeddings, mode, everybody, answer)
    scored_rows = [row for row in rows if row.clip not in left_out]
    return scored_rows, {row.clip: moved[row.clip] for row in scored_rows}


def _moved(
    rows: Sequence[SplitRow],
    part: str,
    neutral: NDArray[np.bool_],
    embeddings: Mapping[str, Embeddings],
    mode: Mode,
    everybody: Reference,
    answer: Answer | None,
) -> dict[str, Embeddings]:
    clips = people.clips_of(rows, embeddings, neutral)
    baselines = people.baselines(clips, mode, everybody, answer)
    return {row.clip: embeddings[row.clip].moved(one) for row, one in zip(rows, baselines, strict=True) if row.part == part}


def _neutrality(examples: Sequence[tuple[Embeddings, bool]]) -> Answer:
    """Return the probability of neutral by the mean embedding, learned from clips of which it is known whether they are neutral."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    means = [(clip.values.mean(axis=0), is_neutral) for clip, is_neutral in examples if len(clip)]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    model.fit(np.stack([mean for mean, _ in means]), [is_neutral for _, is_neutral in means])

    def answer(clips: Sequence[Embeddings]) -> NDArray[np.floating]:
        return np.asarray(model.predict_proba(np.stack([clip.values.mean(axis=0) for clip in clips]))[:, 1])

    return answer
