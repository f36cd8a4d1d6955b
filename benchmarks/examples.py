"""The example reports in docs/examples: `experiment=quick`, and one of Fashion-MNIST.

`python benchmarks/examples.py [folder=docs/examples] [pairs=5] [settings]` runs both sweeps, a quarter of an hour
on one core, and leaves their pages as quick.html and fashion_mnist.html. Settings such as `dataset.train_size=500`
go to both.
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
ARMS = "mu_algo=relabel,npo targets=hard,soft,out_of_fold unlearn.cost=0.1,0.2"
CELLS = f'hydra.sweeper.cells=["{ARMS}","mu_algo=none,early","mu_algo=retrain unlearn.cost=0.1,0.2"]'
FASHION_MNIST = ("-m", CELLS, "dataset=fashion_mnist", "dataset.train_size=6000", "references=2", "tuned=none")


def main(*words: str) -> None:
    """Run the sweeps and keep their pages."""
    own = dict(word.split("=", 1) for word in words if word.startswith(("folder=", "pairs=")))
    settings = [word for word in words if not word.startswith(("folder=", "pairs="))]
    out, pairs = Path(own.get("folder", ROOT / "docs/examples")), own.get("pairs", "5")
    out.mkdir(parents=True, exist_ok=True)
    sweeps = {"quick": ("experiment=quick", f"seed=range({pairs})")}
    sweeps["fashion_mnist"] = (*FASHION_MNIST, f"pairs={pairs}")
    for name, asked in sweeps.items():
        with tempfile.TemporaryDirectory() as folder:
            page = swept(Path(folder) / name, [*asked, *settings])
            shutil.copyfile(page, out / f"{name}.html")
        print(f"{out / name}.html: {(out / f'{name}.html').stat().st_size / 1e3:.0f} kB")


def swept(place: Path, words: list[str]) -> Path:
    """Run a sweep into a folder and return its report's page."""
    command = [sys.executable, ROOT / "run.py", *words, f"hydra.sweep.dir={place}", "hydra/launcher=basic"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    if done.returncode:
        raise BadInput(done.stderr.strip() or done.stdout[-1000:])
    return place / "report.html"


if __name__ == "__main__":
    call(main, __doc__)
