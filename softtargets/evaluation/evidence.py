"""Evidence that costs time or an import, measured where it is asked for."""

import copy
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from softtargets.evaluation import metrics
from softtargets.evaluation.attacks import Attack, svc
from softtargets.evaluation.evaluate import Logits
from softtargets.fit import Fit, predict
from softtargets.losses import cross_entropy
from softtargets.types import Samples, Split, generator

MOST = 1000
"""Samples of either kind on which the attack is trained."""


def confidence_attack(logits: Logits, data: Split) -> dict[str, float]:
    """Attack by a support vector machine on the confidence p_y, as in the literature (SalUn, arXiv 2310.12508).

    It learns retain against test samples of the retained classes, and is asked about as many forget as other test
    samples. `svc_accuracy` is the share it gets right of these (one half: nothing to be told), `svc_members` the
    share of the forget set that it takes for training data.
    """
    test, asked = data.test, data.membership
    fresh = torch.isin(test.labels, data.retain.labels)
    fresh[asked.nonmembers] = False
    outside, inside = fresh.nonzero()[:, 0], torch.arange(len(data.retain))
    count = min(len(outside), len(inside), MOST)
    draw = generator(0, "svc")
    outside, inside = (p[torch.randperm(len(p), generator=draw)[:count]] for p in (outside, inside))
    unseen = confidence(logits["test"][asked.nonmembers], asked.nonmember_labels)
    learnt = Attack(
        confidence(logits["retain"][inside], data.retain.labels[inside]),
        confidence(logits["test"][outside], test.labels[outside]),
    )
    found = svc(learnt, Attack(confidence(logits["forget"], data.forget.labels)[asked.members], unseen))
    return {"svc_accuracy": (found.members + 1 - found.nonmembers) / 2, "svc_members": found.members}


def confidence(logits: Float[Tensor, "n k"], labels: Tensor) -> Float[Tensor, " n"]:
    """p_y of every sample."""
    return metrics.margins(logits, labels).sigmoid()


def relearn_steps(
    model: nn.Module, forget: Samples, level: float, fitted: Callable[[Callable], Fit]
) -> int | None:
    """Count the steps of training on the forget set's labels until `level` of accuracy; None if it takes too many.

    `fitted(watch)` makes the fit that trains. A model that never knew the forget set takes long, one that only
    hides what it knows does not. `model` stays as it is.
    """
    student = copy.deepcopy(model)

    def knows(model: nn.Module, step: int) -> bool:
        return metrics.accuracy(predict(model, forget.inputs), forget.labels) >= level

    fit = fitted(knows)
    fit(student, lambda batch: cross_entropy(student(batch.inputs), batch.targets), forget)
    return fit.account.steps if fit.account.stopped else None
