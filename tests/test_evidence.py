"""Evidence on request: attacks whose outcome is known, models that relearn at a known pace, measures of one's own.

With `--evidence` the contract alone is tried, on a measure of the user's own.
"""

import dataclasses
import functools
import types

import numpy as np
import pytest
import torch
from conftest import SMALL
from sklearn.linear_model import Ridge
from torch import nn

from softtargets.config import allowed_targets
from softtargets.config.settings import EVIDENCE
from softtargets.errors import BadInput
from softtargets.evaluation import evidence, probes
from softtargets.evaluation.attacks import Attack, svc
from softtargets.evaluation.evaluate import Evaluation, evaluate, predict_sets
from softtargets.execution import own_measures
from softtargets.execution.experiment import build
from softtargets.execution.own_measures import OwnMeasure, described, take
from softtargets.execution.pipeline import extra_metrics
from softtargets.fit import Fit
from softtargets.types import Samples, digest, model_digest


def drawn(n: int, seed: int, middle: float) -> torch.Tensor:
    return middle + 0.05 * torch.randn(n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("apart", "members", "nonmembers"), [(0.8, 1.0, 0.0), (0.0, 0.5, 0.5)])
def test_an_attack_finds_what_there_is(apart, members, nonmembers):
    learnt = Attack(drawn(400, 1, 0.9), drawn(400, 2, 0.9 - apart))
    found = svc(learnt, Attack(drawn(400, 3, 0.9), drawn(400, 4, 0.9 - apart)))
    tolerance = 0.0 if apart else 0.25  # a machine may learn to call any share of one distribution members
    assert found.members == pytest.approx(members, abs=tolerance)
    assert found.nonmembers == pytest.approx(nonmembers, abs=tolerance)
    assert apart or abs(found.members - found.nonmembers) < 0.1


def test_scores_between_the_learnt_ones_are_called_by_the_nearer():
    found = svc(Attack(torch.ones(50), torch.zeros(50)), Attack(torch.full((4,), 0.8), torch.full((4,), 0.2)))
    assert found == (1.0, 0.0)


@pytest.mark.parametrize("forget_set", ["random", "class", "mislabelled"])
def test_an_attack_is_balanced_and_is_asked_about_others_than_it_learnt(composed, monkeypatch, forget_set):
    data = build(composed(*SMALL, f"forget_set={forget_set}")).data
    # every sample's logits are its own, so that its confidence names it
    logits = {}
    for start, (name, samples) in enumerate(data.evaluated().items()):
        spread = torch.linspace(-8, 8, len(samples)) + 1e-3 * start
        logits[name] = torch.zeros(len(samples), 10).index_put_(
            (torch.arange(len(samples)), samples.labels), spread
        )
    seen = []

    def recorded(learnt, asked):
        seen.extend([learnt, asked])
        return Attack(0.75, 0.25)

    monkeypatch.setattr(evidence, "svc", recorded)
    assert evidence.confidence_attack(logits, data) == {"svc_accuracy": 0.75, "svc_members": 0.75}
    learnt, asked = seen
    assert len(learnt.members) == len(learnt.nonmembers) > 0
    assert len(asked.members) == len(asked.nonmembers) == len(data.membership.members)
    assert not set(learnt.nonmembers.tolist()) & set(asked.nonmembers.tolist())
    assert not set(learnt.members.tolist()) & set(asked.members.tolist())
    if forget_set == "class":  # a forgotten class gives itself away, and says nothing of single samples
        assert len(learnt.nonmembers) <= int((data.test.labels != 0).sum())


def test_an_attack_without_a_sample_to_train_it_on_measures_nothing_and_says_so_beforehand(run, capsys):
    words = (*SMALL, "dataset.train_size=null", "training.epochs=1", "unlearn.epochs=1")
    result, _ = run(*words, "forget_set.fraction=0.5", "evidence=[svc]")
    assert result["data"]["membership_pairs"] == result["data"]["sizes"]["test"]
    assert {one["svc_accuracy"] for one in result["metrics"].values()} == {None}
    assert {one["svc_members"] for one in result["metrics"].values()} == {None}
    printed = " ".join(capsys.readouterr().out.split())
    assert "evidence=[svc] will measure nothing: all test images of retained classes are attacked" in printed


def test_an_attack_without_a_test_image_of_a_forgotten_class_measures_nothing(composed):
    data = build(composed(*SMALL)).data
    empty = torch.empty(0, dtype=torch.int64)
    membership = dataclasses.replace(data.membership, members=empty, nonmembers=empty, nonmember_labels=empty)
    data = dataclasses.replace(data, membership=membership)
    logits = {name: torch.zeros(len(samples), 10) for name, samples in data.evaluated().items()}
    assert evidence.confidence_attack(logits, data) == {"svc_accuracy": None, "svc_members": None}


def fitted(lr: float, watch) -> Fit:
    return Fit(
        epochs=50,
        batch_size=4,
        optimizer=functools.partial(torch.optim.SGD, lr=lr),
        schedule=None,
        clip_norm=None,
        precision="float32",
        seed=0,
        name="relearn",
        watch=watch,
        evaluate_every=1,
    )


def test_relearning_is_counted_in_steps():
    """Of two logits, ± w / 2, the second is right; a step moves w by 2 lr / (1 + e^w)."""
    forget = Samples(torch.ones(4, 1), torch.ones(4, dtype=torch.int64), torch.eye(2)[[1, 1, 1, 1]])
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.5], [-0.5]]))
    w, steps = -1.0, 0
    while w <= 0:
        w += 2 * 0.3 / (1 + torch.e**w)
        steps += 1
    before = model.weight.clone()
    assert evidence.relearn_steps(model, forget, 1.0, functools.partial(fitted, 0.3)) == steps > 1
    assert torch.equal(model.weight, before)
    # one step a pass, and 50 passes: at least so many
    assert evidence.relearn_steps(model, forget, 1.0, functools.partial(fitted, 0.0)) == 50
    assert evidence.relearn_steps(model, forget, 2.0, functools.partial(fitted, float("inf"))) is None
    assert evidence.relearn_steps(model, forget, 0.0, functools.partial(fitted, 0.3)) == 0


def test_a_run_measures_what_it_is_asked_for(run):
    result, _ = run(*SMALL, "mu_algo=graddiff", "evidence=[svc,relearn,probe]")
    metrics = result["metrics"]
    assert metrics["original"]["relearn_steps"] == 0 < metrics["retrained"]["relearn_steps"]
    assert all(0 <= metrics[name]["svc_accuracy"] <= 1 for name in metrics)
    plain, _ = run(*SMALL, "mu_algo=graddiff")
    assert metrics["unlearned"].keys() - plain["metrics"]["unlearned"].keys() == {
        "svc_accuracy",
        "svc_members",
        "relearn_steps",
        "probe_accuracy",
        "prototype_accuracy",
    }


def test_a_probe_is_scikit_learns_ridge_and_prototypes_its_nearest_means():
    numbers = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    known = torch.randn(60, 7, generator=numbers, dtype=torch.float64) + labels[:, None]
    asked = torch.randn(40, 7, generator=numbers, dtype=torch.float64) + 1
    # the intercept has the same penalty here, so it is a column like any other
    rows = [torch.cat([each, torch.ones(len(each), 1)], 1).numpy() for each in (known, asked)]
    ridge = Ridge(alpha=0.1 * 60, fit_intercept=False).fit(rows[0], torch.nn.functional.one_hot(labels, 3).numpy())
    assert probes.linear(known, labels, 3, asked).tolist() == ridge.predict(rows[1]).argmax(1).tolist()
    means = torch.stack([known[labels == label][:10].mean(0) for label in range(3)])
    cosines = torch.nn.functional.cosine_similarity(asked[:, None], means[None], dim=2)
    assert probes.prototypes(known, labels, 4, asked).tolist() == cosines.argmax(1).tolist()


def test_features_that_only_the_head_hides_are_read_as_the_originals(run):
    """The planted case: a new head on old features forgets a class by its outputs, and by nothing else."""
    words = (*SMALL, "forget_set=class", "mu_algo=head_reset", "unlearn.cost=0.3", "evidence=[probe]")
    metrics = run(*words)[0]["metrics"]
    assert metrics["unlearned"]["forget_acc"] < 0.1 < metrics["original"]["forget_acc"]
    for name in ("probe_accuracy", "prototype_accuracy"):
        assert metrics["unlearned"][name] == metrics["original"][name]
    assert metrics["original"]["probe_accuracy"] > metrics["retrained"]["probe_accuracy"]


def test_a_probe_needs_a_network_that_ends_in_a_linear_layer(composed):
    words = ("architecture._target_=own_parts.TinyNetOfProbs", "plugins=[own_parts]")
    small = [word for word in SMALL if not word.startswith("architecture.hidden")]
    with pytest.raises(BadInput, match=r"evidence=\[probe\] with architecture.*linear layer"):
        build(composed(*small, *words, "evidence=[probe]"))


# the contract

MEASURES = (*EVIDENCE, "own_parts.certainty", "own_parts.noise")


def pytest_generate_tests(metafunc):
    """Put every measure of ours and two of a package through the contract, or those that --evidence names."""
    if "measure" in metafunc.fixturenames:
        metafunc.parametrize("measure", metafunc.config.getoption("evidence") or MEASURES, scope="class")


@pytest.fixture(scope="class")
def taken(composed, measure):
    """What a measure returns for three models, twice; hashes of all that it is given, before and after."""
    package, dot, _ = measure.partition(".")
    experiment = build(composed(*SMALL, f"evidence=[{measure}]", f"plugins=[{package if dot else ''}]"))
    models = {name: experiment.initialised(name).eval() for name in ("original", "retrained", "unlearned")}
    logits = {name: predict_sets(model, experiment.data) for name, model in models.items()}
    evaluations = {name: evaluate(logits[name], experiment.data) for name in models}

    def given() -> list[str]:
        sets = [tensor for one in logits.values() for tensor in one.values()]
        data = [digest(s.inputs, s.labels, s.targets) for s in experiment.data.evaluated().values()]
        return [digest(*sets), *data, *map(model_digest, models.values())]

    before = given()
    found = [extra_metrics(experiment, models, evaluations) for _ in range(2)]
    return types.SimpleNamespace(found=found[0], again=found[1], before=before, after=given())


class TestEveryMeasure:
    """The contract."""

    def test_returns_finite_numbers_or_none_under_the_same_names_for_every_model(self, taken):
        names = [list(values) for values in taken.found.values()]
        assert names[0]
        assert names[0] == names[1] == names[2]
        numbers = [value for values in taken.found.values() for value in values.values() if value is not None]
        assert numbers
        assert all(type(value) in (int, float) and np.isfinite(value) for value in numbers)

    def test_same_seed_twice_is_equal(self, taken):
        assert taken.found == taken.again

    def test_leaves_what_it_is_given_as_it_was(self, taken):
        assert taken.before == taken.after


# measures of one's own


def test_a_run_carries_a_measure_of_ones_own(run):
    asked = "evidence=[svc,own_parts.certainty,own_parts.noise]"
    result, folder = run(*SMALL, "mu_algo=graddiff", asked, "plugins=[own_parts]")
    metrics = result["metrics"]
    with np.load(folder / "margins.npz") as left:
        known = left["forget_probs_retrained"].max(1).mean()
    assert metrics["retrained"]["own_parts.certainty"] == pytest.approx(known, rel=1e-5)
    assert metrics["unlearned"]["own_parts.noise.samples"] == result["data"]["sizes"]["forget"]
    noise = {"description": "Loss of probability under noise on the inputs.", "lower_is_better": True}
    assert result["evidence"] == {
        "own_parts.certainty": {
            "description": "Mean probability of the predicted class on the forget set.",
            "lower_is_better": False,
        },
        "own_parts.noise.mean": noise,
        "own_parts.noise.samples": noise,
    }
    assert list(result["config"]["sources"]) == ["own_parts"]


@pytest.fixture(scope="module")
def data(composed):
    """The sets of a small run."""
    return build(composed(*SMALL)).data


def fails(model, logits, data):
    return 1 / 0


def returns(value):
    return lambda model, logits, data: value


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (fails, "division by zero"),
        (returns(float("nan")), "returns nan; it must return finite numbers, or None"),
        (returns(float("inf")), "returns inf; it must"),
        (returns(True), "returns bool; it must return a number, None, or a dictionary of them"),
        (returns(torch.tensor(1.0)), "returns Tensor; it must return a number"),
        (returns({}), r"returns a dictionary with keys \[\]; they must be names"),
        (returns({"a b": 1.0}), r"returns a dictionary with keys \['a b'\]; they must be names"),
        (returns({"a": "b"}), "returns str; it must"),
    ],
)
def test_a_measure_that_fails_is_named_in_one_sentence(data, function, said):
    with pytest.raises(BadInput, match=rf"^evidence=mine\.it: {said}"):
        OwnMeasure("mine.it", function)(nn.Linear(1, 2), {}, data, 0)


def test_values_of_a_measure_are_plain_numbers(data):
    for value, plain in ((np.float32(0.5), 0.5), (np.int64(3), 3), (None, None)):
        (found,) = OwnMeasure("mine.it", returns(value))(nn.Linear(1, 2), {}, data, 0).values()
        assert found == plain
        assert type(found) is type(plain)


def test_a_model_that_is_not_finite_is_not_measured_and_keys_are_the_same_for_all(data):
    models = {"original": nn.Linear(1, 1), "retrained": nn.Linear(1, 2), "unlearned": nn.Linear(1, 3)}
    seen = {name: Evaluation({"class_acc": [1.0]}, {}, {}) for name in models}
    seen["unlearned"].metrics["class_acc"] = None
    width = OwnMeasure("mine.width", lambda model, logits, data: {"out": model.out_features})
    assert take([width], models, seen, data, 0) == {
        "original": {"mine.width.out": 1},
        "retrained": {"mine.width.out": 2},
        "unlearned": {"mine.width.out": None},
    }
    uneven = OwnMeasure("mine.uneven", lambda model, logits, data: {f"out{model.out_features}": 1})
    with pytest.raises(BadInput, match=r"^evidence=mine\.uneven: returns other keys for other models"):
        take([uneven], models, seen, data, 0)
    assert described([], ["mine.width.out"]) == {}


def takes_two(model, logits):
    """Measure."""


def in_another_order(logits, model, data):
    """Measure."""


def wants_more(model, logits, data, *, folds):
    """Measure."""


def says_nothing(model, logits, data):
    return 1.0


def misspelt(model, logits, data):
    """Measure."""


misspelt.lower_better = True
NO_FUNCTION = 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("takes_two", r"takes \(model, logits\) by position, but the call is \(model, logits, data\)"),
        ("in_another_order", r"takes model as argument 2, but the call is \(model, logits, data\)"),
        ("wants_more", r"folds has no default; it is called with \(model, logits, data\)"),
        ("says_nothing", "has no docstring; give it one"),
        ("misspelt", r"lower_better is not a mark of a measure; .*did you mean lower_is_better\?"),
        ("NO_FUNCTION", "cannot be called"),
        ("gone", "cannot be imported"),
        ("np.mean", r"not allowed, because it is numpy\.mean; use a name in test_evidence"),
    ],
)
def test_a_measure_that_cannot_be_called_is_refused_before_any_work(name, said):
    with pytest.raises(BadInput, match=rf"^evidence=test_evidence\.{name}: {said}"):
        own_measures.own_measures(["svc", f"test_evidence.{name}"], ["test_evidence"])


def test_a_measure_is_looked_for_in_plugins_alone(composed):
    with pytest.raises(BadInput, match=r"evidence=own_parts\.noise: not allowed; list your module on the"):
        build(composed(*SMALL, "evidence=[own_parts.noise]"))
    with pytest.raises(BadInput, match=r"^evidence\.0='svcc': must be svc, relearn, .*; did you mean svc\?"):
        build(composed(*SMALL, "evidence=[svcc]"))


def test_the_sources_of_a_measure_count():
    node = {"evidence": ["svc", "own_parts.noise"]}
    assert list(allowed_targets.sources(node, ["own_parts"])) == ["own_parts"]
    assert allowed_targets.sources(node, []) == {}
