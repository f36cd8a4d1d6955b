"""The speed of training in this process, which converts seconds of unlearning to a share of retraining."""

import dataclasses
import json
import statistics

import torch

from softtargets.cost import clock
from softtargets.devices import forked_random
from softtargets.execution.experiment import Experiment

WARM, LEAST, MOST = 2, 5, 30
"""Number of steps to warm up, and the fewest and most steps to run, including those."""
SECONDS = 0.15
"""Seconds of timed steps after which the measurement ends, once `LEAST` steps are done."""
_KNOWN: dict[str, float] = {}
"""Speeds measured in this process, by recipe."""


def seconds_a_sample(experiment: Experiment) -> float:
    """Return the CPU seconds of a gradient sample of the training recipe at the unlearning's precision.

    On a device other than the CPU they are wall seconds. Measured once a process for runs that train alike.
    """
    config, data = experiment.config, experiment.data
    loop = [config["training"], config["unlearn"]["precision"], experiment.settings.device]
    key = json.dumps([config["architecture"], data.input_shape, data.classes, len(data.retain), *loop])
    if key not in _KNOWN:
        with forked_random(experiment.settings.device):
            _KNOWN[key] = _measured(experiment)
    return _KNOWN[key]


def _measured(experiment: Experiment) -> float:
    recipe = experiment.training.model_copy(update={"precision": experiment.unlearning.precision})
    trained = dataclasses.replace(experiment, training=recipe)
    model, retain = experiment.initialised("calibration"), experiment.data.retain
    now, started, times = clock(experiment.settings.device), [0.0], []

    def enough(model: torch.nn.Module, step: int) -> bool:
        """Start the clock for the next step; return whether enough steps are timed."""
        started[0] = now()
        return step >= MOST or (step >= LEAST and sum(times) > SECONDS)

    def stop_clock(step: int, steps: int, loss: float) -> None:
        times.append(now() - started[0])

    fit = trained.training_fit("calibration", stop_clock, watch=enough, evaluate_every=1)
    fit(model, trained.training_loss(model), retain)
    return statistics.median(times[WARM:] or times) / min(recipe.batch_size, len(retain))
