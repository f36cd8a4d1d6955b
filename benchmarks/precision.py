"""Whether training in bf16 gives the same accuracies as in float32: over seeds, and by paired differences.

`python benchmarks/precision.py [architecture=mlp,cnn] [seeds=10] [settings]` trains originals on Fashion-MNIST in
both (or takes them from the store), with settings such as `dataset.train_size=6000`. Intervals are of 95 %, by
Student's t.
"""

import statistics

from recipes import spread, trained
from scipy import stats
from usage import call

MEASURED = ("test accuracy", "forget - test")


def main(architecture: str = "mlp,cnn", seeds: str = "10", **settings: str) -> None:
    """Print the table."""
    head = ("network", "measured", "bf16", "float32", "bf16 - float32", "CPU of float32 / bf16")
    print(f"| {' | '.join(head)} |\n|{len(head) * '---|'}")
    more = [f"{name}={value}" for name, value in settings.items()]
    for name in architecture.split(","):
        runs = {
            precision: [trained(name, name, seed, f"precision={precision}", *more) for seed in range(int(seeds))]
            for precision in ("bf16", "float32")
        }
        cpu = {precision: sum(run[3] for run in found) for precision, found in runs.items()}
        for column, measured in enumerate(MEASURED):
            half, single = ([run[column] for run in runs[precision]] for precision in ("bf16", "float32"))
            columns = (spread(half), spread(single), interval(half, single), f"{cpu['float32'] / cpu['bf16']:.1f}")
            print(f"| {name} | {measured} | {' | '.join(columns)} |", flush=True)


def interval(one: list[float], other: list[float]) -> str:
    """Return the mean paired difference and its interval."""
    differences = [a - b for a, b in zip(one, other, strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5
    wide = stats.t.ppf(0.975, len(differences) - 1) * error
    return f"{statistics.mean(differences):+.4f} ± {wide:.4f}"


if __name__ == "__main__":
    call(main, __doc__)
