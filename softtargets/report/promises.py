"""Audits of promises: whether attacks show more than the ε that an algorithm states.

The attack tells apart what the promise speaks of: the unlearned models, and those that the same algorithm makes of
the retrained ones.
"""

import dataclasses
from collections.abc import Iterator

import numpy

from softtargets.report import attacks
from softtargets.report.runs import Run
from softtargets.report.seeds import measurable


@dataclasses.dataclass(frozen=True)
class Audit:
    """A promise against what an attack shows."""

    arm: str
    epsilon: float
    delta: float
    """As promised."""
    models: int
    """Number of unlearned models, and of those made of retrained ones."""
    shown: float
    """Lower bound on ε, of 95 % confidence."""
    most: float
    """The largest bound that so many models can show."""

    @property
    def is_broken(self) -> bool:
        """Return whether the attack shows more than was promised."""
        return self.shown > self.epsilon

    @property
    def verdict(self) -> str:
        """Return in words what so many models say of the promise."""
        if self.is_broken:
            return "broken"
        return "not refuted" if self.most > self.epsilon else "not tested by so few models"


def audits(runs: list[Run]) -> Iterator[Audit]:
    """Yield the audit of every arm with a promise that has enough seeds on one forget set."""
    for cell, arm, _, there in measurable(runs):
        if promise := there[0].result.get("promise"):
            names = ("forget_unlearned", "forget_twin")
            sides = zip(*(run.of_forget_set(*names) for run in there), strict=True)
            scores = attacks.lira(*(numpy.stack(side).astype(numpy.float64) for side in sides))
            yield Audit(
                f"{cell.name}, {arm}",
                promise["epsilon"],
                promise["delta"],
                len(there),
                attacks.epsilon_bound(scores, promise["delta"]),
                attacks.largest_bound(len(there)),
            )


def audit_lines(runs: list[Run]) -> list[str]:
    """Return a sentence on every audit."""
    return [_line(audit) for audit in audits(runs)]


def _line(audit: Audit) -> str:
    return (
        f"{audit.arm}: promise of ε = {audit.epsilon:g} at δ = {audit.delta:g} {audit.verdict}: U-LiRA shows at "
        f"least ε = {audit.shown:.2f} (95 % confidence, {audit.models} + {audit.models} models, which can show "
        f"{audit.most:.2f} at most)"
    )
