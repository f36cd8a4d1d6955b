"""The faster linear layer against torch's: outputs, gradients, and the places where it steps aside."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from softtargets import linear


@pytest.fixture(autouse=True)
def everywhere(monkeypatch):
    """Multiply by oneDNN on every processor, faster or not."""
    monkeypatch.setattr(linear, "FASTER", True)


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def pair(request):
    draw = torch.Generator().manual_seed(0)
    ours, torchs = linear.Linear(7, 5, bias=request.param), nn.Linear(7, 5, bias=request.param)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs, torch.randn(9, 7, generator=draw, requires_grad=True)


def test_outputs_and_gradients_are_torchs(pair):
    ours, torchs, inputs = pair
    found, wanted = ours(inputs), torchs(inputs)
    assert "_Product" in type(found.grad_fn).__name__
    torch.testing.assert_close(found, wanted)
    for one, other in zip(
        torch.autograd.grad(found.sin().sum(), [inputs, *ours.parameters()]),
        torch.autograd.grad(wanted.sin().sum(), [inputs, *torchs.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_gradients_of_gradients_are_torchs(pair):
    ours, torchs, inputs = pair
    twice = []
    for layer in (ours, torchs):
        (slope,) = torch.autograd.grad(layer(inputs).sin().sum(), inputs, create_graph=True)
        twice.append(torch.autograd.grad(slope.square().sum(), layer.weight)[0])
    torch.testing.assert_close(*twice, rtol=1e-4, atol=1e-5)


def test_only_what_is_trained_gets_a_gradient(pair):
    ours, _, inputs = pair
    ours.weight.requires_grad_(False)
    ours(inputs).sum().backward()
    assert ours.weight.grad is None
    torch.testing.assert_close(inputs.grad, ours.weight.sum(0).expand(9, 7))
    with torch.no_grad():
        assert ours(inputs).grad_fn is None


def test_it_steps_aside(pair):
    ours, torchs, inputs = pair
    for other in (inputs[:0], inputs[None], inputs[0]):
        assert torch.equal(ours(other), torchs(other))
    assert torch.equal(ours.double()(inputs.double()), torchs.double()(inputs.double()))
    ours, torchs = ours.float(), torchs.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(inputs), torchs(inputs))
    each = [
        vmap(grad(lambda w, x, layer=layer: functional_call(layer, w, (x[None],)).sin().sum()), in_dims=(None, 0))(
            dict(layer.named_parameters()), inputs
        )
        for layer in (ours, torchs)
    ]
    assert all(torch.equal(each[0][name], each[1][name]) for name in each[0])
