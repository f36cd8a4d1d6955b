"""Hydra's sweeper of this package, resumable and safe; its work is in `softtargets.study.sweep`."""

import sys

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class CheckedSweeper(Sweeper):
    """A sweep that checks every cell first, drops what is finished, and reads from disk how each run ended."""

    def __init__(self, params: DictConfig | None, cells: list[str] | None):
        """`cells`: lines of overrides, each a sweep with those of `params`; without any, `params` is the sweep."""
        self.params, self.cells = params or {}, cells or [""]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher, which Hydra leaves to its sweepers."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run what is missing or failed; exit with 1 if a cell has no result then."""
        from softtargets.study.sweep import sweep  # Hydra imports all plugins at every start

        if not sweep(self, arguments):
            sys.exit(1)
