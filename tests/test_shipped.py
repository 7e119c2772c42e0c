"""The network that comes with vfer: its files, its twins, what it reaches on FER2013, and the stage that takes it instead of training."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import toys
import yaml
from keras import layers

from benchmarks import ship
from stages.cnn import main
from vfer import export, stills
from vfer.cnn import predictions, shipped
from vfer.datasets import READERS, scan
from vfer.datasets.intake import intake
from vfer.errors import WeightsError
from vfer.labels import LabelsParams
from vfer.session import Session

HOME = Path(__file__).resolve().parents[1]
FOLDER = HOME / "src" / "vfer" / "cnn" / "shipped"
CARD = json.loads((FOLDER / shipped.CARD).read_text())

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of TensorFlow and tf2onnx
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),  # of tf2onnx
]


def test_its_files_are_small_and_what_the_card_says(tmp_path: Path) -> None:
    assert shipped.install(tmp_path) == CARD["classes"] == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    for name in shipped.FILES:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
        assert (tmp_path / name).stat().st_size <= ship.MOST
    assert Session(tmp_path / "model.onnx").classes == CARD["classes"]


def test_a_damaged_file_is_one_line_and_nothing_is_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FOLDER, tmp_path / "shipped")
    monkeypatch.setattr(shipped, "files", lambda _: tmp_path)
    (tmp_path / "shipped" / "model.onnx").write_bytes(b"cut")
    with pytest.raises(WeightsError, match=r"model\.onnx: is missing or damaged; install vfer again"):
        shipped.install(tmp_path / "out")
    (tmp_path / "shipped" / "model.keras").unlink()
    with pytest.raises(WeightsError, match=r"model\.keras: is missing or damaged"):
        shipped.install(tmp_path / "other")
    assert not [path for path in tmp_path.rglob("*model.onnx*") if path.parent.name != "shipped"]


def test_its_keras_and_onnx_twins_answer_alike() -> None:
    faces = np.random.default_rng(0).integers(0, 255, (8, 48, 48, 1)).astype(np.float32)
    found = Session(FOLDER / "model.onnx")(faces)
    expected = keras.models.load_model(FOLDER / "model.keras", compile=False)(faces, training=False)
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=ship.APART)
    np.testing.assert_allclose(found["embedding"], expected["embedding"], atol=ship.APART * float(np.max(expected["embedding"])))
    assert (found["embedding"] >= 0).all()


def test_it_reaches_on_fer2013_what_its_card_says(real_data: Path, tmp_path: Path) -> None:
    entries, _ = scan([real_data / "fer2013.zip"])
    chosen = [entry for entry in entries if entry.name.startswith("PublicTest")]
    intake(tmp_path, READERS["fer2013"].read(chosen), "fer2013")
    labels = LabelsParams(stills="all", clips="all")
    part = ship.few(ship.data.held_out(stills.read(tmp_path / "stills.parquet"), labels, CARD["classes"], tmp_path)["validation"])
    assert len(part.labels) == ship.SLICE
    said = predictions.predict(Session(FOLDER / "model.onnx"), "validation", part.names, part.pixels, part.labels)
    assert (said.predicted == said.truth).mean() == pytest.approx(CARD["slice"]["accuracy"]["value"], abs=1.5 / ship.SLICE)


def run(root: Path) -> Path:
    params = yaml.safe_load((HOME / "params.yaml").read_text())
    params["cnn"]["weights"] = "shipped"
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    main(root / "stills.parquet", root / "no-weights", root / "params.yaml", root / "out")
    return root / "out"


def test_who_has_only_clips_gets_it_without_stills(tmp_path: Path) -> None:
    stills.write(tmp_path / "stills.parquet", stills.SCHEMA.empty_table())
    out = run(tmp_path)
    assert {path.name for path in out.iterdir()} == {*shipped.FILES, "metrics.json", "predictions.parquet", "run.json"}
    assert json.loads((out / "metrics.json").read_text()) == {}
    assert json.loads((out / "run.json").read_text()) == {"run_id": ""}
    assert predictions.read(out / "predictions.parquet").of("test").still == []


def test_stills_of_its_classes_are_scored_and_others_are_not(tmp_path: Path) -> None:
    pixels = [np.full((48, 48), level, np.uint8) for level in (10, 120, 240)]
    rows = [
        (f"t/{usage}-{i}", word, usage, "t", None, toys.png(picture), None)
        for usage in stills.USAGES
        for i, (word, picture) in enumerate(zip(("happy", "sad", "contempt"), pixels, strict=True))
    ]
    stills.write(tmp_path / "stills.parquet", stills.pa.table([list(column) for column in zip(*rows, strict=True)], schema=stills.SCHEMA))
    out = run(tmp_path)
    said = predictions.read(out / "predictions.parquet")
    assert said.still == ["t/validation-0", "t/validation-1", "t/test-0", "t/test-1"]
    assert said.classes == CARD["classes"]
    assert set(json.loads((out / "metrics.json").read_text())) == {"validation", "test"}


def test_packing_halves_the_files_and_hardly_changes_an_answer(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1), name="crop")
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(64, 3, name="conv")(inputs))
    x = layers.Dense(128, name="wide")(layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, {"probabilities": layers.Dense(2, activation="softmax", name="probabilities")(x)}, name="toy")
    model.set_weights([value.astype(np.float16).astype(value.dtype) for value in model.get_weights()])
    pictures = np.random.default_rng(0).random((3, 8, 8, 1)).astype(np.float32)
    export.save(model, tmp_path, pictures, ["a", "b"])
    whole = {name: (tmp_path / name).stat().st_size for name in ("model.onnx", "model.keras")}
    before = Session(tmp_path / "model.onnx")(pictures)["probabilities"]
    ship.pack_onnx(tmp_path / "model.onnx")
    ship.pack_keras(tmp_path / "model.keras")
    for name, size in whole.items():
        assert (tmp_path / name).stat().st_size < 0.6 * size
    np.testing.assert_allclose(Session(tmp_path / "model.onnx")(pictures)["probabilities"], before, atol=ship.APART)
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    for value, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, other)
        assert value.dtype == other.dtype
