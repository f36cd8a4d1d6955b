"""The settings of a run: their types and ranges, their resolved form, and its hash."""

import dataclasses
import functools
import hashlib
import math
import os
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue
from pydantic import Field
from yaml import YAMLError

from softtargets import contents, parts
from softtargets.disk import Place, canonical, read_json
from softtargets.errors import BadInput
from softtargets.names import Chosen
from softtargets.schema import FORBID, Count, Seed, Weight, check, naming

Natural = Annotated[int, Field(ge=0, le=10**9)]


class StoreSettings(pydantic.BaseModel):
    """Where trained models are kept."""

    model_config = FORBID
    dir: Place | None


class Thresholds(pydantic.BaseModel):
    """Of the status flags."""

    model_config = FORBID
    degenerate: Weight
    hard_like: Annotated[float, Field(gt=0, le=1)]


class TrackerSettings(pydantic.BaseModel):
    """Group `tracker`."""

    model_config = FORBID
    kind: Literal["none", "clearml"]
    offline: bool
    project: Annotated[str, Field(min_length=1)]
    fallback: Literal["offline", "none"]


class Settings(pydantic.BaseModel):
    """The settings outside the groups."""

    model_config = FORBID
    seed: Seed
    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: Annotated[int, Field(ge=1, le=1024)]
    precision: Literal["auto", "bf16", "float32"]
    stage: Literal["all", "data", "train"]
    checkpoint: Place | None
    rerun: Place | None
    strict: bool
    save_models: bool
    evidence: list[Literal["svc", "relearn"]]
    plugins: list[str]
    data_dir: Place
    runs_dir: Place
    store: StoreSettings
    tracker: TrackerSettings
    diagnosis: Thresholds


class DatasetSettings(pydantic.BaseModel):
    """The part of group `dataset` that every dataset has."""

    model_config = FORBID
    train_size: Annotated[int, Field(ge=10, le=10**9)] | None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed
    mean: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1, max_length=3)]
    std: Annotated[list[Annotated[float, Field(ge=1e-3, le=1)]], Field(min_length=1, max_length=3)]


class ForgetSetSettings(pydantic.BaseModel):
    """The part of group `forget_set` that every kind has."""

    model_config = FORBID
    seed: Seed


class Optimisation(pydantic.BaseModel):
    """What groups `training` and `unlearn` have in common."""

    model_config = FORBID
    batch_size: Count
    optimizer: Callable
    schedule: Callable | None
    clip_norm: Annotated[float, Field(gt=0, le=10**6)] | None
    precision: Literal["float32", "bf16"]


class Training(Optimisation):
    """Group `training`."""

    epochs: Count | None
    min_epochs: Count
    min_steps: Count


class Unlearning(Optimisation):
    """Group `unlearn`."""

    epochs: Count
    max_steps: Count | None
    stop: Literal["none", "matched"]
    evaluate_every: Count | None
    evaluate_growth: Weight
    evaluate_samples: Annotated[int, Field(ge=100, le=10**9)] | None


def _descending(maximize: bool) -> bool:
    if maximize:
        raise ValueError("turns every descent into ascent; the direction is the algorithm's, so it must be false")
    return maximize


Share = Annotated[float, Field(ge=0, lt=1)]
Choice = bool | None
OPTIMIZER = {
    "lr": Weight,
    "momentum": Share,
    "weight_decay": Weight,
    "betas": Annotated[list[Share], Field(min_length=2, max_length=2)],
    "maximize": Annotated[bool, pydantic.AfterValidator(_descending)],
    "fused": Choice,
    "foreach": Choice,
    "nesterov": bool,
    "amsgrad": bool,
    "centered": bool,
    "capturable": bool,
    "decoupled_weight_decay": bool,
}
"""Types of settings of PyTorch's optimisers, which do not check them all."""
UNFIT = {
    "LBFGS": "asks for the loss several times a step, and is given it once",
    "SparseAdam": "takes sparse gradients, and they are dense",
}
"""Why an optimiser of PyTorch's cannot be one here."""


class SweeperSettings(pydantic.BaseModel):
    """Node `hydra.sweeper`."""

    model_config = FORBID
    params: dict[str, Any] | None
    cells: list[str] | None


def _no_zero(number: int) -> int:
    if not number:
        raise ValueError("must be -1, one for every core, or 1 and more")
    return number


class LauncherSettings(pydantic.BaseModel):
    """The numbers in node `hydra.launcher`, each of some launcher; Hydra knows their types and no range."""

    model_config = FORBID | pydantic.ConfigDict(extra="ignore")
    n_jobs: Annotated[int, Field(ge=-1, le=10**9), pydantic.AfterValidator(_no_zero)] = 1
    timeout_min: Count = 1
    signal_delay_s: Natural = 0
    max_num_timeout: Natural = 0
    array_parallelism: Count = 1
    cpus_per_task: Count | None = None
    tasks_per_node: Count | None = None
    nodes: Count | None = None
    mem_gb: Count | None = None
    gpus_per_node: Natural | None = None


GROUPS = ("dataset", "forget_set", "architecture", "training", "mu_algo", "unlearn", "targets")
ADDED = ("choices", "sources", "contents")
"""What a resolved config has beside settings."""
RERUN_KEEPS = ("rerun", "plugins", "save_models", "data_dir", "runs_dir", "store", "stage", "tracker")
NO_INFLUENCE = (*RERUN_KEEPS, "choices", "contents")
"""Settings that cannot change a result: they stay out of its hash. `contents` is in it, in the place of paths."""
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
    check(Settings, settings_of(config), "")
    repeated = {}
    if config["rerun"] is not None:
        config = saved(Path(config["rerun"]).expanduser()) | {name: config[name] for name in RERUN_KEEPS}
        repeated = config.pop("contents", {})
        check(Settings, settings_of(config), "")
        chosen = dataclasses.replace(chosen, options=config["choices"])
    _check_groups(config)
    config |= {"choices": chosen.names(config)}
    if found := parts.sources(config, config["plugins"]):
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


def _check_groups(config: dict) -> None:
    """Refuse groups that are none, and numbers that have no place in a config, nor in its hash."""
    for group in GROUPS:
        if not isinstance(config.get(group), dict):
            raise BadInput(f"{group}={config.get(group)!r}: must be a group of settings; choose an option of it")
    for name, value in flat(config):
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise BadInput(f"{name}={value}: must be a finite number")


NAME, PATH = 255, 3600
"""Most bytes of one name in a path, and of the path of a folder for runs: what is in it has a longer one."""


def require_writable(setting: str, folder: Path) -> None:
    """Refuse a folder that could not be made or written to, without writing."""
    if len(os.fsencode(folder.absolute())) > PATH or any(len(os.fsencode(part)) > NAME for part in folder.parts):
        raise BadInput(f"{setting}={folder}: too long; each name has at most {NAME} bytes, the path {PATH:,}")
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK, effective_ids=True):
        raise BadInput(
            f"{setting}={folder}: cannot be written to; it must be a folder of yours, or one to be made"
        )


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
    return kept


def config_hash(config: dict) -> str:
    """Hash what a resolved config asks for."""
    return hashlib.sha256(canonical(asked(config)).encode()).hexdigest()


def resolve_machine(asked: dict) -> dict:
    """Resolve `device=auto` and `precision=auto` for this machine; both are part of a result."""
    device, precision = asked["device"], asked["precision"]
    if "auto" in (device, precision):
        import torch  # a second and a half that a sweep with nothing left to do should not pay

        if device == "auto":
            gpu = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else None
            device = gpu or "cpu"
        if precision == "auto":
            precision = "bf16" if _multiplies_bf16(torch, device) else "float32"
    return {"device": device, "precision": precision}


@functools.cache
def _multiplies_bf16(torch: types.ModuleType, device: str) -> bool:
    """Tell whether the processor multiplies matrices of bf16 natively.

    On CPUs AMX does. AVX-512 has bf16 instructions too, with which a product takes a quarter of float32's time on
    one processor and 1.7 times as much on another (`benchmarks/gemm.py`): a trial of some milliseconds tells.
    """
    if device == "cuda":
        # where a login node without a GPU resolves for nodes that have one, take them to be of this decade
        return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)
    from softtargets import torch_compat  # imports torch

    able = torch_compat.cpu()
    if device != "cpu" or not able.get("avx512_bf16", False):
        return False
    return able.get("amx_bf16", False) or 1.5 * _product(torch, torch.bfloat16) < _product(torch, torch.float32)


def _product(torch: types.ModuleType, dtype: object) -> float:
    """Return the CPU seconds of the mlp's largest product on one thread, the least of twenty."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other count as work
    inputs, weights = torch.zeros(128, 784, dtype=dtype), torch.zeros(800, 784, dtype=dtype)
    times = []
    for _ in range(20):
        started = time.thread_time()
        torch.nn.functional.linear(inputs, weights)
        times.append(time.thread_time() - started)
    torch.set_num_threads(threads)
    return min(times)


def flat(node: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value of a nested config by its dotted name; lists are values."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", tuple(value) if isinstance(value, list) else value
