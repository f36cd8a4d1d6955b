"""One config that Hydra composed: what it resolves to, whether it can run, and its run."""

import contextlib
import os
import traceback
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from softtargets import parts, tuned
from softtargets.disk import Damaged, clear, read_json, share_all, write_json
from softtargets.errors import BadInput, nearest
from softtargets.locks import locked
from softtargets.settings import RERUN_KEEPS, config_hash, require_writable, resolve

CHOSEN = ("dataset", "architecture", "mu_algo", "targets", "training", "unlearn", "forget_set")
ARM = ("dataset", "architecture", "forget_set", "mu_algo", "targets")
"""The choices that tuned values are for: those of a table, then the arm's."""
SIDES = ("targets/forget", "targets/retain")


def run_one(cfg: DictConfig, hydra: DictConfig) -> float | None:
    """Run `cfg` in the folder that Hydra made for it; returns the JS distance to the retrained model.

    A run that raises leaves error.json. In a sweep the screen belongs to the sweep: a run writes to run.log. And
    two calls of one sweep may reach a cell at once: the second waits, and takes the first one's result.
    """
    from softtargets import pipeline
    from softtargets.console import Console

    output = Path(hydra.runtime.output_dir)
    with contextlib.ExitStack() as files:
        share_all(output)  # what Hydra wrote
        files.callback(share_all, output)
        log = None
        if hydra.mode.name == "MULTIRUN":
            files.enter_context(locked(output / ".lock", busy=lambda: None))
            clear(output)
            log = files.enter_context((output / "run.log").open("a", encoding="utf-8"))
        try:
            config = resolve(cfg, choices(hydra.runtime.choices))
            there = _there(output, config) if log and config["stage"] == "all" else None
            found = there or pipeline.run(config, output, Console(log))
        except Exception as error:
            first = str(error).partition("\n")[0]
            report = {"error": type(error).__name__, "message": first, "traceback": traceback.format_exc()}
            with contextlib.suppress(OSError):  # a full disk may be what is reported
                write_json(output / "error.json", report)
            raise
    return found and found["distance"]["js_forget"]


def _there(output: Path, config: dict) -> dict | None:
    """Return the result of this config that is in the folder already, if any that is whole."""
    try:
        found = read_json(output / "result.json")
    except (FileNotFoundError, Damaged):
        return None
    return found if found["provenance"]["config_hash"] == config_hash(config) else None


def choices(chosen: DictConfig) -> dict[str, str]:
    """Return the chosen option of each group of ours; a side of the targets as `targets_forget`."""
    return {group.replace("/", "_"): chosen[group] for group in (*CHOSEN, *SIDES)}


def check(config: DictConfig, elsewhere: bool = False) -> None:
    """Build a composed config, `hydra` node included; raises BadInput where that cannot be done.

    `elsewhere`: it will run on another machine, which may have a device that this one lacks.
    """
    from softtargets.experiment import build

    parts.users_own(config)
    overrides = list(config.hydra.overrides.task)
    if config.rerun is not None:
        _only_kept(overrides)
    check_tuned(config)
    resolved = resolved_config(config)
    build(resolved | {"device": "cpu"} if elsewhere else resolved)


def check_folder(config: DictConfig, setting: str) -> None:
    """Refuse a folder for runs, the value of `setting`, that could not be made or written to."""
    folder = Path(OmegaConf.select(config, setting))
    if folder.is_relative_to(str(config.runs_dir)):
        setting, folder = "runs_dir", Path(config.runs_dir)
    require_writable(setting, folder)


def resolved_config(config: DictConfig) -> dict:
    """Resolve a composed config, `hydra` node included."""
    return resolve(without_hydra(config), choices(config.hydra.runtime.choices))


def _only_kept(overrides: list[str]) -> None:
    """Refuse overrides that `rerun` would have to ignore."""
    for override in overrides:
        if override.lstrip("+~").partition("=")[0].partition(".")[0] not in RERUN_KEEPS:
            raise BadInput(f"{override}: cannot be given with rerun, which takes only {', '.join(RERUN_KEEPS)}")


def check_tuned(config: DictConfig) -> None:
    """Raise BadInput where the values that stand in a composed config are not the tuned ones that were meant."""
    _known_tuned(config)
    _read_tables(config)


def _known_tuned(config: DictConfig) -> None:
    """Refuse tuned values that are asked for by name and do not exist; an arm without any is no mistake."""
    chosen, sources = config.hydra.runtime.choices, config.hydra.runtime.config_sources
    name, usual = chosen.get("tuned"), "/".join(chosen[group] for group in ARM)
    asked = name != usual or f"tuned={name}" in config.hydra.overrides.task
    if name and asked and "tuned" not in config:  # Hydra passes over an optional entry of the defaults list
        folders = [Path(source.path) for source in sources if source.schema == "tuned"]
        tables = [table for folder in folders for table in tuned.names(folder)]
        allowed = f"tuned=none or one of {', '.join(tables)}"
        raise BadInput(f"tuned={name}: no tuned values for it; use {allowed}{nearest(name, tables)}")


def _read_tables(config: DictConfig) -> None:
    """Refuse a table among a user's configs, unless its folder is named as one of tables before."""
    option, known = config.hydra.runtime.choices.get("tuned") or "none", set()
    for source in config.hydra.runtime.config_sources:
        if source.schema == "tuned":
            known.add(Path(source.path).resolve())
        folder = Path(source.path, "tuned").resolve()
        table = tuned.table_file(folder, option)
        if source.schema == "file" and folder not in known and table and os.path.isfile(table):
            place = f"put tuned://{folder} before file://{source.path}"
            raise BadInput(f"hydra.searchpath: {table} would not be read as a table; {place}")


def without_hydra(config: DictConfig) -> DictConfig:
    """Return a copy of what a task function would get."""
    return OmegaConf.masked_copy(config, [name for name in config if name != "hydra"])
