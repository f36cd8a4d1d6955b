"""Costs against counts by hand: what the meter sees, and what a budget pays for."""

import contextlib
import copy
import dataclasses
import functools
import itertools

import pytest
import torch
from conftest import CONF, SMALL, options, suited
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from softtargets.config.resolve import config_hash
from softtargets.console import Console
from softtargets.cost import Budget, Meter, Plan, Turn
from softtargets.errors import BadInput
from softtargets.evaluation.evaluate import evaluate, predict_sets
from softtargets.execution import calibration, checks, unlearning
from softtargets.execution.algorithm_inputs import wanted
from softtargets.execution.composed_run import check_runnable
from softtargets.execution.experiment import _algorithm, build
from softtargets.execution.rehearsal import answers_cost, budgeted, plan, rule_samples
from softtargets.execution.target_sets import TargetSets
from softtargets.marks import Algorithm

D, H, K = 6, 5, 3
LABELS = torch.arange(8) % K


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, K))


def inputs(n: int = 8) -> torch.Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(0))


def loss(model, x):
    return cross_entropy(model(x), LABELS[: len(x)])


def gradients_one_by_one(model, x):
    """Gradients of every sample, as `vmap` makes them."""
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    one = grad(lambda w, row, label: cross_entropy(functional_call(model, w, (row[None],)), label[None]))
    vmap(one, in_dims=(None, 0, 0))(weights, x, LABELS[: len(x)])


def adversarial(model, x):
    """A step against the input, and a look at what it does."""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(model, x), x)
    with torch.no_grad():
        model(x + slope)


def twice(model, x):
    value = loss(model, x)
    value.backward(retain_graph=True)
    value.backward()


def raised(model, x):
    with contextlib.suppress(RuntimeError):
        model(x[:, :2])
    loss(model, x).backward()


def lost(model, x):
    """A network's losses may be modules too; they are no networks."""
    nn.CrossEntropyLoss()(model(x).softmax(1), LABELS[: len(x)]).backward()


def of_members(model, x):
    """Five networks on all samples, by `vmap` over their parameters."""
    stacked = {name: torch.stack([one.detach()] * 5) for name, one in model.named_parameters()}
    vmap(lambda weights: functional_call(model, weights, (x,)))(stacked)


@pytest.mark.parametrize(
    ("computed", "forward", "backward"),
    [
        (lambda model, x: loss(model, x).backward(), 8, 8),
        (lambda model, x: loss(copy.deepcopy(model), x).backward(), 8, 8),
        (lambda model, x: loss(nn.Sequential(model), x).backward(), 8, 8),
        (lambda model, x: model(x), 8, 0),
        (lambda model, x: loss(model.requires_grad_(False), x), 8, 0),
        (lambda model, x: model(input=x), 8, 0),
        (adversarial, 16, 8),
        (twice, 8, 16),
        (raised, 8, 8),
        (lost, 8, 8),
        (gradients_one_by_one, 8, 8),
        (of_members, 40, 0),
        (lambda model, x: [model(x[:3]), loss(model, x).backward()], 11, 8),
    ],
)
def test_the_meter_counts_passes_by_whomever(computed, forward, backward):
    model = network()
    with Meter(model, (D,)) as meter:
        computed(model, inputs())
    assert (meter.forward, meter.backward) == (forward, backward)


def test_a_part_of_a_network_counts_by_its_operations():
    """A product of a×b and b×c is 2abc operations; nobody needs the gradient of the first layer's inputs."""
    model = network()
    forward, backward = D * H + H * K, D * H + 2 * H * K
    with Meter(model, (D,)) as head:
        loss(model[2], torch.randn(8, H)).backward()
    assert (head.forward, head.backward) == pytest.approx((8 * H * K / forward, 8 * H * K / backward))
    model[0].requires_grad_(False)
    with Meter(model, (D,)) as frozen:
        loss(model, inputs()).backward()
    assert (frozen.forward, frozen.backward) == pytest.approx((8, 8 * H * K / backward))
    assert frozen.seconds > 0  # no time of the unlearning


def test_nothing_counts_where_the_meter_is_paused_or_left():
    model, meter = network(), Meter(network(), (D,))
    with meter, meter.paused():
        loss(model, inputs()).backward()
    loss(model, inputs()).backward()
    assert (meter.forward, meter.backward) == (0, 0)


def test_a_meter_leaves_gradients_as_they_are():
    one, other = network(), None
    other = copy.deepcopy(one)
    loss(one, inputs()).backward()
    with Meter(other, (D,)):
        loss(other, inputs()).backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("budget", "lengths"),
    # passes of 10 samples in batches of 4, 4 and 2, and of 4 in one batch that costs three times as much
    [(22, (3, 1)), (21.9, (2, 1)), (44, (6, 2)), (100, (15, 4)), (12, (1, 1)), (0, (1, 1))],
)
def test_turns_are_lengthened_alike(budget, lengths):
    turns = (Turn((0,), (10,), (1.0,), (4,)), Turn((1,), (4,), (3.0,), (4,)))
    assert Plan(0.0, turns).lengths(Budget(budget)) == lengths


def taken(n: int, steps: int, batch: int) -> int:
    """Samples in so many batches of a stream of n."""
    sizes = [min(batch, n - start) for start in range(0, n, batch)]
    return sum(itertools.islice(itertools.cycle(sizes), steps))


class Sizes(dict):
    """Names for what a formula is made of: sets f, r and v, lengths l, batch b, settings s."""

    __getattr__ = dict.__getitem__


def alone(name):
    return lambda o: taken(o[name], o.l[0], o.b)


def both(o):
    return taken(o.f, o.l[0], o.b) + taken(o.r, o.l[0], o.b)


def scrub(o):
    """Stay and flee in turn, then stay: `max_passes` flights, and the teacher beside every stay."""
    flights = o.l[1 : 2 * o.s["max_passes"] : 2]
    return taken(o.r, sum(o.l) - sum(flights), o.b) * 4 / 3 + taken(o.f, sum(flights), o.b)


def unsir(o):
    noise, mixed = o.s["noise"] * o.s["steps"], o.r + o.s["noise"] * o.s["copies"]
    return noise + taken(mixed, sum(o.l[::2]), o.b) + taken(o.r, sum(o.l[1::2]), o.b)


BY_HAND = {
    **dict.fromkeys(("finetune", "l1_sparse", "retrain"), alone("r")),
    **dict.fromkeys(("none", "early", "class_mask", "teachers"), lambda o: 0),
    "none_calibrated": lambda o: o.v / 3,
    # of the backward pass of 784-32-10 the head's weights alone
    **dict.fromkeys(
        ("head_reset", "cfk", "euk"), lambda o: alone("r")(o) / 3 * (1 + 2 * 320 / (784 * 32 + 2 * 320))
    ),
    "gradasc": alone("f"),
    "noisy_finetune": lambda o: o.s["steps"] * o.b + alone("r")(o),
    "ct": alone("r"),
    "msg": lambda o: 2 * o.f + alone("r")(o),
    **dict.fromkeys(("graddiff", "neggrad_plus", "relabel", "ugradsl_plus", "unilogit"), both),
    "boundary_shrink": lambda o: o.f + o.f / 3 + alone("f")(o),
    "npo": lambda o: both(o) + alone("f")(o) / 3,
    "rmu": lambda o: o.f / 3 + both(o) + alone("r")(o) / 3,
    "salun": lambda o: o.f + both(o),
    "scrub": scrub,
    "sfron": lambda o: 2 / 3 + o.f + o.r + both(o),
    "amun": lambda o: o.f * o.s["steps"] + o.f / 3 + taken(o.r + 2 * o.f, o.l[0], o.b),
    "ssd": lambda o: 2 / 3 + o.f + o.r,
    "unsir": unsir,
}
"""Gradient samples of each algorithm; a class that is forgotten is one."""


def node_of(name: str) -> dict:
    """The settings of an algorithm, as its file has them."""
    node = OmegaConf.to_container(OmegaConf.load(CONF / "mu_algo" / f"{name}.yaml"), resolve=True)
    node.pop("defaults", None)  # which Hydra takes out
    return node


BOTH = [name for name in options("mu_algo") if Algorithm.of(_algorithm(node_of(name))).has_forget_batches]


@pytest.fixture(scope="module")
def experiments(composed):
    """`experiments(algorithm, **settings)`: one algorithm by its own files, on the data it is for."""
    made = {}

    def experiment(name: str, **settings):
        sets = suited(name)
        if sets not in made:
            made[sets] = build(composed(*SMALL, "unlearn=finetune", "unlearn.stop=none", *sets))
        usual = made[sets]
        node = node_of(name)
        loop = OmegaConf.load(CONF / "unlearn" / f"{name}.yaml")
        small = {"noise": 8, "copies": 2, "steps": 3} if name == "unsir" else {}
        node |= small
        chosen = {"epochs": loop.epochs, "batch_size": 16, "max_steps": loop.max_steps} | settings
        config = usual.config | {"mu_algo": node, "unlearn": usual.config["unlearn"] | chosen}
        return dataclasses.replace(
            usual,
            config=config,
            unlearn=_algorithm(dict(node)),
            unlearning=usual.unlearning.model_copy(update=chosen),
        )

    return experiment


def unlearned(experiment):
    """What an unlearning of an untrained network takes."""
    original, data = experiment.initialised("original").eval(), experiment.data
    logits = predict_sets(original, data)
    inputs = {
        "initialise": lambda: experiment.initialised("unlearn"),
        "validation": data.validation,
        "early_original": original,
        "out_of_fold": logits["forget"],
    }
    taken_by_name = {name: inputs[name] for name in wanted(experiment)}
    experiment = dataclasses.replace(experiment, unlearn=functools.partial(experiment.unlearn, **taken_by_name))
    trajectory = unlearning.new_trajectory(experiment, evaluate(logits, data))
    targets = TargetSets(experiment.to_forget(data.forget), data.retain, seconds=0.0, teachers={})
    fit, _, spent = unlearning.unlearn(experiment, original, targets, trajectory, Console())
    return fit, spent


def by_hand(experiment, lengths) -> float:
    data, loop = experiment.data, experiment.unlearning
    known = {"f": len(data.forget), "r": len(data.retain), "v": len(data.validation)}
    known |= {"l": lengths, "b": loop.batch_size}
    name = experiment.unlearn.func.__name__
    return BY_HAND[name](Sizes(known, s=experiment.unlearn.keywords)) / experiment.retraining_samples


@pytest.mark.parametrize("name", [name for name in options("mu_algo") if name != "sisa"])  # it takes no steps
def test_a_budget_is_spent_to_within_a_step(experiments, name):
    share = 0.55
    experiment = budgeted(experiments(name, cost=share))
    fit, spent = unlearned(experiment)
    found = (spent.forward + 2 * spent.backward) / 3 / experiment.retraining_samples
    assert found <= share * (1 + 1e-9)
    lengths = experiment.lengths
    if name in BY_HAND:
        assert found == pytest.approx(by_hand(experiment, lengths))
    if lengths:
        assert fit.account.steps == sum(lengths)
        longer = [[steps + (i == j) for j, steps in enumerate(lengths)] for i in range(len(lengths))]
        assert max(by_hand(experiment, one) for one in longer) > share


@pytest.mark.parametrize("name", [name for name in options("mu_algo") if name != "sisa"])
def test_forget_batches_have_a_size_where_an_algorithm_draws_batches_of_both_sets(experiments, name):
    experiment = experiments(name, cost=0.55)
    sizes = {size for turn in plan(experiment).turns for size in turn.sizes}
    both = {len(experiment.data.forget), len(experiment.data.retain)} <= sizes
    assert Algorithm.of(experiment.unlearn).has_forget_batches == both
    with (
        contextlib.nullcontext() if both else pytest.raises(BadInput, match=r"^unlearn.forget_batch_ratio=0.25: ")
    ):
        checks.require_forget_batches(experiment.unlearn, 0.25)


@pytest.mark.parametrize("ratio", [0.25, 4.0])
@pytest.mark.parametrize("name", BOTH)
def test_a_budget_is_spent_whatever_the_size_of_forget_batches(experiments, name, ratio):
    share = 0.55
    experiment = budgeted(experiments(name, cost=share, forget_batch_ratio=ratio))
    _, spent = unlearned(experiment)
    found = (spent.forward + 2 * spent.backward) / 3
    assert found == pytest.approx(plan(experiment).cost(experiment.lengths))
    assert found <= share * experiment.retraining_samples * (1 + 1e-9)
    usual = budgeted(experiments(name, cost=share)).lengths
    assert (sum(experiment.lengths) > sum(usual)) == (ratio < 1)


def test_the_whole_cost_pays_for_the_training_itself(experiments):
    experiment = experiments("finetune", cost=1.0, batch_size=32)
    assert budgeted(experiment).lengths == (experiment.epochs * experiment.epoch_steps()["retrained"],)
    assert budgeted(experiments("finetune", cost=0.9999, batch_size=32)).lengths < budgeted(experiment).lengths


def test_a_budget_pays_for_the_looks_of_a_stop_rule(experiments):
    rule = {"stop": "matched", "looks": 3, "evaluate_every": 3, "evaluate_growth": 0.5}
    experiment = budgeted(experiments("gradasc", cost=0.5, **rule))
    few = experiment.monitored.split
    assert rule_samples(experiment, 4) == 4 * len(few.forget) + len(few.level.positions)
    first = dataclasses.replace(experiment, unlearning=experiment.unlearning.model_copy(update={"looks": 1}))
    assert rule_samples(first, 4) == 4 * (len(few.forget) + len(few.level.positions))
    (steps,) = experiment.lengths
    looks = {0, steps}
    at = 0
    while at < steps:
        looks.add(at)
        at += max(3, int(at * 0.5))
    cost = by_hand(experiment, (steps,)) + rule_samples(experiment, len(looks)) / 3 / experiment.retraining_samples
    assert cost <= 0.5 < cost + (16 + len(few.forget) / 3) / experiment.retraining_samples


def test_a_budget_pays_for_targets_that_are_made_after_the_request(composed):
    plain, soft = (
        build(composed(*SMALL, "mu_algo=finetune", f"targets={targets}", "unlearn.cost=0.5"))
        for targets in ("hard", "soft")
    )
    assert answers_cost(plain).predicted == 0
    asked = len(plain.data.retain)  # of fine-tuning, which uses no targets of the forget set
    assert answers_cost(soft).predicted == asked
    paid = taken(len(plain.data.retain), plain.lengths[0], 64) - taken(len(plain.data.retain), soft.lengths[0], 64)
    assert abs(paid - asked / 3) <= 64


def test_teachers_are_prepared_once_for_both_sides(composed):
    experiment = build(composed(*SMALL, "targets=out_of_fold", "targets/retain=out_of_fold"))
    found, n = answers_cost(experiment), len(experiment.data.train)
    folds = experiment.recipes["forget"].kind.keywords["folds"]
    assert (found.predicted, found.prepared) == (n, (folds - 1) * n)


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("finetune", {}, "unlearn.cost=1e-05: finetune takes less than one step; must be 0.00625 or more"),
        ("ssd", {}, "unlearn.cost=1e-05: ssd costs more, and takes no steps; must be 0.18567 or more"),
        ("sisa", {}, "unlearn.cost=1e-05: sisa costs more, and takes no steps; must be 1.0 or more"),
        (
            "scrub",
            {"epochs": 2},
            "unlearn.cost=1e-05: scrub takes less than one step of each of 4 turns; must be 0.02915 or more",
        ),
    ],
)
def test_less_than_a_step_is_refused_with_the_least_that_is_enough(experiments, name, settings, sentence):
    with pytest.raises(BadInput) as refusal:
        budgeted(experiments(name, cost=1e-5, **settings))
    assert str(refusal.value) == sentence
    least = float(sentence.split()[-3])
    budgeted(experiments(name, cost=least, **settings))


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (("unlearn.max_steps=7",), "unlearn.max_steps=7: unlearn.cost=0.5 decides the number of steps"),
        (("unlearn.epochs=7",), "unlearn.epochs=7: unlearn.cost=0.5 decides the number of steps"),
        (("mu_algo=scrub", "unlearn.max_steps=7"), "unlearn.max_steps=7: unlearn.cost=0.5 decides the number"),
        (("mu_algo=scrub", "unlearn.epochs=1"), None),
        (("unlearn.max_steps=null",), None),
    ],
)
def test_a_typed_length_beside_a_budget_is_refused(typed, why):
    small = [word for word in SMALL if "epochs" not in word]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [*small, "unlearn.cost=0.5", *typed], return_hydra_config=True)
    with pytest.raises(BadInput, match=why) if why else contextlib.nullcontext():
        check_runnable(config)


def test_a_call_of_fit_too_many_is_refused(experiments):
    def again(original, forget, retain, fit):
        for _ in range(2):
            fit(original, lambda batch: cross_entropy(original(batch.inputs), batch.targets), retain)
        return original

    experiment = experiments("finetune", cost=0.5)
    config = experiment.config | {"mu_algo": {"again": 2}}
    experiment = dataclasses.replace(experiment, unlearn=functools.partial(again), config=config)
    with pytest.raises(BadInput, match="calls fit more than once"):
        budgeted(experiment)


def test_a_loop_of_ones_own_is_a_cost_without_steps(experiments):
    def own(original, forget, retain, fit):
        model = copy.deepcopy(original)
        for batch in retain.inputs.split(fit.batch_size):
            model(batch).sum().backward()
        return model

    experiment = experiments("finetune", cost=0.1)
    experiment = dataclasses.replace(
        experiment, unlearn=functools.partial(own), config=experiment.config | {"mu_algo": {"own": 1}}
    )
    with pytest.raises(BadInput, match=r"own costs more, and takes no steps; must be 0\.16667 or more"):
        budgeted(experiment)


def test_a_config_without_a_budget_is_what_it_was(composed):
    config = composed(*SMALL)
    assert "cost" not in config["unlearn"]
    assert config_hash(config) != config_hash(composed(*SMALL, "unlearn.cost=0.5"))
    assert all("cost" in OmegaConf.load(CONF / "unlearn" / f"{name}.yaml") for name in options("unlearn"))


def test_a_run_states_its_costs(run):
    """Fine-tuning on 427 samples, twice; the original predicts these for their targets, and not the forget set."""
    result, _ = run(*SMALL, "mu_algo=finetune", "targets=soft", "unlearn.stop=none")
    cost, n, retain = result["cost"], result["data"]["sizes"]["train"], result["data"]["sizes"]["retain"]
    assert (n, retain, cost["gradient_samples"]) == (475, 427, 2 * 427)
    assert (cost["forward_samples"], cost["backward_samples"]) == (3 * retain, 2 * retain)
    assert cost["share"] == pytest.approx((2 * retain + retain / 3) / (6 * retain))
    assert cost["share_seconds"] > 1 / 3 / 6
    assert (cost["budget"], cost["prepared_share"]) == (None, 0)


def test_seconds_are_calibrated_once_a_process(experiments, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(calibration, "clock", lambda device: ticks.__next__)
    monkeypatch.setattr(calibration, "_KNOWN", {})
    experiment = experiments("finetune")
    # a look at the clock before a step and one after it
    assert calibration.seconds_a_sample(experiment) == 1 / 32
    once = next(ticks)
    calibration.seconds_a_sample(experiment)
    assert next(ticks) == once + 1
