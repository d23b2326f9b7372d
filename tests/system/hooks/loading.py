"""Changes to modules of a process, each as soon as its module is there."""

import importlib.util
import sys
from importlib.abc import MetaPathFinder


def once_loaded(name, change):
    """Call `change` with a module: now, or right after its first import."""
    if name in sys.modules:
        change(sys.modules[name])
    else:
        sys.meta_path.insert(0, Finder(name, change))


class Finder(MetaPathFinder):
    """Finds one module as all others would, and changes it once it is loaded."""

    def __init__(self, name, change):
        self.name, self.change = name, change

    def find_spec(self, fullname, path, target=None):
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        load = spec.loader.exec_module

        def load_and_change(module):
            load(module)
            self.change(module)

        spec.loader.exec_module = load_and_change
        return spec
