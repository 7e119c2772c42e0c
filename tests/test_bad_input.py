"""Odd and bad input: `predict` and `timeline --annotate` answer what shows a face, and say in one line what is wrong with the rest."""

import errno
import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import toys
from numpy.typing import NDArray
from test_annotate import frames
from typer.testing import CliRunner
from videos import tag, video

from vfer import files
from vfer.cli.app import app
from vfer.errors import VferError
from vfer.predict import locks, results
from vfer.predict.timeline.timeline import NOTICE

Luma = list[NDArray[np.uint8]]
Maker = Callable[[Path, Luma], object]


def concatenate(path: Path, parts: list[Luma]) -> None:
    pieces = [video(path.with_name(f".part{number}{path.suffix}"), part).read_bytes() for number, part in enumerate(parts)]
    path.write_bytes(b"".join(pieces))


def sound(path: Path, _: Luma) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for number in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, 1024 * number, Fraction(1, 16000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def no_frames(path: Path, _: Luma) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()


ODD: dict[str, Maker] = {
    "variable rate.mp4": lambda path, luma: video(path, luma, pts=[7 * n * n for n in range(1, len(luma) + 1)]),
    "rotated.mp4": lambda path, luma: tag(video(path, [np.ascontiguousarray(np.rot90(one)) for one in luma]), (0, 1, -1, 0)),
    "mirrored.mp4": lambda path, luma: tag(video(path, luma), (-1, 0, 0, 1)),
    "10 bits.mp4": lambda path, luma: video(path, luma, pix_fmt="yuv420p10le"),
    "alpha.mkv": lambda path, luma: video(path, luma, codec="ffv1", pix_fmt="yuva420p"),
    "odd size.mkv": lambda path, luma: video(path, [one[:119, :159] for one in luma], codec="ffv1"),
    "größe 中文 #100%\n.mp4": lambda path, luma: video(path, luma),
    "times start again.ts": lambda path, luma: concatenate(path, [luma, luma]),
    "larger later.ts": lambda path, luma: concatenate(path, [luma, [cv2.resize(one, (320, 240)) for one in luma]]),  # type: ignore[misc]
}
BAD: dict[str, tuple[Maker, str]] = {
    "sound.mp4": (sound, "no video stream"),
    "no frames.mkv": (no_frames, "cannot be decoded"),
    "still.png": (lambda path, luma: cv2.imwrite(str(path), luma[0]), "is a picture"),
    "still.jpg": (lambda path, luma: cv2.imwrite(str(path), luma[0]), "is a picture"),
    "empty.mp4": (lambda path, _: path.touch(), "is empty"),
    "text.mp4": (lambda path, _: path.write_text("hello"), "cannot be decoded"),
    "folder.mp4": (lambda path, _: path.mkdir(), "holds no video"),
    "none.mp4": (lambda *_: None, "no such file"),
}


@pytest.fixture(scope="module")
def luma(tmp_path_factory: pytest.TempPathFactory) -> Luma:
    """The frames of a face, 160x120."""
    with av.open(str(toys.render(tmp_path_factory.mktemp("face") / "face.mp4"))) as container:
        return [frame.to_ndarray(format="gray").astype(np.uint8) for frame in container.decode(video=0)]


@pytest.fixture
def face(luma: Luma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return video(tmp_path / "face.mp4", luma)


def run(command: str, *arguments: object) -> Any:
    return CliRunner().invoke(app, [command, *map(str, arguments), "--model", "shipped", "--jobs", "1"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, luma: Luma) -> Path:
    """All odd videos, with what the commands made of them: predictions.jsonl, timelines and annotated films."""
    output = tmp_path_factory.mktemp("odd")
    for name, maker in ODD.items():
        maker(output / name, luma)
    assert run("predict", output, "-o", output / "predictions.jsonl").exit_code == 0
    outcome = run("timeline", output, "-o", output / "out", "--formats", "csv,provenance,srt", "--annotate", output / "annotated")
    assert outcome.exit_code == 0, outcome.output
    return output


@pytest.mark.parametrize("name", ODD)
def test_an_odd_video_is_answered_as_an_ordinary_one(name: str, folder: Path, luma: Luma) -> None:
    [row] = [one for one in results.read(folder / "predictions.jsonl") if Path(one["path"]).name == name]
    assert (row["expression"], row["coverage"]) == ("happy", 1)
    stem = Path(name).stem
    assert "happy" in (folder / "out" / f"{stem}.srt").read_text()
    pictures = frames(folder / "annotated" / f"{stem}.annotated.mp4")
    assert len(pictures) == len(luma) * (2 if name.endswith(".ts") else 1)
    assert pictures[-1][1].shape == (120, 160, 3)


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("command", ["predict", "timeline"])
def test_a_bad_video_is_one_line_that_names_it(command: str, name: str, luma: Luma, tmp_path: Path) -> None:
    maker, part = BAD[name]
    maker(tmp_path / name, luma)
    outcome = run(command, tmp_path / name, "-o", tmp_path / "out.csv")
    assert outcome.exit_code == 1
    [line] = [one for one in f"{outcome.stdout}{outcome.exception}".splitlines() if part in one]
    assert name in line
    assert "Traceback" not in outcome.output


def test_nobody_is_no_answer_for_a_clip_and_an_empty_timeline_for_a_film(tmp_path: Path) -> None:
    path = video(tmp_path / "nobody.mp4", [90] * 10)
    outcome = run("predict", path)
    assert (outcome.exit_code, "no frame shows a face" in outcome.stdout) == (1, True)
    outcome = run("timeline", path, "-o", tmp_path / "out", "--annotate", tmp_path / "out.mp4")
    assert (outcome.exit_code, "0 people" in outcome.stdout) == (0, True)
    assert len(frames(tmp_path / "out.mp4")) == 10


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
@pytest.mark.parametrize("option", ["--annotate", "-o"])
def test_a_video_is_never_overwritten(option: str, link: Callable[[Path, Path], None] | None, face: Path, tmp_path: Path) -> None:
    target = face if link is None else tmp_path / "other.mp4"
    if link:
        link(face, target)
    before = face.read_bytes()
    outcome = run("timeline", face, option, target)
    assert isinstance(outcome.exception, VferError)
    assert face.read_bytes() == before


def test_a_film_is_overwritten_only_where_vfer_wrote_it(face: Path, luma: Luma, tmp_path: Path) -> None:
    other = video(tmp_path / "other.mp4", luma)
    assert "did not write" in str(run("timeline", face, "--annotate", other).exception)
    for _ in range(2):
        assert run("timeline", face, "--annotate", "new.mp4").exit_code == 0
    with av.open("new.mp4") as container:
        assert NOTICE in container.metadata["comment"]


@pytest.mark.parametrize(
    ("command", "output", "part"),
    [
        ("predict", "face.mp4/x.csv", "cannot be written"),
        ("predict", "x.mp4", "is not a name for a table"),
        ("timeline", "face.mp4/out", "cannot be written"),
        ("timeline", "notes", "is a file"),
    ],
)
def test_an_output_that_cannot_be_written_is_one_line(command: str, output: str, part: str, face: Path) -> None:
    Path("notes").write_text("mine")
    outcome = run(command, face, "-o", output)
    assert (outcome.exit_code, isinstance(outcome.exception, VferError), part in str(outcome.exception)) == (1, True, True), (
        outcome.exception
    )
    assert Path("notes").read_text() == "mine"


@pytest.mark.parametrize(("command", "output"), [("predict", "x.csv"), ("timeline", "out")])
def test_two_runs_never_write_to_one_place(command: str, output: str, face: Path) -> None:
    with locks.locked(Path(output)):
        assert "another run" in str(run(command, face, "-o", output).exception)
    assert run(command, face, "-o", output).exit_code == 0


@pytest.mark.parametrize(("command", "output"), [("predict", "x.csv"), ("timeline", "out")])
def test_a_full_disk_ends_the_run_names_the_file_and_leaves_no_part_of_one(
    command: str, output: str, face: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        outcome = run(command, face, "-o", output)
    assert isinstance(outcome.exception, OSError)
    assert str(outcome.exception.filename).startswith(output)
    assert not [path for path in Path().rglob("*") if path.is_file() and path != Path("face.mp4")]
    assert run(command, face, "-o", output).exit_code == 0


def test_a_damaged_provenance_costs_only_the_work_that_it_spares(face: Path) -> None:
    assert run("timeline", face, "-o", "out").exit_code == 0
    before = Path("out/face.srt").read_bytes()
    Path("out/face.provenance.json").write_text("{")
    assert run("timeline", face, "-o", "out").exit_code == 0
    assert json.loads(Path("out/face.provenance.json").read_text())["video"] == "face.mp4"
    assert Path("out/face.srt").read_bytes() == before


@pytest.mark.parametrize("name", [b"caf\xe9.mp4", "x" * 240 + ".mp4", "김" * 80 + ".mp4", "a\nline\t.mp4", "[red]b[bold].mp4", "-o.mp4"])
def test_a_video_of_any_name_is_answered_in_one_line_and_gets_all_its_files(name: str | bytes, face: Path) -> None:
    video = Path("in", os.fsdecode(name))
    video.parent.mkdir()
    video.write_bytes(face.read_bytes())
    result = run("predict", "in", "-o", "x.csv")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2), result.output
    assert run("timeline", "in", "-o", "out").exit_code == 0
    files = sorted(path.name for path in Path("out").iterdir())
    assert len(files) == 12
    assert not [name for name in files if name.endswith(".tmp")]
    assert "its files are there already" in run("timeline", "in", "-o", "out").stdout
