"""What the page keeps folded: accuracies, trajectories, classes, diagnosis, margins over seeds, all verdicts."""

import collections
import itertools
import math
from collections.abc import Sequence

import numpy
from scipy import stats

from softtargets.class_names import class_names
from softtargets.report import numbers, tables
from softtargets.report.attacks import can_show
from softtargets.report.figures import Line, Plane, dashed, facet, filtered, kind_of, names, of_plane, round_ticks
from softtargets.report.leak_pairs import STRONGEST
from softtargets.report.leaks import Leak
from softtargets.report.markup import Markup, joined, tag
from softtargets.report.palette import mark
from softtargets.report.ranking import by_setting, common_settings, without
from softtargets.report.runs import Run
from softtargets.report.seeds import OverSeeds
from softtargets.report.statistics import mean_of
from softtargets.report.verdicts import Verdict
from softtargets.report.way_left import Entry
from softtargets.system.words import counted

STATE = {
    "target_distance": "‖q − p0‖₁",
    "sharpness": "q_y − p0_y",
    "target_entropy": "entropy of q",
    "grad_cosine": "cosine to hard",
    "first_order": "first update",
}
"""Numbers of the diagnosis that are shown."""


def table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    texts: int = 2,
    of: Sequence[Entry] = (),
) -> Markup:
    """Return a table that scrolls by itself; the first `texts` columns are words, the others numbers.

    Filters know the rows by the arms that they are `of`.
    """
    top = tag("tr", *(tag("th", name, scope="col") for name in head))
    data = [{} if entry is None else filtered(entry) | kind_of(entry) for entry in of or [None] * len(rows)]
    cells = [
        [tag("td", cell, class_=None if at < texts else "number") for at, cell in enumerate(row)] for row in rows
    ]
    lines = [tag("tr", *row, **known) for row, known in zip(cells, data, strict=True)]
    whole = tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *lines))
    return tag("div", whole, class_="wide", tabindex=0, role="region", aria_label=caption)


def accuracies(entries: Sequence[Entry], means: bool = False) -> list[Markup]:
    """Draw forget against test accuracy of every run, an algorithm a plane, with retrained models as outlines.

    With `means` there is one mark for each arm, and one for each kind of model.
    """
    return [_facet(group, _planes_of_accuracies(group, means)) for group in by_setting(entries).values()]


def _facet(group: Sequence[Entry], *rows: list[Markup]) -> Markup:
    """Return small figures of a setting, in rows; filters hide those of which they leave nothing."""
    drawn = (tag("div", *(tag("div", part) for part in row), class_="small") for row in rows)
    return facet(*drawn, entry=group[0], name=group[0].setting.name, open_=True)


def _by_algorithm(group: Sequence[Entry]) -> dict[str, list[Entry]]:
    groups = collections.defaultdict(list)
    for entry in group:
        groups[entry.algorithm].append(entry)
    return groups


def _planes_of_accuracies(group: Sequence[Entry], means: bool) -> list[Markup]:
    runs = [run for entry in group for run in entry.runs.values()]
    models = {name: _once(runs, name) for name in ("original", "retrained")}
    common = common_settings(group)
    planes = [_accuracies(name, arms, models, means, common) for name, arms in _by_algorithm(group).items()]
    return [plane for plane in planes if plane] or [tag("p", "No accuracy was measured.")]


OUTLINES = {"original": "scrub", "retrained": "gradasc"}
"""Models that are no arm, with the algorithm whose shape they have: a plus, a circle."""


def _accuracies(
    name: str, arms: list[Entry], models: dict[str, list], means: bool, common: Sequence[str]
) -> Markup | None:
    """Draw the runs of an algorithm on axes of its own, so that one that destroys its models squeezes no other."""
    unlearned = [(entry, _once(list(entry.runs.values()), "unlearned")) for entry in arms]
    places = [*itertools.chain(*(there for _, there in unlearned)), *itertools.chain(*models.values())]
    if not places:
        return None
    edges = [_edges([place[at] for place in places]) for at in (0, 1)]
    ticks = [tuple((x, f"{x + 0.0:.3g}") for x in round_ticks(*edge)) for edge in edges]
    heights = tuple(y for y, _ in ticks[1])
    plane = Plane(*edges, ticks[0], "forget accuracy", "test accuracy", heights=heights, height=220)
    lines = [
        Line(without(entry.label, common), entry.algorithm, entry.targets, tuple(_dots(there, means)))
        for entry, there in unlearned
    ]
    lines += [
        Line(model, OUTLINES[model], None, tuple(_dots(there, means)), "outline")
        for model, there in models.items()
    ]
    return of_plane(lines, plane, name, ("dots",))


def _dots(places: list[tuple[float, float]], means: bool) -> list[tuple[float, float, float, float]]:
    if means and places:
        places = [tuple(numpy.mean(places, axis=0).tolist())]
    return [(x, y, y, y) for x, y in places]


def _once(runs: list[Run], model: str) -> list[tuple[float, float]]:
    """Return forget and test accuracy of every model, each once."""
    known = {}
    for run in runs:
        metrics = run.result["metrics"][model]
        key = run.result["hashes"].get(model, str(run.folder)) if model != "unlearned" else str(run.folder)
        known[key] = metrics["forget_acc"], metrics["test_acc"]
    return [place for place in known.values() if None not in place]


def _edges(values: list[float]) -> tuple[float, float]:
    room = 0.05 * (max(values) - min(values) or 0.1)
    return min(values) - room, max(values) + room


WAYS = {"forget_acc": "forget accuracy", "js_forget": "JS on the forget set"}


def trajectories(entries: Sequence[Entry]) -> list[Markup]:
    """Draw means over pairs with 95 % bands at every step; a run that stopped keeps its last value."""
    drawn = []
    for group in by_setting(entries).values():
        parts, common = _by_algorithm([entry for entry in group if _looks(entry)]), common_settings(group)
        if parts:
            rows = ([_trajectories(*part, column, common) for part in parts.items()] for column in WAYS)
            drawn.append(_facet(group, *rows))
    return drawn


def _looks(entry: Entry) -> list[Run]:
    """Return the runs that kept a trajectory."""
    return [run for run in entry.runs.values() if len(run.result["trajectory"]["step"]) > 1]


def _trajectories(name: str, arms: list[Entry], column: str, common: Sequence[str]) -> Markup:
    lines = [line for line in dashed([_trajectory(e, column, common) for e in arms]) if line.points]
    runs = [run for entry in arms for run in entry.runs.values()]
    marked = _levels(runs, column)
    if not lines:
        return tag("p", f"{name}: {WAYS[column]} is not finite in any of its runs.")
    x = (0.0, float(max(line.points[-1][0] for line in lines)))
    y = _edges([v for line in lines for point in line.points for v in point[1:]] + [place for place, *_ in marked])
    ticks = tuple((at, f"{at:,.0f}") for at in round_ticks(*x))
    heights = tuple(round_ticks(*y))
    plane = Plane(
        x, y, ticks, "steps of unlearning", WAYS[column], marked=tuple(marked), heights=heights, height=200
    )
    return joined(of_plane(lines, plane, name, ("line",)), names(lines, marked=False))


def _trajectory(entry: Entry, column: str, common: Sequence[str]) -> Line:
    """Return the line of an arm, which ends where one of its runs is not finite any more."""
    looks = _looks(entry)
    points, label = _means(looks, column), without(entry.label, common)
    is_cut = points and points[-1][0] < max(run.result["trajectory"]["step"][-1] for run in looks)
    return Line(f"{label} (until a run diverged)" if is_cut else label, entry.algorithm, entry.targets, points)


def _levels(runs: list[Run], column: str) -> list[tuple[float, str, str]]:
    """Return where retraining and doing nothing are."""
    if column == "forget_acc":
        parts = [("retrained", "zero"), ("original", "one")]
        known = [(mean_of([r.result["metrics"][m]["forget_acc"] for r in runs]), m, look) for m, look in parts]
    else:
        floors = [floor for r in runs if (floor := r.result.get("faces", {}).get("js_forget", {}).get("floor"))]
        known = [(mean_of([r.result["baseline"]["js_forget"] for r in runs]), "doing nothing", "one")]
        known += [(mean_of(floors), "another retraining", "zero")] if floors else []
    return [(y, name, look) for y, name, look in known if y is not None]


def _means(runs: list[Run], column: str) -> tuple[tuple[float, float, float, float], ...]:
    """Return step, mean and 95 % interval over runs, each of which keeps its last value, while all are finite."""
    steps = sorted({step for run in runs for step in run.result["trajectory"]["step"]})
    rows = numpy.array([_carried(run.result, steps, column) for run in runs], dtype=float)
    finite = numpy.isfinite(rows).all(0)
    end = len(steps) if finite.all() else int(finite.argmin())
    steps, rows = steps[:end], rows[:, :end]
    mean, half = rows.mean(0), numpy.zeros(len(steps))
    if len(rows) > 1:
        half = stats.t.isf(0.025, len(rows) - 1) * rows.std(0, ddof=1) / math.sqrt(len(rows))
    return tuple(
        zip(map(float, steps), mean.tolist(), (mean - half).tolist(), (mean + half).tolist(), strict=True)
    )


def _carried(result: dict, steps: list[int], column: str) -> list[float]:
    """Return a value for each of these steps: the last one before it, and none after the end of a diverged run."""
    trajectory = result["trajectory"]
    known = dict(zip(trajectory["step"], trajectory[column], strict=True))
    end = trajectory["step"][-1] if result["status"] == "diverged" else math.inf
    values, last = [], math.nan
    for step in steps:
        value = known.get(step, last) if step <= end else None
        last = math.nan if value is None else value
        values.append(last)
    return values


def classes(entries: Sequence[Entry]) -> list[Markup]:
    """Return tables of unlearned less retrained accuracy on each class of the test set, or why there is none."""
    parts = []
    for group in by_setting(entries).values():
        rows = [(entry, _gaps(entry)) for entry in group]
        rows = [row for row in rows if row[1]]
        if rows:
            parts.append(facet(_classes(rows), entry=group[0], name=group[0].setting.name, open_=True))
    return parts or [tag("p", "No run has a finite accuracy on each class.")]


def _gaps(entry: Entry) -> list[float | None]:
    rows = []
    for run in entry.runs.values():
        pair = [run.result["metrics"][model]["class_acc"] for model in ("unlearned", "retrained")]
        if None not in pair:
            rows.append([None if None in both else both[0] - both[1] for both in zip(*pair, strict=True)])
    means = (mean_of(list(column)) for column in zip(*rows, strict=True))
    return [None if mean is None else round(mean, 9) for mean in means]  # equal ones may differ in the last bit


def _classes(rows: list[tuple[Entry, list]]) -> Markup:
    some = next(iter(rows[0][0].runs.values()))
    head = ["arm", *class_names(some.result, max(len(gaps) for _, gaps in rows))]
    lines = [
        tag(
            "tr",
            tag("th", mark(e.algorithm, e.targets), e.standing.arm, scope="row"),
            *map(_gap, gaps),
            **kind_of(e),
        )
        for e, gaps in rows
    ]
    top = tag("tr", *(tag("th", name, scope="col") for name in head))
    caption = "Test accuracy of the unlearned less that of the retrained model, mean over pairs"
    whole = tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *lines), class_="gaps")
    return tag("div", whole, class_="wide", tabindex=0, role="region", aria_label=caption)


def _gap(value: float | None) -> Markup:
    if value is None:
        return tag("td", "–", class_="number")
    share = f"--share:{min(abs(value) * 300, 60):.0f}%"
    look = "less" if value < 0 else "more"
    return tag("td", numbers.number(value, 3, "+"), class_=f"number {look}", style=share)


def diagnosis(entries: Sequence[Entry]) -> Markup:
    """Return the state of the targets at the original model, and what an arm's runs took."""
    head = ("setting", "arm", "runs", "status", *STATE.values(), "seconds", "cost share")
    rows = []
    for entry in entries:
        results = [run.result for run in entry.runs.values()]
        counts = collections.Counter(result["status"] for result in results)
        statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
        numbers = [mean_of([result["diagnosis"][name] for result in results]) for name in STATE]
        numbers = numbers if entry.targets else [None for _ in numbers]  # no targets drive it
        numbers += [mean_of([result["cost"]["unlearn_s"] for result in results]), entry.standing.share]
        shown = ("–" if x is None else f"{x:.3g}" for x in numbers)
        rows.append((entry.setting.name, entry.standing.arm, len(results), statuses, *shown))
    return table("State of the forget targets at the original model, means over pairs", head, rows, of=entries)


def over_seeds(over: Sequence[OverSeeds]) -> Markup:
    """Return how far margins are from those of retrained models, sample by sample."""
    if not over:
        return tag("p", "Ten seeds of an arm on one forget set are needed.")
    return table("Margins on the forget set", tables.OVER, [tables.over_row(one) for one in over])


def attacks(leaks: Sequence[Leak]) -> list[Markup]:
    """Return what attacks per sample find out, and the ROC of the strongest of them for every arm."""
    if not leaks:
        return [tag("p", "Not shown: ten seeds of an arm on one forget set are needed.")]
    settings = collections.defaultdict(list)
    for leak in leaks:
        settings[leak.setting.name].append(leak)
    shown = tag("p", " ".join(can_show(models) for models in sorted({leak.models for leak in leaks})))
    of_settings = [part for name, group in settings.items() for part in _attacks_of(name, group)]
    return [shown, *of_settings, *_worst_of(_strongest(leaks))]


def _strongest(leaks: Sequence[Leak]) -> list[Leak]:
    return [leak for leak in leaks if leak.attack == STRONGEST]


def _attacks_of(name: str, group: Sequence[Leak]) -> list[Markup]:
    """Return the tables and the ROC of a setting."""
    strongest = _strongest(group)
    attacks = table(f"Attacks per sample, {name}", tables.LEAK, [tables.leak_row(leak) for leak in group])
    rows = [tables.of_margins_row(leak) for leak in strongest]
    margins = table(f"Margins of single samples, {name}", tables.OF_MARGINS, rows, texts=1)
    return [attacks, margins, _roc(name, strongest)]


def _worst_of(strongest: Sequence[Leak]) -> list[Markup]:
    """Return the samples that leak most of every arm, or one sentence where none has its images."""
    if not any(leak.images for leak in strongest):
        lacking = (
            "No images of the samples that leak most: the dataset of the runs is not on this machine as it was."
        )
        return [tag("p", lacking)]
    return list(map(_worst, strongest))


def _worst(leak: Leak) -> Markup:
    """Return the samples that leak most, with their images where the dataset is there."""
    title = f"{leak.setting.name}, {leak.shown}: the {counted(len(leak.worst), 'sample')} that leak most"
    if not leak.images:
        missing = f"{title}: no images, since the dataset of the runs is not on this machine as it was."
        return tag("p", missing)
    shown = []
    for sample, area in zip(leak.images, leak.worst_auc, strict=True):
        image = tag("img", src=sample.address, alt=f"training image {sample.index}, {sample.class_name}", width=56)
        shown.append(tag("figure", image, tag("figcaption", f"{sample.index} {sample.class_name} {area:.2f}")))
    about = tag("p", "Index in the training set, class, and AUC of the sample over models.")
    return tag("details", tag("summary", title), about, tag("div", *shown, class_="samples"))


def _roc(name: str, group: Sequence[Leak]) -> Markup:
    lines = [
        Line(leak.arm, leak.algorithm, leak.targets, tuple((x, y, y, y) for x, y in leak.curve)) for leak in group
    ]
    ticks = tuple((rate, f"{rate:g}") for rate in (0.001, 0.01, 0.1, 1.0))
    heights, axes = (0.25, 0.5, 0.75), ("false positive rate, on a logarithmic axis", "true positive rate")
    plane = Plane((0.001, 1.0), (0.0, 1.0), ticks, *axes, logarithmic=True, heights=heights)
    return joined(of_plane(lines, plane, f"{name}: ROC of U-LiRA"), names(lines))


def verdict_tables(verdicts: Sequence[Verdict]) -> list[Markup]:
    """Return every comparison of targets, by measure and place."""
    return [
        tag(
            "details",
            tag("summary", title),
            _comparisons(title, group),
        )
        for title, group in tables.grouped(list(verdicts)).items()
    ]


def _comparisons(title: str, group: Sequence[Verdict]) -> Markup:
    """Return a table of six columns, in which a verdict opens every number; a narrow window stacks the cells."""
    head = tag("tr", *(tag("th", name, scope="col") for name in tables.COMPARED))
    lines = []
    for verdict in group:
        *cells, words = tables.compared_row(verdict)
        every = zip(tables.HEAD[1:], tables.verdict_row(verdict)[3:], strict=True)
        opened = tag("dl", *(part for name, text in every for part in (tag("dt", name), tag("dd", text))))
        known = zip(tables.COMPARED, cells, strict=False)
        shown = [tag("td", cell, data_name=name) for name, cell in known]
        lines.append(tag("tr", *shown, tag("td", tag("details", tag("summary", words), opened), class_="verdict")))
    whole = tag("table", tag("caption", title), tag("thead", head), tag("tbody", *lines), class_="stacked")
    return tag("div", whole, class_="wide", tabindex=0, role="region", aria_label=title)
