"""The head of a network: its last linear layer, whose outputs are the logits."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from softtargets.types import Samples


def head(model: nn.Module) -> nn.Linear:
    """Return the last linear layer of a network.

    Raises ValueError where there is none.

    >>> head(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    Linear(in_features=8, out_features=2, bias=True)
    """
    # `modules` goes by the order of registration, not of calls: `check_head` tests that they agree
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("needs a network that ends in a linear layer, and this one has none")
    return linear[-1]


def features(model: nn.Module, inputs: Float[Tensor, "n ..."]) -> Float[Tensor, "n width"]:
    """Return what the head of a network in evaluation mode reads.

    >>> features(nn.Sequential(nn.ReLU(), nn.Linear(2, 3)), torch.tensor([[1.0, -1.0]]))
    tensor([[1., 0.]])
    """
    rows = []
    hook = head(model).register_forward_pre_hook(lambda layer, inputs: rows.append(inputs[0].float()))
    try:
        with torch.no_grad():
            for batch in inputs.split(256):
                model(batch)
    finally:
        hook.remove()
    return torch.cat(rows)


def check_head(model: nn.Module, batch: Samples) -> None:
    """Raise ValueError unless the logits of a batch are what the head returns, and nothing comes after it.

    >>> batch = Samples(torch.zeros(1, 4), labels=torch.tensor([0]), targets=torch.eye(2)[:1])
    >>> check_head(nn.Linear(4, 2), batch)
    >>> check_head(nn.Sequential(nn.Linear(4, 2), nn.Softmax(1)), batch)
    Traceback (most recent call last):
    ValueError: needs a network that ends in a linear layer, and this one goes on after its last
    """
    outputs = []
    hook = head(model).register_forward_hook(lambda layer, inputs, output: outputs.append(output))
    try:
        with torch.no_grad():
            logits = model.eval()(batch.inputs)
    finally:
        hook.remove()
    # equal to the last bit: anything after the head, even a scale of 1.0001, is seen
    if not outputs or not torch.equal(outputs[-1], logits):
        raise ValueError("needs a network that ends in a linear layer, and this one goes on after its last")
