"""Views of a face over which a CNN's answers are averaged: zoomed and mirrored."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

ZOOMS = (1.0, 0.94, 1.08)


def views(looks: int) -> list[tuple[float, bool]]:
    """Return the zoom of each view, and whether it is mirrored; `looks` is 1, 2 or 6."""
    zooms = ZOOMS if looks > 2 else ZOOMS[:1]
    return [(zoom, mirrored) for zoom in zooms for mirrored in (False, True)][:looks]


@keras.saving.register_keras_serializable("vfer")
class Look(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Zooms a face about its centre, and mirrors it.

    Takes and returns float32 (batch, side, side, 1). Pixels are interpolated linearly, and the edge is repeated beyond it. A matrix
    resamples each axis, so that every runtime computes the same.
    """

    def __init__(self, zoom: float, mirrored: bool, **rest: Any) -> None:
        super().__init__(**rest)
        self.zoom, self.mirrored = zoom, mirrored

    def call(self, faces: keras.KerasTensor) -> keras.KerasTensor:
        """Return the view of each face."""
        if self.zoom != 1:
            side = faces.shape[1]
            matrix = ops.convert_to_tensor(resampling(side, self.zoom))
            rows = ops.matmul(matrix, ops.reshape(faces, (-1, side, side)))
            faces = ops.reshape(ops.matmul(rows, ops.transpose(matrix)), (-1, side, side, 1))
        return faces[:, :, ::-1, :] if self.mirrored else faces

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the layer, for Keras to save."""
        return {**super().get_config(), "zoom": self.zoom, "mirrored": self.mirrored}


def resampling(side: int, zoom: float) -> NDArray[np.float32]:
    """Return the matrix, float32 (side, side), that zooms one axis of a picture linearly about its centre."""
    centre = (side - 1) / 2
    places = np.clip(centre + (np.arange(side) - centre) / zoom, 0, side - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(places[:, None] - np.arange(side))), np.float32)
