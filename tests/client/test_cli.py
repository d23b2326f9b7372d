"""The program's start."""

import subprocess
import sys

HEAVY = {"torch", "numpy", "pydicom", "nibabel", "scipy", "matplotlib"}


def test_the_help_waits_for_nothing_heavy():
    command = [sys.executable, "-c", "import sys, client.cli; print(*sys.modules)"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own command
    assert not HEAVY & set(done.stdout.split())
