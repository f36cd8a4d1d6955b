"""Convolution transpose: kernels are turned over, and the network is repaired."""

import copy

import torch
from torch import nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.types import Samples


def _check(model: nn.Module, batch: Samples) -> None:
    if not _kernels(model):
        raise ValueError("needs a network with square convolutions larger than 1x1, and this one has none")


@algorithm(ignores_forget_targets=True, check_network=_check)
def ct(original: nn.Module, forget: Samples, retain: Samples, fit: Fit) -> nn.Module:
    """Transpose the kernels of all convolutions, then fine-tune on the retain set.

    Convolution transpose, of the NeurIPS 2023 unlearning challenge (`kgltop5` in DeepUnlearn, Cadet et al. 2024,
    arXiv 2410.01276).  W[o, i, h, w] ← W[o, i, w, h]  in every convolution of θ0, and from there on
    L(θ) = CE_r(θ)  is minimised; an epoch is a pass over the retain set.

    q → retain.targets. The forget set is not used, so its targets play no part. Kernels that are not square stay
    as they are, and networks without a square one larger than 1x1 are refused before any work.

    Compared with DeepUnlearn's code on one network: equal after the first step. Differs from it: there the rate
    falls to 0 by half a cosine over the epochs, where here the schedule of the run decides.
    """
    model = copy.deepcopy(original)
    with torch.no_grad():
        for kernel in _kernels(model):
            kernel.copy_(kernel.transpose(2, 3).clone())

    def loss(retain: Samples):
        return cross_entropy(model(retain.inputs), retain.targets)

    return fit(model, loss, retain)


def _kernels(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights whose transposition changes something, each once: modules may share them."""
    weights = [layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    return [w for w in dict.fromkeys(weights) if w.shape[2] == w.shape[3] > 1]
