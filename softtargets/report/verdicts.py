"""A verdict for every cell and pair of arms: in numbers, and in words."""

import collections
import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy

from softtargets.report import endpoint
from softtargets.report.measures import FACES, Floors, Measure, Value
from softtargets.report.numbers import percent
from softtargets.report.pairs import Design, Pairing, analysed, design
from softtargets.report.runs import Cell, Run
from softtargets.report.seeds import OverSeeds
from softtargets.report.standing import Standing, beyond, by_logarithms, factor, gate, has_logarithms, listed
from softtargets.report.statistics import LEAST, LEVEL, Paired, Values, compare, folded, holm, mean_of
from softtargets.report.statuses import counted_statuses, no_verdict
from softtargets.report.way import NO_WAY, average, length, share_left, way_to_go
from softtargets.system.words import counted

WHERE = {"end": "at the end of the run", "matched": "at matched forgetting"}


@dataclasses.dataclass(frozen=True)
class Arm:
    """What the runs of one arm come to."""

    name: str
    runs: int
    mean: float | None
    """Over runs that did not diverge."""
    sd: float | None
    mean_with_diverged: float | None
    """With the worst value there is for those that did."""
    diverged: int
    """Runs whose value is lost because they diverged; at matched forgetting, those that diverged before it."""
    censored: int
    """Runs that did not stay at the retrained model's forget accuracy to their end."""
    unwatched: int
    """Runs that kept no trajectory, by which that could be told."""
    old: int
    """Runs with an older schema and a trajectory, from which their matched point is computed anew."""
    stopped_early: int
    """Those of them that the stop rule of that time has ended, maybe in a transient."""
    unmeasured: int
    """Runs that did not measure it, or had nothing to measure it on."""
    flags: dict[str, int]
    """Statuses other than ok, and how many runs have each."""
    corrected: float | None
    """The share of the way that is left: 1 is doing nothing, 0 another retraining."""


@dataclasses.dataclass(frozen=True)
class OtherFace:
    """What another face knows of two arms that are compared by the first."""

    measure: Measure
    units: int
    """Independent differences."""
    beyond: tuple[endpoint.Difference | None, endpoint.Difference | None]
    """As `Verdict.beyond`."""
    margin: float

    @property
    def name(self) -> str:
        """Return the face in a word."""
        return self.measure.label.partition(" ")[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """One comparison in one cell, or the only arm that the cell has."""

    cell: Cell
    measure: Measure
    where: str
    one: Arm
    other: Arm | None
    paired: Paired | None
    """None where no pair can be measured."""
    floor: float | None
    nothing: float | None
    way: float | None
    """How much farther doing nothing is than another retraining; None where it is not measurably farther."""
    margin: float
    refused: list[str]
    settings: list[str]
    """What differs between the arms beside their targets."""
    unlike: list[tuple[str, ...]]
    """Of every pair, in what the making of its runs differs."""
    points: list[tuple[int, float]]
    """Seed and difference of every pair in which neither run diverged."""
    design: Design
    """How the pairs were drawn that have a value by the measure."""
    gates: tuple[bool | None, ...] = ()
    """Whether each arm keeps its utility at its end; None where that cannot be said."""
    logarithms: bool = False
    """Whether `paired` and `margin` are of log(D / floor), as on whole classes and wrong labels."""
    beyond: tuple[endpoint.Difference | None, endpoint.Difference | None] = (None, None)
    """How much farther the first arm is than the second, and the second than the first, for claims of no harm."""
    others: tuple[OtherFace, ...] = ()
    """What the other faces know of a comparison by the first at the end, whether or not they are asked for."""
    p: float | None = None
    equivalence_p: float | None = None
    """Both Holm-adjusted over the report."""
    words: str = ""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Return one arm, or both."""
        return (self.one,) if self.other is None else (self.one, self.other)

    @property
    def names(self) -> str:
        """Name the arms."""
        return ", ".join(arm.name for arm in self.arms)


def places(measures: Iterable[Measure]) -> Iterator[tuple[Measure, str]]:
    """Yield every measure with every place at which runs have it."""
    for measure in measures:
        for where in WHERE:
            if where == "end" or measure.on_trajectory:
                yield measure, where


def values_of(measure: Measure, where: str) -> Callable[[Run], Value]:
    """Return what gives the value of a run at a place."""
    return measure.matched if where == "matched" else measure.at_end


def compare_arms(
    pairings: list[Pairing], measure: Measure, where: str, margin: float | None, floors: Floors
) -> list[Verdict]:
    """Compare every pairing by one measure; `judged` adjusts the p values and finds the words.

    The margin of equivalence is the floor unless given, and a tenth of doing nothing where there is no floor; of a
    face it is a tenth of the way from the floor to doing nothing.
    """
    return [_compare(pairing, measure, where, margin, floors) for pairing in pairings]


def judged(
    verdicts: list[Verdict], standings: list[Standing], over: Sequence[OverSeeds] = ()
) -> tuple[list[Verdict], list[Standing], list[OverSeeds]]:
    """Adjust all p values of a report and put verdicts and standings into words.

    At the end of the runs all tests are one family (Holm 1979): those of equivalence, those against references and
    those over seeds among them. What is compared at matched forgetting is a description, and a family of its own.
    """
    ends = [verdict for verdict in verdicts if verdict.where == "end"]
    against = [one for standing in standings for face in standing.faces for one in face.against]
    nulls = [test for one in over for test in (one.bounded, one.attack) if test is not None]
    tests = [*map(_p, ends), *map(_equivalence_p, ends), *(one.paired and one.paired.p for one in against)]
    adjusted = iter(holm([*tests, *(test.p for test in nulls)]))
    p, equivalence = ({id(verdict): next(adjusted) for verdict in ends} for _ in range(2))
    tested, exchanged = ({id(one): next(adjusted) for one in group} for group in (against, nulls))
    matched = [verdict for verdict in verdicts if verdict.where == "matched"]
    for adjusted_p, raw in ((p, _p), (equivalence, _equivalence_p)):
        adjusted_p |= dict(zip(map(id, matched), holm(list(map(raw, matched))), strict=True))
    final = [dataclasses.replace(v, p=p[id(v)], equivalence_p=equivalence[id(v)]) for v in verdicts]
    in_words = [dataclasses.replace(one, words=words(one)) for one in final]
    placed = [_adjusted(standing, tested) for standing in standings]
    return in_words, placed, [_exchanged(one, exchanged) for one in over]


def _exchanged(over: OverSeeds, p: dict[int, float]) -> OverSeeds:
    tests = {"bounded": over.bounded, "attack": over.attack}
    known = {name: dataclasses.replace(test, p_holm=p[id(test)]) for name, test in tests.items() if test}
    return dataclasses.replace(over, **known)


def _adjusted(standing: Standing, p: dict[int, float | None]) -> Standing:
    faces = [
        dataclasses.replace(face, against=tuple(dataclasses.replace(one, p=p[id(one)]) for one in face.against))
        for face in standing.faces
    ]
    return dataclasses.replace(standing, faces=tuple(faces))


def _equivalence_p(verdict: Verdict) -> float | None:
    return None if verdict.paired is None else verdict.paired.equivalence_p


def _p(verdict: Verdict) -> float | None:
    return verdict.paired and verdict.paired.p


def _compare(pairing: Pairing, measure: Measure, where: str, given: float | None, floors: Floors) -> Verdict:
    value = values_of(measure, where)
    names = [name for name in (pairing.one, pairing.other) if name is not None]
    sides = [list(side) for side in zip(*pairing.pairs, strict=True)] or [[] for _ in names]
    columns = [[value(run) for run in side] for side in sides]
    runs = [run for side in sides for run in side]
    floor, nothing = floors.of(measure, runs), average(measure, sides[0], list(map(measure.nothing, sides[0])))
    logarithms, margin = _scale(pairing, measure, floor, nothing, given)
    arms = [
        _arm(name, side, column, measure, where, floor, logarithms)
        for name, side, column in zip(names, sides, columns, strict=True)
    ]
    alone = pairing.other is None
    compared = None if alone else _columns(pairing, columns, logarithms)
    return Verdict(
        cell=pairing.cell,
        measure=measure,
        where=where,
        one=arms[0],
        other=None if alone else arms[1],
        paired=None if compared is None else _paired(measure, *compared, margin),
        gates=tuple(gate(side, floors).passed for side in sides) if where == "end" else (),
        logarithms=logarithms,
        beyond=(None, None) if compared is None else _beyond(measure, *compared),
        others=_others(pairing, where, floors, given) if measure.name == FACES[0].name else (),
        design=pairing.design if compared is None else design(compared[2]),
        floor=floor,
        nothing=nothing,
        way=way_to_go(measure, sides[0], floor, logarithms),
        margin=margin,
        refused=pairing.refused,
        settings=pairing.settings,
        unlike=pairing.unlike,
        points=[] if alone else _points(sides[0], columns),
    )


def _others(pairing: Pairing, where: str, floors: Floors, given: float | None) -> tuple[OtherFace, ...]:
    """Return what the other faces know of a comparison by the first face at the end."""
    if where != "end" or pairing.other is None or not pairing.pairs:
        return ()
    return tuple(_other_face(pairing, face, floors, given) for face in FACES[1:])


def _other_face(pairing: Pairing, face: Measure, floors: Floors, given: float | None) -> OtherFace:
    sides = list(zip(*pairing.pairs, strict=True))
    floor = floors.of(face, [run for side in sides for run in side])
    nothing = average(face, sides[0], list(map(face.nothing, sides[0])))
    logarithms, margin = _scale(pairing, face, floor, nothing, given)
    compared = _columns(pairing, [[face.at_end(run) for run in side] for side in sides], logarithms)
    if compared is None:
        return OtherFace(face, 0, (None, None), margin)
    return OtherFace(face, len(analysed(*compared)[0]), _beyond(face, *compared), margin)


def _scale(
    pairing: Pairing, measure: Measure, floor: float | None, nothing: float | None, given: float | None
) -> tuple[bool, float]:
    """Return whether logarithms are compared, and the margin of equivalence."""
    runs = [run for pair in pairing.pairs for run in pair]
    logarithms = measure.face and by_logarithms(pairing.cell.settings) and has_logarithms(measure, runs)
    if given is not None:
        return logarithms, given
    return logarithms, endpoint.LOG_MARGIN if logarithms else _margin(measure, floor, nothing)


def _margin(measure: Measure, floor: float | None, nothing: float | None) -> float:
    """Return the margin of equivalence where none is given."""
    if measure.face and nothing is not None:
        return endpoint.margin(nothing, floor)
    return floor if floor else 0.1 * abs(nothing or 0.0)


Columns = tuple[Values, Values, list[Run]]


def _columns(pairing: Pairing, columns: list[list[Value]], logarithms: bool = False) -> Columns | None:
    """Return the values of both arms in the pairs that are measured, and a run of each; None if no pair is."""
    there = [at for at, values in enumerate(zip(*columns, strict=True)) if None not in values]
    if not there:
        return None
    one, other = (numpy.array([column[at] for at in there], dtype=float) for column in columns)
    runs = [pairing.pairs[at][0] for at in there]
    return (numpy.log(one), numpy.log(other), runs) if logarithms else (one, other, runs)


def _paired(measure: Measure, one: Values, other: Values, runs: list[Run], margin: float) -> Paired:
    """Compare the pairs as their design asks for."""
    mine, theirs, cells = analysed(one, other, runs)
    if measure.signed:
        mine, theirs = folded(mine), folded(theirs)
    return compare(mine, theirs, margin, cells)


def _beyond(measure: Measure, one: Values, other: Values, runs: list[Run]):
    return beyond(measure, one, other, runs), beyond(measure, other, one, runs)


def mean_interval(pairing: Pairing, measure: Measure, values: list[Value]) -> tuple[Value, Value]:
    """Return the 95 % t interval of the mean of an arm that is alone in `pairing`, as a comparison has with 0.

    None below `LEAST` runs.
    """
    zeros = [None if value is None else 0.0 for value in values]
    columns = _columns(pairing, [values, zeros])
    if columns is None:
        return None, None
    paired = _paired(measure, *columns, margin=0.0)
    return paired.low, paired.high


def _points(runs: list[Run], columns: list[list]) -> list[tuple[int, float]]:
    return [
        (run.seed, one - other)
        for run, one, other in zip(runs, *columns, strict=True)
        if None not in (one, other) and math.isfinite(one) and math.isfinite(other)
    ]


def _arm(name: str, runs: list[Run], values: list, measure: Measure, where: str, floor, logarithms) -> Arm:
    there = [value for value in values if value is not None]
    finite = [value for value in there if math.isfinite(value)]
    way = None if floor is None else length(measure, runs, floor, logarithms)
    corrected = share_left(measure, runs, values, way, logarithms)
    missing = collections.Counter(
        _missing(run, where) for run, value in zip(runs, values, strict=True) if value is None
    )
    return Arm(
        name=name,
        runs=len(runs),
        mean=average(measure, runs, values),
        sd=statistics.stdev(finite) if len(finite) > 1 else None,
        mean_with_diverged=None if measure.worst == math.inf else mean_of([min(v, measure.worst) for v in there]),
        diverged=len(there) - len(finite),
        censored=missing["censored"],
        old=sum(run.is_old and bool(run.result["trajectory"]["step"]) for run in runs),
        stopped_early=sum(run.stopped_early for run in runs),
        unwatched=missing["unwatched"],
        unmeasured=missing["unmeasured"],
        flags=counted_statuses(runs),
        corrected=corrected if corrected is not None and math.isfinite(corrected) else None,
    )


def _missing(run: Run, where: str) -> str:
    """Return why a run has no value."""
    if where == "end" or run.result["matched"] is not None:
        return "unmeasured"
    return "censored" if run.result["trajectory"]["step"] else "unwatched"


def words(verdict: Verdict) -> str:
    """Say what the comparison shows: direction, size, place, faces, and what is to be known beside it."""
    if said := forbidden(verdict):
        return said
    if verdict.other is None:
        return "nothing to compare: only one kind of targets has results here"
    if verdict.paired is None:
        return f"nothing to compare: {'; '.join(_counted(verdict)) or 'no two runs make a pair'}"
    beside = [*utility_lost(verdict), *searched(verdict), *_counted(verdict)]
    return "; ".join([_shown(verdict), *_place(verdict), *beside])


def utility_lost(verdict: Verdict) -> list[str]:
    """Say which of two arms lose utility: to be nearer than another one of them is no win."""
    lost = [arm.name for arm, kept in zip(verdict.arms, verdict.gates, strict=False) if kept is False]
    return ["both lose utility" if len(lost) == 2 else f"{lost[0]} loses utility"] if lost else []


def searched(verdict: Verdict) -> list[str]:
    """Say that the arms differ in more than their targets, since a search chose the settings of each."""
    return ["each with its own searched settings"] if verdict.cell.is_searched and verdict.settings else []


def forbidden(verdict: Verdict) -> str | None:
    """Say which arm cannot be judged by its numbers, and why; None if both can."""
    said = (no_verdict(arm.name, arm.flags, arm.runs) for arm in verdict.arms)
    return next(filter(None, said), None)


def _shown(verdict: Verdict) -> str:
    paired, n = verdict.paired, verdict.design.shown
    if paired.mean == 0 and paired.sd in (0, None) and not paired.lost:
        return f"the same in every pair ({n})"
    if paired.n < LEAST:
        return _numbers(verdict)
    if all(2 * arm.diverged > arm.runs for arm in verdict.arms):
        return f"no verdict: most runs of both arms diverged ({n})"
    if verdict.p is not None and verdict.p < LEVEL:
        return _winner(verdict)
    if paired.lost and verdict.design.kind == "crossed":
        return f"no verdict: a run diverged, and forget sets that are crossed with seeds need all ({n})"
    if paired.lost:
        return f"no significant difference by signed ranks ({n})"
    if verdict.equivalence_p is not None and verdict.equivalence_p < LEVEL:
        return f"{_equivalent(verdict)} ({n})"
    if paired.p is not None and paired.p < LEVEL:
        return _corrected_away(verdict)
    smallest = f"; smallest detectable: {_written(verdict, paired.detectable)}" if paired.detectable else ""
    return f"no significant difference ({n}{smallest})"


def _equivalent(verdict: Verdict) -> str:
    return f"equivalent within {_written(verdict, verdict.margin, '±')}"


def _corrected_away(verdict: Verdict) -> str:
    """Give a difference that is significant by itself, and not among all tests of the report."""
    ahead = verdict.other if verdict.paired.ahead > 0 else verdict.one
    p = f"p = {verdict.paired.p:.2g} by itself, {verdict.p:.2g} corrected"
    size = f" {_size(verdict)}" if verdict.paired.mean else ""
    n = verdict.design.shown
    return f"no significant difference after correction for all tests ({n}): {ahead.name} is ahead{size}, {p}"


def _numbers(verdict: Verdict) -> str:
    """Give the difference of too few pairs for more."""
    paired, few = verdict.paired, verdict.design.too_few
    if paired.mean is None:
        return few
    of_logarithms = ", of log JS_T" if verdict.logarithms else ""
    return f"{few}: {verdict.one.name} less {verdict.other.name} is {paired.mean:+.2g} on average{of_logarithms}"


def _winner(verdict: Verdict) -> str:
    """Name the arm that is ahead in the statistic that p is of; its size is a mean, which must point there too."""
    paired, n = verdict.paired, verdict.design.shown
    first, second = (verdict.other, verdict.one) if paired.ahead > 0 else (verdict.one, verdict.other)
    faces = {face.name: _agrees(face, turned=paired.ahead > 0) for face in verdict.others}
    closer = f"{first.name} {_better(verdict, second, all(word == 'confirms' for word in faces.values()))}"
    beside = _in_words(faces)
    if verdict.equivalence_p is not None and verdict.equivalence_p < LEVEL:
        beside = f"; {_equivalent(verdict)}{beside}"
    if not paired.lost:
        return f"{closer}, {_size(verdict)} ({n}){beside}"
    measured = f"{counted(paired.measured, 'pair')} where neither diverged"
    if paired.against_ranks:
        return f"{closer} by signed ranks ({n}), but not on average over the {measured}{beside}"
    if paired.mean is None:
        return f"{closer} by signed ranks ({n}){beside}"
    return f"{closer} by signed ranks ({n}), {_size(verdict)} in the {measured}{beside}"


def _better(verdict: Verdict, second: Arm, confirmed: bool) -> str:
    """Return what the arm that is ahead is, against the `second`; no arm that does harm is called closer."""
    if harmful(verdict):
        return f"does less harm than {second.name}"
    if verdict.measure.as_it_is:
        return f"is lower than {second.name}"
    face = f" by {verdict.measure.label.partition(' ')[0]} alone" if not confirmed else ""
    return f"is closer to retrained than {second.name}{face}"


def _agrees(other: OtherFace, turned: bool) -> str:
    """Return what another face says of the arm that is ahead: the second where `turned`, else the first."""
    difference = other.beyond[turned]
    if difference is None or other.units < LEAST:
        return "unknown"
    return endpoint.Checked(difference, other.margin).status


def _in_words(faces: dict[str, str]) -> str:
    """Say what the other faces say, those that agree first."""
    if not faces:
        return ""
    groups = {
        word: [name for name, said in faces.items() if said == word] for word in dict.fromkeys(faces.values())
    }
    order = [word for word in ("confirms", "unconfirmed", "unknown", "contradicts") if word in groups]
    return "; " + ", ".join(f"by {listed(groups[word])} {SAID[word]}" for word in order)


SAID = {"confirms": "not farther", "unconfirmed": "not shown", "unknown": "unknown", "contradicts": "farther"}
"""What another face says of the arm that is ahead."""


def harmful(verdict: Verdict) -> bool:
    """Return whether both arms are farther from the retrained model than doing nothing."""
    means = [arm.mean for arm in verdict.arms if arm.mean is not None]
    return verdict.nothing is not None and len(means) == 2 and min(means) > verdict.nothing


def _size(verdict: Verdict) -> str:
    """Return the mean difference with its interval, smallest first, of the side that is ahead."""
    paired = verdict.paired
    size = f"by {_written(verdict, abs(paired.mean))}"
    if paired.low is None or paired.low == paired.high:
        return size
    edges = sorted((paired.low, paired.high)) if paired.mean > 0 else sorted((-paired.low, -paired.high))
    return f"{size} [{', '.join(_written(verdict, edge) for edge in edges).replace('a factor of ', '')}]"


def _written(verdict: Verdict, difference: float, sign: str = "") -> str:
    """Return a difference, or the ratio of two distances where their logarithms are compared."""
    return f"a factor of {factor(difference)}" if verdict.logarithms else f"{sign}{difference:.2g}"


def _place(verdict: Verdict) -> list[str]:
    """Say where both arms are, between another retraining and doing nothing."""
    means = [arm.mean for arm in verdict.arms]
    if verdict.nothing is None or None in means or verdict.paired.n < LEAST:
        return []
    if harmful(verdict):
        worse = "higher" if verdict.measure.as_it_is else "farther from retrained"
        return [f"both are {worse} than doing nothing ({verdict.nothing:.3g})"]
    left = [arm.corrected for arm in verdict.arms]
    if verdict.measure.as_it_is or None in left or not verdict.way:
        each = listed([f"{arm.name} at {arm.mean:.3g}" for arm in verdict.arms])
        no_way = verdict.floor is not None and not verdict.measure.as_it_is and not verdict.way
        return [*([NO_WAY] if no_way else []), f"doing nothing is at {verdict.nothing:.3g}, {each}"]
    each = listed([f"{arm.name} leaves {percent(share)}" for arm, share in zip(verdict.arms, left, strict=True)])
    return [f"of the way from doing nothing ({verdict.nothing:.3g}) to another retraining {each}"]


def _counted(verdict: Verdict) -> list[str]:
    """Say how many runs of each arm are no part of the comparison, or a doubtful one."""
    counts = {
        diverged(verdict): [arm.diverged for arm in verdict.arms],
        "did not stay at the retrained model's forget accuracy": [arm.censored for arm in verdict.arms],
        "kept no trajectory (unlearn.evaluate_every=null)": [arm.unwatched for arm in verdict.arms],
        "did not measure this": [arm.unmeasured for arm in verdict.arms],
        "had targets without a gradient (status degenerate)": [
            arm.flags.get("degenerate", 0) for arm in verdict.arms
        ],
        "had an original that learnt nothing (status untrained)": [
            arm.flags.get("untrained", 0) for arm in verdict.arms
        ],
        "were ended by the first stop rule, maybe in a transient": [arm.stopped_early for arm in verdict.arms],
    }
    if verdict.where == "matched":
        anew = "have an old result, whose matched point was computed anew from its trajectory"
        counts[anew] = [arm.old for arm in verdict.arms]
    return [f"{_of_arms(each, verdict.arms)} {what}" for what, each in counts.items() if any(each)]


def diverged(verdict: Verdict) -> str:
    """Return what counts as diverged here: a run that diverges after matched forgetting has its value there."""
    return "diverged before matched forgetting" if verdict.where == "matched" else "diverged"


def _of_arms(counts: list[int], arms: tuple[Arm, ...]) -> str:
    parts = [
        f"{count:,} of {counted(arm.runs, 'run')} of {arm.name}"
        for count, arm in zip(counts, arms, strict=True)
        if count
    ]
    return " and ".join(parts)
