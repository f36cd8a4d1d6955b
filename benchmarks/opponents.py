"""Simple opponents of equal cost: what the first study never held its arms against.

`python benchmarks/opponents.py [settings]` runs 6,000 images of Fashion-MNIST, mlp, a random 10 % to forget, seeds
40 to 42, and prints a table in Markdown: cost as a share of retraining's gradient samples, and the Jensen-Shannon
divergence to the retrained model on the forget set, in nats. Rates were picked by hand on these seeds: the table
shows what is possible, and judges nothing.
"""

import copy
import dataclasses
import functools
import io
import statistics

from glance import composed
from torch import nn
from torch.optim import AdamW
from usage import call

from softtargets.console import Console
from softtargets.evaluation import metrics
from softtargets.execution.experiment import Experiment, build
from softtargets.execution.models import Stages
from softtargets.fit import Fit, predict
from softtargets.losses import cross_entropy
from softtargets.schedules import one_cycle
from softtargets.store import Store, store_folder
from softtargets.types import Samples

SEEDS = (40, 41, 42)
DATA = ("dataset=fashion_mnist", "dataset.train_size=6000")
EARLY = 6
"""Epochs on all data, which a model needs to be as near to the retrained one as the study's best arm."""


def main(*settings: str) -> None:
    """Print the table."""
    rows = [measured(build(composed(*DATA, *settings, f"seed={seed}"))) for seed in SEEDS]
    print("| model | cost | JS on the forget set |\n|---|---|---|")
    for name, (cost, _) in rows[0].items():
        distances = [row[name][1] for row in rows]
        print(f"| {name} | {cost:.3f} | {statistics.mean(distances):.4f} ± {statistics.stdev(distances):.4f} |")


def measured(experiment: Experiment) -> dict[str, tuple[float, float]]:
    """Return cost and distance of every model of one seed, by name."""
    stages = Stages(experiment, Store(store_folder(experiment.settings.store.dir)), Console(io.StringIO()))
    original, retrained = stages.original().model, stages.retrained().model
    data, epochs = experiment.data, experiment.epochs
    goal = predict(retrained, data.forget.inputs)

    def row(model: nn.Module, share: float) -> tuple[float, float]:
        return share, metrics.js(predict(model, data.forget.inputs), goal)

    def trained(model: nn.Module, share: float, batch_size: int, rate: float) -> tuple[float, float]:
        steps = round(share * epochs * len(data.retain) / batch_size)
        return row(descended(experiment, model, data.retain, batch_size, steps, rate), share)

    fresh = functools.partial(experiment.initialised, "opponent")
    return {
        "doing nothing": row(original, 0),
        f"trained for {EARLY} epochs on all data, never unlearned": row(early(experiment, fresh()), 0),
        "fine-tuned by AdamW for one epoch": trained(copy.deepcopy(original), 1 / epochs, 32, 4e-3),
        "retrained in batches of 16": trained(fresh(), 0.2, 16, 1e-3),
        "retrained in batches of 16, for half of the cost": trained(fresh(), 0.5, 16, 1e-3),
        "another retraining (floor)": row(stages.trained("another", data.retain).model, 1),
    }


def early(experiment: Experiment, model: nn.Module) -> nn.Module:
    """Train on all data by the cell's own recipe, for fewer epochs."""
    fit = dataclasses.replace(experiment.training_fit("early", lambda step, steps, loss: None), epochs=EARLY)
    return fit(model, lambda batch: cross_entropy(model(batch.inputs), batch.targets), experiment.data.train)


def descended(
    experiment: Experiment, model: nn.Module, samples: Samples, batch_size: int, steps: int, rate: float
) -> nn.Module:
    """Train on hard labels by AdamW, one cycle over exactly `steps` steps."""
    fit = Fit(
        epochs=steps,
        max_steps=steps,
        batch_size=batch_size,
        optimizer=functools.partial(AdamW, lr=rate, weight_decay=0.01, fused=True),
        schedule=functools.partial(one_cycle, peak=rate, warmup=0.3),
        clip_norm=None,
        precision="float32",
        seed=experiment.settings.seed,
        name="opponent",
    )
    return fit(model, lambda batch: cross_entropy(model(batch.inputs), batch.targets), samples)


if __name__ == "__main__":
    call(main, __doc__)
