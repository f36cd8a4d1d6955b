"""Gradient ascent."""

import copy

from torch import nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.types import Samples


def gradasc(original: nn.Module, forget: Samples, retain: Samples, fit: Fit) -> nn.Module:
    """Ascend the cross entropy on the forget set (Thudi et al. 2021, arXiv 2109.13398).

    Minimises  L(θ) = -CE_f(θ),  CE_f = mean over forget of -Σ_k q_k log p_k(x; θ), from the original θ0.

    q → forget.targets, p → softmax(model(forget.inputs)). The retain set is not used.
    At q = p(θ0) the gradient p - q is zero in evaluation mode, or under `unlearn.freeze_norm`: such targets forget
    nothing. Where batch normalisation goes by each batch, p is another than p(θ0), and they move the model.
    """
    model = copy.deepcopy(original)

    # `fit` minimises: the minus sign turns descent into ascent
    def loss(forget: Samples):
        return -cross_entropy(model(forget.inputs), forget.targets)

    return fit(model, loss, forget)
