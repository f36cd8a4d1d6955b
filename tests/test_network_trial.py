"""Networks as other people write them: what works is trained, what cannot is refused by one sentence."""

import collections
import copy
import functools
import warnings

import numpy
import pytest
import torch
import torch.nn.functional as F
from conftest import options
from test_mu_algo import algorithm
from torch import nn

from softtargets.architectures import construct
from softtargets.compat import torch_names
from softtargets.errors import BadInput
from softtargets.evaluation.diagnosis import diagnose
from softtargets.evaluation.evidence import relearn_steps
from softtargets.execution import experiment
from softtargets.execution.experiment import build
from softtargets.execution.network_trial import Trial
from softtargets.execution.parts import Parts
from softtargets.fit import Fit, predict
from softtargets.importance import importance
from softtargets.losses import cross_entropy
from softtargets.marks import Algorithm
from softtargets.types import Samples, model_digest

K, SHAPE = 3, (1, 4, 4)
torch_names.delay_compiler()


def made(name="training", **changes) -> Fit:
    settings = {
        "epochs": 2,
        "batch_size": 8,
        "schedule": None,
        "clip_norm": 1.0,
        "precision": "float32",
        "seed": 0,
    }
    return Fit(**settings | {"optimizer": functools.partial(torch.optim.SGD, lr=0.05), "name": name} | changes)


def samples(n: int, seed: int = 0) -> Samples:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(K, (n,), generator=draw)
    return Samples(torch.randn(n, *SHAPE, generator=draw), labels, F.one_hot(labels, K).float())


def layers(*between: nn.Module, last: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), *between, last or nn.Linear(8, K))


class Answering(nn.Module):
    """A network whose logits are answered in a form of its own."""

    def __init__(self, form):
        super().__init__()
        self.layers, self.form = layers(nn.ReLU()), form

    def forward(self, inputs):
        return self.form(self, inputs)


def answering(form):
    return lambda: Answering(form)


class Half(nn.Module):
    """A network that is given float32 and computes in another type."""

    def __init__(self, dtype, cast=True):
        super().__init__()
        self.layers, self.dtype, self.cast = layers(nn.ReLU()).to(dtype), dtype, cast

    def forward(self, inputs):
        return self.layers(inputs.to(self.dtype) if self.cast else inputs)


class Tied(nn.Module):
    """A network with a weight under two names, one frozen part, and one without influence."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, K)
        self.second.weight = self.first.weight
        self.frozen, self.unused = nn.Linear(16, 16).requires_grad_(False), nn.Linear(16, 16)

    def forward(self, inputs):
        hidden = self.frozen(self.second(self.first(inputs.flatten(1)).relu()))
        return self.last(hidden.relu_())


OWN = ("~architecture.hidden", "architecture._target_=test_network_trial.Plain", "dataset.train_size=300")


@pytest.fixture
def own(monkeypatch):
    """Let a `_target_` name parts of this file."""
    monkeypatch.setenv("SOFTTARGETS_PLUGINS", "test_network_trial")


class Convolving(nn.Module):
    """Convolutions, whose channels have several values in a batch of one, before a layer that has one."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 8)
        )
        self.head = nn.Sequential(nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Linear(8, K))

    def forward(self, inputs):
        return self.head(self.layers(inputs))


def unpickled():
    model = layers(nn.ReLU())
    model.note = lambda: None  # cannot be pickled
    return model


GOOD = {
    "batch normalisation": lambda: layers(nn.BatchNorm1d(8), nn.ReLU(inplace=True)),
    "a cumulative one": lambda: layers(nn.BatchNorm1d(8, momentum=None, affine=False)),
    "convolutions": Convolving,
    "dropout": lambda: layers(nn.Dropout(0.5), nn.ReLU()),
    "layer normalisation": lambda: layers(nn.LayerNorm(8), nn.GELU()),
    "tied, frozen and unused weights": Tied,
    "in place": lambda: layers(nn.ReLU(inplace=True)),
    "spectral norm": lambda: layers(nn.ReLU(), last=nn.utils.parametrizations.spectral_norm(nn.Linear(8, K))),
    "weight norm": lambda: layers(nn.ReLU(), last=nn.utils.parametrizations.weight_norm(nn.Linear(8, K))),
    "log probabilities": lambda: layers(nn.ReLU(), last=nn.Sequential(nn.Linear(8, K), nn.LogSoftmax(1))),
    "logits of zero": lambda: layers(nn.ReLU(), last=zero(nn.Linear(8, K))),
    "bfloat16": lambda: Half(torch.bfloat16),
    "float64": lambda: Half(torch.float64),
    "not to be pickled": unpickled,
}


def zero(layer):
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def drawn_by_numpy():
    model = layers(nn.ReLU())
    model[1].weight.data = torch.from_numpy(numpy.random.default_rng().normal(size=(8, 16)).astype("float32"))
    return model


def with_hidden_state():
    model = layers(nn.ReLU())
    model[1].register_buffer("scale", torch.rand(8), persistent=False)
    model[1].register_forward_hook(lambda layer, given, out: out * layer.scale)
    return model


def old_weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return layers(nn.ReLU(), last=nn.utils.weight_norm(nn.Linear(8, K)))


class Several(collections.OrderedDict):
    """A dictionary that raises for an attribute it does not have, as some outputs do."""

    def __getattr__(self, name):
        raise TypeError(name)


def in_training(self, inputs):
    logits = self.layers(inputs)
    return (logits, logits) if self.training else logits


def of_own_variance(self, inputs):
    """What batch normalisation by hand makes of one sample."""
    hidden = self.layers(inputs)
    return hidden / (hidden - hidden.mean(0)).square().mean(0) if self.training else hidden


def counting(self, inputs):
    self.layers[1].bias.data += 1e-5
    return self.layers(inputs)


def evaluated_alone(self, inputs):
    return self.layers(inputs) if self.training else self.layers(inputs).detach()


BAD = {
    "a tuple": (
        answering(lambda self, x: (self.layers(x), x)),
        "returns tuple; it must return a tensor of logits",
    ),
    "a dictionary": (answering(lambda self, x: {"logits": self.layers(x)}), "returns dict; it must"),
    "a peculiar one": (answering(lambda self, x: Several(logits=self.layers(x))), "returns Several; it must"),
    "a tuple in training": (answering(in_training), "first step .*: returns tuple|: returns tuple"),
    "integers": (answering(lambda self, x: self.layers(x).long()), "returns torch.int64"),
    "another width": (lambda: layers(last=nn.Linear(8, 7)), r"\(2, 7\); it must return \(2, 3\) for 2 inputs"),
    "no batch of one": (answering(lambda self, x: self.layers(x).squeeze()), r"\(3,\); it must return \(1, 3\)"),
    "probabilities": (
        lambda: layers(nn.ReLU(), nn.Linear(8, K), last=nn.Softmax(1)),
        "returns probabilities; it must",
    ),
    "not a number": (answering(lambda self, x: self.layers(x) * torch.nan), "not finite before any training"),
    "random": (answering(lambda self, x: self.layers(F.dropout(x))), "other logits for the same inputs"),
    "of the batch": (answering(lambda self, x: self.layers(x - x.mean(0))), "depend on the rest of the batch"),
    "batch statistics": (lambda: layers(nn.BatchNorm1d(8, track_running_stats=False)), "batch of 1 in evaluation"),
    "inputs in place": (lambda: nn.Sequential(nn.ReLU(inplace=True), *layers()), "inputs in place"),
    "state": (answering(counting), "changes its own state in evaluation mode"),
    "nothing to train": (lambda: layers().requires_grad_(False), "no trainable parameter"),
    "no parameter": (
        lambda: nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(K)),
        "no trainable parameter",
    ),
    "other random numbers": (drawn_by_numpy, "draw them by torch's generator"),
    "float16 alone": (lambda: Half(torch.float16, cast=False), "must have the same dtype"),
    "own variance": (answering(of_own_variance), "not finite in its first step .*a batch of 1"),
    "no gradient": (
        answering(lambda self, x: self.layers(x).detach()),
        "in its first step .*does not require grad",
    ),
    "no gradient in evaluation": (answering(evaluated_alone), "backward pass in evaluation mode: .*require grad"),
    "old weight norm": (old_weight_norm, "fails to be copied by copy.deepcopy: .*weight_norm"),
    "hidden state": (with_hidden_state, "loading its state dict, which lacks"),
    "state that is no tensor": (lambda: Noted(), "its state dict holds a dict, _extra_state"),
    "complex": (lambda: Complex(), "complex parameters; they must be real"),
    "constructor": (lambda: nn.Linear(-1, 3), r"^architecture\S+: does not fit inputs"),
}


class Noted(nn.Sequential):
    """A network whose state dict holds more than tensors."""

    def __init__(self):
        super().__init__(*layers())

    def get_extra_state(self):
        return {"note": 1}


class Complex(nn.Module):
    """A network with complex weights."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, K, dtype=torch.cfloat))

    def forward(self, inputs):
        return (inputs.flatten(1).cfloat() @ self.weight).abs()


def attempt(network, sizes=(1, 8), look=None, method="") -> None:
    fits = [made(), made("unlearn", precision="bf16")]
    Trial("architecture._target_=mine.Net", network, SHAPE, K, "cpu")(fits, sizes, {method: look} if look else {})


@pytest.mark.parametrize("name", GOOD)
def test_networks_that_work_pass(name):
    state = torch.get_rng_state()
    attempt(GOOD[name])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", BAD)
def test_networks_that_cannot_work_are_refused_by_a_sentence(name):
    network, said = BAD[name]
    with pytest.raises(BadInput, match=said) as caught:
        attempt(network)
    assert str(caught.value).startswith("architecture")
    assert "\n" not in str(caught.value)


LARGER = "and 224x224 would fit: type dataset.size=224 for images of a folder, or choose another network"


def coarse(shape):
    """A network for images of 16 x 16 pixels and more."""
    return nn.Sequential(nn.Conv2d(shape[0], 2, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, K))


def for_large_images_only(shape):
    if shape[1] < 16:
        raise ValueError("too small")
    return coarse(shape)


def for_other_channels(shape):
    return coarse((shape[0] + 1, *shape[1:]))


@pytest.mark.parametrize("build_for", [coarse, for_large_images_only, for_other_channels])
def test_a_network_for_larger_images_is_refused_with_their_size(build_for):
    shape = (1, 4, 6)
    with pytest.raises(BadInput, match=r"does not fit inputs of shape \(1, 4, 6\): ") as refused:
        Trial("architecture", lambda: build_for(shape), shape, K, "cpu", build_for)([], [], {})
    says = str(refused.value).endswith(f". The images have 6x4 pixels, {LARGER}")
    assert says == (build_for is not for_other_channels)


@pytest.mark.parametrize("name", ["boundary_shrink", "ssd", "unsir", "rmu"])
@pytest.mark.parametrize("network", ["batch normalisation", "convolutions", "tied, frozen and unused weights"])
def test_what_an_algorithm_does_beside_training_is_tried_too(name, network):
    if (name, network) == ("rmu", "tied, frozen and unused weights"):
        with pytest.raises(BadInput, match="this one passes it by"):
            attempt(GOOD[network], [2], algorithm(name).func.check_network)
    else:
        attempt(GOOD[network], [2], algorithm(name).func.check_network)


def test_a_network_without_a_slope_in_its_inputs_is_refused_where_one_is_needed():
    blind = answering(lambda self, x: self.layers(x.detach()))
    attempt(blind)
    with pytest.raises(BadInput, match=r"^architecture._target_=mine.Net: .*appears to not have been used"):
        attempt(blind, look=algorithm("boundary_shrink").func.check_network)


@pytest.mark.parametrize("name", ["rmu", "head_reset", "none_calibrated", "class_mask"])
def test_a_network_without_the_layer_that_an_algorithm_needs_is_refused(name):
    only_convolutions = lambda: nn.Sequential(nn.Conv2d(SHAPE[0], K, SHAPE[1:]), nn.Flatten())  # noqa: E731
    attempt(only_convolutions, [2])
    said = rf"^mu_algo={name} with architecture\._target_=mine\.Net: needs a network .* a linear layer, "
    with pytest.raises(BadInput, match=said):
        attempt(only_convolutions, [2], algorithm(name).func.check_network, f"mu_algo={name} with ")


class Looking(nn.Module):
    """A network that decides by the numbers that it is given."""

    def __init__(self):
        super().__init__()
        self.normal, self.layers = nn.LayerNorm(SHAPE), layers()

    def forward(self, inputs):
        return self.layers(self.normal(inputs) if inputs.sum().item() < 1e9 else inputs)


def test_a_network_that_looks_at_its_numbers_is_refused_by_ssd():
    attempt(Looking)
    with pytest.raises(BadInput, match=r"^architecture._target_=mine.Net: .*item"):
        attempt(Looking, look=algorithm("ssd").func.check_network)


# from one sample up


def normalised(network=GOOD["batch normalisation"], n=40) -> nn.Module:
    """A network with running statistics of data."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = network()
    return trained(model, samples(n))


def trained(model: nn.Module, data: Samples, **changes) -> nn.Module:
    return made(**changes)(model, lambda batch: cross_entropy(model(batch.inputs), batch.targets), data)


@pytest.mark.parametrize(
    ("network", "forget", "retain"),
    [
        ("batch normalisation", 1, 9),
        ("batch normalisation", 9, 1),
        ("a cumulative one", 1, 1),
        ("convolutions", 1, 9),
    ],
)
def test_no_size_of_a_set_fails_with_batch_normalisation(network, forget, retain):
    original, fit = normalised(GOOD[network]), functools.partial(made, epochs=1)
    sets = samples(forget, 1), samples(retain, 2)
    for name in options("mu_algo"):
        chosen = algorithm(name, noise=3, copies=1, steps=2) if name == "unsir" else algorithm(name)
        if Algorithm.of(chosen).sharded:  # a run refuses so few samples
            continue
        if name == "noisy_finetune":  # it puts the original's weights into a new network
            chosen = functools.partial(chosen, initialise=GOOD[network])
        found = diagnose(original, chosen, *sets, fit(), predict(original, sets[0].inputs).softmax(1))
        unlearned = chosen(original, *sets, fit())
        assert all(bool(tensor.isfinite().all()) for tensor in unlearned.state_dict().values()), name
        marks = Algorithm.of(chosen)
        assert (found.first_order is None) == (marks.has_no_loop or marks.starts_afresh), name
    assert relearn_steps(original, sets[0], 2.0, lambda watch: fit(watch=watch, evaluate_every=1)) > 0


def test_a_lone_sample_is_normalised_by_the_running_statistics_which_stay():
    model, data = normalised(), samples(1, 5)
    expected = copy.deepcopy(model)  # in evaluation mode, which uses them
    before = copy.deepcopy(dict(model.named_buffers()))
    F.cross_entropy(expected(data.inputs), data.targets).backward()
    with torch.no_grad():
        for parameter in expected.parameters():
            parameter -= 0.05 * parameter.grad
    trained(model, data, epochs=1, clip_norm=None)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    for one, other in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("sizes", [(16, 8), (17, 8)])
def test_other_batches_train_as_in_a_plain_loop_to_the_last_bit(sizes):
    """Of 17 samples the last batch is left alone here as there, since the loop makes no step on it."""
    n, size = sizes
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Convolving().train()
    plain, data = copy.deepcopy(model), samples(n)
    fit = made(epochs=1, batch_size=size, max_steps=2, clip_norm=None)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05)
    for batch in next(fit.orders(0, n)).split(size)[:2]:
        optimizer.zero_grad()
        cross_entropy(plain(data.inputs[batch]), data.targets[batch]).backward()
        optimizer.step()
    fit(model, lambda batch: cross_entropy(model(batch.inputs), batch.targets), data)
    assert model_digest(model) == model_digest(plain)


def test_layers_are_as_they_were_after_a_lone_sample_even_where_the_loss_fails():
    model = normalised()

    def failing(batch):
        model[2](torch.zeros(1, 5))

    with pytest.raises(RuntimeError):
        made()(model.train(), failing, samples(9))
    assert model[2].training
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in model.modules())


# running statistics


def moved_by(**changes) -> tuple[nn.Module, nn.Module]:
    """A network before and after one step on 16 samples."""
    before = normalised().eval()
    model = trained(copy.deepcopy(before), samples(16), epochs=1, batch_size=16, clip_norm=None, **changes)
    return before, model


def test_running_statistics_move_as_in_training():
    before, model = moved_by()
    hidden = before[1](before[0](samples(16).inputs))
    expected = 0.9 * before[2].running_mean + 0.1 * hidden.mean(0)  # 0.1: torch's momentum
    torch.testing.assert_close(model[2].running_mean, expected)


def test_frozen_statistics_stay_and_are_used_while_the_layers_weights_are_trained():
    before, model = moved_by(freeze_norm=True)
    assert all(torch.equal(*pair) for pair in zip(before.buffers(), model.buffers(), strict=True))
    data, plain = samples(16), copy.deepcopy(before)
    cross_entropy(plain(data.inputs), data.targets).backward()  # in evaluation mode
    for one, other in zip(plain.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(other, one - 0.05 * one.grad)
    assert not torch.equal(before[2].weight, model[2].weight)


def test_frozen_statistics_stay_after_a_look_at_the_model():
    watch = {"watch": lambda model, step: False, "evaluate_every": 1}
    model = trained(before := normalised(), samples(16), freeze_norm=True, **watch)
    assert model is before
    assert all(torch.equal(*pair) for pair in zip(normalised().buffers(), model.buffers(), strict=True))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("dataset.train_size=300",), "the network has no batch normalisation"),
        (OWN, "retrain trains a new network"),
    ],
)
def test_statistics_that_cannot_be_held_are_refused(own, composed, words, reason):
    with pytest.raises(BadInput, match=rf"^unlearn.freeze_norm=true: {reason}"):
        build(composed(*words, "mu_algo=retrain", "unlearn.freeze_norm=true"))


# per-sample gradients and parts without influence


def test_ssds_importance_is_not_changed_by_what_works_in_place():
    data = samples(20)
    found = []
    for inplace in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            found.append(importance(layers(nn.ReLU(inplace=inplace)).eval(), data))
    assert all(torch.equal(one, other) for one, other in zip(*(each.values() for each in found), strict=True))


def test_parameters_without_influence_have_no_gradient_and_stay():
    torch.manual_seed(0)
    original = Tied().eval()
    for name in ("gradasc", "salun", "ssd", "l1_sparse"):
        sets = samples(5, 1), samples(9, 2)
        found = diagnose(original, algorithm(name), *sets, made(), predict(original, sets[0].inputs).softmax(1))
        assert found.grad_norm > 0
        unlearned = algorithm(name)(original, *sets, made())
        assert torch.equal(unlearned.frozen.weight, original.frozen.weight)
        assert torch.equal(unlearned.unused.weight, original.unused.weight) == (name != "l1_sparse")


# lazy layers


def test_lazy_layers_know_their_sizes_when_a_network_is_constructed():
    def lazy(*, classes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.LazyLinear(classes))

    torch.manual_seed(0)
    model = construct(lazy, SHAPE, K)
    assert [tuple(parameter.shape) for parameter in model.parameters()] == [
        (8, 16),
        (8,),
        (8,),
        (8,),
        (3, 8),
        (3,),
    ]
    assert model.training
    attempt(lambda: construct(lazy, SHAPE, K))


# in a run


class Plain(nn.Sequential):
    """A network with batch normalisation that counts how often it is built."""

    built = 0

    def __init__(self, classes: int):
        super().__init__(nn.Flatten(), nn.Linear(784, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, classes))
        Plain.built += 1


def test_a_network_is_tried_once_a_process_for_runs_that_use_it_alike(own, composed, monkeypatch):
    monkeypatch.setattr(experiment, "_TRIED", set())
    counts = []
    for word in ("seed=0", "seed=1", "training.batch_size=131"):
        Plain.built = 0
        build(composed(*OWN, word))
        counts.append(Plain.built)
    assert counts[0] == counts[2] > counts[1] == 0


@pytest.mark.long
def test_a_sweep_of_many_networks_looks_at_the_shape_of_most_and_their_runs_try_them(own, composed, monkeypatch):
    monkeypatch.setattr(experiment, "_TRIED", set())
    whole = []
    monkeypatch.setattr(Trial, "__call__", lambda self, *_: whole.append(self.build()[1].out_features))
    parts = Parts()
    for hidden in [*range(1, 15), 3, 14]:
        build(composed(f"architecture.hidden={hidden}"), parts=parts)
    assert whole == [*range(1, experiment.WHOLE_TRIALS + 1)]
    build(composed(*OWN), parts=parts)  # a network of another kind
    build(composed("architecture.hidden=14"))
    assert len(whole) == experiment.WHOLE_TRIALS + 2
    assert whole[-1] == 14


@pytest.mark.parametrize("name", GOOD)
def test_a_look_at_the_shape_of_a_network_draws_nothing(name):
    state = torch.get_rng_state()
    Trial("architecture", GOOD[name], SHAPE, K, "cpu").fits_by_shape()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_that_shows_its_shape_only_with_values_is_tried_among_many(own, composed, monkeypatch):
    monkeypatch.setattr(experiment, "_TRIED", set())
    monkeypatch.setattr(experiment, "WHOLE_TRIALS", 0)
    reads = answering(lambda self, x: self.layers(x) * (1 if float(x.sum()) else 2))
    assert not Trial("architecture", reads, SHAPE, K, "cpu").fits_by_shape()
    monkeypatch.setattr(Trial, "fits_by_shape", lambda self: False)
    build(composed(), parts=Parts())
    assert len(experiment._TRIED) == 1


def test_a_network_with_another_shape_is_refused_among_many(own, composed, monkeypatch):
    monkeypatch.setattr(experiment, "_TRIED", set())
    monkeypatch.setattr(experiment, "WHOLE_TRIALS", 0)
    with pytest.raises(BadInput, match=r"returns logits of shape \(2, 9\); it must return \(2, 10\)|does not fit"):
        build(composed("architecture.hidden=14", "+architecture.classes=9"), parts=Parts())


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        (
            ("training.batch_size=71", "unlearn.batch_size=16"),
            [1, 71],
        ),  # 285 and 257 samples to train on, 28 to forget
        (("training.batch_size=100", "unlearn.batch_size=50", "forget_set.fraction=0.5"), [35, 100]),
        (("targets=out_of_fold", "training.batch_size=114", "unlearn.batch_size=114"), [28, 114]),
    ],
    ids=str,
)
def test_smallest_and_largest_batch(words, sizes, composed):
    assert experiment._batch_sizes(build(composed("dataset.train_size=300", "mu_algo=graddiff", *words))) == sizes


@pytest.mark.parametrize("fraction", [0.004, 0.99])
def test_a_run_with_a_lone_sample_ends_like_any_other(own, run, fraction):
    words = ("training.epochs=2", "training.batch_size=142", "unlearn.epochs=2", f"forget_set.fraction={fraction}")
    result, _ = run(*OWN, *words, "evidence=[relearn]")
    assert result["metrics"]["unlearned"]["test_acc"] is not None
    assert 1 in (result["data"]["sizes"]["forget"] % 142, result["data"]["sizes"]["train"] % 142)
