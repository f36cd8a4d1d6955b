"""Every algorithm in conf/mu_algo against the contract, and against its gradient worked out by hand.

With `--mu-algo` the contract alone is tried, on an algorithm of the user's own.
"""

import collections
import copy
import dataclasses
import functools
import inspect
import math
import subprocess
import sys

import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from conftest import CONF, HANGS, ROOT, options
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision.models import resnet18

from softtargets import fit as fit_module
from softtargets import losses
from softtargets.architectures import mlp, resnet9
from softtargets.config.resolve import DECLARED
from softtargets.datasets import mnist_5k
from softtargets.ensembles import Ensemble
from softtargets.execution.callables import checked_partial
from softtargets.fingerprints import shards_of
from softtargets.fit import Fit, predict
from softtargets.importance import _direct, importance
from softtargets.linear import Linear
from softtargets.losses import cross_entropy
from softtargets.marks import Algorithm
from softtargets.mu_algo import INPUTS
from softtargets.mu_algo.amun import adversarial
from softtargets.mu_algo.boundary_shrink import nearest_class, uphill, value_range
from softtargets.mu_algo.noisy_finetune import noise_scale
from softtargets.mu_algo.scrub import soften
from softtargets.mu_algo.ssd import ssd
from softtargets.mu_algo.ugradsl_plus import crowding
from softtargets.mu_algo.unsir import error_maximising
from softtargets.temperature import fitted_temperature
from softtargets.types import Lazy, Samples, digest, generator

ALGORITHMS = options("mu_algo")
K = 3
QUICK = {"unsir": {"noise": 16, "steps": 4, "copies": 2}}
"""What the contract needs no more of: noise takes most of the time of all its tests."""


def pytest_generate_tests(metafunc):
    """Put every algorithm of ours through the contract, or those that --mu-algo names."""
    if "contender" in metafunc.fixturenames:
        own = metafunc.config.getoption("mu_algo") or []
        metafunc.parametrize("contender", contenders(*own), ids=own or ALGORITHMS)


@functools.cache
def contenders(*own: str) -> list[functools.partial]:
    """The algorithms of these paths, or all of ours."""
    return [loaded(path) for path in own] or [algorithm(name, **QUICK.get(name, {})) for name in ALGORITHMS]


def loaded(path: str) -> functools.partial:
    """The algorithm of a YAML of group mu_algo, or one without settings by its import path."""
    node = OmegaConf.load(path) if path.endswith(".yaml") else {"_target_": path}
    return bound_as_in_a_run(OmegaConf.create(node))


def algorithm(name: str, **changes) -> functools.partial:
    return bound_as_in_a_run(OmegaConf.load(CONF / "mu_algo" / f"{name}.yaml"), **changes)


def bound_as_in_a_run(node: DictConfig, **changes) -> functools.partial:
    """Bind an algorithm to its settings and to what it takes by name."""
    plain = OmegaConf.to_container(node, resolve=True) | changes
    for taken_out in (*DECLARED, "defaults"):  # by the run and by Hydra
        plain.pop(taken_out, None)
    bound = checked_partial(plain, "mu_algo", given=("original", "forget", "retain", "fit"), named=INPUTS)
    taken = inspect.signature(bound.func).parameters
    inputs = {"initialise": lambda: network(1), "validation": samples(40, 7), "early_original": network(2)}
    inputs["train"] = trained
    given = {name: value for name, value in inputs.items() if name in taken}
    return (Answered if "out_of_fold" in taken else functools.partial)(bound, **given)


def trained(name: str, samples: Samples, fit: Fit) -> nn.Module:
    """Train a new network for an algorithm, as a run does by its recipe."""
    model = network(len(name))
    own = made(name=name, account=fit.account)
    return own(model, lambda batch: F.cross_entropy(model(batch.inputs), batch.labels), samples)


class Answered(functools.partial):
    """An algorithm that is given teachers' logits, as many as there are samples to forget."""

    def __call__(self, original, forget, retain, fit):
        logits = torch.randn(len(forget), K, generator=torch.Generator().manual_seed(3))
        return super().__call__(original, forget, retain, fit, out_of_fold=logits)


def made(**changes) -> Fit:
    settings = {
        "epochs": 2,
        "batch_size": 8,
        "optimizer": functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    }
    settings |= {"schedule": None, "clip_norm": None, "precision": "float32", "seed": 0, "name": "unlearn"}
    return Fit(**settings | changes)


def samples(n: int, seed: int, soft: bool = False) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(K, (n,), generator=generator)
    targets = torch.randn(n, K, generator=generator).softmax(1) if soft else F.one_hot(labels, K).float()
    return Samples(torch.randn(n, 1, 4, 4, generator=generator), labels, targets)


samples_of_grey = samples


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return mlp(input_shape=(1, 4, 4), classes=K, hidden=8).eval()


def residual(seed: int = 0) -> nn.Module:
    """A residual network whose running statistics are of data."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = resnet9(input_shape=(3, 8, 8), classes=K, width=2)
    with torch.no_grad():
        for batch in range(20):
            model(colour_samples(30, batch).inputs)
    return model.eval()


def colour_samples(n: int, seed: int, soft: bool = False) -> Samples:
    draw, grey = torch.Generator().manual_seed(seed), samples_of_grey(n, seed, soft)
    return dataclasses.replace(grey, inputs=torch.randn(n, 3, 8, 8, generator=draw))


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_is_one_function_with_its_settings_in_yaml(name):
    partial = algorithm(name)
    assert partial.func.__module__ == f"softtargets.mu_algo.{name}"
    assert partial.func.__name__ == name
    parameters = inspect.signature(partial.func).parameters.values()
    settings = OmegaConf.load(CONF / "mu_algo" / f"{name}.yaml").keys() - {
        "_target_",
        "_partial_",
        *DECLARED,
        "defaults",
    }
    assert {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - set(INPUTS) == settings
    assert settings.isdisjoint(INPUTS)
    assert all(p.default is p.empty for p in parameters)
    assert name in options("unlearn")


class TestEveryAlgorithm:
    """The contract."""

    def test_takes_original_forget_retain_and_fit_in_this_order(self, contender):
        parameters = inspect.signature(contender.func).parameters.values()
        assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == [
            "original",
            "forget",
            "retain",
            "fit",
        ]

    def test_leaves_the_original_as_it_was(self, contender):
        original = network()
        before = copy.deepcopy(original.state_dict())
        unlearned = contender(original, samples(20, 1), samples(30, 2), made())
        assert all(torch.equal(value, before[key]) for key, value in original.state_dict().items())
        assert all(p.requires_grad and p.grad is None for p in original.parameters())
        assert not original.training
        assert not unlearned.training
        shared = {p.data_ptr() for p in original.parameters()} & {p.data_ptr() for p in unlearned.parameters()}
        assert not shared

    def test_leaves_the_samples_as_they_were(self, contender):
        sets = samples(20, 1, soft=True), samples(30, 2, soft=True)
        before = [digest(s.inputs, s.labels, s.targets) for s in sets]
        contender(network(), *sets, made())
        assert [digest(s.inputs, s.labels, s.targets) for s in sets] == before

    def test_same_seed_twice_is_bit_equal(self, contender):
        def outcome(outside):
            torch.manual_seed(outside)
            return flat(contender(network(), samples(20, 1), samples(30, 2), made()))

        assert torch.equal(outcome(1), outcome(2))

    @pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
    @pytest.mark.parametrize(("forget", "retain"), [(5, 30), (1, 30), (20, 5), (20, 1), (17, 30)])
    def test_takes_sets_of_any_size_and_either_kind_of_target(self, contender, forget, retain, soft):
        fit = made()
        unlearned = contender(network(), samples(forget, 1, soft), samples(retain, 2, soft), fit)
        assert flat(unlearned).isfinite().all()
        assert not fit.account.diverged
        if not Algorithm.of(contender).sharded:  # whose trainings are counted there, by fits of their own
            assert bool(fit.account.steps) != Algorithm.of(contender).has_no_loop
        if fit.account.steps:
            assert not torch.equal(flat(unlearned), flat(network()))

    def test_targets_matter_unless_it_is_marked(self, contender):
        forget, retain = samples(20, 9), samples(30, 2)
        others = [data.retarget(samples(len(data), 9, soft=True).targets) for data in (forget, retain)]
        hard, soft = (contender(network(), *sets, made()) for sets in ((forget, retain), others))
        assert torch.equal(flat(hard), flat(soft)) == Algorithm.of(contender).ignores_targets

    def test_forget_targets_matter_unless_it_is_marked(self, contender):
        if contender.func is ssd:
            contender = functools.partial(contender, alpha=1.0)  # at its default it touches next to nothing
        forget, retain = samples(20, 1), samples(30, 2)
        other = forget.retarget(samples(20, 9, soft=True).targets)
        hard, soft = (contender(network(), asked, retain, made()) for asked in (forget, other))
        assert torch.equal(flat(hard), flat(soft)) == Algorithm.of(contender).ignores_forget_targets


@pytest.mark.parametrize("name", ALGORITHMS)
def test_takes_batches_and_never_a_copy_of_all_inputs(name, monkeypatch):
    """All at once, lazy sets would be a float copy of their images; a table of answers is one by its nature."""
    plain = samples(20, 1), samples(30, 2)
    lazy = [one.select(torch.arange(len(one))) for one in plain]
    unlearn = algorithm(name, **QUICK.get(name, {}))
    expected = flat(unlearn(network(), *plain, made()))
    if not Algorithm.of(unlearn).comparison_only:
        monkeypatch.setattr(Lazy, "inputs", property(lambda _: pytest.fail("a copy of all inputs")))
    assert torch.equal(flat(unlearn(network(), *lazy, made())), expected)


READS = ("item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__float__", "__int__", "__index__")
"""Methods of a tensor that wait until its device has computed all that it was given."""


class Waits(TorchFunctionMode):
    """Notes what would wait for a GPU: a number that is read, and a copy that is not made in the background."""

    def __init__(self):
        super().__init__()
        self.noted: list[str] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        copies = name == "to" and isinstance(args[1], torch.device) and not kwargs.get("non_blocking")
        if name in READS or copies:
            frame = sys._getframe(1)
            self.noted.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {name}")
        return function(*args, **kwargs)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_no_step_waits_for_the_device(name, monkeypatch):
    """An algorithm waits as often in twice as many steps."""
    for module in (fit_module, losses):
        monkeypatch.setattr(module, "waits", lambda device: True)  # as on a GPU

    def waits(times: int) -> list[str]:
        longer = {"steps": 3 * times} if name == "noisy_finetune" else {}
        changes = {"flip": True, "shift": 1, "cutout": 2}
        with Waits() as found:
            algorithm(name, **QUICK.get(name, {}) | longer)(
                network(), samples(20, 1), samples(30, 2), made(epochs=times, augmentation=changes)
            )
        return found.noted

    assert collections.Counter(waits(2)) == collections.Counter(waits(1))


@pytest.mark.long
class TestEveryAlgorithmOnColours(TestEveryAlgorithm):
    """The contract on three channels, with batch normalisation of one value a channel in a lone sample."""

    @pytest.fixture(autouse=True)
    def colours(self, contender, monkeypatch):
        """Put a small residual network and colour images in the place of the mlp and grey ones."""
        monkeypatch.setattr(sys.modules[__name__], "network", residual)
        monkeypatch.setattr(sys.modules[__name__], "samples", colour_samples)
        given = {"validation": colour_samples(40, 7), "early_original": residual(2)}
        for name in given.keys() & contender.keywords.keys():
            monkeypatch.setitem(contender.keywords, name, given[name])

    def test_holds_frozen_running_statistics_unless_it_trains_a_new_network(self, contender):
        original, marks = network(), Algorithm.of(contender)
        if "layers" in contender.keywords:
            contender = functools.partial(contender, layers=4)  # with normalisation among them
        before = copy.deepcopy(list(original.buffers()))
        after = contender(original, samples(20, 1), samples(30, 2), made(freeze_norm=True)).buffers()
        if not (marks.new_network or marks.has_no_loop):
            assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


@pytest.mark.long
def test_the_contract_refuses_an_algorithm_of_ones_own_that_breaks_it():
    command = (sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", "tests/test_mu_algo.py")
    asked = (*command, "--mu-algo", "own_parts.in_place", "--mu-algo", "softtargets.mu_algo.gradasc.gradasc")
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("1 failed, 31 passed")
    assert "test_leaves_the_original_as_it_was[own_parts.in_place]" in done.stdout


# one step of SGD on a linear model, worked out by hand

LR = 0.1


def linear() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, K))


def gradient(model: nn.Module, data: Samples) -> torch.Tensor:
    """(p - q)ᵀ [x, 1] / n, in float64."""
    x = torch.cat([data.inputs.flatten(1), torch.ones(len(data), 1)], 1).double()
    return (model(data.inputs).detach().double().softmax(1) - data.targets).T @ x / len(data)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([model[1].weight, model[1].bias[:, None]], 1).detach().double()


def by_hand(model: nn.Module, step: torch.Tensor) -> None:
    with torch.no_grad():
        model[1].weight -= LR * step[:, :16].float()
        model[1].bias -= LR * step[:, 16].float()


def negative(data: Samples) -> Samples:
    """Targets that are no distribution."""
    return data.retarget(1.4 * data.targets - 0.4 / K)


TARGETS = {"hard": lambda s: s, "soft": lambda s: samples(len(s), 9, soft=True), "negative": negative}


@pytest.mark.parametrize("kind", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(
    ("name", "changes", "alpha"),
    [
        ("gradasc", {}, 0.0),
        ("graddiff", {}, 1.0),
        ("graddiff", {"alpha": 0.3}, 0.3),
        ("graddiff", {"alpha": 0}, 0.0),
        ("neggrad_plus", {"alpha": 0.75}, (0.75, -0.25)),
        ("npo", {"alpha": 0, "beta": 0.1}, 0.0),
        ("npo", {"alpha": 0.3, "beta": 2.0}, 0.3),
        ("relabel", {"alpha": 0.3}, (0.3, 1.0)),
        ("salun", {"alpha": 0.3, "share": 1.0}, (0.3, 1.0)),
        ("ugradsl_plus", {"alpha": 0.75, "beta": 0}, (0.75, -0.25)),
        ("finetune", {}, (1.0, 0.0)),
        ("l1_sparse", {"alpha": 0}, (1.0, 0.0)),
    ],
)
def test_one_step_is_the_gradient_worked_out_by_hand(name, changes, alpha, kind):
    """`alpha`: weights of the retain and the forget gradient, the latter -1 unless given."""
    forget, retain, original = kind(samples(7, 1)), kind(samples(11, 2)), linear()
    fit = made(epochs=1, batch_size=11, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    unlearned = algorithm(name, **changes)(original, forget, retain, fit)
    kept, forgot = alpha if isinstance(alpha, tuple) else (alpha, -1.0)
    expected = weights(original) - LR * (kept * gradient(original, retain) + forgot * gradient(original, forget))
    torch.testing.assert_close(weights(unlearned), expected, rtol=1e-5, atol=1e-6)
    taken = {"gradasc": 7, "finetune": 11, "l1_sparse": 11}
    assert fit.account.gradient_samples == taken.get(name, 18)


def test_npo_fades_where_a_sample_is_forgotten():
    """The gradient is that of ascent times 2 r / (1 + r), r = (p_y / p0_y)^beta, on each sample."""
    forget, retain, original, beta = samples(1, 1), samples(3, 2), linear(), 0.7
    fit = made(epochs=2, batch_size=1, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    unlearned = algorithm("npo", alpha=0, beta=beta)(original, forget, retain, fit)
    expected = copy.deepcopy(original)
    p0 = original(forget.inputs).softmax(1)[0, forget.labels]
    for _ in range(2):
        r = ((expected(forget.inputs).softmax(1)[0, forget.labels] / p0) ** beta).item()
        by_hand(expected, -2 * r / (1 + r) * gradient(expected, forget))
    torch.testing.assert_close(weights(unlearned), weights(expected), rtol=1e-5, atol=1e-6)


def test_l1_pulls_with_the_sign_of_each_weight_and_fades_by_the_step():
    forget, retain, original = samples(2, 1), samples(4, 2), linear()
    fit = made(epochs=2, batch_size=4, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    unlearned = algorithm("l1_sparse", alpha=0.01)(original, forget, retain, fit)
    expected = copy.deepcopy(original)
    for fading in (0.01, 0.005):
        by_hand(expected, gradient(expected, retain) + fading * weights(expected).sign())
    torch.testing.assert_close(weights(unlearned), weights(expected), rtol=1e-5, atol=1e-6)


def test_salun_moves_the_most_salient_weights_alone():
    forget, retain, original = samples(7, 1, soft=True), samples(11, 2), linear()
    fit = made(epochs=3, batch_size=8, clip_norm=1.0)
    moved = weights(algorithm("salun", share=0.25)(original, forget, retain, fit)) != weights(original)
    size = gradient(original, forget.retarget(F.one_hot(forget.labels, K).float())).abs()
    salient = size >= size.flatten().sort(descending=True).values[round(0.25 * size.numel()) - 1]
    assert torch.equal(moved, salient)


@pytest.mark.parametrize(("alpha", "lam"), [(1.2, 0.9), (0.5, 1.0)], ids=["usual", "no weight may grow"])
def test_ssd_dampens_by_the_ratio_of_importances(alpha, lam):
    forget, retain, original = samples(7, 1), samples(11, 2), linear()

    def squares(data: Samples) -> torch.Tensor:
        """Mean over samples of the squared gradient, one sample at a time."""
        each = [gradient(original, data.take(torch.tensor([i]))) ** 2 for i in range(len(data))]
        return sum(each) / len(each)

    special, general = squares(forget), (7 * squares(forget) + 11 * squares(retain)) / 18
    factor = torch.where(special > alpha * general, (lam * general / special).clamp(max=1), 1.0)
    assert 0 < (factor < 1).sum() < factor.numel()
    unlearned = algorithm("ssd", alpha=alpha, lam=lam)(original, forget, retain, made())
    torch.testing.assert_close(weights(unlearned), weights(original) * factor, rtol=1e-5, atol=1e-6)
    same = algorithm("ssd", alpha=1e6, lam=1.0)(original, forget, retain, made())
    assert torch.equal(flat(same), flat(original))


class Twice(nn.Module):
    """A layer that a pass calls twice, one that shares its weight with another, and one over rows of a matrix."""

    def __init__(self):
        super().__init__()
        self.rows, self.twice, self.last = nn.Linear(4, 6), nn.Linear(24, 24), nn.Linear(24, K)
        self.one, self.other = nn.Linear(24, 24), nn.Linear(24, 24)
        self.other.weight = self.one.weight
        self.frozen = nn.Linear(24, 24).requires_grad_(False)

    def forward(self, inputs):
        rows = self.rows(inputs.flatten(1).view(len(inputs), 4, 4)).flatten(1)
        twice = self.twice(self.twice(rows).relu())
        return self.last(self.frozen(self.other(self.one(twice).relu())).relu())


def convolving():
    layers = (
        nn.Conv2d(1, 3, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, 8, bias=False),
        nn.Linear(8, K),
    )
    return nn.Sequential(*layers)


def normalising():
    """Strides, dilation and groups, convolutions to one position and to many, running statistics, in place."""
    layers = (
        *(nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        *(nn.Conv2d(4, 4, 3, padding=2, dilation=2), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 6, 2)),
        *(nn.Flatten(), nn.BatchNorm1d(6), nn.Linear(6, K)),
    )
    for layer in layers:
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.normal_(layer.weight)
    return nn.Sequential(*layers)


def of_our_layers():
    """Linear layers of ours, which multiply by another library where that is faster."""
    return nn.Sequential(nn.Flatten(), Linear(16, 8), nn.ReLU(), Linear(8, K))


@pytest.mark.parametrize("network", [Twice, convolving, normalising, of_our_layers])
def test_ssds_importance_is_a_mean_over_samples_one_by_one(network):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = network().eval()
    data = samples(70, 1, soft=True)
    expected, found = squares_one_by_one(model, data), importance(model, data)
    assert set(found) == set(expected)
    for name, squares in expected.items():
        torch.testing.assert_close(found[name], squares, rtol=1e-4, atol=1e-8)


def squares_one_by_one(model: nn.Module, data: Samples) -> dict[str, torch.Tensor]:
    """Mean over samples of the squared gradients of what is trained, one sample at a time."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    total = {name: torch.zeros_like(parameter) for name, parameter in trained.items()}
    for one in map(data.take, torch.arange(len(data)).split(1)):
        loss = F.cross_entropy(model(one.inputs), one.targets)
        for name, found in zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True):
            total[name] += found.square() / len(data)
    return total


@pytest.mark.long
def test_ssds_importances_of_torchvisions_resnet18_are_those_of_single_samples():
    """In float64: in float32 rounding decides, in a batch and alone, on which side of 0 a ReLU's input lies."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = resnet18(num_classes=K).double().eval()
        data = Samples(torch.randn(3, 3, 32, 32).double(), torch.arange(K), torch.eye(K).double())
    found = importance(model, data)
    for name, squares in squares_one_by_one(model, data).items():
        assert (found[name] - squares).abs().max() < 1e-6 * squares.max(), name


def test_the_importance_of_our_own_linear_layers_needs_no_gradients_of_single_samples():
    model, data = of_our_layers().eval(), samples(3, 1)
    assert _direct(model, data) == [model[1], model[3]]


def test_scrub_stays_first_flees_then_and_stays_again():
    """Three turns on a linear model; T² times the softened KL has T (p_T - q_T) for its gradient in the logits."""
    forget, retain, original, temperature = samples(7, 1, soft=True), samples(11, 2), linear(), 2.0
    fit = made(epochs=2, batch_size=11, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    settings = {"alpha": 0.5, "gamma": 0.7, "temperature": temperature, "max_passes": 1}
    unlearned = algorithm("scrub", **settings)(original, forget, retain, fit)

    def away(data: Samples, q: torch.Tensor) -> torch.Tensor:
        x = torch.cat([data.inputs.flatten(1), torch.ones(len(data), 1)], 1).double()
        p = (expected(data.inputs).detach().double() / temperature).softmax(1)
        return temperature * (p - q).T @ x / len(data)

    expected = copy.deepcopy(original)
    by_hand(expected, 0.7 * gradient(original, retain))  # at the original the KL to itself has no gradient
    roots = forget.targets.double() ** (1 / temperature)
    by_hand(expected, -away(forget, roots / roots.sum(1, keepdim=True)))
    teacher = (original(retain.inputs).detach().double() / temperature).softmax(1)
    by_hand(expected, 0.7 * gradient(expected, retain) + 0.5 * away(retain, teacher))
    torch.testing.assert_close(weights(unlearned), weights(expected), rtol=1e-5, atol=1e-6)
    assert fit.account.gradient_samples == 29


def test_scrub_without_its_teacher_on_the_retain_set_pays_for_no_pass_of_it():
    forget, retain, original = samples(7, 1), samples(11, 2), linear()
    fit = made(epochs=1, batch_size=11, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    unlearned = algorithm("scrub", alpha=0.0, gamma=0.7, max_passes=0)(original, forget, retain, fit)
    expected = copy.deepcopy(original)
    by_hand(expected, 0.7 * gradient(original, retain))
    torch.testing.assert_close(weights(unlearned), weights(expected), rtol=1e-5, atol=1e-6)
    assert fit.account.gradient_samples == 11


def test_scrubs_first_flight_from_the_teacher_goes_nowhere():
    forget, original = samples(20, 1), network()
    own = forget.retarget(predict(original, forget.inputs).softmax(1))
    fit = made(epochs=1, batch_size=20, optimizer=functools.partial(torch.optim.SGD, lr=1.0))
    settings = {"alpha": 0.0, "gamma": 0.0, "max_passes": 1}
    unlearned = algorithm("scrub", **settings)(original, own, samples(5, 2), fit)
    torch.testing.assert_close(flat(unlearned), flat(original), rtol=0, atol=1e-6)


def test_softening_works_where_all_powers_of_the_probabilities_underflow():
    softened = soften(torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4]]), 0.005)
    torch.testing.assert_close(softened, torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]))
    torch.testing.assert_close(soften(torch.tensor([[0.8, 0.2]]), 2.0), torch.tensor([[2 / 3, 1 / 3]]))


def test_boundary_shrink_descends_to_the_nearest_other_class():
    """On a linear model the gradient in x is Wᵀ (p - e_y), and every step of FGSM can be worked out by hand."""
    forget, retain, original = pixels(40, 1, 0.5), pixels(5, 2, 0.6), linear()
    weight, bias = original[1].weight.detach(), original[1].bias.detach()
    x, e_y = forget.inputs.flatten(1), F.one_hot(forget.labels, K).float()
    moved = x + 0.3 * (((x @ weight.T + bias).softmax(1) - e_y) @ weight).sign()
    seen = torch.cat([x, retain.inputs.flatten(1)])
    free = ((moved @ weight.T + bias) - 1e9 * e_y).argmax(1)
    nearest = ((moved.clamp(seen.min(), seen.max()) @ weight.T + bias) - 1e9 * e_y).argmax(1)
    fit = made(epochs=1, batch_size=40, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    unlearned = algorithm("boundary_shrink", epsilon=0.3)(original, forget, retain, fit)
    expected = copy.deepcopy(original)
    by_hand(expected, gradient(original, forget.retarget(F.one_hot(nearest, K).float())))
    torch.testing.assert_close(weights(unlearned), weights(expected), rtol=1e-5, atol=1e-6)
    assert (nearest != (x @ weight.T + bias - 1e9 * e_y).argmax(1)).any()  # the attack changes some
    narrow = ((moved.clamp(x.min(), x.max()) @ weight.T + bias) - 1e9 * e_y).argmax(1)
    assert (nearest != free).any()  # and the range others
    assert (nearest != narrow).any()


def pixels(n: int, seed: int, edge: float) -> Samples:
    """Samples many of whose values are the least or the greatest, as those of real images."""
    free = samples(n, seed)
    return dataclasses.replace(free, inputs=free.inputs.clamp(-edge, edge))


def test_boundary_shrink_takes_the_range_of_each_channel_over_both_sets():
    forget = torch.tensor([0.0, 1.0, 5.0, 6.0]).view(1, 2, 2, 1)
    retain = torch.tensor([[-1.0, 0.5, 7.0, 5.5], [0.0, 0.0, 6.0, 6.0]]).view(2, 2, 2, 1)
    labels, targets = torch.zeros(2).long(), torch.eye(2)
    sets = Samples(forget, labels[:1], targets[:1]), Samples(retain, labels, targets)
    low, high = value_range(*sets)
    assert (low.flatten().tolist(), high.flatten().tolist()) == ([-1.0, 5.0], [1.0, 7.0])
    assert low.shape == high.shape == (1, 2, 1, 1)


def test_ugradsl_plus_sharpens_by_the_share_of_the_retain_batch_that_is_near():
    """Two of three retain samples are the forget sample itself, the third is sure of another class."""
    original, forget = linear(), samples(1, 1, soft=True)
    logits = forget.inputs.flatten(1) @ original[1].weight.T + original[1].bias
    away = -(original[1].weight[logits.argmax()] * 50).detach().view(1, 1, 4, 4)
    assert original(away).argmax() != logits.argmax()
    retain = Samples(
        torch.cat([forget.inputs, forget.inputs, away]), torch.zeros(3, dtype=torch.int64), samples(3, 2).targets
    )
    fit = made(epochs=1, batch_size=3, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    unlearned = algorithm("ugradsl_plus", alpha=0.75, beta=0.1)(original, forget, retain, fit)
    sharpened = forget.retarget(5 / 3 * forget.targets - 2 / 3 / K)
    step = 0.75 * gradient(original, retain) - 0.25 * gradient(original, sharpened)
    torch.testing.assert_close(weights(unlearned), weights(original) - LR * step, rtol=1e-4, atol=1e-5)


def test_predictions_are_near_by_total_variation():
    """Half of the l1 distance: 0, 0.1 and 0.3 here."""
    probs = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.3, 0.3], [0.2, 0.3, 0.5]])
    assert crowding(probs[:1].log(), probs.log(), 0.15).item() == pytest.approx(2 / 3)


def test_unsir_impairs_with_noise_of_the_class_and_repairs():
    """One class, one batch of impairing, one of repairing."""
    original, retain = linear(), samples(11, 2)
    forget = samples(6, 1, soft=True)
    forget = Samples(forget.inputs, torch.full((6,), 2), forget.targets)
    fit = made(epochs=1, batch_size=31, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    settings = {"noise": 5, "copies": 4, "steps": 7, "lr": 0.1, "penalty": 0.1}
    unlearned = algorithm("unsir", **settings)(original, forget, retain, fit)
    start = torch.randn(5, 1, 4, 4, generator=generator(0, "unlearn/unsir"))
    target = forget.targets.mean(0).expand(5, -1)
    noise = error_maximising(original, Samples(start, forget.labels[:5], target), 7, 0.1, 0.1)
    expected = copy.deepcopy(original)
    by_hand(expected, (11 * gradient(original, retain) + 20 * gradient(original, noise)) / 31)
    by_hand(expected, gradient(expected, retain))
    torch.testing.assert_close(weights(unlearned), weights(expected), rtol=1e-4, atol=1e-5)


def test_unsirs_noise_goes_uphill_on_the_error_and_stays_small():
    """Adam's first step is the gradient's sign: of 2 λ x / n - Wᵀ (p - q) / n in the inputs of a linear model."""
    model, start = linear(), samples(5, 3, soft=True)
    x, weight = start.inputs.flatten(1), model[1].weight.detach()
    slope = 2 * 0.3 * x - (model(start.inputs).softmax(1) - start.targets) @ weight
    moved = error_maximising(model, start, 1, 0.1, 0.3).inputs.flatten(1)
    torch.testing.assert_close(moved, x - 0.1 * slope.sign(), rtol=0, atol=1e-3)
    found = error_maximising(model, start, 200, 0.1, 0.0)
    assert (
        cross_entropy(model(found.inputs), start.targets) > cross_entropy(model(start.inputs), start.targets) + 1
    )
    near = error_maximising(model, start, 200, 0.1, 10.0)
    assert near.inputs.square().mean() < 0.01 * found.inputs.square().mean()


def test_rmu_steps_along_the_gradient_worked_out_by_hand():
    """Two steps of a layer and its ReLU: at the original the retain set, held to itself, has no gradient."""
    original, sets = network(), (samples(7, 1), samples(11, 2))
    fit = made(epochs=2, batch_size=11, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    unlearned = algorithm("rmu", kappa=5.0, alpha=3.0)(original, *sets, fit)
    forget, retain = (torch.cat([s.inputs.flatten(1), torch.ones(len(s), 1)], 1).double() for s in sets)
    expected, v = weights(original), torch.rand(8, generator=generator(0, "unlearn/rmu")).double()
    sent, held = ((x @ expected.T).relu() for x in (forget, retain))
    goal = 5 * sent.norm(dim=1).mean() * v / v.norm()
    for _ in range(2):
        step = 0
        for x, aim, weight in ((forget, goal, 1), (retain, held, 3)):
            h = (x @ expected.T).relu()
            step += weight * 2 * ((h - aim) * (h > 0)).T @ x / h.numel()
        expected = expected - LR * step
    torch.testing.assert_close(weights(unlearned), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(unlearned[-1].weight, original[-1].weight)


def test_rmu_sends_the_representation_towards_one_direction_and_holds_the_others():
    original, forget, retain = network(), samples(6, 1), samples(40, 2)
    body = functools.partial(lambda model, inputs: model[:-1](inputs))
    fit = made(epochs=400, batch_size=8, optimizer=functools.partial(torch.optim.Adam, lr=1e-2))
    unlearned = algorithm("rmu", kappa=5.0, alpha=0.0)(original, forget, retain, fit)
    sent, before = body(unlearned, forget.inputs), body(original, forget.inputs)
    scale, v = before.norm(dim=1).mean(), torch.rand(8, generator=generator(0, "unlearn/rmu"))
    away = (5 * scale * v / v.norm()).expand_as(sent)
    assert F.mse_loss(sent, away) < 0.5 * F.mse_loss(before, away)  # dead units cannot follow
    held = algorithm("rmu", kappa=5.0, alpha=1e6)(
        original, forget, retain, made(optimizer=fit.optimizer, epochs=20)
    )
    assert (body(held, retain.inputs) - body(original, retain.inputs)).abs().mean() < 0.1 * scale
    with pytest.raises(ValueError, match="linear layer"):
        algorithm("rmu")(nn.Sequential(nn.Flatten()), forget, retain, made())


def test_graddiff_pairs_each_forget_batch_with_the_next_retain_batch():
    forget, retain, original = samples(4, 1), samples(6, 2), linear()
    fit = made(epochs=2, batch_size=4, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    expected = copy.deepcopy(original)
    order = next(fit.orders(1, 6))
    for batch in (order[:4], order[4:]):
        by_hand(expected, gradient(expected, retain.take(batch)) - gradient(expected, forget))
    unlearned = algorithm("graddiff")(original, forget, retain, fit)
    torch.testing.assert_close(weights(unlearned), weights(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["gradasc", "graddiff"])
def test_labels_play_no_part_beside_the_targets(name):
    forget, retain = samples(20, 1), samples(30, 2)
    other = [Samples(s.inputs, s.labels.flip(0), s.targets) for s in (forget, retain)]
    one, two = (algorithm(name)(network(), *sets, made()) for sets in ((forget, retain), other))
    assert torch.equal(flat(one), flat(two))


# real digits: the model's own predictions as targets

NO_OP = 1e-8
"""The most that rounding may move a parameter: float32 leaves p - q at 1e-7, learning rate times steps is below
5e-3, and parameters are of the order of 0.1, with a spacing of 7e-9."""


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, Samples, Samples]:
    """A trained model with its forget set (a tenth) and retain set."""
    images = mnist_5k()
    targets = F.one_hot(images.train_labels, 10).float()
    data = Samples((images.train_pixels / 255 - 0.1307) / 0.3081, images.train_labels, targets)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = mlp(input_shape=(1, 28, 28), classes=10, hidden=64)
    adam = functools.partial(torch.optim.Adam, lr=2e-3)
    made(epochs=3, batch_size=128, optimizer=adam)(
        model, lambda batch: cross_entropy(model(batch.inputs), batch.targets), data
    )
    order = torch.randperm(4000, generator=torch.Generator().manual_seed(0))
    return model, data.take(order[:400]), data.take(order[400:])


def own(model: nn.Module, data: Samples) -> Samples:
    return data.retarget(predict(model, data.inputs).softmax(1))


def movement(name: str, optimizer, model: nn.Module, forget: Samples, retain: Samples) -> float:
    unlearned = algorithm(name)(model, forget, retain, made(epochs=5, batch_size=32, optimizer=optimizer))
    return (flat(unlearned) - flat(model)).abs().max().item()


@pytest.mark.parametrize(("name", "lr"), [("gradasc", 1e-5), ("graddiff", 5e-5)])
def test_own_predictions_leave_every_parameter_where_it_was(digits, name, lr):
    model, forget, retain = digits
    optimizer = functools.partial(torch.optim.SGD, lr=lr, momentum=0.9)
    assert movement(name, optimizer, model, own(model, forget), own(model, retain)) < NO_OP
    assert movement(name, optimizer, model, forget, retain) > 1e4 * NO_OP


@pytest.mark.parametrize("name", ["gradasc", "graddiff"])
def test_adam_turns_the_rounding_into_steps(digits, name):
    model, forget, retain = digits
    adam = functools.partial(torch.optim.Adam, lr=1e-4)
    assert movement(name, adam, model, own(model, forget), own(model, retain)) > 1e5 * NO_OP


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_mixing_in_own_predictions_shrinks_the_hard_gradient_and_nothing_else(digits, share):
    model, forget, _ = digits

    def gradient(targets):
        loss = cross_entropy(model(forget.inputs), targets)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])

    hard = gradient(forget.targets)
    mixed = gradient((1 - share) * forget.targets + share * own(model, forget).targets)
    assert (mixed - (1 - share) * hard).norm() < 1e-5 * hard.norm()


# baselines, against what they are said to be


def test_doing_nothing_returns_an_equal_model_of_its_own():
    original = network()
    same = algorithm("none")(original, samples(20, 1), samples(30, 2), made())
    assert same is not original
    assert torch.equal(flat(same), flat(original))


def test_early_is_a_copy_of_the_checkpoint():
    checkpoint = network(5)
    early = algorithm("early").func(network(), samples(20, 1), samples(30, 2), made(), early_original=checkpoint)
    assert early is not checkpoint
    assert torch.equal(flat(early), flat(checkpoint))


def test_calibration_divides_the_logits_by_the_likeliest_temperature():
    original, validation = network(), samples(40, 7)
    calibrated = algorithm("none_calibrated")(original, samples(20, 1), samples(30, 2), made())
    logits = predict(original, validation.inputs)
    ratio = logits / predict(calibrated, validation.inputs)
    temperature = ratio.mean().item()
    torch.testing.assert_close(ratio, torch.full_like(ratio, temperature), rtol=1e-3, atol=0)
    losses = {
        t: F.cross_entropy(logits.double() / t, validation.labels).item()
        for t in torch.linspace(0.2, 5, 4801).tolist()
    }
    assert temperature == pytest.approx(min(losses, key=losses.get), abs=2e-3)


@pytest.mark.parametrize(("sharpness", "expected"), [(1e-3, 0.2), (1e3, 5.0)])
def test_a_temperature_ends_at_the_ends_of_its_range(sharpness, expected):
    labels = torch.arange(30) % 3
    right = F.one_hot(labels, 3).float() if expected < 1 else F.one_hot((labels + 1) % 3, 3).float()
    assert fitted_temperature(right * 100 * sharpness, labels) == expected


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_retraining_by_the_trainings_recipe_from_its_initialisation_is_the_retrained_model(smoothing):
    retain, fit = samples(30, 2), made(epochs=3, label_smoothing=smoothing)
    trained = network(1)

    def loss(batch):
        return F.cross_entropy(trained(batch.inputs), batch.labels, label_smoothing=smoothing)

    made(epochs=3)(trained, loss, retain)
    again = algorithm("retrain")(network(), samples(20, 1), retain, fit)
    assert torch.equal(flat(again), flat(trained))


def test_a_reset_head_is_trained_alone_from_that_of_a_new_model():
    original, fresh = network(), network(1)
    still = made(optimizer=functools.partial(torch.optim.SGD, lr=0.0))
    reset = algorithm("head_reset")(original, samples(20, 1), samples(30, 2), still)
    assert torch.equal(reset[1].weight, original[1].weight)
    assert torch.equal(reset[3].weight, fresh[3].weight)
    moved = algorithm("head_reset")(original, samples(20, 1), samples(30, 2), made())
    assert torch.equal(moved[1].weight, original[1].weight)
    assert not torch.equal(moved[3].weight, fresh[3].weight)


@pytest.mark.parametrize("name", ["cfk", "euk"])
def test_the_last_layers_are_trained_alone_as_they_are_or_anew(name):
    """One step from the original or a new model, by the gradient of a hand-written forward pass."""
    retain = samples(30, 2, soft=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = [(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(16, 8), nn.Linear(8, K)) for _ in range(2)]
    original, fresh = (nn.Sequential(c, n, nn.Flatten(), one, nn.Tanh(), two).eval() for c, n, one, two in parts)
    fit = made(epochs=1, batch_size=30, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    given = {"initialise": lambda: fresh} if name == "euk" else {}
    unlearned = algorithm(name).func(original, samples(5, 1), retain, fit, layers=2, **given)
    assert torch.equal(unlearned[0].weight, original[0].weight)
    assert torch.equal(unlearned[1].weight, original[1].weight)
    one, two = (layer for layer in (fresh if name == "euk" else original) if isinstance(layer, nn.Linear))
    start = [p.detach().clone().requires_grad_() for p in (one.weight, one.bias, two.weight, two.bias)]
    body = copy.deepcopy(original[:3]).train()(retain.inputs).detach()
    logits = torch.tanh(body @ start[0].T + start[1]) @ start[2].T + start[3]
    slopes = torch.autograd.grad(-(retain.targets * logits.log_softmax(1)).sum(1).mean(), start)
    found = (*unlearned[3].parameters(), *unlearned[5].parameters())
    for parameter, begun, slope in zip(found, start, slopes, strict=True):
        torch.testing.assert_close(parameter, begun - LR * slope, rtol=1e-5, atol=1e-6)
    assert all(parameter.requires_grad for parameter in unlearned.parameters())


def kernels(size: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 3, size), nn.Flatten(), nn.Linear(3 * (5 - size) ** 2, K)).eval()


def test_sfrons_ascent_is_masked_weighted_and_fades():
    """Two steps of SGD on a linear model, each by hand; the second has half of the weight."""
    forget, retain, original = samples(7, 1), samples(11, 2), linear()
    fit = made(epochs=2, batch_size=11, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    unlearned = algorithm("sfron", alpha=3.0, lam=0.5, gamma=1.2)(original, forget, retain, fit)

    def squares(data: Samples) -> torch.Tensor:
        return sum(gradient(original, data.take(torch.tensor([i]))) ** 2 for i in range(len(data))) / len(data)

    mask, expected = squares(forget) >= 1.2 * squares(retain), copy.deepcopy(original)
    assert 0 < mask.sum() < mask.numel()
    for weight in (3.0, 1.5):
        each = F.cross_entropy(expected(forget.inputs).detach().double(), forget.labels, reduction="none")
        share = each**-0.5 / (each**-0.5).sum()
        ascent = sum(s * gradient(expected, forget.take(torch.tensor([i]))) for i, s in enumerate(share))
        by_hand(expected, gradient(expected, retain) - weight * mask * ascent)
    torch.testing.assert_close(weights(unlearned), weights(expected), rtol=1e-5, atol=1e-6)


def test_amun_fine_tunes_on_the_first_neighbours_that_mislead():
    """On a linear model the slope in x is Wᵀ (p - e_y), and each sample's walk can be made alone."""
    forget, retain, original = pixels(40, 1, 1.5), samples(9, 2, soft=True), linear()
    weight, bias = original[1].weight.detach(), original[1].bias.detach()
    seen = torch.cat([forget.inputs.flatten(), retain.inputs.flatten()])
    images, named, walks = [], [], []
    for x, y in zip(forget.inputs.flatten(1), forget.labels, strict=True):
        walked = 0
        while (x @ weight.T + bias).argmax() == y and walked < 4:
            g = weight.T @ ((x @ weight.T + bias).softmax(0) - F.one_hot(y, K))
            x, walked = (x + 0.1 * 2**walked * g / g.norm()).clamp(seen.min(), seen.max()), walked + 1
        others = (x @ weight.T + bias) - 1e9 * F.one_hot(y, K)
        images, named, walks = [*images, x.view(1, 4, 4)], [*named, others.argmax()], [*walks, walked]
    assert {0, 4} < set(walks)  # some are misled at once, some at last or never
    adversarial = Samples(torch.stack(images), torch.stack(named), F.one_hot(torch.stack(named), K).float())
    everything = zip(fields(retain), fields(forget), fields(adversarial), strict=True)
    joint = Samples(*(torch.cat(column) for column in everything))
    unlearned = algorithm("amun", epsilon=0.1, steps=4)(original, forget, retain, made())
    expected = algorithm("finetune")(original, forget, joint, made())
    torch.testing.assert_close(flat(unlearned), flat(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("margin", [5.0, 88.0, 1000.0])
def test_attacks_go_uphill_however_sure_the_network_is(margin):
    """The slope p - e_y of a cross entropy rounds to 0 there; its direction in x does not depend on 1 - p_y."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        original, data = nn.Sequential(nn.Flatten(), nn.Linear(16, 3, bias=False)), samples(1, 4)
    data = Samples(data.inputs, torch.tensor([0]), torch.eye(3)[:1])
    weight, x = original[1].weight, data.inputs.flatten()
    with torch.no_grad():  # logits (margin, 0, -1)
        weight += torch.outer(torch.tensor([margin, 0.0, -1.0]) - weight @ x, x / x.square().sum())
    share = torch.tensor([0.0, 1.0, math.exp(-1)]) / (1 + math.exp(-1))
    g = (share @ weight - weight[0]).detach()
    everywhere = torch.full((1, 1, 1, 1), -1e9), torch.full((1, 1, 1, 1), 1e9)
    moved = adversarial(original, data, 0.2, 1, everywhere)
    torch.testing.assert_close(moved.inputs.flatten(), x + 0.2 * g / g.norm(), rtol=1e-4, atol=1e-4)
    step = 2 * margin / float(g.abs().sum())  # of FGSM, beyond the border
    attacked = weight @ (x + step * g.sign())
    assert nearest_class(original, data, step, everywhere).argmax() == 1 + attacked[1:].argmax()
    torch.testing.assert_close(uphill(original, data.inputs, data.labels)[0].flatten(), g, rtol=1e-4, atol=1e-4)


def fields(data: Samples) -> tuple[torch.Tensor, ...]:
    return data.inputs, data.labels, data.targets


def test_unilogit_steps_to_its_own_prediction_with_the_label_levelled():
    """In the logits Σ p log(p / q) has the slope p (log(p / q) - KL), q held fixed; two steps by hand."""
    forget, retain, original = samples(7, 1), samples(11, 2, soft=True), linear()
    fit = made(epochs=2, batch_size=11, optimizer=functools.partial(torch.optim.SGD, lr=LR))
    unlearned = algorithm("unilogit", alpha=0.3)(original, forget, retain, fit)
    x, e_y = torch.cat([forget.inputs.flatten(1), torch.ones(7, 1)], 1).double(), F.one_hot(forget.labels, K)
    expected = copy.deepcopy(original)
    for _ in range(2):
        p = expected(forget.inputs).detach().double().softmax(1)
        q = torch.where(e_y == 1, 1 / K, p * (1 - 1 / K) / (1 - (p * e_y).sum(1, keepdim=True)))
        apart = (p / q).log()
        slope = p * (apart - (p * apart).sum(1, keepdim=True))
        by_hand(expected, slope.T @ x / 7 + 0.3 * gradient(expected, retain))
    torch.testing.assert_close(weights(unlearned), weights(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "direction"),
    [(torch.optim.SGD, lambda slope: slope), (functools.partial(torch.optim.Adam, eps=1e-20), torch.sign)],
    ids=["sgd", "adam"],
)
def test_small_gradients_start_anew_and_the_others_go_at_a_tenth_of_the_rate(optimizer, direction):
    forget, retain, original = samples(6, 1), samples(6, 2, soft=True), kernels(3)
    still, moved = (
        algorithm("msg", share=0.3)(original, forget, retain, made(epochs=1, optimizer=sgd))
        for sgd in (functools.partial(optimizer, lr=lr) for lr in (0.0, LR))
    )
    kernel = original[0].weight
    # all retain samples are drawn, as there are as many as to be forgotten
    losses = [F.cross_entropy(original(part.inputs), part.labels) for part in (retain, forget)]
    (slope,) = torch.autograd.grad(losses[0] - losses[1], kernel)
    anew = slope.abs() <= slope.abs().flatten().sort().values[round(0.3 * 27) - 1]
    assert torch.equal(still[0].weight != kernel, anew)
    step = -(retain.targets * still(retain.inputs).log_softmax(1)).sum(1).mean()
    for found, begun, rate in (
        (moved[0].weight, still[0].weight, torch.where(anew, LR, LR / 10)),
        (moved[2].weight, still[2].weight, LR),
    ):
        (slope,) = torch.autograd.grad(step, begun, retain_graph=True)
        torch.testing.assert_close(found, begun - rate * direction(slope), rtol=1e-5, atol=1e-6)


def test_weights_that_start_anew_have_the_spread_of_kaiming():
    original = nn.Sequential(nn.Conv2d(1, 400, 4), nn.Flatten(), nn.Linear(400, K)).eval()
    fit = made(optimizer=functools.partial(torch.optim.SGD, lr=0.0))
    drawn = algorithm("msg", share=0.9)(original, samples(6, 1), samples(6, 2), fit)[0].weight
    anew = drawn[drawn != original[0].weight].detach()
    assert len(anew) == 5760
    assert anew.std() == pytest.approx((2 / (400 * 16)) ** 0.5, rel=0.05)


def test_kernels_are_transposed_before_the_fine_tuning():
    original = kernels(2)
    retain = samples(30, 2, soft=True)
    unlearned = algorithm("ct")(original, samples(5, 1), retain, made())
    turned = copy.deepcopy(original)
    turned[0].weight.data = original[0].weight.detach().swapaxes(2, 3)
    assert not torch.equal(turned[0].weight, original[0].weight)
    assert torch.equal(flat(unlearned), flat(algorithm("finetune")(turned, samples(5, 1), retain, made())))
    with pytest.raises(ValueError, match="square convolutions larger than 1x1"):
        Algorithm.of(algorithm("ct")).check_network(network(), samples(2, 0))


def test_a_mask_takes_the_classes_that_are_not_retained_and_renormalises_the_others():
    forget, retain = samples(20, 1), samples(30, 2)
    kept = retain.take((retain.labels != 1).nonzero()[:, 0])
    original = network()
    masked = algorithm("class_mask")(original, forget, kept, made())
    expected = predict(original, forget.inputs)
    expected[:, 1] = -torch.inf
    torch.testing.assert_close(predict(masked, forget.inputs).softmax(1), expected.softmax(1))


def test_served_teachers_answer_for_the_forget_set_and_nothing_else():
    original, forget, retain = network(), samples(20, 1), samples(30, 2)
    served = algorithm("teachers")(original, forget, retain, made())
    answers = torch.randn(20, K, generator=torch.Generator().manual_seed(3))
    assert torch.equal(predict(served, forget.inputs, batch_size=7), answers)
    assert torch.equal(predict(served, retain.inputs), predict(original, retain.inputs))
    shifted = forget.inputs.roll(1, -1)
    assert torch.equal(predict(served, shifted), predict(original, shifted))


@pytest.mark.parametrize("name", ["none_calibrated", "head_reset", "class_mask"])
def test_what_works_on_the_head_refuses_a_network_that_goes_on_after_it(name):
    look = Algorithm.of(algorithm(name)).check_network
    look(network(), samples(2, 0))
    with pytest.raises(ValueError, match="goes on after its last"):
        look(nn.Sequential(network(), nn.Tanh()), samples(2, 0))
    with pytest.raises(ValueError, match="has none"):
        look(nn.Flatten(), samples(2, 0))


def test_algorithms_that_ignore_targets_are_marked_in_both_places():
    for name in ALGORITHMS:
        declared, marks = OmegaConf.load(CONF / "mu_algo" / f"{name}.yaml"), Algorithm.of(algorithm(name))
        assert declared.get("ignores_targets", False) == marks.ignores_targets, name
        forget_side = marks.ignores_forget_targets and not marks.ignores_targets
        assert declared.get("ignores_forget_targets", False) == forget_side, name


def test_sisa_trains_the_touched_networks_anew_and_keeps_the_others():
    pool, count = samples(60, 5), 3
    shards = shards_of(pool, count)
    forget, others = pool.take(shards[1][:2]), torch.cat([shards[0], shards[1][2:], shards[2]])
    retain = pool.take(others)
    original = Ensemble([network(seed) for seed in (11, 12, 13)]).eval()
    before = flat(original)
    found = algorithm("sisa", shards=count)(original, forget, retain, made())
    kept = [flat(one) for one in found.networks]
    assert all(torch.equal(kept[i], flat(original.networks[i])) for i in (0, 2))
    by_hand = trained("shard 2", pool.take(shards[1][2:]), made())
    assert torch.equal(kept[1], flat(by_hand))
    means = sum(one(pool.inputs).softmax(1) for one in found.networks) / count
    assert torch.allclose(found(pool.inputs).softmax(1), means, atol=1e-6)
    assert torch.equal(flat(original), before)
    assert not {*map(id, found.networks)} & {*map(id, original.networks)}


def test_an_image_has_one_shard_whatever_set_it_is_in():
    pool = samples(3000, 6)
    shards = shards_of(pool, 5)
    assert torch.cat(shards).sort().values.equal(torch.arange(3000))
    assert all(520 <= len(part) <= 680 for part in shards)  # 600 each, within 3.7 standard deviations
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(1))[:500]
    places = {int(at): number for number, part in enumerate(shards) for at in part}
    for number, part in enumerate(shards_of(pool.select(order), 5)):
        assert {places[int(order[at])] for at in part} == {number}


def exact_delta(epsilon: float, apart: float, sigma: float) -> float:
    """The least δ of a Gaussian mechanism (Balle and Wang 2018, theorem 8)."""
    phi = scipy.stats.norm.cdf
    half, more = apart / (2 * sigma), epsilon * sigma / apart
    return phi(half - more) - math.exp(epsilon) * phi(-half - more)


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("epsilon", [0.5, 3.0])
def test_the_noise_keeps_its_promise_in_the_worst_case_and_half_of_it_does_not(epsilon, steps, decay):
    # one weight, gradients that always point apart: both ends are Gaussian, and their exact δ is known
    settings = {"radius": 2.0, "clip": 3.0, "rate": 0.1, "decay": decay, "steps": steps}
    sigma = noise_scale(epsilon=epsilon, delta=1e-4, **settings)
    apart, variance = 2 * 2.0, 0.0
    for _ in range(steps):
        apart, variance = (1 - decay) * apart + 2 * 0.1 * 3.0, (1 - decay) ** 2 * variance + sigma**2
    assert 1e-7 < exact_delta(epsilon, apart, variance**0.5) < 1e-4
    assert exact_delta(epsilon, apart, variance**0.5 / 2) > 1e-4


def test_noisy_steps_are_clipped_decay_and_start_in_the_ball():
    """Two steps on a linear model by hand, with the noise of the seed; the fit that follows moves nothing."""
    original, retain, draw = linear(), samples(30, 2), generator(0, "unlearn/promise")
    settings = {"epsilon": 900.0, "delta": 0.5, "radius": 0.5, "clip": 0.1, "rate": 2.0, "decay": 0.2, "steps": 2}
    fit = made(epochs=1, optimizer=functools.partial(torch.optim.SGD, lr=0.0))
    noisy = functools.partial(algorithm("noisy_finetune", **settings), initialise=linear)
    unlearned = noisy(original, samples(20, 1), retain, fit)
    sigma, expected = noise_scale(**settings), copy.deepcopy(original)
    assert weights(original).norm() > 0.5
    w = weights(original) * 0.5 / weights(original).norm()
    for _ in range(2):
        batch = retain.take(torch.randint(30, (8,), generator=draw))
        with torch.no_grad():
            expected[1].weight.copy_(w[:, :16])
            expected[1].bias.copy_(w[:, 16])
        g = gradient(expected, batch)
        assert g.norm() > 0.1
        noise = torch.cat([torch.randn(K, 16, generator=draw), torch.randn(K, 1, generator=draw)], 1)
        w = 0.8 * w - 2.0 * 0.1 * g / g.norm() + sigma * noise
    spread, begun = sigma * (1 + 0.8**2) ** 0.5, weights(original)  # `linear` has the same weights each time
    for columns in (slice(16), slice(16, 17)):
        scaled = w[:, columns] * begun[:, columns].norm() / (spread * begun[:, columns].numel() ** 0.5)
        torch.testing.assert_close(weights(unlearned)[:, columns], scaled, rtol=1e-4, atol=1e-5)


def test_so_much_noise_leaves_the_same_of_two_originals():
    settings = {"radius": 1e-3, "epsilon": 1e-3, "rate": 0.0}  # a ball too small, and noise too large, to tell
    ends = [
        algorithm("noisy_finetune", **settings)(network(seed), samples(20, 1), samples(30, 2), made())
        for seed in (3, 4)
    ]
    assert (flat(ends[0]) - flat(ends[1])).norm() < 1e-2 * flat(ends[0]).norm()
