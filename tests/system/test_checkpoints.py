"""A process that is killed while it writes a checkpoint: the run goes on from a whole one, to the same bits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from federating import federate
from hospitals import model_digest as digest

from server.rounds.checkpoint import Checkpoints
from server.run_files import CHECKPOINT, PREVIOUS

TESTS = Path(__file__).resolve().parents[1]
OPTIMIZER = {"name": "momentum"}

RUN = """
import os, signal, sys
from pathlib import Path
from federating import federate
from server.rounds.checkpoint import Checkpoints

calls, replace = 0, os.replace

def killing(source, target):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = killing
checkpoints = Checkpoints(Path(sys.argv[1]), "d" * 64)
federate(progress=checkpoints.load(), on_round=checkpoints.save, optimizer={"name": "momentum"})
"""


@pytest.fixture(scope="module")
def whole():
    return outcome(federate(optimizer=OPTIMIZER))


def outcome(done):
    return digest(done.model), digest(done.best), done.records


@pytest.mark.parametrize("call", [1, 2, 3, 4, 6, 9])
def test_a_run_killed_while_it_writes_a_checkpoint_ends_with_the_same_bits(tmp_path, whole, call):
    """Calls of `os.replace`: the first checkpoint takes one, each later one two."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    arguments = [sys.executable, "-c", RUN, str(tmp_path), str(call)]
    killed = subprocess.run(arguments, cwd=TESTS, env=env, capture_output=True, check=False)  # noqa: S603 - our own
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    checkpoints = Checkpoints(tmp_path, "d" * 64)
    progress = checkpoints.resume(lambda event, **fields: None)
    assert outcome(federate(progress=progress, on_round=checkpoints.save, optimizer=OPTIMIZER)) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREVIOUS, CHECKPOINT]
