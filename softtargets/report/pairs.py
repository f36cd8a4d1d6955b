"""Two arms of a cell, paired by their seeds; what cannot be paired is refused by name. An arm may be alone."""

import collections
import dataclasses

import numpy
from jaxtyping import Float, Int

from softtargets.config.resolve import flat
from softtargets.report.alike import unlike
from softtargets.report.runs import Cell, Run
from softtargets.report.statistics import LEAST
from softtargets.system.words import counted

SHARED = ("original", "retrained", "forget_set", "batches")
"""Hashes that are equal in a pair: its runs differ in their targets, and in what a search chose, alone."""
SHARED_MODELS = ("original", "retrained", "forget_set")
"""Hashes that are equal in two runs of any algorithms that are held against each other."""


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
    def design(self) -> "Design":
        """Return how the pairs were drawn."""
        return design([pair[0] for pair in self.pairs])

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


def pairings(
    runs: list[Run], wanted: tuple[str, str] | None = None, shared: tuple[str, ...] = SHARED
) -> list[Pairing]:
    """Pair `wanted` arms in every cell; without, every arm with `hard`, or with the first there is.

    The runs of a pair have equal hashes `shared`, as for `pair_runs`. Without `wanted`, an arm that is alone in
    its cell is there too, as a pairing with no other.
    """
    cells = collections.defaultdict(lambda: collections.defaultdict(list))
    for run in runs:
        cells[run.cell][run.arm].append(run)
    comparisons = []
    for cell, arms in cells.items():
        for one, other in [wanted] if wanted else _against_hard(sorted(arms)):
            if one in arms and other in arms:
                comparisons.append(pair_runs(cell, (one, other), arms[one], arms[other], shared))
        if len(arms) == 1 and not wanted:
            comparisons.append(alone(cell, *next(iter(arms.items()))))
    return comparisons


def alone(cell: Cell, arm: str, runs: list[Run]) -> Pairing:
    """Return the runs of an arm, one a seed, as a pairing with no other."""
    refused: list[str] = []
    once = _by_pair(runs, refused)
    return Pairing(cell, arm, None, [(once[seeds],) for seeds in sorted(once)], refused)


def _against_hard(arms: list[str]) -> list[tuple[str, str]]:
    first = "hard" if "hard" in arms else arms[0]
    return [(first, arm) for arm in arms if arm != first]


def pair_runs(
    cell: Cell, names: tuple[str, str], ones: list[Run], others: list[Run], shared: tuple[str, ...] = SHARED
) -> Pairing:
    """Pair the runs of two arms, by the hashes `shared`; searched arms may have batches of their own."""
    if cell.is_searched:
        shared = tuple(name for name in shared if name != "batches")
    refused: list[str] = []
    first, second = _by_pair(ones, refused), _by_pair(others, refused)
    times = [
        (arm, collections.Counter(run.pair for run in runs))
        for arm, runs in zip(names, (ones, others), strict=True)
    ]
    for seeds in sorted(first.keys() ^ second.keys()):
        run, (arm, of_other) = (first[seeds], times[1]) if seeds in first else (second[seeds], times[0])
        several = f"there {of_other[seeds]} times in {arm}"
        refused.append(f"{run.name}: {_seeds(seeds)} is {several if of_other[seeds] else 'in one arm alone'}")
    pairs = []
    for seeds in sorted(first.keys() & second.keys()):
        pair = first[seeds], second[seeds]
        different = _differing(*pair, shared)
        if different:
            refused.append(
                f"{pair[0].name} and {pair[1].name}: not a pair, {', '.join(different)} differ{_why(*pair)}"
            )
        else:
            pairs.append(pair)
    return Pairing(cell, *names, pairs, refused)


def _why(one: Run, other: Run) -> str:
    """Return why runs are no pair, after a semicolon; nothing where it is not known."""
    if one.result.get("ensemble") != other.result.get("ensemble"):
        return "; an ensemble is judged against its own retraining, so compare the shares of the way left"
    return f"; not made alike: {', '.join(made)}" if (made := unlike(one, other)) else ""


def _differing(one: Run, other: Run, names: tuple[str, ...]) -> list[str]:
    """Name what the runs of a pair must share and do not."""
    shared = [{name: run.result["hashes"][name] for name in names} | run.data for run in (one, other)]
    return [name for name, value in shared[0].items() if shared[1][name] != value]


def same(one: Run, other: Run, names: tuple[str, ...]) -> bool:
    """Return whether two runs have the same data, and models of the same hashes `names`."""
    return not _differing(one, other, names)


def by_pair(runs: list[Run]) -> dict[tuple[int, int, int], Run]:
    """Return the run of each pair; of those there more than once, none."""
    return _by_pair(runs, [])


def _by_pair(runs: list[Run], refused: list[str]) -> dict[tuple[int, int, int], Run]:
    """Return the run of each seed, forget set and draw of the dataset; of those there more than once, none."""
    groups = collections.defaultdict(list)
    for run in runs:
        groups[run.pair].append(run)
    for seeds, several in groups.items():
        if len(several) > 1:
            names = ", ".join(run.name for run in several)
            refused.append(f"{names}: {_seeds(seeds)} is there {len(several)} times")
    return {seeds: several[0] for seeds, several in groups.items() if len(several) == 1}


def _seeds(seeds: tuple[int, int, int]) -> str:
    """Name a pair by its seed, and by what else is not as usual."""
    seed, forget, dataset = seeds
    more = [f"{name}={value}" for name, value in (("forget_set.seed", forget), ("dataset.seed", dataset)) if value]
    return " ".join([f"seed {seed}", *([f"with {', '.join(more)}"] if more else [])])


@dataclasses.dataclass(frozen=True)
class Design:
    """How pairs were drawn, which decides how they are analysed and what an interval over them holds for."""

    pairs: int
    sets: int
    """Forget sets that differ."""
    seeds: int
    """Run seeds that differ."""

    @property
    def kind(self) -> str:
        """Return "distinct" where every pair has a forget set and a seed of its own; else what repeats."""
        if self.sets == 1:
            return "one set"
        if self.pairs == self.sets == self.seeds:
            return "distinct"
        if self.pairs == self.sets and self.seeds == 1:
            return "one seed"
        return "crossed" if self.pairs == self.sets * self.seeds else "mixed"

    @property
    def units(self) -> int:
        """Return how many independent differences there are: of a mixed design the means over forget sets."""
        return self.sets if self.kind == "mixed" else self.pairs

    @property
    def too_few(self) -> str:
        """Return why so few pairs have no verdict."""
        of = "forget sets, of which each counts once" if self.kind == "mixed" else "pairs"
        return f"no verdict below {LEAST} {of} ({self.shown})"

    @property
    def shown(self) -> str:
        """Return n and what it counts."""
        words = {
            "one set": "one forget set",
            "distinct": counted(self.sets, "forget set"),
            "one seed": f"{counted(self.sets, 'forget set')} of one seed",
            "crossed": f"{counted(self.sets, 'forget set')} × {counted(self.seeds, 'seed')}",
            "mixed": f"from {counted(self.sets, 'forget set')} and {counted(self.seeds, 'seed')}",
        }
        return f"n = {self.pairs}, {words[self.kind]}" if self.pairs else "n = 0"


def design(runs: list[Run]) -> Design:
    """Return the design of pairs by one run of each; hashes tell which forget sets are the same."""
    return Design(len(runs), len({_forget_set(run) for run in runs}), len({run.seed for run in runs}))


def _forget_set(run: Run) -> tuple[str, str]:
    return run.data["forget_set"], run.data["train_set"]


def analysed(
    one: Float[numpy.ndarray, " n"], other: Float[numpy.ndarray, " n"], runs: list[Run]
) -> tuple[Float[numpy.ndarray, " _"], Float[numpy.ndarray, " _"], Int[numpy.ndarray, "n 2"] | None]:
    """Return the values of two arms as the design of their pairs asks for, and the places of a crossed one."""
    kind = design(runs).kind
    if kind == "mixed":  # forget sets that come more or less often count once each
        return *means_of_sets(one, other, runs), None
    return one, other, places_in(runs) if kind == "crossed" else None


def places_in(runs: list[Run]) -> Int[numpy.ndarray, "n 2"]:
    """Return the number of the forget set and of the seed of every run."""
    sets, seeds = [_forget_set(run) for run in runs], [run.seed for run in runs]
    columns = [[sorted(set(values)).index(value) for value in values] for values in (sets, seeds)]
    return numpy.array(columns).T


def means_of_sets(
    one: Float[numpy.ndarray, " n"], other: Float[numpy.ndarray, " n"], runs: list[Run]
) -> tuple[Float[numpy.ndarray, " sets"], Float[numpy.ndarray, " sets"]]:
    """Average the values of both arms over the runs of each forget set."""
    number = places_in(runs)[:, 0]
    return tuple(
        numpy.array([values[number == at].mean() for at in range(number.max() + 1)]) for values in (one, other)
    )
