"""What of the test clips a model has seen: bytes, recordings and subjects, in clips, stills and identities."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest
import toys
from test_cli import vfer

from vfer.data import footage
from vfer.data.catalogue import audit, identical, learned, manifest, places, split, stills
from vfer.data.catalogue.audit import leakage
from vfer.data.catalogue.labelled import labelled_clips
from vfer.data.catalogue.labels import LabelsParams
from vfer.data.catalogue.learned import Example
from vfer.data.catalogue.manifest import Clip
from vfer.data.catalogue.split import SplitParams, SplitRow
from vfer.data.footage import Footage
from vfer.errors import DataError
from vfer.faces import clip as faces_clip
from vfer.faces import table, weights
from vfer.faces.params import FacesParams
from vfer.video import frames
from vfer.video.frames import FramesJob, FramesParams

FRAMES = FramesParams()
LABELS = LabelsParams(stills="all", clips="all")


def test_nothing_leaks_by_subject_and_much_at_random() -> None:
    assert leakage(toys.split_rows("subject")) == {"content": 0, "recording": 0, "subject": 0}
    random = leakage(toys.split_rows("random"))
    assert random["recording"] > 0.5
    assert random["subject"] == 1


def test_leakage_is_the_share_of_test_clips_by_each_kind() -> None:
    parts = [("r1", "s1", "train"), ("r2", "s2", "validation"), ("r1", "s1", "test"), ("r3", "s2", "test"), ("r4", "s3", "test")]
    rows = [SplitRow(str(i), "a", subject, recording, "toy", part, digest=f"d{i}") for i, (recording, subject, part) in enumerate(parts)]
    assert leakage(rows) == pytest.approx({"content": 0, "recording": 1 / 3, "subject": 2 / 3})
    rows[4] = replace(rows[4], digest="d1")
    assert leakage(rows)["content"] == pytest.approx(1 / 3)
    network = [Example("still", "x", "train", "s3"), Example("still", "y", "test", "s1"), Example("identity", "s2", "train", "s2")]
    assert leakage(rows, network) == pytest.approx(
        {"content": 1 / 3, "recording": 1 / 3, "subject": 2 / 3, "stills": 1 / 3, "identities": 1 / 3}
    )
    assert set(leakage(rows, network)) <= set(audit.SEEN)


def test_stills_of_unknown_people_are_no_proof_of_no_leakage() -> None:
    network = [Example("still", "x", "train"), Example("still", "y", "train", "s1"), Example("identity", "z", "train", "s1")]
    assert audit.unnamed(network) == ["nothing says whom the stills that trained the CNN show"]
    assert audit.unnamed([]) == []


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[[list[Clip]], Path]:
    """Write the clips of a dataset, whose bytes are their recordings' names, and its manifest."""

    def write(clips: list[Clip]) -> Path:
        for clip in clips:
            path = tmp_path / clip.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(clip.recording)
        return tmp_path / "clips.csv"

    return write


def test_identical_files_under_other_names_do_not_hide(dataset: Callable[[list[Clip]], Path]) -> None:
    """Two thirds of the test clips have a copy in training, under another name, recording and subject."""
    clips = toys.clips(9, 2)
    copies = [replace(clip, clip=f"x/{clip.clip}", path=f"x/{clip.path}", subject="x/somebody") for clip in clips if "s0" in clip.clip]
    where = dataset(clips + copies)
    singles = [replace(clip, recording=clip.clip) for clip in clips + copies]
    manifest.write(where, singles)
    data = labelled_clips(where.parent, LABELS, {clip.clip for clip in singles}, None, 2)
    assert any("identical to one of another subject" in reason for reason in data.reasons)
    params = SplitParams(protocol="subject", folds=3, fold=0)
    rows = split.split(data.clips, data.expressions, params, 7, where, None, data.digests)
    assert leakage(rows) == {"content": 0, "recording": 0, "subject": 0}
    before = split.split(singles, [clip.expression for clip in singles], params, 7, where, None, data.digests)
    assert leakage(before)["subject"] == 0
    assert leakage(before)["content"] > 0.2, "what the former audit did not see"


def test_identical_files_of_unlike_labels_are_left_out_and_named(dataset: Callable[[list[Clip]], Path]) -> None:
    clips = toys.clips(3, 1)
    wrong = replace(clips[0], clip="toy/copy", path="copy.mp4", expression="light")
    where = dataset([*clips, wrong])
    manifest.write(where, [*clips, wrong])
    data = labelled_clips(where.parent, LABELS, {clip.clip for clip in [*clips, wrong]}, None, 1)
    assert [clip.clip for clip in data.clips] == sorted(clip.clip for clip in clips[1:])
    (reason,) = data.reasons
    assert f"{clips[0].clip}, toy/copy are the same file, labelled dark and light" in reason


def test_a_clip_whose_file_is_gone_is_one_line(dataset: Callable[[list[Clip]], Path]) -> None:
    clips = toys.clips(2, 1)
    where = dataset(clips)
    (where.parent / clips[0].path).unlink()
    with pytest.raises(DataError, match=r"s00-dark-0\.mp4: cannot be read \(No such file or directory\); run `dvc checkout`"):
        identical.digests(clips, where.parent, None, 2)


def test_what_was_learned_is_read_as_it_was_written(tmp_path: Path) -> None:
    image = toys.png(np.zeros((48, 48), np.uint8))
    columns = {"still": ["a", "b"], "expression": ["x", "y"], "usage": ["train", "test"], "source": ["lab", "lab"]}
    table = pa.table({**columns, "subject": ["01", None], "image": [image, image]})
    stills.write(tmp_path / "stills.parquet", table)
    examples = learned.of_stills(stills.read(tmp_path / "stills.parquet"))
    assert [(one.name, one.part, one.subject) for one in examples] == [("a", "train", "lab/01"), ("b", "test", "")]
    assert examples[0].digest == examples[1].digest != ""
    learned.write(tmp_path / "learned.parquet", examples)
    assert learned.read(tmp_path / "learned.parquet") == examples
    (tmp_path / "learned.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is not a readable table of what a model has learned from"):
        learned.read(tmp_path / "learned.parquet")


def test_the_command_tells_every_kind(tmp_path: Path) -> None:
    rows = [replace(row, digest="same") for row in toys.split_rows("subject")]
    split.write(tmp_path / "outputs" / "lstm" / "split.parquet", rows)
    learned.write(
        tmp_path / "outputs" / "tune" / "learned.parquet",
        [Example("still", "x", "train"), Example("identity", "y", "train", rows[0].subject)],
    )
    output = vfer("audit", "--root", tmp_path).stdout
    assert "100% of the test clips have the very bytes of a clip seen in training" in output
    assert "0% of the test clips are of a subject seen in training" in output
    assert "of the test clips are of a subject whose faces pre-trained the CNN" in output
    assert "nothing says whom the stills that trained the CNN show" in output


def test_a_dataset_without_places_says_how_to_decide_them(tmp_path: Path) -> None:
    clips = toys.clips(3, 1)
    manifest.write(tmp_path / "clips.csv", clips)
    with pytest.raises(DataError, match="run `vfer data places`"):
        places.read(tmp_path / "places.csv")
    process = vfer("data", "places", "--data", tmp_path, "--no-dvc")
    assert "15 new places" in process.stdout
    assert places.read(tmp_path / "places.csv") == places.extended({}, clips)


# Copies in other bytes


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of clips: one, a copy of a part of it in another quality, and another take of the same person."""
    folder = tmp_path_factory.mktemp("films")
    first = toys.render(folder / "take1.mp4", "happy", seconds=3)
    toys.render(folder / "take2.mp4", "sad", seconds=3)
    with av.open(str(first)) as source:
        pictures = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
    with toys.Writer(folder / "copy.mp4", (160, 120), 15, crf=32, sound=False) as writer:
        for picture in pictures[7:-3]:
            writer.add(picture)
    return folder


@pytest.fixture(scope="module")
def footage_of(films: Path) -> Callable[[str], Footage]:
    faces = FacesParams(detector="centerface")
    detector = weights.resolve(faces, films)

    @cache
    def load(name: str) -> Footage:
        frames.write(FramesJob(name, films / f"{name}.mp4", films / f"{name}.frames", "scene", FRAMES))
        table.write(films / f"{name}.parquet", faces_clip.find_in(films / f"{name}.frames", detector, faces))
        return Footage.of(table.read(films / f"{name}.parquet"))

    return load


def test_a_copy_is_found_by_its_likeness_and_another_take_is_none(footage_of: Callable[[str], Footage]) -> None:
    assert dict(footage.copies(["copy", "take2"], ["take1"], footage_of)) == {"copy": "take1"}
    assert dict(footage.copies(["take1"], ["take2", "copy"], footage_of)) == {"take1": "copy"}
    assert dict(footage.copies(["take1"], [], footage_of)) == {}


def test_the_command_counts_copies_in_other_bytes(films: Path, footage_of: Callable[[str], Footage], tmp_path: Path) -> None:
    parts = {"take1": "train", "copy": "test", "take2": "test", "same": "test"}
    rows = [SplitRow(name, "dark", f"s{name}", name, "toy", part, digest=name) for name, part in parts.items()]
    rows[-1] = replace(rows[-1], digest="take1")
    split.write(tmp_path / "outputs" / "lstm" / "split.parquet", rows)
    assert "copies in other bytes were not looked for" in vfer("audit", "--root", tmp_path).stdout
    folder = tmp_path / "outputs" / "faces" / "clips"
    folder.mkdir(parents=True)
    for name in parts:
        source = "take1" if name == "same" else name
        assert len(footage_of(source).time) > 10
        (folder / f"{name}.parquet").symlink_to(films / f"{source}.parquet")
    output = vfer("audit", "--root", tmp_path).stdout
    assert "33% of the test clips have the very bytes of a clip seen in training" in output
    assert "33% of the test clips show the same footage as a clip seen in training, encoded anew or trimmed" in output
    assert "warning: copy: shows the same footage as take1" in output
    assert "take2: shows" not in output


def test_copies_of_real_clips_are_found(real_data: Path, tmp_path: Path) -> None:
    """RAVDESS's twins, the same footage with and without sound, are; other takes of the actor are not."""
    faces, by_name = FacesParams(detector="centerface"), {}
    detector = weights.resolve(faces, tmp_path)
    for path in sorted((real_data / "ravdess" / "Actor_01").glob("*.mp4")):
        frames.write(FramesJob(path.stem, path, tmp_path / "frames", "scene", FRAMES))
        table.write(tmp_path / "faces", faces_clip.find_in(tmp_path / "frames", detector, faces))
        by_name[path.stem] = Footage.of(table.read(tmp_path / "faces"))
    with_sound = [name for name in by_name if name.startswith("01-")]
    silent = [name for name in by_name if name.startswith("02-")]
    twins = {name: f"02{name[2:]}" for name in with_sound if f"02{name[2:]}" in by_name}
    assert len(twins) == 2
    assert dict(footage.copies(with_sound, silent, by_name.__getitem__)) == twins
    assert dict(footage.copies(silent[:2], silent[2:], by_name.__getitem__)) == {}
