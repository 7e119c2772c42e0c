"""Fisher vectors of a variational auto-encoder in place of the Gaussian mixture."""

import keras
import numpy as np
from keras import layers, ops

from vfer.compare.methods.base import Task, Vectors
from vfer.compare.methods.encodings import Encode, machine, reduced, rooted, unit
from vfer.nets import training

LATENT, HIDDEN = 16, 32
EPOCHS, BATCH, RATE = 30, 128, 0.002


def fisher(frames: Vectors, task: Task) -> tuple[Encode, int]:
    """Learn to rebuild frames: a clip is the gradient of their likelihood by the last weights of the decoder.

    Source: Qiu, Yao and Mei, "Deep Quantization: Encoding Convolutional Activations with Deep Generative Model", 2017.
    """
    reduce, size = reduced(frames, task)
    vectors = np.random.default_rng(task.seed).permutation(reduce(frames))
    keras.backend.clear_session()
    training.seed_everything(task.seed, deterministic=True)
    model = Autoencoder(vectors.shape[1])
    model.compile(optimizer=keras.optimizers.Adam(RATE))
    model.fit(vectors, epochs=EPOCHS, batch_size=BATCH, verbose=0, shuffle=False)
    inner, outer, first, last = (layer.get_weights() for layer in (model.inner, model.means, model.first, model.last))

    def encode(embedding: Vectors) -> Vectors:
        x = reduce(embedding)
        code = np.tanh(x @ inner[0] + inner[1]) @ outer[0] + outer[1]
        hidden = np.tanh(code @ first[0] + first[1])
        error = x - (hidden @ last[0] + last[1])
        gradient = np.concatenate([hidden, np.ones((len(x), 1), np.float32)], axis=1).T @ error / len(x)
        return unit(rooted(gradient.ravel())).astype(np.float32)

    return encode, size + model.count_params()


class Autoencoder(keras.Model):  # type: ignore[misc]  # Keras has no types
    """A Gaussian code of a vector, and a decoder of variance 1. Source: Kingma and Welling, "Auto-Encoding Variational Bayes", 2014."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = layers.Dense(HIDDEN, activation="tanh")
        self.means, self.spread = layers.Dense(LATENT), layers.Dense(LATENT)
        self.first = layers.Dense(HIDDEN, activation="tanh")
        self.last = layers.Dense(width)
        self.noise = keras.random.SeedGenerator(0)

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Return vectors, float32 (batch, width), rebuilt from their codes."""
        y = self.inner(x)
        means, logs = self.means(y), self.spread(y)
        code = means + ops.exp(logs / 2) * keras.random.normal(ops.shape(means), seed=self.noise)
        self.add_loss(-0.5 * ops.mean(ops.sum(1 + logs - means**2 - ops.exp(logs), axis=1)))
        rebuilt = self.last(self.first(code))
        self.add_loss(0.5 * ops.mean(ops.sum((x - rebuilt) ** 2, axis=1)))
        return rebuilt


METHODS = {"svm_fisher_vae": machine(fisher)}
