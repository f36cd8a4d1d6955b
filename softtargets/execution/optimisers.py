"""The optimiser and schedule of a config, built and tried over ten steps."""

import copy
import functools
import math
from collections.abc import Callable

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from softtargets import schedules
from softtargets.config.settings import OPTIMIZER, UNFIT, Optimisation, Unlearning
from softtargets.config.validation import check_call, naming, validated
from softtargets.errors import BadInput
from softtargets.execution.callables import instantiate_partial


def build_unlearning(node: dict, device: str) -> Unlearning:
    """Return the checked group `unlearn`, with its optimiser."""
    settings = build_optimisation(Unlearning, node, "unlearn", device)
    if settings.stop == "matched" and settings.evaluate_every is None:
        raise BadInput("unlearn.evaluate_every=None: unlearn.stop=matched needs a number of steps, at least 1")
    return settings


def build_optimisation(model: type[Optimisation], node: dict, where: str, device: str) -> Optimisation:
    """Return a checked group with its optimiser, after ten trial steps on a throwaway parameter."""
    node, targets = copy.deepcopy(node), {}
    for name, build in (("optimizer", _optimizer), ("schedule", _schedule)):
        if node.get(name) is not None:
            targets[name] = node[name].get("_target_") if isinstance(node[name], dict) else None
            node[name] = build(node[name], f"{where}.{name}")
    settings = validated(model, node, where)
    parameter = torch.zeros(2, 2, requires_grad=True, device=device)
    parameter.grad = torch.zeros_like(parameter)
    with naming(f"{where}.optimizer", (Exception,)):
        settings.optimizer([parameter]).step()
    if settings.schedule:
        with naming(f"{where}.schedule", (Exception,)):
            try:
                # a new optimiser: RMSprop fails if it has stepped without momentum and a schedule sets one
                _try_schedule(settings.schedule, settings.optimizer([parameter]))
            except Exception as error:
                _require_pair(settings.schedule, where, targets, error)
                raise
    return settings


def _require_pair(make: Callable, where: str, targets: dict[str, str], error: Exception) -> None:
    """Raise BadInput for a schedule that failed with this optimiser and works with one that has momentum."""
    usual = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3, momentum=0.9)
    try:
        _try_schedule(make, usual)
    except Exception:  # the schedule fails with any optimiser, which the caller reports
        return
    reason = " ".join(str(error).split()) or type(error).__name__
    raise BadInput(
        f"{where}.schedule._target_={targets['schedule']} does not fit "
        f"{where}.optimizer._target_={targets['optimizer']}: {reason}. Choose another optimiser or schedule, or "
        f"{where}.schedule=null"
    ) from error


def _try_schedule(make: Callable[[Optimizer, int], LRScheduler], optimizer: Optimizer) -> None:
    schedule = make(optimizer, 10)
    for step in range(1, 11):
        optimizer.step()
        schedule.step()
        rate = float(optimizer.param_groups[0]["lr"])
        if not 0 <= rate < math.inf:
            raise ValueError(f"gives the learning rate {rate} at step {step}; it must be finite and at least 0")


def _optimizer(node: object, where: str) -> functools.partial:
    partial = instantiate_partial(node, where)
    if not _is_torchs(partial):
        return check_call(partial, where, given=("parameters",))
    _require_usable(partial, where, UNFIT, "torch.optim.SGD, Adam or AdamW")
    checked = check_call(partial, where, given=("params",), hints=OPTIMIZER)
    keywords = checked.keywords.items()
    return functools.partial(checked.func, **{k: tuple(v) if isinstance(v, list) else v for k, v in keywords})


def _schedule(node: object, where: str) -> Callable:
    partial = instantiate_partial(node, where)
    if _is_torchs(partial):
        _require_usable(
            partial, where, schedules.UNFIT, "CosineAnnealingLR, LinearLR or StepLR of torch.optim.lr_scheduler"
        )
    if partial.func.__name__ == "ConstantLR" and "total_iters" not in partial.keywords:
        raise BadInput(f"{where}.total_iters is required: +{where}.total_iters=STEPS")
    length = schedules.length_of(partial)
    named = (length,) if length else ()
    hints = OPTIMIZER if _is_torchs(partial) else None
    return schedules.by_name(check_call(partial, where, given=("optimizer",), named=named, hints=hints))


def _is_torchs(partial: functools.partial) -> bool:
    return partial.func.__module__.startswith("torch.")


def _require_usable(partial: functools.partial, where: str, unfit: dict[str, str], instead: str) -> None:
    if reason := unfit.get(partial.func.__name__):
        target = f"{partial.func.__module__}.{partial.func.__name__}"
        raise BadInput(f"{where}._target_={target}: {reason}. Use {instead}, for example")
