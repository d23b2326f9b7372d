"""A real browser, without a window, that tests look at pages with."""

import contextlib
import json
import os
import subprocess
import time

PATIENCE = 60
"""Seconds after which something is taken for never coming."""


class Browser:
    """Chromium's developer protocol over two pipes.

    Args:
        profile: an empty folder for all that it writes.
    """

    def __init__(self, program, profile):
        theirs, self._out = os.pipe()
        self._in, answers = os.pipe()
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        # The protocol wants descriptors 3 and 4; bash puts them there, for sh knows none above 9.
        command = ["/bin/bash", "-c", f'exec "$0" "$@" 3<&{theirs} 4>&{answers}', program, *flags, "about:blank"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        env = os.environ | {"HOME": str(profile)}
        self._process = subprocess.Popen(command, pass_fds=(theirs, answers), env=env, **quiet)  # noqa: S603 - ours
        os.close(theirs)
        os.close(answers)
        self._buffer, self._number, self.events = b"", 0, []
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """A command's result; events that come before it are kept."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._number, "method": method, "params": params} | session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def ask(self, expression):
        """The value of a piece of JavaScript, in a world beside that of the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def open(self, address, width, scheme="light"):
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=address)
        until(lambda: self.ask("document.readyState === 'complete' && location.href !== 'about:blank'"))

    def text(self, element):
        """What is read there, on one line; "" where there is no such element."""
        return " ".join((self.ask(f"document.getElementById('{element}')?.innerText") or "").split())

    def requests(self):
        """Addresses that the page has asked for."""
        sent = (event for event in self.events if event.get("method") == "Network.requestWillBeSent")
        return {event["params"]["request"]["url"] for event in sent}

    def complaints(self):
        """What the browser's log says, of the content security policy above all."""
        return [event["params"]["entry"]["text"] for event in self.events if event.get("method") == "Log.entryAdded"]

    def close(self):
        with contextlib.suppress(OSError):
            os.write(self._out, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        try:
            self._process.wait(timeout=PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._in)
            os.close(self._out)

    def _next(self):
        while b"\0" not in self._buffer:
            part = os.read(self._in, 1 << 16)
            assert part, "the browser has gone"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


def until(condition):
    """Wait for it; the value is what it gave."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.1)
    return found
