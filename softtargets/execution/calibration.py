"""The speed of training in this process, by which seconds of unlearning become a share of retraining's."""

import dataclasses
import json
import statistics

import torch

from softtargets.cost import clock
from softtargets.execution.experiment import Experiment
from softtargets.losses import cross_entropy

WARM, LEAST, MOST = 2, 5, 30
"""Steps that are not counted, and the fewest and the most that are taken, these among them."""
SECONDS = 0.15
"""After which no more than the fewest are taken."""
_KNOWN: dict[str, float] = {}
"""What was measured in this process."""


def seconds_a_sample(experiment: Experiment) -> float:
    """Return the CPU seconds of a gradient sample of the training recipe at the unlearning's precision.

    On a device other than the CPU they are wall seconds. Measured once a process for runs that train alike.
    """
    config, data = experiment.config, experiment.data
    loop = [config["training"], config["unlearn"]["precision"], experiment.settings.device]
    key = json.dumps([config["architecture"], data.input_shape, data.classes, len(data.retain), *loop])
    if key not in _KNOWN:
        with torch.random.fork_rng():
            _KNOWN[key] = _measured(experiment)
    return _KNOWN[key]


def _measured(experiment: Experiment) -> float:
    recipe = experiment.training.model_copy(update={"precision": experiment.unlearning.precision})
    trained = dataclasses.replace(experiment, training=recipe)
    model, retain = experiment.initialised("calibration"), experiment.data.retain
    now, started, times = clock(experiment.settings.device), [0.0], []

    def enough(model: torch.nn.Module, step: int) -> bool:
        """Start the clock for the next step, unless enough were timed."""
        started[0] = now()
        return step >= MOST or (step >= LEAST and sum(times) > SECONDS)

    def stop_clock(step: int, steps: int, loss: float) -> None:
        times.append(now() - started[0])

    fit = trained.training_fit("calibration", stop_clock, watch=enough, evaluate_every=1)
    fit(model, lambda batch: cross_entropy(model(batch.inputs), batch.targets), retain)
    return statistics.median(times[WARM:] or times) / min(recipe.batch_size, len(retain))
