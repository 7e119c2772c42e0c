"""Fine-tuning the CNN: what it learns from and what it never reads, what is kept of it, and how the comparison uses it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
import yaml

from stages import folds, method, tune
from vfer.clips import bundle
from vfer.clips.digests import digest
from vfer.cnn import clips as faces_of_clips
from vfer.cnn import head
from vfer.cnn import model as cnn_model
from vfer.compare.methods.base import FittedMethod, MethodClips, Task
from vfer.compare.params import embeddings_of
from vfer.compare.report import heading
from vfer.data.catalogue import audit, learned, manifest, places, split
from vfer.data.catalogue.manifest import Clip
from vfer.data.catalogue.split import SplitRow
from vfer.errors import DataError, WeightsError
from vfer.faces import table
from vfer.features import cache
from vfer.nets import export, reference, training
from vfer.nets.session import Session

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of TensorFlow, MLflow and tf2onnx
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow keeps its connections
]
HOME = Path(__file__).resolve().parents[1]
LEVELS = {"dark": 40, "light": 210, "odd": 125}
QUICKLY = {
    "epochs": 3,
    "frozen_epochs": 1,
    "frames": 2,
    "batch_size": 8,
    "learning_rate": 0.01,
    "frozen_learning_rate": 0.01,
    "augmentation": 0,
    "erasing": 0,
    "averaging": 0.5,
}
SUBJECTS = 6


def clips(subjects: int = SUBJECTS) -> list[Clip]:
    return toys.clips(subjects, 2, tuple(LEVELS))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CNN that knows two expressions, and the faces of clips of three, one of them without a face: to copy."""
    root = tmp_path_factory.mktemp("made")
    training.seed_everything(0, deterministic=True)
    net = cnn_model.build("architectures.nets:tiny", 2, 6, 0.1)
    net = cnn_model.answering(net, cnn_model.head(net, "labels"), 2)
    export.save(net, root / "cnn", np.zeros((2, 48, 48, 1), np.float32), toys.CLASSES)
    learned.write(root / "cnn" / learned.FILE, [learned.Example("still", "one", "train", "someone")])
    for number, clip in enumerate(clips(SUBJECTS + 1)):
        faces = toys.faces(LEVELS[clip.expression], none=(0, 1, 2, 3) if number == 20 else (), seed=number)
        table.write(root / "faces" / f"{clip.clip}.parquet", faces)
    return root


@pytest.fixture
def root(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Those of one's own, in a repository with a clip store."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("VFER_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("VFER_WORKERS", "1")
    toys.dataset(tmp_path / "data", clips())
    configure(tmp_path, **QUICKLY)
    return tmp_path


def configure(root: Path, **section: object) -> None:
    content = yaml.safe_load((HOME / "params.yaml").read_text())
    content["tune"] |= section
    content["split"] |= {"protocol": "subject", "folds": 3}
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def run(root: Path, out: str = "tune") -> Path:
    tune.main(root / "cnn", root / "faces", root / "data", root / "params.yaml", root / out)
    return root / out


def rows_of(root: Path) -> list[SplitRow]:
    entries = manifest.read(root / "data" / "clips.csv")
    params = split.SplitParams(protocol="subject", folds=3, fold=0)
    data = tune.split_clips(
        root / "data",
        tune.LabelsParams(stills="all", clips="all", merge={}),
        params,
        7,
        [clip.clip for clip in entries],
        None,
        1,
    )
    return data.rows


def damage_test_clips(root: Path) -> list[str]:
    """Put something unreadable in the place of the test clips' faces; return their names."""
    names = [row.clip for row in rows_of(root) if row.part == "test"]
    for name in names:
        (root / "faces" / f"{name}.parquet").write_bytes(b"nobody may read this")
    return names


def test_switched_off_the_network_stays_as_it_is_to_the_last_byte(root: Path) -> None:
    configure(root)
    out = run(root)
    for name in ("model.keras", "model.onnx", learned.FILE):
        assert (out / name).read_bytes() == (root / "cnn" / name).read_bytes()
    assert (out / "history.csv").read_text() == "epoch,accuracy,loss,val_accuracy,val_loss\n"
    assert json.loads((out / "metrics.json").read_text()) == {"epochs": 0}
    assert json.loads((out / "run.json").read_text()) == {"run_id": ""}


def test_a_tuned_network_knows_the_clips_expressions_and_no_test_clip_s_face_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(root, **QUICKLY | {"epochs": 12})
    with monkeypatch.context() as patch:
        patch.setenv("VFER_STORE", "none")
        whole = run(root, "whole")
    names = damage_test_clips(root)
    assert len(names) == 12
    out = run(root)
    for name in tune.MODELS:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), "deterministic, and of no test clip"
    session = Session(out / "model.onnx")
    assert session.classes == ["dark", "light", "odd"]
    crops = np.stack([np.full((48, 48, 1), level, np.float32) for level in LEVELS.values()])
    assert session(crops)["probabilities"].argmax(axis=1).tolist() == [0, 1, 2]
    assert head.of(session).kernel.shape == (6, 3)
    assert reference.reference_of(session).mean.shape == (6,)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["validation"]["accuracy"] > 0.9
    assert metrics["faces"] == {"train": 22, "validation": 24}, "two frames of each clip, none of the one without a face"
    assert metrics["epochs"] == len((out / "history.csv").read_text().splitlines()) - 1


def test_what_it_has_learned_from_is_told_and_no_test_person_is_among_them(root: Path) -> None:
    examples = learned.read(run(root) / learned.FILE)
    rows = rows_of(root)
    assert {example.name for example in examples if example.kind == "still"} == {"one"}
    of_clips = [example for example in examples if example.kind == "clip"]
    assert {example.name for example in of_clips} == {row.clip for row in rows if row.part != "test"}
    assert {example.subject for example in of_clips}.isdisjoint({row.subject for row in rows if row.part == "test"})
    assert all(example.digest for example in of_clips)
    assert audit.leakage(rows, examples)["subject"] == 0
    swaps = [SplitRow(**vars(row) | {"part": {"test": "train", "train": "test"}.get(row.part, row.part)}) for row in rows]
    assert audit.leakage(swaps, examples) | {"stills": 0} == {"content": 1, "recording": 0, "subject": 1, "stills": 0}


class Interrupted(BaseException):
    """A kill."""


def test_a_training_that_is_killed_goes_on_and_ends_as_if_it_had_not_been(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("VFER_STORE", "none")
        whole = run(root, "whole")
    real, epochs = tune.live.Training.on_epoch, []

    def dying(self: Any, epoch: int, figures: dict[str, float]) -> None:
        real(self, epoch, figures)
        epochs.append(epoch)
        if len(epochs) == 3:
            raise Interrupted

    monkeypatch.setattr(tune.live.Training, "on_epoch", dying)
    with pytest.raises(Interrupted):
        run(root)
    assert not (root / "tune").exists()
    out = run(root)
    assert epochs == [0, 1, 2, 3]
    for name in (*tune.MODELS, "history.csv", "metrics.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert len(list((root / ".dvc" / "tmp" / "vfer").glob("tune-*/*"))) == 0


def test_a_test_clip_that_comes_trains_nothing_again_and_a_training_clip_does(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(root)
    networks = {name: (first / name).read_bytes() for name in tune.FILES}
    calls: list[str] = []
    real = tune.Tuner._train
    monkeypatch.setattr(tune.Tuner, "_train", lambda *args: calls.append("again") or real(*args))
    test_row = next(row for row in rows_of(root) if row.part == "test")
    more = Clip(f"{test_row.clip}-more", "clips/more.mp4", test_row.expression, test_row.subject, "more", "toy")
    shutil.copy(root / "faces" / f"{test_row.clip}.parquet", root / "faces" / f"{more.clip}.parquet")
    (root / "data" / more.path).write_text("more")
    manifest.write(root / "data" / "clips.csv", [*clips(), more])
    places.update(root / "data", [*clips(), more])
    assert {name: (run(root, "again") / name).read_bytes() for name in tune.FILES} == networks
    assert calls == []
    train_row = next(row for row in rows_of(root) if row.part == "train")
    table.write(root / "faces" / f"{train_row.clip}.parquet", toys.faces(120, seed=99))
    run(root, "other")
    configure(root, **QUICKLY | {"dropout": 0.1})
    run(root, "other")
    assert calls == ["again", "again"]


def test_damaged_networks_and_splits_that_teach_nothing_are_one_line(root: Path) -> None:
    rows = rows_of(root)
    with pytest.raises(DataError, match="no clip of the part validation shows a face"):
        faces_of_clips.parts([row for row in rows if row.part != "validation"], root / "faces", list(LEVELS), 2)
    few = [row for row in rows if row.part != "train" or row.expression == "dark"]
    with pytest.raises(DataError, match=r"all clips to train on show dark; lower split\.folds"):
        faces_of_clips.parts(few, root / "faces", list(LEVELS), 2)
    (root / "cnn" / "model.keras").write_bytes(b"no network")
    with pytest.raises(WeightsError, match=r"model\.keras: is not a valid Keras model"):
        run(root)


def test_the_frames_of_a_long_clip_are_spread_over_it(tmp_path: Path) -> None:
    rows = [SplitRow(part, word, part, part, "toy", part) for part, word in (("train", "dark"), ("validation", "light"))]
    rows.append(SplitRow("other", "light", "other", "other", "toy", "train"))
    for row in rows:
        faces = toys.faces(0, 9, none=(0, 4))
        faces.crop[:] = np.arange(9)[:, None, None]
        table.write(tmp_path / f"{row.clip}.parquet", faces)
    parts = faces_of_clips.parts(rows, tmp_path, ["dark", "light"], 3)
    assert parts["train"].pixels[:3, 0, 0].tolist() == [1, 5, 8]
    assert parts["train"].labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(faces_of_clips.parts(rows, tmp_path, ["dark", "light"], 100)["train"].labels) == 14


def test_a_bundle_holds_files_as_they_were_and_the_same_files_make_the_same(tmp_path: Path) -> None:
    files = {"a.txt": b"one", "b.bin": bytes(range(256)) * 99}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for target, names in (("first", files), ("second", reversed(files))):
        bundle.pack(tmp_path, names, tmp_path / target)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    bundle.unpack(tmp_path / "first", files, tmp_path / "out")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files


def embed_folds(root: Path, **changes: Any) -> Path:
    content = yaml.safe_load((HOME / "comparison" / "params.yaml").read_text())
    content["compare"] |= {"methods": ["lstm"], "protocols": {"subject": {"folds": 3, "seeds": 1}}} | changes
    (root / "comparison.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    out, data = root / "folds", root / "data"
    folds.main(root / "cnn", root / "faces", data, root / "params.yaml", root / "comparison.yaml", out)
    return out


def test_each_fold_of_the_comparison_has_a_network_that_never_learned_from_its_test_clips(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[tuple[set[str], set[str]]] = []
    real, real_read = tune.Tuner.tune, faces_of_clips.table.read

    def spy(self: tune.Tuner, rows: list[SplitRow], *rest: Any) -> bool:
        reads: set[str] = set()
        monkeypatch.setattr(faces_of_clips.table, "read", lambda path: reads.add(path.stem) or real_read(path))
        from_store = real(self, rows, *rest)
        taught.append((reads, {Path(row.clip).name for row in rows if row.part == "test"}))
        return from_store

    monkeypatch.setattr(tune.Tuner, "tune", spy)
    out = embed_folds(root)
    assert [len(reads) for reads, _ in taught] == [24, 24, 24]
    assert all(reads.isdisjoint(test_clips) for reads, test_clips in taught)
    paths = [embeddings_of(out, "subject", number, 0) for number in range(3)]
    assert sorted(out.iterdir()) == paths
    assert len({path.read_bytes() for path in paths}) == 3
    contents = [path.read_bytes() for path in paths]
    monkeypatch.setattr(tune.Tuner, "_train", lambda *_: pytest.fail("the clip store has it"))
    assert [path.read_bytes() for path in sorted(embed_folds(root).iterdir())] == contents


def test_methods_learn_from_the_embeddings_of_their_own_fold(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = embed_folds(root)
    features = root / "features.parquet"
    faces = root / "faces"
    folds.embed_all(root / "cnn" / "model.onnx", faces, digest(faces), table.clips(faces), features)
    train_parts: list[MethodClips] = []

    def learns(train: MethodClips, _: MethodClips, __: Task) -> FittedMethod:
        train_parts.append(train)
        return FittedMethod(1, lambda clips: np.full((len(clips), 3), 1 / 3, np.float32))

    monkeypatch.setattr("vfer.compare.table.load", lambda _: learns)
    data = root / "data"

    def answer() -> None:
        method.main(
            features,
            out,
            root / "faces",
            root / "motion",
            data,
            root / "params.yaml",
            root / "comparison.yaml",
            "lstm",
            root / "answers",
        )

    answer()
    for number, train in enumerate(train_parts):
        own = {one.values.tobytes() for one in cache.embeddings(embeddings_of(out, "subject", number, 0)).values()}
        assert {values.tobytes() for values in train.embeddings} < own, number
    configure(root)
    answer()
    plain_values = {one.values.tobytes() for one in cache.embeddings(features).values()}
    assert len(train_parts) == 6
    assert all(values.tobytes() in plain_values for train in train_parts[3:] for values in train.embeddings)


def test_without_tuning_the_folds_have_nothing_of_their_own(root: Path) -> None:
    configure(root)
    assert list(embed_folds(root).iterdir()) == []


def test_the_table_says_that_the_network_was_tuned() -> None:
    assert heading("subject", tuned=True) == "By subject, with the CNN fine-tuned on each fold's training clips"
    assert heading("subject-baseline-subject", tuned=True).startswith("By subject, with the CNN fine-tuned")
