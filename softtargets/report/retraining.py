"""Retraining from scratch as an opponent: the least cost from which on it is as near as another retraining."""

import collections
import dataclasses

from softtargets.report import endpoint
from softtargets.report.costs import at_cost
from softtargets.report.measures import FACES
from softtargets.report.pairs import by_pair
from softtargets.report.runs import Run
from softtargets.report.standing import Setting, over_floor, placed
from softtargets.report.statistics import mean_of

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
    settings = collections.defaultdict(lambda: collections.defaultdict(list))
    for run in runs:
        setting, arm = placed(run)
        if run.result["choices"]["mu_algo"] == "retrain":
            settings[setting][arm].append(run)
    known = [_of_setting(setting, list(arms.values())) for setting, arms in settings.items()]
    return [one for one in known if one is not None]


def _of_setting(setting: Setting, arms: list[list[Run]]) -> BreakEven | None:
    known = collections.defaultdict(list)
    for group in arms:
        runs = list(by_pair(group).values())
        cost, difference = at_cost(runs), over_floor(FACE, runs, setting.by_logarithms)
        if cost and difference is not None:
            known[cost].append(difference)
    nearest = {cost: min(differences, key=lambda one: one.mean) for cost, differences in known.items()}
    allowed = _margin(setting, [run for group in arms for run in group])
    if not nearest or allowed is None:
        return None
    return BreakEven(setting, tuple(sorted(nearest)), endpoint.break_even(nearest, allowed))


def _margin(setting: Setting, runs: list[Run]) -> float | None:
    if setting.by_logarithms:
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
