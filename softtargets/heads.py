"""The head of a network: its last linear layer, whose outputs are the logits."""

import torch
from torch import nn

from softtargets.types import Samples


def head(model: nn.Module) -> nn.Linear:
    """Return the last linear layer of a network.

    Raises ValueError where there is none.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("needs a network that ends in a linear layer, and this one has none")
    return linear[-1]


def check_head(model: nn.Module, batch: Samples) -> None:
    """Raise ValueError unless the logits of a batch are what the head returns, and nothing comes after it."""
    outputs = []
    hook = head(model).register_forward_hook(lambda layer, given, out: outputs.append(out))
    try:
        with torch.no_grad():
            logits = model.eval()(batch.inputs)
    finally:
        hook.remove()
    if not outputs or not torch.equal(outputs[-1], logits):
        raise ValueError("needs a network that ends in a linear layer, and this one goes on after its last")
