"""Selective synaptic dampening."""

import copy
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.types import Samples

Importance = dict[str, Float[Tensor, "..."]]


def ssd(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    alpha: Annotated[float, Field(ge=0)],
    lam: Annotated[float, Field(ge=0)],
) -> nn.Module:
    """Shrink weights that matter more for the forget set than for all data (Foster et al. 2024, arXiv 2308.07707).

    θ_i ← θ_i · min(λ I_D,i / I_f,i, 1)  where I_f,i > α I_D,i; I is the mean over samples of the squared gradient
    of CE(q, p(x; θ0)), one sample at a time, over the forget set for I_f and over all data for I_D.

    α → alpha, λ → lam, q → forget.targets and retain.targets. There is no loop: `fit` is not used. An average of
    squared gradients of whole batches, as some implementations take, is another quantity; here each sample counts.
    All data hold the forget set, so that I_D ≥ I_f |D_f| / |D|, and α at or above |D| / |D_f| selects nothing: the
    paper's 10 is for forget sets of fewer than a tenth.
    """
    of_forget, of_retain = importance(original, forget), importance(original, retain)
    model, n, m = copy.deepcopy(original), len(forget), len(retain)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in of_forget:
                special, general = of_forget[name], (n * of_forget[name] + m * of_retain[name]) / (n + m)
                factor = (lam * general / special).clamp(max=1)
                parameter.mul_(torch.where(special > alpha * general, factor, 1.0))
    return model.eval()


ssd.has_no_loop = True


def importance(model: nn.Module, samples: Samples, chunk: int = 32) -> Importance:
    """Mean over samples of each trainable parameter's squared gradient of CE(q, p)."""
    fixed = {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    weights = {name: fixed.pop(name) for name, parameter in model.named_parameters() if parameter.requires_grad}

    def loss(weights, inputs, targets):
        return cross_entropy(functional_call(model, weights | fixed, (inputs[None],)), targets[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for part in torch.arange(len(samples)).split(chunk):
        batch = samples.take(part)
        for name, found in each(weights, batch.inputs, batch.targets).items():
            total[name] += found.square_().sum(0)
    return {name: squares / len(samples) for name, squares in total.items()}
