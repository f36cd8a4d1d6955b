"""The frontier on CIFAR-10 (JPEG): how near do five arms come to retraining at three budgets?

`python benchmarks/cifar_frontier.py path=DIR [trials=20] [pairs=10] [folder=runs/cifar_frontier]` reads
DIR/train/CLASS/* and DIR/test/CLASS/*, searches settings of each arm at cost .1, and then runs every arm at costs
.05, .1 and .2 on distinct pairs, into `folder`. 10,000 images, resnet9 for 15 epochs, random 10 %. About 11 CPU
hours on one core that multiplies in bf16; models go into the store, and tries into RUNS/search: type the same
command again to resume. Settings, such as dataset.train_size=1000, go to every search and run.
"""

import shlex

from usage import call

import softtargets
from softtargets.tuning.winner import row

ARMS = (
    "mu_algo=retrain",
    "mu_algo=finetune",
    "mu_algo=relabel targets=out_of_fold",
    "mu_algo=npo targets=soft",
    "mu_algo=scrub targets=soft",
)
SEARCHED, COSTS = "0.1", ("0.05", "0.1", "0.2")
TRIES = ("tuning_pairs=2", "fresh_pairs=3")
"""Fewer pairs than by default: five teachers for each of them take most of the time."""


def main(
    *, path: str, trials: str = "20", pairs: str = "10", folder: str = "runs/cifar_frontier", **settings: str
) -> None:
    """Search all arms, then run the study."""
    given = {"dataset.train_size": "10000", "architecture": "resnet9", "training.min_epochs": "15"} | settings
    shared = [
        "dataset=cifar10_jpeg",
        f"dataset.path={path}",
        *(f"{name}={value}" for name, value in given.items()),
    ]
    cells = ["mu_algo=none"]
    for arm in ARMS:
        found = searched([*shared, *arm.split()], trials)
        cells += [shlex.join([*found, f"unlearn.cost={cost}"]) for cost in COSTS]
    listed = ",".join(f'"{cell}"' for cell in cells)
    study = [f"pairs={pairs}", "references=2", "tuned=none", f"hydra.sweep.dir={folder}"]
    softtargets.sweep([*shared, *study, f"hydra.sweeper.cells=[{listed}]"])


def searched(words: list[str], trials: str) -> list[str]:
    """Return the words of an arm's winner, without its budget and what all arms share."""
    asked = [*words, f"unlearn.cost={SEARCHED}", f"trials={trials}", *TRIES]
    winner = softtargets.search(asked, say=lambda line: print(line, flush=True))
    chosen = row(winner)["words"]
    return [
        word for word in chosen if not word.startswith(("unlearn.cost=", "dataset", "architecture", "training"))
    ]


if __name__ == "__main__":
    call(main, __doc__)
