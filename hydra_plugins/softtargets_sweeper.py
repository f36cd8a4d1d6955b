"""Hydra's basic sweeper, made resumable and safe; its work is in `softtargets.study.sweep`."""

import sys

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from omegaconf import DictConfig


class CheckedSweeper(BasicSweeper):
    """A sweep that checks every cell first, drops what is finished, and reads from disk how each run ended."""

    def __init__(self, params: DictConfig | None, cells: list[str] | None):
        """`cells`: lines of overrides, each a sweep with those of `params`; without any, `params` is the sweep."""
        super().__init__(None, params)
        self.cells = cells or [""]

    def sweep(self, arguments: list[str]) -> None:
        """Run what is missing or failed; exit with 1 if a cell has no result then."""
        from softtargets.study.sweep import sweep  # Hydra imports all plugins at every start

        if not sweep(self, arguments):
            sys.exit(1)
