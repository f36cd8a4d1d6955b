"""Keeps torch's compiler out of processes that compile nothing: importing it costs as much CPU time as torch."""

import importlib
import sys
import types
from collections.abc import Callable

import torch

NAME = "torch._dynamo"


class Compiler(types.ModuleType):
    """Stands for `torch._dynamo`, of which optimisers call two functions, until anything else is asked for."""

    def graph_break(self) -> None:
        """Do nothing: there is no graph."""

    def disable(self, fn: Callable | None = None, *args: object, **kwargs: object) -> Callable:
        """Return a function that is not compiled as it is."""
        return fn if fn is not None else self.real().disable(fn, *args, **kwargs)

    def __getattr__(self, name: str) -> object:
        # whoever looks through all modules, as `inspect` does, asks for nothing of this one
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        return getattr(self.real(), name)

    def real(self) -> types.ModuleType:
        """Import what this stands for."""
        if sys.modules.get(NAME) is self:
            del sys.modules[NAME]
        return importlib.import_module(NAME)


def install() -> None:
    """Have torch import its compiler when it compiles, where it has not done so yet."""
    if NAME not in sys.modules:
        sys.modules[NAME] = torch._dynamo = Compiler(NAME)
