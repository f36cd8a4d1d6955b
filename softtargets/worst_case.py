"""The worst case: samples that a cheap unlearner leaves known, though a model without them would not know them.

Fan et al. (2024, arXiv:2403.07362) choose the forget set by two nested problems: the inner one unlearns a set, by
random labels and steps along the sign of the gradient; the outer one prefers samples whose loss stays small. With
sign steps the outer gradient is that loss alone. Here it is the same search, in rounds, with one change. They
minimise the loss after unlearning, by which easy samples win that retraining recognises as well. So the
probability that models give a sample without having seen it is subtracted: what is left is what unlearning left.
"""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from softtargets.devices import sent
from softtargets.memorisation import Laboratory, halves
from softtargets.ranges import Count, Fraction, Halves, Weight
from softtargets.types import Samples, generator

BATCH = 256
"""Samples of each set in a step of the inner unlearning."""


def still_known(
    laboratory: Laboratory, *, fraction: Fraction, models: Halves, rounds: Count, steps: Count, rate: Weight
) -> Float[Tensor, " n"]:
    """Return scores of all training samples; the highest are a set that the inner unlearning leaves known.

    A score is the mean over rounds of the probability of the sample's label after the inner unlearning of the
    round's set, in `steps` of `rate` along the sign, less the mean probability by models on halves without it.
    """
    train, count = laboratory.train, round(fraction * len(laboratory.train))
    unseen = _unseen(laboratory, models)
    # by a name of its own: the set must not be the hardest for the very original of the study's seed 0
    (original,) = laboratory.trained({"worst case": torch.arange(len(train))})

    def left(chosen: Int64[Tensor, " m"]) -> Float[Tensor, " n"]:
        retained = torch.ones(len(train), dtype=torch.bool).index_fill(0, chosen, False).nonzero()[:, 0]
        model = _unlearned(original, train.select(chosen), train.select(retained), steps, rate)
        return _of_label(laboratory.predict(model, train), train.labels) - unseen

    return greedy(torch.rand(len(train), generator=generator(0, "worst case")), count, rounds, left)


def greedy(
    start: Float[Tensor, " n"], count: int, rounds: int, left: Callable[[Tensor], Float[Tensor, " n"]]
) -> Float[Tensor, " n"]:
    """Return the scores whose `count` highest samples have the greatest mean of `left`, which says what they keep.

    The first set is the highest of `start`, each further one that of the mean of `left` over the rounds before.

    >>> kept = torch.tensor([0.0, 1.0, 0.5])
    >>> greedy(torch.tensor([1.0, 0.0, 0.0]), 1, 2, lambda chosen: kept)
    tensor([0.0000, 1.0000, 0.5000])
    """
    scores, best, most, total = start, start, -float("inf"), torch.zeros_like(start)
    for number in range(1, rounds + 1):
        chosen = scores.topk(count).indices.sort().values
        values = left(chosen)
        if values[chosen].mean() > most:
            best, most = scores, float(values[chosen].mean())
        total = total + values
        scores = total / number
    return best


def _unseen(laboratory: Laboratory, models: int) -> Float[Tensor, " n"]:
    """Return the mean probability of each sample's label by the models whose half lacks it."""
    train, outside = laboratory.train, ~halves(len(laboratory.train), models)
    names = {f"half/{number}": (~row).nonzero()[:, 0] for number, row in enumerate(outside)}
    known = [_of_label(laboratory.predict(one, train), train.labels) for one in laboratory.trained(names)]
    return (torch.stack(known) * outside).sum(0) / outside.sum(0)


def _of_label(logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    return logits.float().softmax(1).gather(1, labels[:, None])[:, 0].cpu()


def _unlearned(original: nn.Module, forget: Samples, retain: Samples, steps: int, rate: float) -> nn.Module:
    """Return a copy of the model after steps along the gradient's sign, the forget set under random labels."""
    model, draw = copy.deepcopy(original).eval(), generator(0, "worst case/steps")
    classes = forget.targets.shape[1]
    for _ in range(steps):
        one, other = (part.take(torch.randint(len(part), (BATCH,), generator=draw)) for part in (forget, retain))
        wrong = sent(torch.randint(classes, (BATCH,), generator=draw), other.labels.device)
        loss = F.cross_entropy(model(one.inputs), wrong) + F.cross_entropy(model(other.inputs), other.labels)
        gradients = torch.autograd.grad(loss, tuple(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= rate * gradient.sign()
    return model
