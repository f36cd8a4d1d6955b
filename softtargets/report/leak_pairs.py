"""Which targets leave less for an attacker: arms with other targets and with hard labels, by the same seeds."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence

import numpy

from softtargets.report.leaks import Leak

STRONGEST = "U-LiRA"


@dataclasses.dataclass(frozen=True)
class LeakPair:
    """An arm with other targets beside one with hard labels, by U-LiRA over the models of the same seeds."""

    arm: Leak
    hard: Leak

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of the difference in AUC: both arms by the same draws of seeds."""
        drawn = numpy.subtract(self.arm.auc_drawn, self.hard.auc_drawn)
        return tuple(numpy.quantile(drawn, [0.025, 0.975]).tolist())

    @property
    def sentence(self) -> str:
        """Return in words which of the two leaves less for an attacker."""
        low, high = self.interval
        word = "leaves less for an attacker than" if high < 0 else "leaves more for an attacker than"
        word = "is not shown to leave less or more for an attacker than" if low <= 0 <= high else word
        areas = f"AUC of {STRONGEST} {self.arm.auc:.3f}, and {self.hard.auc:.3f}"
        return (
            f"{self.arm.setting.name}: {self.arm.arm} {word} {self.hard.arm} ({areas}; difference "
            f"{self.arm.auc - self.hard.auc:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, "
            f"{self.arm.models} models a side)."
        )


def leak_lines(leaks: Sequence[Leak]) -> list[str]:
    """Return a sentence for each pair."""
    return [pair.sentence for pair in leak_pairs(leaks)]


def leak_pairs(leaks: Sequence[Leak]) -> list[LeakPair]:
    """Return every arm beside the one with hard labels of its algorithm, and the least leaking of both kinds.

    All models of a pair belong to the same retrained ones.
    """
    groups = collections.defaultdict(list)
    for leak in leaks:
        if leak.attack == STRONGEST and leak.targets:
            groups[leak.setting.name, leak.retrained].append(leak)
    pairs = [pair for group in groups.values() for pair in _pairs_of(group)]
    return list({(id(pair.arm), id(pair.hard)): pair for pair in pairs}.values())


def _pairs_of(group: Sequence[Leak]) -> Iterator[LeakPair]:
    hard = [leak for leak in group if leak.targets == "hard"]
    others = [leak for leak in group if leak.targets != "hard"]
    yield from (LeakPair(one, two) for one in others for two in hard if one.algorithm == two.algorithm)
    if hard and others:
        yield LeakPair(*(min(kind, key=lambda leak: leak.auc) for kind in (others, hard)))
