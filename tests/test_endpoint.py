"""The primary endpoint against scipy and closed forms, and the levels of its tests by simulation."""

import itertools
import math

import levels
import numpy as np
import pytest
from scipy import stats

from softtargets.report.endpoint import (
    Difference,
    break_even,
    cautious_gap_difference,
    failing,
    gap_difference,
    in_sequence,
    jackknife,
    log_distances,
    margin,
    mean_difference,
    passes_gate,
    primary,
    sign_test,
)
from softtargets.report.statistics import Error, crossed


def column(seed: int, mean: float = 0.0, sd: float = 1.0, n: int = 25) -> np.ndarray:
    """Values whose sample mean and standard deviation are exactly these."""
    values = np.random.default_rng(seed).normal(size=n)
    return mean + sd * (values - values.mean()) / values.std(ddof=1)


def test_a_mean_difference_is_the_paired_t_test_of_scipy():
    one, other = column(0, 0.3), column(1)
    found, peer = mean_difference(one, other), stats.ttest_rel(one, other)
    assert found.p == pytest.approx(peer.pvalue, rel=1e-9)
    assert (found.lower(0.025), found.upper(0.025)) == pytest.approx(tuple(peer.confidence_interval()))
    assert found.below(0.2) == pytest.approx(stats.ttest_rel(one, other + 0.2, alternative="less").pvalue)
    assert found.above(-0.1) == pytest.approx(stats.ttest_rel(one, other - 0.1, alternative="greater").pvalue)
    assert found.within(0.4) == max(found.below(0.4), found.above(-0.4))


def test_pairs_that_all_say_the_same_have_no_error():
    same = mean_difference(np.full(5, 2.0), np.full(5, 1.0))
    assert (same.p, same.below(1.5), same.below(1.0), same.upper()) == (0.0, 0.0, 0.5, 1.0)
    assert mean_difference(np.ones(5), np.ones(5)).p == 1.0


def test_a_crossed_design_has_its_own_error():
    cells = np.array(list(itertools.product(range(5), range(5))))
    one, other = column(0), column(1)
    assert mean_difference(one, other, cells).error == crossed(one - other, cells)
    found, expected = jackknife(lambda a: a.mean(), one, cells=cells).error, crossed(one, cells)
    assert (found.se, found.df) == pytest.approx((expected.se, expected.df))


def test_the_jackknife_by_its_formula():
    values, n = column(3, 2.0), 25
    found = jackknife(lambda a: a.mean() ** 2, values)
    left = np.array([np.delete(values, i).mean() ** 2 for i in range(n)])
    assert found.mean == values.mean() ** 2
    assert found.error.se == pytest.approx(math.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))
    assert found.error.df == n - 1


def test_gaps_far_from_zero_differ_as_their_signed_means_do():
    one, other = column(0, 8.0), column(1, -9.0)
    found, peer = gap_difference(one, other), stats.ttest_rel(one, -other)
    assert found.mean == pytest.approx(-1.0)
    assert found.p == pytest.approx(peer.pvalue, rel=1e-6)


def test_signs_cancel_in_a_gap_before_its_size_is_taken():
    assert gap_difference(column(0, 0.0, 5.0), column(1, 0.2, 0.01)).mean == pytest.approx(-0.2)


def test_a_gap_that_may_be_zero_is_no_bar_to_pass_under():
    one, near, far = column(0, 0.5), column(1, 0.1), column(1, 0.9)  # standard errors are .2
    assert cautious_gap_difference(one, near).mean == pytest.approx(0.5)
    assert cautious_gap_difference(one, far).mean == pytest.approx(0.5 - math.sqrt(0.9**2 - 0.2**2))
    assert cautious_gap_difference(one, far).error == gap_difference(one, far).error


def test_lost_runs_lose_their_sign():
    one = np.array([1.0, 1.0, 1.0, math.inf, math.inf, 2.0, 1.0, 1.0])
    other = np.array([2.0, 2.0, math.inf, 5.0, math.inf, 2.0, 2.0, 2.0])
    found = sign_test(one, other)
    assert (found.wins, found.losses, found.ties) == (5, 1, 2)
    assert found.p == pytest.approx(2 * (1 + 6) / 2**6)  # 0 or 1 of 6, on either side
    assert sign_test(one, one).p == 1.0


def test_a_margin_is_a_tenth_of_the_way_from_the_floor_to_nothing():
    assert margin(0.046, 0.006) == pytest.approx(0.004)
    assert margin(0.5, 0.6) == 0.0


MARGINS = {"disagreement": 0.1, "mia_gap": 0.1}


def arm(js_t: float, disagreement: float = 0.0, gap: float = 1.0, seed: int = 0, sd: float = 0.1) -> dict:
    means = {"js_t": js_t, "disagreement": disagreement, "mia_gap": gap}
    return {name: column(seed + i, mean, sd) for i, (name, mean) in enumerate(means.items())}


BOUND = stats.t.isf(0.05, 24) / 5
"""Of a mean of 25 pairs, in standard deviations of their differences."""


@pytest.mark.parametrize(
    ("other", "ahead", "closer", "disagreement", "mia_gap"),
    [
        ({}, "one", "one", "confirms", "confirms"),
        ({"js_t": 0.0001}, "one", None, "confirms", "confirms"),
        ({"js_t": -1.0}, "other", "other", "confirms", "confirms"),
        ({"disagreement": -0.09}, "one", None, "contradicts", "confirms"),
        ({"disagreement": -0.04, "sd": 0.3}, "one", None, "unconfirmed", "unconfirmed"),
        ({"gap": -1.0}, "one", "one", "confirms", "confirms"),  # a size, whatever its sign
        ({"gap": 0.5}, "one", None, "confirms", "contradicts"),
        ({"js_t": -1.0, "gap": 1.5}, "other", None, "confirms", "contradicts"),
    ],
)
def test_the_primary_rule_by_planted_cases(other, ahead, closer, disagreement, mia_gap):
    found = primary(arm(0.0), arm(**{"js_t": 1.0, "seed": 10} | other), MARGINS)
    assert (found.ahead, found.closer, found.pairs) == (ahead, closer, 25)
    assert {name: face.status for name, face in found.faces.items()} == {
        "disagreement": disagreement,
        "mia_gap": mia_gap,
    }


def test_the_bound_of_the_primary_rule_stands_at_the_margin():
    shift = 0.1 - BOUND * (column(1, sd=0.1) - column(11, sd=0.1)).std(ddof=1)
    for more, closer in ((-1e-6, "one"), (1e-6, None)):
        other = arm(1.0, disagreement=-shift - more, seed=10)
        assert primary(arm(0.0), other, MARGINS).closer == closer


def test_equal_arms_have_none_ahead():
    found = primary(arm(0.0), arm(0.0), MARGINS)
    assert (found.ahead, found.closer, found.faces, found.signs.ties) == (None, None, {}, 25)


@pytest.mark.parametrize(("lost", "closer"), [(0, "one"), (12, "one"), (13, None), (21, None)])
def test_who_loses_most_pairs_is_not_closer(lost, closer):
    one = arm(0.0)
    one["js_t"][:lost] = math.inf
    found = primary(one, arm(1.0, seed=10), MARGINS)
    assert (found.closer, found.pairs, found.signs.losses) == (closer, 25 - lost, lost)


def test_below_five_pairs_no_arm_is_closer():
    one, other = ({name: values[:4] for name, values in side.items()} for side in (arm(0.0), arm(9.0, seed=10)))
    found = primary(one, other, MARGINS)
    assert (found.ahead, found.closer) == ("one", None)
    assert found.js_t.p < 0.001


def test_a_crossed_design_with_lost_pairs_is_refused():
    one = arm(0.0)
    one["js_t"][0] = math.inf
    cells = np.array(list(itertools.product(range(5), range(5))))
    with pytest.raises(ValueError, match="lost pairs"):
        primary(one, arm(1.0), MARGINS, cells)


@pytest.mark.parametrize(
    ("shown", "claimed"),
    [
        ({}, []),
        ({0.1: True, 0.02: True, 0.2: True}, []),
        ({0.05: True, 0.1: True, 0.02: False, 0.2: True}, [0.05, 0.1]),
        ({0.05: True, 0.1: True, 0.2: True}, [0.05, 0.1]),
        ({0.05: True, 0.1: True, 0.02: True, 0.2: True}, [0.05, 0.1, 0.02, 0.2]),
    ],
)
def test_costs_are_claimed_in_their_sequence(shown, claimed):
    assert [cost for cost, yes in in_sequence(shown).items() if yes] == claimed


def upper(bound: float) -> Difference:
    """A difference whose upper bound is this."""
    return Difference(bound - stats.t.isf(0.05, 24), Error(1.0, 24.0))


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({0.05: 0.9, 0.1: 0.4, 0.2: 0.2, 0.5: -0.1}, 0.1),
        ({0.05: 0.4, 0.1: 0.9, 0.2: 0.2}, 0.2),  # the luck of .05 is no b*
        ({0.05: 0.9, 0.2: 0.6}, None),
        ({}, None),
    ],
)
def test_retraining_is_the_answer_from_the_least_cost_on(bounds, expected):
    assert break_even({cost: upper(bound) for cost, bound in bounds.items()}, 0.5) == expected


def test_a_cost_whose_run_diverged_is_not_within_the_margin_of_the_floor():
    assert break_even({0.1: upper(0.2), 0.2: None}, 0.5) is None
    assert break_even({0.1: None, 0.2: upper(0.2)}, 0.5) == 0.2


@pytest.mark.parametrize(("nothing", "floor", "allowed"), [(0.5, 0.1, 0.04), (0.5, None, 0.05), (0.1, 0.5, 0)])
def test_the_margin_of_a_face_by_hand(nothing, floor, allowed):
    assert margin(nothing, floor) == pytest.approx(allowed)


def test_distances_of_whole_classes_are_logarithms_over_the_floor():
    floors = np.exp(column(0, -4.0, 0.1))
    assert log_distances(2 * floors, floors) == pytest.approx(np.full(25, math.log(2)))
    with pytest.raises(ValueError, match="above 0"):
        log_distances(np.array([0.0]), 1.0)


def test_an_arm_fails_unless_holm_shows_it_within_the_margin_of_nothing():
    family = [Difference(1 - stats.t.isf(p, 24), Error(1.0, 24.0)) for p in (0.01, 0.02, 0.04, 0.9)]
    assert failing(family, [1.0] * 4) == [False, True, True, True]  # .04, .06, .08, .9
    assert failing(family[2:3], [1.0]) == [False]


@pytest.mark.parametrize(
    ("accuracy", "js_test", "passed"),
    [(-0.009, 0.1, True), (-0.011, 0.1, False), (-0.009, 0.11, False)],
)
def test_the_utility_gate_at_its_edges(accuracy, js_test, passed):
    lower = Difference(accuracy + float(stats.t.isf(0.05, 24)), Error(1.0, 24.0))
    assert passes_gate(lower, Difference(js_test, Error(1.0, 24.0)), 0.1) == passed


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_levels_are_five_per_cent_or_below():
    found = list(levels.levels(studies=100, draws=59))
    assert [one.name for one in found if not one.holds and one.kind != "control"] == []
    controls = [one for one in found if one.kind == "control"]
    assert len(controls) == 1
    assert not any(one.holds for one in controls)
