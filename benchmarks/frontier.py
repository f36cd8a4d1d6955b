"""Optimiser, rate and batch of every arm of `experiment=frontier`, at every budget, and the table of its results.

`python benchmarks/frontier.py [settings]` tries three optimisations for each arm and budget, each as the mean over
the tuning seeds 1000 and 1001, which no study uses, and prints a table in Markdown; the best is in bold. A setting
such as `training=mlp_efficient` goes to every run. The score, to be small, is JS_T to the retrained model on the
forget set (in nats, each model at its own temperature) plus 10 times the accuracy that the model has lost against
the retrained one on unseen images, beyond a point. On these temperatures are fitted too; test images play no part.

`python benchmarks/frontier.py table [standing.csv]` prints, from what the report left, every arm by cost.
"""

import csv
import io
import statistics
import sys
from pathlib import Path

import torch
from glance import composed
from usage import call

from softtargets.console import Console
from softtargets.evaluation.faces import Calibration, Face, js_t
from softtargets.execution import pipeline
from softtargets.execution.algorithm_inputs import with_inputs
from softtargets.execution.experiment import Experiment, build
from softtargets.execution.models import Stages
from softtargets.execution.target_sets import target_sets
from softtargets.fit import predict
from softtargets.store import Store, store_folder

SEEDS = (1000, 1001)
COSTS = (0.05, 0.1, 0.02, 0.2)
DATA = ("dataset=fashion_mnist", "dataset.train_size=6000", "tuned=none", "unlearn.evaluate_every=null")
ADAMW = "unlearn=retrain +unlearn.optimizer.fused=true"
SOFT = "mu_algo=relabel targets=out_of_fold"


def tries(arm: str, batch_size: int, *rates: float) -> list[str]:
    """Return the words of an arm with each rate."""
    return [f"{arm} unlearn.batch_size={batch_size} unlearn.optimizer.lr={rate:g}" for rate in rates]


ARMS = {
    "retrain, batch 16": tries(f"mu_algo=retrain {ADAMW}", 16, 1e-3, 2e-3, 4e-3),
    "retrain, batch 32": tries(f"mu_algo=retrain {ADAMW}", 32, 1e-3, 2e-3, 4e-3),
    "retrain, batch 64": tries(f"mu_algo=retrain {ADAMW}", 64, 2e-3, 4e-3, 8e-3),
    "finetune": tries(f"mu_algo=finetune {ADAMW}", 32, 5e-4, 1e-3, 2e-3),
    "relabel": [
        *tries(SOFT, 32, 0.03, 0.1),
        *tries(f"{SOFT} {ADAMW}", 32, 1e-3),
    ],
}
"""What is tried for each arm, as words of a command line."""


def main(*settings: str) -> None:
    """Print the table."""
    print("| arm | cost | settings | score | JS_T | accuracy lost |\n|---|---|---|---|---|---|", flush=True)
    models = [Models(*settings, *seeded(seed)) for seed in SEEDS]
    for cost in COSTS:
        for arm, words in ARMS.items():
            rows = [row(models, (*settings, *one.split(), f"unlearn.cost={cost}")) for one in words]
            best = min(rows)
            for one, values in zip(words, rows, strict=True):
                cells = [f"{value:.4f}" for value in values]
                cells[0] = f"**{cells[0]}**" if values is best else cells[0]
                print(f"| {arm} | {cost} | `{one}` | {' | '.join(cells)} |", flush=True)


def seeded(seed: int) -> tuple[str, ...]:
    """Return the words of a pair."""
    return f"seed={seed}", f"dataset.seed={seed}", f"forget_set.seed={seed}"


def row(models: list["Models"], words: tuple[str, ...]) -> tuple[float, float, float]:
    """Return score, JS_T and the accuracy lost against the retrained model, each as a mean over the seeds."""
    distances, lost = zip(*(one.tried(words) for one in models), strict=True)
    distance, lost = statistics.mean(distances), statistics.mean(lost)
    return distance + 10 * max(0, lost - 0.01), distance, lost


class Models:
    """The models of one seed, which all arms share."""

    def __init__(self, *words: str):
        self.words = words
        self.experiment = build(composed(*DATA, *words, *SOFT.split()))
        self.stages = self.stages_of(self.experiment)
        self.original, self.retrained = self.stages.original(), self.stages.retrained()
        data = self.experiment.data
        self.sets = {"forget": data.forget, "validation": data.validation, "spare": data.spare}
        self.calibration = Calibration.of(data)
        self.goal = self.face(self.retrained.model)

    def stages_of(self, experiment: Experiment) -> Stages:
        """Return an experiment's stages, which print nothing."""
        return Stages(experiment, Store(store_folder(experiment.settings.store.dir)), Console(io.StringIO()))

    def face(self, model: torch.nn.Module) -> Face:
        """Return predictions and temperatures of a model."""
        logits = {name: predict(model, samples.inputs) for name, samples in self.sets.items()}
        return Face(logits, self.calibration.temperatures(logits), {"acc": self.accuracy(logits)})

    def accuracy(self, logits: dict[str, torch.Tensor]) -> float:
        """Return the accuracy on the images on which temperatures are fitted."""
        ((fold, labels),) = zip(self.calibration.folds, self.calibration.labels, strict=True)
        unseen = torch.cat([logits[name][positions] for name, positions in fold.items()])
        return (unseen.argmax(1) == labels).double().mean().item()

    def tried(self, words: tuple[str, ...]) -> tuple[float, float]:
        """Unlearn by these words; return JS_T and the accuracy lost against the retrained model."""
        experiment = build(composed(*DATA, *words, *self.words))
        stages = self.stages_of(experiment)
        targets = target_sets(stages, self.original, self.retrained)
        experiment, targets = with_inputs(experiment, stages, self.original, self.retrained, targets)
        trajectory = pipeline.Trajectory(experiment.monitored.split, {}, 0)
        _, model, _ = pipeline.unlearn(experiment, self.original.model, targets, trajectory, stages.console)
        face = self.face(model)
        return js_t("forget", face, self.goal), self.goal.metrics["acc"] - face.metrics["acc"]


STEPLESS = 0.005
"""Most that an arm without steps costs: a prediction of some images."""
HEAD = (
    "arm",
    "n",
    "cost",
    "in seconds",
    "JS_T",
    "way left",
    "disagreement",
    "MIA gap",
    "test accuracy",
    "utility",
)
AGAINST = ("doing nothing", "early stopping", "best retraining")


def table(file: str = "docs/study/frontier/standing.csv") -> None:
    """Print the arms of each setting by cost; differences are of JS_T, in bold where p < .05 after Holm."""
    with Path(file).open() as opened:
        lines = list(csv.DictReader(opened))
    for setting in sorted({line["setting"] for line in lines}):
        mine = [line for line in lines if line["setting"] == setting]
        print(f"\n{setting}\n\n| {' | '.join((*HEAD, *AGAINST))} |\n{'|---' * len((*HEAD, *AGAINST))}|")
        arms = {line["arm"]: [one for one in mine if one["arm"] == line["arm"]] for line in mine}
        for rows in sorted(arms.values(), key=lambda rows: (budget(rows[0]), short(rows[0]["arm"]))):
            print(f"| {' | '.join(cells(rows, arms))} |")


def budget(row: dict) -> float:
    """Return the least budget that pays for what an arm spent; 0 for an arm that takes no step."""
    spent = float(row["share"])
    return min(cost for cost in (0, *COSTS) if spent <= cost + (0 if cost else STEPLESS))


def short(arm: str) -> str:
    """Return the name of an arm without settings, but the batch size of a retraining."""
    name, *words = arm.split()
    sizes = [word.split("=")[1] for word in words if word.startswith("unlearn.batch_size=")]
    kinds = [word for word in words if "=" not in word]
    return " ".join([name, *kinds, *(f"batch {size}" for size in sizes if name == "retrain")])


def cells(rows: list[dict], arms: dict[str, list[dict]]) -> list[str]:
    """Return an arm's row of the table."""
    one, faces = rows[0], {row["face"]: row for row in rows}
    first = faces["js_t_forget"]
    against = {row["reference"]: row for row in rows if row["face"] == "js_t_forget"}
    equal = [name for name in against if name.endswith(" at equal cost")]
    nearest = min(equal, key=lambda name: js_t_of(arms[name.removesuffix(" at equal cost")]), default="")
    return [
        short(one["arm"]),
        one["n"],
        *(f"{float(one[name]):.3f}" for name in ("share", "share_seconds")),
        f"{float(first['mean']):.4f}",
        f"{float(first['left']):.2f}",
        f"{float(faces['disagreement_forget']['mean']):.3f}",
        f"{abs(float(faces['mia_gap']['mean'])):.4f}",
        f"{float(one['test_acc_gap_low']):+.3f}" if one["test_acc_gap_low"] else "",
        {"True": "kept", "False": "lost", "": "unknown"}[one["utility_kept"]],
        *(difference(against.get(name)) for name in ("doing nothing", "early stopping", nearest)),
    ]


def js_t_of(rows: list[dict]) -> float:
    """Return an arm's mean JS_T."""
    return next(float(row["mean"]) for row in rows if row["face"] == "js_t_forget")


def difference(row: dict | None) -> str:
    """Return the arm less the reference with its 95 % interval; below 0 the arm is nearer to retraining."""
    if row is None or not row["difference_low"]:
        return "–"
    numbers = [float(row[name]) for name in ("difference", "difference_low", "difference_high")]
    shown = "{:+.4f} [{:+.4f}, {:+.4f}]".format(*numbers)
    return f"**{shown}**" if row["p_holm"] and float(row["p_holm"]) < 0.05 else shown


if __name__ == "__main__":
    if sys.argv[1:2] == ["table"]:
        table(*sys.argv[2:])
    else:
        call(main, __doc__)
