"""Paired statistics of two arms over run seeds; a difference is `one` minus `other`.

Values are distances: less is better, and a positive difference is in favour of `other`.
"""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable
from statistics import fmean

import numpy
from jaxtyping import Float, Int
from scipy import optimize, stats

LEVEL = 0.05
POWER = 0.8
LEAST = 5
"""Pairs below which there is no verdict, interval, equivalence or detectable difference."""
LARGEST = 1e150
"""Difference beyond which a mean and what builds on it are not computed."""
FEW = 13
"""Largest number of values, with ties or zeros, for which a signed-rank test tries all signs."""
EPSILON = float(numpy.finfo(float).eps)
Values = Float[numpy.ndarray, " n"]
Cells = Int[numpy.ndarray, "n 2"]


@dataclasses.dataclass(frozen=True)
class Paired:
    """How two arms differ over n seeds. None for what the pairs cannot show."""

    n: int
    measured: int
    """Pairs in which neither run diverged."""
    against_ranks: bool
    """Whether runs diverged, and the mean over measured pairs does not point where the ranks of all n pairs do."""
    mean: float | None
    """Of the differences of measured pairs, as are the next three and the t test."""
    sd: float | None
    low: float | None
    high: float | None
    """95 % t interval of the mean difference. None below `LEAST` pairs, as the last two."""
    lower: float | None
    upper: float | None
    """One-sided 95 % bounds of the mean difference, each by itself."""
    t_p: float | None
    """Two-sided t test of that mean, by the error that the design of the pairs has."""
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
    """Of two one-sided t tests: small where the mean difference is within ± margin. None where a run diverged."""
    detectable: float | None
    """Mean difference that the measured pairs show with a probability of 80 % at the 5 % level, given this sd."""

    @property
    def by_ranks(self) -> bool:
        """Return whether runs diverged, which have a rank and no value, or all differences are equal."""
        return self.lost or self.sd == 0

    @property
    def p(self) -> float | None:
        """Return what direction is judged by: the t test, or where that says nothing the signed ranks."""
        return self.wilcoxon_p if self.by_ranks else self.t_p

    @property
    def ahead(self) -> float | None:
        """Return the statistic that `p` is of: its sign is the direction, positive where `other` is ahead."""
        return self.ranks if self.by_ranks else self.mean

    @property
    def lost(self) -> bool:
        """Return whether a run diverged in any of the n pairs."""
        return self.measured < self.n


def compare(one: Values, other: Values, margin: float, cells: Cells | None = None) -> Paired:
    """Compare two arms by the same seeds; infinity is a run that diverged, and loses against any that did not.

    A size (mean, interval, t test and what builds on them) is of the pairs in which neither diverged. Where a run
    diverged, it is given only if `LEAST` such pairs are left and their mean points where the signed ranks do.
    `cells` (n, 2) says of which forget set and which seed each pair is, where these repeat: then pairs are not
    independent, the error is that of `crossed`, and there are no signed ranks.
    """
    with numpy.errstate(invalid="ignore"):
        difference = numpy.where(one == other, 0.0, one - other)
    finite = difference[numpy.isfinite(one) & numpy.isfinite(other)]
    signs = numpy.sign(difference)
    ranks = float((signs * stats.rankdata(numpy.abs(_ranked(difference)))).sum())
    lost = len(finite) < len(difference)
    against = bool(lost and len(finite) and ranks and numpy.sign(finite.mean()) != numpy.sign(ranks))
    withheld = lost and (len(finite) < LEAST or against)
    error = independent if cells is None else functools.partial(crossed, cells=cells)
    rounding = 4 * EPSILON * _largest(one, other)
    size = _moments(finite[:0] if withheld or (lost and cells is not None) else finite, margin, rounding, error)
    if lost:
        size["equivalence_p"] = None  # pairs that are left prove nothing of runs that diverged
    return Paired(
        n=len(difference),
        measured=len(finite),
        against_ranks=against,
        wilcoxon_p=signed_rank(difference) if cells is None else None,
        ranks=ranks,
        cliff=float(signs.mean()),
        wins=float((signs.mean() + 1) / 2),
        **size,
    )


def _largest(*columns: Values) -> float:
    values = numpy.abs(numpy.concatenate(columns))
    return float(values[numpy.isfinite(values)].max(initial=0.0))


def _moments(
    difference: Values, margin: float, rounding: float, error: Callable[[Values], "Error"]
) -> dict[str, float | None]:
    n, largest = len(difference), float(numpy.abs(difference).max(initial=0.0))
    names = ("mean", "sd", "low", "high", "lower", "upper", "t_p", "dz", "equivalence_p", "detectable")
    size = dict.fromkeys(names)
    if largest > LARGEST:  # no float holds the squares
        return size
    if n:
        size["mean"] = mean = float(difference.mean())
    if n < 2:
        return size
    sd = float(difference.std(ddof=1))
    if not sd or numpy.ptp(difference) <= rounding:  # every pair says the same
        within = 0.0 if abs(mean) < margin else 1.0
        exact = dict.fromkeys(("low", "high", "lower", "upper"), mean) | {
            "equivalence_p": within,
            "detectable": 0.0,
        }
        return size | {"sd": 0.0} | (exact if n >= LEAST else {})
    spread = error(difference)
    size |= {"sd": sd, "t_p": spread.two_sided(mean)}
    size["dz"] = mean / sd * hedges(n) if n > 2 else None  # the correction of two pairs is 0
    if n >= LEAST:
        size["low"], size["high"] = spread.interval(mean)
        size["lower"], size["upper"] = spread.interval(mean, 2 * LEVEL)
        size |= {"equivalence_p": spread.within(mean, margin), "detectable": spread.detectable()}
    return size


@dataclasses.dataclass(frozen=True)
class Error:
    """The standard error of a mean, and the degrees of freedom that it has."""

    se: float
    df: float

    def two_sided(self, mean: float) -> float:
        """Return the p of a two-sided t test against 0."""
        return float(2 * stats.t.sf(abs(mean) / self.se, self.df))

    def interval(self, mean: float, level: float = LEVEL) -> tuple[float, float]:
        """Return the two-sided t interval of a mean; of `level` .05 that of 95 %."""
        half = float(stats.t.isf(level / 2, self.df)) * self.se
        return mean - half, mean + half

    def within(self, mean: float, margin: float) -> float:
        """Return the larger p of two one-sided tests (Schuirmann 1987) that the mean lies within ± margin."""
        return float(max(stats.t.sf((margin + side * mean) / self.se, self.df) for side in (1, -1)))

    def detectable(self) -> float:
        """Return the least mean that a two-sided t test shows at 5 % with a probability of 80 %."""
        return _noncentrality(self.df) * self.se


def independent(difference: Values) -> Error:
    """Return the error of a mean of independent differences: sd / √n, with n - 1 degrees of freedom."""
    n = len(difference)
    return Error(float(difference.std(ddof=1)) / math.sqrt(n), float(n - 1))


def crossed(difference: Values, cells: Cells) -> Error:
    """Return the error of a mean over k forget sets × m seeds, so that it holds for other sets and other seeds.

    Two-way analysis of variance without replication: V = max(MS_a + MS_b - MS_e, MS_e) / (k m), with the degrees
    of freedom of Satterthwaite, at least min(k, m) - 1. `cells` (n, 2): number of the forget set and of the seed.

    Raises ValueError where a forget set and a seed meet never or twice.
    """
    k, m = (len(numpy.unique(column)) for column in cells.T)
    table = numpy.full((k, m), numpy.nan)
    table[tuple(numpy.unique(column, return_inverse=True)[1] for column in cells.T)] = difference
    if len(difference) != k * m or numpy.isnan(table).any():
        raise ValueError(f"{len(difference)} pairs of {k} forget sets and {m} seeds: each must meet each once")
    rows, columns, mean = table.mean(1), table.mean(0), table.mean()
    # what neither the forget set's nor the seed's mean explains: interaction and noise together
    rest = table - rows[:, None] - columns + mean
    ms_a, ms_b = m * rows.var(ddof=1), k * columns.var(ddof=1)
    ms_e = (rest**2).sum() / ((k - 1) * (m - 1))
    if ms_a + ms_b - ms_e <= ms_e:
        return Error(math.sqrt(ms_e / (k * m)), float((k - 1) * (m - 1)))
    total = ms_a + ms_b - ms_e
    parts = ms_a**2 / (k - 1) + ms_b**2 / (m - 1) + ms_e**2 / ((k - 1) * (m - 1))
    return Error(math.sqrt(total / (k * m)), float(max(total**2 / parts, min(k, m) - 1)))


def signed_rank(difference: Values) -> float | None:
    """Return the two-sided signed-rank p (Wilcoxon); infinite differences rank highest. None if all are zero."""
    if not difference.any():
        return None
    finite = _ranked(difference)
    ranks = stats.rankdata(numpy.abs(finite)) * numpy.sign(finite)
    if len(ranks) <= FEW and len({0.0, *numpy.abs(ranks)}) <= len(ranks):  # zeros or ties
        return _sign_flips(ranks)
    return float(stats.wilcoxon(finite, zero_method="pratt").pvalue)


def _sign_flips(ranks: Values) -> float:
    """Return the two-sided p of a sum of signed ranks over all their signs.

    It is what `scipy.stats.wilcoxon` gives for few values with ties or zeros, where it ranks anew for each of the
    2^n signs, one after the other.
    """
    flips = stats.permutation_test(
        (ranks,), lambda signed, axis: signed.sum(axis), permutation_type="samples", n_resamples=2**FEW
    )
    return float(flips.pvalue)


def _ranked(difference: Values) -> Values:
    """Replace infinite differences by finite ones of the highest rank."""
    finite = numpy.abs(difference[numpy.isfinite(difference)])
    # ranks use only the order: any number above all finite differences will do
    beyond = min(2 * float(finite.max(initial=0.0)) + 1, sys.float_info.max)
    return numpy.clip(difference, -beyond, beyond)


def hedges(n: int) -> float:
    """Correct a standardised mean difference of n pairs for its bias (Hedges 1981)."""
    return 1 - 3 / (4 * (n - 1) - 1)


@functools.cache
def _noncentrality(df: float, level: float = LEVEL) -> float:
    """Return the mean, in standard errors, that a two-sided t test shows with a probability of 80 %."""
    return float(optimize.brentq(lambda shift: power(df, shift, level) - POWER, 1e-6, 1e6))


def power(df: float, shift: float, level: float = LEVEL) -> float:
    """Return the power of a two-sided t test where the true mean is `shift` > 0 standard errors."""
    edge = stats.t.isf(level / 2, df)
    return float(stats.nct.sf(edge, df, shift))


def folded(values: Values) -> Values:
    """Return values whose mean is |mean|, and whose error is that of |mean| by the jackknife (Tukey 1958).

    They are the pseudo-values n |mean| - (n - 1) |mean of the others|, moved to that mean: their own would be less
    than 0 where the sign of the mean is by chance. Where leaving out one value never turns that sign, they are the
    values times it. What is not finite stays as it is.
    """
    pseudo_values, finite = values.astype(float), numpy.isfinite(values)
    n, total = int(finite.sum()), values[finite].sum()
    if n > 1:
        pseudo = abs(total) - numpy.abs(total - values[finite])
        pseudo_values[finite] = pseudo - pseudo.mean() + abs(total) / n
    elif n:
        pseudo_values[finite] = abs(total)
    return pseudo_values


def holm(p: list[float | None]) -> list[float | None]:
    """Adjust p values for their number (Holm 1979); None is no test and stays so."""
    tests = sorted((value, place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(tests):
        highest = max(highest, min(1.0, (len(tests) - rank) * value))
        adjusted[place] = highest
    return adjusted


def mean_of(values: list[float | None]) -> float | None:
    """Return the mean of the values that are not None; None if there is none."""
    there = [value for value in values if value is not None]
    return fmean(there) if there else None
