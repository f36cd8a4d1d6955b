"""Pairs of a sweep: `pairs=25` runs each arm 25 times, with another seed, forget set and data each time."""

import re
from collections.abc import Callable

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from softtargets.config.settings import PairSettings
from softtargets.config.validation import validated
from softtargets.errors import BadInput

OWN = {"fail_fast": "null", "plan": "false"}
"""Settings of the sweep itself, with the values that its runs have."""
EXAMPLES = {"fail_fast": "3", "plan": "true"}
DECIDED = ("seed", "forget_set.seed", "dataset.seed")
"""Settings that `pairs` decides: all three are the number of the pair."""
FROM_TO = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")
"""The first and the last pair."""
LEAST_PAIRS, MOST_PAIRS = 2, 10_000
"""As many as `pairs` allows where it is a number."""
Parse = Callable[[list[str]], list[Override]]


def typed_out(
    params: list[Override], typed: list[Override], usual: int | str | None, parse: Parse
) -> list[Override]:
    """Return the overrides of a sweep with three seeds in place of `pairs=25` or `pairs=25-49`.

    `params` are the overrides of hydra.sweeper.params; the `typed` ones come after them and win. `usual` is the
    value in the config. Raises BadInput for a number that is not allowed, and if a seed is set beside it.
    """
    overrides = [*params, *typed]
    given = [one for one in overrides if one.key_or_group == "pairs"]
    value = _value(given[-1]) if given else usual
    numbers = _numbers(value)
    if numbers is None:
        return overrides
    for one in overrides:
        if one.key_or_group in DECIDED and not one.is_delete():
            raise BadInput(_both(one, value, in_params=one in params))
    rest = [one for one in overrides if one not in given]
    ends = (numbers.start, numbers.stop) if numbers.start else (numbers.stop,)
    seeds = [f"seed=range({','.join(map(str, ends))})", "forget_set.seed=${seed}", "dataset.seed=${seed}"]
    return [*rest, *parse(["pairs=null", *seeds])]


def own_settings(overrides: list[Override], config: DictConfig) -> PairSettings:
    """Return the sweep's own settings: the last values typed, or those in the config; raises BadInput."""
    values = {name: config[name] for name in OWN}
    for one in overrides:
        if one.key_or_group in OWN and not one.is_delete():
            if one.is_sweep_override():
                example = EXAMPLES[one.key_or_group]
                raise BadInput(f"{one.input_line}: must be one value, as in {one.key_or_group}={example}")
            values[one.key_or_group] = one.value()
    return validated(PairSettings, values, "")


def without_own(overrides: list[Override], config: DictConfig, parse: Parse) -> list[Override]:
    """Return the overrides with the values that runs have in place of the sweep's own settings."""
    rest = [one for one in overrides if one.key_or_group not in OWN]
    typed = {one.key_or_group for one in overrides}
    return [*rest, *parse([f"{name}={usual}" for name, usual in OWN.items() if name in typed or config[name]])]


def _value(given: Override) -> object:
    if given.is_sweep_override():
        raise BadInput(f"{given.input_line}: must be one number of pairs, as in pairs=25")
    return given.value()


def _numbers(value: object) -> range | None:
    """Return the numbers of the pairs: from 0 on as many as asked for, or from the first to the last of a text."""
    if isinstance(value, str) and (ends := FROM_TO.fullmatch(value)):
        first, last = map(int, ends.groups())
        if not LEAST_PAIRS <= last + 1 - first <= MOST_PAIRS:
            raise BadInput(
                f"pairs={value}: must be {LEAST_PAIRS} to {MOST_PAIRS:,} pairs, the first to the last, "
                "as in pairs=25-49"
            )
        return range(first, last + 1)
    number = validated(PairSettings, {"pairs": value}, "").pairs
    return None if number is None else range(number)


def _both(one: Override, number: object, in_params: bool) -> str:
    """Return the refusal of a seed that is set beside `pairs`."""
    word = re.sub(r"^\+*", "", one.input_line)
    where = f" (in hydra.sweeper.params; leave it out by '~hydra.sweeper.params.{one.key_or_group}')"
    return (
        f"{word}{where if in_params else ''}: pairs={number} already sets {', '.join(DECIDED)}, each to the "
        "number of the pair. Give one of the two"
    )
