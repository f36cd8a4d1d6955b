"""Inputs that an algorithm may take by name, beside original, forget set, retain set and fit."""

import dataclasses
import functools
import inspect
from collections.abc import Callable

from softtargets.execution.experiment import Experiment
from softtargets.execution.models import Stages, Trained
from softtargets.execution.target_sets import TargetSets
from softtargets.execution.teachers import Teachers
from softtargets.mu_algo import INPUTS


def wanted(experiment: Experiment) -> list[str]:
    """Return the names of the inputs that the algorithm takes."""
    return [name for name in INPUTS if name in inspect.signature(experiment.unlearn.func).parameters]


def with_inputs(
    experiment: Experiment, stages: Stages, original: Trained, retrained: Trained, targets: TargetSets
) -> tuple[Experiment, TargetSets]:
    """Return the experiment with an algorithm bound to its inputs, and the target sets with these teachers' costs.

    The inputs are prepared here, before the clock of the unlearning starts.
    """
    makers: dict[str, Callable] = {
        "initialise": lambda: functools.partial(experiment.initialised, "unlearn"),
        "validation": lambda: experiment.data.validation,
        "early_original": lambda: stages.early_original().model,
        "out_of_fold": lambda: teachers.out_of_fold(experiment.unlearn.keywords["folds"]),
    }
    teachers = Teachers(stages, {"original": original, "retrained": retrained}, "forget")
    inputs = {name: makers[name]() for name in wanted(experiment)}
    seconds = {name: teacher.seconds for name, teacher in teachers.taught.items()}
    costs = dataclasses.replace(targets, teachers=targets.teachers | seconds)
    return dataclasses.replace(experiment, unlearn=functools.partial(experiment.unlearn, **inputs)), costs
