"""Keeps torch's compiler out of processes that compile nothing: importing it costs as much CPU time as torch."""

import importlib
import sys
import types

import torch

NAME = "torch._dynamo"


class Compiler(types.ModuleType):
    """Stands for `torch._dynamo`, of which optimisers call two functions, until anything else is asked for."""

    def graph_break(self) -> None:
        """Do nothing: there is no graph."""

    def disable(self, fn: types.FunctionType, *args: object, **kwargs: object) -> types.FunctionType:
        """Return a function that is not compiled as it is."""
        return fn

    def __getattr__(self, name: str) -> object:
        if (
            name.startswith("__") and name != "__path__"
        ):  # whoever looks through all modules asks for nothing of it
            raise AttributeError(name)
        if sys.modules.get(NAME) is self:
            del sys.modules[NAME]
        return getattr(importlib.import_module(NAME), name)


def install() -> None:
    """Have torch import its compiler when it compiles, where it has not done so yet."""
    if NAME not in sys.modules:
        sys.modules[NAME] = torch._dynamo = Compiler(NAME)
