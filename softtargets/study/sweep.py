"""The run of a sweep: check every cell, start the launcher, and read the results from disk."""

import shlex
import sys
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig

from softtargets.config import at_cost, paths, recipes
from softtargets.config.settings import PairSettings
from softtargets.errors import BadInput, program, visible
from softtargets.resumable.combinations import every_combination
from softtargets.resumable.launching import LauncherEnd, launch, reason
from softtargets.resumable.slurm_queue import Queue
from softtargets.resumable.starting import (
    Start,
    in_folder,
    on_slurm,
    outlived,
    prepare_folder,
    queue_of,
    quoted,
    starter,
)
from softtargets.study import cells as on_disk
from softtargets.study import pairs
from softtargets.study.composing import Composer
from softtargets.study.peak import peak_of_runs
from softtargets.study.progress import Display, FailFast, counts_of_runs
from softtargets.system.files import only_reading
from softtargets.system.words import counted


def run_sweep(sweeper: Sweeper, arguments: list[str]) -> bool:
    """Run the cells without a result; return whether every cell has a result at the end.

    `sweeper` is a `CheckedSweeper`. Hydra loads that class a second time, so `isinstance` fails for it.

    The files in a run's folder decide how the run ended, not the launcher: under SLURM a run that raised counts as
    completed, and the launcher may wait for ever for a run that was killed. Raises BadInput before any work.
    """
    config = sweeper.config
    on_disk.check_settings(config)
    folder = Path(config.hydra.sweep.dir).absolute()

    own = _own_settings(sweeper, arguments)
    combinations, swept = _combinations(sweeper, arguments)
    if len(combinations) >= MANY:
        print(f"planning {counted(len(combinations), 'cell')}", flush=True)
    compose = _composer(sweeper)
    cells = on_disk.cells(combinations, swept, folder, compose)
    if own.plan:
        from softtargets.study.planning import show_sweep  # which imports torch

        with only_reading("plan=true"):
            show_sweep(config, cells, compose, folder)
        return True
    on_disk.print_unsaved(cells)
    unfinished = on_disk.left(cells)
    on_disk.check_cells(unfinished, compose, elsewhere=on_slurm(config))
    with on_disk.one_warming(folder, cells):
        missing = on_disk.Missing({}, frozenset())
        if unfinished:
            missing = _launch(sweeper, cells, unfinished, own.fail_fast, folder)
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
        params = paths.quoted([f"{name}={value}" for name, value in sweeper.params.items()], several=True)
        first, typed = (parser.parse_overrides(some) for some in (params, words + list(arguments)))
        overrides = pairs.typed_out(first, typed, sweeper.config.pairs, parser.parse_overrides)
        overrides = pairs.without_own(overrides, sweeper.config, parser.parse_overrides)
        combinations += every_combination(overrides)
        named = [one.get_key_element() for one in overrides if one.is_sweep_override()]
        swept |= dict.fromkeys([*(word.partition("=")[0] for word in words), *named])
    swept.pop("pairs", None)  # folder names show the seeds instead
    path = sweeper.config.hydra.searchpath
    combinations = recipes.each_with_recipe(combinations, path)
    return [at_cost.with_searched(words, path) for words in combinations], list(swept)


def _own_settings(sweeper: Sweeper, arguments: list[str]) -> PairSettings:
    parse = OverridesParser.create(config_loader=sweeper.hydra_context.config_loader).parse_overrides
    params = [f"{name}={value}" for name, value in sweeper.params.items() if name in pairs.OWN]
    return pairs.own_settings(parse([*params, *arguments]), sweeper.config)


def _words(parser: OverridesParser, line: str, number: int) -> list[str]:
    """Split a line of `cells` into overrides as a shell does; raise BadInput if one is not an override."""
    try:
        words = paths.quoted(shlex.split(line), several=True)
        parser.parse_overrides(words)
    except (ValueError, HydraException) as error:
        reason = str(error).partition("\nSee ")[0]
        raise BadInput(
            f"hydra.sweeper.cells: line {number}, {line!r}, cannot be read "
            f"({' '.join(reason.split())}). Give overrides as on the command line, with the same quotes"
        ) from error
    return words


def _launch(
    sweeper: Sweeper,
    cells: list[on_disk.SweepCell],
    unfinished: list[on_disk.SweepCell],
    fail_fast: int | None,
    folder: Path,
) -> on_disk.Missing:
    """Start the unfinished cells, wait until all have ended, and return the cells without a result."""
    _prepare(sweeper.config, unfinished, folder)
    on_disk.plan(folder, cells)
    queue = queue_of(sweeper.config, folder, Display(cells, unfinished))
    # jobs of an earlier call may have finished some cells meanwhile
    unfinished = on_disk.spread(on_disk.left(unfinished))
    hopeless = on_disk.prepare(folder, unfinished) if unfinished else {}
    display = Display(cells, unfinished, fail_fast)  # a new one: its pace and failures are those of this call
    began = {cell: cell.log_bytes() for cell in unfinished if cell not in hopeless}
    end = LauncherEnd()
    try:
        display.add_hopeless(hopeless)
        if began:
            start = _starter(sweeper, list(began), folder, queue)
            with outlived(queue), display:
                end = launch(start, display.update)
    except FailFast as error:
        print(f"{program()}: {visible(error)}", file=sys.stderr)
        return _stopped(began, hopeless, queue)
    if end.raised:
        print(f"{program()}: {visible(reason(end.raised, queue))}", file=sys.stderr)
    # a job that SLURM accepted but never started was cancelled: report it like a killed run
    return on_disk.missing(began, hopeless, end.failures, gave_up=end.raised is not None)


def _stopped(began: dict, hopeless: dict[on_disk.SweepCell, str], queue: Queue | None) -> on_disk.Missing:
    """Cancel the jobs that are left; return the cells without a result, those that were stopped included."""
    if queue:
        queue.cancel()
    stopped = frozenset(cell for cell in began if cell.state() in ("running", "waiting"))
    return on_disk.Missing(hopeless, stopped, stopped=True)


def _starter(sweeper: Sweeper, cells: list[on_disk.SweepCell], folder: Path, queue: Queue | None) -> Start:
    config, runs = sweeper.config, [_job(cell, folder) for cell in cells]
    device = next((word for word in cells[0].overrides if word.startswith("device=cuda")), None)
    per_gpu = config.hydra.sweeper.runs_per_gpu if device else None
    one_gpu = device not in (None, "device=cuda")  # such as device=cuda:1
    return starter(sweeper, runs, queue, per_gpu, peak_of_runs(config, cells, folder), one_gpu)


def _prepare(config: DictConfig, unfinished: list[on_disk.SweepCell], folder: Path) -> None:
    """Make the sweep's folder; raise BadInput for a device that the launcher contradicts."""
    if on_slurm(config) and config.hydra.launcher.gpus_per_node and "device=cpu" in unfinished[0].overrides:
        raise BadInput("device=cpu, but SLURM would give every run a GPU. Set device=cuda or hydra/launcher=slurm")
    prepare_folder(config, folder)


def _job(cell: on_disk.SweepCell, folder: Path) -> list[str]:
    """Return the overrides of a run, with its folder."""
    planned = [f"+contents={quoted(cell.planned)}"] if cell.contents else []
    return [*cell.overrides, *planned, *in_folder(folder, cell.folder.name)]


def _track(config: DictConfig, folder: Path) -> None:
    """Create the ClearML task of the whole sweep, if a server tracks its runs."""
    if config.tracker.kind == "clearml" and not config.tracker.offline:
        from softtargets.config.settings import TrackerSettings
        from softtargets.tracker.tracked import track_sweep

        track_sweep(folder, TrackerSettings(**config.tracker))
