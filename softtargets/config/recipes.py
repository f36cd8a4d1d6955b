"""The recipe of an architecture that has none of its own: `training=adamw`, typed for the user."""

import functools
import os
from collections.abc import Iterable
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from softtargets.layout import CONF

RECIPE = "training=adamw"


def with_recipe(words: Iterable[str]) -> list[str]:
    """Return the words of a command line, with a recipe for an architecture of the user's that has none.

    `training` follows the architecture, so for `architecture=mine` Hydra looks for `training/mine.yaml`.
    """
    words = list(words)
    try:
        typed = OverridesParser.create().parse_overrides([word for word in words if not word.startswith("-")])
    except HydraException:
        return words  # Hydra refuses them in a moment
    chosen = {one.key_or_group: one.value() for one in typed if not one.is_sweep_override()}
    name = chosen.get("architecture")
    if not isinstance(name, str) or any(one.key_or_group == "training" for one in typed):
        return words
    return [*words, RECIPE] if _lacks_recipe(name, _folders(typed)) else words


def sweeps(words: Iterable[str]) -> bool:
    """Return whether the words choose an experiment that makes a sweep of the call, without `-m`."""
    try:
        typed = OverridesParser.create().parse_overrides([word for word in words if not word.startswith("-")])
    except HydraException:
        return False  # Hydra refuses them in a moment
    names = [one.value() for one in typed if one.key_or_group == "experiment" and not one.is_sweep_override()]
    files = [folder / "experiment" / f"{name}.yaml" for name in names for folder in (CONF, *_folders(typed))]
    return any(_is_sweep(file) for file in files if os.path.isfile(file))


def _is_sweep(file: Path) -> bool:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return content["hydra"]["mode"] == "MULTIRUN"
    except (yaml.YAMLError, ValueError, OSError, TypeError, KeyError):
        return False  # no sweep, or a file that Hydra refuses in a moment


def each_with_recipe(combinations: list[list[str]], searchpath: Iterable[str]) -> list[list[str]]:
    """Return the overrides of a sweep's cells, each as `with_recipe` does; `searchpath` is `hydra.searchpath`."""
    own = tuple(map(_folder, searchpath))
    if not own:
        return combinations
    lacks_recipe = functools.cache(functools.partial(_lacks_recipe, own=own))  # a sweep has many cells, few names
    completed = []
    for words in combinations:
        named = dict(word.partition("=")[::2] for word in words)
        lacks = "training" not in named and lacks_recipe(named.get("architecture", ""))
        completed.append([*words, RECIPE] if lacks else words)
    return completed


def _lacks_recipe(name: str, own: tuple[Path, ...]) -> bool:
    """Return whether an architecture is in one of the user's folders, and a recipe of its name in none."""
    is_own = any(os.path.isfile(folder / "architecture" / f"{name}.yaml") for folder in own)
    return is_own and not any(os.path.isfile(folder / "training" / f"{name}.yaml") for folder in own)


def _folders(typed: Iterable[Override]) -> tuple[Path, ...]:
    """Return the folders of configs that the user adds."""
    paths = [one.value() for one in typed if one.key_or_group == "hydra.searchpath"]
    return tuple(_folder(path) for listed in paths if isinstance(listed, list) for path in listed)


def _folder(path: object) -> Path:
    return Path(str(path).removeprefix("file://"))
