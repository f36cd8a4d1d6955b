"""Ensembles over shards: what exact unlearning costs, in samples and in accuracy."""

import collections

from softtargets.report.runs import Run
from softtargets.report.statistics import mean_of


def ensemble_lines(runs: list[Run]) -> list[str]:
    """Return three sentences on every arm whose models are ensembles: means over its runs."""
    arms = collections.defaultdict(list)
    for run in runs:
        if ensemble := run.result.get("ensemble"):
            arms[run.cell.name, run.arm, ensemble["shards"]].append(run)
    return [_line(cell, arm, shards, own, runs) for (cell, arm, shards), own in arms.items()]


def _line(cell: str, arm: str, shards: int, own: list[Run], runs: list[Run]) -> str:
    touched = mean_of([float(run.result["ensemble"]["touched"]) for run in own])
    share = mean_of([run.result["cost"]["share"] for run in own])
    keys = {_key(run) for run in own}
    single = {_key(run): run for run in runs if "ensemble" not in run.result and _key(run) in keys}
    accuracy = f"{_accuracy(own)} before the request"
    if single:
        accuracy += (
            f", that of one network on the same data {_accuracy(list(single.values()))} (n = {len(single)})"
        )
    return (
        f"{cell}, {arm} (n = {len(own)}): the samples to forget lie in {touched:g} of {shards} shards. Training "
        f"the networks of these anew costs {share:.2f} of retraining. The ensemble's test accuracy is {accuracy}. "
        "Its distances are to its own retraining, of an ensemble too"
    )


def _key(run: Run) -> tuple:
    """Return what runs share whose originals learn from the same data by the same recipe."""
    choices = run.result["choices"]
    return run.pair, choices["architecture"], choices["training"], *run.data.values()


def _accuracy(runs: list[Run]) -> str:
    mean = mean_of([run.result["metrics"]["original"]["test_acc"] for run in runs])
    return "–" if mean is None else f"{mean:.3f}"
