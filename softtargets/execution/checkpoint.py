"""Weights that were made elsewhere, loaded into a network of this run or audit."""

from collections.abc import Mapping
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
