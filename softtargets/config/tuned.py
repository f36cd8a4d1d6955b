"""Tables of tuned values: a file for each dataset, architecture and forget set, with an entry for each arm.

    npo:
      hard:
        - {values: {alpha: 1.3, beta: 0.9, lr: 0.0071}, score: 0.0651, before: 0.0698, trials: 12}

The keys are the algorithm, then the targets; `all` is any targets, for an algorithm that ignores forget targets.
"""

# An arm is a list: at most one entry without a key `cost`, which runs use by default, and entries with the cost,
# the recipe and the number of images for which they were searched. These also hold settings that are no numbers,
# such as the optimiser, in their `words`, which at_cost.py types for the user. A mapping by cost would have floats
# as keys, which YAML and OmegaConf's dotted names handle badly.

import functools
import os
from pathlib import Path

import yaml

from softtargets.config import tuned_on
from softtargets.errors import BadInput
from softtargets.system import yaml_text
from softtargets.system.files import make_folder, write_text
from softtargets.system.locks import locked
from softtargets.system.words import counted

Table = dict[str, dict[str, list[dict]]]
"""Algorithm → targets → entries."""

ANY_TARGETS = "all"
NOTES = {"score", "interval", "before", "trials", "cpu_s", "cost", "words", "tuned_on"}
"""An entry's keys about its search: the best score and its 95 % interval, that of the first guess (with a `cost`,
of doing nothing), the number of trials, their CPU seconds, the budget, the words of a run with these settings, and
what the search saw: see tuned_on.py."""
FORM = "ALGORITHM: {TARGETS: [{values: {SETTING: NUMBER}}]}, with powers of ten as in 1.0e-3"
FULL = 60
"""Tries of a whole search at a cost."""
HEAD = "# tuned values of {}: algorithm, targets, entry; see docs/search.md\n"


def read_table(file: Path) -> Table | None:
    """Return a table; None if there is no file. Raises BadInput for a file of another form."""
    if not os.path.isfile(file):  # Path.is_file raises for a name that is too long; this is False
        return None
    state = file.stat()  # a table written twice within a clock tick differs in its inode
    return _read(file, (state.st_ino, state.st_mtime_ns, state.st_size))


@functools.cache
def _read(file: Path, _state: tuple[int, ...]) -> Table:
    """Read a table once for each state of its file: Hydra looks up an arm several times for each config."""
    try:
        table = yaml_text.load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise BadInput(f"{file}: cannot be read: {' '.join(str(error).split())}") from error
    if not _is_table(table):
        raise BadInput(f"{file}: not a table of tuned values. Its form is {FORM}")
    for algorithm, arms in table.items():
        for targets, entries in arms.items():
            for one in entries:
                if "tuned_on" in one:
                    tuned_on.checked(one["tuned_on"], f"{file}: {algorithm}.{targets}.tuned_on")
    return table


def _is_table(table: object) -> bool:
    return _is_mapping(table) and all(
        _is_mapping(arms) and all(map(_is_arm, arms.values())) for arms in table.values()
    )


def _is_arm(entries: object) -> bool:
    if not isinstance(entries, list) or not entries or not all(map(_is_entry, entries)):
        return False
    return len(set(map(_place, entries))) == len(entries)


def _place(entry: dict) -> tuple:
    """Return what tells an entry from others of its arm: cost, number of images, recipe and what is forgotten."""
    seen = entry.get("tuned_on") or {}
    cost = entry.get("cost")
    return (cost,) if cost is None else (cost, seen.get("images"), seen.get("recipe"), *parts(entry))


def parts(entry: dict) -> list[str]:
    """Return what an entry's words say of how much is forgotten: not which images, and of classes their number."""
    words = (word for word in entry.get("words", []) if word.startswith("forget_set."))
    return sorted(filter(None, map(_part, words)))


def _part(word: str) -> str:
    name, _, value = word.partition("=")
    classes = counted(value.count(",") + 1, "class", "classes")
    return {"forget_set.seed": "", "forget_set.classes": classes}.get(name, word)


def _is_entry(entry: object) -> bool:
    values = entry.get("values") if _is_mapping(entry) else None
    if not _is_mapping(values) or not all(isinstance(value, int | float) for value in values.values()):
        return False
    words = entry.get("words", [])
    typed = isinstance(words, list) and all(isinstance(word, str) for word in words)
    return typed and isinstance(entry.get("cost", 0.0), int | float) and entry.keys() <= {"values", *NOTES}


def _is_mapping(node: object) -> bool:
    return isinstance(node, dict) and all(isinstance(key, str) for key in node)


def table_file(folder: Path, option: str) -> Path | None:
    """Return the file of the table that an option of group `tuned` names; None for an option like `none`.

    The option is DATASET/ARCHITECTURE/FORGET_SET, or that with /ALGORITHM/TARGETS for one arm of the table.
    """
    place = option.split("/")
    return Path(folder, *place[:2], f"{place[2]}.yaml") if len(place) in (3, 5) else None


def names(folder: Path) -> list[str]:
    """Return the tables in a folder, each as DATASET/ARCHITECTURE/FORGET_SET."""
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.glob("*/*/*.yaml"))


def entry(table: Table, algorithm: str, targets: str) -> dict | None:
    """Return a table's entry for an arm at any cost; None if the arm was not searched so."""
    arms = table.get(algorithm, {})
    # an arm of its own name that was searched at a cost alone leaves the default to that of all targets
    entries = [*arms.get(targets, []), *arms.get(ANY_TARGETS, [])]
    return next((one for one in entries if "cost" not in one), None)


def add(file: Path, algorithm: str, targets: str, entry: dict) -> None:
    """Put an arm's entry into a table; several processes may do so at once.

    It replaces that of the same cost, recipe and number of images, of as large a part to be forgotten.
    """
    make_folder(file.parent)
    with locked(file.with_name(f".{file.name}.lock"), busy=lambda: None):
        table = read_table(file) or {}
        arms = table.get(algorithm, {})
        others = [one for one in arms.get(targets, []) if _place(one) != _place(entry)]
        entries = sorted([*others, entry], key=lambda one: one.get("cost", 0))
        write(file, table | {algorithm: arms | {targets: entries}})


def write(file: Path, table: Table) -> None:
    """Write a table, sorted, with a line for each entry."""
    lines = [HEAD.format("/".join((*file.parts[-3:-1], file.stem))), *_shortened(table)]
    for algorithm, arms in sorted(table.items()):
        lines.append(f"{algorithm}:\n")
        for targets, entries in sorted(arms.items()):
            lines.append(f"  {targets}:\n")
            lines += [f"    - {_in_one_line(one)}\n" for one in entries]
    write_text(file, "".join(lines))


def _shortened(table: Table) -> list[str]:
    """Return a comment that names the entries with a cost whose search had fewer tries than a whole one."""
    tries = [
        f"{algorithm} {targets} at {one['cost']:g} ({one['trials']})"
        for algorithm, arms in sorted(table.items())
        for targets, entries in sorted(arms.items())
        for one in entries
        if "cost" in one and one.get("trials", FULL) < FULL
    ]
    return [f"# fewer than {FULL} tries: {', '.join(tries)}\n"] if tries else []


def _in_one_line(entry: dict) -> str:
    return yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=float("inf")).strip()
