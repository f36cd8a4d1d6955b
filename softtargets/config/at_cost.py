"""Settings that a search chose at a budget, typed for the user of a run that is what was searched.

Entries are those of our tables, and those of the folders that the search path names as `tuned://`.

A run is that where its words name the same dataset, size, architecture, recipe, kind of forget set and cost as the
words of an entry; which seeds and which classes is free. Words decide, so that a run, a cell of a sweep and a plan
agree, and nothing is composed for it.
A typed setting of `mu_algo` or `unlearn` replaces that of the entry, and takes the cost out of what the run was
tuned on: no search chose all of its settings. With `tuned=searched` a run that was not searched is refused: a
study is made of searched arms alone.
"""

import functools
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from softtargets.config import names, paths, tuned, tuned_on
from softtargets.errors import BadInput
from softtargets.layout import CONF

COST = "unlearn.cost"
OWN = {"tuned", "experiment", "rerun", "unlearn"}
"""Words by which users choose other settings than those of a search."""
SEARCHED = "searched"
"""The value of `tuned` by which an entry is demanded, in an experiment too."""
GROUPS = ("dataset", "architecture", "training", "forget_set")
"""Groups that must be as they were searched, beside the arm."""
PLACE = ("dataset", "architecture", "forget_set")
"""Groups that name a table."""
SEEDS = {"dataset.seed", "forget_set.seed"}
CLASSES = "forget_set.classes"
"""Free like the seeds, but for their number: a search takes classes that the runs do not forget."""
TAKEN = {*GROUPS, "mu_algo", "targets", "unlearn", "tuned"}
"""Groups whose words a run takes from an entry: no table that a user was sent may load plugins."""
WATCHING = {f"unlearn.{name}" for name in ("evaluate_every", "evaluate_growth", "evaluate_samples", "looks")}
"""Settings that change no trained byte of a run to the end of its budget."""


def with_searched(words: Iterable[str], searchpath: Iterable[str] = ()) -> list[str]:
    """Return the words of a run, after those of an entry that was searched for just this run.

    `searchpath` is `hydra.searchpath` where it is not among the words, as in a sweep. Raises BadInput where
    `tuned=searched` demands an entry that is not there.
    """
    words = list(words)
    typed = by_name(words)
    path = tuple(map(str, searchpath)) or _searchpath(typed)
    if typed.get("tuned") == SEARCHED:
        return _demanded([word for word in words if name_of(word) != "tuned"], path)
    entry = None if OWN & typed.keys() else _entry(typed, path)
    return words if entry is None else _after(entry, words)


def _searchpath(typed: dict[str, str]) -> tuple[str, ...]:
    """Return the entries of `hydra.searchpath` among words."""
    try:
        listed = OverridesParser.create().parse_override(f"path={typed.get('hydra.searchpath', '[]')}").value()
    except HydraException:
        return ()  # Hydra refuses it in a moment
    return tuple(map(str, listed)) if isinstance(listed, list) else ()


def _table_folders(path: tuple[str, ...]) -> list[Path]:
    return [Path(one.removeprefix("tuned://")) for one in path if one.startswith("tuned://")]


def _demanded(words: list[str], path: tuple[str, ...]) -> list[str]:
    """Return the words of a run with those of its entry, which must be there and stay as they were searched."""
    typed = by_name(words)
    if typed.get(COST, "null") == "null":
        raise BadInput(f"tuned={SEARCHED}: {COST} is required: settings are searched at a cost")
    if not _is_number(typed[COST]):
        raise BadInput(f"{COST}={typed[COST]!r}: must be a valid number")
    if "experiment" in typed and "mu_algo" not in typed:
        raise BadInput(
            f"tuned={SEARCHED}: mu_algo is required beside experiment={typed['experiment']}, because typed words "
            "alone choose the entry"
        )
    entry = _entry(typed, path)
    if entry is None:
        raise BadInput(
            f"tuned={SEARCHED}: no search chose settings of {_arm(typed)} at {COST}={typed[COST]} for "
            f"this dataset, size, network, recipe and forget set. Search them (softtargets search), or omit tuned"
        )
    if changed := _changed(entry, typed):
        raise BadInput(
            f"{changed[0]}={typed[changed[0]]}: tuned={SEARCHED} takes what a search chose. Leave one of them out"
        )
    return _after(entry, words)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _arm(typed: dict[str, str]) -> str:
    """Return the algorithm of a run, and its targets if they are typed."""
    return " ".join([typed.get("mu_algo") or _usual()["mu_algo"], *filter(None, [typed.get("targets")])])


def _entry(typed: dict[str, str], path: tuple[str, ...]) -> dict | None:
    """Return the entry that was searched for these words, if there is one; ours come first."""
    if not _is_number(typed.get(COST, "")):  # it is refused later if it is no number
        return None
    fixed = _searched_for(typed)
    entries = (one for table in _tables(typed, path) for one in _entries(table, typed, path))
    return next((one for one in entries if _searched_for(by_name(one["words"])) == fixed), None)


def _after(entry: dict, words: list[str]) -> list[str]:
    """Return words after those of an entry, of which they replace some."""
    typed = by_name(words)
    searched = {name_of(word): word for word in entry["words"] if _is_taken(name_of(word))}
    if "tuned_on" in entry:
        searched[tuned_on.SETTING] = tuned_on.typed(_seen(entry, typed))
    return [*(word for name, word in searched.items() if name not in typed), *words]


def _seen(entry: dict, typed: dict[str, str]) -> dict:
    """Return what an entry's search saw; older entries have its number of tries beside that."""
    seen = entry["tuned_on"]
    if _changed(entry, typed):
        # its seeds were still seen, but no search chose these settings
        return seen | dict.fromkeys(("cost", "trials", "objective"))
    return seen if seen.get("trials") is not None else seen | {"trials": entry.get("trials")}


def _is_taken(name: str) -> bool:
    return re.split("[./]", name)[0] in TAKEN and name != CLASSES


def _changed(entry: dict, typed: dict[str, str]) -> list[str]:
    """Return the settings of `mu_algo` and `unlearn` that are not typed as a search chose them."""
    searched = by_name(entry["words"])
    settings = [name for name in typed if name.startswith(("unlearn", "mu_algo.")) and name not in WATCHING]
    return [name for name in settings if not _is_same(typed[name], searched.get(name, ""))]


def _is_same(one: str, other: str) -> bool:
    return one == other or (_is_number(one) and _is_number(other) and float(one) == float(other))


def by_name(words: Iterable[str]) -> dict[str, str]:
    """Return the values of words by the names of their settings."""
    return {name_of(word): word.partition("=")[2] for word in words}


def name_of(word: str) -> str:
    """Return the name of the setting of a word, without + and ~."""
    return word.lstrip("+~").partition("=")[0]


def _tables(typed: dict[str, str], path: tuple[str, ...]) -> Iterator[tuned.Table]:
    """Yield our table for these words, then all of the user's: those may have names of parts of their own."""
    chosen = _usual() | typed
    ours = tuned.table_file(CONF / "tuned", "/".join(chosen[group] for group in PLACE))
    own = [folder / f"{name}.yaml" for folder in _table_folders(path) for name in tuned.names(folder)]
    yield from (table for file in (ours, *own) if file and (table := tuned.read_table(file)))


def _entries(table: tuned.Table, typed: dict[str, str], path: tuple[str, ...]) -> list[dict]:
    """Return a table's entries at a cost of the arm that these words name."""
    arms, here = table.get((_usual() | typed)["mu_algo"], {}), _targets(typed, path)
    own = [one for targets, entries in arms.items() if targets != tuned.ANY_TARGETS for one in entries]
    same = [one for one in own if "words" in one and _targets(by_name(one["words"]), path) == here]
    both = [*same, *(one for one in arms.get(tuned.ANY_TARGETS, []) if "words" in one)]
    return [one for one in both if "cost" in one]


def _targets(typed: dict[str, str], path: tuple[str, ...]) -> str:
    """Return the preset of targets that words choose; the name of an entry has changed values of it, too."""
    algorithm = typed.get("mu_algo") or _usual()["mu_algo"]
    return typed.get("targets") or _usual_targets(algorithm, (CONF, *paths.config_folders(path)))


def _searched_for(typed: dict[str, str]) -> dict[str, object]:
    """Return what words say of all that a search holds fixed, except for the arm."""
    usual = {group: value for group, value in _usual().items() if group in GROUPS}
    parts = {name: value for name, value in typed.items() if name.partition(".")[0] in (*GROUPS, "checkpoint")}
    finer = {name: value for name, value in typed.items() if name.startswith(("targets.", "targets/"))}
    fixed = {name: value for name, value in (usual | parts | finer).items() if name not in SEEDS}
    fixed[CLASSES] = _count_of_classes(fixed)
    if fixed.get("training") in (None, fixed["architecture"]):
        fixed["training"] = fixed["architecture"]  # it follows the architecture unless chosen
    return fixed | {COST: float(typed.get(COST, "nan"))}


def _count_of_classes(fixed: dict[str, str]) -> int | None:
    """Return how many classes are forgotten; None where the forget set names none, or is not ours."""
    if CLASSES in fixed:
        return len(fixed[CLASSES].split(","))
    classes = (names.composed("forget_set", fixed["forget_set"], (CONF,)) or {}).get("classes")
    return classes and len(classes)


@functools.cache
def _usual() -> dict[str, str]:
    """Return the options of our groups without any words."""
    entries = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    options = {group: option for one in entries if isinstance(one, dict) for group, option in one.items()}
    return {group: one for group, one in options.items() if isinstance(one, str) and not one.startswith("${")}


@functools.cache
def _usual_targets(algorithm: str, places: tuple[Path, ...]) -> str:
    """Return the targets of an algorithm where none are typed."""
    files = (place / "mu_algo" / f"{algorithm}.yaml" for place in places)
    file = next((file for file in files if os.path.isfile(file)), None)
    node = yaml.safe_load(file.read_text(encoding="utf-8")) if file else {}
    overrides = {
        name: value for one in node.get("defaults", []) if isinstance(one, dict) for name, value in one.items()
    }
    chosen = (value for name, value in overrides.items() if name.startswith("override /targets"))
    return next(chosen, _usual()["targets"])
