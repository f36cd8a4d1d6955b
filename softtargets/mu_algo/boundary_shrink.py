"""Boundary shrink: forget samples move to the nearest other class."""

import copy
import itertools

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.ranges import Weight
from softtargets.types import Samples


def _check(model: nn.Module, batch: Samples) -> None:
    nearest_class(model.eval(), batch, 0.0, value_range(batch))


@algorithm(ignores_targets=True, check_network=_check)
def boundary_shrink(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    epsilon: Weight,
) -> nn.Module:
    """Give each forget sample to the other class whose region is nearest (Chen et al. 2023, arXiv 2303.11570).

    Minimises  L(θ) = CE_f(e_n; θ),  n = argmax over k ≠ y of p_k(x'; θ0),  from the original θ0, with

        x' = x + ε sign(∇_x CE(e_y, p(x; θ0))),  clamped to the range of the inputs;

    an epoch is a pass over the forget set.

    ε → epsilon, in units of the normalised inputs. The range is that of each channel over forget and retain set:
    inputs are normalised, and 0 and 255 are known no more. The nearest class is computed once, at θ0. The method
    makes its own targets, hard ones by its nature (a region is one class's), so that those of the run play no
    part; of the retain set only the range is used.

    Differs from the authors' code: there ε is in units of pixels from 0 to 1, x' is rounded to whole pixel values,
    and n may be y itself, where the attack leaves the prediction as it was.
    """
    model = copy.deepcopy(original)

    def loss(forget: Samples):
        return cross_entropy(model(forget.inputs), forget.targets)

    nearest = nearest_class(original, forget, epsilon, value_range(forget, retain))
    return fit(model, loss, forget.retarget(nearest))


Range = tuple[Float[Tensor, "1 c ..."], Float[Tensor, "1 c ..."]]
"""Least and greatest value of each channel."""


def value_range(*sets: Samples) -> Range:
    """Return the range of each channel, the first dimension of an input, over all samples.

    >>> samples = Samples(torch.tensor([[0.0, 3.0], [2.0, 1.0]]), torch.tensor([0, 1]), torch.eye(2))
    >>> value_range(samples)
    (tensor([[0., 1.]]), tensor([[2., 3.]]))
    """
    low, high = [], []
    # part by part: all at once, they would be a copy of all images
    for part in itertools.chain.from_iterable(samples.split(256) for samples in sets):
        over = (0, *range(2, part.dim()))
        low.append(part.amin(over, keepdim=True))
        high.append(part.amax(over, keepdim=True))
    return torch.stack(low).amin(0), torch.stack(high).amax(0)


def nearest_class(model: nn.Module, samples: Samples, epsilon: float, limits: Range) -> Float[Tensor, "n k"]:
    """Return the one-hot of the class, other than the label, that is likeliest after an FGSM step within `limits`.

    FGSM: the fast gradient sign method (Goodfellow et al. 2015, arXiv 1412.6572), here with step size `epsilon`.
    """
    nearest = []
    for part in torch.arange(len(samples)).split(256):
        batch = samples.take(part)
        slope, _ = uphill(model, batch.inputs, batch.labels)
        with torch.no_grad():
            # beyond the range there are no images: an attack there says nothing of where regions of them meet
            logits = model((batch.inputs + epsilon * slope.sign()).clamp(*limits))
        # the label's logit is -inf, so that the argmax is another class
        nearest.append(logits.scatter(1, batch.labels[:, None], -torch.inf).argmax(1))
    return F.one_hot(torch.cat(nearest), samples.targets.shape[1]).float()


def uphill(
    model: nn.Module, inputs: Tensor, labels: Tensor
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "n k"]]:
    """Return vectors in the direction in which each sample's cross entropy grows fastest, and the logits.

    They are the slope of m = log Σ_(k ≠ y) exp z_k - z_y. With CE = log(1 + exp m), that of CE is the same times
    p(not y), which rounds to 0 where a network is sure, and leaves no direction.
    """
    inputs = inputs.clone().requires_grad_()
    logits = model(inputs).float()
    others = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    (slope,) = torch.autograd.grad((others - logits.gather(1, labels[:, None])[:, 0]).sum(), inputs)
    return slope, logits.detach()
