"""What a hospital types, as docs/joining.md says it, in a shell."""

import os
import subprocess
import sys
from pathlib import Path

from fenced import fenced

JOINING = Path(__file__).resolve().parents[2] / "docs/joining.md"
PACKAGES = {"ra-client": "client", "ra-server": "server", "ra-simulate": "simulation"}


def test_the_page_leads_to_a_green_check(tmp_path):
    """Its blocks marked `sh`, as they stand; the others install, or take minutes."""
    for program, package in PACKAGES.items():
        tool = tmp_path / "tools" / program
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from {package}.cli import main; main()" "$@"\n')
        tool.chmod(0o755)
    path = f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603 - our own page
        ["/bin/bash", "-euc", "".join(fenced(JOINING, "sh"))],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "RA_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,  # a hang; it takes half a minute on a free machine
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "exit code 18\n" in done.stdout
    red, _, green = done.stderr.partition("error: ")
    assert "may not join" in red
    assert "may join" in green
