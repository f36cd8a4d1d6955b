"""Boundary shrink: forget samples move to the nearest other class."""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.ranges import Weight
from softtargets.types import Samples


@algorithm(ignores_targets=True, check_network=lambda model, batch: nearest_class(model.eval(), batch, 0.0))
def boundary_shrink(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    epsilon: Weight,
) -> nn.Module:
    """Give each forget sample to the other class whose region is nearest (Chen et al. 2023, arXiv 2303.11570).

    Minimises  L(θ) = CE_f(e_n; θ),  n = argmax over k ≠ y of p_k(x + ε sign(∇_x CE(e_y, p(x; θ0))); θ0), from the
    original θ0; an epoch is a pass over the forget set.

    ε → epsilon, in units of the normalised inputs. The nearest class is computed once, at θ0; y is left out,
    since a weak attack leaves the prediction where it was. The method makes its own targets, hard ones by its
    nature (a region is one class's), so that those of the run play no part, and the retain set is not used.
    """
    model = copy.deepcopy(original)

    def loss(forget: Samples):
        return cross_entropy(model(forget.inputs), forget.targets)

    return fit(model, loss, forget.retarget(nearest_class(original, forget, epsilon)))


def nearest_class(model: nn.Module, samples: Samples, epsilon: float) -> Float[Tensor, "n k"]:
    """Return the one-hot of the class, other than the label, that is likeliest after an FGSM step.

    FGSM: the fast gradient sign method (Goodfellow et al. 2015, arXiv 1412.6572), here with step size `epsilon`.
    """
    nearest = []
    for part in torch.arange(len(samples)).split(256):
        batch = samples.take(part)
        inputs = batch.inputs.clone().requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(model(inputs), batch.labels), inputs)
        with torch.no_grad():
            logits = model(batch.inputs + epsilon * slope.sign())
        # the label's logit is -inf, so that the argmax is another class
        nearest.append(logits.scatter(1, batch.labels[:, None], -torch.inf).argmax(1))
    return F.one_hot(torch.cat(nearest), samples.targets.shape[1]).float()
