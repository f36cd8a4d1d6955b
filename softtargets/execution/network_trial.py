"""A trial of a network, as a run will use it: one that cannot work ends in one sentence before any work."""

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from softtargets.config.validation import naming
from softtargets.devices import forked_random
from softtargets.errors import BadInput, reason
from softtargets.fit import Fit, lone_samples, trainable
from softtargets.losses import cross_entropy
from softtargets.types import Samples, model_digest

LARGE = 224
"""Pixels a side for which most published networks are made."""
SPREAD = 1e-2
"""Largest difference of a sample's logits between batches, as a share of the largest: rounding, also in bf16."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trial of networks of one kind. Every method raises BadInput for a network that cannot work."""

    where: str
    """Setting that names the network."""
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    """Shape of one input, without the batch."""
    classes: int
    device: str
    build_for: Callable[[tuple[int, ...]], nn.Module] | None = None
    """Builds the network for inputs of another shape; a sentence then says whether larger images would fit."""

    def __call__(self, fits: Iterable[Fit], sizes: Iterable[int], looks: Mapping[str, Callable]) -> None:
        """Predict, train one step of each fit on batches of each size, copy, save and load.

        Each `look(model, batch)` is a part's own trial of the network, under the words that begin its sentences.
        """
        with forked_random(self.device):
            model = self.built()
            self._state(model)
            self._predict(model)
            self._parameters(model)
            start = copy_of_state(model)
            for fit in fits:
                for size in sizes:
                    model.load_state_dict(start)
                    self._step(model, fit, size)
            self._keep(model.eval())
            for name, look in looks.items():
                with naming(f"{name}{self.where}", (Exception,)):
                    look(self.built(), self._samples(2))

    def fits_by_shape(self) -> bool:
        """Return whether a network without values gives logits of the right shape: a tenth of the work of a trial.

        A network that works may still fail here, as where it reads a value: then only a trial can tell.
        """
        try:
            with forked_random(self.device), torch.device("meta"), torch.no_grad():
                self.logits(self.build().eval(), torch.empty(2, *self.shape))
        except Exception:  # of the user's network; a trial will say what it is
            return False
        return True

    def built(self, seed: int = 0) -> nn.Module:
        """Return a new network; it seeds torch's generator."""
        torch.manual_seed(seed)
        with self._fitting():
            return self.build().to(self.device)

    @contextlib.contextmanager
    def _fitting(self) -> Iterator[None]:
        try:
            yield
        except BadInput:
            raise
        except Exception as error:
            why = reason(error)[:1000].rstrip(".!")
            raise BadInput(
                f"{self.where}: does not fit inputs of shape {self.shape}: {why}{self._larger_images()}"
            ) from error

    def _larger_images(self) -> str:
        """Return that images of `LARGE` pixels a side would fit, for the end of a sentence; nothing if not."""
        channels, *sides = self.shape
        larger = (channels, LARGE, LARGE)
        if self.build_for is None or len(sides) != 2 or larger == self.shape:
            return ""
        build = functools.partial(self.build_for, larger)
        if not dataclasses.replace(self, build=build, shape=larger).fits_by_shape():
            return ""
        return (
            f". The images have {sides[1]}x{sides[0]} pixels, and {LARGE}x{LARGE} would fit: "
            f"type dataset.size={LARGE} for images of a folder, or choose another network"
        )

    def _samples(self, n: int) -> Samples:
        draw = torch.Generator().manual_seed(n)
        labels = torch.arange(n) % self.classes
        targets = nn.functional.one_hot(labels, self.classes).float()
        inputs = torch.randn(n, *self.shape, generator=draw)
        return Samples(*(tensor.to(self.device) for tensor in (inputs, labels, targets)))

    def _require(self, condition: bool, sentence: str) -> None:
        if not condition:
            raise BadInput(f"{self.where}: {sentence}")

    @contextlib.contextmanager
    def _trying(self, trial: str):
        with naming(f"{self.where}: the network fails {trial}", (Exception,)):
            yield

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Return the model's output; raises BadInput unless these are logits."""
        return require_logits(model(inputs), len(inputs), self.classes, self.where)

    @torch.no_grad()
    def _predict(self, model: nn.Module) -> None:
        """Try evaluation: the output must be logits that depend on the sample and on nothing else."""
        inputs, before = self._samples(2).inputs, model_digest(model)
        given = inputs.clone()
        with self._fitting():
            logits = self.logits(model.eval(), given)
        self._require(torch.equal(given, inputs), "changes its inputs in place; change a copy instead")
        self._require(bool(logits.isfinite().all()), "its logits are not finite before any training")
        self._require(
            not are_probabilities(logits), "returns probabilities; it must return logits (leave out the softmax)"
        )
        again = self.logits(model, inputs.clone())
        self._require(
            self._near(again, logits), "gives other logits for the same inputs the second time, in evaluation mode"
        )
        with self._trying("on a batch of 1 in evaluation mode"):
            alone = self.logits(model, inputs[:1].clone())
        self._require(
            self._near(alone, logits[:1]),
            "its logits of a sample depend on the rest of the batch in evaluation mode",
        )
        self._require(model_digest(model) == before, "changes its own state in evaluation mode")

    def _near(self, one: Tensor, other: Tensor) -> bool:
        return bool((one - other).abs().max() <= SPREAD * other.abs().max() + 1e-6)

    def _state(self, model: nn.Module) -> None:
        for name, value in model.state_dict().items():
            self._require(
                isinstance(value, Tensor),
                f"its state dict holds a {type(value).__name__}, {name}; it must hold tensors only",
            )

    def _parameters(self, model: nn.Module) -> None:
        self._require(bool(trainable(model)), "has no trainable parameter")
        self._require(
            not any(parameter.is_complex() for parameter in model.parameters()),
            "has complex parameters; they must be real",
        )
        self._require(
            model_digest(self.built()) == model_digest(model),
            "has other initial weights when built again with the same seed; draw them by torch's generator",
        )

    def _step(self, model: nn.Module, fit: Fit, size: int) -> None:
        batch = self._samples(size)
        what = f"{fit.name}.batch_size={fit.batch_size}: a batch of {size}"
        with self._trying(f"in its first step ({what})"):
            optimizer, _ = fit.optimisation(model.train(), 1)
            with fit.noise(model), lone_samples(model):
                value = fit.value(
                    lambda batch: cross_entropy(self.logits(model, batch.inputs), batch.targets), (batch,)
                )
                value.backward()
            slopes = [parameter.grad for parameter in trainable(model) if parameter.grad is not None]
            finite = bool(value.isfinite()) and all(bool(slope.isfinite().all()) for slope in slopes)
            self._require(finite, f"its loss or gradient is not finite in its first step ({what})")
            fit.clip(model)
            optimizer.step()
            model.zero_grad()

    def _keep(self, model: nn.Module) -> None:
        """Try a backward pass in evaluation mode, a copy, and loading from a state dict."""
        batch = self._samples(2)
        with self._trying("in a backward pass in evaluation mode"):
            loss = cross_entropy(model(batch.inputs.clone()), batch.targets)
            torch.autograd.grad(loss, trainable(model), materialize_grads=True)
        with self._trying("to be copied by copy.deepcopy"):
            copy.deepcopy(model)
        with self._trying("to be loaded from its state dict"):
            loaded = self.built(seed=1)
            loaded.load_state_dict(copy_of_state(model))
            with torch.no_grad():
                logits = [one.eval()(batch.inputs.clone()) for one in (model, loaded)]
        self._require(
            torch.allclose(*logits, rtol=1e-3, atol=1e-5, equal_nan=True),
            "gives other logits after loading its state dict, which lacks something that the network uses",
        )


def require_logits(output: object, n: int, classes: int | None, where: str) -> Tensor:
    """Return a network's output for `n` inputs as float32; raise BadInput unless these are logits (n, classes).

    `classes` is None where any number is right.
    """
    width = classes or "classes"
    if not isinstance(output, Tensor):
        name = type(output).__name__
        raise BadInput(f"{where}: returns {name}; it must return a tensor of logits (n, {width})")
    if output.ndim != 2 or output.shape != (n, classes or output.shape[1]):
        shape = tuple(output.shape)
        raise BadInput(f"{where}: returns logits of shape {shape}; it must return ({n}, {width}) for {n} inputs")
    if not output.is_floating_point():
        raise BadInput(f"{where}: returns {output.dtype}; logits must be floating-point numbers")
    return output.float()


def are_probabilities(logits: Tensor) -> bool:
    """Return whether logits (n, classes) are rows of probabilities, as a softmax at the network's end gives them.

    >>> are_probabilities(torch.tensor([[0.25, 0.75]])), are_probabilities(torch.tensor([[-1.0, 2.0]]))
    (True, False)
    """
    sums = torch.ones_like(logits[:, 0])
    return bool((logits >= 0).all()) and torch.allclose(logits.sum(1), sums, atol=1e-3)


def copy_of_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's parameters and buffers, by name."""
    return {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
