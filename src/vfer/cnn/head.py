"""The CNN's classifier as a function of embeddings, for those moved by a person's baseline; it needs no TensorFlow."""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.nets.calibration import softmax
from vfer.nets.session import Session

KEY = "head"
"""Under which the ONNX file of the CNN holds it."""
RAREST = 1e-4
"""Least share of a class in training by which an answer is divided."""


@dataclass(frozen=True, eq=False)
class Head:
    """A fully connected layer and softmax: `kernel`, float32 (d, classes), and `bias`, float32 (classes,)."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities, float32 (n, classes), of embeddings, float32 (n, d)."""
        return softmax(embeddings @ self.kernel + self.bias)

    def to_json(self) -> str:
        """Return the head as JSON, in which the values keep their float32 precision."""
        return json.dumps({"kernel": self.kernel.tolist(), "bias": self.bias.tolist()})


def fused(labels: Head, votes: Head, columns: list[int], priors: tuple[NDArray[np.floating], NDArray[np.floating]]) -> Head:
    """Return the head whose logits are the mean of two heads', each freed of how often its classes occurred in training.

    Stills from the web are mostly happy or neutral, and shares of votes even more neutral; an answer to clips, where any expression may be
    as likely as another, divides by that: by all of it for the votes, and by its square root for the labels, of which a part is undone
    in training (`cnn.class_balance`).

    Args:
        labels: The head that learned the labels.
        votes: The head that learned the votes.
        columns: The class of `votes` for each class of `labels`.
        priors: Shares of the classes of `labels` and of those of `votes` in training.
    """
    label_prior, vote_prior = (np.log(np.maximum(prior, RAREST)) for prior in priors)
    return Head(
        np.asarray((labels.kernel + votes.kernel[:, columns]) / 2, np.float32),
        np.asarray((labels.bias - label_prior / 2 + votes.bias[columns] - vote_prior[columns]) / 2, np.float32),
    )


def of(session: Session) -> Head:
    """Return the head of a loaded CNN.

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
