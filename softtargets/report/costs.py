"""What arms cost, as shares of what retraining costs: after a request, and over many of them."""

import collections
import dataclasses
import math

from softtargets.report.runs import Cell, Run
from softtargets.report.statistics import mean_of

REQUESTS = (1, 10, 100)
"""Numbers of requests over which what was prepared is spread."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Means over the runs of an arm; None where they were made before costs were counted."""

    cell: Cell
    arm: str
    runs: int
    share: float | None
    """In gradient samples, of what is computed after the request."""
    share_seconds: float | None
    """In CPU seconds, of the same."""
    prepared_share: float | None
    """In gradient samples, of models that are trained before any request; in seconds it is as much."""

    anew: bool
    """Whether models were prepared for each of several requests, so that no other request shares them."""

    def total(self, requests: int) -> float | None:
        """Return the cost of one of so many requests in gradient samples, what was prepared among it."""
        spread = 1 if self.anew else requests
        return None if self.share is None else self.share + (self.prepared_share or 0.0) / spread


def costs(runs: list[Run]) -> list[Cost]:
    """Return the cost of every arm of every cell, in the order in which the runs come."""
    arms = collections.defaultdict(list)
    for run in runs:
        arms[run.cell, run.arm].append(run.result)
    names = ("share", "share_seconds", "prepared_share")
    return [
        Cost(
            cell,
            arm,
            len(found),
            *(mean_of([one["cost"].get(name) for one in found]) for name in names),
            anew(found),
        )
        for (cell, arm), found in arms.items()
    ]


def anew(results: list[dict]) -> bool:
    """Return whether these runs have several requests, each with models that were prepared for it alone."""
    return any(result.get("requests") for result in results)


def at_cost(runs: list[Run]) -> float | None:
    """Return the cost that an arm stands at: its budget, or without one its mean share in gradient samples."""
    budgets = {run.result["cost"].get("budget") for run in runs}
    if len(budgets) == 1 and None not in budgets:
        return budgets.pop()
    return mean_of([run.result["cost"].get("share") for run in runs])


def cheaper_from(share: float | None, seconds: float | None, prepared: float | None) -> int | None:
    """Return the least number of requests from which on an arm costs less than retraining in both currencies.

    What was prepared is spread over the requests and counts in both. None where the arm is never cheaper, or where
    a cost is not known.
    """
    if share is None or seconds is None or max(share, seconds) >= 1:
        return None
    return math.floor((prepared or 0.0) / (1 - max(share, seconds))) + 1
