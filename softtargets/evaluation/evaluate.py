"""Evaluations of models on the four sets, and distances from one model to another."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from jaxtyping import Float
from torch import Tensor, nn

from softtargets.evaluation import metrics
from softtargets.evaluation.attacks import auc
from softtargets.fit import predict
from softtargets.types import Evaluated, Samples

Logits = dict[str, Float[Tensor, "n k"]]
"""A model's logits (n, k), by the name of the set."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One model's metrics, and the margins of its forget and test samples."""

    metrics: dict
    """By name, as in `result.json`: shares from 0 to 1, losses in nats."""
    margins: dict[str, Tensor]
    """log p_y - log(1 - p_y) of each sample, by the name of the set."""
    logits: Logits


def evaluate(logits: Logits, data: Evaluated) -> Evaluation:
    """Measure a model by its logits on `data.evaluated()`; a metric is None where its logits are not finite."""
    measured = {}
    for name, samples in data.evaluated().items():
        finite = bool(logits[name].isfinite().all())
        measured[f"{name}_acc"] = metrics.accuracy(logits[name], samples.labels) if finite else None
        measured[f"{name}_loss"] = metrics.loss(logits[name], samples.labels) if finite else None
    margins = {name: metrics.margins(logits[name], getattr(data, name).labels) for name in ("forget", "test")}
    if all(set_logits.isfinite().all() for set_logits in logits.values()):
        measured |= _detail(logits, data, margins["forget"])
    else:
        measured |= dict.fromkeys(("unseen_acc", "forget_true_acc", "class_acc", "forget_class_acc", "mia_auc"))
    return Evaluation(measured, margins, logits)


def _detail(logits: Logits, data: Evaluated, forget_margins: Tensor) -> dict:
    """Return the metrics that need finite logits on all sets."""
    test = data.membership
    unseen = metrics.margins(logits["test"][test.nonmembers], test.nonmember_labels)
    return {
        "unseen_acc": None if data.level is None else _unseen_accuracy(logits, data),
        # differs from forget_acc where the forget set has wrong labels: does the model see what the image shows?
        "forget_true_acc": metrics.accuracy(logits["forget"], data.forget_true_labels),
        "class_acc": metrics.class_accuracy(logits["test"], data.test.labels),
        "forget_class_acc": metrics.class_accuracy(logits["forget"], data.forget.labels),
        "mia_auc": auc(forget_margins[test.members], unseen) if len(unseen) else None,
    }


def distance(one: Evaluation, reference: Evaluation, data: Evaluated) -> dict:
    """Return the distances of a model to the retrained one on `data`; all None where one of them is not finite."""
    mine, theirs = one.metrics, reference.metrics
    # a class accuracy is None where any set's logits are not finite: see `evaluate`
    finite = mine["class_acc"] is not None and theirs["class_acc"] is not None
    values = _apart(one, reference, data) if finite else dict.fromkeys(APART)
    # functions, so that none is computed where an accuracy is None
    accuracies = {
        "accuracy_distance": lambda: metrics.accuracy_distance(mine["class_acc"], theirs["class_acc"]),
        "accuracy_distance_forget": lambda: metrics.accuracy_distance(
            mine["forget_class_acc"], theirs["forget_class_acc"]
        ),
        "avg_gap": lambda: metrics.average_gap(mine, theirs),
        "tow": lambda: metrics.tow(mine, theirs),
        "mia_gap": lambda: None if mine["mia_auc"] is None else abs(mine["mia_auc"] - theirs["mia_auc"]),
    }
    return values | {name: gap() if finite else None for name, gap in accuracies.items()}


APART = (
    "js_forget",
    "js_validation",
    "js_test",
    "l1_forget",
    "l1_test",
    "activation_distance_forget",
    "activation_distance_test",
    "disagreement_forget",
    "disagreement_test",
    "class_js_forget",
    "class_js_test",
)
"""Distances of predictions; the last two are lists with an entry for each class."""


def _apart(one: Evaluation, reference: Evaluation, data: Evaluated) -> dict:
    has_validation = data.validation is not None
    validation = (one.logits["validation"], reference.logits["validation"]) if has_validation else None
    distances = {"js_validation": metrics.js(*validation) if validation else None}
    for name in ("forget", "test"):
        pair, labels = (one.logits[name], reference.logits[name]), getattr(data, name).labels
        each = metrics.js_each(*pair)
        distances[f"js_{name}"] = each.mean().item()
        distances[f"class_js_{name}"] = metrics.class_means(each, labels, data.classes)
        distances[f"l1_{name}"] = metrics.l1(*pair)
        distances[f"activation_distance_{name}"] = metrics.activation_distance(*pair)
        distances[f"disagreement_{name}"] = metrics.disagreement(*pair)
    # in the order of APART, so that `result.json` has one order of keys
    return {name: distances[name] for name in APART}


def change(model: nn.Module, original: nn.Module) -> dict:
    """Return how far the parameters have moved from the original's, and the buffers, such as running statistics.

    None where they are not finite, and where the two models have none, or have some of other shapes.
    """
    models, values = (model, original), {}
    if _alike(*(one.parameters() for one in models)):
        values["avg_parameter_change"] = metrics.average_parameter_change(*models)
        values["relative_l2"] = metrics.relative_l2(*models)
    if _alike(*(metrics.float_buffers(one) for one in models)):
        values["buffers_relative_l2"] = metrics.relative_l2_of_buffers(*models)
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    return dict.fromkeys(("avg_parameter_change", "relative_l2", "buffers_relative_l2")) | finite


def _alike(one: Iterable[Tensor], other: Iterable[Tensor]) -> bool:
    """Return whether there are tensors, and those of both models have the same shapes."""
    shapes = [[tensor.shape for tensor in tensors] for tensors in (one, other)]
    return bool(shapes[0]) and shapes[0] == shapes[1]


def _unseen_accuracy(logits: Logits, data: Evaluated) -> float:
    """Return the accuracy on unseen data that are like the forget set (see `ForgottenLevel`)."""
    level = data.level
    if level.fixed is not None:
        return level.fixed
    return metrics.accuracy(logits["validation"][level.positions], level.labels)


def has_forgotten(measured: dict, level: float | None) -> bool:
    """Return whether a model with these metrics predicts the forget set no better than `level`, an accuracy."""
    return None not in (measured["forget_acc"], level) and measured["forget_acc"] <= level


def predict_sets(model: nn.Module, data: Evaluated, more: Mapping[str, Samples] = MappingProxyType({})) -> Logits:
    """Return a model's logits on `data.evaluated()`, and on `more` sets."""
    sets = data.evaluated() | more
    return {name: predict(model, samples) for name, samples in sets.items()}
