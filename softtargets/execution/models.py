"""The stages of a run that a store can hold: trained models and their predictions."""

import dataclasses
import functools
import math
from collections.abc import Callable

from torch import Tensor, nn

from softtargets.console import Console
from softtargets.ensembles import Ensemble
from softtargets.evaluation import metrics
from softtargets.evaluation.evaluate import Logits
from softtargets.evaluation.faces import more_sets
from softtargets.execution.experiment import Experiment
from softtargets.execution.ingredients import of_logits, of_model
from softtargets.execution.memory import decided_by
from softtargets.execution.run_clock import RunClock
from softtargets.fit import predict
from softtargets.store import Entry, Store
from softtargets.types import Samples, model_digest, state_digest


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model in eval mode, with the cost of its training."""

    name: str
    model: nn.Module
    digest: str
    seconds: float
    cpu_seconds: float
    """Wall and CPU seconds of its training, in this run or an earlier one."""
    diverged: bool
    from_store: bool


def _copied(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of a model, on the CPU, that its further training leaves alone."""
    return {key: tensor.detach().cpu().clone() for key, tensor in model.state_dict().items()}


def _with_digest(train: Callable) -> tuple[dict[str, Tensor], dict]:
    """Train, and note the model's digest: with it a plan knows the keys of what is computed from the model."""
    state, notes = train()
    return state, notes | {"digest": state_digest(state)}


@dataclasses.dataclass(frozen=True)
class Stages:
    """The stages of one run, each computed or read from the store."""

    experiment: Experiment
    store: Store
    console: Console
    clock: RunClock = dataclasses.field(default_factory=RunClock)
    trained_now: list[str] = dataclasses.field(default_factory=list)
    from_store: list[str] = dataclasses.field(default_factory=list)
    """Names of the models that this run trained, and of those that it read from the store."""

    def original(self) -> Trained:
        """Return the model trained on all training data, or the user's checkpoint."""
        if self.experiment.checkpoint is None:
            return self.trained("original", self.experiment.data.train)
        self.console.say(f"original: {self.experiment.settings.checkpoint}")
        return self._loaded(
            "original", self.experiment.checkpoint, seconds=0.0, cpu_seconds=0.0, diverged=False, from_store=False
        )

    def retrained(self) -> Trained:
        """Return the model trained on the retain set alone, from a separate initialisation."""
        return self.trained("retrained", self.experiment.data.retain)

    def early_original(self) -> Trained:
        """Train the original once more, and keep its checkpoint, one an epoch, of the likeliest validation labels.

        Entries of the original that are in the store already have no checkpoints, hence an entry of its own.
        """
        return self._stored("early_original", self.experiment.data.train, self._train_early)

    def further_references(self) -> list[Trained]:
        """Train `retrained/2`, `retrained/3` … on the retain set, until there are `references` in all."""
        names = [f"retrained/{number}" for number in range(2, self.experiment.settings.references + 1)]
        return [self.trained(name, self.experiment.data.retain) for name in names]

    @functools.cached_property
    def more_sets(self) -> dict[str, Samples]:
        """Return the sets beyond the four evaluated ones on which models are compared."""
        return more_sets(self.experiment.data)

    def logits(self, trained: Trained) -> Logits:
        """Predict the four evaluated sets and `more_sets`."""
        device = self.experiment.settings.device
        sets = self.experiment.data.evaluated() | self.more_sets
        return {
            name: self.predicted(trained, samples).tensors["logits"].to(device) for name, samples in sets.items()
        }

    def trained(self, name: str, samples: Samples) -> Trained:
        """Return the original or a retrained model; an ensemble where the algorithm has shards."""
        return self._ensemble(name, samples) if self.experiment.shards else self.network(name, samples)

    def _ensemble(self, name: str, samples: Samples) -> Trained:
        """Return an ensemble, a network for each shard of `samples`; each network has its own entry."""
        each = [self.network(one, part) for one, part in self.experiment.sharded(name, samples).items()]
        model = Ensemble(one.model for one in each).eval()
        return Trained(
            name,
            model,
            model_digest(model),
            seconds=sum(one.seconds for one in each),
            cpu_seconds=sum(one.cpu_seconds for one in each),
            diverged=any(one.diverged for one in each),
            from_store=all(one.from_store for one in each),
        )

    def network(self, name: str, samples: Samples) -> Trained:
        """Return one network trained on `samples`; initialisation and batches follow from its name."""
        return self._stored(name, samples, functools.partial(self._train, name, samples))

    def _stored(self, name: str, samples: Samples, train: Callable) -> Trained:
        ingredients = of_model(self.experiment, name, samples)
        entry = self.kept("model", ingredients, functools.partial(_with_digest, train), name)
        notes = {note: entry.manifest[note] for note in ("seconds", "cpu_seconds", "diverged")}
        return self._loaded(name, entry.tensors, from_store=entry.from_store, **notes)

    def kept(self, stage: str, ingredients: dict, make: Callable, name: str | None = None) -> Entry:
        """Return an entry of the store, made if it is missing; `name` is that of a model."""
        since = self.clock.beside()
        entry = self.store.get(stage, ingredients, make)
        if name:
            self._note(name, entry)
        if not entry.from_store:
            self.clock.stored(since)
        return entry

    @decided_by("training.batch_size")
    def _train(self, name: str, samples: Samples) -> tuple[dict[str, Tensor], dict]:
        model = self.experiment.initialised(name)
        with self.console.progress(name) as progress:
            fit = self.experiment.training_fit(name, progress)
            fit(model, self.experiment.training_loss(model), samples)
        return _copied(model), {"diverged": fit.account.diverged, "steps": fit.account.steps}

    def _train_early(self) -> tuple[dict[str, Tensor], dict]:
        model, data = self.experiment.initialised("original"), self.experiment.data
        best = {"loss": math.inf, "state": _copied(model), "steps": 0}

        def watch(model: nn.Module, step: int) -> bool:
            loss = metrics.loss(predict(model, data.validation), data.validation.labels)
            if step and loss < best["loss"]:
                best.update(loss=loss, state=_copied(model), steps=step)
            return False

        with self.console.progress("early_original") as progress:
            every = self.experiment.epoch_steps()["original"]
            fit = self.experiment.training_fit("original", progress, watch=watch, evaluate_every=every)
            fit(model, self.experiment.training_loss(model), data.train)
        return best["state"], {"diverged": fit.account.diverged, "steps": best["steps"]}

    def _loaded(self, name: str, state: dict[str, Tensor], **notes) -> Trained:
        model = self.experiment.initialised(name)
        model.load_state_dict(state)
        return Trained(name, model.eval(), model_digest(model), **notes)

    def predicted(self, trained: Trained, samples: Samples) -> Entry:
        """Return the store's entry with a model's "logits" on `samples`, on the CPU."""
        ingredients = of_logits(self.experiment, trained.digest, samples)
        make = lambda: ({"logits": predict(trained.model, samples).cpu()}, {})  # noqa: E731
        return self.kept("logits", ingredients, make)

    def _note(self, name: str, entry: Entry) -> None:
        (self.from_store if entry.from_store else self.trained_now).append(name)
        if not entry.from_store:
            self.clock.trained(entry.seconds, entry.manifest["cpu_seconds"])
        else:
            self.console.say(f"{self.console.clock.numbered(name)}: reused from the store")
