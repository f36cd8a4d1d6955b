"""The plan of a sweep or a run: what is to be done, and what it will take. It does nothing of it."""

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

from softtargets.execution.algorithm_inputs import wanted
from softtargets.execution.demands import (
    Demands,
    Model,
    demands,
    network_bytes,
    of_requests,
    of_scores,
    scores_bytes,
)
from softtargets.execution.experiment import Experiment
from softtargets.execution.requests import count_of
from softtargets.execution.scoring import awaited
from softtargets.execution.teachers import LOCAL
from softtargets.study.records import Runs, Trainings, budget, kinds_of_rest, kinds_of_unlearning, nearest
from softtargets.system.files import canonical
from softtargets.system.words import counted

HOUR = 3600.0
NO_RECORD = "no record"
ROUGH = "by other algorithms"
TEACHING = ("early_original", "out_of_fold")
"""Inputs of algorithms for which models are trained."""


@dataclasses.dataclass
class Sum:
    """A sum of estimates."""

    one: str
    many: str
    """Names of a part and of several."""
    total: float = 0.0
    number: float = 0.0
    """Of the parts that are in it."""
    rough: float = 0.0
    """Number of those that are estimated from runs of other algorithms."""
    unknown: float = 0.0
    """Number of the parts of which no record says anything."""

    def add(self, value: float | None, times: float = 1.0, rough: bool = False) -> None:
        """Add an estimate so many times; None is one of which nothing is known."""
        if value is None:
            self.unknown += times
        else:
            self.total, self.number = self.total + value * times, self.number + times
            self.rough += times * rough

    def __str__(self) -> str:
        roughly = f" ({round(self.rough):,} roughly: {ROUGH})" if self.rough else ""
        return f"{self.counted(self.number)}{roughly}"

    def counted(self, number: float) -> str:
        """Return so many parts in words."""
        return counted(round(number), self.one, self.many)


class Weight(NamedTuple):
    """How many there are of what a run is and trains, where a plan looks at some of the draws of the data only."""

    runs: float = 1.0
    originals: float = 1.0
    """And of all else that is trained on the training set."""
    retrained: float = 1.0
    """And of all else that depends on the forget set."""
    datasets: float = 1.0
    """And of the scores of its training samples, which all seeds of runs share."""

    def of(self, model: Model) -> float:
        """Return how many models there are of this one."""
        after = model.name.startswith(("retrained", LOCAL))
        return self.retrained if after else self.originals


@dataclasses.dataclass
class Kind:
    """Runs that differ in their seeds alone."""

    config: dict
    saved: int
    """Bytes of the models that such a run saves in its folder."""
    number: float = 0.0


class Plan:
    """What runs to come train, take and leave, estimated from earlier ones."""

    def __init__(self, trainings: Trainings, runs: Runs):
        self.trainings, self.runs = trainings, runs
        self.models: dict[str, Model] = {}
        """Those that the runs need, by key."""
        self.derived: dict[tuple[str, str], int] = {}
        """Bytes of what is computed from models, by stage and key."""
        self.run_of: dict[str, dict] = {}
        """The config of the first run that needs a model, by its key."""
        self.number: dict[str | tuple[str, str], float] = collections.defaultdict(float)
        """How many there are of each of these."""
        self.kinds: dict[str, Kind] = {}
        self.seen: set[str] = set()
        self.device = "cpu"

    def add(self, experiment: Experiment, weight: Weight) -> None:
        """Add a run that stands for so many."""
        config = experiment.decisive
        self.device = config["device"]
        if experiment.settings.stage == "data":
            return
        if experiment.settings.stage == "all":
            self._count(experiment, config, weight.runs)
        if (scores := awaited(experiment)) and self._is_new(scores.name):
            models = dict.fromkeys(of_scores(experiment).values(), weight.datasets)
            size = {("scores", scores.name): scores_bytes(experiment)}
            self._need(config, models, size, weight.datasets)
        if self._is_new(_deciding(experiment, config)):
            run = demands(experiment, self.trainings.keys)
            models = {model: weight.of(model) for model in run.models.values()}
            self._need(config, models, self._derived(run), weight.retrained)
            for one in of_requests(experiment, run, self.trainings.keys):
                own = dict.fromkeys({*one.models.values()} - {*models}, weight.retrained)
                self._need(config, own, self._derived(one), weight.retrained)

    def _is_new(self, key: str) -> bool:
        new = key not in self.seen
        self.seen.add(key)
        return new

    def _derived(self, needs: Demands) -> dict[tuple[str, str], int]:
        digests = {name: self.trainings.digest(keys) for name, keys in needs.entries.items()}
        return needs.derived({name: digest for name, digest in digests.items() if digest})

    def _need(
        self, config: dict, models: dict[Model, float], derived: dict[tuple[str, str], int], times: float
    ) -> None:
        """Add models, each with its number, and what is computed from them, so many times each."""
        by_key = {model.key: model for model in models}
        self.models |= by_key
        self.run_of = dict.fromkeys(by_key, config) | self.run_of
        self.derived |= derived
        numbers = {model.key: number for model, number in models.items()} | dict.fromkeys(derived, times)
        for key, number in numbers.items():
            self.number[key] = max(self.number[key], number)

    def _count(self, experiment: Experiment, config: dict, times: float) -> None:
        name = canonical([kinds_of_rest(config)[0], experiment.settings.save_models])
        if name not in self.kinds:
            saved = 3 * network_bytes(experiment) if experiment.settings.save_models else 0
            self.kinds[name] = Kind(config, saved)
        self.kinds[name].number += times

    @property
    def missing(self) -> dict[str, Model]:
        """Return the models that the store lacks, by key."""
        return {key: model for key, model in self.models.items() if key not in self.trainings.keys}

    def lines(self) -> Iterator[str]:
        """Yield what is to be trained, and the hours and the disk to come, a line each."""
        for what, teacher in (("models", False), ("teachers", True)):
            to_train, needed = (
                round(sum(self.number[key] for key, model in some.items() if model.teacher is teacher))
                for some in (self.missing, self.models)
            )
            yield f"{what}: {to_train:,} to train, {needed - to_train:,} in the store"
        yield from (estimates := [self._hours(), self._disk()])
        if any(NO_RECORD in line for line in estimates):
            yield f"{NO_RECORD}: no earlier run was like these. Type the same again after the first run"

    def _hours(self) -> str:
        unit, clock = ("CPU", "cpu_seconds") if self.device == "cpu" else ("GPU", "seconds")
        trainings, runs = Sum("training", "trainings"), Sum("run", "runs")
        for key, model in self.missing.items():
            step = self.trainings.step_seconds(model.speed, clock)
            stored = nearest(self.runs.stored, kinds_of_rest(self.run_of[key]))
            seconds = None if step is None else step * model.steps + (stored.value if stored else 0.0)
            trainings.add(seconds and seconds / HOUR, self.number[key])
        for kind in self.kinds.values():
            seconds, rough = self._beside_trainings(kind.config)
            runs.add(seconds and seconds / HOUR, kind.number, rough)
        return _said(f"{unit} hours to come", (trainings, runs), lambda value: f"{value:.3g}")

    def _beside_trainings(self, config: dict) -> tuple[float | None, bool]:
        """Return the seconds of a run without trainings, as far as records say, and whether roughly."""
        unlearns = nearest(self.runs.unlearning, kinds_of_unlearning(config))
        rest = nearest(self.runs.rest, kinds_of_rest(config))
        if unlearns is None or rest is None:
            return None, False
        return unlearns.value * budget(config) + rest.value, unlearns.rough

    def _disk(self) -> str:
        entries, folders = (
            Sum("entry of the store", "entries of the store"),
            Sum("folder of a run", "folders of runs"),
        )
        sizes = {key: model.bytes for key, model in self.missing.items()} | {
            key: size for key, size in self.derived.items() if key not in self.trainings.derived
        }
        for key, size in sizes.items():
            entries.add(float(size), self.number[key])
        for kind in self.kinds.values():
            size = nearest(self.runs.bytes, kinds_of_rest(kind.config))
            folders.add(size and size.value + kind.saved, kind.number)
        return _said("disk to come", (entries, folders), _bytes)


def _said(what: str, parts: tuple[Sum, Sum], shown: Callable[[float], str]) -> str:
    """Return a line with the total of two sums, each of them, and what no record says anything of."""
    known = [f"{shown(part.total)} for {part}" for part in parts if part.number]
    unknown = ", ".join(part.counted(part.unknown) for part in parts if part.unknown)
    total = shown(sum(part.total for part in parts))
    if unknown:
        total = f"at least {total}" if known else "unknown"
        known.append(f"{NO_RECORD}: {unknown}")
    return f"{what}: {total} ({'; '.join(known)})" if known else f"{what}: {total}"


def _bytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def _deciding(experiment: Experiment, config: dict) -> str:
    """Return what decides the models, predictions and targets of a run: runs with equal ones need the same."""
    groups = ("seed", "dataset", "forget_set", "architecture", "training", "targets", "device", "threads")
    known = [config.get(name) for name in (*groups, "references", "sources", "checkpoint")]
    trained_for = [config["mu_algo"]] if {*TEACHING} & {*wanted(experiment)} else []
    # each request starts from what the one before leaves
    left = experiment.config_hash if count_of(experiment.config) > 1 else ""
    return canonical(
        [known, trained_for, experiment.shards, experiment.unlearning.stop, experiment.settings.stage, left]
    )
