"""Evaluation of a tiny split whose every number can be worked out by hand."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

from softtargets.evaluation.evaluate import change, distance, evaluate, has_forgotten
from softtargets.types import ForgottenLevel, MembershipTest, Samples, Split

LABELS = {"forget": [0, 0, 1], "retain": [0, 1, 2, 2], "validation": [0, 1], "test": [0, 1, 2, 2]}
GAP = math.log(1 + 2 * math.exp(-5))
"""Loss of a right prediction under `logits`; a wrong one has 5 more."""


def samples(labels) -> Samples:
    labels = torch.tensor(labels)
    return Samples(torch.zeros(len(labels), 1), labels, torch.eye(3)[labels])


def made(**changes) -> Split:
    sets = {name: samples(labels) for name, labels in LABELS.items()}
    position = torch.arange(2)
    fields = {
        "train": samples(LABELS["forget"] + LABELS["retain"]),
        "forget_index": torch.arange(3),
        "forget_positions": torch.arange(3),
        "forget_true_labels": sets["forget"].labels,
        "copies_dropped": 0,
        "membership": MembershipTest(position, position, sets["test"].labels[:2]),
        "level": ForgottenLevel(None, None, 0.5),
    }
    return Split(**sets | fields | changes)


def logits(**predicted) -> dict:
    """5 for the predicted class and 0 for the others; predictions are right unless given."""
    return {name: 5 * torch.eye(3)[torch.tensor(predicted.get(name, right))] for name, right in LABELS.items()}


RIGHT = logits()
WRONG = logits(forget=[0, 1, 2], retain=[0, 1, 2, 0], validation=[0, 0], test=[1, 1, 2, 0])


def test_metrics_by_hand():
    found = evaluate(WRONG, made()).metrics
    assert found == {
        "forget_acc": pytest.approx(1 / 3),
        "forget_loss": pytest.approx(GAP + 5 * 2 / 3),
        "retain_acc": 0.75,
        "retain_loss": pytest.approx(GAP + 5 / 4),
        "validation_acc": 0.5,
        "validation_loss": pytest.approx(GAP + 5 / 2),
        "test_acc": 0.5,
        "test_loss": pytest.approx(GAP + 5 / 2),
        "unseen_acc": 0.5,
        "forget_true_acc": pytest.approx(1 / 3),
        "class_acc": [0.0, 1.0, 0.5],
        "forget_class_acc": [0.5, 0.0, None],
        "mia_auc": 0.5,
    }


def test_corrupted_labels_are_asked_beside_the_true_ones():
    data = made(forget_true_labels=torch.tensor([1, 2, 2]))
    found = evaluate(logits(forget=[0, 2, 2]), data).metrics
    assert found["forget_acc"] == pytest.approx(1 / 3)
    assert found["forget_true_acc"] == pytest.approx(2 / 3)


def test_attack_compares_the_chosen_members_with_the_chosen_nonmembers_under_their_labels():
    at = torch.tensor
    seen = MembershipTest(members=at([0, 1]), nonmembers=at([2, 3]), nonmember_labels=at([0, 0]))
    assert evaluate(RIGHT, made(membership=seen)).metrics["mia_auc"] == 1
    unlike = dataclasses.replace(seen, nonmember_labels=at([2, 0]))
    assert evaluate(RIGHT, made(membership=unlike)).metrics["mia_auc"] == 0.75
    missed = dataclasses.replace(seen, members=at([2]), nonmembers=at([2]), nonmember_labels=at([2]))
    assert evaluate(WRONG, made(membership=missed)).metrics["mia_auc"] == 0


def test_margins_are_kept_for_every_forget_and_test_sample():
    margins = evaluate(WRONG, made()).margins
    right, wrong = 5 - math.log(2), -math.log(math.exp(5) + 1)
    assert margins["forget"].tolist() == pytest.approx([right, wrong, wrong])
    assert margins["test"].tolist() == pytest.approx([wrong, right, right, wrong])


def test_distance_to_itself_is_nothing():
    one = evaluate(WRONG, made())
    found = distance(one, one, made())
    assert found.pop("tow") == 1
    by_class = {name: found.pop(name) for name in ("class_js_forget", "class_js_test")}
    assert found == dict.fromkeys(found, pytest.approx(0, abs=1e-12))
    assert by_class["class_js_forget"] == [pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12), None]


def test_distance_by_hand():
    p = 1 / (1 + 2 * math.exp(-5))
    q = math.exp(-5) * p
    m = (p + q) / 2
    js = p * math.log(p / m) + q * math.log(q / m)  # of two predictions of different classes
    found = distance(evaluate(WRONG, made()), evaluate(RIGHT, made()), made())
    by_hand = {
        "js_forget": js * 2 / 3,
        "js_validation": js / 2,
        "js_test": js / 2,
        "l1_forget": 2 * (p - q) * 2 / 3,
        "l1_test": 2 * (p - q) / 2,
        "activation_distance_forget": math.sqrt(2) * (p - q) * 2 / 3,
        "activation_distance_test": math.sqrt(2) * (p - q) / 2,
        "disagreement_forget": 2 / 3,
        "disagreement_test": 1 / 2,
        "accuracy_distance": (1 + 0 + 0.5) / 3,
        "accuracy_distance_forget": (0.5 + 1) / 2,
        "avg_gap": (2 / 3 + 1 / 4 + 1 / 2) / 3,
        "tow": 1 / 3 * 3 / 4 * 1 / 2,
        "mia_gap": 0,
        "class_js_forget": [js / 2, js, None],
        "class_js_test": [js, 0, js / 2],
    }
    assert found.keys() == by_hand.keys()
    for name, value in by_hand.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_a_weaker_attack_is_as_far_as_a_stronger_one():
    at = torch.tensor
    data = made(membership=MembershipTest(members=at([0, 1]), nonmembers=at([2, 3]), nonmember_labels=at([0, 0])))
    strong, weak = (evaluate(logits, data) for logits in (RIGHT, WRONG))
    assert (strong.metrics["mia_auc"], weak.metrics["mia_auc"]) == (1, 0.5)
    assert distance(strong, weak, data)["mia_gap"] == distance(weak, strong, data)["mia_gap"] == 0.5


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", LABELS)
def test_logits_out_of_range_leave_none_where_nothing_can_be_said(name, value):
    broken = {key: tensor.clone() for key, tensor in RIGHT.items()}
    broken[name][0, 0] = value
    data = made()
    found, fine = evaluate(broken, data), evaluate(RIGHT, data)
    assert found.metrics.keys() == fine.metrics.keys()
    expected = {f"{name}_acc", f"{name}_loss", "unseen_acc", "forget_true_acc"}
    expected |= {"class_acc", "forget_class_acc", "mia_auc"}
    assert {key for key, number in found.metrics.items() if number is None} == expected
    for pair in ((found, fine), (fine, found)):
        assert distance(*pair, data) == dict.fromkeys(distance(fine, fine, data))


def test_change_is_none_where_parameters_are_not_finite():
    model = nn.Linear(2, 2)
    moved = copy.deepcopy(model)
    no_buffers = {"buffers_relative_l2": None}
    assert change(moved, model) == {"avg_parameter_change": 0, "relative_l2": 0} | no_buffers
    with torch.no_grad():
        moved.bias[0] = math.inf
    assert change(moved, model) == {"avg_parameter_change": None, "relative_l2": None} | no_buffers


def test_change_speaks_of_running_statistics_where_no_parameter_moves():
    model = nn.BatchNorm1d(2)  # means 0 and 0, variances 1 and 1: a norm of the square root of 2
    moved = copy.deepcopy(model)
    moved.running_mean[:] = torch.tensor([3.0, 4.0])
    moved.num_batches_tracked += 1000  # a count is no distance
    found = change(moved, model)
    assert found["relative_l2"] == 0
    assert found["buffers_relative_l2"] == pytest.approx(5 / math.sqrt(2))
    assert change(nn.BatchNorm1d(3), model)["buffers_relative_l2"] is None


@pytest.mark.parametrize(("fixed", "expected"), [(0.3, False), (1 / 3, True), (0.5, True)])
def test_forgotten_at_a_fixed_level(fixed, expected):
    found = evaluate(WRONG, made(level=ForgottenLevel(None, None, fixed))).metrics
    assert has_forgotten(found, found["unseen_acc"]) is expected


@pytest.mark.parametrize(
    ("forget", "expected"), [([0, 0, 1], False), ([0, 1, 0], True), ([1, 1, 2], True)], ids=str
)
def test_forgotten_at_the_level_of_unseen_data(forget, expected):
    unseen = ForgottenLevel(torch.tensor([0, 1]), torch.tensor([0, 2]), None)
    # the test set, which has no say in it, is predicted worse than the validation set
    found = evaluate(logits(forget=forget, test=[1, 1, 2, 2]), made(level=unseen)).metrics
    assert found["unseen_acc"] == 0.5
    assert has_forgotten(found, found["unseen_acc"]) is expected


def test_nothing_is_forgotten_where_nothing_can_be_measured():
    broken = {name: tensor * math.nan for name, tensor in RIGHT.items()}
    lost = evaluate(broken, made()).metrics
    assert not has_forgotten(lost, lost["unseen_acc"])
    assert not has_forgotten(lost, 0.5)
