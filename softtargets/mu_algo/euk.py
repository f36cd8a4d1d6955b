"""EU-k: exact unlearning of the last k layers."""

import copy
from collections.abc import Callable

from torch import nn

from softtargets.fit import Fit, batch_norms
from softtargets.heads import last_layers, trained_alone
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.ranges import Count
from softtargets.types import Samples


@algorithm(ignores_forget_targets=True, starts_afresh=True)
def euk(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    initialise: Callable[[], nn.Module],
    layers: Count,
) -> nn.Module:
    """Train the last k layers anew on the retain set, with the others frozen (Goel et al. 2022, arXiv 2201.06640).

    Minimises  L(θ) = CE_r(θ)  over the parameters of the last k layers, which start as those of a new model by the
    architecture's own builder; the others stay those of the original θ0. An epoch is a pass over the retain set.

    k → layers, q → retain.targets; layers count as in `cfk`, from whose step this differs by the start alone. A
    network of fewer layers is trained whole, which is retrain on the targets. The running statistics of the last
    layers' batch normalisation start anew too, except under `unlearn.freeze_norm`.

    Differs from the authors' code: there weights are drawn from N(0, 2 / fan_in) and biases are 0, whatever the
    network's own initialisation, and batch normalisation is trained on from where it was.
    """
    model = copy.deepcopy(original)
    held = batch_norms(model) if fit.freeze_norm else []
    for layer, fresh in zip(last_layers(model, layers), last_layers(initialise(), layers), strict=True):
        own = dict(fresh.named_parameters(recurse=False)) if layer in held else _own_state(fresh)
        layer.load_state_dict({**layer.state_dict(), **own})

    def loss(retain: Samples):
        return cross_entropy(model(retain.inputs), retain.targets)

    with trained_alone(model, last_layers(model, layers)):
        return fit(model, loss, retain)


def _own_state(layer: nn.Module) -> dict:
    """Return a layer's own parameters and buffers: its children are layers of the list themselves."""
    return {name: tensor for name, tensor in layer.state_dict().items() if "." not in name}
