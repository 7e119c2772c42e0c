"""The feature cache, and the stage that fills it."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toys

from stages.features import main
from vfer.errors import DataError, WeightsError
from vfer.faces import table
from vfer.features import cache
from vfer.features.cache import Sequence
from vfer.features.embed import embed
from vfer.nets.session import Session

HOME = Path(__file__).resolve().parents[1]


def sequence(clip: str, frames: int, none: tuple[int, ...] = (), width: int = 3, seed: int = 0) -> Sequence:
    rng = np.random.default_rng([seed, frames])
    status = np.array(["none" if i in none else "detected" for i in range(frames)])
    embedding, probabilities = rng.random((frames, width), np.float32), rng.random((frames, 2), np.float32)
    return Sequence(clip, np.arange(frames, dtype=np.int32), np.arange(frames) / 7, status, embedding, probabilities)


def same(one: Sequence, other: Sequence) -> bool:
    return one.clip == other.clip and all(
        np.array_equal(getattr(one, name), getattr(other, name)) and getattr(one, name).dtype.kind == getattr(other, name).dtype.kind
        for name in ("frame", "time", "status", "embedding", "probabilities")
    )


@pytest.mark.parametrize("rows", [1, 5, 65_536])
def test_the_cache_is_read_as_it_was_written_in_any_number_of_row_groups(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "ROWS", rows)
    clips = [sequence(f"set/{name}", frames, none) for name, frames, none in (("a", 4, ()), ("b", 1, (0,)), ("c", 9, (2, 3)), ("d", 2, ()))]
    path = tmp_path / "new" / "features.parquet"
    assert cache.write(path, clips, {"model_sha256": "ab"}) == 16
    assert pq.ParquetFile(path).num_row_groups == {1: 4, 5: 3, 65_536: 1}[rows]
    assert pq.read_schema(path).metadata[b"model_sha256"] == b"ab"
    back = cache.read(path)
    assert all(same(one, other) for one, other in zip(clips, back, strict=True))
    assert [value.dtype for value in (back[0].frame, back[0].time, back[0].embedding)] == [np.int32, np.float64, np.float32]
    assert list(path.parent.iterdir()) == [path]


def test_a_clip_that_comes_in_pieces_is_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ROWS", 2)
    cache.write(tmp_path / "a", [sequence("a", 3), sequence("a", 3), sequence("b", 1), sequence("b", 1)], {})
    assert [(clip.clip, len(clip.frame)) for clip in cache.read(tmp_path / "a")] == [("a", 6), ("b", 2)]


def test_a_part_is_read_as_it_was_written(tmp_path: Path) -> None:
    pieces = [sequence("a", 3, none=(1,)), sequence("a", 2)]
    assert cache.write_part(tmp_path / "a.arrow", pieces) == cache.rows_in(tmp_path / "a.arrow") == 5
    assert all(same(one, other) for one, other in zip(pieces, cache.read_part(tmp_path / "a.arrow", "a"), strict=True))


def test_the_same_clips_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        cache.write(tmp_path / name, (sequence(f"c{i}", 5) for i in range(3)), {"k": "v"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_frames_without_a_face_are_zero_and_left_out_of_faces(tmp_path: Path) -> None:
    session = Session(toys.cnn(tmp_path / "cnn.onnx"))
    faces = toys.faces(210, frames=6, none=(0, 4))
    frames = embed(session, "toy", faces, batch_size=4)
    assert (frames.embedding[[0, 4]] == 0).all()
    assert (frames.probabilities[[0, 4]] == 0).all()
    assert frames.faces.shape == (4, 2)
    np.testing.assert_allclose(frames.faces[:, 1], faces.crop[faces.present].mean(axis=(1, 2)) / 255, atol=1e-5)
    np.testing.assert_array_equal(frames.frame, faces.frame)


def test_the_embeddings_alone_are_those_of_the_whole_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ROWS", 6)
    path = tmp_path / "features.parquet"
    cache.write(path, [sequence("b", 4), sequence("a", 3, (0, 2)), sequence("c", 2, (0, 1)), sequence("d", 9)], {})
    embeddings = cache.embeddings(path)
    assert list(embeddings) == ["b", "a", "c", "d"]
    assert [len(clip) for clip in embeddings.values()] == [4, 1, 0, 9]
    assert embeddings["a"].time.tolist() == [1 / 7]
    for whole in cache.read(path):
        np.testing.assert_array_equal(embeddings[whole.clip].values, whole.faces)
        np.testing.assert_array_equal(embeddings[whole.clip].time, whole.time[whole.status != "none"])
        assert embeddings[whole.clip].values.dtype == np.float32


def test_other_tools_read_the_vectors_as_vectors(tmp_path: Path) -> None:
    clips = [sequence("a", 3), sequence("b", 2)]
    cache.write(tmp_path / "features.parquet", clips, {})
    frames = pd.read_parquet(tmp_path / "features.parquet")
    np.testing.assert_array_equal(np.stack(frames["embedding"].to_list()), np.concatenate([clip.embedding for clip in clips]))
    kind = pq.read_schema(tmp_path / "features.parquet").field("embedding").type
    assert (kind.list_size, kind.value_type) == (3, pa.float32())


def test_a_clip_without_any_face_keeps_its_frames(tmp_path: Path) -> None:
    session = Session(toys.cnn(tmp_path / "cnn.onnx"))
    frames = embed(session, "toy", toys.faces(40, frames=3, none=(0, 1, 2)), batch_size=4)
    assert frames.embedding.shape == (3, 2)
    assert frames.faces.shape == (0, 2)
    assert not frames.embedding.any()


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_the_batch_size_changes_nothing(batch_size: int, tmp_path: Path) -> None:
    session = Session(toys.cnn(tmp_path / "cnn.onnx"))
    faces = toys.faces(120, frames=7, none=(3,))
    assert same(embed(session, "a", faces, batch_size), embed(session, "a", faces, 7))


def test_no_clip_at_all_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no clip gave faces; run `dvc repro faces`"):
        cache.write(tmp_path / "features.parquet", [], {})
    assert list(tmp_path.iterdir()) == []


def test_a_failure_midway_leaves_no_cache_behind(tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    cache.write(path, [sequence("old", 2)], {})

    def broken() -> Iterator[Sequence]:
        yield sequence("new", 2)
        raise DataError("damaged")

    with pytest.raises(DataError, match="damaged"):
        cache.write(path, broken(), {})
    assert [clip.clip for clip in cache.read(path)] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["missing", "garbage", "cut", "other columns", "other types"])
def test_a_damaged_cache_is_one_line(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    if damage == "garbage":
        path.write_bytes(b"no parquet")
    elif damage == "cut":
        cache.write(path, [sequence("a", 50)], {})
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "other columns":
        pq.write_table(pa.table({"clip": ["a"]}), path)
    elif damage == "other types":
        pq.write_table(pa.table({name: ["a"] for name in ("clip", "frame", "time", "status", "embedding", "probabilities")}), path)
    with pytest.raises(DataError, match="is not a readable feature cache; run `dvc repro features`"):
        cache.read(path)
    with pytest.raises(DataError, match="is not a readable feature cache; run `dvc repro features`"):
        cache.embeddings(path)


@pytest.fixture
def faces_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    for name, level, none in (("z/late", 40, ()), ("a/early", 210, (1,)), ("a/none", 40, (0, 1, 2, 3))):
        table.write(folder / f"{name}.parquet", toys.faces(level, none=none))
    return folder


def test_the_stage_writes_every_clip_in_sorted_order(faces_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = toys.cnn(tmp_path / "cnn.onnx")
    main(faces_folder, model, tmp_path / "clips.csv", HOME / "params.yaml", tmp_path / "out")
    clips = cache.read(tmp_path / "out" / "features.parquet")
    assert [clip.clip for clip in clips] == ["a/early", "a/none", "z/late"]
    assert [len(clip.faces) for clip in clips] == [3, 0, 4]
    assert (clips[0].faces[:, 1] > 0.7).all()
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == {"source": "cnn", "clips": 3, "set_aside": 0, "frames": 12}
    assert (tmp_path / "out" / "refused.csv").read_text() == "clip,reason\n"
    assert "12 frames of 3 clips" in capsys.readouterr().out


def test_the_stage_names_what_is_missing(faces_folder: Path, tmp_path: Path) -> None:
    rest = tmp_path / "clips.csv", HOME / "params.yaml", tmp_path / "out"
    with pytest.raises(DataError, match="holds no clips' faces; run `dvc repro faces`"):
        main(tmp_path / "nothing", toys.cnn(tmp_path / "cnn.onnx"), *rest)
    with pytest.raises(WeightsError, match=r"none\.onnx: is not a valid ONNX model"):
        main(faces_folder, tmp_path / "none.onnx", *rest)
