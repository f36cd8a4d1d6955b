"""Composed configs: every option builds, groups follow each other, and hashes name what is asked for."""

import dataclasses
import itertools
import re

import methods
import pytest
from conftest import CONF, options, suited
from hydra.utils import get_method
from omegaconf import OmegaConf

from softtargets import store
from softtargets.config import tuned, tuned_on
from softtargets.config.machine import resolve_machine
from softtargets.config.resolve import config_hash
from softtargets.errors import BadInput
from softtargets.execution import rehearsal
from softtargets.execution.experiment import build
from softtargets.execution.ingredients import of_model
from softtargets.marks import Algorithm

TINY = ("dataset.train_size=300",)
BASELINES = {
    "none",
    "none_calibrated",
    "early",
    "retrain",
    "head_reset",
    "class_mask",
    "teachers",
    "noisy_finetune",
    "sisa",
}
"""What methods are held against; these are no methods themselves."""
NEEDS = {
    "forget_set=indices": ["forget_set.path=INDICES"],
    "forget_set=marked": None,  # needs a dataset with marks; see test_datasets
    "architecture=resnet9": ["architecture.width=2"],  # to be fast
    "architecture=resnet18": ["architecture.width=2"],
    "architecture=torchvision": ["architecture.name=squeezenet1_1"],
    "dataset=folder": None,
    "dataset=mnist": None,
    "dataset=cifar10": None,
    "dataset=cifar100": None,
    "dataset=cifar10_jpeg": None,
    "dataset=svhn": None,
    "dataset=kmnist": None,
    "dataset=fashion_mnist": None,
}
CHOICES = [
    f"{group}={option}"
    for group in ("dataset", "architecture", "mu_algo", "targets", "training", "unlearn", "forget_set")
    for option in options(group)
]


NEEDS |= {f"mu_algo={name}": suited(name) for name in options("mu_algo") if suited(name)}


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if NEEDS.get(choice, []) is not None])
def test_every_option_builds(composed, choice, tmp_path):
    (tmp_path / "some.txt").write_text("1\n2\n3\n")
    extra = [word.replace("INDICES", str(tmp_path / "some.txt")) for word in NEEDS.get(choice, [])]
    experiment = build(composed(*TINY, choice, *extra))
    name = "torchvision.squeezenet1_1" if choice == "architecture=torchvision" else choice.partition("=")[2]
    assert experiment.config["choices"][choice.partition("=")[0]] == name
    assert experiment.epochs >= 1


@pytest.mark.long
@pytest.mark.parametrize("side", ["forget", "retain"])
@pytest.mark.parametrize("preset", options("targets"))
def test_either_side_can_be_chosen_alone(composed, preset, side):
    kinds = options(f"targets/{side}")
    for kind in kinds if preset in ("hard", "soft", "out_of_fold") else kinds[:1]:
        config = composed(*TINY, f"targets={preset}", f"targets/{side}={kind}")
        assert config["choices"][f"targets_{side}"] == kind
        build(config)


def test_training_follows_the_architecture_and_unlearn_the_algorithm(composed):
    config = composed("architecture=cnn", "mu_algo=gradasc")
    assert (config["choices"]["training"], config["choices"]["unlearn"]) == ("cnn", "gradasc")
    config = composed("architecture=cnn", "training=mlp_reference", "unlearn=graddiff_reference")
    assert (config["choices"]["training"], config["choices"]["unlearn"]) == ("mlp_reference", "graddiff_reference")


def test_the_seeds_values_are_kept(composed):
    for architecture in ("mlp", "cnn"):
        training = composed(f"architecture={architecture}", f"training={architecture}_reference")["training"]
        assert (training["epochs"], training["batch_size"], training["optimizer"]["lr"]) == (10, 32, 1e-4)
        assert training["optimizer"]["_target_"] == "torch.optim.Adam"
    for algorithm, lr in (("gradasc", 1e-5), ("graddiff", 5e-5)):
        unlearn = composed(f"mu_algo={algorithm}", f"unlearn={algorithm}_reference")["unlearn"]
        assert (unlearn["epochs"], unlearn["batch_size"], unlearn["stop"]) == (5, 32, "none")
        assert (unlearn["optimizer"]["lr"], unlearn["optimizer"]["momentum"]) == (lr, 0.9)
        assert unlearn["optimizer"]["_target_"] == "torch.optim.SGD"


def test_equal_configs_have_equal_hashes(composed):
    soft = ("targets=soft", "targets.forget.temperature=1")
    without = ("runs_dir=elsewhere", "save_models=true", "store.dir=/x", "data_dir=/y", "stage=train")
    same = [soft, ("targets=soft", "targets.forget.temperature=1.0"), *((*soft, word) for word in without)]
    assert len({config_hash(composed(*overrides)) for overrides in same}) == 1
    others = [("seed=1",), ("threads=2",), ("precision=bf16",), ("forget_set.seed=1",), ("mu_algo.alpha=2",)]
    assert len({config_hash(composed(*overrides)) for overrides in [*others, soft]}) == len(others) + 1


@pytest.mark.long
def test_what_ignores_targets_runs_once_for_all_of_them(composed):
    for name in options("mu_algo"):
        node = OmegaConf.load(CONF / "mu_algo" / f"{name}.yaml")
        runs = [composed(*suited(name), f"mu_algo={name}", f"targets={kind}") for kind in ("hard", "undial")]
        same = len({config_hash(config) for config in runs}) == 1
        assert same == node.get("ignores_targets", False), name
        assert not same or [config["choices"]["targets"] for config in runs] == ["hard", "hard"]


@pytest.mark.parametrize("name", ["finetune", "l1_sparse"])
def test_what_ignores_the_forget_sets_targets_runs_once_for_all_of_them_and_trains_no_teachers(composed, name):
    kinds = ("soft", "undial", "out_of_fold")  # each holds the retain set at the original's own predictions
    runs = [composed(*TINY, f"mu_algo={name}", f"targets={kind}") for kind in kinds]
    assert len({config_hash(config) for config in runs}) == 1
    assert {config["choices"]["targets"] for config in runs} == {"soft_retain"}
    assert rehearsal.answers_cost(build(runs[-1])).prepared == 0
    hard = composed(*TINY, f"mu_algo={name}", "targets=hard")
    assert (hard["choices"]["targets"], config_hash(hard) == config_hash(runs[0])) == ("hard", False)


@pytest.mark.parametrize("recipe", ["mlp", "mlp_efficient", "mlp_reference", "cnn", "resnet9", "resnet18"])
def test_retraining_can_have_the_runs_own_recipe(composed, recipe):
    """On 500 digits small batches leave JS_T at .003 for cost 1, and these at the floor, .001."""
    config = composed("mu_algo=retrain", "unlearn=retrain_own", "unlearn.cost=1", f"training={recipe}")
    shared = {"batch_size", "optimizer", "schedule", "clip_norm", "precision", "label_smoothing", "augmentation"}
    unlearn, training = ({name: config[group].get(name) for name in shared} for group in ("unlearn", "training"))
    assert unlearn == training
    assert config["choices"]["unlearn"] == "retrain_own"


@pytest.mark.long
def test_what_takes_no_steps_runs_once_for_all_budgets(composed):
    for name in options("mu_algo"):
        node = OmegaConf.load(CONF / "mu_algo" / f"{name}.yaml")
        runs = [composed(*suited(name), f"mu_algo={name}", f"unlearn.cost={cost}") for cost in (0.05, 0.2, "null")]
        assert (len({config_hash(config) for config in runs}) == 1) == node.get("ignores_cost", False), name
    assert composed("mu_algo=none", "unlearn.cost=-1")["unlearn"]["cost"] == -1  # stays, to be refused


def test_a_config_that_calls_targets_or_budgets_ignored_is_held_against_the_algorithm(composed):
    with pytest.raises(BadInput, match=r"mu_algo\.ignores_cost=true: gradasc is not marked has_no_loop"):
        build(composed(*TINY, "mu_algo=gradasc", "+mu_algo.ignores_cost=true"))
    with pytest.raises(BadInput, match=r"mu_algo\.ignores_targets=true: gradasc is not marked"):
        build(composed(*TINY, "mu_algo=gradasc", "+mu_algo.ignores_targets=true"))


def test_checkpoints_of_the_training_are_not_to_be_had_from_a_file(composed, tmp_path):
    with pytest.raises(BadInput, match=r"checkpoint=.*: early needs checkpoints from the original's training"):
        build(composed(*TINY, "mu_algo=early", f"checkpoint={tmp_path}/model.safetensors"))


@pytest.mark.parametrize("given", [(), ("training.epochs=3",)])
def test_small_sets_get_more_epochs_unless_a_number_is_given(composed, given):
    experiment = build(composed("dataset.train_size=600", *given))
    recipe = experiment.training
    steps = experiment.epochs * -(-len(experiment.data.train) // recipe.batch_size)
    assert experiment.epochs == 3 if given else steps >= recipe.min_steps


def test_the_split_is_shared_by_the_runs_of_a_process(composed):
    one, other = (build(composed(*TINY, f"seed={seed}")).data for seed in (0, 1))
    assert one is other


def test_a_model_that_does_not_fit_the_images_is_refused(composed):
    with pytest.raises(BadInput, match=r"does not fit .*: 28x28 images can be halved"):
        build(composed(*TINY, "architecture=cnn", "architecture.channels=[4,4,4,4,4]"))


# what the search found


def test_every_algorithm_is_shown():
    assert set(methods.TARGETS) == set(options("mu_algo")) - BASELINES


def ignores_forget_targets(algorithm: str) -> bool:
    function = get_method(OmegaConf.load(CONF / f"mu_algo/{algorithm}.yaml")._target_)
    return Algorithm.of(function).ignores_forget_targets


def taken_up(algorithm: str) -> set[str]:
    """The tuned values that the configs of an algorithm read."""
    texts = [(CONF / group / f"{algorithm}.yaml").read_text() for group in ("mu_algo", "unlearn")]
    return set(re.findall(r"oc\.select:tuned\.(\w+),", "".join(texts)))


TABLES = {name: tuned.read_table(CONF / "tuned" / f"{name}.yaml") for name in tuned.names(CONF / "tuned")}
ARMS = [
    (table, algorithm, targets)
    for table, arms in TABLES.items()
    for algorithm, of_targets in arms.items()
    for targets, entries in of_targets.items()
    if any("cost" not in one for one in entries)
]


def test_there_is_a_table_for_each_cell_that_was_searched():
    cells = itertools.product(("cnn", "mlp"), ("class", "mislabelled", "random"))
    fashion = [f"fashion_mnist/{architecture}/{forget_set}" for architecture, forget_set in cells]
    assert list(TABLES) == sorted([*fashion, "fashion_mnist/mlp/memorised", "mnist/mlp/random"])
    assert len(ARMS) == 163


@pytest.mark.parametrize(("table", "algorithm", "targets"), ARMS)
def test_tuned_values_are_for_arms_that_exist_and_taken_up(table, algorithm, targets):
    for group, option in zip(("dataset", "architecture", "forget_set"), table.split("/"), strict=True):
        assert option in options(group)
    assert targets == tuned.ANY_TARGETS if ignores_forget_targets(algorithm) else targets in options("targets")
    entry = tuned.entry(TABLES[table], algorithm, targets)
    assert set(entry["values"]) == taken_up(algorithm)
    assert all(0 <= value < 1000 for value in entry["values"].values())
    seeds = {seed for name in ("seeds", "forget_sets") for seed in entry["tuned_on"][name]}
    assert min(seeds) >= tuned_on.RESERVED


USUAL = {"architecture": "mlp", "forget_set": "random", "mu_algo": "", "targets": ""}


def test_no_arm_of_the_study_is_a_straw_man():
    """But for descent to hard labels, which relearns at any settings."""
    lines = OmegaConf.load(CONF / "experiment/first_study.yaml").hydra.sweeper.cells
    cells = [dict(word.split("=") for word in line.split()) for line in lines]
    for cell in cells:
        groups = (cell.get(name, usual) for name, usual in USUAL.items())
        for arm in itertools.product(*(words.split(",") for words in groups)):
            architecture, forget_set, algorithm, targets = arm
            entry = tuned.entry(TABLES[f"fashion_mnist/{architecture}/{forget_set}"], algorithm, targets)
            assert entry or (algorithm in ("relabel", "salun") and targets == "hard"), arm


@pytest.mark.parametrize("algorithm", sorted({algorithm for _, algorithm, _ in ARMS}))
def test_what_is_searched_is_taken_up_where_nothing_else_is_given(composed, algorithm):
    table, _, targets = next(arm for arm in ARMS if arm[1] == algorithm)
    values = {
        name: value + 1e-3 for name, value in tuned.entry(TABLES[table], algorithm, targets)["values"].items()
    }
    values |= {name: 2 for name in values if name == "max_passes"}
    asked = (*TINY, f"mu_algo={algorithm}", "tuned=none")
    places = {name: "unlearn.optimizer.lr" if name == "lr" else f"mu_algo.{name}" for name in values}
    found = composed(*asked, *(f"+tuned.{name}={value}" for name, value in values.items()))
    given = composed(*asked, *(f"{places[name]}={value}" for name, value in values.items()))
    assert config_hash(found) == config_hash(given)
    assert config_hash(found) != config_hash(composed(*asked))


def test_an_arm_takes_what_was_found_for_it_and_a_value_given_goes_before(composed):
    arm = ("dataset=fashion_mnist", "architecture=mlp", "forget_set=random", "mu_algo=graddiff", "targets=hard")
    config = composed(*arm)
    assert config["unlearn"]["optimizer"]["lr"] == 0.072
    assert config["mu_algo"]["alpha"] == 6.8
    assert composed(*arm, "mu_algo.alpha=5")["mu_algo"]["alpha"] == 5
    assert composed(*arm, "unlearn=graddiff_reference")["unlearn"]["optimizer"]["lr"] == 5e-5
    assert composed(*arm, "tuned=none")["mu_algo"]["alpha"] == 1


def test_the_validation_set_is_part_of_the_key_of_the_checkpoint_that_it_chooses(composed):
    experiment = build(composed(*TINY))
    data = dataclasses.replace(experiment.data, validation=experiment.data.test)
    both = experiment, dataclasses.replace(experiment, data=data)
    for name, same in (("early_original", False), ("original", True)):
        one, other = (store.key("model", of_model(each, name, data.train)) for each in both)
        assert (one == other) is same, name


def test_auto_takes_no_device_without_float64(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert resolve_machine({"device": "auto", "precision": "float32"})["device"] == "cpu"


def test_which_of_several_gpus_computes_has_no_part_in_the_hash(composed):
    hashes = {
        device: config_hash(composed(f"device={device}", "precision=float32")) for device in ("cuda", "cuda:1")
    }
    assert hashes["cuda"] == hashes["cuda:1"] != config_hash(composed("device=cpu", "precision=float32"))
