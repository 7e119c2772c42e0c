"""Sequences of embeddings as padded batches, and inference over them."""

import numpy as np
from numpy.typing import NDArray

from vfer.nets.session import Session

PADDING = -1.0  # no embedding is negative, so that no real frame is taken for padding
BATCH = 64


def thin(embeddings: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Returns at most `most` of the frames, float32 (n, d), evenly spaced from the first to the last."""
    if len(embeddings) <= most:
        return embeddings
    return np.asarray(embeddings[np.linspace(0, len(embeddings) - 1, most).round().astype(int)])


def pad(sequences: list[NDArray[np.float32]], most: int, *, full: bool = False) -> NDArray[np.float32]:
    """Returns sequences, float32 (n, d) each, as one array (batch, longest, d), padded on the right; the longest counts at most `most`.

    Where `full`, the array is `most` long, however short they are.
    """
    thinned = [thin(sequence, most) for sequence in sequences]
    batch = np.full((len(thinned), most if full else max(map(len, thinned)), thinned[0].shape[1]), PADDING, np.float32)
    for row, sequence in zip(batch, thinned, strict=True):
        row[: len(sequence)] = sequence
    return batch


def predict(session: Session, sequences: list[NDArray[np.float32]], most: int) -> NDArray[np.float32]:
    """Returns each sequence's probabilities, float32 (n, classes); an empty sequence has none, and its row is NaN."""
    result = np.full((len(sequences), len(session.classes)), np.nan, np.float32)
    # Sequences of like length go together, so that little of a batch is padding.
    order = sorted((i for i, sequence in enumerate(sequences) if len(sequence)), key=lambda i: len(sequences[i]))
    for at in range(0, len(order), BATCH):
        chosen = order[at : at + BATCH]
        result[chosen] = session(pad([sequences[i] for i in chosen], most))["probabilities"]
    return result
