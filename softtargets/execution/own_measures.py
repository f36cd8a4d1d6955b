"""A user's own measures, which `evidence` names by path: `measure(model, logits, data) -> float | dict`.

A report reads results and imports no code of users, so a result holds the description of each own measure.
"""

import copy
import dataclasses
import inspect
import math
import numbers
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

from softtargets.config import allowed_targets
from softtargets.config.settings import EVIDENCE
from softtargets.config.validation import check_positions, naming
from softtargets.errors import BadInput
from softtargets.evaluation.evaluate import Evaluation, Logits
from softtargets.marks import Measure
from softtargets.types import Evaluated, generator

GIVEN = ("model", "logits", "data")
Number = int | float | None


@dataclasses.dataclass(frozen=True)
class OwnMeasure:
    """A function that measures one model."""

    name: str
    """Its path, which is the name of its value too; values of a dictionary are named `path.key`."""
    function: Callable

    @property
    def described(self) -> dict[str, str | bool]:
        """Return what a result holds of the measure: the first line of its docstring, and its marks."""
        first = inspect.getdoc(self.function).partition("\n")[0]
        return {"description": first} | dataclasses.asdict(Measure.of(self.function))

    def __call__(self, model: nn.Module, logits: Logits, data: Evaluated, seed: int) -> dict[str, Number]:
        """Return the values by name; raise BadInput if the function fails or returns another type.

        The function gets a copy of the model; `seed` and its name seed torch's generator.
        """
        with naming(f"evidence={self.name}", (Exception,)), torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(seed, f"evidence/{self.name}").initial_seed())
            returned = self.function(copy.deepcopy(model).eval(), dict(logits), data)
            return {name: _number(value) for name, value in self._named(returned).items()}

    def _named(self, returned: object) -> dict[str, object]:
        if not isinstance(returned, dict):
            return {self.name: returned}
        if not returned or not all(isinstance(key, str) and key.isidentifier() for key in returned):
            raise ValueError(f"returns a dictionary with keys {list(returned)}; they must be names, one or more")
        return {f"{self.name}.{key}": value for key, value in returned.items()}


def _number(value: object) -> Number:
    if value is None:
        return None
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise ValueError(f"returns {type(value).__name__}; it must return a number, None, or a dictionary of them")
    if not math.isfinite(value):
        raise ValueError(f"returns {value}; it must return finite numbers, or None for what cannot be measured")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def own_measures(names: Iterable[str], plugins: Iterable[str]) -> tuple[OwnMeasure, ...]:
    """Return the own measures among `names`; raise BadInput for one that cannot be called."""
    own = dict.fromkeys(name for name in names if name not in EVIDENCE)
    return tuple(_loaded(name, allowed_targets.own_measure(name, plugins)) for name in own)


def _loaded(name: str, function: Callable) -> OwnMeasure:
    with naming(f"evidence={name}"):
        Measure.of(function)
        parameters = list(inspect.signature(function).parameters.values())
    check_positions(parameters, GIVEN, f"evidence={name}")
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for parameter in parameters[len(GIVEN) :]:
        if parameter.default is parameter.empty and parameter.kind not in variadic:
            given = ", ".join(GIVEN)
            raise BadInput(f"evidence={name}: {parameter.name} has no default; it is called with ({given})")
    if not inspect.getdoc(function):
        raise BadInput(f"evidence={name}: has no docstring; give it one, whose first line describes it in reports")
    return OwnMeasure(name, function)


def take(
    measures: Iterable[OwnMeasure],
    models: Mapping[str, nn.Module],
    evaluations: Mapping[str, Evaluation],
    data: Evaluated,
    seed: int,
) -> dict[str, dict[str, Number]]:
    """Return the values of every model by name; None for a model with weights that are not finite."""
    by_model: dict[str, dict[str, Number]] = {name: {} for name in models}
    finite = [name for name in models if evaluations[name].metrics["class_acc"] is not None]
    for measure in measures:
        values = {name: measure(models[name], evaluations[name].logits, data, seed) for name in finite}
        keys = dict.fromkeys(key for one in values.values() for key in one)
        if any(one.keys() != keys.keys() for one in values.values()):
            raise BadInput(f"evidence={measure.name}: returns other keys for other models; they must be the same")
        for name in models:
            by_model[name] |= values.get(name, dict.fromkeys(keys))
    return by_model


def described(measures: Iterable[OwnMeasure], values: Iterable[str]) -> dict[str, dict]:
    """Return the description of each of these values that an own measure returned, by name."""
    return {
        value: measure.described
        for value in values
        for measure in measures
        if f"{value}.".startswith(f"{measure.name}.")
    }
