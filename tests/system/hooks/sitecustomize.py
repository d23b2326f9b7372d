"""Python runs this in all processes that have the folder on their PYTHONPATH: what `Faulty.fault` asks for happens."""

import functools
import importlib
import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path


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


def change(module, function, file):
    """Put ours before a function of a module."""
    *path, name = function.split(".")
    owner = functools.reduce(getattr, path, module)
    original = getattr(owner, name)

    @functools.wraps(original)
    def changed(*arguments, **named):
        strike(file, arguments)
        return original(*arguments, **named)

    setattr(owner, name, changed)


class Finder:
    """Finds one module as all others would, and changes it once it is loaded."""

    def __init__(self, module, function, file):
        self.module, self.function, self.file = module, function, file

    def find_spec(self, name, path=None, target=None):
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_change(module):
            load(module)
            change(module, self.function, self.file)

        spec.loader.exec_module = load_and_change
        return spec


for fault_file in Path(os.environ["RA_FAULTS"]).glob("*.json"):
    where, _, what = json.loads(fault_file.read_text())["where"].partition(":")
    if where in sys.modules:
        change(sys.modules[where], what, fault_file)
    else:
        sys.meta_path.insert(0, Finder(where, what, fault_file))
