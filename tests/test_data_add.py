"""`vfer data add` and `vfer data show`, on a real DVC repository with an embedded sample."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner, Result

from vfer.cli.data import app
from vfer.data import readers as datasets
from vfer.data.catalogue import manifest, stills
from vfer.data.catalogue.manifest import Clip
from vfer.data.readers import Entry, FoundClip, Item, Reader
from vfer.errors import DataError

# DVC reads its index through a deprecated name of pygtrie.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


def video(path: Path, shade: int = 0, frames: int = 3) -> Path:
    """Write a tiny H.264 video whose bytes depend on the shade."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for index in range(frames):
            picture = np.full((32, 32, 3), (shade, 10 * index, 0), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(cv2.imencode(".png", np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8))[1]))
    return path


def vfer(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True, env={"COLUMNS": "200"})


def add(*arguments: str | Path) -> str:
    result = vfer("add", *arguments)
    assert result.exit_code == 0, result.exception
    return result.output


def refusal(*arguments: str | Path) -> str:
    """Return the one line of the error that a command ends with."""
    result = vfer(*arguments)
    assert isinstance(result.exception, DataError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="session")
def sample_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose `data.dvc` is an embedded sample, with its own remote inside the repository."""
    from dvc.repo import Repo

    root = tmp_path_factory.mktemp("embedded")
    run("git", "init", "-q", str(root))
    with Repo.init(str(root)) as repo:
        with repo.config.edit() as config:
            config["remote"]["sample"] = {"url": str(root / ".sample")}
        _sample(root / "data")
        repo.add(str(root / "data"))
        pointer = root / "data.dvc"
        content = yaml.safe_load(pointer.read_text())
        content["outs"][0] |= {"remote": "sample"}
        pointer.write_text(yaml.safe_dump(content))
        repo.push()
        content["outs"][0] |= {"push": False}
        pointer.write_text(yaml.safe_dump(content))
    run("git", "-C", str(root), "add", "-A", ".dvc", "data.dvc", ".gitignore")
    run("git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "sample")
    return root


def _sample(data: Path) -> None:
    video(data / "clips/sample/01.mp4", 200)
    manifest.write(data / "clips.csv", [Clip("sample/01", "clips/sample/01.mp4", "happy", "sample/1", "sample/01", "sample")])
    image = picture(data / "still.png", 99).read_bytes()
    (data / "still.png").unlink()
    still = {"still": "sample/1", "expression": "happy", "usage": "train", "source": "sample", "subject": "sample/1", "image": image}
    stills.write(data / "stills.parquet", pa.Table.from_pylist([still], stills.SCHEMA))


@pytest.fixture
def repository(sample_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "repository"
    shutil.copytree(sample_repository, root)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside of any repository."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for shade, name in enumerate(["happy/anna_1.mp4", "happy/bob_1.mp4", "sad/anna_2.mp4"]):
        video(tmp_path / "own" / name, 50 * shade)
    return tmp_path / "own"


# With DVC


def test_real_data_replaces_the_sample_and_git_brings_it_back(repository: Path, own: Path) -> None:
    from dvc.repo import Repo

    sample, remote = files(repository / "data"), files(repository / ".sample")
    output = add("folder", own)
    assert "the embedded sample (2 rows) was replaced; `git checkout data.dvc && dvc pull data.dvc` restores it" in output
    assert sorted(files(repository / "data")) == [
        "clips.csv",
        *(f"clips/folder/{name}.mp4" for name in ("happy/anna_1", "happy/bob_1", "sad/anna_2")),
        "places.csv",
        "stills.parquet",
    ]
    (out,) = yaml.safe_load((repository / "data.dvc").read_text())["outs"]
    assert not {"remote", "push"} & set(out)
    assert f"version {out['md5']}" in output
    with Repo(str(repository)) as repo:
        assert not repo.status()  # what DVC tracks is what lies there
        with repo.config.edit() as config:
            config["remote"]["mine"] = {"url": str(repository / ".mine")}
            config["core"]["remote"] = "mine"
    with Repo(str(repository)) as repo:
        assert repo.push() > 0
    assert files(repository / ".sample") == remote
    assert files(repository / ".mine")
    run("git", "-C", str(repository), "checkout", "data.dvc")
    with Repo(str(repository)) as repo:
        repo.checkout(["data.dvc"], force=True)
    assert files(repository / "data") == sample


def test_other_sources_stay_and_a_second_run_changes_nothing(repository: Path, own: Path, tmp_path: Path) -> None:
    add("folder", own)
    picture(tmp_path / "fer/train/happy/Training_1.png")
    assert "was replaced" not in add("fer2013", tmp_path / "fer")
    before, version = files(repository / "data"), (repository / "data.dvc").read_bytes()
    output = add("folder", own)
    assert "3 already existed" in output
    assert "0 clips and 0 stills" in output
    assert (files(repository / "data"), (repository / "data.dvc").read_bytes()) == (before, version)
    assert {clip.source for clip in manifest.read(repository / "data/clips.csv")} == {"folder"}
    assert stills.read(repository / "data/stills.parquet")["source"].to_pylist() == ["fer2013"]


def test_the_embedded_sample_need_not_be_there_to_give_way(repository: Path, own: Path) -> None:
    shutil.rmtree(repository / "data")
    assert "the embedded sample was replaced" in add("folder", own)
    assert {clip.source for clip in manifest.read(repository / "data/clips.csv")} == {"folder"}
    assert "push" not in (repository / "data.dvc").read_text()


def test_what_is_not_checked_out_is_not_dropped(repository: Path, own: Path) -> None:
    add("folder", own)
    shutil.rmtree(repository / "data")
    assert "is tracked by data.dvc but its files are missing; run `dvc checkout data.dvc`" in refusal("add", "folder", own)
    assert "its files are missing" in refusal("show")
    assert not (repository / "data").exists()


def test_nothing_usable_changes_nothing(repository: Path, tmp_path: Path) -> None:
    before = files(repository)
    picture(tmp_path / "fer/train/happy/Training_1.png")
    assert "nothing that ravdess can read, nothing was changed; expected 01-01-" in refusal("add", "ravdess", tmp_path / "fer")
    (tmp_path / "own/happy").mkdir(parents=True)
    (tmp_path / "own/happy/anna_1.mp4").write_bytes(b"no video")
    line = refusal("add", "folder", tmp_path / "own")
    assert "anna_1.mp4: cannot be decoded" in line
    assert "nothing was changed, 1 refused" in line
    assert "no such file or folder" in refusal("add", "folder", tmp_path / "nowhere")
    assert "unknown reader; expected one of fer2013, ferplus, ravdess, ckplus, cremad, " in refusal("add", "imagenet", tmp_path)
    after = files(repository)
    assert {name: after[name] for name in before} == before
    assert not [name for name in set(after) - set(before) if not name.startswith(".dvc/")]


def test_outside_of_a_dvc_repository_it_says_so(plain: Path, own: Path) -> None:
    assert "data: is not in a DVC repository; run `dvc init` there, or pass --no-dvc" in refusal("add", "folder", own)
    assert not (plain / "data").exists()
    assert "not tracked by DVC" in add("folder", own, "--no-dvc")


# Refusals


def test_broken_clips_are_refused_and_the_rest_goes_on(plain: Path, own: Path) -> None:
    (own / "happy/carl_1.mp4").write_bytes(b"")
    whole = (own / "happy/anna_1.mp4").read_bytes()
    (own / "happy/dora_1.mp4").write_bytes(whole[: len(whole) // 2])
    video(own / "drowsy/anna_3.mp4", 9)
    output = add("folder", own, "--no-dvc", "--report", plain / "report.csv")
    assert "3 refused:" in output
    lines = (plain / "report.csv").read_text().splitlines()
    assert [line.partition(",")[2][:27] for line in lines[1:]] == [
        "\"expression 'drowsy' is unk",
        "cannot be decoded (the file",
        "cannot be decoded (Invalid ",
    ]
    assert len(manifest.read(plain / "data/clips.csv")) == 3
    assert "drowsy" in add("folder", own, "--no-dvc", "--expressions", "drowsy,alert")
    assert {clip.expression for clip in manifest.read(plain / "data/clips.csv")} == {"happy", "sad", "drowsy"}


@pytest.mark.usefixtures("plain")
def test_only_ten_refusals_are_printed(own: Path) -> None:
    for number in range(12):
        (own / f"happy/anna_x{number}.mp4").write_bytes(b"")
    output = add("folder", own, "--no-dvc")
    assert output.count("is empty)") == 10
    assert "and 2 more; --report FILE lists them all" in output


@pytest.mark.usefixtures("plain")
def test_same_name_with_other_bytes_is_refused_naming_both(own: Path, tmp_path: Path) -> None:
    add("folder", own, "--no-dvc")
    other = video(tmp_path / "other/happy/anna_1.mp4", 222)
    line = refusal("add", "folder", tmp_path / "other", "--no-dvc")
    assert f"{other}: clip folder/happy/anna_1 already exists with other bytes, from data/clips/folder/happy/anna_1.mp4" in line
    video(tmp_path / "third/happy/anna_1.mp4", 111)
    output = add("folder", tmp_path / "other", tmp_path / "third", "--source", "new", "--no-dvc")
    assert f"clip new/happy/anna_1 already exists with other bytes, from {other}" in output


@pytest.mark.usefixtures("own")
def test_same_bytes_with_another_label_are_refused(plain: Path) -> None:
    (plain / "my.csv").write_text("path,expression,subject\nown/happy/anna_1.mp4,happy,anna\n")
    add("manifest", plain / "my.csv", "--no-dvc")
    (plain / "my.csv").write_text("path,expression,subject\nown/happy/anna_1.mp4,sad,anna\n")
    assert "already exists as happy of manifest/anna; change its row in data/clips.csv" in refusal(
        "add", "manifest", plain / "my.csv", "--no-dvc"
    )


def test_what_is_given_twice_counts_once(plain: Path, own: Path) -> None:
    output = add("folder", own, own / "sad", "--no-dvc")
    assert "anna_2.mp4: is given twice" in output
    (plain / "my.csv").write_text("path,expression,subject,clip\nown/sad/anna_2.mp4,sad,anna,a\nown/sad/anna_2.mp4,sad,anna,b\n")
    assert "anna_2.mp4: is given twice, first as clip manifest/a" in add("manifest", plain / "my.csv", "--no-dvc")


@pytest.mark.usefixtures("plain")
def test_identical_bytes_under_two_names_are_reported(own: Path) -> None:
    shutil.copy(own / "sad/anna_2.mp4", own / "sad/zoe_1.mp4")
    output = add("folder", own, "--no-dvc")
    assert "1 added although their bytes are there under another name" in output
    assert "folder/sad/zoe_1: same as folder/sad/anna_2" in output
    assert "folder2/sad/anna_2: same as folder/sad/anna_2" in add("folder", own, "--no-dvc", "--source", "folder2")
    clips = {clip.clip: clip for clip in manifest.read(Path("data/clips.csv"))}
    twins = [clips[name] for name in ("folder/sad/anna_2", "folder/sad/zoe_1", "folder2/sad/anna_2", "folder2/sad/zoe_1")]
    assert {(clip.recording, clip.subject) for clip in twins} == {("folder/sad/anna_2", "folder/anna")}
    assert "4 already existed" in add("folder", own, "--no-dvc")


@pytest.mark.usefixtures("plain")
def test_identical_bytes_of_unlike_labels_are_refused_and_the_rest_goes_on(own: Path) -> None:
    shutil.copy(own / "sad/anna_2.mp4", own / "happy/anna_9.mp4")
    output = add("folder", own, "--no-dvc")
    assert "1 refused" in output
    assert re.search(r"anna_\d\.mp4: has the bytes of clip folder/\w+/anna_\d, which is labelled \w+, not \w+", output)


@pytest.mark.usefixtures("plain")
def test_a_person_is_named_after_the_source_unless_the_name_says_whose_it_is(own: Path, tmp_path: Path) -> None:
    other = video(tmp_path / "b/sad/anna_7.mp4", 99).parent.parent
    for number, folder in enumerate((own, other)):
        add("folder", folder, "--source", f"lab{number}", "--no-dvc")
    path = Path("data/clips.csv")
    assert {clip.subject for clip in manifest.read(path) if "anna" in clip.clip} == {"lab0/anna", "lab1/anna"}
    path.write_text(path.read_text().replace("lab1/anna,", "anna,").replace("lab1/sad/anna_7,lab1", "r7,lab1"))
    clip = next(clip for clip in manifest.read(path) if clip.source == "lab1")
    assert (clip.subject, clip.recording) == ("lab1/anna", "lab1/r7"), "names by hand count alike"


def test_identical_stills_are_counted_across_usages(plain: Path) -> None:
    for name in ("train/happy/a", "train/happy/b", "test/happy/c"):
        picture(plain / f"fer/{name}.png")
    assert "2 stills have the same bytes as another still; 1 of validation and test also occur in train" in add(
        "fer2013", plain / "fer", "--no-dvc"
    )


def test_stills_are_converted_aloud(plain: Path) -> None:
    for name, size in (("a", 48), ("b", 96)):
        path = picture(plain / f"fer/train/happy/{name}.png")
        path.write_bytes(bytes(cv2.imencode(".png", np.full((size, size), 7, np.uint8))[1]))
    original = (plain / "fer/train/happy/a.png").read_bytes()
    assert "1 stills were not 48x48 and grey" in add("fer2013", plain / "fer", "--no-dvc")
    table = stills.read(plain / "data/stills.parquet")
    assert table["image"][0].as_py() == original
    assert (stills.decode(table) == 7).all()


@pytest.mark.parametrize("source", ["sample", "../up", "a/b"])
def test_sources_that_cannot_be_used(plain: Path, own: Path, source: str) -> None:
    (plain / "my.csv").write_text(f"path,expression,subject,source\nown/sad/anna_2.mp4,sad,anna,{source}\n")
    assert source in refusal("add", "folder", own, "--no-dvc", "--source", source)
    assert source in refusal("add", "manifest", plain / "my.csv", "--no-dvc")
    assert not (plain / "data").exists()


@pytest.mark.usefixtures("plain")
def test_stills_of_unknown_classes_and_broken_ones_are_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    picture(tmp_path / "fer/train/happy/a.png")
    picture(tmp_path / "fer/train/joyous/b.png")
    whole = picture(tmp_path / "fer/train/sad/c.png").read_bytes()
    (tmp_path / "fer/train/sad/c.png").write_bytes(whole[:200])
    output = add("fer2013", tmp_path / "fer", "--no-dvc")
    assert "0 clips and 1 stills" in output
    assert "b.png: expression 'joyous' is unknown; known are neutral, calm, happy, sad, angry, fear, disgust, surprise, contempt" in output
    assert "c.png: is not a picture that can be decoded; it may be truncated" in output


# Clips alone, and stills alone


def test_clips_alone_leave_an_empty_table_of_stills(plain: Path, own: Path) -> None:
    output = add("folder", own, "--no-dvc")
    assert "there are no stills: add some, or set cnn.weights: shipped in params.yaml" in output
    assert "no clips" not in output
    path = plain / "data/stills.parquet"
    assert stills.read(path, empty=True).num_rows == 0
    before = path.read_bytes()
    shutil.copytree(own, plain / "more/own")
    add("folder", plain / "more", "--no-dvc", "--source", "more")
    assert path.read_bytes() == before
    add("folder", own, "--no-dvc", "--data", plain / "other")
    assert (plain / "other/stills.parquet").read_bytes() == before
    result = vfer("show")
    assert result.exit_code == 0
    assert "happy" in result.output
    assert "stills" not in result.output
    picture(plain / "fer/train/happy/a.png")
    assert "there are no" not in add("fer2013", plain / "fer", "--no-dvc")
    assert stills.read(path)["still"].to_pylist() == ["fer2013/train/happy/a"]


def test_stills_alone_say_that_there_are_no_clips(plain: Path) -> None:
    picture(plain / "fer/train/happy/a.png")
    assert "there are no clips yet" in add("fer2013", plain / "fer", "--no-dvc")
    assert not (plain / "data/clips.csv").exists()
    assert "stills: train" in vfer("show").output
    with pytest.raises(DataError, match=r"clips.csv: cannot be read .*; run `dvc checkout`, or fill it with `vfer data add`$"):
        manifest.read(plain / "data/clips.csv")


# FER+


def ferplus(folder: Path, polls: list[str], extra: str = "") -> tuple[Path, Path]:
    """Write both files, whose rows of FER2013 are happy faces to train on."""
    folder.mkdir(exist_ok=True)
    words = f"neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,{extra}unknown,NF"
    rows = [f"3,{' '.join(str((value * 7 + number) % 256) for value in range(2304))},Training" for number in range(len(polls))]
    for name, lines in (("fer2013.csv", ["emotion,pixels,Usage", *rows]), ("fer2013new.csv", [f"Usage,Image name,{words}", *polls])):
        (folder / name).write_text("\n".join(lines))
    return folder / "fer2013new.csv", folder / "fer2013.csv"


def test_votes_of_ferplus_stand_beside_fer2013s_own_label(plain: Path) -> None:
    polls = ["Training,,4,5,0,1,0,0,0,0,0,0", "Training,,0,0,0,0,0,0,0,0,0,10", "Training,,0,0,0,0,0,0,0,0,10,0"]
    output = add("ferplus", *ferplus(plain / "fer", polls), "--no-dvc")
    assert "1 stills have the votes of several annotators" in output
    assert "1 skipped: no face, according to most annotators of FER+" in output
    rows = stills.read(plain / "data/stills.parquet").to_pylist()
    assert [(row["still"], row["expression"], row["source"], row["votes"]) for row in rows] == [
        ("fer2013/00001", "happy", "fer2013", [("happy", 5), ("neutral", 4), ("sad", 1)]),
        ("fer2013/00003", "happy", "fer2013", None),
    ]
    before = (plain / "data/stills.parquet").read_bytes()
    assert "2 already existed\n" in add("ferplus", plain / "fer", "--no-dvc")
    assert (plain / "data/stills.parquet").read_bytes() == before
    assert "2 already existed\n" in add("fer2013", plain / "fer/fer2013.csv", "--no-dvc")
    assert [row for row in stills.read(plain / "data/stills.parquet").to_pylist() if row["still"] != "fer2013/00002"] == rows


def test_votes_may_come_late_but_not_change(plain: Path) -> None:
    polls = ["Training,,4,6,0,0,0,0,0,0,0,0", "Training,,0,9,0,0,0,0,0,0,1,0"]
    first = ferplus(plain / "fer", polls)
    add("fer2013", first[1], "--no-dvc")
    picture(plain / "more/train/happy/a.png")
    add("fer2013", plain / "more", "--no-dvc")
    assert "2 already existed; 2 of them got their votes" in add("ferplus", *first, "--no-dvc")
    table = stills.read(plain / "data/stills.parquet")
    assert table["votes"].to_pylist() == [[("happy", 6), ("neutral", 4)], [("happy", 9)], None]
    assert table["still"].to_pylist()[:2] == ["fer2013/00001", "fer2013/00002"]
    other = ferplus(plain / "fer", ["Training,,4,5,1,0,0,0,0,0,0,0", polls[1]])
    output = add("ferplus", *other, "--no-dvc")
    assert "still fer2013/00001 already exists with other votes; give this one another --source" in output
    assert "1 already existed\n" in output
    assert stills.read(plain / "data/stills.parquet").equals(table)


@pytest.mark.parametrize(
    ("poll", "extra", "reason"),
    [
        ("Training,,0,0,0,0,0,0,0,0,0,0", "", "fer2013new.csv:2: has no votes"),
        ("Training,,0,3,0,0,0,0,0,0,7,0,0", "bored,", "fer2013.csv:2: expression 'bored' is unknown; known are neutral, calm, happy"),
        (f"Training,,0,{2**31},0,0,0,0,0,0,0,0", "", f"its votes for happiness are {2**31}, which is not a count of people"),
        ("PublicTest,,0,9,0,0,0,0,0,0,0,1", "", "fer2013new.csv:2: has Usage 'PublicTest', "),
    ],
)
def test_votes_that_cannot_be_used_are_refused_in_one_line(plain: Path, poll: str, extra: str, reason: str) -> None:
    line = refusal("add", "ferplus", *ferplus(plain / "fer", [poll], extra), "--no-dvc")
    assert "nothing was changed, 1 refused; expected fer2013new.csv together with fer2013.csv or icml_face_data.csv" in line
    assert reason in line
    assert not (plain / "data").exists()


@pytest.mark.usefixtures("plain")
def test_ferplus_without_the_table_it_refers_to_says_what_to_give(tmp_path: Path) -> None:
    votes, _ = ferplus(tmp_path / "fer", ["Training,,0,9,0,0,0,0,0,0,0,1"])
    picture(tmp_path / "pictures/train/happy/Training_1.png")
    line = refusal("add", "ferplus", votes, tmp_path / "pictures", "--no-dvc")
    assert "give it with fer2013.csv or icml_face_data.csv, whose rows it refers to and which folders of pictures do not keep" in line


@pytest.mark.usefixtures("plain")
def test_a_word_of_ones_own_can_be_voted_for(tmp_path: Path) -> None:
    both = ferplus(tmp_path / "fer", ["Training,,0,3,0,0,0,0,0,0,7,0,0"], "bored,")
    add("ferplus", *both, "--no-dvc", "--expressions", "bored", "--source", "mine")
    table = stills.read(Path("data/stills.parquet"))
    assert table.select(["still", "votes"]).to_pylist() == [{"still": "mine/00001", "votes": [("bored", 7), ("happy", 3)]}]


# Interrupted, and at the same time


def test_a_killed_run_leaves_the_tables_and_the_next_goes_on(plain: Path, own: Path) -> None:
    add("folder", own / "sad", "--no-dvc")
    before = (plain / "data/clips.csv").read_bytes()
    program = """
import os, sys
from vfer.data.readers import scan, READERS
from vfer.data.readers.intake import intake
from pathlib import Path
def dying(items):
    yield next(items)
    next(items).save(Path("data/.incoming/clip.mp4"))
    Path("data/.stills.parquet.0123456789ab.tmp").write_bytes(b"half")
    Path("data/.clips.csv.0123456789ab.tmp").write_bytes(b"half")
    Path("data/.places.csv.0123456789ab.tmp").write_bytes(b"half")
    os._exit(9)
intake(Path("data"), dying(iter(READERS["folder"].read(scan([Path("own")])[0]))), "folder")
"""
    assert (
        subprocess.run([sys.executable, "-c", program], check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}).returncode
        == 9
    )
    assert (plain / "data/clips.csv").read_bytes() == before
    assert (plain / "data/clips/folder/happy/anna_1.mp4").exists()
    assert "2 clips" in add("folder", own, "--no-dvc")
    clips = [clip.path for clip in manifest.read(plain / "data/clips.csv")]
    assert sorted(files(plain / "data")) == sorted(["clips.csv", "places.csv", "stills.parquet", *clips])


def test_copies_do_not_share_the_users_files(plain: Path, own: Path) -> None:
    add("folder", own, "--no-dvc")
    (own / "sad/anna_2.mp4").write_bytes(b"changed")
    assert (plain / "data/clips/folder/sad/anna_2.mp4").read_bytes() != b"changed"


def test_two_at_the_same_time_do_not_lose_rows(plain: Path, own: Path) -> None:
    (plain / "data").mkdir()
    other = os.open(plain / "data", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert "another `vfer data add` is running there" in refusal("add", "folder", own, "--no-dvc")
    os.close(other)
    add("folder", own, "--no-dvc")


# Readers of one's own, and what is shown


def shots(entries: Sequence[Entry]) -> Iterable[Item]:
    for entry in entries:
        yield FoundClip(entry.stem, entry.suffix, "calm", "me", entry.origin, entry.save)


def test_a_reader_is_one_function_and_one_row(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(datasets.READERS, "shots", Reader(shots, "*.mp4"))
    video(plain / "shots/a.mp4")
    assert "1 clips and 0 stills" in add("shots", plain / "shots", "--no-dvc")
    expected = Clip("shots/a", "clips/shots/a.mp4", "calm", "shots/me", "shots/a", "shots")
    assert manifest.read(plain / "data/clips.csv") == [expected]


def test_show_counts_twins_stills_and_the_version(repository: Path, tmp_path: Path) -> None:
    for shade, name in enumerate(["01-01-03-01-01-01-01", "02-01-03-01-01-01-01", "01-01-04-01-01-01-02"]):
        video(tmp_path / f"ravdess/{name}.mp4", 40 * shade)
    picture(tmp_path / "fer/test/happy/PublicTest_1.png")
    add("ravdess", tmp_path / "ravdess")
    add("fer2013", tmp_path / "fer")
    output = vfer("show").output
    rows = [line.replace("│", " ").split() for line in output.splitlines()]
    assert ["ravdess", "happy", "2", "1", "1", "1"] in rows
    assert ["ravdess", "all", "3", "2", "2", "1"] in rows
    assert ["fer2013", "happy", "0", "1", "0"] in rows
    assert yaml.safe_load((repository / "data.dvc").read_text())["outs"][0]["md5"] in output


@pytest.mark.usefixtures("plain")
def test_show_without_data() -> None:
    assert refusal("show") == "data: holds no dataset; fill it with `vfer data add`"


def test_the_command_line_imports_nothing_heavy() -> None:
    program = "import sys, vfer.cli.data; print(*sorted({'dvc', 'cv2', 'av', 'pyarrow', 'numpy'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.stdout.strip() == ""
