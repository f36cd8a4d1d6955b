"""What earlier trainings and runs took: records in the store and in results, from which a plan is estimated."""

import collections
import functools
import itertools
import os
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from softtargets import store
from softtargets.ensembles import joined_states
from softtargets.execution.demands import speed
from softtargets.system.files import canonical, read_json_or_none
from softtargets.types import state_digest

LOOKED = 1000
"""Number of trainings in the store that are read, the newest ones."""
SWEEPS, RUNS = 50, 60
"""Number of sweeps in `runs_dir` that are looked at, the newest ones, and of runs in each."""
LENGTH = ("epochs", "max_steps", "stop", "looks", "batch_size", "forget_batch_ratio", "precision")
"""Settings of `unlearn` that decide how long it takes, beside its budget."""
LOOKS = ("stop", "evaluate_every", "evaluate_growth", "evaluate_samples")
"""Settings of `unlearn` that decide how often the model is measured on its way."""
DATA = ("dataset", "forget_set", "architecture", "device", "threads")
SEEDED = ("dataset", "forget_set")


class Trainings:
    """The models in a store."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.keys = _names(folder / "model")
        self.derived = {(stage, key) for stage in ("logits", "targets") for key in _names(folder / stage)}
        """Stages and keys of the entries that are computed from models."""
        self._digests: dict[tuple[str, ...], str | None] = {}

    def digest(self, keys: tuple[str, ...]) -> str | None:
        """Return the digest of the model with these entries, several for an ensemble; None if one is missing.

        A single network's is in its manifest, if it is not an old one; an ensemble's has to be computed.
        """
        if not self.keys.issuperset(keys):
            return None
        if keys not in self._digests:
            paths = [self.folder / "model" / key for key in keys]
            self._digests[keys] = _noted(*paths) if len(paths) == 1 else _of_ensemble(paths)
        return self._digests[keys]

    def step_seconds(self, of: str, clock: str) -> float | None:
        """Return the median seconds of a step of training with this `speed`; None if no training had it.

        `clock` is "cpu_seconds" or "seconds".
        """
        known = [record[clock] / record["steps"] for record in self._records.get(of, ())]
        return statistics.median(known) if known else None

    @functools.cached_property
    def _records(self) -> dict[str, list[dict]]:
        """Return the manifests of the newest trainings by their speed."""
        by_speed: dict[str, list[dict]] = collections.defaultdict(list)
        for path in itertools.islice(_newest(self.folder / "model"), LOOKED):
            record = store.manifest(path)
            # of an early original the steps are those before its checkpoint
            if record and record.get("steps") and record["ingredients"]["name"] != "early_original":
                tensors = (path / "tensors.safetensors").stat().st_size
                by_speed[speed(record["ingredients"], tensors)].append(record)
        return by_speed


def _noted(path: Path) -> str | None:
    return (store.manifest(path) or {}).get("digest")


def _of_ensemble(paths: list[Path]) -> str | None:
    """Return the digest of the ensemble of the networks in these entries; None if one is damaged."""
    loaded = [store.load_entry(path) for path in paths]
    return state_digest(joined_states(one.tensors for one in loaded)) if all(loaded) else None


def _names(folder: Path) -> set[str]:
    try:
        return {name for name in os.listdir(folder) if store.has_key(name)}
    except OSError:
        return set()


def _newest(folder: Path) -> Iterable[Path]:
    """Return the folders in a folder, the newest ones first."""
    try:
        with os.scandir(folder) as entries:
            known = [(entry.stat().st_mtime, entry.path) for entry in entries if entry.is_dir()]
    except OSError:
        return []
    return [Path(path) for _, path in sorted(known, reverse=True)]


class Runs:
    """Results of earlier runs, by what decides how long a run takes."""

    def __init__(self, results: Iterable[Path]):
        self.number = 0
        self.unlearning: dict[str, list[float]] = collections.defaultdict(list)
        self.rest: dict[str, list[float]] = collections.defaultdict(list)
        self.stored: dict[str, list[float]] = collections.defaultdict(list)
        """Seconds for each model that a run trained, to store it and what is computed from it."""
        self.bytes: dict[str, list[int]] = collections.defaultdict(list)
        for file in results:
            self._add(file)

    def _add(self, file: Path) -> None:
        result = read_json_or_none(file)
        if not result or "run_cpu_s" not in result["cost"]:  # older ones do not say what they took
            return
        cost, config = result["cost"], result["config"]
        clock = "cpu_s" if config["device"] == "cpu" else "s"
        unlearning = cost[f"unlearn_{clock}"]
        stored = cost.get(f"stored_{clock}", 0.0)  # older ones say nothing, and it is part of their rest
        rest = cost[f"run_{clock}"] - cost[f"trainings_{clock}"] - stored - unlearning
        files = [path for path in file.parent.rglob("*") if path.is_file() and path.suffix != ".safetensors"]
        size = sum(path.stat().st_size for path in files)
        self.number += 1
        for key in kinds_of_unlearning(config):
            self.unlearning[key].append(unlearning / budget(config))
        for key in kinds_of_rest(config):
            self.rest[key].append(rest)
            self.bytes[key].append(size)
            if cost["made"]:
                self.stored[key].append(stored / len(cost["made"]))


class Estimate(NamedTuple):
    """A number that an earlier run had, on the median."""

    value: float
    rough: bool
    """Whether the nearest runs were of other algorithms, or measured their models more often or less."""


def nearest(known: dict[str, list], kinds: list[str]) -> Estimate | None:
    """Return the median of the first of these kinds that has records; they are ordered by how near they are."""
    for kind in kinds:
        if kind in known:
            return Estimate(float(statistics.median(known[kind])), rough=kind == kinds[-1])
    return None


def budget(config: dict) -> float:
    """Return the budget to which the seconds of an unlearning are in proportion; 1 without one."""
    return config["unlearn"].get("cost") or 1.0


def kinds_of_unlearning(config: dict) -> list[str]:
    """Return what the unlearning of a run is like: at last as that of any algorithm on such data and network."""
    same, unlearn = _same(config, DATA), {name: v for name, v in config["unlearn"].items() if name != "cost"}
    algorithm = same | {"mu_algo": config["mu_algo"], "budget": "cost" in config["unlearn"]}
    length = {name: unlearn.get(name) for name in LENGTH}
    arm = algorithm | {"unlearn": unlearn}
    return [canonical(one) for one in (arm | {"targets": config["targets"]}, arm, algorithm | length, same)]


def kinds_of_rest(config: dict) -> list[str]:
    """Return what a run is like beside its trainings and its unlearning: at last as any that measures the same."""
    same = _same(config, DATA) | {name: config.get(name) for name in ("evidence", "references")}
    looks = same | {"looks": [config["unlearn"].get(name) for name in LOOKS]}
    arm = {name: config[name] for name in ("mu_algo", "unlearn", "targets")}
    return [canonical(one) for one in (looks | arm, looks | {"targets": arm["targets"]}, looks, same)]


def _same(config: dict, names: Iterable[str]) -> dict:
    return {name: _without_seed(config, name) for name in names}


def _without_seed(config: dict, name: str) -> object:
    node = config[name]
    return {key: value for key, value in node.items() if key != "seed"} if name in SEEDED else node


def results_near(runs_dir: Path, own: Iterable[Path]) -> list[Path]:
    """Return the results that a plan is estimated from: `own` of the sweep, and the newest ones in `runs_dir`."""
    files = dict.fromkeys(own)
    for sweep in itertools.islice(_newest(runs_dir), SWEEPS):
        results = itertools.chain(sweep.glob("result.json"), sweep.glob("*/result.json"))
        files |= dict.fromkeys(itertools.islice(results, RUNS))
    return list(files)
