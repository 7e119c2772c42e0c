"""A headless Chromium, driven through its debugging pipe. Nothing here waits longer than `WAIT`, whatever the browser does."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    "--disable-dev-shm-usage",  # containers have little of it, or none
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--remote-debugging-pipe"),
)
WAIT = 30.0  # seconds for an answer, on a busy machine


class BrowserError(Exception):
    """The browser has ended, or does not answer."""


def _high(descriptor: int) -> int:
    """Move a file descriptor out of the way of 3 and 4, which Chromium uses."""
    duplicate = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return duplicate


class Browser:
    """One page in Chromium; `errors` lists what the page reported, `network` the addresses that it requested, but for files.

    Raises `BrowserError` if Chromium does not start or does not answer; it is killed then.
    """

    def __init__(self, profile: Path) -> None:
        there, self._write = map(_high, os.pipe())
        self._read, back = map(_high, os.pipe())
        os.set_blocking(self._write, False)
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        # Chromium reads its orders from the file descriptor 3, and answers on 4.
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec 3<&{there} 4>&{back} {there}<&- {back}>&-; exec "$@"', "bash", *command], pass_fds=(there, back),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(there)
        os.close(back)
        self._buffer, self._number, self.errors, self.network = b"", 0, list[str](), list[str]()
        self._session = ""
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        self.resize(1280, 900)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill Chromium and all its processes."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(WAIT)
            os.close(self._write)
            os.close(self._read)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        if self._process.returncode is not None:
            raise BrowserError(f"{method}: Chromium has ended")
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": self._session} if self._session else {})
        end = time.monotonic() + WAIT
        try:
            os.write(self._write, json.dumps(message).encode() + b"\0")
            while (answer := self._receive(end)).get("id") != self._number:
                pass
        except (OSError, BrowserError) as error:
            self.close()
            raise BrowserError(f"{method}: {error}") from error
        assert "error" not in answer, answer
        return dict(answer["result"])

    def _receive(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0.0, end - time.monotonic()))[0]:
                raise BrowserError(f"no answer within {WAIT:.0f} s")
            part = os.read(self._read, 1 << 16)
            if not part:
                raise BrowserError("Chromium has ended")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        event: dict[str, Any] = json.loads(message)
        self._note(event)
        return event

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(str(params["entry"]["text"]))
        elif event.get("method") == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "data:", "about:")):
                self.network.append(url)

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the window's size in CSS pixels, and whether the reader prefers dark pages."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def open(self, page: Path) -> None:
        """Open a file and wait until it is there."""
        self._call("Page.navigate", url=page.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Return what an expression is worth in the page, waiting for it where it is a promise."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + WAIT
        while not self.run(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.05)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Moves, presses or releases the mouse at a place of the window."""
        names = {"move": "mouseMoved", "press": "mousePressed", "release": "mouseReleased"}
        button = {"button": "left", "clickCount": 1} if kind != "move" else {}
        self._call("Input.dispatchMouseEvent", type=names[kind], x=x, y=y, **button)

    def key(self, key: str) -> None:
        """Press and release a key, named as in JavaScript."""
        text = {"text": key} if len(key) == 1 else {}
        self._call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Save a screenshot as PNG, of the window or of the whole page."""
        output = self._call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(output["data"]))
