"""A composed config as plain data in which nothing is left open, and the hash of what it asks for."""

import copy
import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue
from yaml import YAMLError

from softtargets.config import allowed_targets, contents
from softtargets.config.machine import resolve_machine
from softtargets.config.names import Chosen, composed
from softtargets.config.settings import Settings
from softtargets.config.validation import naming, validated
from softtargets.errors import BadInput
from softtargets.system.files import canonical, read_json

GROUPS = ("dataset", "forget_set", "architecture", "training", "mu_algo", "unlearn", "targets")
ADDED = ("choices", "sources", "contents")
"""What a resolved config has beside settings."""
RERUN_KEEPS = ("rerun", "plugins", "save_models", "data_dir", "runs_dir", "store", "stage", "tracker")
NO_INFLUENCE = (*RERUN_KEEPS, "choices", "contents")
"""Settings that cannot change a result: they stay out of its hash. `contents` is in it, in the place of paths."""
NEWER = {"references": 1, "unlearn.cost": None}
"""Settings that older configs lack: left out at these values, so that hashes stay what they were."""
AGAIN = "call the sweep again, which plans anew"
RESTORE = "put back what was there, or give the settings without rerun"


def resolve(cfg: DictConfig, chosen: Chosen, digest: Callable = contents.digest) -> dict:
    """Return the config as plain data in which nothing is left open: no interpolation, no `auto`.

    `choices` names what runs, by the options that were `chosen`. With `rerun` it is the config saved in that run's
    folder, save for what cannot change the result. Beside them stand the hashes of the `sources` of own parts, and
    of the `contents` of the user's files, made by `digest`.

    Raises BadInput where a file has changed since a sweep was planned, or since the run that is repeated.
    """
    try:
        config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise BadInput(f"{error.full_key}=???: it has no default; give it, as in {error.full_key}=VALUE") from None
    if "choices" in config:
        raise BadInput("choices: it is made from the groups, and cannot be given")
    for taken_up in ("experiment", "tuned"):
        config.pop(taken_up, None)
    planned = contents.planned(config.pop("contents", "{}"))
    validated(Settings, settings_of(config), "")
    repeated = {}
    if config["rerun"] is not None:
        config = saved(Path(config["rerun"]).expanduser()) | {name: config[name] for name in RERUN_KEEPS}
        repeated = config.pop("contents", {})
        validated(Settings, settings_of(config), "")
        chosen = dataclasses.replace(chosen, options=config["choices"])
    _check_groups(config)
    drop_ignored_targets(config)
    _leave_out_newer(config)
    config |= {"choices": chosen.names(config)}
    if found := allowed_targets.sources(config, config["plugins"]):
        config["sources"] = found
    if found := contents.hashes(config, GROUPS, digest):
        config["contents"] = found
    contents.require(config, planned, "the sweep was planned", AGAIN)
    contents.require(config, repeated, f"the run in {config['rerun']}", RESTORE)
    config |= resolve_machine(config)
    for node in (config["training"], config["unlearn"]):
        if node.get("precision") == "auto":
            node |= {"precision": resolve_machine(config | {"precision": "auto"})["precision"]}
    return config


def drop_ignored_targets(config: dict) -> None:
    """Put hard labels in the place of targets that the algorithm ignores, so that it runs once for all of them."""
    if config["mu_algo"].get("ignores_targets") is True:
        config["targets"] = copy.deepcopy(composed("targets", "hard"))


def _leave_out_newer(config: dict) -> None:
    for name, usual in NEWER.items():
        group, _, setting = name.rpartition(".")
        node = config[group] if group else config
        if setting in node and node[setting] == usual:
            del node[setting]


def _check_groups(config: dict) -> None:
    """Refuse groups that are none, and numbers that have no place in a config, nor in its hash."""
    for group in GROUPS:
        if not isinstance(config.get(group), dict):
            raise BadInput(f"{group}={config.get(group)!r}: must be a group of settings; choose an option of it")
    for name, value in flat(config):
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise BadInput(f"{name}={value}: must be a finite number")


def settings_of(config: dict) -> dict:
    """Return what lies outside the groups."""
    return {name: value for name, value in config.items() if name not in (*GROUPS, *ADDED)}


def saved(run: Path) -> dict:
    """Return the config that a run left in its folder; raises BadInput where it is not whole."""
    file = run / "config.yaml"
    if not file.is_file():
        raise BadInput(f"rerun={run}: no run's folder; it must hold the config.yaml that a run leaves")
    with naming(f"rerun={run}", (ValueError, OSError, KeyError, TypeError, YAMLError)):
        config = OmegaConf.to_container(OmegaConf.load(file))
        if not isinstance(config, dict) or not {"choices", *GROUPS} <= config.keys():
            raise ValueError(f"{file} is not as a run leaves it")
        contents.checked(config.get("contents", {}), f"{file}: contents")
        if (run / "result.json").is_file() and _made_with(run) != config_hash(config):
            raise ValueError("its config.yaml is not the one that its result.json was made with")
    config.pop("sources", None)  # of that time
    return config


def _made_with(run: Path) -> str:
    return read_json(run / "result.json")["provenance"]["config_hash"]


def asked(config: dict) -> dict:
    """Return what a resolved config asks for: files by their content, nothing that cannot change the result."""
    kept = {name: value for name, value in contents.by_content(config).items() if name not in NO_INFLUENCE}
    if contents.holds_downloads(config):
        kept["dataset"] = {name: value for name, value in kept["dataset"].items() if name != "root"}
    kept["mu_algo"] = {name: value for name, value in kept["mu_algo"].items() if name != "ignores_targets"}
    return kept


def config_hash(config: dict) -> str:
    """Hash what a resolved config asks for."""
    return hashlib.sha256(canonical(asked(config)).encode()).hexdigest()


def flat(node: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value of a nested config by its dotted name; lists are values."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", tuple(value) if isinstance(value, list) else value
