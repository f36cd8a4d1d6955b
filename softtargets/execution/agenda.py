"""The stages of a run to come, with the gradient samples that each takes: what a clock needs."""

from softtargets.execution.algorithm_inputs import wanted
from softtargets.execution.experiment import Experiment
from softtargets.execution.rehearsal import teachers_to_train
from softtargets.types import Samples


def agenda(experiment: Experiment) -> dict[str, int]:
    """Return the gradient samples of every stage, by its name on the screen, in the order of the run.

    What the store holds is in it too: that shows only when a stage is reached. The size of the unlearning is an
    estimate where no budget sets it.
    """
    sizes = {name: len(samples) for name, samples in trainings(experiment, teachers_to_train(experiment)).items()}
    stages = {name: experiment.epochs * size for name, size in sizes.items()}
    return stages if experiment.settings.stage == "train" else stages | {"unlearn": _unlearning(experiment)}


def trainings(experiment: Experiment, teachers: dict[str, Samples]) -> dict[str, Samples]:
    """Return what every model of a run is trained on, by its name; `teachers` serve answers alone."""
    data, references = experiment.data, range(2, experiment.settings.references + 1)
    sets = {} if experiment.checkpoint else {"original": data.train}
    sets |= dict.fromkeys(["retrained", *(f"retrained/{number}" for number in references)], data.retain)
    if experiment.shards:
        sets = {one: part for name, own in sets.items() for one, part in experiment.sharded(name, own).items()}
    early = {"early_original": data.train} if "early_original" in wanted(experiment) else {}
    return sets | teachers | early


def _unlearning(experiment: Experiment) -> int:
    """Estimate the gradient samples of the unlearning; two streams, as most algorithms have."""
    u = experiment.unlearning
    if experiment.shards:
        return experiment.epochs * sum(experiment.touched)
    if u.cost is not None:
        return int(u.cost * experiment.retraining_samples)
    samples, batch_size = u.epochs * len(experiment.data.forget), u.batch_size * u.forget_batch_ratio
    forgotten = min(samples, u.max_steps * batch_size if u.max_steps else samples)
    return int(forgotten * (1 + 1 / u.forget_batch_ratio))
