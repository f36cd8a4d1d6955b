"""The stages of a run that a store can answer: trained models, their predictions, and targets from these."""

import dataclasses
import functools
import time
from collections.abc import Callable

from torch import Tensor, nn

from softtargets.console import Console
from softtargets.evaluate import Logits
from softtargets.experiment import Experiment
from softtargets.fit import predict
from softtargets.losses import cross_entropy
from softtargets.store import Entry, Store
from softtargets.targets import Source, check_rows
from softtargets.types import Samples, digest

CODE = {"model": 1, "logits": 1}
"""Raised when a change of the code changes what a stage makes, so that old entries are not taken for new."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model in eval mode, with the account of its training."""

    name: str
    model: nn.Module
    digest: str
    seconds: float
    cpu_seconds: float
    """Both of its training, whenever that was."""
    diverged: bool
    from_store: bool


@dataclasses.dataclass(frozen=True)
class Stages:
    """Makes the parts of one run, or takes them from the store."""

    experiment: Experiment
    store: Store
    console: Console
    from_store: list[str] = dataclasses.field(default_factory=list)
    """Names of what did not have to be made."""

    def original(self) -> Trained:
        """Train on all training data, or take the user's checkpoint."""
        if self.experiment.checkpoint is None:
            return self._trained("original", self.experiment.data.train)
        self.console.say(f"original: {self.experiment.settings.checkpoint}")
        return self._loaded(
            "original", self.experiment.checkpoint, seconds=0.0, cpu_seconds=0.0, diverged=False, from_store=False
        )

    def retrained(self) -> Trained:
        """Train on the retain set alone, from an initialisation of its own."""
        return self._trained("retrained", self.experiment.data.retain)

    def logits(self, trained: Trained) -> Logits:
        """Predict the four evaluated sets."""
        names = self.experiment.data.evaluated()
        return {name: self._predicted(trained, name).tensors["logits"] for name in names}

    def targets(self, original: Trained) -> tuple[Samples, Samples, float]:
        """Return forget and retain set under their targets, and the seconds these cost."""
        experiment, started = self.experiment, time.perf_counter()
        asked: dict[str, Entry] = {}
        forget = self._targets("forget", experiment.forget_kind, original, asked)
        retain = self._targets("retain", experiment.retain_kind, original, asked)
        elsewhere = sum(entry.seconds for entry in asked.values() if entry.from_store)
        return forget, retain, time.perf_counter() - started + elsewhere

    def _targets(self, name: str, kind: Callable, original: Trained, asked: dict[str, Entry]) -> Samples:
        samples: Samples = getattr(self.experiment.data, name)

        def logits(teacher: str) -> Tensor:
            assert teacher == original.name
            asked[name] = self._predicted(original, name)
            return asked[name].tensors["logits"]

        targets = kind(Source(samples.labels, samples.targets.shape[1], logits))
        check_rows(targets, name)
        return samples.retarget(targets)

    def _trained(self, name: str, samples: Samples) -> Trained:
        config = self.experiment.config
        ingredients = self._machine() | {
            "code": CODE["model"],
            "name": name,
            "architecture": config["architecture"],
            "training": config["training"] | {"epochs": self.experiment.epochs},
            "samples": samples.digest,
            "classes": samples.targets.shape[1],
            "seed": self.experiment.settings.seed,
        }
        entry = self.store.get("model", ingredients, functools.partial(self._train, name, samples))
        self._note(name, entry)
        notes = {note: entry.manifest[note] for note in ("seconds", "cpu_seconds", "diverged")}
        return self._loaded(name, entry.tensors, from_store=entry.from_store, **notes)

    def _train(self, name: str, samples: Samples) -> tuple[dict[str, Tensor], dict]:
        model = self.experiment.initialised(name)
        with self.console.progress(name) as progress:
            fit = self.experiment.training_fit(name, progress)
            fit(model, lambda batch: cross_entropy(model(batch.inputs), batch.targets), samples)
        state = {key: tensor.detach().cpu().clone() for key, tensor in model.state_dict().items()}
        return state, {"diverged": fit.account.diverged, "steps": fit.account.steps}

    def _loaded(self, name: str, state: dict[str, Tensor], **notes) -> Trained:
        model = self.experiment.initialised(name)
        model.load_state_dict(state)
        return Trained(name, model.eval(), model_digest(model), **notes)

    def _predicted(self, trained: Trained, name: str) -> Entry:
        samples: Samples = getattr(self.experiment.data, name)
        ingredients = self._machine() | {
            "code": CODE["logits"],
            "architecture": self.experiment.config["architecture"],
            "model": trained.digest,
            "samples": samples.digest,
        }
        make = lambda: ({"logits": predict(trained.model, samples.inputs).cpu()}, {})  # noqa: E731
        entry = self.store.get("logits", ingredients, make)
        device = samples.inputs.device
        return dataclasses.replace(entry, tensors={"logits": entry.tensors["logits"].to(device)})

    def _machine(self) -> dict:
        return {"device": self.experiment.settings.device, "threads": self.experiment.settings.threads}

    def _note(self, name: str, entry: Entry) -> None:
        if entry.from_store:
            self.from_store.append(name)
            self.console.say(f"{name}: from the store")


def model_digest(model: nn.Module) -> str:
    """Hash a model's parameters and buffers, by name."""
    return digest(*(tensor for _, tensor in sorted(model.state_dict().items())))
