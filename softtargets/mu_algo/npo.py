"""Negative preference optimisation."""

import copy
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.ranges import Weight
from softtargets.types import Samples


@algorithm(has_forget_batches=True)
def npo(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    beta: Annotated[float, Field(ge=1e-3, le=10**6)],
    alpha: Weight,
) -> nn.Module:
    """Ascend on each forget sample, the less the more it is forgotten (Zhang et al. 2024, arXiv 2404.05868).

    Minimises  L(θ) = mean_f (2/β) log(1 + (π_θ / π_0)^β) + α·CE_r(θ), from the original θ0, with one retain batch
    for every forget batch; an epoch is a pass over the forget set. For labels π = p_y, as in the paper; for
    targets log π = Σ_k q_k log p_k, of which p_y is the case q = e_y.

    β → beta, α → alpha (0 is NPO alone, else NPO-RT), q → forget.targets and retain.targets. In evaluation
    mode, or under `unlearn.freeze_norm`, every weight is 1 at θ0, and the gradient is that of gradient ascent; so
    is its no-op at q = p(θ0). Where batch normalisation goes by each batch, π starts elsewhere than π_0. As β → 0
    it is gradient ascent.
    """
    model = copy.deepcopy(original)

    def loss(forget: Samples, retain: Samples):
        # π_0 is a constant: the original gets no gradient
        with torch.no_grad():
            before = log_likelihood(original(forget.inputs), forget.targets)
        ratio = log_likelihood(model(forget.inputs), forget.targets) - before
        # softplus(b r) = log(1 + exp(b r)) is finite where the power (p / p0)^b would overflow
        forgetting = 2 / beta * F.softplus(beta * ratio).mean()
        return forgetting + alpha * cross_entropy(model(retain.inputs), retain.targets)

    return fit(model, loss, forget, retain)


def log_likelihood(logits: Float[Tensor, "n k"], targets: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Return Σ_k q_k log p_k of each sample, in nats: the logarithm of p_y where q = e_y."""
    # torch's cross entropy is -Σ_k q_k log p_k
    return -F.cross_entropy(logits.float(), targets, reduction="none")
