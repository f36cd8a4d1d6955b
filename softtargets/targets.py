"""Kinds of targets, each `kind(source, *, settings) -> targets` of shape (n, classes).

A kind knows neither the set it is for nor the direction in which an algorithm will use it.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Source:
    """What a kind may draw on, for n samples in their order."""

    labels: Int64[Tensor, " n"]
    classes: int
    logits: Callable[[str], Float[Tensor, "n classes"]]
    """A model's float32 eval-mode logits on these samples, by the model's name; "original" is θ0."""


def hard(source: Source) -> Float[Tensor, "n k"]:
    """q = e_y, the one-hot label."""
    return F.one_hot(source.labels, source.classes).float()


def self_prediction(source: Source, *, temperature: Annotated[float, Field(gt=0)]) -> Float[Tensor, "n k"]:
    """q = softmax(z0 / T), z0 the original's logits, T → temperature.

    On the forget set at T = 1 the gradient p - q vanishes at the original, and ascent does nothing; T < 1 sharpens
    towards the hard label, T > 1 flattens. On the retain set T = 1 holds the model where it was.
    """
    return (source.logits("original") / temperature).softmax(1)


def check_rows(targets: Float[Tensor, "n k"], name: str) -> None:
    """Refuse rows that are not finite or do not sum to 1 within 1e-6; ValueError shows the first such row."""
    bad = ~targets.isfinite().all(1) | ((targets.double().sum(1) - 1).abs() > 1e-6)
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(f"{name} targets: row {row} is {targets[row].tolist()}, not finite numbers that sum to 1")
