"""Learning-rate schedules, stepped once a batch: `schedule(optimizer, steps, *, settings)`."""

from typing import Annotated

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR


def one_cycle(
    optimizer: Optimizer,
    steps: int,
    *,
    peak: Annotated[float, Field(gt=0)],
    warmup: Annotated[float, Field(gt=0, lt=1)],
) -> LRScheduler:
    """Rise to `peak` over a `warmup` share of the steps, then anneal to nearly 0 (Smith and Topin, 1708.07120)."""
    return OneCycleLR(optimizer, max_lr=peak, total_steps=max(steps, 2), pct_start=warmup)
