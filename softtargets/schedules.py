"""Learning-rate schedules, stepped once a batch: `schedule(optimizer, steps, *, settings)`.

The examples share:

>>> import torch
>>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
"""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, OneCycleLR


def one_cycle(
    optimizer: Optimizer,
    steps: int,
    *,
    peak: Annotated[float, Field(gt=0, le=10**6)],
    warmup: Annotated[float, Field(gt=0, lt=1)],
) -> LRScheduler:
    """Rise to `peak` over a `warmup` share of the steps, then anneal to nearly 0 (Smith and Topin, 1708.07120).

    The optimiser's own learning rate plays no part. As in PyTorch, its momentum (Adam's beta1) runs the other way,
    from 0.95 down to 0.85 and back, whatever it was set to; an optimiser that has neither is left alone.

    >>> schedule, rates = one_cycle(optimizer, 4, peak=0.1, warmup=0.5), []
    >>> for _ in range(4):
    ...     rates.append(round(schedule.get_last_lr()[0], 3))
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.004, 0.1, 0.05, 0.0]
    """
    # OneCycleLR needs two steps at least; the second is then never taken
    total = max(steps, 2)
    has_momentum = bool({"momentum", "betas"} & optimizer.defaults.keys())
    # the rise must end after the first step, or PyTorch divides by its length of zero
    start = max(warmup, 1.5 / total)
    return OneCycleLR(optimizer, max_lr=peak, total_steps=total, pct_start=start, cycle_momentum=has_momentum)


def warm_up(optimizer: Optimizer, steps: int, *, share: Annotated[float, Field(gt=0, le=1)]) -> LRScheduler:
    """Rise linearly to the optimiser's own rate over a `share` of the steps, and stay there.

    The first step has one n-th of the rate, where n is the number of steps of the rise; n = 1 has no rise.

    >>> sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule, rates = warm_up(sgd, 6, share=0.5), []
    >>> for _ in range(6):
    ...     rates.append(round(schedule.get_last_lr()[0], 2))
    ...     sgd.step()
    ...     schedule.step()
    >>> rates
    [0.33, 0.67, 1.0, 1.0, 1.0, 1.0]
    """
    rise = max(round(share * steps), 1)
    return LinearLR(optimizer, start_factor=1 / rise, total_iters=rise - 1)


LENGTHS = ("steps", "total_steps", "num_training_steps", "T_max", "total_iters")
"""Names by which schedules take the number of steps; the first that one has is given."""
FUNCTION = "needs a function, which a setting cannot be; write your own schedule(optimizer, steps)"
OTHERS = "needs other schedules, which a setting cannot be; write your own schedule(optimizer, steps)"
UNFIT = {
    "ReduceLROnPlateau": "needs a metric at every step, which is not computed",
    "LambdaLR": FUNCTION,
    "MultiplicativeLR": FUNCTION,
    "SequentialLR": OTHERS,
    "ChainedScheduler": OTHERS,
}
"""Reasons why schedules of torch cannot be used here."""


def length_of(schedule: functools.partial) -> str | None:
    """Return the name by which a schedule takes the number of steps; None where it takes none or has one set.

    >>> length_of(functools.partial(one_cycle, peak=0.1, warmup=0.3))
    'steps'
    """
    if schedule.func.__name__ == "ConstantLR":
        return None  # its `total_iters` counts the steps at another rate, not all steps
    arguments = inspect.signature(schedule.func).parameters
    name = next((name for name in LENGTHS if name in arguments), None)
    return None if name in schedule.keywords else name


def by_name(schedule: functools.partial) -> Callable[[Optimizer, int], LRScheduler]:
    """Return `schedule(optimizer, steps)`, which gives the number of steps by the schedule's own name for it.

    Most schedules have another setting at that position, such as a factor or a decay.

    >>> schedule = by_name(functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR))
    >>> schedule(optimizer, 100).T_max
    100
    """
    length = length_of(schedule)
    return lambda optimizer, steps: schedule(optimizer, **({length: steps} if length else {}))
