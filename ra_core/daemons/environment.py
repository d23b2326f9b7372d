"""The environment of Flower's processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["flower_environment"]

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
