"""What single frames tell: a classifier of frames whose answers are put to the vote."""

import numpy as np
from numpy.typing import NDArray

from vfer.lstm.sequences import thin


def vote(
    train: list[NDArray[np.float32]], labels: NDArray[np.int64], test: list[NDArray[np.float32]], classes: int, frames: int, seed: int
) -> NDArray[np.int64]:
    """Fit a logistic regression to `frames` frames a training clip, and return the class that most frames of a test clip get.

    Clips are float32 (n, d). A clip without frames gets -1; a tie goes to the class of the lower number.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    thinned = [thin(sequence, frames) if frames > 1 else sequence[:1] for sequence in train]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500, random_state=seed))
    with threadpool_limits(1):  # so small a problem only loses by threads
        model.fit(np.concatenate(thinned), np.repeat(labels, [len(sequence) for sequence in thinned]))
    return np.array([np.bincount(model.predict(clip), minlength=classes).argmax() if len(clip) else -1 for clip in test])
