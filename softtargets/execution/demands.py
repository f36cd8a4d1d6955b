"""What a run takes from the store or puts there, known before it begins."""

import dataclasses
import functools
import math
from collections.abc import Container, Iterator

import torch
from torch import Tensor

from softtargets import store
from softtargets.evaluation.faces import more_sets
from softtargets.execution import requests, scores, scoring
from softtargets.execution.agenda import trainings
from softtargets.execution.experiment import SHARD, Experiment
from softtargets.execution.ingredients import of_logits, of_model, of_targets
from softtargets.execution.rehearsal import RehearsedTeachers, known_teachers
from softtargets.execution.teachers import LOCAL
from softtargets.store import tensor_file
from softtargets.system.files import canonical
from softtargets.types import Samples, Split, state_digest

MANIFEST = {"model": 1000, "logits": 500, "targets": 1350, "scores": 1000}
"""Bytes of an entry's manifest by its stage, about."""
EVALUATED = ("original", "retrained")
"""Models that are evaluated, beside `retrained/2` and so on."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A model that a run needs, in the store or to be trained."""

    name: str
    key: str
    """Of its entry."""
    teacher: bool
    """Whether it serves answers alone."""
    steps: int
    """Of its training."""
    bytes: int
    """Of its entry."""
    speed: str
    """Trainings with equal ones take equally long a step."""


class PlannedTeachers(RehearsedTeachers):
    """Rehearsed teachers without digests, which take a second for the folds of a large training set."""

    def __init__(self, experiment: Experiment, side: str):
        super().__init__(experiment, side)
        self.answers: list[tuple[str, Samples]] = []
        """Names of models, and the samples that each predicts."""

    def _predict(self, teacher: str, samples: Samples) -> Tensor:
        self.answers.append((teacher, samples))
        return torch.zeros(len(samples), self.train.targets.shape[1])


@dataclasses.dataclass(frozen=True)
class Demands:
    """What a run needs from the store."""

    experiment: Experiment
    models: dict[str, Model]
    """By name."""
    predicted: list[tuple[str, Samples]]
    """Names of models, and the samples that each predicts."""
    sides: tuple[str, ...] = ("forget", "retain")
    """Those whose targets it computes."""
    start: str = ""
    """What stands for the model that a request starts from, where an earlier request leaves it."""

    @functools.cached_property
    def entries(self) -> dict[str, tuple[str, ...]]:
        """Return the keys of every model's entries, by name: those of its networks for an ensemble."""
        keys: dict[str, tuple[str, ...]] = {}
        for name, model in self.models.items():
            whole = name.partition(SHARD)[0]
            keys[whole] = (*keys.get(whole, ()), model.key)
        return keys

    def derived(self, digests: dict[str, str]) -> dict[tuple[str, str], int]:
        """Return the bytes of predictions and targets, by stage and key.

        `digests` are those of models in the store, by name. What is computed from a model to train has no key yet;
        it gets a name that no entry has, and that is the same for all runs that need it.
        """
        known = dict(digests)
        if self.experiment.checkpoint is not None and not self.start:
            known["original"] = state_digest(self.experiment.checkpoint)
        return self._predictions(known) | self._targets(known)

    def _predictions(self, known: dict[str, str]) -> dict[tuple[str, str], int]:
        entries = {}
        for name, samples in self.predicted:
            if name in known:
                key = store.key("logits", of_logits(self.experiment, known[name], samples))
            elif stand_in := self._stand_in(name):
                teacher = name in self.models and self.models[name].teacher
                own = self.experiment.data.forget.digest if teacher else samples.digest
                key = f"{stand_in} {own} {len(samples)}"
            else:  # an untrained network is not kept, nor what is read inside a network
                continue
            entries["logits", key] = _answers_bytes("logits", samples)
        return entries

    def _targets(self, known: dict[str, str]) -> dict[tuple[str, str], int]:
        entries = {}
        by_name = {name: known.get(name) or self._stand_in(name) for name in EVALUATED}
        for side in self.sides:
            key = store.key("targets", of_targets(self.experiment, side, **by_name))
            entries["targets", key] = _answers_bytes("targets", getattr(self.experiment.data, side))
        return entries

    def _stand_in(self, name: str) -> str:
        """Return what stands for a model's digest: the keys of its entries; nothing for one without."""
        if name == "original" and self.start:
            return self.start
        return " ".join(self.entries.get(name, ()))


def demands(experiment: Experiment, in_store: Container[str]) -> Demands:
    """Return what the run of an experiment needs.

    `in_store` are the keys of all models in the store.
    """
    sides = known_teachers(experiment, PlannedTeachers)
    teachers = {name: samples for side in sides for name, samples in side.prepared.items()}
    models = _models(experiment, trainings(experiment, teachers), teachers, {}, in_store)
    wholes = {name.partition(SHARD)[0] for name in models}
    evaluated = [name for name in {*wholes, *EVALUATED} if name.partition("/")[0] in EVALUATED]
    predicted = [(name, samples) for name in evaluated for samples in _compared(experiment.data)]
    return Demands(experiment, models, predicted + [answer for side in sides for answer in side.answers])


def of_requests(experiment: Experiment, run: Demands, in_store: Container[str]) -> Iterator[Demands]:
    """Yield what each request needs where several follow one another, beside the `run` of the whole forget set.

    `in_store` are the keys of all models in the store.
    """
    if requests.count_of(experiment.config) == 1:
        return
    whole = experiment.settings.stage == "all"  # a run that stops after its trainings makes no targets of requests
    before = {name: model for name, model in run.models.items() if name.partition(SHARD)[0] == "original"}
    start, beside = "", before
    for number, one in enumerate(requests.experiments(experiment), 1):
        sides = known_teachers(one, PlannedTeachers) if whole else []
        teachers = {name: samples for side in sides for name, samples in side.prepared.items()}
        own = {"retrained", *teachers, *(["early_original"] if whole else [])}
        sets = trainings(one, teachers).items()
        sets = {name: samples for name, samples in sets if name.partition(SHARD)[0] in own}
        models = _models(one, sets, teachers, beside, in_store)
        predicted = [("retrained", samples) for samples in _compared(one.data) if whole]
        predicted += [answer for side in sides for answer in side.answers]
        yield Demands(one, models | before, predicted, tuple(side.side for side in sides), start)
        start, before = f"request {number} of {experiment.config_hash}", {}
        beside = {"original": models["retrained"]} if "original" in beside else {}


def of_scores(experiment: Experiment) -> dict[str, Model]:
    """Return the models by which the training samples are scored, by name."""
    scorer, sets = scoring.rehearsed(experiment)
    return {name: _model(scorer, name, samples, teacher=False) for name, samples in sets.items()}


def scores_bytes(experiment: Experiment) -> int:
    """Return the bytes of an entry with a number for each training sample, as float32."""
    return 4 * len(experiment.data.train) + MANIFEST[scores.STAGE]


def speed(ingredients: dict, tensors: int) -> str:
    """Return what decides how long a step of training takes: of its `ingredients`, and the bytes of `tensors`.

    The bytes tell networks for images of different sizes apart, which share all settings.
    """
    training = ingredients["training"]
    loop = [training.get(name) for name in ("batch_size", "precision", "augmentation")]
    machine = [ingredients.get(name) for name in ("device", "threads", "sources")]
    return canonical([ingredients["architecture"], loop, training["optimizer"]["_target_"], machine, tensors])


def speed_of(experiment: Experiment) -> str:
    """Return the `speed` of an experiment's trainings."""
    return speed(of_model(experiment, "original", experiment.data.retain), network_bytes(experiment))


def _stand_in(name: str, models: dict[str, Model], in_store: Container[str]) -> str | None:
    """Return a name in the place of a teacher's key; None where the teacher may be in the store.

    A run trains its original before its teachers: if the store lacks the one, it lacks the others. What a local
    teacher is trained on is known only when there is an original.
    """
    beside = models["retrained" if name.startswith(LOCAL) else "original"] if "original" in models else None
    if beside and (name.startswith(LOCAL) or beside.key not in in_store):
        return f"{name} beside {beside.key}"
    return None


def _model(experiment: Experiment, name: str, samples: Samples, teacher: bool, key: str | None = None) -> Model:
    """Return a model that is trained on these samples; `key` where that of its entry is not worth computing."""
    steps = experiment.epochs * math.ceil(len(samples) / experiment.training.batch_size)
    size = network_bytes(experiment) + MANIFEST["model"]
    key = key or store.key("model", of_model(experiment, name, samples))
    return Model(name, key, teacher, steps, size, speed_of(experiment))


_NETWORKS: dict[str, int] = {}
"""Bytes of networks that this process has measured, by architecture and data."""


def network_bytes(experiment: Experiment) -> int:
    """Return how many bytes the store's file of a model takes."""
    data = experiment.data
    key = canonical([experiment.decisive["architecture"], data.input_shape, data.classes])
    if key not in _NETWORKS:
        with torch.random.fork_rng(devices=[]):
            state = experiment.architecture().state_dict()
        _NETWORKS[key] = tensor_file.size(state)
    return _NETWORKS[key]


def _answers_bytes(stage: str, samples: Samples) -> int:
    """Return the bytes of an entry with a number for each class, as float32, of each sample."""
    return 4 * samples.targets.shape[1] * len(samples) + MANIFEST[stage]


_LAST: list = [None, {}]
"""The last data, and their sets beyond the evaluated ones: runs of a sweep share them."""


def _compared(data: Split) -> list[Samples]:
    """Return the sets on which models are compared."""
    if _LAST[0] is not data:
        _LAST[:] = data, more_sets(data)
    return [*data.evaluated().values(), *_LAST[1].values()]


def _models(
    experiment: Experiment,
    sets: dict[str, Samples],
    teachers: Container[str],
    beside: dict[str, Model],
    in_store: Container[str],
) -> dict[str, Model]:
    """Return the models that are trained on `sets`, by name; `beside` are those that the run has before."""
    models: dict[str, Model] = {}
    for name, samples in sets.items():
        stand_in = _stand_in(name, beside | models, in_store) if name in teachers else None
        models[name] = _model(experiment, name, samples, name in teachers, stand_in)
    return models
