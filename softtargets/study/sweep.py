"""The run of a sweep: check every cell, start the launcher, and read the results from disk."""

import itertools
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf, open_dict

from softtargets.config.paths import quoted
from softtargets.errors import BadInput, program, visible
from softtargets.study import cells as on_disk
from softtargets.study import pairs
from softtargets.study.composing import Composer
from softtargets.study.launching import LauncherEnd, bind_workers, launch, reason, watch
from softtargets.study.progress import Display, counts_of_runs
from softtargets.study.slurm_queue import Queue, leave_job
from softtargets.system.files import make_folder, share


def run_sweep(sweeper: Sweeper, arguments: list[str]) -> bool:
    """Run the cells without a result; return whether every cell has a result at the end.

    `sweeper` is a `CheckedSweeper`. Hydra loads that class a second time, so `isinstance` fails for it.

    The files in a run's folder decide how the run ended, not the launcher: under SLURM a run that raised counts as
    completed, and the launcher may wait for ever for a run that was killed. Raises BadInput before any work.
    """
    config = sweeper.config
    on_disk.check_settings(config)
    folder = Path(config.hydra.sweep.dir).absolute()

    combinations, swept = _combinations(sweeper, arguments)
    if len(combinations) >= MANY:
        print(f"planning {len(combinations):,} cells", flush=True)
    compose = _composer(sweeper)
    cells = on_disk.cells(combinations, swept, folder, compose)
    unfinished = on_disk.left(cells)
    on_disk.check_cells(unfinished, compose, elsewhere=_on_slurm(config))
    with on_disk.one_warming(folder, cells):
        missing = on_disk.Missing({}, frozenset())
        if unfinished:
            missing = _launch(sweeper, Display(cells, unfinished), folder)
        finished = counts_of_runs(cells, missing)
    _track(config, folder)
    return finished


MANY = 100
"""Cells from which on planning takes more than a second, so that the screen says what goes on."""


def _composer(sweeper: Sweeper) -> Composer:
    loader = sweeper.hydra_context.config_loader
    parser = OverridesParser.create(config_loader=loader)
    return Composer(lambda words: loader.load_sweep_config(sweeper.config, words), parser.parse_overrides)


def _combinations(sweeper: Sweeper, arguments: list[str]) -> tuple[list[list[str]], list[str]]:
    """Return the overrides of every cell, and the names of the swept settings."""
    parser = OverridesParser.create(config_loader=sweeper.hydra_context.config_loader)
    combinations, swept = [], {}
    for number, line in enumerate(sweeper.cells, start=1):
        words = _words(parser, line, number)
        params = quoted([f"{name}={value}" for name, value in sweeper.params.items()], several=True)
        first, typed = (parser.parse_overrides(some) for some in (params, words + list(arguments)))
        overrides = pairs.typed_out(first, typed, sweeper.config.pairs, parser.parse_overrides)
        combinations += every_combination(overrides)
        named = [one.get_key_element() for one in overrides if one.is_sweep_override()]
        swept |= dict.fromkeys([*(word.partition("=")[0] for word in words), *named])
    swept.pop("pairs", None)  # folder names show the seeds instead
    return combinations, list(swept)


def every_combination(overrides: Iterable[Override]) -> list[list[str]]:
    """Return the overrides of every combination of values; of several overrides of a setting the last wins."""
    values = {}
    for override in overrides:
        name = override.get_key_element()
        if not override.is_sweep_override():
            values[name] = [f"{name}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            values[name] = [f"{name}={value}" for value in override.sweep_string_iterator()]
        else:
            raise BadInput(f"{override.input_line}: a sweep cannot draw from an interval. Type a list or a range")
    return [list(words) for words in itertools.product(*values.values())]


def _words(parser: OverridesParser, line: str, number: int) -> list[str]:
    """Split a line of `cells` into overrides as a shell does; raise BadInput if one is not an override."""
    try:
        words = quoted(shlex.split(line), several=True)
        parser.parse_overrides(words)
    except (ValueError, HydraException) as error:
        reason = str(error).partition("\nSee ")[0]
        raise BadInput(
            f"hydra.sweeper.cells: line {number}, {line!r}, cannot be read "
            f"({' '.join(reason.split())}). Give overrides as on the command line, with the same quotes"
        ) from error
    return words


def _on_slurm(config: DictConfig) -> bool:
    """Return whether SLURM runs the cells, on other machines."""
    return config.hydra.launcher._target_.endswith(".SlurmLauncher")


def _launch(sweeper: Sweeper, display: Display, folder: Path) -> on_disk.Missing:
    """Start the unfinished cells, wait until all have ended, and return the cells without a result."""
    on_slurm = _prepare(sweeper.config, display, folder)
    queue = _queue(display, folder) if on_slurm else None
    # jobs of an earlier call may have finished some cells meanwhile
    unfinished = on_disk.spread(on_disk.left(display.unfinished))
    hopeless = on_disk.prepare(folder, unfinished) if unfinished else {}
    began = {cell: cell.log_bytes() for cell in unfinished if cell not in hopeless}
    end = LauncherEnd()
    if began:
        jobs = [_job(cell, folder) for cell in began]
        with display:
            end = launch(lambda: sweeper.launcher.launch(jobs, initial_job_idx=0), display.update, queue)
    if end.raised:
        print(f"{program()}: {visible(reason(end.raised, queue))}", file=sys.stderr)
    # a job that SLURM accepted but never started was cancelled: report it like a killed run
    gave_up = end.raised is not None and not (queue and queue.jobs())
    return on_disk.missing(began, hopeless, end.failures(), gave_up)


def _prepare(config: DictConfig, display: Display, folder: Path) -> bool:
    """Make the sweep's folder and its multirun.yaml; return whether SLURM runs the cells."""
    on_slurm = _on_slurm(config)
    if on_slurm and config.hydra.launcher.gpus_per_node and "device=cpu" in display.unfinished[0].overrides:
        raise BadInput("device=cpu, but SLURM would give every run a GPU. Set device=cuda or hydra/launcher=slurm")
    if config.hydra.launcher._target_.endswith(".JoblibLauncher"):
        bind_workers()
    with open_dict(config):
        config.hydra.sweep.dir = str(folder)
    make_folder(folder / ".submitit" if on_slurm else folder)
    OmegaConf.save(config, folder / "multirun.yaml")
    share(folder / "multirun.yaml")
    return on_slurm


def _queue(display: Display, folder: Path) -> Queue:
    """Wait for jobs of an earlier call of this sweep; return the queue of this call's jobs."""
    leave_job()
    earlier = Queue(folder / ".submitit")
    if earlier.busy():
        jobs = " ".join(sorted(earlier.jobs()))
        print(f"waiting for jobs of an earlier call; to cancel them: scancel {jobs}")
        with display:
            watch(earlier, display.update)
    return Queue(earlier.folder, but=earlier.jobs())


def _job(cell: on_disk.SweepCell, folder: Path) -> list[str]:
    """Return the overrides of a run, with its folder, which the launcher's own config lacks."""
    place = f"hydra.sweep.dir={_quoted(str(folder))}", f"hydra.sweep.subdir={_quoted(cell.folder.name)}"
    planned = [f"+contents={_quoted(cell.planned)}"] if cell.contents else []
    return [*cell.overrides, *planned, *place]


def _quoted(text: str) -> str:
    """Return a text in quotes for Hydra's grammar, in which only a backslash before a quote is special."""
    return "'" + re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + match[2].replace("'", "\\'"), text) + "'"


def _track(config: DictConfig, folder: Path) -> None:
    """Create the ClearML task of the whole sweep, if a server tracks its runs."""
    if config.tracker.kind == "clearml" and not config.tracker.offline:
        from softtargets.config.settings import TrackerSettings
        from softtargets.tracker.tracked import track_sweep

        track_sweep(folder, TrackerSettings(**config.tracker))
