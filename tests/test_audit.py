"""The audit of packages fails on a finding, and never says that all is well where nothing was looked up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).resolve().parents[1] / ".ci" / "audit.py"

NUMPY = '{"name": "numpy", "version": "2", "vulns": []}'
BAD = '{"name": "bad", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}]}'
UNKNOWN = '{"name": "numpy", "skip_reason": "Dependency not found on PyPI and could not be audited: numpy (2)"}'


@pytest.fixture
def audit(tmp_path):
    """Run the script with a pip-audit that answers about one package, then about all."""

    def run(one, everything, code=0):
        (tmp_path / "pip_audit.py").write_text(
            "import sys\n"
            f"print({one!r} if '--requirement' in sys.argv else {everything!r})\n"
            "sys.stderr.write('a trace\\nConnectionError: no way\\n')\n"
            f"sys.exit({code})\n"
        )
        env = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run([sys.executable, AUDIT], env=env, capture_output=True, text=True, check=False)  # noqa: S603 - ours

    return run


def report(*packages):
    return f'{{"dependencies": [{", ".join(packages)}], "fixes": []}}'


def test_a_finding_fails(audit):
    done = audit(report(NUMPY), report(NUMPY, BAD), code=1)
    assert done.returncode == 1
    assert "bad 1.0: PYSEC-1 (mended in 1.1)" in done.stdout
    assert "1 of 2 packages" in done.stdout


def test_a_finding_in_the_first_package_fails_too(audit):
    bad = BAD.replace("bad", "numpy")
    assert audit(report(bad), report(bad), code=1).returncode == 1


def test_no_finding_passes_and_names_what_was_not_audited(audit):
    done = audit(report(NUMPY), report(NUMPY, '{"name": "ours", "skip_reason": "editable"}'))
    assert done.returncode == 0
    assert "0 of 1 packages have known vulnerabilities; not audited: ours" in done.stdout


@pytest.mark.parametrize(("answer", "code"), [(report(UNKNOWN), 0), ("", 1), ("no JSON", 1), (report(), 0)])
def test_without_advisories_it_says_so_and_never_that_all_is_well(audit, answer, code):
    done = audit(answer, "must not be asked", code=code)
    assert done.returncode == 3
    assert "NOTHING WAS AUDITED" in done.stdout
    assert "of 0 packages" not in done.stdout
    assert "must not" not in done.stdout


@pytest.mark.parametrize(("answer", "code"), [("", 1), ("no JSON", 0), (report(), 0), (report(UNKNOWN), 0)])
def test_where_only_the_first_package_is_answered_for_it_fails(audit, answer, code):
    done = audit(report(NUMPY), answer, code=code)
    assert done.returncode == 1
    assert "FAILED, NOTHING WAS AUDITED: advisories can be had" in done.stdout


def test_without_pip_audit_it_fails(tmp_path):
    """Python without site packages finds none; numpy's version isn't asked for then."""
    done = subprocess.run([sys.executable, "-S", AUDIT], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert done.returncode == 1
    assert "pip-audit is not installed" in done.stdout
