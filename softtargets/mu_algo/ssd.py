"""Selective synaptic dampening."""

import copy

import torch
from torch import nn

from softtargets.fit import Fit
from softtargets.importance import importance
from softtargets.marks import algorithm
from softtargets.ranges import Weight
from softtargets.types import Samples


@algorithm(has_no_loop=True, check_network=lambda model, batch: importance(model.eval(), batch))
def ssd(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    alpha: Weight,
    lam: Weight,
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
                # I over all data: the mean of both sets' means, weighted by their sizes
                special, general = of_forget[name], (n * of_forget[name] + m * of_retain[name]) / (n + m)
                # 0 / 0 = NaN where a weight matters to no sample; `where` below takes 1 there
                factor = (lam * general / special).clamp(max=1)
                parameter.mul_(torch.where(special > alpha * general, factor, 1.0))
    return model.eval()
