"""Whom the kinds of targets ask: the models of the run, and models trained for their answers alone."""

import dataclasses
import functools
import time
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from softtargets.execution.experiment import Experiment
from softtargets.execution.models import Stages, Trained
from softtargets.store import Entry
from softtargets.targets import Source
from softtargets.types import Samples, generator, model_digest


class Asked:
    """What a kind of targets may ask about the samples of one side of the training data; subclasses answer."""

    def __init__(self, experiment: Experiment, side: str):
        """`side` is "forget" or "retain"."""
        self.experiment, self.side = experiment, side
        data = experiment.data
        self.train, self.samples = data.train, getattr(data, side)
        self.positions: Tensor = getattr(data, f"{side}_positions")

    def source(self) -> Source:
        """Return what a kind may draw on."""
        return Source(
            self.samples.labels.cpu(),
            self.samples.targets.shape[1],
            self.logits,
            self.out_of_fold,
            generator(self.experiment.settings.seed, f"targets/{self.side}"),
        )

    def logits(self, name: str) -> Float[Tensor, "n k"]:
        """Return the logits of a model that is known, untrained, or trained on all training data."""
        return self._ask(self._teacher(name), self.samples)

    def out_of_fold(self, folds: int) -> Float[Tensor, "n k"]:
        """Return each sample's logits from the model that was trained on all folds but its own."""
        fold = self.fold(folds)
        found = torch.empty(len(self.positions), self.train.targets.shape[1])
        for i in range(folds):
            kept, asked = (fold != i).nonzero()[:, 0], (fold[self.positions.cpu()] == i).nonzero()[:, 0]
            teacher = self._train(f"fold {i + 1} of {folds}", self.train.take(kept))
            if len(asked):
                found[asked] = self._ask(teacher, self.train.take(self.positions[asked]))
        return found

    def fold(self, folds: int) -> Int64[Tensor, " train"]:
        """Draw the fold of every training sample; the forget set plays no part."""
        count = len(self.train)
        order = torch.randperm(count, generator=generator(self.experiment.settings.seed, "folds"))
        return torch.empty(count, dtype=torch.int64).index_copy_(0, order, torch.arange(count) % folds)

    def _teacher(self, name: str) -> Trained | None:
        raise NotImplementedError

    def _train(self, name: str, samples: Samples) -> Trained | None:
        raise NotImplementedError

    def _ask(self, teacher: Trained | None, samples: Samples) -> Float[Tensor, "n k"]:
        raise NotImplementedError


class Teachers(Asked):
    """Models that answer, with an account of what their answers cost."""

    def __init__(self, stages: Stages, known: dict[str, Trained], side: str):
        """`known` are the models there are already, by name; `side` is "forget" or "retain"."""
        super().__init__(stages.experiment, side)
        self.stages, self.known = stages, known
        self.taught: dict[str, Trained] = {}
        """Models that were trained for their answers, by name."""
        self.predicting = 0.0
        """Seconds that the answers took when they were made, trainings excluded."""
        self.asking = 0.0
        """Seconds that asking took this time, trainings and all."""

    def source(self) -> Source:
        """Return what a kind may draw on, with a clock on its questions."""
        source = super().source()
        clocked = {name: self._clocked(getattr(source, name)) for name in ("logits", "out_of_fold")}
        return dataclasses.replace(source, **clocked)

    def _clocked(self, answer: Callable) -> Callable:
        @functools.wraps(answer)
        def timed(question):
            started = time.perf_counter()
            found = answer(question)
            self.asking += time.perf_counter() - started
            return found

        return timed

    def _teacher(self, name: str) -> Trained:
        if name in self.known:
            return self.known[name]
        if name == "untrained":
            model = self.experiment.initialised(name).eval()
            return Trained(name, model, model_digest(model), 0.0, 0.0, diverged=False, from_store=False)
        return self._train(name, self.train)

    def _train(self, name: str, samples: Samples) -> Trained:
        self.taught[name] = self.stages.trained(name, samples)
        return self.taught[name]

    def _ask(self, teacher: Trained, samples: Samples) -> Float[Tensor, "n k"]:
        entry: Entry = self.stages.predicted(teacher, samples)
        self.predicting += entry.seconds
        return entry.tensors["logits"]
