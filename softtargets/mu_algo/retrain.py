"""Retraining from scratch within the budget."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import nn

from softtargets.fit import Fit
from softtargets.marks import algorithm
from softtargets.types import Samples


@algorithm(ignores_targets=True, starts_afresh=True, new_network=True, smooths_labels=True)
def retrain(
    original: nn.Module, forget: Samples, retain: Samples, fit: Fit, *, initialise: Callable[[], nn.Module]
) -> nn.Module:
    """Train a new model on the retain set's labels, for as long as the budget lasts.

    Minimises  L(θ) = CE_r(θ)  with the labels, smoothed by `unlearn.label_smoothing`, from an initialisation by
    the architecture's own builder that neither the original nor the retrained model has; an epoch is a pass over
    the retain set. Every method that costs as much has to beat it: it forgets exactly, and lacks only training.

    The original and the forget set are not used, and targets play no part.
    """
    # never the original with its layers reset: what a builder sets beside layers would stay trained
    model = initialise()

    def loss(retain: Samples):
        return F.cross_entropy(model(retain.inputs), retain.labels, label_smoothing=fit.label_smoothing)

    return fit(model, loss, retain)
