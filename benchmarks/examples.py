"""The example reports in docs/examples: `experiment=quick`, and one of Fashion-MNIST.

`python benchmarks/examples.py [folder=docs/examples] [runs=DIR] [pairs=5] [settings]` runs both sweeps, some ten
minutes on one core, and leaves their pages as quick.html and fashion_mnist.html. `runs` keeps the results: called
with it again, it makes the pages anew and runs only what is missing. Settings such as `dataset.train_size=500` go
to both.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from usage import call

from softtargets.errors import BadInput

ROOT = Path(__file__).parents[1]
COSTS = "unlearn.cost=0.1,0.2"
ARMS = f"mu_algo=relabel,npo targets=hard,soft,out_of_fold {COSTS}"
CELLS = f'hydra.sweeper.cells=["{ARMS}","mu_algo=none,early","mu_algo=retrain {COSTS}"]'
FASHION_MNIST = ("-m", CELLS, "dataset=fashion_mnist", "dataset.train_size=6000", "references=2", "tuned=none")


def main(*words: str) -> None:
    """Run the sweeps and keep their pages."""
    named = ("folder=", "runs=", "pairs=")
    own = dict(word.split("=", 1) for word in words if word.startswith(named))
    settings = [word for word in words if not word.startswith(named)]
    with tempfile.TemporaryDirectory() as forgotten:
        runs, out = Path(own.get("runs", forgotten)).absolute(), Path(own.get("folder", ROOT / "docs/examples"))
        for name, words_of_sweep in sweeps(own.get("pairs", "5")).items():
            page = swept(runs / name, [*words_of_sweep, *settings])
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(page, out / f"{name}.html")
            print(f"{out / name}.html: {page.stat().st_size / 1e3:.0f} kB")


def sweeps(pairs: str) -> dict[str, tuple[str, ...]]:
    """Return the command line of every sweep, by the name of its page."""
    return {
        "quick": ("experiment=quick", f"seed=range({pairs})"),
        "fashion_mnist": (*FASHION_MNIST, f"pairs={pairs}"),
    }


def swept(place: Path, words: list[str]) -> Path:
    """Run a sweep into a folder and return its report's page."""
    command = [sys.executable, ROOT / "run.py", *words, f"hydra.sweep.dir={place}", "hydra/launcher=basic"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    if done.returncode:
        raise BadInput(done.stderr.strip() or done.stdout[-1000:])
    return place / "report.html"


if __name__ == "__main__":
    call(main, __doc__)
