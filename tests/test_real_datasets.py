"""FER2013, CK+ and RAVDESS as they are published, each read once."""

from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from vfer.cli.data import app
from vfer.data.catalogue import manifest, stills
from vfer.data.catalogue.duplicates import examine
from vfer.data.catalogue.manifest import Clip
from vfer.data.catalogue.stills import USAGES

TRAIN = USAGES.index("train")
DATASETS = {"fer2013": ("fer2013.zip", "28709"), "ckplus": ("ckplus48.zip", "287 clips"), "ravdess": ("ravdess", "7 clips")}
"""What is read, and what the command's output has to say."""


@pytest.fixture(scope="module")
def data(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for reader, (name, count) in DATASETS.items():
            result = CliRunner().invoke(app, ["add", reader, str(real_data / name), "--no-dvc"], env={"COLUMNS": "200"})
            assert result.exit_code == 0, result.exception
            assert count in result.output
    return root / "data"


@pytest.fixture(scope="module")
def clips(data: Path) -> list[Clip]:
    return manifest.read(data / "clips.csv")


def test_the_duplicates_of_fer2013_are_found(data: Path) -> None:
    table = stills.labels(data / "stills.parquet")
    pixels = stills.pictures(data / "stills.parquet", table["still"].to_pylist())
    usages = np.array([USAGES.index(usage) for usage in table["usage"].to_pylist()])
    assert Counter(table["usage"].to_pylist()) == {"train": 28709, "validation": 3589, "test": 3589}
    labels = np.unique(table["expression"].to_pylist(), return_inverse=True)[1]
    leaking, counts = examine(pixels, labels, usages, np.full(len(usages), -1))
    overlaps = [counts["validation_in_train"], counts["test_in_train"]]
    assert [row["identical"] for row in overlaps] == [280, 288]
    assert sum(row["near"] for row in overlaps) == pytest.approx(711, rel=0.02)  # a bit of a hash may fall otherwise on another machine
    assert leaking[usages == TRAIN].sum() == pytest.approx(1916, rel=0.02)
    assert leaking[usages != TRAIN].sum() == sum(row["identical"] + row["near"] for row in overlaps)
    assert counts["train_in_train"]["contradicting"] == pytest.approx(640, rel=0.05)


def test_ckplus(data: Path, clips: list[Clip]) -> None:
    sequences = [clip for clip in clips if clip.source == "ckplus"]
    assert len({clip.subject for clip in sequences}) == 108
    assert Counter(clip.expression for clip in sequences)["contempt"] == 18
    with av.open(str(data / sequences[0].path)) as container:
        assert [frame.to_ndarray(format="gray").shape for frame in container.decode(video=0)] == [(48, 48)] * 3


def test_ravdess(clips: list[Clip]) -> None:
    performances = [clip for clip in clips if clip.source == "ravdess"]
    twins = [name for name, count in Counter(clip.recording for clip in performances).items() if count > 1]
    assert (len(performances), len(twins), {clip.subject for clip in performances}) == (7, 2, {"ravdess/01"})


def test_every_clip_is_copied(data: Path, clips: list[Clip]) -> None:
    assert len(clips) == 287 + 7
    assert all((data / clip.path).stat().st_size for clip in clips)
