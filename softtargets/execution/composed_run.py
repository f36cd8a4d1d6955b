"""A config that Hydra composed: its resolved form, checks before the run, and the run."""

import contextlib
import dataclasses
import datetime
import os
import re
import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from omegaconf import DictConfig, OmegaConf

from softtargets.config import allowed_targets, contents, paths, tuned
from softtargets.config.names import Chosen
from softtargets.config.paths import PLACES
from softtargets.config.resolve import (
    RERUN_KEEPS,
    as_plain,
    config_hash,
    drop_ignored_targets,
    flat,
    resolve,
    saved,
)
from softtargets.config.validation import NotTaken
from softtargets.errors import BadInput, Failed, nearest
from softtargets.execution import memory, run_files
from softtargets.layout import CONF
from softtargets.resumable.progress_marks import mark
from softtargets.system.files import clear, require_writable, share_all
from softtargets.system.locks import locked
from softtargets.system.signals import is_end

if TYPE_CHECKING:
    from softtargets.execution.experiment import Experiment
    from softtargets.execution.parts import Parts

CHOSEN = ("dataset", "architecture", "mu_algo", "targets", "training", "unlearn", "forget_set")
ARM = ("dataset", "architecture", "forget_set", "mu_algo", "targets")
"""Groups that name an arm's tuned values: three for the table, then algorithm and targets."""
SIDES = ("targets/forget", "targets/retain")
TITLE = ("dataset", "architecture", "mu_algo", "targets")
"""Groups whose choices name the folder of a single run."""
READ = ("checkpoint", "architecture.weights", "forget_set.path")
"""Settings that name a file to read, which another run may have left."""
LONGEST = 200
"""Most bytes of these names: a file system takes 255, and date, time and seed need some."""
_HASHED: list[Callable] = []
"""How the check before a single run hashed the user's files: the run need not list a large folder once more. What
has changed meanwhile is refused, since `experiment.build` looks anew."""


def run_in_folder(cfg: DictConfig, hydra: DictConfig) -> float | None:
    """Run `cfg` in the folder that Hydra created for it, and return the JS distance to the retrained model.

    A run that raises leaves error.json, and its result if that was whole by then. In a sweep it writes to run.log
    instead of the screen and raises Failed, which every launcher can pass on. Two calls of one sweep may start a
    cell at once: the second waits and reuses the first one's result.
    """
    output, log, swept = Path(hydra.runtime.output_dir), None, hydra.mode.name == "MULTIRUN"
    digest, since = None, None if cfg.stage != "all" else datetime.datetime.now(datetime.UTC)
    with contextlib.ExitStack() as files:
        files.callback(share_all, output)
        try:
            share_all(output)  # what Hydra wrote
            if swept:
                files.callback(mark, output, "ended")
                log = files.enter_context(_cell(output))
            hashed = _HASHED.pop() if _HASHED and not swept else contents.sha256_of
            config = resolved(as_plain(cfg), hydra, chosen(hydra.runtime), hashed)
            digest = config_hash(config)
            return _run(config, digest, output, log)
        except (Exception, SystemExit) as error:
            if is_end(error):
                raise
            if log or not swept:  # else another call may be computing this cell, or have finished it
                run_files.remove_earlier(output, digest, since)
            known = memory.advice(error, str(hydra.launcher._target_))
            sentence = _write_error(output, error, known, log)
            if not (swept or known):
                raise
        # outside of `except`: a chained exception would keep the memory of the first one's frames
        raise Failed(sentence)


@contextlib.contextmanager
def _cell(output: Path) -> Iterator[TextIO]:
    """Lock a cell's folder and yield its log."""
    with locked(output / ".lock", busy=lambda: None):
        clear(output)
        with (output / "run.log").open("a", encoding="utf-8", errors="backslashreplace") as log:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            print(f"{now}: process {os.getpid()} on {socket.gethostname()}", file=log, flush=True)
            mark(output, "began")
            yield log


def _run(config: dict, digest: str, output: Path, log: TextIO | None) -> float | None:
    from softtargets.console import Console
    from softtargets.execution import pipeline

    earlier = None
    if log and config["stage"] == "all":
        earlier = run_files.read_result(output, digest)
    result = earlier or pipeline.run_experiment(config, output, Console(log))
    return result and result["distance"]["js_forget"]


def _write_error(output: Path, error: BaseException, known: str | None, log: TextIO | None) -> str:
    """Write error.json, and the traceback into the log; return what happened, in one line."""
    name, first = type(error).__name__, known or str(error).partition("\n")[0]
    # the disk may be full: the sentence is returned too
    with contextlib.suppress(OSError):
        run_files.write_error(output, error, first)
    if log:
        with contextlib.suppress(OSError):
            traceback.print_exception(error, file=log)
            log.flush()
    return known or f"{name}: {first}"


def chosen(runtime: DictConfig) -> Chosen:
    """Return the chosen option of each of our groups, and the folders of options, from `hydra.runtime`."""
    options = {group.replace("/", "_"): runtime.choices[group] for group in (*CHOSEN, *SIDES)}
    places = paths.config_folders(f"{source.schema}://{source.path}" for source in runtime.config_sources)
    return Chosen(options, tuple(dict.fromkeys([CONF, *places])))


def run_title(config: DictConfig) -> str:
    """Return the name of a run's folder from its composed config, `hydra` node included; needs no torch."""
    task, options = OmegaConf.to_container(without_hydra(config), resolve=True), chosen(config.hydra.runtime)
    if task["rerun"] is not None:
        task = saved(Path(task["rerun"]).expanduser())
        options = dataclasses.replace(options, options=task["choices"])
    drop_ignored_targets(task)
    names = options.names(task)
    name = "-".join(str(names[group]) for group in TITLE)
    short = re.sub(r"[^\w=,.+-]+", "_", name).encode()[:LONGEST].decode(errors="ignore")
    return f"{short}-{task['seed']}"


def check_runnable(config: DictConfig, elsewhere: bool = False) -> "Experiment":
    """Return the experiment of a composed config, `hydra` node included; raise BadInput if it cannot be built.

    `elsewhere`: it will run on another machine, which may have a device that this one lacks.
    """
    from softtargets.execution.parts import Parts

    allowed_targets.listed_plugins(config)
    overrides, parts = list(config.hydra.overrides.task), Parts()
    if config.rerun is not None:
        _require_kept(overrides)
    check_chosen(config)
    with _naming_files(config):
        try:
            experiment = check_resolved(resolved_config(config, parts.sha256_of), overrides, parts, elsewhere)
        except NotTaken as error:
            raise BadInput(f"{error}{_preset_advice(config, error.settings)}") from error
    _HASHED[:] = [parts.sha256_of]
    return experiment


def check_resolved(task: dict, overrides: list[str], parts: "Parts", elsewhere: bool = False) -> "Experiment":
    """Return the experiment of a resolved config; raise what is wrong with it, or with the overrides beside."""
    from softtargets.execution.experiment import build

    experiment = build(task | {"device": "cpu"} if elsewhere else task, parts=parts)
    if experiment.lengths:
        _require_one_length(overrides, experiment)
    return experiment


def _require_one_length(overrides: list[str], experiment: "Experiment") -> None:
    """Refuse a typed number of steps or epochs beside a budget, which decides both.

    Where an algorithm takes turns, `epochs` is the number of its turns.
    """
    from softtargets.execution.rehearsal import plan

    decided = {"unlearn.max_steps"} | (set() if plan(experiment).by_epochs else {"unlearn.epochs"})
    for word in overrides:
        name, _, value = word.lstrip("+").partition("=")
        if name in decided and value != "null":
            cost = experiment.unlearning.cost
            raise BadInput(f"{word}: unlearn.cost={cost} decides the number of steps; give one of the two")


def _preset_advice(config: DictConfig, settings: tuple[str, ...]) -> str:
    """Return which of these settings come from a preset instead of the user, and how to leave them out."""
    typed = [word.lstrip("+").partition("=")[::2] for word in config.hydra.overrides.task]
    named = {key for key, _ in typed} | {
        setting
        for setting in settings
        for key, value in typed
        if value[:1] == "{" and setting.startswith(f"{key}.")
    }
    options = chosen(config.hydra.runtime)
    presets = {one: preset for one in settings if one not in named and (preset := options.preset(one))}
    if config.rerun is not None or not presets:
        return ""
    words = " ".join(f"'~{setting}'" for setting in presets)
    what, those = ("this", "it") if len(presets) == 1 else (", ".join(presets), "them")
    return f"; {' and '.join(dict.fromkeys(presets.values()))} sets {what}: remove {those} by {words}"


@contextlib.contextmanager
def _naming_files(config: DictConfig) -> Iterator[None]:
    """Raise BadInput for an error of the file system, with the setting that names the file."""
    try:
        yield
    except OSError as error:
        if not error.filename:
            raise
        given = flat(OmegaConf.to_container(without_hydra(config)))
        named = (f"{name}={value}" for name, value in given if value and str(value) in str(error.filename))
        setting = next(named, error.filename)
        raise BadInput(f"{setting}: {error.strerror}. Give a file or a folder that you can use") from error


def check_folder(config: DictConfig, setting: str) -> None:
    """Raise BadInput for a folder for runs, the value of `setting`, that cannot be created or written to."""
    value = OmegaConf.select(config, setting)
    if not value:
        raise BadInput(f"{setting}={value}: must be a folder. Give its path, or leave the setting out")
    folder = Path(value)
    if setting == "hydra.run.dir":
        _refuse_own_files(config, folder)
    if folder.is_relative_to(str(config.runs_dir)):
        setting, folder = "runs_dir", Path(config.runs_dir)
    if str(folder).startswith("~"):
        raise BadInput(f"{setting}={folder}: Hydra makes this folder and expands no ~. Give the path without ~")
    require_writable(setting, folder)


def _refuse_own_files(config: DictConfig, folder: Path) -> None:
    """Raise BadInput for what the run reads and would delete or replace as the files of an earlier run."""
    repeated = config.rerun and Path(config.rerun).expanduser()
    read = {"rerun": repeated} if repeated else {}
    if repeated and repeated.resolve() != folder.resolve():
        config = OmegaConf.create(saved(repeated))
    for setting in READ:
        file = Path(OmegaConf.select(config, setting) or "").expanduser()
        if file.name in run_files.NAMES:
            read[setting] = file
    for setting, place in read.items():
        if folder.resolve() in (place.resolve(), place.parent.resolve()):
            raise BadInput(f"{setting}={place}: lies in hydra.run.dir={folder}. Choose another folder for the run")


def resolved_config(config: DictConfig, digest: Callable = contents.sha256_of) -> dict:
    """Return a composed config, `hydra` node included, in resolved form."""
    return resolved(as_plain(without_hydra(config)), config.hydra, chosen(config.hydra.runtime), digest)


def resolved(task: dict, hydra: DictConfig, options: Chosen, digest: Callable = contents.sha256_of) -> dict:
    """Return a task's config in resolved form; with `hydra.job.chdir` paths are relative to the calling folder."""
    if not hydra.job.chdir:
        return resolve(task, options, digest)
    with contextlib.chdir(hydra.runtime.cwd):
        config = resolve(task, options, digest)
        config["store"]["dir"] = config["store"]["dir"] or os.environ.get("SOFTTARGETS_STORE")
        for place in PLACES:
            group, _, name = place.rpartition(".")
            node = config[group] if group else config
            if node.get(name):
                node[name] = os.path.abspath(os.path.expanduser(node[name]))
    return config


def _require_kept(overrides: list[str]) -> None:
    """Refuse overrides that `rerun` would have to ignore."""
    for override in overrides:
        if override.lstrip("+~").partition("=")[0].partition(".")[0] not in RERUN_KEEPS:
            raise BadInput(f"{override}: has no effect with rerun. Beside it you can set {', '.join(RERUN_KEEPS)}")


def check_chosen(config: DictConfig) -> None:
    """Raise BadInput if a composed config lacks the tuned values or the option that the user chose."""
    _require_none_hidden(config)
    _require_tuned(config)
    _require_read_as_tables(config)


def _require_none_hidden(config: DictConfig) -> None:
    """Raise BadInput where two folders of configs have a chosen option: Hydra reads the first in silence."""
    places = [f"{source.schema}://{source.path}" for source in config.hydra.runtime.config_sources]
    folders, advice = paths.config_folders(places), "Give it another name, and choose that"
    for group, option in config.hydra.runtime.choices.items():
        paths.first_file(folders, f"{group}/{option}.yaml", advice)


def _require_tuned(config: DictConfig) -> None:
    """Raise BadInput for tuned values that the user names and that do not exist; an arm may have none."""
    chosen, sources = config.hydra.runtime.choices, config.hydra.runtime.config_sources
    name, usual = chosen.get("tuned"), "/".join(chosen[group] for group in ARM)
    typed = name != usual or f"tuned={name}" in config.hydra.overrides.task
    if name and typed and "tuned" not in config:  # Hydra skips an optional entry of the defaults list
        folders = [Path(source.path) for source in sources if source.schema == "tuned"]
        tables = [table for folder in folders for table in tuned.names(folder)]
        choices = f"tuned=none or one of {', '.join(tables)}"
        raise BadInput(f"tuned={name}: no tuned values for it; use {choices}{nearest(name, tables)}")


def _require_read_as_tables(config: DictConfig) -> None:
    """Raise BadInput for a table in a user's configs, unless `tuned://` lists its folder before them."""
    option, known = config.hydra.runtime.choices.get("tuned") or "none", set()
    for source in config.hydra.runtime.config_sources:
        if source.schema == "tuned":
            known.add(Path(source.path).resolve())
        place = f"{source.schema}://{source.path}"
        configs = paths.config_folder(place)
        folder = configs and Path(configs, "tuned").resolve()
        table = folder and tuned.table_file(folder, option)
        if table and folder not in known and os.path.isfile(table):
            advice = f"Put tuned://{folder} before {place}"
            raise BadInput(f"hydra.searchpath: {table} would not be read as a table. {advice}")


def without_hydra(config: DictConfig) -> DictConfig:
    """Return a copy of the config without its `hydra` node, as a task function gets it."""
    return OmegaConf.masked_copy(config, [name for name in config if name != "hydra"])
