"""Attacks per sample over models: a second implementation by loops, scikit-learn, scipy, planted cases, levels."""

import math

import numpy
import pytest
import scipy.stats
import sklearn.metrics

from softtargets.report import attacks
from softtargets.report.attacks import Scores
from softtargets.report.endpoint import leave_one_out
from softtargets.report.seeds import exchanges, usual_range

MODELS, SAMPLES, POPULATION = 7, 5, 40


def drawn(seed: int, shift: float = 1.0, models: int = MODELS, samples: int = SAMPLES) -> tuple:
    """Return margins of unlearned and of retrained models, whose samples differ in mean and spread."""
    numbers = numpy.random.default_rng(seed)
    mean, spread = numbers.normal(2, 2, samples), numbers.uniform(0.5, 2, samples)
    unlearned, retrained = (numbers.normal(mean, spread, (models, samples)) for _ in range(2))
    return unlearned + shift, retrained


UNLEARNED, RETRAINED = drawn(0)
Z = drawn(1, 0.0, samples=POPULATION)


def test_lira_is_that_of_a_loop_over_models_and_samples():
    scores = attacks.lira(UNLEARNED, RETRAINED)
    for side, margins in (("unlearned", UNLEARNED), ("retrained", RETRAINED)):
        for i in range(MODELS):
            for x in range(SAMPLES):
                others = [[known[j, x] for j in range(MODELS) if j != i] for known in (UNLEARNED, RETRAINED)]
                log = [
                    scipy.stats.norm.logpdf(
                        margins[i, x], numpy.mean(known), math.sqrt(numpy.var(known, ddof=1) + 1e-4)
                    )
                    for known in others
                ]
                assert getattr(scores, side)[i, x] == pytest.approx(log[0] - log[1], abs=1e-9)


@pytest.mark.parametrize("online", [True, False])
def test_rmia_is_that_of_a_loop_over_models_samples_and_population(online):
    scores = attacks.rmia(UNLEARNED, RETRAINED, Z, online)
    p = lambda margin: 1 / (1 + math.exp(-margin))  # noqa: E731

    def usual(known: tuple, i: int, x: int) -> float:
        inside, outside = (numpy.mean([p(k[j, x]) for j in range(MODELS) if j != i]) for k in known)
        return (inside + outside) / 2 if online else ((1 + 0.3) * outside + (1 - 0.3)) / 2

    for at, side, margins in ((0, "unlearned", UNLEARNED), (1, "retrained", RETRAINED)):
        for i in range(MODELS):
            for x in range(SAMPLES):
                mine = p(margins[i, x]) / usual((UNLEARNED, RETRAINED), i, x)
                more = [mine / (p(Z[at][i, z]) / usual(Z, i, z)) > 1 for z in range(POPULATION)]
                assert getattr(scores, side)[i, x] == pytest.approx(numpy.mean(more), abs=1e-12)


def scored(seed: int, ties: bool) -> Scores:
    numbers = numpy.random.default_rng(seed)
    sides = [numbers.normal(shift, 1, (9, 4)) for shift in (1, 0)]
    return Scores(*(side.round() if ties else side for side in sides))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_roc_is_scikit_learns(seed, ties):
    scores = scored(seed, ties)
    truth = numpy.repeat([1, 0], 36)
    values = numpy.concatenate([scores.unlearned.ravel(), scores.retrained.ravel()])
    false, true, _ = sklearn.metrics.roc_curve(truth, values, drop_intermediate=False)
    for mine, theirs in zip(scores.roc, (false, true), strict=True):
        numpy.testing.assert_allclose(mine, theirs, atol=1e-12)
    assert scores.auc == pytest.approx(sklearn.metrics.roc_auc_score(truth, values), abs=1e-12)
    assert scores.balanced_accuracy == pytest.approx(((true + 1 - false) / 2).max(), abs=1e-12)
    for rate in (0.001, 0.01, 0.1, 1.0):
        assert scores.tpr(rate) == true[false <= rate].max()
    for x, value in enumerate(scores.by_sample()):
        pair = numpy.concatenate([scores.unlearned[:, x], scores.retrained[:, x]])
        assert value == pytest.approx(sklearn.metrics.roc_auc_score(numpy.repeat([1, 0], 9), pair), abs=1e-12)


def test_a_model_that_leaks_is_found_at_a_low_false_positive_rate():
    scores = attacks.lira(*drawn(2, shift=6.0, models=64, samples=50))
    assert scores.tpr(0.01) >= 0.5
    assert scores.auc > 0.9


@pytest.mark.parametrize("shift", [3.0, -3.0], ids=["knows too well", "knows too badly"])
def test_lira_finds_both_directions_and_rmia_one(shift):
    margins = drawn(3, shift, models=32)
    population = tuple(numpy.random.default_rng(4).normal(1, 1, (32, 100)) for _ in range(2))
    assert attacks.lira(*margins).auc > 0.8
    assert (attacks.rmia(*margins, population).auc > 0.55) == (shift > 0)


@pytest.mark.long
def test_equal_models_are_told_apart_as_often_as_the_level_says():
    """400 studies without a difference: the share that is significant lies within the binomial interval of 5 %.

    Of another retraining's values, 95 % lie within their own 95 % null.
    """
    significant = inside = 0
    for seed in range(400):
        margins = drawn(seed, 0.0, 8, 6)
        value = attacks.lira(*margins).auc
        null = numpy.array([attacks.lira(*both).auc for both in exchanges(*margins, 39, seed)])
        low, high = usual_range(value, null)
        inside += low <= value <= high
        significant += (1 + (null >= value).sum()) / 40 <= 0.05
    for share, found in ((0.05, significant), (0.95, inside)):
        low, high = scipy.stats.binom.interval(0.999, 400, share)
        assert low <= found <= high


def test_an_epsilon_that_counts_samples_as_models_is_caught():
    """The samples of a model are not independent: counted as trials, they claim more than ε in far over 5 %."""
    numbers, kept, samples = numpy.random.default_rng(0), math.e / (1 + math.e), 20
    right = wrong = 0
    for _ in range(200):
        sides = [numpy.where(numbers.random((64, 1)) < rate, 1.0, -1.0) for rate in (kept, 1 - kept)]
        right += attacks.epsilon_bound(Scores(*sides)) > 1.0
        # each of a model's samples says what the model says, and is a row of its own
        wrong += attacks.epsilon_bound(Scores(*(numpy.repeat(side, samples, axis=0) for side in sides))) > 1.0
    most = scipy.stats.binom.ppf(0.999, 200, 0.05)
    assert right <= most < wrong


@pytest.mark.parametrize(("claimed", "caught"), [(0.5, True), (2.0, False)])
def test_a_promise_of_too_small_an_epsilon_is_caught_by_64_models(claimed, caught):
    """The mechanism has ε = 2: a promise of 0.5 is refuted in nearly every audit, one of 2 in no more than 5 %."""
    numbers, kept = numpy.random.default_rng(1), 1 / (1 + math.exp(-2.0))
    refuted = 0
    for _ in range(200):
        sides = [numpy.where(numbers.random((64, 1)) < rate, 1.0, -1.0) for rate in (kept, 1 - kept)]
        refuted += attacks.epsilon_bound(Scores(*sides)) > claimed
    assert refuted >= 180 if caught else refuted <= scipy.stats.binom.ppf(0.999, 200, 0.05)


@pytest.mark.long
def test_intervals_hold_what_they_are_about_as_often_as_95_percent_promises():
    numbers, models, samples, studies = numpy.random.default_rng(0), 12, 40, 200
    leaking, found = numpy.abs(numbers.normal(1, 0.7, samples)), []
    for _ in range(studies):
        sides = [numbers.normal(numbers.normal(0, 0.5, (models, 1)), 1, (models, samples)) for _ in range(2)]
        both = numpy.stack([sides[0] + leaking, sides[1]])
        without = [attacks.lira(*numpy.delete(both, seed, axis=1)).auc for seed in range(models)]
        found.append(leave_one_out(attacks.lira(*both).auc, numpy.array(without)))
    truth = numpy.mean([one.mean for one in found])
    held = sum(low <= truth <= high for low, high in (one.interval() for one in found))
    assert held >= scipy.stats.binom.ppf(0.001, studies, 0.95)


@pytest.mark.parametrize(("true", "false"), [(64, 0), (40, 3), (3, 40), (32, 32), (0, 0), (64, 64)])
def test_the_bound_on_epsilon_is_that_of_scipys_exact_intervals(true, false):
    sides = [numpy.where(numpy.arange(64) < hits, 1.0, -1.0)[:, None] for hits in (true, false)]
    rates = [
        scipy.stats.binomtest(hits, 64).proportion_ci(confidence_level=0.95, method="exact")
        for hits in (true, false)
    ]
    least, most = rates[0].low, rates[1].high
    expected = max(0.0, math.log(least / most) if least else 0.0, math.log(max(1 - most, 1e-300) / (1 - least)))
    assert attacks.epsilon_bound(Scores(*sides)) == pytest.approx(expected, abs=1e-9)
    assert attacks.epsilon_bound(Scores(*sides)) <= attacks.largest_bound(64) + 1e-9


def test_an_attack_without_an_error_shows_the_largest_bound():
    sides = numpy.ones((64, 3)), -numpy.ones((64, 3))
    assert attacks.epsilon_bound(Scores(*sides)) == pytest.approx(attacks.largest_bound(64), abs=1e-9)
    assert 2.8 < attacks.largest_bound(64) < 2.9


def test_the_bound_holds_for_a_mechanism_with_a_known_epsilon():
    """Randomised response with ε = 1: of 400 audits at 95 %, no more claim a larger ε than 5 % allow."""
    numbers, kept = numpy.random.default_rng(0), math.e / (1 + math.e)
    wrong = 0
    for _ in range(400):
        sides = [numpy.where(numbers.random((64, 1)) < rate, 1.0, -1.0) for rate in (kept, 1 - kept)]
        wrong += attacks.epsilon_bound(Scores(*sides)) > 1.0
    assert wrong <= scipy.stats.binom.ppf(0.999, 400, 0.05)


@pytest.mark.parametrize(("tpr", "fpr"), [(0.05, 0.01), (0.5, 0.01), (0.2, 0.1)])
def test_fewer_models_than_needed_do_not_show_it(tpr, fpr):
    n = attacks.models_needed(tpr, fpr)
    for models, shows in ((n, True), (n - 1, False)):
        hits = math.floor(models * tpr + 1e-9)
        assert (scipy.stats.binomtest(hits, models, fpr, "greater").pvalue <= 0.05) == shows


@pytest.mark.parametrize(("models", "fpr"), [(64, 0.01), (12, 0.01), (10, 0.1), (200, 0.001)])
def test_the_least_rate_that_is_shown_is_the_first_that_is_significant(models, fpr):
    hits = round(models * attacks.least_shown(models, fpr))
    p = [scipy.stats.binomtest(each, models, fpr, "greater").pvalue for each in (hits - 1, hits)]
    assert p[1] <= 0.05 < p[0]


def epsilon_by_loops(ours, theirs, delta: float = 1e-5) -> float:
    narrow, wide = sorted((ours, theirs), key=numpy.ptp)
    low, high = sorted((ours, theirs), key=numpy.median)
    best, values, rates = 0.0, sorted({*ours, *theirs}), []
    for t in values:
        rates.append((sum(v < t for v in high) / len(high), sum(v >= t for v in low) / len(low)))
        for s in values:
            if s >= t:
                misses = sum(not t <= v <= s for v in narrow) / len(narrow)
                rates.append((misses, sum(t <= v <= s for v in wide) / len(wide)))
    for fnr, fpr in rates:
        if fnr == fpr == 0:
            return math.inf
        if fnr and fpr:
            for a, b in ((fnr, fpr), (fpr, fnr)):
                best = max(best, math.log(1 - delta - a) - math.log(b) if 1 - delta > a else 0.0)
    return best


@pytest.mark.parametrize("shift", [0.0, 1.0, 20.0])
def test_epsilon_of_a_sample_is_the_best_of_all_rules(shift):
    margins = drawn(6, shift)
    expected = [epsilon_by_loops(*pair) for pair in zip(margins[0].T, margins[1].T, strict=True)]
    numpy.testing.assert_allclose(attacks.sample_epsilons(*margins), expected, atol=1e-12)


def test_a_sample_on_which_one_kind_of_model_agrees_is_told_apart():
    unlearned = numpy.full((8, 1), 3.0) + numpy.linspace(0, 1e-4, 8)[:, None]
    assert attacks.sample_epsilons(unlearned, numpy.linspace(0, 6, 8)[:, None]) == [math.inf]


def test_points_of_the_forgetting_score(monkeypatch):
    """With 64 models buckets end at ceil(log 63) = 5: ten of them."""
    epsilons = numpy.array([0.0, 0.49, 0.5, 1.2, 4.99, 5.0, math.inf])
    monkeypatch.setattr(attacks, "sample_epsilons", lambda *margins: epsilons)
    points = [1, 1, 1 / 2, 1 / 4, 2**-9, 0, 0]
    assert attacks.forgetting_score(numpy.zeros((64, 7)), numpy.zeros((64, 7))) == pytest.approx(
        numpy.mean(points)
    )


def test_binned_klom_is_scipys_entropy_of_histograms():
    values = []
    for ours, theirs in zip(UNLEARNED.T, RETRAINED.T, strict=True):
        edges = numpy.linspace(min(ours.min(), theirs.min()), max(ours.max(), theirs.max()), 21)
        p, q = (numpy.histogram(each, edges)[0] / MODELS + 1e-5 for each in (ours, theirs))
        values.append(scipy.stats.entropy(p, q))
    assert attacks.binned_klom(UNLEARNED, RETRAINED) == pytest.approx(numpy.mean(values), abs=1e-9)
