"""A headless Chromium driven through its DevTools protocol (a websocket, JSON messages).

As little of a browser driver as the tests need: open a page, run JavaScript, click where
an element is, take a picture, and list every address that the page asked for. The
browser gets a fresh profile, and nothing that would make it call home.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import websocket

from harness.base.process import end_group
from harness.base.wait import wait_for

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WINDOW = "1400,1000"
START_SECONDS = 90.0
ANSWER_SECONDS = 60.0

_FLAGS = (
    "--headless",
    "--no-sandbox",  # containers and root have no user namespace for it
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--metrics-recording-only",
    "--remote-debugging-port=0",
    f"--window-size={WINDOW}",
)

# The middle of the first visible element that matches and has this text, or null.
_FIND = """(selector, text) => {
    for (const element of document.querySelectorAll(selector)) {
        const box = element.getBoundingClientRect();
        if (box.width && box.height && (!text || element.textContent.trim() === text))
            return [box.x + box.width / 2, box.y + box.height / 2];
    }
    return null;
}"""


def program() -> str | None:
    """The path of a Chromium on this machine."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Page:
    """One tab. `requested` lists the addresses that it asked for so far."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(
            address, timeout=ANSWER_SECONDS, suppress_origin=True
        )
        self._number = 0
        self.requested: list[str] = []
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One DevTools command and its answer. Raises RuntimeError when it is refused."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            message = json.loads(self._socket.recv())
            if message.get("method") == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
        raise TimeoutError(f"Chromium did not answer {method}")

    def open(self, url: str) -> None:
        """Go to `url`; does not wait for anything on it."""
        self.call("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def click(self, selector: str, text: str = "", timeout: float = 60) -> None:
        """Click the middle of the first visible element that matches and has this text."""
        find = f"({_FIND})({json.dumps(selector)}, {json.dumps(text)})"
        x, y = wait_for(
            f"{selector} {text!r} to be on the page",
            lambda: self.evaluate(find),
            timeout=timeout,
            explain=lambda: str(self.evaluate("document.body.innerText"))[-800:],
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def picture(self, file: Path) -> None:
        """Write what the page shows as a PNG."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        file.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@contextmanager
def browse(chromium: str, profile: Path) -> Iterator[Page]:
    """Start Chromium with the fresh profile folder `profile`; end it afterwards."""
    process = subprocess.Popen(
        [chromium, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        # Crash reports and caches go to the profile, not to a person's home.
        env={**os.environ, "XDG_CONFIG_HOME": str(profile), "XDG_CACHE_HOME": str(profile)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    try:
        page = Page(_address_of_tab(process, profile))
        try:
            yield page
        finally:
            page.close()
    finally:
        end_group(process)


def _address_of_tab(process: subprocess.Popen[str], profile: Path) -> str:
    """The websocket of the first tab; Chromium writes its port into the profile."""
    session = requests.Session()
    session.trust_env = False

    def probe() -> str:
        if process.poll() is not None:
            raise RuntimeError(f"Chromium ended with status {process.returncode}")
        port = (profile / "DevToolsActivePort").read_text().splitlines()[0]
        tabs = session.get(f"http://127.0.0.1:{port}/json/list", timeout=5).json()
        return next((str(t["webSocketDebuggerUrl"]) for t in tabs if t["type"] == "page"), "")

    return wait_for(
        "Chromium to open a tab",
        probe,
        timeout=START_SECONDS,
        transient=(FileNotFoundError, IndexError, requests.RequestException),
    )
