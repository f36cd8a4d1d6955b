"""What a report on many results costs: CPU seconds, memory, and the size of its page.

`python benchmarks/reading.py [results=10000] [settings]` makes one real run on the embedded digits, lays copies of
its result under other choices and seeds (with distances drawn at random), and reports on them in another process.
Settings such as `dataset.train_size=500` go to the run.
"""

import contextlib
import copy
import functools
import itertools
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from glance import composed
from usage import call

from softtargets.config.resolve import decisive
from softtargets.console import Console
from softtargets.execution import pipeline
from softtargets.system.files import read_json, write_json

ARMS = ("hard", "soft", "ugradsl", "out_of_fold", "delete")
ALGORITHMS = (
    "gradasc",
    "graddiff",
    "neggrad_plus",
    "npo",
    "scrub",
    "salun",
    "relabel",
    "rmu",
    "finetune",
    "unsir",
)
SEEDS = 20
RESULTS = 10_000


def main(*words: str) -> None:
    """Print a line on each cost."""
    wanted = [word.removeprefix("results=") for word in words if word.startswith("results=")]
    settings = [word for word in words if not word.startswith("results=")]
    with tempfile.TemporaryDirectory() as folder:
        count = lay(Path(folder), int(wanted[-1]) if wanted else RESULTS, *settings)
        found = subprocess.run(
            [sys.executable, "-m", "softtargets.report", folder], capture_output=True, text=True
        )
        assert found.returncode == 0, found.stderr
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = (Path(folder) / "report.html").stat().st_size
    cpu = used.ru_utime + used.ru_stime
    print(f"{count} results: {cpu:.1f} CPU s, {used.ru_maxrss / 1024:.0f} MB at most, page {size / 1e6:.1f} MB")


def lay(folder: Path, wanted: int, *settings: str) -> int:
    """Leave copies of a real run; returns how many."""
    first = folder / "first"
    with contextlib.redirect_stdout(sys.stderr):
        pipeline.run_experiment(composed("unlearn.epochs=20", *settings), first, Console())
    one = read_json(first / "result.json")
    draw = numpy.random.default_rng(0)
    block = list(itertools.product(("mlp", "cnn"), ALGORITHMS, ARMS, range(SEEDS)))
    for number in range(wanted):
        dataset = f"dataset{number // len(block)}"
        architecture, algorithm, targets, seed = block[number % len(block)]
        result = copy.deepcopy(one)
        result["choices"] |= {"dataset": dataset, "architecture": architecture, "mu_algo": algorithm}
        result["choices"] |= {"targets": targets, "seed": seed, "unlearn": algorithm, "training": architecture}
        result["config"] = configured(architecture, algorithm, targets, *settings) | {"seed": seed}
        shared = f"{dataset} {architecture} {seed}"
        result["hashes"] |= {"original": shared, "retrained": shared}
        for place in (result["distance"], result["matched"] or {}):
            place |= {
                name: place[name] * draw.uniform(0.5, 1.5) for name in ("js_forget", "mia_gap") if name in place
            }
        for face in (result["faces"][name] for name in ("js_t_forget", "disagreement_forget", "mia_gap")):
            face["unlearned"] = (face["nothing"] or 0.1) * draw.uniform(0.2, 1.5)
        place = folder / f"run{number}"
        write_json(place / "result.json", result)
        (place / "margins.npz").hardlink_to(first / "margins.npz")
    shutil.rmtree(first)
    return wanted


@functools.cache
def configured(architecture: str, algorithm: str, targets: str, *settings: str) -> dict:
    """Return what a run of these choices asks for, by which reports name it."""
    rest = [word for word in settings if not word.startswith("architecture.")]
    chosen = (f"architecture={architecture}", f"mu_algo={algorithm}", f"targets={targets}")
    return decisive(composed("unlearn.epochs=20", *rest, *chosen))


if __name__ == "__main__":
    call(main, __doc__)
