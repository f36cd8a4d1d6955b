"""The cells of a sweep on disk: their folders, their states, and what is left to run.

Torch is imported only to check unfinished cells, so a second call of a finished sweep costs little.
"""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from softtargets.config import allowed_targets, contents, tuned_on
from softtargets.config.machine import resolve_machine
from softtargets.config.resolve import config_hash
from softtargets.config.settings import LauncherSettings, SweeperSettings
from softtargets.config.validation import validated as check_model
from softtargets.errors import BadInput, program
from softtargets.execution import composed_run, run_files
from softtargets.report.planned import write_plan
from softtargets.resumable.progress_marks import remove_marks
from softtargets.resumable.run_folders import finished_or_first, folders_by_digest
from softtargets.study.composing import Composer
from softtargets.study.pairs import OWN
from softtargets.system.files import Damaged, canonical, make_folder, read_json, read_json_or_none, write_json
from softtargets.system.locks import locked
from softtargets.system.words import counted

if TYPE_CHECKING:
    from softtargets.execution.experiment import Experiment
    from softtargets.execution.parts import Parts

MACHINE = "machine.json"
CONTENTS = "contents.json"
COST = "unlearn.cost"
SUBDIR = "${hydra:job.num}"
"""The value of `hydra.sweep.subdir` in conf/config.yaml; no other is allowed."""
HYDRA = ".hydra"
"""The folder in a run's folder that Hydra writes before the run begins."""
NAME = 255 - 13
"""Longest name of a folder before its hash, in bytes."""
AUTO = ("device", "precision")
"""Settings whose value `auto` this machine decides."""
ORIGINAL = ("seed", "dataset", "architecture", "training")
"""Parts of a config that the original model depends on; the retrained model depends on `forget_set` too."""


@dataclasses.dataclass(frozen=True)
class SweepCell:
    """One run of a sweep."""

    overrides: tuple[str, ...]
    folder: Path
    hash: str
    """Hash of its resolved config."""
    stage: str
    models: tuple[str, str]
    """Keys of the original and of the retrained model; cells with equal keys share the model."""
    data: tuple[str, str] = ("", "")
    """Keys of the dataset, and of the dataset with the forget set."""
    contents: tuple[tuple[str, str, str], ...] = ()
    """Setting, path and SHA-256 of every file or folder that it reads from the user."""
    auto: tuple[tuple[str, str], ...] = ()
    """The settings that are `auto`, with the values that stand for it."""
    saves_models: bool = False
    """Whether its run saves its models in its folder."""

    @property
    def outcome(self) -> Path:
        """Return the file whose presence means that the run is complete."""
        return self.folder / ("result.json" if self.stage == "all" else f"{self.stage}.json")

    @property
    def planned(self) -> str:
        """Return the hashes of the files that the run was planned with, by setting, as JSON."""
        return json.dumps({setting: sha256 for setting, _, sha256 in self.contents})

    def state(self) -> str:
        """Return the state that the folder shows: finished, failed, running or waiting."""
        if result := read_json_or_none(self.outcome):
            return "finished" if self.has_made(result) else "waiting"
        if (self.folder / "error.json").exists():
            return "failed"
        return "running" if self.log_bytes() else "waiting"

    def has_made(self, result: dict) -> bool:
        """Return whether a result, or the content of a stage's file, is of this cell's config."""
        return result["provenance"]["config_hash"] == self.hash

    def log_bytes(self) -> int:
        """Return the size of the run's log, which grows as soon as the run begins; 0 if there is no log."""
        try:
            return (self.folder / "run.log").stat().st_size
        except OSError:
            return 0

    def error(self) -> str | None:
        """Return why the run has no result, in one line; None if its folder does not say."""
        if report := read_json_or_none(self.folder / "error.json"):
            return f"{report['error']}: {report['message']}"
        return (
            "its result is of another config, because a file that it reads has changed"
            if read_json_or_none(self.outcome)
            else None
        )


def resolve_machine_once(folder: Path, settings: dict) -> dict:
    """Replace `auto` in `settings` by the values of the sweep's first call, so that all runs use the same ones."""
    try:
        known = read_json(folder / MACHINE)
    except FileNotFoundError:
        known = {}
    except Damaged as error:
        raise BadInput(f"{error}. Delete it to resolve auto again, or set device and precision") from error
    values = {name: known.get(name, value) if value == "auto" else value for name, value in settings.items()}
    return resolve_machine(values)


def check_settings(config: DictConfig) -> None:
    """Raise BadInput for settings of the sweeper or launcher that Hydra accepts although they cannot work."""
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


def cells(combinations: list[list[str]], swept: list[str], folder: Path, compose: Composer) -> list[SweepCell]:
    """Return the cells of a sweep: one for each different config, with a folder named by what varies and its hash.

    The hash decides which folder is a cell's, since an earlier sweep may have varied other settings. Combinations
    with equal configs are one cell.
    """
    by_hash: dict[str, SweepCell] = {}
    if not combinations:
        raise BadInput(f"{', '.join(swept)}: the sweep is empty. Give a range or a glob with at least one value")
    existing = folders_by_digest(folder)
    hashed_once = functools.cache(contents.sha256_of)  # so that all cells see the same content
    machine_of = functools.cache(lambda *pair: resolve_machine_once(folder, dict(zip(AUTO, pair, strict=True))))
    for overrides in combinations:
        before = compose.composed
        composed = compose(overrides)
        if compose.composed > before:
            allowed_targets.require_typed(composed.template.hydra)
            composed_run.check_chosen(composed.whole())  # first: a hash of wrong values may be a finished cell's
        task = composed.task()
        allowed_targets.require_listed(task["plugins"])  # before a part of the config is imported
        machine = machine_of(*(task[name] for name in AUTO))
        resolved = composed.resolved(machine, hashed_once)
        digest = config_hash(resolved)
        matter = [name for name in swept if name != COST or "cost" in resolved["unlearn"]]  # some take no steps
        name = _differing(overrides, matter, resolved["choices"])
        places = existing.get(digest[:12], [folder / f"{name}-{digest[:12]}"])
        words = [f"{name}={value}" for name, value in machine.items()]
        files = contents.files_of(resolved)
        keys = _keys(resolved)
        auto = tuple((name, machine[name]) for name in AUTO if task[name] == "auto")
        cell = SweepCell(
            (*overrides, *words),
            places[0],
            digest,
            task["stage"],
            models=keys[:2],
            data=keys[2:],
            contents=files,
            auto=auto,
            saves_models=task["save_models"],
        )
        by_hash.setdefault(
            digest, finished_or_first([dataclasses.replace(cell, folder=place) for place in places])
        )
    return list(by_hash.values())


def print_unsaved(cells: list[SweepCell]) -> None:
    """Print how many finished runs lack the models that this call would save: it does not repeat them."""
    last = run_files.MODELS[-1]
    asked = [cell for cell in cells if cell.saves_models and cell.stage == "all"]
    lacking = [cell for cell in asked if not (cell.folder / last).exists() and cell.state() == "finished"]
    if lacking:
        print(
            f"save_models=true: {counted(len(lacking), 'run')} finished earlier without saved models. To save "
            "them, delete these runs' folders and type the same again, or give another hydra.sweep.dir"
        )


def _keys(resolved: dict) -> tuple[str, str, str, str]:
    """Return the keys of original, retrained model, dataset and data."""
    original = canonical({name: resolved[name] for name in ORIGINAL})
    dataset, forget_set = (canonical(resolved[name]) for name in ("dataset", "forget_set"))
    texts = (original, original + forget_set, dataset, dataset + forget_set)
    return tuple(hashlib.sha256(text.encode()).hexdigest() for text in texts)


def _differing(overrides: list[str], swept: list[str], names: dict) -> str:
    """Return a cell's name: the values of the swept settings, with the option that each group resolved to."""
    words = [word.partition("=") for word in overrides if word.partition("=")[0] in swept]
    words = [word for word in words if word[0] != f"+{tuned_on.SETTING}"]  # it is long, and changes nothing
    short = {group: names[group].partition(" ")[0] for group in composed_run.CHOSEN}
    named = ",".join(f"{key}={short.get(key, value)}" for key, _, value in words)
    name = re.sub(r"[^\w=,.+-]+", "_", named).encode(errors="replace")
    return name[:NAME].decode(errors="ignore") or "run"


SEED = re.compile(r"(dataset\.|forget_set\.)?seed=\d{1,9}")
"""A seed of a run or of its data. A larger number may be too large, so it is checked."""


def check_cells(unfinished: list[SweepCell], compose: Composer, elsewhere: bool) -> None:
    """Check that each cell can run, once for cells that differ only in seeds; raise BadInput otherwise."""
    if not unfinished:
        return
    from softtargets.execution.parts import Parts  # which imports torch

    parts, differing = Parts(), {without_seed(cell): cell for cell in unfinished}
    for cell in by_data(list(differing.values())):
        checked(cell, compose, parts, elsewhere)


def checked(cell: SweepCell, compose: Composer, parts: "Parts", elsewhere: bool) -> "Experiment":
    """Return the experiment of a cell, with its config as it will run; raise BadInput if it cannot run."""
    *overrides, device, precision = cell.overrides
    composed, machine = compose(overrides), dict(word.split("=") for word in (device, precision))
    try:
        task = composed.resolved(machine, parts.sha256_of)
        return composed_run.check_resolved(task, list(cell.overrides), parts, elsewhere)
    except (BadInput, OSError):
        composed_run.check_runnable(composed.whole(machine), elsewhere)  # which says where a value comes from
        raise


def without_seed(cell: SweepCell) -> tuple[str, ...]:
    """Return the overrides of a cell but its seeds."""
    return tuple(word for word in cell.overrides if not SEED.fullmatch(word))


def by_data(cells: list[SweepCell]) -> list[SweepCell]:
    """Order cells so that those with equal data follow each other, and each is drawn once."""
    first = {key: number for number, cell in reversed(list(enumerate(cells))) for key in cell.data}
    return sorted(cells, key=lambda cell: [first[key] for key in cell.data])


def left(cells: list[SweepCell]) -> list[SweepCell]:
    """Return the cells still to run: those without a result, and all that stop after a stage."""
    return [cell for cell in cells if cell.stage != "all" or cell.state() != "finished"]


def spread(cells: list[SweepCell]) -> list[SweepCell]:
    """Return the cells in an order that keeps cells with the same model far apart.

    Two of them side by side would cost a worker: one waits while the other trains their model.
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
def one_warming(folder: Path, cells: list[SweepCell]) -> Iterator[None]:
    """Let one sweep at a time stop after a stage in a folder; another one waits.

    Each of them first deletes the stage files of earlier ones, and would delete those of another still running.
    """
    with contextlib.ExitStack() as held:
        if cells[0].stage != "all":
            make_folder(folder)
            line = f"waiting for another call with stage={cells[0].stage} in this folder"
            held.enter_context(locked(folder / ".stage.lock", lambda: print(line, flush=True)))
        yield


def plan(folder: Path, cells: list[SweepCell]) -> None:
    """Leave the plan of this call in the sweep's folder: a report says which of its runs are missing.

    A call that stops after a stage is none: its runs leave no result.
    """
    if cells[0].stage == "all":
        own = {"pairs", *OWN}  # of the sweep: the same call with other values of them has the same runs
        words = {cell.folder.name: [w for w in cell.overrides if w.partition("=")[0] not in own] for cell in cells}
        write_plan(folder, words)


def prepare(folder: Path, unfinished: list[SweepCell]) -> dict[SweepCell, str]:
    """Save the values of `auto` and prepare each cell's folder; return why some cells cannot run."""
    known = read_json_or_none(folder / MACHINE) or {}
    if new := {name: value for cell in unfinished for name, value in cell.auto if name not in known}:
        write_json(folder / MACHINE, known | new)
    _print_changes(folder, unfinished)
    hopeless = {}
    for cell in unfinished:
        try:
            if left([cell]):  # another call of this sweep may have finished it
                _make_ready(cell)
        except OSError as error:
            hopeless[cell] = f"{type(error).__name__}: {error}"
            with contextlib.suppress(OSError):  # its folder itself may be what cannot be made
                run_files.write_error(cell.folder, error, str(error))
    return hopeless


def _make_ready(cell: SweepCell) -> None:
    """Create a cell's folder; delete the marks of earlier ends, and a result that is damaged or of another config.

    A whole result stays: another call may have finished the cell at this moment.
    """
    make_folder(cell.folder / HYDRA)  # here, because a failure in the launcher would end the other runs too
    (cell.folder / "error.json").unlink(missing_ok=True)
    remove_marks(cell.folder)
    if cell.stage != "all" or _is_spoilt(cell):
        cell.outcome.unlink(missing_ok=True)


def _print_changes(folder: Path, unfinished: list[SweepCell]) -> None:
    """Print the files that have changed since an earlier call, and save their hashes for the next call."""
    now = {f"{name}={path}": sha256 for cell in unfinished for name, path, sha256 in cell.contents}
    before = read_json_or_none(folder / CONTENTS) or {}
    for name in sorted(name for name in now if before.get(name, now[name]) != now[name]):
        was, is_ = (files[name][: contents.SHOWN] for files in (before, now))
        print(
            f"{name}: its content has changed since an earlier call (sha256 was {was}…, is {is_}…). "
            "Its runs start again, in new folders"
        )
    if now:
        write_json(folder / CONTENTS, before | now)


def _is_spoilt(cell: SweepCell) -> bool:
    """Return whether a cell's result is of another config, or damaged, which is printed."""
    try:
        return not cell.has_made(read_json(cell.outcome))
    except FileNotFoundError:
        return False
    except Damaged as error:
        print(f"{program()}: {error}. Its run starts again", file=sys.stderr)
        return True


@dataclasses.dataclass(frozen=True)
class Missing:
    """The cells without a result: known reasons, and the cells that never began."""

    reasons: dict[SweepCell, str]
    unbegun: frozenset[SweepCell]
    """With `stopped`, also those that were stopped."""
    stopped: bool = False
    """Whether the sweep ended before its last run."""


def missing(
    began: dict[SweepCell, int], hopeless: dict[SweepCell, str], failures: dict[int, str], gave_up: bool
) -> Missing:
    """Return the cells without a result, with the reasons.

    `began` maps cells, in the order of their launch, to their `log_bytes()` before it. `failures` has the messages
    of runs that raised, by position. If the launcher `gave_up`, a run whose log did not grow never began.
    """
    cells = list(began)
    unbegun = frozenset(cell for cell, length in began.items() if gave_up and cell.log_bytes() == length)
    return Missing({cells[number]: text for number, text in failures.items()} | hopeless, unbegun)
