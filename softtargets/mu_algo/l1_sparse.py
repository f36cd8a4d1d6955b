"""Fine-tuning on the retain set under a sparsity penalty."""

import copy

from torch import nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.ranges import Weight
from softtargets.types import Samples


@algorithm(ignores_forget_targets=True, smooths_labels=True)
def l1_sparse(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    alpha: Weight,
) -> nn.Module:
    """Fine-tune on the retain set with an l1 penalty that fades (Jia et al. 2023, arXiv 2304.04934).

    Minimises at step t of n  L(θ) = CE_r(θ) + α_t ‖θ‖₁,  α_t = α (1 - t / n), t = 0 … n - 1, from the original;
    CE_r = mean over the batch of -Σ_k q_k log p_k(x; θ), and an epoch is a pass over the retain set.

    α → alpha, γ_t of the paper; q → retain.targets, smoothed by `unlearn.label_smoothing`. The decay is by step
    where the authors' code has it by epoch. The forget set is not used, so its targets play no part.
    """
    model = copy.deepcopy(original)
    steps = fit.steps(retain)

    def loss(retain: Samples):
        # `account.steps` counts the steps before this one: t in the docstring
        fading = alpha * (1 - fit.account.steps / steps)
        # a sum, not a mean: ‖θ‖₁ of 10^5 to 10^6 weights is large, so that a useful α is small
        norm = sum(parameter.abs().sum() for parameter in model.parameters())
        return cross_entropy(model(retain.inputs), retain.targets, fit.label_smoothing) + fading * norm

    return fit(model, loss, retain)
