"""A running average of a model's weights while it trains."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


class Average:
    """A running average of a model's weights, those of its norms included; with decay 0 it holds none and does nothing.

    At first it forgets faster, so that it does not remember the start. Source: Tarvainen and Valpola, "Mean teachers are better role
    models", 2017.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        import tensorflow as tf

        self.decay, self.steps = decay, 0
        self._model = model
        self._means = [keras.Variable(variable, trainable=False) for variable in model.weights] if decay else []

        @tf.function  # type: ignore[untyped-decorator]  # one call a step instead of one a variable
        def follow(share: object) -> None:
            for mean, variable in zip(self._means, model.weights, strict=True):
                mean.assign_add((variable - mean) * share)

        self._follow = follow

    def follow(self) -> None:
        """Move the average towards the present weights."""
        if self.decay:
            import tensorflow as tf

            self.steps += 1
            self._follow(tf.constant(1 - min(self.decay, self.steps / (self.steps + 9)), tf.float32))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the average while the context lasts."""
        weights = self._model.get_weights()
        if self.decay:
            self._model.set_weights(self._means)
        try:
            yield
        finally:
            self._model.set_weights(weights)

    def restore(self, steps: int) -> None:
        """Take the model's present weights for the average after so many steps."""
        self.steps = steps
        for mean, variable in zip(self._means, self._model.weights, strict=True):
            mean.assign(variable)
