"""Comparisons over seeds against closed forms, and against loops that spell them out."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from softtargets.report.seeds import klom, ulira


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
