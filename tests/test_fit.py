"""The training loop: which batches in which order, for how long, at what cost, and how it ends."""

import dataclasses
import functools
import hashlib
import itertools
import math

import pytest
import torch
from torch import nn

from softtargets import fit as fit_module
from softtargets.fit import Fit, epochs_for, predict
from softtargets.losses import cross_entropy
from softtargets.types import Samples

SGD = functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)


def samples(n=10, k=3, width=4, seed=0) -> Samples:
    """Samples whose first input is their position."""
    inputs = torch.randn(n, width, generator=torch.Generator().manual_seed(seed))
    inputs[:, 0] = torch.arange(n)
    labels = torch.arange(n) % k
    return Samples(inputs, labels, nn.functional.one_hot(labels, k).float())


def made(**changes) -> Fit:
    settings = {"epochs": 2, "batch_size": 4, "optimizer": SGD, "schedule": None, "clip_norm": None}
    return Fit(**settings | {"precision": "float32", "seed": 0, "name": "test"} | changes)


def network(*layers, seed=0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), *layers, nn.Linear(16, 3))


def trained(fit: Fit, data: Samples, model: nn.Module | None = None) -> nn.Module:
    model = network() if model is None else model
    return fit(model, lambda batch: cross_entropy(model(batch.inputs), batch.targets), data)


def drawn(fit: Fit, *streams: Samples) -> list[list[list[int]]]:
    """Positions in every batch that the loss was given, by stream."""
    weight, seen = nn.Linear(1, 1), []

    def loss(*batches):
        seen.append([batch.inputs[:, 0].long().tolist() for batch in batches])
        return weight.weight.sum()

    fit(weight, loss, *streams)
    return [list(stream) for stream in zip(*seen, strict=True)]


def joined(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def constant(model: nn.Module, value: float):
    return model[0].weight.sum() * 0 + value


def test_every_epoch_is_a_permutation_in_the_announced_order():
    fit = made(epochs=3)
    (batches,) = drawn(fit, samples())
    assert [len(batch) for batch in batches] == [4, 4, 2] * 3
    epochs = [joined(batches[start : start + 3]) for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs == [order.tolist() for order in itertools.islice(fit.orders(0, 10), 3)]


def test_second_stream_has_an_order_of_its_own_and_restarts():
    fit = made(epochs=2)
    first, second = drawn(fit, samples(20), samples(6))
    assert len(first) == len(second) == 10
    assert [len(batch) for batch in second] == [4, 2] * 5
    orders = [order.tolist() for order in itertools.islice(fit.orders(1, 6), 5)]
    assert joined(second) == joined(orders)
    one, other = drawn(made(), samples(20), samples(20))
    assert one != other


def test_streams_do_not_disturb_each_other():
    alone = drawn(made(), samples(12))[0]
    assert drawn(made(), samples(12), samples(50))[0] == alone
    with_short = drawn(made(epochs=1), samples(12), samples(30))[1]
    with_long = drawn(made(epochs=5), samples(16), samples(30))[1]
    assert with_long[: len(with_short)] == with_short


@pytest.mark.parametrize(("max_steps", "expected"), [(None, [3, 2, 3, 3]), (6, [3, 2, 1])])
def test_turns_pass_each_over_its_own_samples_by_one_optimiser(max_steps, expected):
    """Retain, forget, retain, retain: 10, 6, 10 and 10 samples in batches of 4."""
    weight, seen = nn.Linear(1, 1, bias=False), []
    start = weight.weight.item()

    def turn(name):
        def loss(batch):
            seen.append((name, batch.inputs[:, 0].long().tolist()))
            return weight.weight.sum()

        return loss

    stay, flee, retain, forget = turn("stay"), turn("flee"), samples(10), samples(6)
    fit = made(max_steps=max_steps, optimizer=functools.partial(torch.optim.SGD, lr=0.125))
    fit.in_turns(weight, (stay, retain), (flee, forget), (stay, retain), (stay, retain))
    by_turn = [(name, list(group)) for name, group in itertools.groupby(seen, key=lambda one: one[0])]
    assert [name for name, _ in by_turn] == ["stay", "flee", "stay"]
    assert [len(group) for _, group in by_turn] == [expected[0], expected[1], sum(expected[2:])]
    kept, fled = (joined([batch for name, batch in seen if name == turn_]) for turn_ in ("stay", "flee"))
    orders = [
        joined(order.tolist() for order in itertools.islice(fit.orders(i, n), 3)) for i, n in ((0, 10), (1, 6))
    ]
    assert kept == orders[0][: len(kept)]
    assert fled == orders[1][: len(fled)]
    assert fit.account.steps == sum(expected)
    assert weight.weight.item() == pytest.approx(start - 0.125 * sum(expected))


def test_arms_with_other_targets_draw_the_same_batches():
    hard, soft = samples(), samples().retarget(torch.full((10, 3), 1 / 3))
    assert drawn(made(), hard, hard) == drawn(made(), soft, soft)


@pytest.mark.parametrize("change", [{"seed": 1}, {"name": "other"}])
def test_seed_and_name_shuffle_anew(change):
    assert drawn(made(**change), samples(30)) != drawn(made(), samples(30))


@pytest.mark.parametrize("optimizer", [SGD, functools.partial(torch.optim.AdamW, lr=0.01)], ids=["sgd", "adamw"])
def test_trains_as_the_plain_loop_over_its_orders_does(optimizer):
    data, fit = samples(), made(epochs=3, optimizer=optimizer)
    model = network()
    reference = optimizer(model.parameters())
    for order in itertools.islice(fit.orders(0, 10), 3):
        for batch in order.split(4):
            reference.zero_grad()
            nn.functional.cross_entropy(model(data.inputs[batch]), data.labels[batch]).backward()
            reference.step()
    found = trained(fit, data)
    torch.testing.assert_close(flat(found), flat(model), rtol=1e-5, atol=1e-6)
    assert not found.training


@pytest.mark.parametrize(
    ("n", "epochs", "max_steps", "expected"),
    [(10, 2, None, 6), (8, 2, None, 4), (1, 3, None, 3), (10, 2, 4, 4), (10, 2, 100, 6)],
)
def test_steps_and_their_account(n, epochs, max_steps, expected):
    told = []
    fit = made(epochs=epochs, max_steps=max_steps, progress=lambda *report: told.append(report))
    first, second = drawn(fit, samples(n), samples(7))
    assert fit.steps(samples(n)) == len(first) == fit.account.steps == expected
    assert fit.account.gradient_samples == sum(map(len, first)) + sum(map(len, second))
    assert [report[:2] for report in told] == [(step, expected) for step in range(1, expected + 1)]
    assert not fit.account.diverged
    assert not fit.account.stopped


def test_account_counts_the_samples_of_all_streams():
    fit = made(epochs=2)
    drawn(fit, samples(10), samples(6))  # 2 epochs of 10, beside six batches 4, 2, 4, 2, 4, 2
    assert fit.account.gradient_samples == 20 + 18


def test_progress_tells_the_loss():
    told, values = [], iter([3.0, 1.0, 2.0])
    model = network()
    made(epochs=1, progress=lambda *report: told.append(report))(
        model, lambda batch: constant(model, next(values)), samples()
    )
    assert told == [(1, 3, 3.0), (2, 3, 1.0), (3, 3, 2.0)]


def test_schedule_is_told_the_steps_and_stepped_after_every_batch():
    told, model = [], nn.Linear(1, 1, bias=False)
    start = model.weight.item()

    def schedule(optimizer, steps):
        told.append(steps)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))

    fit = made(optimizer=functools.partial(torch.optim.SGD, lr=0.5), schedule=schedule)
    fit(model, lambda batch: model.weight.sum(), samples())
    assert told == [6]
    assert model.weight.item() == pytest.approx(start - 0.5 * sum(1 / k for k in range(1, 7)), rel=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_clip_norm_bounds_the_step_and_keeps_its_direction(scale):
    def step(clip_norm):
        model = network()
        before = flat(model)
        fit = made(max_steps=1, clip_norm=clip_norm, optimizer=functools.partial(torch.optim.SGD, lr=1.0))
        fit(model, lambda batch: scale * cross_entropy(model(batch.inputs), batch.targets), samples())
        return (flat(model) - before).double()

    free, clipped = step(None), step(0.5)
    expected = min(free.norm().item(), 0.5)
    assert clipped.norm().item() == pytest.approx(expected, rel=1e-3)
    torch.testing.assert_close(clipped, free * expected / free.norm(), rtol=1e-3, atol=1e-5)


def test_watch_sees_the_model_in_eval_mode_at_the_start_and_at_every_interval():
    seen, modes, model = [], [], network()
    before = flat(model)

    def watch(watched, step):
        assert watched is model
        assert not watched.training
        assert (step == 0) == torch.equal(flat(watched), before)
        seen.append(step)
        return False

    def loss(batch):
        modes.append(model.training)
        return cross_entropy(model(batch.inputs), batch.targets)

    made(epochs=3, evaluate_every=2, watch=watch)(model, loss, samples())
    assert seen == [0, 2, 4, 6, 8, 9]
    assert all(modes)


def test_looks_grow_rarer_with_the_steps_done():
    fit = made(evaluate_every=5, evaluate_growth=0.1, watch=lambda model, step: False)
    assert sorted(fit.looks(97)) == [0, 5, *range(10, 61, 5), 66, 72, 79, 86, 94, 97]
    assert made(evaluate_every=2, watch=fit.watch).looks(6) == {0, 2, 4, 6}
    assert made().looks(6) == set()


@pytest.mark.parametrize("at", [0, 4, 6])
def test_watch_ends_the_fit(at):
    fit = made(evaluate_every=2, watch=lambda model, step: step == at)
    stopped = trained(fit, samples())
    assert fit.account.stopped
    assert fit.account.steps == at
    same = trained(made(max_steps=at), samples()) if at else network()
    assert torch.equal(flat(stopped), flat(same))
    assert not stopped.training


def test_watching_changes_nothing_else():
    dropout = functools.partial(network, nn.Dropout(0.5))
    watched = trained(made(evaluate_every=1, watch=lambda model, step: False), samples(), dropout())
    assert torch.equal(flat(watched), flat(trained(made(), samples(), dropout())))


def test_seconds_are_those_of_the_steps_alone(monkeypatch):
    clock = [0.0]

    def passing(seconds, value):
        clock[0] += seconds
        return value

    monkeypatch.setattr(fit_module.time, "perf_counter", lambda: clock[0])
    fit, model = made(evaluate_every=1, watch=lambda model, step: passing(100, False)), network()
    fit(model, lambda batch: passing(1, constant(model, 0.0)), samples())
    assert fit.account.seconds == 6


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_loss_out_of_range_keeps_the_last_finite_parameters(value):
    model, calls = network(), itertools.count(1)

    def loss(batch):
        return cross_entropy(model(batch.inputs), batch.targets) + (value if next(calls) == 3 else 0)

    fit = made()
    fit(model, loss, samples())
    assert fit.account.diverged
    assert next(calls) == 4  # none was asked for after the third
    assert torch.equal(flat(model), flat(trained(made(max_steps=2), samples())))


@pytest.fixture
def gpu(monkeypatch):
    """Let the loop take the processor for a device whose numbers are waited for; list those that it reads."""
    monkeypatch.setattr(fit_module, "waits", lambda device: True)
    read, item = [], torch.Tensor.item

    def counted(tensor):
        read.append(tensor)
        return item(tensor)

    monkeypatch.setattr(torch.Tensor, "item", counted)
    return read


def test_no_step_waits_for_a_gpu(gpu):
    losses = []
    fit = made(epochs=40, progress=lambda step, steps, loss: losses.append(loss))
    model = trained(fit, samples())  # 120 steps
    assert len(gpu) == 3
    assert len(set(losses[49:99])) == len(set(losses[99:119])) == 1
    assert fit.account.loss < losses[49]
    assert not fit.account.pending
    assert torch.equal(flat(model), flat(trained(made(epochs=40), samples())))


@pytest.mark.parametrize("at", [3, 120])
def test_a_loss_out_of_range_is_noticed_on_a_gpu_within_fifty_steps(gpu, at):
    model, calls = network(), itertools.count(1)

    def loss(batch):
        return cross_entropy(model(batch.inputs), batch.targets) + (math.inf if next(calls) == at else 0)

    fit = made(epochs=40)
    fit(model, loss, samples())
    assert fit.account.diverged
    assert fit.account.steps == max(at, 50)


@pytest.mark.parametrize("max_steps", [1, None], ids=["in the last step", "before the last step"])
def test_weights_out_of_range_are_noticed(max_steps):
    model = nn.Linear(4, 3)
    fit = made(max_steps=max_steps, optimizer=functools.partial(torch.optim.SGD, lr=1e38))
    fit(model, lambda batch: 100 * model(batch.inputs).mean(), samples())
    assert fit.account.diverged
    assert fit.account.steps == (max_steps or 2)  # the loss after the step shows it, or the look at the end


def test_noise_of_a_model_comes_from_the_fits_seed_alone():
    def outcome(seed, outside):
        torch.manual_seed(outside)
        state = torch.get_rng_state()
        found = trained(made(seed=seed), samples(), network(nn.Dropout(0.5)))
        assert torch.equal(torch.get_rng_state(), state)
        return flat(found)

    assert torch.equal(outcome(0, outside=1), outcome(0, outside=2))
    full_batch = functools.partial(made, batch_size=10, epochs=1)  # the order of one batch changes rounding only
    one, other = (trained(full_batch(seed=s), samples(), network(nn.Dropout(0.5))) for s in (0, 1))
    assert (flat(one) - flat(other)).abs().max() > 1e-3


def test_bf16_is_close_to_float32_and_keeps_float32_parameters():
    start, slow = flat(network()), functools.partial(torch.optim.SGD, lr=0.01)
    fits = [made(precision=precision, optimizer=slow) for precision in ("float32", "bf16")]
    full, half = (flat(trained(fit, samples(64))) for fit in fits)
    assert half.dtype == torch.float32
    assert 0 < (half - full).norm() < 0.05 * (full - start).norm()


def test_plan_digest_is_that_of_a_loss_on_forget_and_retain_batches():
    fit = made(epochs=1)
    forget, retain = samples(16), samples(7)
    first, second = drawn(fit, forget, retain)
    sha = hashlib.sha256(b"4")
    for order in (joined(first), joined(second[:2])):
        sha.update(torch.tensor(order).numpy().tobytes())
    assert fit.plan_digest(forget, retain) == sha.hexdigest()


def test_batches_of_a_set_have_the_ratio_of_the_set():
    forget, retain = dataclasses.replace(samples(5), batch_ratio=0.5), samples(12)
    fit = made(epochs=1)  # batches of 4
    first, second = drawn(fit, forget, retain)
    assert ([*map(len, first)], [*map(len, second)]) == ([2, 2, 1], [4, 4, 4])
    assert fit.steps(forget) == fit.account.steps == 3
    sizes = {
        ratio: made().size_of_batch(dataclasses.replace(forget, batch_ratio=ratio)) for ratio in (0.01, 1.0, 3.0)
    }
    assert sizes == {0.01: 1, 1: 4, 3: 12}
    some = torch.tensor([0, 2])
    parts = [forget.take(some), forget.retarget(forget.targets), forget.select(some), *forget.ends(2)]
    parts += [forget.select(some).take(some[:1]), forget.select(some).retarget(forget.targets[:2])]
    assert {part.batch_ratio for part in parts} == {0.5}


def test_plan_digest_depends_on_the_plan_alone():
    forget, retain = samples(16), samples(32)
    plan = made().plan_digest(forget, retain)
    soft = forget.retarget(torch.full((16, 3), 1 / 3))
    assert made(epochs=9, precision="bf16").plan_digest(soft, retain) == plan
    others = [made(seed=1), made(batch_size=8), made(name="other")]
    digests = {other.plan_digest(forget, retain) for other in others}
    digests |= {made().plan_digest(samples(15), retain), made().plan_digest(forget, samples(31))}
    digests.add(made().plan_digest(dataclasses.replace(forget, batch_ratio=0.5), retain))
    assert len(digests | {plan}) == 7


@pytest.mark.parametrize(
    ("n", "batch_size", "min_epochs", "min_steps", "expected"),
    [
        (1000, 100, 5, 20, 5),
        (1000, 100, 1, 95, 10),
        (1001, 100, 1, 11, 1),
        (1001, 100, 1, 12, 2),
        (1, 128, 3, 7, 7),
    ],
)
def test_epochs_for_makes_the_steps_and_no_epoch_more(n, batch_size, min_epochs, min_steps, expected):
    epochs = epochs_for(n, batch_size, min_epochs, min_steps)
    assert epochs == expected
    assert made(epochs=epochs, batch_size=batch_size).steps(samples(n)) >= min_steps


def test_predict_gives_eval_mode_logits_in_order_and_restores_the_mode():
    model, inputs = network(nn.Dropout(0.5), nn.BatchNorm1d(16)).train(), samples(10).inputs
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = predict(model, inputs, batch_size=4)
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not found.requires_grad
    torch.testing.assert_close(found, model.eval()(inputs).detach())
    predict(model, inputs)
    assert not model.training
    assert predict(model.bfloat16(), inputs.bfloat16()).dtype == torch.float32
