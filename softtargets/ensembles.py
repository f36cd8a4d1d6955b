"""Ensembles: networks whose mean prediction is one model's."""

import copy
import math
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Networks that answer together.

    >>> sure, unsure = nn.Linear(1, 2), nn.Linear(1, 2)
    >>> _ = [nn.init.zeros_(one) for network in (sure, unsure) for one in network.parameters()]
    >>> _ = sure.bias.data.copy_(torch.tensor([3.0, 1.0]).log())
    >>> Ensemble([sure, unsure])(torch.zeros(1, 1)).exp()  # the mean of 3/4 : 1/4 and 1/2 : 1/2
    tensor([[0.6250, 0.3750]], grad_fn=<ExpBackward0>)
    """

    def __init__(self, networks: Iterable[nn.Module]):
        """Take the networks, each from inputs to logits (n, k)."""
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, inputs: Float[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Return the logarithm of the networks' mean probabilities, as logits."""
        logs = [network(inputs).float().log_softmax(1) for network in self.networks]
        return torch.stack(logs).logsumexp(0) - math.log(len(logs))


def joined_states(states: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the state dict of the ensemble of the networks that have these.

    >>> networks = [nn.Linear(1, 2), nn.Linear(1, 2)]
    >>> joined_states(one.state_dict() for one in networks).keys() == Ensemble(networks).state_dict().keys()
    True
    """
    return {f"networks.{i}.{name}": tensor for i, state in enumerate(states) for name, tensor in state.items()}


def networks_of(model: nn.Module, count: int = 1) -> list[nn.Module]:
    """Return the networks of an ensemble; of any other model, itself `count` times."""
    return list(model.networks) if isinstance(model, Ensemble) else [model] * count


def replaced(model: nn.Module, others: dict[int, nn.Module], count: int) -> Ensemble:
    """Return a copy of an ensemble of `count` networks, in eval mode, with others at these places."""
    kept = networks_of(model, count)
    return Ensemble([others[i] if i in others else copy.deepcopy(kept[i]) for i in range(count)]).eval()
