"""The resolved config of a run, as plain data without interpolations or `auto`, and its hash."""

import copy
import dataclasses
import hashlib
import inspect
import math
from collections.abc import Callable, Iterator
from pathlib import Path

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue
from yaml import YAMLError

from softtargets.config import allowed_targets, contents, dataset_names, tuned_on
from softtargets.config.machine import resolve_machine
from softtargets.config.names import Chosen, composed
from softtargets.config.paths import PLACES
from softtargets.config.settings import LOOKS, MOST_COST, Settings
from softtargets.config.validation import naming, validated
from softtargets.errors import BadInput
from softtargets.system.files import canonical, read_json

GROUPS = ("dataset", "forget_set", "architecture", "training", "mu_algo", "unlearn", "targets")
ADDED = ("choices", "sources", "contents", "tuned_on")
"""Keys of a resolved config that are not settings."""
RERUN_KEEPS = ("rerun", "plugins", "save_models", "data_dir", "runs_dir", "store", "stage", "tracker")
NO_INFLUENCE = (*RERUN_KEEPS, "choices", "contents", "tuned_on")
"""Settings that cannot change a result: the hash leaves them out. It has `contents` instead of paths."""
DECLARED = ("ignores_targets", "ignores_forget_targets", "ignores_cost")
"""What the config of an algorithm declares of it, which is no setting."""
NEWER = {
    "architecture.weights": None,
    "references": 1,
    "forget_set.requests": 1,
    "unlearn.cost": None,
    "unlearn.looks": 1,
    "unlearn.freeze_norm": False,
    "unlearn.forget_batch_ratio": 1.0,
    "unlearn.label_smoothing": 0.0,
    "unlearn.augmentation": {"flip": False, "shift": 0, "cutout": 0},
    "training.label_smoothing": 0.0,
    "training.augmentation": {"flip": False, "shift": 0, "cutout": 0},
}
"""Settings that older configs lack: left out at these values, so that hashes stay what they were."""
OF_SWEEPS = {
    "pairs": "one run has no pairs, a sweep has",
    "fail_fast": "one run ends at its first error, a sweep goes on",
}
"""Settings that a sweep takes out of the configs of its runs, and why one run refuses them."""
PLANNED = "only `softtargets run` plans, one run or a sweep. Leave it out"
AGAIN = "Start the sweep again to plan it anew"
RESTORE = "Restore the file, or give the settings without rerun"


def as_plain(cfg: DictConfig) -> dict:
    """Return a config as plain data without interpolations; raises BadInput for a value that is missing."""
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise BadInput(f"{error.full_key} is required: {error.full_key}={_example(error.full_key)}") from None


def resolve(config: dict, chosen: Chosen, digest: Callable = contents.sha256_of) -> dict:
    """Return a config, plain data without interpolations, without `auto` too; `config` itself is used up.

    `choices` names the parts of the run, by the options that were `chosen`, and a user's dataset as in tables.
    With `rerun` the settings that can change the result come from the config in that run's folder. `sources` has
    the hashes of the user's code, `contents` those of the user's files, computed by `digest`.

    Raises BadInput if a file has changed since a sweep was planned, or since the repeated run.
    """
    if "choices" in config:
        raise BadInput(
            "choices: cannot be set, because it is derived from the groups. Choose options of the groups"
        )
    if "tuned_on" in config:
        raise BadInput("tuned_on: cannot be set so. Give it as +tuned.tuned_on")
    config.pop("experiment", None)
    values = config.pop("tuned", None)  # the other groups have them already
    if isinstance(values, dict) and values.get("tuned_on") is not None:
        config["tuned_on"] = tuned_on.checked(values["tuned_on"], tuned_on.SETTING)
    planned = contents.planned(config.pop("contents", "{}"))
    validated(Settings, settings_of(config), "")
    for name, advice in OF_SWEEPS.items():
        if (value := config.pop(name, None)) is not None:
            raise BadInput(f"{name}={value}: {advice}. Type -m first, as in -m {name}={value}")
    if config.pop("plan", False):
        raise BadInput(f"plan=true: {PLANNED}")
    repeated = {}
    if config["rerun"] is not None:
        config = saved(Path(config["rerun"]).expanduser()) | {name: config[name] for name in RERUN_KEEPS}
        repeated = config.pop("contents", {})
        validated(Settings, settings_of(config), "")
        chosen = dataclasses.replace(chosen, options=config["choices"])
    _check_groups(config)
    drop_ignored_targets(config)
    _drop_ignored_cost(config)
    _leave_out_newer(config)
    _leave_out_preset(config, chosen)
    named = dataset_names.taken(config["dataset"], chosen.options["dataset"])
    config |= {"choices": chosen.names(config) | named}
    if sources := allowed_targets.sources(config, config["plugins"]):
        config["sources"] = sources
    if hashes := contents.sha256s(config, GROUPS, digest):
        config["contents"] = hashes
    contents.require(config, planned, "the sweep was planned", AGAIN)
    contents.require(config, repeated, f"the run in {config['rerun']} read it", RESTORE)
    config |= resolve_machine(config)
    for node in (config["training"], config["unlearn"]):
        if node.get("precision") == "auto":
            node |= {"precision": resolve_machine(config | {"precision": "auto"})["precision"]}
    return config


def drop_ignored_targets(config: dict) -> None:
    """Put hard labels in the place of targets that the algorithm ignores, so that it runs once for all of them.

    And so that no teacher is trained for them.
    """
    hard, algorithm = copy.deepcopy(composed("targets", "hard")), config["mu_algo"]
    if algorithm.get("ignores_targets") is True:
        config["targets"] = hard
    elif algorithm.get("ignores_forget_targets") is True:
        config["targets"]["forget"] = hard["forget"]


def _drop_ignored_cost(config: dict) -> None:
    """Leave out the budget of an algorithm that takes no steps, so that it runs once for all budgets."""
    cost = config["unlearn"].get("cost")
    allowed = isinstance(cost, int | float) and not isinstance(cost, bool) and 0 < cost <= MOST_COST
    if config["mu_algo"].get("ignores_cost") is True and allowed:  # a wrong value stays, to be refused
        config["unlearn"]["cost"] = None


def _leave_out_newer(config: dict) -> None:
    looks = config["unlearn"].get("looks")
    if config["unlearn"].get("stop") == "none" and type(looks) is int and looks in LOOKS:
        del config["unlearn"]["looks"]  # of a rule that is not there; a wrong value stays, to be refused
    for name, usual in NEWER.items():
        group, _, setting = name.rpartition(".")
        node = config[group] if group else config
        value = node.get(setting, ...)
        if _same(value, usual):
            del node[setting]


def _same(value: object, usual: object) -> bool:
    """Return whether a value is the usual one. To Python 0 is False, but it is a wrong value, which stays."""
    if isinstance(usual, dict) and isinstance(value, dict):
        return value.keys() == usual.keys() and all(_same(value[name], usual[name]) for name in usual)
    return value == usual and isinstance(value, bool) == isinstance(usual, bool)


def _leave_out_preset(config: dict, chosen: Chosen) -> None:
    """Remove from the architecture what its option sets for another network, if the user's own lacks it."""
    node, usual = config["architecture"], chosen.file("architecture")
    target = node.get("_target_")
    if usual is None or target in (None, usual.get("_target_")):
        return
    allowed_targets.require_allowed({"architecture": node}, config["plugins"])
    part = get_object(target)
    with naming(f"architecture._target_={target}"):
        takes = inspect.signature(part).parameters
    if not target.startswith("torchvision.") and any(one.kind is one.VAR_KEYWORD for one in takes.values()):
        return  # it may take any of them
    for name, value in usual.items():
        if not name.startswith("_") and name not in takes and name in node and node[name] == value:
            del node[name]


def _example(setting: str) -> str:
    """Return what stands for the value of a required setting in a sentence."""
    return "FILE" if setting == "forget_set.path" else "DIR" if setting in PLACES else "VALUE"


def _check_groups(config: dict) -> None:
    """Raise BadInput for a group that is not a node of settings, and for numbers that are not finite."""
    for group in GROUPS:
        if not isinstance(config.get(group), dict):
            raise BadInput(
                f"{group}={config.get(group)!r}: must be a group of settings. Choose an option: --help {group}"
            )
    for name, value in flat(config):
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise BadInput(f"{name}={value}: must be a finite number")


def settings_of(config: dict) -> dict:
    """Return the settings outside the groups."""
    return {name: value for name, value in config.items() if name not in (*GROUPS, *ADDED)}


def saved(run: Path) -> dict:
    """Return the config that a run saved in its folder; raises BadInput if it is damaged."""
    file = run / "config.yaml"
    with naming(f"rerun={run}", (OSError,)):
        is_run = file.is_file()
    if not is_run:
        raise BadInput(f"rerun={run}: not the folder of a run, because it has no config.yaml")
    with naming(f"rerun={run}", (ValueError, OSError, KeyError, TypeError, YAMLError)):
        config = OmegaConf.to_container(OmegaConf.load(file))
        if not isinstance(config, dict) or not {"choices", *GROUPS} <= config.keys():
            raise ValueError(f"{file} is not the config of a run")
        contents.checked(config.get("contents", {}), f"{file}: contents")
        if (run / "result.json").is_file() and _made_with(run) != config_hash(config):
            raise ValueError("its config.yaml has changed since its result.json was written")
    config.pop("sources", None)  # hashes of the code at that time
    return config


def _made_with(run: Path) -> str:
    return read_json(run / "result.json")["provenance"]["config_hash"]


def decisive(config: dict) -> dict:
    """Return the part of a resolved config that can change the result, with files by their content."""
    settings = {name: value for name, value in contents.by_content(config).items() if name not in NO_INFLUENCE}
    settings["device"] = settings["device"].partition(":")[0]  # which of several GPUs changes no number
    if contents.holds_downloads(config):
        settings["dataset"] = {name: value for name, value in settings["dataset"].items() if name != "root"}
    algorithm = settings["mu_algo"]
    return settings | {"mu_algo": {name: v for name, v in algorithm.items() if name not in DECLARED}}


def config_hash(config: dict) -> str:
    """Return the SHA-256 of the part of a resolved config that can change the result."""
    return hashlib.sha256(canonical(decisive(config)).encode()).hexdigest()


def flat(node: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value of a nested config by its dotted name; lists are values."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", tuple(value) if isinstance(value, list) else value
