"""Packs the network that `stages.cnn` has trained as the one that comes with vfer: `make ship`, for maintainers.

Its kernels are rounded to half precision, which halves the files, and both networks are written from the rounded ones, so that they
answer alike. The ONNX network is then scored on the stills that it was not trained on, and the card says what came out.
docs/model-card.md is written by hand from it.
"""

import json
import shutil
import tempfile
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import onnx
import typer
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.repository import HOME
from vfer import env, files, params
from vfer.cli import console
from vfer.clips.digests import digest
from vfer.cnn import data, head, predictions, shipped
from vfer.cnn.params import CnnParams
from vfer.cnn.predictions import Predictions
from vfer.data.catalogue import stills
from vfer.data.catalogue.labels import LabelsParams
from vfer.errors import VferError
from vfer.evaluate import figures
from vfer.evaluate.stills import scores
from vfer.faces.params import FacesParams
from vfer.nets import reference
from vfer.nets.session import Session

if TYPE_CHECKING:
    import keras

STUDENT = HOME / ".network" / "student"
MOST = 6_000_000  # bytes of a file
FOLDER = HOME / "src" / "vfer" / "cnn" / "shipped"
SAMPLE = 64  # validation stills on which the two networks are compared
SLICE = 500  # validation stills whose accuracy a test reproduces
LAYOUTS: dict[int, list[tuple[tuple[int, ...], int]]] = {2: [((0, 1), 1)], 4: [((3, 2, 0, 1), 0), ((2, 3, 0, 1), 0)]}
"""In which orders ONNX has the axes of Keras's kernels of so many axes, and which of its axes counts the filters."""
CONFIDENCE = 0.95
BATCH, EPSILON = 256, 1e-9


def main(
    outputs: Annotated[Path, typer.Option(help="What `stages.cnn` made.")] = STUDENT / "cnn",
    table: Annotated[Path, typer.Option("--stills", help="The stills it was trained on.")] = HOME / "data" / "stills.parquet",
    config: Annotated[Path, typer.Option("--params", help="The params it was trained with.")] = HOME
    / ".network"
    / "student"
    / "params.yaml",
) -> None:
    """Write the package's files and their card."""
    recipe, labels = params.load(config, "cnn", CnnParams), params.load(config, "labels", LabelsParams)
    if recipe.weights == "shipped":
        raise VferError(f"{config}: cnn.weights: expected trained; the shipped network already exists")
    with console.Stage("ship") as stage, tempfile.TemporaryDirectory() as folder:
        target, original = Path(folder), Session(outputs / "model.onnx")
        dataset = data.load(stills.read(table), labels, table, votes=bool(original.votes))
        if (dataset.classes, dataset.votes) != (original.classes, original.votes):
            raise VferError(f"{table}: has other classes than {outputs}; name the stills it was trained on")
        sample = pick_evenly(dataset.parts["validation"], SAMPLE).pixels[..., None].astype(np.float32)
        pack(outputs / "model.keras", target, sample, original.classes)
        annotate(target, dataset)
        shutil.copyfile(outputs / "history.csv", target / "history.csv")
        if large := [name for name in shipped.FILES if (target / name).stat().st_size > MOST]:
            raise VferError(f"{', '.join(large)}: larger than {MOST / 1e6:.0f} MB; ship a smaller network")
        session = Session(target / "model.onnx", threads=env.workers())
        scores = {
            usage: score_network(session, dataset.parts[usage], dataset.classes) | {"six_looks": six_looks(session, dataset.parts[usage])}
            for usage in data.HELD_OUT
        }
        card = {
            "classes": original.classes,
            "params": recipe.model_dump(),
            "settings": {"faces": FacesParams(**params.read(HOME / "params.yaml")["faces"]).model_dump()},
            "trained_on": {"sha256": digest(table), "stills": stills.labels(table).num_rows},
            "made": {name: machine.facts()[name] for name in ("date", "machine", "versions")},
            "scores": scores,
            "slice": score_network(session, pick_evenly(dataset.parts["validation"], SLICE), dataset.classes)["answer"],
            "sha256": {name: digest(target / name) for name in shipped.FILES},
        }
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
        for name in shipped.FILES:
            shutil.copyfile(target / name, FOLDER / name)
        files.write_json(FOLDER / shipped.CARD, card)  # the last, so that a folder without it is not whole
        stage.summary = f"{', '.join(original.classes)}; test accuracy {scores['test']['answer']['accuracy']['value']} -> {FOLDER}"


def pack(source: Path, target: Path, sample: NDArray[np.float32], names: list[str]) -> None:
    """Write both networks, rounded and packed, and compare them on the sample, float32 (n, 48, 48, 1).

    Raises `VferError` if their answers differ by more than `export.TOLERANCE`.
    """
    env.prepare_tensorflow("float32")
    with console.hushed():
        import keras

        from vfer.nets import export

    model = keras.models.load_model(source, compile=False)
    halve(model)
    export.save(model, target, sample, names)
    pack_onnx(target / "model.onnx", [value for value in model.get_weights() if value.ndim > 1])
    pack_keras(target / "model.keras")
    expected, outputs = (
        keras.models.load_model(target / "model.keras", compile=False)(sample, training=False),
        Session(target / "model.onnx")(sample),
    )
    difference = max(float(np.abs(np.asarray(expected[name]) - outputs[name]).max()) for name in outputs)
    if not difference <= export.TOLERANCE:
        raise VferError(f"{source}: packed, the two networks differ by {difference:.2g}; ship a network of other layers")


def annotate(target: Path, dataset: data.Stills) -> None:
    """Add to the packed ONNX network what it needs to answer relative to a person's own baseline, and the names of its vote classes."""
    import keras

    from vfer.cnn import model as cnn_model
    from vfer.nets import export

    last = cnn_model.answer_head(keras.models.load_model(target / "model.keras", compile=False))
    validation = dataset.parts["validation"]
    embeddings = predictions.run(Session(target / "model.onnx"), validation)["embedding"]
    everybody = reference.of_faces(embeddings, validation.labels, dataset.classes)
    notes = {head.KEY: last.to_json(), reference.KEY: everybody.to_json()}
    export.annotate(target / "model.onnx", notes | ({"votes": json.dumps(dataset.votes)} if dataset.votes else {}))


def halve(model: "keras.Model") -> None:
    """Round a model's kernels to half precision; biases and what the norms hold, which take little space, stay as they are."""
    model.set_weights([value.astype(np.float16).astype(value.dtype) if value.ndim > 1 else value for value in model.get_weights()])


def pack_onnx(path: Path, kernels: list[NDArray[np.float32]]) -> None:
    """Keep the kernels of an ONNX network as those of its Keras twin, in half precision, times a scale a filter.

    The exporter has multiplied the norms into them, and half precision does not hold the products. ONNX Runtime multiplies as it loads
    the network, which is no slower then.
    """
    network = onnx.load(path)
    for tensor in list(network.graph.initializer):
        name, parts = tensor.name, factors(onnx.numpy_helper.to_array(tensor), kernels)
        if parts:
            network.graph.initializer.remove(tensor)
            for end, values in zip(("half", "scale"), parts, strict=True):
                network.graph.initializer.append(onnx.numpy_helper.from_array(values, f"{name}_{end}"))
            network.graph.node.insert(0, onnx.helper.make_node("Mul", [f"{name}_whole", f"{name}_scale"], [name]))
            network.graph.node.insert(0, onnx.helper.make_node("Cast", [f"{name}_half"], [f"{name}_whole"], to=onnx.TensorProto.FLOAT))
    onnx.checker.check_model(network)
    onnx.save(network, path)


def factors(values: NDArray[Any], kernels: list[NDArray[np.float32]]) -> tuple[NDArray[np.float16], NDArray[np.float32]] | None:
    """Return the kernel, and the scale of each filter, whose product the values of an ONNX network are; None if there is none."""
    for kernel in kernels:
        for order, filters in LAYOUTS.get(kernel.ndim, []):
            plain = kernel.transpose(order).astype(np.float64)
            if plain.shape == values.shape:
                rest = tuple(axis for axis in range(plain.ndim) if axis != filters)
                squares = (plain**2).sum(rest, keepdims=True)
                scale = (plain * values).sum(rest, keepdims=True) / np.where(squares, squares, 1)
                if np.allclose(plain * scale, values, rtol=1e-5, atol=1e-6 * float(np.abs(values).max())):
                    return plain.astype(np.float16), scale.astype(np.float32)
    return None


def pack_keras(path: Path) -> None:
    """Keep in half precision, and deflated, what it holds of a Keras model's weights; Keras casts them as it loads them."""
    import h5py

    with files.replacing(path) as temporary, tempfile.TemporaryDirectory() as folder:
        whole, halves = Path(folder) / "whole.h5", Path(folder) / "halves.h5"
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(temporary, "w") as target:
            for name in source.namelist():
                content = source.read(name)
                if name.endswith(".h5"):
                    whole.write_bytes(content)
                    with h5py.File(whole) as before, h5py.File(halves, "w") as after:
                        before.visititems(lambda at, item, after=after: _put(after, at, item))
                    content = halves.read_bytes()
                target.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def _put(file: Any, at: str, item: Any) -> None:
    import h5py

    if isinstance(item, h5py.Dataset):
        file.create_dataset(at, data=_half(item[()]))
    else:
        file.require_group(at)
    for name, value in item.attrs.items():
        file[at].attrs[name] = value


def _half(values: NDArray[Any]) -> NDArray[Any]:
    """Return float32 values in half precision where that changes none, and others as they are."""
    if values.dtype != np.float32:
        return values
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), values) else values


def pick_evenly(part: data.StillPart, count: int) -> data.StillPart:
    """Return so many stills, spread evenly over all by name, since names tend to begin with the expression."""
    order = np.argsort(np.array(part.names, np.str_), kind="stable")
    return select(part, order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)])


def select(part: data.StillPart, rows: NDArray[np.int64]) -> data.StillPart:
    """Return some stills of a part."""
    names, twins = ([values[row] for row in rows] if values else [] for values in (part.names, part.twins))
    return data.StillPart(part.pixels[rows], part.labels[rows], part.targets[rows], names, twins, part.votes[rows])


def score_network(session: Session, part: data.StillPart, classes: list[str]) -> dict[str, Any]:
    """Return the scores of a network on stills: of its answer, of its label head, and of its vote head by the majority.

    `without_twins` are those of the stills whose photo the official training set does not hold.
    """
    outputs = predictions.run(session, part)
    result = score_outputs(session, outputs, part, classes)
    if any(part.twins):
        rows = np.flatnonzero(~np.array(part.twins))
        fresh = {name: values[rows] for name, values in outputs.items()}
        result["without_twins"] = score_outputs(session, fresh, replace(select(part, rows), twins=()), classes)
    return result


def score_outputs(session: Session, outputs: predictions.Outputs, part: data.StillPart, classes: list[str]) -> dict[str, Any]:
    """Return the scores of a network's outputs on stills."""
    answer = predictions.predictions_of(outputs["probabilities"], "", part, classes, session.classes)
    result: dict[str, Any] = {"stills": len(part.labels), "answer": _scores(answer)}
    if session.votes:
        result["labels"] = _scores(predictions.predictions_of(outputs["labels"], "", part, classes, classes))
        result["votes"] = asdict(predictions.majority(outputs["votes"], part))
    result["per_class"] = [
        {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}
        for row in figures.per_class(answer.truth, answer.predicted, answer.classes)
    ]
    return result


def six_looks(session: Session, part: data.StillPart) -> dict[str, float]:
    """Return the accuracy of each head, the vote head's as in `predictions.majority`, over six views of each face."""
    answers = [sum_views(session, part.pixels[at : at + BATCH]) for at in range(0, len(part.labels), BATCH)]
    fresh = ~np.array(part.twins or [False] * len(part.labels))
    everything = np.ones(len(part.labels), bool)
    truths = {"labels" if session.votes else "probabilities": (part.labels, everything)}
    if session.votes:
        truths["votes"] = part.votes.argmax(axis=1), part.votes.max(axis=1, initial=0) > 0.5
    result = {}
    for name, (truth, mask) in truths.items():
        right = np.concatenate([answer[name] for answer in answers]).argmax(axis=1) == truth
        result[name] = round(float(right[mask].mean()), 4)
        result[f"{name}_without_twins"] = round(float(right[mask & fresh].mean()), 4)
    return result


def sum_views(session: Session, faces: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Return the outputs' sums of log probabilities over six views of each face, uint8 (n, 48, 48): three zooms, each mirrored."""
    from vfer.cnn.looks import resampling, views

    sums: dict[str, NDArray[np.float32]] = {}
    for zoom, mirror in views(6):
        matrix = resampling(faces.shape[1], zoom)
        view = np.einsum("ij,bjk,lk->bil", matrix, faces, matrix, optimize=True)[..., np.newaxis]
        for name, values in session(view[:, :, ::-1] if mirror else view).items():
            logs = np.log(np.maximum(values, EPSILON))
            sums[name] = sums[name] + logs if name in sums else logs
    return sums


def _scores(answer: Predictions) -> dict[str, Any]:
    intervals = scores(answer, CONFIDENCE)
    result: dict[str, Any] = {name: {key: round(value, 4) for key, value in intervals[name].items()} for name in figures.TITLES}
    return result | {"calibration_error": round(figures.calibration(answer.truth, answer.probabilities)[0], 4)}


if __name__ == "__main__":
    console.run(main)
