"""The primary contrasts of a report: two arms at a cost, named beforehand, whatever their algorithms."""

import collections
import dataclasses
import math
from collections.abc import Iterable

import numpy
from jaxtyping import Bool, Float

from softtargets.errors import BadInput, nearest
from softtargets.report import endpoint
from softtargets.report.costs import at_cost
from softtargets.report.measures import FACES, Floors, Measure, Value
from softtargets.report.numbers import percent
from softtargets.report.pairs import (
    SHARED_MODELS,
    Design,
    Pairing,
    analysed,
    design,
    means_of_sets,
    pair_runs,
    places_in,
)
from softtargets.report.runs import Run
from softtargets.report.standing import Setting, gate, has_logarithms, listed, placed, test_acc_gap
from softtargets.report.statistics import mean_of
from softtargets.report.statuses import counted_statuses, no_verdict
from softtargets.report.way import NO_WAY, average, share_left, way_to_go
from softtargets.system.words import counted

NAMES = dict(zip((face.name for face in FACES), ("js_t", "disagreement", "mia_gap"), strict=True))
"""What the primary rule calls the faces."""
SAID = {"confirms": "not farther", "unconfirmed": "not shown", "contradicts": "farther"}
WORDS = {"js_t": "probabilities", "disagreement": "decisions", "mia_gap": "privacy"}
CLOSE = 0.1
"""Share by which a cost may differ from one of `endpoint.SEQUENCE` that it is called by."""
OF_FEATURES = ("svc_accuracy", "relearn_steps", "probe_accuracy")
"""Metrics of which a headline on a class needs one: a mask on the last layer hides a class, too."""
FEWEST = 2
"""Pairs without which a difference has no error."""
Named = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Margin:
    """The margin of a face, and whether the floor that it begins at is known."""

    size: float
    has_floor: bool = True


Margins = dict[Setting, dict[str, Margin]]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where two arms stand by JS_T, over the pairs in which neither diverged, and what they cost."""

    means: tuple[float, float]
    nothing: float | None
    floor: float | None
    way: float | None
    """How much farther doing nothing is than another retraining; None where it is not measurably farther."""
    costs: tuple[float | None, float | None]
    left: tuple[float | None, float | None]
    """The share of the way from doing nothing to another retraining that each leaves; None where there is none."""
    lost: tuple[int, int]
    """Pairs that each arm lost by test accuracy; of a mixed design forget sets, of which each counts once."""
    diverged: int
    """Pairs, or such forget sets, in which a run diverged."""

    @property
    def no_nearer_than_nothing(self) -> bool:
        """Return whether neither arm is nearer to the retrained model than doing nothing."""
        return self.nothing is not None and min(self.means) >= self.nothing


@dataclasses.dataclass(frozen=True)
class Contrast:
    """What the primary rule says of two arms of a setting."""

    setting: Setting
    named: Named
    """The arms in the words of the reader."""
    one: str
    other: str
    design: Design
    cost: float | None
    """Cost of `endpoint.SEQUENCE` at which both arms stand; None where they stand at another, or at two."""
    rule: endpoint.Primary
    no_verdict: str | None
    """Why one of the arms cannot be judged by its numbers; None where both can."""
    gates: tuple[bool | None, bool | None]
    """Whether each arm keeps its utility; None where that cannot be said."""
    logarithms: frozenset[str]
    """Faces whose differences are those of log(D / floor)."""
    without_floor: bool
    """Whether a margin reaches from nothing to 0, since no floor is known."""
    frozen: bool
    """Whether the margins are those of other runs, which were fixed before these."""
    place: Place
    """Where both arms stand, and what they cost."""
    refused: list[str]
    """A sentence for every run or pair of them that is left out."""
    beside: str | None
    """What else the setting needs for a headline; None where all is said."""
    unclaimed: str | None = None
    """Why it may not be claimed by the sequence of costs; None where it may."""

    @property
    def shown(self) -> endpoint.Side | None:
        """Return the arm that is shown to be closer to retrained.

        It must keep its utility, and one of the two must be nearer than doing nothing. No status of an arm may
        forbid a verdict.
        """
        if self.no_verdict:
            return None
        kept = dict(zip(("one", "other"), self.gates, strict=True))
        closer = None if self.place.no_nearer_than_nothing else self.rule.closer
        return closer if closer and kept[closer] else None

    @property
    def side(self) -> endpoint.Side | None:
        """Return the arm of which that may be claimed."""
        return None if self.unclaimed else self.shown


def contrasts(runs: list[Run], named: Iterable[Named], tuning: list[Run] | None = None) -> list[Contrast]:
    """Judge pairs of arms by the primary rule in every setting that has both, and by the sequence of their costs.

    Margins are a tenth of the way from another retraining to doing nothing: of the runs `tuning`, which fix them
    beforehand, or without these of the runs that are judged. Raises BadInput where no setting has both arms, and
    where `tuning` has not their setting, or has models of the runs that are judged.
    """
    if tuning is not None:
        _require_other_pairs(runs, tuning)
    arms: dict[Setting, dict[str, list[Run]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    for run in runs:
        setting, arm = placed(run)
        arms[setting][arm].append(run)
    margins = None if tuning is None else margins_of(tuning)
    judged = [
        _contrast(setting, asked, pair, arms[setting], margins)
        for asked in named
        for setting, pair in _settings_with(arms, *asked).items()
    ]
    return _claimed(judged)


def _require_other_pairs(runs: list[Run], tuning: list[Run]) -> None:
    """Refuse tuning runs that share a retrained model with runs that are judged: margins would follow these."""
    judged = {run.result["hashes"]["retrained"]: run for run in runs}
    for run in tuning:
        if same_model := judged.get(run.result["hashes"]["retrained"]):
            raise BadInput(
                f"--margins: {run.name} has the retrained model of {same_model.name}, which is judged. Give a "
                "folder of runs on other seeds"
            )


def _settings_with(arms: dict[Setting, dict[str, list[Run]]], one: str, other: str) -> dict[Setting, Named]:
    """Return the settings that have both arms, with what they are called there."""
    both = {setting: (arm_in(there, one), arm_in(there, other)) for setting, there in arms.items()}
    known = {setting: pair for setting, pair in both.items() if None not in pair}
    if not known:
        names = sorted({arm for there in arms.values() for arm in there})
        meant = next((nearest(name, names) for name in (one, other) if name not in names), "")
        raise BadInput(
            f"--primary {one!r} {other!r}: no setting has both arms; the arms are {', '.join(names)}{meant}"
        )
    return known


def arm_in(names: Iterable[str], words: str) -> str | None:
    """Return the arm of this name, else the only one whose name has all of these words; None if there is none.

    Raises BadInput where the words fit several arms.
    """
    if words in (names := list(names)):
        return words
    fitting = [name for name in names if set(words.split()) <= set(name.split())]
    if len(fitting) > 1:
        raise BadInput(
            f"--primary {words!r}: fits {counted(len(fitting), 'arm')}, so add words: {', '.join(sorted(fitting))}"
        )
    return fitting[0] if fitting else None


def _contrast(
    setting: Setting, asked: Named, named: Named, arms: dict[str, list[Run]], margins: Margins | None
) -> Contrast:
    pairing = _pairs(setting, named, arms)
    sides = [list(side) for side in zip(*pairing.pairs, strict=True)]
    floors = Floors()
    logarithms = frozenset(
        NAMES[face.name] for face in FACES if setting.by_logarithms and has_logarithms(face, sides[0] + sides[1])
    )
    allowed = _margins(setting, margins, sides[0] + sides[1])
    allowed |= {name: Margin(endpoint.LOG_MARGIN) for name in logarithms if name in allowed}
    return Contrast(
        setting,
        asked,
        *named,
        design(sides[0]),
        _cost(sides),
        _rule(named, sides, logarithms, {name: one.size for name, one in allowed.items()}),
        _no_verdict(named, sides),
        tuple(gate(side, floors).passed for side in sides),
        logarithms,
        not all(one.has_floor for one in allowed.values()),
        margins is not None,
        _place(sides, floors, NAMES[FACES[0].name] in logarithms),
        pairing.refused,
        _beside(setting, sides),
    )


def _no_verdict(named: Named, sides: list[list[Run]]) -> str | None:
    said = (no_verdict(name, counted_statuses(runs), len(runs)) for name, runs in zip(named, sides, strict=True))
    return next(filter(None, said), None)


def _place(sides: list[list[Run]], floors: Floors, logarithms: bool) -> Place:
    face = FACES[0]
    pairs = list(zip(*sides, strict=True))
    finite = [pair for pair in pairs if all(_finite(face.at_end(run)) for run in pair)]
    kept = [list(side) for side in zip(*finite, strict=True)]
    floor = floors.of(face, [run for side in kept for run in side])
    way = way_to_go(face, kept[0], floor, logarithms)
    known = None if floor is None else way
    left = [share_left(face, side, list(map(face.at_end, side)), known, logarithms) for side in kept]
    farthest = [max(face.at_end(run) or 0.0 for run in pair) for pair in pairs]
    return Place(
        means=tuple(average(face, side, list(map(face.at_end, side))) for side in kept),
        nothing=average(face, kept[0], list(map(face.nothing, kept[0]))),
        floor=floor,
        way=way,
        costs=tuple(at_cost(side) for side in sides),
        left=tuple(left),
        lost=tuple(int(_lost(side).sum()) for side in sides),
        diverged=int(numpy.isinf(_by_unit(farthest, sides[0])).sum()),
    )


def _lost(runs: list[Run]) -> Bool[numpy.ndarray, " pairs"]:
    """Mark the pairs that runs lose by their test accuracy; of a mixed design forget sets, by their means."""
    return _by_unit([test_acc_gap(run) or 0.0 for run in runs], runs) <= endpoint.LEAST_ACCURACY


def _by_unit(values: list[float], runs: list[Run]) -> Float[numpy.ndarray, " pairs"]:
    """Return values by pair, or of a mixed design their mean over each forget set."""
    column = numpy.array(values, dtype=float)
    return analysed(column, column, runs)[0]


def _finite(value: Value) -> bool:
    return value is not None and math.isfinite(value)


def _rule(
    named: Named, sides: list[list[Run]], logarithms: frozenset[str], margins: dict[str, float]
) -> endpoint.Primary:
    """Apply the primary rule as the design of the pairs asks for."""
    columns, kind = [_faces(side, logarithms) for side in sides], design(sides[0]).kind
    lost = [_lost(side) for side in sides]
    if kind == "mixed":  # forget sets that come more or less often count once each
        return endpoint.primary(*_of_sets(*columns, sides[0]), margins, None, lost)
    if kind == "crossed" and not all(numpy.isfinite(values).all() for side in columns for values in side.values()):
        one, other = named
        raise BadInput(
            f"--primary {one!r} {other!r}: a run diverged, and forget sets that are crossed with seeds need all; "
            "draw pairs of their own by pairs=25"
        )
    return endpoint.primary(*columns, margins, places_in(sides[0]) if kind == "crossed" else None, lost)


def _of_sets(one: endpoint.Faces, other: endpoint.Faces, runs: list[Run]) -> list[dict]:
    """Return the means of both arms over each forget set, by face."""
    means = {name: means_of_sets(one[name], other[name], runs) for name in one}
    return [{name: pair[side] for name, pair in means.items()} for side in (0, 1)]


def _pairs(setting: Setting, named: Named, arms: dict[str, list[Run]]) -> Pairing:
    """Pair the runs of both arms; raises BadInput where fewer than `FEWEST` pairs have every face."""
    one, other = named
    pairing = pair_runs(arms[one][0].cell, named, arms[one], arms[other], SHARED_MODELS)
    pairs = pairing.pairs
    if not pairs:
        said = f"; {pairing.refused[0]}" if pairing.refused else ""
        raise BadInput(f"--primary {one!r} {other!r}: {setting.name}: no two runs of these arms make a pair{said}")
    measured = [pair for pair in pairs if all(_finite(face.at_end(run)) for face in FACES for run in pair)]
    if len(measured) < FEWEST:
        raise BadInput(
            f"--primary {one!r} {other!r}: {setting.name}: {len(measured):,} of {counted(len(pairs), 'pair')} "
            f"have a distance by every face; at least {FEWEST} must"
        )
    return pairing


def _faces(runs: list[Run], logarithms: frozenset[str]) -> endpoint.Faces:
    """Return the values of an arm by face; infinity where a run has none."""
    values = {
        NAMES[face.name]: numpy.array([math.inf if (v := face.at_end(run)) is None else v for run in runs])
        for face in FACES
    }
    return {name: numpy.log(column) if name in logarithms else column for name, column in values.items()}


def margins_of(runs: list[Run]) -> Margins:
    """Return the margin of every face but the first, by setting."""
    groups = collections.defaultdict(list)
    for run in runs:
        groups[placed(run)[0]].append(run)
    floors = Floors()
    return {
        setting: {NAMES[face.name]: _margin(face, group, floors) for face in FACES[1:]}
        for setting, group in groups.items()
    }


def _margin(face: Measure, runs: list[Run], floors: Floors) -> Margin:
    nothing, floor = average(face, runs, list(map(face.nothing, runs))), floors.of(face, runs)
    return Margin(endpoint.margin(nothing or 0.0, floor), floor is not None)


def _margins(setting: Setting, margins: Margins | None, runs: list[Run]) -> dict[str, Margin]:
    """Return the margins of a setting; raises BadInput where they were to be fixed beforehand and are not."""
    known = margins_of(runs) if margins is None else margins
    if setting not in known:
        there = ", ".join(sorted(one.name for one in known)) or "none"
        raise BadInput(f"--margins: no run there is of the setting {setting.name}; its settings are {there}")
    return dict(known[setting])


def _cost(sides: list[list[Run]]) -> float | None:
    """Return the cost of the sequence that both arms stand at."""
    costs = [at_cost(side) for side in sides]
    for known in endpoint.SEQUENCE:
        if all(cost is not None and abs(cost - known) <= CLOSE * known for cost in costs):
            return known
    return None


def _beside(setting: Setting, sides: list[list[Run]]) -> str | None:
    """Say what a headline on this kind of forget set still needs."""
    kind = dict(setting.settings)["forget_set"]
    if kind == "mislabelled":
        means = [mean_of([_metrics(run).get("forget_true_acc") for run in side]) for side in sides]
        shown = " and ".join("–" if mean is None else f"{mean:.3f}" for mean in means)
        return f"for wrong labels privacy and accuracy on the true labels decide: it is {shown}"
    metrics = [_metrics(run) for side in sides for run in side]
    if kind == "class" and not all(any(one.get(name) is not None for name in OF_FEATURES) for one in metrics):
        return "nothing is known of features: a headline on a class needs evidence=[svc,relearn,probe]"
    return None


def _metrics(run: Run) -> dict:
    return run.result["metrics"]["unlearned"]


def _claimed(contrasts: list[Contrast]) -> list[Contrast]:
    """Claim costs by a fixed sequence in every setting; what stands at no cost of it is claimed by itself."""
    shown = collections.defaultdict(dict)
    for one in contrasts:
        if one.cost is not None:
            shown[one.setting][one.cost] = shown[one.setting].get(one.cost, True) and one.shown is not None
    # a contrast that is not shown needs no word on the sequence: the ones after it do
    return [
        one
        if one.cost is None or one.shown is None
        else dataclasses.replace(one, unclaimed=_unclaimed(shown[one.setting], one.cost))
        for one in contrasts
    ]


def _unclaimed(shown: dict[float, bool], cost: float) -> str | None:
    """Return at which cost the sequence ends before one may be claimed; None where it does not."""
    if endpoint.in_sequence(shown)[cost]:
        return None
    first = next(one for one in endpoint.SEQUENCE if not shown.get(one, False))
    if first == cost:
        return f"as another contrast named at cost {cost:g} is not shown"
    return (
        f"as it is not shown at cost {first:g}"
        if first in shown
        else f"as cost {first:g}, which comes first, is not named"
    )


def headlines(contrasts: list[Contrast]) -> list[str]:
    """Say for every question that several recipes of training answer whether they all give one answer.

    A question is a setting without its recipe, two named arms and their costs; arms may have other settings by
    another recipe.
    """
    questions = collections.defaultdict(list)
    for one in contrasts:
        plain = tuple((name, value) for name, value in one.setting.settings if name != "training")
        setting = Setting((*plain, ("training", dict(plain)["architecture"])))
        questions[setting, _at_costs(one), one.named].append(one)
    several = {key: group for key, group in questions.items() if len({one.setting for one in group}) > 1}
    places = collections.Counter((setting, costs) for setting, costs, _ in several)
    return [
        _headline(f"{setting.name}{costs}{_of(named) if places[setting, costs] > 1 else ''}", group)
        for (setting, costs, named), group in several.items()
    ]


def _at_costs(contrast: Contrast) -> str:
    """Say at which cost of the sequence both arms stand, else the cost of each."""
    if contrast.cost is not None:
        return f" at cost {contrast.cost:g}"
    costs = [f"{cost:.2g}" for cost in contrast.place.costs if cost is not None]
    return f" at cost {' and '.join(dict.fromkeys(costs))}" if costs else ""


def _of(named: Named) -> str:
    return f", {' against '.join(named)}"


def _headline(where: str, group: list[Contrast]) -> str:
    recipes = {dict(one.setting.settings)["training"]: one for one in group}
    sides = {one.side for one in group}
    if sides == {"one"} or sides == {"other"}:
        return f"{where}: the same arm is closer by {listed(sorted(recipes))}"
    shown = [name for name, one in sorted(recipes.items()) if one.side]
    by = f"shown by {listed(shown)} alone" if len(sides) == 2 and None in sides else "shown by no recipe"
    by = "the recipes contradict each other" if {"one", "other"} <= sides else by
    return f"{where}: no headline, since {by}" if sides != {None} else f"{where}: no headline, {by}"


def say_contrast(contrast: Contrast) -> str:
    """Say what the primary rule says: direction, size, pairs, place, other faces, and what stands against it."""
    faces = [f"by {WORDS[name]} {SAID[face.status]}" for name, face in contrast.rule.faces.items()]
    margins = [] if contrast.frozen else ["margins of these pairs themselves"]
    margins += [endpoint.WITHOUT_FLOOR] if contrast.without_floor else []
    beside = [contrast.beside] if contrast.beside else []
    said = [_direction(contrast), *_pairs_won(contrast), *_left_out(contrast)]
    said += [*_said_place(contrast), *_unequal_costs(contrast)]
    return "; ".join([*said, *faces, *_said_utility(contrast), *margins, *beside])


NAMED = 3
"""Most of what is left out that a line names."""


def _left_out(contrast: Contrast) -> list[str]:
    """Say which runs and pairs are left out, the first of them by name."""
    refused = contrast.refused
    more = [f"{len(refused) - NAMED} more"] if len(refused) > NAMED else []
    return [f"left out: {'; '.join([*refused[:NAMED], *more])}"] if refused else []


def _said_utility(contrast: Contrast) -> list[str]:
    """Say which arms lose utility, and of which it is not known: of neither anything may be claimed."""
    kept = list(zip(_names(contrast), contrast.gates, strict=True))
    lost, unknown = ([name for name, word in kept if word is said] for said in (False, None))
    without = [f"{listed(lost)} without utility"] if lost else []
    return [*without, *([f"utility of {listed(unknown)} unknown"] if unknown else [])]


def _names(contrast: Contrast) -> tuple[str, str]:
    return contrast.one, contrast.other


def _direction(contrast: Contrast) -> str:
    rule, names = contrast.rule, {"one": contrast.one, "other": contrast.other}
    size, n = _size(contrast), contrast.design.shown
    if contrast.shown:
        second = names["other" if contrast.shown == "one" else "one"]
        order = f"not claimed, {contrast.unclaimed}: " if contrast.unclaimed else ""
        return f"{order}{names[contrast.shown]} is closer to retrained than {second} {size} ({n})"
    if contrast.no_verdict and rule.ahead:
        return f"{contrast.no_verdict}; {names[rule.ahead]} is ahead {size} ({n})"
    if not rule.ahead:
        return f"neither is shown to be closer to retrained: both are equal ({n})"
    if contrast.place.no_nearer_than_nothing:
        ahead = f"{names[rule.ahead]} does less harm {size}"
        return f"neither is closer to retrained than doing nothing ({contrast.place.nothing:.3g}): {ahead} ({n})"
    return f"neither is shown to be closer to retrained: {names[rule.ahead]} is ahead {size} ({n})"


def _said_place(contrast: Contrast) -> list[str]:
    """Say where both arms are between another retraining and doing nothing."""
    place, names = contrast.place, _names(contrast)
    if place.nothing is None or place.no_nearer_than_nothing:
        return []
    if None not in place.left:
        each = listed([f"{name} leaves {percent(share)}" for name, share in zip(names, place.left, strict=True)])
        return [f"of the way from doing nothing ({place.nothing:.3g}) to another retraining {each}"]
    each = listed([f"{name} at {mean:.3g}" for name, mean in zip(names, place.means, strict=True)])
    no_way = [] if place.way or place.floor is None else [NO_WAY]
    return [*no_way, f"doing nothing is at {place.nothing:.3g}, {each}"]


def _unequal_costs(contrast: Contrast) -> list[str]:
    """Warn where one arm may spend more than the other."""
    costs = contrast.place.costs
    if None in costs or max(costs) - min(costs) <= CLOSE * max(costs):
        return []
    return [f"at unequal costs, {costs[0]:.2g} and {costs[1]:.2g}"]


def _size(contrast: Contrast) -> str:
    js_t = contrast.rule.js_t
    # of the side that is ahead: a positive difference
    low, high = js_t.error.interval(abs(js_t.mean))
    p = f"p = {js_t.p:.2g}"
    if "js_t" in contrast.logarithms:
        return f"by {abs(js_t.mean):.2g} of log JS_T [{low:.2g}, {high:.2g}], {p}"
    return f"by {abs(js_t.mean):.2g} nats of JS_T [{low:.2g}, {high:.2g}], {p}"


def _pairs_won(contrast: Contrast) -> list[str]:
    signs = contrast.rule.signs
    won, lost = (signs.losses, signs.wins) if contrast.rule.ahead == "other" else (signs.wins, signs.losses)
    unit = "forget set" if contrast.design.kind == "mixed" else "pair"  # where each set counts once
    said = [f"{counted(won, unit)} won, {lost} lost, {signs.ties} tied (sign test p = {signs.p:.2g})"]
    by_accuracy = [
        f"{count} of {name}" for name, count in zip(_names(contrast), contrast.place.lost, strict=True) if count
    ]
    if by_accuracy:
        what = "runs that lost their pair" if unit == "pair" else "forget sets lost"
        said.append(f"{what} by test accuracy: {listed(by_accuracy)}")
    missing = signs.wins + signs.losses + signs.ties - contrast.rule.pairs
    if missing:
        diverged = contrast.place.diverged
        by = "in which neither run diverged" if diverged == missing else "that have a value by every face"
        beside = f", since a run diverged in {diverged}" if 0 < diverged < missing else ""
        said.append(f"the size is that of {counted(contrast.rule.pairs, unit)} {by}{beside}")
    return said
