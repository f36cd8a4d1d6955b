"""Content of the user's files: a SHA-256 for every setting of a run that names a file or a folder.

A setting is hashed if a part annotates it as a `Place` and its value names an existing file or folder. A text of
another annotation is hashed if it names a file: the part may lack the annotation. A folder is not: the text may be
"/", the whole disk. `dataset.root` is not hashed either, since our loaders verify what they read there.
"""

import functools
import hashlib
import inspect
import json
import os
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hydra.utils import get_object

from softtargets import marks
from softtargets.config import allowed_targets
from softtargets.config.validation import naming
from softtargets.errors import BadInput
from softtargets.marks import Reads
from softtargets.ranges import Place

SHOWN = 12
"""Hexadecimal digits of a hash in a sentence."""


class Text(typing.NamedTuple):
    """A text in the groups of a config."""

    setting: str
    """Its dotted name."""
    value: str
    part: str
    """The `_target_` that takes it."""
    parameter: str
    """The part's parameter; the text may be nested in its value."""

    @property
    def group(self) -> str:
        """Return the config group that it is in."""
        return self.setting.partition(".")[0]


def sha256s(config: dict, groups: Iterable[str], digest: Callable[[Path, Reads | None], str]) -> dict[str, str]:
    """Return the SHA-256 of the file or folder that each setting names, by the setting's dotted name.

    Raises BadInput for a file that cannot be read, and for a `_target_` that is not allowed.
    """
    named = [text for text in _texts({group: config[group] for group in groups}) if _is_there(text, config)]
    if named:
        allowed_targets.require_allowed(
            {group: config[group] for group in groups}, config["plugins"]
        )  # before one is imported
    files = [(text.setting, text.value, *how) for text in named if (how := _taken(text))]
    weights = config["architecture"].get("weights")
    for setting, value in (("checkpoint", config["checkpoint"]), ("architecture.weights", weights)):
        if isinstance(value, str):
            files.append((setting, value, False, None))
    by_setting = {}
    for setting, value, may_be_folder, reads in files:
        path = Path(os.path.expanduser(value))
        if os.path.isfile(path) or (may_be_folder and os.path.isdir(path)):  # what is no path is refused later
            with naming(f"{setting}={value}", (OSError, ValueError)):
                by_setting[setting] = digest(path, reads)
    return by_setting


def holds_downloads(config: dict) -> bool:
    """Return whether `dataset.root` is the folder of downloads, which a loader verifies by itself."""
    dataset = config["dataset"]
    return str(dataset.get("_target_")).startswith("softtargets.") or dataset.get("root") == config["data_dir"]


def require(config: dict, known: dict[str, str], since: str, advice: str) -> None:
    """Raise BadInput for the first setting whose content differs from its `known` hash, taken at `since`."""
    for setting, sha256 in known.items():
        value, now = value_of(config, setting), config.get("contents", {}).get(setting)
        if now is None:
            raise BadInput(f"{setting}={value}: no such file or folder, but it existed when {since}. {advice}")
        if now != sha256:
            raise BadInput(
                f"{setting}={value}: its content has changed since {since} (sha256 was {sha256[:SHOWN]}…, is "
                f"{now[:SHOWN]}…). {advice}"
            )


def require_same(config: dict) -> None:
    """Raise BadInput if a file or folder of a config differs from its known hash by now."""
    for setting, value, sha256 in files_of(config):
        reads = _taken(next(text for text in _texts(config) if text.setting == setting))[1]
        if sha256_of(Path(value).expanduser(), reads) != sha256:
            raise BadInput(f"{setting}={value}: its content has changed while it was read. Run it again")


def planned(text: object) -> dict[str, str]:
    """Return the hashes of a sweep's plan, which it passes to its runs in `contents`; raises BadInput."""
    with naming(f"contents={text}"):
        return checked(json.loads(text), f"contents={text}")


def checked(value: object, where: str) -> dict[str, str]:
    """Return `value`, a mapping of settings to hashes; raises BadInput for anything else."""
    if isinstance(value, dict) and all(isinstance(text, str) for pair in value.items() for text in pair):
        return value
    raise BadInput(f"{where}: must map settings to hashes, as in a run's config.yaml")


def value_of(config: dict, setting: str) -> str | None:
    """Return the path that a setting names; None if there is no such setting."""
    texts = {text.setting: text.value for text in _texts(config)}
    return texts.get(setting, config.get(setting))


def files_of(config: dict) -> tuple[tuple[str, str, str], ...]:
    """Return setting, path and SHA-256 of every file and folder with a known hash."""
    known = config.get("contents", {})
    return tuple((setting, str(value_of(config, setting)), sha256) for setting, sha256 in known.items())


def by_content(config: dict) -> dict:
    """Return the config with `sha256:…` instead of every path with a known hash."""
    known = config.get("contents", {})
    return _replaced(config, {setting: f"sha256:{sha256}" for setting, sha256 in known.items()})


def _replaced(node: object, new: dict[str, str], where: str = "") -> object:
    if where in new:
        return new[where]
    if isinstance(node, dict):
        return {key: _replaced(child, new, f"{where}.{key}" if where else str(key)) for key, child in node.items()}
    if isinstance(node, list):
        return [_replaced(child, new, f"{where}.{i}") for i, child in enumerate(node)]
    return node


def _texts(node: object, where: str = "", part: str = "", parameter: str = "") -> Iterator[Text]:
    """Yield every text that a part takes, at any depth."""
    if isinstance(node, str) and part:
        yield Text(where, node, part, parameter)
    own = isinstance(node, dict) and "_target_" in node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        if own and str(key).startswith("_"):
            continue  # _target_, _partial_ and the like are Hydra's
        name = f"{where}.{key}" if where else str(key)
        yield from _texts(child, name, *((str(node["_target_"]), str(key)) if own else (part, parameter)))


def _is_there(text: Text, config: dict) -> bool:
    """Return whether a text names an existing file or folder, without importing a part."""
    if text.setting == "dataset.root" and holds_downloads(config):
        return False
    return os.path.exists(os.path.expanduser(text.value))


def _taken(text: Text) -> tuple[bool, Reads | None] | None:
    """Return whether a text may be a folder, and the function that lists its files; None if it is not a path."""
    part = get_object(text.part)
    constructor = part.__init__ if inspect.isclass(part) else part
    takes = inspect.signature(part).parameters
    if text.parameter not in takes and not any(one.kind is one.VAR_KEYWORD for one in takes.values()):
        return None  # checked elsewhere, like the settings that every dataset has
    hint = _annotations(typing.get_type_hints(constructor, include_extras=True).get(text.parameter))
    if any(typing.get_origin(one) is typing.Literal for one in hint):
        return None
    with naming(f"{text.group}._target_={text.part}"):
        return Place in hint, marks.of_group(text.group).of(part).reads


def _annotations(hint: object) -> list[object]:
    """Return an annotation and all annotations in it: `list[Place] | None` contains `Place`."""
    return [hint, *(inner for one in typing.get_args(hint) for inner in _annotations(one))]


def sha256_of(path: Path, reads: Reads | None = None) -> str:
    """Hash a file's bytes, or the relative names and bytes of the files in a folder (those that `reads` lists).

    A process reads a file again only if its size or times have changed.
    """
    if path.is_file():
        return _file_digest(path, _stamp(path))
    files = map(str, reads(path) if reads else _below(path))
    start = len(f"{path}{os.sep}")
    return _folder_digest(path, tuple((file[start:], _stamp(file)) for file in files))


def _stamp(path: Path | str) -> tuple[int, ...]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _below(folder: Path) -> list[Path]:
    """List every file below a folder except hidden ones; links are followed."""
    below, entered = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        entered.add(os.path.realpath(place))
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(place, name)) not in entered
        ]
        below += [Path(place, name) for name in files if not name.startswith(".")]
    return sorted(below)


@functools.lru_cache(maxsize=64)
def _file_digest(path: Path, stamp: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.lru_cache(maxsize=8)
def _folder_digest(folder: Path, listing: tuple[tuple[str, tuple[int, ...]], ...]) -> str:
    whole = hashlib.sha256()
    above = f"{folder}{os.sep}"  # texts, since 60,000 paths would take as long as the hashes
    for name, _ in listing:
        with open(above + name, "rb") as file:
            content = file.read()
        whole.update(os.fsencode(name.replace(os.sep, "/")) + b"\0" + hashlib.sha256(content).digest())
    return whole.hexdigest()
