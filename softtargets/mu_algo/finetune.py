"""Fine-tuning on the retain set."""

import copy

from torch import nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.types import Samples


@algorithm(ignores_forget_targets=True, smooths_labels=True)
def finetune(original: nn.Module, forget: Samples, retain: Samples, fit: Fit) -> nn.Module:
    """Train on with the retain set alone and rely on catastrophic forgetting (Golatkar et al. 2020, 1911.04933).

    Minimises  L(θ) = CE_r(θ),  CE_r = mean over the batch of -Σ_k q_k log p_k(x; θ), from the original θ0; an
    epoch is a pass over the retain set.

    q → retain.targets, smoothed by `unlearn.label_smoothing`. The forget set is not used, so its targets play no
    part.
    """
    model = copy.deepcopy(original)

    # one stream: the forget set has no influence but by what training on the rest overwrites
    def loss(retain: Samples):
        return cross_entropy(model(retain.inputs), retain.targets, fit.label_smoothing)

    return fit(model, loss, retain)
