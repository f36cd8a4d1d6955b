"""Settings that name a file or a folder, their values in quotes for Hydra, and the folders of configs.

In Hydra's grammar of overrides a value with = or brackets needs quotes, and a shell removes the outer ones. Every
folder of a sweep has = in its name.
"""

import importlib.util
import os
import re
from collections.abc import Iterable
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from softtargets.errors import BadInput

PLACES = (
    *("data_dir", "runs_dir", "checkpoint", "rerun", "store.dir"),
    *("dataset.root", "dataset.path", "forget_set.path", "architecture.weights"),
)
"""Settings of a run that name a file or a folder."""
HYDRAS = ("hydra.run.dir", "hydra.sweep.dir")
OWN_GRAMMAR = re.compile(r"""["'[{]|\w+\(""")
"""The start of a value in Hydra's grammar: quotes, a list, a dictionary or a function."""


def quoted(words: Iterable[str], several: bool) -> list[str]:
    """Return overrides with quotes around paths that Hydra cannot read, or would split at a comma.

    `several`: the overrides make a sweep, in which a comma separates two paths if both exist.
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
    """Return whether Hydra reads the path in this word correctly; `one`: it is not a list of paths."""
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    if override.is_sweep_override():
        return not one
    return not isinstance(override.value(), int | float) or isinstance(override.value(), bool)


def in_quotes(text: str) -> str:
    """Return a text in quotes, as a value in Hydra's grammar."""
    return QuotedString(text, Quote.double).with_quotes()


def config_folders(searchpath: Iterable[object]) -> tuple[Path, ...]:
    """Return the folders that entries of `hydra.searchpath` name: file://FOLDER, FOLDER alone or pkg://PACKAGE."""
    folders = map(config_folder, map(str, searchpath))
    return tuple(folder for folder in folders if folder is not None)


def first_file(folders: Iterable[Path], name: str, advice: str) -> Path | None:
    """Return the file of this name in the first folder of configs that has one, which alone is read.

    Raises BadInput, with `advice`, for a file of another content in a later folder: nobody would hear of it.
    """
    # Path.is_file raises for a name that is too long; this is False, and such a name is refused where it is read.
    files = [file for folder in folders if os.path.isfile(file := Path(folder, name))]
    for file in files[1:]:
        if file.read_bytes() != files[0].read_bytes():
            reason = f"{file} would not be read, as {files[0]} has its name"
            raise BadInput(f"hydra.searchpath: {reason}. {advice}")
    return files[0] if files else None


def config_folder(entry: str) -> Path | None:
    """Return the folder of configs that an entry of `hydra.searchpath` names; None for what is none."""
    scheme, _, place = entry.rpartition("://")
    if scheme in ("", "file"):
        return Path(place)
    return _package_folder(place) if scheme == "pkg" else None


def _package_folder(package: str) -> Path | None:
    """Return the folder of a package by its dotted name, without importing it: that would run its code."""
    first, *below = package.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None  # Hydra refuses it in a moment
    places = spec.submodule_search_locations if spec else None
    folders = [Path(place, *below) for place in places or ()]
    return next((folder for folder in folders if folder.is_dir()), None)
