"""Drives headless Chromium by its DevTools protocol, over the pipes that it offers: no driver, no package."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

EXECUTABLE: Final = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
_OPTIONS: Final = [
    "--headless",
    "--no-sandbox",  # which does not work for root, and nothing is visited but the pod
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
_PATIENCE: Final = 60.0


class Browser:
    """One page. `complaints`: the page's exceptions, and what the browser says of it, such as what a policy forbids."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._received, self._number, self._session = b"", 0, ""
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol; return its result."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        request = {"id": self._number, "method": method, "params": parameters} | session
        os.write(self._requests, json.dumps(request).encode() + b"\0")
        while (message := self._receive()).get("id") != self._number:
            self._note(message)
        assert "error" not in message, message
        return message["result"]

    @contextlib.contextmanager
    def opened(self, url: str, sign: str) -> Iterator["Browser"]:
        """Open a page anew, and wait for the sign that it is there; at the end nothing must have gone wrong in it."""
        self.complaints.clear()
        self.open(url)
        self.call("Page.reload")
        self.text(sign)
        yield self
        assert self.complaints == []

    def open(self, url: str, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Go to a page, in a window of this size; `scheme` is what the person prefers, light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, or of what it promises."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until the expression is true; return its value."""
        end = time.monotonic() + _PATIENCE
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"never: {expression}; complaints: {self.complaints}"
            time.sleep(0.02)
        return value

    def text(self, selector: str) -> str:
        """Wait for an element; return its text."""
        return str(self.until(f"document.querySelector({selector!r})?.innerText"))

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        self.drag([self.place(selector, 0.5, 0.5)])

    def place(self, selector: str, x: float, y: float) -> tuple[float, float]:
        """Return the point of an element that is `x` of its width and `y` of its height from its corner."""
        element = f"document.querySelector({selector!r})"
        self.until(f"!!{element}")
        box = self.evaluate(
            f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}}), {element}.getBoundingClientRect()"
            ".toJSON()"
        )
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def drag(self, points: Sequence[tuple[float, float]]) -> None:
        """Move the mouse from point to point with its button down."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def press(self, key: str, times: int = 1) -> None:
        """Press a key on whatever has the focus."""
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def picture(self, path: Path) -> None:
        """Save a picture of the whole page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        whole = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            received = os.read(self._answers, 1 << 20)
            assert received, "the browser has ended"
            self._received += received
        message, _, self._received = self._received.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded" and parameters["entry"]["source"] != "network":
            self.complaints.append(parameters["entry"]["text"])


@contextlib.contextmanager
def browser(folder: Path, *options: str) -> Iterator[Browser]:
    """Run a browser, whose profile is kept in `folder`, with more options if need be."""
    assert EXECUTABLE
    theirs_in, requests = os.pipe()
    answers, theirs_out = os.pipe()
    # The pipes must be 3 and 4 to it, whatever they are to us.
    script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", EXECUTABLE, *_OPTIONS, *options, f"--user-data-dir={folder}"],
        pass_fds=(theirs_in, theirs_out),
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(requests, answers)
    finally:
        os.close(requests)  # upon which it ends
        try:
            process.wait(_PATIENCE)
        finally:
            process.kill()
            os.close(answers)
