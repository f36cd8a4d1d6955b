"""An audit of given models equals what a run reports of the same ones."""

import copy
import subprocess
import sys

import pytest
import torch
from conftest import SMALL
from torch import nn
from torch.utils.data import TensorDataset

import softtargets
from softtargets.errors import BadInput
from softtargets.execution.experiment import build
from softtargets.types import Samples

KINDS = {
    "random": ("forget_set=random",),
    "class": ("forget_set=class",),
    "mislabelled": ("forget_set=mislabelled", "forget_set.seed=3"),
}


def sets(data) -> dict:
    return {name: getattr(data, name) for name in ("forget", "retain", "test", "validation")}


@pytest.mark.parametrize("kind", KINDS)
def test_audit_reports_the_numbers_of_the_run_bit_for_bit(run, composed, kind):
    overrides = (*SMALL, *KINDS[kind], "save_models=true")
    result, folder = run(*overrides)
    config = composed(*overrides)
    data = build(config).data
    models = softtargets.load(folder)._asdict()
    seed = config["forget_set"]["seed"]
    found = softtargets.audit(**models, **sets(data), forget_true_labels=data.forget_true_labels, seed=seed)
    for part in ("metrics", "distance", "baseline", "change"):
        assert found[part] == result[part], part
    assert found["hashes"] == {name: result["hashes"][name] for name in found["hashes"]}
    assert found["sizes"] == {name: result["data"]["sizes"][name] for name in found["sizes"]}


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1))


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    draw = lambda n: (torch.randn(n, 2, 3), torch.arange(n) % 3)  # noqa: E731
    models = {"original": Tiny(), "unlearned": Tiny()}
    return models | {"forget": draw(6), "retain": draw(9), "test": draw(7)}


def test_audit_needs_neither_a_retrained_model_nor_validation_images(tiny):
    found = softtargets.audit(**tiny)
    assert found["distance"] is found["baseline"] is None
    assert found["metrics"]["unlearned"]["unseen_acc"] is None
    logits, labels = tiny["unlearned"](tiny["test"][0]), tiny["test"][1]
    assert found["metrics"]["unlearned"]["test_acc"] == (logits.argmax(1) == labels).double().mean().item()


def test_audit_takes_sets_and_models_in_any_form(tiny):
    wanted = softtargets.audit(**tiny)
    one_hot = nn.functional.one_hot(tiny["forget"][1], 3).float()
    forms = {
        "forget": Samples(*tiny["forget"], one_hot),
        "retain": TensorDataset(*tiny["retain"]),
        "original": tiny["original"].state_dict(),
        "architecture": Tiny,
    }
    assert softtargets.audit(**tiny | forms) == wanted


def test_audit_changes_no_model(tiny):
    before = copy.deepcopy(tiny["unlearned"].state_dict())
    tiny["unlearned"].train()
    softtargets.audit(**tiny)
    assert tiny["unlearned"].training
    assert all(torch.equal(before[name], value) for name, value in tiny["unlearned"].state_dict().items())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"forget": (torch.zeros(0, 2, 3), torch.zeros(0))}, "forget has 0 inputs"),
        ({"test": (torch.zeros(2, 2, 3), torch.zeros(3))}, "test has 2 inputs and 3 labels"),
        (
            {"test": (torch.zeros(2, 2, 3), torch.tensor([0, 3]))},
            "test has labels from 0 to 3; allowed are 0 to 2",
        ),
        ({"original": Tiny().state_dict()}, "original is weights alone; give architecture"),
        ({"original": {"x": torch.zeros(1)}, "architecture": Tiny}, "original: it lacks layer.bias"),
        ({"retrained": nn.Sequential(nn.Flatten(), nn.Linear(6, 4))}, "logits of different widths"),
    ],
)
def test_audit_refuses_what_does_not_fit(tiny, change, sentence):
    with pytest.raises(BadInput, match=sentence):
        softtargets.audit(**tiny | change)


def test_audit_names_what_is_of_another_type():
    """In a process of its own, where the annotations are not checked."""
    code = """
import torch, softtargets
net, pair = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3)), (torch.zeros(3, 6), torch.arange(3))
usual = dict(original=net, unlearned=net, forget=pair, retain=pair, test=pair)
for change in ({"retain": 5}, {"original": 5}):
    try:
        softtargets.audit(**usual | change)
    except ValueError as error:
        print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [
        "retain must be a pair of tensors, inputs and labels, or a dataset of such pairs",
        "original is int; it must be a torch.nn.Module, a state dict, or the path of a file",
    ]
