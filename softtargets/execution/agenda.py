"""The stages of a run to come, with the gradient samples that each takes: what a clock needs."""

from softtargets.execution.algorithm_inputs import wanted
from softtargets.execution.experiment import Experiment
from softtargets.execution.rehearsal import trainings_of_teachers


def agenda(experiment: Experiment) -> dict[str, int]:
    """Return the gradient samples of every stage, by its name on the screen, in the order of the run.

    What the store holds is in it too: that shows only when a stage is reached. The size of the unlearning is an
    estimate where no budget sets it.
    """
    data, references = experiment.data, range(2, experiment.settings.references + 1)
    sizes = {} if experiment.checkpoint else {"original": len(data.train)}
    sizes |= dict.fromkeys(["retrained", *(f"retrained/{number}" for number in references)], len(data.retain))
    sizes |= trainings_of_teachers(experiment)
    if "early_original" in wanted(experiment):
        sizes["early_original"] = len(data.train)
    stages = {name: experiment.epochs * size for name, size in sizes.items()}
    return stages if experiment.settings.stage == "train" else stages | {"unlearn": _unlearning(experiment)}


def _unlearning(experiment: Experiment) -> int:
    """Estimate the gradient samples of the unlearning; two streams, as most algorithms have."""
    u = experiment.unlearning
    if u.cost is not None:
        return int(u.cost * experiment.retraining_samples)
    samples = u.epochs * len(experiment.data.forget)
    return 2 * min(samples, u.max_steps * u.batch_size if u.max_steps else samples)
