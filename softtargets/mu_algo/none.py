"""Doing nothing: the original, taken as the unlearned model."""

import copy

from torch import nn

from softtargets.fit import Fit
from softtargets.marks import algorithm
from softtargets.types import Samples


@algorithm(ignores_targets=True, has_no_loop=True)
def none(original: nn.Module, forget: Samples, retain: Samples, fit: Fit) -> nn.Module:
    """Return the original as it is: what every method has to beat.

    It costs nothing. No set is used, so targets play no part.
    """
    # a copy: what is returned may be changed later, and the original may not
    return copy.deepcopy(original)
