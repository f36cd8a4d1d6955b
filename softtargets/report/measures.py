"""Measures of a report: distances to the retrained model, at the end of a run and at matched forgetting."""

import collections
import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable, Iterable

import numpy
from jaxtyping import Float

from softtargets.errors import BadInput
from softtargets.report.runs import Run
from softtargets.report.statistics import mean_of

Value = float | None
"""Of a run; infinity where it diverged, None where it cannot be measured (at matched forgetting: never there)."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """A distance to the retrained model, or a user's own measure as it is; less is better."""

    name: str
    """Name of a distance in results, or of a metric of models, whose difference is the distance."""
    label: str
    worst: float
    """The greatest possible value: that of a diverged run in a mean over all runs."""
    on_trajectory: bool = False
    """Whether it is measured while the model unlearns, and so at matched forgetting too."""
    metric: bool = False
    """Whether `name` is a metric of models."""
    face: bool = False
    """Whether results with `faces` have it there, as a mean over all retrained models of the run."""
    signed: bool = False
    """Whether runs have it with a sign; the distance of several runs is then the absolute value of their mean."""
    as_it_is: bool = False
    """Whether that metric's values are compared, and not how far they are from the retrained model's."""
    of_retrained: Callable[[Run], object] | None = None
    """Return the retrained model's value, or None if it is not finite. None where runs leave too little for it."""
    of_further: Callable[[Run], list] = lambda run: []
    """Return the same of the run's further retrained models, or nothing where the run does not have it."""
    between: Callable | None = None
    """Return the distance between two values of `of_retrained`."""

    def at_end(self, run: Run) -> Value:
        """Return the value of the unlearned model as the run left it."""
        return math.inf if _diverged(run) else self._of(run, "unlearned")

    def matched(self, run: Run) -> Value:
        """Return the value where the run came to the retrained model's forget accuracy, to stay there."""
        point = run.result["matched"]
        if point is None:
            return math.inf if _diverged(run) else None
        return point[self.name]

    def nothing(self, run: Run) -> Value:
        """Return the value of doing nothing."""
        return self._of(run, "original")

    def average(self, values: Iterable[Value]) -> Value:
        """Return the distance of several runs: the mean of what is there, without its sign where runs have one."""
        mean = mean_of(list(values))
        return abs(mean) if self.signed and mean is not None else mean

    def floor_of(self, run: Run) -> Value:
        """Return how far a run's retrained models are from each other on this face.

        None where it was not measured: images that cannot be moved, or results of older code.
        """
        return (run.result["faces"].get(self.name) or {}).get("floor")

    def _of(self, run: Run, model: str) -> Value:
        if self.face and (faces := run.result.get("faces")):
            return (faces.get(self.name) or {}).get(MODELS[model])
        if self.signed:
            pair = [run.result["metrics"][name].get("mia_auc") for name in (model, "retrained")]
            return None if None in pair else pair[0] - pair[1]
        if self.metric:
            if self.as_it_is:
                return run.result["metrics"][model].get(self.name)
            pair = [run.result["metrics"][name].get(self.name) for name in (model, "retrained")]
            return None if None in pair else abs(pair[0] - pair[1])
        return run.result["distance" if model == "unlearned" else "baseline"].get(self.name)


class Floors:
    """How far retrained models are from each other; each set of models is looked at once."""

    def __init__(self):
        self.known: dict[tuple, Value] = {}

    def of(self, measure: Measure, runs: list[Run]) -> Value:
        """Return the mean over all pairs of retrained models of one forget set, and over the forget sets.

        None where no forget set has two models. 0 for a gap with a sign, whose mean between retrained models is 0.
        """
        if measure.signed:
            return 0.0
        if measure.face:
            own = collections.defaultdict(list)
            for run in runs:
                if run.result.get("faces"):
                    own[tuple(run.data.values())].append(measure.floor_of(run))
            if own and all(None not in floors for floors in own.values()):
                return statistics.mean(map(statistics.mean, own.values()))
        groups = collections.defaultdict(list)
        for run in runs:
            groups[tuple(run.data.values())].append(run)
        floors = [self._of_one(measure, group) for group in groups.values()]
        there = [floor for floor in floors if floor is not None]
        return statistics.mean(there) if there else None

    def _of_one(self, measure: Measure, runs: list[Run]) -> Value:
        models = {(run.result["hashes"]["retrained"], *run.further): run for run in runs}
        key = (measure.name, *sorted(models))
        if key not in self.known:
            self.known[key] = _apart(measure, list(models.values()))
        return self.known[key]


def _apart(measure: Measure, runs: list[Run]) -> Value:
    """Return the mean over all pairs of retrained models, the runs' further ones too; each model counts once."""
    if measure.of_retrained is None:
        return None
    models = {}
    for run in runs:
        models[run.result["hashes"]["retrained"]] = measure.of_retrained(run)
        models |= dict(zip(run.further, measure.of_further(run), strict=False))
    values = [value for value in models.values() if value is not None]
    if len(values) < 2:
        return None
    return statistics.mean(itertools.starmap(measure.between, itertools.combinations(values, 2)))


def _diverged(run: Run) -> bool:
    """Return whether loss, weights or predictions left the finite numbers."""
    return run.result["status"] == "diverged" or run.result["metrics"]["unlearned"]["class_acc"] is None


def js_of_probs(p: Float[numpy.ndarray, "n k"], q: Float[numpy.ndarray, "n k"]) -> float:
    """Return the mean Jensen-Shannon divergence of two sets of predictions, in nats."""
    p, q = p.astype(numpy.float64), q.astype(numpy.float64)
    middle = (p + q) / 2
    return float((_relative(p, middle) + _relative(q, middle)).mean() / 2)


def _relative(p, middle):
    with numpy.errstate(divide="ignore", invalid="ignore"):
        # 0 · log 0 is 0: numpy computes it as NaN, and `where` leaves it out
        return numpy.where(p > 0, p * numpy.log(p / middle), 0).sum(1)


def _probs(run: Run) -> Float[numpy.ndarray, "n k"] | None:
    if _retrained(run) is None:
        return None
    return run.of_forget_set("forget_probs_retrained")[0]


def _further_probs(run: Run) -> list[Float[numpy.ndarray, "n k"] | None]:
    names = (f"forget_probs_retrained_{number}" for number in range(2, len(run.further) + 2))
    return [probs if numpy.isfinite(probs).all() else None for probs in run.of_forget_set(*names)]


def _tempered(run: Run) -> Float[numpy.ndarray, "n k"] | None:
    """Return the retrained model's probabilities at its own temperature: p^(1/T), normalised."""
    probs, temperature = _probs(run), (run.result.get("faces") or {}).get("temperature")
    if probs is None or not temperature:
        return None
    powers = probs.astype(numpy.float64) ** (1 / temperature["retrained"][0])
    return powers / powers.sum(1, keepdims=True)


def _retrained(run: Run) -> dict | None:
    """Return the retrained model's metrics; None for one that is not finite."""
    metrics = run.result["metrics"]["retrained"]
    return None if metrics["class_acc"] is None else metrics


def _metric(name: str) -> Callable[[Run], float | None]:
    return lambda run: run.result["metrics"]["retrained"].get(name)


def _gap(one: float, other: float) -> float:
    return abs(one - other)


def _disagreement(p: Float[numpy.ndarray, "n k"], q: Float[numpy.ndarray, "n k"]) -> float:
    return float((p.argmax(1) != q.argmax(1)).mean())


def _activation_distance(p: Float[numpy.ndarray, "n k"], q: Float[numpy.ndarray, "n k"]) -> float:
    return float(numpy.linalg.norm(p.astype(numpy.float64) - q, axis=1).mean())


def _average_gap(one: dict, other: dict) -> float:
    return statistics.mean(abs(one[name] - other[name]) for name in ("forget_acc", "retain_acc", "test_acc"))


def _accuracy_distance(one: dict, other: dict) -> float:
    classes = zip(one["class_acc"], other["class_acc"], strict=True)
    return statistics.mean(abs(a - b) for a, b in classes if a is not None and b is not None)


MODELS = {"unlearned": "unlearned", "original": "nothing"}
"""What `faces` calls the models."""
FACES = (
    Measure(
        "js_t_forget",
        "probabilities (calibrated JS on the forget set, nats)",
        math.log(2),
        face=True,
        of_retrained=_tempered,
        between=js_of_probs,
    ),
    Measure(
        "disagreement_forget",
        "decisions (disagreement on the forget set)",
        1.0,
        face=True,
        of_retrained=_probs,
        between=_disagreement,
    ),
    Measure("mia_gap", "privacy (|mean ΔMIA AUC|)", 1.0, face=True, signed=True),
)
"""The three faces of a distance to retrained models; the first is that of the primary endpoint."""
COPIES = {"shifted": "moved by one pixel", "noisy": "with noise"}
"""Copies of the forget set's images on which the first two faces are measured too."""
_ALL = (
    *FACES,
    *(
        Measure(f"{face.name}_{copy}", f"{face.label.rstrip(')')}, images {words})", face.worst, face=True)
        for face in FACES[:2]
        for copy, words in COPIES.items()
    ),
    Measure(
        "js_forget",
        "JS on the forget set",
        math.log(2),
        on_trajectory=True,
        of_retrained=_probs,
        of_further=_further_probs,
        between=js_of_probs,
    ),
    Measure("js_test", "JS on the test set", math.log(2), on_trajectory=True),
    Measure(
        "activation_distance_forget",
        "activation distance on the forget set",
        math.sqrt(2),
        of_retrained=_probs,
        of_further=_further_probs,
        between=_activation_distance,
    ),
    Measure("avg_gap", "average accuracy gap", 1.0, of_retrained=_retrained, between=_average_gap),
    Measure(
        "accuracy_distance",
        "class accuracy distance, test",
        1.0,
        of_retrained=_retrained,
        between=_accuracy_distance,
    ),
    Measure(
        "svc_accuracy",
        "|ΔSVC attack accuracy| (evidence=[svc])",
        1.0,
        metric=True,
        of_retrained=_metric("svc_accuracy"),
        between=_gap,
    ),
    Measure(
        "relearn_steps",
        "|Δsteps of relearning, counted up to 500| (evidence=[relearn])",
        500.0,
        metric=True,
        of_retrained=_metric("relearn_steps"),
        between=_gap,
    ),
    Measure(
        "probe_accuracy",
        "|Δforget accuracy of a linear probe| (evidence=[probe])",
        1.0,
        metric=True,
        of_retrained=_metric("probe_accuracy"),
        between=_gap,
    ),
    Measure(
        "prototype_accuracy",
        "|Δforget accuracy of prototypes| (evidence=[probe])",
        1.0,
        metric=True,
        of_retrained=_metric("prototype_accuracy"),
        between=_gap,
    ),
)
MEASURES = {measure.name: measure for measure in _ALL}
"""The measures of this package, by name."""


def measures_of(runs: Iterable[Run]) -> dict[str, Measure]:
    """Return the measures of this package and users' own measures in these runs, by name.

    Raises BadInput for a measure of which two runs say that it is compared in different ways.
    """
    measures = dict(MEASURES)
    for run in runs:
        for name, said in run.result.get("evidence", {}).items():
            measure = _own(name, said["description"], said["lower_is_better"])
            if measures.setdefault(name, measure).as_it_is != measure.as_it_is:
                raise BadInput(f"{run.folder}: its mark lower_is_better of {name} is not that of other runs")
    return measures


def _own(name: str, description: str, lower_is_better: bool) -> Measure:
    text = description.rstrip(".")  # a label goes on after it
    if lower_is_better:
        return Measure(name, f"{name}: {text}", math.inf, metric=True, as_it_is=True)
    value = _metric(name)
    return Measure(name, f"|Δ {name}|: {text}", math.inf, metric=True, of_retrained=value, between=_gap)
