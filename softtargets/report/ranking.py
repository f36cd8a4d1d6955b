"""All arms of a report in one ranking: the row of six columns that page, Markdown and LaTeX share."""

import collections
import dataclasses
import math
import re
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence

from softtargets.report.counts import Counts
from softtargets.report.endpoint import WITHOUT_FLOOR
from softtargets.report.measures import Measure
from softtargets.report.numbers import number, percent, with_interval, written
from softtargets.report.pairs import Pairing
from softtargets.report.standing import (
    EQUAL,
    NEAR,
    SIMPLE,
    Against,
    OnFace,
    Setting,
    algorithm_of,
    cheaper,
    listed,
    nearest_simple,
    ratio,
    runs_diverged,
    say_standing,
    word,
)
from softtargets.report.statistics import LEAST, LEVEL, Paired
from softtargets.report.verdicts import Verdict, forbidden, harmful, searched, utility_lost
from softtargets.report.way import NO_WAY, average
from softtargets.report.way_left import TOO_FAR, Entry, Way, best, by_preparation, honours, nearest
from softtargets.system.words import counted

HEAD = ("setting", "arm", "distance", "against doing nothing", "difference", "verdict")
"""Columns of the table of arms."""
CORRECTED = (
    "Verdicts are corrected for the number of comparisons (Holm); intervals are not, and may seem to say more. "
    "Not farther, at the floor, and what the other faces say are bounds of 95 % each, without that correction."
)


@dataclasses.dataclass(frozen=True)
class Ranked:
    """An arm as a row of six columns, with what a click opens."""

    entry: Entry
    cells: tuple[str, ...]
    """Under `HEAD`."""
    keys: tuple[float | str, ...]
    """By which each column sorts; empty where there is no number."""
    details: tuple[tuple[str, str], ...]
    """Names with values: n, tests, faces, what differs beside the targets."""
    honour: str
    """What it is called as a best arm of its setting, nearer than doing nothing by enough pairs; else empty."""
    brief: tuple[str, ...]
    """For a column of a paper: arm, n, distance, way left, difference, verdict."""


def ranked(
    entries: Sequence[Entry],
    verdicts: Sequence[Verdict],
    pairings: Sequence[Pairing],
    measures: Sequence[Measure],
    counts_of: Mapping[tuple[Setting, str], Counts],
) -> list[Ranked]:
    """Return a row for every arm in the order of `entries`, by the first of the measures.

    `counts_of` has the runs of every arm, by its setting and its name there.
    """
    honour_of = {at: name for group in by_setting(entries).values() for at, name in honours(group).items()}
    compared = collections.defaultdict(list)
    for entry, verdict, _ in comparisons(entries, verdicts, pairings):
        compared[id(entry), verdict.measure.name].append(verdict)
    return [
        _ranked(
            entry,
            sorted(compared[id(entry), measures[0].name], key=_nearness),
            measures[0],
            honour_of.get(id(entry), ""),
            counts_of[entry.setting, entry.standing.arm],
        )
        for entry in entries
    ]


def _nearness(verdict: Verdict) -> float:
    """Return the distance of the arm that others are compared with: the row of an arm shows its nearest rival."""
    return math.inf if verdict.one.mean is None else verdict.one.mean


def comparisons(
    entries: Sequence[Entry], verdicts: Sequence[Verdict], pairings: Sequence[Pairing]
) -> Iterator[tuple[Entry, Verdict, Pairing]]:
    """Yield every comparison of two arms at the end of the runs, with the entry of its second arm."""
    of_run = {run.folder: entry for entry in entries for run in entry.runs.values()}
    pairing_of = {(one.cell, one.one, one.other): one for one in pairings if one.pairs}
    for verdict in verdicts:
        pairing = verdict.other and pairing_of.get((verdict.cell, verdict.one.name, verdict.other.name))
        if verdict.where == "end" and pairing:
            yield of_run[pairing.pairs[0][1].folder], verdict, pairing


def by_setting(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Sort arms under the names of their settings."""
    groups = collections.defaultdict(list)
    for entry in entries:
        groups[entry.setting.name].append(entry)
    return dict(groups)


FREE = ("none", "none_calibrated", "early")
"""Algorithms without a budget."""


def common_settings(group: Sequence[Entry]) -> tuple[str, ...]:
    """Return the settings that all arms with a budget have in their names: a figure says them once."""
    arms = [entry.label.split() for entry in group if entry.algorithm not in FREE]
    first = arms[0] if len(arms) > 1 else []
    return tuple(word for word in first if "=" in word and all(word in other for other in arms))


def without(label: str, common: Collection[str]) -> str:
    """Return an arm's name without settings that are said once for all arms."""
    return " ".join(word for word in label.split() if word not in common)


def _ranked(entry: Entry, compared: list[Verdict], measure: Measure, honour: str, counts: Counts) -> Ranked:
    verdict = compared[0] if compared else None
    way = entry.ways.get(measure.name)
    runs = list(entry.runs.values())
    values = _finite(entry, measure)
    mean = average(measure, runs, list(map(measure.at_end, runs)))
    left = way.mean if way else None
    paired = verdict.paired if verdict else None
    cells = (
        entry.setting.name,
        entry.standing.shown,
        _distance(mean, values),
        _left(way),
        _difference(verdict),
        short_verdict(entry, verdict),
    )
    numbers = ["" if x is None else x for x in (mean, left, paired and paired.mean)]
    keys, details = (*cells[:2], *numbers, cells[5]), tuple(_details(entry, compared, counts))
    return Ranked(entry, cells, keys, details, honour, _brief(entry, cells, way, verdict))


def _brief(entry: Entry, cells: tuple[str, ...], way: Way | None, verdict: Verdict | None) -> tuple[str, ...]:
    name = entry.label if entry.label.startswith(entry.algorithm) else f"{entry.algorithm} {entry.label}"
    face = entry.standing.faces[0]
    enough = entry.standing.design.units >= LEAST and face.mean is not None
    said = ["no verdict"] if entry.standing.no_verdict else [word(face.against[0], face)] if enough else []
    said += [f"{_outcome(verdict).removeprefix('is ')} {verdict.one.name}"] if verdict else []
    said += ["loses utility"] if entry.standing.gate.passed is False else []
    left = "–" if way is None or way.mean is None else way.shown
    difference = cells[4].partition(" than ")[0]
    return (
        name,
        str(entry.standing.design.pairs),
        cells[2].partition(" ")[0],
        left,
        difference,
        "; ".join(said) or "–",
    )


def _finite(entry: Entry, measure: Measure) -> list[float]:
    values = [measure.at_end(run) for run in entry.runs.values()]
    return [value for value in values if value is not None and math.isfinite(value)]


def _distance(mean: float | None, values: list[float]) -> str:
    if mean is None:
        return "–"
    if len(values) < 2:
        return number(mean, 4)
    sd = statistics.stdev(values)
    return " ± ".join(written([mean, sd], 4, sd))


def _left(way: Way | None) -> str:
    if way is None or way.mean is None:
        return "–" if way is None else way.reason
    return f"leaves {percent(way.mean, way.low, way.high)}"


def _difference(verdict: Verdict | None) -> str:
    """Return how much farther an arm is than the one it is compared with; below 0 it is nearer."""
    if verdict is None or verdict.paired is None or verdict.paired.mean is None:
        return "–"
    paired, than = verdict.paired, f" than {verdict.one.name}"
    numbers = [None if x is None else -x for x in (paired.mean, paired.high, paired.low)]
    if not verdict.logarithms:
        return f"{with_interval(*numbers, 4, '+')}{than}"
    ratios = [None if x is None else ratio(x) for x in numbers]
    if math.inf in ratios:
        return f"{TOO_FAR}{than}"
    return f"×{with_interval(*ratios, 2).replace('[', '[×').replace(', ', ', ×')}{than}"


def short_verdict(entry: Entry, verdict: Verdict | None) -> str:
    """Say in a line where an arm stands; `say_standing` and the verdict of its targets say it in full."""
    standing = entry.standing
    if standing.design.units < LEAST:
        return standing.design.too_few
    face = standing.faces[0]
    if standing.no_verdict:
        return standing.no_verdict
    said = [_than(one, face) for one in _shown(face)] if face.mean is not None else []
    said += [_of_targets(verdict)] if verdict else []
    said += runs_diverged(standing)
    return "; ".join(said) or say_standing(standing)


def _of_targets(verdict: Verdict) -> str:
    """Return the first part of a verdict's words, which say of a difference between what it is."""
    said = re.split(r", by | \(n = |; |, on average", verdict.words)[0]
    return f"{said} to {verdict.one.name}" if said.startswith(("no significant", "equivalent")) else said


def _shown(face: OnFace) -> list[Against]:
    """Return doing nothing, early stopping, and the nearest arm of retraining and of fine-tuning at equal cost."""
    others = [one for one in face.against if one.paired is not None and not one.reference.endswith(EQUAL)]
    return [*others, *nearest_simple(face.against).values()]


def _than(one: Against, face: OnFace) -> str:
    reference = SIMPLE[algorithm_of(one.reference)] if one.reference.endswith(EQUAL) else one.reference
    said = word(one, face)
    return f"{said} as {reference}" if said == "the same" else f"{said} than {reference}"


def _details(entry: Entry, compared: list[Verdict], counts: Counts):
    standing = entry.standing
    yield "where it stands", say_standing(standing)
    yield "pairs", standing.design.shown
    yield "runs", counts.shown
    costs = {"samples": standing.share, "CPU seconds": standing.seconds, "before the request": standing.prepared}
    yield "cost, as a share of retraining", _numbers(costs) or "not counted by these runs"
    for face in standing.faces:
        numbers = {"mean": face.mean, "floor": face.floor, "doing nothing": face.nothing, "margin": face.margin}
        yield face.measure.label, _numbers(numbers) or "not measured"
    gate = standing.gate
    if gate.passed is not None:
        yield (
            "utility",
            f"test accuracy less the retrained model's: at least {number(gate.accuracy, 4, '+')} (one-sided 95 %)",
        )
    for verdict in compared:
        yield from _of_comparison(verdict)


def _of_comparison(verdict: Verdict):
    yield f"against {verdict.one.name}", verdict.words
    if verdict.paired is not None:
        paired = verdict.paired
        tests = {"p (Holm)": verdict.p, "p of equivalence": verdict.equivalence_p, "margin": verdict.margin}
        tests |= {"detectable": paired.detectable, "dz": paired.dz, "Cliff's δ": paired.cliff}
        tests |= {"wins": paired.wins}
        yield "tests", f"n = {paired.n}, {_numbers(tests)}"
    if verdict.settings:
        yield "differs beside the targets", "; ".join(verdict.settings)
    if verdict.refused:
        yield "left out", "; ".join(verdict.refused)


def _numbers(values: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items() if value is not None)


def headline(
    rows: Sequence[Ranked],
    verdicts: Sequence[Verdict],
    counts: Counts,
    measure: Measure | None = None,
    runless: Collection[str] = (),
) -> list[str]:
    """Return three lines: the best arm, hard against soft, and how far to trust both; without runs the last.

    They speak of one measure, by default the first of those that are compared. `runless` are arms of which no run
    finished.
    """
    if not rows:
        return [f"Trust: {counts.shown}."]
    measure = measure or verdicts[0].measure
    ends = [one for one in verdicts if one.where == "end" and one.measure.name == measure.name]
    floorless = any(face.lacks_floor for row in rows for face in row.entry.standing.faces)
    margins = f"; {WITHOUT_FLOOR}" if floorless else ""
    trust = f"Trust: {counts.shown}; {_detectable(rows, ends, measure)}{margins}."
    return [_best_line([row.entry for row in rows], measure), _targets_line(ends, measure, runless), trust]


NAMED = 3
"""Most settings and algorithms that a line of the headline names."""


def _best_line(entries: Sequence[Entry], measure: Measure) -> str:
    groups = by_setting(entries).values()
    if not any(best(group, measure.name) for group in groups):
        return f"Best arm{_by(measure)}: none{_nearest(entries, measure)}."
    said = [_of_setting(group, measure) for group in groups]
    more = [f"{counted(len(said) - NAMED, 'more setting')} below"] if len(said) > NAMED else []
    return f"Best arm{_by(measure)}: {'; '.join([*said[:NAMED], *more])}."


def _of_setting(group: Sequence[Entry], measure: Measure) -> str:
    """Name the best arm of a setting, or those without and with prepared models, or say that there is none."""
    parts = by_preparation(group)
    bests = {name: best(part, measure.name) for name, part in parts.items()}
    said = [
        f"{f'{name}, ' if name else ''}{_best(one, name, group, measure)}"
        if one
        else f"{f'{name} ' if name else ''}none{_nearest(parts[name], measure)}"
        for name, one in bests.items()
    ]
    return f"{group[0].setting.name}: {'; '.join(said)}"


def _by(measure: Measure) -> str:
    """Name the measure that a line speaks of."""
    return f" by {measure.label.partition(' (')[0]}"


def _nearest(entries: Sequence[Entry], measure: Measure) -> str:
    """Say which arm is the nearest where none keeps its utility."""
    entry = nearest(entries, measure.name)
    if all(one.baseline for one in entries):
        return ", since these runs are baselines alone"
    if entry is None and all(one.baseline or one.standing.no_verdict for one in entries):
        return ", since most runs of every arm have a status that forbids a verdict"
    if entry is None:
        ways = [one.ways[measure.name] for one in entries if measure.name in one.ways]
        return f", since there is {NO_WAY}" if NO_WAY in [way.reason for way in ways] else " has a finite distance"
    beside = "; ".join(filter(None, [entry.standing.design.shown, _worse(entry, measure)]))
    return f" keeps its utility; the nearest: {_leaves(entry, measure)} ({beside})"


def _leaves(entry: Entry, measure: Measure) -> str:
    way = entry.ways[measure.name]
    shown = percent(way.mean, way.low, way.high)
    return f"{entry.standing.arm} leaves {shown} of the way from doing nothing to retraining"


def _best(entry: Entry, kind: str, group: Sequence[Entry], measure: Measure) -> str:
    """Say what the best arm leaves, with n, and retraining beside it; `kind` of arms is as in `by_preparation`."""
    few = f"no verdict below {LEAST} pairs; the lowest mean: " if entry.standing.design.units < LEAST else ""
    beside = [entry.standing.design.shown, *_nearer_baselines(entry, group, measure)]
    beside += [*_opponent(entry, group, measure), *cheaper(entry.standing)]
    if worse := _worse(entry, measure):
        kept = " ".join(filter(None, ["no arm of an unlearning algorithm", kind, KEEPS]))
        beside += [f"in these runs {worse}" if few else f"{worse}; {kept}"]
    return f"{few}{_leaves(entry, measure)} ({'; '.join(beside)})"


KEEPS = "that keeps utility is nearer on average"


def _worse(entry: Entry, measure: Measure) -> str:
    """Return how an arm compares with doing nothing if it is not nearer; empty for any other."""
    left = entry.left_by(measure.name)
    return "" if left < 1 else "no better than doing nothing" if left == 1 else "worse than doing nothing"


def _nearer_baselines(entry: Entry, group: Sequence[Entry], measure: Measure) -> list[str]:
    """Name the baselines that cost no more, keep their utility and are nearer than a best arm, the nearest first.

    Doing nothing and retraining have words of their own: `_worse`, `_opponent`.
    """
    nearer = sorted(
        (one for one in group if _is_rival(one, entry) and _is_nearer(one, entry, measure)),
        key=lambda one: one.left_by(measure.name),
    )
    each = [f"{one.standing.arm} leaves {percent(one.left_by(measure.name))}" for one in nearer]
    return [f"but simpler and nearer: {listed(each)}"] if each else []


def _is_rival(one: Entry, entry: Entry) -> bool:
    """Return whether an arm is a baseline that costs no more than `entry`, beside doing nothing and retraining."""
    share, other = entry.standing.share, one.standing.share
    is_simple = one.baseline and one.algorithm not in ("none", "retrain") and not one.standing.comparison_only
    is_cheap = (other or 0.0) <= (1 + NEAR) * (share or math.inf)
    return is_simple and is_cheap and one.standing.gate.passed is not False


def _is_nearer(one: Entry, entry: Entry, measure: Measure) -> bool:
    left = one.left_by(measure.name)
    return left is not None and left < entry.left_by(measure.name)


def _opponent(entry: Entry, group: Sequence[Entry], measure: Measure) -> list[str]:
    """Say what the nearest retraining and fine-tuning at equal cost leave, and whether they are nearer."""
    known = {one.standing.arm: one for one in group if one.left_by(measure.name) is not None}
    names = [one.reference.removesuffix(EQUAL) for one in entry.standing.faces[0].against]
    said = []
    for algorithm, shown in SIMPLE.items():
        if equal := [known[name] for name in names if name in known and algorithm_of(name) == algorithm]:
            nearest_one = min(equal, key=lambda one: one.left_by(measure.name))
            said.append(f"{shown} leaves {_left_by(nearest_one, entry, measure)}")
    return said


def _left_by(opponent: Entry, entry: Entry, measure: Measure) -> str:
    """Return what an opponent leaves, whether it is nearer than an arm, and whether it loses utility."""
    beside = ", so it is nearer" if _is_nearer(opponent, entry, measure) else ""
    is_lossy = opponent.standing.gate.passed is False
    beside += f"{', but' if beside else ' and'} loses utility" if is_lossy else ""
    return f"{percent(opponent.left_by(measure.name))}{beside}"


def _targets_line(verdicts: Sequence[Verdict], measure: Measure, runless: Collection[str]) -> str:
    first = [one for one in verdicts if one.other is not None]
    lost = _without_a_run(runless)
    if not first:
        why = "no algorithm has results of two kinds of targets in one setting"
        return f"Hard against soft: {'; '.join([f'not compared, since {why}', *lost])}."
    counts = collections.defaultdict(collections.Counter)
    for verdict in first:
        algorithm = dict(verdict.cell.settings).get("mu_algo", "")
        words = [f"{verdict.other.name} {_outcome(verdict)} {verdict.one.name}", *utility_lost(verdict)]
        counts[algorithm][", and ".join(words)] += 1
    algorithms = collections.defaultdict(list)
    for algorithm, each in counts.items():
        cells = (words + (f" (in {counted(count, 'cell')})" if count > 1 else "") for words, count in each.items())
        algorithms[", ".join(cells)] += [algorithm] if algorithm else []
    said = [f"{f'{listed(names)}: ' if names else ''}{words}" for words, names in algorithms.items()]
    others = [name for names in list(algorithms.values())[NAMED:] for name in names]
    more = [f"more in figure 3: {', '.join(others)}"] if len(said) > NAMED else []
    name = "Hard against soft" if any(v.one.name == "hard" for v in first) else "Comparison"
    own = list(dict.fromkeys(word for verdict in first for word in searched(verdict)))
    return f"{name}{_by(measure)}: {'; '.join([*said[:NAMED], *more, *own, *lost])}."


def _without_a_run(runless: Collection[str]) -> list[str]:
    """Name the first arms of which no run finished: they have no row to be missed in."""
    if not runless:
        return []
    names = [
        *list(runless)[:NAMED],
        *([counted(len(runless) - NAMED, "more arm")] if len(runless) > NAMED else []),
    ]
    return [f"there is no readable result of {listed(names)}"]


def _outcome(verdict: Verdict) -> str:
    """Return what is shown of the second arm against the first."""
    if forbidden(verdict) or verdict.paired is None or verdict.paired.n < LEAST:
        return "has no verdict against"
    is_equivalent = verdict.equivalence_p is not None and verdict.equivalence_p < LEVEL
    if verdict.p is not None and verdict.p < LEVEL:
        words = ("does less harm", "does more harm") if harmful(verdict) else ("is closer", "is farther")
        outcome = words[0] if verdict.paired.ahead > 0 else words[1]
        return f"{outcome}{', though by less than the margin,' if is_equivalent else ''} than"
    if verdict.paired.mean is None:
        return "has no verdict against"
    if is_equivalent:
        return "is equivalent to"
    low, high = verdict.paired.low, verdict.paired.high
    apart = low is not None and high is not None and low * high > 0
    return f"is not shown{', after correction for all tests,' if apart else ''} to differ from"


def _detectable(rows: Sequence[Ranked], verdicts: Sequence[Verdict], measure: Measure) -> str:
    """Say which difference this many pairs can show by a measure, or why none can be said."""
    tests = [one.paired for one in verdicts if one.paired and not one.logarithms]
    known = [paired.detectable for paired in tests if paired.detectable]
    compared = "of two arms" if known else "with doing nothing"
    if not known:
        arms = [row.entry for row in rows if not row.entry.baseline] or [row.entry for row in rows]
        faces = [face for arm in arms for face in arm.standing.faces if face.measure.name == measure.name]
        to_nothing = [face.against[0].paired for face in faces if face.against and not face.logarithms]
        tests += [paired for paired in to_nothing if paired]
        known = [paired.detectable for paired in tests if paired.detectable]
    if not known:
        return _why_nothing(rows, tests)
    sizes = sorted({row.entry.standing.design.pairs for row in rows})
    n = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    edges = list(dict.fromkeys(f"{edge:.2g}" for edge in (min(known), max(known))))
    least = edges[0] if len(edges) == 1 else f"between {edges[0]} and {edges[1]}"
    return (
        f"with n = {n}, the smallest mean difference that one comparison {compared} shows in 80 % of cases, "
        f"without correction for the others, is {least} by {measure.label}"
    )


def _why_nothing(rows: Sequence[Ranked], tests: Sequence[Paired]) -> str:
    """Say why it cannot be said which difference the pairs can show."""
    if all(row.entry.standing.design.units < LEAST for row in rows):
        return f"fewer than {LEAST} pairs show nothing"
    if any(paired.sd == 0 for paired in tests):
        return "every pair has the same difference, so that none can be called detectable"
    if any(row.entry.standing.faces[0].logarithms for row in rows):
        return "distances are compared as logarithms, of which the detectable ratio is in the tables"
    return "too few values are finite to show anything"
