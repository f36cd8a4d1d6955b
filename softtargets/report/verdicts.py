"""A verdict for every cell and pair of arms: in numbers, and in words."""

import collections
import dataclasses
import math
import statistics

import numpy

from softtargets.report.measures import Floors, Measure
from softtargets.report.pairs import Pairing
from softtargets.report.runs import Run, Settings
from softtargets.report.statistics import LEVEL, Paired, compare, holm, mean_of

WHERE = {"matched": "at matched forgetting", "end": "at the end of the run"}


@dataclasses.dataclass(frozen=True)
class Arm:
    """What the runs of one arm come to."""

    name: str
    mean: float | None
    """Over runs that did not diverge."""
    sd: float | None
    mean_with_diverged: float | None
    """With the worst value there is for those that did."""
    diverged: int
    censored: int
    """Runs that never reached matched forgetting."""
    unwatched: int
    """Runs that kept no trajectory, by which that could be told."""
    flags: dict[str, int]
    """Statuses other than ok, and how many runs have each."""
    corrected: float | None
    """(mean - floor) / (nothing - floor): 1 is doing nothing, 0 another retraining."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One comparison in one cell, or the only arm that the cell has."""

    cell: Settings
    measure: str
    where: str
    one: Arm
    other: Arm | None
    paired: Paired | None
    """None where no pair can be measured."""
    floor: float | None
    nothing: float | None
    margin: float
    refused: list[str]
    settings: list[str]
    """What differs between the arms beside their targets."""
    unlike: list[tuple[str, ...]]
    """Of every pair, in what the making of its runs differs."""
    points: list[tuple[int, float]]
    """Seed and difference of every pair in which neither run diverged."""
    p: float | None = None
    """Holm-adjusted over all comparisons by this measure and place."""
    words: str = ""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Return one arm, or both."""
        return (self.one,) if self.other is None else (self.one, self.other)

    @property
    def names(self) -> str:
        """Name the arms."""
        return ", ".join(arm.name for arm in self.arms)


def judge(
    pairings: list[Pairing], measure: Measure, where: str, margin: float | None, floors: Floors
) -> list[Verdict]:
    """Compare every pairing by one measure; p values are adjusted over all of them.

    The margin of equivalence is the floor unless given, and a tenth of doing nothing where there is no floor.
    """
    found = [_compared(pairing, measure, where, margin, floors) for pairing in pairings]
    adjusted = holm([_p(verdict) for verdict in found])
    return [
        dataclasses.replace(verdict, p=p, words=words(verdict, p))
        for verdict, p in zip(found, adjusted, strict=True)
    ]


def _p(verdict: Verdict) -> float | None:
    """Return what is adjusted and judged by: the t test, or where runs diverged the signed ranks."""
    if verdict.paired is None:
        return None
    lost = any(arm.diverged for arm in verdict.arms)
    return verdict.paired.wilcoxon_p if lost else verdict.paired.t_p


def _compared(pairing: Pairing, measure: Measure, where: str, margin: float | None, floors: Floors) -> Verdict:
    value = measure.matched if where == "matched" else measure.at_end
    names = [name for name in (pairing.one, pairing.other) if name is not None]
    sides = [list(side) for side in zip(*pairing.pairs, strict=True)] or [[] for _ in names]
    columns = [[value(run) for run in side] for side in sides]
    runs = [run for side in sides for run in side]
    floor, nothing = floors.of(measure, runs), mean_of([measure.nothing(run) for run in sides[0]])
    margin = margin if margin is not None else floor if floor is not None else 0.1 * (nothing or 0.0)
    there = [pair for pair in zip(*columns, strict=True) if None not in pair]
    one, other, *_ = [
        _arm(name, side, column, measure, floor, nothing)
        for name, side, column in zip(names, sides, columns, strict=True)
    ] + [None]
    result = compare(*numpy.array(there, dtype=float).T, margin) if there and other else None
    beside = (pairing.refused, pairing.settings, pairing.unlike, _points(sides[0], columns) if other else [])
    return Verdict(pairing.cell, measure.name, where, one, other, result, floor, nothing, margin, *beside)


def _points(runs: list[Run], columns: list[list]) -> list[tuple[int, float]]:
    return [
        (run.seed, one - other)
        for run, one, other in zip(runs, *columns, strict=True)
        if None not in (one, other) and math.isfinite(one) and math.isfinite(other)
    ]


def _arm(name: str, runs: list[Run], values: list, measure: Measure, floor, nothing) -> Arm:
    there = [value for value in values if value is not None]
    finite = [value for value in there if math.isfinite(value)]
    mean, missing = mean_of(finite), [run for run, value in zip(runs, values, strict=True) if value is None]
    unwatched = sum(not run.result["trajectory"]["step"] for run in missing)
    statuses = collections.Counter(run.result["status"] for run in runs)
    statuses.pop("ok", None)
    corrected = None
    if None not in (mean, floor, nothing) and nothing > floor:
        corrected = (mean - floor) / (nothing - floor)
    return Arm(
        name=name,
        mean=mean,
        sd=statistics.stdev(finite) if len(finite) > 1 else None,
        mean_with_diverged=mean_of([min(value, measure.worst) for value in there]),
        diverged=len(there) - len(finite),
        censored=len(missing) - unwatched,
        unwatched=unwatched,
        flags=dict(statuses),
        corrected=corrected,
    )


def words(verdict: Verdict, p: float | None) -> str:
    """Say what the comparison shows."""
    one, other, found = verdict.one, verdict.other, verdict.paired
    for arm in verdict.arms:
        if arm.flags.get("degenerate"):
            return f"{arm.name} is degenerate: its targets cannot make forget"
    if other is None:
        return "nothing to compare: the only arm of its cell"
    if found is None or found.n < 2:
        if one.unwatched or other.unwatched:
            return "nothing to compare: no trajectory was kept (unlearn.evaluate_every=null)"
        never = " and ".join(arm.name for arm in (one, other) if arm.censored)
        return f"nothing to compare: {never} never forgot enough" if never else "nothing to compare: too few pairs"
    size = f"by {abs(found.mean):.2g} [{', '.join(f'{edge:.2g}' for edge in _edges(found))}]"
    n = f"n = {found.n}"
    if found.cliff == 0 and found.sd == 0:
        return f"the same in every pair, {n}"
    if p is not None and p < LEVEL and found.mean:
        return f"{(other if found.mean > 0 else one).name} closer to retrained, {size}, {n}"
    if found.equivalence_p is not None and found.equivalence_p < LEVEL:
        return f"equivalent within ±{verdict.margin:.2g}, {n}"
    if found.detectable is None:
        return f"no difference shown at {n}, in {len(verdict.points)} of which neither diverged"
    return f"no difference shown at {n}; {found.detectable:.2g} would have been"


def _edges(found: Paired) -> list[float]:
    """Return the interval of the size, smallest first, of the side that is ahead."""
    if found.low is None:
        return []
    return sorted((found.low, found.high)) if found.mean > 0 else sorted((-found.low, -found.high))
