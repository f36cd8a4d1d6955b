"""Settings that name a file or a folder, and how such a name is put so that Hydra reads it.

In Hydra's grammar of overrides a value with = or brackets in it must stand in quotes, of which a shell takes away
the outer ones. Every folder of a sweep has = in its name.
"""

import os
import re
from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

PLACES = (
    *("data_dir", "runs_dir", "checkpoint", "rerun", "store.dir"),
    *("dataset.root", "dataset.path", "forget_set.path"),
)
"""Settings of a run that name a file or a folder."""
HYDRAS = ("hydra.run.dir", "hydra.sweep.dir")
OWN_GRAMMAR = re.compile(r"""["'[{]|\w+\(""")
"""How a value begins that is meant for Hydra's grammar: in quotes, a list, a dictionary or a function."""


def quoted(words: Iterable[str], several: bool) -> list[str]:
    """Return overrides in which paths that Hydra could not read, or would take for several, stand in quotes.

    `several`: they make a sweep, in which a comma stands between two paths if both are there.
    """
    return [_quoted(word, several) for word in words]


def _quoted(word: str, several: bool) -> str:
    setting, _, value = word.partition("=")
    name = setting.lstrip("+")
    if name not in (*PLACES, *HYDRAS) or not value or OWN_GRAMMAR.match(value):
        return word
    one = name in HYDRAS or _is_there(value)
    if _is_plain(word, one):
        return word
    parts = value.split(",")
    parts = parts if several and not one and all(map(_is_there, parts)) else [value]
    return f"{setting}={','.join(map(in_quotes, parts))}"


def _is_there(path: str) -> bool:
    return os.path.lexists(os.path.expanduser(path))


def _is_plain(word: str, one: bool) -> bool:
    """Return whether Hydra reads a path in this word as it is meant; `one`: it is no list of paths."""
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    if override.is_sweep_override():
        return not one
    return not isinstance(override.value(), int | float) or isinstance(override.value(), bool)


def in_quotes(text: str) -> str:
    """Return a text as a value of Hydra's grammar."""
    return QuotedString(text, Quote.double).with_quotes()
