"""A sweeper for any Hydra app, `hydra/sweeper=resumable`; its work is in `softtargets.resumable`."""

import dataclasses
import sys
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclasses.dataclass
class ResumableConf:
    """The settings of `hydra.sweeper`."""

    _target_: str = "hydra_plugins.softtargets_resumable.ResumableSweeper"
    params: dict[str, Any] | None = None
    """Overrides of every sweep, as of Hydra's basic sweeper."""
    ignored: list[str] = dataclasses.field(default_factory=list)
    """Settings that cannot change a result, such as data.workers; they are left out of a run's hash."""
    cells_per_job: int = 1
    """On SLURM: runs that share a job, one after the other; its time limit is as many times timeout_min."""
    array_size: int | None = None
    """On SLURM: most jobs in an array; None is the site's MaxArraySize."""
    runs_per_gpu: int | None = None
    """Of joblib's workers: runs at a time on each GPU, which each sees one; None leaves GPUs to the app."""


ConfigStore.instance().store(group="hydra/sweeper", name="resumable", node=ResumableConf, provider="softtargets")


class ResumableSweeper(Sweeper):
    """A sweep that skips finished runs and reads from disk how each run ended."""

    def __init__(self, **settings: object):
        """Take the settings, which are read from the config."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher, whose runs leave their ends in their folders."""
        from softtargets.resumable.recorded import Recorded  # Hydra imports all plugins at every start

        self.hydra_context, self.config = hydra_context, config
        recorded = Recorded(task_function, config.hydra.sweeper.ignored)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=recorded, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the missing cells; exit with 1 if one has no result, 2 after bad input, 130 after Ctrl-C."""
        from softtargets.errors import BadInput, visible
        from softtargets.resumable.sweep import run_sweep

        try:
            finished = run_sweep(self, arguments)
        except BadInput as error:
            print(visible(error), file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("stopped by Ctrl-C; run the same command again to resume", file=sys.stderr)
            sys.exit(130)
        if not finished:
            sys.exit(1)
