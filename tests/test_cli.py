"""The `vfer` command as a person runs it: help, version, one-line errors, Ctrl-C."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import pytest
from rich.table import Table

from vfer.cli import console
from vfer.errors import VferError

HOME = Path(__file__).resolve().parents[1]
# Another test process may have set a width, or ask for colours.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "FORCE_COLOR")}


def vfer(*arguments: str | Path, cwd: Path = HOME) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vfer.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120)


def test_help_names_every_command() -> None:
    top = vfer("--help")
    assert (top.returncode, top.stderr) == (0, "")
    assert {line.split()[0] for line in top.stdout.split("Commands:")[1].splitlines() if line} >= {"doctor", "data", "detector"}
    under = vfer("data", "--help").stdout.split("Commands:")[1]
    assert [line.split()[0] for line in under.splitlines() if line] == ["add", "show", "places", "render"]


def test_without_arguments_it_shows_help() -> None:
    assert vfer().stderr == vfer("--help").stdout


def test_the_version_is_the_package_s() -> None:
    assert vfer("--version").stdout == f"vfer {metadata.version('vfer')}\n"


def test_the_console_script_is_this_command() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="vfer")
    assert script.value == "vfer.cli.app:main"
    assert callable(script.load())


def test_an_error_that_can_be_mended_is_one_line_on_standard_error(tmp_path: Path) -> None:
    outcome = vfer("data", "show", "--data", tmp_path / "nowhere")
    assert outcome.returncode == 1
    assert outcome.stdout == ""
    assert outcome.stderr == f"error: {tmp_path / 'nowhere'}: holds no dataset; fill it with `vfer data add`\n"


def test_names_of_files_cannot_forge_lines_or_colours(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9\n\x1b[31mall is well")
    outcome = vfer("data", "show", "--data", odd)
    assert outcome.stderr == f"error: {tmp_path}/caf\\udce9\\n\\x1b[31mall is well: holds no dataset; fill it with `vfer data add`\n"


@pytest.mark.parametrize("arguments", [["dcotor"], ["data", "add"], ["doctor", "--rot", "x"], ["data", "render", "x", "--actors", "0"]])
def test_a_wrong_command_line_exits_with_2_and_says_why(arguments: list[str]) -> None:
    outcome = vfer(*arguments)
    assert outcome.returncode == 2
    assert "Usage: " in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_doctor_prints_a_table_and_fails_where_something_is_broken(tmp_path: Path) -> None:
    outcome = vfer("doctor", "--root", tmp_path)
    assert outcome.returncode == 1
    assert "Traceback" not in outcome.stderr + outcome.stdout
    words = " ".join(outcome.stdout.replace("│", " ").split())
    assert "fail params.yaml" in words
    assert "ok packages" in words
    assert list(tmp_path.iterdir()) == [], "it left something behind"


@pytest.mark.skipif(not shutil.which("sh"), reason="needs a POSIX shell's signals")
def test_ctrl_c_ends_it_with_130_and_no_traceback(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "vfer.cli", "data", "render", str(out), "--actors", "40"]
    environment = ENVIRONMENT | {"VFER_WORKERS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while not list(out.rglob("*.mp4")) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the command and its workers
        output, errors = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert "Traceback" not in output + errors


@pytest.mark.parametrize(
    ("number", "part"), [(errno.ENOSPC, "is full; free some space"), (errno.EROFS, "read-only"), (errno.EACCES, "denied")]
)
def test_a_disk_that_takes_no_file_is_one_line(number: int, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        console.fail_if_unwritable(OSError(number, os.strerror(number), "out.csv"))
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out.csv: ")
    assert part in line
    with pytest.raises(OSError, match="broken"):
        console.fail_if_unwritable(OSError(errno.EPIPE, "broken pipe"))


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """rich would take `[red]` for a colour, and `:M:` for the name of a picture."""
    table = Table("clip")
    table.add_row("a:x:[red]b:smile:[/].mp4")
    for target in (console.console, console.errors):
        target.print(table)
        target.print("a:x:[red]b:smile:[/].mp4")
    with pytest.raises(SystemExit):
        console.fail(VferError("--start -5: give M:S or H:M:S"))
    output = capsys.readouterr()
    assert (output.out + output.err).count("a:x:[red]b:smile:[/].mp4") == 4
    assert "H:M:S" in output.err
