"""Descent to the forget targets."""

import copy

from torch import nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.ranges import Weight
from softtargets.types import Samples


@algorithm(has_forget_batches=True)
def relabel(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    alpha: Weight,
) -> nn.Module:
    """Descend to the forget targets while descending to the retain targets.

    Minimises  L(θ) = CE_f(θ) + α·CE_r(θ),  CE = mean over the batch of -Σ_k q_k log p_k(x; θ), from the original,
    with one retain batch for every forget batch; an epoch is a pass over the forget set.

    α → alpha, q → forget.targets and retain.targets. The targets make the method: random wrong labels are that
    of Graves et al. (2021, arXiv 2010.10981), masked ones DELETE (arXiv 2503.23751), those of a random teacher
    the bad teacher (arXiv 2205.08096), out-of-fold ones cross-fitted distillation. KL(q‖p) in place of CE, which
    some of them write, has the same gradient, since q does not depend on θ.

    Differs from the authors' code of two of these. DELETE has no retain term: α = 0 is theirs. Random labels, as
    in the code of SalUn (see `salun`), are drawn anew every epoch, the true class among them, and an epoch goes
    over all of the retain set.
    """
    model = copy.deepcopy(original)

    # both terms have the same sign: this is descent, and forgetting is what the targets say
    def loss(forget: Samples, retain: Samples):
        retain_loss = cross_entropy(model(retain.inputs), retain.targets)
        return cross_entropy(model(forget.inputs), forget.targets) + alpha * retain_loss

    return fit(model, loss, forget, retain)
