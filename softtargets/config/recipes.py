"""The recipe of an architecture that has none of its own: `training=adamw`, typed for the user."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

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
    own = list(_folders(typed))
    is_own = any((folder / "architecture" / f"{name}.yaml").is_file() for folder in own)
    has_recipe = any((folder / "training" / f"{name}.yaml").is_file() for folder in own)
    return [*words, RECIPE] if is_own and not has_recipe else words


def _folders(typed: Iterable[Override]) -> Iterator[Path]:
    """Yield the folders of configs that the user adds."""
    for one in typed:
        if one.key_or_group == "hydra.searchpath" and isinstance(one.value(), list):
            yield from (Path(str(path).removeprefix("file://")) for path in one.value())
