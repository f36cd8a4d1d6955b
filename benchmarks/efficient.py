"""Search for the `efficient` recipe: the fewest passes over the training set that train as well as any.

`python benchmarks/efficient.py mlp|cnn [settings]` trains on 5,700 images of Fashion-MNIST, as many as a study of
6,000 has, over passes, batch sizes and peak rates, with seeds from 1000 on, which no study uses. It prints a table
in Markdown: accuracy and log-likelihood on 2,443 validation images a seed. A recipe is as good as the best where
both are within one standard error of the best ones; of these, the one with the fewest passes is called efficient,
and of several the likeliest. Models stay in the store: called again, it goes on where it was stopped.
"""

import io
import itertools
import math
import sys
from typing import NamedTuple

import torch
from glance import composed
from usage import call

from softtargets.console import Console
from softtargets.execution.experiment import build
from softtargets.execution.models import Stages
from softtargets.store import Store, folder

DATA = ("dataset=fashion_mnist", "dataset.train_size=8143", "dataset.validation_fraction=0.3")
PASSES = {"mlp": (3, 4, 6, 8, 12), "cnn": (2, 3, 4, 6, 8)}
BATCHES = {"mlp": (32, 64, 128, 256), "cnn": (32, 64, 128)}
PEAKS = (1e-3, 2e-3, 4e-3)
SEEDS = {"mlp": (1000, 1001, 1002), "cnn": (1000, 1001)}


class Recipe(NamedTuple):
    """What is searched over; None is the value of the architecture's own recipe."""

    passes: int | None
    batch: int | None
    peak: float | None

    def words(self) -> list[str]:
        """Return the settings as they are typed."""
        names = {"training.epochs": self.passes, "training.batch_size": self.batch}
        names |= {"training.schedule.peak": self.peak}
        return [f"{name}={value}" for name, value in names.items() if value is not None]


class Measured(NamedTuple):
    """A recipe's validation accuracy and log-likelihood in nats, with their standard errors over all images."""

    recipe: Recipe
    passes: int
    accuracy: float
    accuracy_se: float
    likelihood: float
    likelihood_se: float


def main(architecture: str, *settings: str) -> None:
    """Print the table and name the efficient recipe."""
    grid = itertools.product(PASSES[architecture], BATCHES[architecture], PEAKS)
    rows = []
    print(
        "| passes | batch | peak rate | validation accuracy | log-likelihood |\n|---|---|---|---|---|", flush=True
    )
    for recipe in [Recipe(None, None, None), *itertools.starmap(Recipe, grid)]:
        rows.append(measured(architecture, recipe, settings))
        print(line(rows[-1]), flush=True)
    print(f"\nEfficient: {' '.join(efficient(rows).recipe.words()) or 'the recipe as it is'}")


def measured(architecture: str, recipe: Recipe, settings: tuple[str, ...]) -> Measured:
    """Train by a recipe with every seed, and pool the validation images."""
    right, likelihoods = [], []
    for seed in SEEDS[architecture]:
        words = (f"seed={seed}", f"dataset.seed={seed}", f"architecture={architecture}", *recipe.words())
        experiment = build(composed(*DATA, *settings, *words))
        stages = Stages(experiment, Store(folder(experiment.settings.store.dir)), Console(io.StringIO()))
        logits, labels = stages.logits(stages.original())["validation"], experiment.data.validation.labels
        right.append((logits.argmax(1) == labels).double())
        likelihoods.append(logits.double().log_softmax(1).gather(1, labels[:, None])[:, 0])
    scores = mean_and_error(torch.cat(right)), mean_and_error(torch.cat(likelihoods))
    return Measured(recipe, experiment.epochs, *scores[0], *scores[1])


def mean_and_error(values: torch.Tensor) -> tuple[float, float]:
    """Return the mean and its standard error."""
    return values.mean().item(), values.std().item() / math.sqrt(len(values))


def efficient(rows: list[Measured]) -> Measured:
    """Return the recipe with the fewest passes that is within one standard error of the best by both measures."""
    accurate, likely = max(rows, key=lambda row: row.accuracy), max(rows, key=lambda row: row.likelihood)
    good = [
        row
        for row in rows
        if row.accuracy >= accurate.accuracy - accurate.accuracy_se
        and row.likelihood >= likely.likelihood - likely.likelihood_se
    ]
    if not good:
        sys.exit("no recipe is within one standard error of the best by both measures")
    return min(good, key=lambda row: (row.passes, -row.likelihood))


def line(row: Measured) -> str:
    """Return a row of the table."""
    recipe = row.recipe
    cells = [str(row.passes), str(recipe.batch or "own"), str(recipe.peak or "own")]
    cells += [f"{row.accuracy:.4f} ± {row.accuracy_se:.4f}", f"{row.likelihood:.4f} ± {row.likelihood_se:.4f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    call(main, __doc__)
