"""Asks pip-audit whether an installed package has a known vulnerability; fails on a finding, and without an answer.

pip-audit ends with 0 and "No known vulnerabilities found" also where it could look up nothing: an index that has no
advisories answers each question with "not found". So what was audited is counted here, and where that is nothing, it is
said, and the exit code is `UNKNOWN`. One package is asked about first, so that such an index isn't asked hundreds of
times. Where pip-audit itself is missing, or fails on all packages once it has had an answer about one, that is a
failure, and no missing index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ACCEPTED: dict[str, str] = {}
"""Advisories that are known and don't fail the audit, each with the reason."""

PROBE = "numpy"

UNKNOWN = 3
"""Exit code where nothing was audited since no advisories can be had: that is no finding, and no release either."""

PIP_AUDIT = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]


def main() -> int:
    """Audit this environment; the value is the exit code."""
    if find_spec("pip_audit") is None:
        return failed("pip-audit is not installed: `make install` installs it")
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder) / "requirements.txt"
        one.write_text(f"{PROBE}=={version(PROBE)}\n")
        found = _asked("--requirement", str(one), "--no-deps", "--disable-pip")
    if not _audited(found):
        print("pip-audit: NOTHING WAS AUDITED: the advisories can't be had from here")  # noqa: T201 - its one purpose
        return UNKNOWN
    found = _asked("--local", "--skip-editable", *(word for name in ACCEPTED for word in ("--ignore-vuln", name)))
    return tell(found) if _audited(found) else failed("advisories can be had, and yet no list of all packages came")


def failed(why: str) -> int:
    """Say that the audit could not be made; the value is the exit code."""
    print(f"pip-audit: FAILED, NOTHING WAS AUDITED: {why}")  # noqa: T201
    return 1


def tell(found: list[dict[str, Any]]) -> int:
    """Print what was found of packages, as pip-audit's JSON lists them; the value is the exit code."""
    audited = _audited(found)
    bad = [package for package in audited if package["vulns"]]
    for package in bad:
        known = ", ".join(
            f"{vuln['id']} (mended in {', '.join(vuln['fix_versions']) or '-'})" for vuln in package["vulns"]
        )
        print(f"pip-audit: {package['name']} {package['version']}: {known}")  # noqa: T201
    left = sorted(package["name"] for package in found if "skip_reason" in package)
    rest = f"; not audited: {', '.join(left)}" if left else ""
    print(f"pip-audit: {len(bad)} of {len(audited)} packages have known vulnerabilities{rest}")  # noqa: T201
    return 1 if bad else 0


def _audited(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [package for package in found if "vulns" in package]


def _asked(*options: str) -> list[dict[str, Any]]:
    """What pip-audit says of packages; none where it prints no JSON, as where it can't reach what it asks."""
    done = subprocess.run([*PIP_AUDIT, *options], capture_output=True, text=True, check=False)  # noqa: S603 - a tool
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"pip-audit: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]:.300}")  # noqa: T201
        return []
    return packages


if __name__ == "__main__":
    sys.exit(main())
