"""Temperatures: a number by which a model's logits are divided so that its probabilities fit the labels best."""

import math

from jaxtyping import Float, Int64
from torch import Tensor

LEAST, MOST = 0.2, 5.0
"""Range of temperatures. A model that is right everywhere would ask for 0, one that guesses for infinity."""


def fitted_temperature(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """Return the T in [0.2, 5] under which softmax(z / T) fits the labels best (Guo et al. 2017, 1706.04599).

    Minimises the mean cross entropy in 1 / T, in which it is convex: Newton's method in float64 finds the zero of
    its derivative mean(⟨p, z⟩ - z_y), between bounds that close on it, to 1e-12 in 1 / T. Every run fits several
    temperatures, and the import of scipy.optimize alone would take longer than that.

    >>> import torch
    >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    >>> round(fitted_temperature(logits, torch.tensor([0, 0, 0, 0])), 2)  # right in 3 of 4: 2 / T = log 3
    1.82
    """
    z = logits.double()
    # z_y becomes 0, which changes no probability: the loss is then logsumexp(z / T) alone
    z = z - z.gather(1, labels[:, None])
    low, high, inverse = 1 / MOST, 1 / LEAST, 1.0
    # the slope grows with 1 / T: if it is positive at the lower bound or negative at the upper, that bound is best
    for bound in (low, high):
        if (_slope(z, bound)[0] >= 0) == (bound == low):
            return 1 / bound
    # more rounds than it can need: halving alone takes 43
    for _ in range(100):
        slope, curvature = _slope(z, inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        # where the curve is flat, a step of Newton's leaves the bounds: halve them instead
        newton = inverse - slope / curvature if curvature else math.inf
        step = newton if low < newton < high else (low + high) / 2
        if abs(step - inverse) <= 1e-12:
            break
        inverse = step
    return 1 / inverse


def _slope(z: Float[Tensor, "n k"], inverse: float) -> tuple[float, float]:
    """Return the first and second derivative of the mean loss in 1 / T; z is 0 at the labels."""
    # the derivatives of logsumexp(z b) in b: the mean of z under p, and its variance
    p = (z * inverse).softmax(1)
    mean = (p * z).sum(1)
    return mean.mean().item(), ((p * z * z).sum(1) - mean * mean).mean().item()
