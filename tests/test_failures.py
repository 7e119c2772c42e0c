"""What a stage does where a clip fails in a way that nobody foresaw: a log, and an early end where all fail alike."""

import json
from pathlib import Path

import pytest
import yaml
from videos import video

from stages import frames
from vfer.clips.attempt import attempt
from vfer.clips.failures import ALIKE, WHOLE, Failures
from vfer.data.catalogue import manifest
from vfer.errors import ClipError, DataError, UnexpectedError, VferError

HOME = Path(__file__).resolve().parents[1]


class Job:
    def __init__(self, clip: str) -> None:
        self.clip = clip


def broken(job: Job) -> int:
    return 1 // (0 if job.clip != "odd" else int("no number"))


def add_all(failures: Failures, count: int) -> None:
    for number in range(count):
        failures.add(str(number), error_of(str(number)))


def error_of(clip: str) -> UnexpectedError:
    error = attempt(broken, Job(clip))
    assert isinstance(error, UnexpectedError)
    return error


def test_a_traceback_goes_to_the_log_that_the_closing_line_names(tmp_path: Path) -> None:
    log = tmp_path / "out" / "errors.log"
    failures = Failures(log)
    assert failures.note == ""
    failures.add("a", 3)
    for clip in ("caf\udce9", "b", "c", "d", "odd"):
        failures.add(clip, error_of(clip))
    failures.add("e", ClipError("e: is truncated"))
    assert failures.note == f"5 unexpected errors, see {log}"
    text = log.read_text(encoding="utf-8")
    assert text.count("ZeroDivisionError: integer") == 4 + WHOLE
    assert text.count("ValueError: invalid") == 2
    assert "caf\\udce9: " in text
    assert Failures(log).note == ""
    assert not log.exists(), "a log of an earlier run is gone"


def test_a_defect_of_ours_stops_early_with_one_line(tmp_path: Path) -> None:
    failures = Failures(tmp_path / "errors.log")
    failures.add("bad", ClipError("bad: is truncated"))  # says nothing about the others
    with pytest.raises(VferError, match=r"^every clip fails in the same way: .*ZeroDivisionError.* bug in vfer, .*errors\.log") as excinfo:
        add_all(failures, 1000)
    assert failures.note.startswith(f"{ALIKE} unexpected errors")
    assert "\n" not in str(excinfo.value)


@pytest.mark.parametrize("other", [0, "odd"], ids=["one success", "another error"])
def test_clips_that_do_not_all_fail_alike_stop_nothing(other: object) -> None:
    failures = Failures(None)
    failures.add("other", error_of("odd") if other == "odd" else other)
    add_all(failures, 3 * ALIKE)
    failures.check()


def test_few_clips_that_all_fail_alike_are_a_defect_too() -> None:
    failures = Failures(None)
    failures.add("a", error_of("a"))
    failures.check()  # one clip alone tells nothing
    failures.add("b", error_of("b"))
    with pytest.raises(VferError, match="every clip fails in the same way"):
        failures.check()


def test_a_stage_goes_on_where_a_clip_fails_as_nobody_foresaw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table of the third clip cannot be written: its name is too long for the file system."""
    monkeypatch.setenv("VFER_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("VFER_WORKERS", "1")
    names = ["toy/a", "toy/b", f"toy/{'x' * 250}"]
    (tmp_path / "clips").mkdir()
    for number in range(3):
        video(tmp_path / "clips" / f"{number}.mkv", [60, 70, 80], codec="ffv1")
    content = (tmp_path / "clips" / "1.mkv").read_bytes()
    (tmp_path / "clips" / "1.mkv").write_bytes(content[: len(content) // 2])
    clips = [manifest.Clip(name, f"clips/{n}.mkv", "happy", f"s{n}", name, "toy") for n, name in enumerate(names)]
    manifest.write(tmp_path / "clips.csv", clips)
    params = yaml.safe_load((HOME / "params.yaml").read_text())
    params["frames"]["max_bad"] = 0.7
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    out = tmp_path / "out"
    frames.main(tmp_path / "clips.csv", tmp_path / "params.yaml", out)
    output = capsys.readouterr().out
    assert f"1 unexpected error, see {out / 'errors.log'}" in output
    assert "File name too long" in (out / "errors.log").read_text()
    assert json.loads((out / "metrics.json").read_text()) == {"clips": 1, "set_aside": 2, "frames": 3, "notes": {}}
    assert [line.partition(",")[0] for line in (out / "refused.csv").read_text().splitlines()] == ["clip", *names[1:]]
    params["frames"]["max_bad"] = 0.5
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(DataError, match=r"2 of 3 clips were set aside, more than frames\.max_bad \(0\.5\)"):
        frames.main(tmp_path / "clips.csv", tmp_path / "params.yaml", out)
