"""How the runs of a sweep are started: its folder, the jobs of earlier calls, workers or SLURM."""

import abc
import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from softtargets.resumable.arrays import Cell, cut, described
from softtargets.resumable.launching import bind_workers, failures_of, watch
from softtargets.resumable.slurm_queue import Queue, array_limit, leave_job
from softtargets.resumable.workers import places_on_gpus
from softtargets.system.files import make_folder, write_text

JOBS = ".submitit"
"""The folder in a sweep's folder for what SLURM runs."""
Start = Callable[[], dict[int, str]]


def on_slurm(config: DictConfig) -> bool:
    """Return whether SLURM runs the cells, on other machines."""
    return config.hydra.launcher._target_.endswith(".SlurmLauncher")


def prepare_folder(config: DictConfig, folder: Path) -> None:
    """Make the sweep's folder and its multirun.yaml."""
    with read_write(config.hydra), open_dict(config.hydra):  # read-only from Hydra 1.4 on
        config.hydra.sweep.dir = str(folder)
    make_folder(folder / JOBS if on_slurm(config) else folder)
    write_text(folder / "multirun.yaml", OmegaConf.to_yaml(config))


class Screen(contextlib.AbstractContextManager):
    """What shows progress while it is entered."""

    @abc.abstractmethod
    def update(self) -> None:
        """Read how far the cells are, and show it."""


def queue_of(config: DictConfig, folder: Path, screen: Screen) -> Queue | None:
    """Return the queue of this call's jobs, None without SLURM; first wait for jobs of an earlier call."""
    if not on_slurm(config):
        return None
    leave_job()
    earlier = Queue(folder / JOBS)
    if earlier.waiting():
        with outlived(earlier):
            print(f"waiting for jobs of an earlier call; to cancel them: {earlier.to_cancel}", flush=True)
            with screen:
                watch(earlier, screen.update)
    return Queue(earlier.folder, but=earlier.jobs())


@contextlib.contextmanager
def outlived(queue: Queue | None) -> Iterator[None]:
    """Print which jobs run on, where this call is stopped before they have ended."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if queue and not queue.waiting():
            queue.grow()  # the last answer may be from before the jobs were submitted
        if queue and queue.waiting():
            print(
                f"its jobs run on; the same command waits for them. To cancel them: {queue.to_cancel}", flush=True
            )
        raise


def starter(
    sweeper: Sweeper,
    runs: list[list[str]],
    queue: Queue | None,
    runs_per_gpu: int | None = None,
    peak: int | None = None,
    shared: bool = False,
) -> Start:
    """Return what starts the runs, waits for their ends and returns the messages of those that raised.

    With a `queue` they run on SLURM. `sweeper` has a `launcher` and its `config`. Local workers each see one GPU
    if there are `runs_per_gpu`, or all where they have one `shared` GPU, and are as many as fit into memory if a
    run takes `peak` bytes.
    """
    if sweeper.config.hydra.launcher._target_.endswith(".JoblibLauncher"):
        places = places_on_gpus(runs_per_gpu, shared) if runs_per_gpu else []
        bind_workers(sweeper.launcher, len(runs), places, peak)
    if queue is None:
        return lambda: failures_of(sweeper.launcher.launch(runs, initial_job_idx=0))
    from softtargets.resumable.slurm_jobs import run_arrays  # submitit takes a while to import

    arrays = arrays_of(sweeper.config, list(enumerate(runs)))
    print(described(arrays), flush=True)
    return lambda: run_arrays(sweeper.launcher, arrays, queue)


def arrays_of(config: DictConfig, cells: Sequence[Cell]) -> list[list[list[Cell]]]:
    """Return the arrays of jobs of cells in which SLURM will run a sweep."""
    node = config.hydra.sweeper
    return cut(cells, node.cells_per_job, node.array_size or array_limit())


def in_folder(folder: Path, name: str) -> list[str]:
    """Return the overrides that place a run in folder `name` of the sweep's, which the launcher's config lacks."""
    return [f"hydra.sweep.dir={quoted(str(folder))}", f"hydra.sweep.subdir={quoted(name)}"]


def quoted(text: str) -> str:
    """Return a text in quotes for Hydra's grammar, in which only a backslash before a quote is special."""
    return "'" + re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + match[2].replace("'", "\\'"), text) + "'"
