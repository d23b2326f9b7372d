"""Both engines run the same apps on the same sites and give the same bits, whatever is killed in between."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from hospitals import model_digest, tiny_federation, write_hospitals

from ra_core.config import RuntimeConfig
from ra_core.daemons import processes
from ra_core.errors import QuorumError
from simulation.engines import run_flower, run_in_process

TESTS = Path(__file__).resolve().parents[1]
ONE_THREAD = RuntimeConfig(threads=1)
PRIVATE_DECODER = tiny_federation(parts=["encoder"], rounds=4)
RUN_IN_PROCESS = """
import sys
from pathlib import Path
from hospitals import tiny_federation, write_hospitals
from ra_core.config import RuntimeConfig
from simulation.engines import run_in_process

nodes = write_hospitals(Path(sys.argv[1]), Path(sys.argv[2]))
study = tiny_federation(parts=["encoder"], rounds=4)
run_in_process(study, nodes, RuntimeConfig(threads=1), Path(sys.argv[3]), lambda done, _: print(done, flush=True))
"""
NOTE_OUR_FILES = """
import os, sys

def note(event, arguments):
    if event == "exec":
        name = arguments[0].co_filename
        if name.endswith(("client/app.py", "server/app.py")) and "/flwr/" not in name:
            with open({told!r}, "a") as file:
                file.write(name + "\\n")

sys.addaudithook(note)
"""


def nothing(done, total):
    """No progress bar."""


def outcome(progress):
    """Without fingerprints: each hospital keys them with a secret of its own, drawn anew in every test."""
    records = [replace(record, fingerprints={}) for record in progress.records]
    return model_digest(progress.model), model_digest(progress.best), progress.best_round, records


@pytest.fixture
def nodes(site_root, tmp_path):
    return write_hospitals(site_root, tmp_path / "hospitals")


@pytest.fixture(scope="module")
def whole(site_root, tmp_path_factory):
    """What comes out if nothing is disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    nodes = write_hospitals(site_root, folder / "hospitals")
    return outcome(run_in_process(PRIVATE_DECODER, nodes, ONE_THREAD, folder / "run", nothing))


def ray_processes():
    """By the folder that our engine gives to Ray; workers are children of those, with another command line."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        if f"{tempfile.gettempdir()}/ra-" in " ".join(process.info["cmdline"] or ()):
            found.add(process)
    return found


@pytest.fixture
def nothing_left(tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="") as own:  # a short name: Ray's sockets bear no long paths
        monkeypatch.setattr(tempfile, "tempdir", own)
        yield
        assert not ray_processes()
    assert not processes._marked("RA_SIMULATION", str(tmp_path / "run" / "nodes.json"))
    assert not psutil.Process().children(recursive=True)


@pytest.mark.usefixtures("nothing_left")
def test_flower_gives_the_same_bits_from_installed_code(nodes, whole, tmp_path, monkeypatch):
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(NOTE_OUR_FILES.format(told=str(tmp_path / "told.txt")))
    monkeypatch.setenv("PYTHONPATH", str(hook))
    told = []
    done = run_flower(PRIVATE_DECODER, nodes, ONE_THREAD, tmp_path / "run", lambda *now: told.append(now))
    assert outcome(done) == whole
    assert told[-1] == (10, 10)
    ours = {find_spec(name).origin for name in ("client.app", "server.app")}
    assert set((tmp_path / "told.txt").read_text().split()) == ours
    assert "reports" not in (tmp_path / "run" / "flower" / "run.log").read_text()


@pytest.mark.usefixtures("nothing_left")
def test_flower_broken_off_and_gone_on_with_in_process(nodes, whole, tmp_path):
    def interrupt(done, total):
        if 0 < done < total:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):  # a fast machine may be through before we look
        run_flower(PRIVATE_DECODER, nodes, ONE_THREAD, tmp_path / "run", interrupt)
    assert not processes._marked("RA_SIMULATION", str(tmp_path / "run" / "nodes.json"))
    assert outcome(run_in_process(PRIVATE_DECODER, nodes, ONE_THREAD, tmp_path / "run", nothing)) == whole


@pytest.mark.usefixtures("nothing_left")
def test_a_failure_under_flower_is_the_servers_own(nodes, tmp_path):
    nodes[1].site_config.write_text("name: nobody")
    with pytest.raises(QuorumError, match=r"1 of 2 .*reports ConfigError") as caught:
        run_flower(PRIVATE_DECODER, nodes, ONE_THREAD, tmp_path / "run", nothing)
    assert caught.value.hint
    assert "is required" in (tmp_path / "run" / "flower" / "run.log").read_text()


def test_what_a_killed_run_has_left_is_ended(tmp_path):
    """A process in a session of its own that ignores a request to end, and its child that has another environment."""
    stubborn = "trap '' TERM; env -i sleep 1000 & wait; sleep 1000"
    env = {"RA_SIMULATION": str(tmp_path), "PATH": os.environ["PATH"]}
    left = subprocess.Popen(["sh", "-c", stubborn], env=env, start_new_session=True)  # noqa: S603, S607
    parent = psutil.Process(left.pid)
    while not (children := parent.children()):
        pass
    processes.end_all("RA_SIMULATION", str(tmp_path), grace=0.5)
    left.wait()
    assert not any(processes._alive(process) for process in (parent, *children))


@pytest.fixture
def killed(site_root, tmp_path):
    """A function that runs in a process of its own and kills that after so many answers."""

    def kill(answers):
        arguments = [str(site_root), str(tmp_path / "hospitals"), str(tmp_path / "run")]
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-c", RUN_IN_PROCESS, *arguments], cwd=TESTS, stdout=subprocess.PIPE, text=True
        )
        try:
            assert any(line.strip() == str(answers) for line in process.stdout)
        finally:
            process.kill()
            process.communicate()

    return kill


@pytest.mark.parametrize("answers", [1, 3, 6, 9])
def test_a_run_killed_in_any_round_goes_on_to_the_same_bits(nodes, whole, killed, tmp_path, answers):
    killed(answers)
    assert outcome(run_in_process(PRIVATE_DECODER, nodes, ONE_THREAD, tmp_path / "run", nothing)) == whole


@pytest.mark.usefixtures("nothing_left")
def test_killed_in_process_and_gone_on_with_flower(nodes, whole, killed, tmp_path):
    killed(5)
    shutil.rmtree(nodes[0].cache)
    assert outcome(run_flower(PRIVATE_DECODER, nodes, ONE_THREAD, tmp_path / "run", nothing)) == whole
