"""Tidy tables of unrounded numbers for other programs (docs/tables.md): all but summary.csv."""

import collections
import csv
import dataclasses
import io
import math
from collections.abc import Callable, Iterable, Iterator

from softtargets.errors import visible
from softtargets.report import endpoint, rows
from softtargets.report.contrast import NAMES, Contrast, say_contrast
from softtargets.report.costs import Cost, costs
from softtargets.report.counts import Counts, Runless, of_arms, overrides_in, without_any
from softtargets.report.folders import Census
from softtargets.report.leaks import Leak
from softtargets.report.measures import Floors, Measure, Value
from softtargets.report.pairs import Pairing, alone
from softtargets.report.runs import FACTORS, Cell, Run, typed
from softtargets.report.standing import Against, OnFace, Standing, say_standing
from softtargets.report.statistics import Paired
from softtargets.report.verdicts import Verdict, compare_arms, mean_interval, places, values_of

RUNS = (*FACTORS, "targets", "seed", "status")
"""Columns where there is no run, and with it no metric."""
PLACE = ("cell", *FACTORS, "measure", "where")
ARMS = (*PLACE, "arm", "n", "runs", "mean", "sd", "low", "high", "mean_with_diverged", "diverged")
ARMS += ("never_matched", "failed", "unfinished", "unbegun", "set_aside")
ARMS += ("without_trajectory", "not_measured", "statuses", "floor", "nothing", "floor_corrected")
ARMS += ("cost_share", "cost_share_seconds", "cost_prepared_share")
ARMS += ("against", "pairs", "difference", "difference_low", "difference_high", "p", "verdict")
PAIRS = (
    *PLACE,
    "one",
    "other",
    "seed",
    "forget_seed",
    "dataset_seed",
    "value_one",
    "value_other",
    "difference",
    "folder_one",
    "folder_other",
)
NOT_LISTED = ("worst_auc", "images", "retrained", "auc_without")
"""What is known of an attack for the page alone."""
ATTACKS = tuple(field.name for field in dataclasses.fields(Leak) if field.name not in NOT_LISTED)
Row = dict[str, object]


def csv_text(lines: Iterable[Row], columns: tuple[str, ...] = ()) -> str:
    """Return rows as CSV: `columns` first, then the others as they come. A float reads back as the same float."""
    lines = list(lines)
    names = dict.fromkeys([*columns, *(name for line in lines for name in line)])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_inert, names))
    writer.writerows([_inert(line.get(name)) for name in names] for line in lines)
    return text.getvalue()


def _inert(value: object) -> object:
    """Return a text that a spreadsheet takes for no formula; numbers are as they are."""
    if not isinstance(value, str):
        return value
    shown = value if value.isprintable() else visible(value)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def runs_csv(runs: list[Run]) -> str:
    """Return the rows of `softtargets.results`, under the same names."""
    return csv_text(map(rows.row, runs), () if runs else RUNS)


def arms_csv(
    runs: list[Run], verdicts: list[Verdict], pairings: list[Pairing], measures: Iterable[Measure], known: Census
) -> str:
    """Return a row for every arm of every cell, by every measure and place: of all its runs, then its verdict.

    Runs without a result are counted where all runs of an arm were planned. Arms of which no run finished come
    last.
    """
    groups = collections.defaultdict(list)
    for run in runs:
        groups[run.cell, run.arm].append(run)
    arms = [alone(cell, arm, group) for (cell, arm), group in groups.items()]
    verdict_of = _verdict_of_arm(runs, verdicts, pairings)
    cost_of = {(cost.cell, cost.arm): cost for cost in costs(runs)}
    counts_of = of_arms(runs, known, lambda run: (run.cell, run.arm))
    floors = Floors()
    lines = []
    for measure, where in places(measures):
        for pairing, by_itself in zip(arms, compare_arms(arms, measure, where, None, floors), strict=True):
            verdict = verdict_of.get((pairing.cell, pairing.one, measure.name, where))
            values = [values_of(measure, where)(run) for (run,) in pairing.pairs]
            interval = mean_interval(pairing, measure, values)
            line = _place(pairing.cell, measure, where) | _arm(by_itself, values, interval)
            line |= _cost(cost_of[pairing.cell, pairing.one]) | _lost(counts_of[pairing.cell, pairing.one])
            lines.append(line | (_verdict(verdict) if verdict else {}))
        lines += [_runless(*arm, measure, where) for arm in without_any(runs, known).items()]
    return csv_text(lines, ARMS)


def _runless(name: str, lost: Runless, measure: Measure, where: str) -> Row:
    """Return the row of an arm of which no run finished: its overrides, and what became of its runs."""
    chosen = overrides_in(name)
    line = {"cell": None, "measure": measure.name, "where": where, "arm": chosen.get("targets", name)}
    known = {column: value for column, value in chosen.items() if column != "targets"}
    return line | known | {"n": 0, "runs": 0} | _lost(lost.counts) | {"verdict": f"no run finished: {lost.shown}"}


def _verdict_of_arm(
    runs: list[Run], verdicts: list[Verdict], pairings: list[Pairing]
) -> dict[tuple[Cell, str, str, str], Verdict]:
    """Return the verdict on every arm, by its cell, its name there, the measure and the place.

    Where other settings than targets are compared, a verdict has another cell and other names: the runs of its
    pairs say whose it is.
    """
    named = {run.folder: (run.cell, run.arm) for run in runs}
    pairing_of = {(one.cell, one.one, one.other): one for one in pairings}
    verdict_of = {}
    for verdict in verdicts:
        pairing = verdict.other and pairing_of.get((verdict.cell, verdict.one.name, verdict.other.name))
        seconds = {named[other.folder] for _, other in pairing.pairs} if pairing else set()
        for cell, arm in seconds or {(verdict.cell, (verdict.other or verdict.one).name)}:
            verdict_of[cell, arm, verdict.measure.name, verdict.where] = verdict
    return verdict_of


def _place(cell: Cell, measure: Measure, where: str) -> Row:
    settings = {name: typed(value) for name, value in cell.settings}
    return {"cell": cell.key, "measure": measure.name, "where": where} | settings


def _arm(by_itself: Verdict, values: list[Value], interval: tuple[Value, Value]) -> Row:
    arm = by_itself.one
    return {
        "arm": arm.name,
        "n": sum(value is not None and math.isfinite(value) for value in values),
        "runs": arm.runs,
        "mean": arm.mean,
        "sd": arm.sd,
        "low": interval[0],
        "high": interval[1],
        "mean_with_diverged": arm.mean_with_diverged,
        "diverged": arm.diverged,
        "never_matched": arm.censored,
        "without_trajectory": arm.unwatched,
        "not_measured": arm.unmeasured,
        "statuses": "; ".join(f"{status} {count}" for status, count in arm.flags.items()),
        "floor": by_itself.floor,
        "nothing": by_itself.nothing,
        "floor_corrected": arm.corrected,
    }


def _lost(counts: Counts) -> Row:
    """Return the runs that are no part of an arm, where it is known whose they are."""
    if not counts.is_planned:
        return {}
    known = {name: getattr(counts, name) for name in ("failed", "unfinished", "unbegun")}
    return known | {"set_aside": counts.aside}


def _cost(cost: Cost) -> Row:
    names = ("share", "share_seconds", "prepared_share")
    return {f"cost_{name}": getattr(cost, name) for name in names}


def _verdict(verdict: Verdict) -> Row:
    """Return how an arm compares with the one that all of its cell are compared with."""
    paired = verdict.paired
    numbers = {"pairs": paired.n, "difference": paired.mean, "difference_low": paired.low} if paired else {}
    more = {"difference_high": paired.high, "p": verdict.p} if paired else {}
    return {"against": verdict.one.name if verdict.other else None, "verdict": verdict.words} | numbers | more


def pairs_csv(pairings: list[Pairing], measures: Iterable[Measure]) -> str:
    """Return a row for every pair of runs that is compared, by every measure and place."""
    lines = [
        _place(pairing.cell, measure, where) | _pair(pairing, values_of(measure, where), *pair)
        for measure, where in places(measures)
        for pairing in pairings
        if pairing.other is not None
        for pair in pairing.pairs
    ]
    return csv_text(lines, PAIRS)


def _pair(pairing: Pairing, value: Callable[[Run], Value], one: Run, other: Run) -> Row:
    """Return both values and their difference, which is one less other, where both are finite."""
    values = value(one), value(other)
    finite = None not in values and all(map(math.isfinite, values))
    return {
        "one": pairing.one,
        "other": pairing.other,
        "seed": one.seed,
        "forget_seed": one.draw[0],
        "dataset_seed": one.draw[1],
        "value_one": values[0],
        "value_other": values[1],
        "difference": values[0] - values[1] if finite else None,
        "folder_one": str(one.folder),
        "folder_other": str(other.folder),
    }


STANDING = ("setting", "arm", "n", "share", "share_seconds", "prepared_share", "utility_kept", "test_acc_gap_low")
STANDING += ("face", "mean", "nothing", "floor", "left", "scale", "margin", "at_floor", "fails")
STANDING += ("reference", "pairs", "difference", "difference_low", "difference_high", "test", "p", "p_holm")
STANDING += ("farther_at_most", "wins", "losses", "ties", "sign_p", "sentence")


def standing_csv(standings: list[Standing]) -> str:
    """Return a row for every arm of every setting, by every face and reference: the arm less the reference."""
    lines = [
        _stands(one) | _face(face) | _against(reference) | {"sentence": say_standing(one)}
        for one in standings
        for face in one.faces
        for reference in face.against
    ]
    return csv_text(lines, STANDING)


def _stands(one: Standing) -> Row:
    costs = {"share": one.share, "share_seconds": one.seconds, "prepared_share": one.prepared}
    utility = {"utility_kept": one.gate.passed, "test_acc_gap_low": one.gate.accuracy}
    return {"setting": one.setting.key, "arm": one.arm, "n": one.design.pairs} | costs | utility


def _face(face: OnFace) -> Row:
    names = ("mean", "nothing", "floor", "left", "margin", "at_floor", "fails")
    numbers = {name: getattr(face, name) for name in names}
    return {"face": face.measure.name, "scale": "log" if face.logarithms else "difference"} | numbers


def _test(paired: Paired | None) -> str | None:
    """Name the test that direction is judged by."""
    if paired is None or paired.p is None:
        return None
    return "signed ranks" if paired.by_ranks else "t"


def _against(one: Against) -> Row:
    paired = one.paired
    numbers = {} if paired is None else {"pairs": paired.n, "difference": paired.mean, "p": paired.p}
    edges = {} if paired is None else {"difference_low": paired.low, "difference_high": paired.high}
    signs = {} if one.signs is None else {name: getattr(one.signs, name) for name in ("wins", "losses", "ties")}
    sign_p = {} if one.signs is None else {"sign_p": one.signs.p}
    more = {"test": _test(paired), "p_holm": one.p, "farther_at_most": one.upper}
    return {"reference": one.reference} | numbers | edges | more | signs | sign_p


CONTRASTS = ("setting", "cost", "one", "other", "pairs", "ahead", "shown", "claimed", "wins", "losses", "ties")
CONTRASTS += ("sign_p", "cost_one", "cost_other", "left_one", "left_other", "utility_one", "utility_other")
CONTRASTS += ("frozen_margins", "face", "scale", "difference", "difference_low", "difference_high", "p")
CONTRASTS += ("margin", "farther_at_most", "status", "sentence")


def contrasts_csv(contrasts: Iterable[Contrast]) -> str:
    """Return a row for every primary contrast and face: the arm that is ahead by JS_T less the other."""
    lines = [
        _contrast(one) | face | {"sentence": say_contrast(one)}
        for one in contrasts
        for face in _contrast_faces(one)
    ]
    return csv_text(lines, CONTRASTS)


def _contrast(one: Contrast) -> Row:
    rule, names = one.rule, {"one": one.one, "other": one.other}
    sides = {"ahead": rule.ahead, "shown": one.shown, "claimed": one.side}
    signs = {name: getattr(rule.signs, name) for name in ("wins", "losses", "ties")} | {"sign_p": rule.signs.p}
    sided = zip(names, one.place.costs, one.place.left, one.gates, strict=True)
    of_arms = {
        f"{name}_{side}": value
        for side, *values in sided
        for name, value in zip(("cost", "left", "utility"), values, strict=True)
    }
    place = {"setting": one.setting.key, "cost": one.cost, "pairs": rule.pairs, "frozen_margins": one.frozen}
    return place | names | {column: side and names[side] for column, side in sides.items()} | signs | of_arms


def _contrast_faces(one: Contrast) -> Iterator[Row]:
    """Yield the difference by JS_T, then by the other faces if an arm is ahead."""
    measures = {name: measure for measure, name in NAMES.items()}
    js_t = dataclasses.replace(one.rule.js_t, mean=-abs(one.rule.js_t.mean))
    bounds = {
        name: {"margin": face.margin, "farther_at_most": face.difference.upper(), "status": face.status}
        for name, face in one.rule.faces.items()
    }
    differences = {"js_t": js_t} | {name: face.difference for name, face in one.rule.faces.items()}
    for name, difference in differences.items():
        scale = "log" if name in one.logarithms else "difference"
        yield {"face": measures[name], "scale": scale} | _difference(difference) | bounds.get(name, {})


def _difference(one: endpoint.Difference) -> Row:
    low, high = one.interval()
    return {"difference": one.mean, "difference_low": low, "difference_high": high, "p": one.p}


def attacks_csv(found: Iterable[Leak]) -> str:
    """Return a row for every attack per sample on every arm; lists of numbers are joined by spaces."""
    lines = []
    for leak in found:
        values = {name: getattr(leak, name) for name in ATTACKS}
        listed = {"worst": leak.worst, "curve": (rate for _, rate in leak.curve)}
        texts = {name: " ".join(map(str, numbers)) for name, numbers in listed.items()}
        lines.append(values | {"setting": leak.setting.key} | texts)
    return csv_text(lines, ATTACKS)
