"""Checkpoints as people have them: each is taken as the weights that it holds, or refused in a sentence."""

import copy
import io
import re
from collections import OrderedDict

import pytest
import safetensors.torch
import torch
from conftest import SMALL
from torch import nn
from torchvision import models

import softtargets
from softtargets.architectures import torchvision
from softtargets.config.resolve import config_hash
from softtargets.errors import BadInput
from softtargets.execution.checkpoint import load_start, load_weights
from softtargets.execution.experiment import build
from softtargets.readers import checkpoints


def net() -> nn.Module:
    """With a name that wrappers use too, and a buffer of integers."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    named = nn.Sequential(OrderedDict(module=inner))
    return nn.Sequential(named, nn.Flatten(), nn.Linear(8, 3))


def state() -> dict:
    return dict(net().state_dict())


def under(prefix: str) -> dict:
    return {f"{prefix}{name}": tensor for name, tensor in state().items()}


def parts_wrapped() -> dict:
    """As torch.compile and DataParallel leave it where they wrap a part of a network."""
    names = {
        name: f"0.module._orig_mod.{name[9:]}" if name[0] == "0" else f"2.module.{name[2:]}" for name in state()
    }
    return {names[name]: tensor for name, tensor in state().items()}


def as_lightning(weights: dict) -> dict:
    """What Lightning's trainer.save_checkpoint leaves beside the weights."""
    return {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": weights,
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5), "dirpath": "x"}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}],
        "hyper_parameters": {"class_weights": torch.ones(3)},
    }


FORMS = {
    "as it is": state,
    "DataParallel": lambda: nn.DataParallel(net()).state_dict(),
    "torch.compile": lambda: under("_orig_mod."),
    "both": lambda: under("module._orig_mod."),
    "both, the other way": lambda: under("_orig_mod.module."),
    "parts": parts_wrapped,
    "Lightning": lambda: as_lightning(under("model.")),
    "Lightning, compiled": lambda: as_lightning(under("net.module._orig_mod.")),
    "under another name": lambda: {"model": under("module."), "optimizer": {"param_groups": []}},
}


def saved(content: dict, suffix: str, **how) -> bytes:
    if suffix == ".safetensors":
        return safetensors.torch.save({name: tensor.clone() for name, tensor in content.items()})
    file = io.BytesIO()
    torch.save(content, file, **how)
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".ckpt"])
@pytest.mark.parametrize("form", FORMS)
def test_weights_are_known_under_any_prefix_and_in_any_file(tmp_path, form, suffix):
    content, wanted = FORMS[form](), state()
    if suffix == ".safetensors":
        content = content.get("state_dict", content.get("model", content))
    file = tmp_path / f"mine{suffix}"
    file.write_bytes(saved(content, suffix))
    found = checkpoints.read_weights(file, wanted)
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_file_is_what_its_content_says(tmp_path):
    for number, (suffix, how) in enumerate(
        [(".safetensors", {}), (".pt", {}), (".pt", {"_use_new_zipfile_serialization": False})]
    ):
        file = tmp_path / f"{number}.weights"
        file.write_bytes(saved(state(), suffix, **how))
        assert torch.equal(checkpoints.read_weights(file, state())["2.weight"], net()[2].weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_take_the_dtype_of_the_architecture(dtype):
    found = checkpoints.fitted(net().to(dtype).state_dict(), state())
    for name, tensor in state().items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(
            found[name], tensor.to(dtype).to(tensor.dtype) if tensor.is_floating_point() else tensor
        )


def changed(**tensors) -> dict:
    return under("module.") | {f"module.{name.replace('_', '.')}": value for name, value in tensors.items()}


REFUSED = {
    "nothing": ({}, "it holds dict, not tensors by name. Save model.state_dict() alone"),
    "a list": ([torch.zeros(2)], "it holds list, not"),
    "a tensor": (torch.zeros(2), "it holds Tensor, not"),
    "more than tensors": (state() | {"epoch": 3}, "epoch in it is no tensor. "),
    "two models": (
        {"model": state(), "ema": state()},
        "it holds several models (model, ema). Save one of them alone",
    ),
    "too little": (
        {"state_dict": {"model.2.bias": torch.zeros(3)}},
        "it lacks 0.module.0.bias, 0.module.0.weight, 0.module.1.bias …. Choose the architecture that it was",
    ),
    "too much": (changed(head=torch.zeros(1)), "it has in excess head. Choose the architecture"),
    "a name twice": (state() | {"module.2.bias": torch.ones(3)}, "it has in excess module.2.bias. "),
    "a teacher beside": (under("student.") | under("teacher."), "it has in excess teacher.0.module.0.bias, "),
    "another shape": (
        changed(**{"2_bias": torch.zeros(4)}),
        "the shape of 2.bias is (4,), and must be (3,). Choose the architecture that it was saved from, and",
    ),
    "images in colour": (
        changed(**{"0_module_0_weight": torch.zeros(2, 3, 3, 3)}),
        "its first convolution, 0.module.0.weight, is for images of 3 channels, and these have 1. Choose "
        "dataset.channels=3 for images of a folder, or other weights",
    ),
    "images of many channels": (
        changed(**{"0_module_0_weight": torch.zeros(2, 5, 3, 3)}),
        "its first convolution, 0.module.0.weight, is for images of 5 channels, and these have 1. Choose other",
    ),
    "a wider convolution": (
        changed(**{"0_module_0_weight": torch.zeros(4, 3, 3, 3)}),
        "the shape of 0.module.0.weight is (4, 3, 3, 3), and must be (2, 1, 3, 3). Choose the architecture",
    ),
    "NaN": (
        changed(**{"2_bias": torch.tensor([0, 0, torch.nan])}),
        "2.bias has numbers that are not finite in torch",
    ),
    "too large": (
        changed(**{"2_bias": torch.full((3,), 1e300, dtype=torch.float64)}),
        "2.bias has numbers that are",
    ),
    "integers": (
        changed(**{"2_bias": torch.ones(3, dtype=torch.int8)}),
        "2.bias is torch.int8, and must be torch.fl",
    ),
    "a pickled model": (
        net(),
        "it holds more than tensors (torch.nn.modules.container.Sequential), and is not exec",
    ),
    "no checkpoint": (b"weights\r\n", "it is no file of torch.save or safetensors. Save model.state_dict() alone"),
    "half a zip": (saved(state(), ".pt")[:-99], "it is damaged or no checkpoint ("),
    "half safetensors": (saved(state(), ".safetensors")[:-9], "it is damaged or no checkpoint ("),
    "TorchScript": (torch.jit.script, "it is a TorchScript archive. Save model.state_dict() alone"),
    "an empty file": (b"", "it is empty. Save model.state_dict() alone"),
    "a folder": (None, "it is no file. Give the path of a file"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path, what):
    content, said = REFUSED[what]
    file = tmp_path / "mine.ckpt"
    if content is None:
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    elif content is torch.jit.script:
        torch.jit.script(net()).save(str(file))
    else:
        torch.save(content, file)
    with pytest.raises(ValueError, match=f"^{re.escape(said)}[^\n]*$") as refused:
        checkpoints.require_finite(checkpoints.read_weights(file, state()))
    assert "weights_only" not in str(refused.value)


def test_the_setting_and_the_file_are_named(composed, tmp_path):
    for file, said in ((tmp_path / "nowhere.pt", "no such file"), (tmp_path / "mine.pt", "it lacks 1.bias")):
        torch.save({"1.weight": torch.zeros(32, 784)}, tmp_path / "mine.pt")
        with pytest.raises(BadInput, match=f"^checkpoint={re.escape(str(file))}: {said}"):
            build(composed(*SMALL, f"checkpoint={file}"))


def test_an_audit_takes_files_and_state_dicts_of_any_prefix(tmp_path):
    data = (torch.randn(9, 1, 4, 4), torch.arange(9) % 3)
    sets = dict.fromkeys(("forget", "retain", "test"), data)
    torch.save(as_lightning(under("model.")), tmp_path / "mine.ckpt")
    other = copy.deepcopy(net())
    nn.init.zeros_(other[2].bias)
    wanted = softtargets.audit(original=net(), unlearned=other, **sets)
    wrapped = nn.DataParallel(other).state_dict()
    found = softtargets.audit(original=tmp_path / "mine.ckpt", unlearned=wrapped, architecture=net, **sets)
    assert found == wanted
    for given, said in (
        (str(tmp_path / "no.pt"), "original=.*/no.pt: no such file"),
        ({}, "original: it holds dict"),
    ):
        with pytest.raises(BadInput, match=said):
            softtargets.audit(original=given, unlearned=other, architecture=net, **sets)


def started_from(composed, file, *words):
    """The state of a run's new network, which starts from a file."""
    experiment = build(composed(*SMALL, f"architecture.weights={file}", *words))
    return experiment.initialised("original").state_dict()


def test_new_networks_start_from_the_users_weights(composed, tmp_path):
    given = build(composed(*SMALL)).initialised("another").state_dict()
    torch.save({"state_dict": given}, tmp_path / "one.pt")
    for name in ("original", "retrained"):
        experiment = build(composed(*SMALL, f"architecture.weights={tmp_path / 'one.pt'}"))
        state = experiment.initialised(name).state_dict()
        assert all(torch.equal(state[key], given[key]) for key in given)
    assert config_hash(experiment.config) != config_hash(composed(*SMALL))
    (tmp_path / "one.pt").rename(tmp_path / "two.pt")
    renamed = composed(*SMALL, f"architecture.weights={tmp_path / 'two.pt'}")
    assert config_hash(renamed) == config_hash(experiment.config)


@pytest.mark.parametrize("rows", [7, None])
def test_the_last_layer_of_other_classes_is_drawn_anew(rows, composed, tmp_path):
    usual = build(composed(*SMALL)).initialised("original").state_dict()
    given = build(composed(*SMALL)).initialised("another").state_dict()
    body, (weight, bias) = list(given)[:-2], list(given)[-2:]
    given = {key: tensor[:rows] if key in (weight, bias) else tensor for key, tensor in given.items()}
    torch.save(given if rows else {key: given[key] for key in body}, tmp_path / "one.pt")
    state = started_from(composed, tmp_path / "one.pt")
    assert all(torch.equal(state[key], given[key]) for key in body)
    assert all(torch.equal(state[key], usual[key]) for key in (weight, bias))


def test_weights_to_start_from_are_refused_where_more_than_the_last_layer_differs(composed, tmp_path):
    given = build(composed(*SMALL)).initialised("another").state_dict()
    del given[next(iter(given))]
    torch.save(given, tmp_path / "one.pt")
    for file, reason in (("one.pt", "it lacks "), ("none.pt", "no such file")):
        with pytest.raises(BadInput, match=rf"^architecture\.weights=\S+{file}: {reason}"):
            started_from(composed, tmp_path / file)


IN_COLOUR = (*SMALL[:1], *SMALL[2:], "dataset._target_=own_parts.colours", "plugins=[own_parts,torchvision]")


def test_auxiliary_logits_of_torchvisions_googlenet_are_left_out(tmp_path):
    with_auxiliary = models.googlenet(num_classes=10, aux_logits=True, init_weights=False)
    torch.save(with_auxiliary.state_dict(), tmp_path / "one.pt")
    network = torchvision(input_shape=(3, 32, 32), classes=10, name="googlenet").eval()
    load_weights(network, tmp_path / "one.pt", "checkpoint")
    inputs = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(inputs), with_auxiliary.eval()(inputs))
    start = load_start(network, str(tmp_path / "one.pt"), "architecture.weights")
    assert start.keys() == network.state_dict().keys()


def test_a_builder_of_torchvisions_starts_from_a_file_of_1000_classes(composed, tmp_path):
    given = models.shufflenet_v2_x0_5(num_classes=1000).state_dict()
    torch.save(given, tmp_path / "one.pt")
    words = ("architecture._target_=torchvision.models.shufflenet_v2_x0_5", "training=adamw")
    config = composed(*IN_COLOUR, *words, f"architecture.weights={tmp_path / 'one.pt'}")
    state = build(config).initialised("original").state_dict()
    assert state["fc.weight"].shape == (5, 1024)
    assert all(torch.equal(state[key], given[key]) for key in given if not key.startswith("fc."))
    with pytest.raises(BadInput, match=r"^architecture\.weights=DEFAULT: no such file$"):
        build(composed(*IN_COLOUR, *words, "architecture.weights=DEFAULT"))
