"""Membership inference: can the forget set be told from samples that were never trained on?"""

from typing import NamedTuple

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


class Attack(NamedTuple):
    """One number of members, and of nonmembers: scores to learn from or to be asked about, or shares."""

    members: Float[Tensor, " m"] | float
    nonmembers: Float[Tensor, " n"] | float


def svc(learnt: Attack, asked: Attack) -> Attack:
    """Train a support vector machine on the scores of known members and nonmembers, and ask it about others.

    Returns the shares of asked members and nonmembers that it takes for members. C = 3 with an rbf kernel of width
    1 / dimension, as in the code of SalUn.
    """
    from sklearn.svm import SVC  # a second to import, which runs that do not ask for it should not pay

    scores, truth = torch.cat(list(learnt)), torch.cat([torch.ones(len(learnt[0])), torch.zeros(len(learnt[1]))])
    machine = SVC(C=3, gamma="auto", kernel="rbf").fit(scores[:, None].cpu().numpy(), truth.numpy())
    return Attack(*(float(machine.predict(part[:, None].cpu().numpy()).mean()) for part in asked))
