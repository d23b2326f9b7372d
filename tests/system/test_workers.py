import os
import signal
import subprocess
import sys

PROGRAM = """
import time
from pathlib import Path
from ra_core.console import run_app
from simulation.grid.cells import Cell
from simulation.grid.workers import in_processes

def compute(key):
    Path("begun").touch()
    time.sleep(1000)

class One:
    key = told = "one"

def main():
    list(in_processes(compute, [One()], 1, None, print))

if __name__ == "__main__":
    run_app(lambda standalone_mode: main())
"""


def test_a_signal_to_the_study_alone_ends_its_workers_too(tmp_path):
    """As of a batch system, which ends a job by SIGTERM: no cell goes on for minutes behind it."""
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": "."}
    )
    try:
        while not (tmp_path / "begun").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
        assert process.stdout.read() == b""  # its end: no worker holds the pipe
    finally:
        process.kill()
        process.wait()
