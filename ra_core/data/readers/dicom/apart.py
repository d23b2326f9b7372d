"""Frames decoded in a process of their own, since damaged ones can make a decoder end the process that it runs in."""

from __future__ import annotations

import atexit
import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from ra_core.data.readers.dicom.worker import receive, send
from ra_core.data.readers.refusal import Reason, Refusal

__all__ = ["decode_apart"]

_PATIENCE = 60.0  # seconds for one frame
_WIDEST = 4  # bytes a sample
_lock = threading.Lock()
_workers: dict[int, subprocess.Popen[bytes]] = {}
"""By process: a fork starts its own, and leaves that of its parent alone."""


def decode_apart(syntax: UID, options: dict[str, Any], frame: bytes) -> NDArray[np.integer]:
    """Decode one compressed frame.

    Args:
        syntax: its transfer syntax.
        options: for pydicom's decoder.
        frame: compressed.

    Raises:
        Refusal: the frame is damaged: the decoder says so, takes more than a minute, or ends.
    """
    question = json.dumps({"syntax": syntax, "options": options}).encode()
    shape = (options["rows"], options["columns"], options["samples_per_pixel"])
    samples = math.prod(shape)
    with _lock:
        worker, (stdin, stdout) = _worker()
        alarm = threading.Timer(_PATIENCE, worker.kill)
        alarm.start()
        try:
            send(stdin, question, frame)
            answer = receive(stdout, samples * _WIDEST)
        except OSError:  # it has ended while we wrote
            answer = None
        finally:
            alarm.cancel()
        if answer is None:
            _end()
    kind = "" if answer is None else answer[0].decode()
    if answer is None or not kind:
        raise Refusal(Reason.DAMAGED, "a compressed frame that is damaged", "export it again")
    pixels = np.frombuffer(answer[1], dtype=np.dtype(kind)).copy().reshape(shape)
    return pixels[..., 0] if shape[-1] == 1 else pixels


def _worker() -> tuple[subprocess.Popen[bytes], tuple[IO[bytes], IO[bytes]]]:
    """That of this process, started where there is none."""
    found = _workers.get(os.getpid())
    if found is None:
        script = Path(__file__).with_name("worker.py")
        found = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-P", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        _workers[os.getpid()] = found
    if found.stdin is None or found.stdout is None:
        raise RuntimeError("a worker without pipes")
    return found, (found.stdin, found.stdout)


@atexit.register
def _end() -> None:
    worker = _workers.pop(os.getpid(), None)
    if worker is not None:
        worker.kill()
        worker.communicate()
