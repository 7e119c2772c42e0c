"""Mapping over clips: the results do not depend on the workers, and a clip that kills its worker costs only itself."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from pickle import PicklingError

import pytest

from vfer.clips.executor import each_clip
from vfer.errors import ClipError, ClusterError, UnexpectedError, VferError, WeightsError


@dataclass(frozen=True)
class Toy:
    """A job; `act` says what its work does, `folder` counts how often it began."""

    clip: str
    act: str = "square"
    folder: Path = Path()
    seconds: float = 0.0


def work(job: Toy) -> int:
    time.sleep(job.seconds)
    if job.folder != Path():
        (job.folder / f"{job.clip}-{time.time_ns()}").touch()
    while job.act == "wait" and not (job.folder / "go").exists():
        time.sleep(0.01)
    if job.act == "refuse":
        raise ClipError(f"{job.clip}: cannot be used")
    if job.act == "fail":
        raise ZeroDivisionError(job.clip)
    if job.act == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "out.parquet")
    if job.act == "weights":
        raise WeightsError("w.onnx: changed; restore it")
    if job.act == "hang":
        ctypes.CDLL(None).sleep(600)  # in C, as a decoder does
    if job.act == "exit":
        os._exit(3)
    if job.act == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return int(job.clip) ** 2


class Settings:
    power = 2


def start(load: Callable[[], int], folder: Path) -> None:
    """The initialiser; it notes the process that it ran in."""
    (folder / f"{os.uname().nodename}-{os.getpid()}-{time.time_ns()}").touch()
    Settings.power = load()


def start_badly(sentence: str) -> None:
    raise WeightsError(sentence)


def to_power(job: Toy) -> int:
    return int(job.clip) ** Settings.power


def process(_: Toy) -> int:
    return os.getpid()


def unpicklable(_: Toy) -> Callable[[], int]:
    return lambda: 1


def silent(job: Toy) -> None:
    work(job)


def results(
    jobs: list[Toy], workers: int, function: Callable[[Toy], int] = work, seconds: float | None = None
) -> dict[str, int | ClipError]:
    pairs = [(job.clip, result) for job, result in each_clip(function, jobs, workers=workers, seconds=seconds)]
    assert len(pairs) == len({clip for clip, _ in pairs}), "a clip came twice"
    return dict(pairs)


class Contract:
    """What holds wherever the work is done; `test_cluster.py` asks it of a Ray cluster of two CPUs."""

    tries = 2

    @pytest.mark.parametrize("workers", [1, 3])
    def test_every_job_gives_its_own_result_whatever_the_order(self, workers: int) -> None:
        jobs = [Toy(str(number), seconds=0.05 * (number % 3 == 0)) for number in range(12)]
        assert results(jobs, workers) == {str(number): number**2 for number in range(12)}

    def test_results_come_as_they_are_ready(self, tmp_path: Path) -> None:
        jobs = [Toy("1", "wait", tmp_path), *(Toy(str(number)) for number in range(2, 5))]
        order = []
        for job, _ in each_clip(work, jobs, workers=2):
            order.append(job.clip)
            if len(order) == 3:
                (tmp_path / "go").touch()
        assert order[-1] == "1"

    def test_work_that_returns_nothing_is_done_once(self, tmp_path: Path) -> None:
        jobs = [Toy(str(number), folder=tmp_path) for number in range(4)]
        assert sorted((job.clip, result) for job, result in each_clip(silent, jobs, workers=2)) == [(str(n), None) for n in range(4)]
        assert len(list(tmp_path.iterdir())) == 4

    def test_no_jobs_give_no_results(self) -> None:
        assert results([], 2) == {}

    @pytest.mark.parametrize(("act", "error"), [("full", OSError), ("weights", WeightsError)])
    def test_what_is_no_clips_fault_is_raised_and_drops_what_has_not_begun(self, tmp_path: Path, act: str, error: type[Exception]) -> None:
        jobs = [Toy("0", act, tmp_path), *(Toy(str(number), folder=tmp_path, seconds=0.3) for number in range(1, 40))]
        with pytest.raises(error):
            results(jobs, 1)
        assert len(list(tmp_path.iterdir())) < 10  # the one that failed, and what was under way

    def test_an_error_that_nobody_foresaw_costs_one_clip_and_keeps_its_traceback(self) -> None:
        outcome = results([Toy(str(number), "fail" if number == 2 else "square") for number in range(5)], 2)
        error = outcome.pop("2")
        assert isinstance(error, UnexpectedError)
        assert str(error) == "2: cannot be used (ZeroDivisionError: 2); check the file"
        assert error.trace.rstrip().endswith("ZeroDivisionError: 2")
        assert "test_executor.py" in error.trace
        assert outcome == {clip: int(clip) ** 2 for clip in "0134"}

    def test_work_that_does_not_end_is_stopped_and_costs_only_its_clip(self) -> None:
        start = time.monotonic()
        outcome = results([Toy(str(number), "hang" if number == 1 else "square") for number in range(5)], 2, seconds=2)
        assert "2 s" in str(outcome.pop("1"))
        assert outcome == {clip: int(clip) ** 2 for clip in "0234"}
        assert time.monotonic() - start < 60

    def test_clips_that_kill_their_workers_or_cannot_be_used_cost_only_themselves(self, tmp_path: Path) -> None:
        acts = {"1": "exit", "4": "refuse", "6": "kill"}
        outcome = results([Toy(str(number), acts.get(str(number), "square"), tmp_path) for number in range(10)], 2)
        message = "its worker died (crash or out of memory); check the file"
        refusals = {clip: str(result) for clip, result in outcome.items() if isinstance(result, ClipError)}
        assert refusals == {"1": f"1: {message}", "4": "4: cannot be used", "6": f"6: {message}"}
        assert {clip: result for clip, result in outcome.items() if clip not in refusals} == {clip: int(clip) ** 2 for clip in "0235789"}

    def test_a_clip_that_kills_its_worker_is_tried_again(self, tmp_path: Path) -> None:
        jobs = [Toy(str(number), "exit" if number == 1 else "square", tmp_path) for number in range(4)]
        assert isinstance(results(jobs, 2)["1"], ClipError)
        assert len(list(tmp_path.glob("1-*"))) == self.tries

    def test_few_jobs_are_under_way_at_once(self, tmp_path: Path) -> None:
        jobs = [Toy(str(number), folder=tmp_path) for number in range(60)]
        pairs = each_clip(work, jobs, workers=2)
        next(pairs)
        time.sleep(1)  # long enough for two idle workers to do all sixty
        assert len(list(tmp_path.iterdir())) <= 3 * 2
        assert len(list(pairs)) == 59

    def test_a_loop_that_is_left_early_ends_its_workers(self, tmp_path: Path) -> None:
        jobs = [Toy(str(number), folder=tmp_path, seconds=0.2) for number in range(60)]
        pairs = each_clip(work, jobs, workers=2)
        next(pairs)
        pairs.close()
        count = len(list(tmp_path.iterdir()))
        assert count <= 6
        time.sleep(0.5)
        assert len(list(tmp_path.iterdir())) == count

    def test_each_worker_is_initialised_once(self, tmp_path: Path) -> None:
        jobs = [Toy(str(number)) for number in range(12)]
        pairs = list(each_clip(to_power, jobs, workers=2, initializer=start, initargs=(partial(int, "3"), tmp_path)))
        assert {job.clip: result for job, result in pairs} == {str(number): number**3 for number in range(12)}
        processes = [path.name.rpartition("-")[0] for path in tmp_path.iterdir()]
        assert 1 <= len(processes) == len(set(processes))

    def test_an_initialiser_that_fails_is_raised_as_itself(self) -> None:
        pairs = each_clip(to_power, [Toy("2"), Toy("3")], workers=2, initializer=start_badly, initargs=("w.onnx: changed; restore it",))
        with pytest.raises(WeightsError, match=r"^w\.onnx: changed; restore it$"):
            list(pairs)


@pytest.fixture
def busy() -> Iterator[None]:
    """Keep Python busy in this process, as a script that calls vfer may: whatever waits for a worker is late."""
    interval, stop = sys.getswitchinterval(), threading.Event()
    sys.setswitchinterval(0.05)
    thread = threading.Thread(target=lambda: all(not stop.is_set() for _ in repeat(None)))
    thread.start()
    yield
    stop.set()
    thread.join()
    sys.setswitchinterval(interval)


class TestHere(Contract):
    @pytest.mark.usefixtures("busy")
    def test_no_death_is_overlooked_in_a_busy_process(self, tmp_path: Path) -> None:
        jobs = [Toy(str(number), "exit" if number % 4 == 1 else "square", tmp_path, 0.5 * (number % 4 == 2)) for number in range(16)]
        outcome = results(jobs, 3)
        assert {clip for clip, result in outcome.items() if isinstance(result, ClipError)} == {"1", "5", "9", "13"}

    def test_workers_that_die_before_they_start_are_no_clips_fault(self) -> None:
        with pytest.raises(VferError, match=r"^worker processes die before they start; free some memory, or set VFER_WORKERS=1$"):
            list(each_clip(work, [Toy("1")], workers=1, initializer=os._exit, initargs=(3,)))

    def test_an_idle_worker_that_dies_costs_no_clip(self) -> None:
        pairs = each_clip(process, [Toy(str(number)) for number in range(9)], workers=1)
        os.kill(next(pairs)[1], signal.SIGKILL)  # type: ignore[arg-type]
        assert all(isinstance(result, int) for _, result in pairs)

    def test_a_result_that_cannot_be_sent_is_raised(self) -> None:
        with pytest.raises((AttributeError, PicklingError), match="pickle"):
            list(each_clip(unpicklable, [Toy("1")], workers=1))

    def test_ray_is_not_loaded(self) -> None:
        code = "import sys\nfrom vfer.clips.executor import each_clip\nlist(each_clip(len, [], workers=1))\nassert 'ray' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"VFER_RAY_ADDRESS": ""})


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFER_RAY_ADDRESS", "127.0.0.1:6379")
    for name in [name for name in sys.modules if name.startswith("vfer.clips.cluster")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("vfer.clips.cluster", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"^VFER_RAY_ADDRESS is set, and Ray is not installed; install vfer\[ray\], or unset it$"):
        each_clip(work, [Toy("1")], workers=1)


@pytest.mark.parametrize("address", ["localhost", "ray://head:10001", "head:port"])
def test_an_address_of_another_form_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("VFER_RAY_ADDRESS", address)
    with pytest.raises(VferError, match=f"^VFER_RAY_ADDRESS: expected host:port .* got '{address}'"):
        each_clip(work, [Toy("1")], workers=1)
