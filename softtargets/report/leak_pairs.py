"""Which of two arms leaves less for an attacker, judged by the same models of the same seeds."""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy

from softtargets.report.endpoint import Difference, leave_one_out
from softtargets.report.leaks import Leak
from softtargets.report.statistics import LEVEL, holm

STRONGEST = "U-LiRA"
Named = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class LeakPair:
    """Two arms, by U-LiRA over the models of the same seeds."""

    one: Leak
    other: Leak
    picked: bool = False
    """Whether these two were picked by what is compared here: of each kind the one that leaves least."""

    p: float = 1.0
    """Of the difference, adjusted by Holm over the pairs of a report."""

    @functools.cached_property
    def difference(self) -> Difference:
        """Return the difference in AUC, with its error by a jackknife over seeds that fits both attacks anew."""
        without = numpy.subtract(self.one.auc_without, self.other.auc_without)
        return leave_one_out(self.one.auc - self.other.auc, without)

    @property
    def sentence(self) -> str:
        """Return in words which of the two leaves less for an attacker."""
        (low, high), mean = self.difference.interval(), self.difference.mean
        word = "leaves less for an attacker than" if mean < 0 else "leaves more for an attacker than"
        word = word if self.p < LEVEL else "is not shown to leave less or more for an attacker than"
        areas = f"AUC of {STRONGEST} {self.one.auc:.3f}, and {self.other.auc:.3f}"
        return (
            f"{self.one.setting.name}: {self.one.arm} {word} {self.other.arm} ({areas}; difference {mean:+.3f}, "
            f"95 % interval {low:+.3f} to {high:+.3f}, p = {self.p:.2g} corrected, {self.one.models} models a side"
            f"{', picked by these AUCs' if self.picked else ''}{self._lossy})."
        )

    @property
    def _lossy(self) -> str:
        """Say which of the two lose utility."""
        lost = [leak.arm for leak in (self.one, self.other) if leak.keeps_utility is False]
        return f"; {' and '.join(lost)} lose{'' if len(lost) == 2 else 's'} utility" if lost else ""


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
    once: dict[frozenset[int], LeakPair] = {}
    for pair in pairs:  # two that were named beforehand are not picked by what is compared
        once.setdefault(frozenset((id(pair.one), id(pair.other))), pair)
    adjusted = holm([pair.difference.p for pair in once.values()])
    return [dataclasses.replace(pair, p=p) for pair, p in zip(once.values(), adjusted, strict=True)]


def _named(group: Sequence[Leak], primary: Sequence[Named]) -> Iterator[LeakPair]:
    arms = {leak.arm: leak for leak in group}
    yield from (LeakPair(arms[one], arms[other]) for one, other in primary if {one, other} <= {*arms})


def _beside_hard(group: Sequence[Leak]) -> Iterator[LeakPair]:
    hard = [leak for leak in group if leak.targets == "hard"]
    others = [leak for leak in group if leak.targets not in (None, "hard")]
    yield from (LeakPair(one, two) for one in others for two in hard if one.algorithm == two.algorithm)
    if hard and others:
        yield LeakPair(*(min(kind, key=lambda leak: leak.auc) for kind in (others, hard)), picked=True)
