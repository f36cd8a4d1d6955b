"""Trajectories: measures of a model every few steps while it unlearns, with a separate clock."""

import dataclasses
import functools
import time

from torch import nn

from softtargets.cost import clock
from softtargets.evaluation import matched
from softtargets.evaluation.evaluate import Evaluation, Logits, distance, evaluate, has_forgotten, predict_sets
from softtargets.evaluation.faces import VALIDATION, Calibration, Face, js_t
from softtargets.types import Split

METRICS = ("forget_acc", "retain_acc", "validation_acc", "test_acc", "unseen_acc", "mia_auc")
DISTANCES = ("js_forget", "js_validation", "js_test", "mia_gap")
COLUMNS = ("step", *METRICS, *DISTANCES, "js_t_forget")
DIGITS = 6
"""Significant digits of the values."""


class Trajectory:
    """A `watch` for `Fit`. `seconds` counts its evaluations, which are no part of an algorithm's cost."""

    def __init__(self, data: Split, retrained: Logits, looks: int = 0):
        """Measure on `data`, against the `retrained` model's logits there.

        The run ends at the last of `looks` evaluations in a row at which it predicts the forget set no better than
        the original predicts unseen data. The level is the original's, since a ruined model predicts unseen data
        badly too. With 0 the run is not ended. 1 is the first version of the rule, for results of that time: its
        level is the accuracy of the model itself at that evaluation.
        """
        self.data, self.logits, self.looks = data, retrained, looks
        self.columns: dict[str, list[int | float | None]] = {name: [] for name in COLUMNS}
        self.unseen_acc: float | None = None
        """The level of the stop rule, an accuracy on unseen data like the forget set."""
        self.in_a_row = 0
        """Evaluations in a row, up to the last, at which the stop rule held."""
        self.seconds = self.cpu_seconds = 0.0
        self.clock = clock(str(data.forget.labels.device))

    @functools.cached_property
    def retrained(self) -> Evaluation:
        """Return the retrained model's evaluation, computed at the first call."""
        return evaluate(self.logits, self.data)

    @functools.cached_property
    def calibration(self) -> Calibration | None:
        """Return the monitored validation images, on which temperatures are fitted; None if they are too few.

        Without the spare images that `faces` adds: their predictions would make an evaluation a fifth longer. Nor
        is it the retain set, whose temperatures are others.
        """
        calibration = Calibration.of(dataclasses.replace(self.data, spare=None))
        return calibration if calibration.fitted_on == VALIDATION else None

    def _face(self, evaluation: Evaluation) -> Face:
        return Face(evaluation.logits, self.calibration.temperatures(evaluation.logits), evaluation.metrics)

    @functools.cached_property
    def _retrained_face(self) -> Face:
        return self._face(self.retrained)

    def __call__(self, model: nn.Module, step: int, settled: bool = True) -> bool:
        """Record a row, and return whether the stop rule ends the run; an evaluation counts only if `settled`."""
        cpu, started = self.clock(), time.perf_counter()
        evaluation = evaluate(predict_sets(model, self.data), self.data)
        distances = distance(evaluation, self.retrained, self.data)
        row = {name: evaluation.metrics[name] for name in METRICS} | {name: distances[name] for name in DISTANCES}
        finite = row["js_forget"] is not None and self.calibration is not None
        row["js_t_forget"] = js_t("forget", self._face(evaluation), self._retrained_face) if finite else None
        self.columns["step"].append(step)
        # a few digits, as a trajectory of a thousand rows goes into `result.json`
        for name, value in row.items():
            self.columns[name].append(None if value is None else float(f"{value:.{DIGITS}g}"))
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += self.clock() - cpu
        # step 0 is the original: its accuracy is the level of all later evaluations
        self.unseen_acc = evaluation.metrics["unseen_acc"] if self.looks <= 1 or not step else self.unseen_acc
        forgotten = settled and has_forgotten(evaluation.metrics, self.unseen_acc)
        self.in_a_row = self.in_a_row + 1 if forgotten else 0
        return 0 < self.looks <= self.in_a_row

    @property
    def level(self) -> matched.Level | None:
        """Return the level of matched forgetting on this data; None without an evaluation or a finite one."""
        if not self.columns["step"]:
            return None
        return matched.level(self.retrained.metrics["forget_acc"], len(self.data.forget))

    def stop_rule(self) -> dict | None:
        """Return the last values of the stop rule, and its level with standard error and number of samples.

        None without a rule. The level for a whole class is fixed, and has no standard error.
        """
        if not (self.looks and self.columns["step"]):
            return None
        positions, unseen = self.data.level.positions, self.unseen_acc
        measured = positions is not None and unseen is not None
        return {
            "looks": self.looks,
            "in_a_row": self.in_a_row,
            "forget_acc": self.columns["forget_acc"][-1],
            "unseen_acc": unseen,
            "standard_error": matched.standard_error(unseen, len(positions)) if measured else None,
            "samples": None if positions is None else len(positions),
        }
