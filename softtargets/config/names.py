"""Names of the parts of a run: a group has its option's name only if its parts are those of the option's file.

Targets have the name of a preset, or of their kinds as `forget/retain`, followed by values that differ from it.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from omegaconf import OmegaConf

from softtargets.layout import CONF

SIDES = ("forget", "retain")


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The options that a config was composed from, and the folders of their files."""

    options: dict[str, str]
    """By group; a side of the targets as `targets_forget`."""
    places: tuple[Path, ...] = (CONF,)

    def names(self, config: dict) -> dict:
        """Return the name of each group's part in a resolved config; a group that it lacks keeps its option's."""
        sides = {f"targets_{side}": side for side in SIDES}
        names = dict(self.options)
        for group, option in self.options.items():
            if group in sides:
                names[group] = self._kind(sides[group], config.get("targets"))[0]
            elif group != "targets" and isinstance(option, str) and isinstance(config.get(group), dict):
                names[group] = self._group(group, config[group], option)
        return names | {"targets": self._targets(config.get("targets"))}

    def file(self, group: str) -> dict | None:
        """Return the content of the file of a group's option; None if it is not here."""
        return self._file(group, self.options[group])

    def preset(self, setting: str) -> str | None:
        """Return as GROUP=OPTION the option whose file sets a setting; None if none does."""
        group, *below = setting.split(".")
        if group == "targets":
            group, below = f"targets/{below[0]}", below[1:]
        option = self.options.get(group.replace("/", "_"))
        if option is None:
            return None
        node, absent = self._file(group, option), object()
        for name in below:
            node = node.get(name, absent) if isinstance(node, dict) else absent
        return None if node is absent else f"{group}={option}"

    def _group(self, group: str, node: dict, name: str) -> str:
        """Name a group by its option and the parts that differ from the option's, or by its `_target_`."""
        option = name.partition(" ")[0]
        usual, here = self._file(group, option), _parts(node)
        if here.get("") == "softtargets.torchvision":
            return f"torchvision.{node.get('name')}"
        if not here or (usual is None and "." not in option):
            return name  # nothing else names it, or the option's file is a user's and not here
        # a part that the preset takes from another group is as that group says
        follows = [at for at, value in (usual or {}).items() if isinstance(value, str) and value.startswith("${")]
        here = {at: part for at, part in here.items() if at.partition(".")[0] not in follows}
        usual = _parts(usual or {})
        if here.get("") != usual.get(""):
            same = [other for other in self._options(group) if _parts(self._file(group, other)) == here]
            return same[0] if same else str(node.get("_target_"))
        changed = [
            f"{at}={here.get(at, 'null')}" for at in sorted({*usual, *here}) if here.get(at) != usual.get(at)
        ]
        return " ".join([option, *changed])

    def _targets(self, node: object) -> str:
        """Name targets by an equal preset, by one of the same kinds, or else by their kinds."""
        name = self.options["targets"]
        preset = name.partition(" ")[0]
        presets = {other: self._file("targets", other) for other in (preset, *self._options("targets"))}
        if presets[preset] is None and not re.search("[./ ]", name):
            return name
        here = _comparable(node)
        for other, sides in presets.items():
            if sides is not None and _comparable_file("targets", other, self.places) == here:
                return other
        (forget, usual_forget), (retain, usual_retain) = (self._kind(side, node) for side in SIDES)
        if None in (forget, retain):
            return name
        kinds, usual = (forget, retain), {"forget": usual_forget, "retain": usual_retain}
        same = next((other for other in presets if _kinds(other, self.places) == kinds), None)
        return " ".join([same or "/".join(kinds), *_changed(node, presets.get(same) or usual)])

    def _kind(self, side: str, targets: object) -> tuple[str | None, dict | None]:
        """Return the name of a side's kind and its usual values; a user's kind has none."""
        option = self.options.get(f"targets_{side}")
        node = targets.get(side) if isinstance(targets, dict) else None
        target = _part(node)
        if target is None:
            return option, None
        group = f"targets/{side}"
        files = {other: self._file(group, other) for other in (option, *self._options(group)) if other}
        if option in files and files[option] is None and "." not in option:
            return option, None
        same_part = {other: file for other, file in files.items() if file and _part(file) == target}
        here = _comparable(node)
        equal = (other for other in same_part if _comparable_file(group, other, self.places) == here)
        name = next(equal, next(iter(same_part), None))
        return (node["_target_"], {}) if name is None else (name, same_part[name])

    def _options(self, group: str) -> list[str]:
        return _options(group, self.places)

    def _file(self, group: str, option: str) -> dict | None:
        return composed(group, option, self.places)


@functools.cache
def _options(group: str, places: tuple[Path, ...]) -> list[str]:
    folders = [place / group for place in places if os.path.isdir(place / group)]
    return sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})


@functools.cache
def _kinds(preset: str, places: tuple[Path, ...]) -> tuple[str | None, ...] | None:
    """Return the kinds of a preset's two sides."""
    if (file := _find("targets", preset, places)) is None:
        return None
    kinds = {side: kind for entry in OmegaConf.load(file).get("defaults", []) for side, kind in _items(entry)}
    return tuple(kinds.get(side) for side in SIDES)


def _items(entry: object) -> Iterator[tuple[str, str]]:
    return iter(entry.items() if OmegaConf.is_dict(entry) else ())


def _parts(node: object, at: str = "") -> dict[str, str]:
    """Return every `_target_` in a node by its place; ours without their modules, which may change."""
    if not isinstance(node, dict):
        return {}
    parts = {at: part} if (part := _part(node)) else {}
    for name, child in node.items():
        parts |= _parts(child, f"{at}.{name}" if at else name)
    return parts


def _comparable(node: object) -> object:
    """Return a node with our parts named without their modules."""
    if not isinstance(node, dict):
        return node
    rest = {name: _comparable(child) for name, child in node.items() if name != "_target_"}
    return rest | {"_target_": _part(node)}


@functools.cache
def _comparable_file(group: str, option: str, places: tuple[Path, ...]) -> object:
    return _comparable(composed(group, option, places))


def _part(node: object) -> str | None:
    """Return the `_target_` of a node itself, ours without its module."""
    target = node.get("_target_") if isinstance(node, dict) else None
    return re.sub(r"^softtargets\.(\w+\.)*", "softtargets.", target) if isinstance(target, str) else None


def _changed(node: object, usual: dict) -> list[str]:
    """Return the values of both sides that differ from the usual ones, as they are typed."""
    changed = []
    for side in SIDES:
        values = node.get(side) if isinstance(node, dict) else None
        if isinstance(values, dict) and "_target_" in values and usual[side] is not None:
            default = {"modifiers": [], "_partial_": True} | usual[side]
            other = {name: v for name, v in values.items() if name != "_target_" and v != default.get(name)}
            changed += [f"{side}.{name}={_typed(value)}" for name, value in other.items()]
    return changed


def _typed(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    return "null" if value is None else str(value)


def _find(group: str, option: str, places: tuple[Path, ...]) -> Path | None:
    """Return an option's file; a name in a result may be anything, and must not lead out of `places`."""
    if not re.fullmatch(r"[\w-]+(/[\w-]+)*", str(option)):
        return None
    files = (place / group / f"{option}.yaml" for place in places)
    return next((file for file in files if os.path.isfile(file)), None)


@functools.cache
def composed(group: str, option: str, places: tuple[Path, ...] = (CONF,)) -> dict | None:
    """Compose one option; None if there is no such file, or it includes one that only Hydra can find.

    Hydra would need a tenth of a second and the whole config.
    """
    if (file := _find(group, option, places)) is None:
        return None
    own = OmegaConf.load(file)
    defaults = [entry for entry in own.pop("defaults", []) if not _is_override(entry)]
    node = OmegaConf.create()
    for entry in [*defaults, *(["_self_"] if "_self_" not in defaults else [])]:
        more = OmegaConf.to_container(own) if entry == "_self_" else _included(group, entry, places)
        if more is None:
            return None
        node = OmegaConf.merge(node, more)
    return OmegaConf.to_container(node)


def _is_override(entry: object) -> bool:
    """Return whether an entry of a defaults list changes the choice of another group, as relabel's does."""
    return any(key.startswith("override ") for key, _ in _items(entry))


def _included(group: str, entry: object, places: tuple[Path, ...]) -> dict | None:
    """Compose an entry of a defaults list: an option of this group, of another (@_here_) or of a subgroup."""
    if isinstance(entry, str):
        other = entry.removesuffix("@_here_")
        above, _, option = other.rpartition("/") if other.startswith("/") else (f"/{group}", "", other)
        return composed(above.strip("/"), option, places)
    sides = {side: composed(f"{group}/{side}", kind, places) for side, kind in _items(entry)}
    return None if None in sides.values() else sides
