"""Importance of parameters: the mean over samples of squared gradients, one sample at a time.

Of layers that a pass calls once, the sum of squares comes from a pass over a batch: from what each layer read and
the gradients in what it returned. All other parameters' gradients are computed sample by sample.
"""

import collections
import contextlib
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from softtargets.linear import Linear
from softtargets.losses import cross_entropy
from softtargets.types import Samples

Importance = dict[str, Float[Tensor, "..."]]
Squares = Iterator[tuple[nn.Parameter, Tensor]]
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
CHUNK = 32
"""Samples in a pass."""
HELD = 2**20
"""Numbers that a convolution's gradients may hold at once, where those of one sample are not more: 4 MB."""


def importance(model: nn.Module, samples: Samples) -> Importance:
    """Return the mean over samples of each trainable parameter's squared gradient of CE(q, p), by its name.

    `model` is in evaluation mode.

    >>> samples = Samples(torch.tensor([[1.0, 2.0]]), torch.tensor([0]), torch.tensor([[1.0, 0.0]]))
    >>> layer = nn.Linear(2, 2, bias=False)
    >>> _ = nn.init.zeros_(layer.weight)
    >>> importance(layer, samples)["weight"]  # (p - q) x is (-1/2, 1/2) times (1, 2)
    tensor([[0.2500, 1.0000],
            [0.2500, 1.0000]])
    """
    layers = _direct(model, samples)
    fast = {parameter for layer in layers for parameter in layer.parameters()}
    rest = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad and p not in fast}
    total = {n: torch.zeros_like(p) for n, p in model.named_parameters() if p.requires_grad}
    names = {parameter: name for name, parameter in model.named_parameters()}
    for part in torch.arange(len(samples)).split(CHUNK):
        batch = samples.take(part)
        for parameter, squares in _squares(model, layers, batch):
            total[names[parameter]] += squares
        for name, each in _each(model, rest, batch).items():
            total[name] += each.square().sum(0)  # not in place: without influence it is one zero, expanded
    return {name: squares / len(samples) for name, squares in total.items()}


def _linear(layer: nn.Linear, a: Tensor, delta: Tensor) -> Squares:
    # a sample's gradient is δ aᵀ, so (out, n) times (n, in) is the sum over samples of (δ aᵀ)², entry by entry
    yield layer.weight, delta.square().T @ a.square()
    if layer.bias is not None:
        yield layer.bias, delta.square().sum(0)


def _convolution(layer: nn.Conv2d, a: Tensor, delta: Tensor) -> Squares:
    """Yield the squares of Σ δ aᵀ over positions, of a sample's patches a (in · kernel, positions)."""
    delta = delta.flatten(2)
    patch, positions = layer.weight[0].numel(), delta.shape[2]
    squares = torch.zeros(len(layer.weight), patch, device=a.device)
    step = max(1, HELD // max(squares.numel(), patch * positions))  # what fits a processor's cache is much faster
    if positions == 1:
        step = len(a)
    for some, slopes in zip(a.split(step), delta.split(step), strict=True):
        patches = F.unfold(some, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        if positions == 1:  # as of a linear layer
            squares += slopes[:, :, 0].square().T @ patches[:, :, 0].square()
        else:
            squares += torch.bmm(slopes, patches.mT).square_().sum(0)
    yield layer.weight, squares.view_as(layer.weight)
    if layer.bias is not None:
        yield layer.bias, delta.sum(2).square().sum(0)


def _normalisation(layer: nn.BatchNorm1d | nn.BatchNorm2d, a: Tensor, delta: Tensor) -> Squares:
    """Yield the squares of Σ δ (a - mean) / deviation and Σ δ over positions; the running statistics are fixed."""
    each_channel = (1, -1, *(1 for _ in a.shape[2:]))
    mean, variance = (stat.view(each_channel) for stat in (layer.running_mean, layer.running_var))
    normal = (a - mean) * (variance + layer.eps).rsqrt()
    for parameter, slopes in ((layer.weight, delta * normal), (layer.bias, delta)):
        yield parameter, slopes.reshape(*a.shape[:2], -1).sum(2).square().sum(0)


RULES: dict[type, Callable[..., Squares]] = {
    nn.Linear: _linear,
    Linear: _linear,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _normalisation,
    nn.BatchNorm2d: _normalisation,
}


def _fits(layer: nn.Module) -> bool:
    """Return whether a rule holds for a layer."""
    if type(layer) is nn.Conv2d:
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if isinstance(layer, BATCH_NORMS):
        return type(layer) in RULES and layer.affine
    return type(layer) in RULES


def _direct(model: nn.Module, samples: Samples) -> list[nn.Module]:
    """Return the layers to be trained that have a rule and that a pass calls once, with a row for each sample."""
    # statistics of the batch mix samples: a pass over a batch then has no gradients of single ones
    if any(isinstance(layer, BATCH_NORMS) and layer.running_mean is None for layer in model.modules()):
        return []
    # tied weights belong to two layers: their gradient is a sum, whose square is no sum of squares
    owned = collections.Counter(p for module in model.modules() for p in module.parameters(recurse=False))
    layers = [
        layer
        for layer in model.modules()
        if _fits(layer) and all(p.requires_grad and owned[p] == 1 for p in layer.parameters())
    ]
    # one pass shows which layers a network calls, and how often: it may hold one that it never calls
    with _noted(layers) as calls:
        model(samples.take(torch.arange(1)).inputs)
    once = {layer: notes[0] for layer, notes in calls.items() if len(notes) == 1}
    dimensions = {nn.Linear: (2,), Linear: (2,), nn.Conv2d: (4,), nn.BatchNorm1d: (2, 3), nn.BatchNorm2d: (4,)}
    return [layer for layer, (inputs, _) in once.items() if inputs.dim() in dimensions[type(layer)]]


@contextlib.contextmanager
def _noted(layers: list[nn.Module]) -> Iterator[dict[nn.Module, list[tuple[Tensor, Tensor]]]]:
    """Note the inputs and outputs of every call of layers, for as long as the context lasts."""
    calls = {}

    def note(layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        calls.setdefault(layer, []).append((inputs[0], output))
        return output.clone()  # what follows may work in place, as ReLU does, and `output` would become its result

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _squares(model: nn.Module, layers: list[nn.Module], batch: Samples) -> Squares:
    """Yield the sum over a batch of the squared gradients of each parameter of layers."""
    if not layers:
        return
    with _noted(layers) as calls:
        # times n: the mean's gradient in the outputs becomes each sample's own
        loss = len(batch) * cross_entropy(model(batch.inputs), batch.targets)
    inputs, outputs = zip(*(calls[layer][0] for layer in layers), strict=True)
    gradients = torch.autograd.grad(loss, outputs, materialize_grads=True)  # some may play no part
    for layer, a, delta in zip(layers, inputs, gradients, strict=True):
        yield from RULES[type(layer)](layer, a.detach(), delta)


def _each(model: nn.Module, weights: dict[str, Tensor], batch: Samples) -> Importance:
    """Return the gradients of `weights` for every sample of a batch: (n, *shape) for each."""
    fixed = {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}

    def loss(weights, inputs, targets):
        return cross_entropy(functional_call(model, fixed | weights, (inputs[None],)), targets[None])

    # one sample at a time by vmap; a batch of one keeps the network's own shapes
    return vmap(grad(loss), in_dims=(None, 0, 0))(weights, batch.inputs, batch.targets) if weights else {}
