"""Trajectories: measures of a model every few steps while it unlearns, with a separate clock."""

import functools
import time

from torch import nn

from softtargets.cost import clock
from softtargets.evaluation import matched
from softtargets.evaluation.evaluate import Evaluation, Logits, distance, evaluate, has_forgotten, predict_sets
from softtargets.types import Split

METRICS = ("forget_acc", "retain_acc", "validation_acc", "test_acc", "unseen_acc", "mia_auc")
DISTANCES = ("js_forget", "js_validation", "js_test", "mia_gap")
COLUMNS = ("step", *METRICS, *DISTANCES)
DIGITS = 6
"""Significant digits of the values."""


class Trajectory:
    """A `watch` for `Fit`. `seconds` counts its evaluations, which are no part of an algorithm's cost."""

    def __init__(self, data: Split, retrained: Logits, looks: int = 0):
        """Measure on `data`, against the `retrained` model's logits there.

        `looks` in a row end the run at which it predicts the forget set no better than the original predicts data
        never seen: a model in ruins predicts those badly too, and its own accuracy would be no level. 0 lets the
        run go on; 1 is the first rule that there was, whose level is the accuracy of the model at that look.
        """
        self.data, self.logits, self.looks = data, retrained, looks
        self.columns: dict[str, list[int | float | None]] = {name: [] for name in COLUMNS}
        self.unseen_acc: float | None = None
        """The level of the rule."""
        self.in_a_row = 0
        """Looks up to the last at which the rule held."""
        self.seconds = self.cpu_seconds = 0.0
        self.clock = clock(data.forget.inputs.device.type)

    @functools.cached_property
    def retrained(self) -> Evaluation:
        """Return the retrained model's evaluation, computed at the first call."""
        return evaluate(self.logits, self.data)

    def __call__(self, model: nn.Module, step: int, settled: bool = True) -> bool:
        """Record a row, and return whether the stop rule ends the run; a look counts only if `settled`."""
        started, cpu = time.perf_counter(), self.clock()
        evaluation = evaluate(predict_sets(model, self.data), self.data)
        distances = distance(evaluation, self.retrained, self.data)
        row = {name: evaluation.metrics[name] for name in METRICS} | {name: distances[name] for name in DISTANCES}
        self.columns["step"].append(step)
        for name, value in row.items():
            self.columns[name].append(None if value is None else float(f"{value:.{DIGITS}g}"))
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += self.clock() - cpu
        self.unseen_acc = evaluation.metrics["unseen_acc"] if self.looks <= 1 or not step else self.unseen_acc
        forgotten = settled and has_forgotten(evaluation.metrics, self.unseen_acc)
        self.in_a_row = self.in_a_row + 1 if forgotten else 0
        return 0 < self.looks <= self.in_a_row

    @property
    def level(self) -> matched.Level | None:
        """The level of matched forgetting on this data; None without an evaluation, or if none is finite."""
        if not self.columns["step"]:
            return None
        return matched.level(self.retrained.metrics["forget_acc"], len(self.data.forget))

    def stop_rule(self) -> dict | None:
        """Return what the rule saw last, and its level with the standard error and number of the samples.

        None without a rule. The level for a whole class is fixed, and has no standard error.
        """
        if not (self.looks and self.columns["step"]):
            return None
        positions, unseen = self.data.level.positions, self.unseen_acc
        known = positions is not None and unseen is not None
        return {
            "looks": self.looks,
            "in_a_row": self.in_a_row,
            "forget_acc": self.columns["forget_acc"][-1],
            "unseen_acc": unseen,
            "standard_error": matched.standard_error(unseen, len(positions)) if known else None,
            "samples": None if positions is None else len(positions),
        }
