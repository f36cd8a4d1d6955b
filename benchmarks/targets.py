"""What every kind of targets does at the original, and every preset under three algorithms.

`python benchmarks/targets.py [seeds=5] [only=statuses] [settings]` trains on 6,000 Fashion-MNIST images with a
plain recipe and prints two tables in Markdown. The first: what a plain first step of ascent and of descent does to
the hard loss on the forget set. The second: for every algorithm and preset the means over run seeds on one forget
set, at matched forgetting and at the end. JS is to the retrained model on the forget set, floor-corrected: 1 is
doing nothing, 0 another retraining. only=statuses prints the statuses of the second table alone, without any
unlearning.
"""

import io
import itertools
import statistics
from collections import Counter

from glance import composed, result
from usage import call

from softtargets.console import Console
from softtargets.evaluation import metrics
from softtargets.evaluation.evaluate import evaluate
from softtargets.execution import pipeline
from softtargets.execution.experiment import build
from softtargets.execution.models import Stages
from softtargets.execution.target_sets import target_sets
from softtargets.layout import CONF
from softtargets.store import Store, store_folder

RECIPE = (
    "dataset=fashion_mnist",
    "dataset.train_size=6000",
    "training.batch_size=128",
    "training.epochs=20",
    "training.schedule.peak=2e-3",
)
ALGORITHMS = ("gradasc", "graddiff", "relabel")
COLUMNS = ("forget_acc", "retain_acc", "test_acc", "mia_gap")


def main(*words: str) -> None:
    """Print both tables."""
    seeds = range(next((int(word[6:]) for word in words if word.startswith("seeds=")), 5))
    common = (*RECIPE, *(word for word in words if not word.startswith(("seeds=", "only="))))
    if "only=statuses" in words:
        statuses(common, seeds)
        return
    print("| kind | ascent | descent | ‖q − p0‖₁ | q_y − p0_y | entropy | cosine |\n|---|---|---|---|---|---|---|")
    for kind in options("targets/forget"):
        print(f"| {kind} | {' | '.join(signs(kind, *common))} |", flush=True)
    floor, nothing, originals = reference(common, seeds)
    shown = " | ".join(f"{originals[column]:.3f}" for column in COLUMNS)
    print(f"\nfloor {floor:.4f}, doing nothing {nothing:.4f}\n\n{HEAD}\n| *doing nothing* | | | 1 | {shown} | | |")
    for algorithm, preset in itertools.product(ALGORITHMS, options("targets")):
        found = [result(*common, f"mu_algo={algorithm}", f"targets={preset}", f"seed={seed}") for seed in seeds]
        shown = f"{preset} (upper bound)" if found[0]["upper_bound"] else preset
        print(f"| {algorithm} | {shown} | {' | '.join(row(found, floor, nothing))} |", flush=True)


def statuses(common: tuple[str, ...], seeds: range) -> None:
    """Print the statuses before any unlearning of every algorithm and preset, with the number of runs of each."""
    print("| algorithm | targets | status |\n|---|---|---|")
    for algorithm, preset in itertools.product(ALGORITHMS, options("targets")):
        found = Counter(status(*common, f"mu_algo={algorithm}", f"targets={preset}", f"seed={s}") for s in seeds)
        shown = ", ".join(name if n == len(seeds) else f"{name} ({n})" for name, n in sorted(found.items()))
        print(f"| {algorithm} | {preset} | {shown} |", flush=True)


def status(*overrides: str) -> str:
    """Return the status that the diagnosis of a run's targets gives."""
    made = stages(*overrides)
    return pipeline.diagnosis_flag(made.experiment, diagnosed(made))


HEAD = (
    "| algorithm | targets | status | JS, matched | forget | retain | test | MIA gap | JS, end | test, end |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def options(group: str) -> list[str]:
    """Names of a group's options."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def stages(*overrides: str) -> Stages:
    """Return the stages of a run on the user's store."""
    experiment = build(composed(*overrides))
    return Stages(experiment, Store(store_folder(experiment.settings.store.dir)), Console(io.StringIO()))


def signs(kind: str, *common: str) -> list[str]:
    """Return the first-order changes under plain ascent and descent, and the state of the targets."""
    found = []
    for algorithm in ("gradasc", "relabel"):
        step = ("unlearn=gradasc", "mu_algo.alpha=0") if algorithm == "relabel" else ()
        made = stages(*common, f"mu_algo={algorithm}", f"targets/forget={kind}", *step)
        found.append(diagnosed(made))
    up, down = found
    cosine = "–" if up.grad_cosine is None else f"{up.grad_cosine:+.3f}"
    signed = (f"{one.first_order:+.1e}" for one in (up, down))
    return [*signed, f"{up.target_distance:.3f}", f"{up.sharpness:+.3f}", f"{up.target_entropy:.3f}", cosine]


def diagnosed(made: Stages):
    """Diagnose a run without unlearning."""
    original = made.original()
    targets = target_sets(made, original, made.retrained())
    known = evaluate(made.logits(original), made.experiment.data)
    return pipeline.diagnose_targets(made.experiment, original.model, targets, known, made.console)


def reference(common: tuple[str, ...], seeds: range) -> tuple[float, float, dict]:
    """Return JS on the forget set between retrained models, JS of doing nothing, and the originals' means."""
    results = [result(*common, "mu_algo=gradasc", f"seed={seed}") for seed in seeds]
    retrained = []
    for seed in seeds:
        made = stages(*common, f"seed={seed}")
        retrained.append(made.logits(made.retrained())["forget"])
    floor = statistics.mean(metrics.js(*pair) for pair in itertools.combinations(retrained, 2))
    originals = {name: mean(one["metrics"]["original"][name] for one in results) for name in COLUMNS[:3]}
    originals["mia_gap"] = mean(one["baseline"]["mia_gap"] for one in results)
    return floor, mean(one["baseline"]["js_forget"] for one in results), originals


def row(found: list[dict], floor: float, nothing: float) -> list[str]:
    """Return status, means at the matched points of the runs that got there, and means at the end."""
    there = [one["matched"] for one in found if one["matched"]]
    at = {name: mean(point[name] for point in there) for name in (*COLUMNS, "js_forget")} if there else {}
    corrected = [(js - floor) / (nothing - floor) for js in (at.get("js_forget"), end(found)) if js is not None]
    censored = f" ({len(found) - len(there)} of {len(found)} censored)" if len(there) < len(found) else ""
    matched = (
        [f"{corrected[0]:.2f}{censored}", *(f"{at[name]:.3f}" for name in COLUMNS)]
        if at
        else ["never"] + 4 * ["–"]
    )
    status = ", ".join(sorted({one["status"] for one in found}))
    test = mean(one["metrics"]["unlearned"]["test_acc"] for one in found)
    return [status, *matched, f"{corrected[-1]:.2f}", f"{test:.3f}"]


def end(found: list[dict]) -> float:
    """Return the mean JS on the forget set at the end of the runs."""
    return mean(one["distance"]["js_forget"] for one in found)


def mean(values) -> float:
    """Return the mean of what is there."""
    return statistics.mean(value for value in values if value is not None)


if __name__ == "__main__":
    call(main, __doc__)
