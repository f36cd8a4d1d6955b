"""Scoring the training samples by trained models, for a forget set that waits for it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from softtargets.console import Console, Progress
from softtargets.execution import scores
from softtargets.execution.experiment import Experiment, build
from softtargets.execution.models import Stages
from softtargets.fit import predict
from softtargets.memorisation import Laboratory
from softtargets.types import Samples

NAME = "forget_set"
"""The stage on the screen."""


def scored(stages: Stages) -> Experiment:
    """Return the experiment with its own forget set: score the training samples first if the store lacks scores.

    The models are trained by the run's architecture and recipe from seed 0, whatever the run's seed, and each is
    kept in the store: a call that was stopped goes on with the next one.
    """
    data, config = stages.experiment.data, stages.experiment.config
    if not data.awaits_scores:
        return stages.experiment
    function = scores.needed(config)
    known = scores.ingredients(config, data.train.digest, data.validation.digest)
    with stages.console.progress(NAME) as progress:
        laboratory = _laboratory(stages, progress)
        stages.kept(scores.STAGE, known, lambda: ({"scores": function(laboratory).float()}, {}))
    return build(config)


def awaited(experiment: Experiment) -> Path | None:
    """Return the folder that the store's entry with the scores will have; None where they need not be computed."""
    data = experiment.data
    if not data.awaits_scores:
        return None
    return scores.entry(experiment.config, data.train.digest, data.validation.digest)


def rehearsed(experiment: Experiment) -> tuple[Experiment, dict[str, Samples]]:
    """Return the experiment of the models that score, and what each of them is trained on, by its name.

    Only for the kinds of forget sets here: a user's own function is not called once more for a plan.
    """
    train, function, sets = experiment.data.train, scores.needed(experiment.config), {}

    def trained(positions: dict[str, Tensor]) -> list[nn.Module]:
        sets.update({name: train.select(some) for name, some in positions.items()})
        return [_StandIn(train.targets.shape[1]) for _ in positions]

    if function.func.__module__.startswith(__name__.partition(".")[0] + "."):
        function(Laboratory(train, trained, lambda model, samples: model(samples.labels).detach()))
    return _of_seed_0(experiment), sets


class _StandIn(nn.Module):
    """A network that takes no time: it gives every sample the same logits."""

    def __init__(self, classes: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(classes))

    def forward(self, samples: Tensor) -> Tensor:
        return self.logits.expand(len(samples), -1)


def _of_seed_0(experiment: Experiment) -> Experiment:
    return dataclasses.replace(experiment, settings=experiment.settings.model_copy(update={"seed": 0}))


def _laboratory(stages: Stages, progress: Progress) -> Laboratory:
    silent, data = Console.silent(), stages.experiment.data
    stages = dataclasses.replace(stages, experiment=_of_seed_0(stages.experiment), console=silent)

    def trained(sets: dict[str, Tensor]) -> Iterator[nn.Module]:
        for number, (name, positions) in enumerate(sets.items()):
            silent.watchers[:] = [
                lambda _, step, steps, loss, n=number: progress(n * steps + step, len(sets) * steps, loss)
            ]
            # never an ensemble: runs of all algorithms share these models and the scores
            yield stages.network(name, data.train.select(positions)).model

    return Laboratory(data.train, trained, predict)
