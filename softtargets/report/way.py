"""The way from another retraining to doing nothing: how long it is, where it is measurably longer than 0."""

import math

import numpy

from softtargets.report.measures import Measure
from softtargets.report.pairs import analysed
from softtargets.report.runs import Run
from softtargets.report.statistics import LEVEL, Values, compare, folded

NO_WAY = "no way to go: doing nothing is not measurably farther than another retraining"
"""Why there is no share of the way: it would be a ratio to noise."""


def way_to_go(measure: Measure, runs: list[Run], floor: float | None, logarithms: bool = False) -> float | None:
    """Return how much farther doing nothing is than another retraining, or than 0 where no floor is known.

    With `logarithms` the difference of their logarithms. None where it is not shown to be above 0: by a one-sided
    t test over runs at 5 %, as their design asks for. One run alone has no error, so that its sign decides.
    """
    runs = [run for run in runs if measure.nothing(run) is not None]
    nothing = numpy.array([measure.nothing(run) for run in runs], dtype=float)
    far, near = measure.average(nothing.tolist()), floor or 0.0
    if far is None or far <= near or (logarithms and not near):
        return None
    if not _is_shown(measure, runs, nothing, near):
        return None
    return math.log(far / near) if logarithms else far - near


def _is_shown(measure: Measure, runs: list[Run], nothing: Values, floor: float | int) -> bool:
    columns = [nothing, _floors(measure, runs, floor)]
    if measure.signed:
        columns = [folded(nothing), numpy.zeros(len(nothing))]
    one, other, cells = analysed(*columns, runs)
    p = compare(one, other, 0.0, cells).t_p
    return p is None or p < 2 * LEVEL  # two-sided; None: equal differences, or a single one


def _floors(measure: Measure, runs: list[Run], floor: float | int) -> Values:
    """Return the floor of every run where all have their own, else the common one."""
    own = [run.result["faces"][measure.name]["floor"] for run in runs if measure.face and run.result.get("faces")]
    known = len(own) == len(runs) and None not in own
    return numpy.array(own if known else [floor] * len(runs), dtype=float)
