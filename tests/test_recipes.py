"""The benchmark of sequence models, on toys."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toys

from benchmarks import sequences
from benchmarks.methods import STRENGTHS, Answer, Clips, Task, cnn_alone, methods, tuned
from vfer.cnn import data, train
from vfer.cnn import model as cnn_model
from vfer.data import manifest
from vfer.data.manifest import Clip
from vfer.data.readers.video import encode
from vfer.data.split import SplitRow
from vfer.errors import DataError
from vfer.features import Embeddings
from vfer.lstm.params import LstmParams
from vfer.nets import export, training
from vfer.nets.session import Session
from vfer.params import load

pytestmark = [
    pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match:UserWarning"),  # of a net in a net
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of TensorFlow and tf2onnx
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),  # of tf2onnx
]

LEVELS = {"dark": 40, "light": 210, "odd": 125}
QUICKLY = ["units=4", "dropout=0", "epochs=2", "batch_size=4", "learning_rate=0.01", "class_balance=0", "deterministic=false"]
LSTM = load(Path(__file__).parents[1] / "params.yaml", "lstm", LstmParams)


def clips_of(subjects: int) -> list[Clip]:
    return [
        Clip(f"t/{who}-{word}", f"clips/{who}-{word}.mkv", word, f"t/{who}", f"t/{who}-{word}", "t", "face")
        for who in range(subjects)
        for word in LEVELS
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 clips of face crops, 6 subjects showing 3 expressions."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    (root / "clips").mkdir()
    clips = clips_of(6)
    for clip in clips:
        encode(root / clip.path, list(np.clip(LEVELS[clip.expression] + rng.normal(0, 8, (3, 48, 48)), 0, 255).astype(np.uint8)))
    manifest.write(root / "clips.csv", clips)
    return root


def test_all_methods_are_tested_on_every_clip_of_the_same_folds(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VFER_WORKERS", "1")
    out = tmp_path / "sequences.json"
    sequences.main(toys.cnn(tmp_path / "cnn.onnx"), dataset, 3, out, flip=True, repeats=2, sets=QUICKLY)
    told = json.loads(out.read_text())
    assert (told["clips"], told["subjects"], told["expressions"]) == (18, 6, ["dark", "light", "odd"])
    lstm, *others, alone = told["methods"].values()
    assert [method["accuracy"]["value"] for method in others] == [1, 1, 1]
    assert alone["accuracy"]["value"] == pytest.approx(2 / 3), "it does not know the third expression"
    assert lstm["p"] is None
    assert all(0 <= method["p"] <= 1 for method in [*others, alone])
    assert 0 <= told["validation_accuracy"] <= 1
    printed = capsys.readouterr().out
    assert "fold 3 of 3: LSTM" in printed
    assert "| the CNN alone, mean answer | 66.7 |" in printed.replace("\n", " ")
    assert out.with_suffix(".md").read_text().count("\n| ") == 5


def test_a_tuned_network_knows_the_clips_expressions_and_never_sees_the_test_clips(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFER_WORKERS", "1")
    training.seed_everything(0, deterministic=False)
    export.save(cnn_model.build("architectures.nets:tiny", 2, 6, 0.1), tmp_path, np.zeros((2, 48, 48, 1), np.float32), toys.CLASSES)
    parts: list[dict[str, data.StillPart]] = []
    plain = train.train
    monkeypatch.setattr(train, "train", lambda given, *rest: parts.append(given) or plain(given, *rest))
    out = tmp_path / "sequences.json"
    sequences.main(tmp_path / "model.onnx", dataset, 3, out, sets=QUICKLY, tune=8, tune_rate=0.02, architecture="architectures.nets:tiny")
    told = json.loads(out.read_text())
    assert told["methods"]["the CNN alone, mean answer"]["accuracy"]["value"] > 2 / 3, "it knew two of three expressions"
    assert told["settings"]["tuning"]["epochs"] == 8
    assert [(len(given["train"].labels), len(given["validation"].labels)) for given in parts] == [(18, 18)] * 3, "of 54 frames, 18 test"


def test_with_flip_a_face_and_its_mirror_image_are_taken_alike(tmp_path: Path) -> None:
    session, found = Session(toys.convolutional_cnn(tmp_path / "cnn.onnx")), toys.faces(120, 4, none=(1,))
    mirrored = replace(found, crop=np.ascontiguousarray(found.crop[:, :, ::-1]))
    plain, other = (sequences.embed(session, "a", one, False) for one in (found, mirrored))
    both = sequences.embed(session, "a", found, True)
    assert np.abs(plain.faces - other.faces).max() > 1e-3
    np.testing.assert_allclose(both.faces, (plain.faces + other.faces) / 2, atol=1e-6)
    np.testing.assert_allclose(both.probabilities, (plain.probabilities + other.probabilities) / 2, atol=1e-6)
    assert len(both.faces) == 3


def test_a_clip_without_a_face_is_wrong_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(toys.cnn(tmp_path / "cnn.onnx"))
    clips = [SplitRow(f"{who}-{word}", word, f"{who}", f"{who}-{word}", "t", "") for who in range(3) for word in toys.CLASSES]
    none = {"0-dark": (0, 1, 2, 3)}
    seen = {
        row.clip: sequences.embed(session, row.clip, toys.faces(LEVELS[row.expression], none=none.get(row.clip, ()), seed=i), False)
        for i, row in enumerate(clips)
        if row.clip != "1-dark"  # refused
    }
    parts = {"0": "train", "1": "validation", "2": "test"}
    turned = [{who: list(parts.values())[(int(who) + turn) % 3] for who in parts} for turn in range(3)]
    splits = [[replace(row, part=parts[row.subject]) for row in clips] for parts in turned]
    monkeypatch.setattr(sequences, "methods", lambda _: {"LSTM": cnn_alone, "again": cnn_alone})
    told = sequences.compare(lambda _: seen, splits, Task(toys.CLASSES, session.classes, LSTM, 1, 0))
    assert told["methods"]["LSTM"]["accuracy"]["value"] == pytest.approx(4 / 6)
    assert told["methods"]["again"]["p"] == 1
    assert told["validation_accuracy"] == 1
    few = {clip: one for clip, one in seen.items() if clip[0] != "0"}
    with pytest.raises(DataError, match="fold 1: no clip of the part train shows a face"):
        sequences.compare(lambda _: few, splits, Task(toys.CLASSES, [], LSTM, 1, 0))


def test_validation_chooses_the_strength_and_teaches_nothing() -> None:
    parts = [
        Clips([Embeddings(np.ones((1, 2), np.float32), np.zeros(1))] * n, [np.ones((1, 2), np.float32)] * n, np.zeros(n, np.int64))
        for n in (3, 2)
    ]
    fits: list[tuple[int, float]] = []

    def fitted(clips: Clips, strength: float) -> Answer:
        fits.append((len(clips.labels), strength))
        return lambda others: np.full(len(others.labels), 0 if strength in (0.1, 1.0) else 1)

    assert tuned(fitted, *parts)(parts[1]).tolist() == [0, 0]
    assert fits == [(3, strength) for strength in STRENGTHS]


def test_the_cnn_alone_chooses_among_the_clips_expressions_alone() -> None:
    task = Task(["happy", "sad"], ["happy", "neutral", "sad"], LSTM, 1, 0)
    shares = [np.array([[0.1, 0.8, 0.1], [0.0, 0.7, 0.3]], np.float32), np.array([[0.3, 0.6, 0.1]], np.float32)]
    clips = Clips([Embeddings(np.ones((2, 2), np.float32), np.arange(2.0))] * 2, shares, np.array([1, 0]))
    assert cnn_alone(clips, clips, task)(clips).tolist() == [1, 0]
    assert "the CNN alone, mean answer" not in methods(replace(task, known=["happy"]))
