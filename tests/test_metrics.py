"""Metrics against SciPy, against double precision, and against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cityblock, euclidean, jensenshannon
from sklearn.metrics import accuracy_score, log_loss
from torch import nn

from softtargets.evaluation import metrics


def logits(n=50, k=7, seed=0, scale=3.0):
    return scale * torch.randn(n, k, generator=torch.Generator().manual_seed(seed))


def line(weight, bias) -> nn.Module:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weight]))
        layer.bias.copy_(torch.tensor([bias]))
    return layer


def test_accuracy_and_loss_are_scikit_learns():
    z, labels = logits(), torch.arange(50) % 7
    assert metrics.accuracy(z, labels) == accuracy_score(labels, z.argmax(1))
    assert metrics.loss(z, labels) == pytest.approx(log_loss(labels, z.double().softmax(1), labels=range(7)))


def test_class_accuracy_has_none_for_a_class_without_samples():
    predicted = torch.eye(4)[[0, 0, 1, 3, 3]]
    assert metrics.class_accuracy(predicted, torch.tensor([0, 1, 1, 3, 0])) == [0.5, 0.5, None, 1.0]
    assert metrics.class_accuracy(predicted, torch.tensor([0, 1, 1, 0, 0])) == [1 / 3, 0.5, None, None]


def test_class_accuracies_average_to_the_accuracy():
    z, labels = logits(seed=3), torch.arange(50) % 7
    weighted = np.average(metrics.class_accuracy(z, labels), weights=labels.bincount())
    assert weighted == pytest.approx(metrics.accuracy(z, labels))


def test_margins_are_log_odds_of_the_label():
    z, labels = logits(), torch.arange(50) % 7
    p = z.double().softmax(1)[torch.arange(50), labels]
    torch.testing.assert_close(metrics.margins(z, labels).double(), p.log() - (1 - p).log(), rtol=1e-6, atol=1e-6)


def test_margins_are_exact_where_the_probability_rounds_to_one():
    z = torch.tensor([[40.0, 0, 0], [1e4, 0, 0], [0, 1e4, 0], [3e38, -3e30, -3e30]])
    p = z.softmax(1)[:, 0]
    assert (p.log() - (1 - p).log())[:2].isinf().all()  # what the definition gives in floating point
    found = metrics.margins(z, torch.zeros(4, dtype=torch.int64))
    assert found.tolist() == pytest.approx([40 - math.log(2), 1e4 - math.log(2), -1e4, 3e38], rel=1e-6)


def test_distances_of_predictions_are_scipys():
    one, other = logits(seed=1), logits(seed=2)
    p, q = (z.double().softmax(1).numpy() for z in (one, other))
    assert metrics.l1(one, other) == pytest.approx(np.mean([cityblock(*pair) for pair in zip(p, q, strict=True)]))
    assert metrics.activation_distance(one, other) == pytest.approx(
        np.mean([euclidean(*pair) for pair in zip(p, q, strict=True)])
    )
    assert metrics.disagreement(one, other) == 1 - accuracy_score(one.argmax(1), other.argmax(1))
    sure = 1000 * torch.eye(2)
    assert (metrics.l1(sure, sure.flip(0)), metrics.disagreement(sure, sure.flip(0))) == (2, 1)
    assert metrics.activation_distance(sure, sure.flip(0)) == pytest.approx(math.sqrt(2))


def test_class_means_average_to_the_mean():
    values, labels = torch.arange(6.0), torch.tensor([0, 0, 2, 2, 2, 0])
    assert metrics.class_means(values, labels, 4) == [2.0, None, 3.0, None]


@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
def test_js_is_scipys_squared_distance_in_nats(scale):
    one, other = logits(seed=1, scale=scale), logits(seed=2, scale=scale)
    p, q = one.double().softmax(1).numpy(), other.double().softmax(1).numpy()
    expected = (jensenshannon(p, q, base=math.e, axis=1) ** 2).mean()
    assert metrics.js(one, other) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert metrics.js(other, one) == pytest.approx(metrics.js(one, other), rel=1e-12)
    assert 0 < metrics.js(one, other) <= math.log(2) + 1e-12


def test_js_is_zero_for_equal_and_ln_two_for_disjoint_predictions():
    z = logits()
    assert metrics.js(z, z + 5) == pytest.approx(0, abs=1e-12)
    disjoint = torch.tensor([[1e5, 0.0]])
    assert metrics.js(disjoint, disjoint.flip(1)) == pytest.approx(math.log(2), rel=1e-12)


def test_distances_between_accuracies_by_hand():
    assert metrics.accuracy_distance([0.5, None, 1.0], [0.25, None, 0.5]) == pytest.approx(0.375)
    assert metrics.accuracy_distance([0.0, 1.0], [0.5, 1.0]) == pytest.approx(0.25)
    one = {"forget_acc": 0.5, "retain_acc": 0.9, "test_acc": 0.8, "validation_acc": 0.1}
    other = {"forget_acc": 0.75, "retain_acc": 1.0, "test_acc": 0.6, "validation_acc": 0.9}
    assert metrics.average_gap(one, other) == pytest.approx((0.25 + 0.1 + 0.2) / 3)
    assert metrics.tow(one, other) == metrics.tow(other, one) == pytest.approx(0.75 * 0.9 * 0.8)
    assert metrics.tow(one, one) == 1
    assert metrics.average_gap(one, one) == 0


@pytest.mark.parametrize("scale", [1.0, 1e30], ids=["usual", "nearly diverged"])
def test_parameter_changes_by_hand(scale):
    reference, moved = line([3 * scale, 0.0], 4 * scale), line([3 * scale, -6 * scale], 4.5 * scale)
    assert metrics.average_parameter_change(moved, reference) == pytest.approx(6.5 / 3 * scale)
    assert metrics.relative_l2(moved, reference) == pytest.approx(math.sqrt(36.25) / 5)
    assert metrics.relative_l2(reference, reference) == metrics.average_parameter_change(reference, reference) == 0
