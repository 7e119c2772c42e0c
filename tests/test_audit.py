"""What of the test clips a model has seen: bytes, recordings and subjects, in clips, stills and identities."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import toys
from test_cli import vfer

from vfer.data import audit, identical, learned, manifest, places, split, stills
from vfer.data.audit import leakage
from vfer.data.labelled import labelled
from vfer.data.labels import LabelsParams
from vfer.data.learned import Example
from vfer.data.manifest import Clip
from vfer.data.split import SplitParams, SplitRow
from vfer.errors import DataError

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
    """Writes the clips of a dataset, whose bytes are their recordings' names, and its manifest."""

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
    renamed = [replace(clip, recording=clip.clip) for clip in clips + copies]
    manifest.write(where, renamed)
    found = labelled(where, LABELS, {clip.clip for clip in renamed}, None, 2)
    assert any("identical to one of another subject" in reason for reason in found.reasons)
    params = SplitParams(protocol="subject", folds=3, fold=0)
    rows = split.split(found.clips, found.expressions, params, 7, where, None, found.digests)
    assert leakage(rows) == {"content": 0, "recording": 0, "subject": 0}
    before = split.split(renamed, [clip.expression for clip in renamed], params, 7, where, None, found.digests)
    assert leakage(before)["subject"] == 0
    assert leakage(before)["content"] > 0.2, "what the former audit did not see"


def test_identical_files_of_unlike_labels_are_left_out_and_named(dataset: Callable[[list[Clip]], Path]) -> None:
    clips = toys.clips(3, 1)
    wrong = replace(clips[0], clip="toy/copy", path="copy.mp4", expression="light")
    where = dataset([*clips, wrong])
    manifest.write(where, [*clips, wrong])
    found = labelled(where, LABELS, {clip.clip for clip in [*clips, wrong]}, None, 1)
    assert [clip.clip for clip in found.clips] == sorted(clip.clip for clip in clips[1:])
    (reason,) = found.reasons
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
    with pytest.raises(DataError, match="is not a table of what a model has learned from"):
        learned.read(tmp_path / "learned.parquet")


def test_the_command_tells_every_kind(tmp_path: Path) -> None:
    rows = [replace(row, digest="same") for row in toys.split_rows("subject")]
    split.write(tmp_path / "outputs" / "lstm" / "split.parquet", rows)
    learned.write(
        tmp_path / "outputs" / "cnn" / "learned.parquet",
        [Example("still", "x", "train"), Example("identity", "y", "train", rows[0].subject)],
    )
    shown = vfer("audit", "--root", tmp_path).stdout
    assert "100% of the test clips have the very bytes of a clip seen in training" in shown
    assert "0% of the test clips are of a subject seen in training" in shown
    assert "of the test clips are of a subject whose faces pre-trained the CNN" in shown
    assert "nothing says whom the stills that trained the CNN show" in shown


def test_a_dataset_without_places_says_how_to_decide_them(tmp_path: Path) -> None:
    clips = toys.clips(3, 1)
    manifest.write(tmp_path / "clips.csv", clips)
    with pytest.raises(DataError, match="run `vfer data places`"):
        places.read(tmp_path / "places.csv")
    ended = vfer("data", "places", "--data", tmp_path, "--no-dvc")
    assert "15 new places" in ended.stdout
    assert places.read(tmp_path / "places.csv") == places.extended({}, clips)
