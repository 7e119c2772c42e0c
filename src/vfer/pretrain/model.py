"""The network of the pretraining: the CNN's backbone, an embedding, and a head that tells the subjects apart."""

from typing import Any

import keras
from keras import layers, ops

from vfer.cnn import model as cnn_model
from vfer.data.catalogue.stills import SIDE
from vfer.pretrain.params import PretrainParams


@keras.saving.register_keras_serializable("vfer")
class Margin(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Probabilities of the subjects, from the cosines between an embedding and one direction a subject.

    Takes the embedding, (batch, d), and the right subject as 0 and 1, (batch, subjects). In training the right subject's cosine is lowered
    by `margin`, so that its faces must lie closer together than telling them apart needs; elsewhere the second input counts for nothing.
    `scale` widens the cosines, since a softmax of numbers from -1 to 1 is sure of nothing. Source: Wang et al., "CosFace: Large
    Margin Cosine Loss for Deep Face Recognition", 2018.
    """

    def __init__(self, margin: float, scale: float, **rest: Any) -> None:
        super().__init__(**rest)
        self.margin, self.scale = margin, scale

    def build(self, shapes: list[tuple[int | None, ...]]) -> None:
        """Make the directions, (d, subjects)."""
        (_, width), (_, subjects) = shapes
        self.directions = self.add_weight(shape=(width, subjects), initializer="glorot_uniform", name="directions")

    def call(self, inputs: list[keras.KerasTensor], training: bool = False) -> keras.KerasTensor:
        """Return the probabilities, (batch, subjects)."""
        embedding, right = inputs
        cosines = ops.matmul(ops.normalize(embedding, axis=-1), ops.normalize(self.directions, axis=0))
        return ops.softmax(self.scale * (cosines - self.margin * right if training else cosines))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the layer, for Keras to save."""
        return {**super().get_config(), "margin": self.margin, "scale": self.scale}


def backbone(architecture: str) -> keras.Model:
    """Return the untrained part of the CNN from `crop`, float32 (batch, 48, 48, 1), 0 to 255, to pooled features, (batch, width)."""
    inputs = keras.Input((SIDE, SIDE, 1), name="crop")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    return keras.Model(inputs, cnn_model.backbone(architecture)(x), name=architecture.rpartition(":")[2])


def classifier(net: keras.Model, subjects: int, params: PretrainParams) -> keras.Model:
    """Return a model from faces to the probability of each subject, sharing the weights of the backbone `net`.

    Its layer `embedding` is float32 (batch, params.embedding). With the head `margin` it has a second input, as `Margin` takes it.
    """
    x = layers.Dense(params.embedding, name="embedding_dense")(net.output)
    x = layers.Activation("linear", dtype="float32", name="embedding")(x)
    if params.head == "softmax":
        outputs = layers.Dense(subjects, activation="softmax", dtype="float32", name="probabilities")(x)
        return keras.Model(net.input, outputs, name="pretrain")
    right = keras.Input((subjects,), name="subject")
    outputs = Margin(params.margin, params.scale, dtype="float32", name="probabilities")([x, right])
    return keras.Model([net.input, right], outputs, name="pretrain")
