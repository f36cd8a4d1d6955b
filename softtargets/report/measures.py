"""What a report compares: distances to the retrained model, at the end of a run and at matched forgetting."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable

import numpy
from jaxtyping import Float

from softtargets.report.runs import Run

Value = float | None
"""Of a run; infinity where it diverged, None where it cannot be measured (at matched forgetting: never there)."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """A distance to the retrained model; less is better."""

    name: str
    label: str
    worst: float
    """The most it can be: what a diverged run is given where a mean over all runs is asked for."""
    along: bool
    """Whether it is measured on the way, and so at matched forgetting too."""
    told: Callable[[Run], object]
    """What a run tells of its retrained model, and """
    between: Callable | None
    """the same distance between two of these. None where runs leave too little for it."""

    def at_end(self, run: Run) -> Value:
        """Return the value of the unlearned model as the run left it."""
        return math.inf if _diverged(run) else run.result["distance"][self.name]

    def matched(self, run: Run) -> Value:
        """Return the value where the run first predicted its forget set no better than data never seen."""
        point = run.result["matched"]
        if point is None:
            return math.inf if _diverged(run) else None
        return point[self.name]

    def nothing(self, run: Run) -> Value:
        """Return the value of doing nothing."""
        return run.result["baseline"][self.name]


class Floors:
    """How far retrained models are from each other; each set of models is looked at once."""

    def __init__(self):
        self.known: dict[tuple, Value] = {}

    def of(self, measure: Measure, runs: list[Run]) -> Value:
        """Return the mean over all pairs of retrained models of these runs; None for fewer than two models."""
        models = {run.result["hashes"]["retrained"]: run for run in runs}
        if measure.between is None or len(models) < 2:
            return None
        key = (measure.name, *sorted(models))
        if key not in self.known:
            told = [measure.told(run) for run in models.values()]
            self.known[key] = statistics.mean(itertools.starmap(measure.between, itertools.combinations(told, 2)))
        return self.known[key]


def _diverged(run: Run) -> bool:
    return run.result["status"] == "diverged"


def js(p: Float[numpy.ndarray, "n k"], q: Float[numpy.ndarray, "n k"]) -> float:
    """Mean Jensen-Shannon divergence of two sets of predictions, in nats."""
    p, q = p.astype(numpy.float64), q.astype(numpy.float64)
    middle = (p + q) / 2
    return float((_relative(p, middle) + _relative(q, middle)).mean() / 2)


def _relative(p, middle):
    with numpy.errstate(divide="ignore", invalid="ignore"):
        return numpy.where(p > 0, p * numpy.log(p / middle), 0).sum(1)


def _probs(run: Run) -> Float[numpy.ndarray, "n k"]:
    with numpy.load(run.folder / "margins.npz") as left:
        return left["forget_probs_retrained"]


def _retrained(run: Run) -> dict:
    return run.result["metrics"]["retrained"]


def _mia_gap(one: dict, other: dict) -> float:
    return abs(one["mia_auc"] - other["mia_auc"])


def _average_gap(one: dict, other: dict) -> float:
    return statistics.mean(abs(one[name] - other[name]) for name in ("forget_acc", "retain_acc", "test_acc"))


def _accuracy_distance(one: dict, other: dict) -> float:
    classes = zip(one["class_acc"], other["class_acc"], strict=True)
    return statistics.mean(abs(a - b) for a, b in classes if a is not None and b is not None)


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("js_forget", "JS on the forget set", math.log(2), True, _probs, js),
        Measure("mia_gap", "|ΔMIA AUC|", 1.0, True, _retrained, _mia_gap),
        Measure("js_test", "JS on the test set", math.log(2), True, _retrained, None),
        Measure(
            "activation_distance_forget", "activation distance, forget", math.sqrt(2), False, _retrained, None
        ),
        Measure("disagreement_forget", "argmax disagreement, forget", 1.0, False, _retrained, None),
        Measure("avg_gap", "average accuracy gap", 1.0, False, _retrained, _average_gap),
        Measure("accuracy_distance", "class accuracy distance, test", 1.0, False, _retrained, _accuracy_distance),
    )
}
