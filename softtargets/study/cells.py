"""A sweep's cells on disk: where each lies, which are finished, and how the sweep stands.

Torch is not imported here unless a cell is left to be checked: a finished sweep, called again, costs little.
"""

import collections
import contextlib
import dataclasses
import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from softtargets.config import contents
from softtargets.config.machine import resolve_machine
from softtargets.config.resolve import config_hash
from softtargets.config.settings import LauncherSettings, SweeperSettings
from softtargets.config.validation import validated as check_model
from softtargets.errors import BadInput, program
from softtargets.execution import composed_run
from softtargets.system.files import Damaged, canonical, make_folder, read_json, write_json
from softtargets.system.locks import locked

MACHINE = "machine.json"
CONTENTS = "contents.json"
SUBDIR = "${hydra:job.num}"
"""What `hydra.sweep.subdir` is in conf/config.yaml."""
HYDRA = ".hydra"
"""Where Hydra writes before a run begins."""
NAME = 255 - 13
"""Most bytes of a folder's name before its hash."""
ORIGINAL = ("seed", "dataset", "architecture", "training")
"""What the original model depends on; the retrained one on `forget_set` too."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    overrides: tuple[str, ...]
    folder: Path
    hash: str
    """Of its resolved config."""
    stage: str
    models: tuple[str, str]
    """Cells that are alike here share the original and the retrained model."""
    contents: tuple[tuple[str, str, str], ...] = ()
    """Setting, path and SHA-256 of every file or folder of the user's that it reads."""

    @property
    def outcome(self) -> Path:
        """Return the file whose presence means that the run is complete."""
        return self.folder / ("result.json" if self.stage == "all" else f"{self.stage}.json")

    @property
    def planned(self) -> str:
        """Return as JSON the contents that the run was planned for, by setting."""
        return json.dumps({setting: sha256 for setting, _, sha256 in self.contents})

    def state(self) -> str:
        """Return the state by the folder alone: finished, failed, running or waiting."""
        if result := _json(self.outcome):
            return "finished" if result["provenance"]["config_hash"] == self.hash else "waiting"
        if (self.folder / "error.json").exists():
            return "failed"
        return "running" if self.said() else "waiting"

    def said(self) -> int:
        """Return the length of the run's log, which grows as soon as a run begins; 0 without one."""
        try:
            return (self.folder / "run.log").stat().st_size
        except OSError:
            return 0

    def error(self) -> str | None:
        """Return the first line of what went wrong, if the run has left it."""
        if report := _json(self.folder / "error.json"):
            return f"{report['error']}: {report['message']}"
        return (
            "its result is of another config, because a file that it reads has changed"
            if _json(self.outcome)
            else None
        )


def _json(path: Path) -> dict | None:
    """Return what a file holds; None where there is none or it is damaged."""
    try:
        return read_json(path)
    except (OSError, Damaged):
        return None


def resolve_machine_once(folder: Path, asked: dict) -> dict:
    """Resolve `auto` as the first call of this sweep did, so that its runs are all of one kind."""
    try:
        known = read_json(folder / MACHINE)
    except FileNotFoundError:
        known = {}
    except Damaged as error:
        raise BadInput(f"{error}. Delete it to resolve auto again, or set device and precision") from error
    if any(asked[name] == "auto" and name not in known for name in asked):
        known = resolve_machine(asked)
    return {name: known[name] if value == "auto" else value for name, value in asked.items()}


def check_settings(config: DictConfig) -> None:
    """Raise BadInput for settings of sweeper and launcher that Hydra accepts and that cannot work."""
    for name, model in (("sweeper", SweeperSettings), ("launcher", LauncherSettings)):
        node = OmegaConf.to_container(config.hydra[name])
        check_model(model, {key: value for key, value in node.items() if key != "_target_"}, f"hydra.{name}")
    subdir = OmegaConf.to_container(config.hydra.sweep)["subdir"]
    if subdir != SUBDIR:
        raise BadInput(
            f"hydra.sweep.subdir={subdir}: has no effect, because settings and the config's hash name a run's "
            "folder. Set hydra.sweep.dir"
        )
    composed_run.check_folder(config, "hydra.sweep.dir")


def cells(
    combinations: list[list[str]], swept: list[str], folder: Path, compose: Callable[[list[str]], DictConfig]
) -> list[Cell]:
    """Resolve every combination of overrides and name its folder by what differs and its config's hash.

    A folder with that hash is the cell's whatever else is in its name: an earlier sweep may have varied other
    settings. Combinations that ask for the same result are one cell. Those that differ in the seed alone are
    composed once, since Hydra takes a tenth of a second for it.
    """
    by_hash: dict[str, Cell] = {}
    if not combinations:
        raise BadInput(f"{', '.join(swept)}: the sweep is empty. Give a range or a glob with at least one value")
    there = {path.name.rpartition("-")[2]: path for path in folder.glob("*-*")}
    composed = functools.cache(lambda overrides: _without_auto(compose(list(overrides)), folder))
    looked_at = functools.cache(contents.digest)  # a plan is of one moment, and looks at every file once
    for overrides in combinations:
        rest, seed = _apart(overrides)
        config, hydra, machine = composed(rest)
        config.seed = config.seed if seed is None else seed
        resolved = composed_run.resolved(config, hydra, looked_at)
        digest = config_hash(resolved)
        name = _differing(overrides, swept, resolved["choices"])
        place = there.get(digest[:12], folder / f"{name}-{digest[:12]}")
        files = contents.rows(resolved)
        cell = Cell((*overrides, *machine), place, digest, config.stage, _models(resolved), files)
        by_hash.setdefault(digest, cell)
    return list(by_hash.values())


def _models(resolved: dict) -> tuple[str, str]:
    original = canonical({name: resolved[name] for name in ORIGINAL})
    return original, original + canonical(resolved["forget_set"])


def _without_auto(config: DictConfig, folder: Path) -> tuple[DictConfig, DictConfig, list[str]]:
    """Return what a task would get, with its `hydra` node, and the overrides that settle device and precision."""
    composed_run.check_tuned(config)  # here, as cells with wrong values may be finished, or be taken for others
    task = composed_run.without_hydra(config)
    machine = resolve_machine_once(folder, {name: task[name] for name in ("device", "precision")})
    task.update(machine)
    return task, config.hydra, [f"{name}={value}" for name, value in machine.items()]


def _apart(overrides: Iterable[str]) -> tuple[tuple[str, ...], int | None]:
    """Split off the seed, if it is a plain number."""
    seeds = [word for word in overrides if re.fullmatch(r"seed=\d+", word)]
    rest = tuple(word for word in overrides if word not in seeds)
    return rest, int(seeds[0].partition("=")[2]) if seeds else None


def _differing(overrides: list[str], swept: list[str], names: dict) -> str:
    """Name a cell by its values of what is swept over, and a group's option by what it came to be."""
    words = [word.partition("=") for word in overrides if word.partition("=")[0] in swept]
    short = {group: names[group].partition(" ")[0] for group in composed_run.CHOSEN}
    named = ",".join(f"{key}={short.get(key, value)}" for key, _, value in words)
    name = re.sub(r"[^\w=,.+-]+", "_", named).encode(errors="replace")
    return name[:NAME].decode(errors="ignore") or "run"


def check_cells(unfinished: list[Cell], compose: Callable[[list[str]], DictConfig], elsewhere: bool) -> None:
    """Raise BadInput if one of the cells could not run; cells that differ only in the seed are checked once."""
    without_seed = {_apart(cell.overrides)[0]: cell for cell in unfinished}
    for cell in without_seed.values():
        composed_run.check_runnable(compose(list(cell.overrides)), elsewhere)


def left(cells: list[Cell]) -> list[Cell]:
    """Return the cells that are still to run; a stage runs again, only whole results count."""
    return [cell for cell in cells if cell.stage != "all" or cell.state() != "finished"]


def spread(cells: list[Cell]) -> list[Cell]:
    """Order runs so that those which share a model come far apart.

    Side by side, one would do nothing but wait until the other has trained it.
    """
    originals, retrained = (_turns(cell.models[i] for cell in cells) for i in (0, 1))
    order = sorted(range(len(cells)), key=lambda i: (retrained[i], originals[i]))
    return [cells[i] for i in order]


def _turns(names: Iterable[str]) -> list[int]:
    """Return for every name how often it occurred before."""
    seen: collections.Counter[str] = collections.Counter()
    turns = []
    for name in names:
        turns.append(seen[name])
        seen[name] += 1
    return turns


@contextlib.contextmanager
def one_warming(folder: Path, cells: list[Cell]) -> Iterator[None]:
    """Keep sweeps that stop after a stage apart, where they share a folder.

    Each takes away the marks of stages that the one before has left, and so would another's of the same time.
    """
    with contextlib.ExitStack() as held:
        if cells[0].stage != "all":
            make_folder(folder)
            said = f"waiting for another call with stage={cells[0].stage} in this folder"
            held.enter_context(locked(folder / ".stage.lock", lambda: print(said)))
        yield


def prepare(folder: Path, unfinished: list[Cell]) -> dict[Cell, str]:
    """Save the values of `auto` and prepare every cell; return why some cannot run."""
    device, precision = (word.partition("=")[2] for word in unfinished[0].overrides[-2:])
    if not (folder / MACHINE).exists():
        write_json(folder / MACHINE, {"device": device, "precision": precision})
    _print_changes(folder, unfinished)
    hopeless = {}
    for cell in left(unfinished):  # another call of this sweep may have finished some
        try:
            _make_ready(cell)
        except OSError as error:
            hopeless[cell] = f"{type(error).__name__}: {error}"
    return hopeless


def _make_ready(cell: Cell) -> None:
    """Create a cell's folder; delete the error of an earlier failure, and a damaged result."""
    make_folder(cell.folder / HYDRA)  # in the launcher a failure to do so would end the other runs too
    (cell.folder / "error.json").unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        _print_damage(cell.outcome)
    cell.outcome.unlink(missing_ok=True)  # of an earlier warming; of a result there is none that is whole


def _print_changes(folder: Path, unfinished: list[Cell]) -> None:
    """Print which files have changed since an earlier call read them, and save the hashes of this call."""
    now = {f"{name}={path}": sha256 for cell in unfinished for name, path, sha256 in cell.contents}
    before = _json(folder / CONTENTS) or {}
    for name in sorted(name for name in now if before.get(name, now[name]) != now[name]):
        was, is_ = (files[name][: contents.SHOWN] for files in (before, now))
        print(
            f"{name}: its content has changed since an earlier call (sha256 was {was}…, is {is_}…). "
            "Its runs start again, in new folders"
        )
    if now:
        write_json(folder / CONTENTS, before | now)


def _print_damage(outcome: Path) -> None:
    try:
        read_json(outcome)
    except Damaged as error:
        print(f"{program()}: {error}. Its run starts again", file=sys.stderr)


@dataclasses.dataclass(frozen=True)
class Missing:
    """The cells without a result: the reason, where it is known, and the cells that never began."""

    reasons: dict[Cell, str]
    unbegun: frozenset[Cell]


def missing(began: dict[Cell, int], hopeless: dict[Cell, str], failures: dict[int, str], gave_up: bool) -> Missing:
    """Return why runs have no result. `began`: cells in the order of their launch, with `said()` before it.

    `failures`: what runs raised, by number. Where the launcher `gave_up`, some runs may never have begun.
    """
    cells = list(began)
    unbegun = frozenset(cell for cell, length in began.items() if gave_up and cell.said() == length)
    return Missing({cells[number]: text for number, text in failures.items()} | hopeless, unbegun)
