import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ra_core.daemons.units import unit

ANALYZE = shutil.which("systemd-analyze")
FOLDERS = [Path("/srv/ra"), Path("/srv/räd iolo%gy")]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed")
def test_systemd_takes_it(tmp_path, folder):
    command = (sys.executable, "-c", 'print("$HOME %h \\ done")')
    file = tmp_path / "ra-test.service"
    file.write_text(unit("A 100 % test", command, folder, "root"), encoding="utf-8")
    command = [str(ANALYZE), "verify", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a file of our own
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_is_kept_up_for_ever():
    text = unit("x", ("/bin/true",), Path("/srv"))
    assert "Restart=always" in text
    assert "StartLimitIntervalSec=0" in text
    assert "User=" not in text


def test_arguments_stay_whole():
    text = unit("x", ("/bin/echo", 'a "b" $c %d \\e'), Path("/srv"))
    assert 'ExecStart="/bin/echo" "a \\"b\\" $$c %%d \\\\e"' in text


@pytest.mark.parametrize("bad", [("relative",), ("/bin/echo", "two\nlines")])
def test_what_no_unit_can_hold_is_refused(bad):
    with pytest.raises(ValueError, match=r"absolute|line break"):
        unit("x", bad, Path("/srv"))
