"""Matched forgetting on trajectories whose crossing can be worked out by hand."""

import pytest

from softtargets.evaluation.matched import compare_matched, point


def way(forget, unseen, **others) -> dict:
    return {"step": [10 * i for i in range(len(forget))], "forget_acc": forget, "unseen_acc": unseen} | others


def test_the_crossing_is_interpolated():
    """Gaps .1 and -.3: the accuracies meet a quarter of the way from step 10 to step 20."""
    found = point(way([1.0, 0.9, 0.4, 0.1], [0.8, 0.8, 0.7, 0.0], js_forget=[0.5, 0.4, 0.2, 9.0]))
    assert found == {
        "step": pytest.approx(12.5),
        "forget_acc": pytest.approx(0.775),
        "unseen_acc": pytest.approx(0.775),
        "js_forget": pytest.approx(0.35),
    }


def test_the_first_crossing_counts():
    assert point(way([1.0, 0.8, 1.0, 0.5], [0.8, 0.8, 0.8, 0.8]))["step"] == 10


def test_equality_at_an_evaluation_is_the_evaluation():
    assert point(way([0.9, 0.7], [0.8, 0.7], js_forget=[None, 0.2])) == {
        "step": 10,
        "forget_acc": 0.7,
        "unseen_acc": 0.7,
        "js_forget": 0.2,
    }


def test_what_was_never_known_is_matched_at_the_start():
    assert point(way([0.7, 0.6], [0.8, 0.8]))["step"] == 0


@pytest.mark.parametrize(
    ("forget", "unseen"),
    [([], []), ([1.0, 0.9, 0.81], [0.8] * 3), ([1.0, None], [0.8, None]), ([1.0, None, 0.5], [0.8, None, 0.8])],
    ids=["not recorded", "never reached", "diverged", "diverged before"],
)
def test_what_never_gets_there_is_censored(forget, unseen):
    trajectory = way(forget, unseen, js_forget=[0.1] * len(forget))
    assert point(trajectory) is None
    there = way([1.0, 0.6], [0.8, 0.8], js_forget=[0.1, 0.3])
    assert compare_matched(trajectory, there, "js_forget") == (None, pytest.approx(0.2))
    assert compare_matched(trajectory, there, "js_forget").difference is None


def test_a_metric_that_is_missing_beside_the_crossing_is_missing_at_it():
    assert point(way([1.0, 0.6], [0.8, 0.8], mia_auc=[None, 0.5]))["mia_auc"] is None
    assert point(way([1.0, 0.6], [0.8, 0.8], mia_auc=[0.5, None]))["mia_auc"] is None


def test_arms_are_compared_each_at_its_own_point():
    one = way([1.0, 0.6], [0.8, 0.8], js_forget=[0.1, 0.3])
    other = way([0.9, 0.85, 0.8], [0.8] * 3, js_forget=[0.0, 0.05, 0.15])
    assert compare_matched(one, other, "js_forget").difference == pytest.approx(0.2 - 0.15)
    assert compare_matched(other, one, "step").difference == pytest.approx(20 - 5)
