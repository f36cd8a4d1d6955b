"""What a model goes through while it unlearns, measured every few steps on a clock of its own."""

import functools
import time

from torch import nn

from softtargets.cost import clock
from softtargets.evaluation.evaluate import Evaluation, Logits, distance, evaluate, has_forgotten, predict_sets
from softtargets.types import Split

METRICS = ("forget_acc", "retain_acc", "validation_acc", "test_acc", "unseen_acc", "mia_auc")
DISTANCES = ("js_forget", "js_validation", "js_test", "mia_gap")
COLUMNS = ("step", *METRICS, *DISTANCES)
DIGITS = 6
"""Significant ones that are kept."""


class Trajectory:
    """A `watch` for `Fit`. Evaluation is no part of what an algorithm takes: it has `seconds` of its own."""

    def __init__(self, data: Split, retrained: Logits, stop: bool):
        """Measure on `data`, against the `retrained` model's logits there; `stop` at matched forgetting."""
        self.data, self.logits, self.stop = data, retrained, stop
        self.columns: dict[str, list[int | float | None]] = {name: [] for name in COLUMNS}
        self.seconds = self.cpu_seconds = 0.0
        self.clock = clock(data.forget.inputs.device.type)

    @functools.cached_property
    def retrained(self) -> Evaluation:
        """The retrained model's evaluation, made where there is a way to be measured."""
        return evaluate(self.logits, self.data)

    def __call__(self, model: nn.Module, step: int) -> bool:
        """Record a row, and tell whether to end: the forget set is predicted no better than data never seen."""
        started, cpu = time.perf_counter(), self.clock()
        found = evaluate(predict_sets(model, self.data), self.data)
        far = distance(found, self.retrained, self.data)
        row = {name: found.metrics[name] for name in METRICS} | {name: far[name] for name in DISTANCES}
        self.columns["step"].append(step)
        for name, value in row.items():
            self.columns[name].append(None if value is None else float(f"{value:.{DIGITS}g}"))
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += self.clock() - cpu
        return self.stop and has_forgotten(found.metrics)
