"""Networks: shapes, parameter counts worked out by hand, and equality with the plainest spelling of the same."""

import functools
import re

import pytest
import torch
import torch.nn.functional as F
from conftest import CONF, ROOT, options
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn
from torchvision import models
from torchvision.models.resnet import BasicBlock, ResNet

from softtargets.architectures import cnn, construct, mlp, resnet9, resnet18, torchvision
from softtargets.config.validation import check_call
from softtargets.execution.network_trial import Trial

PARTS = ROOT / "docs/parts.md"


def parameters(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", options("architecture"))
@pytest.mark.parametrize(("shape", "classes"), [((1, 28, 28), 10), ((3, 32, 40), 7), ((1, 9, 9), 2)])
def test_every_architecture_maps_any_images_to_logits(name, shape, classes):
    node = OmegaConf.load(CONF / "architecture" / f"{name}.yaml")
    if "width" in node:
        node.width = 8  # to be fast
    if name == "torchvision":
        node.name = "resnet18"
    node.pop("weights")
    partial = check_call(instantiate(node, _convert_="all"), "architecture", named=("input_shape", "classes"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = construct(partial, shape, classes).eval()
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    logits = model(images)
    assert logits.shape == (3, classes)
    torch.testing.assert_close(model(images[1:2]), logits[1:2], rtol=1e-4, atol=1e-5)  # samples do not mix
    logits.logsumexp(1).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_parameter_counts_by_hand():
    shape = {"input_shape": (1, 28, 28), "classes": 10}
    assert parameters(mlp(**shape, hidden=800)) == 785 * 800 + 801 * 10
    convolutions = (9 * 1 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128
    assert parameters(cnn(**shape, channels=[32, 64, 128], hidden=128)) == convolutions + 1153 * 128 + 129 * 10


def test_parameter_counts_of_residual_networks_by_hand():
    def convolution(inputs, outputs, size=3):
        return size**2 * inputs * outputs + 2 * outputs  # with a scale and a shift for each output

    pairs = [(3, 32), (32, 64), (64, 64), (64, 64), (64, 128), (128, 256), (256, 256), (256, 256)]
    by_hand = sum(convolution(*pair) for pair in pairs) + 257 * 10
    assert parameters(resnet9(input_shape=(3, 32, 32), classes=10, width=32)) == by_hand == 1_646_122
    # the number that is usual for a ResNet-18 on CIFAR-10
    assert parameters(resnet18(input_shape=(3, 32, 32), classes=10, width=64)) == 11_173_962


def test_resnet9_by_hand():
    model = resnet9(input_shape=(3, 10, 13), classes=4, width=2).eval()
    weights = iter([layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d)])
    images = torch.randn(2, 3, 10, 13, generator=torch.Generator().manual_seed(0))

    def convolved(inputs):  # the running statistics of a new network are 0 and 1
        return F.relu(F.conv2d(inputs, next(weights), padding=1) / (1 + 1e-5) ** 0.5)

    def halved(inputs):
        return F.max_pool2d(convolved(inputs), 2, ceil_mode=True)

    hidden = halved(convolved(images))
    hidden = halved(hidden + convolved(convolved(hidden)))
    hidden = halved(hidden)
    hidden = hidden + convolved(convolved(hidden))
    assert hidden.shape == (2, 16, 2, 2)
    head = model[-1]
    expected = F.linear(hidden.amax((2, 3)), head.weight, head.bias)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)


def test_resnet18_is_torchvisions_with_a_small_stem():
    """Whose blocks, in the same order, have the same weights in training mode and after it."""
    peer = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=5)
    peer.conv1, peer.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    model = resnet18(input_shape=(3, 9, 11), classes=5, width=64)
    assert len(model.state_dict()) == len(peer.state_dict())
    model.load_state_dict(dict(zip(model.state_dict(), peer.state_dict().values(), strict=True)))
    images = torch.randn(4, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        torch.testing.assert_close(model(images), peer(images), rtol=1e-3, atol=1e-4)
        model.eval(), peer.eval()


@pytest.mark.parametrize("network", [resnet9, resnet18])
def test_residual_networks_take_images_of_any_size(network):
    model = network(input_shape=(1, 1, 1), classes=3, width=2).eval()
    assert [model(torch.zeros(1, 1, *size)).shape for size in ((1, 1), (5, 17))] == [(1, 3)] * 2


def test_cnn_is_convolution_relu_pool_and_two_layers():
    model = cnn(input_shape=(3, 13, 11), classes=5, channels=[4, 6], hidden=7)
    images = torch.randn(2, 3, 13, 11, generator=torch.Generator().manual_seed(0))
    weights = iter(model.parameters())
    hidden = images
    for _ in range(2):
        hidden = F.max_pool2d(F.relu(F.conv2d(hidden, next(weights), next(weights), padding=1)), 2)
    hidden = F.relu(F.linear(hidden.flatten(1), next(weights), next(weights)))
    expected = F.linear(hidden, next(weights), next(weights))
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 3])
def test_cnn_convolves_and_pools_channels_last(depth):
    model = cnn(input_shape=(depth, 12, 12), classes=3, channels=[4, 5], hidden=6)
    layouts = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            layer.register_forward_hook(
                lambda layer, given, out: layouts.extend([given[0].stride(1), out.stride(1)])
            )
    model(torch.zeros(2, depth, 12, 12))
    assert layouts == [1] * 8  # from one channel to the next it is one step, the slow layout has a whole image


@pytest.mark.parametrize(("size", "depth", "fits"), [(28, 4, True), (28, 5, False), (8, 3, True), (7, 3, False)])
def test_images_may_not_vanish_in_the_pools(size, depth, fits):
    build = functools.partial(cnn, input_shape=(1, 40, size), classes=2, channels=[2] * depth, hidden=2)
    if fits:
        assert build()(torch.zeros(1, 1, 40, size)).shape == (1, 2)
    else:
        with pytest.raises(
            ValueError, match=f"40x{size} images can be halved {depth - 1} times, but channels has {depth} entries"
        ):
            build()


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet"])
def test_torchvisions_networks_get_classes_and_channels_and_stay_theirs(name, depth):
    torch.manual_seed(0)
    model = torchvision(input_shape=(depth, 32, 32), classes=7, name=name).eval()
    assert model(torch.zeros(2, depth, 32, 32)).shape == (2, 7)
    more = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    torch.manual_seed(0)
    theirs = models.get_model(name, weights=None, num_classes=7, **more).state_dict()
    own = model.state_dict()
    first = next(iter(own))
    assert own[first].shape == (theirs[first].shape[0], depth, *theirs[first].shape[2:])
    for key in own.keys() - ({first, first.replace("weight", "bias")} if depth == 1 else set()):
        assert torch.equal(own[key], theirs[key])
    assert own.keys() == theirs.keys()


def listed_in_docs(size: int) -> set[str]:
    """The families and networks that docs/parts.md calls refused with images of so many pixels a side."""
    line = re.search(rf"^- with {size}x{size} pixels (.*)[;.]$", PARTS.read_text(), re.MULTILINE)[1]
    return set(line.replace(" (all but vit_h_14)", "").replace(" and ", ", ").split(", "))


def is_listed(name: str, listed: set[str]) -> bool:
    return name in listed or re.match("[a-z]+", name)[0] in listed


@pytest.mark.long
@pytest.mark.parametrize("size", [28, 32, 224])
def test_the_docs_list_which_of_torchvisions_networks_refuse_small_images(size):
    listed = listed_in_docs(size) if size < 224 else set()
    for name in models.list_models(module=models):
        if name.startswith("regnet"):  # needs values to be built; all are alike, and the smallest is tried below
            continue
        build = functools.partial(torchvision, input_shape=(3, size, size), classes=7, name=name)
        fits = Trial(name, build, (3, size, size), 7, "cpu").fits_by_shape()
        assert fits != (is_listed(name, listed) and (name, size) != ("vit_h_14", 28)), name
    regnet = torchvision(input_shape=(3, size, size), classes=7, name="regnet_y_400mf")
    assert regnet(torch.zeros(2, 3, size, size)).shape == (2, 7)


def test_a_builder_of_torchvisions_gets_classes_and_channels_too():
    model = construct(functools.partial(models.resnet18, width_per_group=64), (1, 9, 9), 3).eval()
    assert model(torch.zeros(1, 1, 9, 9)).shape == (1, 3)


def test_construct_gives_the_number_of_classes_by_either_name():
    def build(num_classes):
        return nn.Linear(2, num_classes)

    assert construct(build, (2,), 3).weight.shape == (3, 2)
    assert construct(functools.partial(build, num_classes=5), (2,), 3).weight.shape == (5, 2)  # a user's own stays


def test_construct_gives_an_architecture_what_it_takes():
    def of_classes(width, classes):
        return nn.Linear(width, classes)

    def of_shape(*, input_shape):
        return nn.Linear(*input_shape)

    assert construct(functools.partial(of_classes, 5), (1, 2), 3).weight.shape == (3, 5)
    assert construct(of_shape, (1, 2), 3).weight.shape == (2, 1)
    assert construct(nn.ReLU, (1, 2), 3)(torch.tensor(-1.0)) == 0
