"""What is known of these data and models beforehand, on real images."""

import math

import pytest
import torch

from softtargets import load

FASHION_6000 = ("dataset=fashion_mnist", "dataset.train_size=6000")


@pytest.fixture
def reference(run, fashion):
    """`reference(*overrides)`: the metrics of original and retrained model."""

    def metrics(*overrides):
        result, _ = run(*FASHION_6000, *overrides, "mu_algo=gradasc", "unlearn=gradasc_reference")
        return result["metrics"], result["data"]["sizes"]

    return metrics


@pytest.mark.long
def test_a_random_forget_set_is_to_the_retrained_model_like_test_data(reference):
    metrics, sizes = reference()
    retrained = metrics["retrained"]
    p = retrained["test_acc"]
    error = math.sqrt(p * (1 - p) * (1 / sizes["forget"] + 1 / sizes["test"]))
    assert abs(retrained["forget_acc"] - p) < 3 * error
    # the standard error of an AUC of 1/2 is sqrt((m + n + 1) / 12 m n)
    m = sizes["forget"]
    assert abs(retrained["mia_auc"] - 0.5) < 3 * math.sqrt((2 * m + 1) / (12 * m * m))


@pytest.mark.long
def test_the_original_has_memorised_a_small_training_set(reference):
    metrics, _ = reference()
    assert metrics["original"]["forget_acc"] > 0.94
    assert metrics["original"]["test_acc"] > 0.845
    assert metrics["original"]["mia_auc"] > 0.52


@pytest.mark.long
def test_the_retrained_model_knows_nothing_of_a_class_it_never_saw(reference):
    metrics, _ = reference("forget_set=class", "forget_set.classes=[5]")
    assert metrics["retrained"]["forget_acc"] == 0
    assert metrics["retrained"]["class_acc"][5] == 0
    assert metrics["original"]["class_acc"][5] > 0.85


@pytest.mark.long
def test_reference_unlearning_moves_little_and_the_result_says_so(run, fashion):
    result, _ = run(*FASHION_6000, "mu_algo=gradasc", "unlearn=gradasc_reference")
    metrics = result["metrics"]
    assert result["change"]["relative_l2"] < 1e-3
    assert abs(metrics["unlearned"]["forget_acc"] - metrics["original"]["forget_acc"]) < 0.01


OF_CLASSES = {
    "gradasc": ["hard"],
    "graddiff": ["hard"],
    "npo": ["hard"],
    "ugradsl_plus": ["hard"],
    "scrub": ["hard"],
    "relabel": ["random_label", "delete"],
    "salun": ["random_label", "delete"],
    "boundary_shrink": ["hard"],
    "finetune": ["hard"],
    "l1_sparse": ["hard"],
    "unsir": ["hard"],
    "ssd": ["hard"],
    "neggrad_plus": ["hard"],
    "rmu": ["hard"],
}
CLASS = {"neggrad_plus": 3, "rmu": 3}
"""What is forgotten where it is not class 0, which neggrad_plus forgets at a cost (0.15 of retain accuracy)."""
LEFT, COARSE = {"ssd": 0.15}, {"gradasc": 0.1, "rmu": 0.05}
"""Forget accuracy that may be left, where 0.02 is too little; and how far from the retrained model's the retain
accuracy may be, where 0.03 is too near. What ssd leaves is 0.05 of a model trained in bf16, 0.11 in float32."""


@pytest.mark.long
@pytest.mark.parametrize(("algorithm", "targets"), [(a, targets) for a in OF_CLASSES for targets in OF_CLASSES[a]])
def test_a_class_is_forgotten_and_the_others_are_kept(run, fashion, algorithm, targets):
    chosen = (f"mu_algo={algorithm}", f"targets={targets}", "forget_set=class")
    chosen += (f"forget_set.classes=[{CLASS.get(algorithm, 0)}]",)
    if algorithm in ("graddiff", "neggrad_plus"):
        chosen += ("unlearn.looks=1",)
    metrics = run(*FASHION_6000, *chosen)[0]["metrics"]
    assert metrics["original"]["forget_acc"] > 0.9
    assert metrics["unlearned"]["forget_acc"] <= LEFT.get(algorithm, 0.02)
    gap = abs(metrics["unlearned"]["retain_acc"] - metrics["retrained"]["retain_acc"])
    assert gap < COARSE.get(algorithm, 0.03)


@pytest.mark.long
def test_rmu_forgets_no_class_that_its_destination_looks_like(run, fashion):
    """What the last layer calls the direction of a random non-negative vector is class 0 here."""
    chosen = ("mu_algo=rmu", "forget_set=class", "forget_set.classes=[0]")
    result, folder = run(*FASHION_6000, *chosen, "save_models=true")
    assert result["matched"] is None
    assert result["metrics"]["unlearned"]["forget_acc"] > 0.5
    v = torch.rand(100, 800, generator=torch.Generator().manual_seed(0))
    last = load(folder).original[-1]
    assert (last(30 * v / v.norm(dim=1, keepdim=True)).argmax(1) == 0).sum() > 80


OF_WRONG_LABELS = {
    "graddiff": ["hard"],
    "neggrad_plus": ["hard"],
    "ugradsl_plus": ["hard"],
    "npo": ["hard"],
    "scrub": ["hard"],
    "relabel": ["out_of_fold", "delete"],
    "salun": ["out_of_fold"],
    "boundary_shrink": ["hard"],
    "finetune": ["hard"],
    "l1_sparse": ["hard"],
}
"""Without gradasc and ssd, which leave little of the network, and rmu, which has no eye for labels."""
HARM = {"graddiff": 0.12}
"""Test accuracy that may be lost where it is more than 0.05: graddiff swings, and stops somewhere on a swing."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("algorithm", "targets"), [(a, targets) for a in OF_WRONG_LABELS for targets in OF_WRONG_LABELS[a]]
)
def test_wrong_labels_are_unlearned_and_the_true_ones_come_back(run, fashion, algorithm, targets):
    chosen = ("forget_set=mislabelled", f"mu_algo={algorithm}", f"targets={targets}")
    metrics = run(*FASHION_6000, *chosen)[0]["metrics"]
    original, retrained, unlearned = (metrics[name] for name in ("original", "retrained", "unlearned"))
    assert original["forget_acc"] > 0.3
    assert unlearned["forget_acc"] < (original["forget_acc"] + retrained["forget_acc"]) / 2
    assert unlearned["forget_true_acc"] > original["forget_true_acc"] + 0.2
    assert unlearned["test_acc"] > original["test_acc"] - HARM.get(algorithm, 0.05)
