"""The recipe of an architecture that has none of its own: `training=adamw`, typed for the user."""

import functools
import os
from collections.abc import Iterable
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from softtargets.config import paths
from softtargets.layout import CONF

RECIPE = "training=adamw"
TARGET = "architecture._target_"
DECISIVE = ("experiment", "architecture", TARGET, "training")
"""Words that decide whether there is a recipe."""
USUAL = "mlp"
"""The architecture where none is chosen."""


def with_recipe(words: Iterable[str]) -> list[str]:
    """Return the words of a command line, with a recipe for an architecture of the user's that has none.

    `training` follows the architecture, so for `architecture=mine` Hydra looks for `training/mine.yaml`. For
    `architecture._target_=mine.Net` it takes the recipe of the option, which is for another network.
    """
    words = list(words)
    try:
        typed = OverridesParser.create().parse_overrides([word for word in words if not word.startswith("-")])
    except HydraException:
        return words  # Hydra refuses them in a moment
    chosen = {one.key_or_group: None if one.is_sweep_override() else one.value() for one in typed}
    return [*words, RECIPE] if _lacks_recipe(chosen, _folders(typed)) else words


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
    return _at(_content(file), "hydra", "mode") == "MULTIRUN"


def _at(node: object, *keys: str) -> object:
    """Return what is at a place in a config, None where there is nothing."""
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _content(file: Path) -> dict:
    """Return the content of a config; nothing for one that Hydra refuses in a moment."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, OSError):
        return {}
    return content if isinstance(content, dict) else {}


def each_with_recipe(combinations: list[list[str]], searchpath: Iterable[str]) -> list[list[str]]:
    """Return the overrides of a sweep's cells, each as `with_recipe` does; `searchpath` is `hydra.searchpath`."""
    own = paths.config_folders(searchpath)
    lacks = functools.cache(
        lambda *chosen: _lacks_recipe(dict(chosen), own)
    )  # a sweep has many cells, few networks
    completed = []
    for words in combinations:
        named = (word.lstrip("+").partition("=")[::2] for word in words)
        chosen = [(name, value) for name, value in named if name in DECISIVE]
        completed.append([*words, RECIPE] if lacks(*chosen) else words)
    return completed


def _lacks_recipe(chosen: dict[str, object], own: tuple[Path, ...]) -> bool:
    """Return whether a network is another than its option's, or the option is the user's and has no recipe.

    `chosen` are the typed options by group, and the typed `_target_`; None where several are. An experiment may
    choose both.
    """
    options = _of_experiment(chosen.get("experiment"), own) | chosen
    name = options.get("architecture", USUAL)
    if not isinstance(name, str) or "training" in options:
        return False
    files = [folder / "architecture" / f"{name}.yaml" for folder in (CONF, *own)]
    file = next((file for file in files if os.path.isfile(file)), None)
    if file is None:
        return False  # Hydra refuses it in a moment
    if TARGET in options:
        return options[TARGET] not in (None, _content(file).get("_target_"))
    return file != files[0] and not any(os.path.isfile(folder / "training" / f"{name}.yaml") for folder in own)


def _of_experiment(name: object, own: tuple[Path, ...], above: tuple[str, ...] = ()) -> dict[str, object]:
    """Return the options and the network that an experiment and those in its defaults choose.

    What its cells choose is None.
    """
    if not isinstance(name, str) or name in above:  # Hydra refuses an experiment that is a part of itself
        return {}
    files = (folder / "experiment" / f"{name}.yaml" for folder in (CONF, *own))
    content = next((_content(file) for file in files if os.path.isfile(file)), {})
    chosen: dict[str, object] = {}
    for entry in content.get("defaults") or ():
        if isinstance(entry, str):
            chosen |= _of_experiment(entry.removeprefix("/experiment/"), own, (*above, name))
        elif isinstance(entry, dict):
            chosen |= {str(group).removeprefix("override /"): option for group, option in entry.items()}
    if target := _at(content, *TARGET.split(".")):
        chosen[TARGET] = target
    swept = _at(content, "hydra", "sweeper", "params")
    return chosen | dict.fromkeys(swept if isinstance(swept, dict) else ())


def _folders(typed: Iterable[Override]) -> tuple[Path, ...]:
    """Return the folders of configs that the user adds."""
    listed = [one.value() for one in typed if one.key_or_group == "hydra.searchpath"]
    return paths.config_folders(entry for entries in listed if isinstance(entries, list) for entry in entries)
