"""Build the CNN: a backbone, a fully connected `embedding` layer where it is later cut, and its classifiers."""

from collections.abc import Callable
from importlib import import_module

import keras
from keras import KerasTensor, layers, ops

from vfer.cnn.head import Head
from vfer.cnn.looks import Look, views
from vfer.data.catalogue.stills import SIDE
from vfer.errors import ParamsError
from vfer.nets import mini_xception, mobilenet, resnet, xception

Backbone = Callable[[KerasTensor], KerasTensor]
BACKBONES: dict[str, Backbone] = {
    "mini_xception": mini_xception.backbone,
    "xception": xception.backbone,
    "resnet": resnet.backbone,
    "mobilenet": mobilenet.backbone,
}


def build(architecture: str, classes: int, embedding: int, dropout: float, *, votes: int = 0, side: int | None = SIDE) -> keras.Model:
    """Return an untrained CNN.

    Args:
        architecture: A key of `BACKBONES`, or `package.module:function`.
        classes: Number of expressions that the label head tells apart.
        embedding: Width of the layer where the CNN is cut.
        dropout: Share of the embedding that is dropped in training.
        votes: Number of expressions of a second head, for the shares of the annotators' votes; 0 for no such head.
        side: Height and width of the faces in pixels; None for any.

    Returns:
        A model from `crop`, float32 (batch, side, side, 1), 0 to 255, to named outputs: `embedding`, float32 (batch, embedding),
        not negative, and the probabilities `labels`, float32 (batch, classes), and with a second head `votes`, float32 (batch, votes).

    Raises:
        ParamsError: The architecture is unknown.
        ValueError: A head has fewer than 2 classes.
    """
    if classes < 2 or votes == 1:
        raise ValueError(f"a classifier needs at least 2 classes, got {min(classes, votes or classes)}")
    inputs = keras.Input((side, side, 1), name="crop")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    x = backbone(architecture)(x)
    x = layers.Dense(embedding, activation="relu", name="embedding_dense")(x)
    cut = layers.Activation("linear", dtype="float32", name="embedding")(x)
    x = layers.Dropout(dropout, name="dropout")(cut)
    heads = {"labels": classes} | ({"votes": votes} if votes else {})
    outputs = {name: layers.Dense(width, activation="softmax", dtype="float32", name=name)(x) for name, width in heads.items()}
    return keras.Model(inputs, {"embedding": cut, **outputs}, name=architecture.rpartition(":")[2])


def backbone(architecture: str) -> Backbone:
    """Return the function that maps faces to pooled features, by name or as `package.module:function`.

    The function maps float32 (batch, side, side, 1) in [-1, 1] to (batch, width). Modules at the repository's root can be imported, too.

    Raises:
        ParamsError: There is no such function.
    """
    module, _, name = architecture.rpartition(":")
    if not module:
        if name not in BACKBONES:
            raise ParamsError(
                f"cnn.architecture: {name!r} is unknown; expected {', '.join(BACKBONES)}, or your own as package.module:function"
            )
        return BACKBONES[name]
    try:
        function: Backbone = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ParamsError(f"cnn.architecture: {architecture!r} cannot be imported ({error}); expected package.module:function") from error
    return function


def answering(model: keras.Model, answer: Head, looks: int) -> keras.Model:
    """Return a model that answers by a head of its own, over several views of each face; the weights are shared.

    The embedding is the mean over the views, and probabilities are their geometric mean.

    Args:
        model: A model as `build` returns it.
        answer: The layer from the embedding to the output `probabilities`.
        looks: Number of views: 1, 2 (mirrored) or 6 (three zooms, each mirrored).

    Returns:
        A model of the outputs `embedding` and `probabilities`, and where `model` has two heads, of theirs, too.
    """
    cut = model.output["embedding"]
    last = layers.Dense(len(answer.bias), activation="softmax", dtype="float32", name="probabilities")
    outputs = {"embedding": cut, "probabilities": last(cut)} | (heads if len(heads := _heads(model)) > 1 else {})
    last.set_weights([answer.kernel, answer.bias])
    single = keras.Model(model.input, outputs, name=model.name)
    return single if looks == 1 else _averaged(single, looks)


def _averaged(model: keras.Model, looks: int) -> keras.Model:
    inputs = keras.Input(model.input_shape[1:], name="crop")
    answers = [model(Look(*view, name=f"look_{number}")(inputs)) for number, view in enumerate(views(looks))]
    outputs = {"embedding": layers.Average(dtype="float32", name="embedding")([answer["embedding"] for answer in answers])}
    for name in answers[0].keys() - outputs.keys():
        logs = [ops.log(answer[name] + keras.config.epsilon()) for answer in answers]
        mean = layers.Average(dtype="float32", name=f"{name}_log")(logs)
        outputs[name] = layers.Softmax(dtype="float32", name=name)(mean)
    return keras.Model(inputs, outputs, name=f"{model.name}_{looks}_looks")


def head(model: keras.Model, name: str) -> Head:
    """Return a head of a model by its name, such as `labels` or `votes`."""
    return Head(*model.get_layer(name).get_weights())


def answer_head(model: keras.Model) -> Head:
    """Return the head `probabilities` of a model that `answering` returned."""
    return head(single(model), "probabilities")


def single(model: keras.Model) -> keras.Model:
    """Return the part of a model that `answering` returned that answers one view of a face."""
    if isinstance(model.get_layer("probabilities"), layers.Dense):
        return model
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def classifier(model: keras.Model) -> keras.Model:
    """Return the part of the model that is trained, sharing its weights: from crops to the heads' probabilities, side by side."""
    heads = list(_heads(model).values())
    outputs = heads[0] if len(heads) == 1 else layers.Concatenate(dtype="float32", name="heads")(heads)
    return keras.Model(model.input, outputs, name=f"{model.name}_classifier")


def _heads(model: keras.Model) -> dict[str, KerasTensor]:
    return {name: model.output[name] for name in ("labels", "votes") if name in model.output}
