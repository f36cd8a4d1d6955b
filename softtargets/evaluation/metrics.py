"""Measures of one model, and of one model against another, from logits and parameters."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn


def accuracy(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """Share of samples whose largest logit is at the label."""
    return (logits.argmax(1) == labels).double().mean().item()


def loss(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """Mean of -log p_y in nats."""
    return F.cross_entropy(logits.double(), labels).item()


def class_accuracy(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> list[float | None]:
    """Accuracy within every class; None for a class with no samples here."""
    count = labels.bincount(minlength=logits.shape[1])
    right = labels[logits.argmax(1) == labels].bincount(minlength=logits.shape[1])
    return [r / c if c else None for r, c in zip(right.tolist(), count.tolist(), strict=True)]


def margins(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """φ = log p_y - log(1 - p_y), without the rounding of p near 1: z_y - logsumexp of the other logits."""
    z = logits.double()
    own = z.gather(1, labels[:, None])[:, 0]
    others = z.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    return (own - others).float()


def js(one: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> float:
    """Mean Jensen-Shannon divergence of softmax(one) and softmax(other), in nats: 0 to ln 2."""
    return js_each(one, other).mean().item()


def js_each(one: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """JS(p, q) = ½ KL(p‖m) + ½ KL(q‖m), m = ½ (p + q), of each sample, in nats."""
    log_p, log_q = one.double().log_softmax(1), other.double().log_softmax(1)
    log_m = torch.logaddexp(log_p, log_q) - torch.log(torch.tensor(2.0, dtype=torch.float64))
    return sum(F.kl_div(log_m, log, log_target=True, reduction="none").sum(1) for log in (log_p, log_q)) / 2


def class_means(values: Float[Tensor, " n"], labels: Int64[Tensor, " n"], classes: int) -> list[float | None]:
    """Mean of the values of the samples of each class; None for a class with no samples here."""
    count = labels.bincount(minlength=classes)
    total = torch.zeros(classes, dtype=values.dtype, device=values.device).index_add_(0, labels, values)
    return [t / c if c else None for t, c in zip(total.tolist(), count.tolist(), strict=True)]


def disagreement(one: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> float:
    """Share of samples for which the two predict different classes."""
    return (one.argmax(1) != other.argmax(1)).double().mean().item()


def activation_distance(one: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> float:
    """Mean ‖p - q‖₂ of softmax(one) and softmax(other): 0 to √2 (Golatkar et al. 2021, arXiv 2012.13431)."""
    return (one.double().softmax(1) - other.double().softmax(1)).norm(dim=1).mean().item()


def l1(one: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> float:
    """Mean ‖p - q‖₁ of softmax(one) and softmax(other): 0 to 2."""
    return (one.double().softmax(1) - other.double().softmax(1)).abs().sum(1).mean().item()


def accuracy_distance(one: list[float | None], other: list[float | None]) -> float:
    """Mean over the classes present of |accuracy - accuracy|: the seed project's distance."""
    gaps = [abs(a - b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return sum(gaps) / len(gaps)


def average_gap(one: dict[str, float], other: dict[str, float]) -> float:
    """Mean of |Δaccuracy| over forget, retain and test set."""
    return sum(_gaps(one, other)) / 3


def tow(one: dict[str, float], other: dict[str, float]) -> float:
    """Tug of war (Zhao et al. 2024, arXiv 2406.01257): Π (1 - |Δaccuracy|) over forget, retain and test set.

    1 for a model as accurate as the retrained one everywhere.
    """
    forget, retain, test = _gaps(one, other)
    return (1 - forget) * (1 - retain) * (1 - test)


def _gaps(one: dict[str, float], other: dict[str, float]) -> list[float]:
    return [abs(one[f"{name}_acc"] - other[f"{name}_acc"]) for name in ("forget", "retain", "test")]


def average_parameter_change(model: nn.Module, reference: nn.Module) -> float:
    """Mean of |θ - θ0| over all parameters: the seed project's measure. It measures step size, not forgetting."""
    return (_flat(model) - _flat(reference)).abs().mean().item()


def relative_l2(model: nn.Module, reference: nn.Module) -> float:
    """‖θ - θ0‖₂ / ‖θ0‖₂."""
    return ((_flat(model) - _flat(reference)).norm() / _flat(reference).norm()).item()


def _flat(model: nn.Module) -> Float[Tensor, " n"]:
    return torch.cat([parameter.detach().double().flatten() for parameter in model.parameters()])
