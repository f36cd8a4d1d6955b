"""Cross entropy with targets: value, gradient, and the identities on which the reading of results rests."""

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import entropy
from sklearn.metrics import log_loss

from softtargets.losses import cross_entropy, kl_divergence

N, K = 16, 5
LABELS = torch.arange(N) % K
ONE_HOT = F.one_hot(LABELS, K).float()
UNIFORM = torch.full((N, K), 1 / K)


def logits(seed=0, scale=2.0):
    return scale * torch.randn(N, K, generator=torch.Generator().manual_seed(seed))


def gradient(z, q):
    z = z.clone().requires_grad_()
    return torch.autograd.grad(cross_entropy(z, q), z)[0]


SOFT = logits(1).softmax(1)
TARGETS = {
    "hard": ONE_HOT,
    "soft": SOFT,
    "uniform": UNIFORM,
    "smoothed": 0.9 * ONE_HOT + 0.1 * UNIFORM,
    "negatively smoothed": 1.4 * ONE_HOT - 0.4 * UNIFORM,
    "reflected": 2 * ONE_HOT - SOFT,
}


def test_one_hot_targets_give_the_cross_entropy_of_integer_labels():
    z = logits()
    assert cross_entropy(z, ONE_HOT).item() == pytest.approx(F.cross_entropy(z, LABELS).item(), rel=1e-6)
    torch.testing.assert_close(
        gradient(z, ONE_HOT),
        torch.autograd.grad(F.cross_entropy(leaf := z.clone().requires_grad_(), LABELS), leaf)[0],
    )
    reference = log_loss(LABELS, z.double().softmax(1), labels=range(K))
    assert cross_entropy(z, ONE_HOT).item() == pytest.approx(reference, rel=1e-6)


@pytest.mark.parametrize("q", TARGETS.values(), ids=TARGETS)
def test_value_and_gradient_have_their_closed_form(q):
    z = logits()
    p = z.double().softmax(1)
    assert cross_entropy(z, q).item() == pytest.approx(-(q * p.log()).sum(1).mean().item(), rel=1e-5)
    torch.testing.assert_close(gradient(z, q).double(), (p - q) / N, rtol=1e-5, atol=1e-7)


def test_smoothing_is_that_of_the_targets():
    assert cross_entropy(logits(), ONE_HOT, 0.1).item() == pytest.approx(
        cross_entropy(logits(), TARGETS["smoothed"]).item(), rel=1e-6
    )


def test_own_predictions_as_targets_have_no_gradient():
    z = logits(scale=8.0)
    assert gradient(z, z.softmax(1)).abs().max() * N < 1e-6


@pytest.mark.parametrize("q", [SOFT, TARGETS["negatively smoothed"]], ids=["soft", "negatively smoothed"])
def test_gradient_splits_into_confidence_and_wrong_classes(q):
    """p - q = (p_y - q_y)(e_y - s) + (1 - q_y)(s - r); s, r: model and target among the wrong classes."""
    z = logits()
    p = z.softmax(1)
    p_y, q_y = (row.gather(1, LABELS[:, None]) for row in (p, q))
    s, r = p * (1 - ONE_HOT) / (1 - p_y), q * (1 - ONE_HOT) / (1 - q_y)
    expected = (p_y - q_y) * (ONE_HOT - s) + (1 - q_y) * (s - r)
    torch.testing.assert_close(gradient(z, q) * N, expected, rtol=0, atol=1e-6)


def test_smoothing_is_a_weighted_sum_of_hard_and_uniform_for_any_sign():
    z, hard, uniform = logits(), *(cross_entropy(logits(), q) for q in (ONE_HOT, UNIFORM))
    for a in (0.3, -0.3, -2.0):
        mixed = cross_entropy(z, (1 - a) * ONE_HOT + a * UNIFORM)
        torch.testing.assert_close(mixed, (1 - a) * hard + a * uniform, rtol=1e-6, atol=1e-6)


def test_ascent_on_reflected_targets_is_descent_where_the_model_is_certain():
    certain = 40 * ONE_HOT
    torch.testing.assert_close(-gradient(certain, 2 * ONE_HOT - SOFT), gradient(certain, SOFT), rtol=0, atol=1e-7)


def test_half_precision_logits_are_computed_in_float32():
    z = logits().bfloat16()
    assert cross_entropy(z, SOFT).dtype == torch.float32
    assert cross_entropy(z, SOFT).item() == cross_entropy(z.float(), SOFT).item()


def test_extreme_logits_stay_finite():
    z = (1e4 * ONE_HOT).roll(1, 1)
    assert cross_entropy(z, ONE_HOT).item() == pytest.approx(1e4)
    assert gradient(z, ONE_HOT).isfinite().all()


@pytest.mark.parametrize("name", ["hard", "soft", "uniform", "smoothed"])
def test_kl_agrees_with_scipy_and_has_the_gradient_of_the_cross_entropy(name):
    z, q = logits(), TARGETS[name]
    expected = entropy(q.double(), z.double().softmax(1), axis=1).mean()
    assert kl_divergence(z, q).item() == pytest.approx(expected, rel=1e-5)
    leaf = z.clone().requires_grad_()
    kl = torch.autograd.grad(kl_divergence(leaf, q), leaf)[0]
    torch.testing.assert_close(kl, gradient(z, q), rtol=0, atol=1e-7)


def test_kl_is_nothing_at_the_targets():
    assert kl_divergence(logits(), logits().softmax(1)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["negatively smoothed", "reflected"])
def test_kl_refuses_what_is_no_distribution(name):
    with pytest.raises(ValueError, match="negative entries"):
        kl_divergence(logits(), TARGETS[name])
