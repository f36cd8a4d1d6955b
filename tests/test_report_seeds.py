"""Comparisons over seeds against closed forms, and against loops that spell them out."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from softtargets.report.seeds import clipped_klom, klom, permuted, ulira


def margins(seeds: int, samples: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return shift + scale * np.random.default_rng(seed).normal(size=(seeds, samples))


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1.0, 1.0), (0.5, 2.0)])
def test_klom_of_many_seeds_is_the_divergence_of_the_gaussians(shift, scale):
    expected = 0.5 * (-2 * math.log(scale) + scale**2 + shift**2 - 1)
    found = klom(margins(4000, 20, 1, shift, scale), margins(4000, 20, 2))
    assert found == pytest.approx(expected, abs=0.03)


def test_the_floor_of_klom_falls_with_the_seeds():
    floors = [klom(each, each) for each in (margins(n, 500, 0) for n in (10, 30, 200))]
    assert floors == sorted(floors, reverse=True)
    # 15 against 15 seeds: E KL = ½ (E log s_r²/s² + E[(s² + Δ²) / s_r²] - 1), E 1/s_r² = 14/12, E Δ² = 2/15
    assert floors[1] == pytest.approx(0.5 * ((1 + 2 / 15) * 14 / 12 - 1), rel=0.1)


def test_klom_leaves_no_seed_against_itself():
    same = np.repeat(margins(2, 5, 0), 10, axis=0) + 1e-3 * margins(20, 5, 1)  # two clusters, one in each half
    assert klom(same, same) > 1e3


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_ulira_of_two_gaussians_is_known(shift):
    """The best test of two unit Gaussians a distance d apart is right with a probability of Φ(d / 2)."""
    found = ulira(margins(400, 50, 1, shift), margins(400, 50, 2))
    assert found == pytest.approx(norm.cdf(shift / 2), abs=0.02)


def test_ulira_never_asks_about_what_it_learnt():
    one, other = margins(6, 3, 1), margins(6, 3, 2, 0.5)
    right = []
    for known, unknown in ((one, other), (other, one)):
        for seed in range(6):
            rest = np.delete(known, seed, axis=0)
            own = norm.logpdf(known[seed], rest.mean(0), rest.std(0, ddof=1))
            foreign = norm.logpdf(known[seed], unknown.mean(0), unknown.std(0, ddof=1))
            right.append(own > foreign)
    assert ulira(one, other) == np.mean(right)


def test_ulira_of_the_same_models_is_a_coin():
    assert ulira(margins(30, 2000, 1), margins(30, 2000, 2)) == pytest.approx(0.5, abs=0.01)


def test_clipped_klom_of_many_seeds_is_the_divergence_of_the_gaussians_up_to_its_bound():
    one = np.concatenate([margins(4000, 20, 1, 0.5, 2.0), margins(4000, 20, 3, 15.0)], axis=1)
    kl = 0.5 * (-2 * math.log(2) + 4 + 0.25 - 1)
    assert clipped_klom(one, margins(4000, 40, 2)) == pytest.approx((kl + 5) / 2, abs=0.03)


@pytest.mark.parametrize("value", [math.inf, -math.inf, 40.0])
def test_margins_that_float32_does_not_resolve_are_the_same(value):
    same = np.full((10, 3), value)
    assert clipped_klom(same, same) == 0.0
    assert clipped_klom(same, np.full((10, 3), math.copysign(21.0, value))) == 0.0


@pytest.mark.parametrize("measure", [clipped_klom, ulira])
def test_permutations_find_a_shift_and_no_other(measure):
    one, other = margins(10, 30, 3), margins(10, 30, 4)
    same, shifted = (permuted(measure, each, other, draws=99) for each in (one, one + 2))
    assert same.p > 0.05
    assert shifted.p == 1 / 100
    assert shifted.value > shifted.null
    assert permuted(measure, one, other, draws=99) == same


def test_permutations_are_the_exchanges_of_a_seeds_models_by_hand():
    """Two seeds have four exchanges; by a difference of means these give 2, 0, 0 and -2."""
    found = permuted(lambda one, other: (one - other).mean(), np.full((2, 1), 3.0), np.full((2, 1), 1.0), 4000)
    assert found.value == 2
    assert found.null == pytest.approx(0, abs=0.1)
    assert found.p == pytest.approx(1 / 4, abs=0.02)


def test_permutations_need_as_many_models_of_both_and_finite_values():
    with pytest.raises(ValueError, match="as many"):
        permuted(ulira, margins(5, 3, 1), margins(6, 3, 1))
    assert permuted(ulira, np.ones((10, 3)), np.ones((10, 3)), draws=9) is None
