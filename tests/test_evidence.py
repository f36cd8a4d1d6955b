"""Evidence on request: attacks whose outcome is known, and models that relearn at a known pace."""

import functools

import pytest
import torch
from conftest import SMALL
from torch import nn

from softtargets.evaluation import evidence
from softtargets.evaluation.attacks import Attack, svc
from softtargets.execution.experiment import build
from softtargets.fit import Fit
from softtargets.types import Samples


def drawn(n: int, seed: int, middle: float) -> torch.Tensor:
    return middle + 0.05 * torch.randn(n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("apart", "members", "nonmembers"), [(0.8, 1.0, 0.0), (0.0, 0.5, 0.5)])
def test_an_attack_finds_what_there_is(apart, members, nonmembers):
    learnt = Attack(drawn(400, 1, 0.9), drawn(400, 2, 0.9 - apart))
    found = svc(learnt, Attack(drawn(400, 3, 0.9), drawn(400, 4, 0.9 - apart)))
    tolerance = 0.0 if apart else 0.25  # a machine may learn to call any share of one distribution members
    assert found.members == pytest.approx(members, abs=tolerance)
    assert found.nonmembers == pytest.approx(nonmembers, abs=tolerance)
    assert apart or abs(found.members - found.nonmembers) < 0.1


def test_scores_between_the_learnt_ones_are_called_by_the_nearer():
    found = svc(Attack(torch.ones(50), torch.zeros(50)), Attack(torch.full((4,), 0.8), torch.full((4,), 0.2)))
    assert found == (1.0, 0.0)


@pytest.mark.parametrize("forget_set", ["random", "class", "mislabelled"])
def test_an_attack_is_balanced_and_is_asked_about_others_than_it_learnt(composed, monkeypatch, forget_set):
    data = build(composed(*SMALL, f"forget_set={forget_set}")).data
    # every sample's logits are its own, so that its confidence names it
    logits = {}
    for start, (name, samples) in enumerate(data.evaluated().items()):
        spread = torch.linspace(-8, 8, len(samples)) + 1e-3 * start
        logits[name] = torch.zeros(len(samples), 10).index_put_(
            (torch.arange(len(samples)), samples.labels), spread
        )
    seen = []

    def recorded(learnt, asked):
        seen.extend([learnt, asked])
        return Attack(0.75, 0.25)

    monkeypatch.setattr(evidence, "svc", recorded)
    assert evidence.confidence_attack(logits, data) == {"svc_accuracy": 0.75, "svc_members": 0.75}
    learnt, asked = seen
    assert len(learnt.members) == len(learnt.nonmembers) > 0
    assert len(asked.members) == len(asked.nonmembers) == len(data.membership.members)
    assert not set(learnt.nonmembers.tolist()) & set(asked.nonmembers.tolist())
    assert not set(learnt.members.tolist()) & set(asked.members.tolist())
    if forget_set == "class":  # a forgotten class gives itself away, and says nothing of single samples
        assert len(learnt.nonmembers) <= int((data.test.labels != 0).sum())


def fitted(lr: float, watch) -> Fit:
    return Fit(
        epochs=50,
        batch_size=4,
        optimizer=functools.partial(torch.optim.SGD, lr=lr),
        schedule=None,
        clip_norm=None,
        precision="float32",
        seed=0,
        name="relearn",
        watch=watch,
        evaluate_every=1,
    )


def test_relearning_is_counted_in_steps():
    """Of two logits, ± w / 2, the second is right; a step moves w by 2 lr / (1 + e^w)."""
    forget = Samples(torch.ones(4, 1), torch.ones(4, dtype=torch.int64), torch.eye(2)[[1, 1, 1, 1]])
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.5], [-0.5]]))
    w, steps = -1.0, 0
    while w <= 0:
        w += 2 * 0.3 / (1 + torch.e**w)
        steps += 1
    before = model.weight.clone()
    assert evidence.relearn_steps(model, forget, 1.0, functools.partial(fitted, 0.3)) == steps > 1
    assert torch.equal(model.weight, before)
    assert evidence.relearn_steps(model, forget, 1.0, functools.partial(fitted, 0.0)) is None
    assert evidence.relearn_steps(model, forget, 0.0, functools.partial(fitted, 0.3)) == 0


def test_a_run_measures_what_it_is_asked_for(run):
    result, _ = run(*SMALL, "mu_algo=graddiff", "evidence=[svc,relearn]")
    metrics = result["metrics"]
    assert metrics["original"]["relearn_steps"] == 0 < metrics["retrained"]["relearn_steps"]
    assert all(0 <= metrics[name]["svc_accuracy"] <= 1 for name in metrics)
    plain, _ = run(*SMALL, "mu_algo=graddiff")
    assert metrics["unlearned"].keys() - plain["metrics"]["unlearned"].keys() == {
        "svc_accuracy",
        "svc_members",
        "relearn_steps",
    }
