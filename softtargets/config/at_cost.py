"""Settings that a search chose at a budget, typed for the user of a run that is what was searched.

A run is that where its words name the same dataset, size, architecture, recipe, kind of forget set and cost as the
words of an entry. Words decide, so that a run, a cell of a sweep and a plan agree, and nothing is composed for it.
With `tuned=searched` a run that was not searched is refused: a study is made of searched arms alone.
"""

import contextlib
import functools
import math
from collections.abc import Iterable

import yaml

from softtargets.config import tuned
from softtargets.errors import BadInput
from softtargets.layout import CONF

COST = "unlearn.cost"
OWN = {"tuned", "experiment", "rerun", "unlearn"}
"""Words by which users choose other settings than those of a search."""
SEARCHED = "searched"
"""The value of `tuned` by which an entry is demanded, in an experiment too."""
GROUPS = ("dataset", "architecture", "training", "forget_set")
"""Groups that must be as they were searched, beside the arm."""
SEEDS = {"dataset.seed", "forget_set.seed"}


def with_searched(words: Iterable[str]) -> list[str]:
    """Return the words of a run, after those of an entry of our tables that was searched for just this run.

    Raises BadInput where `tuned=searched` demands an entry that is not there.
    """
    words = list(words)
    typed = _by_name(words)
    if typed.get("tuned") == SEARCHED:
        return _demanded([word for word in words if _name(word) != "tuned"])
    if OWN & typed.keys():
        return words
    return _with_entry(words) or words


def _demanded(words: list[str]) -> list[str]:
    """Return the words of a run with those of its entry, which must be there and stay as they were searched."""
    typed, longer = _by_name(words), _with_entry(words)
    if typed.get(COST, "null") == "null":
        raise BadInput(f"tuned={SEARCHED}: {COST} is required: settings are searched at a cost")
    if not _is_number(typed[COST]):
        raise BadInput(f"{COST}={typed[COST]!r}: must be a valid number")
    if "experiment" in typed and "mu_algo" not in typed:
        raise BadInput(
            f"tuned={SEARCHED}: mu_algo is required beside experiment={typed['experiment']}, because typed words "
            "alone choose the entry"
        )
    if longer is None:
        raise BadInput(
            f"tuned={SEARCHED}: no search chose settings of {_arm(typed)} at {COST}={typed[COST]} for "
            f"this dataset, size, network, recipe and forget set. Search them (softtargets search), or omit tuned"
        )
    searched = {_name(word) for entry in _entries(typed) for word in entry["words"]} - {COST}
    own = [name for name in typed if name.startswith(("unlearn", "mu_algo.")) and name in {"unlearn", *searched}]
    if own:
        raise BadInput(
            f"{own[0]}={typed[own[0]]}: tuned={SEARCHED} takes what a search chose. Leave one of them out"
        )
    return longer


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _arm(typed: dict[str, str]) -> str:
    """Return the algorithm of a run, and its targets if they are typed."""
    return " ".join([typed.get("mu_algo") or _usual()["mu_algo"], *filter(None, [typed.get("targets")])])


def _with_entry(words: list[str]) -> list[str] | None:
    """Return words after those of the entry that was searched for them, if there is one."""
    typed = _by_name(words)
    if COST not in typed:
        return None
    with contextlib.suppress(ValueError):  # a cost that is no number is refused later
        for entry in _entries(typed):
            if _searched_for(_by_name(entry["words"])) == _searched_for(typed):
                return [*(word for word in entry["words"] if _name(word) not in typed), *words]
    return None


def _by_name(words: Iterable[str]) -> dict[str, str]:
    return {_name(word): word.partition("=")[2] for word in words}


def _name(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _entries(typed: dict[str, str]) -> list[dict]:
    """Return the entries at a cost of the arm that these words name."""
    chosen = _usual() | typed
    option = "/".join(chosen[group] for group in ("dataset", "architecture", "forget_set"))
    file = tuned.table_file(CONF / "tuned", option)
    arms = ((file and tuned.read_table(file)) or {}).get(chosen["mu_algo"], {})
    targets = typed.get("targets") or _usual_targets(chosen["mu_algo"])
    entries = [*arms.get(targets, []), *arms.get(tuned.ANY_TARGETS, [])]
    return [one for one in entries if "cost" in one]


def _searched_for(typed: dict[str, str]) -> dict[str, object]:
    """Return what words say of all that a search holds fixed, except for the arm."""
    usual = {group: value for group, value in _usual().items() if group in GROUPS}
    parts = {name: value for name, value in typed.items() if name.partition(".")[0] in (*GROUPS, "checkpoint")}
    finer = {name: value for name, value in typed.items() if name.startswith(("targets.", "targets/"))}
    fixed = {name: value for name, value in (usual | parts | finer).items() if name not in SEEDS}
    if fixed.get("training") in (None, fixed["architecture"]):
        fixed["training"] = fixed["architecture"]  # it follows the architecture unless chosen
    return fixed | {COST: float(typed.get(COST, "nan"))}


@functools.cache
def _usual() -> dict[str, str]:
    """Return the options of our groups without any words."""
    entries = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    options = {group: option for one in entries if isinstance(one, dict) for group, option in one.items()}
    return {group: one for group, one in options.items() if isinstance(one, str) and not one.startswith("${")}


@functools.cache
def _usual_targets(algorithm: str) -> str:
    """Return the targets of one of our algorithms where none are typed."""
    file = CONF / "mu_algo" / f"{algorithm}.yaml"
    node = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    overrides = {
        name: value for one in node.get("defaults", []) if isinstance(one, dict) for name, value in one.items()
    }
    chosen = (value for name, value in overrides.items() if name.startswith("override /targets"))
    return next(chosen, _usual()["targets"])
