"""A classifier of single frames, and the vote of its predictions over a clip."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vfer.lstm.sequences import thin

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Sequences = Sequence[NDArray[np.float32]]


def fit_frames(
    clips: Sequences, labels: NDArray[np.int64], frames: int, seed: int, *, strength: float = 0.1, steps: int = 500, balanced: bool = False
) -> "Pipeline":
    """Fit a logistic regression to single frames; call it within `threadpool_limits(1)`, since so small a problem only loses by threads.

    Args:
        clips: Embeddings, float32 (n, d) each.
        labels: The clips' class numbers.
        frames: How many frames of each clip are used at most, evenly spread.
        seed: That of the solver.
        strength: Inverse of the regularisation.
        steps: Most iterations of the solver.
        balanced: Whether all classes weigh the same.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    thinned = [thin(clip, frames) if frames > 1 else clip[:1] for clip in clips]
    weights = "balanced" if balanced else None
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=steps, class_weight=weights, random_state=seed))
    return model.fit(np.concatenate(thinned), np.repeat(labels, [len(clip) for clip in thinned]))


def vote(train: Sequences, labels: NDArray[np.int64], test: Sequences, classes: int, frames: int, seed: int) -> NDArray[np.int64]:
    """Fit a logistic regression to `frames` frames a training clip, and return the class that most frames of a test clip get.

    Clips are float32 (n, d). A clip without frames gets -1; a tie goes to the class of the lower number.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        model = fit_frames(train, labels, frames, seed)
    return np.array([np.bincount(model.predict(clip), minlength=classes).argmax() if len(clip) else -1 for clip in test])
