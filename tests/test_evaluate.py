"""The figures of an evaluation against scikit-learn and against what must hold, and the stage that writes them."""

import base64
import csv
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import toys
import yaml
from numpy.typing import NDArray
from project import LEARNED
from sklearn import metrics as sk

from stages.evaluate import main, summary
from vfer import files
from vfer.cnn import predictions
from vfer.data.catalogue import learned, split, stills
from vfer.data.catalogue.learned import Example
from vfer.errors import DataError
from vfer.evaluate import figures, pages, plots, report
from vfer.evaluate.vote import vote
from vfer.features import cache
from vfer.features.embed import embed
from vfer.nets.scores import confusion, score
from vfer.nets.session import Session

HOME = Path(__file__).resolve().parents[1]


def answers(seed: int, n: int = 200, classes: int = 5, none: float = 0.1) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Truth and predictions, half of them right, some -1, of classes that are unlike in size."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    predicted = np.where(rng.random(n) < 0.5, truth, rng.integers(0, classes, n))
    return truth, np.where(rng.random(n) < none, -1, predicted)


@pytest.mark.parametrize("none", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_the_scores_are_those_of_scikit_learn(seed: int, none: float) -> None:
    truth, predicted = answers(seed, none=none)
    assert (predicted < 0).any() == bool(none)
    scores, labels = score(truth, predicted, 5), list(range(5))
    assert scores.accuracy == pytest.approx(sk.accuracy_score(truth, predicted))
    assert scores.macro_f1 == pytest.approx(sk.f1_score(truth, predicted, average="macro", labels=labels))
    assert scores.uar == pytest.approx(sk.recall_score(truth, predicted, average="macro", labels=labels))
    np.testing.assert_array_equal(confusion(truth, predicted, 5), sk.confusion_matrix(truth, predicted, labels=[-1, *labels])[1:, 1:])


def test_uar_is_balanced_accuracy_and_a_class_that_does_not_occur_counts_in_no_mean() -> None:
    truth, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 2, 1])
    scores = score(truth, predicted, 4)
    assert scores.uar == pytest.approx(sk.balanced_accuracy_score([0, 0, 0, 1], [0, 0, 0, 1]) * 5 / 6)
    assert scores.macro_f1 == pytest.approx((0.8 + 1) / 2)


def test_nothing_right_and_nothing_answered_are_zero_and_nothing_to_score_is_an_error() -> None:
    assert asdict(score(np.array([0, 1]), np.array([-1, -1]), 2)) == {"accuracy": 0, "macro_f1": 0, "uar": 0}
    with pytest.raises(ValueError, match="nothing to score"):
        score(np.array([], int), np.array([], int), 2)


def test_each_class_has_scikit_learns_figures_and_0_where_one_is_undefined() -> None:
    truth, predicted = answers(3, classes=3)
    rows = figures.per_class(truth, predicted, ["a", "b", "c", "absent"])
    expected = sk.precision_recall_fscore_support(truth, predicted, labels=[0, 1, 2, 3], zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[name] for row in rows] == pytest.approx(list(values))
    assert rows[3] == {"expression": "absent", "precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_a_perfectly_calibrated_toy_has_no_calibration_error() -> None:
    sure = np.repeat([0.6, 0.8, 1.0], 100)
    right = np.concatenate([np.arange(100) < 100 * p for p in (0.6, 0.8, 1.0)])
    probabilities = np.stack([sure, 1 - sure], axis=1).astype(np.float32)
    error, curve = figures.calibration(np.where(right, 0, 1), probabilities)
    assert error == pytest.approx(0, abs=1e-6)
    assert [row["clips"] for row in curve] == [100, 100, 100]
    for row in curve:
        assert row["confidence"] == pytest.approx(row["accuracy"], abs=1e-6)


def test_a_model_too_sure_of_itself_has_the_gap_as_calibration_error_and_faceless_clips_are_left_out() -> None:
    probabilities = np.array([[1, 0]] * 8 + [[np.nan, np.nan]] * 4, np.float32)
    error, curve = figures.calibration(np.array([0, 1] * 6), probabilities)
    assert error == pytest.approx(0.5)
    assert curve == [{"confidence": 1.0, "accuracy": 0.5, "clips": 8}]
    assert figures.calibration(np.zeros(2, int), np.full((2, 2), np.nan, np.float32)) == (0, [])


def test_subjects_are_scored_apart() -> None:
    rows = figures.per_subject(np.array([0, 1, 0]), np.array([0, 1, 1]), ["b", "a", "b"], 2)
    assert [(row["subject"], row["clips"], row["accuracy"]) for row in rows] == [("a", 1, 1.0), ("b", 2, 0.5)]


def test_most_frames_decide_the_vote_and_a_clip_without_frames_has_none() -> None:
    rng = np.random.default_rng(0)

    def clip(*levels: float) -> NDArray[np.float32]:
        return (np.array(levels)[:, None] + rng.normal(0, 0.05, (len(levels), 2))).astype(np.float32)

    train = [clip(0, 0, 0), clip(1, 1, 1), clip(0, 0), clip(1, 1)]
    test = [clip(0, 0, 1), clip(1, 0, 1, 1), clip(), clip(0)]
    assert vote(train, np.array([0, 1, 0, 1]), test, 2, 2, 0).tolist() == [0, 1, -1, 0]


CURVE = [{"confidence": 0.5, "accuracy": 0.4, "clips": 3}, {"confidence": 0.9, "accuracy": 1.0, "clips": 5}]
DRAW: dict[str, Callable[[Path], None]] = {
    "confusion": lambda path: plots.confusion(path, np.array([[3, 1], [0, 4]]), toys.CLASSES),
    "per_class": lambda path: plots.per_class(path, figures.per_class(*answers(0), list("abcde"))),
    "reliability": lambda path: plots.reliability(path, CURVE),  # type: ignore[arg-type]
    "subjects": lambda path: plots.subjects(path, figures.per_subject(*answers(0), [f"s{i % 9}" for i in range(200)], 5)),
    "curves": lambda path: plots.curves(
        path, [{"epoch": i, "accuracy": i / 4, "val_accuracy": i / 5, "loss": 1 / i, "val_loss": 2 / i} for i in (1, 2, 3)], "cnn"
    ),
}


@pytest.mark.parametrize("name", DRAW)
def test_a_plot_is_a_picture_whose_bytes_depend_on_the_figures_alone(name: str, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        DRAW[name](tmp_path / folder / "plot.png")
    content = (tmp_path / "a" / "plot.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert content == (tmp_path / "b" / "plot.png").read_bytes()
    assert len(list((tmp_path / "a").iterdir())) == 1


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder with a model, a split by subject, and the cache of its clips; the first test clip shows no face."""
    cnn, rows = Session(toys.cnn(tmp_path / "cnn" / "model.onnx")), toys.split_rows("subject")
    faceless = next(row.clip for row in rows if row.part == "test")
    split.write(tmp_path / "lstm" / "split.parquet", rows)
    cache.write(
        tmp_path / "features.parquet",
        (
            embed(cnn, row.clip, toys.faces(toys.LEVELS[row.expression], none=(0, 1, 2, 3) if row.clip == faceless else ()), 8)
            for row in rows
        ),
        {},
    )
    toys.good_lstm(tmp_path / "lstm" / "model.onnx")
    for model in ("cnn", "lstm"):
        files.write_csv(tmp_path / model / "history.csv", list(LEARNED[0]), LEARNED)
    files.write_csv(tmp_path / "tune" / "history.csv", list(LEARNED[0]), [])  # not fine-tuned
    learned.write(tmp_path / "tune" / learned.FILE, [Example("still", "a", "train")])
    toys.write_stills(tmp_path / "stills.parquet", tmp_path / "cnn" / "predictions.parquet", tmp_path / "cnn" / "model.onnx")
    return tmp_path


def evaluate(folder: Path, out: str = "out", **settings: object) -> Path:
    inputs = (folder / name for name in ("features.parquet", "cnn", "tune", "lstm", "stills.parquet"))
    params = yaml.safe_load((HOME / "params.yaml").read_text())
    params["evaluate"] |= settings
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    main(*inputs, folder / "params.yaml", folder / out)
    return folder / out


def test_the_stage_counts_a_faceless_test_clip_as_wrong(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = evaluate(workspace)
    content = json.loads((out / "metrics.json").read_text())
    assert (content["clips"], content["faceless"], content["subjects"]) == (16, 1, 2)
    assert content["accuracy"]["value"] == pytest.approx(15 / 16)
    assert content["frame_vote"]["accuracy"] == pytest.approx(15 / 16)
    assert content["coverage"] == pytest.approx(60 / 64)
    assert content["leakage"] == {"content": 0, "recording": 0, "subject": 0}
    rows = pq.read_table(out / "predictions.parquet").to_pylist()
    assert [row["predicted"] for row in rows] == [None] + [row["expression"] for row in rows[1:]]
    assert np.isnan(rows[0]["p_dark"])
    assert rows[1]["p_dark"] + rows[1]["p_light"] == pytest.approx(1)
    with (out / "confusion.csv").open() as stream:
        pairs = [(row["actual"], row["predicted"]) for row in csv.DictReader(stream)]
    assert pairs == [("dark", "none"), *((row["expression"], row["expression"]) for row in rows[1:])]
    assert "16 test clips of 2 subjects: accuracy 0.938 (too few subjects)" in capsys.readouterr().out


def test_the_stage_writes_the_same_bytes_again(workspace: Path) -> None:
    outs = [evaluate(workspace, name) for name in ("a", "b")]
    first, second = ({path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()} for out in outs)
    assert first == second
    assert {path.as_posix() for path in first} == {
        *("metrics.json", "per_class.csv", "per_subject.csv", "reliability.csv", "confusion.csv", "predictions.parquet"),
        "report.html",
        *(f"plots/{name}.png" for name in ("confusion", "per_class", "reliability", "subjects", "curves_cnn", "curves_lstm")),
        *(f"plots/stills_{name}" for name in ("confusion.png", "mistakes.png", "per_class.csv", "reliability.png")),
    }


def test_the_prior_answers_for_a_faceless_clip_where_it_is_told_to(workspace: Path) -> None:
    """The toy's classes are alike in number, so that the first is the likeliest; the faceless clip is of it."""
    content = json.loads((evaluate(workspace, faceless="prior") / "metrics.json").read_text())
    assert (content["faceless"], content["accuracy"]["value"]) == (1, 1)


def test_a_page_stands_alone_and_shows_what_was_found(workspace: Path) -> None:
    out = evaluate(workspace)
    text = (out / "report.html").read_text()
    assert not re.search(r"https?:|<script|<link", text)
    pictures = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)">', text)
    assert [name for name, _ in pictures] == [
        *("confusion", "per class", "subjects", "reliability", "curves cnn", "curves lstm"),
        *("stills confusion", "stills reliability", "stills mistakes"),
    ]
    assert base64.b64decode(pictures[0][1]) == (out / "plots" / "confusion.png").read_bytes()
    assert "16 test clips of 2 subjects: accuracy 0.938" in text
    assert re.search(r"<th>95 % interval</th>.*<td>accuracy</td><td>0\.938</td><td>too few subjects</td>", text)
    assert "nothing says whom the stills that trained the CNN show" in text
    assert "warning" not in text.split("</style>")[1]
    split.write(workspace / "lstm" / "split.parquet", toys.split_rows("random"))
    assert "100% of the test clips are of a subject seen in training" in (evaluate(workspace) / "report.html").read_text()


def test_what_a_page_is_given_is_no_markup_of_it(tmp_path: Path) -> None:
    rows = [{"<b>": "<script>", "share": 0.12345}]
    sections = [report.Section("x & y", warnings=["<p>"], rows=rows)]
    pages.write(tmp_path / "a.html", report.TEMPLATE, title="a < b", sections=sections)
    body = (tmp_path / "a.html").read_text().split("<body>")[1]
    assert "<script>" not in body
    assert "<td>0.123</td>" in body
    assert "x &amp; y" in body


def test_the_stage_judges_the_cnn_by_the_test_stills_alone(workspace: Path) -> None:
    content = json.loads((evaluate(workspace) / "metrics.json").read_text())["stills"]
    assert content["stills"] == 6
    assert content["accuracy"]["value"] == pytest.approx(5 / 6)
    assert content["accuracy"]["low"] < 5 / 6 < content["accuracy"]["high"]
    assert 0 < content["calibration_error"] < 1
    fresh = content["without_twins"]
    assert (fresh["stills"], fresh["accuracy"]["value"]) == (5, 1)


def test_without_stills_the_stage_says_nothing_of_the_cnn(workspace: Path) -> None:
    predictions.write(workspace / "cnn" / "predictions.parquet", [])
    out = evaluate(workspace)
    assert "stills" not in json.loads((out / "metrics.json").read_text())
    assert not list(out.rglob("stills_*"))


def test_predictions_that_do_not_fit_the_stills_are_one_line(workspace: Path) -> None:
    table = stills.read(workspace / "stills.parquet")
    stills.write(workspace / "stills.parquet", table.filter(pc.field("usage") != "test"))
    with pytest.raises(DataError, match=r"stills\.parquet: lacks stills that the CNN has seen; run `dvc repro cnn`"):
        evaluate(workspace)
    (workspace / "cnn" / "predictions.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"predictions\.parquet: is not a readable table of the CNN's predictions"):
        evaluate(workspace)


def test_a_sheet_without_pictures_says_so(tmp_path: Path) -> None:
    plots.sheet(tmp_path / "sheet.png", np.empty((0, 48, 48), np.uint8), [], "mistakes")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_split_without_test_clips_is_one_line(workspace: Path) -> None:
    split.write(
        workspace / "lstm" / "split.parquet", [row for row in split.read(workspace / "lstm" / "split.parquet") if row.part != "test"]
    )
    with pytest.raises(DataError, match=r"lstm: the split has no test clip; lower split\.folds"):
        evaluate(workspace)


@pytest.mark.parametrize("mode", ["subject", "neutral", "iterative"])
def test_a_model_with_a_baseline_has_figures_of_both_protocols(workspace: Path, mode: str) -> None:
    plain = json.loads((evaluate(workspace, "plain") / "metrics.json").read_text())
    toys.lstm(workspace / "lstm" / "model.onnx", [[2, 0], [0, 2]], baseline=mode, neutral_clips=1)
    out = evaluate(workspace)
    content = json.loads((out / "metrics.json").read_text())
    relative, neutrals = content.pop("baseline"), 4 if mode == "neutral" else 0
    assert content == plain, "the plain figures stay as they are"
    assert (relative["mode"], relative["clips"]) == (mode, 16 - neutrals)
    rows = pq.read_table(out / "predictions.parquet").to_pylist()
    inside, outside = ([row for row in rows if row["scored_with_baseline"] == flag] for flag in (True, False))
    assert len(outside) == neutrals
    assert all((row["expression"], row["with_baseline"]) == ("dark", None) for row in outside)
    for scores, column in ((relative, "with_baseline"), (relative["plain"], "predicted")):
        right = sum(row[column] == row["expression"] for row in inside)
        assert scores["accuracy"]["value"] == pytest.approx(right / len(inside))
    assert f"relative to each person's baseline ({mode}: knows" in summary(content | {"baseline": relative})
    assert "protocol of its own" in (out / "report.html").read_text()


def test_proper_scores_are_those_of_the_formulas_and_leave_faceless_clips_out() -> None:
    probabilities = np.array([[0.8, 0.2], [0.5, 0.5], [np.nan, np.nan]], np.float32)
    scores = figures.proper(np.array([0, 1, 1]), probabilities)
    assert scores["log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.5)) / 2, abs=1e-6)
    assert scores["brier"] == pytest.approx((0.2**2 + 0.2**2 + 0.5) / 2, abs=1e-6)
    assert figures.proper(np.array([1]), probabilities[2:]) == {"log_loss": 0, "brier": 0}
