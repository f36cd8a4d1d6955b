"""Marks: declarations of a part about itself, by a decorator above its `def`.

    @algorithm(ignores_forget_targets=True)
    def pull(original, forget, retain, fit): ...

A part that has nothing to declare needs nothing from here. A mark is kept as an attribute of the function, so
`pull.ignores_forget_targets = True` below the `def` does the same. A name that is no mark is refused in both
forms, by the decorator and where a config names the function: a misspelt mark that is passed over would change a
verdict in silence.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, TypeVar

from softtargets.errors import nearest

Reads = Callable[[Path], Iterable[Path]]
Function = TypeVar("Function", bound=Callable)
Kind = TypeVar("Kind", bound="Marks")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Marks:
    """The marks of a function, each an attribute of it."""

    part: ClassVar[str]
    """What the function is, in a sentence."""

    @classmethod
    def of(cls: type[Kind], part: object) -> Kind:
        """Return the marks of a function, or of a partial of one.

        Raises TypeError for a public attribute that is no mark, and for a value that a mark cannot have.
        """
        function = part.func if isinstance(part, functools.partial) else part
        if inspect.isfunction(function):
            marks = {name: value for name, value in vars(function).items() if not name.startswith("_")}
        else:  # a class or an object has other attributes, which are no marks
            names = [field.name for field in dataclasses.fields(cls)]
            marks = {name: getattr(function, name) for name in names if hasattr(function, name)}
        return cls.checked(marks)

    @classmethod
    def checked(cls: type[Kind], values: dict[str, object]) -> Kind:
        """Return marks with these values; raises TypeError as `of` does."""
        # a mark's default says its type: a bool, or else a function
        usual = {field.name: field.default for field in dataclasses.fields(cls)}
        for name, value in values.items():
            if name not in usual:
                raise TypeError(
                    f"{name} is not a mark of {cls.part}; use {', '.join(usual)}, or a name that begins with an "
                    f"underscore{nearest(name, usual)}"
                )
            if isinstance(usual[name], bool) and not isinstance(value, bool):
                raise TypeError(f"the mark {name} is {value!r}; it must be True or False")
            if not isinstance(usual[name], bool) and not (value is usual[name] or callable(value)):
                raise TypeError(f"the mark {name} is {value!r}; it must be a function")
        return cls(**values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part(Marks):
    """The marks of any part that a config names by `_target_`."""

    part: ClassVar[str] = "an architecture"

    reads: Reads | None = None
    """`reads(folder)` lists the files that it reads in a folder; only they count in the folder's hash."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset(Part):
    """The marks of a loader of images."""

    part: ClassVar[str] = "a dataset"

    slow: bool = False
    """Reading its files takes long: the store keeps its images, under its settings and the files' content."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Algorithm(Part):
    """The marks of an unlearning algorithm."""

    part: ClassVar[str] = "an algorithm"

    ignores_forget_targets: bool = False
    """The forget set's targets have no influence on it, so that a run's status does not depend on them."""
    ignores_targets: bool = False
    """Neither set's targets have an influence on it; this implies `ignores_forget_targets`."""
    needs_distribution: bool = False
    """Its loss is defined for distributions alone; targets with negative entries are refused."""
    has_no_loop: bool = False
    """It does not call `fit`, so it has no first update to be diagnosed; settings of the loop are refused."""
    starts_afresh: bool = False
    """It does not start from the original, so its first update says nothing of the original."""
    new_network: bool = False
    """It trains a new network, without running statistics of the original for `unlearn.freeze_norm` to hold."""
    smooths_labels: bool = False
    """Its loss on the retain set takes `fit.label_smoothing`; elsewhere `unlearn.label_smoothing` is refused."""
    has_forget_batches: bool = False
    """It draws batches of the forget set beside those of the retain set, whose sizes have the ratio
    `unlearn.forget_batch_ratio`; elsewhere that setting is refused."""
    comparison_only: bool = False
    """What it returns is no model like the original, and stands beside the methods for comparison only."""
    whole_classes_only: bool = False
    """It forgets whole classes alone; other forget sets are refused."""
    check_network: Callable | None = None
    """`check_network(model, batch)` is tried before any work, and what it raises refuses the network. For one that
    does more with a network than to train it."""

    sharded: bool = False
    """Original and retrained model of its run are ensembles, with a network for each of as many shards of the
    training set as its setting `shards` says."""

    promise: Callable | None = None
    """`promise(**settings)` returns the ε and δ of its (ε, δ)-unlearning. A run unlearns from the retrained model
    too, so that reports can audit it."""

    def __post_init__(self):
        """Set what `ignores_targets` implies."""
        # the class is frozen: `self.x = …` would raise
        if self.ignores_targets:
            object.__setattr__(self, "ignores_forget_targets", True)


def _never(**settings: object) -> bool:
    return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Targets(Part):
    """The marks of a kind of targets."""

    part: ClassVar[str] = "a kind of targets"

    signed: Callable[..., bool] = _never
    """`signed(**settings)` returns whether rows may have negative entries, so that they are no distributions."""
    upper_bound: bool = False
    """It draws on the retrained model, which no one who unlearns has; a run says that it is an upper bound."""
    held_out: bool = False
    """It draws on held-out images: a run has to have some of every class that needs targets."""
    check_network: Callable | None = None
    """As the mark of an algorithm: what `check_network(model, batch)` raises refuses the network."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForgetSet(Part):
    """The marks of a kind of forget set."""

    part: ClassVar[str] = "a kind of forget set"

    fixed: bool = False
    """It names its samples and does not draw them; they are never set aside for validation nor left out."""
    scores: Callable | None = None
    """`scores(laboratory, *, settings)` computes a number for every training sample, which the kind reads in
    `candidates.scores`. It takes those settings of the kind that it names. The store keeps the numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure(Marks):
    """The marks of a measure that `evidence` names."""

    part: ClassVar[str] = "a measure"

    lower_is_better: bool = False
    """Reports compare its values as they are, and less is better. Without it they compare |value - that of the
    retrained model|."""


OF_GROUP = {"dataset": Dataset, "mu_algo": Algorithm, "targets": Targets, "forget_set": ForgetSet}


def of_group(group: str) -> type[Part]:
    """Return the kind of marks that parts of a config group have."""
    return OF_GROUP.get(group, Part)


def algorithm(**marks: object) -> Callable[[Function], Function]:
    """Return a decorator that gives an algorithm these marks.

    Raises TypeError for an unknown mark, and for a value that a mark cannot have.
    """
    return _marking(Algorithm, marks)


def targets_kind(**marks: object) -> Callable[[Function], Function]:
    """Return a decorator that gives a kind of targets these marks; raises TypeError as `algorithm` does."""
    return _marking(Targets, marks)


def forget_set(**marks: object) -> Callable[[Function], Function]:
    """Return a decorator that gives a kind of forget set these marks; raises TypeError as `algorithm` does."""
    return _marking(ForgetSet, marks)


def dataset(**marks: object) -> Callable[[Function], Function]:
    """Return a decorator that gives a loader of images these marks; raises TypeError as `algorithm` does."""
    return _marking(Dataset, marks)


def measure(**marks: object) -> Callable[[Function], Function]:
    """Return a decorator that gives a measure these marks; raises TypeError as `algorithm` does."""
    return _marking(Measure, marks)


def _marking(kind: type[Marks], marks: dict[str, object]) -> Callable:
    kind.checked(marks)  # now, where the name stands: at the import of the part

    def mark(function: Callable) -> Callable:
        for name, value in marks.items():
            setattr(function, name, value)
        return function

    return mark
