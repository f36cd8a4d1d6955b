"""A run is called by what ran: in its choices, its folder, and the report."""

import functools
from pathlib import Path

import pytest
from conftest import CONF, SMALL, options
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from results_by_hand import leave, result

from softtargets.config import names
from softtargets.execution import composed_run
from softtargets.report.runs import read
from softtargets.study import cells
from softtargets.study.composing import Composer

CHANGED = {
    ("targets/forget=masked", "targets/retain=self"): {"targets": "delete"},
    ("targets=soft", "targets/forget=masked"): {"targets": "delete", "targets_forget": "masked"},
    ("targets/forget=masked",): {"targets": "masked/hard"},
    ("targets=soft", "targets.forget.temperature=1"): {"targets": "soft forget.temperature=1"},
    ("targets=soft", "targets.forget.temperature=0.5"): {"targets": "soft"},
    ("targets=out_of_fold", "targets.forget.modifiers=[sample]"): {
        "targets": "out_of_fold_sample",
        "targets_forget": "out_of_fold_sample",
    },
    ("targets=out_of_fold", "targets.forget.modifiers=[harden,reflect]"): {
        "targets": "out_of_fold forget.modifiers=[harden,reflect]"
    },
    ("targets=ugradsl", "targets.forget.smoothing=-0.3"): {"targets": "ugradsl forget.smoothing=-0.3"},
    ("targets/retain=self", "targets.retain.temperature=2"): {"targets": "soft_retain retain.temperature=2"},
    ("targets.forget._target_=own_parts.first_class",): {
        "targets": "own_parts.first_class/hard",
        "targets_forget": "own_parts.first_class",
    },
    ("targets.forget._target_=softtargets.targets.uniform", "targets/retain=self"): {"targets": "uniform"},
    ("architecture._target_=own_parts.TinyNet",): {"architecture": "own_parts.TinyNet", "training": "mlp"},
    ("architecture._target_=softtargets.architectures.cnn",): {"architecture": "cnn", "training": "mlp"},
    ("architecture=torchvision", "architecture.name=vgg11"): {
        "architecture": "torchvision.vgg11",
        "training": "torchvision",
    },
    ("mu_algo._target_=own_parts.broken",): {"mu_algo": "own_parts.broken", "unlearn": "graddiff"},
    ("mu_algo._target_=softtargets.mu_algo.npo.npo",): {"mu_algo": "npo", "unlearn": "graddiff"},
    ("dataset._target_=own_parts.images",): {"dataset": "own_parts.images"},
    ("forget_set._target_=own_parts.some",): {"forget_set": "own_parts.some"},
    ("training.optimizer._target_=torch.optim.SGD",): {"training": "mlp optimizer=torch.optim.SGD"},
    ("training.schedule=null", "training.batch_size=7"): {"training": "mlp schedule=null"},
    ("unlearn.optimizer._target_=torch.optim.Adam",): {"unlearn": "graddiff optimizer=torch.optim.Adam"},
    ("training=mlp_reference", "architecture.hidden=3", "mu_algo.alpha=2"): {"training": "mlp_reference"},
}
"""What is typed, and the names that are not those of the options."""
USUAL = dict.fromkeys(("architecture", "training"), "mlp") | dict.fromkeys(("mu_algo", "unlearn"), "graddiff")
USUAL |= {"dataset": "mnist_5k", "forget_set": "random"}


@functools.cache
def hydra_config(*overrides, algorithm="graddiff"):
    plugins = ["plugins=[own_parts]"] if "own_parts" in " ".join(overrides) else []
    overrides = (f"mu_algo={algorithm}", *overrides, *plugins)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


@pytest.mark.parametrize("overrides", CHANGED, ids=" ".join)
def test_what_was_changed_is_called_by_its_parts(overrides):
    found = composed_run.resolved_config(hydra_config(*overrides))["choices"]
    assert CHANGED[overrides].items() <= found.items()
    usual = {group: name for group, name in USUAL.items() if group not in CHANGED[overrides]}
    assert usual.items() <= found.items()


@pytest.mark.parametrize("overrides", CHANGED, ids=" ".join)
def test_a_result_that_was_filed_under_its_option_is_reported_under_its_parts(overrides, tmp_path):
    config = composed_run.resolved_config(hydra_config(*overrides))
    before = composed_run.chosen(hydra_config(*overrides).hydra.runtime).options
    runs = read(
        leave(tmp_path, *(result(i, choices=c, config=config) for i, c in enumerate((before, config["choices"]))))
    )
    first, second = runs
    assert first.arm == second.arm == config["choices"]["targets"]
    assert first.cell == second.cell
    shown = dict(first.cell.settings) | {"targets": first.arm}
    assert {group: shown.get(group, name) for group, name in CHANGED[overrides].items()} == CHANGED[overrides]


@pytest.mark.parametrize("kind", options("targets/forget"))
def test_a_kind_keeps_its_name_on_either_side(kind):
    found = composed_run.resolved_config(hydra_config(f"targets/forget={kind}", f"targets/retain={kind}"))[
        "choices"
    ]
    assert (found["targets_forget"], found["targets_retain"]) == (kind, kind)
    assert found["targets"] == ("hard" if kind == "hard" else f"{kind}/{kind}").replace("self/self", "soft")


def test_a_run_is_filed_under_its_names():
    for overrides, name in (
        ((), "mnist_5k-mlp-graddiff-hard-0"),
        (("targets/forget=masked", "seed=3"), "mnist_5k-mlp-graddiff-masked_hard-3"),
        (("targets=soft", "targets.forget.temperature=1"), "mnist_5k-mlp-graddiff-soft_forget.temperature=1-0"),
        (("architecture._target_=own_parts.TinyNet",), "mnist_5k-own_parts.TinyNet-graddiff-hard-0"),
        (
            ("architecture=torchvision", "architecture.name=resnet18"),
            "mnist_5k-torchvision.resnet18-graddiff-hard-0",
        ),
    ):
        assert composed_run.run_title(hydra_config(*overrides)) == name
    assert composed_run.run_title(hydra_config(algorithm="relabel")) == "mnist_5k-mlp-relabel-out_of_fold_3-0"


def test_relabel_has_targets_of_its_own_unless_others_are_typed():
    for words, targets in (((), "out_of_fold_3"), (("targets=hard",), "hard"), (("targets=soft",), "soft")):
        found = composed_run.resolved_config(hydra_config(*words, algorithm="relabel"))["choices"]
        assert (found["mu_algo"], found["targets"]) == ("relabel", targets)
    changed = hydra_config("mu_algo.alpha=2", "unlearn.schedule=null", algorithm="relabel")
    assert composed_run.resolved_config(changed)["choices"]["mu_algo"] == "relabel"
    assert changed.hydra.runtime.choices.tuned == "mnist_5k/mlp/random/relabel/out_of_fold_3"


def test_a_repeated_run_is_filed_under_what_is_repeated(tmp_path):
    config = composed_run.resolved_config(hydra_config(*SMALL, "mu_algo=npo", "targets=delete", "seed=7"))
    config["choices"] |= {"targets": "hard"}  # as results of before are filed
    OmegaConf.save(OmegaConf.create(config), tmp_path / "config.yaml")
    again = hydra_config(f"rerun={tmp_path}")
    assert composed_run.run_title(again) == "mnist_5k-mlp-npo-delete-7"
    assert composed_run.resolved_config(again)["choices"]["targets"] == "delete"


def test_an_edited_copy_of_a_run_is_called_by_what_it_came_to_be(tmp_path):
    own = ("targets=soft", "targets.forget.temperature=2", "mu_algo._target_=own_parts.broken")
    config = composed_run.resolved_config(hydra_config(*SMALL, *own))
    assert config["choices"]["targets"] == "soft forget.temperature=2"
    config["targets"]["forget"]["temperature"] = 0.5
    config["mu_algo"]["_target_"] = "softtargets.mu_algo.graddiff.graddiff"
    OmegaConf.save(OmegaConf.create(config), tmp_path / "config.yaml")
    found = composed_run.resolved_config(hydra_config(f"rerun={tmp_path}"))["choices"]
    assert (found["targets"], found["mu_algo"]) == ("soft", "graddiff")


def test_options_of_the_listed_plugins_keep_their_names_until_their_parts_are_changed(tmp_path):
    (tmp_path / "mu_algo").mkdir()
    (tmp_path / "mu_algo/pull.yaml").write_text("_target_: own_parts.broken\n_partial_: true\n")
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets/own.yaml").write_text(
        "defaults:\n  - forget: self\n  - retain: hard\n  - _self_\nforget:\n  temperature: 3\n"
    )
    found = f"hydra.searchpath=[file://{tmp_path}]"
    own = (found, "mu_algo=pull", "unlearn=npo", "targets=own")
    chosen = composed_run.resolved_config(hydra_config(*own))["choices"]
    assert (chosen["mu_algo"], chosen["targets"]) == ("pull", "own")
    more = (*own, "mu_algo._target_=own_parts.in_place", "targets.forget.temperature=2")
    chosen = composed_run.resolved_config(hydra_config(*more))["choices"]
    assert (chosen["mu_algo"], chosen["targets"]) == ("own_parts.in_place", "own forget.temperature=2")


def test_a_cell_is_filed_under_what_ran_and_an_ordinary_one_as_typed(tmp_path):
    def folders(*overrides):
        combinations = [[*overrides, f"targets={preset}"] for preset in ("hard", "soft")]
        composer = Composer(lambda words: hydra_config(*words), OverridesParser.create().parse_overrides)
        found = cells.cells(combinations, ["targets"], tmp_path, composer)
        return [cell.folder.name.rpartition("-")[0] for cell in found]

    assert folders() == ["targets=hard", "targets=soft"]
    assert folders("targets/forget=masked") == ["targets=masked_hard", "targets=delete"]


def test_a_folder_of_options_whose_path_is_too_long_has_none():
    assert names._options("targets", (CONF, Path("x" * 300))) == names._options("targets", (CONF,))
