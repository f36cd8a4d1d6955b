"""SoftTargets: hard labels against soft targets in machine unlearning."""

import typing

if typing.TYPE_CHECKING:
    from softtargets.cli.from_python import run, sweep
    from softtargets.execution.saved_models import load
    from softtargets.report.audit import audit
    from softtargets.report.rows import results, trajectories
    from softtargets.tuning.search import search

__all__ = ["RESULT_SCHEMA", "audit", "load", "results", "run", "search", "sweep", "trajectories"]
RESULT_SCHEMA = 2
"""Version of result.json's format. It goes up when a change would mislead a program that reads the file."""
# where each public function is defined: type checkers read the imports above, Python reads this
_HOMES = {
    "audit": "softtargets.report.audit",
    "load": "softtargets.execution.saved_models",
    "results": "softtargets.report.rows",
    "run": "softtargets.cli.from_python",
    "search": "softtargets.tuning.search",
    "sweep": "softtargets.cli.from_python",
    "trajectories": "softtargets.report.rows",
}


def __getattr__(name: str) -> object:
    """Return a public function, imported at its first use: `run.py --help` then needs no torch.

    Raises AttributeError for any other name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
