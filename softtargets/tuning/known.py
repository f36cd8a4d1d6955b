"""Settings that tables already have for an arm, as starts of a search of it."""

from pathlib import Path

from optuna.distributions import CategoricalDistribution

from softtargets.config import tuned
from softtargets.config.at_cost import by_name, name_of
from softtargets.errors import BadInput
from softtargets.tuning.space import Block, Space
from softtargets.tuning.winner import number


def with_known(space: Space, folder: Path, algorithm: str, targets: str) -> Space:
    """Return a space that starts, after its own starts, from what tables in `folder` have for an arm.

    Entries of all budgets, sizes, networks and kinds of forget set count. A setting that an entry does not name,
    or whose value the space does not have, is as in the first try. Raises BadInput where no table has an entry.
    """
    entries = _entries(folder, algorithm, targets)
    if not entries:
        raise BadInput(f"known={folder}: no table there has an entry with a cost for {algorithm} {targets}")
    return {name: block.starting_from(_fitting(block, entries)) for name, block in space.items()}


def _entries(folder: Path, algorithm: str, targets: str) -> list[dict[str, str]]:
    """Return the words of an arm's entries that were searched at a cost, by the names of settings."""
    tables = (tuned.read_table(folder / f"{name}.yaml") or {} for name in tuned.names(folder))
    entries = (one for table in tables for one in table.get(algorithm, {}).get(targets, []) if "cost" in one)
    return [by_name(one["words"]) for one in entries]


def _fitting(block: Block, entries: list[dict[str, str]]) -> list[dict[str, object]]:
    """Return the values of a block's settings in the entries that have the block's fixed words."""
    fixed = by_name(block.fixed)
    same = (one for one in entries if fixed.items() <= one.items())
    return [{name: _value(block, name, one) for name in block.drawn} for one in same]


def _value(block: Block, setting: str, entry: dict[str, str]) -> object:
    """Return an entry's value of a drawn setting; that of the first try where the space does not have it."""
    one, text, usual = block.drawn[setting], entry.get(name_of(setting)), block.first()[setting]
    if text is None or isinstance(one, CategoricalDistribution):
        return text if text is not None and text in one.choices else usual
    value = number(text)
    return type(one.low)(value) if value is not None and one.low <= value <= one.high else usual
