"""The network that comes with vfer: its files, its twins, what it reaches on FER2013, and the stage that takes it instead of training."""

import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
import toys
import yaml
from numpy.typing import NDArray

from benchmarks import ship
from stages.cnn import main
from vfer.cnn import data, head, predictions, shipped
from vfer.cnn.model import build
from vfer.data.catalogue import learned, stills
from vfer.data.catalogue.labels import LabelsParams
from vfer.data.readers import READERS, scan
from vfer.data.readers.intake import intake
from vfer.data.readers.items import FoundStill
from vfer.errors import VferError, WeightsError
from vfer.nets import export, reference
from vfer.nets.session import Session

HOME = Path(__file__).resolve().parents[1]
FOLDER = HOME / "src" / "vfer" / "cnn" / "shipped"
CARD = json.loads((FOLDER / shipped.CARD).read_text())
FACES = np.random.default_rng(0).integers(0, 255, (6, 48, 48, 1)).astype(np.float32)

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


@pytest.mark.parametrize("name", [*shipped.FILES, shipped.CARD])
@pytest.mark.parametrize("content", [b"cut", None])
def test_a_file_that_is_damaged_or_missing_is_one_line_and_nothing_is_copied(
    name: str, content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FOLDER, tmp_path / "shipped")
    monkeypatch.setattr(shipped, "files", lambda _: tmp_path)
    if content is None:
        (tmp_path / "shipped" / name).unlink()
    else:
        (tmp_path / "shipped" / name).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"shipped.{re.escape(name)}: is missing or damaged; install vfer again$"):
        shipped.install(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_its_keras_and_onnx_twins_answer_alike() -> None:
    outputs, expected = answers(FOLDER / "model.onnx"), answers(FOLDER / "model.keras")
    for name in ("embedding", "probabilities"):
        np.testing.assert_allclose(outputs[name], expected[name], atol=export.TOLERANCE)
    assert (outputs["embedding"] >= 0).all()


def test_its_head_answers_by_embeddings_as_it_does_itself() -> None:
    session = Session(FOLDER / "model.onnx")
    answer = session(FACES)
    np.testing.assert_allclose(head.of(session)(answer["embedding"]), answer["probabilities"], atol=1e-5)
    everybody = reference.reference_of(session)
    assert everybody.neutral is not None
    assert everybody.mean.shape == everybody.spread.shape == answer["embedding"].shape[1:]


def test_it_reaches_on_fer2013_what_its_card_says(real_data: Path, tmp_path: Path) -> None:
    entries, _ = scan([real_data / "fer2013new.csv", real_data / "fer2013.zip"])
    public = [still for still in READERS["ferplus"].read(entries) if isinstance(still, FoundStill) and still.usage == "validation"]
    intake(tmp_path, public, "ferplus")
    labels = LabelsParams(stills="all", clips="all")
    split = data.held_out(stills.read(tmp_path / "stills.parquet"), labels, CARD["classes"], tmp_path)
    part = ship.pick_evenly(split["validation"], ship.SLICE)
    assert len(part.labels) == ship.SLICE
    assert set(part.labels) == set(range(len(CARD["classes"])))
    answer = predictions.predict(session := Session(FOLDER / "model.onnx"), "validation", part, session.classes)
    assert (answer.predicted == answer.truth).mean() == pytest.approx(CARD["slice"]["accuracy"]["value"], abs=1.5 / ship.SLICE)


def test_weights_of_the_pretraining_that_it_does_not_take_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stills.write(tmp_path / "stills.parquet", stills.SCHEMA.empty_table())
    (tmp_path / "no-start").mkdir()
    (tmp_path / "no-start" / "backbone.keras").touch()
    run(tmp_path)
    assert "the other params of cnn and the weights of pretrain are ignored" in " ".join(capsys.readouterr().out.split())


def run(root: Path) -> Path:
    params = yaml.safe_load((HOME / "params.yaml").read_text())
    params["cnn"]["weights"] = "shipped"
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    main(root / "stills.parquet", root / "no-start", root / "no-weights", root / "params.yaml", root / "out")
    return root / "out"


def test_who_has_only_clips_gets_it_without_stills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stills.write(tmp_path / "stills.parquet", stills.SCHEMA.empty_table())
    out = run(tmp_path)
    assert "the other params of cnn are ignored" in " ".join(capsys.readouterr().out.split())
    assert {path.name for path in out.iterdir()} == {*shipped.FILES, learned.FILE, "metrics.json", "predictions.parquet", "run.json"}
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
    answer = predictions.read(out / "predictions.parquet")
    assert answer.still == ["t/validation-0", "t/validation-1", "t/test-0", "t/test-1"]
    assert answer.classes == CARD["classes"]
    assert set(json.loads((out / "metrics.json").read_text())) == {"validation", "test"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a small network whose norms are no identities, as a training leaves it, and packed."""
    before, after = tmp_path_factory.mktemp("before"), tmp_path_factory.mktemp("after")
    keras.utils.set_random_seed(0)
    model = build("architectures.nets:tiny", 3, 512, 0.1)
    rng = np.random.default_rng(0)
    model.set_weights([value * rng.uniform(0.7, 1.4, value.shape) + (value.ndim == 1) * 0.1 for value in model.get_weights()])
    export.save(model, before, FACES, list("abc"))
    ship.pack(before / "model.keras", after, FACES, list("abc"))
    return before, after


@pytest.mark.parametrize("name", ["model.keras", "model.onnx"])
def test_packing_halves_a_file_and_hardly_changes_an_answer(folders: tuple[Path, Path], name: str) -> None:
    before, after = folders
    assert (after / name).stat().st_size < 0.56 * (before / name).stat().st_size
    outputs, expected = answers(after / name), answers(before / name)
    assert Session(after / "model.onnx").classes == list("abc")
    for output, values in expected.items():
        np.testing.assert_allclose(outputs[output], values, atol=0.01, rtol=0.01)


def test_packed_twins_hold_the_same_kernels_and_answer_alike(folders: tuple[Path, Path]) -> None:
    _, after = folders
    model = keras.models.load_model(after / "model.keras")
    assert {value.dtype for value in model.get_weights()} == {np.dtype(np.float32)}
    network = onnx.load(after / "model.onnx")
    halves = [onnx.numpy_helper.to_array(tensor) for tensor in network.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16]
    kernels = [value for value in model.get_weights() if value.ndim > 1]
    assert sorted(half.size for half in halves) == sorted(kernel.size for kernel in kernels), "the exporter hides none behind a norm"
    assert sorted(np.abs(half.astype(float)).sum() for half in halves) == pytest.approx(sorted(np.abs(kernel).sum() for kernel in kernels))
    outputs, expected = answers(after / "model.onnx"), answers(after / "model.keras")
    for output, values in expected.items():
        np.testing.assert_allclose(outputs[output], values, atol=1e-5)


def answers(path: Path) -> dict[str, NDArray[np.float32]]:
    result = keras.models.load_model(path) if path.suffix == ".keras" else Session(path)
    return {name: np.asarray(value) for name, value in result(FACES).items()}


def test_networks_whose_answers_differ_are_not_shipped(folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ship, "pack_keras", lambda path: shutil.copyfile(folders[0] / "model.keras", path))
    with pytest.raises(VferError, match="packed, the two networks differ by"):
        ship.pack(folders[0] / "model.keras", tmp_path, FACES, list("abc"))


def test_the_slice_is_spread_over_all_names_whatever_the_order() -> None:
    order = np.random.default_rng(0).permutation(10)
    names = [f"{number}" for number in order]
    part = data.StillPart(order[:, None, None].astype(np.uint8), order, np.eye(10, dtype=np.float32)[order], names)
    assert ship.pick_evenly(part, 4).names == ["0", "3", "6", "9"]
    assert ship.pick_evenly(part, 4).labels.tolist() == [0, 3, 6, 9]
    assert ship.pick_evenly(part, 20).names == sorted(names)


def test_stills_that_hold_nothing_to_score_and_a_shipped_network_are_refused(tmp_path: Path) -> None:
    stills.write(tmp_path / "stills.parquet", stills.SCHEMA.empty_table())
    params = yaml.safe_load((HOME / "params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params | {"cnn": params["cnn"] | {"weights": "shipped"}}))
    with pytest.raises(VferError, match=r"cnn\.weights: expected trained"):
        ship.main(FOLDER, tmp_path / "stills.parquet", tmp_path / "params.yaml")
    with pytest.raises(VferError, match="holds no stills"):
        ship.main(FOLDER, tmp_path / "stills.parquet", HOME / "params.yaml")
