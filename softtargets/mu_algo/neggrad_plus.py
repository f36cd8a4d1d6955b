"""NegGrad+: gradient difference whose two weights sum to 1."""

import copy
from typing import Annotated

from pydantic import Field
from torch import nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.types import Samples


@algorithm(has_forget_batches=True)
def neggrad_plus(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    alpha: Annotated[float, Field(ge=0, le=1)],
) -> nn.Module:
    """Descend on the retain set, with a little ascent on the forget set (Kurmanji et al. 2023, arXiv 2302.09880).

    Minimises  L(θ) = α·CE_r(θ) - (1 - α)·CE_f(θ),  CE = mean over the batch of -Σ_k q_k log p_k(x; θ), from the
    original, with one retain batch for every forget batch; an epoch is a pass over the forget set.

    α → alpha, β of the paper; q → forget.targets and retain.targets. Up to a factor it is graddiff with
    α / (1 - α).

    Differs from the authors' code: there an epoch is a pass over the retain set, with one forget batch for every
    retain batch.
    """
    model = copy.deepcopy(original)

    # `fit` minimises: the minus sign turns the forget term into ascent
    def loss(forget: Samples, retain: Samples):
        retain_loss = cross_entropy(model(retain.inputs), retain.targets)
        return alpha * retain_loss - (1 - alpha) * cross_entropy(model(forget.inputs), forget.targets)

    return fit(model, loss, forget, retain)
