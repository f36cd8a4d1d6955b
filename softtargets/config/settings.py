"""The types and ranges of a run's settings."""

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from softtargets.config.validation import FORBID
from softtargets.errors import BadInput, nearest
from softtargets.layout import CONF
from softtargets.ranges import Count, Natural, Place, Seed, Weight


class StoreSettings(pydantic.BaseModel):
    """Group `store`: the folder of trained models."""

    model_config = FORBID
    dir: Place | None


class Thresholds(pydantic.BaseModel):
    """Group `diagnosis`: thresholds of the status flags."""

    model_config = FORBID
    degenerate: Weight
    hard_like: Annotated[float, Field(gt=0, le=1)]


class TrackerSettings(pydantic.BaseModel):
    """Group `tracker`."""

    model_config = FORBID
    kind: Literal["none", "clearml"]
    offline: bool
    project: Annotated[str, Field(min_length=1)]
    fallback: Literal["offline", "none"]


EVIDENCE = ("svc", "relearn", "probe")
"""Measures of ours beyond the usual ones; a name with a dot is that of a user's own."""


def _measure(name: str) -> str:
    if name not in EVIDENCE and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", name):
        raise ValueError(
            f"must be {', '.join(EVIDENCE)}, or a measure of your own, as in mine.measure{nearest(name, EVIDENCE)}"
        )
    return name


DEVICES = ("auto", "cpu", "cuda")


def _device(name: str) -> str:
    if name == "mps":
        raise ValueError("the GPU of a Mac has no float64, in which measures are computed. Use device=cpu")
    if name not in DEVICES and not re.fullmatch(r"cuda:(0|[1-9][0-9]{0,2})", name):
        raise ValueError(
            f"must be {', '.join(DEVICES)}, or a GPU by its number, as in cuda:1{nearest(name, DEVICES)}"
        )
    return name


class PairSettings(pydantic.BaseModel):
    """The settings of a sweep alone; `plan` is one of a single run too."""

    model_config = FORBID
    pairs: Annotated[int, Field(ge=2, le=10_000)] | None = None
    fail_fast: Count | None = None
    plan: bool = False


class Settings(PairSettings):
    """The settings outside the groups."""

    model_config = FORBID
    seed: Seed
    device: Annotated[str, pydantic.AfterValidator(_device)]
    threads: Annotated[int, Field(ge=1, le=1024)]
    precision: Literal["auto", "bf16", "float32"]
    stage: Literal["all", "data", "train"]
    checkpoint: Place | None
    rerun: Place | None
    strict: bool
    save_models: bool
    evidence: list[Annotated[str, pydantic.AfterValidator(_measure)]]
    references: Annotated[int, Field(ge=1, le=20)] = 1
    plugins: list[str]
    data_dir: Place
    runs_dir: Place
    store: StoreSettings
    tracker: TrackerSettings
    diagnosis: Thresholds


def refuse_misspelt(word: str, own: Iterable[str]) -> None:
    """Raise BadInput for a word that sets nothing of a run, but nearly one of a command's own settings."""
    name, equals, _ = word.partition("=")
    known = {*Settings.model_fields, *(place.name for place in CONF.iterdir() if place.is_dir())}
    if equals and name.isidentifier() and name not in known and (meant := nearest(name, own)):
        raise BadInput(f"{word}: no such setting{meant}")


class DatasetSettings(pydantic.BaseModel):
    """The part of group `dataset` that every dataset has."""

    model_config = FORBID
    train_size: Annotated[int, Field(ge=10, le=10**9)] | None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed
    mean: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1, max_length=3)]
    std: Annotated[list[Annotated[float, Field(ge=1e-3, le=1)]], Field(min_length=1, max_length=3)]


class ArchitectureSettings(pydantic.BaseModel):
    """The part of group `architecture` that every network has."""

    model_config = FORBID
    weights: Place | None = None
    """A file of weights that every new model of the run starts from."""


class ForgetSetSettings(pydantic.BaseModel):
    """The part of group `forget_set` that every kind has."""

    model_config = FORBID
    seed: Seed
    requests: Count = 1
    """Number of requests that ask for the forget set, a part each, one after the other."""


class AlgorithmSettings(pydantic.BaseModel):
    """The part of group `mu_algo` that every algorithm has."""

    model_config = FORBID
    ignores_targets: bool = False
    """Whether it runs once for all targets: it uses neither side's."""
    ignores_forget_targets: bool = False
    """Whether it runs once for all targets of the forget set: it uses those of the retain set alone."""
    ignores_cost: bool = False
    """Whether it runs once for all budgets: it takes no steps, and costs a pass or less."""


class Optimisation(pydantic.BaseModel):
    """What groups `training` and `unlearn` have in common."""

    model_config = FORBID
    batch_size: Count
    optimizer: Callable
    schedule: Callable | None
    clip_norm: Annotated[float, Field(gt=0, le=10**6)] | None
    precision: Literal["float32", "bf16"]


class Augmentation(pydantic.BaseModel):
    """Groups `training.augmentation` and `unlearn.augmentation`: random changes of the images of every batch."""

    model_config = FORBID
    flip: bool = False
    shift: Natural = 0
    cutout: Natural = 0


class Training(Optimisation):
    """Group `training`."""

    epochs: Count | None
    min_epochs: Count
    min_steps: Count
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augmentation: Augmentation = Augmentation()


MOST_COST = 1000
"""Greatest budget of an unlearning, in retrainings."""
LOOKS = range(1, 1001)
"""Numbers of looks in a row that a stop rule may need."""


class Unlearning(Optimisation):
    """Group `unlearn`."""

    epochs: Count
    max_steps: Count | None
    cost: Annotated[float, Field(gt=0, le=1000)] | None = None  # MOST_COST; --help reads a number only
    stop: Literal["none", "matched"]
    looks: Annotated[int, Field(ge=1, le=1000)] = 1  # as numbers, which --help reads from the source
    evaluate_every: Count | None
    evaluate_growth: Weight
    evaluate_samples: Annotated[int, Field(ge=100, le=10**9)] | None
    freeze_norm: bool = False
    forget_batch_ratio: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augmentation: Augmentation = Augmentation()


def _descending(maximize: bool) -> bool:
    if maximize:
        raise ValueError("must be false, because it turns descent into ascent; choose the direction with mu_algo")
    return maximize


Share = Annotated[float, Field(ge=0, lt=1)]
Choice = bool | None
OPTIMIZER = {
    "lr": Weight,
    "momentum": Share,
    "weight_decay": Weight,
    "betas": Annotated[list[Share], Field(min_length=2, max_length=2)],
    "maximize": Annotated[bool, pydantic.AfterValidator(_descending)],
    "fused": Choice,
    "foreach": Choice,
    "nesterov": bool,
    "amsgrad": bool,
    "centered": bool,
    "capturable": bool,
    "decoupled_weight_decay": bool,
}
"""Types of the settings of PyTorch's optimisers, which do not check all of them."""
UNFIT = {
    "LBFGS": "computes the loss several times a step, and the training loop does so once",
    "SparseAdam": "needs sparse gradients, and ours are dense",
}
"""Why an optimiser of PyTorch cannot be used here."""


OPTIONAL: dict[str, type[pydantic.BaseModel]] = {
    "architecture": ArchitectureSettings,
    "forget_set": ForgetSetSettings,
    "training": Training,
    "unlearn": Unlearning,
}
"""Groups of which a user's preset need not list every setting."""


def is_optional(setting: str) -> bool:
    """Return whether a group takes a setting, given by its dotted name, that a preset of the group may lack."""
    group, *path = setting.split(".")
    node, field = OPTIONAL.get(group), None
    for name in path:
        field = getattr(node, "model_fields", {}).get(name)
        node = field and field.annotation
    return field is not None and not field.is_required()


class SweeperSettings(pydantic.BaseModel):
    """Node `hydra.sweeper`."""

    model_config = FORBID
    params: dict[str, Any] | None
    cells: list[str] | None
    cells_per_job: Count
    array_size: Count | None
    runs_per_gpu: Count


def _no_zero(number: int) -> int:
    if not number:
        raise ValueError("must be -1 (one worker for each core) or at least 1")
    return number


class LauncherSettings(pydantic.BaseModel):
    """The numbers in node `hydra.launcher`, whatever the launcher; Hydra checks types, but no ranges."""

    model_config = FORBID | pydantic.ConfigDict(extra="ignore")
    n_jobs: Annotated[int, Field(ge=-1, le=10**9), pydantic.AfterValidator(_no_zero)] = 1
    timeout_min: Count = 1
    signal_delay_s: Natural = 0
    max_num_timeout: Natural = 0
    array_parallelism: Count = 1
    cpus_per_task: Count | None = None
    tasks_per_node: Count | None = None
    nodes: Count | None = None
    mem_gb: Count | None = None
    gpus_per_node: Natural | None = None
