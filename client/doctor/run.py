"""A call of `ra-client doctor`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from client.doctor.finding import Finding, State, look
from client.doctor.machine import machine
from client.doctor.way import way
from client.member.station import open_station
from client.member.supernode import check_flower
from ra_core.errors import RAError
from ra_core.installed import package_hash, refuse_foreign
from ra_core.words import printable

__all__ = ["examine", "report"]


def examine(site: Path, data: Path | None, cache: Path | None) -> list[Finding]:
    """Look at everything; a problem doesn't end it, but what builds on it is skipped.

    Args:
        site: config.
        data: root, in place of the config's.
        cache: folder for what was seen, in place of the user's.
    """
    packages = [look("packages", _packages), look("versions", _versions)]
    try:
        station = open_station(site)
    except RAError as error:
        return [Finding("config", State.PROBLEM, error.message, error.hint, error.exit_code), *packages]
    config = Finding("config", State.OK, f"site '{station.site}', server {station.server.address}")
    return [config, *packages, *way(station), *machine(station, data, cache)]


def report(findings: Sequence[Finding], as_json: bool) -> str:
    """A line a check, and under a problem what to do; or a JSON list of all."""
    if as_json:
        return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)
    lines = []
    for finding in findings:
        lines.append(printable(f"{finding.state:<8} {finding.check:<11} {finding.what}"))
        if finding.fix:
            lines.append(f"{'':<8} {'':<11} -> {finding.fix}")
    return "\n".join(lines)


def _packages() -> str:
    refuse_foreign()
    return f"federated-ra {version('federated-ra')}, {package_hash()[:16]}"


def _versions() -> str:
    check_flower()
    python = ".".join(map(str, sys.version_info[:3]))
    return f"Python {python}, flwr {version('flwr')}, torch {version('torch')}"
