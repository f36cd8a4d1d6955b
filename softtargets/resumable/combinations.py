"""The cells of a sweep as overrides: every combination of the values that were typed."""

import itertools
from collections.abc import Iterable

from hydra.core.override_parser.types import Override

from softtargets.errors import BadInput


def every_combination(overrides: Iterable[Override]) -> list[list[str]]:
    """Return the overrides of every combination of values; of several overrides of a setting the last wins."""
    values = {}
    for override in overrides:
        name = override.get_key_element()
        if not override.is_sweep_override():
            values[name] = [f"{name}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            values[name] = [f"{name}={value}" for value in override.sweep_string_iterator()]
        else:
            raise BadInput(f"{override.input_line}: a sweep cannot draw from an interval. Type a list or a range")
    return [list(words) for words in itertools.product(*values.values())]
