"""Noisy fine-tuning with a promise: (ε, δ)-unlearning, whatever the network and the loss."""

import math
from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from softtargets.devices import sent
from softtargets.fit import Fit
from softtargets.marks import algorithm
from softtargets.ranges import Count, Weight
from softtargets.types import Samples, generator

Epsilon = Annotated[float, Field(gt=0, le=10**3)]
Delta = Annotated[float, Field(gt=0, lt=1)]
Radius = Annotated[float, Field(gt=0, le=10**6)]
Decay = Annotated[float, Field(ge=0, lt=1)]


def promised(*, epsilon: float, delta: float, **settings: object) -> tuple[float, float]:
    """Return the ε and δ that the settings promise."""
    return epsilon, delta


def noise_scale(
    *, epsilon: float, delta: float, radius: float, clip: float, steps: int, rate: float, decay: float
) -> float:
    """Return the standard deviation σ of the noise that every step adds to every weight.

    Of two runs whose weights are at most z apart, a step leaves them at most ρ z + 2 η C apart before its noise,
    with ρ = 1 - decay, step length η = rate and gradients clipped to C. From 2 radius, after T steps, that is
    R = 2 radius ρ^T + 2 η C (1 - ρ^T) / (1 - ρ). Noise hides any shift a_t at step t (the shift-reduction lemma
    of Feldman et al. 2018, 1808.06651), and shifts with Σ ρ^(T-t) a_t = R hide all of it. The cheapest cost

        α R² (1 - ρ²) / (2 σ² (1 - ρ^(2T))) = α r

    in Rényi divergence of every order α. By Mironov (2017, 1702.07476, proposition 3) that is (ε, δ) for
    ε = r + 2 √(r ln(1/δ)), which is solved for σ.

    >>> settings = {"epsilon": 3.0, "delta": 1e-5, "radius": 1.0, "clip": 1.0, "rate": 0.0, "decay": 0.0}
    >>> one, four = (noise_scale(steps=steps, **settings) for steps in (1, 4))
    >>> round(one / four, 6)  # four draws of half the standard deviation sum up to one
    2.0
    """
    kept = 1 - decay
    # of ρ = 1 the limits: T equal terms
    powers = [kept**t for t in range(steps)]
    apart = 2 * radius * kept**steps + 2 * rate * clip * sum(powers)
    log = math.log(1 / delta)
    root = math.sqrt(log + epsilon) - math.sqrt(log)  # √r
    return apart / (root * math.sqrt(2 * sum(power**2 for power in powers)))


@algorithm(ignores_targets=True, starts_afresh=True, new_network=True, promise=promised)
def noisy_finetune(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    epsilon: Epsilon,
    delta: Delta,
    radius: Radius,
    clip: Radius,
    steps: Count,
    rate: Weight,
    decay: Decay,
    initialise: Callable[[], nn.Module],
) -> nn.Module:
    """Take noisy steps on the retain set from the original, pulled into a ball, then train on without noise.

    After Koloskova et al. (2025, 2506.06985): θ ← θ0 min(1, radius / |θ0|), then T times
    θ ← (1 - decay) θ - η clip(∇CE_r(θ), C) + N(0, σ²) with σ of `noise_scale`; T → steps, η → rate, C → clip.
    The promise: for any set of models, its probability after this from the original is at most e^ε times that
    after this from the retrained model, plus δ, and the other way round. It holds for the whole forget set and any
    network. Its conditions: both have the same retain set and batches; ball, σ and the scale below know no data;
    all that comes later is post-processing: training on the retain set, without a look at the forget set.

    So much noise leaves little of the original. As post-processing each layer is scaled to the norm that it has in
    a new network, whose buffers (running statistics) it gets. It costs nearly what retraining costs.
    """
    settings = {"epsilon": epsilon, "delta": delta, "radius": radius, "clip": clip, "rate": rate, "decay": decay}
    sigma = noise_scale(steps=steps, **settings)
    model = initialise().eval()  # in eval mode no running statistics see weights without noise
    fresh = [parameter.detach().norm() for parameter in model.parameters()]
    _set(model, _clipped([parameter.detach() for parameter in original.parameters()], radius))
    draw = generator(fit.seed, f"{fit.name}/promise")
    for _ in range(steps):
        # of one size, however small the retain set is, so that a budget knows what they cost
        batch = retain.take(torch.randint(len(retain), (fit.batch_size,), generator=draw))
        weights = tuple(model.parameters())
        value = F.cross_entropy(model(batch.inputs), batch.labels)
        gradients = _clipped(list(torch.autograd.grad(value, weights)), clip)
        _set(
            model,
            [
                (1 - decay) * weight.detach() - rate * gradient + sigma * _normal(weight, draw)
                for weight, gradient in zip(weights, gradients, strict=True)
            ],
        )
    spread = sigma * math.sqrt(sum((1 - decay) ** (2 * t) for t in range(steps)))
    pairs = zip(model.parameters(), fresh, strict=True)
    _set(model, [weight.detach() * norm / (spread * math.sqrt(weight.numel())) for weight, norm in pairs])

    def loss(retain: Samples):
        return F.cross_entropy(model(retain.inputs), retain.labels)

    return fit(model, loss, retain)


def _clipped(tensors: list[Tensor], most: float) -> list[Tensor]:
    """Return tensors, scaled together so that their joint norm is at most `most`."""
    # a number on their device: to read it would wait for all that the device computes
    norm = sum(tensor.double().square().sum() for tensor in tensors).sqrt()
    scale = (most / norm.clamp(min=1e-30)).clamp(max=1.0)
    return [tensor * scale for tensor in tensors]


def _normal(like: Tensor, draw: torch.Generator) -> Tensor:
    return sent(torch.randn(like.shape, generator=draw), like.device).to(like.dtype)


def _set(model: nn.Module, values: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(value)
