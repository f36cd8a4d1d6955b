"""Rehearsal of an unlearning on a few samples: it measures the cost before any work, without a step."""

import copy
import dataclasses
import functools
import json
import math

import torch
from torch import Tensor, nn

from softtargets.config.validation import naming
from softtargets.cost import Budget, Meter, Plan, Turn
from softtargets.devices import forked_random
from softtargets.errors import BadInput, NoStep
from softtargets.execution import algorithm_inputs
from softtargets.execution.experiment import Experiment
from softtargets.execution.teachers import LOCAL, Asked
from softtargets.fit import Fit, lone_samples
from softtargets.targets import Recipe
from softtargets.types import Samples

FEW = 2
"""Samples of each class in a rehearsal; a second one with twice as many shows how the cost grows."""

DECIMALS = 5
"""Decimals to which the least cost is rounded up."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rehearsal(Fit):
    """A fit that takes no step. It measures what one would cost, for a sample of each of its streams."""

    meter: Meter
    turns: list[Turn] = dataclasses.field(default_factory=list)
    by_epochs: list[bool] = dataclasses.field(default_factory=list)
    prices: list[float] = dataclasses.field(default_factory=list)
    """Cost of every measured loss, in thirds of a gradient sample."""

    def __call__(self, model: nn.Module, loss, first: Samples, *others: Samples) -> nn.Module:
        """Measure a step, and return the model as it is, in eval mode."""
        streams = (first, *others)
        return self._measured(model, [(loss, streams, tuple(range(len(streams))))])

    def in_turns(self, model: nn.Module, *turns) -> nn.Module:
        """Measure a step of every turn, and return the model as it is, in eval mode."""
        self.by_epochs.append(True)
        numbers = {id(samples): i for i, (_, samples) in enumerate(turns)}
        return self._measured(model, [(loss, (samples,), (numbers[id(samples)],)) for loss, samples in turns])

    def _measured(self, model: nn.Module, turns: list[tuple]) -> nn.Module:
        if self.turns:
            raise ValueError("calls fit more than once, and a budget is for one call; join its losses by in_turns")
        prices: dict[tuple, tuple] = {}
        with self.noise(model), lone_samples(self.to_training(model)):
            for loss, streams, numbers in turns:
                key = (id(loss), numbers)
                if key not in prices:
                    prices[key] = self._prices(loss, streams)
                sizes = tuple(map(len, streams)), tuple(map(self.size_of_batch, streams))
                per_sample, per_step = prices[key]
                self.turns.append(Turn(numbers, sizes[0], per_sample, sizes[1], per_step))
        return model.eval()

    def _prices(self, loss, streams: tuple[Samples, ...]) -> tuple[tuple[float, ...], float]:
        """Return what a sample of each stream costs, and what a step costs beside."""
        sizes = [FEW] * len(streams)
        usual = self._price(loss, streams, sizes)
        each = []
        for i in range(len(streams)):
            more = [size + (i == j) for j, size in enumerate(sizes)]
            each.append(self._price(loss, streams, more) - usual)
        return tuple(thirds / 3 for thirds in each), (usual - FEW * sum(each)) / 3

    def _price(self, loss, streams: tuple[Samples, ...], sizes: list[int]) -> float:
        """Return what a batch of these sizes costs, in thirds of a gradient sample."""
        before = self.meter.thirds
        batch = [
            samples.take(torch.arange(size, device=samples.labels.device) % len(samples))
            for samples, size in zip(streams, sizes, strict=True)
        ]
        value = self.value(loss, tuple(batch))
        if value.requires_grad:
            value.backward()
        self.prices.append(self.meter.thirds - before)
        return self.prices[-1]


class RehearsedTeachers(Asked):
    """Counts what a kind of targets asks; nobody is trained, and every answer is zero."""

    def __init__(self, experiment: Experiment, side: str):
        """`side` is "forget" or "retain"."""
        super().__init__(experiment, side)
        self.predicted: dict[tuple[str, str], Samples] = {}
        """Samples that are predicted, by model and set: the store keeps what one has said of the other."""
        self.prepared: dict[str, Samples] = {}
        """Samples that each model is trained on for its answers alone, by name."""

    def _teacher(self, name: str) -> str:
        return name if name in ("original", "retrained", "untrained") else self._train(name, self.train)

    def _train(self, name: str, samples: Samples) -> str:
        self.prepared[name] = samples
        return name

    def _predict(self, teacher: str, samples: Samples) -> Tensor:
        self.predicted[teacher, samples.digest] = samples
        return torch.zeros(len(samples), self.train.targets.shape[1])

    def _features(self, teacher: str, samples: Samples) -> Tensor:
        return self._predict(f"features of {teacher}", samples)

    def _weights(self, teacher: str) -> Tensor:
        return torch.zeros(self.train.targets.shape[1], 1)


@dataclasses.dataclass(frozen=True)
class AnswersCost:
    """What the answers of teachers cost, in samples."""

    predicted: int
    """Samples that models predict after the request."""
    prepared: int
    """Samples in an epoch of the trainings of all teachers, before any request."""
    trained: int = 0
    """Samples in an epoch of the trainings of teachers after the request."""

    def gradient_samples(self, epochs: int) -> float:
        """Return what is spent after the request, with so many epochs of a teacher's training."""
        return self.predicted / 3 + self.trained * epochs


def answers_cost(experiment: Experiment) -> AnswersCost:
    """Return what targets cost, and what an algorithm takes of teachers by name, without making them."""
    teachers = _rehearsed_teachers(experiment, experiment.recipes)
    # both sides may ask the same model about the same samples: it is asked once
    predicted = {key: len(samples) for side in teachers for key, samples in side.predicted.items()}
    trainings = {name: len(samples) for name, samples in _prepared(teachers).items()}
    after = sum(count for name, count in trainings.items() if name.startswith(LOCAL))
    return AnswersCost(sum(predicted.values()), sum(trainings.values()) - after, after)


def teachers_to_train(experiment: Experiment) -> dict[str, Samples]:
    """Return what each model is trained on that serves answers alone, by its name."""
    return _prepared(known_teachers(experiment))


def known_teachers(experiment: Experiment, made: type = RehearsedTeachers) -> list[RehearsedTeachers]:
    """Return the teachers of both sides, `made(experiment, side)`, after a rehearsal of what is asked of them.

    Only of the kinds of targets here: a user's own kind is not called once more for a clock on the screen.
    """
    package = __name__.partition(".")[0] + "."
    recipes = experiment.recipes.items()
    known = {side: recipe for side, recipe in recipes if recipe.kind.func.__module__.startswith(package)}
    return _rehearsed_teachers(experiment, known, made)


def _rehearsed_teachers(
    experiment: Experiment, recipes: dict[str, Recipe], made: type = RehearsedTeachers
) -> list[RehearsedTeachers]:
    teachers = {side: made(experiment, side) for side in ("forget", "retain")}
    for side, recipe in recipes.items():
        recipe(teachers[side].source())
    if "out_of_fold" in algorithm_inputs.wanted(experiment):
        teachers["forget"].out_of_fold(experiment.unlearn.keywords["folds"])
    return list(teachers.values())


def _prepared(teachers: list[RehearsedTeachers]) -> dict[str, Samples]:
    # a teacher that both sides ask is trained once
    return {name: samples for side in teachers for name, samples in side.prepared.items()}


_KNOWN: dict[str, Plan] = {}
"""Plans rehearsed in this process, by settings and data."""


def plan(experiment: Experiment) -> Plan:
    """Return what the unlearning of an experiment will cost; raises BadInput where that cannot be known."""
    config, data = experiment.config, experiment.data
    if experiment.shards:  # few samples of each class lie in other shards, and say nothing
        cost = float(experiment.epochs * sum(experiment.touched))
        return Plan(cost, ())
    loop = [config["unlearn"].get(name) for name in ("epochs", "batch_size", "forget_batch_ratio", "precision")]
    key = json.dumps([config["mu_algo"], config["architecture"], loop, data.forget.digest, len(data.retain)])
    if key not in _KNOWN:
        with naming(f"unlearn.cost={experiment.unlearning.cost}: rehearsing {_name(experiment)}", (Exception,)):
            _KNOWN[key] = _plan(experiment)
    return _KNOWN[key]


def _plan(experiment: Experiment) -> Plan:
    """Rehearse on three pairs of small sets, and draw the lines through what each cost."""
    sets = {"forget": experiment.data.forget, "retain": experiment.data.retain}
    small = {name: few(samples, FEW) for name, samples in sets.items()}
    usual, growths = _rehearsed(experiment, **small), []
    for name, samples in sets.items():
        more = few(samples, 2 * FEW)
        grown = _rehearsed(experiment, **small | {name: more})
        if len(grown.turns) != len(usual.turns):
            raise ValueError(f"takes another number of turns with more samples in the {name} set")
        growths.append((grown, (len(samples) - len(small[name])) / max(1, len(more) - len(small[name]))))

    def line(value) -> float:
        return value(usual) + sum(factor * (value(grown) - value(usual)) for grown, factor in growths)

    turns = [
        dataclasses.replace(
            turn, sizes=tuple(round(line(lambda p, t=t, s=s: p.turns[t].sizes[s])) for s in range(len(turn.sizes)))
        )
        for t, turn in enumerate(usual.turns)
    ]
    return dataclasses.replace(usual, fixed=line(lambda p: p.fixed), turns=tuple(turns))


def few(samples: Samples, number: int) -> Samples:
    """Return the first `number` samples of each class, fewer of a class that has not so many."""
    same = samples.labels[:, None] == samples.labels.unique()
    rank = same.cumsum(0)[same]  # of each sample among those of its class
    return samples.take((rank <= number).nonzero()[:, 0])


def _rehearsed(experiment: Experiment, forget: Samples, retain: Samples) -> Plan:
    network = experiment.initialised("rehearsal").eval()
    fit = experiment.unlearning_fit(lambda step, steps, loss: None, lambda model, step: False)
    carried = {field.name: getattr(fit, field.name) for field in dataclasses.fields(Fit)}
    with forked_random(experiment.settings.device), Meter(network, experiment.data.input_shape) as meter:
        rehearsal = Rehearsal(**carried, meter=meter)
        inputs = _stand_ins(experiment, network, forget)
        experiment.unlearn(copy.deepcopy(network), experiment.to_forget(forget), retain, rehearsal, **inputs)
    return Plan(
        (meter.thirds - sum(rehearsal.prices)) / 3,
        tuple(rehearsal.turns),
        any(rehearsal.by_epochs),
    )


def _stand_ins(experiment: Experiment, network: nn.Module, forget: Samples) -> dict[str, object]:
    """Return untrained stand-ins for the inputs that an algorithm takes by name."""
    stand_ins = {
        "initialise": functools.partial(experiment.initialised, "unlearn"),
        "validation": experiment.data.validation,
        "early_original": network,
        "out_of_fold": torch.zeros_like(forget.targets),
        "train": _refuse_training,
    }
    return {name: stand_ins[name] for name in algorithm_inputs.wanted(experiment)}


def _refuse_training(name: str, samples: Samples, fit: Fit) -> nn.Module:
    raise ValueError("trains new models, which no budget pays for. Set unlearn.cost=null")


def rule_samples(experiment: Experiment, looks: int) -> int:
    """Count the samples that the stop rule predicts in so many looks at the model; 0 without a rule.

    The forget set at each look, and the images that its level is measured on: at the first look, or for the first
    rule there was (`looks=1`) at each.
    """
    if experiment.unlearning.stop == "none":
        return 0
    few = experiment.monitored.split
    unseen = 0 if few.level.positions is None else len(few.level.positions)
    return len(few.forget) * looks + unseen * (looks if experiment.unlearning.looks == 1 else min(looks, 1))


def budgeted(experiment: Experiment) -> Experiment:
    """Return the experiment with as many steps as its budget pays for.

    Raises BadInput where it pays for less than one step of each turn, or less than what is to be done without any.
    """
    share, whole = experiment.unlearning.cost, experiment.retraining_samples
    known, targets = plan(experiment), answers_cost(experiment).gradient_samples(experiment.epochs)
    if not known.turns:
        _require(experiment, known.fixed + targets, "costs more, and takes no steps")
        return experiment
    if not any(price for turn in known.turns for price in (*turn.per_sample, turn.per_step)):
        raise BadInput(
            f"unlearn.cost={share}: a step of {_name(experiment)} costs nothing; give unlearn.max_steps"
        )
    fit = experiment.unlearning_fit(lambda step, steps, loss: None, lambda model, step: False)
    budget = Budget(share * whole - targets, lambda steps: rule_samples(experiment, len(fit.looks(steps))) / 3)
    count = len(known.turns)
    what = "less than one step" if count == 1 else f"less than one step of each of {count} turns"
    _require(experiment, targets + known.cost([1] * count) + budget.beside(count), f"takes {what}")
    return dataclasses.replace(experiment, lengths=known.lengths(budget))


def _require(experiment: Experiment, least: float, why: str) -> None:
    """Raise BadInput where the budget is below the `least` gradient samples."""
    share, whole = experiment.unlearning.cost, experiment.retraining_samples
    if least > share * whole * (1 + 1e-9):
        rounded = math.ceil(least / whole * 10**DECIMALS) / 10**DECIMALS
        raise NoStep(f"unlearn.cost={share}: {_name(experiment)} {why}; must be {rounded} or more")


def _name(experiment: Experiment) -> str:
    return experiment.unlearn.func.__name__
