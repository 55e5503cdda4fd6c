"""A real browser without a window: Chromium, led through a pipe by its own protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT = 60.0  # seconds
# Chromium reads from descriptor 3 and writes to 4.
MOVED = """
import fcntl, os, sys
moved = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 20) for number in sys.argv[1:3]]
for number, its in zip((3, 4), moved):
    os.dup2(its, number)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find() -> str | None:
    """The path of a browser; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def browser(folder: Path) -> Iterator["Browser"]:
    """Context manager with a browser that keeps its files in `folder`.

    Raises:
      FileNotFoundError: there is no Chromium.
    """
    path = find()
    if path is None:
        raise FileNotFoundError(f"there is no browser: none of {', '.join(NAMES)}")
    theirs, ours = os.pipe(), os.pipe()  # what it reads, what it writes

    options = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--remote-debugging-pipe",
        f"--user-data-dir={folder / 'profile'}",
    )
    process = subprocess.Popen(
        [sys.executable, "-c", MOVED, str(theirs[0]), str(ours[1]), path, *options],
        pass_fds=(theirs[0], ours[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs[0])
    os.close(ours[1])
    try:
        with open(theirs[1], "wb", buffering=0) as to, open(ours[0], "rb", buffering=0) as answers:
            yield Browser(to, answers)
    finally:
        process.kill()
        process.wait(timeout=TIMEOUT)


class Browser:
    """A browser with one page."""

    def __init__(self, to: Any, answers: Any) -> None:
        self._to, self._answers, self._rest = to, answers, b""
        self._number, self._session = 0, ""
        self.problems: list[str] = []  # what the page has written to the console, or failed with
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for name in ("Page", "Runtime", "DOM"):
            self.call(f"{name}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Calls a method of the protocol; returns its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)
        raise TimeoutError(method)

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], TIMEOUT)
            assert ready, "the browser does not answer"
            part = self._answers.read(1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Runtime.exceptionThrown":
            details = event["params"]["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))

    def open(self, path: Path, *, width: int = 1100, height: int = 900, dark: bool = False) -> None:
        """Opens a file in a window of this size, and waits until it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Returns the value of an expression in the page; waits for a promise."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Waits until an expression is true in the page."""
        end = time.monotonic() + TIMEOUT
        while not self.run(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.02)

    def draw(self, points: Sequence[tuple[float, float]]) -> None:
        """Draws a line with the mouse through points of the window."""
        held: dict[str, Any] = {"button": "left", "buttons": 1, "clickCount": 1}
        (x, y), *others = points
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, **held)
        for x, y in others:
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **held)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, **held)

    def press(self, key: str, code: str = "") -> None:
        """Presses and releases a key."""
        its = {"key": key, "code": code or key}
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **its, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **its)

    def give(self, selector: str, file: Path) -> None:
        """Chooses a file in a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(file)], nodeId=node)

    def screenshot(self, path: Path) -> None:
        """Saves what the window shows as a PNG."""
        found = self.call("Page.captureScreenshot")
        path.write_bytes(base64.b64decode(found["data"]))
