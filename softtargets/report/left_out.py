"""Which models measures over seeds leave out: an attacker may know them at sight."""

import collections
from collections.abc import Iterator

from softtargets.report.leaks import has_finite_margins
from softtargets.report.runs import Run
from softtargets.report.seeds import LEAST, Sharing, sharing
from softtargets.report.standing import placed

DIVERGED = "diverged"
TWICE = "there twice"
NOT_FINITE = "with margins that are not finite"


def left_out_lines(runs: list[Run]) -> list[str]:
    """Return a sentence for each arm of which seeds are left out."""
    return [line for one in sharing(runs) for line in _lines(one)]


def _lines(one: Sharing) -> Iterator[str]:
    """Say what is left out of one arm, if anything is."""
    seeds = len(one.by_seed)
    why = collections.Counter({TWICE: seeds - len(one.once), DIVERGED: len(one.once) - len(one.there)})
    why[NOT_FINITE] = sum(not has_finite_margins(run) for run in one.there)
    if not why.total():
        return
    setting, arm = placed(next(iter(one.by_seed.values()))[0])
    reasons = ", ".join(f"{number} {reason}" for reason, number in why.items() if number)
    left = f"leave out {why.total()} of {seeds} seeds ({reasons})"
    lacks = f". The others are fewer than {LEAST}, so there is no attack" if seeds - why.total() < LEAST else ""
    yield f"{setting.name}, {arm}: attacks and other measures over seeds {left}{lacks}."
