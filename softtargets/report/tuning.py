"""Arms whose settings were tuned on what a report judges them by."""

import collections
from collections.abc import Iterator

from softtargets.config.tuned_on import RESERVED, fixed_hash, unlike
from softtargets.report.runs import Run
from softtargets.system.words import counted


def tuning_notes(runs: list[Run]) -> list[str]:
    """Return a sentence for every arm whose tuning touched its runs, and one for seeds that are for tuning."""
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
    return [*notes, *sorted(others), *_reserved(runs)]


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


def _reserved(runs: list[Run]) -> list[str]:
    count = sum(max(run.pair) >= RESERVED for run in runs)
    if not count:
        return []
    whole = counted(len(runs), "run")
    return [f"seeds from {RESERVED} on, which are for tuning and not for a study: {count:,} of {whole}"]
