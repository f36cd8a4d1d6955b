"""What is known of these data and models beforehand, on real images."""

import math

import pytest

FASHION_6000 = ("dataset=fashion_mnist", "dataset.train_size=6000")


@pytest.fixture
def reference(run, fashion):
    """`reference(*overrides)`: the metrics of original and retrained model."""

    def metrics(*overrides):
        result, _ = run(*FASHION_6000, *overrides, "mu_algo=gradasc", "unlearn=gradasc_reference")
        return result["metrics"], result["data"]["sizes"]

    return metrics


def test_a_random_forget_set_is_to_the_retrained_model_like_test_data(reference):
    metrics, sizes = reference()
    retrained = metrics["retrained"]
    p = retrained["test_acc"]
    error = math.sqrt(p * (1 - p) * (1 / sizes["forget"] + 1 / sizes["test"]))
    assert abs(retrained["forget_acc"] - p) < 3 * error
    # the standard error of an AUC of 1/2 is sqrt((m + n + 1) / 12 m n)
    m = sizes["forget"]
    assert abs(retrained["mia_auc"] - 0.5) < 3 * math.sqrt((2 * m + 1) / (12 * m * m))


def test_the_original_has_memorised_a_small_training_set(reference):
    metrics, _ = reference()
    assert metrics["original"]["forget_acc"] > 0.94
    assert metrics["original"]["test_acc"] > 0.845
    assert metrics["original"]["mia_auc"] > 0.52


def test_the_retrained_model_knows_nothing_of_a_class_it_never_saw(reference):
    metrics, _ = reference("forget_set=class", "forget_set.classes=[5]")
    assert metrics["retrained"]["forget_acc"] == 0
    assert metrics["retrained"]["class_acc"][5] == 0
    assert metrics["original"]["class_acc"][5] > 0.85


def test_reference_unlearning_moves_little_and_the_result_says_so(run, fashion):
    result, _ = run(*FASHION_6000, "mu_algo=gradasc", "unlearn=gradasc_reference")
    metrics = result["metrics"]
    assert result["change"]["relative_l2"] < 1e-3
    assert abs(metrics["unlearned"]["forget_acc"] - metrics["original"]["forget_acc"]) < 0.01


@pytest.mark.parametrize(
    ("algorithm", "targets"),
    [("npo", "hard"), ("boundary_shrink", "hard"), ("salun", "random_label"), ("relabel", "random_label")],
)
def test_a_class_is_forgotten_and_the_others_are_kept(run, fashion, algorithm, targets):
    chosen = (f"mu_algo={algorithm}", f"targets={targets}", "forget_set=class", "forget_set.classes=[0]")
    metrics = run(*FASHION_6000, *chosen)[0]["metrics"]
    assert metrics["original"]["forget_acc"] > 0.9
    assert metrics["unlearned"]["forget_acc"] <= 0.01
    assert abs(metrics["unlearned"]["retain_acc"] - metrics["retrained"]["retain_acc"]) < 0.03


@pytest.mark.parametrize(("algorithm", "targets"), [("npo", "hard"), ("boundary_shrink", "hard")])
def test_wrong_labels_are_unlearned_and_the_true_ones_come_back(run, fashion, algorithm, targets):
    metrics = run(*FASHION_6000, "forget_set=mislabelled", f"mu_algo={algorithm}", f"targets={targets}")[0][
        "metrics"
    ]
    original, retrained, unlearned = (metrics[name] for name in ("original", "retrained", "unlearned"))
    assert original["forget_acc"] > 0.3
    assert abs(unlearned["forget_acc"] - retrained["forget_acc"]) < 0.02
    assert unlearned["forget_true_acc"] > original["forget_true_acc"] + 0.1
    assert abs(unlearned["test_acc"] - original["test_acc"]) < 0.02
