"""Arms whose settings were tuned on what a report judges them by."""

import collections
from collections.abc import Iterator

from softtargets.config.tuned_on import RESERVED, fixed_hash, unlike
from softtargets.report.runs import Run
from softtargets.report.standing import placed
from softtargets.system.words import counted

NAMED = 3
"""Arms that a sentence names; more are counted."""


def tuning_notes(runs: list[Run]) -> list[str]:
    """Return a sentence for every arm whose tuning touched its runs, and others on how the arms were tuned."""
    arms = collections.defaultdict(list)
    for run in runs:
        arms[run.cell.name, run.arm].append(run)
    notes = [
        f"{cell}, {arm}: tuned on {what} of {_so_many(count, group)}"
        for (cell, arm), group in sorted(arms.items())
        for what, count in collections.Counter(what for run in group for what in touched(run)).items()
    ]
    others = {
        f"{cell}, {arm}: {said}" for (cell, arm), group in arms.items() for run in group for said in _other(run)
    }
    return [*notes, *sorted(others), *_unequal(runs), *_reserved(runs)]


def _so_many(count: int, runs: list[Run]) -> str:
    return "this run" if len(runs) == 1 else f"{count:,} of {counted(len(runs), 'run')}"


def touched(run: Run) -> Iterator[str]:
    """Yield what the tuning of a run's settings saw of the run: seed, forget set, class, test images."""
    tuned_on, config = run.result.get("tuned_on"), run.result["config"]
    if not tuned_on or tuned_on["dataset"] != run.result["choices"]["dataset"]:
        return
    forget_set = config.get("forget_set", {})
    if run.seed in tuned_on["seeds"]:
        yield "the seed"
    fixed = tuned_on["fixed"] is not None and tuned_on["fixed"] == fixed_hash(forget_set)
    if fixed or run.draw[0] in tuned_on["forget_sets"]:
        yield "the forget set"
    if set(tuned_on["classes"]) & set(forget_set.get("classes", [])):
        yield "the class"
    if tuned_on["test_images"]:
        yield "test images"


def _other(run: Run) -> list[str]:
    """Return what a run's settings were tuned on and the run is not."""
    tuned_on, images = run.result.get("tuned_on"), run.result["data"]["sizes"].get("train")
    return unlike(tuned_on, run.result["config"], run.result["choices"], images) if tuned_on and images else []


def _unequal(runs: list[Run]) -> list[str]:
    """Return a sentence for each setting whose arms of one cost were searched in different ways."""
    kinds = {
        "trials": "with different numbers of tries",
        "objective": "by different objectives",
        "start": "from different starts",
    }
    return [
        f"{setting}: arms were searched {said}: {', '.join(groups)}"
        for name, said in kinds.items()
        for setting, groups in _searched(runs, name)
        if len(groups) > 1
    ]


def _searched(runs: list[Run], name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each setting, once for each cost, with the values of a field of `tuned_on` and the arms of each."""
    arms = collections.defaultdict(lambda: collections.defaultdict(set))
    for run in runs:
        value = (run.result.get("tuned_on") or {}).get(name)
        if value is not None:
            setting, arm = placed(run)
            arms[setting.name, str(run.result["config"].get("unlearn", {}).get("cost"))][value].add(arm)
    for (setting, _), values in sorted(arms.items()):
        yield setting, [f"{value} ({_named(values[value])})" for value in sorted(values)]


def _named(arms: set[str]) -> str:
    return ", ".join(sorted(arms)) if len(arms) <= NAMED else counted(len(arms), "arm")


def _reserved(runs: list[Run]) -> list[str]:
    count = sum(max(run.pair) >= RESERVED for run in runs)
    if not count:
        return []
    whole = counted(len(runs), "run")
    return [f"seeds from {RESERVED} on, which are for tuning and not for a study: {count:,} of {whole}"]
