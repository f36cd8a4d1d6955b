"""Plans: what every call of a sweep means to run, in a file of the sweep's folder, for reports to miss it.

A call writes one plan, and the same call writes it again: plans of several calls in one folder add up, and no two
processes write different content to one file.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from softtargets.layout import PLANS
from softtargets.system.files import clear, make_folder, read_json, write_json

SEEDS = ("seed", "forget_set.seed", "dataset.seed")
"""Settings in which the runs of an arm differ."""
Arm = tuple[str, ...]
"""The overrides that the runs of an arm have in common."""


def write_plan(sweep: Path, overrides_of: Mapping[str, Iterable[str]]) -> None:
    """Write the plan of a call: the overrides of every run, by the name of its folder in the sweep's."""
    arms: dict[Arm, int] = {}
    cells = {name: arms.setdefault(arm_of_words(words), len(arms)) for name, words in overrides_of.items()}
    # not by the folders: their hashes change with the content of files, and the call stays the same
    asked = json.dumps([list(words) for words in overrides_of.values()])
    place = sweep / PLANS
    make_folder(place)
    clear(place)
    name = f"{hashlib.sha256(asked.encode()).hexdigest()[:12]}.json"
    write_json(place / name, {"arms": [list(arm) for arm in arms], "cells": cells})


def read_plans(sweep: Path) -> dict[Path, Arm]:
    """Return the arm of every planned run, by its folder.

    Raises Damaged for a plan that was altered, OSError for one that cannot be read.
    """
    arm_of: dict[Path, Arm] = {}
    for file in sorted((sweep / PLANS).glob("*.json")):
        plan = read_json(file)
        arms = [tuple(words) for words in plan["arms"]]
        arm_of |= {sweep / name: arms[number] for name, number in plan["cells"].items()}
    return arm_of


def arm_of_words(words: Iterable[str]) -> Arm:
    """Return the overrides of a run that all runs of its arm have."""
    return tuple(word for word in words if word.partition("=")[0] not in SEEDS)
