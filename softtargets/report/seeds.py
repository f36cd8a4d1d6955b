"""Measures over several seeds: whether the distribution of a sample's margin is that of retrained models.

Margins are φ = log p_y - log(1 - p_y), one row a seed and one column a sample of the forget set, of models that
share the forget set and differ in their seed.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator

import numpy
from jaxtyping import Float

from softtargets.report.runs import Cell, Run

LEAST = 10
"""Number of seeds below which there is no value: half of them have to give a variance."""
Margins = Float[numpy.ndarray, "_ samples"]


@dataclasses.dataclass(frozen=True)
class OverSeeds:
    """One arm of a cell, or its original models, against retrained ones."""

    cell: Cell
    arm: str
    """`nothing` for the original models."""
    seeds: int
    klom: float | None
    """Mean over samples of the KL divergence of two Gaussians, in nats.

    None, as those below, where margins are not finite, or do not differ between seeds."""
    klom_floor: float | None
    """The same between retrained models."""
    ulira: float | None
    """Accuracy of the likelihood-ratio attack: 0.5 where nothing tells unlearned from retrained."""
    ulira_floor: float | None
    """The same between retrained models."""
    bounded: "Permuted | None" = None
    """`clipped_klom` by all models, with its null; None where margins are not finite."""
    attack: "Permuted | None" = None
    """`ulira` by all models, with its null."""


@dataclasses.dataclass(frozen=True)
class Sharing:
    """The runs of an arm that share their forget set."""

    cell: Cell
    arm: str
    data: tuple[str, ...]
    """Hashes of what they were made and measured on."""
    by_seed: dict[int, list[Run]]

    @property
    def once(self) -> list[Run]:
        """Return a run a seed: one that is there twice is left out, as it is of pairs."""
        return [several[0] for _, several in sorted(self.by_seed.items()) if len(several) == 1]

    @property
    def there(self) -> list[Run]:
        """Return a run a seed, of those that did not diverge."""
        return [run for run in self.once if run.result["status"] != "diverged"]


def sharing(runs: list[Run]) -> Iterator[Sharing]:
    """Yield every arm with enough seeds on one forget set."""
    arms = collections.defaultdict(lambda: collections.defaultdict(list))
    for run in runs:
        arms[run.cell, run.arm, tuple(run.data.values())][run.seed].append(run)
    yield from (Sharing(*place, by_seed) for place, by_seed in arms.items() if len(by_seed) >= LEAST)


def measurable(runs: list[Run]) -> Iterator[tuple[Cell, str, tuple, list[Run]]]:
    """Yield cell, arm, data and runs of every arm that has enough seeds on one forget set, a run a seed."""
    for one in sharing(runs):
        if len(one.there) >= LEAST:
            yield one.cell, one.arm, one.data, one.there


def over_seeds(runs: list[Run]) -> Iterator[OverSeeds]:
    """Compare every arm with enough seeds, and doing nothing, with retraining; all of a row share their data."""
    compared = set()
    for cell, arm, data, there in measurable(runs):
        margins = _margins(there)
        if (cell, data) not in compared:
            compared.add((cell, data))
            yield _row(cell, "nothing", margins["original"], margins)
        yield _row(cell, arm, margins["unlearned"], margins)


def _margins(runs: list[Run]) -> dict[str, Margins]:
    """Load the margins on the forget set of all three models, and of a second retrained one if each run has it."""
    models = ["original", "retrained", "unlearned"]
    models += ["retrained_2"] if all(run.further for run in runs) else []
    columns = zip(*(run.of_forget_set(*(f"forget_{model}" for model in models)) for run in runs), strict=True)
    return {model: numpy.stack(rows).astype(numpy.float64) for model, rows in zip(models, columns, strict=True)}


def _row(cell: Cell, arm: str, unlearned: Margins, margins: dict[str, Margins]) -> OverSeeds:
    """Compare margins with those of the retrained models.

    The floor is that of as many other retrained models, or where runs have none that of one half of the seeds.
    """
    retrained, others = margins["retrained"], margins.get("retrained_2")
    values = (klom(unlearned, retrained), klom(retrained if others is None else others, retrained))
    pair = _halves(retrained) if others is None else (others, retrained)
    attacks = (ulira(unlearned, retrained), ulira(*pair))
    known = [value if math.isfinite(value) else None for value in (*values, *attacks)]
    tests = (permuted(measure, unlearned, retrained) for measure in (clipped_klom, ulira))
    return OverSeeds(cell, arm, len(unlearned), *known, *tests)


def _quietly(measure: Callable[[Margins, Margins], float]) -> Callable[[Margins, Margins], float]:
    """Let a measure be NaN or infinite without a warning where margins are not finite or have no variance."""

    @functools.wraps(measure)
    def quiet(margins: Margins, retrained: Margins) -> float:
        with numpy.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return measure(margins, retrained)

    return quiet


def _halves(margins: Margins) -> tuple[Margins, Margins]:
    """Split the seeds in two of equal number."""
    half = len(margins) // 2
    return margins[:half], margins[half : 2 * half]


@_quietly
def klom(margins: Margins, retrained: Margins) -> float:
    """Return the Gaussian KL divergence of margins, in nats (KLoM: Georgiev et al. 2024, arXiv 2410.23232).

    mean_x KL(N(μ, σ²) ‖ N(μr, σr²)), the first fitted to one half of `margins` and the second to the other half of
    `retrained`, averaged over both ways, so that the value of `retrained` itself is the floor at this n.
    """
    ours, theirs = _halves(margins), _halves(retrained)
    return float(numpy.mean([_divergence(ours[i], theirs[1 - i]) for i in (0, 1)]))


def _divergence(one: Margins, other: Margins) -> float:
    mean, variance = one.mean(0), one.var(0, ddof=1)
    mean_r, variance_r = other.mean(0), other.var(0, ddof=1)
    kl = 0.5 * (numpy.log(variance_r / variance) + (variance + (mean - mean_r) ** 2) / variance_r - 1)
    return float(kl.mean())


FAR = 20.0
"""Margins are clipped to ± this: beyond, float32 does not resolve 1 - p."""
TOLD_APART = 5.0
"""Nats at which a sample's divergence is clipped: at equal variances, one margin then gives its model away with a
probability of .94."""
SAME = 1e-4
"""Variance of margins that is added, that of differences in the odds of 1 %: smaller ones are no difference."""


def clipped_klom(margins: Margins, retrained: Margins) -> float:
    """Bounded Gaussian KLoM, in nats: mean over samples of min(KL(N(μ, σ²) ‖ N(μr, σr²)), 5).

    `margins` and `retrained` have the same number n of models, all of which are used: compare with the null of
    `permuted`, not with 0. Unlike `klom`, a few samples on which retrained models agree do not decide it.
    """
    ours, theirs = (numpy.clip(each, -FAR, FAR) for each in (margins, retrained))
    variance, variance_r = (each.var(0, ddof=1) + SAME for each in (ours, theirs))
    distance = (ours.mean(0) - theirs.mean(0)) ** 2
    kl = 0.5 * (numpy.log(variance_r / variance) + (variance + distance) / variance_r - 1)
    return float(numpy.minimum(kl, TOLD_APART).mean())


@dataclasses.dataclass(frozen=True)
class Permuted:
    """A measure over seeds, beside what it is where unlearned and retrained models are the same."""

    value: float
    null: float
    """Mean over permutations: the floor at this number of models."""
    p: float
    """One-sided; small where models are told apart better than the same ones would be."""
    p_holm: float | None = None
    """Adjusted over the report."""


def permuted(
    measure: Callable[[Margins, Margins], float],
    margins: Margins,
    retrained: Margins,
    draws: int = 999,
    seed: int = 0,
) -> Permuted | None:
    """Test a measure of two sets of n models each by exchanging the two models of a seed, or not, at random.

    Where unlearning equals retraining, every such exchange is as likely as the models as they are, so that
    p = (1 + exchanges whose value is as large) / (draws + 1) has its level at any n (Phipson and Smyth 2010,
    arXiv 1603.05766). `measure`: `clipped_klom` or `ulira`; larger is farther apart. None where it is not finite.

    Raises ValueError for numbers of models that differ.
    """
    if margins.shape != retrained.shape:
        raise ValueError(f"margins {margins.shape} and {retrained.shape}: a permutation needs as many of both")
    ours, theirs = (numpy.clip(each, -FAR, FAR) for each in (margins, retrained))
    value, drawn = measure(ours, theirs), [measure(*both) for both in exchanges(ours, theirs, draws, seed)]
    if not numpy.isfinite([value, *drawn]).all():
        return None
    return Permuted(value, float(numpy.mean(drawn)), (1 + sum(one >= value for one in drawn)) / (draws + 1))


def exchanges(
    margins: Margins, retrained: Margins, draws: int, seed: int = 0
) -> Iterator[tuple[Margins, Margins]]:
    """Yield both sets of models `draws` times, with the two models of each seed exchanged, or not, at random."""
    coins = numpy.random.default_rng(seed)
    for _ in range(draws):
        exchanged = coins.random(len(margins))[:, None] < 0.5
        yield numpy.where(exchanged, retrained, margins), numpy.where(exchanged, margins, retrained)


def usual_range(value: float, drawn: Float[numpy.ndarray, " draws"]) -> tuple[float, float]:
    """Return the 95 % range of a value and its exchanges: without a difference, at most 5 % of values are outside.

    The value is one of them, since no exchange is an exchange too: as in `permuted`, this keeps the level.
    """
    ordered = numpy.sort([value, *drawn])
    cut = math.floor(0.025 * len(ordered) + 1e-9)
    return float(ordered[cut]), float(ordered[-1 - cut])


@_quietly
def ulira(margins: Margins, retrained: Margins) -> float:
    """Return the accuracy of U-LiRA (Hayes et al. 2024, arXiv 2403.01218), sample by sample.

    A model is called unlearned where the Gaussian of the other unlearned models' margins gives its own margin a
    higher likelihood than that of the other retrained models'. The share of right calls over both kinds of model,
    all seeds and samples.
    """
    ratios = _log_ratio(margins, margins, retrained), _log_ratio(retrained, margins, retrained)
    if not all(numpy.isfinite(ratio).all() for ratio in ratios):
        return math.nan  # which no comparison below would show
    return float(numpy.mean([(ratios[0] > 0).mean(), (ratios[1] < 0).mean()]))


def _log_ratio(margins: Margins, unlearned: Margins, retrained: Margins) -> Margins:
    return _log_likelihood(margins, unlearned) - _log_likelihood(margins, retrained)


def _log_likelihood(margins: Margins, known: Margins) -> Margins:
    """Return the log density of every margin under the Gaussian of the known ones, without its own if known."""
    n, total, squares = len(known), known.sum(0), (known**2).sum(0)
    # a model must not be judged by a Gaussian that its own margin helped to fit
    if margins is known:
        n, total, squares = n - 1, total - known, squares - known**2
    mean = total / n
    variance = (squares - n * mean**2) / (n - 1)
    return -0.5 * (numpy.log(2 * math.pi * variance) + (margins - mean) ** 2 / variance)
