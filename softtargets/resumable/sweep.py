"""A sweep of any Hydra app: the cells without a result are run, and each run's folder says how it ended."""

import collections
import dataclasses
import itertools
import re
import sys
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf

from softtargets.errors import BadInput, visible
from softtargets.resumable.combinations import every_combination
from softtargets.resumable.launching import launch, reason, without_folder
from softtargets.resumable.progress_marks import changed, digest_in, remove_marks
from softtargets.resumable.recorded import BEGUN, ERROR, FINISHED, config_hash, has_setting
from softtargets.resumable.run_folders import finished_or_first, folders_by_digest
from softtargets.resumable.starting import Screen, in_folder, outlived, prepare_folder, queue_of, starter
from softtargets.system.files import make_folder, read_json_or_none, require_writable
from softtargets.system.words import counted

NAME = 255 - 13
"""Longest name of a folder before its hash, in bytes."""
LOOKED = 100
"""Number of finished runs that are asked for the memory that they took."""
SHOWN = 3
"""Number of runs named for each reason of a failure."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    overrides: tuple[str, ...]
    folder: Path
    hash: str

    def state(self) -> str:
        """Return the state that the folder shows: finished, failed, running or waiting."""
        result = read_json_or_none(self.folder / FINISHED)
        if result and result["config_hash"] == self.hash:
            return "finished"
        if (self.folder / ERROR).exists():
            return "failed"
        return "running" if (self.folder / BEGUN).exists() else "waiting"

    def error(self) -> str | None:
        """Return what the run raised, in one line; None if its folder does not say."""
        report = read_json_or_none(self.folder / ERROR)
        return report and f"{report['error']}: {report['message']}"


class Counts(Screen):
    """The progress of a sweep: a line whenever its counts have changed."""

    def __init__(self, cells: list[Cell], folder: Path, earlier: int = 0):
        self.folder, self.by_digest = folder, {digest_in(cell.folder): cell for cell in cells}
        self.earlier = earlier
        """Number of the sweep's other runs: earlier calls finished them."""
        self.states = dict.fromkeys(cells, "waiting")
        self.last = ""

    def __exit__(self, *_: object) -> None:
        """Print the last counts."""
        self.update()

    def update(self) -> None:
        """Read the states of the cells that left marks, and print the counts."""
        for cell in changed(self.folder, self.by_digest, self.states):
            self.states[cell] = cell.state()
        count = collections.Counter(self.states.values())
        done, runs = self.earlier + count["finished"], self.earlier + len(self.states)
        line = f"{done} of {runs} done, {count['failed']} failed, {count['running']} running"
        if line != self.last:
            self.last = line
            print(line, flush=True)


def run_sweep(sweeper: Sweeper, arguments: list[str]) -> bool:
    """Run the cells without a result; return whether every cell has a result at the end.

    `sweeper` is a `ResumableSweeper`. Raises BadInput before any work.
    """
    folder = _folder(sweeper)
    cells = _cells(sweeper, arguments, folder)
    missing = [cell for cell in cells if cell.state() != "finished"]
    runs = counted(len(cells), "run")
    print(f"{runs}, {len(cells) - len(missing):,} finished by earlier calls: {visible(folder)}", flush=True)
    known = _launch(sweeper, missing, folder, len(cells) - len(missing)) if missing else {}
    without = [cell for cell in missing if cell.state() != "finished"]
    _print_failures(without, known)
    print(f"{len(cells) - len(without):,} of {runs} finished, {len(without):,} without a result")
    return not without


def _folder(sweeper: Sweeper) -> Path:
    """Return the sweep's folder; raise BadInput for one that a later call would not find, and for bad numbers."""
    written = OmegaConf.to_container(sweeper.config.hydra.sweep)["dir"]
    if "${now:" in written:
        raise BadInput(
            f"hydra.sweep.dir={written}: has the time of the call, so no later call would find its runs. Give a "
            "fixed folder, as in hydra.sweep.dir=multirun/mine"
        )
    for name in ("cells_per_job", "array_size", "runs_per_gpu"):
        value = sweeper.config.hydra.sweeper[name]
        if value is not None and value < 1:
            raise BadInput(f"hydra.sweeper.{name}={value}: must be at least 1")
    if sweeper.config.hydra.launcher.get("n_jobs") == 0:
        raise BadInput("hydra.launcher.n_jobs=0: must be -1 (one worker for each core) or at least 1")
    folder = Path(sweeper.config.hydra.sweep.dir).absolute()
    require_writable("hydra.sweep.dir", folder)
    return folder


def _cells(sweeper: Sweeper, arguments: list[str], folder: Path) -> list[Cell]:
    """Return a cell for each different config; its folder is named by what varies and its hash.

    The hash decides which folder is a cell's, since an earlier sweep may have varied other settings.
    """
    loader, node = sweeper.hydra_context.config_loader, sweeper.config.hydra.sweeper
    parser = OverridesParser.create(config_loader=loader)
    overrides = parser.parse_overrides(
        [*(f"{name}={value}" for name, value in (node.params or {}).items()), *arguments]
    )
    swept = {one.get_key_element() for one in overrides if one.is_sweep_override()}
    existing = folders_by_digest(folder)
    by_hash: dict[str, Cell] = {}
    unknown = set(node.ignored)
    for words in every_combination(overrides):
        config = loader.load_sweep_config(sweeper.config, words)
        unknown = {setting for setting in unknown if not has_setting(config, setting)}
        digest = config_hash(config, node.ignored)
        name = re.sub(r"[^\w=,.+-]+", "_", ",".join(word for word in words if word.partition("=")[0] in swept))
        short = name.encode()[:NAME].decode(errors="ignore") or "run"
        places = existing.get(digest[:12], [folder / f"{short}-{digest[:12]}"])
        by_hash.setdefault(digest, finished_or_first([Cell(tuple(words), place, digest) for place in places]))
    if not by_hash:
        raise BadInput("the sweep is empty. Give a range or a glob with at least one value")
    if unknown:
        names = ", ".join(sorted(unknown))  # no bad input: other options of a group may have it
        print(f"hydra.sweeper.ignored: no run of this sweep has a setting {visible(names)}", file=sys.stderr)
    return list(by_hash.values())


def _launch(sweeper: Sweeper, cells: list[Cell], folder: Path, earlier: int) -> dict[Cell, str]:
    """Run the cells; return the reasons, as far as the launcher knows them, why some have no result.

    `earlier` is the number of the others, which earlier calls finished.
    """
    prepare_folder(sweeper.config, folder)
    screen = Counts(cells, folder, earlier)
    queue = queue_of(sweeper.config, folder, screen)
    cells = [cell for cell in cells if cell.state() != "finished"]  # jobs of an earlier call may have run some
    hopeless = _empty(cells)
    cells = [cell for cell in cells if cell not in hopeless]
    if not cells:
        return hopeless
    runs = [[*cell.overrides, *in_folder(folder, cell.folder.name)] for cell in cells]
    start = starter(sweeper, runs, queue, sweeper.config.hydra.sweeper.runs_per_gpu, _peak(folder))
    with outlived(queue), screen:
        end = launch(start, screen.update)
    if end.raised:
        print(visible(reason(end.raised, queue)), file=sys.stderr)
    return hopeless | {cells[number]: text for number, text in end.failures.items()}


def _empty(cells: list[Cell]) -> dict[Cell, str]:
    """Make the cells' folders, without what earlier calls left; return the cells where that fails, and why."""
    hopeless = {}
    for cell in cells:
        try:
            make_folder(cell.folder)
            for name in (BEGUN, ERROR):
                (cell.folder / name).unlink(missing_ok=True)
            remove_marks(cell.folder)
        except OSError as error:  # of this run alone; the others go on
            hopeless[cell] = f"{type(error).__name__}: {error}"
    return hopeless


def _peak(folder: Path) -> int | None:
    """Return the most memory that a finished run of this sweep took, in bytes; None if none has finished."""
    files = itertools.islice(folder.glob(f"*/{FINISHED}"), LOOKED)
    return max((result["peak_bytes"] for file in files if (result := read_json_or_none(file))), default=None)


def _print_failures(cells: list[Cell], known: dict[Cell, str]) -> None:
    """Print which runs have no result and why; of those with equal reasons, the first `SHOWN`."""
    equal = collections.defaultdict(list)
    for cell in cells:
        begun = (cell.folder / BEGUN).exists()
        last = "no result, because its process was killed" if begun else "not started"
        why = cell.error() or known.get(cell) or last
        equal[without_folder(why, cell.folder)].append((cell.folder.name, why))
    for common, runs in equal.items():
        for name, why in runs[:SHOWN]:
            print(visible(f"failed: {name}: {why}"))
        if len(runs) > SHOWN:
            print(visible(f"failed: {counted(len(runs) - SHOWN, 'more run')}: {common}"))
