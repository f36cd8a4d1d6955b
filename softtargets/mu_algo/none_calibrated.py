"""A temperature on the original: doing nothing, better calibrated."""

import copy

import torch
from torch import nn

from softtargets.fit import Fit, predict
from softtargets.heads import check_head, head
from softtargets.marks import algorithm
from softtargets.temperature import fitted_temperature
from softtargets.types import Samples


@algorithm(ignores_targets=True, has_no_loop=True, check_network=check_head)
def none_calibrated(
    original: nn.Module, forget: Samples, retain: Samples, fit: Fit, *, validation: Samples
) -> nn.Module:
    """Divide the original's logits by the temperature that fits the validation set (Guo et al. 2017, 1706.04599).

    A network that was trained for long is too sure of itself, above all on its training data; a temperature alone
    takes that off, and decides nothing anew. The head's weights and bias are divided by T, so that the result is a
    model like the original. Networks that do not end in a linear layer are refused before any work.

    It costs one forward pass over the validation set. Targets play no part.
    """
    model = copy.deepcopy(original)
    temperature = fitted_temperature(predict(model, validation), validation.labels)
    # z / T = (W / T) h + b / T: dividing the head's parameters divides the logits
    with torch.no_grad():
        for parameter in head(model).parameters():
            parameter.div_(temperature)
    return model
