"""`vfer.load()` and `vfer predict`: which model answers, what a batch gives, and what it does with files that cannot be used."""

import csv
import json
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np
import pyarrow.parquet as pq
import pytest
import toys
import yaml
from interrupt import interrupt
from test_structure import find_modules
from typer.testing import CliRunner

import vfer
from vfer.cli.app import app
from vfer.errors import DataError, TrackingError, WeightsError
from vfer.faces import centerface
from vfer.predict import inputs, results
from vfer.predict.models import model as models
from vfer.predict.models import registry
from vfer.predict.prediction import Prediction
from vfer.predict.results import PredictionsFile
from vfer.register.settings import DetectorFile, Settings, Windows, threshold, windows


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a model folder and the part of an MLflow database that names it; test_register.py asks a real one."""
    root = tmp_path_factory.mktemp("registered")
    folder = root / "mlruns" / "models" / "m-1" / "artifacts"
    toys.cnn(folder / "artifacts" / "0" / "model.onnx")
    toys.good_lstm(folder / "artifacts" / "1" / "model.onnx")
    settings = Settings(detector=DetectorFile(name="centerface", sha256=centerface.SHA256), threshold=0.6)
    (folder / "artifacts" / "settings.json").write_text(settings.model_dump_json())
    places = {"cnn": "artifacts/0/model.onnx", "lstm": "artifacts/1/model.onnx", "settings": "artifacts/settings.json"}
    flavour = {"artifacts": {name: {"path": place} for name, place in places.items()}}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": flavour}, "run_id": "r"}))
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE registered_model_aliases (alias, version INTEGER, name)")
        database.execute("CREATE TABLE model_versions (name, version INTEGER, run_id, source, storage_location)")
        database.execute("INSERT INTO registered_model_aliases VALUES ('champion', 1, 'vfer')")
        database.execute("INSERT INTO model_versions VALUES ('vfer', 1, 'r', 'models:/m-1', ?)", (folder.as_uri(),))
    return root


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two clips, one file that is not a video, and one that is none of ours."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "a").mkdir()
    toys.render(folder / "a" / "happy.mp4", "happy")
    shutil.copy(folder / "a" / "happy.mp4", folder / "größe.mp4")
    (folder / "broken.mp4").write_bytes(b"no video")
    (folder / "notes.txt").write_text("no video, and not called one")
    return folder


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run each test in a folder that belongs to no repository."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VFER_WORKERS", "1")
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_importing_vfer_loads_nothing_slow_and_what_it_offers_is_there() -> None:
    assert find_modules(["vfer"], ["numpy", "cv2", "av", "onnxruntime", "pydantic", "mlflow"]) == set()
    assert all(getattr(vfer, name) for name in vfer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vfer.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_a_model_of_the_sample_alone_says_that_it_knows_no_real_faces(
    store: Path, clips: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(store)
    path = store / "mlruns" / "models" / "m-1" / "artifacts" / "artifacts" / "settings.json"
    before = path.read_text()
    try:
        for sources, warns in (["sample"], True), (["sample", "ours"], False), (["ours"], False), ([], False):
            path.write_text(json.dumps(json.loads(before) | {"sources": sources}))
            for load in vfer.load, lambda: run(clips / "a" / "happy.mp4"), lambda: vfer.load(str(path.parents[1])):
                caplog.clear()
                load()
                assert ("use --model shipped" in caplog.text) == warns
    finally:
        path.write_text(before)


def test_without_a_store_the_network_that_comes_with_vfer_answers(clips: Path) -> None:
    recogniser = vfer.load()
    recognition = recogniser.recognise(clips / "a" / "happy.mp4")
    answer = recogniser.predict(clips / "a" / "happy.mp4")
    assert recogniser.title == models.SHIPPED_TITLE
    present = recognition.sequence.probabilities[recognition.sequence.status != "none"]
    assert answer.probabilities == pytest.approx(dict(zip(recogniser.classes, present.mean(axis=0).tolist(), strict=True)))
    assert answer.expression == max(answer.probabilities, key=lambda name: answer.probabilities[name])


@pytest.mark.parametrize("reference", [None, "models:/vfer@champion", "models:/vfer/1", "models:/vfer/latest"])
def test_a_registered_model_is_found_without_mlflow(reference: str | None, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (store / "deeper").mkdir(exist_ok=True)
    monkeypatch.chdir(store / "deeper")
    faces = models.find(reference)
    assert faces.title.startswith("models:/vfer/1")
    assert faces.run_id
    assert models.find(str(faces.cnn.parents[2])).digest == faces.digest


def test_a_model_is_loaded_without_what_takes_seconds_to_import(store: Path) -> None:
    code = f"import os, vfer\nos.chdir({str(store)!r})\nassert vfer.load().classes == ['dark', 'light']"
    assert find_modules(["vfer"], ["mlflow", "tensorflow", "sqlalchemy", "pandas"], code) == set()


def test_a_store_that_was_moved_uses_its_own_files(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "moved")
    faces = models.find(None, tmp_path / "moved")
    assert faces.cnn.is_relative_to(tmp_path / "moved")


def test_models_that_are_not_there_are_one_line(store: Path, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="no MLflow store"):
        models.find("models:/vfer/1", tmp_path)
    for reference in ("models:/vfer/9", "models:/vfer@best", "models:/other/latest"):
        with pytest.raises(TrackingError, match="has no such model"):
            models.find(reference, store)
    with pytest.raises(TrackingError, match="expected models:/NAME@ALIAS"):
        models.find("models:vfer", store)
    with pytest.raises(WeightsError, match="is not a model folder"):
        models.find(str(tmp_path))
    (tmp_path / "MLmodel").write_text("flavors: {}")
    with pytest.raises(WeightsError, match="holds no model of vfer's"):
        models.find(str(tmp_path))
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(TrackingError, match="is not an MLflow database"):
        models.find(None, tmp_path)


class Server(BaseHTTPRequestHandler):
    """The part of MLflow's REST interface that is asked, over the files of a local store; counts its calls."""

    folder: Path
    status = 200
    calls: list[str]

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        url, query = urlparse(self.path), parse_qs(urlparse(self.path).query)
        call = url.path.removeprefix("/api/2.0/")
        self.calls.append(call)
        proxy = "mlflow-artifacts/artifacts"
        if self.status != 200:
            return self.answer({"message": "no"}, self.status)
        if call == "mlflow/registered-models/alias" and query["alias"] == ["champion"]:
            return self.answer({"model_version": {"name": "vfer", "version": "3", "run_id": "r", "source": "models:/m-1"}})
        if call == "mlflow/model-versions/get-download-uri":
            return self.answer({"artifact_uri": "mlflow-artifacts:/1/models/m-1/artifacts"})
        if call == proxy:
            folder = self.folder / query["path"][0].removeprefix("1/models/m-1/artifacts").lstrip("/")
            return self.answer({"files": [{"path": path.name, "is_dir": path.is_dir()} for path in folder.iterdir()]})
        if call.startswith(proxy):
            return self.send(200, (self.folder / call.removeprefix(f"{proxy}/1/models/m-1/artifacts/")).read_bytes())
        return self.answer({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such thing"}, 404)

    def answer(self, content: object, status: int = 200) -> None:
        self.send(status, json.dumps(content).encode())

    def send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    location = registry.find("models:/vfer/1", f"sqlite:///{store / 'mlflow.db'}")
    assert location
    handler = type("Handler", (Server,), {"folder": registry.folder(location, ""), "calls": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listening.server_port}")
        yield handler
        listening.shutdown()


def test_a_server_is_asked_and_its_model_fetched_once(server: type[Server]) -> None:
    faces = models.find()
    assert faces.title == "models:/vfer/3 (champion)"
    assert vfer.load().classes == ["dark", "light"]
    assert sum(call.endswith("model.onnx") for call in server.calls) == 2
    assert not any("code" in call for call in server.calls), "nothing that is not needed"


@pytest.mark.parametrize(("status", "part"), [(401, "denies access"), (500, "fails")])
def test_a_server_that_does_not_give_is_one_line(status: int, part: str, server: type[Server]) -> None:
    server.status = status
    with pytest.raises(TrackingError, match=part):
        models.find()


def test_a_server_that_is_away_is_one_line_with_a_remedy(monkeypatch: pytest.MonkeyPatch, clips: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"does not answer .*--model"):
        models.find()
    assert run(clips / "a", "--model", "shipped").exit_code == 0


def test_inputs_are_sorted_and_each_is_listed_once(clips: Path, tmp_path: Path) -> None:
    names = [one.path.name for one in inputs.videos([str(clips), str(clips / "**" / "h*"), str(tmp_path / "none.mp4")])]
    assert names == ["broken.mp4", "größe.mp4", "happy.mp4", "none.mp4"]
    (tmp_path / "list.csv").write_text("path,who\nx.mp4,anna\n")
    [one] = inputs.videos([str(tmp_path / "list.csv")])
    assert (one.path, one.columns["who"]) == (tmp_path / "x.mp4", "anna")
    for bad, part in (("*.mp4", "matches no video"), (str(tmp_path), "holds no video"), ("no.csv", "cannot be read")):
        with pytest.raises(DataError, match=part):
            inputs.videos([bad])
    assert inputs.videos(["x" * 5000])[0].path.name == "x" * 5000, "a name that is too long is reported with the others"


def test_status_and_rows_say_which_clips_have_an_answer(clips: Path) -> None:
    outcome = run(clips, "missing.mp4", "-o", "x.csv")
    assert outcome.exit_code == 2, outcome.output
    rows = {Path(row["path"]).name: row for row in results.read(Path("x.csv"))}
    assert [name for name, row in rows.items() if row["error"]] == ["broken.mp4", "missing.mp4"]
    assert sum(rows["größe.mp4"][f"p_{name}"] for name in vfer.load().classes) == pytest.approx(1, abs=1e-4)
    assert models.SHIPPED_TITLE in outcome.stderr
    assert "happy.mp4" in outcome.stdout
    assert "model:" not in outcome.stdout
    assert run(clips / "a").exit_code == 0
    assert run(clips / "broken.mp4", "missing.mp4").exit_code == 1


def schema_columns(heading: str) -> list[str]:
    """Return the columns that docs/schema.md lists under a heading."""
    text = (Path(__file__).parents[1] / "docs" / "schema.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


@pytest.mark.parametrize("suffix", results.SUFFIXES)
def test_every_format_keeps_what_it_is_given(suffix: str, tmp_path: Path) -> None:
    predictions = [
        Prediction("b.mp4", "happy", 0.75, {"happy": 0.75, "sad": 0.25}, 1.0, 10, 1.5, ("uncertain", "several faces")),
        Prediction("ä \n.mp4", error="broken"),
    ]
    rows = [results.row(one, model="m", settings="s", sha256="") for one in predictions]
    path = tmp_path / f"x{suffix}"
    results.write(path, rows)
    first, second = results.read(path)
    assert {name: value for name, value in first.items() if value not in (None, "")} == {
        name: value for name, value in rows[0].items() if value not in (None, "")
    }
    assert (second["path"], second["error"], second["p_happy"]) == ("ä \n.mp4", "broken", None)
    assert [name for name in schema_columns("Predictions") if "<class>" not in name] == [
        name for name in first if not name.startswith("p_")
    ]
    if suffix == ".parquet":
        assert pq.read_table(path)["p_happy"].type == "double"
        assert pq.read_schema(path).metadata[b"notice"]


def test_a_second_run_looks_only_at_what_has_changed(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(clips / "a", folder)
    shutil.copy(folder / "happy.mp4", folder / "other.mp4")
    first = run(folder, "-o", "x.jsonl")
    before = Path("x.jsonl").read_bytes()
    again = run(folder, "-o", "x.jsonl")
    assert "2 known already" in again.stderr
    assert again.stdout == first.stdout
    assert Path("x.jsonl").read_bytes() == before
    with (folder / "other.mp4").open("ab") as stream:
        stream.write(b"more")
    assert "1 known already" in run(folder, "-o", "x.jsonl").stderr
    assert "known already" not in run(folder, "-o", "x.jsonl", "--every", "2").stderr


def test_a_person_s_clips_are_answered_together(tmp_path: Path, clips: Path) -> None:
    for number, expression in enumerate(("happy", "sad", "angry")):
        toys.render(tmp_path / f"{number}.mp4", expression)
    (tmp_path / "list.csv").write_text("path,who\n0.mp4,anna\n1.mp4,anna\n2.mp4,anna\nno.mp4,anna\n" + f"{clips / 'größe.mp4'},bob\n")
    plain = run(*(tmp_path / f"{number}.mp4" for number in range(3)), "-o", "plain.jsonl")
    outcome = run("list.csv", "--person-from", "who", "-o", "x.csv")
    assert (plain.exit_code, outcome.exit_code) == (0, 2), outcome.output
    rows = {Path(row["path"]).name: row for row in results.read(Path("x.csv"))}
    assert rows["no.mp4"]["error"]
    assert (rows["größe.mp4"]["baseline"], rows["größe.mp4"]["person"]) == ("none: no other clip of bob", "bob")
    names = vfer.load().classes
    for before in results.read(Path("plain.jsonl")):
        row = rows[Path(before["path"]).name]
        assert row["baseline"] == "2 other clips of anna"
        assert [row[f"plain_{name}"] for name in names] == pytest.approx([before[f"p_{name}"] for name in names], abs=1e-5)
        assert [row[f"p_{name}"] for name in names] != pytest.approx([before[f"p_{name}"] for name in names], abs=1e-3)
    assert "4 known already" in run("list.csv", "--person-from", "who", "-o", "x.csv").stderr
    shutil.copy(tmp_path / "1.mp4", tmp_path / "0.mp4")
    again = run("list.csv", "--person-from", "who", "-o", "x.csv")
    assert "1 known already" in again.stderr, "one clip that changes changes the baseline of the others"
    assert "expected folder, name, who" in str(run("list.csv", "--person-from", "whom").exception)


def test_output_that_cannot_be_used_is_one_line_and_nothing_is_overwritten(clips: Path, tmp_path: Path) -> None:
    for name, content in {"x.txt": "", "x.csv": "a,b\n1,2\n", "x.json": "{", "x.parquet": "no"}.items():
        (tmp_path / name).write_text(content)
        outcome = run(clips / "a", "-o", name)
        assert outcome.exit_code == 1
        assert isinstance(outcome.exception, DataError)
        assert (tmp_path / name).read_text() == content
    with (
        PredictionsFile(tmp_path / "y.csv", "m", {}),
        pytest.raises(DataError, match="another run"),
        PredictionsFile(tmp_path / "y.csv", "m", {}),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--start", "soon"], "is not a time"),
        (["--start", "1:00", "--end", "0:30"], "is not after"),
        (["--framing", "no"], "expected scene or face"),
    ],
)
def test_options_that_make_no_sense_are_one_line(options: list[str], part: str, clips: Path) -> None:
    assert part in str(run(clips / "a", *options).exception)


def test_a_part_of_a_clip_and_another_rate_are_looked_at(clips: Path) -> None:
    def frames(*options: object) -> int:
        assert run(clips / "a", "-o", "x.csv", *options).exit_code == 0
        return int(results.read(Path("x.csv"))[0]["frames"])

    assert frames() == 10
    assert frames("--every", 1) == 15
    assert frames("--start", "0.5") == frames("--end", "0.5") == 5
    late = run(clips / "a", "--start", "5")
    assert (late.exit_code, "lower --start" in late.stdout) == (1, True)


def test_films_are_told_apart_and_sent_to_timeline(tmp_path: Path) -> None:
    from vfer.predict import recogniser

    with toys.Writer(tmp_path / "cut.mp4", (96, 64), 10, crf=30, sound=False) as writer:
        for level in (30, 30, 30, 30, 30, 220, 220, 220, 220, 220):
            writer.add(np.full((64, 96, 3), level, np.uint8))
    answer = vfer.load().predict(tmp_path / "cut.mp4")
    assert (answer.expression, answer.flags) == (None, ("shots",))
    assert "vfer timeline" in str(answer.error)
    toys.render(tmp_path / "clip.mp4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recogniser, "MOST_SECONDS", 0.5)
        own = vfer.load()
        own._max_frames = 2
        assert own.predict(tmp_path / "clip.mp4").flags == ("long",)


def test_an_interrupted_run_keeps_what_is_done_and_goes_on(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(60):
        shutil.copy(clips / "a" / "happy.mp4", folder / f"{number:02d}.mp4")
    command = ["predict", str(folder), "--output", "x.csv", "--jobs", "1"]
    status, stderr = interrupt(command, tmp_path, lambda output: ".mp4" in output, signal.SIGINT)
    assert status == 130
    assert "Traceback" not in stderr
    with Path("x.csv").open(newline="") as stream:
        count = len(list(csv.DictReader(stream)))
    assert 0 < count < 60
    assert f"{count} known already" in run(folder, "-o", "x.csv").stderr


def test_the_first_answer_comes_soon(clips: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "vfer.cli", "predict", str(clips / "a" / "happy.mp4")]
    process = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5, "seconds of one core; TensorFlow alone takes more"
    assert process.stdout.count("\n") == 2


def test_the_threshold_parts_answers_that_are_mostly_wrong_from_the_rest() -> None:
    rng = np.random.default_rng(3)
    confidence = rng.uniform(0.5, 1, 4000).astype(np.float32)
    right = rng.random(4000) < (confidence - 0.5) * 2  # below 0.75 in the mean half of the answers are right where they reach from 0.5
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    assert threshold(probabilities, np.where(right, 0, 1)) == pytest.approx(1, abs=0.02), "half of all are right"
    assert threshold(probabilities, np.where(rng.random(4000) < confidence, 0, 1)) < 0.6
    assert threshold(probabilities[:5], np.ones(5, np.int64)) == 0, "too few to say"
    assert threshold(np.full((20, 2), np.nan, np.float32), np.zeros(20, np.int64)) == 0


def test_windows_are_as_long_as_the_median_training_clip() -> None:
    assert windows([np.arange(count) / 10 for count in (10, 20, 90)]) == Windows(length=2.0, hop=0.2)
    assert windows([np.zeros(1)]) == Windows()
