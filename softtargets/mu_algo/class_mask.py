"""Class mask: a head that never names the forgotten class."""

import copy

import torch
from torch import nn

from softtargets.fit import Fit
from softtargets.heads import check_head, head
from softtargets.marks import algorithm
from softtargets.types import Samples

NEVER = -1e4
"""Logit of a masked class: its probability is 0 in float32, and every loss stays finite."""


def _check(model: nn.Module, batch: Samples) -> None:
    """Raise ValueError for a network that does not end in a linear layer with a bias."""
    check_head(model, batch)
    if head(model).bias is None:
        raise ValueError("class_mask needs a bias in the network's last linear layer, and it has none")


@algorithm(ignores_targets=True, has_no_loop=True, whole_classes_only=True, check_network=_check)
def class_mask(original: nn.Module, forget: Samples, retain: Samples, fit: Fit) -> nn.Module:
    """Make the head say that the forgotten classes are impossible, and leave everything else as it is.

    The row of each class that the retain set lacks becomes 0, and its bias -10,000. It costs nothing, forgets
    nothing inside, and is hard to beat by measures of outputs. For whole classes only. Networks that do not end in
    a linear layer with a bias are refused before any work. Targets play no part.
    """
    model = copy.deepcopy(original)
    last, missing = head(model), _missing(forget, retain)
    # weights 0, so that no input changes the logit: it is the bias alone
    with torch.no_grad():
        last.weight[missing] = 0.0
        last.bias[missing] = NEVER
    return model


def _missing(forget: Samples, retain: Samples) -> torch.Tensor:
    """Return the classes of the forget set that the retain set lacks, ascending."""
    classes = forget.labels.unique()
    return classes[~torch.isin(classes, retain.labels)]
