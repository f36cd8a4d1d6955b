"""Teacher models whose predictions become targets: those of the run, and models trained for this alone."""

import dataclasses
import functools
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from softtargets.execution.experiment import Experiment
from softtargets.execution.models import Stages, Trained
from softtargets.heads import features, head
from softtargets.store import Entry
from softtargets.targets import HeldOut, Source
from softtargets.types import Samples, generator, model_digest

LOCAL = "local teacher"
"""Beginning of the names of teachers that depend on the forget set, so that they are trained after the request."""


class Asked:
    """What a kind of targets may ask about the samples of one side of the training data; subclasses answer."""

    def __init__(self, experiment: Experiment, side: str):
        """`side` is "forget" or "retain"."""
        self.experiment, self.side = experiment, side
        data = experiment.data
        self.train, self.samples = data.train, getattr(data, side)
        self.positions: Tensor = getattr(data, f"{side}_positions")

    def source(self) -> Source:
        """Return the source that a kind of targets reads."""
        return Source(
            self.samples.labels.cpu(),
            self.samples.targets.shape[1],
            self.logits,
            self.out_of_fold,
            generator(self.experiment.settings.seed, f"targets/{self.side}"),
            self.held_out,
            self.features,
            self.class_weights,
            self.retained,
            self.local,
        )

    def logits(self, name: str) -> Float[Tensor, "n k"]:
        """Return the logits of a known, an untrained, or a model trained on all training data."""
        return self._predict(self._teacher(name), self.samples)

    def out_of_fold(self, folds: int) -> Float[Tensor, "n k"]:
        """Return each sample's logits from the model that was trained without the sample's fold."""
        fold = self.fold(folds)
        logits = torch.empty(len(self.positions), self.train.targets.shape[1])
        for i in range(folds):
            others, held_out = (fold != i).nonzero()[:, 0], (fold[self.positions.cpu()] == i).nonzero()[:, 0]
            teacher = self._train(f"fold {i + 1} of {folds}", self.train.select(others))
            if len(held_out):
                logits[held_out] = self._predict(teacher, self.train.select(self.positions[held_out]))
        return logits

    def held_out(self) -> HeldOut:
        """Return the held-out images' labels with the original's logits."""
        unseen = self.experiment.held_out
        return HeldOut(unseen.labels.cpu(), self._predict(self._teacher("original"), unseen))

    def features(self) -> tuple[Float[Tensor, "n width"], Float[Tensor, "m width"]]:
        """Return what the original's last layer reads, of the samples and of the held-out images."""
        original = self._teacher("original")
        return tuple(self._features(original, samples) for samples in (self.samples, self.experiment.held_out))

    def class_weights(self) -> Float[Tensor, "k width"]:
        """Return the weights of the original's last linear layer."""
        return self._weights(self._teacher("original"))

    def retained(self) -> Float[Tensor, "r k"]:
        """Return the original's logits on the retain set."""
        return self._predict(self._teacher("original"), self.experiment.data.retain)

    def local(self, count: int) -> Float[Tensor, "n k"]:
        """Return the logits of a model trained on the `count` retained samples nearest to the forget set."""
        data, original = self.experiment.data, self._teacher("original")
        own, others = (F.normalize(self._features(original, part), dim=1) for part in (data.forget, data.retain))
        # in parts: all similarities at once would be forget times retain set
        near = torch.cat([(own @ part.T).amax(0) for part in others.split(1024)])
        chosen = near.topk(min(count, len(data.retain))).indices.sort().values.to(data.retain.labels.device)
        return self._predict(self._train(f"{LOCAL} of {len(chosen)}", data.retain.select(chosen)), self.samples)

    def fold(self, folds: int) -> Int64[Tensor, " train"]:
        """Draw the fold of every training sample, whatever the forget set is."""
        count = len(self.train)
        order = torch.randperm(count, generator=generator(self.experiment.settings.seed, "folds"))
        return torch.empty(count, dtype=torch.int64).index_copy_(0, order, torch.arange(count) % folds)

    def _teacher(self, name: str) -> Trained | str:
        raise NotImplementedError

    def _train(self, name: str, samples: Samples) -> Trained | str:
        raise NotImplementedError

    def _predict(self, teacher: Trained | str, samples: Samples) -> Float[Tensor, "n k"]:
        raise NotImplementedError

    def _features(self, teacher: Trained | str, samples: Samples) -> Float[Tensor, "n width"]:
        raise NotImplementedError

    def _weights(self, teacher: Trained | str) -> Float[Tensor, "k width"]:
        raise NotImplementedError


class Teachers(Asked):
    """Models that answer, with an account of what their answers cost."""

    def __init__(self, stages: Stages, known: dict[str, Trained], side: str):
        """Take the models that exist already as `known`, by name; `side` is "forget" or "retain"."""
        super().__init__(stages.experiment, side)
        self.stages, self.known = stages, known
        self.taught: dict[str, Trained] = {}
        """Models that were trained for their predictions alone, by name."""
        self.predicting = 0.0
        """Seconds of the predictions when they were computed, without trainings."""
        self.asking = 0.0
        """Seconds of all requests to teachers in this run, trainings included."""

    def source(self) -> Source:
        """Return what a kind may draw on, with a clock on its questions."""
        source = super().source()
        questions = ("logits", "out_of_fold", "held_out", "features", "class_weights", "retained", "local")
        clocked = {name: self._clocked(getattr(source, name)) for name in questions}
        return dataclasses.replace(source, **clocked)

    def _clocked(self, predict: Callable) -> Callable:
        @functools.wraps(predict)
        def timed(*which):
            started = time.perf_counter()
            answer = predict(*which)
            self.asking += time.perf_counter() - started
            return answer

        return timed

    def _teacher(self, name: str) -> Trained:
        if name in self.known:
            return self.known[name]
        if name == "untrained":
            model = self.experiment.initialised(name).eval()
            return Trained(name, model, model_digest(model), 0.0, 0.0, diverged=False, from_store=False)
        return self._train(name, self.train)

    def _train(self, name: str, samples: Samples) -> Trained:
        self.taught[name] = self.stages.network(name, samples)
        return self.taught[name]

    def _predict(self, teacher: Trained, samples: Samples) -> Float[Tensor, "n k"]:
        entry: Entry = self.stages.predicted(teacher, samples)
        self.predicting += entry.seconds
        return entry.tensors["logits"]

    def _features(self, teacher: Trained, samples: Samples) -> Float[Tensor, "n width"]:
        started = time.perf_counter()
        rows = features(teacher.model, samples).cpu()
        self.predicting += time.perf_counter() - started
        return rows

    def _weights(self, teacher: Trained) -> Float[Tensor, "k width"]:
        return head(teacher.model).weight.detach().cpu().float()
