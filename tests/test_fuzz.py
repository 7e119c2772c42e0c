"""Mutated clips, as `make fuzz` decodes them by the thousand: each decodes or is refused, within bounds of time and memory."""

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from videos import video

from benchmarks import fuzz
from vfer.cli.app import app
from vfer.data.catalogue import manifest
from vfer.errors import VferError


def test_mutated_clips_decode_or_are_refused() -> None:
    tally = fuzz.run(200, seed=7, workers=2)
    assert tally.unforeseen == {}
    assert tally.outcomes["decoded"] + tally.outcomes["refused"] == 200
    assert min(tally.outcomes["decoded"], tally.outcomes["refused"]) > 20  # the faults are neither too coarse nor too fine
    assert tally.memory < fuzz.MOST_MEMORY


def test_a_seed_gives_the_same_mutants(tmp_path: Path) -> None:
    (original := tmp_path / "a.mp4").write_bytes(bytes(range(256)) * 20)
    jobs = fuzz.mutants([original], tmp_path, 50, seed=3)
    mutants = [[fuzz.mutate(original.read_bytes(), np.random.default_rng(job.seed)) for job in jobs] for _ in range(2)]
    assert mutants[0] == mutants[1]
    assert len(set(mutants[0])) == 50


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A dataset of three clips, as a zip and as a manifest."""
    folder = tmp_path_factory.mktemp("published")
    clips = {
        f"{name}/s{index}_1.mp4": video(folder / f"{index}.mp4", [60 + index] * 3) for index, name in enumerate(("happy", "sad", "fear"))
    }
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in clips.items():
            archive.write(path, name)
    rows = "".join(f"{path},{name.partition('/')[0]},s{index}\n" for index, (name, path) in enumerate(clips.items()))
    return {"folder": (folder / "a.zip").read_bytes(), "manifest": f"path,expression,subject\n{rows}".encode()}


def state(data: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data)): path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(("reader", "suffix"), [("folder", "zip"), ("manifest", "csv")])
def test_mutated_archives_and_manifests_leave_the_dataset_as_before_or_as_after(
    reader: str, suffix: str, originals: dict[str, bytes], tmp_path: Path
) -> None:
    random, outcomes, data = np.random.default_rng(7), Counter[int](), tmp_path / "data"
    for number in range(60):
        path = tmp_path / f"{number}.{suffix}"
        path.write_bytes(fuzz.mutate(originals[reader], random))
        before = state(data)
        result = CliRunner().invoke(app, ["data", "add", reader, str(path), "--no-dvc", "--data", str(data), "--source", f"s{number}"])
        assert isinstance(result.exception, SystemExit | VferError | None), (number, result.exc_info)
        outcomes[result.exit_code] += 1
        if result.exit_code:
            assert state(data) == before, number
        else:
            paths = {clip.path for clip in manifest.read(data / "clips.csv")}
            assert {name for name in state(data) if name.startswith("clips/")} == paths, number
            assert (
                before.items() - {("clips.csv", before.get("clips.csv")), ("places.csv", before.get("places.csv"))} <= state(data).items()
            )
    assert set(outcomes) == {0, 1}
