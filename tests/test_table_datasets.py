"""Feature tables into `data add`: which clips they become, and whence their labels come."""

import zipfile
from pathlib import Path

import pytest
import toys
from test_tables import rows, text, write_file
from typer.testing import CliRunner

from vfer.cli.data import app
from vfer.data.catalogue import manifest, places
from vfer.data.catalogue.manifest import Clip
from vfer.errors import VferError

PYFEAT = "frame,FaceScore,AU01,AU12\n0,0.9,0.1,0.2\n1,0.9,0.1,0.3\n"


def openface(path: Path, number: int) -> Path:
    """Write a table that no other number gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_file(path, text(rows(number + 2)))


def add(data: Path, *arguments: str | Path) -> tuple[str, dict[str, Clip]]:
    """Return what was printed, or the error, and the clips by name."""
    result = CliRunner().invoke(app, ["add", *map(str, arguments), "--no-dvc", "--data", str(data)], env={"COLUMNS": "300"})
    if result.exception:
        assert isinstance(result.exception, VferError), repr(result.exception)
        assert "\n" not in str(result.exception)
        return str(result.exception), {}
    return result.output, {clip.clip: clip for clip in manifest.read(data / "clips.csv")}


def test_names_of_ravdess_and_folders_say_what_tables_show(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    openface(folder / "Actor_12/01-01-03-01-02-01-12.csv", 1)
    openface(folder / "1001_DFA_ANG_XX.csv", 2)
    openface(folder / "sad/anna_1.csv", 3)
    write_file(folder / "sad/anna_1_of_details.txt", "OpenFace's own")
    output, clips = add(tmp_path / "data", "openface", folder)
    assert {name: (clip.expression, clip.subject, clip.path) for name, clip in clips.items()} == {
        "openface/01-01-03-01-02-01-12": ("happy", "ravdess/12", "clips/openface/01-01-03-01-02-01-12.openface.csv"),
        "openface/1001_DFA_ANG_XX": ("angry", "cremad/1001", "clips/openface/1001_DFA_ANG_XX.openface.csv"),
        "openface/sad/anna_1": ("sad", "openface/anna", "clips/openface/sad/anna_1.openface.csv"),
    }
    assert clips["openface/01-01-03-01-02-01-12"].recording == "ravdess/01-03-01-02-01-12"
    assert "1 skipped: no CSV file" in output
    assert "there are feature tables: set features.source in params.yaml to openface to use them" in output
    assert set(places.read(tmp_path / "data" / places.FILE)["subject"]) == {"ravdess/12", "cremad/1001", "openface/anna"}


def test_tables_in_a_zip_are_added_and_twice_is_once(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tables.zip", "w") as archive:
        archive.write(openface(tmp_path / "a.csv", 1), "Actor_01/01-01-03-01-02-01-01.csv")
    for _ in range(2):
        output, clips = add(tmp_path / "data", "openface", tmp_path / "tables.zip")
        assert list(clips) == ["openface/01-01-03-01-02-01-01"]
    assert "1 already existed" in output


def test_a_clip_of_the_same_stem_says_what_a_table_shows(tmp_path: Path) -> None:
    videos = [
        Clip("mine/x/take_1", "clips/mine/x/take_1.mp4", "fear", "mine/eva", "mine/r1", "mine", "face"),
        Clip("mine/x/take_2", "clips/mine/x/take_2.mp4", "sad", "mine/eva", "mine/r2", "mine"),
        Clip("mine/y/take_2", "clips/mine/y/take_2.mp4", "sad", "mine/tom", "mine/r3", "mine"),
    ]
    toys.dataset(tmp_path / "data", videos)
    for number, name in enumerate(("take_1", "take_2", "take_3")):
        openface(tmp_path / f"processed/{name}.csv", number)
    output, clips = add(tmp_path / "data", "openface", tmp_path / "processed")
    assert set(clips) == {*(clip.clip for clip in videos), "openface/processed/take_1"}
    row = clips["openface/processed/take_1"]
    assert (row.expression, row.subject, row.recording, row.source) == ("fear", "mine/eva", "mine/r1", "openface")
    assert "is named take_3, and expression 'processed' is unknown" in output


def test_where_nothing_says_what_a_table_shows_a_line_says_what_to_do(tmp_path: Path) -> None:
    toys.dataset(tmp_path / "data", [Clip("mine/a", "clips/mine/a.mp4", "fear", "mine/eva", "mine/a", "mine")])
    output, _ = add(tmp_path / "data", "openface", openface(tmp_path / "out" / "b.csv", 1))
    assert "is named b, and neither its name nor its folder says what it shows; give a manifest" in output


def test_a_manifest_lists_tables_of_either_tool(tmp_path: Path) -> None:
    openface(tmp_path / "t/a.csv", 1)
    write_file(tmp_path / "t/b.csv", PYFEAT)
    write_file(tmp_path / "t/c.csv", "name,value\nx,1\n")
    lines = ["path;expression;subject", "t/a.csv;happy;eva", "t/b.csv;sad;eva", "t/c.csv;sad;tom"]
    output, clips = add(tmp_path / "data", "manifest", write_file(tmp_path / "mine.csv", "\n".join(lines)), "--source", "mine")
    assert {name: clip.path for name, clip in clips.items()} == {
        "mine/t/a": "clips/mine/t/a.openface.csv",
        "mine/t/b": "clips/mine/t/b.pyfeat.csv",
    }
    assert "t/c.csv: is not a feature table (OpenFace: has no column of an action unit" in output


@pytest.mark.parametrize("content", ["", "frame,AU01_r\n", "label,file\nhappy,a.mp4\n", PYFEAT])
def test_a_file_that_is_no_table_of_the_tool_is_refused_and_changes_nothing(content: str, tmp_path: Path) -> None:
    path = write_file(tmp_path / "01-01-03-01-02-01-01.csv", content)
    output, clips = add(tmp_path / "data", "openface", path)
    assert not clips
    assert "nothing was changed, 1 refused" in output
    assert not (tmp_path / "data").exists()


def test_tables_beside_videos_keep_what_is_there(tmp_path: Path) -> None:
    toys.dataset(tmp_path / "data", toys.clips(2, 1))
    before = manifest.read(tmp_path / "data" / "clips.csv")
    known = places.read(tmp_path / "data" / places.FILE)
    _, clips = add(tmp_path / "data", "pyfeat", write_file(tmp_path / "01-01-03-01-02-01-01.csv", PYFEAT))
    assert [clips[clip.clip] for clip in before] == before
    after = places.read(tmp_path / "data" / places.FILE)
    assert all(after["subject"][name] == place for name, place in known["subject"].items())
