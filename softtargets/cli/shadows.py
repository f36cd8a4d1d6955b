"""The command `softtargets shadows`: models of many seeds for attacks per sample, by a sweep that only trains."""

import shlex
import sys
from typing import Annotated

import pydantic
from pydantic import Field

from softtargets.cli.main import command, refusing
from softtargets.cli.main import main as run
from softtargets.config.settings import refuse_misspelt
from softtargets.config.validation import FORBID, validated
from softtargets.errors import BadInput, to_type
from softtargets.report.attacks import can_show
from softtargets.report.seeds import LEAST

USAGE = """softtargets shadows: models of many seeds for attacks per sample

  softtargets shadows models=64 dataset=fashion_mnist dataset.train_size=6000

  models=64             seeds, from 0 on: an original, a retrained and another retrained model of each

It says what so many models can show, and trains those that the store lacks: an ordinary sweep, as by
softtargets run -m stage=train references=2 'seed=range(64)'. All other settings are those of a sweep, among them
hydra/launcher=slurm. With plan=true it only says what the store has and what is missing. Type the same command
again to resume; with more models=, the others are kept.
"""
DECIDED = {"seed", "stage", "mu_algo", "unlearn", "targets", "pairs", "-m", "--multirun"}


class ShadowSettings(pydantic.BaseModel):
    """The settings of the command alone."""

    model_config = FORBID
    models: Annotated[int, Field(ge=LEAST, le=10_000)] = 64


def main(words: list[str]) -> int:
    """Train the models that are missing, and return the exit code."""
    if {"--help", "-h"} & set(words):
        print(USAGE, end="")
        return 0
    with refusing():
        models, others = _settings(words)
    print(can_show(models), flush=True)
    seeds = f"seed=range({models})"
    folder = [] if _names(others) & {"hydra.sweep.dir"} else ["hydra.sweep.dir=${runs_dir}/shadows"]
    references = [] if _names(others) & {"references"} else ["references=2"]
    sys.argv[1:] = ["-m", "stage=train", "mu_algo=none", seeds, *references, *others, *folder]  # Hydra reads them
    command(run)
    shared = shlex.join([seeds, *references, *(word for word in others if not word.startswith("plan="))])
    print(f"next, for each arm, on the same models: {to_type('run')} -m {shared} mu_algo=npo")
    return 0


def _settings(words: list[str]) -> tuple[int, list[str]]:
    """Part the number of models from the words of the sweep."""
    values, others = {}, []
    for word in words:
        name, _, value = word.lstrip("+~").partition("=")
        if name in DECIDED:
            raise BadInput(f"{word}: shadows decides {name}. Leave it out")
        if name == "models":
            values[name] = int(value) if value.isdecimal() else value
        else:
            if name == "references" and value == "1":
                raise BadInput(f"{word}: shadows trains another retrained model of each seed: 2 or more")
            refuse_misspelt(word, ShadowSettings.model_fields)
            others.append(word)
    return validated(ShadowSettings, values, "").models, others


def _names(words: list[str]) -> set[str]:
    return {word.lstrip("+~").partition("=")[0] for word in words}
