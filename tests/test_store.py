"""The clip store: one clip more costs one clip, whatever happens to the store, and never gives a wrong result."""

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
import toys
import yaml
from jobs import Toy, copy, die_once, size

from vfer.clips import digests
from vfer.clips.digests import Digests
from vfer.clips.prune import StoreEntry, choose, entries, prune
from vfer.clips.store import ClipRunner, Recipe, Store
from vfer.data import sample
from vfer.data.catalogue import manifest
from vfer.errors import ClipError, DataError

HOME = Path(__file__).resolve().parents[1]
STEP = Recipe("toy", "1")


class Bench:
    """A folder of toy clips and a store."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root, root / "store"
        for name in ("in", "made"):
            (root / name).mkdir()

    def put(self, **clips: str) -> None:
        for name, content in clips.items():
            (self.root / "in" / name).write_text(content)

    def run(self, recipe: Recipe = STEP, store: Store | None = None, about: str = "") -> dict[str, int | str]:
        out = self.root / "out"
        shutil.rmtree(out, ignore_errors=True)
        names = sorted(path.name for path in (self.root / "in").iterdir())
        jobs = [Toy(name, self.root / "in" / name, out / name, about) for name in names]
        clips: ClipRunner[Toy] = ClipRunner(store or Store(self.store), recipe, workers=2)
        return {job.clip: str(result) if isinstance(result, ClipError) else result for job, result in clips.each(copy, jobs, size)}

    def new_work(self) -> list[str]:
        """The clips that were worked on since it was asked last."""
        marks = list((self.root / "made").iterdir())
        for mark in marks:
            mark.unlink()
        return sorted(mark.name.split("-")[0] for mark in marks)

    def out(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted((self.root / "out").iterdir())}

    def entry(self, content: str) -> Path:
        (entry_path,) = [path for path in self.store.glob("toy/??/*") if path.suffix[1:] == hashlib.sha256(content.encode()).hexdigest()]
        return entry_path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    new = Bench(tmp_path)
    new.put(a="one", b="two")
    assert new.run() == {"a": 3, "b": 3}
    assert new.new_work() == ["a", "b"]
    return new


def test_only_what_is_new_is_made(bench: Bench) -> None:
    bench.put(c="three")
    assert bench.run() == {"a": 3, "b": 3, "c": 5}
    assert bench.new_work() == ["c"]
    assert bench.out() == {"a": "one", "b": "two", "c": "three"}


def test_a_clip_that_is_removed_is_gone_from_the_output(bench: Bench) -> None:
    (bench.root / "in" / "a").unlink()
    bench.run()
    assert bench.out() == {"b": "two"}


def test_another_clip_under_the_same_name_is_made_even_where_size_and_time_are_the_same(bench: Bench) -> None:
    path = bench.root / "in" / "a"
    before = path.stat()
    other = bench.root / "other"
    other.write_text("ONE")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    bench.run()
    assert bench.new_work() == ["a"]
    assert bench.out()["a"] == "ONE"


def test_a_clip_that_moves_is_not_made_again(bench: Bench) -> None:
    (bench.root / "in" / "a").rename(bench.root / "in" / "z")
    bench.run()
    assert bench.new_work() == []
    assert bench.out() == {"b": "two", "z": "one"}


def test_twins_are_made_once_and_share_their_fate(bench: Bench) -> None:
    bench.put(c="three", d="three", e="", f="")
    answers = bench.run()
    assert len(bench.new_work()) == 1
    assert bench.out() == {"a": "one", "b": "two", "c": "three", "d": "three"}
    reasons = {name: str(answers[name]).split(": ")[1] for name in ("e", "f")}
    assert sorted(reasons.values())[0].startswith("has the content of ")
    assert "is empty" in reasons.values()


def test_twins_are_made_once_without_a_store(bench: Bench) -> None:
    bench.put(b="one")
    assert bench.run(store=Store(None)) == {"a": 3, "b": 3}
    assert len(bench.new_work()) == 1
    assert bench.out() == {"a": "one", "b": "one"}


@pytest.mark.parametrize("change", ["recipe", "about"])
def test_another_recipe_or_another_kind_of_clip_is_made_anew(bench: Bench, change: str) -> None:
    recipe, about = (Recipe("toy", "2"), "") if change == "recipe" else (STEP, "!")
    bench.run(recipe, about=about)
    assert bench.new_work() == ["a", "b"]
    bench.run()
    assert bench.new_work() == []
    assert bench.out() == {"a": "one", "b": "two"}


@pytest.mark.parametrize("harm", ["truncated", "changed", "emptied", "unreadable", "deleted"])
def test_an_entry_that_is_harmed_is_made_again_and_never_served(bench: Bench, harm: str) -> None:
    entry = bench.entry("one")
    shutil.rmtree(bench.root / "out")
    entry.unlink()
    if harm == "unreadable":  # as another's file is, also to the superuser
        entry.mkdir()
    elif harm != "deleted":
        entry.write_text({"truncated": "on", "changed": "two", "emptied": ""}[harm])
    assert bench.run() == {"a": 3, "b": 3}
    assert bench.new_work() == ["a"]
    assert bench.out() == {"a": "one", "b": "two"}
    bench.run()
    assert bench.new_work() == (["a"] if harm == "unreadable" else [])


def test_an_output_that_is_changed_in_place_changes_no_later_result(bench: Bench) -> None:
    (bench.root / "out" / "a").write_text("spoilt")
    bench.run()
    assert bench.out()["a"] == "one"


def test_a_store_that_cannot_be_written_costs_no_result_and_is_said_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    file = bench.root / "blocked"
    file.write_text("a file, where the store's folder should be")
    assert bench.run(store=Store(file)) == {"a": 3, "b": 3}
    assert bench.out() == {"a": "one", "b": "two"}
    assert caplog.text.count(f"{file}: cannot be written") == 1


def test_a_full_disk_leaves_no_half_entry(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    product = bench.root / "made.txt"
    product.write_text("new")
    before = sorted(bench.store.rglob("*"))
    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copyfile", full)
    assert "No space left" in Store(bench.store).keep(STEP, "0" * 32, product)
    assert [path for path in bench.store.rglob("*") if path.is_file() and path not in before] == []


def test_what_a_killed_worker_was_writing_is_no_part_of_the_output(bench: Bench) -> None:
    bench.put(c="three")
    jobs = [Toy("c", bench.root / "in" / "c", bench.root / "out" / "c")]
    assert [result for _, result in ClipRunner(Store(None), STEP, workers=1).each(die_once, jobs, size)] == [5]
    assert sorted(path.name for path in (bench.root / "out").iterdir()) == ["a", "b", "c"]


def test_where_there_are_no_hard_links_the_store_copies(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", Mock(side_effect=OSError(errno.EXDEV, os.strerror(errno.EXDEV))))
    bench.run()
    assert bench.new_work() == []
    assert bench.out() == {"a": "one", "b": "two"}
    assert (bench.root / "out" / "a").stat().st_nlink == 1


def test_another_user_s_entries_are_taken_where_they_can_be_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("link", "utime"):  # the system lets only the owner do either
        monkeypatch.setattr(os, name, Mock(side_effect=PermissionError(errno.EPERM, os.strerror(errno.EPERM))))
    bench.run()
    assert bench.new_work() == []
    assert bench.out() == {"a": "one", "b": "two"}


def test_digests_follow_the_content_and_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, memory = tmp_path / "a", tmp_path / "new" / "memory"
    path.write_text("one")
    first = Digests(memory)
    assert first(path) == hashlib.sha256(b"one").hexdigest()
    first.save()
    monkeypatch.setattr(digests, "digest", lambda _: "hashed again")
    assert Digests(memory)(path) == hashlib.sha256(b"one").hexdigest()
    path.write_text("other")
    assert Digests(memory)(path) == "hashed again"


def test_a_folder_s_digest_follows_the_names_and_contents_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, memory = tmp_path / "a", tmp_path / "memory"
    (folder / "deep").mkdir(parents=True)
    (folder / "one").write_text("1")
    (folder / "deep" / "two").write_text("2")
    first = Digests(memory)
    hashes = [first(folder)]
    first.save()
    twin = shutil.copytree(folder, tmp_path / "b")
    assert digests.digest(twin) == hashes[0] == digests.digest(folder)
    (folder / "deep" / "two").write_text("22")
    hashes.append(Digests(memory)(folder))
    (folder / "deep" / "two").rename(folder / "deep" / "three")
    hashes.append(Digests(memory)(folder))
    (folder / "deep" / "three").rename(folder / "three")
    hashes.append(Digests(memory)(folder))
    (folder / "one").unlink()
    hashes.append(Digests(memory)(folder))
    assert len(set(hashes)) == 5
    monkeypatch.setattr(digests, "digest", lambda _: "hashed again")
    assert Digests(memory)(twin) == "hashed again"
    last = Digests(memory)
    last(twin)
    last.save()
    monkeypatch.setattr(digests, "digest", lambda _: "and again")
    assert Digests(memory)(twin) == "hashed again"
    with pytest.raises(OSError, match="No such file"):
        last(tmp_path / "nowhere")


def test_a_memory_that_is_damaged_costs_the_time_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, memory = tmp_path / "a", tmp_path / "memory"
    path.write_text("one")
    memory.write_text("this is not a database, though it is long enough to be taken for one" * 20)
    cache = Digests(memory)
    assert cache(path) == hashlib.sha256(b"one").hexdigest()
    cache.save()
    monkeypatch.setattr(digests, "digest", lambda _: "hashed again")
    assert Digests(memory)(path) == hashlib.sha256(b"one").hexdigest()


def test_pruning_takes_what_is_unused_for_long_then_the_longest_unused() -> None:
    day = 86_400.0
    old = [StoreEntry(Path(f"{i}"), "toy", last_use * day, 10, False) for i, last_use in enumerate((1, 50, 60, 70))]
    leftover = StoreEntry(Path("x.1.tmp"), "toy", 98.5 * day, 10, False)
    under_way = StoreEntry(Path("y.1.tmp"), "toy", 99.5 * day, 10, False)
    assert choose([*old, leftover, under_way], 40, None, 100 * day) == [old[0], old[1], leftover]
    assert choose([*old, under_way], 1000, 25, 100 * day) == old[:2]
    assert choose(old, 1000, None, 100 * day) == []


def test_what_a_run_uses_is_not_pruned_and_pruning_costs_only_time(bench: Bench) -> None:
    for path in bench.store.glob("toy/??/*"):
        os.utime(path, (0, 0))
    (bench.root / "in" / "b").unlink()
    bench.run()
    orphan = bench.entry("two")
    assert [entry.path for entry in prune(bench.store, 30, None)] == [orphan]
    assert [entry.path for entry in entries(bench.store)] == [bench.entry("one")]
    prune(bench.store, 0, 0)
    assert entries(bench.store) == []
    bench.run()
    assert bench.out() == {"a": "one"}
    with pytest.raises(DataError, match="is not a clip store"):
        prune(bench.root / "nowhere", 30, None)


class Project:
    """Rendered clips and the first stages on them, run as `dvc` runs them: each in a process of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        sample.write(root / "data", actors=2, recordings=1, seconds=0.6, stills=1, modalities=("02",))
        toys.cnn(root / "cnn.onnx")
        (root / "weights").mkdir()
        self.clips = manifest.read(root / "data" / "clips.csv")

    def command(self, stage: str, out: Path) -> list[str]:
        clips = ["--clips", self.root / "data" / "clips.csv"]
        inputs = {
            "frames": clips,
            "faces": ["--frames", out / "frames" / "clips", "--weights", self.root / "weights"],
            "features": ["--faces", out / "faces" / "clips", "--model", self.root / "cnn.onnx", *clips],
        }[stage]
        words = [*inputs, "--params", self.root / "params.yaml", "--out", out / stage]
        return [sys.executable, "-m", f"stages.{stage}", *map(str, words)]

    def environment(self, store: str | Path) -> dict[str, str]:
        return {**os.environ, "VFER_STORE": str(store), "VFER_WORKERS": "2"}

    def run(self, stage: str, out: Path, store: str | Path) -> str:
        process = subprocess.run(
            self.command(stage, out), cwd=HOME, env=self.environment(store), capture_output=True, text=True, check=False, timeout=200
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    def params(self, **changes: dict[str, object]) -> None:
        content = yaml.safe_load((HOME / "params.yaml").read_text())
        for section, values in changes.items():
            content[section] |= values
        (self.root / "params.yaml").write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    new = Project(tmp_path_factory.mktemp("project"))
    new.params()
    return new


def outputs(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_a_cold_a_warm_and_no_store_give_the_same_bytes(project: Project, tmp_path: Path) -> None:
    texts = []
    for name, store in (("cold", tmp_path / "store"), ("warm", tmp_path / "store"), ("none", "none")):
        texts.append("".join(project.run(stage, tmp_path / name, store) for stage in ("frames", "faces", "features")))
    assert [text.count("(14 from the clip store)") for text in texts] == [0, 3, 0]
    files = outputs(tmp_path / "cold")
    assert len(files) == 14 * 2 + 3 * 2 + 1, "two tables of each clip, the metrics and the list of refusals of each stage, and the cache"
    assert outputs(tmp_path / "warm") == outputs(tmp_path / "none") == files


def test_another_margin_makes_the_faces_anew_and_their_old_ones_are_still_there(project: Project, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for _ in range(2):
        project.run("frames", tmp_path, store)
    project.run("faces", tmp_path, store)
    try:
        project.params(faces={"margin": 0.3})
        assert "store" not in project.run("faces", tmp_path, store)
        project.params(faces={"max_faceless": 0.9})
        assert "(14 from the clip store)" in project.run("faces", tmp_path, store)
    finally:
        project.params()


def test_a_run_that_was_killed_goes_on_where_it_was(project: Project, tmp_path: Path) -> None:
    store = tmp_path / "store"
    project.run("frames", tmp_path, "none")
    process = subprocess.Popen(
        project.command("faces", tmp_path), cwd=HOME, env=project.environment(store), stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 100
    while len(list(store.glob("faces/??/*"))) < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    whole = len([path for path in store.glob("faces/??/*") if path.suffix != ".tmp"])
    assert whole >= 3
    assert f"({whole} from the clip store)" in project.run("faces", tmp_path, store)
    files = outputs(tmp_path / "faces")
    project.run("faces", tmp_path, "none")
    assert outputs(tmp_path / "faces") == files


def test_two_runs_at_once_share_a_store(project: Project, tmp_path: Path) -> None:
    both = [
        subprocess.Popen(project.command("frames", tmp_path / name), cwd=HOME, env=project.environment(tmp_path / "store"))
        for name in ("a", "b")
    ]
    assert [process.wait(timeout=200) for process in both] == [0, 0]
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")
    assert len(entries(tmp_path / "store")) == 14


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    process = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], capture_output=True, check=False)
    if process.returncode:
        pytest.skip("a file system of a given size can only be mounted by the superuser")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_ends_in_one_line_and_leaves_nothing_half_written(project: Project, small_disk: Path) -> None:
    command = project.command("frames", small_disk)
    process = subprocess.run(command, cwd=HOME, env=project.environment(small_disk / "store"), capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "is full; free some space and run again" in process.stderr
    assert "Traceback" not in process.stderr
    assert [path for path in small_disk.rglob("*.tmp") if "store" not in path.parts] == []
