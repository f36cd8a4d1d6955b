"""The models and sets of an audit, checked: what does not fit ends in one sentence before anything is measured."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from softtargets.config.validation import naming
from softtargets.errors import BadInput
from softtargets.execution.checkpoint import load_weights
from softtargets.execution.network_trial import are_probabilities, require_logits
from softtargets.fit import evaluating
from softtargets.types import Samples

Model = nn.Module | Mapping[str, Tensor] | str | Path
"""A network from inputs to logits, or the weights of one: a state dict, or a file that holds one."""
Data = Samples | tuple[Tensor, Tensor] | Dataset
"""Samples; or inputs (n, ...) as the network takes them, with integer labels (n,); or a dataset of such pairs."""
Pairs = Mapping[str, tuple[Tensor, Tensor]]
FORMS = "give a pair of tensors (inputs and labels) or a dataset"


def network(model: Model, architecture: Callable[[], nn.Module] | None, name: str) -> nn.Module:
    """Return a model in any form as a network."""
    if isinstance(model, nn.Module):
        return model
    if not isinstance(model, Mapping | str | Path):
        raise BadInput(
            f"{name} is {type(model).__name__}; give a torch.nn.Module, a state dict, or the path of a file"
        )
    if architecture is None:
        raise BadInput(f"{name} has weights only; give architecture too, a function that returns a network")
    built = _built(architecture)
    load_weights(built, model, name if isinstance(model, Mapping) else f"{name}={model}")
    return built


def _built(architecture: Callable[[], nn.Module]) -> nn.Module:
    if isinstance(architecture, nn.Module):
        raise BadInput("architecture is a network; give a function that returns one, as in architecture=Net")
    with naming("architecture", (Exception,)):  # a function of the user's own
        built = copy.deepcopy(architecture())
    if not isinstance(built, nn.Module):
        raise BadInput(f"architecture returns {type(built).__name__}; it must return a torch.nn.Module")
    return built


def pair(data: Data, name: str) -> tuple[Tensor, Tensor]:
    """Return inputs and labels of a set in any form."""
    if isinstance(data, Samples):
        return data.inputs, data.labels
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        with naming(f"{name}: its samples cannot be stacked to inputs and labels", (Exception,)):
            data = _stacked(data)
    if not isinstance(data, tuple | list) or len(data) != 2 or not all(isinstance(part, Tensor) for part in data):
        raise BadInput(f"{name} is {_described(data)}; {FORMS}")
    inputs, labels = data
    counts = [len(part) if part.ndim else 0 for part in data]
    if not counts[0] or counts[0] != counts[1]:
        raise BadInput(f"{name} has {counts[0]} inputs and {counts[1]} labels; give one label for each input")
    if inputs.is_meta or labels.is_meta:
        raise BadInput(f"{name} is on meta, where tensors have no numbers; give tensors that have them")
    if not inputs.isfinite().all():
        raise BadInput(f"{name} has inputs that are not finite; leave these samples out")
    return inputs.float(), whole(labels, f"{name} has labels")


def _described(data: object) -> str:
    """Return the type of what is no set, with the types of its parts, such as `tuple of ndarray`."""
    parts = dict.fromkeys(type(part).__name__ for part in data) if isinstance(data, tuple | list) else ()
    return " of ".join([type(data).__name__, *([" and ".join(parts)] if parts else [])])


def _stacked(data: Dataset) -> tuple[Tensor, Tensor]:
    rows = [data[i] for i in range(len(data))]
    if not rows:
        return torch.zeros(0), torch.zeros(0)
    return tuple(torch.stack([torch.as_tensor(row[part]) for row in rows]) for part in (0, 1))


def whole(labels: Tensor, what: str) -> Int64[Tensor, " n"]:
    """Return labels as 64-bit integers; raise BadInput for others, such as fractions and one-hot rows."""
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        shape = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise BadInput(f"{what} in {shape}; give one whole number for each input, as in labels.long()")
    return labels.long()


def classes_of(models: Mapping[str, nn.Module], pairs: Pairs) -> int:
    """Return how many classes the models tell apart, the same for all; try each on a sample of every set."""
    devices = {name: str(inputs.device) for name, (inputs, _) in pairs.items()}
    if len(set(devices.values())) > 1:
        raise BadInput(f"the sets are on different devices: {devices}. Move them to one")
    widths = {name: _width(model, pairs, name) for name, model in models.items()}
    if len(set(widths.values())) > 1:
        raise BadInput(f"the models have logits of different widths: {widths}")
    return widths["original"]


def _width(model: nn.Module, pairs: Pairs, name: str) -> int:
    """Return how many logits a model gives for a sample."""
    logits = torch.cat([_logits(model, inputs[:1], name, part) for part, (inputs, _) in pairs.items()])
    if are_probabilities(logits):
        raise BadInput(f"{name} returns probabilities; it must return logits (leave out the softmax)")
    return logits.shape[1]


@torch.no_grad()
def _logits(model: nn.Module, inputs: Tensor, name: str, part: str) -> Tensor:
    kinds = {f"{parameter.dtype} on {parameter.device}" for parameter in model.parameters()}
    given = f"{inputs.dtype} on {inputs.device}"
    convert = f"; convert them by {name}.to('{inputs.device}', {inputs.dtype})" if kinds - {given} else ""
    takes = f"its weights are {' and '.join(sorted(kinds)) or 'none'}{convert}"
    gets = f"inputs are {given} of shape {(1, *inputs.shape[1:])}"
    with naming(f"{name} fails on {part} ({takes}; {gets})", (Exception,)), evaluating(model):
        output = model(inputs.clone())
    return require_logits(output, 1, None, f"{name} on {part}")


def samples(inputs: Tensor, labels: Tensor, classes: int, name: str) -> Samples:
    """Return a set with one-hot targets."""
    require_classes(labels, classes, name)
    return Samples(inputs, labels, F.one_hot(labels, classes).float())


def require_classes(labels: Tensor, classes: int, name: str) -> None:
    """Raise BadInput for labels (n,) that are no classes."""
    if labels.min() < 0 or labels.max() >= classes:
        raise BadInput(
            f"{name} has labels from {labels.min()} to {labels.max()}; they must be from 0 to {classes - 1}"
        )


def true_labels(given: Tensor | None, forget: Samples) -> Int64[Tensor, " n"]:
    """Return what the forget set's inputs show: `given`, checked, or else its labels."""
    if given is None:
        return forget.labels
    name = "forget_true_labels"
    if not isinstance(given, Tensor) or given.shape != forget.labels.shape:
        raise BadInput(f"{name} is no tensor of shape {tuple(forget.labels.shape)}; give one label for each input")
    labels = whole(given, f"{name} has labels")
    require_classes(labels, forget.targets.shape[1], name)
    return labels


def require_level(validation: Samples | None, retain: Samples, true: Int64[Tensor, " n"]) -> None:
    """Raise BadInput for validation samples that show no forgotten class, where the retain set shows one."""
    if (
        validation is None
        or not torch.isin(retain.labels, true).any()
        or torch.isin(validation.labels, true).any()
    ):
        return
    raise BadInput("validation has no sample of the forget set's classes; add some, or leave validation out")
