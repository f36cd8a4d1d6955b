"""Paired statistics of two arms over run seeds; a difference is `one` less `other`.

What is measured is a distance, so that less is better and a positive difference speaks for `other`.
"""

import dataclasses
import functools
import math
import warnings
from statistics import fmean

import numpy
from jaxtyping import Float
from scipy import optimize, stats

LEVEL = 0.05
POWER = 0.8
RESAMPLES = 9999
EPSILON = float(numpy.finfo(float).eps)
Values = Float[numpy.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class Paired:
    """How two arms differ over n seeds. None for what n pairs cannot tell."""

    n: int
    mean: float | None
    """Of the differences."""
    sd: float | None
    low: float | None
    high: float | None
    """95 % BCa bootstrap interval of the mean difference."""
    t_p: float | None
    """Two-sided, paired t test."""
    wilcoxon_p: float | None
    """Two-sided, signed-rank test; equal pairs are ranked and then dropped (Pratt 1959). None if all are equal."""
    ranks: float
    """Sum of the signed ranks: its sign is the direction of that test."""
    dz: float | None
    """mean / sd, Hedges-corrected for few pairs."""
    cliff: float
    """Paired Cliff's δ: share of pairs where `one` is larger less share where it is smaller."""
    wins: float
    """Share of pairs won by `other`, equal ones counted half."""
    equivalence_p: float | None
    """Of two one-sided t tests: small where the mean difference lies within ± margin."""
    detectable: float | None
    """Mean difference that n pairs with this sd show with a probability of 80 % at the 5 % level."""


def compare(one: Values, other: Values, margin: float) -> Paired:
    """Compare two arms by the same seeds; infinity is a run that diverged, and loses against any that did not.

    Means, intervals, t tests and what builds on them are over the pairs in which neither diverged.
    """
    with numpy.errstate(invalid="ignore"):
        difference = numpy.where(one == other, 0.0, one - other)
    finite = difference[numpy.isfinite(one) & numpy.isfinite(other)]
    signs = numpy.sign(difference)
    return Paired(
        n=len(difference),
        mean=float(finite.mean()) if len(finite) else None,
        wilcoxon_p=signed_rank(difference),
        ranks=float((signs * stats.rankdata(numpy.abs(_ranked(difference)))).sum()),
        cliff=float(signs.mean()),
        wins=float((signs.mean() + 1) / 2),
        **_moments(finite, margin, rounding=4 * EPSILON * _largest(one, other)),
    )


def _largest(*columns: Values) -> float:
    values = numpy.abs(numpy.concatenate(columns))
    return float(values[numpy.isfinite(values)].max(initial=0.0))


def _moments(difference: Values, margin: float, rounding: float) -> dict[str, float | None]:
    n = len(difference)
    if n < 2:
        return dict.fromkeys(("sd", "low", "high", "t_p", "dz", "equivalence_p", "detectable"))
    sd, mean = float(difference.std(ddof=1)), float(difference.mean())
    if not sd or numpy.ptp(difference) <= rounding:  # every pair says the same
        within = 0.0 if abs(mean) < margin else 1.0
        exact = {"sd": 0.0, "low": mean, "high": mean, "equivalence_p": within, "detectable": 0.0}
        return exact | {"t_p": None, "dz": None}
    low, high = interval(difference)
    return {
        "sd": sd,
        "low": low,
        "high": high,
        "t_p": float(stats.ttest_1samp(difference, 0).pvalue),
        "dz": mean / sd * hedges(n) if n > 2 else None,  # the correction of two pairs is 0
        "equivalence_p": equivalence(difference, margin),
        "detectable": detectable(n) * sd,
    }


def interval(difference: Values) -> tuple[float, float] | tuple[None, None]:
    """95 % BCa bootstrap interval of the mean (Efron 1987), the same for the same values.

    None where values differ by nothing but rounding, of which it cannot be made.
    """
    with warnings.catch_warnings(), numpy.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (difference,), numpy.mean, n_resamples=RESAMPLES, method="BCa", rng=numpy.random.default_rng(0)
        ).confidence_interval
    edges = float(found.low), float(found.high)
    return edges if all(map(math.isfinite, edges)) else (None, None)


def signed_rank(difference: Values) -> float | None:
    """Two-sided Wilcoxon signed-rank p; infinite differences have the highest rank. None if all are zero."""
    if not difference.any():
        return None
    return float(stats.wilcoxon(_ranked(difference), zero_method="pratt").pvalue)


def _ranked(difference: Values) -> Values:
    """Replace infinite differences by finite ones of the highest rank."""
    finite = numpy.abs(difference[numpy.isfinite(difference)])
    beyond = 2 * finite.max(initial=0.0) + 1
    return numpy.clip(difference, -beyond, beyond)


def hedges(n: int) -> float:
    """Correct a standardised mean difference of n pairs for its bias (Hedges 1981)."""
    return 1 - 3 / (4 * (n - 1) - 1)


def equivalence(difference: Values, margin: float) -> float:
    """Two one-sided tests (Schuirmann 1987): p that the mean lies within ± margin; the larger of the two."""
    above = stats.ttest_1samp(difference, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(difference, margin, alternative="less").pvalue
    return float(max(above, below))


@functools.cache
def detectable(n: int, level: float = LEVEL) -> float:
    """Least dz that a two-sided paired t test of n pairs shows at `level` with a probability of 80 %."""
    return float(optimize.brentq(lambda dz: power(n, dz, level) - POWER, 1e-6, 1e3))


def power(n: int, dz: float, level: float = LEVEL) -> float:
    """Probability that a two-sided paired t test of n pairs is significant where the true effect is dz > 0."""
    edge = stats.t.isf(level / 2, n - 1)
    return float(stats.nct.sf(edge, n - 1, dz * math.sqrt(n)))


def holm(p: list[float | None]) -> list[float | None]:
    """Adjust p values for their number (Holm 1979); None is no test and stays so."""
    asked = sorted((value, place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(asked):
        highest = max(highest, min(1.0, (len(asked) - rank) * value))
        adjusted[place] = highest
    return adjusted


def mean_of(values: list[float | None]) -> float | None:
    """Return the mean of what is there; None for nothing."""
    there = [value for value in values if value is not None]
    return fmean(there) if there else None
