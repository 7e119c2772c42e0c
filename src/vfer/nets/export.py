"""Save a trained Keras model twice: as a byte-stable `.keras` file and as its ONNX twin, compared with it."""

import json
import logging
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import onnx
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.files import replacing
from vfer.nets.session import Session

Sample = NDArray[np.float32] | Mapping[str, NDArray[np.float32]]
"""A real batch of a model's input, or of each of its inputs by name."""
TOLERANCE = 1e-4


def save(model: keras.Model, folder: Path, sample: Sample, classes: list[str]) -> None:
    """Save `model.keras` and `model.onnx` into the folder.

    `sample` is a real batch; the ONNX file carries the names of the classes. Raises `WeightsError`, and leaves no
    ONNX file, where an output of the two models differs on it by more than 1e-4.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_keras(model, folder / "model.keras")
    save_onnx(model, folder / "model.onnx", sample, classes)


def save_keras(model: keras.Model, path: Path) -> None:
    """Save a model so that the same weights give the same bytes; Keras writes dates and addresses in memory."""
    raw = path.with_name(f".{path.name}.raw.keras")
    try:
        model.save(raw)
        with replacing(path) as temporary, zipfile.ZipFile(raw) as source, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as target:
            for name in sorted(source.namelist()):
                content = source.read(name)
                if name == "metadata.json":
                    content = json.dumps(json.loads(content) | {"date_saved": ""}, sort_keys=True).encode()
                if name == "config.json":
                    content = _renumbered(content)
                target.writestr(zipfile.ZipInfo(name), content)
    finally:
        raw.unlink(missing_ok=True)


def _renumbered(config: bytes) -> bytes:
    """Number the shared objects of a model's config in their order of appearance."""
    numbers: dict[bytes, int] = {}
    return re.sub(rb'(?<="shared_object_id": )\d+', lambda match: b"%d" % numbers.setdefault(match[0], len(numbers)), config)


def save_onnx(model: keras.Model, path: Path, sample: Sample, classes: list[str]) -> None:
    """Export a model of named outputs to ONNX under the same names, and compare the two on the sample."""
    expected = {name: np.asarray(value) for name, value in model(sample, training=False).items()}
    # Called once more in inference mode, or the BatchNorm of nets from keras.applications is exported in training mode.
    frozen = keras.Model(list(model.inputs), model(model.input, training=False), name=model.name)
    frozen([sample[tensor.name] for tensor in model.inputs] if isinstance(sample, Mapping) else [sample])
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)
    with replacing(path) as temporary:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="In the future `np.object`", category=FutureWarning)  # Keras's own shim
            frozen.export(temporary, format="onnx", verbose=False)
        exported = onnx.load(temporary)
        settle(exported.graph)
        onnx.helper.set_model_props(exported, {"classes": json.dumps(classes)})
        onnx.save(exported, temporary)
        onnx_outputs = Session(temporary)(sample)
        for name, value in expected.items():
            difference = float(np.abs(value - onnx_outputs[name]).max())
            if not difference <= TOLERANCE:
                raise WeightsError(f"{path}: the ONNX export differs from Keras by {difference:.2g} in {name}; it was not kept")


def annotate(path: Path, metadata: Mapping[str, str]) -> None:
    """Add texts to the metadata of an ONNX file, or replace those of the same names; write it atomically."""
    model = onnx.load(path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, entries | dict(metadata))
    with replacing(path) as temporary:
        onnx.save(model, temporary)


def forget_process(path: Path) -> None:
    """Take out of an ONNX file what tf2onnx counts up within a process, so that of several exports each is the same as alone."""
    model = onnx.load(path)
    model.graph.doc_string = ""
    names: dict[str, str] = {}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = names.setdefault(size.dim_param, f"size_{len(names)}")
    with replacing(path) as temporary:
        onnx.save(model, temporary)


def settle(graph: onnx.GraphProto) -> None:
    """Order a graph's nodes by its outputs, and name values and nodes by that order, so that the same weights give the same bytes.

    tf2onnx orders and numbers them by sets, otherwise in each process, and names graphs and describes them by numbers of TensorFlow's,
    which are others after a training that went on. Inputs and outputs keep their names.
    """
    graph.name, graph.doc_string = "graph", ""
    _order(graph)
    names: dict[str, str] = {"": "", **{value.name: value.name for value in (*graph.input, *graph.output)}}
    _rename(graph, lambda name: names.setdefault(name, f"value_{len(names)}"))
    sizes: dict[str, str] = {}
    _rename_sizes(graph, lambda name: sizes.setdefault(name, f"size_{len(sizes)}"))


def _rename_sizes(graph: onnx.GraphProto, new: Callable[[str], str]) -> None:
    """Number the sizes that are not known, which tf2onnx counts through all exports of a process."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param.startswith("unk__"):
                size.dim_param = new(size.dim_param)
    for node in graph.node:
        for inner in _inner(node):
            _rename_sizes(inner, new)


def _order(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for inner in _inner(node):
            _copy_later(inner)
            _order(inner)
    makers = {name: number for number, node in enumerate(graph.node) for name in node.output}
    positions: dict[int, None] = {}  # in the order of insertion
    waiting = [value.name for value in reversed(graph.output)]
    while waiting:
        number = makers.get(waiting[-1])
        if number is None or number in positions:
            waiting.pop()
        elif before := [name for name in _reads(graph.node[number]) if name in makers and makers[name] not in positions]:
            waiting.extend(reversed(before))
        else:
            positions[number] = None
    nodes = [onnx.NodeProto.FromString(graph.node[number].SerializeToString()) for number in positions]
    del graph.node[:]
    graph.node.extend(nodes)


def _copy_later(graph: onnx.GraphProto) -> None:
    """Of two results that are equal, lets the second be the copy of the first: which one tf2onnx copies is by chance."""
    places = {value.name: value for value in graph.output}
    order = list(places)
    for node in graph.node:
        copied, copy = node.input[0] if node.input else "", node.output[0]
        if node.op_type == "Identity" and copied in places and copy in places and order.index(copy) < order.index(copied):
            places[copied].name, places[copy].name = copy, copied


def _inner(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [inner for attribute in node.attribute for inner in ([attribute.g] if attribute.HasField("g") else attribute.graphs)]


def _reads(node: onnx.NodeProto) -> list[str]:
    """Return what a node reads, also in its inner graphs; of the latter the results, too."""
    deeper = [name for inner in _inner(node) for one in inner.node for name in _reads(one)]
    return [*node.input, *deeper, *(value.name for inner in _inner(node) for value in inner.output)]


def _rename(graph: onnx.GraphProto, new: Callable[[str], str]) -> None:
    for node in graph.node:
        node.input[:] = [new(name) for name in node.input]
        for inner in _inner(node):
            inner.name, inner.doc_string = "inner", ""
            _rename(inner, new)
        node.output[:] = [new(name) for name in node.output]
        node.name = f"{node.op_type}_{node.output[0]}"
        if not node.domain:
            node.ClearField("domain")  # empty and not there mean the same, but are other bytes
    for values in (graph.input, graph.output, graph.value_info, graph.initializer):
        for value in values:
            value.name = new(value.name)
    for values in (graph.value_info, graph.initializer):
        ordered = sorted(values, key=lambda value: str(value.name))
        del values[:]
        values.extend(ordered)
