"""Attacks per sample over models: does a model's margin on a sample tell whether it was trained on it?

All take margins φ = log p_y - log(1 - p_y) of n unlearned and n retrained models, one row a seed and one column a
sample of a forget set that all share. A model is judged by the other seeds' models alone.
"""

import dataclasses
import functools
import math

import numpy
import scipy.special
import scipy.stats
from jaxtyping import Float, Int

from softtargets.report.seeds import FAR, SAME, Margins

Margin = Float[numpy.ndarray, " _"]
Counts = Int[numpy.ndarray, " _"]
Population = Float[numpy.ndarray, "_ population"]
OFFLINE = 0.3
"""a of RMIA."""
BUCKET = 0.5
"""Width of a bucket of ε in the forgetting score."""
DELTA = 1e-5
"""δ of the forgetting score."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """What an attack gives every model on every sample; larger for a model that was trained on the sample."""

    unlearned: Margins
    retrained: Margins

    @property
    def auc(self) -> float:
        """Return the area under the ROC curve, over all models and samples; ties count half."""
        ours, theirs = self.unlearned.ravel(), self.retrained.ravel()
        ranks = scipy.stats.rankdata(numpy.concatenate([ours, theirs]))[: ours.size].sum()
        return float((ranks - ours.size * (ours.size + 1) / 2) / (ours.size * theirs.size))

    @functools.cached_property
    def roc(self) -> tuple[Float[numpy.ndarray, " points"], Float[numpy.ndarray, " points"]]:
        """Return false and true positive rates, from (0, 0) to (1, 1), a point for each different score."""
        thresholds = numpy.unique(numpy.concatenate([self.unlearned.ravel(), self.retrained.ravel()]))[::-1]
        rates = []
        for scores in (self.retrained, self.unlearned):
            at_least = scores.size - numpy.searchsorted(numpy.sort(scores.ravel()), thresholds, side="left")
            rates.append(numpy.concatenate([[0.0], at_least / scores.size]))
        return rates[0], rates[1]

    def tpr(self, fpr: float) -> float:
        """Return the largest true positive rate of a threshold whose false positive rate is at most `fpr`."""
        theirs = self.retrained.ravel()
        wrong = math.floor(fpr * theirs.size + 1e-9)
        if wrong >= theirs.size:
            return 1.0
        # the threshold is just above the first score that would be one false alarm too many
        last = numpy.partition(theirs, theirs.size - wrong - 1)[theirs.size - wrong - 1]
        return float((self.unlearned > last).mean())

    @property
    def balanced_accuracy(self) -> float:
        """Return the accuracy at the best threshold, with as many unlearned as retrained models."""
        false, true = self.roc
        return float((true + 1 - false).max() / 2)

    def by_sample(self) -> Float[numpy.ndarray, " samples"]:
        """Return the area under the ROC curve of each sample over models: which samples leak."""
        pairs = zip(self.unlearned.T[:, :, None], self.retrained.T[:, None, :], strict=True)
        return numpy.array([((ours > theirs) + (ours == theirs) / 2).mean() for ours, theirs in pairs])


def lira(unlearned: Margins, retrained: Margins) -> Scores:
    """Attack by likelihood ratios: U-LiRA (Hayes et al. 2024, arXiv 2403.01218, algorithm 1).

    log N(φ; μu, σu²) - log N(φ; μr, σr²), Gaussians of the sample's margins by all other seeds' models.
    Margins are clipped to ± 20, and 1e-4 is added to variances: below that, float32 resolves no difference.
    """
    ours, theirs = (numpy.clip(margins, -FAR, FAR) for margins in (unlearned, retrained))
    gaussians = [_others_gaussian(margins) for margins in (ours, theirs)]

    def ratio(margins: Margins) -> Margins:
        densities = [
            -numpy.log(variance) / 2 - (margins - mean) ** 2 / (2 * variance) for mean, variance in gaussians
        ]
        return densities[0] - densities[1]

    return Scores(ratio(ours), ratio(theirs))


def _others_gaussian(margins: Margins) -> tuple[Margins, Margins]:
    """Return, for each seed, mean and variance of the margins of all other seeds."""
    count = len(margins) - 1
    mean = (margins.sum(0) - margins) / count
    squares = ((margins - margins.mean(0)) ** 2).sum(0)
    # leaving one of n out takes n / (n - 1) times its squared distance from the mean of all
    left = squares - (margins - margins.mean(0)) ** 2 * (count + 1) / count
    return mean, numpy.maximum(left, 0.0) / (count - 1) + SAME


def rmia(
    unlearned: Margins, retrained: Margins, population: tuple[Population, Population], online: bool = True
) -> Scores:
    """Attack by relative likelihoods: RMIA (Zarifzadeh et al. 2024, arXiv 2312.03262, equations 3 and 10).

    The share of samples z that nobody was trained on with [p(x|θ) / p(x)] / [p(z|θ) / p(z)] > γ = 1, as in the
    authors' code; p(x|θ) is the probability of x's label. `population`: margins on the z of unlearned and of
    retrained models, (n, z) each. p is the mean of all other seeds' models; offline, where the attacker has
    retrained models alone, ((1 + a) p_out + 1 - a) / 2 with a = 0.3. It finds models that know a sample too well,
    and not those that know it worse than a retrained one; `lira` finds both.
    """
    at_x, at_z = ([scipy.special.expit(each) for each in pair] for pair in ((unlearned, retrained), population))
    usual_x, usual_z = (_usual(probs, online) for probs in (at_x, at_z))

    def scores(side: int) -> Margins:
        known, others = at_x[side] / usual_x, numpy.sort(at_z[side] / usual_z, axis=1)
        return numpy.stack(
            [
                numpy.searchsorted(row, ratios, side="left") / len(row)
                for row, ratios in zip(others, known, strict=True)
            ]
        )

    return Scores(scores(0), scores(1))


def _usual(probs: list[numpy.ndarray], online: bool) -> numpy.ndarray:
    """Return what the probability of a label usually is, by the models of all other seeds."""
    inside, outside = (_others_mean(each) for each in probs)
    return (inside + outside) / 2 if online else ((1 + OFFLINE) * outside + 1 - OFFLINE) / 2


def _others_mean(probs: Float[numpy.ndarray, "_ some"]) -> Float[numpy.ndarray, "_ some"]:
    return (probs.sum(0) - probs) / (len(probs) - 1)


def epsilon_bound(scores: Scores, delta: float = 0.0, confidence: float = 0.95) -> float:
    """Return a lower bound on ε of (ε, δ)-unlearning, at this confidence; 0 shows nothing.

    The trial is a model, since the samples of one are not independent: it is called unlearned where its mean score
    over samples is above 0, a threshold that no model has chosen. The bound is log((TPR - δ) / FPR), or the same
    with the two kinds of model exchanged, TPR bounded from below and FPR from above (Clopper and Pearson 1934),
    each at half of the error that is allowed.
    """
    n = len(scores.unlearned)
    true, false = (int((side.mean(1) > 0).sum()) for side in (scores.unlearned, scores.retrained))
    each = (1 - confidence) / 2
    least = scipy.stats.beta.ppf(each, true, n - true + 1) if true else 0.0
    most = scipy.stats.beta.ppf(1 - each, false + 1, n - false) if false < n else 1.0
    ratios = [(least - delta) / most, (1 - most - delta) / (1 - least)]
    return max(0.0, math.log(max(*ratios, 1.0)))


def largest_bound(models: int, confidence: float = 0.95) -> float:
    """Return the largest ε that an attack without an error shows with so many unlearned and retrained models.

    >>> round(largest_bound(64), 1)
    2.8
    """
    least = ((1 - confidence) / 2) ** (1 / models)
    return math.log(least / (1 - least))


def models_needed(tpr: float, fpr: float, level: float = 0.05) -> int:
    """Return how many models show that a true positive rate is above `fpr`: one-sided, by the binomial law.

    The least number at which the expected number of true positives would be this rare at a rate of `fpr`.

    >>> models_needed(0.05, 0.01)
    60
    """
    n = math.ceil(1 / tpr)
    while scipy.stats.binom.sf(math.floor(n * tpr + 1e-9) - 1, n, fpr) > level:
        n += 1
    return n


def least_shown(models: int, fpr: float, level: float = 0.05) -> float:
    """Return the least true positive rate that so many models show to be above `fpr`, as `models_needed` counts.

    >>> round(least_shown(64, 0.01), 3)
    0.047
    """
    return (float(scipy.stats.binom.isf(level, models, fpr)) + 1) / models


def can_show(models: int) -> str:
    """Say what so many models of each kind can show, whatever they do.

    >>> can_show(64)[:56]
    '64 models a side can show, on one sample, a true positiv'
    """
    least = 100 * least_shown(models, 0.01)
    return (
        f"{models} models a side can show, on one sample, a true positive rate of {least:.1f} % or more at a "
        f"false positive rate of 1 % (5 % needs {models_needed(0.05, 0.01)} models), and a lower bound on ε of "
        f"{largest_bound(models):.1f} at most."
    )


def binned_klom(margins: Margins, retrained: Margins, bins: int = 20, least: float = 1e-5) -> float:
    """Return KLoM by histograms, in nats (Georgiev et al. 2024, arXiv 2410.23232): mean over samples.

    Margins are clipped to ± 100; each sample's bins are of equal width from its least margin to its largest, and
    `least` is added to every share. Its value for equal models is far from 0 at usual n: read it beside the same
    between retrained models.
    """
    return float(numpy.mean([_binned(*pair, bins, least) for pair in zip(margins.T, retrained.T, strict=True)]))


def _binned(ours: Margin, theirs: Margin, bins: int, least: float) -> float:
    ours, theirs = (numpy.clip(each, -100.0, 100.0) for each in (ours, theirs))
    ends = (min(ours.min(), theirs.min()), max(ours.max(), theirs.max()))
    shares = [numpy.histogram(each, bins, ends)[0] / len(each) + least for each in (ours, theirs)]
    p, q = (share / share.sum() for share in shares)
    return float((p * numpy.log(p / q)).sum())


def forgetting_score(unlearned: Margins, retrained: Margins) -> float:
    """Return the mean number of points of all samples, 1 (not to be told apart) down to 0.

    F of the NeurIPS 2023 unlearning challenge (Triantafillou et al. 2024, arXiv 2406.09073): a sample whose
    `sample_epsilons` is in the bucket k, from k/2 to (k+1)/2, has 2^-k points, and none from ⌈log(n - 1)⌉ on,
    which n models cannot show.
    """
    epsilons = sample_epsilons(unlearned, retrained)
    buckets = numpy.floor(epsilons / BUCKET)
    shown = BUCKET * (buckets + 1) <= math.ceil(math.log(len(unlearned) - 1))
    return float(numpy.where(shown, 0.5**buckets, 0.0).mean())


def sample_epsilons(unlearned: Margins, retrained: Margins) -> Float[numpy.ndarray, " samples"]:
    """Return ε of each sample by the best of many decision rules, infinite where one tells all models apart.

    Every threshold, and every interval for the narrower of the two distributions, at the margins themselves (the
    authors' code lays a grid of steps of .01 over them). ε = max(log(1 - δ - FPR) - log FNR,
    log(1 - δ - FNR) - log FPR), of rules with neither rate 0: a rate of 0 says that models are too few. Infinite
    too where one distribution is a hundred times as narrow as the other. Both have the same number of models.
    """
    epsilons, ends = _epsilons(len(unlearned)), numpy.triu_indices(2 * len(unlearned))
    pairs = zip(unlearned.T, retrained.T, strict=True)
    return numpy.array([_sample_epsilon(*pair, epsilons, ends) for pair in pairs])


def _sample_epsilon(
    ours: Margin, theirs: Margin, epsilons: numpy.ndarray, ends: tuple[numpy.ndarray, ...]
) -> float:
    narrow, wide = sorted((ours, theirs), key=numpy.ptp)
    if numpy.ptp(narrow) < 0.01 * numpy.ptp(wide):
        return math.inf
    low, high = sorted((ours, theirs), key=numpy.median)
    values, models = numpy.sort(numpy.concatenate([ours, theirs])), len(ours)
    # of the higher distribution a threshold misses what is below, of the narrow one an interval what is outside
    misses = numpy.concatenate([_below(high, values), models - _between(narrow, values, ends)])
    alarms = numpy.concatenate([models - _below(low, values), _between(wide, values, ends)])
    return float(epsilons[misses, alarms].max())


def _below(margins: Margin, values: Margin) -> Counts:
    return numpy.searchsorted(numpy.sort(margins), values, side="left")


def _between(margins: Margin, values: Margin, ends: tuple[numpy.ndarray, ...]) -> Counts:
    """Count the margins from the value `first` to the value `last`, for all pairs of `ends`."""
    up_to, (first, last) = numpy.searchsorted(numpy.sort(margins), values, side="right"), ends
    return up_to[last] - _below(margins, values)[first]


def _epsilons(models: int) -> numpy.ndarray:
    """Return ε by the numbers of misses and of false alarms: infinite without any, 0 where one of them is 0."""
    fnr, fpr = numpy.meshgrid(*2 * (numpy.arange(1, models + 1) / models,), indexing="ij")
    with numpy.errstate(divide="ignore", invalid="ignore"):
        both = [numpy.log(1 - DELTA - fpr) - numpy.log(fnr), numpy.log(1 - DELTA - fnr) - numpy.log(fpr)]
    table = numpy.zeros((models + 1, models + 1))
    table[1:, 1:] = numpy.fmax(0.0, numpy.fmax(*both))
    table[0, 0] = math.inf
    return table
