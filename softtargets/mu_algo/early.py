"""The original as it was earlier in its training."""

import copy

from torch import nn

from softtargets.fit import Fit
from softtargets.marks import algorithm
from softtargets.types import Samples


@algorithm(ignores_targets=True, has_no_loop=True)
def early(
    original: nn.Module, forget: Samples, retain: Samples, fit: Fit, *, early_original: nn.Module
) -> nn.Module:
    """Return the original's checkpoint, one an epoch, under which the validation labels are most likely.

    A model that stops before it memorises has less to forget, and it was trained on everything: what it gains over
    the original, no unlearning explains. It costs nothing after the request. Targets play no part.
    """
    # a copy: what is returned may be changed later, and the checkpoint may not
    return copy.deepcopy(early_original)
