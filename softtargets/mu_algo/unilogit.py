"""Unilogit: descent to targets that follow the model."""

import copy
import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import algorithm
from softtargets.ranges import Weight
from softtargets.types import Samples


@algorithm(has_forget_batches=True, ignores_forget_targets=True)
def unilogit(original: nn.Module, forget: Samples, retain: Samples, fit: Fit, *, alpha: Weight) -> nn.Module:
    """Descend to the model's present prediction with the label at 1/K (Vasilev et al. 2025, arXiv 2505.06027).

    Minimises  L(θ) = mean_f KL(p_θ ‖ q_θ) + α·CE_r(θ),  from the original, with one retain batch for every forget
    batch; an epoch is a pass over the forget set. q_θ is the softmax of the current logits, of which the label's
    alone is moved so that its probability is 1 / K:

        q_y = 1 / K,  q_k = p_k (1 - 1/K) / (1 - p_y) for k ≠ y,  without a gradient.

    α → alpha, K the number of classes, q of CE_r → retain.targets. These targets change with the model in every
    step, so that they are no targets of a run, which are computed once: this is an algorithm, and the forget set's
    targets play no part. The divergence is the reverse one, with the model first.

    Written from the abstract and formula: we could not read the full text or the authors' own code. Code of
    others that follows it (vValkroVv/unlearning) has the same loss and gradient, bit by bit, on one network and
    one batch of 32. Differs from the paper: there the model continues text and K is the vocabulary.
    """
    model = copy.deepcopy(original)

    def loss(forget: Samples, retain: Samples):
        logits = model(forget.inputs).float()
        log_p, log_q = logits.log_softmax(1), levelled(logits.detach(), forget.labels).log_softmax(1)
        divergence = (log_p.exp() * (log_p - log_q)).sum(1).mean()
        return divergence + alpha * cross_entropy(model(retain.inputs), retain.targets)

    return fit(model, loss, forget, retain)


def levelled(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> Float[Tensor, "n k"]:
    """Return logits of which the label's is such that its probability is 1 / k."""
    # e^z_y = Σ_{k≠y} e^z_k / (K - 1): the mean of the others
    others = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1, keepdim=True)
    return logits.scatter(1, labels[:, None], others - math.log(logits.shape[1] - 1.0))
