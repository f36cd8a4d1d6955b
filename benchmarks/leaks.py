"""What attacks per sample cost: 256 networks, then all attacks of a report, in CPU seconds and memory.

`python benchmarks/leaks.py [models=64] [settings]` trains networks by `softtargets shadows`, on 6,000 images of
Fashion-MNIST with three references, so that 64 seeds are 256 networks, measures them (64 runs, whose report has
all attacks), and writes the report once more; each in a process of its own, with an empty store. It prints a row
for each. Settings such as `dataset=mnist_5k dataset.train_size=500` go to every step. The bound is 30 minutes of
two cores.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from usage import call

SETTINGS = ("dataset=fashion_mnist", "dataset.train_size=6000")
REFERENCES = 3
BOUND = 2 * 30 * 60
"""Seconds of CPU."""


def main(*words: str) -> None:
    """Print the table."""
    models = next((int(word.partition("=")[2]) for word in words if word.startswith("models=")), 64)
    settings = [*SETTINGS, *(word for word in words if not word.startswith("models=")), f"references={REFERENCES}"]
    with tempfile.TemporaryDirectory() as folder:
        own = [f"runs_dir={folder}", f"store.dir={folder}/store"]
        seeds = f"seed=range({models})"
        steps = {
            f"{(1 + REFERENCES) * models} networks": ("shadows", f"models={models}", *settings, *own),
            f"{models} runs that measure them": ("run", "-m", seeds, "mu_algo=none", *settings, *own),
            "the report once more": ("report", f"{folder}/sweep"),
        }
        print("| step | seconds | CPU seconds | MB |\n|---|---|---|---|")
        spent = [measured(name, step) for name, step in steps.items()]
    print(f"| all | {sum(wall for wall, _ in spent):.0f} | {(cpu := sum(cpu for _, cpu in spent)):.0f} | |")
    print(f"\n{cpu / BOUND:.0%} of the bound of {BOUND} CPU seconds")


def measured(name: str, step: tuple[str, ...]) -> tuple[float, float]:
    """Run one command of softtargets; print and return its seconds, and those of CPU."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "softtargets", *step],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, step)
    wall, cpu = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    print(f"| {name} | {wall:.0f} | {cpu:.0f} | {usage.ru_maxrss / _kilo():.0f} |", flush=True)
    return wall, cpu


def _kilo() -> int:
    return 2**20 if sys.platform == "darwin" else 2**10


if __name__ == "__main__":
    call(main, __doc__)
