"""Statuses by which an arm cannot be judged by its numbers."""

import collections
from collections.abc import Mapping

from softtargets.report.runs import Run
from softtargets.system.words import counted

NO_VERDICT = {
    "degenerate": "the targets of {} give no gradient, so they cannot cause forgetting",
    "untrained": "the original of {} learnt nothing, so there is nothing to forget",
}
"""Statuses that forbid a verdict, and why."""


def counted_statuses(runs: list[Run]) -> dict[str, int]:
    """Count the statuses of runs other than ok."""
    statuses = collections.Counter(run.result["status"] for run in runs)
    statuses.pop("ok", None)
    return dict(statuses)


def no_verdict(arm: str, statuses: Mapping[str, int], runs: int) -> str | None:
    """Say why an arm gets no verdict; None where it may have one.

    A status speaks for an arm if most of its runs have it.
    """
    for status, why in NO_VERDICT.items():
        count = statuses.get(status, 0)
        if 2 * count > runs:
            where = f"in {count:,} of {counted(runs, 'run')}"
            return f"no verdict: {where} {why.format(arm)} (status {status})"
    return None
