"""SCRUB: a student that disagrees with its teacher on the forget set alone."""

import copy
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy, kl_divergence
from softtargets.marks import algorithm
from softtargets.ranges import Weight
from softtargets.types import Samples


@algorithm(has_forget_batches=True, needs_distribution=True)
def scrub(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    alpha: Weight,
    gamma: Weight,
    temperature: Annotated[float, Field(ge=1e-3, le=10**6)],
    max_passes: Annotated[int, Field(ge=0, le=10**9)],
) -> nn.Module:
    """Turn by turn, flee from the teacher on the forget set and stay with it on the retain set.

    Kurmanji et al. 2023, arXiv 2302.09880. From the original θ0, `fit.epochs` times a pass over the retain set
    that minimises

        γ CE_r(θ) + α T² KL(p0 ‖ p_θ),  p0, p_θ softened: softmax(z / T),

    each of the first `max_passes` followed by a pass over the forget set that maximises T² KL(q ‖ p_θ). In the
    paper the forget set comes first; but there q is the teacher's own p0, at which that step has no gradient in
    evaluation mode, or under `unlearn.freeze_norm`.

    α → alpha, γ → gamma, T → temperature, msteps → max_passes. q → forget.targets, softened as
    q^(1/T) / Σ q^(1/T), which is softmax(z0 / T) for the teacher's own (`targets/forget=self` at temperature 1);
    CE_r takes retain.targets, so that with hard targets the retain set still has soft ones, p0, with weight α;
    α = 0 leaves them out, and the teacher's pass too. Signed targets have no KL and are refused.

    Differs from the authors' code: there the rate falls to a tenth after some epochs (5, 8 and 9 of 10), where
    here the schedule of the run decides. Their optimiser adds an L2 penalty: .1 by Adam in the small experiments,
    5e-4 by SGD in the large ones.
    """
    model = copy.deepcopy(original)

    def stay(retain: Samples):
        logits = model(retain.inputs)
        if alpha == 0:  # the teacher's pass would be paid for nothing
            return gamma * cross_entropy(logits, retain.targets)
        with torch.no_grad():
            teacher = (original(retain.inputs).float() / temperature).softmax(1)
        # T² makes up for the 1/T² by which softening shrinks the gradient (Hinton et al. 2015)
        near = kl_divergence(logits / temperature, teacher)
        return gamma * cross_entropy(logits, retain.targets) + alpha * temperature**2 * near

    # the minus sign: `fit` minimises, and this turn maximises the divergence
    def flee(forget: Samples):
        softened = soften(forget.targets, temperature)
        return -(temperature**2) * kl_divergence(model(forget.inputs) / temperature, softened)

    turns = []
    for epoch in range(fit.epochs):
        turns += [(stay, retain), (flee, forget)] if epoch < max_passes else [(stay, retain)]
    return fit.in_turns(model, *turns)


def soften(targets: Float[Tensor, "n k"], temperature: float) -> Float[Tensor, "n k"]:
    """Return q^(1/T) / Σ q^(1/T): softmax(z / T) where q = softmax(z)."""
    # q^(1/T) = exp(log q / T): up to a factor, the logits divided by T. The largest entry is 1 first, so that at
    # small T not all powers underflow
    powers = (targets / targets.amax(1, keepdim=True)) ** (1 / temperature)
    return powers / powers.sum(1, keepdim=True)
