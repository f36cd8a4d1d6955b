"""Networks from inputs to logits: `architecture(*, input_shape, classes, settings) -> Module`."""

import inspect
import itertools
import math
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from softtargets.linear import Linear

Shape = tuple[int, ...]
Width = Annotated[int, Field(ge=1, le=10**6)]


def construct(architecture: Callable[..., nn.Module], input_shape: Shape, classes: int) -> nn.Module:
    """Call `architecture` with those of `input_shape` (without the batch) and `classes` that it has as arguments.

    Lazy layers, which learn their sizes from their first inputs, learn them here.

    >>> from functools import partial
    >>> model = construct(partial(mlp, hidden=800), input_shape=(1, 28, 28), classes=10)
    >>> model(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    shape = {"input_shape": input_shape, "classes": classes}
    # of a partial the signature of its function: a partial's own leaves out what it has set
    arguments = inspect.signature(getattr(architecture, "func", architecture)).parameters
    model = architecture(**{name: value for name, value in shape.items() if name in arguments})
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        # in eval mode, so that batch normalisation does not learn from the zeros
        with torch.no_grad():
            model.eval()(torch.zeros(1, *input_shape))
        model.train()
    return model


def mlp(*, input_shape: Shape, classes: int, hidden: Width) -> nn.Module:
    """Return a network inputs-`hidden`-classes with ReLU; 784-800-10 on 28x28 images (Simard et al. 2003).

    >>> mlp(input_shape=(1, 28, 28), classes=10, hidden=800)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    return nn.Sequential(nn.Flatten(), Linear(math.prod(input_shape), hidden), nn.ReLU(), Linear(hidden, classes))


def cnn(
    *,
    input_shape: Shape,
    classes: int,
    channels: Annotated[list[Width], Field(min_length=1)],
    hidden: Width,
) -> nn.Module:
    """Return 3x3 convolutions, each with ReLU and 2x2 max-pool, then two fully connected layers.

    A convolution for each entry of `channels`, the number of its outputs; `hidden` is the width between the two
    fully connected layers. `input_shape` is (channels, height, width).

    Raises ValueError for images that the pools would shrink to nothing.

    >>> model = cnn(input_shape=(3, 32, 32), classes=10, channels=[8, 16], hidden=64)
    >>> model(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    depth, height, width = input_shape
    # each pool halves height and width and drops the remainder, as a shift to the right does
    rows, columns = height >> len(channels), width >> len(channels)
    if not rows or not columns:
        halvings = min(height, width).bit_length() - 1
        raise ValueError(
            f"{height}x{width} images can be halved {halvings} times, but channels has {len(channels)} entries"
        )
    blocks = [_block(*pair) for pair in itertools.pairwise([depth, *channels])]
    head = [
        nn.Flatten(),
        Linear(channels[-1] * rows * columns, hidden),
        nn.ReLU(),
        Linear(hidden, classes),
    ]
    return ChannelsLast(*blocks, *head)


def _block(inputs: int, outputs: int) -> nn.Module:
    # max commutes with ReLU: pooling first gives the same numbers with a quarter of the ReLUs
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2), nn.ReLU())


class ChannelsLast(nn.Sequential):
    """A sequence that computes in the memory layout in which processors convolve and pool fastest."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits (n, classes) of inputs (n, channels, height, width)."""
        n, depth, height, width = inputs.shape
        # flat in between: the strides of a single channel do not tell the two layouts apart, torch takes the
        # slower one, and a pool then costs fifteen times as much
        rows = inputs.permute(0, 2, 3, 1).flatten().view(n, height, width, depth)
        return super().forward(rows.permute(0, 3, 1, 2))
