"""Losses between logits and targets, in float32 whatever the model computed in."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def cross_entropy(logits: Float[Tensor, "n k"], targets: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """Mean over the batch of -sum_k q_k log p_k, with p = softmax(logits) and q = targets.

    The gradient in the logits is (p - q) / n where a row of q sums to 1. Rows need not be non-negative:
    negative label smoothing and reflected targets are no distributions, and this is the loss for them.
    """
    return F.cross_entropy(logits.float(), targets)
