"""The readers, the stills table, and the encoding of picture sequences."""

import csv
import json
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from vfer.data.catalogue import stills
from vfer.data.catalogue.manifest import NAME
from vfer.data.readers import READERS, FoundClip, FoundStill, Item, Passed, Refused, expression, scan
from vfer.data.readers.items import safe
from vfer.data.readers.video import encode, probe
from vfer.errors import ClipError, DataError

HOME = Path(__file__).resolve().parents[1]
RNG = np.random.default_rng(7)


def picture(shape: tuple[int, ...] = (48, 48), suffix: str = ".png") -> bytes:
    return bytes(cv2.imencode(suffix, RNG.integers(0, 256, shape, dtype=np.uint8))[1])


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def read_items(reader: str, *paths: Path) -> list[Item]:
    entries, refusals = scan(paths)
    return [*refusals, *READERS[reader].read(entries)]


def clips(items: Iterable[Item]) -> list[FoundClip]:
    return [item for item in items if isinstance(item, FoundClip)]


def stills_in(items: Iterable[Item]) -> list[FoundStill]:
    return [item for item in items if isinstance(item, FoundStill)]


def reasons(items: Iterable[Item], kind: type[Refused] | type[Passed] = Refused) -> list[str]:
    return [item.reason for item in items if isinstance(item, kind)]


def pixels(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray() for frame in container.decode(video=0)])


def row(**values: object) -> dict[str, object]:
    return {"still": "a/1", "expression": "happy", "usage": "train", "source": "a", "subject": None, "image": picture()} | values


# Expressions


@pytest.mark.parametrize(
    ("word", "meaning"), [("anger", "angry"), (" Fearful ", "fear"), ("Sadness", "sad"), ("happiness", "happy"), ("calm", "calm")]
)
def test_synonyms_become_the_one_word(word: str, meaning: str) -> None:
    assert expression(word) == meaning


def test_an_unknown_expression_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"'drowsy' is unknown; known are neutral, calm, .*contempt; add your own with --expressions"):
        expression("drowsy")
    assert expression("Drowsy", ["drowsy"]) == "drowsy"


def test_safe_names_cannot_leave_their_folder() -> None:
    assert safe("../../etc/passwd").startswith("etc_passwd-")
    assert safe("..") == ""
    assert safe("a take.2") == "a_take.2"
    assert safe("Zoë (1)").startswith("Zoe__1-")


ODD = ["김민수_01", "이지은_01", "Zoë_01", "Zoé_01", "Zoe_01", "a(1)", "a[1]", "x" * 150, "x" * 151, "caf\udce9", "caf\udce8", "~"]


def test_names_that_differ_stay_different_and_short() -> None:
    names = [safe(text) for text in ODD]
    assert len(set(names)) == len(ODD)
    assert all(NAME.fullmatch(name) and len(name) < 120 for name in names)
    assert safe("Zoe\u0308_01") == safe("Zo\u00eb_01"), "composed or not, it is one name"


# Scanning


def test_scan_reads_folders_and_the_zips_in_them_in_order(tmp_path: Path) -> None:
    put(tmp_path, {"b/x.txt": b"x", "a/y.txt": b"y", ".hidden/z.txt": b"z", "__x/.DS_Store": b""})
    pack(tmp_path / "c.zip", {"in/w.txt": b"w", "__MACOSX/in/w.txt": b"no", "in/.w": b"no"})
    entries, refusals = scan([tmp_path])
    assert [(entry.name, entry.read()) for entry in entries] == [("w.txt", b"w"), ("y.txt", b"y"), ("x.txt", b"x")]
    assert entries[0].folder() == "in"
    assert entries[0].folder(2) == "c"
    assert not refusals


def test_scan_names_a_missing_path_a_broken_zip_and_a_file_given_twice(tmp_path: Path) -> None:
    put(tmp_path, {"half.zip": b"PK\x03\x04 cut off", "x.txt": b"x"})
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        scan([tmp_path / "nowhere"])
    entries, refusals = scan([tmp_path, tmp_path / "x.txt"])
    assert [entry.name for entry in entries] == ["x.txt"]
    assert [item.reason.split(";")[0][:22] for item in refusals] == ["is not a readable zip ", "is given twice"]


# FER2013


def test_fer2013_folders_give_the_official_usages(tmp_path: Path) -> None:
    names = [
        "train/angry/Training_1.jpg",
        "test/angry/PublicTest_2.jpg",
        "test/angry/PrivateTest_3.jpg",
        "test/happy/im0.png",
        "readme.txt",
        "stray.jpg",
    ]
    files = {name: picture(suffix=Path(name).suffix) if "readme" not in name else b"" for name in names}
    items = read_items("fer2013", put(tmp_path / "fer", files))
    expected = [
        ("test/angry/PrivateTest_3", "angry", "test"),
        ("test/angry/PublicTest_2", "angry", "validation"),
        ("test/happy/im0", "happy", "test"),
        ("train/angry/Training_1", "angry", "train"),
    ]
    assert sorted((item.name, item.expression, item.usage) for item in stills_in(items)) == expected
    assert reasons(items) == ["lies in no <train or test>/<class>/ folder"]
    assert reasons(items, Passed) == ["neither a picture nor a CSV file"]
    from_zip = read_items("fer2013", pack(tmp_path / "fer.zip", files))
    assert sorted(item.name for item in stills_in(from_zip)) == [name for name, _, _ in expected]


@pytest.mark.parametrize("header", [("emotion", "pixels", "Usage"), ("emotion", " Usage", " pixels")])
def test_fer2013_csv_keeps_every_pixel(tmp_path: Path, header: tuple[str, ...]) -> None:
    image = RNG.integers(0, 256, (48, 48), dtype=np.uint8)
    values = {"emotion": "6", "pixels": " ".join(map(str, image.ravel())), "Usage": "PublicTest"}
    with (tmp_path / "fer.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header, [values[column.strip()] for column in header]])
    (item,) = stills_in(read_items("fer2013", tmp_path / "fer.csv"))
    assert (item.name, item.expression, item.usage) == ("00001", "neutral", "validation")
    assert np.array_equal(stills.grey(item.read()), image)


def test_fer2013_csv_rows_that_are_wrong_are_refused_with_their_line(tmp_path: Path) -> None:
    full = " ".join(["9"] * 2304)
    lines = [
        "emotion,pixels,Usage",
        f"7,{full},Training",
        f"0,{full},Later",
        "0,1 2 3,Training",
        f"0,{full[:-1]}x,Training",
        f"0,{full}99,Training",
        "0",
    ]
    (tmp_path / "fer.csv").write_text("\n".join(lines))
    with warnings.catch_warnings(action="error"):
        items = read_items("fer2013", tmp_path / "fer.csv")
    assert [item.origin.rpartition(":")[2] for item in items if isinstance(item, Refused)] == ["2", "3", "4", "5", "6", "7"]
    assert [reason.split()[0] for reason in reasons(items)] == ["emotion", "Usage", "pixels", "pixels", "pixels", "is"]
    assert not stills_in(items)


# FER+

WORDS = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
FULL = " ".join(["9"] * 2304)


def fer_files(folder: Path, votes: Iterable[str], rows: Iterable[str], header: str = f"Usage,Image name,{WORDS}") -> tuple[Path, Path]:
    """Write both files; a row of votes is what follows the image's name, a row of FER2013 its emotion and its usage."""
    first = folder / "fer2013new.csv"
    first.write_text("\n".join([header, *(f"{line.partition(',')[0]},fer.png,{line.partition(',')[2]}" for line in votes)]) + "\n")
    second = folder / "fer2013.csv"
    second.write_text(
        "\n".join(["emotion,pixels,Usage", *(f"{emotion},{FULL},{usage}" for emotion, usage in (row.split() for row in rows))])
    )
    return first, second


def test_ferplus_gives_each_row_of_fer2013_its_votes(tmp_path: Path) -> None:
    votes = [
        "Training,4,0,0,1,3,2,0,0,0,0",
        "PublicTest,0,0,0,0,0,0,0,2,8,0",
        "PrivateTest,0,0,0,0,0,0,0,0,4,5",
        "Training,0,0,0,0,0,0,0,0,5,5",
    ]
    both = fer_files(tmp_path, votes, ["0 Training", "6 PublicTest", "3 PrivateTest", "4 Training"])
    items = read_items("ferplus", *both)
    assert [(item.name, item.expression, item.usage, item.votes) for item in stills_in(items)] == [
        ("00001", "angry", "train", {"neutral": 4, "sadness": 1, "anger": 3, "disgust": 2}),
        ("00002", "neutral", "validation", {"contempt": 2}),
        ("00004", "sad", "train", None),  # no face to half of them, and no expression to the other half
    ]
    assert reasons(items, Passed) == ["no face, according to most annotators of FER+"]
    assert [item.votes for item in stills_in(read_items("ferplus", *both[::-1]))] == [item.votes for item in stills_in(items)]


@pytest.mark.parametrize(
    ("votes", "rows", "reason"),
    [
        (
            ["Training,9,0,0,0,0,0,0,0,0,1"],
            ["0 Training", "0 Training"],
            "has 1 rows, fer2013.csv has 2; give both files as they were published",
        ),
        (["Training,9,0,0,0,0,0,0,0,0,1"] * 2, ["0 Training"], "has 2 rows, fer2013.csv has 1; give both files as they were published"),
        (["PublicTest,9,0,0,0,0,0,0,0,0,1"], ["0 Training"], "has Usage 'PublicTest', "),
        (["Later,9,0,0,0,0,0,0,0,0,1"], ["0 Training"], "has Usage 'Later', "),
        (["Training,0,0,0,0,0,0,0,0,0,0"], ["0 Training"], "has no votes"),
        (["Training,9,0,0"], ["0 Training"], "is cut off"),
        (["Training,9,0,0,x,0,0,0,0,0,1"], ["0 Training"], "sadness 'x' is not a count of votes"),
        (["Training,9,0,0,-1,0,0,0,0,0,1"], ["0 Training"], "sadness '-1' is not a count of votes"),
        (["Training,9,0,0,0,0,0,0,0,0,1"], ["8 Training"], "emotion '8' is not between 0 and 6"),
    ],
)
def test_ferplus_that_does_not_fit_its_rows_is_refused_in_one_line(tmp_path: Path, votes: list[str], rows: list[str], reason: str) -> None:
    items = read_items("ferplus", *fer_files(tmp_path, votes, rows))
    assert not stills_in(items)
    assert len(items) == 1
    assert reasons(items)[0].startswith(reason)
    assert "\n" not in reasons(items)[0]


def test_ferplus_needs_both_files_and_says_so(tmp_path: Path) -> None:
    votes, rows = fer_files(tmp_path, ["Training,9,0,0,0,0,0,0,0,0,1"], ["0 Training"])
    folders = put(tmp_path / "folders", {"train/angry/Training_1.jpg": picture(suffix=".jpg")})
    items = read_items("ferplus", votes, folders)
    assert [reason.partition(";")[2] for reason in reasons(items)] == [
        " give it with fer2013.csv or icml_face_data.csv, whose rows it refers to and which folders of pictures do not keep"
    ]
    assert reasons(items, Passed) == ["no CSV file; FER+ refers to the rows of fer2013.csv or icml_face_data.csv"]
    assert reasons(read_items("ferplus", rows)) == ["has pictures but no votes; give fer2013new.csv too, or add it with the reader fer2013"]
    (tmp_path / "icml_face_data.csv").write_bytes(rows.read_bytes())
    both = read_items("ferplus", votes, rows, tmp_path / "icml_face_data.csv")
    assert len(stills_in(both)) == 1
    assert reasons(both) == ["is a second file beside fer2013.csv of the same kind; give one"]


def test_ferplus_refuses_other_tables_and_what_is_no_table(tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": b"Usage,happiness\nTraining,3\n", "b.csv": b"pixels\n1 2\n", "c.csv": b"\xff\xfe\x00"})
    assert [reason[:31] for reason in reasons(read_items("ferplus", tmp_path))] == [
        "has no column neutral, surprise",
        "has no column emotion, usage; e",
        "is not a CSV file in UTF-8: 'ut",
    ]
    votes, rows = fer_files(put(tmp_path / "good", {"x": b""}), ["Training,9,0,0,0,0,0,0,0,0,1"], ["0 Training"])
    rows.write_bytes(rows.read_bytes() + b"\n0,\xff,Training")
    assert "is not a CSV file in UTF-8" in reasons(read_items("ferplus", votes, rows))[0]


# RAVDESS


def test_ravdess_twins_share_a_recording_and_audio_is_passed_over(tmp_path: Path) -> None:
    names = ["Actor_12/01-01-06-01-02-01-12.mp4", "Actor_12/02-01-06-01-02-01-12.mp4", "Actor_12/03-01-06-01-02-01-12.wav"]
    items = read_items("ravdess", pack(tmp_path / "Video_Speech_Actor_12.zip", dict.fromkeys(names, b"")))
    first, second = clips(items)
    assert (first.name, first.expression, first.subject) == ("01-01-06-01-02-01-12", "fearful", "ravdess/12")
    assert first.recording == second.recording == "ravdess/01-06-01-02-01-12"
    assert reasons(items, Passed) == ["audio only"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("holiday.mp4", "its name has 1 fields, not 7"),
        ("01-01-09-01-01-01-01.mp4", "emotion '09' is not between 01 and 08"),
        ("01-01-01-01-01-01-25.mp4", "actor '25' is not between 01 and 24"),
        ("03-01-01-01-01-01-01.mp4", "modality 03 is audio only"),
        ("01-01-01-01-01-01-1.mp4", "actor '1' is not"),
    ],
)
def test_ravdess_refuses_a_wrong_name_with_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    items = read_items("ravdess", put(tmp_path, {name: b""}))
    assert reasons(items)[0].startswith(reason)
    assert not clips(items)


# CK+


def test_ckplus_48_sequences_become_lossless_clips(tmp_path: Path) -> None:
    frames = RNG.integers(0, 256, (3, 48, 48), dtype=np.uint8)
    names = [f"CK+48/anger/S010_004_000000{number}.png" for number in (19, 17, 18)]  # given out of order
    files = {name: bytes(cv2.imencode(".png", frames[int(name[-5]) - 7])[1]) for name in names}
    (clip,) = clips(read_items("ckplus", pack(tmp_path / "ck.zip", files)))
    assert (clip.name, clip.expression, clip.subject, clip.recording, clip.framing) == (
        "S010_004",
        "anger",
        "ckplus/S010",
        "ckplus/S010_004",
        "face",
    )
    clip.save(tmp_path / "clip.mkv")
    assert np.array_equal(pixels(tmp_path / "clip.mkv"), frames)


def test_ckplus_full_sequences_take_their_labels_and_leave_out_the_rest(tmp_path: Path) -> None:
    files = {f"cohn-kanade-images/S010/00{s}/S010_00{s}_0000000{f}.png": picture((49, 64)) for s in (1, 2, 3) for f in (1, 2)}
    labels = {
        "Emotion/S010/001/S010_001_00000002_emotion.txt": b"   7.0000000e+00\n",
        "Emotion/S010/003/S010_003_00000002_emotion.txt": b"x",
    }
    items = read_items("ckplus", pack(tmp_path / "images.zip", files), put(tmp_path / "labels", labels))
    (clip,) = clips(items)
    assert (clip.name, clip.expression, clip.framing) == ("S010_001", "surprise", None)
    assert reasons(items, Passed) == ["sequence without an emotion label"]
    assert reasons(items) == ["holds no emotion label from 0 to 7"]
    clip.save(tmp_path / "clip.mkv")
    assert pixels(tmp_path / "clip.mkv").shape == (2, 49, 64)


def test_ckplus_refuses_frames_of_another_size_and_broken_ones(tmp_path: Path) -> None:
    files = {"happy/S010_004_00000001.png": picture((50, 50)), "happy/S011_004_00000001.png": b"no picture", "happy/me.png": b""}
    items = read_items("ckplus", put(tmp_path, files))
    assert reasons(items) == ["its name is not S<actor>_<sequence>_<frame>.png"]
    for clip, reason in zip(clips(items), ["is not 48x48", "cannot be decoded"], strict=True):
        with pytest.raises(ClipError, match=reason):
            clip.save(tmp_path / "clip.mkv")


def test_encoding_is_lossless_deterministic_and_at_ten_frames_a_second(tmp_path: Path) -> None:
    frames = RNG.integers(0, 256, (5, 30, 50), dtype=np.uint8)
    for name in ("a", "b"):
        encode(tmp_path / name, list(frames))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert np.array_equal(pixels(tmp_path / "a"), frames)
    with av.open(str(tmp_path / "a")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_probe_refuses_what_is_no_video(tmp_path: Path) -> None:
    encode(tmp_path / "good", [np.zeros((8, 8), np.uint8)])
    probe(tmp_path / "good")
    put(tmp_path, {"empty": b"", "text": b"hello" * 99})
    with av.open(str(tmp_path / "sound"), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    for name, reason in [("empty", "is empty"), ("text", "cannot be decoded"), ("sound", "no video format")]:
        with pytest.raises(ClipError, match=reason):
            probe(tmp_path / name)


# Folders and manifests of one's own


def test_folder_takes_expression_and_subject_from_the_name(tmp_path: Path) -> None:
    items = read_items(
        "folder", put(tmp_path, {"happy/anna_1.mp4": b"", "happy/bob.mp4": b"", "happy/notes.txt": b"", "sad/Zoë_2 (1).MOV": b""})
    )
    assert [(clip.name, clip.expression, clip.subject, clip.suffix) for clip in clips(items)] == [
        ("happy/anna_1", "happy", "anna", ".mp4"),
        (safe("sad") + "/" + safe("Zoë_2 (1)"), "sad", "Zoë", ".mov"),
    ]
    assert len(reasons(items)) == 1
    assert reasons(items)[0].startswith("names no subject")


def test_manifest_reads_paths_relative_to_itself(tmp_path: Path) -> None:
    put(tmp_path, {"videos/a.mp4": b"a", "videos/b.mp4": b"b", "videos/c.txt": b"c"})
    lines = [
        "path,expression,subject,recording,clip,source,framing",
        "../videos/a.mp4,happy,anna,r1,mine/first,mine,face",
        "../videos/b.mp4,sad,bob,,,,",
        "../videos/none.mp4,sad,bob,,,,",
        "../videos/c.txt,sad,bob,,,,",
        "../videos/b.mp4,,bob,,,,",
        "../videos/b.mp4,sad,bob,,,,close",
    ]
    items = read_items("manifest", put(tmp_path / "sub", {"my.csv": "\n".join(lines).encode()}))
    first, second = clips(items)
    assert (first.name, first.source, first.recording, first.framing) == ("first", "mine", "r1", "face")
    assert (second.name, second.source, second.recording, second.framing) == ("videos/b", None, None, None)
    second.save(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"b"
    assert [reason[:24] for reason in reasons(items)] == [
        "../videos/none.mp4: no s",
        "../videos/c.txt is not a",
        "expression is empty",
        "framing 'close' is unkno",
    ]


def test_a_manifest_without_its_columns_is_refused(tmp_path: Path) -> None:
    items = read_items("manifest", put(tmp_path, {"my.csv": b"file,label\na.mp4,happy\n"}))
    assert reasons(items) == ["has no column path, expression, subject; its first line is 'file,label', expected path, expression, subject"]


# Stills


def test_stills_are_written_sorted_and_the_same_every_time(tmp_path: Path) -> None:
    rows = [row(still=f"a/{number}", image=picture()) for number in range(5)]
    stills.write(tmp_path / "a.parquet", pa.Table.from_pylist(rows, stills.SCHEMA))
    stills.write(tmp_path / "b.parquet", pa.Table.from_pylist(rows[::-1], stills.SCHEMA))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    table = stills.read(tmp_path / "a.parquet")
    assert table.schema.equals(stills.SCHEMA)
    assert table["still"].to_pylist() == [f"a/{number}" for number in range(5)]
    assert stills.decode(table).shape == (5, 48, 48)
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "holds no stills"),
        ([row(usage="later")], "usage 'later' is unknown"),
        ([row(votes=[("happy", 3), ("sad", -1)])], "votes of a/1 are not counts; fix them"),
        ([row(votes=[("happy", None)])], "votes of a/1 are not counts; fix them"),
        ([row(), row()], "still a/1 appears twice"),
        ([row(image=b"x")], "a/1: is not grey and 48x48"),
        ([row(image=b"")], "a/1: is not grey and 48x48"),
        ([row(image=picture((40, 40)))], "a/1: is not grey and 48x48"),
        ([row(image=picture((48, 48, 3)))], "a/1: is not grey and 48x48"),
    ],
)
def test_wrong_stills_are_refused_in_one_line(tmp_path: Path, rows: list[dict[str, object]], reason: str) -> None:
    stills.write(tmp_path / "stills.parquet", pa.Table.from_pylist(rows, stills.SCHEMA))
    with pytest.raises(DataError, match=rf"stills.parquet: {reason}") as excinfo:
        stills.read(tmp_path / "stills.parquet")
    assert "\n" not in str(excinfo.value)


def test_other_files_are_no_stills(tmp_path: Path) -> None:
    path = tmp_path / "stills.parquet"
    with pytest.raises(DataError, match="does not exist"):
        stills.read(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="is not a table of stills"):
        stills.read(path)
    pq.write_table(pa.table({"still": ["a"]}), path)
    with pytest.raises(DataError, match="has no column expression, usage"):
        stills.read(path)
    pq.write_table(pa.table({name: ["a"] if name != "image" else [3] for name in stills.SCHEMA.names}), path)
    with pytest.raises(DataError, match="is not a table of stills"):
        stills.read(path)


def test_a_still_that_fits_keeps_its_bytes_and_others_are_converted() -> None:
    for suffix in (".jpg", ".png"):
        data = picture(suffix=suffix)
        assert stills.normalise(data) == (data, False)
    flat = np.full((96, 96, 3), (10, 200, 30), np.uint8)
    data, converted = stills.normalise(bytes(cv2.imencode(".png", flat)[1]))
    grey = stills.grey(data)
    assert converted
    assert grey is not None
    assert grey.shape == (48, 48)
    assert np.abs(grey.astype(int) - (0.114 * 10 + 0.587 * 200 + 0.299 * 30)).max() <= 1
    assert stills.normalise(picture((20, 20)))[1]
    deep = bytes(cv2.imencode(".png", np.full((48, 48), 0x80FF, np.uint16))[1])
    image, converted = stills.normalise(deep)
    assert converted
    assert (stills.grey(image) == 0x80).all()
    clear, converted = stills.normalise(bytes(cv2.imencode(".png", np.full((48, 48, 4), (90, 90, 90, 40), np.uint8))[1]))
    assert converted
    assert (stills.grey(clear) == 90).all()
    for broken in (b"", b"text", picture(suffix=".jpg")[:-40], picture()[:-400]):
        with pytest.raises(DataError, match="picture that can be decoded"):
            stills.normalise(broken)


BASE = pa.schema([field for field in stills.SCHEMA if field.name != "votes"])


def test_the_column_of_votes_is_there_only_where_a_row_has_some(tmp_path: Path) -> None:
    plain, with_votes = row(still="a/1"), row(still="a/2", votes=[("happy", 7), ("sad", 3)])
    stills.write(tmp_path / "former.parquet", pa.Table.from_pylist([plain], BASE))
    stills.write(tmp_path / "plain.parquet", pa.Table.from_pylist([plain], stills.SCHEMA))
    assert (tmp_path / "plain.parquet").read_bytes() == (tmp_path / "former.parquet").read_bytes()
    assert pq.read_schema(tmp_path / "plain.parquet").equals(BASE)
    assert stills.read(tmp_path / "plain.parquet")["votes"].to_pylist() == [None]
    for name, rows in (("voted", [with_votes, plain]), ("again", [plain, with_votes])):
        stills.write(tmp_path / f"{name}.parquet", pa.Table.from_pylist(rows, stills.SCHEMA))
    assert (tmp_path / "voted.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    table = stills.read(tmp_path / "voted.parquet")
    assert table.schema.equals(stills.SCHEMA)
    assert table["votes"].to_pylist() == [None, [("happy", 7), ("sad", 3)]]
    assert stills.labels(tmp_path / "voted.parquet").column_names == ["still", "expression", "usage", "source", "subject"]


def test_the_embedded_sample_keeps_its_bytes(tmp_path: Path) -> None:
    files = HOME / "sample" / "files" / "md5"
    version = yaml.safe_load((HOME / "data.dvc").read_text())["outs"][0]["md5"]
    digest = next(
        entry["md5"] for entry in json.loads((files / version[:2] / version[2:]).read_text()) if entry["relpath"] == "stills.parquet"
    )
    sample = files / digest[:2] / digest[2:]
    stills.write(tmp_path / "stills.parquet", stills.read(sample))
    if pq.read_metadata(tmp_path / "stills.parquet").created_by != pq.read_metadata(sample).created_by:
        pytest.skip("another version of Arrow wrote the sample")
    assert (tmp_path / "stills.parquet").read_bytes() == sample.read_bytes()


def test_a_table_may_be_empty_where_that_is_allowed(tmp_path: Path) -> None:
    for name, schema in (("a.parquet", stills.SCHEMA), ("b.parquet", BASE)):
        stills.write(tmp_path / name, schema.empty_table())
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    table = stills.read(tmp_path / "a.parquet", empty=True)
    assert (table.num_rows, table.schema) == (0, stills.SCHEMA)
    assert stills.labels(tmp_path / "a.parquet").num_rows == 0
    with pytest.raises(DataError, match=r"holds no stills; add some with `vfer data add`, or set cnn.weights: shipped in params.yaml$"):
        stills.read(tmp_path / "a.parquet")
