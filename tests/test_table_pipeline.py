"""The pipeline on feature tables, from `features` to the registered model and its answers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from test_tables import OPENFACE, text, write_file
from typer.testing import CliRunner

from stages import cnn, evaluate, faces, features, frames, lstm, method, pretrain, register, tune
from vfer.cli.app import app
from vfer.compare.table import ENTRIES
from vfer.data.catalogue import manifest, places
from vfer.data.catalogue.manifest import Clip
from vfer.errors import DataError, WeightsError
from vfer.predict.models import model as models
from vfer.predict.recogniser import Recogniser
from vfer.register import record

HOME = Path(__file__).resolve().parents[1]
SMILES = {"happy": 3.0, "sad": 0.5}
SUBJECTS, TAKES = 9, 2

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of MLflow and of what it imports
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow keeps its connections
]


def table(path: Path, expression: str, seed: int, visible: bool = True) -> Path:
    """Write the table of a clip in which a smile of some strength comes and goes."""
    rng = np.random.default_rng(seed)
    smile = SMILES[expression] * np.sin(np.linspace(0.5, 2.5, 12)) + rng.normal(0, 0.1, 12)
    cells = [
        [
            str(n + 1),
            "0",
            f"{n / 10:.3f}",
            "0.98",
            str(int(visible and n != 4)),
            "0",
            f"{rng.random():.2f}",
            f"{value:.3f}",
            str(int(value > 1)),
        ]
        for n, value in enumerate(smile)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_file(path, text([list(OPENFACE), *cells]))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository's folder in which all stages have run, on tables of OpenFace of which one cannot be read."""
    root = tmp_path_factory.mktemp("tables")
    names = [(f"s{person}", word, take) for person in range(SUBJECTS) for word in SMILES for take in range(TAKES)]
    clips = []
    for seed, (person, word, take) in enumerate(names):
        clip = f"lab/{word}/{person}_{take}"
        clips.append(Clip(clip, f"clips/{clip}.openface.csv", word, f"lab/{person}", clip, "lab"))
        table(root / "data" / clips[-1].path, word, seed)
    write_file(root / "data" / clips[5].path, "AU01_r\nhigh\n")
    manifest.write(root / "data" / "clips.csv", clips)
    places.update(root / "data", clips)
    (root / "data.dvc").write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  size: 5\n  nfiles: 2\n  path: data\n")
    content = yaml.safe_load((HOME / "params.yaml").read_text())
    content["features"]["source"] = "openface"
    content["tune"]["epochs"] = 3  # there is no CNN to fine-tune
    content["lstm"] |= {
        "epochs": 20,
        "units": 4,
        "baseline": "subject",
        "learning_rate": 0.03,
        "dropout": 0,
        "input_dropout": 0,
        "batch_size": 8,
    }
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")
        patch.setenv("DVC_ROOT", str(root))
        patch.setenv("VFER_STORE", "none")
        run(root)
    return root


def run(root: Path) -> None:
    """Run the stages as dvc.yaml does; there are no stills, and no weights of a detector."""
    out, config, clips, stills = root / "outputs", root / "params.yaml", root / "data" / "clips.csv", root / "data" / "stills.parquet"
    cache, weights = out / "features" / "features.parquet", root / "weights"
    frames.main(clips, config, out / "frames")
    faces.main(out / "frames" / "clips", weights, config, out / "faces")
    pretrain.main(stills, weights, stills, config, out / "pretrain")
    cnn.main(stills, out / "pretrain" / "weights", weights, config, out / "cnn")
    tune.main(out / "cnn", out / "faces" / "clips", root / "data", config, out / "tune")
    features.main(out / "faces" / "clips", out / "tune" / "model.onnx", clips, config, out / "features")
    lstm.main(cache, root / "data", config, out / "lstm")
    evaluate.main(cache, out / "cnn", out / "tune", out / "lstm", stills, config, out / "evaluate")
    register.main(out, clips, root / "data.dvc", weights, config, out / "register")


def metrics(root: Path, stage: str) -> dict[str, Any]:
    return dict(json.loads((root / "outputs" / stage / "metrics.json").read_text()))


@pytest.fixture(scope="module")
def model(root: Path) -> Path:
    """The folder of the registered model."""
    from mlflow.artifacts import download_artifacts

    return Path(download_artifacts("models:/vfer/1", tracking_uri=f"sqlite:///{root / 'mlflow.db'}"))


def test_the_model_learns_from_tables_and_is_scored(root: Path) -> None:
    assert metrics(root, "features")["set_aside"] == 1
    assert metrics(root, "evaluate")["accuracy"]["value"] == 1
    assert metrics(root, "evaluate")["coverage"] == pytest.approx(11 / 12)
    assert metrics(root, "evaluate")["baseline"]["mode"] == "subject"
    assert "Training curves" in (root / "outputs" / "evaluate" / "report.html").read_text()
    assert not (root / "outputs" / "evaluate" / "plots" / "curves_cnn.png").exists()


def test_the_registered_model_holds_how_tables_are_read_and_no_cnn(root: Path, model: Path) -> None:
    assert set(json.loads((root / "outputs" / "register" / "register.json").read_text())["versions"]) == {"vfer", "vfer-lstm"}
    settings = models.from_folder(model, "it").settings
    assert settings.tables is not None
    assert (settings.tables.tool, settings.tables.units) == ("openface", ["au01_r", "au12_c", "au12_r"])
    artifacts = yaml.safe_load((model / "MLmodel").read_text())["flavors"]["python_function"]["artifacts"]
    assert set(artifacts) == {"lstm", "settings", "record"}
    assert record.read(model / artifacts["record"]["path"]).rules.source == "openface"


def test_it_answers_tables_and_refuses_videos(model: Path, tmp_path: Path) -> None:
    recogniser = Recogniser.open(models.from_folder(model, "the model"))
    for seed, word in enumerate(SMILES):
        answer = recogniser.predict(table(tmp_path / f"{word}.csv", word, 100 + seed))
        assert (answer.expression, answer.frames) == (word, 12)
        assert answer.coverage == pytest.approx(11 / 12)
    assert recogniser.predict(table(tmp_path / "a.csv", "sad", 1, visible=False)).error == f"{tmp_path / 'a.csv'}: no frame shows a face"
    assert "has no column AU12_c" in str(recogniser.predict(write_file(tmp_path / "b.csv", "AU01_r,AU12_r\n1,2\n")).error)
    with pytest.raises(WeightsError, match="the model: was trained on tables of OpenFace, not on videos"):
        recogniser.timeline(tmp_path / "film.mp4")


def test_mlflow_loads_it_and_it_answers_tables(model: Path, tmp_path: Path) -> None:
    import mlflow

    answers = mlflow.pyfunc.load_model(str(model)).predict([str(table(tmp_path / "a.csv", "happy", 7)), str(tmp_path / "absent.csv")])
    assert [answer.expression for answer in answers] == ["happy", None]
    assert "cannot be read (No such file or directory)" in answers[1].error


def test_predict_takes_tables_and_folders_of_them(model: Path, tmp_path: Path) -> None:
    for seed, word in enumerate(("happy", "sad", "happy")):
        table(tmp_path / "anna" / f"{word}{seed}.csv", word, 50 + seed)
    list_file = write_file(tmp_path / "list.csv", "path,who\nanna/happy0.csv,anna\nanna/sad1.csv,anna\n")

    def predict(*arguments: str | Path) -> Any:
        return CliRunner().invoke(app, ["predict", *map(str, arguments), "--model", str(model), "--jobs", "1"], env={"COLUMNS": "200"})

    for arguments in ([tmp_path / "anna"], [tmp_path / "anna" / "happy0.csv", tmp_path / "anna" / "sad1.csv"], [f"{tmp_path}/anna/*.csv"]):
        result = predict(*arguments, "--output", tmp_path / "out.csv")
        assert result.exit_code == 0, result.output
        assert "happy0.csv" in result.output
    result = predict(list_file, "--person-from", "who", "--output", tmp_path / "who.json")
    assert result.exit_code == 0, result.output
    assert [row["baseline"] for row in json.loads((tmp_path / "who.json").read_text())] == ["1 other clip of anna"] * 2
    assert "apply to videos, and this model works on feature tables" in str(predict(list_file, "--every", "2").exception)
    assert "holds no video; expected files ending in .csv" in str(predict(HOME / "docs").exception)
    refusal = CliRunner().invoke(app, ["timeline", str(tmp_path / "film.mp4"), "--model", str(model)])
    assert "works on feature tables, not on videos; use `vfer predict` with CSV files" in str(refusal.exception)


def test_a_method_that_sees_pictures_is_refused_in_one_line(tmp_path: Path) -> None:
    method.check("lstm", ENTRIES["lstm"], tmp_path, HOME / "comparison" / "params.yaml")
    with pytest.raises(DataError, match=r"params\.yaml: cnn3d sees crops, and .* holds none; remove it from compare\.methods"):
        method.check("cnn3d", ENTRIES["cnn3d"], tmp_path, HOME / "comparison" / "params.yaml")
