"""Extra measurements that cost time or an import: made only where the setting `evidence` names them."""

import copy
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from softtargets.evaluation import metrics
from softtargets.evaluation.attacks import Attack, svc
from softtargets.evaluation.evaluate import Logits
from softtargets.fit import Fit, predict
from softtargets.losses import cross_entropy
from softtargets.types import Samples, Split, generator

MOST = 1000
"""Number of samples of either kind on which the attack is trained."""


def confidence_attack(logits: Logits, data: Split) -> dict[str, float | None]:
    """Return the success of a support-vector attack on the confidence p_y (SalUn, Fan et al. 2024, 2310.12508).

    It is trained on retain against test samples of the retained classes, and classifies as many forget as other
    test samples. `svc_accuracy` is the share of these that it gets right (0.5 is chance), `svc_members` the share
    of forget samples that it takes for training data. Both are None where no sample is left to train it on, or
    none to attack: see `no_attack`.
    """
    if no_attack(data):
        return {"svc_accuracy": None, "svc_members": None}
    test, membership = data.test, data.membership
    inside, outside = _unattacked(data)
    count = min(len(outside), len(inside), MOST)
    # a fixed seed: all runs on the same sets train the attack on the same samples
    draw = generator(0, "svc")
    outside, inside = (p[torch.randperm(len(p), generator=draw)[:count]] for p in (outside, inside))
    unseen = confidence(logits["test"][membership.nonmembers], membership.nonmember_labels)
    training = Attack(
        confidence(logits["retain"][inside], data.retain.labels[inside]),
        confidence(logits["test"][outside], test.labels[outside]),
    )
    attacked = Attack(confidence(logits["forget"], data.forget.labels)[membership.members], unseen)
    shares = svc(training, attacked)
    # balanced: the mean of the share of members and of nonmembers that are called rightly
    return {"svc_accuracy": (shares.members + 1 - shares.nonmembers) / 2, "svc_members": shares.members}


def no_attack(data: Split) -> str | None:
    """Return why these sets leave nothing to train the attack on, or nothing to attack; None if they do not."""
    if not len(data.membership.nonmembers):
        return "no test image has a class of the forget set"
    if not len(_unattacked(data)[1]):
        return "all test images of retained classes are attacked, so none is left to train the attack on"
    return None


def _unattacked(data: Split) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " n"]]:
    """Return the positions of retain and of test samples on which the attack may be trained."""
    outside = torch.isin(data.test.labels, data.retain.labels)
    outside[data.membership.nonmembers] = False  # no sample is both trained on and attacked
    return torch.arange(len(data.retain)), outside.nonzero()[:, 0]


def confidence(logits: Float[Tensor, "n k"], labels: Tensor) -> Float[Tensor, " n"]:
    """Return p_y of every sample, the probability of its label."""
    # the margin is log p - log(1 - p), and the sigmoid its inverse
    return metrics.margins(logits, labels).sigmoid()


def relearn_steps(
    model: nn.Module, forget: Samples, level: float, fitted: Callable[[Callable], Fit]
) -> int | None:
    """Count the steps of training on the forget set's labels until `level` of accuracy.

    `level` is a share from 0 to 1; `fitted(watch)` returns the fit that trains. A model that has not reached the
    level at its end has all its steps: at least so many. None where the training diverges. A model that never saw
    the forget set takes long, one that only hides what it knows does not. `model` is not changed.
    """
    student = copy.deepcopy(model)

    def knows(model: nn.Module, step: int) -> bool:
        return metrics.accuracy(predict(model, forget), forget.labels) >= level

    fit = fitted(knows)
    fit(student, lambda batch: cross_entropy(student(batch.inputs), batch.targets), forget)
    return None if fit.account.diverged else fit.account.steps
