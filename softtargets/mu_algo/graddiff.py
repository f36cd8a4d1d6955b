"""Gradient difference."""

import copy

from torch import nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.ranges import Weight
from softtargets.types import Samples


@algorithm(has_forget_batches=True)
def graddiff(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    alpha: Weight,
) -> nn.Module:
    """Ascend on the forget set while descending on the retain set (Maini et al. 2024, TOFU, arXiv 2401.06121).

    Minimises  L(θ) = α·CE_r(θ) - CE_f(θ),  CE = mean over the batch of -Σ_k q_k log p_k(x; θ), from the original,
    with one retain batch for every forget batch; an epoch is a pass over the forget set.

    α → alpha, q → forget.targets and retain.targets. The paper's α is 1.
    """
    model = copy.deepcopy(original)

    # `fit` minimises: the minus sign turns the forget term into ascent
    def loss(forget: Samples, retain: Samples):
        retain_loss = cross_entropy(model(retain.inputs), retain.targets)
        return alpha * retain_loss - cross_entropy(model(forget.inputs), forget.targets)

    return fit(model, loss, forget, retain)
