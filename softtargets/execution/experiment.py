"""What a composed config means: every group instantiated, bound to its signature and range-checked.

Nothing here trains or writes. Whatever a user can get wrong ends here, as `BadInput`, before any work.
"""

import copy
import dataclasses
import functools
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pydantic
import safetensors.torch
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from softtargets import schedules, store
from softtargets.architectures import construct
from softtargets.compat import torch_names
from softtargets.config import allowed_targets, contents
from softtargets.config.resolve import GROUPS, config_hash, settings_of
from softtargets.config.settings import (
    OPTIMIZER,
    UNFIT,
    DatasetSettings,
    ForgetSetSettings,
    Optimisation,
    Settings,
    Training,
    Unlearning,
)
from softtargets.config.validation import FORBID, check_call, naming, validated
from softtargets.datasets import Images
from softtargets.errors import BadInput
from softtargets.execution.network_trial import Trial
from softtargets.fit import Fit, epochs_for
from softtargets.forget_sets import numbered
from softtargets.split import Sampled, sampled, split
from softtargets.system.files import require_writable
from softtargets.targets import MODIFIERS, Recipe
from softtargets.types import Split, generator

RELEARNING = 500
"""Steps after which a model counts as one that does not relearn."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run, ready to start."""

    config: dict
    """Resolved plain data; the config file of the run."""
    settings: Settings
    data: Split
    along: Sampled
    """The samples on which a model is measured while it unlearns."""
    architecture: Callable[[], nn.Module]
    training: Training
    unlearning: Unlearning
    unlearn: Callable
    """`unlearn(original, forget, retain, fit) -> unlearned`."""
    recipes: dict[str, Recipe]
    """Of the targets of "forget" and "retain"."""
    checkpoint: dict | None
    """State dict of the user's own original."""

    @property
    def config_hash(self) -> str:
        """Equal for configs that ask for the same result."""
        return config_hash(self.config)

    @property
    def epochs(self) -> int:
        """Of training; the retrained model gets as many."""
        recipe = self.training
        return recipe.epochs or epochs_for(
            len(self.data.train), recipe.batch_size, recipe.min_epochs, recipe.min_steps
        )

    def epoch_steps(self) -> dict[str, int]:
        """Return the number of steps of an epoch of training, for the original and for the retrained model."""
        sets = {"original": self.data.train, "retrained": self.data.retain}
        return {name: math.ceil(len(samples) / self.training.batch_size) for name, samples in sets.items()}

    def initialised(self, name: str) -> nn.Module:
        """Return a new model whose initialisation is drawn from the run's seed and `name`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(self.settings.seed, f"{name}/init").initial_seed())
            return self.architecture().to(self.settings.device)

    def training_fit(self, name: str, progress: Callable) -> Fit:
        """Return the fit that trains the model called `name`."""
        return self._fit(self.training, name, progress, epochs=self.epochs)

    def unlearning_fit(self, progress: Callable, watch: Callable) -> Fit:
        """Return the fit of the unlearning; `watch` looks at the model where the config asks for it."""
        u = self.unlearning
        pace = {"evaluate_every": u.evaluate_every, "evaluate_growth": u.evaluate_growth}
        rule = {"watch": watch} | pace if u.evaluate_every else {}
        return self._fit(u, "unlearn", progress, epochs=u.epochs, max_steps=u.max_steps, **rule)

    def relearning_fit(self, watch: Callable) -> Fit:
        """Return a fit by the optimiser of training at a constant rate, which ends when `watch` says so."""
        more = {"schedule": None, "watch": watch, "evaluate_every": 1, "max_steps": RELEARNING}
        return self._fit(self.training, "relearn", lambda step, steps, loss: None, epochs=RELEARNING, **more)

    def _fit(self, settings: Optimisation, name: str, progress: Callable, **more) -> Fit:
        common = {field: getattr(settings, field) for field in Optimisation.model_fields}
        return Fit(seed=self.settings.seed, name=name, progress=progress, **common | more)


def build(config: dict) -> Experiment:
    """Turn a resolved config into an experiment, or raise BadInput."""
    torch_names.delay_compiler()
    settings = validated(Settings, settings_of(config), "")
    allowed_targets.require_allowed(config, settings.plugins)
    _require(settings.device)
    place = store.folder(settings.store.dir)
    if not place.is_dir():  # one that is only read from will do, if everything is there
        require_writable("store.dir", place)
    torch.set_num_threads(settings.threads)
    data = _split(*(_with_contents(config, group) for group in ("dataset", "forget_set")), settings.device)
    architecture = _architecture(config["architecture"], data)
    unlearn = _callable(config["mu_algo"], "mu_algo", given=("original", "forget", "retain", "fit"))
    recipes = {name: _recipe(node, f"targets.{name}") for name, node in _sides(config["targets"]).items()}
    _refuse_signed(unlearn, recipes)
    _refuse_parts_of_classes(unlearn, data)
    training, unlearning = (
        _optimisation(Training, config["training"], "training", settings.device),
        _unlearning(config["unlearn"], settings.device),
    )
    for name, settings_ in (("training", training), ("unlearn", unlearning)):
        _refuse_batch(name, settings_.batch_size, len(data.train))
    checkpoint = _checkpoint(settings.checkpoint, architecture)
    read = config.get("contents", {})
    now = config | {"contents": contents.hashes(config, GROUPS, contents.digest)}
    contents.require(now, read, "this run began to read it", "run it again")
    experiment = Experiment(
        config=config,
        settings=settings,
        data=data,
        along=_along(data, unlearning, config["forget_set"]["seed"]),
        architecture=architecture,
        training=training,
        unlearning=unlearning,
        unlearn=unlearn,
        recipes=recipes,
        checkpoint=checkpoint,
    )
    _try_network(experiment)
    return experiment


def _require(device: str) -> None:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device]:
        have = ", ".join(name for name in available if available[name])
        raise BadInput(f"device={device}: not on this machine; allowed here are auto, {have}")


def _callable(node: object, where: str, **known) -> functools.partial:
    """Instantiate a `_target_` node with `_partial_` and check what it will be called with."""
    return check_call(_instantiate(node, where), where, **known)


def _instantiate(node: object, where: str) -> functools.partial:
    if not isinstance(node, dict) or "_target_" not in node:
        raise BadInput(f"{where}={node!r}: has no _target_; allowed is a group option or a node with _target_")
    try:
        return instantiate(node | {"_partial_": True}, _convert_="all")
    except InstantiationException as error:
        cause = " ".join(str(error).split())
        raise BadInput(f"{where}._target_={node['_target_']}: cannot be imported ({cause})") from error


def _with_contents(config: dict, group: str) -> str:
    """Return a group and the contents of its files as text: what is remembered under it is of these files."""
    known = {name: value for name, value in config.get("contents", {}).items() if name.startswith(f"{group}.")}
    return json.dumps([config[group], known])


@functools.lru_cache(maxsize=2)
def _images(loader: str) -> Images:
    node, _ = json.loads(loader)
    load = _callable(node, "dataset", beside=DatasetSettings.model_fields)
    with naming("dataset"):
        found = load()
        if not isinstance(found, Images):
            raise ValueError(f"{load.func.__name__} returns {type(found).__name__}; it must return Images")
    return found


@functools.lru_cache(maxsize=1)
def _split(dataset: str, forget_set: str, device: str) -> Split:
    """Load and split; the runs of a sweep that share the data share the tensors."""
    (node, known), (kind, _) = json.loads(dataset), json.loads(forget_set)
    drawn, seed = _taken(DatasetSettings, node, "dataset"), _taken(ForgetSetSettings, kind, "forget_set").seed
    images = _images(json.dumps([node, known]))
    _refuse_channels(drawn, images.train_pixels.shape[1])
    _refuse_class_names(kind, images.class_names)
    choose = _callable(
        kind, "forget_set", given=("candidates", "generator"), beside=ForgetSetSettings.model_fields
    )

    @functools.wraps(choose.func)
    def named(candidates, drawn_from):
        with naming("forget_set"):
            chosen = choose(candidates, drawn_from)
        _refuse_none_or_all(choose.keywords, len(chosen.positions), len(candidates.labels))
        return chosen

    with naming("dataset"):
        found = split(images, named, forget_seed=seed, **drawn.model_dump())
    return _moved(found, device)


def _taken(model: type[pydantic.BaseModel], node: dict, where: str) -> pydantic.BaseModel:
    """Take out of a group what every option of it has, and check it; what is left is for the `_target_`."""
    return validated(model, {name: node.pop(name) for name in list(node) if name in model.model_fields}, where)


def _refuse_class_names(kind: dict, names: tuple[str, ...]) -> None:
    """Refuse names of classes where their numbers are to stand, for a kind of ours; say which is which."""
    given = kind.get("classes")
    listed = given if isinstance(given, list) else [given]
    if str(kind.get("_target_")).startswith("softtargets.") and any(isinstance(one, str) for one in listed):
        shown = f"[{','.join(map(str, given))}]" if isinstance(given, list) else repr(given)
        first = next((names.index(one) for one in listed if one in names), 0)
        raise BadInput(
            f"forget_set.classes={shown}: must be a list of class numbers, as in forget_set.classes=[{first}]; "
            f"the classes are {numbered(names)}"
        )


def _refuse_none_or_all(settings: dict, chosen: int, samples: int) -> None:
    if chosen in (0, samples):
        given = ", ".join(f"forget_set.{name}={value}" for name, value in settings.items()) or "forget_set"
        raise BadInput(f"{given}: this is {chosen} of {samples} training samples; it must be some, and not all")


def _refuse_channels(settings: DatasetSettings, channels: int) -> None:
    for name in ("mean", "std"):
        if len(numbers := getattr(settings, name)) not in (1, channels):
            raise BadInput(
                f"dataset.{name}={numbers}: must have one number, or one for each of {channels} channels"
            )


def _moved(data: Split, device: str) -> Split:
    if device == "cpu":
        return data

    def move(value):
        if isinstance(value, torch.Tensor):
            return value.to(device)
        if dataclasses.is_dataclass(value):
            fields = {f.name: move(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return type(value)(**fields)
        return value

    return move(data)


def _architecture(node: dict, data: Split) -> Callable[[], nn.Module]:
    partial = _callable(node, "architecture", named=("input_shape", "classes"))
    return functools.partial(construct, partial, data.input_shape, data.classes)


_TRIED: set[str] = set()
"""What was tried in this process."""


def _try_network(experiment: Experiment) -> None:
    """Try the network as this run will use it, once a process for all runs that use it alike."""
    config, data, device = experiment.config, experiment.data, experiment.settings.device
    sizes, look = _batch_sizes(experiment), getattr(experiment.unlearn.func, "check_network", None)
    loops = [
        [config[name]["optimizer"]["_target_"], config[name]["precision"]] for name in ("training", "unlearn")
    ]
    tried = config["mu_algo"]["_target_"] if look else None
    key = json.dumps([config["architecture"], data.input_shape, data.classes, device, sizes, loops, tried])
    if key in _TRIED:
        return
    where = f"architecture._target_={config['architecture']['_target_']}"
    fits = [
        Fit(seed=0, name=name, epochs=1, **{field: getattr(one, field) for field in Optimisation.model_fields})
        for name, one in (("training", experiment.training), ("unlearn", experiment.unlearning))
    ]
    attempt = Trial(where, experiment.architecture, data.input_shape, data.classes, device)
    attempt(fits, sizes, look)
    _TRIED.add(key)


def _batch_sizes(experiment: Experiment) -> list[int]:
    """Return the smallest and the largest batch in which anything is trained."""
    data = experiment.data
    streams = [len(data.train), len(data.retain), len(data.forget)]
    for recipe in experiment.recipes.values():
        folds = recipe.kind.keywords.get("folds", 0)
        streams += [len(data.train) - (len(data.train) + more) // folds for more in (0, folds - 1) if folds]
    found = set()
    for size in (experiment.training.batch_size, experiment.unlearning.batch_size):
        found |= {min(n, size) for n in streams} | {n % size for n in streams}
    found.discard(0)
    return sorted({min(found), max(found)})


def _optimisation(model: type[Optimisation], node: dict, where: str, device: str) -> Optimisation:
    """Check a group that carries an optimiser by taking ten steps of it, over a parameter of no account."""
    node, targets = copy.deepcopy(node), {}
    for name, made in (("optimizer", _optimizer), ("schedule", _schedule)):
        if node.get(name) is not None:
            targets[name] = node[name].get("_target_") if isinstance(node[name], dict) else None
            node[name] = made(node[name], f"{where}.{name}")
    settings = validated(model, node, where)
    parameter = torch.zeros(2, 2, requires_grad=True, device=device)
    parameter.grad = torch.zeros_like(parameter)
    with naming(f"{where}.optimizer", (Exception,)):
        settings.optimizer([parameter]).step()
    if settings.schedule:
        with naming(f"{where}.schedule", (Exception,)):
            try:
                # a new optimiser: RMSprop, once stepped without momentum, fails when a schedule gives it some
                _try_schedule(settings.schedule, settings.optimizer([parameter]))
            except Exception as error:
                _refuse_pair(settings.schedule, where, targets, error)
                raise
    return settings


def _refuse_pair(make: Callable, where: str, targets: dict[str, str], error: Exception) -> None:
    """Raise BadInput for a schedule that failed with this optimiser, and works with one that has momentum."""
    usual = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3, momentum=0.9)
    try:
        _try_schedule(make, usual)
    except Exception:  # the schedule's own fault, which the caller reports
        return
    reason = " ".join(str(error).split()) or type(error).__name__
    raise BadInput(
        f"{where}.schedule._target_={targets['schedule']} does not fit "
        f"{where}.optimizer._target_={targets['optimizer']}: {reason}; choose another of the two, or "
        f"{where}.schedule=null"
    ) from error


def _try_schedule(make: Callable[[Optimizer, int], LRScheduler], optimizer: Optimizer) -> None:
    schedule = make(optimizer, 10)
    for step in range(1, 11):
        optimizer.step()
        schedule.step()
        rate = float(optimizer.param_groups[0]["lr"])
        if not 0 <= rate < math.inf:
            raise ValueError(f"gives the learning rate {rate} at step {step}; must be 0 or more, and finite")


def _optimizer(node: object, where: str) -> functools.partial:
    partial = _instantiate(node, where)
    if not _is_torchs(partial):
        return check_call(partial, where, given=("parameters",))
    _refuse_unfit(partial, where, UNFIT, "torch.optim.SGD, Adam or AdamW")
    found = check_call(partial, where, given=("params",), hints=OPTIMIZER)
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in found.keywords.items()}
    return functools.partial(found.func, **settings)


def _schedule(node: object, where: str) -> Callable:
    partial = _instantiate(node, where)
    if _is_torchs(partial):
        _refuse_unfit(
            partial, where, schedules.UNFIT, "CosineAnnealingLR, LinearLR or StepLR of torch.optim.lr_scheduler"
        )
    if partial.func.__name__ == "ConstantLR" and "total_iters" not in partial.keywords:
        raise BadInput(f"{where}.total_iters is missing; it must be given, in steps (batches)")
    length = schedules.length_of(partial)
    named = (length,) if length else ()
    hints = OPTIMIZER if _is_torchs(partial) else None
    return schedules.by_name(check_call(partial, where, given=("optimizer",), named=named, hints=hints))


def _is_torchs(partial: functools.partial) -> bool:
    return partial.func.__module__.startswith("torch.")


def _refuse_unfit(partial: functools.partial, where: str, unfit: dict[str, str], instead: str) -> None:
    if reason := unfit.get(partial.func.__name__):
        target = f"{partial.func.__module__}.{partial.func.__name__}"
        raise BadInput(f"{where}._target_={target}: {reason}; allowed are {instead}, for example")


def _unlearning(node: dict, device: str) -> Unlearning:
    settings = _optimisation(Unlearning, node, "unlearn", device)
    if settings.stop == "matched" and settings.evaluate_every is None:
        raise BadInput("unlearn.evaluate_every=None: unlearn.stop=matched needs a number of steps, 1 or more")
    return settings


def _along(data: Split, unlearning: Unlearning, seed: int) -> Sampled:
    with naming(f"unlearn.evaluate_samples={unlearning.evaluate_samples}"):
        return sampled(data, unlearning.evaluate_samples, seed)


def _sides(targets: dict) -> dict[str, dict]:
    """Return the two sides of the targets, and refuse anything else that stands there."""
    if set(targets) != {"forget", "retain"}:
        raise BadInput(f"targets has {', '.join(targets) or 'nothing'}; it must have forget and retain, no more")
    for name, side in targets.items():
        if not isinstance(side, dict):
            raise BadInput(f"targets.{name}={side!r}: must be a group of settings; choose an option of it")
    return targets


class Modifiers(pydantic.BaseModel):
    """What every kind of targets takes beside its own settings."""

    model_config = FORBID
    modifiers: list[Literal[*MODIFIERS]]


def _recipe(node: dict, where: str) -> Recipe:
    node = dict(node)
    chosen = validated(Modifiers, {"modifiers": node.pop("modifiers", [])}, where)
    kind = _callable(node, where, given=("source",), beside=Modifiers.model_fields)
    with naming(where):
        return Recipe(kind, tuple(chosen.modifiers))


def _refuse_signed(unlearn: functools.partial, recipes: dict[str, Recipe]) -> None:
    for name, recipe in recipes.items():
        if recipe.signed and getattr(unlearn.func, "needs_distribution", False):
            raise BadInput(
                f"targets.{name}: {unlearn.func.__name__} needs distributions, and these have negative entries; "
                "allowed are kinds that docs/targets.md calls distributions"
            )


def _refuse_parts_of_classes(unlearn: functools.partial, data: Split) -> None:
    if (
        getattr(unlearn.func, "whole_classes_only", False)
        and torch.isin(data.retain.labels, data.forget.labels).any()
    ):
        raise BadInput(
            f"forget_set: {unlearn.func.__name__} forgets whole classes, and this set leaves samples of its own; "
            "allowed is forget_set=class"
        )


def _refuse_batch(where: str, size: int, samples: int) -> None:
    if size > samples:
        raise BadInput(f"{where}.batch_size={size}: the training set has no more than {samples} samples")


def _checkpoint(path: str | None, architecture: Callable[[], nn.Module]) -> dict | None:
    """Read a state dict of tensors; nothing in the file is executed."""
    if path is None:
        return None
    file = Path(path).expanduser()
    # what is no such file makes the readers raise nearly anything
    with naming(f"checkpoint={path}: not a state dict for this architecture", (Exception,)):
        if not file.is_file():
            raise ValueError("it is no file" if file.exists() else "no such file")
        if not file.stat().st_size:
            raise ValueError("it is empty")
        state = _tensors(file)
        model = architecture()
        _refuse_state(state, model.state_dict())
        model.load_state_dict(state)
    return state


def _tensors(file: Path) -> object:
    if file.suffix.lower() == ".safetensors":
        return safetensors.torch.load_file(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose advice is to let the file run code
        raise ValueError("it does not hold tensors alone; save model.state_dict(), not the model") from error


def _refuse_state(state: object, wanted: dict[str, torch.Tensor]) -> None:
    """Raise ValueError where a file does not hold the tensors of a model."""
    if not isinstance(state, dict) or not state:
        raise ValueError(f"it holds {type(state).__name__}; it must hold tensors by name, as model.state_dict()")
    others = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        nested = isinstance(state[others[0]], dict)
        advice = f"save what lies under {others[0]} alone" if nested else "save model.state_dict() alone"
        raise ValueError(f"{others[0]} in it is no tensor; {advice}")
    for what, names in (("lacks", wanted.keys() - state.keys()), ("has in excess", state.keys() - wanted.keys())):
        if names:
            raise ValueError(f"it {what} {', '.join(sorted(map(str, names))[:3])}{' …' if len(names) > 3 else ''}")
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)}, and must be {tuple(wanted[name].shape)}"
            raise ValueError(f"the shape of {name} is {shapes}")
        if not tensor.isfinite().all():
            raise ValueError(f"{name} has numbers that are not finite")
