"""The diagnosis of targets: what they do at the original model, stated before unlearning starts.

With logits z, p = softmax(z), label y and target q the gradient of CE(q, p) in z is p - q. An algorithm that
ascends therefore forgets, to first order, where ⟨e_y - p, q - p⟩ > 0, one that descends where it is < 0; for a
network the inner product is that of parameter gradients, measured here along the algorithm's own first update.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from softtargets.evaluation.metrics import accuracy
from softtargets.fit import Account, Fit, lone_samples, trainable
from softtargets.losses import cross_entropy
from softtargets.marks import Algorithm
from softtargets.types import Samples

Flag = Literal["ok", "degenerate", "hard-like", "anti-forgetting"]

MEANING = {
    "untrained": "the original predicts its training data no better than before its training, or than the most "
    "frequent class does: it learnt nothing, so there is nothing to forget",
    "degenerate": "the forget targets are the original's own predictions: they have no gradient, "
    "and what forgetting there is comes from rounding noise or from the retain set",
    "hard-like": "the forget targets pull exactly as hard labels do: nothing can be learnt here about softness",
    "anti-forgetting": "the first update lowers the loss on the forget set: it reinforces what is to be forgotten",
    "diverged": "loss or weights left the finite numbers; what cannot be measured any more is left empty",
}


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

    def flag(self, *, degenerate: float, hard_like: float, targets_matter: bool = True) -> Flag:
        """Return the first flag that applies, by the thresholds `degenerate` (‖q - p0‖₁) and `hard_like` (cosine).

        `targets_matter` is False for an algorithm that ignores targets: these then decide no flag.
        """
        # the order matters: a degenerate target's first update is rounding noise, whose sign means nothing
        if targets_matter and self.target_distance <= degenerate:
            return "degenerate"
        if self.first_order is not None and self.first_order < 0:
            return "anti-forgetting"
        if not targets_matter:
            return "ok"
        # the hard labels themselves, at a label distance of 0, are what the others are compared with: no flag
        if self.label_distance > 0 and self.grad_cosine is not None and self.grad_cosine >= hard_like:
            return "hard-like"
        return "ok"


def learnt_nothing(
    logits: Float[Tensor, "n k"], initial: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]
) -> bool:
    """Return whether a model's predictions of training data are no better than without any training.

    Without training: those of its own initialisation (`initial`), or the most frequent class for every sample.
    Better: more accurate by over two standard errors of an accuracy over n samples.
    """
    n = len(labels)
    # chance level: with unequal classes, naming the largest is better than 1 / k
    without = max(accuracy(initial, labels), labels.bincount().max().item() / n)
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
    norms = gradient.norm() * hard.norm()
    return Diagnosis(
        grad_norm=gradient.norm().item(),
        grad_norm_hard=hard.norm().item(),
        grad_cosine=(gradient @ hard / norms).item() if norms else None,
        target_distance=(q - probs).abs().sum(1).mean().item(),
        sharpness=(q[own] - probs[own]).mean().item(),
        # signed targets have entries below 0, which have no logarithm: entr(0) = 0 leaves them out
        target_entropy=torch.special.entr(q.clamp(min=0)).sum(1).mean().item(),
        label_distance=(q - labels.targets).abs().sum(1).mean().item(),
        first_order=_first_order(original, unlearn, forget, retain, fit, hard),
    )


def _gradient(model: nn.Module, samples: Samples, batch_size: int = 256) -> Float[Tensor, " parameters"]:
    """Return the float64 gradient of the mean cross entropy over all samples, in the mode the model is in."""
    parameters = trainable(model)
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64, device=samples.inputs.device)
    for start in range(0, len(samples), batch_size):
        batch = samples.take(torch.arange(start, min(start + batch_size, len(samples))))
        # a weighted sum over batches is the mean over all samples, whatever the last batch's size
        loss = cross_entropy(model(batch.inputs), batch.targets) * len(batch) / len(samples)
        gradient = torch.autograd.grad(loss, parameters, materialize_grads=True)  # some may play no part
        total += torch.cat([g.flatten() for g in gradient]).double()
    return total


def _first_order(original, unlearn, forget, retain, fit: Fit, hard: Tensor) -> float | None:
    marks = Algorithm.of(unlearn)
    if marks.has_no_loop or marks.starts_afresh:
        return None  # no update to measure, or the update of another model
    settings = {field.name: getattr(fit, field.name) for field in dataclasses.fields(Fit)}
    # a separate account, so that the diagnosis costs the run nothing
    probe = FirstUpdate(**settings | {"account": Account()})
    model = unlearn(original, forget, retain, probe)
    # an algorithm may return without a step of `fit`
    if not probe.account.steps:
        return None
    # the update that the optimiser made: with momentum, Adam or clipping it is not the gradient
    before, after = (torch.cat([p.detach().flatten() for p in trainable(m)]) for m in (original, model))
    return (hard @ (after - before).double()).item()


class FirstUpdate(Fit):
    """A fit that makes one optimiser step, along the mean gradient at the start over an epoch's samples.

    For a loss on one stream that is the expected first update; a single batch would add its own noise.
    """

    def __call__(
        self, model: nn.Module, loss: Callable[..., Tensor], first: Samples, *others: Samples
    ) -> nn.Module:
        """Update `model` once and return it in eval mode."""
        optimizer, _ = self.optimisation(model, self.steps(len(first)))
        count = math.ceil(len(first) / self.batch_size)
        model.train()
        with self.noise(), lone_samples(model):
            # `backward` adds up: gradients are not zeroed between batches, and weights make their sum a mean
            for batch in itertools.islice(self.batches(first, *others), count):
                (self.value(loss, batch) * len(batch[0]) / len(first)).backward()
        self.clip(model)
        optimizer.step()
        self.account.steps = 1
        return model.eval()

    def in_turns(self, model: nn.Module, *turns: tuple[Callable[..., Tensor], Samples]) -> nn.Module:
        """Update `model` once, along the mean gradient of the first turn."""
        return self(model, *turns[0])
