"""Networks from inputs to logits: `architecture(*, input_shape, classes, settings) -> Module`."""

import inspect
import itertools
import math
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from softtargets.errors import nearest
from softtargets.linear import Linear
from softtargets.system.words import counted

GIVEN = ("input_shape", "classes", "num_classes")
"""Arguments that a network gets by the name it has for them."""
Shape = tuple[int, ...]
Width = Annotated[int, Field(ge=1, le=10**6)]


def construct(architecture: Callable[..., nn.Module], input_shape: Shape, classes: int) -> nn.Module:
    """Call `architecture` with those of `input_shape` (without the batch) and `classes` that it has as arguments.

    `num_classes` is another name of `classes`. A builder of torchvision's gets the number of classes and a first
    convolution for the channels. Lazy layers, which learn their sizes from their first inputs, learn them here.

    >>> from functools import partial
    >>> model = construct(partial(mlp, hidden=800), input_shape=(1, 28, 28), classes=10)
    >>> model(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    if is_torchvisions(architecture):
        model = _of_torchvision(architecture, input_shape, classes)
    else:
        model = architecture(**given(architecture, input_shape, classes))
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        # in eval mode, so that batch normalisation does not learn from the zeros
        with torch.no_grad():
            model.eval()(torch.zeros(1, *input_shape))
        model.train()
    return model


def given(architecture: Callable[..., nn.Module], input_shape: Shape, classes: int) -> dict[str, object]:
    """Return what `construct` calls an architecture with; what a partial has set for it stays.

    >>> given(lambda *, num_classes: nn.Linear(4, num_classes), (1, 2, 2), 10)
    {'num_classes': 10}
    """
    known = dict(zip(GIVEN, (input_shape, classes, classes), strict=True))
    # of a partial the signature of its function: a partial's own leaves out what it has set
    arguments = inspect.signature(getattr(architecture, "func", architecture)).parameters
    own = getattr(architecture, "keywords", {})
    return {name: value for name, value in known.items() if name in arguments and name not in own}


def is_torchvisions(architecture: Callable) -> bool:
    """Return whether an architecture is a builder of torchvision's, which takes most settings as `**kwargs`.

    >>> is_torchvisions(mlp)
    False
    """
    function = getattr(architecture, "func", architecture)
    return str(getattr(function, "__module__", "")).startswith("torchvision.models.")


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
            f"{height}x{width} images can be halved {counted(halvings, 'time')}, but channels has "
            f"{counted(len(channels), 'entry', 'entries')}"
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


def resnet9(*, input_shape: Shape, classes: int, width: Width) -> nn.Module:
    """Return eight convolutions with two residual blocks, then a linear layer (Page's of 2018).

    A fast network of the CIFAR-10 speed runs. Its channels go from `width` to 8 · `width`. Three 2x2 pools keep a
    remainder, so that images of any size fit.
    Unlike Page's, the network does not scale its logits by 1/8: they are what its last linear layer returns.

    >>> resnet9(input_shape=(3, 32, 32), classes=10, width=8)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    return ChannelsLast(
        _normalised(input_shape[0], width),
        _halving(width, 2 * width),
        Residual(_normalised(2 * width, 2 * width), _normalised(2 * width, 2 * width)),
        _halving(2 * width, 4 * width),
        _halving(4 * width, 8 * width),
        Residual(_normalised(8 * width, 8 * width), _normalised(8 * width, 8 * width)),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        Linear(8 * width, classes),
    )


def resnet18(*, input_shape: Shape, classes: int, width: Width) -> nn.Module:
    """Return the ResNet-18 of He et al. 2016 with a stem for small images: one 3x3 convolution and no pool.

    Four stages of two blocks have `width`, 2, 4 and 8 · `width` channels; images of any size fit.

    >>> resnet18(input_shape=(3, 32, 32), classes=10, width=4)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    stages = [
        block
        for inputs, outputs, stride in ((1, 1, 1), (1, 2, 2), (2, 4, 2), (4, 8, 2))
        for block in (
            BasicBlock(inputs * width, outputs * width, stride),
            BasicBlock(outputs * width, outputs * width),
        )
    ]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), Linear(8 * width, classes)]
    return ChannelsLast(_normalised(input_shape[0], width), *stages, *head)


def _known(name: str) -> str:
    from torchvision import models  # importing it takes a second, which the other networks do not need

    names = models.list_models(module=models)
    if name not in names:
        advice = nearest(name, names) or f"; use one of {', '.join(names)}"
        raise ValueError(f"no classification network of torchvision has this name{advice}")
    return name


def torchvision(*, input_shape: Shape, classes: int, name: Annotated[str, AfterValidator(_known)]) -> nn.Module:
    """Return torchvision's classification network `name`, with random weights, for these classes and channels.

    Its first convolution is replaced where the images have other than 3 channels.

    >>> torchvision(input_shape=(1, 32, 32), classes=10, name="resnet18")(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 10])
    """
    from torchvision import models

    return _of_torchvision(models.get_model_builder(name), input_shape, classes)


def _of_torchvision(builder: Callable[..., nn.Module], input_shape: Shape, classes: int) -> nn.Module:
    channels, height, width = input_shape
    settings = _settings(builder, height, width) | getattr(builder, "keywords", {})
    model = builder(**{"num_classes": classes} | settings)
    name, first = next((name, one) for name, one in model.named_modules() if isinstance(one, nn.Conv2d))
    if first.in_channels != channels:
        layer = nn.Conv2d(
            channels,
            first.out_channels,
            first.kernel_size,
            first.stride,
            first.padding,
            first.dilation,
            bias=first.bias is not None,
        )
        above, _, last = name.rpartition(".")
        setattr(model.get_submodule(above), last, layer)
    return model


def _settings(builder: Callable[..., nn.Module], height: int, width: int) -> dict[str, object]:
    """Return what some of torchvision's networks need beside the number of classes."""
    kind = getattr(builder, "func", builder).__module__.rpartition(".")[2]
    if kind in ("googlenet", "inception"):
        # without their auxiliary logits, and drawing their weights as they will by default
        return {"aux_logits": False, "init_weights": True}
    if kind == "vision_transformer":
        return {"image_size": height}
    return {"input_size": (height, width)} if kind == "maxvit" else {}


def _convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    # without a bias, which the normalisation would take away again
    layer = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


def _normalised(inputs: int, outputs: int) -> nn.Sequential:
    return _convolution(inputs, outputs).append(nn.ReLU())


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return _normalised(inputs, outputs).append(nn.MaxPool2d(2, ceil_mode=True))


class Residual(nn.Sequential):
    """A sequence whose inputs are added to its outputs."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs plus outputs, both (n, channels, height, width)."""
        return inputs + super().forward(inputs)


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut (He et al. 2016), which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_convolution(inputs, outputs, stride=stride), nn.ReLU(), *_convolution(outputs, outputs)
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else _convolution(inputs, outputs, size=1, stride=stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, outputs, height / stride, width / stride), rounded up, of (n, inputs, height, width)."""
        return nn.functional.relu(self.convolutions(inputs) + self.shortcut(inputs))


class ChannelsLast(nn.Sequential):
    """A sequence that computes in the memory layout in which processors convolve and pool fastest."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits (n, classes) of inputs (n, channels, height, width)."""
        n, depth, height, width = inputs.shape
        # flat in between: the strides of a single channel do not tell the two layouts apart, torch takes the
        # slower one, and a pool then costs fifteen times as much
        rows = inputs.permute(0, 2, 3, 1).flatten().view(n, height, width, depth)
        return super().forward(rows.permute(0, 3, 1, 2))
