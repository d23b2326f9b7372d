"""An import that leaves torch's compiler where it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["without_compiler"]

COMPILER = ("torch._dynamo", "torch._dynamo.utils")


@contextmanager
def without_compiler() -> Iterator[None]:
    """Within, who imports a function from torch's compiler gets one that imports that compiler when it is called.

    torchvision takes a single function from it, for an operator that no network of ours has; to import the compiler
    takes nearly as long as torch itself, in every process that looks at images through a perceptual network.
    """
    if COMPILER[0] in sys.modules:
        yield
        return
    sys.modules.update({name: _Later(name) for name in COMPILER})
    try:
        yield
    finally:
        for name in COMPILER:
            if isinstance(sys.modules.get(name), _Later):
                del sys.modules[name]


class _Later(ModuleType):
    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):  # what Python asks of every module
            raise AttributeError(name)

        def called(*args: Any, **named: Any) -> Any:
            return getattr(import_module(self.__name__), name)(*args, **named)

        return called
