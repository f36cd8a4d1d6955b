"""Scoring the training samples by trained models, for a forget set that waits for it."""

import dataclasses
from collections.abc import Iterator

from torch import Tensor, nn

from softtargets.console import Console, Progress
from softtargets.execution import scores
from softtargets.execution.experiment import Experiment, build
from softtargets.execution.models import Stages
from softtargets.fit import predict
from softtargets.memorisation import Laboratory
from softtargets.store import Store, store_folder
from softtargets.types import Selection

NAME = "forget_set"
"""The stage on the screen."""


def scored(experiment: Experiment, console: Console) -> Experiment:
    """Return the experiment with its own forget set: score the training samples first if the store lacks scores.

    The models are trained by the run's architecture and recipe from seed 0, whatever the run's seed, and each is
    kept in the store: a call that was stopped goes on with the next one.
    """
    data, config = experiment.data, experiment.config
    if not data.awaits_scores:
        return experiment
    store = Store(store_folder(experiment.settings.store.dir), console.say)
    function = scores.needed(config)
    known = scores.ingredients(config, data.train.digest, data.validation.digest)
    with console.progress(NAME) as progress:
        laboratory = _laboratory(experiment, store, progress)
        store.get(scores.STAGE, known, lambda: ({"scores": function(laboratory).float()}, {}))
    return build(config)


def _laboratory(experiment: Experiment, store: Store, progress: Progress) -> Laboratory:
    settings = experiment.settings.model_copy(update={"seed": 0})
    silent, data = Console.silent(), experiment.data
    stages = Stages(dataclasses.replace(experiment, settings=settings), store, silent)

    def trained(sets: dict[str, Tensor]) -> Iterator[nn.Module]:
        for number, (name, positions) in enumerate(sets.items()):
            silent.watchers[:] = [
                lambda _, step, steps, loss, n=number: progress(n * steps + step, len(sets) * steps, loss)
            ]
            # never an ensemble: runs of all algorithms share these models and the scores
            yield stages.network(name, data.train.take(positions)).model

    def logits(model: nn.Module, samples) -> Tensor:
        return predict(model, samples if isinstance(samples, Selection) else samples.inputs)

    return Laboratory(data.train, trained, logits)
