"""Membership AUC against scikit-learn and a closed form."""

import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from softtargets.evaluation.attacks import auc


def scores(n, seed, shift=0.0):
    return shift + torch.randn(n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("decimals", [6, 1, 0], ids=["hardly any ties", "ties", "mostly ties"])
@pytest.mark.parametrize(("m", "n"), [(200, 200), (30, 170), (1, 50)])
def test_is_scikit_learns(m, n, decimals):
    members, nonmembers = scores(m, 1, 0.5).round(decimals=decimals), scores(n, 2).round(decimals=decimals)
    truth = torch.cat([torch.ones(m), torch.zeros(n)])
    expected = roc_auc_score(truth, torch.cat([members, nonmembers]))
    assert auc(members, nonmembers) == pytest.approx(expected, abs=1e-6)
    assert auc(nonmembers, members) == pytest.approx(1 - expected, abs=1e-6)


@pytest.mark.parametrize("distance", [0.0, 0.5, 2.0])
def test_of_two_gaussians_is_known(distance):
    """Φ(d / √2) for unit variances a distance d apart."""
    found = auc(scores(20_000, 1, distance), scores(20_000, 2))
    assert found == pytest.approx(norm.cdf(distance / 2**0.5), abs=0.01)


@pytest.mark.parametrize(
    ("members", "nonmembers", "expected"),
    [
        ([2.0, 3.0], [0.0, 1.0], 1.0),
        ([0.0, 1.0], [2.0, 3.0], 0.0),
        ([7.0, 7.0], [7.0], 0.5),
        ([float("inf"), 1.0], [float("inf"), float("-inf")], 0.625),
    ],
)
def test_by_hand(members, nonmembers, expected):
    assert auc(torch.tensor(members), torch.tensor(nonmembers)) == expected


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        auc(torch.tensor([0.0, float("nan")]), torch.tensor([1.0]))
