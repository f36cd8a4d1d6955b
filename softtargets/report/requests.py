"""Sequences of requests: how far a model is from its own retrained one after each of them, and what each cost."""

import collections
from collections.abc import Callable

from softtargets.report.runs import Run
from softtargets.report.statistics import mean_of


def request_lines(runs: list[Run]) -> list[str]:
    """Return two sentences on every arm whose forget set came in several requests: means over its runs."""
    arms = collections.defaultdict(list)
    for run in runs:
        if requests := run.result.get("requests"):
            arms[run.cell.name, run.arm, len(requests)].append(requests)
    return [_line(cell, arm, found) for (cell, arm, _), found in arms.items()]


def _line(cell: str, arm: str, found: list[list[dict]]) -> str:
    def after(value: Callable[[dict], float | None]) -> str:
        means = [mean_of([value(one) for one in request]) for request in zip(*found, strict=True)]
        return ", ".join("–" if mean is None else f"{mean:.3f}" for mean in means)

    unlearned, nothing = (after(lambda one, n=name: one["drift"][f"js_{n}"]) for name in ("unlearned", "nothing"))
    earlier, share = after(lambda one: one["drift"]["js_earlier"]), after(lambda one: one["cost"]["share"])
    return (
        f"{cell}, {arm} (n = {len(found)}): after each of {len(found[0])} requests the mean raw JS on all "
        f"forgotten so far is {unlearned} nats (doing nothing: {nothing}), on earlier requests alone {earlier}. "
        f"Each costs {share} of its own retraining"
    )
