"""Measures of one model, and of one model against another, from logits (n samples, k classes) and parameters."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn


def accuracy(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """Return the share of samples whose largest logit is at the label."""
    return (logits.argmax(1) == labels).double().mean().item()


def loss(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """Return the mean of -log p_y in nats."""
    # float64 keeps a loss near 0 that float32 would round to 0
    return F.cross_entropy(logits.double(), labels).item()


def class_accuracy(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> list[float | None]:
    """Return the accuracy within every class; None for a class without samples here."""
    count = labels.bincount(minlength=logits.shape[1])
    # right predictions have the class of their label, so that counting labels counts both
    right = labels[logits.argmax(1) == labels].bincount(minlength=logits.shape[1])
    return [r / c if c else None for r, c in zip(right.tolist(), count.tolist(), strict=True)]


def margins(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return φ = log p_y - log(1 - p_y) of each sample, computed as z_y - logsumexp of the other logits."""
    # never through p: near p = 1 the rounding of 1 - p would decide the margin
    z = logits.double()
    own = z.gather(1, labels[:, None])[:, 0]
    others = z.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    return (own - others).float()


def js(one: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> float:
    """Return the mean Jensen-Shannon divergence of softmax(one) and softmax(other), in nats: 0 to ln 2."""
    return js_each(one, other).mean().item()


def js_each(one: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Return JS(p, q) = ½ KL(p‖m) + ½ KL(q‖m), m = ½ (p + q), of each sample, in nats."""
    log_p, log_q = one.double().log_softmax(1), other.double().log_softmax(1)
    # log m = log(p + q) - log 2, all in logs: a probability of 0 gives no 0 · log 0
    log_m = torch.logaddexp(log_p, log_q) - torch.log(torch.tensor(2.0, dtype=torch.float64))
    # kl_div(log_m, log_p) is KL(p‖m): torch takes the second argument of KL first
    return sum(F.kl_div(log_m, log, log_target=True, reduction="none").sum(1) for log in (log_p, log_q)) / 2


def class_means(values: Float[Tensor, " n"], labels: Int64[Tensor, " n"], classes: int) -> list[float | None]:
    """Return the mean of the values of the samples of each class; None for a class without samples here."""
    count = labels.bincount(minlength=classes)
    total = torch.zeros(classes, dtype=values.dtype, device=values.device).index_add_(0, labels, values)
    return [t / c if c else None for t, c in zip(total.tolist(), count.tolist(), strict=True)]


def disagreement(one: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> float:
    """Return the share of samples for which the two models predict different classes."""
    return (one.argmax(1) != other.argmax(1)).double().mean().item()


def activation_distance(one: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> float:
    """Return the mean ‖p - q‖₂ of the two softmaxes: 0 to √2 (Golatkar et al. 2021, arXiv 2012.13431)."""
    return (one.double().softmax(1) - other.double().softmax(1)).norm(dim=1).mean().item()


def l1(one: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> float:
    """Return the mean ‖p - q‖₁ of softmax(one) and softmax(other): 0 to 2."""
    return (one.double().softmax(1) - other.double().softmax(1)).abs().sum(1).mean().item()


def accuracy_distance(one: list[float | None], other: list[float | None]) -> float:
    """Return the mean of |Δaccuracy| over the classes with samples: the seed project's distance, 0 to 1."""
    # a class that one of the sets lacks has no accuracy, and does not count as equal
    gaps = [abs(a - b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return sum(gaps) / len(gaps)


def average_gap(one: dict[str, float], other: dict[str, float]) -> float:
    """Return the mean of |Δaccuracy| over forget, retain and test set: 0 to 1."""
    return sum(_gaps(one, other)) / 3


def tow(one: dict[str, float], other: dict[str, float]) -> float:
    """Return Π (1 - |Δaccuracy|) over forget, retain and test set: tug of war (Zhao et al. 2024, 2406.01257).

    1 for a model as accurate as the retrained one everywhere.
    """
    forget, retain, test = _gaps(one, other)
    return (1 - forget) * (1 - retain) * (1 - test)


def _gaps(one: dict[str, float], other: dict[str, float]) -> list[float]:
    return [abs(one[f"{name}_acc"] - other[f"{name}_acc"]) for name in ("forget", "retain", "test")]


def average_parameter_change(model: nn.Module, reference: nn.Module) -> float:
    """Return the mean |θ - θ0| over all parameters, the seed project's measure of steps (not of forgetting)."""
    return (_flat(model) - _flat(reference)).abs().mean().item()


def relative_l2(model: nn.Module, reference: nn.Module) -> float:
    """Return ‖θ - θ0‖₂ / ‖θ0‖₂ over all parameters."""
    return ((_flat(model) - _flat(reference)).norm() / _flat(reference).norm()).item()


def relative_l2_of_buffers(model: nn.Module, reference: nn.Module) -> float:
    """Return ‖b - b0‖₂ / ‖b0‖₂ over all buffers of floating-point numbers, such as running statistics."""
    mine, theirs = (_joined(float_buffers(one)) for one in (model, reference))
    return ((mine - theirs).norm() / theirs.norm()).item()


def float_buffers(model: nn.Module) -> list[Tensor]:
    """Return the buffers of a model that hold floating-point numbers, which a count of batches does not."""
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def _flat(model: nn.Module) -> Float[Tensor, " n"]:
    return _joined(model.parameters())


def _joined(tensors: Iterable[Tensor]) -> Float[Tensor, " n"]:
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])
