"""Target kinds against their formulas; every kind in the config is tried."""

import functools
import inspect

import pytest
import torch
from conftest import CONF, options
from hydra.utils import instantiate
from omegaconf import OmegaConf

from softtargets.schema import check_call
from softtargets.targets import Source, check_rows, hard, self_prediction

LOGITS = 4 * torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 5


def source(logits=LOGITS) -> Source:
    return Source(LABELS, 5, {"original": logits}.__getitem__)


def test_hard_is_one_hot():
    assert torch.equal(hard(source()), torch.eye(5)[LABELS])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_self_prediction_is_the_tempered_softmax(temperature):
    powers = LOGITS.double().softmax(1) ** (1 / temperature)
    expected = (powers / powers.sum(1, keepdim=True)).float()
    torch.testing.assert_close(self_prediction(source(), temperature=temperature), expected, rtol=1e-5, atol=1e-7)


def test_self_prediction_ends_in_the_argmax_and_in_the_uniform():
    cold, hot = (self_prediction(source(), temperature=t) for t in (1e-4, 1e6))
    torch.testing.assert_close(cold, torch.eye(5)[LOGITS.argmax(1)])
    torch.testing.assert_close(hot, torch.full((20, 5), 0.2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", ["forget", "retain"])
def test_both_sides_offer_the_same_kinds(side):
    other = {"forget": "retain", "retain": "forget"}[side]
    for name in options(f"targets/{side}"):
        one, two = (OmegaConf.load(CONF / "targets" / at / f"{name}.yaml") for at in (side, other))
        assert one._target_ == two._target_
        assert set(one) == set(two)


@pytest.mark.parametrize("name", options("targets/forget"))
def test_every_kind_gives_rows_that_a_loss_can_take(name):
    node = OmegaConf.load(CONF / "targets/forget" / f"{name}.yaml")
    kind = check_call(instantiate(node, _convert_="all"), "targets.forget", given=1)
    settings = inspect.signature(kind.func).parameters.values()
    assert {p.name for p in settings if p.kind is p.KEYWORD_ONLY} == set(kind.keywords)
    assert all(p.default is p.empty for p in settings)
    asked, logits = [], LOGITS.clone()
    targets = kind(Source(LABELS, 5, lambda teacher: asked.append(teacher) or logits))
    assert targets.shape == (20, 5)
    assert targets.dtype == torch.float32
    check_rows(targets, name)
    assert torch.equal(logits, LOGITS)


@pytest.mark.parametrize(
    "row",
    [[0.5, 0.5, 0.0], [1.2, -0.1, -0.1], [1 / 3] * 3, [1 + 5e-7, 0.0, 0.0]],
    ids=["soft", "nls", "thirds", "ulp"],
)
def test_rows_that_sum_to_one_pass(row):
    check_rows(torch.tensor([row]), "forget")


@pytest.mark.parametrize(
    "row", [[0.5, 0.5, 1e-5], [0.0] * 3, [float("nan"), 0.5, 0.5], [float("inf"), float("-inf"), 1.0]], ids=str
)
def test_rows_that_do_not_are_shown(row):
    targets = torch.tensor([[1.0, 0.0, 0.0], row])
    with pytest.raises(ValueError, match=r"retain targets: row 1 is \["):
        check_rows(targets, "retain")


def test_logits_too_large_for_the_temperature_are_refused_not_trained_on():
    targets = functools.partial(self_prediction, temperature=1e-38)(source())
    with pytest.raises(ValueError, match=r"row \d+ is \[nan"):
        check_rows(targets, "forget")
