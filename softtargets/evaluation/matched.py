"""Matched forgetting: where a run comes to forget as much as the retrained model, and stays there.

A description of a trajectory, by which no run is chosen. The level is the retrained model's own accuracy on the
forget set, within one binomial standard error; the point is the first evaluation from which the run stays there to
its end. A run that crosses the level on its way, as in the hot phase of a schedule, or ends below it has none.

A trajectory is a dict of columns, one entry an evaluation, as `result.json` holds it.
"""

import math
from typing import NamedTuple

Number = int | float | None
Trajectory = dict[str, list[Number]]
ROUNDING = 1e-5
"""Trajectories keep six digits."""


class Level(NamedTuple):
    """The accuracy on the forget set that counts as forgotten, and how well it is known."""

    forget_acc: float
    """Of the retrained model, a share from 0 to 1."""
    standard_error: float
    """Binomial, of that share over `samples`; at least 1 / samples."""
    samples: int

    def reached(self, accuracy: float) -> bool:
        """Return whether an accuracy is that of the retrained model, within one standard error."""
        return abs(accuracy - self.forget_acc) <= self.standard_error + ROUNDING


def standard_error(accuracy: float, samples: int) -> float:
    """Return the binomial standard error of an accuracy over so many samples: √(a (1 - a) / n)."""
    return math.sqrt(accuracy * (1 - accuracy) / samples)


def level(accuracy: float | None, samples: int) -> Level | None:
    """Return the level that a retrained model sets by its accuracy on `samples` of the forget set.

    The standard error of 0 and 1 would be 0; one sample is allowed there. None where there is no accuracy.
    """
    if accuracy is None:
        return None
    return Level(accuracy, max(standard_error(accuracy, samples), 1 / samples), samples)


def point(trajectory: Trajectory, at: Level | None) -> dict[str, Number] | None:
    """Return every column at the first evaluation from which `forget_acc` stays at the level; None if it does not.

    A run whose accuracies are lost (it diverged) does not stay.
    """
    # an evaluation off the level starts the search again: what counts is where the run stays
    first = None
    for number, accuracy in enumerate(trajectory["forget_acc"]):
        if at is None or accuracy is None or not at.reached(accuracy):
            first = None
        elif first is None:
            first = number
    return None if first is None else {name: column[first] for name, column in trajectory.items()}
