"""The benchmarks' harness on tiny inputs; what it measures is left to `make bench`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import toys

from benchmarks import __main__ as bench
from benchmarks import added, clips, loading, memory, model, nothing, peer, processes, report, scaling, throughput, timeline, tracking
from benchmarks.films import Truth
from benchmarks.repository import Repository
from benchmarks.rows import Goal, Row, in_turn, missing, ratios, row
from vfer.errors import VferError

TINY = clips.Kind((160, 120), 0.4, 10)
HOLD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytearray(150_000_000); x[:] = bytes(len(x))'], check=True)"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scratch folder, and a toy CNN instead of a real one, which TensorFlow would have to export."""
    output = toys.cnn(tmp_path / "cnn.onnx")
    monkeypatch.setattr(model, "build", lambda _: output)
    return tmp_path / "scratch"


def test_a_row_is_the_median_its_range_and_whether_it_reaches_the_goal() -> None:
    assert row("a", [3.0, 1.0, 2.0], "s", Goal(most=2)) == Row("a", 2.0, "s", 1.0, 3.0, 3, "at most 2", met=True)
    assert row("b", [9.9], "x", Goal(least=10)).met is False
    assert row("c", [1.0], "x").met is None
    assert missing("d", "no such thing").value is None


def test_tasks_are_run_in_turn_and_compared_round_by_round() -> None:
    order: list[str] = []

    def task(name: str) -> Callable[[], float]:
        return lambda: order.append(name) or float(len(order))

    samples = in_turn({"a": task("a"), "b": task("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert samples == {"a": [1, 3], "b": [2, 4]}
    assert ratios(samples["a"], samples["b"]) == [0.5, 0.75]


def test_a_benchmark_that_is_measured_again_replaces_its_own_part_only(tmp_path: Path) -> None:
    facts: dict[str, object] = {"machine": "2 cores", "load": 0.1, "commit": "abc", "versions": {"python": "3.11"}}
    rows = [row("speed", [9.0], "x", Goal(least=10), "of toys"), missing("rival", "fer could not be installed")]
    report.update(tmp_path, bench.MODULES, "loading", {**facts, "date": "2026-01-01"}, 1.2, rows)
    report.update(tmp_path, bench.MODULES, "added", {**facts, "date": "2026-01-02"}, 1, [row("old", [1.0], "s")])
    report.update(tmp_path, bench.MODULES, "added", {**facts, "date": "2026-01-03"}, 1, [row("new", [1234.0, 1236.0], "s")])
    assert list(json.loads((tmp_path / "results.json").read_text())) == ["added", "loading"]
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.index("## added") < text.index("2026-01-03") < text.index("| new | 1 235 s | 1 234 to 1 236 (2) |")
    assert text.index("## loading") < text.index("2026-01-01") < text.index("| speed | 9 x | (1) | at least 10 | **no** |")
    assert "| rival | not measured |" in text
    assert "- rival: not measured: fer could not be installed" in text
    assert "2026-01-02" not in text
    assert "| old |" not in text


def test_one_that_fails_says_so_in_the_table_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> list[Row]:
        raise VferError("/some/where/wheel.whl: is damaged")

    monkeypatch.setattr(added, "run", fail)
    monkeypatch.setattr(loading, "CLIPS", 30)
    monkeypatch.setattr(loading, "ROUNDS", 2)
    with pytest.raises(VferError, match="benchmarks: added failed"):
        bench.main("added,loading", tmp_path / "scratch", tmp_path, tmp_path / "none")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["added"]["rows"][0]["note"] == "not measured: wheel.whl: is damaged"
    assert [one["value"] > 0 for one in results["loading"]["rows"]] == [True] * 5
    assert "/some/where" not in capsys.readouterr().out + (tmp_path / "RESULTS.md").read_text()
    with pytest.raises(VferError, match="ONLY: lading is not a benchmark; expected some of throughput, added"):
        bench.main("lading", tmp_path, tmp_path, tmp_path)


def test_no_two_clips_have_the_same_content_and_a_long_one_repeats_a_short_one(tmp_path: Path) -> None:
    paths = clips.render(tmp_path, TINY, clips.BASES + 2)
    assert len({path.read_bytes() for path in paths}) == len(paths)
    assert clips.frames_in(paths) == 4 * len(paths)
    before = paths[0].stat().st_mtime_ns
    assert clips.render(tmp_path, TINY, clips.BASES)[0].stat().st_mtime_ns == before
    with av.open(str(clips.long(tmp_path, TINY, 3))) as container:
        assert [round(float(frame.time) * 10) for frame in container.decode(video=0)] == list(range(12))


def test_memory_counts_what_the_processes_that_a_command_starts_hold(tmp_path: Path) -> None:
    assert 150 < processes.peak_memory([sys.executable, "-c", HOLD], tmp_path) < 400
    with pytest.raises(VferError, match="failed: no face"):
        processes.peak_memory([sys.executable, "-c", "raise SystemExit('no face')"], tmp_path)


def test_a_command_runs_without_the_settings_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFER_WORKERS", "7")
    show = "import os; print(os.environ.get('VFER_WORKERS'), os.environ.get('VFER_STORE'))"
    assert processes.run([sys.executable, "-c", show], tmp_path, VFER_STORE="none").split() == ["None", "none"]
    with pytest.raises(VferError, match=r"^`python\S* -c import gone` failed: ModuleNotFoundError: No module named 'gone'$"):
        processes.run([sys.executable, "-c", "import gone"], tmp_path)


@pytest.mark.slow
def test_clips_are_added_and_then_there_is_nothing_to_do(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(added, "NUMBERS", (1,))
    monkeypatch.setattr(added, "ROUNDS", 1)
    monkeypatch.setattr(nothing, "ROUNDS", 1)
    monkeypatch.setattr(clips, "SHORT", TINY)
    rows = {one.what: one for one in added.run(scratch, None)}
    own = rows["1 clip: its own work"].value
    assert own is not None
    assert rows["1 clips: one more"].goal == f"at most {round(10 + own, 1):g}"
    assert rows["1 clips: one more, of the full run"].value == pytest.approx(
        rows["1 clips: one more"].value / rows["1 clips: full run"].value  # type: ignore[operator]
    )
    repository, _ = added.build(scratch, 1)
    assert json.loads((repository.root / "outputs/frames/metrics.json").read_text())["clips"] == 2
    assert [one.what for one in nothing.run(scratch, None)] == ["1 clips"]
    with pytest.raises(VferError, match="ran nothing; expected frames"):
        repository.repro(runs=["frames"])


@pytest.mark.slow
def test_throughput_of_rendered_clips_without_the_rival(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: Path) -> Path:
        raise VferError("no network")

    monkeypatch.setattr(peer, "install", absent)
    monkeypatch.setattr(throughput, "RENDERED", TINY)
    monkeypatch.setattr(throughput, "COUNT", 2)
    monkeypatch.setattr(throughput, "ROUNDS", 1)
    monkeypatch.setattr(throughput, "TIMES", 2)
    monkeypatch.setattr(throughput, "spacings", lambda: [None])
    rows = {one.what: one for one in throughput.run(scratch, None)}
    assert "2 times over, 16 frames" in next(iter(rows))
    assert rows["fer with Haar"].note == "not measured: fer could not be installed (no network)"
    assert rows["SCRFD"].value is None
    whole, start_up = rows["CenterFace: whole"].value, rows["CenterFace: start-up of the three stages"].value
    assert whole is not None
    assert start_up is not None
    assert whole > 0
    assert start_up > 0


def test_two_workers_are_compared_with_one() -> None:
    times = {"1": [11.0, 11.0], "1 start-up": [1.0, 1.0], "2": [6.0, 7.0], "2 start-up": [1.0, 2.0]}
    result = {one.what: one for one in scaling.worker_rows("processes", times, Goal(least=1.8))}
    assert result["2 processes: net of start-up, times as fast as 1"].value == 2
    assert result["2 processes: net of start-up, times as fast as 1"].met
    assert result["2 processes: whole, times as fast as 1"].low == pytest.approx(11 / 7)


def test_a_stages_memory_is_compared_between_the_smallest_and_the_largest_size(scratch: Path) -> None:
    assert memory.stage_rows("faces", "clips", {50: 100.0, 800: 130.0}, Goal(most=1.2))[-1].met is False
    repository = Repository.new(scratch / "frames", clips.render(scratch / "cache", TINY, 1))
    assert repository.peak_memory("frames") > 50
    assert [len(one.frame) for one in memory.sequences([2, 3])] == [2, 3]


def test_idf1_is_the_share_of_boxes_under_the_best_assignment() -> None:
    def at(who: int, frame: int, left: float) -> tracking.Box:
        return tracking.Box(frame, who, np.array([left, 0, left + 10, 10], np.float32))

    truth = [at(1, frame, 0) for frame in range(10)] + [at(2, frame, 50) for frame in range(10)]
    assert tracking.idf1(truth, [one._replace(who=one.who + 7) for one in truth]) == 1
    exchange = [one._replace(who=3 - one.who) if one.frame >= 6 else one for one in truth]
    assert tracking.idf1(truth, exchange) == pytest.approx(0.6)
    assert tracking.idf1(truth, [one for one in truth if one.who == 1]) == pytest.approx(2 / 3)
    assert tracking.idf1(truth, [one._replace(box=one.box + 40) for one in truth]) == 0


def test_a_segment_is_right_where_it_overlaps_a_performance_of_its_expression_by_half() -> None:
    targets = [timeline.Stretch(1, 0, 2, "happy"), timeline.Stretch(1, 3, 5, "sad")]
    result = [timeline.Stretch(1, 0.5, 2, "happy"), timeline.Stretch(2, 3, 5, "sad"), timeline.Stretch(1, 4, 6.5, "sad")]
    assert timeline.match_segments(targets, result) == [(targets[0], result[0])]
    assert timeline.concordance(np.arange(5.0), np.arange(5.0)) == pytest.approx(1)
    assert timeline.concordance(np.arange(5.0), np.arange(5.0) + 2) == pytest.approx(0.5)


def test_performances_are_the_stretches_of_one_expression() -> None:
    film = timeline.film(1, ["happy", "sad"])
    acts = film.shots[0][0].acts
    truth = [
        Truth(number, number / timeline.FPS, 0, 3, (0, 0, 1, 1), "happy" if 10 <= number < 20 else "none", 0.1 * (number - 10))
        for number in range(30)
    ]
    assert timeline.performances(truth) == [timeline.Stretch(3, 0.4, 0.8, "happy", 0.6)]
    assert all(one.start + one.seconds < timeline.SECONDS for one in acts)
