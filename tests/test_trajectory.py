"""A recorded trajectory against the models it went through."""

import dataclasses
import functools
import itertools

import pytest
import torch
from conftest import SMALL

from softtargets.console import Console
from softtargets.evaluation import trajectory as trajectory_module
from softtargets.evaluation.evaluate import evaluate, predict_sets
from softtargets.evaluation.matched import point
from softtargets.execution import pipeline
from softtargets.execution.experiment import build
from softtargets.execution.target_sets import TargetSets


def followed(composed, *overrides):
    """An experiment, and its trajectory against an untrained model in the place of the retrained one."""
    experiment = build(composed(*SMALL, *overrides))
    retrained = evaluate(predict_sets(experiment.initialised("retrained"), experiment.data), experiment.data)
    return experiment, pipeline.new_trajectory(experiment, retrained)


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
def test_the_way_is_recorded_and_its_end_is_the_result(run, stop):
    result, _ = run(
        *SMALL, "mu_algo=gradasc", "unlearn.epochs=4", "unlearn.evaluate_every=2", f"unlearn.stop={stop}"
    )
    way, steps = result["trajectory"], result["cost"]["steps"]
    assert way["step"] == list(range(0, steps + 1, 2))
    assert all(len(column) == len(way["step"]) for column in way.values())
    for model, i in (("original", 0), ("unlearned", -1)):
        for name in ("forget_acc", "validation_acc", "unseen_acc"):
            assert way[name][i] == pytest.approx(result["metrics"][model][name], rel=1e-5)
    assert way["js_forget"][0] == pytest.approx(result["baseline"]["js_forget"], rel=1e-3)
    assert result["matched"] == point(way)
    if stop == "matched" and result["cost"]["stopped"]:
        assert result["matched"] is not None
        assert way["forget_acc"][-1] <= way["unseen_acc"][-1]
        assert all(
            f > u
            for f, u in itertools.islice(
                zip(way["forget_acc"], way["unseen_acc"], strict=True), len(way["step"]) - 1
            )
        )


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

    monkeypatch.setattr(pipeline.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(trajectory_module, "predict_sets", lambda *asked: passing(100, predict_sets(*asked)))
    data, original = experiment.data, experiment.initialised("original")
    targets = TargetSets(data.forget, data.retain, seconds=0.0, teachers={})
    timed = dataclasses.replace(experiment, unlearn=algorithm)
    _, _, spent = pipeline.unlearn(timed, original, targets, trajectory, Console())
    assert (spent.seconds, trajectory.seconds) == (21, 300)
