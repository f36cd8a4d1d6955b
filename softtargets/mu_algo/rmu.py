"""Representation misdirection."""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from softtargets.fit import Fit, predict
from softtargets.marks import algorithm
from softtargets.ranges import Weight
from softtargets.types import Samples, generator


@algorithm(
    has_forget_batches=True,
    ignores_targets=True,
    check_network=lambda model, batch: Body(model).eval()(batch.inputs),
)
def rmu(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    kappa: Weight,
    alpha: Weight,
) -> nn.Module:
    """Send the forget set's representation elsewhere, hold the retain set's (Li et al. 2024, arXiv 2403.03218).

    Minimises  L(θ) = MSE(h_f(θ), c·v) + α·MSE(h_r(θ), h_r(θ0)), from the original θ0, with one retain batch for
    every forget batch; an epoch is a pass over the forget set. h is the input of the last linear layer (in the
    mlp and the cnn the first fully connected layer after its ReLU), v a unit vector drawn once from [0, 1) in
    every entry, and c = κ · mean ‖h_f(θ0)‖.

    κ → kappa, α → alpha. Representations have no labels: targets play no part on either set, which makes this the
    control for them. The paper fixes c; κ makes it one scale for all networks. v is not negative, as h is not.
    The paper takes h from an intermediate layer and trains the weights of three layers only; here all that lies
    below h is trained.

    The last layer is not trained, and reads c·v as some class. Where a class is to be forgotten and c·v happens to
    be read as that very class (class 0 of Fashion-MNIST, say, by the mlp), its samples are called by its name all
    the more. It takes another forget set, not other settings, to see the method work.

    Networks without a linear layer are refused before any work: see `check_network`.
    """
    model = copy.deepcopy(original)
    body, fixed = Body(model), Body(original).eval()
    # (n, width): the scale of the goal is that of the forget set's own representations
    before = predict(fixed, forget)
    v = torch.rand(before.shape[1], generator=generator(fit.seed, f"{fit.name}/rmu")).to(before.device)
    away = kappa * before.norm(dim=1).mean() * v / v.norm()

    def loss(forget: Samples, retain: Samples):
        forget_body = body(forget.inputs)
        with torch.no_grad():
            retain_body = fixed(retain.inputs)
        return F.mse_loss(forget_body, away.expand_as(forget_body)) + alpha * F.mse_loss(
            body(retain.inputs), retain_body
        )

    return fit(model, loss, forget, retain)


class Body(nn.Module):
    """The part of a network before its last linear layer, sharing its parameters: inputs to representations."""

    def __init__(self, model: nn.Module):
        """Take a network; raise ValueError if it has no linear layer."""
        super().__init__()
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise ValueError("needs a network with a linear layer, whose input it takes")
        self.model, self.last = model, linear[-1]

    def forward(self, inputs: Tensor) -> Float[Tensor, "n width"]:
        """Return the inputs of the last linear layer, flattened to one row a sample."""
        # a hook, since a network of a user's may call its last layer anywhere in its forward pass
        representations = []
        hook = self.last.register_forward_pre_hook(lambda layer, inputs: representations.append(inputs[0]))
        try:
            self.model(inputs)
        finally:
            hook.remove()
        if not representations:
            raise ValueError("needs a network whose last linear layer is called; this one passes it by")
        return representations[0].flatten(1)
