"""One-cycle against its formula; optimisers and schedules of torch's and of others, called by name."""

import functools
import inspect
import math

import pytest
import torch

from softtargets.compat import torch_names
from softtargets.config.settings import Training
from softtargets.errors import BadInput
from softtargets.execution.optimisers import build_optimisation
from softtargets.execution.parts import Parts
from softtargets.schedules import by_name, one_cycle, warm_up

torch_names.delay_compiler()

PEAK = 0.5


def rates(steps, warmup=0.3):
    """Learning rate of every step, as the training loop would use them."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=123.0, momentum=0.9)
    schedule = one_cycle(optimizer, steps, peak=PEAK, warmup=warmup)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_rises_to_the_peak_and_anneals_along_cosines():
    def cosine(start, end, share):
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

    rise = [cosine(PEAK / 25, PEAK, k / 29) for k in range(30)]
    fall = [cosine(PEAK, PEAK / 25 / 1e4, k / 70) for k in range(1, 71)]
    assert rates(100) == pytest.approx(rise + fall, rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7])
def test_serves_the_shortest_fits(steps):
    assert all(0 < rate <= PEAK * (1 + 1e-9) for rate in rates(steps))


@pytest.mark.parametrize(("steps", "warmup"), [(10, 0.1), (2, 0.5), (1, 0.5), (20, 0.05)])
def test_warmup_of_exactly_one_step(steps, warmup):
    assert max(rates(steps, warmup)) <= PEAK * (1 + 1e-9)


@pytest.mark.parametrize(
    ("steps", "share", "expected"),
    [
        (10, 0.4, [0.25, 0.5, 0.75, *[1.0] * 7]),
        (4, 1.0, [0.25, 0.5, 0.75, 1.0]),
        (3, 0.1, [1.0] * 3),
        (1, 1.0, [1.0]),
    ],
)
def test_a_warm_up_rises_along_a_line_and_stays(steps, share, expected):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule, found = warm_up(optimizer, steps, share=share), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"] / 0.5)
        optimizer.step()
        schedule.step()
    assert found == pytest.approx(expected)


# by name


def group(optimizer: dict | None = None, schedule: dict | None = None) -> Training:
    node = {
        "epochs": 1,
        "min_epochs": 1,
        "min_steps": 1,
        "batch_size": 8,
        "clip_norm": None,
        "precision": "float32",
    }
    optimizer = {"_target_": "torch.optim.SGD", "lr": 0.5, "momentum": 0.9} | (optimizer or {})
    return build_optimisation(
        Training, node | {"optimizer": optimizer, "schedule": schedule}, "training", Parts(), "cpu"
    )


def learning_rates(schedule: dict, steps: int) -> list[float]:
    """Learning rate of every step but the first, and after the last."""
    settings = group(schedule=schedule)
    optimizer = settings.optimizer([torch.zeros(1, requires_grad=True)])
    made, found = settings.schedule(optimizer, steps), []
    for _ in range(steps):
        optimizer.step()
        made.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


TORCHS = "torch.optim.lr_scheduler."
RIGHT = [0.5 * (0.5 + math.cos(math.pi * t / 20) / 2) for t in range(1, 21)]
SCHEDULES = {
    "CosineAnnealingLR": ({}, RIGHT),
    "CosineAnnealingLR for longer": (
        {"T_max": 40},
        [0.25 * (1 + math.cos(math.pi * t / 40)) for t in range(1, 21)],
    ),
    "LinearLR": ({"start_factor": 1.0, "end_factor": 0.5}, [0.5 - 0.25 * t / 20 for t in range(1, 21)]),
    "PolynomialLR": ({}, [0.5 * (1 - t / 20) for t in range(1, 21)]),
    "StepLR": ({"step_size": 5}, [0.5 * 0.1 ** (t // 5) for t in range(1, 21)]),
    "MultiStepLR": ({"milestones": [5, 10]}, [0.5 * 0.1 ** ((t >= 5) + (t >= 10)) for t in range(1, 21)]),
    "ExponentialLR": ({"gamma": 0.9}, [0.5 * 0.9**t for t in range(1, 21)]),
    "ConstantLR": ({"total_iters": 4}, [0.5 / 3] * 3 + [0.5] * 17),
    "CosineAnnealingWarmRestarts": (
        {"T_0": 10},
        [0.25 * (1 + math.cos(math.pi * (t % 10) / 10)) for t in range(1, 21)],
    ),
    "CyclicLR": (
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 5},
        [0.1 + 0.4 * (1 - abs((t % 10) / 5 - 1)) for t in range(1, 21)],
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_torchs_schedules_get_the_length_or_what_they_ask_for_by_name(name):
    settings, expected = SCHEDULES[name]
    found = learning_rates({"_target_": TORCHS + name.split()[0], **settings}, 20)
    assert found == pytest.approx(expected, abs=1e-12)


def test_torchs_one_cycle_ends_with_the_steps():
    found = learning_rates({"_target_": TORCHS + "OneCycleLR", "max_lr": 0.5}, 20)
    assert max(found) == pytest.approx(0.5)
    assert found[-2] == pytest.approx(0.5 / 25 / 1e4)  # the rate of the last step


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        (
            "ReduceLROnPlateau",
            {},
            "needs a metric at every step, which is not computed. Use CosineAnnealingLR",
        ),
        ("LambdaLR", {}, "needs a function"),
        ("MultiplicativeLR", {}, "needs a function"),
        ("SequentialLR", {}, "needs other schedules"),
        ("ChainedScheduler", {}, "needs other schedules"),
        ("StepLR", {}, "training.schedule.step_size is required: +training.schedule.step_size=VALUE"),
        ("MultiStepLR", {}, "training.schedule.milestones is required"),
        ("ExponentialLR", {}, "training.schedule.gamma is required"),
        ("OneCycleLR", {}, "training.schedule.max_lr is required"),
        ("ConstantLR", {}, "training.schedule.total_iters is required: +training.schedule.total_iters=STEPS"),
        ("CosineAnnealingWarmRestarts", {}, "training.schedule.T_0 is required"),
        ("CyclicLR", {}, "training.schedule.base_lr is required"),
        ("ExponentialLR", {"gamma": -1.0}, "gives the learning rate -0.5 at step 1"),
        ("StepLR", {"step_size": "abc"}, "training.schedule: "),
        ("StepLR", {"step_size": 5, "optimizer": 3}, "training.schedule.optimizer=3: no such setting"),
    ],
    ids=str,
)
def test_schedules_that_cannot_be_are_refused_by_name(name, settings, said):
    with pytest.raises(BadInput) as caught:
        group(schedule={"_target_": TORCHS + name, **settings})
    assert str(caught.value).startswith("training.schedule")
    assert said in str(caught.value)


def test_every_schedule_of_torchs_is_known_here():
    classes = vars(torch.optim.lr_scheduler).values()
    base = torch.optim.lr_scheduler.LRScheduler
    names = {one.__name__ for one in classes if inspect.isclass(one) and issubclass(one, base)} - {
        "LRScheduler",
        "_LRScheduler",
    }
    tried = {name.split()[0] for name in SCHEDULES}
    refused = {"ReduceLROnPlateau", "LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler"}
    assert names == tried | refused | {"OneCycleLR"}


def with_warmup(optimizer, num_warmup_steps, num_training_steps, last_epoch=-1):
    """A schedule whose second argument is not the number of steps."""
    return num_warmup_steps, num_training_steps


def for_length(optimizer, *, rate: float):
    return rate


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (functools.partial(with_warmup, num_warmup_steps=3), (3, 70)),
        (functools.partial(with_warmup, num_warmup_steps=3, num_training_steps=9), (3, 9)),
        (functools.partial(for_length, rate=0.5), 0.5),
    ],
)
def test_other_peoples_schedules_get_the_length_by_their_name_for_it(schedule, expected):
    assert by_name(schedule)(None, 70) == expected


OPTIMISERS = ("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam", "RAdam")
OPTIMISERS += ("RMSprop", "Rprop", "SGD")
OPTIMISERS = [name for name in OPTIMISERS if hasattr(torch.optim, name)]  # older versions lack the newest
REFUSED = {"LBFGS": "computes the loss several times a step", "SparseAdam": "needs sparse gradients"}


def test_every_optimiser_of_torchs_is_known_here():
    base = torch.optim.Optimizer
    classes = {n for n, one in vars(torch.optim).items() if inspect.isclass(one) and issubclass(one, base)}
    assert classes - {"Optimizer"} <= set(OPTIMISERS) | set(REFUSED)


def stepped(name: str, **settings) -> torch.Tensor:
    """A matrix after a step along a gradient of ones."""
    settings = {"_target_": f"torch.optim.{name}", "momentum": None, "lr": 0.5} | settings
    settings = {key: value for key, value in settings.items() if value is not None}
    node = {
        "epochs": 1,
        "min_epochs": 1,
        "min_steps": 1,
        "batch_size": 8,
        "clip_norm": None,
        "precision": "float32",
    }
    made = build_optimisation(
        Training, node | {"optimizer": settings, "schedule": None}, "training", Parts(), "cpu"
    )
    weight = torch.zeros(2, 2, requires_grad=True)
    weight.grad = torch.ones(2, 2)
    made.optimizer([weight]).step()
    return weight.detach()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_torchs_optimisers_step_downhill(name):
    assert (stepped(name) < 0).all()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Adam", {"betas": [0.9, 0.99], "amsgrad": True, "foreach": True}),
        ("AdamW", {"betas": [0.0, 0.5], "fused": True}),
        ("Adafactor", {"eps": [None, 1e-3]}),
        ("Rprop", {"etas": [0.5, 1.2], "step_sizes": [1e-6, 50.0]}),
        ("SGD", {"momentum": 0.5, "nesterov": True, "maximize": False}),
    ],
    ids=str,
)
def test_lists_and_switches_reach_torch_as_it_wants_them(name, settings):
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    weight = torch.zeros(2, 2, requires_grad=True)
    weight.grad = torch.ones(2, 2)
    getattr(torch.optim, name)([weight], lr=0.5, **given).step()
    assert torch.equal(stepped(name, **settings), weight.detach())


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [(name, {}, reason) for name, reason in REFUSED.items()]
    + [
        (
            "SGD",
            {"maximize": True},
            "training.optimizer.maximize=True: must be false",
        ),
        ("SGD", {"momentum": 0.0, "nesterov": True}, "Nesterov momentum requires a momentum"),
        ("SGD", {"nesterov": "yes"}, "training.optimizer.nesterov='yes': must be a valid boolean"),
        ("Adam", {"betas": [0.9]}, "training.optimizer.betas=[0.9]: "),
        ("Adam", {"betas": [0.9, 1.5]}, "training.optimizer.betas.1=1.5: must be less than 1"),
        ("Adam", {"foreach": True, "fused": True}, "training.optimizer: "),
        ("Adam", {"differentiable": True}, "training.optimizer: "),
        ("Adam", {"capturable": True}, "training.optimizer: "),
        ("Adam", {"params": 3}, "training.optimizer.params=3: no such setting"),
        ("SGD", {"lr": [0.1]}, "training.optimizer.lr=[0.1]: "),
    ],
    ids=str,
)
def test_optimisers_and_settings_that_cannot_be_are_refused_by_name(name, settings, said):
    with pytest.raises(BadInput) as caught:
        stepped(name, **settings)
    assert str(caught.value).startswith("training.optimizer")
    assert said in str(caught.value)


ONE_CYCLE = {"_target_": "softtargets.schedules.one_cycle", "_partial_": True, "peak": 0.01, "warmup": 0.3}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_one_cycle_goes_with_every_optimiser(name):
    momentum = None if name != "SGD" else 0.9
    settings = {"_target_": f"torch.optim.{name}", "lr": 0.5} | ({"momentum": momentum} if momentum else {})
    node = {"epochs": 1, "min_epochs": 1, "min_steps": 1, "batch_size": 8, "clip_norm": None}
    node |= {"precision": "float32", "optimizer": settings, "schedule": ONE_CYCLE}
    made = build_optimisation(Training, node, "training", Parts(), "cpu")
    optimizer = made.optimizer([torch.zeros(2, 2, requires_grad=True)])
    made.schedule(optimizer, 10)
    (group,) = optimizer.param_groups
    cycled = next((number for number in (group.get("momentum"), *group.get("betas", ())) if number), None)
    assert cycled in (0.95, None)
    assert group["lr"] == pytest.approx(0.01 / 25)


@pytest.mark.parametrize(
    ("schedule", "needed"),
    [("OneCycleLR", {"max_lr": 0.1}), ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5})],
    ids=str,
)
def test_a_schedule_that_does_not_fit_the_optimiser_is_refused_with_both_named(schedule, needed):
    optimizer = {"_target_": "torch.optim.Adagrad", "lr": 0.5}
    node = {"epochs": 1, "min_epochs": 1, "min_steps": 1, "batch_size": 8, "clip_norm": None}
    node |= {"precision": "float32", "optimizer": optimizer, "schedule": {"_target_": TORCHS + schedule, **needed}}
    with pytest.raises(BadInput) as caught:
        build_optimisation(Training, node, "training", Parts(), "cpu")
    assert f"schedule._target_={TORCHS}{schedule} does not fit training.optimizer._target_=" in str(caught.value)
    assert "Adagrad" in str(caught.value)
    assert str(caught.value).endswith("Choose another optimiser or schedule, or training.schedule=null")
    node["optimizer"] = {"_target_": "torch.optim.SGD", "lr": 0.5, "momentum": 0.9}
    build_optimisation(Training, node, "training", Parts(), "cpu")


def test_a_fault_of_the_schedule_alone_is_not_blamed_on_the_optimiser():
    schedule = {"_target_": TORCHS + "OneCycleLR", "max_lr": 0.1, "pct_start": 2.0}
    with pytest.raises(BadInput, match=r"^training.schedule: (?!.*does not fit)"):
        group(schedule=schedule)
