"""Retraining from scratch as an opponent: the least cost from which on it is as near as another retraining."""

import collections
import dataclasses
import math

from softtargets.report import endpoint
from softtargets.report.costs import at_cost
from softtargets.report.measures import FACES
from softtargets.report.pairs import by_pair, design
from softtargets.report.runs import Run
from softtargets.report.standing import Setting, has_logarithms, over_floor, placed
from softtargets.report.statistics import LEAST, mean_of

FACE = FACES[0]


@dataclasses.dataclass(frozen=True)
class BreakEven:
    """From which cost on retraining from scratch is the answer, in a setting."""

    setting: Setting
    costs: tuple[float, ...]
    """Those that were run with enough pairs to say it."""
    least: float | None
    """The least from which on its distance is shown to be less than the margin beyond the floor (b*)."""


def break_evens(runs: list[Run]) -> list[BreakEven]:
    """Return b* of every setting where retraining from scratch was run, by JS_T.

    At a cost the nearest of its arms counts: any of them could have been chosen on tuning seeds.
    """
    settings = collections.defaultdict(list)
    for run in runs:
        settings[placed(run)[0]].append(run)
    known = [_of_setting(setting, group) for setting, group in settings.items()]
    return [one for one in known if one is not None]


def _of_setting(setting: Setting, runs: list[Run]) -> BreakEven | None:
    logarithms = setting.by_logarithms and has_logarithms(FACE, runs)
    arms = collections.defaultdict(list)
    for run in runs:
        if run.result["choices"]["mu_algo"] == "retrain":
            arms[placed(run)[1]].append(run)
    known = collections.defaultdict(list)
    for group in arms.values():
        once = list(by_pair(group).values())
        cost, difference = at_cost(once), over_floor(FACE, once, logarithms)
        if cost and (difference is not None or _diverged(once)):
            known[cost].append(difference)
    allowed = _margin([run for group in arms.values() for run in group], logarithms)
    if not known or allowed is None:
        return None
    nearest = {
        cost: min(filter(None, differences), key=lambda one: one.mean, default=None)
        for cost, differences in known.items()
    }
    return BreakEven(setting, tuple(sorted(nearest)), endpoint.break_even(nearest, allowed))


def _diverged(runs: list[Run]) -> bool:
    """Return whether one of enough runs diverged: retraining at their cost is not shown to be at the floor."""
    return design(runs).units >= LEAST and any(FACE.at_end(run) == math.inf for run in runs)


def _margin(runs: list[Run], logarithms: bool) -> float | None:
    if logarithms:
        return endpoint.LOG_MARGIN
    faces = [run.result["faces"][FACE.name] for run in runs if run.result.get("faces")]
    nothing, floor = (mean_of([one[name] for one in faces]) for name in ("nothing", "floor"))
    return None if None in (nothing, floor) else endpoint.margin(nothing, floor)


def say_break_even(one: BreakEven) -> str:
    """Say from which cost on to retrain."""
    if one.least is None:
        costs = ", ".join(f"{cost:g}" for cost in one.costs)
        return f"retraining from scratch is at none of the costs that were run ({costs}) shown to be at the floor"
    return f"from cost {one.least:g} on retrain instead: retraining from scratch is at the floor there"
