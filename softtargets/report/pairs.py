"""Two arms of a cell, paired by run seed; what cannot be paired is refused by name. An arm may be alone."""

import collections
import dataclasses

from softtargets.config.resolve import flat
from softtargets.report.alike import unlike
from softtargets.report.runs import Cell, Run

SHARED = ("original", "retrained", "forget_set", "batches")
"""Hashes that are equal in a pair: its runs differ in their targets and in nothing else."""


@dataclasses.dataclass(frozen=True)
class Pairing:
    """The pairs of two arms in one cell, or the runs of its only arm."""

    cell: Cell
    one: str
    other: str | None
    """None where the cell has one arm."""
    pairs: list[tuple[Run, ...]]
    """Of one run each where that arm is alone."""
    refused: list[str]
    """A sentence for every run or pair that is left out."""

    @property
    def settings(self) -> list[str]:
        """Say which settings beside the targets differ between the arms, as a search may have found them."""
        if not self.pairs or self.other is None:
            return []
        one, other = (dict(flat(run.result["config"])) for run in self.pairs[0])
        names = [name for name in sorted(one.keys() | other.keys()) if not name.startswith("targets.")]
        return [
            f"{name} {one.get(name)} / {other.get(name)}" for name in names if one.get(name) != other.get(name)
        ]

    @property
    def unlike(self) -> list[tuple[str, ...]]:
        """Name of every pair in what the making of its runs differs."""
        return [] if self.other is None else [unlike(*pair) for pair in self.pairs]


def pairings(runs: list[Run], wanted: tuple[str, str] | None = None) -> list[Pairing]:
    """Pair `wanted` arms in every cell; without, every arm with `hard`, or with the first there is.

    Without `wanted`, an arm that is alone in its cell is there too, as a pairing with no other.
    """
    cells = collections.defaultdict(lambda: collections.defaultdict(list))
    for run in runs:
        cells[run.cell][run.arm].append(run)
    found = []
    for cell, arms in cells.items():
        for one, other in [wanted] if wanted else _against_hard(sorted(arms)):
            if one in arms and other in arms:
                found.append(paired(cell, one, other, arms[one], arms[other]))
        if len(arms) == 1 and not wanted:
            found.append(alone(cell, *next(iter(arms.items()))))
    return found


def alone(cell: Cell, arm: str, runs: list[Run]) -> Pairing:
    """Return the runs of an arm, one a seed, as a pairing with no other."""
    refused: list[str] = []
    once = _by_seed(runs, refused)
    return Pairing(cell, arm, None, [(once[seed],) for seed in sorted(once)], refused)


def _against_hard(arms: list[str]) -> list[tuple[str, str]]:
    first = "hard" if "hard" in arms else arms[0]
    return [(first, arm) for arm in arms if arm != first]


def paired(cell: Cell, one: str, other: str, ones: list[Run], others: list[Run]) -> Pairing:
    """Pair the runs of two arms."""
    refused: list[str] = []
    first, second = _by_seed(ones, refused), _by_seed(others, refused)
    for seed in sorted(first.keys() ^ second.keys()):
        run = first.get(seed) or second[seed]
        refused.append(f"{run.name}: seed {seed} is in one arm alone")
    pairs = []
    for seed in sorted(first.keys() & second.keys()):
        pair = first[seed], second[seed]
        different = _different(*pair)
        if different:
            why = f"; not made alike: {', '.join(made)}" if (made := unlike(*pair)) else ""
            refused.append(f"{pair[0].name} and {pair[1].name}: not a pair, {', '.join(different)} differ{why}")
        else:
            pairs.append(pair)
    return Pairing(cell, one, other, pairs, refused)


def _different(one: Run, other: Run) -> list[str]:
    """Name what the runs of a pair must share and do not."""
    shared = [{name: run.result["hashes"][name] for name in SHARED} | run.data for run in (one, other)]
    return [name for name, value in shared[0].items() if shared[1][name] != value]


def _by_seed(runs: list[Run], refused: list[str]) -> dict[int, Run]:
    """Return the run of each seed; of seeds that are there more than once, none."""
    seeds = collections.defaultdict(list)
    for run in runs:
        seeds[run.seed].append(run)
    for seed, several in seeds.items():
        if len(several) > 1:
            refused.append(f"{', '.join(run.name for run in several)}: seed {seed} is there {len(several)} times")
    return {seed: several[0] for seed, several in seeds.items() if len(several) == 1}
