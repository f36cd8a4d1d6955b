"""An audit of given models equals what a run reports of the same ones."""

import copy
import csv
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL
from page_by_hand import Page
from results_by_hand import result
from torch import nn
from torch.utils.data import TensorDataset

import softtargets
from softtargets.errors import BadInput
from softtargets.execution.experiment import build
from softtargets.report.__main__ import main
from softtargets.report.summary import write_report
from softtargets.system.files import read_json
from softtargets.types import Samples

KINDS = {
    "random": ("forget_set=random",),
    "class": ("forget_set=class",),
    "mislabelled": ("forget_set=mislabelled", "forget_set.seed=3"),
}


def sets(data) -> dict:
    return {name: getattr(data, name) for name in ("forget", "retain", "test", "validation")}


SLOWER = [pytest.param(kind, marks=pytest.mark.long) for kind in KINDS if kind != "random"]


@pytest.mark.parametrize("kind", ["random", *SLOWER])
def test_audit_reports_the_numbers_of_the_run_bit_for_bit(run, composed, tmp_path, kind):
    overrides = (*SMALL, *KINDS[kind], "save_models=true")
    left_by_run, folder = run(*overrides)
    config = composed(*overrides)
    data = build(config).data
    models = softtargets.load(folder)._asdict()
    given = {"seed": config["forget_set"]["seed"], "forget_true_labels": data.forget_true_labels}
    given |= {
        "folder": tmp_path / "audit",
        "choices": {"dataset": "mnist_5k", "forget_set": kind, "targets": "hard"},
    }
    found = softtargets.audit(**models, **sets(data), **given)
    left = read_json(tmp_path / "audit/result.json")
    for part in ("metrics", "distance", "baseline", "change"):
        assert found[part] == left[part] == left_by_run[part], part
    assert found["hashes"] == {name: left_by_run["hashes"][name] for name in found["hashes"]}
    assert found["sizes"] == {name: left_by_run["data"]["sizes"][name] for name in found["sizes"]}
    write_report(folder, folder)
    assert reported(tmp_path / "audit") == reported(folder)
    same_faces(models, data, given["seed"], found["faces"], left_by_run["faces"])


def same_faces(models: dict, data, seed: int, found: dict, left: dict) -> None:
    """An audit fits other temperatures than a run, unless it is given the spare images too."""
    raw = [name for name in left if not name.startswith("js_t_") and name != "temperature"]
    assert {name: found[name] for name in raw} == {name: left[name] for name in raw}
    more = [
        torch.cat([getattr(one, part) for one in (data.validation, data.spare)]) for part in ("inputs", "labels")
    ]
    unseen = softtargets.audit(**models, **sets(data) | {"validation": tuple(more)}, seed=seed)["faces"]
    assert (unseen["temperature"], unseen["js_t_forget"]) == (left["temperature"], left["js_t_forget"])


def reported(folder: Path) -> list:
    """What a report says of the end of a run and its models."""
    with (folder / "runs.csv").open(newline="") as file:
        kept = ("unlearned.", "retrained.", "original.")
        runs = [
            {name: value for name, value in row.items() if name in ("status", "seed") or name.startswith(kept)}
            for row in csv.DictReader(file)
        ]
    with (folder / "arms.csv").open(newline="") as file:
        # an audit fits other temperatures, unless it has the spare images too
        rows = [row for row in csv.DictReader(file) if (row["where"], row["measure"]) != ("end", "js_t_forget")]
        rows = [row for row in rows if row["where"] == "end"]
    names = ("dataset", "forget_set", "measure", "arm", "n", "mean", "floor", "nothing", "diverged", "verdict")
    arrays = np.load(folder / "margins.npz")
    margins = {name: arrays[name].tolist() for name in sorted(arrays) if name != "forget_index"}
    return [runs, [{name: row[name] for name in names} for row in rows], margins]


def test_an_audit_against_several_retrained_models_has_their_floor(tiny):
    torch.manual_seed(1)
    first, other = Tiny(), Tiny()
    one = softtargets.audit(**tiny, retrained=first)
    both = softtargets.audit(**tiny, retrained=[first, other])
    assert both["distance"] == one["distance"]
    assert (one["faces"]["references"], both["faces"]["references"]) == (1, 2)
    apart = softtargets.audit(**tiny | {"unlearned": first}, retrained=other)["faces"]["js_forget"]["unlearned"]
    assert both["faces"]["js_forget"]["floor"] == pytest.approx(apart, rel=1e-9)
    assert both["faces"]["js_forget_shifted"]["unlearned"] is None  # no images
    assert both["faces"]["temperature"]["fitted_on"] == "retain, cross-fitted"
    assert len(both["hashes"]["further_retrained"]) == 1
    with pytest.raises(BadInput, match="retrained is an empty list"):
        softtargets.audit(**tiny, retrained=[])


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


def test_audit_leaves_each_part_of_a_model_in_its_mode(tiny):
    """Frozen batch normalisation stands in evaluation mode inside a network in training mode."""
    frozen = nn.BatchNorm1d(6).eval()
    tiny["unlearned"] = nn.Sequential(nn.Flatten(), frozen, nn.Linear(6, 3))
    softtargets.audit(**tiny)
    assert tiny["unlearned"].training
    assert not frozen.training


def test_an_unlearned_model_of_another_architecture_has_no_change_of_parameters(tiny):
    tiny["unlearned"] = nn.Sequential(nn.Flatten(), nn.Linear(6, 2), nn.Linear(2, 3))
    found = softtargets.audit(**tiny, retrained=Tiny())
    assert set(found["change"].values()) == {None}
    assert 0 < found["distance"]["js_forget"] < 0.7


def test_audits_of_a_folder_are_compared_like_runs(tiny, tmp_path):
    numbers = {}
    for seed, targets in itertools.product(range(2), ("hard", "soft")):
        torch.manual_seed(10 * seed)
        models = {"original": Tiny(), "retrained": Tiny()}
        unlearned = copy.deepcopy(models["original" if targets == "hard" else "retrained"])
        nn.init.normal_(unlearned.layer.bias, std=0.1)
        choices = {"targets": targets, "seed": seed, "dataset": "tiny", "mu_algo": "mine"}
        given = (
            tiny | models | {"unlearned": unlearned, "folder": tmp_path / f"{seed}{targets}", "choices": choices}
        )
        numbers[targets, seed] = softtargets.audit(**given)["distance"]["js_forget"]
    assert main([str(tmp_path), "--metric", "js_forget"]) == 0
    with (tmp_path / "pairs.csv").open(newline="") as file:
        # an audit fits other temperatures, unless it has the spare images too
        rows = [row for row in csv.DictReader(file) if (row["where"], row["measure"]) != ("end", "js_t_forget")]
        rows = [row for row in rows if row["where"] == "end"]
    assert [row["cell"] for row in rows] == 2 * ["tiny Tiny given mine"]
    found = {(arm, int(row["seed"])): float(row[f"value_{side}"]) for row in rows for side, arm in SIDES.items()}
    assert found == numbers
    assert (tmp_path / "summary.md").read_text().count("hard, soft") == 2


SIDES = {"one": "hard", "other": "soft"}


def test_a_report_without_a_retrained_model_says_what_was_not_measured(tiny, tmp_path):
    numbers = softtargets.audit(**tiny, folder=tmp_path)
    left = read_json(tmp_path / "result.json")
    assert left["metrics"]["unlearned"] == numbers["metrics"]["unlearned"]
    assert set(left["distance"].values()) == set(left["metrics"]["retrained"].values()) == {None}
    with (tmp_path / "runs.csv").open(newline="") as file:
        (run,) = csv.DictReader(file)
    assert float(run["unlearned.forget_acc"]) == numbers["metrics"]["unlearned"]["forget_acc"]
    assert Page((tmp_path / "report.html").read_text()).arms()[0][2] == "–"
    with (tmp_path / "arms.csv").open(newline="") as file:
        assert {(row["n"], row["mean"]) for row in csv.DictReader(file)} == {("0", "")}


def test_a_folder_that_holds_a_run_is_refused_before_any_work(tiny, tmp_path, folder):
    for content in ("{}", (folder(result(0)) / "run0/result.json").read_text()):
        (tmp_path / "result.json").write_text(content)
        with pytest.raises(BadInput, match=f"folder={tmp_path}: holds the result of a run. Give another folder"):
            softtargets.audit(**tiny | {"original": {}}, folder=tmp_path)
        assert (tmp_path / "result.json").read_text() == content


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"forget": (torch.zeros(0, 2, 3), torch.zeros(0))}, "forget has 0 inputs"),
        ({"test": (torch.zeros(2, 2, 3), torch.zeros(3))}, "test has 2 inputs and 3 labels"),
        (
            {"test": (torch.zeros(2, 2, 3), torch.tensor([0, 3]))},
            "test has labels from 0 to 3; they must be from 0 to 2",
        ),
        ({"original": Tiny().state_dict()}, "original has weights only; give architecture"),
        ({"original": {"x": torch.zeros(1)}, "architecture": Tiny}, "original: it lacks layer.bias"),
        ({"choices": {"target": "soft"}}, "choices has target; choose one of dataset, .*; did you mean targets"),
        ({"choices": {"seed": "1"}}, "choices has seed='1'; it must be int"),
        ({"folder": __file__}, "folder=.*test_audit.py: cannot be written to"),
        ({"retrained": nn.Sequential(nn.Flatten(), nn.Linear(6, 4))}, "logits of different widths"),
        ({"test": (torch.zeros(3, 7), torch.arange(3))}, r"original fails on test .*of shape \(1, 7\)\): .*mat1"),
        ({"test": (torch.zeros(3, 6), torch.tensor([0, 1, 1.5]))}, "test has labels in torch.float32 of shape"),
        ({"test": (torch.zeros(3, 6), torch.eye(3).long())}, r"test has labels in torch.int64 of shape \(3, 3\)"),
        ({"test": (torch.tensor(1.0), torch.tensor(1))}, "test has 0 inputs and 0 labels"),
        ({"test": (torch.full((3, 6), torch.nan), torch.arange(3))}, "test has inputs that are not finite"),
        ({"test": TensorDataset(torch.zeros(3, 6))}, "test: its samples cannot be stacked to inputs and labels"),
        ({"test": TensorDataset(torch.zeros(0, 6), torch.arange(0))}, "test has 0 inputs and 0 labels"),
        ({"test": (torch.zeros(3, 6, device="meta"), torch.arange(3))}, "test is on meta"),
        ({"unlearned": Tiny().half()}, r"float16 on cpu; convert them by unlearned.to\('cpu', torch.float32\)"),
        ({"unlearned": Tiny().to("meta")}, r"its weights are torch.float32 on meta; convert them"),
        ({"unlearned": nn.Sequential(Tiny(), nn.Softmax(1))}, "unlearned returns probabilities; it must return"),
        (
            {"unlearned": nn.Sequential(Tiny(), nn.Flatten(0))},
            r"unlearned on forget: returns logits of shape \(3,\)",
        ),
        ({"unlearned": nn.LSTM(3, 3)}, r"returns tuple; it must return a tensor of logits \(n, classes\)"),
        ({"forget_true_labels": torch.arange(5)}, r"forget_true_labels is no tensor of shape \(6,\)"),
        ({"forget_true_labels": torch.full((6,), 9)}, "forget_true_labels has labels from 9 to 9"),
        ({"seed": -1}, "seed=-1: must be a whole number from 0 on"),
        (
            {
                "forget": (torch.zeros(2, 6), torch.ones(2).long()),
                "validation": (torch.zeros(2, 6), torch.arange(1, 3) * 2 - 2),
            },
            "validation has no sample of the forget set's classes",
        ),
    ],
)
def test_audit_refuses_what_does_not_fit(tiny, change, sentence):
    with pytest.raises(BadInput, match=sentence):
        softtargets.audit(**tiny | change)


@pytest.mark.long
def test_audit_names_what_is_of_another_type():
    """In a process of its own, where the annotations are not checked."""
    code = """
import torch, softtargets
CHANGES = (
    {"retain": 5},
    {"test": (torch.zeros(3, 6).numpy(), torch.arange(3))},
    {"test": torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(3, 6), torch.arange(3)))},
    {"original": 5},
    {"unlearned": None},
    {"seed": "x"},
    {"choices": "soft"},
    {"choices": {"seed": True}},
    {"architecture": torch.nn.Linear(6, 3), "original": {}},
    {"architecture": lambda: None, "original": {}},
    {"architecture": lambda: 1 / 0, "original": {}},
    {"forget_true_labels": [0, 1, 2]},
)
net, pair = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3)), (torch.zeros(3, 6), torch.arange(3))
usual = dict(original=net, unlearned=net, forget=pair, retain=pair, test=pair)
for change in CHANGES:
    try:
        softtargets.audit(**usual | change)
    except ValueError as error:
        print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [
        "retain is int; give a pair of tensors (inputs and labels) or a dataset",
        "test is tuple of ndarray and Tensor; give a pair of tensors (inputs and labels) or a dataset",
        "test is DataLoader; give a pair of tensors (inputs and labels) or a dataset",
        "original is int; give a torch.nn.Module, a state dict, or the path of a file",
        "unlearned is NoneType; give a torch.nn.Module, a state dict, or the path of a file",
        "seed='x': must be a whole number from 0 on",
        "choices='soft': must be a dictionary, as in choices={'targets': 'soft', 'seed': 0}",
        "choices has seed=True; it must be int",
        "architecture is a network; give a function that returns one, as in architecture=Net",
        "architecture returns NoneType; it must return a torch.nn.Module",
        "architecture: division by zero",
        "forget_true_labels is no tensor of shape (3,); give one label for each input",
    ]
