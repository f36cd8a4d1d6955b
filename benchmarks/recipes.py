"""Our training recipes beside the seed project's, on all of Fashion-MNIST: accuracy, gap and cost.

`python benchmarks/recipes.py [recipes=mlp,mlp_reference,cnn,cnn_reference] [seeds=5] [images=60000]` trains
originals (or takes them from the store) and prints a row for each recipe: mean and standard deviation over the
seeds, two or more.
"""

import statistics
import sys

from hydra import compose, initialize_config_dir
from usage import call

from softtargets.console import Console
from softtargets.evaluation.metrics import accuracy
from softtargets.execution.composed_run import resolved_config
from softtargets.execution.experiment import build
from softtargets.execution.models import Stages
from softtargets.layout import CONF
from softtargets.store import Store, store_folder


def main(recipes: str = "mlp,mlp_reference,cnn,cnn_reference", seeds: str = "5", images: str = "60000") -> None:
    """Print the table."""
    print("| recipe | test accuracy | forget - test | least test | epochs | CPU s |\n|---|---|---|---|---|---|")
    some = [] if images == "60000" else [f"dataset.train_size={images}"]
    for recipe in recipes.split(","):
        runs = [trained(recipe.partition("_")[0], recipe, seed, *some) for seed in range(int(seeds))]
        test, gap, epochs, cpu = zip(*runs, strict=True)
        columns = (spread(test), spread(gap), f"{min(test):.4f}", epochs[0], f"{statistics.mean(cpu):.1f}")
        print(f"| {recipe} | {' | '.join(map(str, columns))} |", flush=True)


def trained(
    architecture: str, recipe: str, seed: int, *more: str, dataset: str = "fashion_mnist"
) -> tuple[float, float, int, float]:
    """Return test accuracy, forget - test gap, epochs and CPU seconds of one original."""
    overrides = [
        f"dataset={dataset}",
        f"architecture={architecture}",
        f"training={recipe}",
        f"seed={seed}",
        *more,
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        experiment = build(resolved_config(compose("config", overrides, return_hydra_config=True)))
    store = Store(store_folder(experiment.settings.store.dir))
    stages = Stages(experiment, store, Console(sys.stderr))
    original = stages.original()
    logits, data = stages.logits(original), experiment.data
    test, forget = (accuracy(logits[name], getattr(data, name).labels) for name in ("test", "forget"))
    return test, forget - test, experiment.epochs, original.cpu_seconds


def spread(values: tuple[float, ...]) -> str:
    """Print mean ± standard deviation."""
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


if __name__ == "__main__":
    call(main, __doc__)
