"""SCRFD, insightface's detector (Guo et al., 2021, arXiv 2105.04714), with the user's own ONNX file."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vfer.faces import detector

if TYPE_CHECKING:
    import onnx


class Scrfd:
    """SCRFD at any picture size.

    Raises an error of `onnx`, ONNX Runtime or insightface where `model` is not an SCRFD detector.
    """

    name = "scrfd"

    def __init__(self, model: bytes, sha256: str, *, det_size: int, score: float) -> None:
        from insightface.model_zoo.scrfd import SCRFD

        self.sha256 = sha256
        self._det_size = det_size
        self._score = score
        self._scrfd = SCRFD(session=detector.session(prepare(model)))

    def __call__(self, grey: NDArray[np.uint8], score: float | None = None) -> NDArray[np.float32]:
        """Return the faces, (n, 5) float32, best score first."""
        scaled = detector.fit(grey, self._det_size)
        picture = np.repeat(scaled.picture[:, :, None], 3, axis=2)
        boxes, _ = self._scrfd.detect(picture, input_size=picture.shape[1::-1], det_thresh=self._score if score is None else score)
        return scaled.restore(boxes)


def prepare(model: bytes) -> bytes:
    """Free the height and width of a graph that was exported for one size, and drops the five points of a face.

    The network is fully convolutional; only its upsampling layers hold the sizes of the export. Each doubles its input,
    so a factor replaces the size. At the exported size the outputs differ by rounding only (1e-6).
    """
    import onnx

    graph = onnx.load_model_from_string(model)
    names = [output.name for output in graph.graph.output]
    if len(names) in (9, 15):  # scores, boxes and points of 3 or 5 strides; insightface knows them by their number
        detector.keep(graph.graph, names[: 2 * len(names) // 3])
    height, width = graph.graph.input[0].type.tensor_type.shape.dim[2:4]
    if height.dim_value and width.dim_value:
        height.dim_param, width.dim_param = "height", "width"
        _free_sizes(graph.graph)
    result: bytes = graph.SerializeToString()
    return result


def _free_sizes(graph: "onnx.GraphProto") -> None:
    import onnx

    for output in graph.output:
        output.type.tensor_type.shape.dim[-2].dim_param = f"anchors_{output.name}"
    del graph.value_info[:]
    doubling = onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "vfer_doubling")
    graph.initializer.append(doubling)
    for node in graph.node:
        if node.op_type == "Resize" and len(node.input) == 4:
            no_scales = node.input[:2]
            del node.input[:]
            node.input.extend([*no_scales, doubling.name])
