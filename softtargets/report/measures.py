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
    between: Callable[[Run, Run], float] | None
    """The same between the retrained models of two runs: the floor. None where runs leave too little for it."""

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

    def floor(self, runs: list[Run]) -> Value:
        """Return the mean over all pairs of retrained models of these runs; None for fewer than two models."""
        models = list({run.result["hashes"]["retrained"]: run for run in runs}.values())
        if self.between is None or len(models) < 2:
            return None
        return statistics.mean(self.between(*pair) for pair in itertools.combinations(models, 2))


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


def _js_forget(one: Run, other: Run) -> float:
    return js(*(numpy.load(run.folder / "margins.npz")["forget_probs_retrained"] for run in (one, other)))


def _retrained(run: Run, name: str):
    return run.result["metrics"]["retrained"][name]


def _mia_gap(one: Run, other: Run) -> float:
    return abs(_retrained(one, "mia_auc") - _retrained(other, "mia_auc"))


def _average_gap(one: Run, other: Run) -> float:
    names = ("forget_acc", "retain_acc", "test_acc")
    return statistics.mean(abs(_retrained(one, name) - _retrained(other, name)) for name in names)


def _accuracy_distance(one: Run, other: Run) -> float:
    classes = zip(_retrained(one, "class_acc"), _retrained(other, "class_acc"), strict=True)
    return statistics.mean(abs(a - b) for a, b in classes if a is not None and b is not None)


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("js_forget", "JS on the forget set", math.log(2), True, _js_forget),
        Measure("mia_gap", "|ΔMIA AUC|", 1.0, True, _mia_gap),
        Measure("js_test", "JS on the test set", math.log(2), True, None),
        Measure("activation_distance_forget", "activation distance on the forget set", math.sqrt(2), False, None),
        Measure("disagreement_forget", "argmax disagreement on the forget set", 1.0, False, None),
        Measure("avg_gap", "average accuracy gap", 1.0, False, _average_gap),
        Measure("accuracy_distance", "per-class accuracy distance, test", 1.0, False, _accuracy_distance),
    )
}
