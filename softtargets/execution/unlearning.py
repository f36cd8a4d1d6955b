"""The unlearning of a run, or of one of its requests."""

import time

from torch import nn

from softtargets.console import Console
from softtargets.cost import Meter, Spent, clock
from softtargets.ensembles import networks_of
from softtargets.evaluation.evaluate import Evaluation
from softtargets.evaluation.trajectory import Trajectory
from softtargets.execution.experiment import Experiment
from softtargets.execution.memory import decided_by
from softtargets.execution.rehearsal import rule_samples
from softtargets.execution.target_sets import TargetSets
from softtargets.fit import Fit


def new_trajectory(experiment: Experiment, retrained: Evaluation) -> Trajectory:
    """Return an empty trajectory, which will compare the model with the retrained one while it unlearns."""
    monitored = experiment.monitored
    logits = {name: retrained.logits[name][positions] for name, positions in monitored.positions.items()}
    u = experiment.unlearning
    return Trajectory(monitored.split, logits, u.looks if u.stop == "matched" else 0)


@decided_by("unlearn.batch_size")
def unlearn(
    experiment: Experiment, original: nn.Module, targets: TargetSets, trajectory: Trajectory, console: Console
) -> tuple[Fit, nn.Module, Spent]:
    """Run the algorithm; returns its fit, the unlearned model and what it took, evaluation excluded."""
    meter = Meter(networks_of(original)[0], experiment.data.input_shape)
    now = clock(experiment.settings.device)

    def watch(model: nn.Module, step: int) -> bool:
        with meter.paused():
            return trajectory(model, step, trajectory.looks == 1 or fit.account.settled)

    with console.progress("unlearn") as progress:
        fit = experiment.unlearning_fit(progress, watch)
        started, cpu = time.perf_counter(), now()
        with meter:
            unlearned = experiment.unlearn(original, targets.forget, targets.retain, fit)
        took = (
            time.perf_counter() - started - trajectory.seconds - meter.seconds,
            now() - cpu - trajectory.cpu_seconds - meter.cpu_seconds,
        )
    looked = rule_samples(experiment, len(trajectory.columns["step"]))
    return fit, unlearned.eval(), Spent(*took, meter.forward, meter.backward, looked)
