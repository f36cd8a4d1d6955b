"""Inputs that an algorithm may take by name, beside original, forget set, retain set and fit."""

import dataclasses
import functools
import inspect
from collections.abc import Callable

from torch import nn

from softtargets.execution.experiment import Experiment
from softtargets.execution.models import Stages, Trained
from softtargets.execution.target_sets import TargetSets, target_sets
from softtargets.execution.teachers import Teachers
from softtargets.fit import Fit
from softtargets.mu_algo import INPUTS
from softtargets.types import Samples


def wanted(experiment: Experiment) -> list[str]:
    """Return the names of the inputs that the algorithm takes."""
    return [name for name in INPUTS if name in inspect.signature(experiment.unlearn.func).parameters]


def train(experiment: Experiment, name: str, samples: Samples, shown: Fit) -> nn.Module:
    """Return a new model in eval mode, trained by the run's own recipe; `shown` counts and shows its steps."""
    name = f"unlearn {name}"
    model = experiment.initialised(name)
    fit = experiment.training_fit(name, shown.progress, account=shown.account)
    return fit(model, experiment.training_loss(model), samples)


def prepared(stages: Stages, original: Trained, retrained: Trained) -> tuple[Experiment, TargetSets]:
    """Return the experiment of `stages` ready to unlearn from `original`, and its target sets."""
    targets = target_sets(stages, original, retrained)
    return with_inputs(stages.experiment, stages, original, retrained, targets)


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
        "train": lambda: functools.partial(train, experiment),
        "out_of_fold": lambda: teachers.out_of_fold(experiment.unlearn.keywords["folds"]),
    }
    teachers = Teachers(stages, {"original": original, "retrained": retrained}, "forget")
    inputs = {name: makers[name]() for name in wanted(experiment)}
    seconds = {name: teacher.seconds for name, teacher in teachers.taught.items()}
    costs = dataclasses.replace(targets, teachers=targets.teachers | seconds)
    return dataclasses.replace(experiment, unlearn=functools.partial(experiment.unlearn, **inputs)), costs
