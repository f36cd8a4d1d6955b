"""The table of targets that do nothing in docs/targets.md: ascent and descent under six choices of forget targets.

`python benchmarks/glance.py [settings]` runs the rows over three seeds and prints means in Markdown; settings
such as `dataset=fashion_mnist dataset.train_size=6000` go to every run.
"""

import io
import statistics
import tempfile
from pathlib import Path

from hydra import compose, initialize_config_dir
from usage import call

from softtargets.console import Console
from softtargets.execution import pipeline
from softtargets.execution.composed_run import resolved_config
from softtargets.layout import CONF

ASCENT = ("mu_algo=gradasc",)
SELF = (*ASCENT, "targets=soft", "targets.forget.temperature=1", "unlearn=gradasc_reference")
ADAM = ("unlearn.optimizer._target_=torch.optim.Adam", "~unlearn.optimizer.momentum", "unlearn.optimizer.lr=1e-4")
ROWS = {
    "ascent from hard labels": (*ASCENT, "targets=hard"),
    "ascent from own predictions, T = 0.5": (*ASCENT, "targets=soft", "targets.forget.temperature=0.5"),
    "ascent from own predictions, T = 1, SGD 1e-5": SELF,
    "ascent from own predictions, T = 1, Adam 1e-4": (*SELF, *ADAM),
    "ascent from own predictions, T = 2": (*ASCENT, "targets=soft", "targets.forget.temperature=2"),
    "descent to out-of-fold predictions": ("mu_algo=relabel", "targets=out_of_fold"),
}


def main(*common: str) -> None:
    """Print the table."""
    print("| driven by | status | forget accuracy | test accuracy | JS to retrained |\n|---|---|---|---|---|")
    for name, overrides in ROWS.items():
        found = [result(*common, *overrides, f"seed={seed}") for seed in range(3)]
        status = ", ".join(sorted({one["status"] for one in found}))
        print(f"| {name} | {status} | {' | '.join(columns(found, 'unlearned', 'distance'))} |")
    print(f"| *doing nothing* | | {' | '.join(columns(found, 'original', 'baseline'))} |")
    print(f"| *retrained model* | | {' | '.join([*columns(found, 'retrained', 'baseline')[:2], '0'])} |")


def columns(found: list[dict], model: str, distance: str) -> list[str]:
    """Return mean forget accuracy, test accuracy and JS."""
    forget, test = (
        statistics.mean(one["metrics"][model][key] for one in found) for key in ("forget_acc", "test_acc")
    )
    return [f"{forget:.3f}", f"{test:.3f}", f"{statistics.mean(one[distance]['js_forget'] for one in found):.3f}"]


def result(*overrides: str) -> dict:
    """Run one config in a folder of no account."""
    with tempfile.TemporaryDirectory() as folder:
        return pipeline.run_experiment(composed(*overrides), Path(folder), Console(io.StringIO()))


def composed(*overrides: str) -> dict:
    """Resolve a command line."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolved_config(compose("config", list(overrides), return_hydra_config=True))


if __name__ == "__main__":
    call(main, __doc__)
