"""The temperature of a classifier: how much to soften or sharpen its probabilities to calibrate them."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

LEAST, MOST = 0.25, 8.0
TINY = 1e-7


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return positive shares of sum 1 in the order of the logits, (n, classes)."""
    return np.asarray(_shares(logits), np.float32)


def _shares(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def softened(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Return probabilities, (n, classes), at a temperature: those of logits that are divided by it."""
    return np.asarray(_shares(np.log(np.asarray(probabilities, np.float64) + TINY) / temperature))


def log_loss(probabilities: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    """Return the mean negative logarithm of the probability of the truth, (n,), by probabilities (n, classes)."""
    return float(-np.log(np.asarray(probabilities, np.float64)[np.arange(len(truth)), truth] + TINY).mean())


def temperature(probabilities: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    """Return the temperature at which held-out answers have the lowest log loss, between 0.25 and 8; 1 of no answers.

    Args:
        probabilities: Of n examples that the model did not learn from, (n, classes).
        truth: Their class numbers, (n,).

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    from scipy.optimize import minimize_scalar

    if not len(truth):
        return 1.0
    ends = float(np.log(LEAST)), float(np.log(MOST))
    result = minimize_scalar(lambda at: log_loss(softened(probabilities, float(np.exp(at))), truth), bounds=ends, method="bounded")
    return float(np.exp(result.x))


def soften(model: "keras.Model", temperature: float, layer: str = "probabilities") -> None:
    """Divide the logits of a model by a temperature: the weights of its last layer, a fully connected one with softmax."""
    last = model.get_layer(layer)
    last.set_weights([weights / np.float32(temperature) for weights in last.get_weights()])
