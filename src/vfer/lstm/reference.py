"""Where everybody's embeddings lie, for a CNN that answers relative to a person's own baseline without a sequence model."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vfer.lstm import baseline
from vfer.lstm.baseline import Reference

NEUTRAL = "neutral"


def of_faces(embeddings: NDArray[np.float32], labels: NDArray[np.int64], names: Sequence[str]) -> Reference:
    """Return the reference of the embeddings of faces, each class weighed alike.

    Args:
        embeddings: What the CNN makes of the faces, float32 (n, d).
        labels: Class numbers, int64 (n,).
        names: The classes.
    """
    by_class = [embeddings[labels == number] for number in range(len(names))]
    neutral = [by_class[names.index(NEUTRAL)]] if NEUTRAL in names else []
    return baseline.everybody([baseline.statistics(by_class)], [baseline.statistics(neutral)])
