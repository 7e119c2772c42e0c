"""The stage `pretrain`: the faces it finds, what it learns of them, and the weights it hands on."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from repository import build

from stages.pretrain import collect, main
from vfer.data.catalogue import stills
from vfer.data.sample.dataset import Recording, frames
from vfer.data.sample.stills import table
from vfer.errors import DataError, VferError, WeightsError
from vfer.nets import export
from vfer.pretrain import identities, model
from vfer.pretrain.identities import IdentityFaces, hold_out
from vfer.pretrain.params import PretrainParams
from vfer.pretrain.train import FaceBatches, train
from vfer.pretrain.verify import pairs, verification

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # those of TensorFlow

HOME = Path(__file__).resolve().parents[1]
QUICK = {"min_faces": 6, "validation": 0.25, "embedding": 16, "augmentation": 0.1, "epochs": 8, "batch_size": 8, "deterministic": False}


def section(**changes: object) -> dict[str, Any]:
    return dict(yaml.safe_load((HOME / "params.yaml").read_text())["pretrain"] | QUICK | changes)


class Interrupted(Exception):  # noqa: N818  # it stands for a kill
    """A kill."""


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stills of 5 rendered subjects to train on, 14 each, and of others for validation and test."""
    path = tmp_path_factory.mktemp("stills") / "stills.parquet"
    stills.write(path, table(10, 0, lambda: None))
    return path


@pytest.fixture(scope="module")
def faces(parquet: Path) -> IdentityFaces:
    return identities.choose(identities.read(parquet, parquet.parent)[0], 10, 0.25, 7, parquet)


def test_the_margin_is_that_of_cosface() -> None:
    rng = np.random.default_rng(0)
    embedding, right = rng.normal(0, 3, (5, 4)).astype(np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 1, 1]]
    layer = model.Margin(0.35, 30.0)
    layer([embedding, right])
    directions = np.asarray(layer.directions)
    cosines = (embedding / np.linalg.norm(embedding, axis=1, keepdims=True)) @ (directions / np.linalg.norm(directions, axis=0))
    for training, logits in ((True, cosines - 0.35 * right), (False, cosines)):
        powers = np.exp(30 * logits)
        result = np.asarray(layer([embedding, right], training=training))
        np.testing.assert_allclose(result, powers / powers.sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-6)
    again = model.Margin.from_config(layer.get_config())
    assert (again.margin, again.scale, again.name) == (0.35, 30.0, layer.name)


def test_a_face_that_is_far_from_its_subject_still_pulls() -> None:
    """A softmax that is computed before the logarithm would be 0 there, and its gradient too."""
    import tensorflow as tf

    layer, right = model.Margin(0.35, 64.0), np.array([[1, 0]], np.float32)
    layer([right, right])
    layer.directions.assign([[-1, 1], [0.1, 0]])
    with tf.GradientTape() as tape:
        loss = keras.losses.CategoricalCrossentropy()(right, layer([np.array([[1, 0]], np.float32), right], training=True))
    assert float(loss) == pytest.approx(64 * (2 + 0.35), rel=0.01)
    assert np.abs(tape.gradient(loss, layer.directions)).max() > 1


def test_batches_hold_each_face_once_with_its_subject_and_the_held_out_ones_are_others(faces: IdentityFaces) -> None:
    params = PretrainParams(**section(head="margin", augmentation=0))
    seen = []
    for training in (True, False):
        result = FaceBatches(faces, params, 3, fitted=training)
        rows = [batch for index in range(len(result)) for batch in zip(*result[index][0], result[index][1], strict=True)]
        assert len(rows) == (faces.held_out != training).sum()
        for crop, subject, target in rows:
            assert crop.shape == (48, 48, 1)
            np.testing.assert_array_equal(subject, target)
        seen.append({(crop.astype(np.uint8).tobytes(), int(target.argmax())) for crop, _, target in rows})
    everything = {(pixels.tobytes(), label) for pixels, label in zip(faces.pixels[faces.rows], faces.labels, strict=True)}
    assert seen[0] | seen[1] == everything
    assert not seen[0] & seen[1]


@pytest.mark.parametrize("share", [0.01, 0.3, 0.99])
def test_of_each_subject_two_faces_at_least_are_held_out_and_one_is_not(share: float) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [3, 10, 200]))
    mask = hold_out(labels, share, 5)
    np.testing.assert_array_equal(mask, hold_out(labels, share, 5))
    assert (mask != hold_out(labels, share, 6)).any()
    assert np.bincount(labels[mask]).tolist() == {0.01: [2, 2, 2], 0.3: [2, 3, 60], 0.99: [2, 9, 198]}[share]


def test_pairs_are_of_one_subject_or_of_two_and_all_occur() -> None:
    labels = np.repeat([0, 1, 2], [2, 3, 5])
    first, same, other = pairs(labels, 3000, np.random.default_rng(0))
    assert (labels[first] == labels[same]).all()
    assert (first != same).all()
    assert (labels[first] != labels[other]).all()
    assert len(set(zip(first, same, strict=True))) == 2 + 6 + 20
    assert len(set(zip(first, other, strict=True))) == 2 * 8 + 3 * 7 + 5 * 5


def test_verification_is_1_for_subjects_apart_and_one_half_for_noise() -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(20), 10))
    noise = rng.normal(0, 1, (200, 32)).astype(np.float32)
    assert verification(noise, labels, 1) == pytest.approx(0.5, abs=0.05)
    apart = rng.uniform(1, 9, (200, 1)) * (np.eye(20)[labels] + 0.01 * noise[:, :20])
    assert verification(apart.astype(np.float32), labels, 1) == 1


@pytest.mark.parametrize("head", ["softmax", "margin"])
def test_subjects_are_told_apart_after_a_few_epochs(head: str, faces: IdentityFaces) -> None:
    params = PretrainParams(**section(head=head, scale=16, margin=0.2, epochs=12, patience=12))
    net, fit, auc = train(faces, "architectures.nets:tiny", "float32", params, 3, None, lambda *_: None)
    assert faces.subjects == 5
    assert fit.history[fit.best]["val_accuracy"] > 0.6, "a guess is right in 0.2"
    assert auc > 0.8, "a guess has 0.5"
    assert net.output_shape == (None, 384)
    assert net.name == "tiny"


def test_an_interrupted_training_goes_on_as_if_it_never_stopped(faces: IdentityFaces, tmp_path: Path) -> None:
    params = PretrainParams(**section(head="margin", epochs=3))
    whole, expected, auc = train(faces, "architectures.nets:tiny", "float32", params, 3, None, lambda *_: None)

    def stop(epoch: int, _: dict[str, float]) -> None:
        if epoch == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(faces, "architectures.nets:tiny", "float32", params, 3, tmp_path, stop)
    went: list[int] = []
    net, fit, again = train(faces, "architectures.nets:tiny", "float32", params, 3, tmp_path, lambda epoch, _: went.append(epoch))
    assert went == [2]
    assert fit.best == expected.best
    assert again == pytest.approx(auc, abs=1e-4)
    for value, other in zip(net.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(value, other, atol=1e-5)


def test_only_rows_to_train_on_with_a_subject_count(parquet: Path, tmp_path: Path) -> None:
    rows = pq.read_table(parquet).to_pylist()
    train_rows = [row for row in rows if row["usage"] == "train"]
    assert len(train_rows) < len(rows)
    train_rows[0]["subject"] = None
    train_rows[1]["image"] = b"junk"
    train_rows[2]["image"] = cv2.imencode(".png", np.zeros((50, 48), np.uint8))[1].tobytes()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    collection, nameless = identities.read(tmp_path / "a.parquet", tmp_path)
    assert (nameless, len(collection.refusals), collection.pictures) == (1, 2, len(train_rows) - 1)
    assert set(collection.refusals.values()) == {"is not a 48x48 picture that can be decoded"}
    good_rows = train_rows[3:]
    np.testing.assert_array_equal(collection.pixels, stills.decode(pa.Table.from_pylist(good_rows)))
    names = dict(zip(collection.subjects.tolist(), (row["subject"] for row in good_rows), strict=True))
    assert [names[number] for number in collection.subjects.tolist()] == [row["subject"] for row in good_rows]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet"], "the faces' file has no name"
    without = pa.Table.from_pylist(rows).drop_columns(["usage", "still", "expression", "source"])
    pq.write_table(without, tmp_path / "b.parquet")
    assert identities.read(tmp_path / "b.parquet", tmp_path)[0].pictures == len(rows) - 1


def test_a_subject_with_too_few_faces_is_left_out_and_two_must_remain(parquet: Path) -> None:
    rows = identities.read(parquet, parquet.parent)[0]
    selection = np.delete(np.arange(70), np.flatnonzero(rows.subjects == 2)[:3])
    some = identities.CollectedFaces(rows.pixels[selection], rows.subjects[selection], {}, rows.names)
    choice = identities.choose(some, 12, 0.2, 1, parquet)
    assert np.bincount(choice.labels).tolist() == [14, 14, 14, 14]
    assert choice.names == [rows.names[i] for i in (0, 1, 3, 4)]
    assert some.subjects[choice.rows].tolist() == [[0, 1, 3, 4][label] for label in choice.labels]
    with pytest.raises(DataError, match=r"0 of 5 subjects have 99 faces or more, and two are needed; .*pretrain\.min_faces"):
        identities.choose(some, 99, 0.2, 1, parquet)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"subject": pa.array([None, None], pa.string()), "image": [b"", b""]}, "no row has a subject"),
        ({"image": [b""]}, "has no columns subject and image"),
    ],
)
def test_a_table_that_names_nobody_is_refused(columns: dict[str, Any], reason: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=rf"a\.parquet: {reason}; "):
        identities.read(tmp_path / "a.parquet", tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read .*; pretrain\.identities is a Parquet file"):
        identities.read(tmp_path / "a.parquet", tmp_path)


def render(folder: Path, actors: int, each: int) -> None:
    """Pictures of actors, as large as a detector needs them, a folder an actor."""
    for actor in range(actors):
        (folder / f"n{actor:06d}").mkdir(parents=True)
        pictures = frames(Recording(folder, actor + 1, "happy", 0, ("02",), (160, 120), 2.0, each // 2, 0))
        for number, picture in enumerate(pictures):
            cv2.imwrite(str(folder / f"n{actor:06d}" / f"{number:04d}_01.jpg"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


class Project:
    """A folder of identities, params, an MLflow store and a clip store: what the stage runs on."""

    def __init__(self, root: Path) -> None:
        self.root, self.identities, self.out = root, root / "identities", root / "out"
        render(self.identities, 3, 8)
        (self.identities / "n000000" / "broken.jpg").write_bytes(b"no picture")
        cv2.imwrite(str(self.identities / "n000001" / "nobody.png"), np.full((90, 90), 60, np.uint8))
        (self.identities / "n000001" / "list.txt").write_text("no picture, and none that claims to be one")
        (self.identities / "few").mkdir()
        for name in ("0000_01.jpg", "0001_01.jpg"):
            shutil.copy(self.identities / "n000002" / name, self.identities / "few" / name)
        (self.identities / "empty").mkdir()

    def run(self, source: Path | None = None, **changes: object) -> dict[str, Any]:
        content = yaml.safe_load((HOME / "params.yaml").read_text())
        content["pretrain"] = section(**{"enabled": True, "deterministic": True, "epochs": 1} | changes)
        content["cnn"] |= {"architecture": "architectures.nets:tiny"}
        (self.root / "params.yaml").write_text(yaml.safe_dump(content))
        main(source or self.identities, self.root / "weights", self.root / "stills.parquet", self.root / "params.yaml", self.out)
        return dict(json.loads((self.out / "metrics.json").read_text()))

    def files(self) -> list[str]:
        return sorted(path.relative_to(self.out).as_posix() for path in self.out.rglob("*") if path.is_file())


ALWAYS = ["history.csv", "metrics.json", "refused.csv", "run.json", "weights/weights.json"]


@pytest.fixture(scope="module")
def common_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(common_project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("DVC_ROOT", str(common_project.root))
    monkeypatch.setenv("VFER_STORE", str(common_project.root / "store"))
    monkeypatch.setenv("VFER_WORKERS", "1")
    return common_project


def test_a_folder_of_pictures_is_cropped_once_and_trained_on(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = project.run()
    assert "pretrain: detector centerface" in (output := capsys.readouterr().out)
    assert "pretrain: 4 subjects\n" in output
    figures = {"weights": "trained", "subjects": 3, "faces": 24, "held_out": 6, "set_aside": 2, "few": 2, "epochs": 1, "best_epoch": 1}
    assert {name: metrics[name] for name in figures} == figures
    assert 0 <= metrics["identification"] <= 1
    assert 0 <= metrics["verification_auc"] <= 1
    refusals = (project.out / "refused.csv").read_text().splitlines()
    assert refusals == ["picture,reason", "n000000/broken.jpg,is not a picture that can be decoded", "n000001/nobody.png,shows no face"]
    assert project.files() == sorted([*ALWAYS, "weights/backbone.keras", "weights/learned.parquet"])
    about = json.loads((project.out / "weights" / "weights.json").read_text())
    assert about == {
        "weights": "trained",
        "architecture": "architectures.nets:tiny",
        "identities": str(project.identities),
        "subjects": 3,
        "faces": 24,
    }
    from mlflow import MlflowClient

    run = MlflowClient(f"sqlite:///{project.root}/mlflow.db").get_run(json.loads((project.out / "run.json").read_text())["run_id"])
    assert run.data.tags["vfer.stage"] == "pretrain"
    assert run.data.params["architecture"] == "architectures.nets:tiny"
    assert run.data.metrics["verification_auc"] == pytest.approx(metrics["verification_auc"])
    first = (project.out / "weights" / "backbone.keras").read_bytes()
    project.run()
    assert "4 subjects (4 from the clip store)" in capsys.readouterr().out
    assert (project.out / "weights" / "backbone.keras").read_bytes() == first


def test_one_picture_more_costs_its_subject(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = project.identities, project.root / "weights", HOME / "params.yaml", project.out
    before, _, key = collect(*arguments)
    more = project.identities / "n000000" / "more.jpg"
    shutil.copy(project.identities / "n000000" / "0000_01.jpg", more)
    try:
        after, figures, another = collect(*arguments)
    finally:
        more.unlink()
    assert "4 subjects (3 from the clip store)" in capsys.readouterr().out
    assert len(after.pixels) == len(before.pixels) + 1
    assert figures["detector"] == "centerface"
    assert key != another
    assert not (project.out / "subjects").exists()


def test_too_many_bad_pictures_fail_the_stage_and_are_named(project: Project) -> None:
    with pytest.raises(DataError, match=r"refused\.csv: 2 of 28 pictures show no face or .*, more than pretrain\.max_bad \(0\.05\)"):
        project.run(max_bad=0.05)
    assert len((project.out / "refused.csv").read_text().splitlines()) == 3
    assert not (project.out / "weights").exists()


@pytest.mark.parametrize("name", ["n000000", "empty", "nowhere"])
def test_what_holds_no_subjects_is_refused(name: str, project: Project) -> None:
    with pytest.raises(VferError, match=r"pretrain\.identities is a Parquet file with the columns subject and image, a folder"):
        project.run(project.identities / name)


def test_a_keras_file_passes_through_and_another_architecture_does_not(project: Project) -> None:
    net = model.backbone("architectures.nets:tiny")
    export.save_keras(net, project.root / "tiny.keras")
    assert project.run(project.root / "tiny.keras") == {"weights": "given"}
    assert project.files() == sorted([*ALWAYS, "weights/backbone.keras", "weights/learned.parquet"])
    copy = keras.models.load_model(project.out / "weights" / "backbone.keras", compile=False)
    for value, other in zip(copy.get_weights(), net.get_weights(), strict=True):
        np.testing.assert_array_equal(value, other)
    assert json.loads((project.out / "weights" / "weights.json").read_text())["file"].endswith("tiny.keras")
    export.save_keras(model.backbone("architectures.nets:wider"), project.root / "wider.keras")
    with pytest.raises(WeightsError, match=r"wider\.keras: layer conv12 of wider has the shapes"):
        project.run(project.root / "wider.keras")
    assert project.files() == ["history.csv", "metrics.json", "refused.csv", "run.json"]


@pytest.mark.parametrize(("key", "value"), [("head", "cosine"), ("validation", 0), ("min_faces", 2), ("identities", ""), ("margins", 1)])
def test_params_out_of_range_are_refused(key: str, value: object, project: Project) -> None:
    with pytest.raises(VferError, match=rf"params\.yaml: pretrain\.{key}: "):
        project.run(**{key: value})


def test_dvc_follows_what_identities_names_and_the_stage_that_is_off_does_nothing(tmp_path: Path) -> None:
    def fill(data: Path) -> None:
        data.mkdir()
        (data / "stills.parquet").write_text("nothing that the stage would read")

    repository = build(tmp_path / "repository", fill=fill)
    assert repository.ran("repro", "pretrain") == ["pretrain"]
    out = repository.root / "outputs" / "pretrain"
    assert [path.name for path in (out / "weights").iterdir()] == ["weights.json"]
    assert repository.metrics("pretrain") == {"weights": "none"}
    off = (out / "weights" / "weights.json").read_bytes()
    repository.commit()
    (repository.root / "data" / "stills.parquet").write_text("something else")
    repository.run("dvc", "add", "--quiet", "data")
    assert repository.ran("repro", "pretrain") == ["pretrain"]
    assert (out / "weights" / "weights.json").read_bytes() == off
    weights = repository.root / "my weights.keras"
    export.save_keras(model.backbone("mini_xception"), weights)
    options = ["-S", "pretrain.enabled=true", "-S", "pretrain.identities=my weights.keras"]
    assert repository.ran("exp", "run", "pretrain", *options) == ["pretrain"]
    assert repository.metrics("pretrain") == {"weights": "given"}
    assert (out / "weights" / "backbone.keras").is_file()
    assert "up to date" in repository.run("dvc", "status", "pretrain")
    weights.write_bytes(b"other weights")
    assert "my weights.keras" in repository.run("dvc", "status", "pretrain")


def test_the_stage_that_is_off_loads_no_tensorflow(tmp_path: Path) -> None:
    arguments = {
        "identities": tmp_path / "nowhere",
        "weights": tmp_path,
        "stills": tmp_path,
        "params": HOME / "params.yaml",
        "out": tmp_path / "out",
    }
    words = [str(word) for name, value in arguments.items() for word in (f"--{name}", value)]
    code = "import sys\nfrom stages.pretrain import console, main\ntry:\n    console.run(main)\nfinally:\n    print('keras' in sys.modules)"
    command = [sys.executable, "-c", code, *words]
    process = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
    assert process.stdout.splitlines()[-1:] == ["False"], process.stdout + process.stderr
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.rglob("*") if path.is_file()) == ALWAYS
