"""Membership inference: how well scores separate the forget set from samples that were never trained on."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


def auc(members: Float[Tensor, " m"], nonmembers: Float[Tensor, " n"]) -> float:
    """Return the probability that a member scores higher than a nonmember: Mann-Whitney U / (m n).

    Ties count half. It is the area under the ROC curve (AUC), from 0 to 1; 0.5 is chance. Raises ValueError for
    scores that are NaN.
    """
    scores = torch.cat([members, nonmembers]).double()
    if scores.isnan().any():
        raise ValueError("scores hold NaN, which has no rank")
    _, inverse, count = scores.unique(return_inverse=True, return_counts=True)
    # the last rank of each group of equal scores, moved back to the group's mean rank; ranks start at 1
    ranks = (count.cumsum(0) - (count.double() - 1) / 2)[inverse]
    m, n = len(members), len(nonmembers)
    # U is the members' rank sum less its least value, 1 + 2 + … + m
    return ((ranks[:m].sum() - m * (m + 1) / 2) / (m * n)).item()


class Attack(NamedTuple):
    """Scores of members and of nonmembers, or the share of each that an attack takes for members."""

    members: Float[Tensor, " m"] | float
    nonmembers: Float[Tensor, " n"] | float


def svc(training: Attack, attacked: Attack) -> Attack:
    """Train a support vector machine on the scores `training`, and classify the scores `attacked`.

    Returns the shares of attacked members and nonmembers that it takes for members, from 0 to 1. C = 3 with a
    radial kernel of γ = 1 / dimension, as in the code of SalUn (Fan et al. 2024, arXiv 2310.12508).
    """
    # here and not above: the import takes a second, which a run without this attack does not need
    from sklearn.svm import SVC

    scores, truth = (
        torch.cat(list(training)),
        torch.cat([torch.ones(len(training[0])), torch.zeros(len(training[1]))]),
    )
    # gamma="auto" is 1 / dimension; [:, None] makes of each score a row of one dimension
    machine = SVC(C=3, gamma="auto", kernel="rbf").fit(scores[:, None].cpu().numpy(), truth.numpy())
    return Attack(*(float(machine.predict(part[:, None].cpu().numpy()).mean()) for part in attacked))
