"""CF-k: catastrophic forgetting of the last k layers."""

import copy

from torch import nn

from softtargets.fit import Fit
from softtargets.heads import last_layers, trained_alone
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.ranges import Count
from softtargets.types import Samples


@algorithm(ignores_forget_targets=True)
def cfk(original: nn.Module, forget: Samples, retain: Samples, fit: Fit, *, layers: Count) -> nn.Module:
    """Fine-tune the last k layers on the retain set, with the others frozen (Goel et al. 2022, arXiv 2201.06640).

    Minimises  L(θ) = CE_r(θ)  over the parameters of the last k layers, from the original θ0; an epoch is a pass
    over the retain set.

    k → layers, q → retain.targets. Linear and convolutional layers count, in the order of registration; what
    normalises them goes with them. A network of fewer layers is trained whole, which is finetune. The forget set
    is not used, so its targets play no part.

    Compared with the authors' code on one network and one batch: the same layers are trained, and the first step
    agrees to 4e-6 of its length. Differs from the code in DeepUnlearn (arXiv 2410.01276): there k counts the
    blocks of a residual network, to which its classifier is added, and the rate falls to a tenth after half, .8
    and .9 of the epochs; here the schedule of the run decides.
    """
    model = copy.deepcopy(original)

    def loss(retain: Samples):
        return cross_entropy(model(retain.inputs), retain.targets)

    with trained_alone(model, last_layers(model, layers)):
        return fit(model, loss, retain)
