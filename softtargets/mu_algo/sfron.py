"""SFRon: adaptive ascent on the weights that matter more for the forget set, repaired on the retain set."""

import copy
import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn
from torch.func import functional_call

from softtargets.fit import Fit
from softtargets.importance import importance
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.ranges import Weight
from softtargets.types import Samples


@algorithm(
    has_forget_batches=True,
    needs_distribution=True,
    check_network=lambda model, batch: importance(model.eval(), batch),
)
def sfron(
    original: nn.Module, forget: Samples, retain: Samples, fit: Fit, *, alpha: Weight, lam: Weight, gamma: Weight
) -> nn.Module:
    """Ascend on the forget set where weights matter more for it, and descend on the retain set.

    Saliency forgetting in the remain-preserving manifold online, Huang et al. 2024, arXiv 2409.19732. Minimises

        L(θ) = CE_r(θ) - α_t Σ_i c_i l_i(m θ + (1 - m) θ'),  c_i = l_i^(-λ) / Σ_j l_j^(-λ),  l_i = CE(q_i, p_i),

    from the original θ0, with one retain batch for every forget batch, over whose samples i goes; an epoch is a
    pass over the forget set. c_i and θ' = θ have no gradient: m masks the ascent alone. m = 1 where I_f ≥ γ I_r,
    I the mean over samples of squared gradients of CE on labels at θ0. α_t falls from α to 0 by half a cosine.

    α → alpha, λ → lam, γ → gamma, q → forget.targets and retain.targets. Signed targets have losses below 0,
    which have no power, and are refused.

    Compared with the authors' code on one network and one batch: the losses are equal, and so are the masks where
    its batches have one sample. Differs from it: there a step of ascent alone, its gradient clipped, comes before
    every fifth step on the retain set (with α = 25, which is 5 for each), and I is of squared gradients of batches
    (with 16 samples in each, 86 % of the entries of m are the same).
    """
    model = copy.deepcopy(original)
    masks = saliency(original, forget, retain, gamma)
    steps = fit.steps(forget)

    def loss(forget: Samples, retain: Samples):
        # `account.steps` counts the steps before this one
        fading = alpha * (1 + math.cos(math.pi * fit.account.steps / steps)) / 2
        # the value of every weight, with a gradient where m = 1
        weights = {n: torch.where(masks[n], p, p.detach()) for n, p in model.named_parameters() if n in masks}
        logits = functional_call(model, weights, (forget.inputs,))
        each = F.cross_entropy(logits.float(), forget.targets, reduction="none")
        share = 1 / (each.detach() ** lam + 1e-15)
        return cross_entropy(model(retain.inputs), retain.targets) - fading * (share / share.sum() * each).sum()

    return fit(model, loss, forget, retain)


def saliency(model: nn.Module, forget: Samples, retain: Samples, gamma: float) -> dict[str, Bool[Tensor, "..."]]:
    """Return where the forget set's importance is at least `gamma` times the retain set's, by parameter name."""
    hard = [part.retarget(F.one_hot(part.labels, part.targets.shape[1]).float()) for part in (forget, retain)]
    of_forget, of_retain = (importance(model, part) for part in hard)
    return {name: of_forget[name] >= gamma * of_retain[name] for name in of_forget}
