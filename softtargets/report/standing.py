"""Where arms of a setting stand: against doing nothing, early stopping, retraining and fine-tuning at equal cost.

A setting is a dataset, an architecture, a recipe of training and a kind of forget set. Within it all arms, of any
algorithm and targets, are held against the same references, pair by pair.
"""

import collections
import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Sequence

import numpy
from jaxtyping import Float

from softtargets.config import dataset_names
from softtargets.report import endpoint
from softtargets.report.costs import anew, cheaper_from
from softtargets.report.measures import FACES, Floors, Measure, Value
from softtargets.report.numbers import percent
from softtargets.report.pairs import SHARED_MODELS, Design, Pairing, analysed, by_pair, design, pair_runs
from softtargets.report.runs import Factors, Run, in_line, typed
from softtargets.report.statistics import LEAST, LEVEL, Paired, compare, folded, mean_of
from softtargets.report.statuses import counted_statuses, no_verdict
from softtargets.report.way import NO_WAY, average, length, share, way_to_go
from softtargets.system.words import counted

OF_ARM = ("mu_algo", "unlearn", "tuned", "folder")
"""Choices that make an arm of a setting, as do the settings of these groups."""
NEAR = 0.1
"""Costs count as equal where they differ by no more than this share of the larger."""
EQUAL = " at equal cost"
"""End of the name of a reference that costs as much as the arm."""
SIMPLE = {"retrain": f"retraining{EQUAL}", "finetune": f"fine-tuning{EQUAL}"}
"""Algorithms that an arm has to beat at its own cost, with what a short line calls the nearest arm of each."""
APART = {
    1: "with models from before the request, whose cost the request does not pay",
    2: "for comparison only, which are no answer to a request",
}
"""Groups of arms that are ranked apart, and why."""
LARGEST = math.log(sys.float_info.max)
"""The logarithm of the largest float."""
BY_LOGARITHMS = ("class", "mislabelled")
"""Forget sets where any method comes most of the way from doing nothing: distances are compared as logarithms."""


Runs = dict[tuple[int, int, int], Run]
"""The run of each pair of an arm."""


def by_logarithms(settings: Factors) -> bool:
    """Return whether distances on this kind of forget set are compared as logarithms."""
    return dict(settings).get("forget_set") in BY_LOGARITHMS


@dataclasses.dataclass(frozen=True)
class Setting:
    """What arms share that stand in one ranking."""

    settings: Factors

    @property
    def name(self) -> str:
        """Return the settings in a line for readers, without a recipe that follows its architecture."""
        return in_line(self._told(), dataset_names.shown)

    @property
    def key(self) -> str:
        """Return the same line with the option of the dataset, for other programs."""
        return in_line(self._told(), str)

    def _told(self) -> Factors:
        chosen = dict(self.settings)
        hidden = {"training"} if chosen["training"] == chosen["architecture"] else set()
        return tuple((name, value) for name, value in chosen.items() if name not in hidden)

    @property
    def by_logarithms(self) -> bool:
        """Return whether distances are compared as log(D / floor), in which the floor of a pair cancels."""
        return by_logarithms(self.settings)


@dataclasses.dataclass(frozen=True)
class Against:
    """An arm against a reference by one face; a positive difference says that the reference is nearer."""

    reference: str
    paired: Paired | None
    """None where no pair can be measured."""
    beyond: endpoint.Difference | None = None
    """How much farther the arm is, for the claim that it is less than the margin; None where a run diverged."""
    signs: endpoint.Signs | None = None
    """Pairs won and lost by the arm; a run that diverged or failed the utility gate lost its pair."""
    p: float | None = None
    """Holm-adjusted over the report."""
    refused: tuple[str, ...] = ()
    """A sentence for every run or pair that is left out."""

    @property
    def upper(self) -> float | None:
        """Return the upper one-sided 95 % bound of how much farther the arm is."""
        return None if self.beyond is None or self.paired.n < LEAST else self.beyond.upper()


@dataclasses.dataclass(frozen=True)
class OnFace:
    """An arm's distance to retrained models by one face."""

    measure: Measure
    mean: float | None
    nothing: float | None
    floor: float | None
    way: float | None
    """How much farther doing nothing is than another retraining; None where it is not measurably farther."""
    logarithms: bool
    """Whether differences and the margin are those of log(D / floor)."""
    against: tuple[Against, ...]
    left: float | None = None
    """The share of the way to retraining that is left: 0 is another retraining, 1 doing nothing."""
    at_floor: bool | None = None
    """Whether it is shown to be less than the margin farther than another retraining; None if not known."""
    fails: bool | None = None
    """Whether it is not shown, after Holm over all arms, to be less than the margin farther than doing nothing."""

    @property
    def margin(self) -> float | None:
        """Return a tenth of the way from another retraining to doing nothing; None where that is not known."""
        if self.logarithms:
            return endpoint.LOG_MARGIN
        return None if self.nothing is None else endpoint.margin(self.nothing, self.floor) or None

    @property
    def lacks_floor(self) -> bool:
        """Return whether doing nothing was measured, and no other retraining, so that the margin reaches to 0."""
        return self.nothing is not None and self.floor is None


@dataclasses.dataclass(frozen=True)
class Gate:
    """Whether an arm keeps its utility; None where that cannot be said."""

    accuracy: float | None
    """Lower one-sided 95 % bound of the test accuracy less the retrained model's, over pairs."""
    probabilities: float | None
    """JS_T on the test set less doing nothing's, in nats."""
    allowed: float | None
    """Most that this may be: a tenth of the way from floor to doing nothing on the forget set."""
    passed: bool | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """One arm of a setting."""

    setting: Setting
    arm: str
    runs: int
    design: Design
    share: float | None
    """Mean cost in gradient samples, as a share of retraining's."""
    seconds: float | None
    """The same in CPU seconds."""
    prepared: float | None
    """Mean cost of what was prepared before the request, in gradient samples."""
    anew: bool
    """Whether that was prepared for each of several requests."""
    comparison_only: bool
    diverged: int
    no_verdict: str | None
    """Why it cannot be judged by its numbers; None where it can."""
    faces: tuple[OnFace, ...]
    gate: Gate

    @property
    def shown(self) -> str:
        """Return the arm's name, and why it stands after nearer ones."""
        notes = {1: ["with models from before the request"], 2: ["for comparison only"]}.get(self.group, [])
        notes = [*notes, *(["loses utility"] if self.gate.passed is False else [])]
        return f"{self.arm} ({', '.join(notes)})" if notes else self.arm

    @property
    def group(self) -> int:
        """Return 1 where an arm needs models from before the request, 2 where it only compares, else 0."""
        return 2 if self.comparison_only else 1 if self.prepared else 0


def standings(runs: list[Run]) -> list[Standing]:
    """Return where every arm stands, by setting and then by the first face; an arm without a value comes last."""
    settings = collections.defaultdict(lambda: collections.defaultdict(list))
    for run in runs:
        setting, arm = placed(run)
        settings[setting][arm].append(run)
    placed_arms = [one for setting, arms in settings.items() for one in _of_setting(setting, arms)]
    return sorted(_with_failures(placed_arms), key=_order)


def _order(one: Standing) -> tuple:
    """Return what sorts arms: those that need models from before the request, or only compare, stand apart."""
    mean = one.faces[0].mean
    return one.setting.name, one.group, mean is None, mean or 0.0


def _with_failures(standings: list[Standing]) -> list[Standing]:
    """Say which arms fail against doing nothing by the first face; all arms of a report are one family."""
    firsts = [one.faces[0] for one in standings]
    tested = [
        (index, face) for index, face in enumerate(firsts) if face.against[0].upper is not None and face.margin
    ]
    fails = dict(
        zip(
            (index for index, _ in tested),
            endpoint.failing([face.against[0].beyond for _, face in tested], [face.margin for _, face in tested]),
            strict=True,
        )
    )
    # a run that diverged is at no distance: its arm is not shown to be within the margin of anything
    fails |= {index: True for index, one in enumerate(standings) if one.diverged and one.design.units >= LEAST}
    return [
        dataclasses.replace(one, faces=(dataclasses.replace(face, fails=fails.get(index)), *one.faces[1:]))
        for index, (one, face) in enumerate(zip(standings, firsts, strict=True))
    ]


def placed(run: Run) -> tuple[Setting, str]:
    """Return the setting of a run, and the name of its arm there."""
    own = {name: value for name, value in run.cell.settings if name.partition(".")[0] in OF_ARM}
    rest = tuple((name, value) for name, value in run.cell.settings if name not in own)
    cost = run.result["config"].get("unlearn", {}).get("cost")
    if cost is not None:  # a budget is part of an arm's name even where no other budget was run
        own["unlearn.cost"] = cost
    targets = [] if run.result.get("ignores_targets") else [run.arm]
    hidden = {"mu_algo"} | ({"unlearn"} if own.get("unlearn") == own["mu_algo"] else set())
    if own.get("unlearn.schedule.peak") == own.get("unlearn.optimizer.lr"):
        hidden.add("unlearn.schedule.peak")  # in the presets it follows the learning rate
    return Setting(rest), " ".join([own["mu_algo"], *targets, *_typed(own, hidden)])


def _typed(settings: dict[str, object], hidden: Iterable[str]) -> list[str]:
    return [f"{name}={typed(value)}" for name, value in settings.items() if name not in hidden]


def _of_setting(setting: Setting, arms: dict[str, list[Run]]) -> list[Standing]:
    """Hold every arm of a setting against the references that are there."""
    floors, once = Floors(), {arm: by_pair(runs) for arm, runs in arms.items()}
    everywhere = [run for runs in once.values() for run in runs.values()]
    scales = {face.name: setting.by_logarithms and has_logarithms(face, everywhere) for face in FACES}
    beside = {arm: _beside(arm, arms, once) for arm in arms}
    return [
        Standing(
            setting=setting,
            arm=arm,
            runs=len(arms[arm]),
            design=design(list(runs.values())),
            share=_cost(runs, "share"),
            seconds=_cost(runs, "share_seconds"),
            prepared=_cost(runs, "prepared_share"),
            anew=anew([run.result for run in runs.values()]),
            comparison_only=any(run.result.get("comparison_only") for run in runs.values()),
            diverged=sum(FACES[0].at_end(run) == math.inf for run in runs.values()),
            no_verdict=no_verdict(arm, counted_statuses(list(runs.values())), len(runs)),
            faces=tuple(
                _on_face(face, scales[face.name], list(runs.values()), beside[arm], floors) for face in FACES
            ),
            gate=gate(list(runs.values()), floors),
        )
        for arm, runs in once.items()
    ]


def _beside(arm: str, arms: dict[str, list[Run]], once: dict[str, Runs]) -> list[tuple[str, Pairing]]:
    """Pair an arm with every reference; the first of each two is what the reference is called."""
    return [
        (name, pair_runs(arms[arm][0].cell, (arm, other), arms[arm], arms[other], SHARED_MODELS))
        for name, other in references(arm, once)
    ]


def has_logarithms(measure: Measure, runs: list[Run]) -> bool:
    """Return whether all distances and floors of a face are above 0; a signed gap has no logarithm."""
    values = [value(run) for run in runs for value in (measure.at_end, measure.nothing)]
    values += [measure.floor_of(run) for run in runs if measure.face and has_faces(run)]
    return not measure.signed and all(value is None or value > 0 for value in values)


def _cost(runs: Runs, name: str) -> float | None:
    return mean_of([run.result["cost"].get(name) for run in runs.values()])


def _on_face(
    measure: Measure,
    logarithms: bool,
    runs: list[Run],
    beside: Sequence[tuple[str, Pairing]],
    floors: Floors,
) -> OnFace:
    """Hold an arm's runs against doing nothing and the references that they are paired with, by a face."""
    mean, nothing = (average(measure, runs, list(map(of, runs))) for of in (measure.at_end, measure.nothing))
    floor = floors.of(measure, runs)
    way = way_to_go(measure, runs, floor, logarithms)
    face = OnFace(measure, mean, nothing, floor, way, logarithms, ())
    against = [_against("doing nothing", face, [(run, run) for run in runs], measure.nothing)]
    for name, pairing in beside:
        one = _against(name, face, pairing.pairs, measure.at_end)
        against.append(dataclasses.replace(one, refused=tuple(pairing.refused)))
    left = None if floor is None else _left(against[0].paired, length(measure, runs, floor, logarithms))
    return dataclasses.replace(face, against=tuple(against), left=left, at_floor=_at_floor(face, runs))


def _left(to_nothing: Paired | None, way: float | None) -> float | None:
    """Return the share of the way that is left; None where so many runs diverged that a mean says nothing."""
    if to_nothing is None or to_nothing.mean is None or not way:
        return None
    return share(to_nothing.mean, way)


def references(arm: str, arms: dict[str, Runs]) -> list[tuple[str, str]]:
    """Return the arms that an arm is held against, with what each is called: early stopping, `SIMPLE` ones."""
    early = [other for other in arms if algorithm_of(other) == "early" and other != arm]
    named = [("early stopping" if len(early) == 1 else other, other) for other in early]
    share = _cost(arms[arm], "share")
    if share:
        equal = [other for other in arms if _is_simple(other) and other != arm]
        costs = {other: _cost(arms[other], "share") for other in equal}
        near = {o: abs(c - share) for o, c in costs.items() if c and abs(c - share) <= NEAR * max(c, share)}
        named += [
            (f"{other}{EQUAL}", other)
            for other in sorted(near, key=lambda o: (list(SIMPLE).index(algorithm_of(o)), o))
        ]
    return named


def algorithm_of(name: str) -> str:
    """Return the algorithm of an arm, or of a reference that is named by its arm."""
    return name.partition(" ")[0]


def _is_simple(arm: str) -> bool:
    """Return whether an arm is retraining, or fine-tuning on labels; with other targets it is like other arms."""
    return algorithm_of(arm) == "retrain" or arm.split(" ")[:2] == ["finetune", "hard"]


def nearest_simple(against: Iterable[Against]) -> dict[str, Against]:
    """Return the nearest arm of each of `SIMPLE` at equal cost, by its algorithm; without those of no number."""
    nearest: dict[str, Against] = {}
    for name in SIMPLE:
        equal = [one for one in against if one.reference.endswith(EQUAL) and algorithm_of(one.reference) == name]
        known = [one for one in equal if one.paired is not None and one.paired.mean is not None]
        if known:  # a positive difference says that the reference is nearer
            nearest[name] = max(known, key=lambda one: one.paired.mean)
    return nearest


def _against(
    name: str, face: OnFace, pairs: list[tuple[Run, Run]], of_reference: Callable[[Run], Value]
) -> Against:
    rows = [(face.measure.at_end(run), of_reference(other), run, other) for run, other in pairs]
    there = [row for row in rows if None not in row[:2]]
    if not there:
        return Against(name, None)
    one, other = (numpy.array([row[i] for row in there], dtype=float) for i in (0, 1))
    if face.logarithms:
        one, other = numpy.log(one), numpy.log(other)
    runs = [row[2] for row in there]
    mine, theirs, cells = analysed(one, other, runs)
    if face.measure.signed:
        mine, theirs = folded(mine), folded(theirs)
    paired = compare(mine, theirs, face.margin or 0.0, cells)
    won = signs([row[2:] for row in there], *map(numpy.abs, (one, other)) if face.measure.signed else (one, other))
    return Against(name, paired, beyond(face.measure, one, other, runs), won)


def beyond(
    measure: Measure, one: Float[numpy.ndarray, " n"], other: Float[numpy.ndarray, " n"], runs: list[Run]
) -> endpoint.Difference | None:
    """Return how much farther `one` is, for a claim that it is less than a margin; None where a value is infinite.

    Gaps with a sign are compared so that noise in `other` is no help (`endpoint.cautious_gap_difference`).
    """
    mine, theirs, cells = analysed(one, other, runs)
    if len(mine) < 2 or not numpy.isfinite([mine, theirs]).all():
        return None
    difference = endpoint.cautious_gap_difference if measure.signed else endpoint.mean_difference
    return difference(mine, theirs, cells)


def signs(
    pairs: list[tuple[Run, Run]], one: Float[numpy.ndarray, " n"], other: Float[numpy.ndarray, " n"]
) -> endpoint.Signs:
    """Count the pairs that `one` wins; a run that diverged or failed the utility gate has lost its pair."""
    lost = [numpy.array([fails_gate(run) for run in side]) for side in zip(*pairs, strict=True)]
    return endpoint.sign_test(numpy.where(lost[0], math.inf, one), numpy.where(lost[1], math.inf, other))


def _at_floor(face: OnFace, runs: list[Run]) -> bool | None:
    """Return whether an arm is shown to be at the floor, over pairs of which each has a floor of its own."""
    over = over_floor(face.measure, runs, face.logarithms)
    return None if over is None or face.margin is None else over.upper() < face.margin


def over_floor(measure: Measure, runs: list[Run], logarithms: bool = False) -> endpoint.Difference | None:
    """Return the distance of an arm less the floor; None where a pair has no floor, or a run diverged."""
    known = [(measure.at_end(run), measure.floor_of(run)) for run in runs if has_faces(run)]
    if (
        measure.signed
        or len(known) < len(runs)
        or design(runs).units < LEAST
        or any(None in pair for pair in known)
    ):
        return None
    values, floors = numpy.array(known, dtype=float).T
    if logarithms:
        values, floors = endpoint.log_distances(values, floors), numpy.zeros(len(floors))
    return beyond(measure, values, floors, runs)


def has_faces(run: Run) -> bool:
    """Return whether a run was measured by the three faces."""
    return bool(run.result.get("faces"))


def test_acc_gap(run: Run) -> float | None:
    """Return test accuracy less the retrained model's; None for old results and runs that diverged."""
    return run.result["faces"]["test_acc_gap"]["unlearned"] if has_faces(run) else None


def fails_gate(run: Run) -> bool:
    """Return whether a run by itself fails the utility gate, by its test accuracy; old results do not say it."""
    gap = test_acc_gap(run)
    return gap is not None and gap <= endpoint.LEAST_ACCURACY


def _has_utility(run: Run) -> bool:
    """Return whether all that the utility gate looks at was measured in a run that did not diverge."""
    if not has_faces(run) or FACES[0].at_end(run) == math.inf:
        return False
    faces = run.result["faces"]
    values = (faces["test_acc_gap"]["unlearned"], *(faces["js_t_test"][name] for name in ("unlearned", "nothing")))
    return None not in (*values, faces[FACES[0].name]["nothing"])


def gate(runs: list[Run], floors: Floors | None = None) -> Gate:
    """Return whether an arm's runs keep the utility of the retrained model.

    Their JS_T on the test set may exceed doing nothing's by a tenth of the way that is to go on the forget set: on
    the test set itself doing nothing is at the floor where the forget set is random, and has no way to go. It is
    judged over the runs that have these values: those that diverged have none, and lose their pairs elsewhere.
    """
    runs = [run for run in runs if _has_utility(run)]
    if design(runs).units < LEAST:
        return Gate(None, None, None, None)
    faces = [run.result["faces"] for run in runs]
    gaps = [one["test_acc_gap"]["unlearned"] for one in faces]
    far = [(one["js_t_test"]["unlearned"], one["js_t_test"]["nothing"]) for one in faces]
    nothing = mean_of([one[FACES[0].name]["nothing"] for one in faces])
    accuracy, probabilities = (
        endpoint.mean_difference(*analysed(*numpy.array(pairs, dtype=float).T, runs))
        for pairs in ([(gap, 0.0) for gap in gaps], far)
    )
    allowed = endpoint.margin(nothing, (floors or Floors()).of(FACES[0], runs))
    passed = endpoint.passes_gate(accuracy, probabilities, allowed)
    return Gate(accuracy.lower(), probabilities.mean, allowed, passed)


def say_standing(standing: Standing) -> str:
    """Say where an arm stands against doing nothing by every face, against what is as simple, and its utility."""
    if standing.no_verdict:
        return standing.no_verdict
    first = standing.faces[0]
    if first.mean is None:
        return (
            f"no value: {', '.join(runs_diverged(standing)) or 'its runs are of a version without this measure'}"
        )
    if standing.design.units < LEAST:
        return standing.design.too_few
    left = [*_way_left(first), *(["at the floor"] if first.at_floor else [])]
    others = [f"{_than(one, first)} {one.reference}{_size(one, first)}{_fewer(one)}" for one in first.against[1:]]
    fails = ["fails against doing nothing"] if first.fails else []
    utility = {True: "keeps utility", False: "loses utility", None: "utility unknown"}[standing.gate.passed]
    return "; ".join(
        [_against_nothing(standing), *left, *others, utility, *fails, *cheaper(standing), *runs_diverged(standing)]
    )


def runs_diverged(standing: Standing) -> list[str]:
    """Say how many of an arm's runs diverged, where one did."""
    whole = counted(standing.design.pairs, "run")
    return [f"{standing.diverged:,} of {whole} diverged"] if standing.diverged else []


def _way_left(face: OnFace) -> list[str]:
    """Say which share of the way to retraining is left, or that there is no way; nothing without a floor."""
    if face.left is not None and face.way:
        return [f"leaves {percent(face.left)} of the way to retraining"]
    return [] if face.floor is None or face.way else [NO_WAY]


def cheaper(standing: Standing) -> list[str]:
    """Say from how many requests on an arm is cheaper than retraining, where that is not from the first."""
    if None in (standing.share, standing.seconds):
        return []
    once, each = (0.0, standing.prepared or 0.0) if standing.anew else (standing.prepared, 0.0)
    requests = cheaper_from(standing.share + each, standing.seconds + each, once)
    if requests is None:
        return ["not cheaper than retraining"]
    return [f"cheaper than retraining from {requests} requests on"] if requests > 1 else []


def _against_nothing(standing: Standing) -> str:
    """Say what every face says of an arm against doing nothing: faces that say the same stand together."""
    said = collections.defaultdict(list)
    for face in standing.faces:
        said[word(face.against[0], face)].append(face.measure.label.partition(" ")[0])
    first = standing.faces[0]
    size, unit = _size(first.against[0], first), "" if first.logarithms else " nats"
    words = [f"{word} by {listed(names)}" for word, names in said.items()]
    return f"against doing nothing: {', '.join(words)}{f' ({size.strip()}{unit})' if size else ''}"


def listed(names: list[str]) -> str:
    """Join names by commas and a last `and`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _size(one: Against, face: OnFace) -> str:
    """Return by how much an arm is nearer or farther: a difference, or a ratio where logarithms are compared."""
    if not _decided(one) or one.paired.mean is None:
        return ""
    size = abs(one.paired.mean)
    return f" by a factor of {factor(size)}" if face.logarithms else f" by {size:.2g}"


def factor(difference: float) -> str:
    """Write the ratio of two distances whose logarithms differ by so much; ratios near 1 have more digits."""
    times = ratio(difference)
    if times == math.inf:
        return f"more than {sys.float_info.max:.0e}"
    if 0.9 < times < 1.1:
        return f"{times:.4f}"
    return f"{times:.0f}" if 100 <= times < 1e6 else f"{times:.3g}"


def ratio(difference: float) -> float:
    """Return the ratio of two distances whose logarithms differ by so much; infinity where no float holds it."""
    return math.exp(difference) if difference < LARGEST else math.inf


def _fewer(one: Against) -> str:
    """Say in how many pairs an arm is held against a reference, where runs or pairs are left out of that."""
    if not one.refused:
        return ""
    return f" ({counted(one.paired.n if one.paired else 0, 'pair')}, {len(one.refused)} left out)"


def _decided(one: Against) -> bool:
    return one.p is not None and one.p < LEVEL and one.paired.n >= LEAST


def _than(one: Against, face: OnFace) -> str:
    said = word(one, face)
    return (
        f"{said} as" if said == "the same" else "not compared with" if said == "not compared" else f"{said} than"
    )


def word(one: Against, face: OnFace) -> str:
    """Return what is shown: nearer, farther, or that it is not farther by the margin; else that nothing is."""
    paired = one.paired
    if paired is None:
        return "not compared"
    if _decided(one):
        return "nearer" if paired.ahead < 0 else "farther"
    if paired.mean == 0 and paired.sd == 0:
        return "the same"
    if one.upper is not None and face.margin is not None and one.upper < face.margin:
        return "not farther"
    return "not shown to be nearer"
