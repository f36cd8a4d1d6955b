"""The experiment of a resolved config: every group instantiated, bound to its signature and range-checked.

Nothing here trains or writes. All bad input ends here with BadInput, before any work.
"""

import dataclasses
import functools
import inspect
import json
import math
from collections.abc import Callable
from typing import Literal

import pydantic
import torch
from torch import Tensor, nn

from softtargets import store
from softtargets.architectures import GIVEN, construct, is_torchvisions
from softtargets.augmentation import augmented
from softtargets.compat import torch_names
from softtargets.config import allowed_targets, contents
from softtargets.config.resolve import GROUPS, config_hash, decisive, settings_of
from softtargets.config.settings import (
    AlgorithmSettings,
    ArchitectureSettings,
    Optimisation,
    Settings,
    Training,
    Unlearning,
)
from softtargets.config.validation import FORBID, naming, validated
from softtargets.devices import forked_random
from softtargets.errors import BadInput
from softtargets.execution import checks
from softtargets.execution.callables import checked_partial, instantiate_partial, take_settings
from softtargets.execution.checkpoint import load_start, load_weights, started
from softtargets.execution.load_data import load_data
from softtargets.execution.network_trial import Trial
from softtargets.execution.optimisers import build_optimisation, build_unlearning
from softtargets.execution.own_measures import OwnMeasure, own_measures
from softtargets.execution.parts import Parts
from softtargets.fingerprints import shards_of
from softtargets.fit import Fit, batch_of_ratio, epochs_for
from softtargets.heads import check_head
from softtargets.losses import cross_entropy
from softtargets.marks import Algorithm, Targets
from softtargets.mu_algo import INPUTS
from softtargets.split import Sampled, held_out_images, sampled
from softtargets.system.files import require_writable
from softtargets.targets import MODIFIERS, Recipe
from softtargets.types import Samples, Split, generator

RELEARNING = 500
"""Most steps of relearning, which a model has that needs as many or more."""
SHARD = ", shard "
"""What stands between the name of an ensemble and the number of one of its networks."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A run that is ready to start."""

    config: dict
    """Resolved plain data; the config file of the run."""
    settings: Settings
    data: Split
    monitored: Sampled
    """The subset on which a model is measured while it unlearns."""
    architecture: Callable[[], nn.Module]
    training: Training
    unlearning: Unlearning
    unlearn: Callable
    """`unlearn(original, forget, retain, fit) -> unlearned`."""
    recipes: dict[str, Recipe]
    """The targets' recipes, by "forget" and "retain"."""
    checkpoint: dict | None
    """State dict of the user's own original."""
    own_measures: tuple[OwnMeasure, ...] = ()
    """Those that `evidence` names by path."""
    lengths: tuple[int, ...] | None = None
    """Steps that a budget pays for: of the unlearning, or of each of its turns."""

    @functools.cached_property
    def held_out(self) -> Samples | None:
        """Return the images that targets may draw on; None if there are none.

        The spare images, and the validation set where no stop rule reads it: such a rule would stop on the very
        images that the model is being moved to.
        """
        return held_out_images(self.data, self.unlearning.stop)

    @functools.cached_property
    def decisive(self) -> dict:
        """Return the part of the config that can change the result."""
        return decisive(self.config)

    @property
    def config_hash(self) -> str:
        """Return the hash of all settings that can change the result."""
        return config_hash(self.config)

    @property
    def shards(self) -> int | None:
        """Return how many networks make the original, each trained on a shard; None where it is one network."""
        return self.unlearn.keywords["shards"] if Algorithm.of(self.unlearn).sharded else None

    def sharded(self, name: str, samples: Samples) -> dict[str, Samples]:
        """Return the samples of each network of the ensemble `name`, by the network's name."""
        parts = enumerate(shards_of(samples, self.shards), 1)
        return {f"{name}{SHARD}{number} of {self.shards}": samples.select(part) for number, part in parts}

    @property
    def touched(self) -> list[int]:
        """Count the retained samples of each shard that holds samples to forget."""
        sides = zip(*(shards_of(side, self.shards) for side in (self.data.forget, self.data.retain)), strict=True)
        return [len(retained) for forgotten, retained in sides if len(forgotten)]

    @property
    def epochs(self) -> int:
        """Return the epochs of training, the same for the retrained model."""
        recipe = self.training
        return recipe.epochs or epochs_for(
            len(self.data.train), recipe.batch_size, recipe.min_epochs, recipe.min_steps
        )

    @property
    def retraining_samples(self) -> int:
        """Count the gradient samples of retraining, in which costs are stated."""
        return self.epochs * len(self.data.retain)

    def epoch_steps(self) -> dict[str, int]:
        """Return the steps in an epoch of training, for the original and for the retrained model."""
        sets = {"original": self.data.train, "retrained": self.data.retain}
        return {name: math.ceil(len(samples) / self.training.batch_size) for name, samples in sets.items()}

    def initialised(self, name: str) -> nn.Module:
        """Return a new model, initialised from the run's seed and `name`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(self.settings.seed, f"{name}/init").initial_seed())
            return self.architecture().to(self.settings.device)

    def training_fit(self, name: str, progress: Callable, **more) -> Fit:
        """Return the fit that trains the model called `name`; `more` as fields of `Fit`."""
        augmentation = _augmentation(self.training)
        return self._fit(self.training, name, progress, epochs=self.epochs, augmentation=augmentation, **more)

    def training_loss(self, model: nn.Module) -> Callable[[Samples], Tensor]:
        """Return the loss that trains a model: cross entropy with the recipe's label smoothing."""
        smoothing = self.training.label_smoothing
        return lambda batch: cross_entropy(model(batch.inputs), batch.targets, smoothing)

    def unlearning_fit(self, progress: Callable, watch: Callable) -> Fit:
        """Return the fit of the unlearning; `watch` measures the model if `unlearn.evaluate_every` is set."""
        u = self.unlearning
        pace = {"evaluate_every": u.evaluate_every, "evaluate_growth": u.evaluate_growth}
        rule = {"watch": watch} | pace if u.evaluate_every else {}
        length = {"epochs": u.epochs, "max_steps": u.max_steps, "lengths": self.lengths}
        own = {
            "freeze_norm": u.freeze_norm,
            "label_smoothing": u.label_smoothing,
            "augmentation": _augmentation(u),
        }
        return self._fit(u, "unlearn", progress, **own | length | rule)

    def to_forget(self, samples: Samples) -> Samples:
        """Return samples to forget, in batches of the size that the unlearning takes for them."""
        return dataclasses.replace(samples, batch_ratio=self.unlearning.forget_batch_ratio)

    def relearning_fit(self, watch: Callable) -> Fit:
        """Return a fit with training's optimiser at a constant rate, which ends when `watch` returns True."""
        more = {"schedule": None, "watch": watch, "evaluate_every": 1, "max_steps": RELEARNING}
        return self._fit(self.training, "relearn", lambda step, steps, loss: None, epochs=RELEARNING, **more)

    def _fit(self, settings: Optimisation, name: str, progress: Callable, **more) -> Fit:
        common = {field: getattr(settings, field) for field in Optimisation.model_fields}
        return Fit(seed=self.settings.seed, name=name, progress=progress, **common | more)


def _augmentation(settings: Training | Unlearning) -> dict | None:
    """Return the chosen augmentation; None where all of it is off."""
    chosen = settings.augmentation.model_dump()
    return chosen if any(chosen.values()) else None


def build(config: dict, data: Split | None = None, parts: Parts | None = None) -> Experiment:
    """Return the experiment of a resolved config; raises BadInput if it cannot run.

    `data` are those of the config where the caller has them already; else they are loaded. Experiments that share
    `parts` are built in less time: they share what nobody changes.
    """
    parts = parts or Parts()
    torch_names.delay_compiler()
    settings = validated(Settings, settings_of(config), "")
    for name, node in config.items():
        parts(allowed_targets.require_allowed, {name: node}, settings.plugins)
    parts(checks.require_device, settings.device)
    parts(_require_store, settings.store.dir)
    torch.set_num_threads(settings.threads)
    data = data or load_data(config, settings.device)
    shape = (data.input_shape, data.classes)
    architecture = parts(_architecture, config["architecture"], *shape)
    unlearn = parts(_algorithm, config["mu_algo"])
    recipes = {name: parts(_recipe, node, f"targets.{name}") for name, node in _sides(config["targets"]).items()}
    checks.require_distributions(unlearn, recipes)
    checks.require_whole_classes(unlearn, data)
    checks.require_shards(unlearn, data)
    training = build_optimisation(Training, config["training"], "training", parts, settings.device)
    unlearning = build_unlearning(config["unlearn"], parts, settings.device)
    for name, settings_ in (("training", training), ("unlearn", unlearning)):
        _try_augmentation(name, settings_, data)
        if settings.stage != "data":  # which trains nothing
            checks.require_batch(name, settings_.batch_size, len(data.train))
    checks.require_loop(unlearn, unlearning)
    checks.require_labels(unlearn, unlearning.label_smoothing)
    checks.require_forget_batches(unlearn, unlearning.forget_batch_ratio)
    checks.require_early(unlearn, settings.checkpoint)
    checks.require_blind(unlearn, unlearning.stop)
    checks.require_no_ensemble(unlearn, settings.checkpoint, settings.evidence)
    checks.require_held_out(recipes, data, held_out_images(data, unlearning.stop))
    experiment = Experiment(
        config=config,
        settings=settings,
        data=data,
        monitored=parts.sampled(monitored_subset, data, unlearning.evaluate_samples, config["forget_set"]["seed"]),
        architecture=architecture,
        training=training,
        unlearning=unlearning,
        unlearn=unlearn,
        recipes=recipes,
        checkpoint=None,
        own_measures=parts(own_measures, settings.evidence, settings.plugins),
    )
    _try_network(experiment, parts.tried)
    if unlearning.freeze_norm:
        checks.require_statistics(unlearn, experiment.initialised("trial"))
    hashes = config.get("contents", {})
    if path := settings.checkpoint:
        weights = parts(_weights, config["architecture"], *shape, path, hashes)
        experiment = dataclasses.replace(experiment, checkpoint=weights)
    now = config | {"contents": contents.sha256s(config, GROUPS, parts.sha256_of)}
    contents.require(now, hashes, "this run began to read it", "run it again")
    experiment = experiment if unlearning.cost is None else _budgeted(experiment)
    return _with_requests(experiment)


def _require_store(folder: str | None) -> None:
    place = store.store_folder(folder)
    if not place.is_dir():  # a read-only store is enough if it has every model
        require_writable("store.dir", place)


def _with_requests(experiment: Experiment) -> Experiment:
    """Return the experiment; raise BadInput where one of its requests cannot run."""
    from softtargets.execution import requests  # they are experiments too

    if requests.count_of(experiment.config) > 1:
        requests.experiments(experiment)
    return experiment


def _budgeted(experiment: Experiment) -> Experiment:
    from softtargets.execution.rehearsal import budgeted  # rehearsals are of experiments

    return budgeted(experiment)


def _architecture(node: dict, shape: tuple[int, ...], classes: int) -> Callable[[], nn.Module]:
    node = dict(node)
    function = instantiate_partial(node, "architecture").func
    # a setting of the network's own means what the network says; torchvision's would download weights by a name
    own = "weights" in inspect.signature(function).parameters and not is_torchvisions(function)
    weights = None if own else take_settings(ArchitectureSettings, node, "architecture").weights
    # a number of classes in a user's config stays, and is checked by the trial
    named = tuple(name for name in GIVEN if name not in node)
    partial = checked_partial(node, "architecture", named=named, beside=ArchitectureSettings.model_fields)
    build = functools.partial(construct, partial, shape, classes)
    if weights is None:
        return build
    with forked_random("cpu"):
        network = Trial("architecture", build, shape, classes, "cpu", _build_for(node, classes)).built()
    return functools.partial(started, build, load_start(network, weights, f"architecture.weights={weights}"))


def _build_for(node: dict, classes: int) -> Callable[[tuple[int, ...]], nn.Module]:
    """Return what builds an architecture for inputs of any shape, with random weights."""
    random = {name: value for name, value in node.items() if name != "weights"}
    return lambda shape: _architecture(random, shape, classes)()


def _weights(node: dict, shape: tuple[int, ...], classes: int, path: str, hashes: dict) -> dict:
    """Return the state dict of the user's original, a file whose content is among `hashes`."""
    return load_weights(_architecture(node, shape, classes)(), path, f"checkpoint={path}")


def _algorithm(node: dict) -> Callable:
    """Build `unlearn(original, forget, retain, fit)`; what it takes of `INPUTS` it is given later."""
    given, node = ("original", "forget", "retain", "fit"), dict(node)
    declared = take_settings(AlgorithmSettings, node, "mu_algo")
    unlearn = checked_partial(node, "mu_algo", given=given, named=INPUTS, beside=AlgorithmSettings.model_fields)
    checks.require_marks(unlearn, declared)
    return unlearn


def _try_augmentation(group: str, settings: Training | Unlearning, data: Split) -> None:
    with naming(f"{group}.augmentation"):
        images = torch.zeros(1, *data.input_shape)
        augmented(images, torch.Generator(), **settings.augmentation.model_dump())


_TRIED: set[str] = set()
"""Networks that this process has tried already, as keys."""
WHOLE_TRIALS = 10
"""How many networks that differ in numbers alone a sweep tries; of more it looks at the shape of their output."""


def _try_network(experiment: Experiment, tried: dict[str, set[str]]) -> None:
    """Try the network as this run will use it, once a process for all runs that use it in the same way.

    `tried` has the networks of the sweep so far. Those of which only the shape of the output was seen are tried
    when their runs begin.
    """
    config, data, device = experiment.config, experiment.data, experiment.settings.device
    node, sizes, looks = config["architecture"], _batch_sizes(experiment), _looks(experiment)
    loops = [
        [config[name]["optimizer"]["_target_"], config[name]["precision"]] for name in ("training", "unlearn")
    ]
    key = json.dumps([node, data.input_shape, data.classes, device, sizes, loops, [*looks]])
    alike = tried[json.dumps([_without_numbers(node), [*looks]])]
    if key in _TRIED or key in alike:
        return
    build_for = _build_for(node, data.classes)
    attempt = Trial(_named(config), experiment.architecture, data.input_shape, data.classes, device, build_for)
    if len(alike) < WHOLE_TRIALS or not attempt.fits_by_shape():
        attempt(_short_fits(experiment), sizes, looks)
        _TRIED.add(key)
    alike.add(key)


def _named(config: dict) -> str:
    """Return the words that name the network of a config."""
    node = config["architecture"]
    if "name" in node and config["choices"]["architecture"] == f"torchvision.{node['name']}":
        return f"architecture.name={node['name']}"
    return f"architecture._target_={node['_target_']}"


def _short_fits(experiment: Experiment) -> list[Fit]:
    return [
        Fit(seed=0, name=name, epochs=1, **{field: getattr(one, field) for field in Optimisation.model_fields})
        for name, one in (("training", experiment.training), ("unlearn", experiment.unlearning))
    ]


def _without_numbers(node: object) -> object:
    """Return a node with nothing in the place of every number."""
    if isinstance(node, dict):
        return {name: _without_numbers(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_without_numbers(value) for value in node]
    return None if isinstance(node, int | float) and not isinstance(node, bool) else node


def _looks(experiment: Experiment) -> dict[str, Callable]:
    """Return the trials of the network by algorithm and targets, under words that name the part."""
    choices = experiment.config["choices"]
    marks = {f"mu_algo={choices['mu_algo']} with ": Algorithm.of(experiment.unlearn)}
    for side, recipe in experiment.recipes.items():
        marks[f"targets/{side}={choices[f'targets_{side}']} with "] = Targets.of(recipe.kind)
    looks = {name: mark.check_network for name, mark in marks.items() if mark.check_network}
    if "probe" in experiment.settings.evidence:
        looks["evidence=[probe] with "] = check_head
    return looks


def _batch_sizes(experiment: Experiment) -> list[int]:
    """Return the smallest and the largest batch that occurs in any training."""
    data = experiment.data
    streams = [len(data.train), len(data.retain), len(data.forget)]
    for recipe in experiment.recipes.values():
        folds = recipe.kind.keywords.get("folds", 0)
        streams += [len(data.train) - (len(data.train) + more) // folds for more in (0, folds - 1) if folds]
    if experiment.shards:
        streams += [len(part) for side in (data.train, data.retain) for part in shards_of(side, experiment.shards)]
    batches, u = set(), experiment.unlearning
    to_forget = batch_of_ratio(u.batch_size, u.forget_batch_ratio)
    pairs = [(n, size) for n in streams for size in (experiment.training.batch_size, u.batch_size)]
    for n, size in [*pairs, (len(data.forget), to_forget)]:
        batches |= {min(n, size), n % size}
    batches.discard(0)
    return sorted({min(batches), max(batches)})


def monitored_subset(data: Split, most: int | None, seed: int) -> Sampled:
    """Return the subset on which a model is measured while it unlearns, drawn by the seed of the forget set."""
    with naming(f"unlearn.evaluate_samples={most}"):
        return sampled(data, most, seed)


def _sides(targets: dict) -> dict[str, dict]:
    """Return the two sides of the targets; raises BadInput for other keys and for a side that is not a group."""
    if set(targets) != {"forget", "retain"}:
        raise BadInput(f"targets has {', '.join(targets) or 'nothing'}; it must have forget and retain only")
    for name, side in targets.items():
        if not isinstance(side, dict):
            raise BadInput(
                f"targets.{name}={side!r}: must be a group of settings. Choose an option: --help targets"
            )
    return targets


class Modifiers(pydantic.BaseModel):
    """The settings that every kind of targets has."""

    model_config = FORBID
    modifiers: list[Literal[*MODIFIERS]]


def _recipe(node: dict, where: str) -> Recipe:
    node = dict(node)
    chosen = validated(Modifiers, {"modifiers": node.pop("modifiers", [])}, where)
    kind = checked_partial(node, where, given=("source",), beside=Modifiers.model_fields)
    with naming(where):
        return Recipe(kind, tuple(chosen.modifiers))
