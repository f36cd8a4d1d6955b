"""Values of plain settings in a config without interpolations, and in those that refer to them.

OmegaConf takes 3 ms to set a value and to resolve a config of ours, and a sweep has thousands of cells. Here other
values are set in a config that OmegaConf resolved once, if no interpolation can be another one by that.
"""

import re

REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")
"""A text that is the value of another setting, as `${seed}`."""
LOOK_UP = re.compile(r"\$\{oc\.(?:env|select):[^${}]*\}")
"""A text, or a part of one, that names where its value is looked up; it depends on what it names alone."""
MISSING = "???"


class Settled:
    """A config without interpolations, `plain`, and the same one with them, `open_`."""

    def __init__(self, plain: dict, open_: dict):
        self.plain = plain
        texts = dict(_open_texts(open_))
        self.references = {name: match[1] for name, text in texts.items() if (match := REFERENCE.fullmatch(text))}
        self.others = {name: text for name, text in texts.items() if name not in self.references}

    def with_values(self, values: dict[str, object]) -> dict | None:
        """Return the config with other values of these settings; None where OmegaConf has to resolve it."""
        references = {name: ref for name, ref in self.references.items() if name not in values}
        texts = [text for name, text in self.others.items() if name not in values]
        if not all(_depends_on_none(text, {*values, *references}) for text in texts):
            return None
        config = _copied(self.plain)
        for name, value in values.items():
            if isinstance(value, str) and (match := REFERENCE.fullmatch(value)):
                references[name] = match[1]
            elif _has_more(value) or not _put(config, name, value):
                return None
        linked = {name: _linked(config, references, name) for name in references}
        return config if all(_put(config, name, value) for name, value in linked.items()) else None


def _open_texts(node: object, where: str = ""):
    """Yield every text with an interpolation at any depth, with its dotted name."""
    if isinstance(node, str):
        if _has_more(node):
            yield where, node
    elif isinstance(node, dict | list):
        for name, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _open_texts(child, f"{where}.{name}" if where else str(name))


def _has_more(value: object) -> bool:
    """Return whether OmegaConf reads more into a value than it is; a list may have such a text in it."""
    return isinstance(value, str | list | dict) and ("${" in (text := str(value)) or MISSING in text)


def _depends_on_none(text: str, names: set[str]) -> bool:
    """Return whether an interpolation certainly names none of these settings, nor a group that one is in."""
    return "${" not in LOOK_UP.sub("", text) and not any(name.partition(".")[0] in text for name in names)


def _copied(node: object) -> object:
    if isinstance(node, dict):
        return {name: _copied(child) for name, child in node.items()}
    return [_copied(child) for child in node] if isinstance(node, list) else node


def _put(config: dict, name: str, value: object) -> bool:
    """Set a value; return False where there is none to replace, or where either is a group of settings."""
    *above, last = name.split(".")
    node = config
    for part in above:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict) or last not in node or isinstance(node[last], dict) or isinstance(value, dict):
        return False
    node[last] = _copied(value)
    return True


def _linked(config: dict, references: dict[str, str], name: str) -> object:
    """Return the value that a setting's reference leads to; a group of settings where it leads to none."""
    for _ in references:
        if name not in references:
            break
        name = references[name]
    node: object = {} if name in references else config
    for part in name.split("."):
        node = node.get(part, {}) if isinstance(node, dict) else {}
    return node
