"""A recorded trajectory against the models it went through."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from conftest import SMALL
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, softmax

from softtargets.config.resolve import config_hash
from softtargets.console import Console
from softtargets.evaluation import trajectory as trajectory_module
from softtargets.evaluation.evaluate import evaluate, predict_sets
from softtargets.evaluation.matched import level, point
from softtargets.execution import unlearning
from softtargets.execution.experiment import build
from softtargets.execution.target_sets import TargetSets


def followed(composed, *overrides):
    """An experiment, and its trajectory against an untrained model in the place of the retrained one."""
    experiment = build(composed(*SMALL, *overrides))
    retrained = evaluate(predict_sets(experiment.initialised("retrained"), experiment.data), experiment.data)
    return experiment, unlearning.new_trajectory(experiment, retrained)


def test_a_row_is_the_evaluation_of_the_model_at_that_step(composed):
    experiment, trajectory = followed(composed, "unlearn.stop=none")
    models = [experiment.initialised(name) for name in ("one", "retrained")]
    assert [trajectory(model, step) for step, model in enumerate(models)] == [False, False]
    columns = trajectory.columns
    assert columns["step"] == [0, 1]
    for i, model in enumerate(models):
        metrics = evaluate(predict_sets(model, experiment.data), experiment.data).metrics
        for name in ("forget_acc", "retain_acc", "validation_acc", "test_acc", "unseen_acc"):
            assert columns[name][i] == pytest.approx(metrics[name], rel=1e-5)
    assert columns["js_forget"][0] > 1e-3
    assert columns["js_forget"][1] == pytest.approx(0, abs=1e-9)
    assert columns["mia_gap"][1] == 0
    assert trajectory.seconds > 0


def test_a_row_has_the_js_at_fitted_temperatures(composed):
    """Against scipy: each model's temperature minimises the likelihood loss on the validation images."""
    experiment, trajectory = followed(composed, "dataset.train_size=2000", "unlearn.stop=none")
    model, data = experiment.initialised("one"), experiment.data
    trajectory(model, 0)

    def probabilities(one):
        logits = {name: z.double().numpy() for name, z in predict_sets(one, data).items()}
        labels = data.validation.labels.numpy()
        loss = lambda t: -log_softmax(logits["validation"] / t, 1)[range(len(labels)), labels].mean()  # noqa: E731
        t = minimize_scalar(loss, bounds=(0.2, 5), method="bounded", options={"xatol": 1e-9}).x
        return softmax(logits["forget"] / t, 1)

    p, q = probabilities(model), probabilities(experiment.initialised("retrained"))
    expected = np.mean([jensenshannon(*rows) ** 2 for rows in zip(p, q, strict=True)])
    assert trajectory.columns["js_t_forget"] == [pytest.approx(expected, rel=1e-4)]
    assert trajectory.columns["js_forget"] != trajectory.columns["js_t_forget"]


def test_too_few_validation_images_leave_a_gap_in_the_place_of_a_temperature(composed):
    experiment, trajectory = followed(composed, "unlearn.stop=none")
    trajectory(experiment.initialised("one"), 0)
    assert len(experiment.data.validation) < 100
    assert trajectory.columns["js_t_forget"] == [None]


def test_few_samples_stand_for_all(composed):
    experiment, trajectory = followed(composed, "dataset.train_size=2000", "unlearn.evaluate_samples=100")
    assert {len(samples) for samples in trajectory.data.evaluated().values()} == {100}
    model = experiment.initialised("one")
    trajectory(model, 0)
    few = evaluate(predict_sets(model, experiment.monitored.split), experiment.monitored.split).metrics
    assert trajectory.columns["test_acc"] == [few["test_acc"]]
    assert trajectory.columns["test_acc"] != [
        evaluate(predict_sets(model, experiment.data), experiment.data).metrics["test_acc"]
    ]


def test_a_model_out_of_range_leaves_gaps(composed):
    experiment, trajectory = followed(composed, "unlearn.stop=matched")
    model = experiment.initialised("one")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    assert trajectory(model, 0) is False
    assert {tuple(values) for name, values in trajectory.columns.items() if name != "step"} == {(None,)}


@pytest.mark.parametrize("stop", ["none", "matched"])
def test_the_way_is_recorded_and_its_end_is_the_result(run, composed, stop):
    result, _ = run(
        *SMALL,
        "mu_algo=gradasc",
        "unlearn.epochs=10",
        "unlearn.optimizer.lr=3e-2",
        "unlearn.evaluate_every=2",
        f"unlearn.stop={stop}",
    )
    way, steps = result["trajectory"], result["cost"]["steps"]
    assert way["step"] == list(range(0, steps + 1, 2))
    assert all(len(column) == len(way["step"]) for column in way.values())
    for model, i in (("original", 0), ("unlearned", -1)):
        for name in ("forget_acc", "validation_acc", "unseen_acc"):
            assert way[name][i] == pytest.approx(result["metrics"][model][name], rel=1e-5)
    assert way["js_forget"][0] == pytest.approx(result["baseline"]["js_forget"], rel=1e-3)
    accuracy, samples = result["metrics"]["retrained"]["forget_acc"], result["data"]["sizes"]["forget"]
    assert result["matched_level"] == level(accuracy, samples)._asdict()
    assert result["matched"] == point(way, level(accuracy, samples))
    assert (result["stop_rule"] is None) == (stop == "none")
    if stop == "matched":
        assert result["cost"]["stopped"]
        below = [accuracy <= way["unseen_acc"][0] for accuracy in way["forget_acc"]]
        assert below[-3:] == [True] * 3
        assert "True, True, True" not in str(below[:-1])
        rule, n = result["stop_rule"], len(build(composed(*SMALL)).data.level.positions)
        assert (rule["looks"], rule["in_a_row"], rule["samples"]) == (3, 3, n)
        assert (rule["forget_acc"], rule["unseen_acc"]) == (way["forget_acc"][-1], way["unseen_acc"][0])
        a = rule["unseen_acc"]
        assert rule["standard_error"] == pytest.approx((a * (1 - a) / n) ** 0.5)


@pytest.mark.parametrize(
    ("looks", "forgotten", "settled", "ends"),
    [
        (1, [0, 1], [0, 0], [0, 1]),  # the first look, be it in a transient: the first rule there was
        (3, [1, 1, 0, 1, 1, 1], [1] * 6, [0, 0, 0, 0, 0, 1]),
        (2, [1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]),  # a schedule's hot phase counts for nothing
        (0, [1, 1, 1], [1] * 3, [0, 0, 0]),
    ],
)
def test_the_stop_rule_wants_looks_in_a_row_that_are_settled(
    composed, monkeypatch, looks, forgotten, settled, ends
):
    overrides = ("unlearn.stop=none",) if not looks else ("unlearn.stop=matched", f"unlearn.looks={looks}")
    experiment, trajectory = followed(composed, *overrides)
    truth = iter(forgotten)
    monkeypatch.setattr(trajectory_module, "has_forgotten", lambda metrics, level: bool(next(truth)))
    model = experiment.initialised("one")
    found = [trajectory(model, i, looks == 1 or bool(calm)) for i, calm in enumerate(settled)]
    assert found == [bool(end) for end in ends]


def test_a_schedule_is_settled_from_half_of_its_highest_rate_on(run, monkeypatch):
    """Under a cosine the rate is above half of its peak up to half the steps; the rule ends nothing before."""
    monkeypatch.setattr(trajectory_module, "has_forgotten", lambda metrics, level: True)
    words = ("unlearn.stop=matched", "unlearn.evaluate_every=1", "unlearn.evaluate_growth=0.0")
    words += ("mu_algo=finetune", "unlearn.max_steps=13")
    result, _ = run(*SMALL, "unlearn.looks=2", *words)
    assert result["trajectory"]["step"][-1] == result["cost"]["steps"] == 8
    at_once, _ = run(*SMALL, "unlearn.looks=1", *words)
    assert at_once["trajectory"]["step"] == [0]


def test_hashes_are_as_ever_without_the_rule_and_for_one_look(composed):
    """Runs whose stop rule is another than before are not taken for them."""
    hashed = lambda *words: config_hash(composed(*SMALL, *words))  # noqa: E731
    assert "looks" not in composed(*SMALL, "unlearn.stop=none")["unlearn"]
    assert "looks" not in composed(*SMALL, "unlearn.looks=1")["unlearn"]
    assert hashed("unlearn.stop=none", "unlearn.looks=5") == hashed("unlearn.stop=none")
    assert len({hashed(f"unlearn.looks={looks}", "unlearn.stop=matched") for looks in (1, 3, 5)}) == 3


def test_looking_changes_nothing_and_is_not_counted(run):
    asked = functools.partial(run, *SMALL, "unlearn.stop=none")
    looked, alone = (asked(f"unlearn.evaluate_every={every}")[0] for every in (1, "null"))
    assert looked["metrics"] == alone["metrics"]
    assert looked["hashes"] == alone["hashes"]
    assert alone["matched"] is None
    assert set(map(tuple, alone["trajectory"].values())) == {()}
    assert looked["cost"]["gradient_samples"] == alone["cost"]["gradient_samples"]


def test_unlearning_is_timed_without_the_evaluation_on_its_way(composed, monkeypatch):
    experiment, trajectory = followed(composed, "unlearn.stop=none")
    clock = [0.0]

    def passing(seconds, value):
        clock[0] += seconds
        return value

    def algorithm(original, forget, retain, fit):
        for step in range(3):
            fit.watch(passing(7, original), step)
        return original

    monkeypatch.setattr(unlearning.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(trajectory_module, "predict_sets", lambda *asked: passing(100, predict_sets(*asked)))
    data, original = experiment.data, experiment.initialised("original")
    targets = TargetSets(data.forget, data.retain, seconds=0.0, teachers={})
    timed = dataclasses.replace(experiment, unlearn=algorithm)
    _, _, spent = unlearning.unlearn(timed, original, targets, trajectory, Console())
    assert (spent.seconds, trajectory.seconds) == (21, 300)
