"""Tuned on: the data that a search saw when it chose settings, which a run carries into its result."""

import hashlib
import re
from typing import Literal

import pydantic

from softtargets.config.dataset_names import called
from softtargets.config.validation import FORBID, validated
from softtargets.errors import BadInput
from softtargets.system.files import canonical

RESERVED = 1000
"""First seed that is for tuning: a search takes seeds from here on, and a study those below."""
SETTING = "tuned.tuned_on"
"""The setting by which words carry it to a run."""
DIGITS = 12
"""Hexadecimal digits of a forget set's hash."""


class TunedOn(pydantic.BaseModel):
    """What a search saw."""

    model_config = FORBID
    dataset: str
    images: int
    """Training images of a run."""
    seeds: list[int]
    """Run seeds."""
    forget_sets: list[int]
    """Their seeds."""
    classes: list[int] = []
    """Classes that were to be forgotten."""
    fixed: str | None = None
    """Hash of a forget set that is the same whatever its seed, see `fixed_hash`."""
    test_images: int = 0
    """Test images that the score saw."""
    recipe: str | None = None
    """Recipe of training, see `recipe_of`; None where it is not known."""
    cost: float | None = None
    """Budget, `unlearn.cost`; None for a search without one."""
    trials: int | None = None
    """Tries of the search; None where it is not known."""
    objective: str | None = None
    """What its score was, see `softtargets search --help`; None where it is not known."""
    start: Literal["nothing", "tables"] | None = None
    """Whether the search began with what tables had for the arm (`known=DIR`); None where it is not known."""


def checked(node: object, where: str) -> dict:
    """Return the content of a `TunedOn`; raises BadInput for anything else."""
    if not isinstance(node, dict):
        raise BadInput(f"{where}={node!r}: must be a group with {', '.join(TunedOn.model_fields)}")
    return validated(TunedOn, node, where).model_dump()


def typed(tuned_on: dict) -> str:
    """Return the word of a command line by which a run carries it."""
    fields = (f"{name}:{_typed(value)}" for name, value in tuned_on.items() if value is not None)
    return f"+{SETTING}={{{','.join(fields)}}}"


def _typed(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return f"'{value}'" if re.search(r"[^\w.-]", str(value)) else str(value)


def fixed_hash(forget_set: dict) -> str:
    """Return the first digits of the SHA-256 of a kind of forget set without its seed, files by their content."""
    node = {name: value for name, value in forget_set.items() if name != "seed"}
    return hashlib.sha256(canonical(node).encode()).hexdigest()[:DIGITS]


def recipe_of(config: dict, choices: dict) -> str:
    """Return the name of a config's recipe of training, with the first digits of its SHA-256.

    The number format has no part in it: it follows the machine.
    """
    node = {name: value for name, value in config["training"].items() if name != "precision"}
    return f"{choices['training']}-{hashlib.sha256(canonical(node).encode()).hexdigest()[:6]}"


def unlike(tuned_on: dict, config: dict, choices: dict, images: int) -> list[str]:
    """Return a sentence for all in which a run differs from what its settings were tuned on."""
    size, recipe, cost = (tuned_on.get(name) for name in ("images", "recipe", "cost"))
    said = [size and of_another_size(tuned_on, choices, images)]
    if recipe is not None and recipe != (used := recipe_of(config, choices)):
        said.append(f"settings were tuned with recipe {recipe}, and are used with {used}")
    if cost is not None and cost != (used := config["unlearn"].get("cost")):
        said.append(f"settings were tuned at unlearn.cost={cost}, and are used at {used or 'null'}")
    return [one for one in said if one]


def of_another_size(tuned_on: dict, choices: dict, images: int) -> str | None:
    """Return a sentence where settings were tuned on other data than a run's, or on more or fewer images."""
    if (tuned_on["dataset"], tuned_on["images"]) == (choices["dataset"], images):
        return None
    there, here = called(tuned_on["dataset"], {}), called(choices["dataset"], choices)
    return (
        f"settings were tuned on {tuned_on['images']:,} images of {there}, and are used with {images:,} of {here}"
    )
