"""The environment of Flower's processes, and the form of their settings."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["flower_environment", "toml"]

LOOPBACK = "127.0.0.1,localhost"


def flower_environment(home: Path) -> dict[str, str]:
    """Ours, without anybody's settings of Flower: it installs nothing, reports nothing, and asks for no updates.

    Args:
        home: Flower's own folder.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("FLWR_")}
    for name in ("NO_PROXY", "no_proxy"):  # a proxy of the house is not for loopback
        env[name] = ",".join(filter(None, [env.get(name), LOOPBACK]))
    return env | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "FLWR_HOME": str(home),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
    }


def toml(texts: Mapping[str, str]) -> str:
    """Names and texts as TOML; a JSON string is a TOML string too."""
    return "".join(f"{name} = {json.dumps(text, ensure_ascii=False)}\n" for name, text in texts.items())
