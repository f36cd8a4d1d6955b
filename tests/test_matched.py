"""Matched forgetting on trajectories whose points can be worked out by hand."""

import math

import pytest

from softtargets.evaluation.matched import level, point

LEVEL = level(0.8, 100)
"""From .76 to .84: √(.8 · .2 / 100) = .04."""


def way(*forget, **others) -> dict:
    return {"step": [10 * i for i in range(len(forget))], "forget_acc": list(forget)} | others


def test_the_standard_error_is_binomial():
    assert (0.8, pytest.approx(0.04), 100) == LEVEL
    assert level(0.5, 600).standard_error == pytest.approx(0.5 / math.sqrt(600))


def test_one_sample_is_allowed_where_all_are_right_or_wrong():
    """A class that was retrained without has accuracy 0 exactly."""
    assert level(0.0, 200).standard_error == 1 / 200
    assert point(way(1.0, 0.02, 0.005, 0.0), level(0.0, 200))["step"] == 20


def test_the_point_is_the_first_evaluation_from_which_the_run_stays():
    found = point(way(1.0, 0.83, 0.9, 0.84, 0.77, js_forget=[0.5, 0.4, 0.3, 0.2, 0.1]), LEVEL)
    assert found == {"step": 30, "forget_acc": 0.84, "js_forget": 0.2}


def test_a_crossing_in_a_hot_phase_is_no_point():
    """Down through the level at step 10, back above it at the end: what the first definition took."""
    assert point(way(1.0, 0.8, 0.6, 0.75, 0.86), LEVEL) is None
    assert point(way(1.0, 0.8, 0.6, 0.75, 0.82), LEVEL)["step"] == 40


def test_what_forgets_more_than_the_retrained_model_is_not_matched():
    assert point(way(1.0, 0.9, 0.75), LEVEL) is None


def test_what_never_knew_it_is_matched_from_the_start():
    assert point(way(0.8, 0.81), LEVEL)["step"] == 0


@pytest.mark.parametrize(
    "forget",
    [(), (1.0, 0.9, 0.85), (1.0, None), (1.0, 0.8, None), (0.8, None, 0.85)],
    ids=["not recorded", "never reached", "diverged", "diverged after", "diverged and lost"],
)
def test_what_does_not_stay_has_no_point(forget):
    assert point(way(*forget), LEVEL) is None


def test_a_retrained_model_out_of_range_sets_no_level():
    assert level(None, 100) is None
    assert point(way(0.8), None) is None


def test_a_metric_that_is_missing_at_the_point_is_missing():
    assert point(way(1.0, 0.8, mia_auc=[0.5, None]), LEVEL)["mia_auc"] is None
