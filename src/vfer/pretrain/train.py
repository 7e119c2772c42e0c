"""Train the CNN's backbone to tell subjects apart."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from vfer.cnn import transfer
from vfer.cnn.augment import augment
from vfer.nets import training
from vfer.nets.batches import Batches
from vfer.nets.training import Fit, OnEpoch
from vfer.pretrain import model
from vfer.pretrain.identities import IdentityFaces
from vfer.pretrain.params import PretrainParams
from vfer.pretrain.verify import verification

AT_ONCE = 256


def load_backbone(path: Path, architecture: str) -> keras.Model:
    """Return the backbone with the weights of a Keras model.

    Raises:
        WeightsError: If it has another architecture.
    """
    net = model.backbone(architecture)
    transfer.load(net, path)
    return net


def train(
    faces: IdentityFaces, architecture: str, precision: str, params: PretrainParams, seed: int, checkpoint: Path | None, on_epoch: OnEpoch
) -> tuple[keras.Model, Fit, float]:
    """Train the backbone under a head that tells the subjects apart, and stops early on the faces held out.

    Returns it with the course of the training and the area under the ROC curve of verification on the faces held out.
    """
    training.seed_everything(seed, deterministic=params.deterministic)
    keras.config.set_dtype_policy(training.precision(precision))
    net = model.backbone(architecture)
    classifier = model.classifier(net, faces.subjects, params)
    train_batches = FaceBatches(faces, params, seed, fitted=True)
    training.compile_classifier(
        classifier, learning_rate=params.learning_rate, steps=len(train_batches) * params.epochs, weight_decay=params.weight_decay
    )
    fit = training.fit(
        classifier,
        train_batches,
        FaceBatches(faces, params, seed, fitted=False),
        epochs=params.epochs,
        patience=params.patience,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
    )
    embedder = keras.Model(net.input, classifier.get_layer("embedding").output)
    return net, fit, verification(embed(embedder, faces.pixels, faces.rows[faces.held_out]), faces.labels[faces.held_out], seed)


class FaceBatches(Batches):
    """Batches of crops, float32 (n, 48, 48, 1), and of their subjects as 0 and 1, float32 (n, subjects); both are inputs of a margin.

    The latter are made one batch at a time: those of 3 million faces and 9000 subjects would be 100 GB. What is fitted is shuffled
    and augmented.
    """

    def __init__(self, faces: IdentityFaces, params: PretrainParams, seed: int, *, fitted: bool) -> None:
        selection = faces.held_out != fitted
        rows, self._subjects, self._margin = faces.rows[selection], faces.subjects, params.head == "margin"

        def make(places: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
            pixels = faces.pixels[rows[places]]
            return (augment(pixels, rng, params.augmentation) if fitted else pixels)[..., np.newaxis].astype(np.float32)

        labels = faces.labels[selection].astype(np.float32)
        super().__init__(make, labels, np.ones_like(labels), params.batch_size, seed, shuffle=fitted)

    def __getitem__(self, index: int) -> tuple[Any, NDArray[np.float32], NDArray[np.float32]]:
        crops, labels, weights = super().__getitem__(index)
        targets = np.zeros((len(labels), self._subjects), np.float32)
        targets[np.arange(len(labels)), labels.astype(np.int64)] = 1
        return (crops, targets) if self._margin else crops, targets, weights


def embed(embedder: keras.Model, pixels: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the embeddings of some rows of the faces, float32 (n, d)."""
    parts = (pixels[rows[at : at + AT_ONCE], ..., np.newaxis].astype(np.float32) for at in range(0, len(rows), AT_ONCE))
    return np.concatenate([embedder.predict_on_batch(part) for part in parts])
