"""The diagnosis of targets: what they do at the original model, stated before unlearning starts.

With logits z, p = softmax(z), label y and target q the gradient of CE(q, p) in z is p - q. An algorithm that
ascends therefore forgets, to first order, where ⟨e_y - p, q - p⟩ > 0, one that descends where it is < 0; for a
network the inner product is that of parameter gradients, measured here with the algorithm's own gradient.
"""

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from softtargets.evaluation.metrics import accuracy
from softtargets.fit import Account, Fit, lone_samples, trainable
from softtargets.losses import cross_entropy
from softtargets.marks import Algorithm
from softtargets.types import Lazy, Samples, generator

Flag = Literal["ok", "degenerate", "hard-like", "anti-forgetting"]

MEANING = {
    "untrained": "the original predicts its training data no better than before its training, or than the most "
    "frequent class does: it learnt nothing, so there is nothing to forget",
    "degenerate": "the forget targets are the original's own predictions while it trains: they have no gradient, "
    "and what forgetting there is comes from rounding noise or from the retain set",
    "hard-like": "the forget targets pull exactly as hard labels do: nothing can be learnt here about softness",
    "anti-forgetting": "the algorithm's gradient lowers the loss on the forget set: it reinforces what is to be "
    "forgotten",
    "diverged": "loss or weights left the finite numbers; what cannot be measured any more is left empty",
}


PARTS = 10
"""Random parts of the forget set that give the standard error of a direction."""
BACKWARD = -0.05
"""A direction that is surely below this is flagged: around 0 an algorithm neither forgets nor reinforces."""


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Measures of the forget targets q at the original model p0; norms are L2 over all parameters."""

    grad_norm: float
    """|g_q|, g_q the gradient of the mean CE(q, p) over the forget set."""
    grad_norm_hard: float
    """|g_hard|, the same with one-hot labels. It is almost 0 where the model has memorised the data."""
    grad_cosine: float | None
    """Cosine of g_q and g_hard, -1 to 1; None where one of them is zero."""
    target_distance: float
    """Mean ‖q - p0‖₁ over the forget set."""
    sharpness: float
    """Mean of q_y - p0_y: positive where the targets are surer of the label than the model."""
    target_entropy: float
    """Mean entropy of q in nats; of its positive entries alone where q has negative ones."""
    label_distance: float
    """Mean ‖q - e_y‖₁: 0 for hard labels."""
    first_order: float | None
    """⟨g_hard, Δθ⟩, Δθ the first update: first-order change of the hard forget loss. None without an update."""
    direction: float | None
    """-⟨g_hard, g⟩ / (|g_hard| |g|), -1 to 1, g the algorithm's own gradient, before clipping and optimiser.
    Negative where a gradient step lowers the hard forget loss. None without an update or where a gradient is 0."""
    direction_se: float | None
    """Its standard error over random parts of the forget set; None too where this has one sample."""
    training_distance: float
    """Mean ‖q - p‖₁, p the original's predictions in the mode in which the algorithm trains: batch normalisation
    by each batch, dropout, augmentation. There p - q is the gradient in the logits, so this decides `degenerate`;
    `target_distance` is the same in evaluation mode."""

    def flag(self, *, degenerate: float, hard_like: float, targets_matter: bool = True) -> Flag:
        """Return the first flag that applies, by the thresholds `degenerate` and `hard_like`.

        They are of `training_distance` and of `grad_cosine`. `targets_matter` is False for an algorithm that
        ignores targets: these then decide no flag.
        """
        # the order matters: a degenerate target's gradient is rounding noise, whose direction means nothing
        if targets_matter and self.training_distance <= degenerate:
            return "degenerate"
        if self.reinforces:
            return "anti-forgetting"
        if not targets_matter:
            return "ok"
        # the hard labels themselves, at a label distance of 0, are what the others are compared with: no flag
        if self.label_distance > 0 and self.grad_cosine is not None and self.grad_cosine >= hard_like:
            return "hard-like"
        return "ok"

    @property
    def reinforces(self) -> bool:
        """Return whether the algorithm's gradient surely lowers the hard forget loss: by two standard errors."""
        if self.direction is None or self.direction_se is None:
            return False
        return self.direction + 2 * self.direction_se < BACKWARD


def learnt_nothing(logits: Float[Tensor, "n k"], initial: float, labels: Int64[Tensor, " n"]) -> bool:
    """Return whether a model's predictions of training data are no better than without any training.

    Without training: those of its own initialisation, whose accuracy is `initial` (a share from 0 to 1), or the
    most frequent class for every sample. Better: more accurate by over two standard errors of an accuracy over n
    samples.
    """
    n = len(labels)
    # chance level: with unequal classes, naming the largest is better than 1 / k
    without = max(initial, labels.bincount().max().item() / n)
    return accuracy(logits, labels) <= without + 2 * math.sqrt(without * (1 - without) / n)


def diagnose(
    original: nn.Module,
    unlearn: Callable,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    probs: Float[Tensor, "n k"],
) -> Diagnosis:
    """Diagnose `forget.targets` at the original, whose own float32 predictions on the forget set are `probs`.

    `unlearn(original, forget, retain, fit) -> model` is the algorithm and `fit` the one it will be given.
    """
    # g_hard has the forget set's own labels, which may be wrong ones: they are what is to be forgotten
    labels = forget.retarget(nn.functional.one_hot(forget.labels, probs.shape[1]).float())
    gradient, hard = _gradient(original, forget), _gradient(original, labels)
    q = forget.targets
    own = torch.arange(len(q)), forget.labels
    start = _start(original, unlearn, forget, retain, fit, labels, hard)
    return Diagnosis(
        grad_norm=gradient.norm().item(),
        grad_norm_hard=hard.norm().item(),
        grad_cosine=_cosine(gradient, hard),
        target_distance=(q - probs).abs().sum(1).mean().item(),
        training_distance=(q - probs - _shift(original, unlearn, forget, fit)).abs().sum(1).mean().item(),
        sharpness=(q[own] - probs[own]).mean().item(),
        # signed targets have entries below 0, which have no logarithm: entr(0) = 0 leaves them out
        target_entropy=torch.special.entr(q.clamp(min=0)).sum(1).mean().item(),
        label_distance=(q - labels.targets).abs().sum(1).mean().item(),
        first_order=start.first_order,
        direction=start.direction,
        direction_se=start.direction_se,
    )


def _shift(original: nn.Module, unlearn: Callable, forget: Samples, fit: Fit) -> Float[Tensor, "n k"]:
    """Return the predictions of the original in the mode in which `fit` trains, less those in evaluation mode.

    Both in the same batches, so that it is exactly 0 for a network without batch normalisation and dropout.
    """
    shift = torch.zeros_like(forget.targets)
    if Algorithm.of(unlearn).has_no_loop:
        return shift
    model = fit.to_training(copy.deepcopy(original))  # a copy, as training mode moves running statistics
    draw = generator(fit.seed, f"{fit.name}/shift")
    with torch.no_grad(), fit.noise(model), lone_samples(model):
        order = next(fit.orders(0, len(forget))).to(forget.labels.device)
        for positions in order.split(fit.size_of_batch(forget)):
            batch = forget.take(positions)
            usual, trained = original(batch.inputs), model(fit.changed(batch, draw).inputs)
            shift[positions] = trained.float().softmax(1) - usual.float().softmax(1)
    return shift


def _cosine(one: Float[Tensor, " n"], other: Float[Tensor, " n"]) -> float | None:
    norms = one.norm() * other.norm()
    return (one @ other / norms).item() if norms else None


def _gradient(model: nn.Module, samples: Samples, batch_size: int = 256) -> Float[Tensor, " parameters"]:
    """Return the float64 gradient of the mean cross entropy over all samples, in the mode the model is in."""
    parameters = trainable(model)
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64, device=samples.labels.device)
    for start in range(0, len(samples), batch_size):
        batch = samples.take(torch.arange(start, min(start + batch_size, len(samples))))
        # a weighted sum over batches is the mean over all samples, whatever the last batch's size
        loss = cross_entropy(model(batch.inputs), batch.targets) * len(batch) / len(samples)
        gradient = torch.autograd.grad(loss, parameters, materialize_grads=True)  # some may play no part
        total += torch.cat([g.flatten() for g in gradient]).double()
    return total


class Start(NamedTuple):
    """Where an algorithm starts to; see `Diagnosis`."""

    first_order: float | None = None
    direction: float | None = None
    direction_se: float | None = None


def _start(original, unlearn, forget: Samples, retain: Samples, fit: Fit, labels: Samples, hard: Tensor) -> Start:
    marks = Algorithm.of(unlearn)
    if marks.has_no_loop or marks.starts_afresh:
        return Start()  # no update to measure, or the update of another model
    settings = {field.name: getattr(fit, field.name) for field in dataclasses.fields(Fit)}
    # a separate account, so that the diagnosis costs the run nothing
    probe = FirstUpdate(**settings | {"account": Account()}, compass=Compass(original, labels, hard))
    model = unlearn(original, forget, retain, probe)
    # an algorithm may return without a step of `fit`
    if not probe.account.steps:
        return Start()
    # the update that the optimiser made: with momentum, Adam or clipping it is not the gradient
    before, after = (torch.cat([p.detach().flatten() for p in trainable(m)]) for m in (original, model))
    return Start((hard @ (after - before).double()).item(), probe.compass.direction, probe.compass.error)


@dataclasses.dataclass
class Compass:
    """Compares the gradient of a loss with that of the hard forget loss, whole and without each of some parts."""

    original: nn.Module
    forget: Samples
    """With their labels as targets."""
    hard: Tensor
    """Gradient of the original on them."""
    direction: float | None = None
    error: float | None = None

    def is_forget_set(self, samples: Samples) -> bool:
        """Return whether these are the samples to forget, under whatever targets."""
        # lazy samples would copy all their inputs, which are nobody else's
        return not isinstance(samples, Lazy) and samples.inputs is self.forget.inputs

    def read(self, gradient: Tensor, parts: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set direction and standard error; `parts` are positions in the forget set, each with a gradient there.

        The error is that of a jackknife, which takes a part's gradients out of both means at a time.
        """
        cosines, n = [], len(self.forget)
        for positions, of_part in parts:
            share = len(positions) / n
            hard = _gradient(self.original, self.forget.take(positions))
            cosines.append(_cosine(self.hard - share * hard, gradient - share * of_part))
        cosine = _cosine(self.hard, gradient)
        self.direction = None if cosine is None else -cosine
        if len(cosines) > 1 and None not in (cosine, *cosines):
            m, values = len(cosines), torch.tensor(cosines, dtype=torch.float64)
            self.error = math.sqrt((m - 1) * values.var(correction=0).item())


@dataclasses.dataclass(frozen=True, kw_only=True)
class FirstUpdate(Fit):
    """A fit that makes one optimiser step, along the mean gradient at the start over an epoch's samples.

    For a loss on one stream that is the expected first update; a single batch would add its own noise. Before the
    step, `compass` reads the gradient.
    """

    compass: Compass

    def __call__(
        self, model: nn.Module, loss: Callable[..., Tensor], first: Samples, *others: Samples
    ) -> nn.Module:
        """Update `model` once and return it in eval mode."""
        optimizer, _ = self.optimisation(model, self.steps(first))
        count = math.ceil(len(first) / self.size_of_batch(first))
        with self.noise(model), lone_samples(self.to_training(model)):
            # `backward` adds up: gradients are not zeroed between batches, and weights make their sum a mean
            for batch in itertools.islice(self.batches(first, *others), count):
                (self.value(loss, batch) * len(batch[0]) / len(first)).backward()
            self._read(model, loss, (first, *others))
        self.clip(model)
        optimizer.step()
        self.account.steps = 1
        return model.eval()

    def in_turns(self, model: nn.Module, *turns: tuple[Callable[..., Tensor], Samples]) -> nn.Module:
        """Update `model` once, along the mean gradient of the first turn."""
        return self(model, *turns[0])

    def _read(self, model: nn.Module, loss: Callable[..., Tensor], streams: tuple[Samples, ...]) -> None:
        """Let the compass read the gradient in `model.grad`, and that of the loss on parts of the forget set."""
        own = dict(model.named_parameters())
        names = [name for name, parameter in self.compass.original.named_parameters() if parameter.requires_grad]
        if not own.keys() >= set(names):
            return  # a network of another kind, whose gradient has no direction in the original's parameters
        parameters = [own[name] for name in names]
        gradient = _flat(parameters, [parameter.grad for parameter in parameters])
        place = next((i for i, samples in enumerate(streams) if self.compass.is_forget_set(samples)), None)
        batches, draw = self.batches(*streams), generator(self.seed, f"{self.name}/parts/augmentation")

        def of_part(positions: Tensor) -> Tensor:
            if place is None:  # a loss without the forget set is the same without a part of it
                return gradient
            total = torch.zeros_like(gradient)
            for some in positions.split(self.size_of_batch(streams[place])):
                batch = list(next(batches))
                batch[place] = self.changed(streams[place].take(some), draw)
                value = self.value(loss, tuple(batch)) * len(some) / len(positions)
                total += _flat(parameters, _slopes(value, parameters))
            return total

        n = len(self.compass.forget)
        order = torch.randperm(n, generator=generator(self.seed, f"{self.name}/parts")).to(gradient.device)
        parts = order.tensor_split(min(PARTS, n))
        self.compass.read(gradient, ((part, of_part(part)) for part in parts))


def _slopes(value: Tensor, parameters: list[nn.Parameter]) -> list[Tensor | None]:
    """Return the gradient of each parameter, None for one that is frozen or plays no part; `grad` stays."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = iter(torch.autograd.grad(value, trained, allow_unused=True))
    return [next(gradients) if parameter.requires_grad else None for parameter in parameters]


def _flat(parameters: list[nn.Parameter], gradients: list[Tensor | None]) -> Float[Tensor, " parameters"]:
    """Join gradients in float64, with zeros for None."""
    pairs = zip(parameters, gradients, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs]).double()
