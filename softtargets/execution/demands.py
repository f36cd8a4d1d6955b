"""What a run takes from the store or puts there, known before it begins."""

import dataclasses
import json
import math

import safetensors.torch
import torch

from softtargets import store
from softtargets.config.resolve import decisive
from softtargets.evaluation.faces import more_sets
from softtargets.execution.agenda import trainings
from softtargets.execution.experiment import Experiment
from softtargets.execution.ingredients import of_logits, of_model, of_targets
from softtargets.execution.rehearsal import known_teachers
from softtargets.system.files import canonical
from softtargets.types import Samples, Split, state_digest

NOTES = 300
"""Bytes of a manifest beside its ingredients: seconds, hashes, spaces."""
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


@dataclasses.dataclass(frozen=True)
class Demands:
    """What a run needs from the store."""

    experiment: Experiment
    models: dict[str, Model]
    """By name."""
    predicted: dict[tuple[str, str], Samples]
    """Samples that models predict, by the model's name and their digest."""

    def derived(self, digests: dict[str, str]) -> dict[tuple[str, str], int]:
        """Return the bytes of predictions and targets, by stage and key.

        `digests` are those of models in the store, by key. What a model to train predicts has no key yet; here it
        has one that no entry of the store has, and that is the same for all runs that need it.
        """
        known = {name: digests.get(model.key, model.key) for name, model in self.models.items()}
        if self.experiment.checkpoint is not None:
            known["original"] = state_digest(self.experiment.checkpoint)
        entries = {}
        for (name, _), samples in self.predicted.items():
            if name in known:  # an untrained network is not, and what is read inside a network is not kept
                ingredients = of_logits(self.experiment, known[name], samples)
                entries["logits", store.key("logits", ingredients)] = _answers_bytes(ingredients, samples)
        for side in ("forget", "retain") if self.models else ():
            ingredients = of_targets(self.experiment, side, known["original"], known["retrained"])
            size = _answers_bytes(ingredients, getattr(self.experiment.data, side))
            entries["targets", store.key("targets", ingredients)] = size
        return entries


def demands(experiment: Experiment) -> Demands:
    """Return what the run of an experiment needs; nothing for one that ends after its data."""
    if experiment.settings.stage == "data":
        return Demands(experiment, {}, {})
    sides = known_teachers(experiment)
    teachers = {name: samples for side in sides for name, samples in side.prepared.items()}
    sets = trainings(experiment, teachers)
    models = {name: _model(experiment, name, samples, name in teachers) for name, samples in sets.items()}
    predicted = {key: samples for side in sides for key, samples in side.predicted.items()}
    evaluated = [name for name in {*models, *EVALUATED} if name.partition("/")[0] in EVALUATED]
    for samples in (*experiment.data.evaluated().values(), *_more_sets(experiment.data).values()):
        predicted |= {(name, samples.digest): samples for name in evaluated}
    return Demands(experiment, models, predicted)


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


def _model(experiment: Experiment, name: str, samples: Samples, teacher: bool) -> Model:
    ingredients, tensors = of_model(experiment, name, samples), network_bytes(experiment)
    steps = experiment.epochs * math.ceil(len(samples) / experiment.training.batch_size)
    size, key = tensors + _manifest_bytes(ingredients), store.key("model", ingredients)
    return Model(name, key, teacher, steps, size, speed(ingredients, tensors))


_NETWORKS: dict[str, int] = {}
"""Bytes of networks that this process has measured, by architecture and data."""


def network_bytes(experiment: Experiment) -> int:
    """Return how many bytes the store's file of a model takes."""
    data = experiment.data
    key = canonical([decisive(experiment.config)["architecture"], data.input_shape, data.classes])
    if key not in _NETWORKS:
        with torch.random.fork_rng(devices=[]):
            state = experiment.architecture().state_dict()
        _NETWORKS[key] = len(safetensors.torch.save({name: one.contiguous() for name, one in state.items()}))
    return _NETWORKS[key]


def _answers_bytes(ingredients: dict, samples: Samples) -> int:
    """Return the bytes of an entry with a row of class numbers, as float32, for each sample."""
    return 4 * samples.targets.shape[1] * len(samples) + _manifest_bytes(ingredients)


def _manifest_bytes(ingredients: dict) -> int:
    return len(json.dumps(ingredients, indent=1)) + NOTES


_LAST: list = [None, {}]
"""The last data, and their sets beyond the evaluated ones: runs of a sweep share them."""


def _more_sets(data: Split) -> dict[str, Samples]:
    if _LAST[0] is not data:
        _LAST[:] = data, more_sets(data)
    return _LAST[1]
