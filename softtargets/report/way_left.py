"""How much of the way to retraining arms leave, pair by pair: 0 is another retraining, 1 doing nothing.

Where distances are compared as logarithms (whole classes, wrong labels), it is the share of the logarithmic way.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy

from softtargets.report.measures import Floors, Measure
from softtargets.report.numbers import with_interval
from softtargets.report.pairs import Pairing, analysed, by_pair
from softtargets.report.runs import Cell, Run
from softtargets.report.standing import Setting, Standing, has_logarithms, placed
from softtargets.report.statistics import LEAST, Paired, Values, compare, folded
from softtargets.report.verdicts import Verdict
from softtargets.report.way import NO_WAY, way_to_go
from softtargets.system.words import counted

BASELINES = ("none", "none_calibrated", "early", "retrain", "sisa")
"""Algorithms that any other has to beat; the best arm of a report is none of them."""
TOO_FAR = "too far for a number"
ALL_TWICE = "left out: every pair is there more than once"
Points = tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Way:
    """The share of the way that an arm leaves, or by which two arms differ, by one measure."""

    mean: float | None
    low: float | None
    high: float | None
    """95 % interval over pairs; None below five of them."""
    points: Points
    """The name of every pair that is measured, and its share."""
    reason: str | None = None
    """Why there is no mean."""
    floor_known: bool = True
    """Whether 0 is another retraining; without a floor it is the retrained model itself."""

    @property
    def shown(self) -> str:
        """Return mean and interval."""
        if self.mean is None:
            return self.reason or "–"
        return with_interval(self.mean, self.low, self.high, 2)


@dataclasses.dataclass(frozen=True)
class Entry:
    """An arm of a setting, as it is ranked and drawn."""

    standing: Standing
    algorithm: str
    targets: str | None
    """None where the algorithm ignores them."""
    cell: Cell
    arm: str
    """Its name within the cell."""
    runs: dict[tuple[int, int, int], Run]
    """The run of each pair."""
    ways: dict[str, Way]
    """By the name of the measure."""

    @property
    def setting(self) -> Setting:
        """Return what it shares with the arms that it is ranked with."""
        return self.standing.setting

    @property
    def label(self) -> str:
        """Return what tells it from arms of the same algorithm."""
        text = self.standing.arm.partition(" ")[2] or self.algorithm
        return f"{self.algorithm} {text}" if self.baseline and text != self.algorithm else text

    @property
    def left(self) -> float | None:
        """Return the share of the way that it leaves by the first measure."""
        return self.left_by(None)

    def left_by(self, measure: str | None) -> float | None:
        """Return the share of the way that it leaves by a measure, or by the first."""
        way = self.ways.get(measure) if measure else next(iter(self.ways.values()), None)
        return way and way.mean

    @property
    def baseline(self) -> bool:
        """Return whether it is there to be beaten."""
        return self.algorithm in BASELINES or self.standing.comparison_only


def entries(runs: list[Run], standings: list[Standing], measures: Iterable[Measure]) -> list[Entry]:
    """Return every arm in the order of `standings`, with the way that it leaves by every measure of a distance."""
    groups, floors = collections.defaultdict(list), Floors()
    for run in runs:
        groups[placed(run)].append(run)
    of_setting = collections.defaultdict(list)
    for (setting, _), group in groups.items():
        of_setting[setting] += group
    distances = [measure for measure in measures if not measure.as_it_is]
    scales = {
        (setting, measure.name): logarithmic(measure, setting, group)
        for setting, group in of_setting.items()
        for measure in distances
    }
    return [_entry(one, groups[one.setting, one.arm], distances, scales, floors) for one in standings]


def logarithmic(measure: Measure, setting: Setting, runs: list[Run]) -> bool:
    """Return whether distances by a measure are compared as logarithms in a setting."""
    return bool(measure.face and setting.by_logarithms and has_logarithms(measure, runs))


def _entry(one: Standing, runs: list[Run], measures: list[Measure], scales: dict, floors: Floors) -> Entry:
    first, once = runs[0], by_pair(runs)
    there = list(once.values())
    ways = {m.name: way(m, there, scales[one.setting, m.name], floors.of(m, there)) for m in measures}
    targets = None if first.result.get("ignores_targets") else first.arm
    return Entry(one, dict(first.cell.settings)["mu_algo"], targets, first.cell, first.arm, once, ways)


def way(measure: Measure, runs: list[Run], logarithms: bool, floor: float | None) -> Way:
    """Return the share of the way that runs leave, one of each pair."""
    pairs = [(run, measure.at_end(run), measure.nothing(run)) for run in runs]
    pairs = [pair for pair in pairs if None not in pair]
    if not pairs:
        return Way(None, None, None, (), "not measured by these runs" if runs else ALL_TWICE)
    there = [pair[0] for pair in pairs]
    one, nothing = (numpy.array([pair[at] for pair in pairs], dtype=float) for at in (1, 2))
    scale = way_to_go(measure, there, floor, logarithms)
    if not scale:
        return Way(None, None, None, (), NO_WAY)
    paired = _compare(measure, one, nothing, there, logarithms)
    # a single gap with a sign is mostly noise: doing nothing is at its mean
    beside = numpy.full_like(nothing, nothing.mean()) if measure.signed else nothing
    points = _names(there), 1 + _shares(_apart(measure, one, beside, logarithms), scale)
    return _way(paired, points, scale, 1.0, floor is not None)


def _compare(measure: Measure, one: Values, other: Values, runs: list[Run], logarithms: bool) -> Paired:
    if logarithms:
        one, other = numpy.log(one), numpy.log(other)
    mine, theirs, cells = analysed(one, other, runs)
    if measure.signed:
        mine, theirs = folded(mine), folded(theirs)
    return compare(mine, theirs, 0.0, cells)


def _apart(measure: Measure, one: Values, other: Values, logarithms: bool) -> Values:
    """Return the difference of every pair, whose mean over all pairs is that of the comparison."""
    if measure.signed:
        one, other = _unsigned(one), _unsigned(other)
    # both runs of a pair may have diverged: that is no difference; huge values may have an infinite one
    with numpy.errstate(invalid="ignore", over="ignore"):
        return numpy.log(one) - numpy.log(other) if logarithms else one - other


def _shares(apart: Values, scale: float) -> Values:
    """Return differences as shares of the way; infinity for those that are too far for a number."""
    with numpy.errstate(over="ignore"):
        return apart / scale


def _unsigned(gaps: Values) -> Values:
    """Turn gaps so that their mean is not below 0."""
    finite = gaps[numpy.isfinite(gaps)]
    return gaps * (-1 if len(finite) and finite.mean() < 0 else 1)


def _names(runs: list[Run]) -> list[str]:
    return [
        f"seed {run.seed}" + (f", forget set {run.draw[0]}" if run.draw[0] != run.seed else "") for run in runs
    ]


def _way(paired: Paired, points: tuple[list[str], Values], scale: float, start: float, floor_known: bool) -> Way:
    finite = tuple((name, float(x)) for name, x in zip(*points, strict=True) if math.isfinite(x))
    if paired.mean is None:
        lost = paired.n - paired.measured
        why = f"{lost:,} of {counted(paired.n, 'run')} diverged" if lost else TOO_FAR
        return Way(None, None, None, finite, why, floor_known)
    numbers = [None if x is None else start + x / scale for x in (paired.mean, paired.low, paired.high)]
    if not all(x is None or math.isfinite(x) for x in numbers):
        return Way(None, None, None, finite, TOO_FAR, floor_known)
    return Way(*numbers, finite, None, floor_known)


def difference(verdict: Verdict, pairing: Pairing) -> Way:
    """Return how much more of the way the second arm of a verdict leaves than the first; below 0 it is closer."""
    measure = verdict.measure
    pairs = [(*pair, *map(measure.at_end, pair)) for pair in pairing.pairs]
    pairs = [pair for pair in pairs if None not in pair]
    runs = [pair[0] for pair in pairs]
    if all(measure.nothing(run) is None for run in runs):
        return Way(None, None, None, (), "no two runs make a pair that is measured")
    if not verdict.way:
        return Way(None, None, None, (), NO_WAY)
    one, other = (numpy.array([pair[at] for pair in pairs], dtype=float) for at in (2, 3))
    apart = _apart(measure, other, one, verdict.logarithms)
    paired = _compare(measure, other, one, runs, verdict.logarithms)
    return _way(paired, (_names(runs), _shares(apart, verdict.way)), verdict.way, 0.0, verdict.floor is not None)


def wins(entry: Entry, measure: str | None = None) -> bool:
    """Return whether an arm is nearer to retraining than doing nothing is, by enough pairs to say so."""
    left = entry.left_by(measure)
    return left is not None and left < 1 and entry.standing.design.units >= LEAST


def best(group: Sequence[Entry], measure: str | None = None) -> Entry | None:
    """Return the arm of a setting that is nearest by a measure, or the first, of those that keep their utility.

    Arms whose utility is not known count as keeping it; baselines, arms that only compare, and arms whose status
    forbids a verdict are no candidates.
    """
    return nearest([e for e in group if e.standing.gate.passed is not False], measure)


PREPARED = {0: "without prepared models", 1: "with prepared models"}
"""What candidates of each group are called (`APART`): prepared models are trained before the request."""


def by_preparation(group: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Sort the arms of a setting by whether they need prepared models; all under "" where no candidate does."""
    groups = {entry.standing.group for entry in group if not entry.baseline}
    if 1 not in groups:
        return {"": list(group)}
    return {name: [e for e in group if e.standing.group == at] for at, name in PREPARED.items() if at in groups}


def honours(group: Sequence[Entry], measure: str | None = None) -> dict[int, str]:
    """Return what the best arms of a setting are called, by their `id`, if they are nearer than doing nothing.

    Arms with prepared models, whose cost the request does not pay, have a best one of their own.
    """
    bests = {name: best(part, measure) for name, part in by_preparation(group).items()}
    return {id(e): f"best {name}".strip() for name, e in bests.items() if e is not None and wins(e, measure)}


def nearest(group: Sequence[Entry], measure: str | None = None) -> Entry | None:
    """Return the arm that is nearest by a measure, or the first, whether it keeps its utility or not."""
    able = [entry for entry in group if not entry.baseline and not entry.standing.no_verdict]
    able = [entry for entry in able if entry.left_by(measure) is not None]
    return min(able, key=lambda entry: entry.left_by(measure), default=None)
