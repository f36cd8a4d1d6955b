"""UGradSL+: gradient difference under negative label smoothing."""

import copy
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.types import Samples


@algorithm(has_forget_batches=True)
def ugradsl_plus(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    alpha: Annotated[float, Field(ge=0, le=1)],
    beta: Annotated[float, Field(ge=0, le=1)],
) -> nn.Module:
    """Descend on the retain set, and ascend on forget targets that are sharpened sample by sample.

    Di et al. 2024, arXiv 2406.07698. Minimises  L(θ) = α·CE_r(θ) - (1 - α)·CE_f(q'; θ)  from the original θ0, with
    one forget batch for every retain batch; an epoch is a pass over the retain set. q' = (1 + s) q - s u are the
    targets under negative label smoothing: u is uniform, and s, the size of the negative rate, the share of the
    retain batch whose predictions lie within β of the sample's own.

    α → alpha, p of the paper; β → beta; q → forget.targets and retain.targets, one-hot in the paper. The paper
    leaves its distance in [0, 1] open; here it is the total variation ½‖p(x) - p(x')‖₁ of the current model's
    predictions. A fixed rate of smoothing, the paper's other form, is `targets=ugradsl` with beta = 0.
    """
    model = copy.deepcopy(original)

    def loss(retain: Samples, forget: Samples):
        retain_logits, forget_logits = model(retain.inputs), model(forget.inputs)
        # `share` says how strongly to smooth: it is data for this step, so no gradient flows through it
        share = crowding(forget_logits.detach(), retain_logits.detach(), beta)[:, None]
        sharpened = (1 + share) * forget.targets - share / forget.targets.shape[1]
        # subtracted below: `fit` minimises, so this term is ascent
        ascent = (1 - alpha) * cross_entropy(forget_logits, sharpened)
        return alpha * cross_entropy(retain_logits, retain.targets) - ascent

    return fit(model, loss, retain, forget)


def crowding(logits: Float[Tensor, "n k"], others: Float[Tensor, "m k"], beta: float) -> Float[Tensor, " n"]:
    """Return for each sample the share of `others` whose predictions are nearer than `beta` in total variation."""
    probs, around = logits.float().softmax(1), others.float().softmax(1)
    # total variation of two distributions is half of their l1 distance
    return (torch.cdist(probs, around, p=1) / 2 < beta).float().mean(1)
