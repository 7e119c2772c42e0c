"""The CNN's own classifier as a function of embeddings, for those that a person's baseline has moved; it needs no TensorFlow."""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.nets.session import Session

KEY = "head"
"""Under which the ONNX file of the CNN holds it."""


@dataclass(frozen=True, eq=False)
class Head:
    """A fully connected layer and softmax: `kernel`, float32 (d, classes), and `bias`, float32 (classes,)."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns probabilities, float32 (n, classes), of embeddings, float32 (n, d)."""
        logits = embeddings @ self.kernel + self.bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

    def to_json(self) -> str:
        """Returns the head as JSON, in which the values keep their float32 precision."""
        return json.dumps({"kernel": self.kernel.tolist(), "bias": self.bias.tolist()})


def of(session: Session) -> Head:
    """Returns the head of a loaded CNN.

    Where the CNN averages several views of a face, the head answers their mean embedding as the CNN answers the face: a geometric mean
    of softmaxes is the softmax of the mean logits.

    Raises:
        WeightsError: The ONNX file holds none, or one of other sizes.
    """
    try:
        content = json.loads(session.metadata[KEY])
        head = Head(*(np.asarray(content[name], np.float32) for name in ("kernel", "bias")))
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError("the CNN holds no classifier of embeddings; train it again with this version of vfer") from error
    if head.kernel.ndim != 2 or head.kernel.shape[1:] != head.bias.shape or len(head.bias) != len(session.classes):
        raise WeightsError("the CNN's classifier of embeddings does not fit its classes; train it again with this version of vfer")
    return head
