"""A new head on old features."""

import copy
from collections.abc import Callable

import torch.nn.functional as F
from torch import nn

from softtargets.fit import Fit
from softtargets.heads import check_head, head, trained_alone
from softtargets.marks import algorithm
from softtargets.types import Samples


@algorithm(ignores_targets=True, starts_afresh=True, check_network=check_head)
def head_reset(
    original: nn.Module, forget: Samples, retain: Samples, fit: Fit, *, initialise: Callable[[], nn.Module]
) -> nn.Module:
    """Put a new head on the original's features, and train it alone on the retain set's labels.

    Minimises  L(θ) = CE_r(θ)  over weights and bias of the last linear layer, which start as those of a new model
    by the architecture's own builder; an epoch is a pass over the retain set. Its outputs may forget while its
    features remember: the case that measures of outputs alone cannot see.

    Networks that do not end in a linear layer are refused before any work. Targets play no part.
    """
    model = copy.deepcopy(original)
    # from a whole new model, as the head's initialisation may be one that the architecture gives it
    head(model).load_state_dict(head(initialise()).state_dict())

    def loss(retain: Samples):
        return F.cross_entropy(model(retain.inputs), retain.labels)

    with trained_alone(model, [head(model)]):
        return fit(model, loss, retain)
