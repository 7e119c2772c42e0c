"""Feature tables as OpenFace, py-feat and spreadsheets write them: what is read, and what sets a clip aside."""

import codecs
import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages import cnn, faces, frames, pretrain
from stages.features import main
from vfer.data.catalogue.manifest import Clip
from vfer.data.tables import read as tables
from vfer.data.tables.reading import Reading
from vfer.data.tables.tool import TOOLS, tool_of
from vfer.data.tables.work import common_units
from vfer.errors import ClipError, DataError, VferError
from vfer.features import cache

HOME = Path(__file__).resolve().parents[1]
OPENFACE = ("frame", "face_id", "timestamp", "confidence", "success", "gaze_0_x", "AU01_r", "AU12_r", "AU12_c")
UNITS = ["au01_r", "au12_c", "au12_r"]
Edit = Callable[[list[list[str]]], None]


def reading(tool: str = "openface", units: list[str] = UNITS, confidence: float = 0.8, fps: float = 25) -> Reading:
    return Reading(tool=tool, units=units, confidence=confidence, fps=fps)


def rows(count: int = 4) -> list[list[str]]:
    """Return the cells of an OpenFace table; of frame n, from 1, AU01_r is n/10, AU12_r n, and AU12_c 1 for odd ones."""
    body = [
        [str(n), "0", f"{(n - 1) / 25:.3f}", "0.98", "1", "0.1", f"{n / 10:.2f}", f"{n:.2f}", f"{n % 2:.2f}"] for n in range(1, count + 1)
    ]
    return [list(OPENFACE), *body]


def text(cells: list[list[str]], delimiter: str = ", ", end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in cells)


def write_file(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("delimiter", "end", "encoding"),
    [
        (", ", "\n", "utf-8"),
        (",", "\r\n", "utf-8-sig"),
        (";", "\r\r\n", "utf-8"),
        ("\t", "\n", "utf-16"),
        (" ; ", "\r", "utf-8"),
        ("|", "\n", "utf-8"),
    ],
)
def test_a_table_is_read_whatever_its_separators_ends_and_encoding(delimiter: str, end: str, encoding: str, tmp_path: Path) -> None:
    sequence = tables.read(write_file(tmp_path / "a.csv", text(rows(), delimiter, end).encode(encoding)), "a", reading())
    assert sequence.clip == "a"
    assert sequence.frame.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(sequence.time, [0, 0.04, 0.08, 0.12])
    np.testing.assert_allclose(sequence.embedding, [[n / 10, n % 2, n] for n in range(1, 5)], rtol=1e-6)
    assert set(sequence.status) == {"detected"}
    assert sequence.shown.time.tolist() == sequence.time.tolist()


def test_a_spreadsheet_with_decimal_commas_quotes_and_a_line_for_the_separator_is_read(tmp_path: Path) -> None:
    stream = io.StringIO("sep=;\n")
    stream.seek(0, io.SEEK_END)
    csv.writer(stream, delimiter=";", quoting=csv.QUOTE_ALL).writerows(
        [*rows()[:1], *([cell.replace(".", ",") for cell in row] + [""] for row in rows()[1:])]
    )
    sequence = tables.read(write_file(tmp_path / "a.csv", stream.getvalue() + ";;;;;;;;;\n\n"), "a", reading())
    np.testing.assert_allclose(sequence.embedding[:, 2], [1, 2, 3, 4])
    np.testing.assert_allclose(sequence.time, [0, 0.04, 0.08, 0.12])


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("success", "0"),
        ("confidence", "0.79"),
        ("confidence", ""),
        ("AU12_r", ""),
        ("AU12_c", "-nan(ind)"),
        ("AU01_r", "NaN"),
        ("success", " 0 "),
    ],
)
def test_a_row_that_fails_is_a_frame_without_a_face_and_keeps_its_time(column: str, cell: str, tmp_path: Path) -> None:
    cells = rows()
    cells[2][OPENFACE.index(column)] = cell
    sequence = tables.read(write_file(tmp_path / "a.csv", text(cells)), "a", reading())
    assert sequence.status.tolist() == ["detected", "none", "detected", "detected"]
    assert not sequence.embedding[1].any()
    np.testing.assert_allclose(sequence.shown.time, [0, 0.08, 0.12])


def test_a_table_without_frame_time_and_confidence_goes_by_the_rate(tmp_path: Path) -> None:
    cells = [row[6:] for row in rows()]
    sequence = tables.read(write_file(tmp_path / "a.csv", text(cells, ";")), "a", reading(fps=10))
    assert sequence.frame.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(sequence.time, [0, 0.1, 0.2, 0.3])


def test_a_table_of_py_feat_takes_its_time_from_the_frame(tmp_path: Path) -> None:
    """Its approx_time is in whole seconds, frames may be skipped evenly, and a frame without a face has empty cells."""
    header = ",frame,approx_time,FaceScore,AU01,AU12,anger,input"
    body = [
        "0,0,00:00,0.99,0.5,0.25,0.1,a.mp4",
        "1,5,00:00,0.99,0.5,0.75,0.1,a.mp4",
        "2,10,00:00,,,,,a.mp4",
        "3,15,00:01,0.5,0.1,0.1,0.1,a.mp4",
    ]
    sequence = tables.read(write_file(tmp_path / "a.csv", "\n".join([header, *body])), "a", reading("pyfeat", ["au01", "au12"]))
    np.testing.assert_allclose(sequence.time, [0, 0.2, 0.4, 0.6])
    assert sequence.status.tolist() == ["detected", "detected", "none", "none"]
    np.testing.assert_allclose(sequence.faces, [[0.5, 0.25], [0.5, 0.75]])


def cell(row: int, column: str, value: str) -> Edit:
    def edit(cells: list[list[str]]) -> None:
        cells[row][OPENFACE.index(column)] = value

    return edit


REFUSED: dict[str, tuple[Edit, str]] = {
    "a doubled frame": (lambda cells: cells.insert(2, cells[1]), r"line 3: frame 1 appears twice; keep one row per frame"),
    "a missing frame": (lambda cells: cells.pop(3), r"line 4: no row between frames 2 and 4; run OpenFace again"),
    "a second frame missing": (lambda cells: cells.pop(2), r"line 4: frames 3 and 4 are 1 apart, those from frame 1 on 2"),
    "frames out of order": (lambda cells: cells.insert(1, cells.pop(3)), r"line 3: frame 1 comes after frame 3; sort the rows"),
    "time that goes back": (cell(3, "timestamp", "0.01"), r"line 4: timestamp goes back, from 0.04 to 0.01"),
    "time that stands still": (cell(3, "timestamp", "0.04"), r"line 4: timestamp does not advance, from 0.04 to 0.04"),
    "no time in a row": (cell(2, "timestamp", ""), r"line 3: timestamp is empty"),
    "a word": (cell(2, "AU01_r", "high"), r"line 3: AU01_r is 'high', not a number"),
    "an underscore": (cell(2, "AU01_r", "1_0"), r"line 3: AU01_r is '1_0', not a number"),
    "infinity": (cell(2, "AU12_c", "inf"), r"line 3: AU12_c is 'inf', not a number"),
    "a huge number": (cell(2, "AU12_c", "1e30"), r"line 3: AU12_c is 1e\+30, which is no action unit"),
    "half a frame": (cell(2, "frame", "1.5"), r"line 3: frame is '1.5', not a whole number"),
    "no frame": (cell(2, "frame", "nan"), r"line 3: frame is 'nan', not a whole number"),
    "a short line": (lambda cells: cells[2].pop(), r"line 3: has 8 cells, the header 9"),
    "a long line": (lambda cells: cells[2].append("1"), r"line 3: has 10 cells, the header 9"),
    "a column twice": (lambda cells: [row.append(row[6]) for row in cells] and None, r"has two columns AU01_r; remove one"),
    "a missing column": (lambda cells: [row.pop(7) for row in cells] and None, r"has no column AU12_r, which the other tables have"),
    "no action units": (
        lambda cells: cells[0].__setitem__(slice(6, 9), ["x", "y", "z"]),
        r"has no column of an action unit, such as AU01_r",
    ),
    "another tool": (lambda cells: cells[0].__setitem__(slice(6, 9), ["AU01", "AU12", "AU14"]), r"expected a table of OpenFace"),
    "no rows": (lambda cells: cells.__delitem__(slice(1, None)), r"holds no rows; run the tool again"),
    "nothing": (lambda cells: cells.clear(), r"is empty; run the tool again"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_table_that_cannot_be_right_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    edit, message = REFUSED[kind]
    cells = [list(row) for row in rows()]
    edit(cells)
    path = write_file(tmp_path / "a.csv", text(cells))
    with pytest.raises(ClipError, match=message) as excinfo:
        tables.read(path, "a", reading())
    assert str(excinfo.value).startswith(f"{path}: ")
    assert "\n" not in str(excinfo.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"AU01_r\n\xe4\n", b"\x00" * 100, b"PK\x03\x04 zip", b"AU01_r\n" + b"1" * (1 << 20)])
def test_a_file_that_is_no_text_table_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"a\.csv: .*; |a\.csv: .*expected a table"):
        tables.read(write_file(tmp_path / "a.csv", content), "a", reading())


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("absent", "No such file"), ("pipe", "is not a regular file"), (".", "is not a regular file")):
        with pytest.raises(ClipError, match=message):
            tables.read(tmp_path / name, "a", reading())


def test_the_rows_of_a_table_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 3)
    with pytest.raises(ClipError, match="has more than 3 rows; split it"):
        tables.read(write_file(tmp_path / "a.csv", text(rows())), "a", reading())


WORDS = st.sampled_from(
    ["0", "1", "2", "-1", "0.5", "0,5", "", " ", "nan", "inf", "1e9", "1e400", "x", '"', '"1', "ä", "\x00", "1_0", "½", "\n"]
)
NAMES = st.sampled_from([*OPENFACE, *(f" {name}" for name in OPENFACE), "AU01", "AU12", "FaceScore", "approx_time", "", '"', "sep="])
GRID = st.lists(st.lists(WORDS, max_size=10), max_size=6)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    names=st.lists(NAMES, max_size=10),
    grid=GRID,
    good=st.integers(0, 3),
    delimiter=st.sampled_from([",", ";", "\t", "|", ", "]),
    end=st.sampled_from(["\n", "\r\n", "\r", ""]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    tail=st.binary(max_size=6),
    tool=st.sampled_from(sorted(TOOLS)),
)
def test_any_file_gives_features_or_one_refusal(tmp_path: Path, **kinds: Any) -> None:
    cells = [list(row) for row in rows(kinds["good"])] if kinds["good"] else [kinds["names"]]
    content = text([*cells, *kinds["grid"]], kinds["delimiter"], kinds["end"]).encode(kinds["encoding"], "replace") + kinds["tail"]
    path, tool = write_file(tmp_path / "a.csv", content), TOOLS[kinds["tool"]]
    reason = ""
    try:
        units = tables.units(path, tool)
        sequence = tables.read(path, "a", reading(tool.name, units))
    except ClipError as error:
        reason = str(error)
    assert "\n" not in reason
    if reason:
        return
    assert sequence.embedding.shape == (len(sequence.frame), len(units))
    assert np.isfinite(sequence.embedding).all()
    assert (np.diff(sequence.time) > 0).all()
    assert (np.diff(sequence.frame) > 0).all()


def test_most_tables_decide_which_action_units_there_are(tmp_path: Path) -> None:
    few = [row[:8] for row in rows()]
    contents = {"a": few, "b": rows(), "c": rows(), "d": [["x"]]}
    paths = [write_file(tmp_path / name, text(cells)) for name, cells in contents.items()]
    assert common_units(paths, TOOLS["openface"], 2) == UNITS
    assert common_units(paths[:1], TOOLS["openface"], 1) == ["au01_r", "au12_r"]
    assert common_units(paths[3:], TOOLS["openface"], 1) == []


def test_the_name_of_a_file_says_whose_table_it_is() -> None:
    assert tool_of("clips/a/b.openface.csv") == TOOLS["openface"]
    assert tool_of("clips/a/b.pyfeat.csv") == TOOLS["pyfeat"]
    assert tool_of("clips/a/openface.csv.mp4") is None


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset of ten tables and a video, and the params for it."""
    import toys

    folder = tmp_path / "data"
    clips = [Clip(f"t/{n}", f"clips/t/{n}.openface.csv", "happy", "t/a", f"t/{n}", "t") for n in range(10)]
    toys.dataset(folder, [*clips, Clip("t/video", "clips/t/video.mp4", "sad", "t/b", "t/video", "t")])
    for clip in clips:
        write_file(folder / clip.path, text(rows(3)))
    return folder


def params(tmp_path: Path, **section: object) -> Path:
    content = yaml.safe_load((HOME / "params.yaml").read_text())
    content["features"] |= {"source": "openface", "fps": 25} | section
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "params.yaml"


def run(data: Path, **section: object) -> Path:
    main(data.parent / "faces", data.parent / "model.onnx", data / "clips.csv", params(data.parent, **section), data.parent / "out")
    return data.parent / "out"


def test_a_bad_table_is_set_aside_and_counted_and_a_faceless_one_is_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_file(data / "clips/t/3.openface.csv", "AU01_r, AU12_r, AU12_c\n1, 2, three\n")
    blind = [*rows(3)[:1], *([*row[:4], "0", *row[5:]] for row in rows(3)[1:])]
    write_file(data / "clips/t/5.openface.csv", text(blind))
    out = run(data, max_bad=0.2)
    sequences = cache.read(out / "features.parquet")
    assert [clip.clip for clip in sequences] == [f"t/{n}" for n in (0, 1, 2, 4, 5, 6, 7, 8, 9)]
    assert [len(clip.faces) for clip in sequences] == [3, 3, 3, 3, 0, 3, 3, 3, 3]
    assert json.loads((out / "metrics.json").read_text()) == {
        "source": "openface", "clips": 9, "set_aside": 1, "frames": 27, "faceless": 1, "coverage": round(24 / 27, 6),
    }  # fmt: skip
    lines = (out / "refused.csv").read_text().splitlines()
    assert lines[0] == "clip,reason"
    assert lines[1].startswith("t/3,")
    assert "line 2: AU12_c is 'three', not a number" in lines[1]
    assert lines[2] == "t/5,no face in any of its 3 frames"
    assert "27 frames of 9 clips by OpenFace, 3 action units" in capsys.readouterr().out
    assert json.loads(cache.metadata(out / "features.parquet")["reading"])["units"] == UNITS


def test_too_many_bad_tables_fail_the_stage_and_leave_the_list(data: Path) -> None:
    for n in (2, 3):
        write_file(data / f"clips/t/{n}.openface.csv", "nothing of use")
    with pytest.raises(
        DataError, match=r"refused\.csv: 2 of 10 clips show no face or cannot be read, more than features\.max_bad \(0\.1\)"
    ):
        run(data)
    assert len((data.parent / "out" / "refused.csv").read_text().splitlines()) == 3
    assert not (data.parent / "out" / "features.parquet").exists()


def test_no_usable_table_at_all_is_one_line(data: Path) -> None:
    for path in (data / "clips/t").glob("*.csv"):
        write_file(path, f"AU01_r\nx{path.name}\n")
    with pytest.raises(VferError, match="no table of OpenFace shows a face; fix the tables"):
        run(data, max_bad=1)
    with pytest.raises(DataError, match=r"lists no tables of py-feat; run `vfer data add pyfeat FOLDER`, or set features\.source"):
        run(data, source="pyfeat")


def test_tables_are_read_once_and_again_when_the_confidence_changes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VFER_STORE", str(tmp_path / "store"))
    before = run(data).joinpath("features.parquet").read_bytes()
    assert "clip store" not in capsys.readouterr().out
    assert run(data).joinpath("features.parquet").read_bytes() == before
    assert "10 from the clip store" in capsys.readouterr().out
    with pytest.raises(DataError, match="show no face"):
        run(data, confidence=0.99)


def test_the_stages_before_have_nothing_to_do_and_say_so(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, out = params(tmp_path, source="openface"), tmp_path / "outputs"
    frames.main(data / "clips.csv", config, out / "frames")
    faces.main(out / "frames" / "clips", tmp_path / "weights", config, out / "faces")
    pretrain.main(tmp_path / "absent", tmp_path / "weights", tmp_path / "absent", config, out / "pretrain")
    cnn.main(tmp_path / "absent", out / "pretrain" / "weights", tmp_path / "weights", config, out / "cnn")
    assert capsys.readouterr().out.count("nothing to do, since features.source is openface") == 3, "pretrain is off in any case"
    assert json.loads((out / "faces" / "metrics.json").read_text())["clips"] == 0
    for stage in ("frames", "faces"):
        assert [path.name for path in (out / stage / "clips").iterdir()] == ["skipped.txt"]


def test_frames_leaves_tables_out_and_refuses_a_dataset_of_tables_alone(data: Path, tmp_path: Path) -> None:
    config = params(tmp_path, source="cnn")
    jobs = frames.list_jobs(data / "clips.csv", tmp_path, frames.params.load(config, "frames", frames.FramesParams))
    assert [job.clip for job in jobs] == ["t/video"]
    lines = (data / "clips.csv").read_text().splitlines()
    (data / "clips.csv").write_text("\n".join(line for line in lines if "video" not in line))
    with pytest.raises(DataError, match=r"lists no videos, only tables of OpenFace; set features\.source: openface"):
        frames.main(data / "clips.csv", config, tmp_path / "frames")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.csv", codecs.BOM_UTF8 + text([row[6:] for row in rows()], ",").encode())
    assert tables.units(path, TOOLS["openface"]) == UNITS
