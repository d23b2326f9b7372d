"""A run needs no network: it gives the same bits without one, and does not even try."""

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

NO_NETWORK = ("unshare", "--map-root-user", "--net")
REFUSE = """
import pathlib, socket

def refuse(*args, **kwargs):
    pathlib.Path({told!r}).write_text(repr(args))
    raise OSError("no network in this test")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


def works(*command, env=None):
    """Whether a command is there and ends with 0."""
    if not shutil.which(command[0]):
        return False
    return not subprocess.run(command, env=env, capture_output=True, check=False).returncode  # noqa: S603 - our own


def test_without_a_network(desk, finished):
    if not works(*NO_NETWORK, "true"):
        pytest.skip("this machine does not let a user make a network namespace")
    process = replace(desk, prefix=NO_NETWORK).train()
    assert process.code == 0, process.stderr
    assert desk.outcome() == finished.outcome()


def test_no_connection_is_tried(desk, finished, tmp_path):
    told = tmp_path / "told.txt"
    blocker = tmp_path / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(REFUSE.format(told=str(told)))
    desk = desk.with_env(PYTHONPATH=str(blocker))
    assert not works(sys.executable, "-c", "import socket; socket.create_connection(('::1', 9))", env=desk.env)
    assert told.exists(), "the block does not work"
    told.unlink()

    process = desk.train()
    assert process.code == 0, process.stderr
    assert not told.exists(), told.read_text()
    assert desk.outcome() == finished.outcome()


def test_building_a_method_of_timm_or_diffusers_asks_no_network():
    program = """
import socket

def refuse(*args, **kwargs):
    raise SystemExit("asked the network")

socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse
from ra_core.models.configs import DDPMConfig, MAEConfig
from ra_core.models.registry import build_method
build_method(MAEConfig(), 32, 0), build_method(DDPMConfig(), 32, 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
