"""Membership inference: can the forget set be told from samples that were never trained on?"""

import torch
from jaxtyping import Float
from torch import Tensor


def auc(members: Float[Tensor, " m"], nonmembers: Float[Tensor, " n"]) -> float:
    """Probability that a member scores higher than a nonmember, ties counted half: Mann-Whitney U / (m n).

    0.5 where scores tell nothing. Raises ValueError on scores that are not numbers.
    """
    scores = torch.cat([members, nonmembers]).double()
    if scores.isnan().any():
        raise ValueError("scores hold NaN, which has no rank")
    _, inverse, count = scores.unique(return_inverse=True, return_counts=True)
    ranks = (count.cumsum(0) - (count.double() - 1) / 2)[inverse]  # of equal scores the mean rank
    m, n = len(members), len(nonmembers)
    return ((ranks[:m].sum() - m * (m + 1) / 2) / (m * n)).item()
