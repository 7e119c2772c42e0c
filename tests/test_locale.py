"""The pipeline under a locale of ASCII and a strict standard output, with clips, subjects and recordings of other alphabets."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from repository import HOME, STAGES, build, render, stages_run

from vfer.data.catalogue import manifest, places

STRICT = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict"}
ASCII = STRICT | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def foreign(data: Path) -> None:
    """Fill a dataset of 28 clips, the names of whose files, subjects and recordings are German and Korean."""
    render(data)
    rows = []
    for number, clip in enumerate(manifest.read(data / "clips.csv")):
        path = Path(clip.path).with_name(f"김민수 Zoë-{number}.mp4")
        (data / clip.path).rename(data / path)
        subject, recording = (name.replace("sample/", "sample/이-ü") for name in (clip.subject, clip.recording))
        rows.append(replace(clip, path=str(path), subject=subject, recording=recording))
    manifest.write(data / "clips.csv", rows)
    (data / places.FILE).unlink()
    places.update(data, rows)


def run(folder: Path, *command: str) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "VFER_"))}
    environment = variables | {"PYTHONPATH": str(HOME)} | ASCII
    process = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return (process.stdout + process.stderr).decode("ascii")


def test_stages_and_predictions_take_names_that_the_locale_cannot_write(tmp_path: Path) -> None:
    foreign(tmp_path / "data")
    output = run(tmp_path, "-m", "stages.frames", "--clips", "data/clips.csv", "--params", str(HOME / "params.yaml"), "--out", "frames")
    assert "frames: 28 clips" in output
    assert json.loads((tmp_path / "frames" / "metrics.json").read_text())["set_aside"] == 0
    clips = [str(path.relative_to(tmp_path)) for path in sorted((tmp_path / "data" / "clips" / "sample").iterdir())[:2]]
    vfer = ("-c", "from vfer.cli.app import main; main()")
    output = run(tmp_path, *vfer, "predict", *clips, "--model", "shipped", "--output", "Köpfe.csv")
    assert "predict: 2 answered" in output
    table = (tmp_path / "Köpfe.csv").read_text(encoding="utf-8")
    assert all(clip in table for clip in clips)
    (tmp_path / "Köpfe").mkdir()
    assert "timeline: 1 done" in run(tmp_path, *vfer, "timeline", clips[0], "--model", "shipped", "--output", "Köpfe")
    assert (tmp_path / "Köpfe" / f"{Path(clips[0]).stem}.eaf").is_file()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["strict", "ascii"])
def test_the_whole_pipeline_runs(kind: str, tmp_path: Path) -> None:
    """DVC itself cannot track names that the locale cannot write: where Python may not use UTF-8, the files have plain names."""
    repository = build(tmp_path, STRICT if kind == "strict" else ASCII, foreign if kind == "strict" else render)
    output = repository.run("dvc", "repro")
    assert stages_run(output) == list(STAGES)
    assert not re.search(r"Traceback|\w+Warning", output), output
    assert repository.metrics("frames")["clips"] == 28
    assert len(repository.experiments()) == 1
