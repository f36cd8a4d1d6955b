"""The figures of the page, drawn in HTML and SVG: positions are shares of the width, so any window fits."""

import collections
import dataclasses
import math
import statistics
from collections.abc import Callable, Collection, Iterable, Sequence

from softtargets.config import dataset_names
from softtargets.report import numbers
from softtargets.report.markup import Markup, joined, tag
from softtargets.report.palette import colour, mark, shape
from softtargets.report.way_left import Entry, Points, Way

FARTHEST = 2.0
"""Share of the way at which an axis usually ends: arms that are farther are an arrow with a number."""
NO_FLOOR = "the retrained model (no floor)"
"""Name of the place 0 where no distance between retrained models is known."""
LONG = 36
"""Letters of a label from which on it may take two lines, so that the figure beside it stays wide."""
HEIGHT = 22
"""Of a row, in pixels."""
TOGETHER = 3.0
"""Per cent of the width within which the marks of all arms would cover each other."""
SIDE_BY_SIDE, WIDEST = 16, 240
"""Pixels between marks that are moved aside, and between the outermost of them."""
BELOW = 17
"""Pixels that the name of a line takes below it."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """Shares of the way from the left to the right edge of a figure."""

    low: float
    high: float
    marked: tuple[tuple[float, str, str], ...]
    """Place, name and class of every line that is drawn through all rows."""
    shaded: tuple[float, float] | None = None

    def at(self, value: float) -> str:
        """Return the place of a value, in per cent of the width."""
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}%"

    def has(self, value: float) -> bool:
        """Return whether a value is between the edges."""
        return self.low <= value <= self.high


def edge_of(means: Collection[float | int]) -> float:
    """Return where an axis ends: `FARTHEST`, or farther where more than half of the arms are beyond it."""
    return max(FARTHEST, statistics.median_low([abs(mean) for mean in means])) if means else FARTHEST


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a figure of rows."""

    group: str
    label: str
    algorithm: str
    targets: str | None
    way: Way
    name: str = ""
    """In the data of the figure, where the label leaves out what all arms share."""
    needs: str = ""
    """What the arm needs that others do not, in a word beside its label."""
    note: str = ""
    greyed: bool = False
    is_best: bool = False
    references: Points = ()
    """Places of other arms that are marked in this row alone."""


def axis(ways: Collection[Way], marked: list[tuple[float, str, str]], shaded: bool = True) -> Axis:
    """Return an axis with all marked lines, and all pairs of the arms whose mean is within its edge."""
    means = [way.mean for way in ways if way.mean is not None]
    farthest = edge_of(means)
    near = [way for way in ways if way.mean is not None and abs(way.mean) <= farthest]
    shown = [
        x for way in near for x in (way.low, way.high, way.mean, *(x for _, x in way.points)) if x is not None
    ]
    shown = [min(max(x, -farthest), farthest) for x in shown] + [place for place, *_ in marked]
    shown += [] if near or shaded else [-1.0, 1.0]
    low, high = min(shown), max(shown)
    room = 0.06 * (high - low or 1.0)
    beyond = any(mean > farthest for mean in means)
    return Axis(low - room, high + (3 if beyond else 1) * room, tuple(marked), (0.0, 1.0) if shaded else None)


def of_rows(rows: Sequence[Row], axis: Axis, caption: str, unit: str) -> Markup:
    """Draw a table of rows: label, a dot for every pair with mean and interval, and both in numbers."""
    groups = collections.defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    head = tag(
        "tr",
        tag("th", "arm", scope="col"),
        tag("th", _ends(axis), scope="col", aria_label="pairs, drawn"),
        tag("th", unit, scope="col"),
    )
    bodies = [
        tag(
            "tbody",
            tag("tr", tag("th", name, colspan=3, scope="rowgroup"), class_="group"),
            *(_row(row, axis) for row in group),
        )
        for name, group in groups.items()
    ]
    foot = tag("tfoot", tag("tr", tag("td"), tag("td", _numbers(axis)), tag("td")))
    classes = "chart long" if any(len(row.label) > LONG for row in rows) else "chart"
    return tag("table", tag("caption", caption), tag("thead", head), *bodies, foot, class_=classes)


def _row(row: Row, axis: Axis) -> Markup:
    needs = tag("small", row.needs) if row.needs else None
    label = tag("th", mark(row.algorithm, row.targets), tag("span", row.label), needs, scope="row")
    shown = "–" if row.way.mean is None else row.way.shown
    small = tag("small", row.note) if row.note else None
    cells = (label, tag("td", _track(row, axis), class_="track"), tag("td", shown, small, class_="number"))
    classes = f"k-{colour(row.targets)}{' greyed' * row.greyed}{' best' * row.is_best}"
    name = row.name if row.name != row.label else None
    return tag("tr", *cells, class_=classes, **kind_of(row), data_name=name or None)


def _track(row: Row, axis: Axis) -> Markup:
    way, middle = row.way, HEIGHT / 2
    far = way.mean is not None and not axis.has(way.mean)
    parts = [
        *(_lines(axis) if way.mean is not None else []),
        *_dots(axis, way.points, row.algorithm, middle, hidden=far),
        *(_reference(axis, *one, middle) for one in row.references),
    ]
    if way.mean is None:
        parts.append(tag("text", way.reason, x="1%", y=middle + 4, class_="reason"))
    else:
        parts += _far(way, axis, middle) if far else _mean(way, axis, row.algorithm, middle)
    return tag("svg", *parts, width="100%", height=HEIGHT, aria_hidden="true")


def _reference(axis: Axis, name: str, x: float, middle: float) -> Markup:
    title = tag("title", f"{name}; {_exact(x)}")
    if not axis.has(x):
        return tag("g", title)
    return tag("use", title, href="#m-reference", x=axis.at(x), y=middle, class_="reference")


def _far(way: Way, axis: Axis, middle: float) -> list[Markup]:
    """Return the arrow with a number of an arm beyond the axis; its data have the interval too."""
    right = way.mean > axis.high
    text, place, anchor = (f"{way.mean:.1f} →", "99%", "end") if right else (f"← {way.mean:.1f}", "1%", "start")
    look = {"x": place, "y": middle + 4, "text_anchor": anchor, "class_": "far"}
    mean = tag("text", tag("title", f"mean; {_exact(way.mean)}"), text, **look)
    return [mean] if way.low is None else [mean, tag("g", _interval(way))]


def _interval(way: Way) -> Markup:
    return tag("title", f"95 % interval; {_exact(way.low)}; {_exact(way.high)}")


def _lines(axis: Axis) -> list[Markup]:
    shaded = []
    if axis.shaded:
        low, high = (100 * (edge - axis.low) / (axis.high - axis.low) for edge in axis.shaded)
        shaded = [tag("rect", x=f"{low:.2f}%", width=f"{high - low:.2f}%", height="100%", class_="zone")]
    lines = [tag("line", x1=axis.at(x), x2=axis.at(x), y2="100%", class_=look) for x, _, look in axis.marked]
    return [*shaded, *lines]


def _dots(axis: Axis, points: Points, algorithm: str, middle: float, hidden: bool) -> list[Markup]:
    """Return a mark for every pair, a little up or down so that equal ones are seen.

    Of pairs beyond the axis, and of all where they are `hidden`, only the title, which is the figure's data.
    """
    marks = []
    for (name, x), up in zip(points, _shifts(), strict=False):
        title = tag("title", f"{name}; {_exact(x)}")
        place = {"href": f"#m-{shape(algorithm)}", "x": axis.at(x), "y": middle + up}
        marks.append(tag("use", title, **place) if axis.has(x) and not hidden else tag("g", title))
    return marks


def _shifts() -> Iterable[int]:
    while True:
        yield from (0, 4, -4, 2, -2)


def _mean(way: Way, axis: Axis, algorithm: str, middle: float) -> list[Markup]:
    ends = [min(max(x, axis.low), axis.high) for x in (way.low, way.high) if x is not None]
    interval = []
    if ends:
        places = {"x1": axis.at(ends[0]), "x2": axis.at(ends[1]), "y1": middle, "y2": middle}
        interval = [tag("line", _interval(way), **places, class_="between")]
    name = tag("title", f"mean; {_exact(way.mean)}")
    return [
        *interval,
        tag("use", name, href=f"#M-{shape(algorithm)}", x=axis.at(way.mean), y=middle, class_="mean"),
    ]


def _exact(x: float | int) -> str:
    """Return a number for the data of a figure: at least three decimals, and more where it is small."""
    return numbers.number(x, 3).replace("−", "-")


def _ends(axis: Axis) -> Markup:
    """Name the marked lines, each on a line of its own where it would cover another."""
    texts = []
    for number, (x, name, _) in enumerate(axis.marked):
        share = (x - axis.low) / (axis.high - axis.low)
        anchor = "start" if share < 0.3 else "end" if share > 0.7 else "middle"
        texts.append(tag("text", name, x=axis.at(x), y=11 + 13 * number, text_anchor=anchor))
    return tag("svg", *texts, width="100%", height=3 + 13 * len(axis.marked), class_="ends")


def _numbers(axis: Axis) -> Markup:
    ticks = round_ticks(axis.low, axis.high, 6)
    texts = [tag("text", f"{tick + 0.0:.4g}", x=axis.at(tick), y=12, text_anchor="middle") for tick in ticks]
    return tag("svg", *texts, width="100%", height=16, class_="ends", aria_hidden="true")


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a plane, with what it is drawn from."""

    name: str
    algorithm: str
    targets: str | None
    points: tuple[tuple[float, float, float, float], ...]
    """x, y and the edges of a band around y."""
    look: str = ""
    titles: tuple[str, ...] = ()
    lossy: tuple[bool, ...] = ()
    """Whether the arm at each point loses utility, where that matters."""


@dataclasses.dataclass(frozen=True)
class Plane:
    """Two axes with their ticks, and lines through them for reference."""

    x: tuple[float, float]
    y: tuple[float, float]
    ticks: tuple[tuple[float, str], ...]
    x_name: str
    y_name: str
    logarithmic: bool = False
    marked: tuple[tuple[float, str, str], ...] = ()
    """Heights with a line: y, name and class."""
    heights: tuple[float, ...] = ()
    """Heights with a number at the left."""
    height: int = 260

    def across(self, x: float) -> float:
        """Return the place of x in per cent of the width."""
        scale: Callable[[float], float] = math.log if self.logarithmic else float
        low, high = map(scale, self.x)
        return 100 * (scale(x) - low) / (high - low or 1.0)

    def down(self, y: float) -> float:
        """Return the place of y in per cent of the height, from the top."""
        return 100 * (self.y[1] - y) / (self.y[1] - self.y[0] or 1.0)


def of_plane(
    lines: Sequence[Line], plane: Plane, caption: str, drawn: tuple[str, ...] = ("line", "dots")
) -> Markup:
    """Draw lines with their bands, and dots at their points, or one of both."""
    titled = "dots" in drawn
    areas = [tag("g", *_area(line, plane, not titled), **_kind(line)) for line in lines] if "line" in drawn else []
    aside = _aside(lines, plane)
    marks = [
        tag("g", *_marks(line, plane, at), transform=aside[at], **_kind(line)) for at, line in enumerate(lines)
    ]
    marks = marks if titled else []
    whole = {"width": "100%", "height": "100%", "preserveAspectRatio": "none", "class_": "stretched"}
    stretched = tag("svg", *areas, viewBox="0 0 100 100", **whole)
    picture = tag(
        "svg", *_frame(plane), stretched, *marks, *_names(plane), width="100%", height=plane.height, class_="plane"
    )
    axis = tag("svg", *_below(plane), width="100%", height=30, class_="ends")
    text = f"{caption}: {plane.y_name} over {plane.x_name}"
    heading = tag("figcaption", tag("b", caption), tag("span", f"{plane.y_name} ↑"))
    return tag("figure", heading, tag("div", picture, axis, role="img", aria_label=text, class_="drawing"))


def _kind(line: Line) -> dict[str, str | None]:
    """Return the attributes by which filters know a line; an outline is no arm, and always there."""
    return {} if line.look == "outline" else kind_of(line)


def kind_of(arm: Entry | Row | Line) -> dict[str, str | None]:
    """Return the attributes by which filters know what belongs to an arm."""
    return {"data_algorithm": arm.algorithm, "data_targets": arm.targets}


def _aside(lines: Sequence[Line], plane: Plane) -> list[str | None]:
    """Return how far the marks of each line are moved, so that arms of a single cost stand side by side."""
    places = [plane.across(x) for line in lines for x, *_ in line.points]
    if not plane.logarithmic or len(places) < 2 or max(places) - min(places) > TOGETHER:
        return [None] * len(lines)
    step = min(SIDE_BY_SIDE, WIDEST / len(lines))
    return [f"translate({step * (at - (len(lines) - 1) / 2):.1f})" for at in range(len(lines))]


def _area(line: Line, plane: Plane, with_values: bool) -> list[Markup]:
    """Return a band and a line; `with_values` the line has the data of the figure, which marks have otherwise."""
    if len(line.points) < 2:
        return []
    places = [(plane.across(x), *(plane.down(y) for y in rest)) for x, *rest in line.points]
    way = " ".join(f"{x:.2f},{y:.2f}" for x, y, _, _ in places)
    edges = [f"{x:.2f},{low:.2f}" for x, _, low, _ in places] + [
        f"{x:.2f},{up:.2f}" for x, *_, up in reversed(places)
    ]
    lossy = "lossy" if line.lossy and all(line.lossy) else ""
    classes = " ".join(filter(None, [f"k-{colour(line.targets)}", line.look, lossy]))
    band = tag("polygon", points=" ".join(edges), class_=f"band {classes}")
    data = {"data_name": line.name, "data_values": " ".join(map(_values, line.points))} if with_values else {}
    return [band, tag("polyline", points=way, class_=f"line {classes}", **data)]


def _values(point: tuple[float, float, float, float]) -> str:
    return ";".join(f"{value:.4g}" for value in point)


def _marks(line: Line, plane: Plane, order: int) -> list[Markup]:
    """Return the marks of a line; what is above the plane is an arrow, of which neighbours have other heights."""
    marks = []
    for number, (x, y, low, high) in enumerate(line.points):
        place = f"{plane.across(x):.2f}%"
        lossy = "lossy" if line.lossy and line.lossy[number] else ""
        classes = " ".join(filter(None, [f"k-{colour(line.targets)}", line.look, lossy]))
        name = line.titles[number] if line.titles else line.name
        band = f"; {low:.4g}; {high:.4g}" if low != high else ""
        title = tag("title", f"{name}; {x:.4g}; {y:.4g}{band}")
        inside = plane.y[0] <= y <= plane.y[1]
        if low != high and inside:
            ends = [f"{min(max(plane.down(edge), 0), 100):.2f}%" for edge in (low, high)]
            marks.append(tag("line", x1=place, x2=place, y1=ends[0], y2=ends[1], class_=f"between {classes}"))
            if high > plane.y[1]:
                cut = {"x": place, "y": 0, "dy": -2, "text_anchor": "middle", "class_": f"far {classes}"}
                marks.append(tag("text", "↑", **cut))
        if inside:
            at = f"{plane.down(y):.2f}%"
            size = "M" if low != high or line.look == "outline" else "m"
            marks.append(tag("use", title, href=f"#{size}-{shape(line.algorithm)}", x=place, y=at, class_=classes))
        else:
            height = 12 + 13 * (order % 3)
            text = {"x": place, "dx": -7, "y": height, "text_anchor": "end", "class_": f"far {classes}"}
            marks.append(
                tag("use", title, href=f"#m-{shape(line.algorithm)}", x=place, y=height - 4, class_=classes)
            )
            marks.append(tag("text", f"↑ {y:.1f}", **text))
    return marks


PLACES = {"zero": ("100%", "end"), "one": (4, "start"), "early": ("50%", "middle")}
"""Where the names of marked lines stand, so that none covers another."""


def _frame(plane: Plane) -> list[Markup]:
    parts = [
        tag("line", x1=0, x2=0, y1=0, y2="100%", class_="edge"),
        tag("line", x1=0, x2="100%", y1="100%", y2="100%", class_="edge"),
    ]
    for y, _, look in plane.marked:
        if plane.y[0] <= y <= plane.y[1]:
            at = plane.down(y)
            parts.append(tag("line", x1=0, x2="100%", y1=f"{at:.2f}%", y2=f"{at:.2f}%", class_=look))
    ticks = [y for y in plane.heights if plane.y[0] <= y <= plane.y[1]]
    texts = [
        tag("text", f"{y + 0.0:.3g}", x=-5, y=f"{plane.down(y):.2f}%", dy=4, text_anchor="end") for y in ticks
    ]
    return [*parts, *texts]


def _names(plane: Plane) -> list[Markup]:
    """Return the names of marked lines, which lie over all that is drawn: that of 0 below, where nothing is."""
    texts = []
    for y, name, look in plane.marked:
        x, anchor = PLACES.get(look, (0, "start"))
        is_below = look == "zero" and (1 - plane.down(y) / 100) * plane.height >= BELOW
        place = {"x": x, "y": f"{plane.down(y):.2f}%", "dy": 13 if is_below else -3, "text_anchor": anchor}
        if plane.y[0] <= y <= plane.y[1]:
            texts.append(tag("text", name, **place, class_="name"))
    return texts


def _below(plane: Plane) -> list[Markup]:
    ticks = [tag("text", text, x=f"{plane.across(x):.2f}%", y=12, text_anchor="middle") for x, text in plane.ticks]
    return [*ticks, tag("text", plane.x_name, x="50%", y=27, text_anchor="middle")]


def frontier(entries: Sequence[Entry], measure: str) -> tuple[list[Line], Plane] | None:
    """Return a line over cost of each algorithm and targets, and retraining last; None without costs.

    Of several arms of one line at one cost, the nearest is drawn.
    """
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for entry in entries:
        way, cost = entry.ways[measure], entry.standing.share
        if cost and way.mean is not None and entry.algorithm not in ("none", "none_calibrated", "early"):
            groups[entry.algorithm, entry.targets][_two_digits(cost)].append((way.mean, entry))
    lines = [_line(*arm, at_cost, measure) for arm, at_cost in groups.items()]
    if not lines:
        return None
    lines.sort(key=lambda line: line.algorithm == "retrain")
    costs = [x for line in lines for x, *_ in line.points]
    edges = min(costs) / 1.3, max(max(costs), 10 * min(costs) / 7) * 1.3
    highest = max([y for line in lines for _, y, *_ in line.points] + [1.0])
    lowest = min([low for line in lines for _, _, low, _ in line.points] + [0.0])
    floors = all(entry.ways[measure].floor_known for entry in entries)
    marked = [(0.0, "another retraining" if floors else NO_FLOOR, "zero"), (1.0, "doing nothing", "one")]
    marked += [(e.ways[measure].mean, "early stopping", "early") for e in entries if e.algorithm == "early"][:1]
    marked = [one for one in marked if one[0] is not None]
    top = min(highest, edge_of([y for line in lines for _, y, *_ in line.points]))
    room = 0.06 * (top - lowest)
    return lines, Plane(
        edges,
        (lowest - room, top + room),
        _ticks(edges),
        "cost after the request, as a share of retraining (log scale)",
        "share of the way left",
        logarithmic=True,
        marked=tuple(marked),
        heights=tuple(round_ticks(lowest - room, top + room, 5)),
        height=320,
    )


def _two_digits(cost: float) -> float:
    """Return a cost by which arms of one budget are at one place."""
    return float(f"{cost:.1g}") if abs(float(f"{cost:.1g}") / cost - 1) < 0.1 else float(f"{cost:.2g}")


def _line(algorithm: str, targets: str | None, at_cost: dict[float, list], measure: str) -> Line:
    points, titles, lossy = [], [], []
    for _, several in sorted(at_cost.items()):
        mean, entry = min(several, key=lambda one: one[0])
        way = entry.ways[measure]
        low, high = (mean if edge is None else edge for edge in (way.low, way.high))
        points.append((entry.standing.share, mean, low, high))
        titles.append(entry.standing.arm)
        lossy.append(entry.standing.gate.passed is False)
    needs = (
        "(prepared)"
        if all(entry.standing.group == 1 for several in at_cost.values() for _, entry in several)
        else None
    )
    name = " ".join(filter(None, [algorithm, targets, needs]))
    look = "to-beat" if algorithm == "retrain" else ""
    return Line(name, algorithm, targets, tuple(points), look, tuple(titles), tuple(lossy))


def round_ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Return two round numbers or more between two edges, and at most one more than so many."""
    power = math.floor(math.log10((high - low) / most))
    steps = [digit * 10.0**place for place in (power - 1, power) for digit in (1, 2, 5)] + [10.0 ** (power + 1)]
    multiples = (range(math.ceil(low / step), math.floor(high / step) + 1) for step in steps)
    step, numbers = next(one for one in zip(steps, multiples, strict=True) if len(one[1]) <= most + 1)
    return [step * number for number in numbers]


def _ticks(edges: tuple[float, float]) -> tuple[tuple[float, str], ...]:
    powers = range(math.floor(math.log10(edges[0])), math.ceil(math.log10(edges[1])) + 1)
    for digits in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        places = [digit * 10.0**power for power in powers for digit in digits]
        there = tuple((x, f"{x:g}") for x in places if edges[0] <= x <= edges[1])
        if len(there) >= 3:
            break
    return there


def names(lines: Sequence[Line], marked: bool = True) -> Markup:
    """Return the names of lines, each after its mark, or after a piece of it where no marks are drawn."""
    items = [
        tag(
            "li",
            mark(line.algorithm, line.targets) if marked else _piece(line),
            line.name,
            " (the line to beat)" if line.look == "to-beat" else "",
            **_kind(line),
        )
        for line in lines
    ]
    return tag("div", tag("ul", *items), class_="legend")


def _piece(line: Line) -> Markup:
    drawn = tag("line", x2=PIECE, y1=7, y2=7, class_=f"line {line.look}".strip())
    return tag("svg", drawn, width=PIECE, height=14, aria_hidden="true", class_=f"mark k-{colour(line.targets)}")


PIECE = 26
"""Pixels of a line in a legend: its dashes are seen."""
DASHES = ("", "dashed", "dotted", "dash-dotted")


def dashed(lines: Sequence[Line]) -> list[Line]:
    """Return lines of which those of one colour are dashed in different ways, the first of them not at all."""
    numbers = collections.Counter()
    looks = []
    for line in lines:
        looks.append(DASHES[numbers[colour(line.targets)] % len(DASHES)])
        numbers[colour(line.targets)] += 1
    return [dataclasses.replace(line, look=look) for line, look in zip(lines, looks, strict=True)]


def facet(*inside: object, entry: Entry, name: str, open_: bool) -> Markup:
    """Return what belongs to one setting, folded unless `open_`; filters hide it by its choices."""
    return tag("details", tag("summary", name), joined(*inside), class_="facet", open=open_, **filtered(entry))


def filtered(entry: Entry) -> dict[str, str]:
    """Return the attributes by which filters of the setting know what belongs to an arm."""
    chosen = dict(entry.setting.settings)
    names = {"dataset": "dataset", "architecture": "architecture", "forget_set": "forget", "training": "recipe"}
    return {f"data_{short}": dataset_names.shown(chosen[name]) for name, short in names.items()}
