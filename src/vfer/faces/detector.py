"""The interface of a face detector, and what both detectors share: scaling a picture, repairing a graph, and a session on one thread."""

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx
    import onnxruntime

STRIDE = 32


class Detector(Protocol):
    """Finds faces in one grey picture.

    `name` and `sha256` (of the weights) say which detector it is. A call takes (h, w) uint8 and returns (n, 5) float32:
    x0, y0, x1, y1 in pixels of that picture, which boxes may leave, and the score; best score first.
    """

    name: str
    sha256: str

    def __call__(self, grey: NDArray[np.uint8], score: float | None = None) -> NDArray[np.float32]:
        """Return the faces of one picture that score at least `score`, by default the one it was built with."""
        ...


class DetectorInput(NamedTuple):
    """A picture as the detector sees it, (h', w') uint8, and what one of its pixels measures in the original: (x, y)."""

    picture: NDArray[np.uint8]
    scale: tuple[float, float]

    def restore(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the (n, 5) boxes in pixels of the original picture."""
        return boxes * np.array([*self.scale, *self.scale, 1], np.float32)


def fit(grey: NDArray[np.uint8], longest: int) -> DetectorInput:
    """Shrink a picture so that its longer side is at most `longest`, and pads it right and below to multiples of 32.

    A smaller picture is never enlarged.
    """
    import cv2

    height, width = grey.shape
    ratio = min(1.0, longest / max(height, width))
    new_height, new_width = max(1, round(height * ratio)), max(1, round(width * ratio))
    padded = np.zeros((-(-new_height // STRIDE) * STRIDE, -(-new_width // STRIDE) * STRIDE), np.uint8)
    padded[:new_height, :new_width] = cv2.resize(grey, (new_width, new_height), interpolation=cv2.INTER_AREA) if ratio < 1 else grey
    return DetectorInput(padded, (width / new_width, height / new_height))


def keep(graph: "onnx.GraphProto", outputs: Collection[str]) -> None:
    """Cut an ONNX graph down to the named outputs; ONNX Runtime would compute the others too, asked for or not."""
    values = [output for output in graph.output if output.name in outputs]
    needed, nodes = set(outputs), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    del graph.output[:], graph.node[:]
    graph.output.extend(values)
    graph.node.extend(reversed(nodes))


def session(model: bytes) -> "onnxruntime.InferenceSession":
    """Load an ONNX model on one thread of the CPU, since the clips already fill the cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
