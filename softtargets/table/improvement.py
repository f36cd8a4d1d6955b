"""The ranking across cells: by the probability that one arm is nearer to retraining than another."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy
from jaxtyping import Bool, Float
from scipy import stats

from softtargets.report.statistics import LEAST

REPLICATES = 2000
"""Bootstrap samples of the pairs."""
BATCH = 100
"""Samples that are in memory at once."""
EDGES = (2.5, 97.5)
"""Percentiles of the ranks between which a rank interval lies."""
Distances = Mapping[str, Mapping[object, float]]
"""Of one cell: the distance of every pair, by its key, of every arm, by its name. Less is better."""


@dataclasses.dataclass(frozen=True)
class Rank:
    """The place of an arm across cells."""

    name: str
    probability: float
    """Probability of improvement over another arm, mean over the arms that it meets."""
    rank: float
    """1 is the best; equal arms share their mean rank."""
    low: float
    high: float
    """95 % interval of the rank over resampled pairs."""
    cells: int
    """Cells in which it meets another arm in at least `LEAST` pairs."""
    opponents: int
    lost: int
    """Pairs that it lost whatever the other arm did: its run diverged or lost its utility."""
    pairs: int
    """All its pairs, over all cells."""


def ranks(cells: Sequence[Distances], replicates: int = REPLICATES, seed: int = 0) -> list[Rank]:
    """Rank the arms of all cells by their probability of improvement, with rank intervals; best first.

    In a cell, the probability that arm a improves on arm b is the share of pairs i in which a is nearer:

        P_c(a, b) = 1/n Σ_i S(d_ai, d_bi),   S = 1 where d_ai < d_bi, ½ where they are equal, else 0.

    P(a, b) is its mean over the cells where both have at least `LEAST` pairs in common. The score of an arm is
    the mean of P(a, b) over the arms b that it meets. Infinity marks a run that lost its pair. After the
    probability of improvement of Agarwal et al. 2021 (arXiv 2108.13264, "rliable"), who compare every run of one
    algorithm with every run of another. Runs here share their models, so only runs of one pair are compared.

    The interval has the 2.5 and 97.5 percentiles of the rank in a bootstrap stratified by cells: each replicate
    draws the pairs of every cell with replacement, the same ones for all arms. It is a picture, and no test. Arms
    that meet no other one are left out.
    """
    names = sorted({name for cell in cells for name in cell})
    if not names:
        return []
    met = [_Met.of(cell, names) for cell in cells]
    whole = _scores(met, [numpy.ones((one.pairs, 1)) for one in met])[:, 0]
    there = numpy.isfinite(whole)
    if not there.any():
        return []
    drawn = numpy.random.default_rng(seed)
    samples = [_ranked(_scores(met, weights)[there]) for weights in _weights(met, replicates, drawn)]
    edges = numpy.percentile(numpy.hstack(samples), EDGES, axis=1, method="inverted_cdf")
    numbers = numpy.stack([whole[there], _ranked(whole[there, None])[:, 0], *edges], axis=1)
    found = [
        Rank(names[at], *row, *_counts(met, at), *_lost(cells, names[at]))
        for at, row in zip(numpy.flatnonzero(there).tolist(), numbers.tolist(), strict=True)
    ]
    return sorted(found, key=lambda one: (one.rank, one.name))


@dataclasses.dataclass(frozen=True)
class _Met:
    """Which arms meet in a cell, and in which pairs each wins."""

    wins: Float[numpy.ndarray, "arms arms pairs"]
    """1 where the first arm is nearer, ½ where both are equal; 0 where they do not meet."""
    shared: Bool[numpy.ndarray, "arms arms pairs"]
    enough: Bool[numpy.ndarray, "arms arms"]
    """Whether two arms have at least `LEAST` pairs in common."""

    @classmethod
    def of(cls, cell: Distances, names: Sequence[str]) -> "_Met":
        pairs = list(dict.fromkeys(pair for distances in cell.values() for pair in distances))
        table = numpy.array([[cell.get(name, {}).get(pair, numpy.nan) for pair in pairs] for name in names])
        one, other, there = table[:, None], table[None], ~numpy.isnan(table)
        shared = there[:, None] & there[None]
        shared[numpy.diag_indices(len(names))] = False  # an arm does not meet itself
        return cls(shared * ((one < other) + (one == other) / 2), shared, shared.sum(2) >= LEAST)

    @property
    def pairs(self) -> int:
        return self.shared.shape[2]


def _weights(
    cells: Sequence[_Met], replicates: int, drawn: numpy.random.Generator
) -> Iterator[list[Float[numpy.ndarray, "pairs batch"]]]:
    """Yield for every cell how often each pair is drawn, as many pairs as there are, for a batch of replicates."""
    for start in range(0, replicates, BATCH):
        batch = min(BATCH, replicates - start)
        yield [drawn.multinomial(n, numpy.full(n, 1 / n), batch).T.astype(float) for n in (c.pairs for c in cells)]


def _scores(
    cells: Sequence[_Met], weights: Sequence[Float[numpy.ndarray, "_ batch"]]
) -> Float[numpy.ndarray, "arms batch"]:
    """Return the mean probability of improvement of every arm; NaN for one that meets no other."""
    sums, counts = numpy.zeros(()), numpy.zeros((), dtype=int)
    for cell, weight in zip(cells, weights, strict=True):
        n = cell.shared @ weight
        there = cell.enough[..., None] & (n > 0)  # a replicate may draw none of the pairs of two arms
        sums = sums + numpy.where(there, cell.wins @ weight / numpy.maximum(n, 1), 0.0)
        counts = counts + there
    probabilities, opponents = sums / numpy.maximum(counts, 1), (counts > 0).sum(1)
    return numpy.where(opponents > 0, probabilities.sum(1) / numpy.maximum(opponents, 1), numpy.nan)


def _ranked(scores: Float[numpy.ndarray, "arms batch"]) -> Float[numpy.ndarray, "arms batch"]:
    # rounded: equal shares that were summed in another order are equal; an arm without a score comes last
    return stats.rankdata(-numpy.nan_to_num(scores.round(12), nan=-1.0), axis=0)


def _counts(cells: Sequence[_Met], at: int) -> tuple[int, int]:
    """Return in how many cells an arm meets another one, and how many arms it meets."""
    rows = numpy.stack([cell.enough[at] for cell in cells])
    return int(rows.any(1).sum()), int(rows.any(0).sum())


def _lost(cells: Sequence[Distances], name: str) -> tuple[int, int]:
    """Return how many pairs an arm lost, and of how many."""
    distances = [value for cell in cells for value in cell.get(name, {}).values()]
    return sum(map(math.isinf, distances)), len(distances)
