"""The clips' manifest: written and read back, and refused where it is malformed."""

import csv
import errno
from dataclasses import replace
from pathlib import Path

import pytest

from vfer.data.catalogue import manifest
from vfer.data.catalogue.manifest import Clip
from vfer.errors import DataError

HEADER = "clip,path,expression,subject,recording,source,framing\n"
ROW = "s/a,clips/s/a.mp4,happy,s/1,s/a,s,scene\n"
CLIPS = [
    Clip("ravdess/01-01", "clips/ravdess/01-01.mp4", "happy", "ravdess/01", "ravdess/01", "ravdess"),
    Clip("ckplus/S010_004", "clips/ckplus/S010_004.mkv", "fear", "ckplus/S010", "ckplus/S010_004", "ckplus", "face"),
    Clip("mine/x", "clips/mine/a, b.mp4", 'so "happy"', "mine/Zoë", "mine/x", "mine"),
]


def read(tmp_path: Path, text: str, encoding: str = "utf-8") -> list[Clip]:
    path = tmp_path / "clips.csv"
    path.write_bytes(text.encode(encoding))
    return manifest.read(path)


def refusal(tmp_path: Path, text: str, encoding: str = "utf-8") -> str:
    with pytest.raises(DataError) as excinfo:
        read(tmp_path, text, encoding)
    line = str(excinfo.value)
    assert "\n" not in line
    assert line.startswith(f"{tmp_path / 'clips.csv'}:")
    return line.removeprefix(f"{tmp_path / 'clips.csv'}:")


def test_what_is_written_is_read_back_sorted(tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    manifest.write(path, CLIPS)
    assert manifest.read(path) == sorted(CLIPS)
    assert [clip.clip for clip in manifest.read(path)] == ["ckplus/S010_004", "mine/x", "ravdess/01-01"]


def test_the_order_of_the_clips_does_not_change_the_bytes(tmp_path: Path) -> None:
    manifest.write(tmp_path / "a.csv", CLIPS)
    manifest.write(tmp_path / "b.csv", iter(CLIPS[::-1]))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)


def test_a_write_that_fails_leaves_the_former_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clips.csv"
    manifest.write(path, CLIPS)
    before = path.read_bytes()
    fill_the_disk(monkeypatch)
    with pytest.raises(OSError, match="No space"):
        manifest.write(path, [*CLIPS, replace(CLIPS[0], clip="zzz")])
    assert path.read_bytes() == before


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_the_disk(monkeypatch)
    with pytest.raises(OSError, match="No space"):
        manifest.write(tmp_path / "clips.csv", CLIPS)
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_of_ones_own_may_lack_framing_and_have_more_columns(tmp_path: Path) -> None:
    text = "note,source,recording,subject,expression,path,clip\nfine , s,s/a,s/1, happy ,clips/s/a.mp4,s/a\n"
    assert read(tmp_path, text) == [Clip("s/a", "clips/s/a.mp4", "happy", "s/1", "s/a", "s", "scene")]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert len(read(tmp_path, HEADER + ROW, "utf-8-sig")) == 1


@pytest.mark.parametrize("column", manifest.REQUIRED)
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    rows = list(csv.reader((HEADER + ROW).splitlines()))
    at = rows[0].index(column)
    text = "\n".join(",".join(row[:at] + row[at + 1 :]) for row in rows)
    assert refusal(tmp_path, text).startswith(f" has no column {column}; expected clip, path,")


@pytest.mark.parametrize("column", manifest.REQUIRED)
def test_an_empty_value_is_named_with_its_line(tmp_path: Path, column: str) -> None:
    values = dict(zip(manifest.COLUMNS, ROW.strip().split(","), strict=True)) | {column: "  "}
    assert refusal(tmp_path, HEADER + ROW + ",".join(values.values())) == f"3: {column} is empty"


def test_a_short_row_has_empty_values(tmp_path: Path) -> None:
    assert refusal(tmp_path, f"{HEADER}s/a,clips/s/a.mp4\n") == "2: expression is empty"


@pytest.mark.parametrize("name", ["../a", "/a", "a//b", "a/", ".a", "s/.a", "a b", "a\\b", "é", "a:b", "-a"])
def test_a_name_that_could_leave_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    text = HEADER + ROW.replace("s/a,", f"{name},", 1)
    assert refusal(tmp_path, text) == f"2: clip {name!r} is not a safe name; use letters, digits, '.', '_', '-' and '/'"


@pytest.mark.parametrize(
    ("row", "column"), [(ROW.replace("a.mp4", "b.mp4"), "clip s/a"), (ROW.replace("s/a", "s/b", 1), "path clips/s/a.mp4")]
)
def test_a_clip_or_path_that_stands_twice_is_named(tmp_path: Path, row: str, column: str) -> None:
    assert refusal(tmp_path, HEADER + ROW + row) == f" {column} appears twice; remove one of the rows"


def test_an_unknown_framing_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, HEADER + ROW.replace("scene", "crop")) == "2: framing 'crop' is unknown; expected scene or face"


@pytest.mark.parametrize("text", [HEADER, f"{HEADER}\n\n"])
def test_a_manifest_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text) == " lists no clips; add some with `vfer data add`"


def test_an_empty_file_lacks_its_columns(tmp_path: Path) -> None:
    assert refusal(tmp_path, "").startswith(" has no column clip, path,")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, HEADER + ROW.replace("s/1", "Zoë"), "latin-1").startswith(" is not a CSV file in UTF-8: ")


def test_a_missing_manifest_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"clips\.csv: cannot be read \(No such file or directory\); run `dvc checkout`, or fill it"):
        manifest.read(tmp_path / "clips.csv")
