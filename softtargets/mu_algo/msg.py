"""Masked small gradients: weights that matter little for the difference of both sets start anew."""

import copy
import dataclasses
import math
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.types import Samples, generator

SLOWED = 0.1
"""Share of a step that weights make which do not start anew."""


@algorithm(ignores_forget_targets=True)
def msg(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    share: Annotated[float, Field(gt=0, lt=1)],
) -> nn.Module:
    """Draw the weights with the smallest gradients anew and fine-tune, the other weights at a tenth of the rate.

    Masked small gradients, of the NeurIPS 2023 unlearning challenge (`kgltop2` in DeepUnlearn, Cadet et al. 2024,
    arXiv 2410.01276). With  G = ∇ (CE_s(e_y; θ0) - CE_f(e_y; θ0)),  s as many samples of the retain set as there
    are to forget, the `share` of each convolution's weights with the smallest |G| is drawn from
    N(0, 2 / fan_out). Then  L(θ) = CE_r(θ)  is minimised; an epoch is a pass over the retain set. Of the
    convolutions' weights, those drawn anew make whole steps of the optimiser, the others tenths. Other parameters
    are trained as they are.

    q → retain.targets; G is that of labels, so that the forget set's targets play no part.

    Compared with DeepUnlearn's code on one network and one batch: G agrees to 6e-7 of its largest entry, masks and
    the weights that are kept are equal, and those drawn anew have the same deviation. Differs from it: there the
    biases of the convolutions start anew too; a network without convolutions is treated so in its linear layers; G
    is that of means over samples, not a sum over batches; s repeats samples where the retain set is the smaller
    one; the rate follows the schedule of the run, where theirs rises for half of the epochs and falls to 0. There
    gradients are multiplied by 0.1, which for SGD is the same but for weight decay and clipping; Adam, whose steps
    do not depend on the scale of gradients, would not notice.
    """
    model, draw = copy.deepcopy(original), generator(fit.seed, f"{fit.name}/msg")
    weights, anew = _weights(model), []
    for weight, slope in zip(weights, difference(model, weights, forget, retain, draw), strict=True):
        chosen = torch.zeros_like(weight, dtype=torch.bool)
        smallest = slope.abs().flatten().topk(round(share * slope.numel()), largest=False).indices
        chosen.view(-1)[smallest] = True
        fresh = torch.randn(weight.shape, generator=draw) * math.sqrt(2 / (weight.numel() / weight.shape[1]))
        with torch.no_grad():
            weight.copy_(torch.where(chosen, fresh.to(weight.device), weight))
        anew.append(chosen)

    def loss(retain: Samples):
        return cross_entropy(model(retain.inputs), retain.targets)

    def slowed(parameters):
        return _slowed(fit.optimizer(parameters), weights, anew)

    return dataclasses.replace(fit, optimizer=slowed)(model, loss, retain)


def _slowed(optimizer: Optimizer, weights: list[nn.Parameter], anew: list[Bool[Tensor, "..."]]) -> Optimizer:
    """Return the optimiser; of its steps the weights that are not `anew` make a tenth."""
    before = []

    def remember(*_):
        before[:] = [weight.detach().clone() for weight in weights]

    @torch.no_grad()
    def slow(*_):
        for weight, old, whole in zip(weights, before, anew, strict=True):
            weight.copy_(torch.where(whole, weight, old + SLOWED * (weight - old)))

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(slow)
    return optimizer


def _weights(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of the convolutions that are trained; of linear layers where there are none."""
    for kind in (nn.Conv1d | nn.Conv2d | nn.Conv3d, nn.Linear):
        weights = [layer.weight for layer in model.modules() if isinstance(layer, kind)]
        if trained := [weight for weight in dict.fromkeys(weights) if weight.requires_grad]:
            return trained
    return []


def difference(
    model: nn.Module, weights: list[nn.Parameter], forget: Samples, retain: Samples, draw: torch.Generator
) -> list[Tensor]:
    """Return the gradients of CE_s - CE_f on labels in `weights`; s are as many retain samples as forget ones."""
    chosen = torch.randperm(len(retain), generator=draw)[torch.arange(len(forget)) % len(retain)]
    total = [torch.zeros_like(weight) for weight in weights]
    for sign, samples in ((1, retain.take(chosen.to(retain.labels.device))), (-1, forget)):
        for part in torch.arange(len(samples), device=samples.labels.device).split(256):
            batch = samples.take(part)
            loss = F.cross_entropy(model(batch.inputs), batch.labels, reduction="sum")
            for sum_, slope in zip(total, torch.autograd.grad(loss, weights, materialize_grads=True), strict=True):
                sum_ += sign * slope / len(samples)
    return total
