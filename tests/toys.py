"""Toy networks, written node by node, and toy tables: what the tests of the later stages run on instead of trained models."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pyarrow as pa
from numpy.typing import NDArray
from onnx import TensorProto, helper

from vfer.cnn import predictions
from vfer.cnn.data import StillPart
from vfer.data.catalogue import manifest, places, split, stills
from vfer.data.catalogue.manifest import Clip
from vfer.data.sample.dataset import Recording
from vfer.data.sample.dataset import frames as rendered
from vfer.data.sample.video import Writer
from vfer.faces import table
from vfer.lstm.params import LstmParams
from vfer.lstm.settings import KEY, SequenceSettings
from vfer.nets import reference
from vfer.nets.session import Session

CLASSES = ["dark", "light"]
LEVELS = {"dark": 40, "light": 210}


def lstm_params(**changes: object) -> LstmParams:
    """Return the params of a small sequence model that learns fast, with some of them changed."""
    plain = dict.fromkeys(("dropout", "input_dropout", "noise", "frame_dropout", "time_jitter", "weight_decay", "label_smoothing"), 0)
    size = {"architecture": "lstm", "units": 16, "epochs": 15, "patience": 15, "batch_size": 16, "learning_rate": 0.02, "max_frames": 20}
    people = {"baseline": "none", "neutral": "neutral", "neutral_clips": 1}
    return LstmParams.model_validate(plain | size | people | {"refit": False, "class_balance": 1, "deterministic": False} | changes)


def split_rows(protocol: split.Protocol) -> list[split.SplitRow]:
    """Return the split of the clips of eight people, with twins, by a protocol."""
    some = clips(8, 2, twins=True)
    params = split.SplitParams(protocol=protocol, folds=4, fold=1)
    return split.split(some, [clip.expression for clip in some], params, 7, Path("clips.csv"))


def _constant(name: str, values: "NDArray[np.generic]") -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.asarray(values), name)


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[object],
    outputs: list[object],
    constants: list[onnx.TensorProto],
    metadata: dict[str, str] | None = None,
) -> Path:
    model = helper.make_model(helper.make_graph(nodes, "toy", inputs, outputs, constants), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    helper.set_model_props(model, {"classes": json.dumps(CLASSES)} | (metadata or {}))
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def _value(name: str, shape: list[object]) -> object:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def cnn(path: Path) -> Path:
    """Save a CNN whose embedding is (darkness, lightness) of a crop, from 0 to 1, and which answers by it."""
    nodes = [
        helper.make_node("ReduceMean", ["crop"], ["level"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["level", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "start"], ["raw"]),
        helper.make_node("Relu", ["raw"], ["embedding"]),
        helper.make_node("Mul", ["embedding", "ten"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [
        _constant("slope", np.array([[-1 / 255, 1 / 255]], np.float32)),
        _constant("start", np.array([1, 0], np.float32)),
        _constant("ten", np.array(10, np.float32)),
    ]
    outputs = [_value("embedding", ["batch", 2]), _value("probabilities", ["batch", 2])]
    return _save(path, nodes, [_value("crop", ["batch", 48, 48, 1])], outputs, constants)


def convolutional_cnn(path: Path, width: int = 16) -> Path:
    """Save a CNN of two random convolutions, whose sums come out alike only where the same arithmetic runs."""
    rng = np.random.default_rng(0)
    shapes = {"first": (8, 1, 3, 3), "second": (width, 8, 3, 3), "dense": (width, 2)}
    constants = [_constant(name, rng.normal(0, 0.05, shape).astype(np.float32)) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("Transpose", ["crop"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first"], ["conv1"], strides=[2, 2]),
        helper.make_node("Relu", ["conv1"], ["relu1"]),
        helper.make_node("Conv", ["relu1", "second"], ["conv2"], strides=[2, 2]),
        helper.make_node("Relu", ["conv2"], ["relu2"]),
        helper.make_node("GlobalAveragePool", ["relu2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "dense"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    outputs = [_value("embedding", ["batch", width]), _value("probabilities", ["batch", 2])]
    return _save(path, nodes, [_value("crop", ["batch", 48, 48, 1])], outputs, constants)


def png(picture: "NDArray[np.uint8]") -> bytes:
    """Return a picture, encoded."""
    return cv2.imencode(".png", picture)[1].tobytes()


def write_stills(stills_file: Path, predictions_file: Path, network: Path, count: int = 6) -> None:
    """Write stills of the toy classes, `count` of each usage, and what the toy CNN says of them.

    One of each usage is labelled wrongly, and has a twin.
    """
    rng = np.random.default_rng(0)
    session, rows, answers = Session(network), [], []
    for usage in stills.USAGES:
        labels = np.arange(count) % 2
        levels = np.array(list(LEVELS.values()))[labels].reshape(-1, 1, 1)
        pixels = np.clip(levels + rng.normal(0, 8, (count, 48, 48)), 0, 255).astype(np.uint8)
        labels[0] = 1
        names = [f"toy/{usage}-{number}" for number in range(count)]
        part = StillPart(pixels, labels, np.eye(2, dtype=np.float32)[labels], names, [number == 0 for number in range(count)])
        answers.append(predictions.predict(session, usage, part, session.classes))
        images = [png(picture) for picture in pixels]
        rows += [(name, CLASSES[label], usage, "toy", None, image) for name, label, image in zip(names, labels, images, strict=True)]
    columns = [pa.array(list(column)) for column in zip(*rows, strict=True)]
    stills.write(stills_file, pa.table(columns, names=stills.REQUIRED))
    predictions.write(predictions_file, answers[1:])


def lstm(path: Path, weights: list[list[float]], bias: tuple[float, float] = (0, 0), **settings: object) -> Path:
    """Save a sequence model that answers by the weighted sum over time; padding counts as nothing."""
    nodes = [
        helper.make_node("GreaterOrEqual", ["time", "zero"], ["shown"]),
        helper.make_node("Cast", ["shown"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["embeddings", "column"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "axis"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["sum", "weights"], ["weighted"]),
        helper.make_node("Add", ["weighted", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [
        _constant("zero", np.array(0, np.float32)),
        _constant("last", np.array([2], np.int64)),
        _constant("axis", np.array([1], np.int64)),
        _constant("weights", np.array(weights, np.float32)),
        _constant("bias", np.array(bias, np.float32)),
    ]
    width = len(weights)
    inputs = [_value("embeddings", ["batch", "time", width]), _value("time", ["batch", "time"])]
    values = {"baseline": "none", "neutral": "dark", "neutral_clips": 1, "max_frames": 256, "step": 0.1, "seconds": 2.0} | settings
    everybody = reference.Reference(*(np.full(width, level, np.float32) for level in (0.5, 0.3, 0.5)))
    metadata = {KEY: SequenceSettings.model_validate(values).model_dump_json(), reference.KEY: everybody.to_json()}
    return _save(path, nodes, inputs, [_value("probabilities", ["batch", 2])], constants, metadata)


def good_lstm(path: Path) -> Path:
    """Save a sequence model that is always right on the toy clips."""
    return lstm(path, [[2, 0], [0, 2]])


def constant_lstm(path: Path) -> Path:
    """Save a sequence model that always answers `dark`."""
    return lstm(path, [[0, 0], [0, 0]], (1, 0))


def faces(level: int, frames: int = 4, none: tuple[int, ...] = (), seed: int = 0) -> table.Faces:
    """Return a clip's faces: noisy crops of one level of grey, some frames without a face."""
    rng = np.random.default_rng(seed)
    crops = np.clip(level + rng.normal(0, 8, (frames, 48, 48)), 0, 255).astype(np.uint8)
    status = ["none" if i in none else "detected" for i in range(frames)]
    box, score = np.tile(np.array([1, 2, 40, 42], np.float32), (frames, 1)), np.full(frames, 0.9, np.float32)
    for i in none:
        crops[i], box[i], score[i] = 0, np.nan, np.nan
    return table.Faces(np.arange(frames, dtype=np.int32) * 3, np.arange(frames) / 10, status, score, box, crops, {"clip": "toy"})


def render(path: Path, expression: str = "happy", seconds: float = 1.0) -> Path:
    """Render one small clip of the sample's first actor."""
    job = Recording(path.parent, 1, expression, 0, ("02",), (160, 120), seconds, 15, 0)
    with Writer(path, job.size, job.fps, crf=28, sound=False) as writer:
        for frame in rendered(job):
            writer.add(frame)
    return path


def dataset(folder: Path, rows: list[Clip]) -> Path:
    """Write a dataset of clips whose bytes are their names; return its manifest."""
    for clip in rows:
        path = folder / clip.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(clip.clip)
    manifest.write(folder / "clips.csv", rows)
    (folder / places.FILE).unlink(missing_ok=True)
    places.update(folder, rows)
    return folder / "clips.csv"


def clips(subjects: int = 6, takes: int = 2, expressions: tuple[str, ...] = tuple(CLASSES), twins: bool = False) -> list[Clip]:
    """Return the rows of a manifest: every subject shows every expression in every take, perhaps as twin files."""
    rows = []
    for subject in range(subjects):
        for expression in expressions:
            for take in range(takes):
                name = f"s{subject:02d}-{expression}-{take}"
                for modality in ("01", "02") if twins else ("01",):
                    clip = f"toy/{modality}-{name}"
                    rows.append(Clip(clip, f"clips/{clip}.mp4", expression, f"toy/s{subject:02d}", f"toy/{name}", "toy"))
    return rows
