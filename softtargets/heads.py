"""The head of a network: its last linear layer, whose outputs are the logits."""

import contextlib
from collections.abc import Iterable, Iterator

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


def last_layers(model: nn.Module, count: int) -> list[nn.Module]:
    """Return what holds the parameters of the last `count` linear and convolutional layers, and all that follows.

    The order is that of registration, and a network with fewer such layers is returned whole.

    >>> first, norm, second = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 8)
    >>> network = nn.Sequential(first, norm, second, nn.BatchNorm1d(8), nn.Linear(8, 2))
    >>> [type(layer).__name__ for layer in last_layers(network, 2)]
    ['Linear', 'BatchNorm1d', 'Linear']
    """
    owners = [module for module in model.modules() if any(True for _ in module.parameters(recurse=False))]
    # of a layer's own parameters: normalisation has none of two dimensions, and goes with the layer before it
    heavy = [i for i, owner in enumerate(owners) if any(p.dim() > 1 for p in owner.parameters(recurse=False))]
    return owners[heavy[-count] :] if len(heavy) > count else owners


@contextlib.contextmanager
def trained_alone(model: nn.Module, layers: Iterable[nn.Module]) -> Iterator[None]:
    """Freeze all parameters but those of `layers`, for as long as the context lasts.

    `requires_grad` is all that freezes: batch normalisation still updates its running statistics in training.

    >>> network = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    >>> with trained_alone(network, [network[1]]):
    ...     [parameter.requires_grad for parameter in network.parameters()]
    [False, False, True, True]
    """
    # the caller's model may have frozen parameters: their flags come back
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.requires_grad_(False)
    for layer in layers:
        for parameter in layer.parameters(recurse=False):
            parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter, flag in before.items():
            parameter.requires_grad_(flag)


def features(model: nn.Module, inputs: Float[Tensor, "n ..."] | Samples) -> Float[Tensor, "n width"]:
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
