"""The way from another retraining to doing nothing, where it is measurably longer than 0, and what is left."""

import math
from collections.abc import Sequence

import numpy

from softtargets.report.measures import Measure, Value
from softtargets.report.pairs import analysed
from softtargets.report.runs import Run
from softtargets.report.statistics import LEVEL, Values, compare, folded

NO_WAY = "no way to go: doing nothing is not measurably farther than another retraining"
"""Why there is no share of the way: it would be a ratio to noise."""


def average(measure: Measure, runs: Sequence[Run], values: Sequence[Value]) -> Value:
    """Return the distance of runs, of those with a finite value; forget sets of a mixed design count once each."""
    there = [(run, value) for run, value in zip(runs, values, strict=True) if value is not None]
    there = [(run, value) for run, value in there if math.isfinite(value)]
    if not there:
        return None
    kept, column = [run for run, _ in there], numpy.array([value for _, value in there], dtype=float)
    return measure.average(analysed(column, column, kept)[0].tolist())


def length(measure: Measure, runs: Sequence[Run], floor: float | None, logarithms: bool = False) -> float | None:
    """Return how much farther doing nothing is than another retraining, or than 0 where no floor is known.

    With `logarithms` it is the mean of log(nothing / floor) over runs. None where it is not above 0.
    """
    runs = [run for run in runs if measure.nothing(run) is not None]
    if not runs or (logarithms and not floor):
        return None
    if logarithms:
        way = _mean_apart(*_logarithms(measure, runs, floor), runs)
    else:
        way = average(measure, runs, [measure.nothing(run) for run in runs]) - (floor or 0.0)
    return way if way > 0 else None


def way_to_go(
    measure: Measure, runs: Sequence[Run], floor: float | None, logarithms: bool = False
) -> float | None:
    """Return `length` where it is shown to be above 0, by a one-sided t test over runs at 5 %.

    The test is that of their design. One run alone has no error, so that its sign decides.
    """
    way = length(measure, runs, floor, logarithms)
    runs = [run for run in runs if measure.nothing(run) is not None]
    return way if way and _is_shown(measure, runs, floor or 0.0, logarithms) else None


def share_left(
    measure: Measure, runs: Sequence[Run], values: Sequence[Value], way: float | None, logarithms: bool = False
) -> float | None:
    """Return the share of the `way` that runs leave: 0 is another retraining, 1 doing nothing.

    It is 1 + mean(D - nothing) / way over runs with a finite value, or of their `logarithms`. None without a way.
    """
    every = [(run, value, measure.nothing(run)) for run, value in zip(runs, values, strict=True)]
    there = [row for row in every if None not in row and math.isfinite(row[1])]
    if not way or not there:
        return None
    kept, one, nothing = zip(*there, strict=True)
    if logarithms:
        return share(_mean_apart(numpy.log(one), numpy.log(nothing), kept), way)
    return share(average(measure, kept, one) - average(measure, kept, nothing), way)


def share(apart: float, way: float) -> float:
    """Return the share of the way that is left at a distance that is so much greater than doing nothing's."""
    return 1 + apart / way


def _mean_apart(one: Values, other: Values, runs: Sequence[Run]) -> float:
    one, other, _ = analysed(one, other, list(runs))
    return float((one - other).mean())


def _logarithms(measure: Measure, runs: list[Run], floor: float | int) -> tuple[Values, Values]:
    nothing = numpy.array([measure.nothing(run) for run in runs], dtype=float)
    return numpy.log(nothing), numpy.log(_floors(measure, runs, floor))


def _is_shown(measure: Measure, runs: list[Run], floor: float | int, logarithms: bool) -> bool:
    nothing = numpy.array([measure.nothing(run) for run in runs], dtype=float)
    columns = _logarithms(measure, runs, floor) if logarithms else (nothing, _floors(measure, runs, floor))
    one, other, cells = analysed(*columns, runs)
    if measure.signed:
        one, other = folded(one), numpy.zeros(len(one))
    p = compare(one, other, 0.0, cells).t_p
    return p is None or p < 2 * LEVEL  # two-sided; None: equal differences, or a single one


def _floors(measure: Measure, runs: list[Run], floor: float | int) -> Values:
    """Return the floor of every run where all have their own, else the common one."""
    own = [measure.floor_of(run) for run in runs if measure.face and run.result.get("faces")]
    known = len(own) == len(runs) and None not in own
    return numpy.array(own if known else [floor] * len(runs), dtype=float)
