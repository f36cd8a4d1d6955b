"""The search behind training=mlp_efficient and training=cnn_efficient: the cheapest recipe as good as the best.

`python benchmarks/efficient.py [architecture=mlp] [folder=benchmarks/results]` trains on 5,700 images of
Fashion-MNIST and validates on 2,443 others, with seeds that no study uses. It keeps one line a training in
efficient.jsonl, goes on from there when called again, and writes efficient.md.

The winner needs the fewest gradient samples of all recipes whose validation accuracy and likelihood are each
within one standard error of the best; of several, it has the highest likelihood. The standard error is that of the
best recipe's mean over the validation images of all seeds. After the first seed, recipes that are more than two of
its standard errors behind are dropped.
"""

import dataclasses
import functools
import itertools
import json
import math
import statistics
import time
from pathlib import Path

import torch
from glance import composed
from torch.optim import AdamW
from usage import call

from softtargets.execution.experiment import Experiment, build
from softtargets.fit import Fit, predict
from softtargets.losses import cross_entropy
from softtargets.schedules import one_cycle

SEEDS = (1000, 1001, 1002)
DATA = ("dataset=fashion_mnist", "dataset.train_size=8143", "dataset.validation_fraction=0.3")
OURS = "the project's"
GRID = {
    "mlp": ((3, 4, 6, 8, 12), (32, 64, 128, 256), (1e-3, 2e-3, 4e-3)),
    "cnn": ((3, 4, 6, 8), (32, 64), (1e-3, 2e-3)),
}
"""Epochs, batch sizes and peaks of the learning rate, all combined."""
HEAD = """# Training recipes, by cost

`python benchmarks/efficient.py architecture=mlp` (and `cnn`): AdamW with one cycle on 5,700 images of
Fashion-MNIST, validated on 2,443 others. Means over seeds 1000 to 1002, or seed 1000 alone for a recipe that was
dropped after it; ± is one standard error over the validation images.
**Bold**: the fewest gradient samples with accuracy and loss both within one standard error of the best.
"""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A recipe; `batch_size` and `peak` are None for the project's own."""

    epochs: int
    batch_size: int | None
    peak: float | None

    @property
    def name(self) -> str:
        """Name it in the table."""
        if self.batch_size is None:
            return OURS
        return f"batch {self.batch_size}, peak {self.peak:g}"


def main(architecture: str = "mlp", folder: str = str(Path(__file__).parent / "results")) -> None:
    """Train what is missing, and write the table."""
    lines = Path(folder) / "efficient.jsonl"
    known = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    for seed in SEEDS:
        experiment = build(composed(*DATA, f"architecture={architecture}", *seeded(seed)))
        candidates = [*combined(architecture), Candidate(experiment.epochs, None, None)]
        first = [row for row in known if row["architecture"] == architecture and row["seed"] == SEEDS[0]]
        if seed != SEEDS[0]:
            candidates = [candidate for candidate in candidates if not behind(candidate, first)]
        for candidate in candidates:
            row = {"architecture": architecture, "seed": seed, **dataclasses.asdict(candidate)}
            if not any(row.items() <= one.items() for one in known):
                known.append(row | measured(experiment, candidate))
                with lines.open("a") as file:
                    file.write(json.dumps(known[-1]) + "\n")
    (Path(folder) / "efficient.md").write_text(HEAD + "".join(table(known, name) for name in GRID))


def seeded(seed: int) -> list[str]:
    """Give every seed a set of images of its own."""
    return [f"{name}={seed}" for name in ("seed", "dataset.seed", "forget_set.seed")]


def combined(architecture: str) -> list[Candidate]:
    """Return the candidates of an architecture, the cheapest first."""
    return list(itertools.starmap(Candidate, itertools.product(*GRID[architecture])))


def measured(experiment: Experiment, candidate: Candidate) -> dict[str, float]:
    """Train one model and measure it on the validation images."""
    started, data = time.process_time(), experiment.data
    model = experiment.initialised("original")
    fit = fitted(experiment.training_fit("original", lambda step, steps, loss: None), candidate)
    fit(model, lambda batch: cross_entropy(model(batch.inputs), batch.targets), data.train)
    seconds, labels = time.process_time() - started, data.validation.labels
    logits = predict(model, data.validation.inputs)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    return {
        "samples": fit.account.gradient_samples,
        "accuracy": (logits.argmax(1) == labels).float().mean().item(),
        "loss": losses.mean().item(),
        "loss_sd": losses.std().item(),
        "images": len(labels),
        "cpu_seconds": round(seconds, 2),
    }


def fitted(fit: Fit, candidate: Candidate) -> Fit:
    """Return the project's fit with a candidate's recipe."""
    if candidate.peak is None:
        return fit
    return dataclasses.replace(
        fit,
        epochs=candidate.epochs,
        batch_size=candidate.batch_size,
        optimizer=functools.partial(AdamW, lr=candidate.peak, weight_decay=0.01, fused=True),
        schedule=functools.partial(one_cycle, peak=candidate.peak, warmup=0.3),
    )


@dataclasses.dataclass(frozen=True)
class Mean:
    """What the trainings of one recipe come to."""

    seeds: int
    samples: int
    accuracy: float
    accuracy_se: float
    loss: float
    loss_se: float
    """Standard errors over the validation images of all seeds."""
    cpu_seconds: float


def mean(rows: list[dict]) -> Mean:
    """Average over seeds."""
    column = {name: statistics.mean(row[name] for row in rows) for name in rows[0] if name in Mean.__annotations__}
    accuracy, images = column["accuracy"], sum(row["images"] for row in rows)
    deviation = math.sqrt(statistics.mean(row["loss_sd"] ** 2 for row in rows))
    errors = {
        "accuracy_se": math.sqrt(accuracy * (1 - accuracy) / images),
        "loss_se": deviation / math.sqrt(images),
    }
    return Mean(seeds=len(rows), **column | errors)


def means(rows: list[dict]) -> dict[Candidate, Mean]:
    """Average the trainings of every recipe."""
    names = [field.name for field in dataclasses.fields(Candidate)]
    groups: dict[Candidate, list[dict]] = {}
    for row in rows:
        groups.setdefault(Candidate(*(row[name] for name in names)), []).append(row)
    return {candidate: mean(group) for candidate, group in groups.items()}


def within(one: Mean, others: list[Mean], errors: float) -> bool:
    """Return whether accuracy and loss are within so many standard errors of the best of `others`."""
    accurate = max(others, key=lambda other: other.accuracy)
    likely = min(others, key=lambda other: other.loss)
    return (
        one.accuracy >= accurate.accuracy - errors * accurate.accuracy_se
        and one.loss <= likely.loss + errors * likely.loss_se
    )


def behind(candidate: Candidate, first: list[dict]) -> bool:
    """Return whether a recipe is clearly worse than the best, by the first seed."""
    found = means(first)
    return not within(found[candidate], list(found.values()), 2)


def chosen(found: dict[Candidate, Mean]) -> Candidate | None:
    """Return the winner among recipes that all seeds trained; None before there is one."""
    whole = {candidate: one for candidate, one in found.items() if one.seeds == len(SEEDS)}
    good = [candidate for candidate, one in whole.items() if within(one, list(whole.values()), 1)]
    return min(good, key=lambda candidate: (whole[candidate].samples, whole[candidate].loss), default=None)


def table(known: list[dict], architecture: str) -> str:
    """Print the recipes of one architecture in Markdown, the cheapest first."""
    found = means([row for row in known if row["architecture"] == architecture])
    if not found:
        return ""
    winner, lines = chosen(found), [f"\n## {architecture}\n"]
    lines += [
        "| epochs | recipe | gradient samples | seeds | accuracy | loss, nats | CPU s |",
        "|---|" + "---|" * 6,
    ]
    for candidate, one in sorted(found.items(), key=lambda item: (item[1].samples, item[1].loss)):
        name = f"**{candidate.name}**" if candidate == winner else candidate.name
        lines.append(
            f"| {candidate.epochs} | {name} | {one.samples:,} | {one.seeds} "
            f"| {one.accuracy:.4f} ± {one.accuracy_se:.4f} | {one.loss:.4f} ± {one.loss_se:.4f} "
            f"| {one.cpu_seconds:.1f} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    call(main, __doc__)
