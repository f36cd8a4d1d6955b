"""Checks of settings against each other, the data, the algorithm and this machine."""

import functools
import inspect

import torch
from torch import nn

from softtargets.config.settings import AlgorithmSettings, DatasetSettings, Unlearning
from softtargets.errors import BadInput
from softtargets.fingerprints import shards_of
from softtargets.fit import batch_norms
from softtargets.forget_sets import numbered
from softtargets.marks import Algorithm, Targets
from softtargets.targets import Recipe
from softtargets.types import Samples, Split


def require_device(device: str) -> None:
    """Raise BadInput for a device that this machine lacks."""
    gpus = torch.cuda.device_count()
    available = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{number}" for number in range(gpus))]
    if device not in available:
        lacks = "no such GPU" if gpus else "no GPU that torch can use"
        raise BadInput(f"device={device}: this machine has {lacks}. Choose one of auto, {', '.join(available)}")


def require_batch(where: str, size: int, samples: int) -> None:
    """Raise BadInput for a batch size above the number of training samples."""
    if size > samples:
        raise BadInput(f"{where}.batch_size={size}: must be at most {samples}, the number of training samples")


def require_channels(settings: DatasetSettings, channels: int) -> None:
    """Raise BadInput unless mean and standard deviation have one number, or one for each channel."""
    for name in ("mean", "std"):
        if len(numbers := getattr(settings, name)) not in (1, channels):
            each = f", or one for each of the {channels} channels" if channels > 1 else ""
            raise BadInput(f"dataset.{name}={numbers}: must have one number{each}")


def require_class_numbers(kind: dict, names: tuple[str, ...]) -> None:
    """Raise BadInput for class names in our own forget sets, which take numbers; list the numbers."""
    given = kind.get("classes")
    listed = given if isinstance(given, list) else [given]
    if str(kind.get("_target_")).startswith("softtargets.") and any(isinstance(one, str) for one in listed):
        shown = f"[{','.join(map(str, given))}]" if isinstance(given, list) else repr(given)
        first = next((names.index(one) for one in listed if one in names), 0)
        raise BadInput(
            f"forget_set.classes={shown}: must be a list of class numbers, as in forget_set.classes=[{first}]; "
            f"the classes are {numbered(names)}"
        )


def require_some(settings: dict, chosen: int, samples: int) -> None:
    """Raise BadInput for a forget set of no training sample, or of all of them."""
    if chosen in (0, samples):
        given = ", ".join(f"forget_set.{name}={value}" for name, value in settings.items()) or "forget_set"
        raise BadInput(
            f"{given}: selects {chosen:,} of {samples:,} training samples; select at least one and fewer than all"
        )


def require_distributions(unlearn: functools.partial, recipes: dict[str, Recipe]) -> None:
    """Raise BadInput for targets with negative entries, where the algorithm needs distributions."""
    for name, recipe in recipes.items():
        if recipe.signed and Algorithm.of(unlearn).needs_distribution:
            raise BadInput(
                f"targets.{name}: {unlearn.func.__name__} needs distributions, and these targets have negative "
                "entries. Choose a kind that docs/targets.md calls a distribution"
            )


def require_held_out(recipes: dict[str, Recipe], data: Split, held_out: Samples | None) -> None:
    """Raise BadInput for targets from held-out images, where a class that needs targets has none."""
    for name, recipe in recipes.items():
        if not Targets.of(recipe.kind).held_out:
            continue
        needed = getattr(data, name).labels.unique()
        lacking = needed if held_out is None else needed[~torch.isin(needed, held_out.labels)]
        if len(lacking):
            raise BadInput(
                f"targets.{name}: {recipe.kind.func.__name__} needs held-out images of class {int(lacking[0])}, "
                "and there are none. Set unlearn.stop=none, so that it may use the validation set, or a smaller "
                "dataset.train_size, which leaves images over"
            )


def require_whole_classes(unlearn: functools.partial, data: Split) -> None:
    """Raise BadInput for a forget set with a part of a class, if the algorithm forgets only whole classes."""
    if Algorithm.of(unlearn).whole_classes_only and torch.isin(data.retain.labels, data.forget.labels).any():
        raise BadInput(
            f"forget_set: {unlearn.func.__name__} forgets whole classes, and this forget set is a part of one. "
            "Choose forget_set=class"
        )


def require_shards(unlearn: functools.partial, data: Split) -> None:
    """Raise BadInput where a shard of an ensemble has no sample to retain."""
    if Algorithm.of(unlearn).sharded:
        shards = unlearn.keywords["shards"]
        if not all(map(len, shards_of(data.retain, shards))):
            raise BadInput(
                f"mu_algo.shards={shards}: leaves a shard without one of {len(data.retain):,} samples to retain. "
                "Choose fewer shards"
            )


def require_no_ensemble(unlearn: functools.partial, checkpoint: str | None, evidence: list[str]) -> None:
    """Raise BadInput for an ensemble in the place of what has to be one network."""
    name = unlearn.func.__name__
    if Algorithm.of(unlearn).sharded and checkpoint is not None:
        raise BadInput(f"checkpoint={checkpoint}: {name} starts from an ensemble of its own. Set checkpoint=null")
    if Algorithm.of(unlearn).sharded and "probe" in evidence:
        raise BadInput(f"evidence: probe needs one network, and {name} has an ensemble. Leave probe out")


def require_statistics(unlearn: functools.partial, model: nn.Module) -> None:
    """Raise BadInput where `unlearn.freeze_norm` has no running statistics to hold."""
    if not batch_norms(model):
        raise BadInput("unlearn.freeze_norm=true: the network has no batch normalisation. Leave the setting out")
    if Algorithm.of(unlearn).new_network:
        raise BadInput(
            f"unlearn.freeze_norm=true: {unlearn.func.__name__} trains a new network, which has no statistics of "
            "the original. Leave the setting out"
        )


def require_loop(unlearn: functools.partial, unlearning: Unlearning) -> None:
    """Raise BadInput for settings of the loop of unlearning if the algorithm has none."""
    if not Algorithm.of(unlearn).has_no_loop:
        return
    changes = {f"augmentation.{name}": value for name, value in unlearning.augmentation.model_dump().items()}
    for name, value in ({"freeze_norm": unlearning.freeze_norm} | changes).items():
        if value:
            shown = str(value).lower()  # true, as it is typed
            raise BadInput(
                f"unlearn.{name}={shown}: {unlearn.func.__name__} has no loop of unlearning, and would ignore it. "
                "Leave the setting out"
            )


def require_labels(unlearn: functools.partial, smoothing: float) -> None:
    """Raise BadInput for label smoothing if the algorithm has no loss that takes it."""
    if smoothing and not Algorithm.of(unlearn).smooths_labels:
        raise BadInput(
            f"unlearn.label_smoothing={smoothing}: {unlearn.func.__name__} has no label smoothing. Set it to 0"
        )


def require_forget_batches(unlearn: functools.partial, ratio: float) -> None:
    """Raise BadInput for a size of forget batches if the algorithm has none."""
    if ratio != 1 and not Algorithm.of(unlearn).has_forget_batches:
        raise BadInput(
            f"unlearn.forget_batch_ratio={ratio}: {unlearn.func.__name__} does not take batches of both sets. "
            "Set it to 1"
        )


def require_early(unlearn: functools.partial, checkpoint: str | None) -> None:
    """Raise BadInput for a user's original if the algorithm needs checkpoints of its training."""
    if checkpoint is not None and "early_original" in inspect.signature(unlearn.func).parameters:
        raise BadInput(
            f"checkpoint={checkpoint}: {unlearn.func.__name__} needs checkpoints from the original's training, "
            "and a file has none. Set checkpoint=null"
        )


def require_blind(unlearn: functools.partial, stop: str) -> None:
    """Raise BadInput for a stop rule beside an algorithm with a promise: it looks at the forget set."""
    if Algorithm.of(unlearn).promise and stop != "none":
        raise BadInput(
            f"unlearn.stop={stop}: looks at the forget set, and the promise of {unlearn.func.__name__} allows no "
            "such look. Set unlearn.stop=none"
        )


def require_marks(unlearn: functools.partial, declared: AlgorithmSettings) -> None:
    """Raise BadInput if a config says that the algorithm ignores targets or a budget, and its marks do not."""
    marks, needed = Algorithm.of(unlearn), {name: name for name in ("ignores_targets", "ignores_forget_targets")}
    needed["ignores_cost"] = "has_no_loop"
    for setting, mark in needed.items():
        if getattr(declared, setting) and not getattr(marks, mark):
            raise BadInput(
                f"mu_algo.{setting}=true: {unlearn.func.__name__} is not marked {mark}. Mark the function, or "
                "remove the setting"
            )
