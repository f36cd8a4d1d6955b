"""Temperatures: a number by which a model's logits are divided so that its probabilities fit the labels best."""

import math

import torch.nn.functional as F
from jaxtyping import Float, Int64
from scipy.optimize import minimize_scalar
from torch import Tensor

LEAST, MOST = 0.2, 5.0
"""Range of temperatures. A model that is right everywhere would ask for 0, one that guesses for infinity."""


def fitted_temperature(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """Return the T in [0.2, 5] under which softmax(z / T) fits the labels best (Guo et al. 2017, 1706.04599).

    Minimises the mean cross entropy in log T, in float64; it is convex in 1/T, so there is one minimum.
    """
    z = logits.double()

    def loss(log_t: float) -> float:
        return F.cross_entropy(z / math.exp(log_t), labels).item()

    best = minimize_scalar(
        loss, bounds=(math.log(LEAST), math.log(MOST)), method="bounded", options={"xatol": 1e-9}
    )
    # the search stays inside its bounds: where the best is an end, it stops short of it
    return min((LEAST, math.exp(best.x), MOST), key=lambda t: loss(math.log(t)))
