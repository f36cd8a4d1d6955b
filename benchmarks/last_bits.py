"""How far two threads instead of one, and training in bf16 instead of float32, move the metrics of a run.

`python benchmarks/last_bits.py [seeds=20] [settings]` runs mnist_5k by the default recipe and prints a table in
Markdown: how many models are equal to the byte, and the median and greatest absolute difference of what is
measured, over seeds; beside that of two seeds, the noise that every comparison lives with.
"""

import itertools
import statistics

from glance import result
from usage import call

USUAL = ("threads=1", "precision=float32")
OTHERS = {"threads=2": ("threads=2", "precision=float32"), "precision=bf16": ("threads=1", "precision=bf16")}
MODELS = ("original", "retrained", "unlearned")


def main(*words: str) -> None:
    """Print the table."""
    seeds = range(next((int(word[6:]) for word in words if word.startswith("seeds=")), 20))
    settings = [word for word in words if not word.startswith("seeds=")]
    usual, *others = (
        [result(*settings, *way, f"seed={seed}") for seed in seeds] for way in (USUAL, *OTHERS.values())
    )
    head = (f"instead of {' '.join(USUAL)}", "equal models", *measured(usual[0]))
    print(f"| {' | '.join(head)} |\n|{len(head) * '---|'}")
    pairs = {name: list(zip(usual, found, strict=True)) for name, found in zip(OTHERS, others, strict=True)}
    for name, both in (pairs | {"another seed": list(itertools.combinations(usual, 2))}).items():
        print(f"| {name} | {equal(both)} | {' | '.join(apart(both))} |")


def measured(run: dict) -> dict[str, float]:
    """Return what is compared, of the unlearned model unless named otherwise."""
    metrics = run["metrics"]
    return {
        "original's test accuracy": metrics["original"]["test_acc"],
        "forget accuracy": metrics["unlearned"]["forget_acc"],
        "test accuracy": metrics["unlearned"]["test_acc"],
        "MIA AUC": metrics["unlearned"]["mia_auc"],
        "JS to retrained": run["distance"]["js_forget"],
    }


def equal(pairs: list[tuple[dict, dict]]) -> str:
    """Count the models whose hashes are equal."""
    same = [one["hashes"][name] == other["hashes"][name] for one, other in pairs for name in MODELS]
    return f"{sum(same)} of {len(same)}"


def apart(pairs: list[tuple[dict, dict]]) -> list[str]:
    """Return median and greatest difference of every measure."""
    columns = zip(*(measured(one).values() for pair in pairs for one in pair), strict=True)
    differences = [[abs(a - b) for a, b in zip(column[::2], column[1::2], strict=True)] for column in columns]
    return [f"{statistics.median(column):.1e}, {max(column):.1e}" for column in differences]


if __name__ == "__main__":
    call(main, __doc__)
