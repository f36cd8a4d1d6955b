"""Where every arm of a setting stands: against doing nothing, early stopping and retraining at equal cost.

A setting is a dataset, an architecture, a recipe of training and a kind of forget set. Within it all arms, of any
algorithm and targets, are held against the same references, pair by pair.
"""

import collections
import dataclasses
import math
from collections.abc import Callable, Iterable

import numpy

from softtargets.report.measures import FACES, Floors, Measure, Value
from softtargets.report.pairs import SHARED_MODELS, Design, analysed, by_pair, design, same
from softtargets.report.runs import Factors, Run
from softtargets.report.statistics import LEAST, LEVEL, Paired, compare, folded, mean_of

OF_ARM = ("mu_algo", "unlearn")
"""Choices that make an arm of a setting, as do the settings of these groups."""
NEAR = 0.1
"""Costs count as equal where they differ by no more than this share of the larger."""
LOSS = 0.01
"""Test accuracy that an unlearned model may lose against the retrained one."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What arms share that stand in one ranking."""

    settings: Factors

    @property
    def name(self) -> str:
        """Return the settings in a line, without a recipe that follows its architecture."""
        chosen = dict(self.settings)
        hidden = {"training"} if chosen["training"] == chosen["architecture"] else set()
        plain = ("dataset", "architecture", "forget_set")
        return " ".join(
            str(value) if name in plain else f"{name}={value}"
            for name, value in chosen.items()
            if name not in hidden
        )


@dataclasses.dataclass(frozen=True)
class Against:
    """An arm against a reference by one face; a positive difference says that the reference is nearer."""

    reference: str
    paired: Paired | None
    """None where no pair can be measured."""
    p: float | None = None
    """Holm-adjusted over the report."""


@dataclasses.dataclass(frozen=True)
class OnFace:
    """An arm's distance to retrained models by one face."""

    measure: Measure
    mean: float | None
    nothing: float | None
    floor: float | None
    against: tuple[Against, ...]

    @property
    def margin(self) -> float | None:
        """Return a tenth of the way from another retraining to doing nothing; None where that is not known."""
        if self.nothing is None or self.nothing <= (self.floor or 0.0):
            return None
        return 0.1 * (self.nothing - (self.floor or 0.0))

    @property
    def left(self) -> float | None:
        """Return the share of the way to retraining that is left: 0 is another retraining, 1 doing nothing."""
        if None in (self.mean, self.nothing, self.floor) or self.nothing <= self.floor:
            return None
        return (self.mean - self.floor) / (self.nothing - self.floor)


@dataclasses.dataclass(frozen=True)
class Gate:
    """Whether an arm keeps its utility; None where that cannot be said."""

    accuracy: float | None
    """Lower one-sided 95 % bound of the test accuracy less the retrained model's, over pairs."""
    probabilities: float | None
    """JS_T on the test set less doing nothing's, over the margin: at most 1 passes."""

    @property
    def passed(self) -> bool | None:
        """Return whether both hold."""
        if None in (self.accuracy, self.probabilities):
            return None
        return self.accuracy > -LOSS and self.probabilities <= 1


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
    comparison_only: bool
    diverged: int
    faces: tuple[OnFace, ...]
    gate: Gate


def standings(runs: list[Run]) -> list[Standing]:
    """Return where every arm stands, by setting and then by the first face; an arm without a value comes last."""
    settings = collections.defaultdict(lambda: collections.defaultdict(list))
    for run in runs:
        setting, arm = placed(run)
        settings[setting][arm].append(run)
    found = [one for setting, arms in settings.items() for one in _of_setting(setting, arms)]
    return sorted(found, key=lambda one: (one.setting.name, one.faces[0].mean is None, one.faces[0].mean or 0.0))


def placed(run: Run) -> tuple[Setting, str]:
    """Return the setting of a run, and the name of its arm there."""
    own = {name: value for name, value in run.cell.settings if name.partition(".")[0] in OF_ARM}
    rest = tuple((name, value) for name, value in run.cell.settings if name not in own)
    targets = [] if run.result.get("ignores_targets") else [run.arm]
    hidden = {"mu_algo"} | ({"unlearn"} if own["unlearn"] == own["mu_algo"] else set())
    return Setting(rest), " ".join([own["mu_algo"], *targets, *_typed(own, hidden)])


def _typed(settings: dict[str, object], hidden: Iterable[str]) -> list[str]:
    return [f"{name}={value}" for name, value in settings.items() if name not in hidden]


def _of_setting(setting: Setting, arms: dict[str, list[Run]]) -> list[Standing]:
    """Hold every arm of a setting against the references that are there."""
    floors, once = Floors(), {arm: by_pair(runs) for arm, runs in arms.items()}
    return [
        Standing(
            setting=setting,
            arm=arm,
            runs=len(arms[arm]),
            design=design(list(runs.values())),
            share=_cost(runs, "share"),
            seconds=_cost(runs, "share_seconds"),
            prepared=_cost(runs, "prepared_share"),
            comparison_only=any(run.result.get("comparison_only") for run in runs.values()),
            diverged=sum(FACES[0].at_end(run) == math.inf for run in runs.values()),
            faces=tuple(_on_face(measure, arm, once, floors) for measure in FACES),
            gate=gate(list(runs.values())),
        )
        for arm, runs in once.items()
    ]


Runs = dict[tuple[int, int, int], Run]
"""The run of each pair of an arm."""


def _cost(runs: Runs, name: str) -> float | None:
    return mean_of([run.result["cost"].get(name) for run in runs.values()])


def _on_face(measure: Measure, arm: str, arms: dict[str, Runs], floors: Floors) -> OnFace:
    runs = list(arms[arm].values())
    values = [value for run in runs if (value := measure.at_end(run)) is not None and math.isfinite(value)]
    nothing = measure.average([measure.nothing(run) for run in runs])
    floor = floors.of(measure, runs)
    found = OnFace(measure, measure.average(values), nothing, floor, ())
    against = [_against("doing nothing", measure, [(run, run) for run in runs], measure.nothing, found.margin)]
    for name, other in references(arm, arms):
        pairs = [(run, arms[other][pair]) for pair, run in arms[arm].items() if pair in arms[other]]
        there = [pair for pair in pairs if same(*pair, SHARED_MODELS)]
        against.append(_against(name, measure, there, measure.at_end, found.margin))
    return dataclasses.replace(found, against=tuple(against))


def references(arm: str, arms: dict[str, Runs]) -> list[tuple[str, str]]:
    """Return the arms that an arm is held against, with what each is called: early stopping, retraining."""
    found = [("early stopping", other) for other in arms if other.partition(" ")[0] == "early" and other != arm]
    share = _cost(arms[arm], "share")
    if share:
        equal = [other for other in arms if other.partition(" ")[0] == "retrain" and other != arm]
        costs = {other: _cost(arms[other], "share") for other in equal}
        near = {o: abs(c - share) for o, c in costs.items() if c and abs(c - share) <= NEAR * max(c, share)}
        found += [(f"{other} at equal cost", other) for other in sorted(near)]
    return found


def _against(
    name: str,
    measure: Measure,
    pairs: list[tuple[Run, Run]],
    of_reference: Callable[[Run], Value],
    margin: float | None,
) -> Against:
    rows = [(measure.at_end(run), of_reference(other), run) for run, other in pairs]
    there = [row for row in rows if None not in row[:2]]
    if not there:
        return Against(name, None)
    runs = [run for *_, run in there]
    columns = [numpy.array([row[i] for row in there], dtype=float) for i in (0, 1)]
    if measure.signed:
        columns = [folded(column) for column in columns]
    one, other, cells = analysed(*columns, runs)
    return Against(name, compare(one, other, margin or 0.0, cells))


def gate(runs: list[Run]) -> Gate:
    """Return whether an arm's runs keep the utility of the retrained model."""
    faces = [found for run in runs if (found := run.result.get("faces"))]
    gaps = [one["test_acc_gap"]["unlearned"] for one in faces]
    if len(runs) < LEAST or len(faces) < len(runs) or None in gaps:
        return Gate(None, None)
    one, other, cells = analysed(numpy.array(gaps), numpy.zeros(len(gaps)), runs)
    lower = compare(one, other, 0.0, cells).lower
    names = ("unlearned", "nothing", "floor")
    far, nothing, floor = (mean_of([one["js_t_test"][name] for one in faces]) for name in names)
    width = None if None in (far, nothing) or nothing <= (floor or 0.0) else 0.1 * (nothing - (floor or 0.0))
    return Gate(lower, None if width is None else (far - nothing) / width)


def sentence(standing: Standing) -> str:
    """Say where an arm stands against doing nothing by every face, against what is as simple, and its utility."""
    first = standing.faces[0]
    if first.mean is None:
        return "no value: its runs diverged, or are of a version without this measure"
    if standing.design.pairs < LEAST:
        return f"no verdict below {LEAST} pairs ({standing.design.shown})"
    left = [] if first.left is None else [f"leaves {first.left:.0%} of the way to retraining"]
    others = [f"{_word(one, first)} than {one.reference}{_size(one)}" for one in first.against[1:]]
    lost = [f"{standing.diverged} of {standing.design.pairs} runs diverged"] if standing.diverged else []
    utility = {True: "keeps utility", False: "loses utility", None: "utility unknown"}[standing.gate.passed]
    return "; ".join([_against_nothing(standing), *left, *others, utility, *lost])


def _against_nothing(standing: Standing) -> str:
    """Say what every face says of an arm against doing nothing: faces that say the same stand together."""
    said = collections.defaultdict(list)
    for face in standing.faces:
        said[_word(face.against[0], face)].append(face.measure.label.partition(" ")[0])
    size = _size(standing.faces[0].against[0])
    words = [f"{word} by {listed(names)}" for word, names in said.items()]
    return f"than doing nothing {', '.join(words)}{f' ({size.strip()} nats)' if size else ''}"


def listed(names: list[str]) -> str:
    """Join names by commas and a last `and`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _size(one: Against) -> str:
    return f" by {abs(one.paired.mean):.2g}" if _decided(one) and one.paired.mean is not None else ""


def _decided(one: Against) -> bool:
    return one.p is not None and one.p < LEVEL


def _word(one: Against, face: OnFace) -> str:
    """Return what is shown: nearer, farther, or that it is not farther by the margin; else that nothing is."""
    found = one.paired
    if found is None:
        return "not compared"
    if _decided(one):
        return "nearer" if found.ahead < 0 else "farther"
    if found.mean == 0 and found.sd == 0:
        return "the same"
    if found.upper is not None and face.margin is not None and found.upper < face.margin:
        return "not farther"
    return "not shown to be nearer"
