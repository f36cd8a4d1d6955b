"""report.html: one file with everything in it, which works offline."""

import collections
import json
import math
import re
from importlib import resources

from plotly.offline import get_plotlyjs

from softtargets.report import tables
from softtargets.report.runs import Run
from softtargets.report.seeds import OverSeeds
from softtargets.report.statistics import mean_of
from softtargets.report.verdicts import WHERE, Verdict

WAY = ("forget_acc", "test_acc", "js_forget")
"""Columns of trajectories that are shown."""
STATE = ("target_distance", "sharpness", "target_entropy", "grad_cosine", "first_order")
"""Numbers of the diagnosis that are shown."""
DIGITS = 5


def page(
    title: str, runs: list[Run], verdicts: list[Verdict], over: list[OverSeeds], missing: dict[str, str]
) -> str:
    """Return the page as HTML; everything that it shows is data in it, and nothing of that can be markup."""
    here = resources.files("softtargets.report")
    shown = rounded(page_data(title, runs, verdicts, over, missing))
    data = json.dumps(
        shown, separators=(",", ":"), allow_nan=False
    )  # a browser reads no NaN, and nothing after it
    parts = {
        "STYLE": (here / "page.css").read_text(encoding="utf-8"),
        "PLOTLY": get_plotlyjs(),
        "DATA": data.replace("<", "\\u003c"),
        "SCRIPT": (here / "page.js").read_text(encoding="utf-8"),
    }
    text = (here / "page.html").read_text(encoding="utf-8")
    return re.sub(r"/\*([A-Z]+)\*/", lambda found: parts[found[1]], text)  # once: no part is looked into


def page_data(
    title: str, runs: list[Run], verdicts: list[Verdict], over: list[OverSeeds], missing: dict[str, str]
) -> dict:
    """Return what the page holds, as plain data."""
    names = {verdict.cell: tables.cell_name(verdict) for verdict in verdicts}
    cells = list(names)
    place = {cell: number for number, cell in enumerate(cells)}
    groups = collections.defaultdict(list)
    for run in runs:
        if run.cell in place:
            groups[place[run.cell], run.arm].append(run)
    return {
        "title": title,
        "measures": {verdict.measure.name: verdict.measure.label for verdict in verdicts},
        "where": WHERE,
        "head": tables.HEAD,
        "cells": [dict(cell.settings) | {"name": names[cell]} for cell in cells],
        "verdicts": [_verdict(verdict, place[verdict.cell]) for verdict in verdicts],
        "arms": [_arm(cell, arm, group) for (cell, arm), group in sorted(groups.items())],
        "references": [_reference([run for run in runs if run.cell == cell]) for cell in cells],
        "over": [_over(one, place[one.cell]) for one in over if one.cell in place],
        "refused": tables.refused(verdicts),
        "settings": tables.settings(verdicts),
        "unlike": tables.made_unlike(verdicts),
        "missing": tables.why_without_result(missing),
        "no_run": None if runs else tables.NO_RUN,
    }


def _verdict(verdict: Verdict, cell: int) -> dict:
    paired = verdict.paired
    names = ("mean", "low", "high")
    numbers = {name: getattr(paired, name) if paired else None for name in names}
    return {
        "cell": cell,
        "one": verdict.one.name,
        "other": verdict.other and verdict.other.name,
        "arms": verdict.names,
        "measure": verdict.measure.name,
        "where": verdict.where,
        "shown": tables.verdict_row(verdict)[2:],
        "words": verdict.words,
        "points": verdict.points,
    } | numbers


def _arm(cell: int, arm: str, runs: list[Run]) -> dict:
    results = [run.result for run in runs]
    unlearned = [result["metrics"]["unlearned"] for result in results]
    return {
        "cell": cell,
        "arm": arm,
        "seeds": [run.seed for run in runs],
        "forget": [metrics["forget_acc"] for metrics in unlearned],
        "test": [metrics["test_acc"] for metrics in unlearned],
        "statuses": dict(collections.Counter(result["status"] for result in results)),
        "way": _way([result["trajectory"] for result in results if result["trajectory"]["step"]]),
        "classes": _class_gap(results),
        "state": {name: mean_of([result["diagnosis"][name] for result in results]) for name in STATE},
        "seconds": mean_of([result["cost"]["unlearn_s"] for result in results]),
        "share": mean_of([result["cost"].get("share") for result in results]),
    }


def _way(trajectories: list[dict]) -> dict[str, list]:
    """Average trajectories at every step that at least half of the runs came to."""
    at = collections.defaultdict(list)
    for trajectory in trajectories:
        for number, step in enumerate(trajectory["step"]):
            at[step].append([trajectory[name][number] for name in WAY])
    kept = sorted(step for step, rows in at.items() if 2 * len(rows) >= len(trajectories))
    columns = {name: [mean_of([row[i] for row in at[step]]) for step in kept] for i, name in enumerate(WAY)}
    return {"step": kept} | columns


def _class_gap(results: list[dict]) -> list[float | None]:
    """Mean over runs of unlearned less retrained accuracy, of every class of the test set."""
    rows = []
    for result in results:
        pair = [result["metrics"][model]["class_acc"] for model in ("unlearned", "retrained")]
        if None not in pair:
            rows.append([None if None in both else both[0] - both[1] for both in zip(*pair, strict=True)])
    return [mean_of(list(column)) for column in zip(*rows, strict=True)]


def _reference(runs: list[Run]) -> dict:
    """Return where the original and the retrained models of a cell are, once each."""
    reference = {}
    for model in ("original", "retrained"):
        once = {run.result["hashes"][model]: run.result["metrics"][model] for run in runs}
        reference[model] = [[metrics["forget_acc"], metrics["test_acc"]] for metrics in once.values()]
    return reference


def _over(one: OverSeeds, cell: int) -> dict:
    names = ("arm", "seeds", "klom", "klom_floor", "ulira", "ulira_floor")
    tests = {"bounded": one.bounded, "attack": one.attack}
    nulls = {
        name: test and {"value": test.value, "null": test.null, "p": test.p_holm} for name, test in tests.items()
    }
    return {"cell": cell} | {name: getattr(one, name) for name in names} | nulls


def rounded(value):
    """Keep five digits of every number, at any depth: a page shows no more. What is not finite becomes None."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
