"""Sequences of embeddings as padded batches, and inference over them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.faces.table import evenly
from vfer.features.cache import Embeddings
from vfer.nets.session import Network

PADDING = -1.0
"""The time of what is not a frame."""
BATCH = 64


def thin(values: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Return at most `most` of the frames, float32 (n, d), evenly spaced from the first to the last."""
    return values if len(values) <= most else np.asarray(values[evenly(len(values), most)])


def pad(clips: Sequence[Embeddings], length: int) -> dict[str, NDArray[np.float32]]:
    """Return clips as the inputs of a sequence model, padded on the right.

    Args:
        clips: The clips, one at least.
        length: Frames of each padded clip; a longer clip is thinned evenly.

    Returns:
        `embeddings`, float32 (clips, length, d), 0 if there is no frame, and `time`, float32 (clips, length), seconds since the first
        frame of the clip, -1 where there is none.
    """
    embeddings = np.zeros((len(clips), length, clips[0].values.shape[1]), np.float32)
    time = np.full((len(clips), length), PADDING, np.float32)
    for row, clip in enumerate(clips):
        positions = evenly(len(clip), length)
        embeddings[row, : len(positions)] = clip.values[positions]
        time[row, : len(positions)] = clip.time[positions] - clip.time[:1]
    return {"embeddings": embeddings, "time": time}


def predict(network: Network, clips: Sequence[Embeddings], most: int) -> NDArray[np.float32]:
    """Return each clip's probabilities, float32 (n, classes); a clip without frames has none, and its row is NaN.

    Args:
        network: A sequence model.
        clips: The frames of each clip that show a face.
        most: Frames to which a longer clip is thinned.

    Raises:
        WeightsError: The model was trained by a version of vfer whose models do not know the time of a frame.
    """
    if "time" not in network.inputs:
        raise WeightsError("the sequence model was trained by another version of vfer and does not fit this one; train it again")
    result = np.full((len(clips), len(network.classes)), np.nan, np.float32)
    # Clips of like length go together, so that little of a batch is padding.
    order = sorted((row for row, clip in enumerate(clips) if len(clip)), key=lambda row: len(clips[row]))
    for at in range(0, len(order), BATCH):
        rows = order[at : at + BATCH]
        longest = min(most, len(clips[rows[-1]]))
        result[rows] = network(pad([clips[row] for row in rows], longest))["probabilities"]
    return result
