"""Batches of examples for Keras: shuffled, weighted and mixed, the same for the same seed."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import tensorflow as tf

Inputs = NDArray[Any] | dict[str, NDArray[Any]]


class Batches:
    """Shuffled, weighted batches whose content depends on seed, epoch and index alone.

    `make(indices, rng)` returns one batch's inputs, an array or one for each input by name; `targets` is float32 (n, classes), `weights`
    float32 (n,). With `mixup` each example is mixed with another of its batch by a share drawn from Beta(mixup, mixup); its inputs are
    then one array. Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.
    """

    def __init__(
        self,
        make: Callable[[NDArray[np.int64], np.random.Generator], Inputs],
        targets: NDArray[np.float32],
        weights: NDArray[np.float32],
        batch_size: int,
        seed: int,
        *,
        shuffle: bool,
        mixup: float = 0,
    ) -> None:
        self._make, self._targets, self._weights = make, targets, weights
        self._batch_size, self._seed, self._shuffle, self._mixup = batch_size, seed, shuffle, mixup
        self.start(0)

    def start(self, epoch: int) -> None:
        """Put the examples into the order of an epoch."""
        self._epoch = epoch
        order = np.arange(len(self._targets))
        self._order = np.random.default_rng([self._seed, epoch]).permutation(order) if self._shuffle else order

    def __len__(self) -> int:
        return math.ceil(len(self._targets) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[Inputs, NDArray[np.float32], NDArray[np.float32]]:
        indices = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        rng = np.random.default_rng([self._seed, self._epoch, index])
        batch = self._make(indices, rng), self._targets[indices], self._weights[indices]
        if not self._mixup:
            return batch
        share = rng.beta(self._mixup, self._mixup, len(indices)).astype(np.float32)
        other = rng.permutation(len(indices))
        inputs, targets, weights = (_mix(part, share, other) for part in batch)
        return inputs, targets, weights

    def signature(self, part: NDArray[Any]) -> tuple[int | None, ...]:
        """Return the shape that a part of all batches has: inputs, targets or weights."""
        return (None, *part.shape[1:])

    def dataset(self) -> "tf.data.Dataset":
        """Return the batches of whichever epoch is started, made ahead of their use; made once, since each new one costs its tracing."""
        import tensorflow as tf

        signature = tf.nest.map_structure(lambda part: tf.TensorSpec(self.signature(part), part.dtype), self[0])
        batches = tf.data.Dataset.from_generator(lambda: map(self.__getitem__, range(len(self))), output_signature=signature)
        return batches.apply(tf.data.experimental.assert_cardinality(len(self))).prefetch(tf.data.AUTOTUNE)


def _mix(part: Any, share: NDArray[np.float32], other: NDArray[np.int64]) -> NDArray[Any]:
    shares = share.reshape(-1, *[1] * (part.ndim - 1))
    return np.asarray(part * shares + part[other] * (1 - shares))
