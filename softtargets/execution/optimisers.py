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
from softtargets.errors import BadInput, reason
from softtargets.execution.callables import instantiate_partial
from softtargets.execution.parts import Parts


def build_unlearning(node: dict, parts: Parts, device: str) -> Unlearning:
    """Return the checked group `unlearn`, with its optimiser."""
    settings = build_optimisation(Unlearning, node, "unlearn", parts, device)
    if settings.stop == "matched" and settings.evaluate_every is None:
        raise BadInput("unlearn.evaluate_every=None: unlearn.stop=matched needs a number of steps, at least 1")
    return settings


def build_optimisation(
    model: type[Optimisation], node: dict, where: str, parts: Parts, device: str
) -> Optimisation:
    """Return a checked group with its optimiser and schedule, which all cells with equal ones share."""
    nodes = {name: node[name] for name in ("optimizer", "schedule") if node.get(name) is not None}
    return validated(model, node | parts(_tried, nodes, where, device), where)


def _tried(nodes: dict[str, object], where: str, device: str) -> dict[str, Callable]:
    """Return optimiser and schedule, as far as there are any, after ten trial steps on a throwaway parameter."""
    build = {"optimizer": _optimizer, "schedule": _schedule}
    built = {name: build[name](copy.deepcopy(node), f"{where}.{name}") for name, node in nodes.items()}
    if "optimizer" not in built:
        return built  # which is refused
    parameter = torch.zeros(2, 2, requires_grad=True, device=device)
    parameter.grad = torch.zeros_like(parameter)
    with naming(f"{where}.optimizer", (Exception,)):
        built["optimizer"]([parameter]).step()
    if "schedule" in built:
        with naming(f"{where}.schedule", (Exception,)):
            try:
                # a new optimiser: RMSprop fails if it has stepped without momentum and a schedule sets one
                _try_schedule(built["schedule"], built["optimizer"]([parameter]))
            except Exception as error:
                _require_pair(built["schedule"], where, nodes, error)
                raise
    return built


def _require_pair(make: Callable, where: str, nodes: dict[str, dict], error: Exception) -> None:
    """Raise BadInput for a schedule that failed with this optimiser and works with one that has momentum."""
    usual = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3, momentum=0.9)
    try:
        _try_schedule(make, usual)
    except Exception:  # the schedule fails with any optimiser, which the caller reports
        return
    schedule, optimizer = (
        f"{where}.{name}._target_={nodes[name]['_target_']}" for name in ("schedule", "optimizer")
    )
    raise BadInput(
        f"{schedule} does not fit {optimizer}: {reason(error)}. Choose another optimiser or schedule, or "
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
    if why := unfit.get(partial.func.__name__):
        target = f"{partial.func.__module__}.{partial.func.__name__}"
        raise BadInput(f"{where}._target_={target}: {why}. Use {instead}, for example")
