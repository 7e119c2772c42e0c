"""Where everybody's embeddings lie, for a CNN that answers relative to a person's own baseline without a sequence model."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vfer.lstm import baseline
from vfer.lstm.baseline import Reference
from vfer.nets.session import Session

BATCH = 256
NEUTRAL = "neutral"


def of_faces(session: Session, pixels: NDArray[np.uint8], labels: NDArray[np.int64], names: Sequence[str]) -> Reference:
    """Return the reference of the embeddings of faces, each class weighed alike.

    Args:
        session: The CNN.
        pixels: Grey faces, uint8 (n, 48, 48).
        labels: Class numbers, int64 (n,).
        names: The classes.
    """
    crops = pixels[..., np.newaxis]
    embeddings = np.concatenate([session(crops[at : at + BATCH])["embedding"] for at in range(0, len(crops), BATCH)])
    by_class = [embeddings[labels == number] for number in range(len(names))]
    neutral = [by_class[names.index(NEUTRAL)]] if NEUTRAL in names else []
    return baseline.everybody([baseline.statistics(by_class)], [baseline.statistics(neutral)])
