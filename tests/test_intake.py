"""Real and hostile datasets into `vfer data add`: odd names, tables of other tools, links, archives, and the public layouts."""

import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner
from videos import video

from vfer.cli.data import app
from vfer.data.catalogue import manifest
from vfer.data.readers import READERS, FoundClip, Passed, Refused, items, scan
from vfer.errors import DataError, VferError
from vfer.video import decode

# DVC reads its index through a deprecated name of pygtrie.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")
Clips = dict[str, manifest.Clip]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return video(tmp_path_factory.mktemp("video") / "a.mp4", [60, 70, 80]).read_bytes()


@pytest.fixture
def clip(tmp_path: Path, content: bytes) -> Callable[[str], Path]:
    """Make a clip of one video and bytes of its own."""

    def make(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        free = os.fsencode(name)
        path.write_bytes(content + struct.pack(">I", 8 + len(free)) + b"free" + free)
        return path

    return make


def run(tmp_path: Path, *arguments: str | Path) -> tuple[str, Clips]:
    """Add a dataset to an empty one; return what was printed, or the error, and the clips by the stem of their path."""
    data = tmp_path / "data"
    shutil.rmtree(data, ignore_errors=True)
    command = ["add", *map(str, arguments), "--no-dvc", "--data", str(data)]
    result = CliRunner().invoke(app, command, env={"COLUMNS": "300"})
    if result.exception:
        assert isinstance(result.exception, VferError), repr(result.exception)
        assert not data.exists(), "nothing was usable, and something was changed"
        assert "\n" not in str(result.exception)
        return str(result.exception), {}
    assert [path for path in data.rglob("*") if path.name.startswith(".")] == []
    return result.output, {row.clip: row for row in manifest.read(data / "clips.csv")}


def who(row: manifest.Clip) -> str:
    """A clip's subject, without the source before it."""
    return row.subject.partition("/")[2]


def by_hand(tmp_path: Path, *arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "vfer.cli", "data", "add", *map(str, arguments), "--no-dvc", "--data", str(tmp_path / "data")]
    return subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", check=False, env=os.environ | environment)


# Names


def test_names_of_any_script_are_kept_apart(tmp_path: Path, clip: Callable[[str], Path]) -> None:
    for name in ("happy/김민수_01", "happy/이지은_01", "sad/Zoë_01", "sad/Zoé_01", "sad/Zoe_01", f"sad/anna_{'x' * 230}", "sad/anna_1 (1)"):
        clip(f"ds/{name}.mp4")
    _, clips = run(tmp_path, "folder", tmp_path / "ds")
    assert len(clips) == 7
    assert {who(row) for row in clips.values()} == {"김민수", "이지은", "Zoë", "Zoé", "Zoe", "anna"}
    assert all(len(Path(row.path).name) < 150 for row in clips.values())


@pytest.mark.parametrize("locale", [{"PYTHONIOENCODING": "utf-8:strict"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_a_name_that_is_no_utf8_costs_nothing(tmp_path: Path, clip: Callable[[str], Path], locale: dict[str, str]) -> None:
    odd = os.fsdecode(b"caf\xe9")
    for name in ("happy/s1_1", f"sad/{odd}_1", f"sad/{odd}", "sad/a\x1b[31m\nb_1", "Zoë/Zoë_1"):
        clip(f"ds/{name}.mp4")
    process = by_hand(tmp_path, "folder", tmp_path / "ds", "--report", tmp_path / "report.csv", **locale)
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stdout + process.stderr
    assert "1 with names that are not UTF-8 were added" in process.stdout
    assert "2 refused" in process.stdout
    assert "\x1b" not in process.stdout
    rows = manifest.read(tmp_path / "data" / "clips.csv")
    assert {who(row) for row in rows} == {"s1", "caf\\xe9", "a\\x1b[31m\\nb"}
    assert len((tmp_path / "report.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_a_picture_under_the_name_of_a_video_is_refused(tmp_path: Path, clip: Callable[[str], Path]) -> None:
    clip("ds/happy/s1_1.mp4")
    (tmp_path / "ds" / "happy" / "s1_2.mp4").write_bytes(cv2.imencode(".jpg", np.full((60, 80), 90, np.uint8))[1].tobytes())
    output, clips = run(tmp_path, "folder", tmp_path / "ds")
    assert list(clips) == ["folder/happy/s1_1"]
    assert "s1_2.mp4: is a picture; give a video" in output


# Tables of other tools


def test_absolute_paths_name_clips_as_relative_ones_do(tmp_path: Path, clip: Callable[[str], Path]) -> None:
    paths = [clip(f"v/{word}/00{number}.mp4") for word in ("happy", "sad") for number in (1, 2)]
    lines = [f"{path},{path.parent.name},s{number}" for number, path in enumerate(paths)]
    table = tmp_path / "m.csv"
    table.write_text("\n".join(["path,expression,subject", *lines]))
    _, absolute = run(tmp_path, "manifest", table)
    table.write_text(table.read_text().replace(f"{tmp_path}/", ""))
    _, relative = run(tmp_path, "manifest", table)
    assert absolute == relative
    assert list(relative) == [f"manifest/v/{word}/00{number}" for word in ("happy", "sad") for number in (1, 2)]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "m.csv").write_text("path,expression,subject\n" + "\n".join(lines))
    assert len(run(tmp_path, "manifest", tmp_path / "sub" / "m.csv")[1]) == 4


GOOD = {
    "semicolons": b"path;expression;subject\r\na.mp4;happy;s1\r\nb.mp4;sad;s2\r\n",
    "tabs": b"path\texpression\tsubject\na.mp4\thappy\ts1\nb.mp4\tsad\ts2",
    "a mark and capitals": b"\xef\xbb\xbfPath,Expression,Subject\r\na.mp4,Happy,s1\r\nb.mp4,SAD,s2\r\n",
    "Excel's separator": b"sep=;\r\npath;expression;subject\r\na.mp4;happy;s1\r\nb.mp4;sad;s2\r\n",
    "UTF-16": "path,expression,subject\na.mp4,happy,s1\nb.mp4,sad,Zoë\n".encode("utf-16"),
    "quotes and spaces": b'"path", expression ,subject\n"a.mp4", happy ,"s1"\n\nb.mp4,sad,s2\n',
    "backslashes": b"path,expression,subject\nsub\\c.mp4,happy,s1\nb.mp4,sad,s2\n",
}


@pytest.mark.parametrize("dialect", GOOD)
def test_a_manifest_of_any_dialect_is_read(tmp_path: Path, clip: Callable[[str], Path], dialect: str) -> None:
    for name in ("a", "b", "sub/c"):
        clip(f"{name}.mp4")
    (tmp_path / "m.csv").write_bytes(GOOD[dialect])
    _, clips = run(tmp_path, "manifest", tmp_path / "m.csv")
    assert [row.expression for row in clips.values()] in (["happy", "sad"], ["sad", "happy"])


HEAD = "path,expression,subject\n"
BAD = {
    "an open quote": (f'{HEAD}b.mp4,sad,s0\n"a.mp4,happy,s1\n' + "a.mp4,happy,s2\n" * 20, "open quote in line 3, which takes in 21 lines"),
    "an open quote in a large table": (f'{HEAD}b.mp4,sad,s0\n"a.mp4,happy,s1\n' + "a.mp4,happy,s2\n" * 12000, "opened in line 3"),
    "other columns": ("file,label\na.mp4,happy\n", "has no column path, expression, subject; its first line is 'file,label'"),
    "a column twice": ("path,expression,subject,subject\na.mp4,happy,1,2\n", "has two columns subject"),
    "a comma too many": (f"{HEAD}a.mp4,happy,s1,more\n", "has 4 values in line 2"),
    "another encoding": ("path,expression,subject\na.mp4,happy,Zo\udceb\n", "is not a CSV file in UTF-8"),
    "one endless line": ("x" * (2 << 20), "has a line of more than"),
    "nothing": ("", "has no column path"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_manifest_that_cannot_be_trusted_is_refused_in_its_own_words(tmp_path: Path, clip: Callable[[str], Path], fault: str) -> None:
    clip("a.mp4"), clip("b.mp4")
    text, message = BAD[fault]
    (tmp_path / "m.csv").write_text(text, encoding="utf-8", errors="surrogateescape")
    output, _ = run(tmp_path, "manifest", tmp_path / "m.csv")
    assert message in output
    assert "nothing was changed" in output


@pytest.mark.parametrize("path", ["b\0.mp4", "0" * 300 + ".mp4", "none.mp4", "m.csv", "pipe.mp4", "loop.mp4", "empty", "locked/a.mp4"])
def test_a_row_that_leads_nowhere_costs_only_itself(tmp_path: Path, clip: Callable[[str], Path], path: str) -> None:
    clip("a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "empty").mkdir()
    (tmp_path / "m.csv").write_text(f"{HEAD}a.mp4,happy,s1\n{path},sad,s2\n")
    output, clips = run(tmp_path, "manifest", tmp_path / "m.csv")
    assert list(clips) == ["manifest/a"]
    assert "1 refused" in output


def test_clips_csv_may_not_lead_out_of_the_dataset(tmp_path: Path) -> None:
    for path in ("../a.mp4", "/etc/passwd", "clips/../../a.mp4", "clips/a\n.mp4"):
        row = manifest.Clip("toy/a", path, "happy", "s", "toy/a", "toy")
        manifest.write(tmp_path / "clips.csv", [row])
        with pytest.raises(DataError, match=r"clips\.csv:\d: path .* leads out of the dataset"):
            manifest.read(tmp_path / "clips.csv")


# Folders, links and archives


def test_links_to_folders_are_followed_and_loops_noticed(tmp_path: Path, clip: Callable[[str], Path]) -> None:
    clip("ds/happy/s1_1.mp4"), clip("elsewhere/s2_1.mp4")
    (tmp_path / "ds" / "sad").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "ds" / "happy" / "up").symlink_to(tmp_path / "ds")
    (tmp_path / "ds" / "sad again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "ds" / "happy" / "gone_1.mp4").symlink_to(tmp_path / "nowhere.mp4")
    os.mkfifo(tmp_path / "ds" / "happy" / "pipe_1.mp4")
    output, clips = run(tmp_path, "folder", tmp_path / "ds")
    assert {(row.expression, who(row)) for row in clips.values()} == {("happy", "s1"), ("sad", "s2")}
    assert output.count("which was read already") == 2
    assert "is a broken link" in output
    assert "is not a regular file" in output


def test_a_folder_that_may_not_be_read_costs_only_itself(
    tmp_path: Path, clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip("ds/happy/s1_1.mp4"), clip("ds/sad/s2_1.mp4")
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        if path.parent.name == "sad":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    entries, refusals = scan([tmp_path / "ds"])
    assert [entry.name for entry in entries] == ["s1_1.mp4"]
    assert [item.reason for item in refusals] == ["cannot be read (Permission denied)"]


@pytest.mark.parametrize(
    ("name", "remedy"), [("a.rar", "unrar x a.rar"), ("a.tar.gz", "tar -xf a.tar.gz"), ("a.tgz", "tar -xf"), ("a.7z", "7z x")]
)
def test_another_archive_is_refused_with_what_to_do(tmp_path: Path, clip: Callable[[str], Path], name: str, remedy: str) -> None:
    clip("ds/happy/s1_1.mp4")
    (tmp_path / name).write_bytes(b"Rar!")
    output, _ = run(tmp_path, "folder", tmp_path / "ds", tmp_path / name)
    assert remedy in output
    (tmp_path / name).rename(tmp_path / "ds" / name)
    output, clips = run(tmp_path, "folder", tmp_path / "ds")
    assert remedy in output
    assert len(clips) == 1


def test_a_zip_in_a_zip_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("happy/s1_1.mp4", content)
        archive.writestr("Actor_01.zip", b"PK")
    output, clips = run(tmp_path, "folder", tmp_path / "a.zip")
    assert "is an archive inside a zip; unpack a.zip" in output
    assert len(clips) == 1


def test_a_zip_bomb_costs_neither_memory_nor_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scan.__globals__, "SMALL", 1 << 20)
    monkeypatch.setattr(items, "MAX_READ", 1 << 20)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("happy/s1_1.mp4", bytes(30 << 20))
        archive.writestr("train/happy/Training_1.png", bytes(30 << 20))
    output, _ = run(tmp_path, "folder", tmp_path / "a.zip")
    assert "unpacks to 30 MiB" in output
    (tmp_path / "train/happy").mkdir(parents=True)
    (tmp_path / "train/happy/Training_1.png").write_bytes(bytes(2 << 20))
    assert "is larger than 1 MiB" in run(tmp_path, "fer2013", tmp_path / "train")[0]


BOMB = """
import re, sys
from pathlib import Path
from vfer.cli.data import app
from vfer.errors import VferError
try:
    app(["add", "fer2013", sys.argv[1], "--no-dvc", "--data", sys.argv[2]])
except VferError as error:
    print(error)
finally:
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.parametrize("name", ["train/happy/Training_1.png", "fer2013.csv"])
def test_a_small_file_that_unpacks_to_much_takes_no_memory(tmp_path: Path, name: str) -> None:
    """A picture of 12,000 x 12,000 zeros in 0.2 MB, and a table that is one line of 300 MB."""
    big = bytes(cv2.imencode(".png", np.zeros((12000, 12000), np.uint8))[1]) if name.endswith("png") else None
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        if big:
            archive.writestr(name, big)
        else:
            with archive.open(name, "w", force_zip64=True) as stream:
                stream.write(b"emotion,pixels,Usage\n0,")
                for _ in range(150):
                    stream.write(b"1 " * (1 << 20))
    assert (tmp_path / "a.zip").stat().st_size < 1e6
    command = [sys.executable, "-c", BOMB, str(tmp_path / "a.zip"), str(tmp_path / "data")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = process.stdout.splitlines()
    assert "nothing was changed" in lines[-2], process.stderr
    assert int(lines[-1]) < 400_000  # kilobytes, of which Python with its libraries takes most


# The layouts


def items_in(reader: str, root: Path) -> tuple[dict[str, FoundClip], list[str], list[str]]:
    entries, refusals = scan([root])
    items = [*refusals, *READERS[reader].read(entries)]
    clips = {item.name: item for item in items if isinstance(item, FoundClip)}
    return clips, [i.reason for i in items if isinstance(i, Refused)], [i.reason for i in items if isinstance(i, Passed)]


LAYOUTS = {
    "cremad": (
        [
            "VideoFlash/1001_DFA_ANG_XX.flv",
            "VideoFlash/1002_IEO_HAP_LO.flv",
            "AudioWAV/1001_DFA_ANG_XX.wav",
            "VideoFlash/1001_DFA_ODD_XX.flv",
        ],
        {"1001_DFA_ANG_XX": ("angry", "cremad/1001"), "1002_IEO_HAP_LO": ("happy", "cremad/1002")},
        (1, 1),
    ),
    "savee": (
        ["AudioVisualClip/DC/a1.avi", "AudioVisualClip/KL/sa15.avi", "x/JK_su02.avi", "AudioData/DC/a1.wav", "y/a01.avi", "README.txt"],
        {"DC/a01": ("angry", "savee/DC"), "KL/sa15": ("sad", "savee/KL"), "JK/su02": ("surprise", "savee/JK")},
        (1, 2),
    ),
    "mead": (
        [
            "M003/video/front/angry/level_1/001.mp4",
            "M003/video/left_30/angry/level_1/001.mp4",
            "M003/audio/angry/level_1/001.m4a",
            "b/c.mp4",
        ],
        {"M003/front_angry_level_1_001": ("angry", "mead/M003"), "M003/left_30_angry_level_1_001": ("angry", "mead/M003")},
        (1, 1),
    ),
    "afew": (["Train_AFEW/Angry/000046280.avi"], {"Angry/000046280": ("Angry", "afew/000046280")}, (0, 0)),
}


@pytest.mark.parametrize("reader", LAYOUTS)
def test_a_public_layout_gives_expression_and_subject(tmp_path: Path, reader: str) -> None:
    files, expected, (refusals, passes) = LAYOUTS[reader]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    clips, reasons, others = items_in(reader, tmp_path)
    assert {name: (item.expression, item.subject) for name, item in clips.items()} == expected
    assert (len(reasons), len(others)) == (refusals, passes)
    if reader == "mead":
        assert len({item.recording for item in clips.values()}) == 1, "two views of one performance"


def pictures(folder: Path, names: list[str], size: tuple[int, int] = (40, 30)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        shade = np.full(size[::-1], 40 + 15 * number, np.uint8)
        shade[0, : len(folder.name)] = list(folder.name.encode())  # no two folders hold the same pictures
        (folder / name).write_bytes(bytes(cv2.imencode(Path(name).suffix, shade)[1]))


def test_dfew_takes_its_labels_from_the_tables(tmp_path: Path) -> None:
    (tmp_path / "set_1.csv").write_text("video_name,label\n1,1\n00002,6\n4,9\n")
    assert items_in("dfew", tmp_path)[1] == ["holds a label that is not between 1 and 7, or a name that is not a number: 9"]
    (tmp_path / "set_1.csv").write_text("video_name,label\n1,1\n00002,6\n")
    (tmp_path / "original").mkdir()
    for number in (1, 3):
        (tmp_path / "original" / f"{number}.mp4").write_bytes(b"")
    pictures(tmp_path / "clip_224x224" / "00002", ["00002_0001.jpg", "00002_0002.jpg"])
    clips, refusals, passes = items_in("dfew", tmp_path)
    assert {name: (item.expression, item.framing) for name, item in clips.items()} == {
        "00001": ("happy", None),
        "00002": ("disgust", "face"),
    }
    assert (refusals, passes) == ([], ["clip without a single label"])
    (tmp_path / "set_1.csv").unlink()
    assert "no table of labels" in items_in("dfew", tmp_path)[1][0]


def test_a_folder_of_numbered_pictures_is_a_clip(tmp_path: Path) -> None:
    pictures(tmp_path / "ds/happy/anna_1", [f"img{number}.png" for number in range(1, 13)])
    pictures(tmp_path / "ds/P002/Sadness", ["000.jpeg", "001.jpeg", "002.jpeg"])
    pictures(tmp_path / "ds/NI_Acropped/Strong/P001/Anger", ["000.jpeg", "001.jpeg"])
    pictures(tmp_path / "ds/VL_Acropped/Strong/P001/Anger", ["000.jpeg", "001.jpeg"])
    pictures(tmp_path / "ds/happy/bob_1", ["1.png"])
    pictures(tmp_path / "ds/happy/carl_1", ["1.png"])
    pictures(tmp_path / "ds/happy/carl_1", ["2.png"], size=(50, 30))
    output, clips = run(tmp_path, "sequences", tmp_path / "ds", "--framing", "face", "--fps", "25")
    labels = {name: (row.expression, who(row), row.framing) for name, row in clips.items()}
    assert labels == {
        "sequences/happy/anna_1": ("happy", "anna", "face"),
        "sequences/P002/Sadness": ("sad", "P002", "face"),
        "sequences/NI_Acropped/Strong/P001/Anger": ("angry", "P001", "face"),
        "sequences/VL_Acropped/Strong/P001/Anger": ("angry", "P001", "face"),
    }
    assert len({row.recording for row in clips.values()}) == 3, "two cameras saw one performance"
    assert "differ in size" in output
    frames = list(decode.frames(tmp_path / "data" / clips["sequences/happy/anna_1"].path))
    assert [int(np.median(frame.grey)) for frame in frames] == [40 + 15 * n for n in range(12)], "10 comes after 9"
    assert frames[1].time == pytest.approx(0.04)
    first = (tmp_path / "data" / clips["sequences/happy/anna_1"].path).read_bytes()
    _, again = run(tmp_path, "sequences", tmp_path / "ds", "--fps", "25")
    assert (tmp_path / "data" / again["sequences/happy/anna_1"].path).read_bytes() == first


def test_a_coding_table_labels_sequences(tmp_path: Path) -> None:
    """CASME II writes subjects as 1 in its table and as sub01 in its folders."""
    for name in ("sub01/EP02_01f", "sub02/EP02_02f", "sub02/EP09_01"):
        pictures(tmp_path / "ds" / name, ["img46.jpg", "img47.jpg"])
    (tmp_path / "ds/coding.csv").write_text(
        "Subject,Filename,OnsetFrame,Estimated Emotion\n1,EP02_01f,46,happiness\n02,EP02_02f,46,disgust\n"
    )
    output, clips = run(tmp_path, "sequences", tmp_path / "ds")
    assert {name: row.expression for name, row in clips.items()} == {
        "sequences/sub01/EP02_01f": "happy",
        "sequences/sub02/EP02_02f": "disgust",
    }
    assert "1 skipped: a sequence that the table does not list" in output


def test_a_manifest_may_name_folders_of_pictures(tmp_path: Path) -> None:
    pictures(tmp_path / "mmi/S001-001", ["1.png", "2.png", "10.png"])
    (tmp_path / "m.csv").write_text(f"{HEAD}mmi/S001-001,happy,S001\n")
    _, clips = run(tmp_path, "manifest", tmp_path / "m.csv")
    assert list(clips) == ["manifest/mmi/S001-001"]
    assert clips["manifest/mmi/S001-001"].path.endswith(".mkv")


# What the dataset becomes


def test_the_framing_is_the_users_where_the_dataset_does_not_say(tmp_path: Path, clip: Callable[[str], Path]) -> None:
    clip("ds/happy/s1_1.mp4"), clip("b.mp4"), clip("c.mp4")
    assert run(tmp_path, "folder", tmp_path / "ds")[1]["folder/happy/s1_1"].framing == "scene"
    assert run(tmp_path, "folder", tmp_path / "ds", "--framing", "face")[1]["folder/happy/s1_1"].framing == "face"
    (tmp_path / "m.csv").write_text("path,expression,subject,framing\nb.mp4,sad,s,scene\nc.mp4,sad,s,\n")
    _, clips = run(tmp_path, "manifest", tmp_path / "m.csv", "--framing", "face")
    assert [row.framing for row in clips.values()] == ["scene", "face"]


@pytest.mark.parametrize(
    ("names", "doubtful"),
    [
        (["happy/happy_1", "happy/happy_2", "sad/sad_1", "sad/sad_2"], True),
        (["happy/h_1", "happy/h_2", "sad/s_1", "sad/s_2"], True),
        (["happiness/happy_1", "sad/anna_2", "happy/anna_2"], True),
        (["happy/anna_1", "happy/bob_2", "sad/anna_1", "sad/bob_2"], False),
        (["happy/anna_1", "sad/bob_1"], False),
        (["happy/anna_1", "happy/anna_2"], False),
    ],
)
def test_subjects_that_are_classes_are_told(tmp_path: Path, clip: Callable[[str], Path], names: list[str], doubtful: bool) -> None:
    for name in names:
        clip(f"ds/{name}.mp4")
    assert ("look like expressions" in run(tmp_path, "folder", tmp_path / "ds")[0]) == doubtful


def test_a_dataset_that_names_nobody_is_told(tmp_path: Path, clip: Callable[[str], Path]) -> None:
    clip("Train_AFEW/Angry/000046280.avi")
    assert "AFEW does not name subjects" in run(tmp_path, "afew", tmp_path / "Train_AFEW")[0]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from dvc.repo import Repo

    root = tmp_path / "repository"
    root.mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    Repo.init(str(root)).close()
    monkeypatch.chdir(root)
    return root


def refuse(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["add", *map(str, arguments)])
    assert isinstance(result.exception, DataError), result.output
    return str(result.exception)


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_link_in_place_of_the_dataset_is_refused_before_anything_changes(
    repository: Path, tmp_path: Path, clip: Callable[[str], Path]
) -> None:
    clip("ds/happy/s1_1.mp4")
    (tmp_path / "disk/data").mkdir(parents=True)
    (tmp_path / "disk/data/clips.csv").write_text("theirs")
    (repository / "data").symlink_to(tmp_path / "disk/data")
    line = refuse("folder", tmp_path / "ds")
    assert "dvc cache dir" in line
    assert tree(tmp_path / "disk") == {"data/clips.csv": b"theirs"}
    assert not (repository / "data.dvc").exists()


@pytest.mark.parametrize("name", [".", "data", "data.dvc", ".dvc/tmp", ".dvc/cache"])
def test_what_may_not_be_written_is_refused_before_anything_changes(
    repository: Path, tmp_path: Path, clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    clip("ds/happy/s1_1.mp4")
    assert CliRunner().invoke(app, ["add", "folder", str(tmp_path / "ds")]).exit_code == 0
    before, target, may = tree(repository), (repository / name).resolve(), os.access

    def access(path: Path, mode: int) -> bool:  # root may write anything
        return may(path, mode) and not (mode == os.W_OK and Path(path).resolve() == target)

    monkeypatch.setattr(os, "access", access)
    clip("ds/sad/s2_1.mp4")
    assert "cannot be written; allow writing there" in refuse("folder", tmp_path / "ds")
    assert tree(repository) == before


def test_a_broken_pointer_is_told_before_anything_changes(repository: Path, tmp_path: Path, clip: Callable[[str], Path]) -> None:
    clip("ds/happy/s1_1.mp4")
    (repository / "data.dvc").write_text("outs: no\n")
    (repository / "data").mkdir()
    assert "restore it with `git checkout data.dvc`" in refuse("folder", tmp_path / "ds")
    assert list((repository / "data").iterdir()) == []


def test_a_report_that_cannot_be_written_is_told_first(repository: Path, tmp_path: Path, clip: Callable[[str], Path]) -> None:
    clip("ds/happy/s1_1.mp4")
    assert "does not exist" in refuse("folder", tmp_path / "ds", "--report", tmp_path / "none" / "r.csv")
    assert not (repository / "data").exists()
