"""systemd units of the two daemons."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["unit"]

_UNIT = """\
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={command}
WorkingDirectory={folder}
{user}Environment=PYTHONUNBUFFERED=1
Restart=always
RestartSec=15
KillMode=mixed
TimeoutStopSec=60
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes

[Install]
WantedBy=multi-user.target
"""


def unit(description: str, command: Sequence[str], folder: Path, user: str = "") -> str:
    """A unit that keeps a daemon up for ever and gives it no more rights than it needs.

    Args:
        description: one line for people.
        command: program, as an absolute path, and its arguments.
        folder: in which it runs.
        user: account that it runs as; that of the service manager if empty.

    Raises:
        ValueError: the program's path is not absolute, or a text can't stand in a unit.
    """
    if not os.path.isabs(command[0]):
        raise ValueError(f"{command[0]} is not an absolute path")
    texts = [description, user, str(folder), *command]
    if any(not text.isprintable() for text in texts):
        raise ValueError("a line break or control character can't stand in a unit")
    return _UNIT.format(
        description=_plain(description),
        command=" ".join(_quoted(part) for part in command),
        folder=_plain(str(folder.absolute())),
        user=f"User={user}\n" if user else "",
    )


def _plain(text: str) -> str:
    """With `%` doubled: it is the start of a specifier to systemd."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """As one argument: within quotes, a backslash, a quote, `%` and `$` have a meaning."""
    escaped = _plain(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'
