"""Selective synaptic dampening."""

import collections
import contextlib
import copy
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.ranges import Weight
from softtargets.types import Samples

Importance = dict[str, Float[Tensor, "..."]]
CHUNK = 32
"""Samples whose gradients are held at once."""


@algorithm(has_no_loop=True, check_network=lambda model, batch: importance(model.eval(), batch))
def ssd(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    alpha: Weight,
    lam: Weight,
) -> nn.Module:
    """Shrink weights that matter more for the forget set than for all data (Foster et al. 2024, arXiv 2308.07707).

    θ_i ← θ_i · min(λ I_D,i / I_f,i, 1)  where I_f,i > α I_D,i; I is the mean over samples of the squared gradient
    of CE(q, p(x; θ0)), one sample at a time, over the forget set for I_f and over all data for I_D.

    α → alpha, λ → lam, q → forget.targets and retain.targets. There is no loop: `fit` is not used. An average of
    squared gradients of whole batches, as some implementations take, is another quantity; here each sample counts.
    All data hold the forget set, so that I_D ≥ I_f |D_f| / |D|, and α at or above |D| / |D_f| selects nothing: the
    paper's 10 is for forget sets of fewer than a tenth.
    """
    of_forget, of_retain = importance(original, forget), importance(original, retain)
    model, n, m = copy.deepcopy(original), len(forget), len(retain)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in of_forget:
                # I over all data: the mean of both sets' means, weighted by their sizes
                special, general = of_forget[name], (n * of_forget[name] + m * of_retain[name]) / (n + m)
                # 0 / 0 = NaN where a weight matters to no sample; `where` below takes 1 there
                factor = (lam * general / special).clamp(max=1)
                parameter.mul_(torch.where(special > alpha * general, factor, 1.0))
    return model.eval()


def importance(model: nn.Module, samples: Samples) -> Importance:
    """Return the mean over samples of each trainable parameter's squared gradient of CE(q, p).

    Of a linear layer's weight a sample's gradient is an outer product, δ aᵀ, and the sum of its squares over
    samples a product of matrices, (δ²)ᵀ a². All other parameters' gradients are computed one sample at a time.
    """
    layers = _plain_linear(model, samples)
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


def _plain_linear(model: nn.Module, samples: Samples) -> list[nn.Linear]:
    """Return the linear layers to be trained that a pass calls once, with a row for each sample."""
    # tied weights belong to two layers: their gradient is a sum, whose square is no product of matrices
    owned = collections.Counter(p for module in model.modules() for p in module.parameters(recurse=False))
    linear = [
        layer
        for layer in model.modules()
        if isinstance(layer, nn.Linear) and all(p.requires_grad and owned[p] == 1 for p in layer.parameters())
    ]
    # one pass shows which layers a network calls, and how often: it may hold one that it never calls
    with _noted(linear) as calls:
        model(samples.take(torch.arange(1)).inputs)
    once = {layer: notes[0] for layer, notes in calls.items() if len(notes) == 1}
    return [layer for layer, (inputs, _) in once.items() if inputs.dim() == 2]


@contextlib.contextmanager
def _noted(layers: list[nn.Linear]) -> Iterator[dict[nn.Linear, list[tuple[Tensor, Tensor]]]]:
    """Note the inputs and outputs of every call of layers, for as long as the context lasts."""
    calls = {}

    def note(layer: nn.Linear, inputs: tuple, output: Tensor) -> Tensor:
        calls.setdefault(layer, []).append((inputs[0], output))
        return output.clone()  # what follows may work in place, as ReLU does, and `output` would become its result

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _squares(model: nn.Module, layers: list[nn.Linear], batch: Samples) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Yield the sum over a batch of the squared gradients of each parameter of linear layers."""
    if not layers:
        return
    with _noted(layers) as calls:
        # times n: the mean's gradient in the outputs becomes each sample's own
        loss = len(batch) * cross_entropy(model(batch.inputs), batch.targets)
    inputs, outputs = zip(*(calls[layer][0] for layer in layers), strict=True)
    gradients = torch.autograd.grad(loss, outputs, materialize_grads=True)  # some may play no part
    for layer, a, delta in zip(layers, inputs, gradients, strict=True):
        # (out, n) times (n, in): the sum over samples of (δ aᵀ)², entry by entry
        yield layer.weight, delta.square().T @ a.detach().square()
        if layer.bias is not None:
            yield layer.bias, delta.square().sum(0)


def _each(model: nn.Module, weights: dict[str, Tensor], batch: Samples) -> Importance:
    """Return the gradients of `weights` for every sample of a batch: (n, *shape) for each."""
    fixed = {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}

    def loss(weights, inputs, targets):
        return cross_entropy(functional_call(model, fixed | weights, (inputs[None],)), targets[None])

    # one sample at a time by vmap; a batch of one keeps the network's own shapes
    return vmap(grad(loss), in_dims=(None, 0, 0))(weights, batch.inputs, batch.targets) if weights else {}
