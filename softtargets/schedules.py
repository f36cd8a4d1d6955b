"""Learning-rate schedules, stepped once a batch: `schedule(optimizer, steps, *, settings)`."""

from typing import Annotated

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR


def one_cycle(
    optimizer: Optimizer,
    steps: int,
    *,
    peak: Annotated[float, Field(gt=0, le=10**6)],
    warmup: Annotated[float, Field(gt=0, lt=1)],
) -> LRScheduler:
    """Rise to `peak` over a `warmup` share of the steps, then anneal to nearly 0 (Smith and Topin, 1708.07120).

    The optimiser's own learning rate plays no part. As in PyTorch, its momentum (Adam's beta1) runs the other way,
    from 0.95 down to 0.85 and back, whatever it was set to.
    """
    total = max(steps, 2)
    # the rise must end after the first step, or PyTorch divides by its length of zero
    return OneCycleLR(optimizer, max_lr=peak, total_steps=total, pct_start=max(warmup, 1.5 / total))
