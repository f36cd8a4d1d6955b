"""Our algorithms beside the public code of their authors, at equal tuning.

`python benchmarks/authors.py DIR [only=scrub,ssd] [pairs=10] [settings]` reads your own clones of the authors'
repositories in DIR, each at the commit that REPOSITORIES names. For one that is missing it prints the command. It
runs Fashion-MNIST with 6,000 images, mlp, a random 10 % to forget. Both sides of a method try the same rates and
lengths, the authors' default rate first, with the same optimiser, number of steps and number of gradient samples,
on two tuning pairs. The best setting of each side runs on fresh pairs. A search may choose the least rate, at
which nothing moves, so both sides run there at the authors' default rate with one pass too. The table in Markdown
has JS_T to the retrained model on the forget set, in nats, the 95 % interval of ours minus theirs, CPU seconds.

`relabel` and `salun` have rows for both orders of the authors: by sets, as with ten classes, and mixed, as with a
hundred (`relabel_mixed`, `salun_mixed`).

Only the adapters are here. What the authors' modules import for printing, plots and data has a stand-in.
"""

import argparse
import contextlib
import copy
import dataclasses
import functools
import importlib
import io
import itertools
import math
import statistics
import subprocess
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from glance import composed
from scipy.stats import t as student
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, TensorDataset
from usage import call

from softtargets.console import Console
from softtargets.errors import BadInput
from softtargets.evaluation import metrics
from softtargets.execution.experiment import Experiment, build
from softtargets.execution.models import Stages
from softtargets.fit import Fit, predict
from softtargets.forget_sets import wrong_labels
from softtargets.mu_algo.amun import amun
from softtargets.mu_algo.boundary_shrink import boundary_shrink, value_range
from softtargets.mu_algo.cfk import cfk
from softtargets.mu_algo.euk import euk
from softtargets.mu_algo.finetune import finetune
from softtargets.mu_algo.gradasc import gradasc
from softtargets.mu_algo.l1_sparse import l1_sparse
from softtargets.mu_algo.neggrad_plus import neggrad_plus
from softtargets.mu_algo.relabel import relabel
from softtargets.mu_algo.salun import salun
from softtargets.mu_algo.scrub import scrub
from softtargets.mu_algo.sfron import sfron
from softtargets.mu_algo.ssd import ssd
from softtargets.store import Store, store_folder
from softtargets.temperature import fitted_temperature
from softtargets.types import Samples, generator

REPOSITORIES = (
    "Ali-E/AMUN@9e341a98a88abe9592e70fe2660eed27ba1204c0",
    "K1nght/Unified-Unlearning-w-Remain-Geometry@36bb7f6f897a2db751877f00071042c44709a89c",
    "OPTML-Group/Unlearn-Saliency@a6e89fd17ff737c24c6aa16c9574469a234ffd91",
    "OPTML-Group/Unlearn-Sparse@80ba55d36d0871465c2d3e3896db26a98070e065",
    "TY-LEE-KR/Boundary-Unlearning-Code@19f9f230d3dccbad2ffd7d65e279eb7ac0dbbca9",
    "if-loops/selective-synaptic-dampening@cdfdc0e35c1908e032a6e150d882b0fa17833f85",
    "meghdadk/SCRUB@98ffb1196ffbec2665092598c13ad3b6ec3d095d",
    "shash42/Evaluating-Inexact-Unlearning@a45fe023216f407e947b0c87c3ea2c8229f1d5e5",
    "vikram2000b/bad-teaching-unlearning@f1aa988f71cccf1be6d50e0c6f7b2b905e4c9126",
)
DATA = ("dataset=fashion_mnist", "dataset.train_size=6000", "tuned=none")
TUNING, FRESH = (900, 901), 910
"""Seeds of the tuning pairs, and the first of the fresh ones."""
LENGTHS, BATCH = (1, 2), 128
"""Passes over the sets that a method reads (twice as many where it alternates or reads the forget set alone), and
samples of a step: of each set where the authors draw a batch from each, of both where they mix them."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """A trained and a retrained model, and what an algorithm may use."""

    seed: int
    original: nn.Module
    retrained: nn.Module
    forget: Samples
    retain: Samples
    unseen: Samples
    """Images that no model has seen: temperatures are fitted on them, and the search looks at their accuracy."""
    initialised: Callable[[str], nn.Module]

    def distance(self, model: nn.Module) -> float:
        """Return JS_T to the retrained model on the forget set, in nats."""
        return metrics.js(self._calibrated(model), self._calibrated(self.retrained))

    def score(self, model: nn.Module) -> float:
        """Return what a search minimises: the distance, and a penalty for lost accuracy."""
        lost = self._accuracy(self.retrained) - self._accuracy(model)
        return self.distance(model) + 10 * max(0.0, lost - 0.01) * self.distance(self.original)

    def _calibrated(self, model: nn.Module) -> Tensor:
        temperature = fitted_temperature(predict(model, self.unseen.inputs), self.unseen.labels)
        return predict(model, self.forget.inputs) / temperature

    def _accuracy(self, model: nn.Module) -> float:
        return float((predict(model, self.unseen.inputs).argmax(1) == self.unseen.labels).float().mean())


@dataclasses.dataclass(frozen=True)
class Method:
    """Both sides of one row of the table; each takes a pair, a rate and a length and returns the model."""

    repository: str
    theirs: Callable[[Path, Pair, float, int], nn.Module]
    ours: Callable[[Pair, float, int], nn.Module]
    rates: tuple[float, ...]
    """The authors' default first. Of ssd it is α."""
    lengths: tuple[int, ...] = LENGTHS

    @property
    def grid(self) -> list[tuple[float, int]]:
        """Return every rate at every length."""
        return list(itertools.product(self.rates, self.lengths))


def main(folder: str, *words: str) -> None:
    """Print the table."""
    options = dict(word.split("=", 1) for word in words if word.startswith(("only=", "pairs=")))
    settings = [word for word in words if word.partition("=")[0] not in options]
    chosen = selected(options.get("only"))
    clones = {method.repository: clone(Path(folder), method.repository) for method in chosen.values()}
    count = int(options.get("pairs", "10"))
    tuning = [pair(seed, *settings) for seed in TUNING]
    fresh = [pair(seed, *settings) for seed in range(FRESH, FRESH + count)]
    nothing = statistics.fmean(one.distance(one.original) for one in fresh)
    print(f"Doing nothing: JS_T {nothing:.4f}; {count} fresh pairs.\n")
    print(
        "| method | rate × passes: theirs | ours | JS_T: theirs | ours | ours - theirs, 95 % | ours is "
        "| at the default: theirs | ours | ours - theirs, 95 % | CPU s |"
    )
    print("|---" * 11 + "|")
    for name, method in chosen.items():
        theirs = functools.partial(method.theirs, clones[method.repository])
        print(row(name, method.grid, theirs, method.ours, tuning, fresh), flush=True)


def selected(only: str | None) -> dict[str, Method]:
    """Return the methods of a list of names; all without one."""
    if unknown := sorted(set(only.split(",") if only else ()) - set(METHODS)):
        raise BadInput(f"only={only}: no method {unknown[0]}; there are {', '.join(METHODS)}")
    return {name: METHODS[name] for name in (only.split(",") if only else METHODS)}


def clone(folder: Path, repository: str) -> Path:
    """Return the folder of a clone; raise BadInput with the command to type where it is not at its commit."""
    address, _, commit = next(one for one in REPOSITORIES if one.startswith(f"{repository}@")).partition("@")
    path = folder / address.partition("/")[2]
    if not path.is_dir():
        raise BadInput(
            f"{path} is missing: git clone https://github.com/{address} {path} && git -C {path} checkout {commit}"
        )
    head = subprocess.run(["git", "-C", path, "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.stdout.strip() != commit:
        raise BadInput(f"{path} is at another commit than the adapters: git -C {path} checkout {commit}")
    return path


def pair(seed: int, *settings: str) -> Pair:
    """Train, or read from the store, the models of one pair."""
    seeds = (f"seed={seed}", f"forget_set.seed={seed}", f"dataset.seed={seed}")
    experiment: Experiment = build(composed(*DATA, *settings, *seeds))
    with contextlib.redirect_stdout(io.StringIO()):  # lines about the training
        stages = Stages(experiment, Store(store_folder(experiment.settings.store.dir)), Console())
        models = (stages.original().model, stages.retrained().model)
    data = experiment.data
    unseen = data.validation if data.spare is None else data.spare
    # no temperature can be fitted on a class that the retrained model has never seen
    kept = torch.isin(unseen.labels, data.retain.labels).nonzero().flatten()
    return Pair(seed, *models, hard(data.forget), hard(data.retain), unseen.take(kept), experiment.initialised)


def hard(samples: Samples) -> Samples:
    """Return samples with their labels as targets."""
    return samples.retarget(F.one_hot(samples.labels, samples.targets.shape[1]).float())


def row(name: str, grid: list, theirs: Callable, ours: Callable, tuning: list[Pair], fresh: list[Pair]) -> str:
    """Search both sides on the tuning pairs, run the winners on the fresh ones, and return a line of the table."""
    started = time.process_time()
    won = [best(side, grid, tuning) for side in (theirs, ours)]
    settings = " | ".join(f"{rate:g} × {length}" for rate, length in won)
    means, low, high = compared(theirs, ours, won, fresh)
    usual, *ends = compared(theirs, ours, [grid[0], grid[0]], fresh)
    seconds = time.process_time() - started
    return (
        f"| {name} | {settings} | {means} | {low:+.4f} to {high:+.4f} | {verdict(low, high)} "
        f"| {usual} | {ends[0]:+.4f} to {ends[1]:+.4f} | {seconds:.0f} |"
    )


def compared(theirs: Callable, ours: Callable, settings: list, fresh: list[Pair]) -> tuple[str, float, float]:
    """Run both sides, each at its setting; return both mean distances and the interval of ours minus theirs."""
    them, us = (
        [p.distance(run(side, p, *setting)) for p in fresh]
        for side, setting in zip((theirs, ours), settings, strict=True)
    )
    ends = interval([a - b for a, b in zip(us, them, strict=True)])
    return f"{statistics.fmean(them):.4f} | {statistics.fmean(us):.4f}", *ends


def best(side: Callable, grid: list[tuple[float, int]], tuning: list[Pair]) -> tuple[float, int]:
    """Return the setting with the least mean score on the tuning pairs; a model that is not finite has none."""
    scores = {setting: statistics.fmean(one.score(run(side, one, *setting)) for one in tuning) for setting in grid}
    return min(scores, key=lambda setting: math.inf if math.isnan(scores[setting]) else scores[setting])


def run(side: Callable, one: Pair, rate: float, epochs: int) -> nn.Module:
    """Run one side on a copy of the original, from the pair's seed, whatever ran before it."""
    copied = dataclasses.replace(one, original=copy.deepcopy(one.original))
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs were written for other versions
        torch.manual_seed(one.seed)
        return side(copied, rate, epochs).eval()


def interval(differences: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean by Student's t.

    >>> interval([0.0, 2.0])
    (-11.706..., 13.706...)
    """
    # numpy's deviation of numbers with one that is not finite is nan; that of `statistics` raises
    half = student.ppf(0.975, len(differences) - 1) * np.std(differences, ddof=1) / math.sqrt(len(differences))
    mean = statistics.fmean(differences)
    return float(mean - half), float(mean + half)


def verdict(low: float, high: float) -> str:
    """Return in words what an interval of ours minus theirs says.

    >>> verdict(-0.2, 0.1), verdict(0.1, 0.2), verdict(-0.2, -0.1)
    ('no worse beyond noise', 'worse', 'nearer')
    >>> verdict(math.nan, math.nan)
    'not finite'
    """
    if math.isnan(low + high):
        return "not finite"
    return "worse" if low > 0 else "nearer" if high < 0 else "no worse beyond noise"


class Nothing(types.ModuleType):
    """A stand-in for a module, a meter or a function: everything in it, and what its calls return, is itself."""

    def __init__(self, name: str = "nothing"):
        """Take the name of the module."""
        super().__init__(name)

    def __getattr__(self, name: str):
        """Return the stand-in, but no special attribute, which would change how Python treats it."""
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_, **__):
        """Return the stand-in, whatever it is called with."""
        return self

    __getitem__ = __add__ = __radd__ = __truediv__ = __call__

    def __iter__(self) -> Iterator:
        """Return two values, as a loss and an accuracy."""
        return iter((self, self))

    def __format__(self, spec: str) -> str:
        """Return no text for any format."""
        return ""

    def __mro_entries__(self, bases: tuple) -> tuple:
        """Let a class derive from a stand-in: it then has no base."""
        return ()


PLOTS = (
    *("matplotlib", "matplotlib.pyplot", "seaborn", "wandb", "pandas", "cv2"),
    *("torchvision", "torchvision.datasets", "torchvision.models", "torchvision.transforms", "torchvision.utils"),
)


REMEMBERED: dict[tuple, object] = {}
"""What a method computes once for a pair, whatever its rate."""


def remembered(key: tuple, compute: Callable[[], object]) -> object:
    """Return what `compute` returned the first time, by key."""
    if key not in REMEMBERED:
        REMEMBERED[key] = compute()
    return REMEMBERED[key]


@contextlib.contextmanager
def imported(folder: Path, module: str, *stand_ins: str) -> Iterator[types.ModuleType]:
    """Import a module of a clone on the processor, and forget it and all that it imported at the end.

    Several clones have a module `utils`, so that none may stay. `.cuda()` does nothing for as long as it lasts.
    """
    bar = types.ModuleType("tqdm")
    bar.tqdm = lambda steps, *_, **__: steps
    known = {name: Nothing(name) for name in (*PLOTS, *stand_ins)} | {"tqdm": bar}
    # what an earlier import left under a name of this clone's own would be taken for it
    own = {file.stem for file in folder.iterdir()} - {"benchmarks"}
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in own}
    here = lambda self, *_, **__: self  # noqa: E731
    with (
        mock.patch.dict(sys.modules, known),
        mock.patch.object(sys, "path", [str(folder), *sys.path]),
        mock.patch.object(Tensor, "cuda", here),
        mock.patch.object(nn.Module, "cuda", here),
        tempfile.TemporaryDirectory() as scratch,
    ):
        found = importlib.import_module(module)
        found.scratch = scratch
        yield found
    sys.modules.update(before)


def loader(samples: Samples, *more: Samples, triple: bool = False) -> DataLoader:
    """Return the loader that the authors' loops read: images and labels, or images, labels and labels."""
    parts = [TensorDataset(s.inputs, *[s.labels] * (1 + triple)) for s in (samples, *more)]
    return DataLoader(ConcatDataset(parts) if more else parts[0], batch_size=BATCH, shuffle=True)


def sgd(model: nn.Module, rate: float, decay: float = 5e-4) -> torch.optim.SGD:
    """Return the optimiser of most of the authors, over the parameters that are not frozen."""
    free = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.SGD(free, lr=rate, momentum=0.9, weight_decay=decay)


def tuned(model: nn.Module, batches: DataLoader, rate: float, epochs: int) -> nn.Module:
    """Fine-tune on hard labels: the loop of authors whose own is in a script that cannot be imported."""
    optimizer = sgd(model, rate)
    model.train()
    for inputs, labels in itertools.chain.from_iterable(itertools.repeat(batches, epochs)):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model


def optml(
    function: str, masked: bool = False, dataset: str = "cifar10"
) -> Callable[[Path, Pair, float, int], nn.Module]:
    """Return the adapter of a function of SalUn's or l1-sparse's authors, which share a loop.

    By the name of the dataset `RL` goes over the forget set and then over the retain set (cifar10), or mixes both
    (cifar100).
    """

    def unlearned(folder: Path, one: Pair, rate: float, epochs: int) -> nn.Module:
        place = folder / "Classification" if (folder / "Classification").is_dir() else folder
        loaders = {side: relabelled(getattr(one, side)) for side in ("forget", "retain")}
        np.random.seed(one.seed)  # by which the mixing branch draws labels
        args = argparse.Namespace(
            decreasing_lr="91,136", rewind_epoch=0, unlearn_lr=rate, momentum=0.9, weight_decay=5e-4,
            imagenet_arch=False, arch="mlp", unlearn=function, unlearn_epochs=epochs, warmup=0, print_freq=10**9,
            dataset=dataset, num_classes=one.forget.targets.shape[1], no_l1_epochs=0, alpha=5e-4, batch_size=BATCH,
        )  # fmt: skip
        more = {"mask": remembered((place, one.seed), lambda: salient(place, one, args))} if masked else {}
        with imported(place, "unlearn", "utils", "pruner", "trainer", "imagenet", "arg_parser") as module:
            getattr(module, function)(loaders, one.original, nn.CrossEntropyLoss(), args, **more)
        return one.original

    return unlearned


class Relabelled(Dataset):
    """Images whose labels the authors' code replaces through `targets`."""

    def __init__(self, samples: Samples):
        """Take images and labels."""
        self.inputs, self.targets = samples.inputs, samples.labels.numpy()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.inputs)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        """Return an image and its label."""
        return self.inputs[i], int(self.targets[i])


def relabelled(samples: Samples) -> DataLoader:
    """Return the loader of `loader` over images whose labels can be replaced."""
    return DataLoader(Relabelled(samples), batch_size=BATCH, shuffle=True)


def salient(place: Path, one: Pair, args: argparse.Namespace) -> dict[str, Tensor]:
    """Return SalUn's mask of the most salient half of the weights."""
    with imported(place, "generate_mask", "utils", "arg_parser", "unlearn") as module:
        args.save_dir = module.scratch
        module.save_gradient_ratio({"forget": loader(one.forget)}, one.original, nn.CrossEntropyLoss(), args)
        return torch.load(Path(module.scratch) / "with_0.5.pt")


def their_scrub(folder: Path, one: Pair, rate: float, epochs: int) -> nn.Module:
    """Run SCRUB's own passes, in their order, with their falling rate."""
    student_model, epochs = copy.deepcopy(one.original), 2 * epochs
    optimizer = torch.optim.Adam(student_model.parameters(), lr=rate)
    opt = argparse.Namespace(
        distill="kd", gamma=1, alpha=0.5, beta=0, print_freq=10**9,
        sgda_learning_rate=rate, lr_decay_epochs=[int(k * epochs) for k in (0.5, 0.8, 0.9)], lr_decay_rate=0.1,
    )  # fmt: skip
    helper = "thirdparty.repdistiller.helper"
    with imported(folder, f"{helper}.loops") as loops:
        distance = importlib.import_module("thirdparty.repdistiller.distiller_zoo.KD").DistillKL(2.0)
        fall = importlib.import_module(f"{helper}.util").adjust_learning_rate
        losses, both = [nn.CrossEntropyLoss(), distance, distance], [student_model, one.original]
        for epoch in range(1, epochs + 1):
            fall(epoch, opt, optimizer)
            if epoch <= 3:
                loops.train_distill(
                    epoch, loader(one.forget), both, None, losses, optimizer, opt, "maximize", True
                )
            loops.train_distill(epoch, loader(one.retain), both, None, losses, optimizer, opt, "minimize", True)
    return student_model


def their_neggrad(folder: Path, one: Pair, rate: float, epochs: int) -> nn.Module:
    """Run NegGrad+ of SCRUB's authors."""
    optimizer = sgd(one.original, rate)
    batches, entropy = (loader(one.retain), loader(one.forget)), nn.CrossEntropyLoss()
    with imported(folder, "thirdparty.repdistiller.helper.loops") as loops:
        for epoch in range(epochs):
            loops.train_negrad(epoch, *batches, one.original, entropy, optimizer, 0.95, None, quiet=True)
    return one.original


def their_bad_teacher(folder: Path, one: Pair, rate: float, epochs: int) -> nn.Module:
    """Run the bad teacher's own function."""
    model = copy.deepcopy(one.original)
    sets = [TensorDataset(s.inputs, s.labels) for s in (one.retain, one.forget)]
    with imported(folder, "unlearn") as module:
        module.blindspot_unlearner(
            model, one.initialised("untrained"), one.original, *sets,
            epochs=epochs, lr=rate, batch_size=BATCH, num_workers=0, device="cpu",
        )  # fmt: skip
    return model


def their_boundary(folder: Path, one: Pair, rate: float, epochs: int) -> nn.Module:
    """Run boundary shrink's own function, with the range of these images in place of CIFAR's constants."""
    low, high = value_range(one.forget, one.retain)
    exact = torch.optim.SGD
    with imported(folder, "boundary_unlearning", "utils", "trainer", "models") as module:
        module.FGSM.normalize = lambda self, x: x * (high - low) + low
        module.FGSM.inverse_normalize = lambda self, x: (x - low) / (high - low)
        # the rate is written into the function
        with mock.patch.object(torch.optim, "SGD", lambda p, lr, momentum: exact(p, lr=rate, momentum=momentum)):
            return module.boundary_shrink(
                one.original, loader(one.forget), None, None, None, "cpu", False,
                poison_epoch=2 * epochs, path=f"{module.scratch}/",
            )  # fmt: skip


def their_ssd(folder: Path, one: Pair, alpha: float, epochs: int) -> nn.Module:
    """Run selective synaptic dampening's own class, in its batches of 64 by whose mean gradient it squares."""
    settings = dict.fromkeys(("lower_bound", "exponent", "magnitude_diff", "forget_threshold"), 1)
    settings |= {"min_layer": -1, "max_layer": -1, "dampening_constant": 1, "selection_weighting": alpha}
    with imported(folder / "src", "ssd") as module:
        dampener = module.ParameterPerturber(one.original.eval(), sgd(one.original, 0.1), "cpu", settings)
        sets = loader(one.forget, triple=True), loader(one.retain, one.forget, triple=True)
        of_forget, of_all = (dampener.calc_importance(batches) for batches in sets)
        dampener.modify_weight(of_all, of_forget)
    return one.original


def their_sfron(folder: Path, one: Pair, rate: float, epochs: int) -> nn.Module:
    """Run SFRon's own class, for `epochs` passes over the retain set in place of 1,500 steps."""
    batches = {"forget_train": loader(one.forget), "retain_train": loader(one.retain)}
    batches |= {"forget_valid": None, "retain_valid": None}
    args = argparse.Namespace(num_classes=one.forget.targets.shape[1], seed=one.seed)
    stand_ins = ("utils", "trainer", "models", "dataset")
    with imported(folder / "Classification", "unlearn.sfron", *stand_ins) as module:
        method = module.SFRon(one.original, nn.CrossEntropyLoss(), module.scratch, args)
        method.n_iters, method.retain_lr, method.eval = epochs * len(batches["retain_train"]), rate, False
        method.prepare_unlearn(batches)
        return method.get_unlearned_model()


class Normalised(nn.Module):
    """A network that reads pixels from 0 to 1."""

    def __init__(self, model: nn.Module, low: Tensor, high: Tensor):
        """Take the network and the range of its own inputs."""
        super().__init__()
        self.model, self.low, self.high = model, low, high

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (n, k)."""
        return self.model(pixels * (self.high - self.low) + self.low)


def their_amun(folder: Path, one: Pair, rate: float, epochs: int) -> nn.Module:
    """Fine-tune on the neighbours that AMUN's own attack returns, and on all of the training set."""
    neighbours = remembered((folder, one.seed), lambda: attacked(folder, one))
    return tuned(one.original, loader(one.retain, one.forget, neighbours), rate, epochs)


def attacked(folder: Path, one: Pair) -> Samples:
    """Return the forget set's neighbours by AMUN's own attack, which works on pixels from 0 to 1."""
    low, high = value_range(one.forget, one.retain)
    pixels = (one.forget.inputs - low) / (high - low)
    with imported(folder, "pgdl2_modified") as module:
        attack = module.PGDL2(Normalised(one.original, low, high).eval())
        images, _, labels, *_ = attack.forward(pixels, one.forget.labels)
    return Samples(images.detach() * (high - low) + low, labels, one.forget.targets)


def their_layers(again: bool) -> Callable[[Path, Pair, float, int], nn.Module]:
    """Return the adapter of CF-k, or of EU-k, which draws its last layer again; k = 1."""

    def unlearned(folder: Path, one: Pair, rate: float, epochs: int) -> nn.Module:
        with imported(folder / "src", "methods", "learn", "utils") as module:
            module.resetFinalResnet(one.original, 1, "mlp", Nothing(), reinit=again)
        model = tuned(one.original, loader(one.retain), rate, epochs)
        return model.requires_grad_(True)

    return unlearned


def fitted(
    one: Pair,
    rate: float,
    samples: int,
    streams: int = 1,
    decay: float = 5e-4,
    adam: bool = False,
    batch: int = BATCH,
) -> Fit:
    """Return our loop for as many gradient samples as theirs takes, at a constant rate."""
    kind = functools.partial(torch.optim.SGD, momentum=0.9, weight_decay=decay)
    return Fit(
        epochs=1,
        lengths=(round(samples / batch / streams),),
        batch_size=batch,
        optimizer=functools.partial(torch.optim.Adam, lr=rate) if adam else functools.partial(kind, lr=rate),
        schedule=None,
        clip_norm=None,
        precision="float32",
        seed=one.seed,
        name="authors",
    )


def ours(algorithm: Callable, over: str = "retain", streams: int = 1, **settings) -> Callable:
    """Return our side: an algorithm on hard labels, for so many passes over the sets that `over` names."""

    def unlearned(one: Pair, rate: float, epochs: int) -> nn.Module:
        sizes = {"retain": len(one.retain), "forget": len(one.forget)}
        samples = epochs * sum(sizes[name] for name in over.split("+"))
        return algorithm(one.original, one.forget, one.retain, fitted(one, rate, samples, streams), **settings)

    return unlearned


def mixed(one: Pair, rate: float, epochs: int, decay: float = 0.0, **settings) -> tuple[Fit, float]:
    """Return our loop, and α, in place of theirs over batches of both sets, in as many steps and samples.

    A step of ours reads half a batch from each set. By α = |D_r| / |D_f| the mean losses of both sets weigh as in
    a pass over both. The rate is that of a mean over both sets, as theirs is.
    """
    alpha, samples = len(one.retain) / len(one.forget), epochs * (len(one.retain) + len(one.forget))
    # Adam's step has the same length whatever the loss is multiplied by
    scale = 1 if settings.get("adam") else 1 + alpha
    return fitted(one, rate / scale, samples, 2, decay * scale, batch=BATCH // 2, **settings), alpha


def our_relabel(one: Pair, rate: float, epochs: int, algorithm: Callable = relabel, **settings) -> nn.Module:
    """Run relabel or salun on random wrong labels."""
    classes = one.forget.targets.shape[1]
    wrong = wrong_labels(one.forget.labels, classes, generator(one.seed, "authors"))
    forget = one.forget.retarget(F.one_hot(wrong, classes).float())
    fit, alpha = mixed(one, rate, epochs, 0.0 if algorithm is salun else 5e-4)
    return algorithm(one.original, forget, one.retain, fit, alpha=alpha, **settings)


def our_bad_teacher(one: Pair, rate: float, epochs: int) -> nn.Module:
    """Run relabel from an untrained model on the forget set and the original on the retain set."""
    forget = one.forget.retarget(predict(one.initialised("untrained"), one.forget.inputs).softmax(1))
    retain = one.retain.retarget(predict(one.original, one.retain.inputs).softmax(1))
    fit, alpha = mixed(one, rate, epochs, adam=True)
    return relabel(one.original, forget, retain, fit, alpha=alpha)


def our_scrub(one: Pair, rate: float, epochs: int) -> nn.Module:
    """Run SCRUB from the original's own predictions."""
    forget = one.forget.retarget(predict(one.original, one.forget.inputs).softmax(1))
    fit = dataclasses.replace(fitted(one, rate, 0, adam=True), epochs=2 * epochs, lengths=None)
    return scrub(one.original, forget, one.retain, fit, alpha=0.5, gamma=1.0, temperature=2.0, max_passes=3)


def our_boundary(one: Pair, rate: float, epochs: int) -> nn.Module:
    """Run boundary shrink with the authors' step, a tenth of the range."""
    low, high = value_range(one.forget, one.retain)
    fit = fitted(one, rate, 2 * epochs * len(one.forget), decay=0.0)
    return boundary_shrink(one.original, one.forget, one.retain, fit, epsilon=0.1 * float((high - low).max()))


def our_ssd(one: Pair, alpha: float, epochs: int) -> nn.Module:
    """Run selective synaptic dampening, which has no length."""
    return ssd(one.original, one.forget, one.retain, fitted(one, 0.1, 0), alpha=alpha, lam=1.0)


def our_euk(one: Pair, rate: float, epochs: int) -> nn.Module:
    """Run EU-k with k = 1."""
    fit = fitted(one, rate, epochs * len(one.retain))
    fresh = functools.partial(one.initialised, "euk")
    return euk(one.original, one.forget, one.retain, fit, initialise=fresh, layers=1)


SALUN, SPARSE = "OPTML-Group/Unlearn-Saliency", "OPTML-Group/Unlearn-Sparse"
SCRUB, LAYERS = "meghdadk/SCRUB", "shash42/Evaluating-Inexact-Unlearning"
STEEP, COMMON = (1e-2, 1e-3, 1e-4, 1e-5), (1e-2, 3e-2, 3e-3, 1e-3)
METHODS = {
    "scrub": Method(SCRUB, their_scrub, our_scrub, (5e-4, 2e-3, 1e-4, 2e-5)),
    "neggrad_plus": Method(
        SCRUB, their_neggrad, ours(neggrad_plus, "retain+retain", 2, alpha=0.95), (1e-2, 3e-3, 1e-3, 3e-4)
    ),
    "bad_teacher": Method(
        "vikram2000b/bad-teaching-unlearning", their_bad_teacher, our_bad_teacher, (1e-4, 1e-3, 1e-5, 1e-6)
    ),
    "gradasc": Method(SALUN, optml("GA"), ours(gradasc, "forget"), STEEP),
    "relabel": Method(SALUN, optml("RL"), our_relabel, (1e-2, 3e-3, 1e-3, 1e-4)),
    "salun": Method(
        SALUN,
        optml("RL", masked=True),
        functools.partial(our_relabel, algorithm=salun, share=0.5),
        (1e-2, 3e-3, 1e-3, 1e-4),
    ),
    "relabel_mixed": Method(SALUN, optml("RL", dataset="cifar100"), our_relabel, (1e-2, 3e-3, 1e-3, 1e-4)),
    "salun_mixed": Method(
        SALUN,
        optml("RL", masked=True, dataset="cifar100"),
        functools.partial(our_relabel, algorithm=salun, share=0.5),
        (1e-2, 3e-3, 1e-3, 1e-4),
    ),
    "finetune": Method(SPARSE, optml("FT"), ours(finetune), (*COMMON[:3], 1e-1)),
    "l1_sparse": Method(SPARSE, optml("FT_l1"), ours(l1_sparse, alpha=5e-4), (*COMMON[:3], 1e-1)),
    "boundary_shrink": Method(
        "TY-LEE-KR/Boundary-Unlearning-Code", their_boundary, our_boundary, (1e-5, 1e-4, 1e-3, 1e-2)
    ),
    "ssd": Method(
        "if-loops/selective-synaptic-dampening", their_ssd, our_ssd, (10.0, 20.0, 50.0, 5.0, 2.0, 1.5), (1,)
    ),
    "sfron": Method(
        "K1nght/Unified-Unlearning-w-Remain-Geometry",
        their_sfron,
        ours(sfron, "retain+retain", 2, alpha=5.0, lam=0.5, gamma=1.0),
        COMMON,
    ),
    "amun": Method("Ali-E/AMUN", their_amun, ours(amun, "retain+forget+forget", epsilon=0.2, steps=5), COMMON),
    "cfk": Method(LAYERS, their_layers(again=False), ours(cfk, layers=1), (1e-2, 3e-2, 3e-3, 1e-1)),
    "euk": Method(LAYERS, their_layers(again=True), our_euk, (1e-2, 3e-2, 3e-3, 1e-1)),
}
"""Rows of the table. Settings that are no rate are the authors' defaults on both sides."""


if __name__ == "__main__":
    call(main, __doc__)
