"""Memorisation: how much more often a model is right about a training sample because it was trained on it.

Feldman and Zhang (2020, arXiv:2008.03703, equation 1) define it for sample i of a training set S, of labels y, by

    mem(i) = P[ h(x_i) = y_i, h trained on S ] - P[ h(x_i) = y_i, h trained on S without i ]

and estimate both probabilities from models that are trained on random parts of S, with i and without it. They take
parts of 70 %; ours are halves.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from softtargets.ranges import Halves
from softtargets.types import Samples, generator


@dataclasses.dataclass(frozen=True)
class Laboratory:
    """What scores of training samples are computed with, before a forget set is chosen."""

    train: Samples
    """The whole training set, in the dataset's order."""
    trained: Callable[[dict[str, Int64[Tensor, " m"]]], Iterable[nn.Module]]
    """`trained(positions)` yields a model for each name, trained as the original is on these training samples."""
    predict: Callable[[nn.Module, Samples], Float[Tensor, "n classes"]]


def estimates(laboratory: Laboratory, *, models: Halves) -> Float[Tensor, " n"]:
    """Return the memorisation of every training sample, from -1 to 1, estimated from models on random halves.

    With 2k models a probability is the mean over k of them, of standard error at most 1 / (2 √k).
    """
    train = laboratory.train
    inside = halves(len(train), models)
    names = {f"half/{number}": row.nonzero()[:, 0] for number, row in enumerate(inside)}
    right = [laboratory.predict(one, train).argmax(1) == train.labels for one in laboratory.trained(names)]
    return memorisation(torch.stack(right).cpu(), inside)


def halves(samples: int, models: int) -> Bool[Tensor, "models n"]:
    """Return which samples train each model: a random half, then its other half, so that all train equally many.

    The draw of a pair does not depend on how many models there are: more models are the same and further ones.

    >>> halves(4, 2).sum(0).tolist()
    [1, 1, 1, 1]
    """
    return torch.cat(list(_pairs(samples, models // 2)))


def _pairs(samples: int, pairs: int) -> Iterator[Bool[Tensor, "2 n"]]:
    for number in range(pairs):
        order = torch.randperm(samples, generator=generator(0, f"halves/{number}"))
        first = torch.zeros(samples, dtype=torch.bool).index_fill(0, order[: samples // 2], True)
        yield torch.stack([first, ~first])


def memorisation(right: Bool[Tensor, "models n"], inside: Bool[Tensor, "models n"]) -> Float[Tensor, " n"]:
    """Return the share of models that are right with a sample, less that of models without it.

    >>> right = torch.tensor([[True, True], [True, False]])
    >>> memorisation(right, torch.tensor([[True, True], [False, False]]))
    tensor([0., 1.])
    """
    with_it = (right & inside).sum(0) / inside.sum(0)
    without = (right & ~inside).sum(0) / (~inside).sum(0)
    return with_it - without
