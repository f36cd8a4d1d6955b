"""The options in conf/ as `--help` shows them: the comment, the part and the settings of each."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from softtargets.cli import signatures
from softtargets.layout import CONF

LINE = re.compile(r"(?P<indent> *)(?P<name>\w+):\s*(?P<value>[^#\s].*?)?(?:\s*(?<=\s)#\s*(?P<comment>.*))?")
"""A line of our YAML: one setting, its value and a comment."""
BASE = re.compile(r" +- /?(?P<file>[\w/]+)(?:@_here_)?")
"""A line of a defaults list that takes in another option."""
CHOICES = re.compile(r"\w+( \| \w+)+(: |$)")
"""How a comment begins that lists the choices first, as its annotation does."""
TUNED = re.compile(r"\$\{oc\.select:tuned\.\w+,(.+)\}")
MODELS = {
    "dataset": "DatasetSettings",
    "forget_set": "ForgetSetSettings",
    "architecture": "ArchitectureSettings",
    "training": "Training",
    "unlearn": "Unlearning",
    "tracker": "TrackerSettings",
    "hydra/launcher": "LauncherSettings",
}
"""Classes in config/settings.py that hold the settings which every option of a group has."""


@dataclasses.dataclass(frozen=True)
class OptionSetting:
    """A setting of an option: its value as the file has it, its comment, and what it allows."""

    name: str
    """As it is typed, with the name of its group."""
    value: str
    comment: str
    allowed: str

    def shown(self) -> str:
        """Return name and default; a tuned value may replace the default."""
        value = TUNED.fullmatch(self.value)
        if self.value == "???":
            return f"{self.name} (required)"
        return f"{self.name}={value[1] if value else self.value}{' (or tuned)' if value else ''}"


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a group, with all that its file says."""

    name: str
    comment: str
    """The words of its file's first line."""
    docstring: str
    """The first line of its part's docstring; empty for an option without a part of ours."""
    settings: tuple[OptionSetting, ...]


def groups() -> list[str]:
    """Return the groups of conf/ that a user chooses from, by name."""
    folders = {file.parent.relative_to(CONF).as_posix() for file in CONF.glob("*/**/*.yaml")}
    return sorted(
        name for name in folders if not name.startswith(("tuned/", "hydra/", "search")) or name in MODELS
    )


def files(group: str) -> list[Path]:
    """Return the files of a group's options, by name."""
    # its tables lie in folders by dataset and architecture
    return sorted((CONF / group).glob("**/*.yaml" if group == "tuned" else "*.yaml"))


def name_of(group: str, file: Path) -> str:
    """Return an option as it is typed after `group=`."""
    return file.relative_to(CONF / group).with_suffix("").as_posix()


def options(group: str) -> list[Option]:
    """Return the options of a group, by name."""
    return [_option(group, file) for file in files(group)]


def _option(group: str, file: Path) -> Option:
    lines = _entries(file)
    target = lines.get("_target_", ("", ""))[0]
    allowed = _allowed(group, target, lines)
    # a preset of targets is two parts, which have pages of their own
    prefix = f"{group}/" if group == "targets" else "" if group == "experiment" else f"{group.replace('/', '.')}."
    settings = [
        OptionSetting(prefix + name, value, comment, allowed.get(name, ""))
        for name, (value, comment) in lines.items()
        if value and name != "_target_" and not name.endswith("_partial_")
    ]
    return Option(name_of(group, file), first_comment(file), signatures.first_sentence(target), tuple(settings))


def _allowed(group: str, target: str, lines: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Return in words what each setting of an option allows, by name."""
    allowed = signatures.fields(MODELS[group]) if group in MODELS else {}
    allowed |= {f"optimizer.{name}": words for name, words in signatures.optimizer().items()}
    if schedule := lines.get("schedule._target_"):
        names = [name.removeprefix("schedule.") for name in lines]
        parameters = signatures.parameters(schedule[0], names)
        allowed |= {f"schedule.{name}": words for name, words in parameters.items()}
    return allowed | signatures.parameters(target, lines)


def _entries(file: Path) -> dict[str, tuple[str, str]]:
    """Return value and comment of every setting in a file by its dotted name, those of its bases first."""
    lines = file.read_text(encoding="utf-8").splitlines()
    if "# @package _global_" in lines:
        return {}  # an experiment: it changes other groups
    entries: dict[str, tuple[str, str]] = {}
    for base in _bases(file, lines):
        entries |= _entries(base)
    return entries | {name: (value, comment) for name, value, comment in _settings(lines)}


def _bases(file: Path, lines: list[str]) -> Iterator[Path]:
    """Yield the files of the same kind that a defaults list names."""
    for line in lines:
        if match := BASE.fullmatch(line):
            place = CONF if "/" in match["file"] else file.parent
            base = place / f"{match['file']}.yaml"
            if base.is_file():
                yield base


def _settings(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield dotted name, value and comment of each line that sets something."""
    above: list[str] = []
    for line in lines:
        match = LINE.fullmatch(line.removeprefix("  - "))
        if match and match["name"] != "defaults":
            above = [*above[: len(match["indent"]) // 2], match["name"]]
            yield ".".join(above), match["value"] or "", CHOICES.sub("", match["comment"] or "", count=1)


def first_comment(file: Path) -> str:
    """Return the words after the # in a file's first line (after Hydra's own), or nothing."""
    with file.open(encoding="utf-8") as lines:
        first = next((line for line in lines if not line.startswith("# @package")), "")
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def top_level() -> list[OptionSetting]:
    """Return the settings outside the groups, as config.yaml has them."""
    lines = (CONF / "config.yaml").read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("seed:"))
    allowed = signatures.fields("Settings")
    return [
        OptionSetting(name, value, comment, allowed.get(name, ""))
        for name, value, comment in _settings(lines[start : lines.index("hydra:")])
        if value
    ]


def defaults() -> dict[str, str]:
    """Return the option that each group has unless another is chosen, as config.yaml lists them."""
    lines = (CONF / "config.yaml").read_text(encoding="utf-8").splitlines()
    matches = (re.match(r"  - (\w+): ([^#]+)", line) for line in lines)
    return {match[1]: match[2].strip() for match in matches if match}
