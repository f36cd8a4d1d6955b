"""The frontier on CIFAR-10 (JPEG): how near do five arms come to retraining at three budgets?

`python benchmarks/cifar_frontier.py path=DIR [trials=20] [pairs=10] [folder=runs/cifar_frontier]` reads
DIR/train/CLASS/* and DIR/test/CLASS/*, searches settings of each arm at cost .1, and then runs every arm at costs
.05, .1 and .2 on distinct pairs, into `folder`. 10,000 images, resnet9 of width 16 for 8 epochs, random 10 %. No
image is changed at random and no label smoothed, so that the network memorises: else doing nothing is as near as
another retraining, and nothing is left to unlearn. Models go into the store, and tries into RUNS/search: type the
same command again to resume. Settings, such as dataset.train_size=1000, go to every search and run.

The study is written to FOLDER/experiment/cifar_frontier.yaml before its first run, each arm when its search ends.
An arm that is there is not searched again, and a file of other settings is refused. What this command found is
conf/experiment/cifar.yaml: `python run.py experiment=cifar dataset.path=DIR` repeats the study without a search.
"""

import shlex
from pathlib import Path

import yaml
from usage import call

import softtargets
from softtargets.config.paths import in_quotes
from softtargets.errors import BadInput
from softtargets.system import yaml_text
from softtargets.system.files import write_text

NAME = "cifar_frontier"
ARMS = (
    "mu_algo=retrain",
    "mu_algo=finetune",
    "mu_algo=relabel targets=out_of_fold",
    "mu_algo=npo targets=soft",
    "mu_algo=scrub targets=soft",
)
NETWORK = {"architecture": "resnet9", "architecture.width": "16"}
"""Unless another architecture is given."""
USUAL = {
    "dataset.train_size": "10000",
    "training.min_epochs": "8",
    "training.min_steps": "1",
    "training.label_smoothing": "0",
    "training.augmentation.flip": "false",
    "training.augmentation.shift": "0",
    "training.augmentation.cutout": "0",
}
SEARCHED, COSTS = "0.1", "0.05,0.1,0.2"
TRIES = ("tuning_pairs=2", "fresh_pairs=3")
"""Fewer pairs than by default: five teachers for each of them take most of the time."""
NOTHING = "mu_algo=none"
COMMAND = f"# python benchmarks/{NAME}.py path=DIR "
"""How the line of the file begins that has the settings of the study and of its searches."""


def main(
    *, path: str, trials: str = "20", pairs: str = "10", folder: str = f"runs/{NAME}", **settings: str
) -> None:
    """Search the arms that the file lacks, then run the study that it has."""
    given = ({} if "architecture" in settings else NETWORK) | USUAL | settings
    asked = {"trials": trials, "pairs": pairs} | given
    file = Path(folder, "experiment", f"{NAME}.yaml").absolute()
    cells = known_cells(file, asked)
    data = ["dataset=cifar10_jpeg", f"dataset.path={path}"]
    shared = [*data, *(f"{name}={value}" for name, value in given.items())]
    for arm in ARMS[len(cells) - 1 :]:
        cells.append(searched(shared, arm, trials))
        write_text(file, study(asked, cells))
    own = f"hydra.searchpath=[{in_quotes(f'file://{file.parent.parent}')}]"
    softtargets.sweep([own, f"experiment={NAME}", f"dataset.path={path}", f"hydra.sweep.dir={folder}"])


def known_cells(file: Path, asked: dict[str, str]) -> list[str]:
    """Return the cells in the file of an earlier call, or the first one; raise BadInput for other settings."""
    if not file.exists():
        return [NOTHING]
    text = file.read_text(encoding="utf-8")
    words = next((line for line in text.splitlines() if line.startswith(COMMAND)), COMMAND).removeprefix(COMMAND)
    there = dict(word.split("=", 1) for word in shlex.split(words))
    for name in there | asked:
        if asked.get(name) != there.get(name):
            mine, its = (f"{name}={some[name]}" if name in some else f"no {name}" for some in (asked, there))
            raise BadInput(f"{mine}: {file} is a study with {its}. Type the same, or give another folder")
    return yaml_text.load(text)["hydra"]["sweeper"]["cells"]


def searched(shared: list[str], arm: str, trials: str) -> str:
    """Return the cell of an arm at all costs: its winner's words, without its budget and what all arms share."""
    asked = [*shared, *arm.split(), f"unlearn.cost={SEARCHED}", f"trials={trials}", *TRIES]
    words = softtargets.search(asked, say=lambda line: print(line, flush=True))["words"]
    if words == [NOTHING]:
        return NOTHING
    chosen = [word for word in words if word not in (*shared, f"unlearn.cost={SEARCHED}", "tuned=none")]
    return f"{shlex.join(chosen)} unlearn.cost={COSTS}"


def study(asked: dict[str, str], cells: list[str]) -> str:
    """Return the experiment of these cells."""
    # looks at a model on its way would take longer than the way; nobody reads them
    params = {"tuned": "none", "unlearn.evaluate_every": "null", **asked}
    del params["trials"]
    content = {
        "defaults": [{"override /dataset": "cifar10_jpeg"}],
        "references": 2,  # a floor of its own for each run
        "hydra": {
            "mode": "MULTIRUN",
            "sweep": {"dir": f"${{runs_dir}}/{NAME}"},
            "sweeper": {"params": params, "cells": cells},
        },
    }
    head = f"""# @package _global_
# how near do five arms come to retraining on CIFAR-10 (JPEG), at three costs? {asked["pairs"]} pairs of each
#
# Written by this command, which searched each arm at cost {SEARCHED} with {" ".join(TRIES)}:
{COMMAND}{shlex.join(f"{name}={value}" for name, value in asked.items())}
"""
    return head + yaml.safe_dump(content, sort_keys=False, width=float("inf"), allow_unicode=True)


if __name__ == "__main__":
    call(main, __doc__)
