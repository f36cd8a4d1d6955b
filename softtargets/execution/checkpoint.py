"""Weights that were made elsewhere, loaded into a network of this run or audit."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from softtargets.config.validation import naming
from softtargets.readers import checkpoints


def load_weights(network: nn.Module, weights: checkpoints.State | str | Path, setting: str) -> dict[str, Tensor]:
    """Load a state dict, or a file that holds one, into `network`; return it as it was loaded.

    Raises BadInput, which names `setting`, where the weights do not fit or are not finite.
    """
    with naming(setting, (Exception,)):  # what a network of the user's own does while it loads may raise any
        wanted = network.state_dict()
        if isinstance(weights, Mapping):
            state = checkpoints.fitted(weights, wanted)
        else:
            state = checkpoints.read_weights(Path(weights).expanduser(), wanted)
        checkpoints.require_finite(state)
        network.load_state_dict(state)
    return state


def load_start(network: nn.Module, file: str, setting: str) -> dict[str, Tensor]:
    """Return the weights in a file that a new network starts from; its head's only if they fit.

    The head is the last layer with weights: it has a row for each class, and other data have other classes. Raises
    BadInput, which names `setting`, where any other weights do not fit or are not finite.
    """
    with naming(setting, (Exception,)):
        wanted = network.state_dict()
        state = checkpoints.read_start(Path(file).expanduser(), wanted, _head_of(wanted))
        checkpoints.require_finite(state)
    return state


def _head_of(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of the last layer's tensors, in the order of a network's state."""
    last = list(state)[-1].rpartition(".")[0]
    return tuple(name for name in state if name.rpartition(".")[0] == last)


def started(build: Callable[[], nn.Module], state: Mapping[str, Tensor]) -> nn.Module:
    """Return a new network that starts from these weights; those that they lack are random."""
    network = build()
    network.load_state_dict(state, strict=False)
    return network
