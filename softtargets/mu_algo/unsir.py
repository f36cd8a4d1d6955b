"""UNSIR: unlearning by a noise that the class's weights cannot stand."""

import copy
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.ranges import Count, Weight
from softtargets.types import Joined, Samples, Selection, generator


@algorithm(
    whole_classes_only=True,
    check_network=lambda model, batch: error_maximising(model.eval(), batch, 1, 0.1, 0.1),
)
def unsir(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    noise: Count,
    copies: Count,
    steps: Annotated[int, Field(ge=0, le=10**9)],
    lr: Annotated[float, Field(gt=0, le=10**6)],
    penalty: Weight,
) -> nn.Module:
    """Learn noise that maximises the error of a class, impair the model with it, repair it on the retain set.

    Tarun et al. 2021, arXiv 2111.08947 (FEMU). For whole classes only. For each forgotten class c,

        N_c = argmin over N of  -CE(q_c, p(N; θ0)) + λ·mean Σ N²,

    by `steps` steps of Adam from standard normal noise of the inputs' shape. Then, from θ0 and `fit.epochs` times,
    a pass over the retain set and `copies` times the noise (impair), and one over the retain set (repair), both
    minimising CE; noise of class c has the target q_c.

    λ → penalty, N_c → `noise` samples a class, Adam's rate → lr, q_c → the mean of forget.targets over class c,
    e_c in the paper; CE on the retain set takes retain.targets. The forget set's inputs are not used.

    Differs from the authors' code: there both passes are over a subset of the retain set, 1,000 samples of each
    class, and each has an Adam of its own, with rates .02 and .01; here they are over the whole set, by one
    optimiser, whose schedule may fall. Of each of the 20 batches of 256 noise samples there only 3 are used, as
    many as an image has channels, and all have the label 0 whichever class they are of; here all are used, with
    the target of their class.
    """
    model = copy.deepcopy(original)
    draw = generator(fit.seed, f"{fit.name}/unsir")
    noises = []
    for label in forget.labels.unique():
        target = forget.targets[forget.labels == label].mean(0).expand(noise, -1)
        start = torch.randn(noise, *forget.input_shape, generator=draw).to(forget.labels.device)
        worst = Samples(start, label.expand(noise), target)
        noises.append(error_maximising(original, worst, steps, lr, penalty))
    # one noise a class, repeated: `copies` says how often the impair pass meets it
    rows = torch.arange(len(noises) * noise, device=forget.labels.device)
    whole = Joined(*noises).take(rows)
    mixed = Joined(retain, Selection(whole, rows.view(-1, 1, noise).expand(-1, copies, -1).flatten()))

    def loss(batch: Samples):
        return cross_entropy(model(batch.inputs), batch.targets)

    return fit.in_turns(model, *[(loss, mixed), (loss, retain)] * fit.epochs)


def error_maximising(model: nn.Module, start: Samples, steps: int, lr: float, penalty: float) -> Samples:
    """Return `start` with inputs (n, ...) moved uphill on the model's error, but not far from zero."""
    inputs = start.inputs.clone().requires_grad_()
    optimizer = torch.optim.Adam([inputs], lr=lr)
    # an optimiser over the inputs: the model's parameters get no gradient and do not move
    for _ in range(steps):
        size = inputs.square().flatten(1).sum(1).mean()
        # Adam minimises this: the minus sign makes the error grow
        value = penalty * size - cross_entropy(model(inputs), start.targets)
        (inputs.grad,) = torch.autograd.grad(value, inputs)
        optimizer.step()
    return Samples(inputs.detach(), start.labels, start.targets)
