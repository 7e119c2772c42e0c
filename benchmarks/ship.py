"""Packs the network that `stages.cnn` has trained as the one that comes with vfer: `make ship`, for maintainers.

Its weights are rounded to half precision, which halves the files; both networks are then scored again, on the stills they were
trained for, and the card says what came out. docs/model-card.md is written by hand from it.
"""

import shutil
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
import yaml

from benchmarks import machine
from benchmarks.repository import HOME
from vfer import artifacts, console, env, stills
from vfer.cnn import data, predictions, shipped
from vfer.digests import digest
from vfer.errors import VferError
from vfer.evaluate import figures
from vfer.labels import LabelsParams
from vfer.session import Session

MOST = 6_000_000  # bytes of a file
FOLDER = HOME / "src" / "vfer" / "cnn" / "shipped"
APART = 1e-3  # by which an answer of the Keras and the ONNX network may differ
SLICE = 500  # validation stills whose accuracy a test reproduces
RESAMPLES, CONFIDENCE = 1000, 0.95


def main(
    outputs: Annotated[Path, typer.Option(help="What `stages.cnn` made.")] = HOME / "outputs" / "cnn",
    table: Annotated[Path, typer.Option("--stills", help="The stills it was trained on.")] = HOME / "data" / "stills.parquet",
    config: Annotated[Path, typer.Option("--params", help="The params it was trained with.")] = HOME / "params.yaml",
) -> None:
    """Writes the package's files and their card."""
    with console.Stage("ship") as stage, tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        split, names = halve(outputs, table, made)
        shutil.copyfile(outputs / "history.csv", made / "history.csv")
        if large := [name for name in shipped.FILES if (made / name).stat().st_size > MOST]:
            raise VferError(f"{', '.join(large)}: larger than {MOST / 1e6:.0f} MB; ship a smaller network")
        session = Session(made / "model.onnx", threads=env.workers())
        card = {
            "classes": names,
            "params": yaml.safe_load(config.read_text())["cnn"],
            "trained_on": {"sha256": digest(table), "stills": stills.labels(table).num_rows},
            "made": {name: machine.facts()[name] for name in ("date", "machine", "versions")},
            "scores": {usage: judged(session, usage, part) for usage, part in split.items()},
            "slice": judged(session, "validation", few(split["validation"]))["plain"],
            "sha256": {name: digest(made / name) for name in shipped.FILES},
        }
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
        for name in shipped.FILES:
            shutil.copyfile(made / name, FOLDER / name)
        artifacts.write_json(FOLDER / shipped.CARD, card)
        stage.made = f"{', '.join(names)}; test accuracy {card['scores']['test']['plain']['accuracy']['value']} -> {FOLDER}"


def halve(outputs: Path, table: Path, made: Path) -> tuple[dict[str, data.Part], list[str]]:
    """Rounds the weights, exports both networks and packs them; returns the held-out stills and the classes."""
    import keras

    from vfer import export

    model = keras.models.load_model(outputs / "model.keras", compile=False)
    names = Session(outputs / "model.onnx").classes
    split = data.held_out(stills.read(table), LabelsParams(stills="all", clips="all"), names, table)
    model.set_weights([value.astype(np.float16).astype(value.dtype) for value in model.get_weights()])
    export.save(model, made, split["validation"].pixels[:64, ..., None].astype(np.float32), names)
    pack_onnx(made / "model.onnx")
    pack_keras(made / "model.keras")
    sample = split["validation"].pixels[:SLICE, ..., None].astype(np.float32)
    answers = Session(made / "model.onnx")(sample)["probabilities"]
    difference = float(np.abs(answers - np.asarray(model(sample, training=False)["probabilities"])).max())
    if difference > APART:
        raise VferError(f"{outputs}: packed, the networks differ by {difference:.2g}; ship them in full precision")
    return split, names


def pack_onnx(path: Path) -> None:
    """Keeps the large weights of an ONNX network in half precision; the network casts them as it is loaded.

    The exporter has multiplied the norms into them, so that they are not those that `halve` has rounded, and are rounded once more.
    """
    network = onnx.load(path)
    large = [tensor for tensor in network.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) > 256]
    for tensor in large:
        half = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}_half")
        network.graph.initializer.remove(tensor)
        network.graph.initializer.append(half)
        network.graph.node.insert(0, onnx.helper.make_node("Cast", [half.name], [tensor.name], to=onnx.TensorProto.FLOAT))
    onnx.checker.check_model(network)
    onnx.save(network, path)


def pack_keras(path: Path) -> None:
    """Keeps the weights of a Keras model in half precision; Keras casts them as it loads them."""
    import h5py

    packed = path.with_suffix(".packed")
    with (
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as target,
        tempfile.TemporaryDirectory() as folder,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".h5"):
                whole, half = Path(folder) / "whole.h5", Path(folder) / "half.h5"
                whole.write_bytes(content)
                with h5py.File(whole) as weights, h5py.File(half, "w", track_order=False) as halves:
                    weights.visititems(lambda at, item, halves=halves: _put(halves, at, item))
                content = half.read_bytes()
            target.writestr(zipfile.ZipInfo(name), content)
    packed.replace(path)


def _put(halves: Any, at: str, item: Any) -> None:
    import h5py

    if isinstance(item, h5py.Dataset):
        halves.create_dataset(at, data=item[()].astype(np.float16) if item.dtype == np.float32 else item[()])
    else:
        halves.require_group(at)
    for name, value in item.attrs.items():
        halves[at].attrs[name] = value


def few(part: data.Part) -> data.Part:
    """Returns the slice that a test scores again: as many stills as `SLICE`, evenly spaced over the names, and so over the classes."""
    rows = np.linspace(0, len(part.labels) - 1, SLICE).round().astype(int)
    return data.Part(part.pixels[rows], part.labels[rows], part.targets[rows], [part.names[row] for row in rows])


def judged(session: Session, usage: str, part: data.Part) -> dict[str, Any]:
    """Returns the scores of single stills, and of the mean over each and its mirror image, with intervals over the stills."""
    said = predictions.predict(session, usage, part.names, part.pixels, part.labels)
    flipped = predictions.predict(session, usage, part.names, np.ascontiguousarray(part.pixels[:, :, ::-1]), part.labels)
    both = {"plain": said.probabilities, "flip_average": (said.probabilities + flipped.probabilities) / 2}
    result: dict[str, Any] = {"stills": len(part.labels)}
    for name, shares in both.items():
        predicted = shares.argmax(axis=1)
        intervals = figures.bootstrap(
            part.labels, predicted, list(part.names), len(said.classes), resamples=RESAMPLES, confidence=CONFIDENCE, seed=0
        )
        result[name] = {key: {k: round(v, 4) for k, v in asdict(value).items()} for key, value in intervals.items()}
        result[name]["calibration_error"] = round(figures.calibration(part.labels, shares)[0], 4)
    result["per_class"] = [
        {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}
        for row in figures.per_class(part.labels, said.predicted, said.classes)
    ]
    return result


if __name__ == "__main__":
    console.run(main)
