"""The primary endpoint: which of two arms is closer to retraining, by three faces of the distance together.

An arm's `Faces` are its values by face, each of shape (pairs,) in one order of pairs: "js_t" and "disagreement"
are distances, "mia_gap" is signed. A difference is `one` less `other`: below 0 it speaks for `one`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy
from jaxtyping import Bool
from scipy import stats

from softtargets.report.statistics import LEAST, LEVEL, Cells, Error, Values, crossed, holm, independent

MARGIN = 0.1
"""Share of the way from the floor to doing nothing that is no loss."""
LOG_MARGIN = math.log(1.25)
"""The same for whole classes, where distances are compared as log(D / floor)."""
SEQUENCE = (0.05, 0.1, 0.02, 0.2)
"""Costs in the order in which they are tested, each at the full level."""
LEAST_ACCURACY = -0.01
"""Test accuracy less the retrained model's that the utility gate asks for."""
WITHOUT_FLOOR = "margins reach from nothing to 0, since there is no floor; run with references=2 or more"
"""What is to be said of margins where no floor is known: they are wider than with one."""
Faces = Mapping[str, Values]
Side = Literal["one", "other"]


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference between two arms, estimated over pairs, with its error."""

    mean: float
    error: Error

    @property
    def p(self) -> float:
        """Return the p of a two-sided t test against 0."""
        return min(1.0, 2 * min(self.below(0.0), self.above(0.0)))

    def below(self, bound: float) -> float:
        """Return the p of a one-sided t test: small where the true difference is below `bound`."""
        return float(stats.t.sf(self._errors(bound - self.mean), self.error.df))

    def above(self, bound: float) -> float:
        """Return the p of a one-sided t test: small where the true difference is above `bound`."""
        return float(stats.t.sf(self._errors(self.mean - bound), self.error.df))

    def within(self, margin: float) -> float:
        """Return the p of two one-sided tests (TOST, Schuirmann 1987): small where it lies within ± margin."""
        return max(self.below(margin), self.above(-margin))

    def upper(self, level: float = LEVEL) -> float:
        """Return the one-sided upper bound of confidence 1 - level."""
        return self.mean + float(stats.t.isf(level, self.error.df)) * self.error.se

    def lower(self, level: float = LEVEL) -> float:
        """Return the one-sided lower bound of confidence 1 - level."""
        return self.mean - float(stats.t.isf(level, self.error.df)) * self.error.se

    def interval(self) -> tuple[float, float]:
        """Return the two-sided 95 % interval."""
        return self.error.interval(self.mean)

    def _errors(self, distance: float) -> float:
        """Return a distance in standard errors; where all pairs say the same, there is no error."""
        if self.error.se:
            return distance / self.error.se
        return math.copysign(math.inf, distance) if distance else 0.0


def mean_difference(one: Values, other: Values, cells: Cells | None = None) -> Difference:
    """Return the difference of two means, with n - 1 degrees of freedom, or as `crossed` with `cells` (n, 2)."""
    difference = one - other
    return Difference(float(difference.mean()), _error(difference, cells))


def _error(values: Values, cells: Cells | None) -> Error:
    return independent(values) if cells is None else crossed(values, cells)


def jackknife(statistic: Callable[..., float], *columns: Values, cells: Cells | None = None) -> Difference:
    """Return a statistic of columns of n pairs, with its error by leaving out one pair at a time.

    Error: that of the mean of the pseudo-values n S - (n - 1) S_(i) (Tukey 1958). Over independent pairs it is
    √((n - 1)/n Σ (S_(i) - mean S_(i))²), with n - 1 degrees of freedom; for a mean it is sd / √n.
    """
    whole, rest = float(statistic(*columns)), range(len(columns[0]))
    without = [statistic(*(numpy.delete(column, i) for column in columns)) for i in rest]
    return leave_one_out(whole, numpy.array(without), cells)


def leave_one_out(whole: float, without: Values, cells: Cells | None = None) -> Difference:
    """Return a statistic with the error of `jackknife`, from what it is without each of the pairs."""
    n = len(without)
    return Difference(whole, _error(n * whole - (n - 1) * without, cells))


def gap_difference(one: Values, other: Values, cells: Cells | None = None) -> Difference:
    """Return |mean one| - |mean other| of signed gaps, with the error of a jackknife over pairs.

    The mean comes first, since gaps of either sign cancel in it: single gaps are mostly noise.
    """
    return jackknife(lambda a, b: abs(a.mean()) - abs(b.mean()), one, other, cells=cells)


def cautious_gap_difference(one: Values, other: Values, cells: Cells | None = None) -> Difference:
    """Return `gap_difference` for a claim that `one` is no worse, which must not profit from noise in `other`.

    |mean| is too large where the true mean is near 0: a bound on the plain difference then holds in 90 % of the
    studies that it should hold in 95 % of. In place of |mean other| stands √max(0, mean² - se²): mean² - se² is an
    unbiased estimate of the square of the true mean. The error is that of the plain difference.
    """
    se = mean_difference(other, numpy.zeros_like(other), cells).error.se
    shrunk = math.sqrt(max(0.0, float(other.mean()) ** 2 - se**2))
    return Difference(abs(float(one.mean())) - shrunk, gap_difference(one, other, cells).error)


def log_distances(values: Values, floors: Values | float) -> Values:
    """Return log(D / floor): how whole classes are compared, where a share of doing nothing says little.

    Every method comes most of the way from doing nothing there. Raises ValueError for a distance or floor of 0,
    which has no logarithm.
    """
    if not ((values > 0).all() and (numpy.asarray(floors) > 0).all()):
        raise ValueError("log(D / floor) needs distances and floors above 0")
    return numpy.log(values / floors)


@dataclasses.dataclass(frozen=True)
class Signs:
    """Pairs counted by their sign alone."""

    wins: int
    """Pairs in which `one` is closer."""
    losses: int
    ties: int
    p: float
    """Exact two-sided sign test: Binomial(wins + losses, ½); ties are left out. 1 where all are ties."""


def sign_test(one: Values, other: Values) -> Signs:
    """Count wins, losses and ties of `one`; less is better, and infinity marks a run that lost its pair.

    A run is lost where it diverged or failed the utility gate. Two lost runs are a tie.
    """
    wins, losses = int((one < other).sum()), int((one > other).sum())
    decided = wins + losses
    p = float(stats.binomtest(wins, decided).pvalue) if decided else 1.0
    return Signs(wins, losses, len(one) - decided, p)


@dataclasses.dataclass(frozen=True)
class Checked:
    """A face on which the arm ahead on JS_T must not be worse than the other by the margin."""

    difference: Difference
    """Of the arm that is ahead, less the other."""
    margin: float

    @property
    def status(self) -> Literal["confirms", "unconfirmed", "contradicts"]:
        """Return "confirms" where the upper one-sided 95 % bound is below the margin.

        Else "contradicts" where the lower one is above 0, or "unconfirmed".
        """
        if self.difference.upper() < self.margin:
            return "confirms"
        return "contradicts" if self.difference.lower() > 0 else "unconfirmed"


@dataclasses.dataclass(frozen=True)
class Primary:
    """What the primary rule says of two arms."""

    js_t: Difference
    """`one` less `other`."""
    pairs: int
    """Pairs in which neither run is lost; all but `signs` are of these."""
    signs: Signs
    """By JS_T, over all pairs."""
    ahead: Side | None
    """The arm with the lower mean JS_T; None where they are equal."""
    faces: dict[str, Checked]
    """The other faces; empty where no arm is ahead."""
    closer: Side | None
    """The arm of which "closer to retrained" may be said."""


def margin(nothing: float, floor: float | None) -> float:
    """Return m = .1 (nothing - floor) of a face; 0 where doing nothing is at the floor or nearer.

    Where no floor is known, it is a tenth of all of nothing, which reports then say (`WITHOUT_FLOOR`). Both are
    means over tuning pairs, so that the margin is fixed before the pairs that are judged.
    """
    return MARGIN * max(0.0, nothing if floor is None else nothing - floor)


def primary(
    one: Faces,
    other: Faces,
    margins: Mapping[str, float],
    cells: Cells | None = None,
    lost: Sequence[Bool[numpy.ndarray, " pairs"]] = (),
) -> Primary:
    """Judge two arms by the primary rule, an intersection-union test (Berger 1982) of level 5 %.

    An arm is closer where JS_T differs with a two-sided p < .05 in its favour *and* on every face in `margins`
    ("disagreement", "mia_gap") the upper one-sided 95 % bound of its difference is below the margin. Since all
    must hold, no p is corrected for the number of faces. A run whose JS_T is not finite lost its pair: then the
    arm ahead must win more pairs than it loses, too. With fewer than 5 pairs no arm is closer.

    `lost`: for each arm which of its runs have lost their pair in the count of signs, as they failed the utility
    gate; their values stay in the means.
    """
    kept = _measured(one, other, margins)
    if cells is not None and not kept.all():
        raise ValueError("a crossed design with lost pairs has no crossed analysis")
    mine, theirs = ({name: values[kept] for name, values in side.items()} for side in (one, other))
    js_t = mean_difference(mine["js_t"], theirs["js_t"], cells)
    columns = [one["js_t"], other["js_t"]]
    signs = sign_test(
        *(
            numpy.where(gone, math.inf, column)
            for column, gone in zip(columns, lost or (False, False), strict=True)
        )
    )
    ahead: Side | None = None if js_t.mean == 0 else "one" if js_t.mean < 0 else "other"
    sides = (theirs, mine) if ahead == "other" else (mine, theirs)
    faces = {
        name: Checked(_on_face(name)(*(side[name] for side in sides), cells), allowed)
        for name, allowed in (margins.items() if ahead else ())
    }
    lead = signs.losses - signs.wins if ahead == "other" else signs.wins - signs.losses
    sure = js_t.p < LEVEL and kept.sum() >= LEAST and (kept.all() or lead > 0)
    agreed = sure and all(face.status == "confirms" for face in faces.values())
    return Primary(js_t, int(kept.sum()), signs, ahead, faces, ahead if agreed else None)


def _measured(one: Faces, other: Faces, margins: Mapping[str, float]) -> Bool[numpy.ndarray, " pairs"]:
    """Mark the pairs that are finite on every face that is looked at."""
    return numpy.all([numpy.isfinite(side[name]) for side in (one, other) for name in ("js_t", *margins)], axis=0)


def _on_face(name: str) -> Callable[..., Difference]:
    return cautious_gap_difference if name == "mia_gap" else mean_difference


def in_sequence(shown: Mapping[float, bool]) -> dict[float, bool]:
    """Return for each cost of `SEQUENCE` whether its result may be claimed (fixed sequence, Maurer et al. 1995).

    `shown`: whether the rule holds at a cost. The costs are tested in their order, each at 5 %, until the first
    that does not hold or was not run; nothing may be claimed from there on. All together then have a level of 5 %.
    """
    claimed, going = {}, True
    for cost in SEQUENCE:
        going = going and shown.get(cost, False)
        claimed[cost] = going
    return claimed


def break_even(retrain: Mapping[float, Difference | None], allowed: float) -> float | None:
    """Return b*, the least cost from which on retraining is within `allowed` of the floor; None if it never is.

    `retrain`: D(retrain at a cost) less D(floor), by cost; None where a run diverged, which is not within. Within:
    the upper one-sided 95 % bound is at most `allowed`. It must hold at all greater costs that were run, too, or
    "from b* on, retrain" would not.
    """
    least = None
    for cost in sorted(retrain, reverse=True):
        beyond = retrain[cost]
        if beyond is None or beyond.upper() > allowed:
            break
        least = cost
    return least


def failing(differences: Sequence[Difference], margins: Sequence[float]) -> list[bool]:
    """Return which arms fail: those not shown, after Holm, to be less than the margin beyond doing nothing.

    `differences`: D(arm) less D(nothing) of every arm of the family.
    """
    p = [one.below(allowed) for one, allowed in zip(differences, margins, strict=True)]
    return [adjusted >= LEVEL for adjusted in holm(p)]


def passes_gate(accuracy: Difference, js_test: Difference, allowed: float) -> bool:
    """Return whether an arm passes the utility gate.

    `accuracy`: test accuracy less the retrained model's, whose lower one-sided 95 % bound must exceed -.01.
    `js_test`: JS on the test set less that of doing nothing, whose mean must not exceed `allowed`.
    """
    return accuracy.lower() > LEAST_ACCURACY and js_test.mean <= allowed
