"""Losses between logits and targets, in float32 whatever precision the model computed in; values are in nats."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from softtargets.devices import waits


def cross_entropy(
    logits: Float[Tensor, "n k"], targets: Float[Tensor, "n k"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Return the mean over the batch of -sum_k q_k log p_k, with p = softmax(logits) and q = targets.

    With label smoothing a, q is (1 - a) targets + a / k (Szegedy et al. 2016); a → smoothing, from 0 to 1.

    The gradient in the logits is (p - q) / n where a row of q sums to 1. Rows need not be non-negative:
    negative label smoothing and reflected targets are no distributions, and this is the loss for them.

    >>> import torch
    >>> cross_entropy(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """
    # torch takes rows of probabilities as they are: entries below 0 or above 1 are not refused
    return F.cross_entropy(logits.float(), targets, label_smoothing=smoothing)


def kl_divergence(logits: Float[Tensor, "n k"], targets: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """Return the mean over the batch of KL(q‖p) = sum_k q_k log(q_k / p_k), p = softmax(logits), q = targets.

    Its gradient in the logits is that of the cross entropy; it is less by the entropy of q, and 0 at p = q. Raises
    ValueError where q is no distribution: the logarithm of a negative entry would be dropped in silence.

    >>> import torch
    >>> kl_divergence(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]]))
    tensor(0.)
    """
    # torch would take log q of the positive entries and drop the others without a word
    # looked at on a processor alone: elsewhere a look waits for the device, and a run refuses such targets before
    if not waits(targets.device) and (targets < 0).any():
        raise ValueError("targets have negative entries: no distributions, so use the cross entropy, not KL")
    # torch names the first argument "input", in logs: it is p, so this is KL(q‖p) and not KL(p‖q).
    # "batchmean" divides by n; "mean" would divide by n · k
    return F.kl_div(logits.float().log_softmax(1), targets, reduction="batchmean")
