"""Targets as a run makes them: from which models, from the store, and at what cost."""

import json
import time

import pytest
import torch
import torch.nn.functional as F
from conftest import SMALL, options

from softtargets.console import Console
from softtargets.errors import BadInput
from softtargets.execution import models as models_module
from softtargets.execution.experiment import build
from softtargets.execution.models import Stages
from softtargets.execution.rehearsal import answers_cost
from softtargets.execution.target_sets import target_sets
from softtargets.execution.teachers import Teachers
from softtargets.fit import predict
from softtargets.store import Store, entries


@pytest.fixture
def stages(composed, tmp_path):
    """`stages(*overrides)`: the stages of a run, with a store of the test's own."""

    def made(*overrides) -> Stages:
        return Stages(build(composed(*SMALL, *overrides)), Store(tmp_path / "store"), Console())

    return made


def targets(stages: Stages):
    return target_sets(stages, stages.original(), stages.retrained())


def models(tmp_path) -> dict[str, dict]:
    """Ingredients of the trained models in the store, by key."""
    manifests = {
        path.name: path / "manifest.json" for path in entries(tmp_path / "store") if path.parent.name == "model"
    }
    return {key: json.loads(file.read_text())["ingredients"] for key, file in manifests.items()}


def test_held_out_images_are_of_no_training_and_of_no_stop_rule(stages):
    for stop in ("none", "matched"):
        made = stages("targets=held_out_nearest", f"unlearn.stop={stop}")
        data, unseen, original = made.experiment.data, made.experiment.held_out, made.original().model
        parts = [data.validation, data.spare] if stop == "none" else [data.spare]
        assert torch.equal(unseen.inputs, torch.cat([part.inputs for part in parts]))
        own, others = (original[:-1](samples.inputs) for samples in (data.forget, unseen))
        nearest = F.cosine_similarity(own[:, None], others[None], dim=2).argmax(1)
        expected = predict(original, unseen.inputs[nearest]).softmax(1)
        torch.testing.assert_close(targets(made).forget.targets, expected, rtol=1e-5, atol=1e-6)
        cost = answers_cost(made.experiment)  # beside the retain set's own predictions
        assert cost.predicted == 2 * len(unseen) + len(data.forget) + len(data.retain)


@pytest.mark.parametrize("words", [("forget_set=class", "dataset.train_size=500"), ()])
def test_held_out_targets_without_images_of_a_class_are_refused(composed, words):
    small = [word for word in SMALL if "train_size" not in word]
    with pytest.raises(BadInput, match="held_out needs held-out images of class 0, and there are none"):
        build(composed(*small, "targets=held_out", "unlearn.stop=matched", *words))


def test_a_local_teacher_is_trained_on_the_neighbours_of_the_forget_set_after_the_request(stages):
    made = stages("targets=local_teacher", "targets.forget.samples=60")
    data, original = made.experiment.data, made.original().model
    own, others = (original[:-1](samples.inputs) for samples in (data.forget, data.retain))
    nearest = F.cosine_similarity(own[:, None], others[None], dim=2).amax(0)
    kept = (nearest >= nearest.sort(descending=True).values[59]).nonzero()[:, 0]
    found = targets(made)
    teacher = made.trained("local teacher of 60", data.retain.take(kept))
    assert teacher.from_store
    expected = predict(teacher.model, data.forget.inputs).softmax(1)
    torch.testing.assert_close(found.forget.targets, expected, rtol=1e-5, atol=1e-6)
    cost, n, m = answers_cost(made.experiment), len(data.forget), len(data.retain)
    assert (cost.predicted, cost.prepared, cost.trained) == (2 * n + 2 * m, 0, 60)
    assert cost.gradient_samples(6) == pytest.approx((2 * n + 2 * m) / 3 + 360)
    assert found.teachers == {}
    assert found.seconds > teacher.seconds


def test_own_predictions_are_the_originals_on_each_sample(stages):
    made = stages("targets=soft")
    found = targets(made)
    for samples, temperature in ((found.forget, 0.5), (found.retain, 1.0)):
        expected = (predict(made.original().model, samples.inputs) / temperature).softmax(1)
        torch.testing.assert_close(samples.targets, expected, rtol=1e-5, atol=1e-7)


def test_out_of_fold_targets_come_from_a_model_that_never_saw_the_sample(stages):
    made = stages("targets=out_of_fold", "targets/retain=out_of_fold")
    found, train = targets(made), made.experiment.data.train
    fold = Teachers(made, {}, "forget").fold(5)
    assert fold.bincount().tolist() == [len(train) // 5] * 5
    everywhere = torch.empty_like(train.targets)
    everywhere[made.experiment.data.forget_positions] = found.forget.targets
    everywhere[made.experiment.data.retain_positions] = found.retain.targets
    for i in range(5):
        teacher = made.trained(f"fold {i + 1} of 5", train.take((fold != i).nonzero()[:, 0]))
        held = (fold == i).nonzero()[:, 0]
        expected = predict(teacher.model, train.inputs[held]).softmax(1)
        torch.testing.assert_close(everywhere[held], expected, rtol=1e-4, atol=1e-6)
        assert teacher.from_store


@pytest.mark.long
def test_fold_teachers_are_shared_by_all_forget_sets(stages, tmp_path):
    def folds() -> set[str]:
        return {key for key, made in models(tmp_path).items() if made["name"].startswith("fold")}

    targets(stages("targets=out_of_fold"))
    first = folds()
    for other in (["forget_set.seed=7"], ["forget_set=class"], ["targets=out_of_fold_harden"]):
        targets(stages("targets=out_of_fold", *other))
    assert folds() == first
    assert len(first) == 5
    targets(stages("targets=out_of_fold", "seed=1"))
    assert len(folds()) == 10


def test_controls_have_the_best_guess_and_a_draw_of_the_soft_targets(stages):
    soft, hardened, sampled = (
        targets(stages(f"targets=out_of_fold{control}")) for control in ("", "_harden", "_sample")
    )
    best = soft.forget.targets.argmax(1)
    assert torch.equal(hardened.forget.targets, torch.eye(10)[best])
    assert torch.equal(sampled.forget.targets.max(1).values, torch.ones(len(best)))
    assert (sampled.forget.targets * soft.forget.targets).sum(1).min() > 0
    for control in (hardened, sampled):
        assert torch.equal(control.retain.targets, soft.retain.targets)


def test_teacher_oracle_and_bad_teacher_are_the_models_meant(stages):
    made = stages("targets=teacher", "targets.forget.members=2")
    forget = made.experiment.data.forget
    members = [made.trained(f"teacher {i}", made.experiment.data.train) for i in (1, 2)]
    assert len({made.original().digest, *(member.digest for member in members)}) == 3
    mean = sum(predict(member.model, forget.inputs).softmax(1) for member in members) / 2
    torch.testing.assert_close(targets(made).forget.targets, mean, rtol=1e-5, atol=1e-7)
    for preset, model in (
        ("oracle", made.retrained().model),
        ("bad_teacher", made.experiment.initialised("untrained")),
    ):
        expected = predict(model, forget.inputs).softmax(1)
        torch.testing.assert_close(
            targets(stages(f"targets={preset}")).forget.targets, expected, rtol=1e-5, atol=1e-7
        )


@pytest.mark.long
@pytest.mark.parametrize("preset", options("targets"))
def test_targets_are_made_once(stages, preset, monkeypatch):
    first = targets(stages(f"targets={preset}"))
    monkeypatch.setattr("softtargets.execution.target_sets.Teachers", None)  # nobody is asked again
    again = targets(stages(f"targets={preset}"))
    for one, two in ((first.forget, again.forget), (first.retain, again.retain)):
        assert torch.equal(one.targets, two.targets)
    assert again.seconds == first.seconds > 0
    assert again.teachers == first.teachers


def test_what_targets_cost_is_told_apart_from_what_their_teachers_cost(run, monkeypatch):
    """By a clock on which a training takes 100 seconds and a prediction 1."""
    now = [0.0]

    def taking(seconds: float, usual):
        def taken(*arguments):
            now[0] += seconds
            return usual(*arguments)

        return taken

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Stages, "_train", taking(100.0, Stages._train))
    monkeypatch.setattr(models_module, "predict", taking(1.0, models_module.predict))
    result, _ = run(*SMALL, "mu_algo=relabel", "targets=out_of_fold", "seed=11")
    cost = result["cost"]
    assert cost["teachers"] == [f"fold {i} of 5" for i in range(1, 6)]
    assert cost["made"] == ["original", "retrained", *cost["teachers"]]
    assert (cost["teachers_s"], cost["targets_s"], cost["retrain_s"]) == (500, 5 + 1, 100), (
        "the folds, and the original on the retain set"
    )
    assert cost["rte"] == cost["retrain_s"] / (cost["targets_s"] + cost["unlearn_s"])
    again, _ = run(*SMALL, "mu_algo=gradasc", "targets=out_of_fold", "seed=11")
    assert again["cost"]["made"] == []
    assert again["cost"]["from_store"] == ["original", "retrained"]
    assert [again["cost"][key] for key in ("teachers", "teachers_s", "targets_s")] == [
        cost[key] for key in ("teachers", "teachers_s", "targets_s")
    ]


def test_teachers_of_several_requests_are_trained_and_paid_for_each(run):
    words = ("mu_algo=relabel", "targets=out_of_fold_3", "forget_set.requests=2", "seed=12")
    result, _ = run(*SMALL, *words)
    cost, names = result["cost"], [f"fold {i} of 3" for i in range(1, 4)]
    assert [name for name in cost["made"] if name in names] == cost["teachers"] == names * 2
    each = [one["cost"] for one in result["requests"]]
    assert cost["teachers_s"] == pytest.approx(sum(one["teachers_s"] for one in each))
    assert min(one["teachers_s"] for one in each) > 0


def test_stage_train_trains_the_teachers_too(run, tmp_path):
    store = f"store.dir={tmp_path / 'store'}"
    assert run(*SMALL, store, "targets=out_of_fold", "stage=train")[0] is None
    assert run(*SMALL, store, "targets=out_of_fold")[0]["cost"]["made"] == []


def test_a_kind_of_ones_own_is_used(run):
    asked = (*SMALL, "targets.forget._target_=own_parts.first_class", "plugins=[own_parts]")
    one, two = (run(*asked)[0] for _ in range(2))
    assert one["hashes"]["targets"] == two["hashes"]["targets"]
    assert one["diagnosis"]["target_entropy"] == 0


def test_an_upper_bound_is_called_one_wherever_it_is_shown(run, capsys):
    for preset, said in (("oracle", True), ("out_of_fold", False)):
        result, _ = run(*SMALL, f"targets={preset}", "mu_algo=relabel")
        assert result["upper_bound"] is said
        assert ("an upper bound, no method" in capsys.readouterr().out) is said
