"""The temperature of a classifier's answers."""

import keras
import numpy as np
import pytest

from vfer.nets.calibration import log_loss, soften, softened, temperature

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (4000, 5))
SHARES = softened(np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True), 1)
TRUTH = np.array([RNG.choice(5, p=shares) for shares in SHARES])


@pytest.mark.parametrize("wrong", [0.5, 1, 3])
def test_answers_that_are_too_sure_or_not_sure_enough_are_put_right(wrong: float) -> None:
    answer = softened(SHARES, 1 / wrong)
    estimate = temperature(answer, TRUTH)
    assert estimate == pytest.approx(wrong, rel=0.1)
    assert log_loss(softened(answer, estimate), TRUTH) <= log_loss(answer, TRUTH) + 1e-9
    np.testing.assert_array_equal(softened(answer, estimate).argmax(axis=1), answer.argmax(axis=1))


def test_certain_mistakes_and_no_answers_give_a_temperature_within_bounds() -> None:
    certain = np.eye(5)[TRUTH]
    assert 0.25 <= temperature(certain, TRUTH) <= 8
    assert 0.25 <= temperature(certain, (TRUTH + 1) % 5) <= 8.001
    assert temperature(np.zeros((0, 5)), np.zeros(0, np.int64)) == 1


def test_a_softened_model_answers_as_softened_probabilities() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(4, activation="softmax", name="probabilities")(inputs))
    batch = RNG.normal(0, 2, (6, 3)).astype(np.float32)
    before = np.asarray(model(batch))
    soften(model, 2.5)
    np.testing.assert_allclose(model(batch), softened(before, 2.5), atol=1e-4)
