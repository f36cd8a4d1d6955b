"""Default hyper-parameters of every arm (algorithm × targets), all found with one budget.

`python benchmarks/search.py [architecture=mlp] [forget_set=random] [mu_algo=a,b] [targets=c,d] [trials=12]
[steps=600] [settings]` searches the arms that have no entry in conf/tuned yet and adds one for each; delete an
entry to search its arm again. `python benchmarks/search.py table` prints the entries in Markdown.

An arm gets `trials` tries of Optuna's TPE, the first of them our first guess, on run seeds 1000 and 1001 and
forget set 1000, which no study uses. The training set is that of the benchmarks, 5,700 images of Fashion-MNIST,
and the validation set is made larger, 2,443 images, to tell arms apart. The score, to be small, is JS to the
retrained model on the forget set plus that on the validation set, of the model that `unlearn.stop=matched` leaves:
between two evaluations nothing is interpolated, or a step over a cliff would look like a point on a slope. A run
that does not get there is scored where it came nearest, and 0.1 is added for every point of forget accuracy that
was left to be forgotten beyond two; one that diverges has 3. Test images play no part.
"""

import copy
import dataclasses
import functools
import io
import sys
from pathlib import Path

import filelock
import optuna
import torch
from glance import composed
from targets import RECIPE, options
from usage import call

from softtargets.config import tuned
from softtargets.console import Console
from softtargets.errors import BadInput
from softtargets.evaluation.evaluate import evaluate
from softtargets.execution import pipeline
from softtargets.execution.experiment import Experiment, build
from softtargets.execution.models import Stages
from softtargets.execution.target_sets import target_sets
from softtargets.layout import CONF
from softtargets.split import Sampled, sampled
from softtargets.store import Store, store_folder

TABLES = CONF / "tuned"
SEEDS = (1000, 1001)
DATA = (*RECIPE, "dataset.train_size=8143", "dataset.validation_fraction=0.3", "forget_set.seed=1000")
MOST = (
    "unlearn.stop=matched",
    "unlearn.looks=1",  # the first rule, by which the tables were made
    "unlearn.evaluate_every=10",
    "unlearn.evaluate_samples=600",
)
"""How a trial is run: to the matched point, which has to come within `steps`."""
RATE = ("log", 3e-4, 0.1)
SPACE = {
    "boundary_shrink": {"lr": RATE, "epsilon": ("log", 0.03, 1.0)},
    "finetune": {"lr": RATE},
    "gradasc": {"lr": RATE},
    "graddiff": {"lr": RATE, "alpha": ("log", 0.3, 10.0)},
    "l1_sparse": {"lr": RATE, "alpha": ("log", 1e-5, 1e-3)},
    "neggrad_plus": {"lr": RATE, "alpha": ("linear", 0.5, 0.99)},
    "npo": {"lr": RATE, "alpha": ("log", 0.3, 10.0), "beta": ("log", 0.1, 3.0)},
    "relabel": {"lr": RATE, "alpha": ("log", 0.3, 10.0)},
    "rmu": {"lr": ("log", 3e-3, 1.0), "kappa": ("log", 1.0, 20.0), "alpha": ("log", 1.0, 100.0)},
    "salun": {"lr": RATE, "alpha": ("log", 0.3, 10.0), "share": ("linear", 0.1, 0.9)},
    "scrub": {"lr": RATE, "alpha": ("log", 0.05, 3.0), "max_passes": ("whole", 1, 5)},
    "ssd": {"alpha": ("log", 1.0, 8.0), "lam": ("log", 0.01, 1.0)},
    "ugradsl_plus": {"lr": RATE, "alpha": ("linear", 0.5, 0.99), "beta": ("linear", 0.0, 1.0)},
    "unsir": {"lr": ("log", 1e-4, 2e-2)},
}
"""What is searched for each algorithm: a scale and its bounds."""
BLIND = ("boundary_shrink", "finetune", "l1_sparse", "rmu")
"""Algorithms to which forget targets do not matter: searched once, and the same for all."""


def main(
    *,
    architecture: str = "mlp",
    forget_set: str = "random",
    mu_algo: str = "",
    targets: str = "",
    trials: str = "12",
    steps: str = "600",
    **settings: str,
) -> None:
    """Search every arm that has no entry yet."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = TABLES / "fashion_mnist" / architecture / f"{forget_set}.yaml"
    presets = targets.split(",") if targets else options("targets")
    for algorithm in mu_algo.split(",") if mu_algo else SPACE:
        chosen = (f"architecture={architecture}", f"forget_set={forget_set}", f"mu_algo={algorithm}")
        chosen += tuple(f"{name}={value}" for name, value in settings.items())
        for preset in (tuned.ANY_TARGETS,) if algorithm in BLIND else presets:
            if not tuned.entry(tuned.read_table(file) or {}, algorithm, preset):
                used = "hard" if preset == tuned.ANY_TARGETS else preset
                asked = (*DATA, *chosen, f"targets={used}", "tuned=none", *MOST, f"unlearn.max_steps={steps}")
                search(file, algorithm, preset, asked, int(trials))


def search(file: Path, algorithm: str, targets: str, overrides: tuple[str, ...], trials: int) -> None:
    """Search one arm and add its entry to a table; an arm that cannot be run is named and passed over."""
    try:
        runs = [Run(*overrides, f"seed={seed}") for seed in SEEDS]
    except BadInput as error:
        print(f"{algorithm}/{targets}: {error}", flush=True)
        return
    space = SPACE[algorithm]
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5))
    study.enqueue_trial({name: runs[0].first(name) for name in space})
    study.optimize(functools.partial(tried, space, runs), n_trials=trials)
    values = {
        name: float(f"{value:.2g}") if isinstance(value, float) else value
        for name, value in sorted(study.best_params.items())
    }
    scores = {"score": round(study.best_value, 4), "before": round(study.trials[0].value, 4)}
    entry = {"values": values, **scores, "trials": trials}
    add(file, algorithm, targets, entry)
    print(f"{file.parent.name}/{file.stem}/{algorithm}/{targets}: {entry}", flush=True)


def add(file: Path, algorithm: str, targets: str, entry: dict) -> None:
    """Add an arm's entry to a table, to which a search of other arms may add at the same time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(file.with_name(f".{file.name}.lock")):
        table = tuned.read_table(file) or {}
        arms = table.get(algorithm, {}) | {targets: [entry]}
        tuned.write(file, table | {algorithm: arms})


def tried(space: dict, runs: list["Run"], trial: optuna.Trial) -> float:
    """Draw values and return their mean score over the seeds."""
    values = {}
    for name, (scale, low, high) in space.items():
        draw = trial.suggest_int if scale == "whole" else trial.suggest_float
        values[name] = draw(name, low, high, **{"log": True} if scale == "log" else {})
    return sum(run.score(values) for run in runs) / len(runs)


class Run:
    """One arm at one seed: everything up to the unlearning is made once."""

    def __init__(self, *overrides: str):
        self.config = composed(*overrides)
        self.console = Console(io.StringIO())
        experiment = build(self.config)
        stages = Stages(experiment, Store(store_folder(experiment.settings.store.dir)), self.console)
        self.original, self.retrained = stages.original(), stages.retrained()
        self.reference = evaluate(stages.logits(self.retrained), experiment.data)
        self.targets = target_sets(stages, self.original, self.retrained)
        self.monitored = followed(experiment)

    def node(self, config: dict, name: str) -> dict:
        """Return where in a config the value called `name` stands."""
        return config["unlearn"]["optimizer"] if name == "lr" else config["mu_algo"]

    def first(self, name: str) -> float:
        """Return the value called `name` before the search."""
        return self.node(self.config, name)[name]

    def score(self, values: dict) -> float:
        """Unlearn with these values and score what comes of it."""
        config = copy.deepcopy(self.config)
        for name, value in values.items():
            self.node(config, name)[name] = value
        experiment = dataclasses.replace(build(config), monitored=self.monitored)
        way = pipeline.new_trajectory(experiment, self.reference)
        fit, unlearned, _ = pipeline.unlearn(experiment, self.original.model, self.targets, way, self.console)
        if not way.columns["step"]:  # an algorithm without a loop has no way but its end
            way(unlearned, 0)
        return scored(way.columns, fit.account.diverged)


def followed(experiment: Experiment) -> Sampled:
    """Return what a run is measured on along its way, with little of the sets that are not scored."""
    little = {name: getattr(experiment.data, name).take(torch.arange(100)) for name in ("retain", "test")}
    data = dataclasses.replace(experiment.data, **little)
    return sampled(data, experiment.unlearning.evaluate_samples, experiment.config["forget_set"]["seed"])


def scored(columns: dict[str, list], diverged: bool) -> float:
    """Score a trajectory; see above."""
    if diverged or None in columns["forget_acc"]:
        return 3.0
    gaps = [forget - unseen for forget, unseen in zip(columns["forget_acc"], columns["unseen_acc"], strict=True)]
    there = next((row for row, gap in enumerate(gaps) if gap <= 0), gaps.index(min(gaps)))
    left = max(0.0, gaps[there] - 0.02)
    return columns["js_forget"][there] + columns["js_validation"][there] + 10 * left


def table() -> None:
    """Print the entries of conf/tuned."""
    head = ("dataset", "architecture", "forget set", "algorithm", "targets", "score", "before", "values")
    print(f"| {' | '.join(head)} |\n|{len(head) * '---|'}")
    for name in tuned.names(TABLES):
        for algorithm, arms in tuned.read_table(TABLES / f"{name}.yaml").items():
            for preset, (entry,) in arms.items():
                values = ", ".join(f"{setting} {value:g}" for setting, value in entry["values"].items())
                scores = f"{entry['score']:.4f} | {entry['before']:.4f}"
                print(f"| {' | '.join((*name.split('/'), algorithm, preset))} | {scores} | {values} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["table"]:
        table()
    else:
        call(main, __doc__)
