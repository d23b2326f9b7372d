"""What `Faulty.fault` asks for happens: each file in the folder `RA_FAULTS` is a fault."""

import functools
import json
import os
import signal
import time
from pathlib import Path

from loading import once_loaded


def arrange():
    """Put every fault before its function."""
    for file in Path(os.environ["RA_FAULTS"]).glob("*.json"):
        name, _, function = json.loads(file.read_text())["where"].partition(":")
        once_loaded(name, functools.partial(before, function, file))


def strike(file, arguments):
    """Do what the fault's file says, if this call is the one that is meant."""
    try:
        fault = json.loads(file.read_text())
    except FileNotFoundError:  # it has happened
        return
    if fault["about"] not in " ".join(str(one) for one in arguments if isinstance(one, str | Path)):
        return
    if fault["after"]:
        half_written = file.with_suffix(f".{os.getpid()}")
        half_written.write_text(json.dumps(fault | {"after": fault["after"] - 1}))
        os.replace(half_written, file)  # Path.replace may be what is meant
    elif fault["action"] == "kill":
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault["action"] == "raise":
        raise OSError(fault["text"])
    else:
        file.with_suffix(".held").touch()
        while file.exists():
            time.sleep(0.05)


def before(function, file, module):
    """Put ours before a function of a module."""
    *path, name = function.split(".")
    owner = functools.reduce(getattr, path, module)
    original = getattr(owner, name)

    @functools.wraps(original)
    def changed(*arguments, **named):
        strike(file, arguments)
        return original(*arguments, **named)

    setattr(owner, name, changed)
