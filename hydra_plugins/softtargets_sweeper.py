"""Hydra's sweeper of this package, resumable and safe; its work is in `softtargets.study.sweep`."""

import sys

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class CheckedSweeper(Sweeper):
    """A sweep that checks every cell first, skips finished ones, and reads from disk how each run ended."""

    def __init__(self, params: DictConfig | None, cells: list[str] | None, **numbers: int | None):
        """Take `cells`, lines of overrides that are each a sweep with `params`; without any, `params` is one.

        The `numbers` are read from the config.
        """
        self.params, self.cells = params or {}, cells or [""]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher, which Hydra leaves to its sweepers."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the cells that are missing or failed; exit with 1 if one has no result at the end."""
        from softtargets.study.sweep import run_sweep  # Hydra imports all plugins at every start

        if not run_sweep(self, arguments):
            sys.exit(1)
