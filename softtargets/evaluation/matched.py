"""Matched forgetting: runs are compared where each first predicts its forget set no better than data never seen.

At equal settings one arm may have forgotten more than the other, and then differs for that reason alone. A
trajectory is a dict of columns, one entry an evaluation, as `result.json` holds it.
"""

from typing import NamedTuple

Number = int | float | None
Trajectory = dict[str, list[Number]]


class Comparison(NamedTuple):
    """A metric of two runs at their matched points; None for what is censored."""

    one: Number
    other: Number

    @property
    def difference(self) -> Number:
        """`one` less `other`."""
        return None if self.one is None or self.other is None else self.one - self.other


def point(trajectory: Trajectory) -> dict[str, Number] | None:
    """Return every column where forget_acc first is at or below unseen_acc, interpolated; None if it never is.

    Between the evaluations before and after the crossing every column, `step` too, is taken to be linear. A run
    whose accuracies are lost before it gets there (it diverged) never does.
    """
    for after, accuracies in enumerate(zip(trajectory["forget_acc"], trajectory["unseen_acc"], strict=True)):
        if None in accuracies:
            return None
        if accuracies[0] <= accuracies[1]:
            share = _share(trajectory, after)
            return {name: _between(column, after, share) for name, column in trajectory.items()}
    return None


def compare_matched(one: Trajectory, other: Trajectory, metric: str) -> Comparison:
    """Compare a metric at the matched points of two runs."""
    return Comparison(*(found and found[metric] for found in map(point, (one, other))))


def _share(trajectory: Trajectory, after: int) -> float:
    """Return how far between the evaluations `after` - 1 and `after` the accuracies cross, from 0 to 1."""
    if after == 0:
        return 1.0
    gaps = [trajectory["forget_acc"][i] - trajectory["unseen_acc"][i] for i in (after - 1, after)]
    return gaps[0] / (gaps[0] - gaps[1])


def _between(column: list[Number], after: int, share: float) -> Number:
    end = column[after]
    if share == 1.0 or end is None:
        return end
    start = column[after - 1]
    return None if start is None else start + share * (end - start)
