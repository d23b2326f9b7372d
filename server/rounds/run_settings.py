"""What the operator gives a run: names, paths and numbers, as Flower hands them over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ra_core.config import DIGEST, SITE_NAME, StudyConfig
from ra_core.errors import ConfigError
from ra_core.settings import load_config

__all__ = ["RunSettings", "folder_of", "load_study"]


@dataclass(frozen=True)
class RunSettings:
    """A run's settings.

    Attributes:
        folder: where checkpoint and records are and go (`folder`).
        study_file: the study's settings on this machine (`study-file`).
        sites: agreed names, joined by commas (`sites`).
        nodes: sites by the number of their key at the SuperLink, as NUMBER:NAME joined by commas (`nodes`); where it is
            given, a node can be no other site. Empty where no keys are.
        run: name of the run (`run`); the folder's name where it is empty.
        bundle: SHA-256 of the app that was submitted (`bundle`); may be empty.
        deadline: seconds in place of the study's for joining and rounds (`deadline`), where simulated sites answer one
            after another; None where it is empty.
    """

    folder: Path
    study_file: Path
    sites: tuple[str, ...]
    nodes: dict[int, str]
    run: str
    bundle: str
    deadline: float | None

    @classmethod
    def of(cls, run_config: Mapping[str, Any]) -> RunSettings:
        """From what Flower gives.

        Raises:
            ConfigError: a setting is missing or bad.
        """
        folder = folder_of(run_config)
        sites = _sites(_required(run_config, "sites"))
        bundle = str(run_config.get("bundle", ""))
        if bundle and not DIGEST.fullmatch(bundle):
            raise ConfigError("the run's setting 'bundle' is no SHA-256", "leave it to `ra-server run`")
        deadline = str(run_config.get("deadline", ""))
        return cls(
            folder=folder,
            study_file=Path(_required(run_config, "study-file")),
            sites=sites,
            nodes=_nodes(str(run_config.get("nodes", "")), sites),
            run=str(run_config.get("run", "")) or folder.name,
            bundle=bundle,
            deadline=float(deadline) if deadline else None,
        )


def folder_of(run_config: Mapping[str, Any]) -> Path:
    """The run's folder alone: what goes wrong with the rest is told there.

    Raises:
        ConfigError: it is not given.
    """
    return Path(_required(run_config, "folder"))


def load_study(path: Path) -> StudyConfig:
    """A run's study.

    Raises:
        ConfigError: the file is no good, or no federation can train its method.
    """
    study = load_config(path, StudyConfig)
    if study.why_local:
        raise ConfigError(f"{path}: {study.why_local}", "train it at each site alone: `ra-simulate train`")
    return study


def _required(run_config: Mapping[str, Any], name: str) -> str:
    value = str(run_config.get(name, ""))
    if not value:
        raise ConfigError(f"the run's setting '{name}' is empty", f"""add --run-config '{name}="..."'""")
    return value


def _sites(text: str) -> tuple[str, ...]:
    names = text.split(",")
    bad = [name for name in names if not SITE_NAME.fullmatch(name) or names.count(name) > 1]
    if bad:
        raise ConfigError(
            f"the run's setting 'sites': '{bad[0]}' stands there twice or can't be a site's name",
            "join different names by commas, without spaces around them; " + SITE_NAME.pattern + " is allowed",
        )
    return tuple(names)


def _nodes(text: str, sites: tuple[str, ...]) -> dict[int, str]:
    found: dict[int, str] = {}
    for pair in text.split(",") if text else ():
        number, _, name = pair.partition(":")
        if not re.fullmatch(r"\d{1,20}", number) or name not in sites or name in found.values():
            raise ConfigError(
                f"the run's setting 'nodes': '{pair}' is not NUMBER:NAME of an agreed site, or names one twice",
                "leave it to `ra-server run`, which takes it from the registry",
            )
        found[int(number)] = name
    return found
