"""Initialise the CNN's backbone with other weights: those of `pretrain`, or of any Keras model of the same architecture."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import keras

from vfer.errors import WeightsError

HEAD = {"embedding_dense", "embedding", "dropout", "labels", "votes", "probabilities"}
BACKBONE = "backbone.keras"


def weights_in(folder: Path) -> Path | None:
    """Returns the file of weights in the output of `pretrain`, or None where it made none."""
    path = folder / BACKBONE
    return path if path.is_file() else None


def load(model: keras.Model, path: Path) -> list[keras.layers.Layer]:
    """Copies the weights of the layers of the backbone from the Keras model at `path`; returns those layers.

    Layers are matched by name, also within nested models; a layer without a name of its own by its number among those of its kind.
    Raises `WeightsError`, and changes nothing, where the file is not a Keras model, or a layer is missing from it or has other shapes.
    """
    source = read(path)
    theirs = dict(_leaves(source))
    pairs = []
    for name, layer in _leaves(model):
        if name not in theirs:
            raise WeightsError(f"{path}: {source.name} has no layer {name}, which {model.name} has; {_remedy(model)}")
        if (shapes := _shapes(theirs[name])) != _shapes(layer):
            raise WeightsError(
                f"{path}: layer {name} of {source.name} has the shapes {shapes}, that of {model.name} {_shapes(layer)}; {_remedy(model)}"
            )
        pairs.append((layer, theirs[name]))
    for layer, other in pairs:
        layer.set_weights(other.get_weights())
    return [layer for layer in model.layers if layer.weights and layer.name not in HEAD]


def read(path: Path) -> keras.Model:
    """Return the Keras model at `path`; raise `WeightsError` where it is none."""
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # those of zip, HDF5, JSON and of the layers, too
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(f"{path}: is not a valid Keras model ({reason}); name a file that Keras 3 has saved") from error


def _leaves(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields the layers with weights under a name that is the same in every process that builds the model, but none of the head."""
    counts: Counter[str] = Counter()
    for layer in _flat(model):
        name = _kind(layer)
        counts[name] += 1
        yield (f"{name}#{counts[name]}" if counts[name] > 1 else name), layer


def _flat(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flat(layer)
        elif layer.weights and layer.name not in HEAD:
            yield layer


def _kind(layer: keras.layers.Layer) -> str:
    """Returns a layer's name, without the number that Keras gives, counting through the whole process, to one that has no name."""
    base, _, number = layer.name.rpartition("_")
    stem = base if number.isdecimal() else layer.name
    return str(stem if stem.replace("_", "") == type(layer).__name__.lower() else layer.name)


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _remedy(model: keras.Model) -> str:
    return f"name weights of {model.name}, or set cnn.architecture to what the file holds"
