"""Which of two arms leaves less for an attacker, judged by the same models of the same seeds."""

import collections
import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy
import scipy.stats

from softtargets.report.leaks import Leak

STRONGEST = "U-LiRA"
Named = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class LeakPair:
    """Two arms, by U-LiRA over the models of the same seeds."""

    one: Leak
    other: Leak
    picked: bool = False
    """Whether these two were picked by what is compared here: of each kind the one that leaves least."""

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the difference in AUC, by a jackknife over seeds that fits the attack anew.

        A bootstrap of scores keeps the attack that was fitted to all models, and its intervals are too narrow.
        """
        without = numpy.subtract(self.one.auc_without, self.other.auc_without)
        n, difference = len(without), self.one.auc - self.other.auc
        error = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
        reach = float(scipy.stats.t.ppf(0.975, n - 1)) * error
        return difference - reach, difference + reach

    @property
    def sentence(self) -> str:
        """Return in words which of the two leaves less for an attacker."""
        low, high = self.interval
        word = "leaves less for an attacker than" if high < 0 else "leaves more for an attacker than"
        word = "is not shown to leave less or more for an attacker than" if low <= 0 <= high else word
        areas = f"AUC of {STRONGEST} {self.one.auc:.3f}, and {self.other.auc:.3f}"
        return (
            f"{self.one.setting.name}: {self.one.arm} {word} {self.other.arm} ({areas}; difference "
            f"{self.one.auc - self.other.auc:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, "
            f"{self.one.models} models a side{', picked by these AUCs' if self.picked else ''})."
        )


def leak_lines(leaks: Sequence[Leak], primary: Iterable[Named] = ()) -> list[str]:
    """Return a sentence for each pair."""
    return [pair.sentence for pair in leak_pairs(leaks, primary)]


def leak_pairs(leaks: Sequence[Leak], primary: Iterable[Named] = ()) -> list[LeakPair]:
    """Return the two arms of each primary contrast, then arms with other targets beside those with hard labels.

    These are the arms of each algorithm, and of both kinds the least leaking. All models of a pair belong to the
    same retrained ones.
    """
    groups = collections.defaultdict(list)
    for leak in leaks:
        if leak.attack == STRONGEST and leak.algorithm != "none":
            groups[leak.setting.name, leak.retrained].append(leak)
    primary = tuple(primary)
    pairs = [pair for group in groups.values() for pair in (*_named(group, primary), *_beside_hard(group))]
    return list({(id(pair.one), id(pair.other)): pair for pair in pairs}.values())


def _named(group: Sequence[Leak], primary: Sequence[Named]) -> Iterator[LeakPair]:
    arms = {leak.arm: leak for leak in group}
    yield from (LeakPair(arms[one], arms[other]) for one, other in primary if {one, other} <= {*arms})


def _beside_hard(group: Sequence[Leak]) -> Iterator[LeakPair]:
    hard = [leak for leak in group if leak.targets == "hard"]
    others = [leak for leak in group if leak.targets not in (None, "hard")]
    yield from (LeakPair(one, two) for one in others for two in hard if one.algorithm == two.algorithm)
    if hard and others:
        yield LeakPair(*(min(kind, key=lambda leak: leak.auc) for kind in (others, hard)), picked=True)
