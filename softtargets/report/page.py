"""report.html: one file with everything in it, which works offline; only filters and sorting need its script."""

import base64
import dataclasses
import functools
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from importlib import resources

from softtargets.report import figures, folded, palette, tables
from softtargets.report.counts import Runless, of_all, of_arms, overrides_in, without_any
from softtargets.report.folders import Census, aside, without_result
from softtargets.report.leaks import Leak
from softtargets.report.markup import Markup, joined, tag
from softtargets.report.measures import Measure
from softtargets.report.pairs import Pairing
from softtargets.report.ranking import (
    CORRECTED,
    HEAD,
    NAMED,
    Ranked,
    by_setting,
    common_settings,
    comparisons,
    headline,
    ranked,
    without,
)
from softtargets.report.runs import Run
from softtargets.report.seeds import OverSeeds
from softtargets.report.standing import APART, EQUAL, algorithm_of, placed
from softtargets.report.tuning import tuning_notes
from softtargets.report.verdicts import Verdict, searched, utility_lost
from softtargets.report.way_left import Entry, Way, difference, honours
from softtargets.system.words import counted

OPEN = 3
"""Settings whose figures are unfolded."""
CROWDED = 2000
"""Runs from which on figures have the means alone: every pair is a hundred bytes, in each measure and figure."""
MEANS_ALONE = f"Above {CROWDED:,} runs only means are drawn; pairs.csv has every pair."
SCROLLED = 30
"""Rows of a figure from which on it scrolls by itself."""


@dataclasses.dataclass(frozen=True)
class Content:
    """What a page is about."""

    title: str
    runs: Sequence[Run]
    entries: Sequence[Entry]
    verdicts: Sequence[Verdict]
    pairings: Sequence[Pairing]
    over: Sequence[OverSeeds]
    leaks: Sequence[Leak]
    known: Census
    measures: Sequence[Measure]
    lines: Sequence[str] = ()
    """What the primary rule says, and from which cost on to retrain."""

    @property
    def distances(self) -> list[Measure]:
        """Return the measures of which there is a way to retraining, by which figures are drawn."""
        return [measure for measure in self.measures if not measure.as_it_is]

    @functools.cached_property
    def rows(self) -> list[Ranked]:
        """Return all arms in one ranking."""
        counts_of = of_arms(self.runs, self.known, placed)
        return ranked(self.entries, self.verdicts, self.pairings, self._measures, counts_of)

    @property
    def headline(self) -> list[str]:
        """Return what the report comes to, in three lines; without runs, what became of them."""
        return self.headline_by(None)

    def headline_by(self, measure: Measure | None) -> list[str]:
        """Return the headline by a measure, or by the first that is compared."""
        return headline(self.rows, self.verdicts, of_all(self.runs, self.known), measure, self.runless)

    @functools.cached_property
    def runless(self) -> dict[str, Runless]:
        """Return the arms of which no run finished, with what became of their runs."""
        return without_any(self.runs, self.known)

    @property
    def is_crowded(self) -> bool:
        """Return whether there are too many runs to draw each of them."""
        return len(self.runs) > CROWDED

    def drawn(self, way: Way) -> Way:
        """Return a way as figures have it: without its pairs where there are too many."""
        return dataclasses.replace(way, points=()) if self.is_crowded else way

    @property
    def distance(self) -> str:
        """Return the label of the measure by which arms are ranked."""
        return next((measure.label for measure in self._measures), "none")

    @property
    def _measures(self) -> Sequence[Measure]:
        return self.distances or self.measures


def page(content: Content) -> str:
    """Return the page as HTML; nothing of a name in it can be markup."""
    here = resources.files("softtargets.report")
    script, style = ((here / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {
        "HASH": digest,
        "TITLE": tag("title", f"{content.title} – SoftTargets report"),
        "STYLE": style + palette.styles(entry.targets for entry in content.entries),
        "BODY": _body(content),
        "SCRIPT": script,
    }
    text = (here / "page.html").read_text(encoding="utf-8")
    return re.sub(r"/\*([A-Z]+)\*/", lambda found: parts[found[1]], text)  # once: no part is looked into


def _body(content: Content) -> Markup:
    if not content.runs:
        said = _lines([tables.NO_RUN, *content.headline], {})
        return joined(_header(content, said), tag("main", *_notes(content)))
    main = [_way_figure(content), _frontier_figure(content), _pairs_figure(content), _table(content)]
    main += [*_folded(content), *_notes(content)]
    arms = _places(content.entries)
    said = _panels(content, lambda measure: _lines(content.headline_by(measure), arms))
    said = said or [_lines(content.headline, arms)]  # without a measure of a distance
    return joined(palette.shapes(), _header(content, joined(*said)), _bar(content), tag("main", *main))


def _places(entries: Sequence[Entry]) -> dict[str, str]:
    """Return where in the table of arms each arm is, by its name; empty for a name that several settings have."""
    places: dict[str, str] = {}
    for number, entry in enumerate(entries):
        arm = entry.standing.arm
        places[arm] = "" if arm in places else f"#arm-{number}"
    return places


def _lines(lines: list[str], places: Mapping[str, str]) -> Markup:
    said = [
        tag("li", tag("b", f"{start}{colon}"), *_stressed(rest, places))
        for start, colon, rest in (line.partition(":") for line in lines)
    ]
    return tag("ol", *said, class_="headline")


def _header(content: Content, said: Markup) -> Markup:
    more = tag("ul", *(tag("li", line) for line in content.lines), class_="primary") if content.lines else None
    return tag(
        "header",
        tag("h1", f"{content.title}: how far from retraining"),
        said,
        more,
    )


def _stressed(text: str, places: Mapping[str, str]) -> list[str]:
    """Return a text in parts: the name of an arm that it says a share of is strong, and leads to the table."""
    if not places:
        return [text]
    names = "|".join(re.escape(arm) for arm in sorted(places, key=len, reverse=True))
    parts = re.split(f"({names})(?= leaves )", text)
    return [_linked(part, places[part]) if at % 2 else part for at, part in enumerate(parts)]


def _linked(arm: str, place: str) -> Markup:
    return tag("strong", tag("a", arm, href=place) if place else arm)


def _bar(content: Content) -> Markup:
    """Return the switch between measures; the script adds filters beside it."""
    radios = [
        tag(
            "label",
            tag("input", type="radio", name="measure", value=measure.name, checked=not number),
            measure.label.partition(" (")[0],
        )
        for number, measure in enumerate(content.distances)
    ]
    switch = tag("fieldset", tag("legend", "Distance by"), *radios)
    return tag("nav", tag("form", switch, id="filters"), aria_label="Measure and filters", class_="scripted")


ROWS_DATA = "what;value;low;high"
LINES_DATA = "cost;share of the way left;low;high"
"""Columns of the data of figures, beside setting, group and arm."""


def _section(name: str, title: str, about: str, *inside: object, columns: str | None = ROWS_DATA) -> Markup:
    """Return a section with its title; one with `columns` is a figure, whose data and picture can be saved."""
    heading = tag("div", tag("h2", title, id=name), _tools(title) if columns else None, class_="title")
    return tag("section", heading, tag("p", about), *inside, aria_labelledby=name, data_columns=columns)


def _tools(title: str) -> Markup:
    """Return the buttons that save data and picture of a figure."""
    tools = [
        tag(
            "button",
            f"{kind.upper()}",
            type="button",
            data_save=kind,
            aria_label=f"Save {title} as {kind.upper()}",
        )
        for kind in ("csv", "svg")
    ]
    return tag("p", *tools, class_="tools scripted")


def _panels(content: Content, draw) -> list[Markup]:
    """Return what `draw` makes by every measure, of which one is in sight."""
    return [
        tag("div", draw(measure), data_measure=measure.name, hidden=number > 0)
        for number, measure in enumerate(content.distances)
    ]


def _way_figure(content: Content) -> Markup:
    about = (
        "Share of the way from another retraining (0) to doing nothing (1) that each arm leaves: a dot for every "
        "pair, the mean and its 95 % interval. Nearer to 0 is better."
    )
    if any("JS" in measure.label for measure in content.distances):
        about += " JS: Jensen–Shannon divergence, in nats, from 0 for equal predictions to 0.69."
    about += " Grey arms lose utility." if _some_lose_utility(content) else ""
    if any(_at_equal_cost(entry) for entry in content.entries):
        about += " A small triangle marks retraining from scratch at the arm's cost."
    if any(map(_needs, content.entries)):
        about += " Prepared: the arm needs models (teachers) that were trained before the request."
    about += f" {MEANS_ALONE}" if content.is_crowded else ""
    ways = [{name: content.drawn(way) for name, way in entry.ways.items()} for entry in content.entries]
    settings = by_setting(
        [dataclasses.replace(one, ways=drawn) for one, drawn in zip(content.entries, ways, strict=True)]
    )

    def draw(measure: Measure) -> Markup:
        facets = [_facet(name, group, measure, at < OPEN) for at, (name, group) in enumerate(settings.items())]
        return joined(*facets)

    parts = (_legend(content), *_panels(content, draw), _runless(content))
    return _section("figure1", "Figure 1. How far from retraining", about, *parts)


def _runless(content: Content) -> Markup | None:
    """Return the arms that no figure can show, since no run of theirs finished, with the reason."""
    lines = tables.without_a_run(content.runless)
    if not lines:
        return None
    listed = tag("ul", *(tag("li", line) for line in lines))
    return tag("details", tag("summary", f"{tables.NONE_FINISHED} ({len(lines)})"), listed, open=len(lines) <= 10)


def _facet(name: str, group: Sequence[Entry], measure: Measure, unfolded: bool) -> Markup:
    ways = {entry.standing.arm: entry.ways[measure.name] for entry in group}
    marked = [(0.0, "another retraining", "zero"), (1.0, "doing nothing", "one")]
    if not all(way.floor_known for way in ways.values()):
        marked[0] = (0.0, figures.NO_FLOOR, "zero")
    early = next((entry.ways[measure.name].mean for entry in group if entry.algorithm == "early"), None)
    marked += [(early, "early stopping", "early")] if early is not None and abs(early) < figures.FARTHEST else []
    axis = figures.axis(ways.values(), marked)
    unit = (
        "share of the logarithmic way" if group[0].setting.by_logarithms and measure.face else "share of the way"
    )
    bests, common = honours(group, measure.name), common_settings(group)
    drawn = figures.of_rows(
        [_row(e, measure, ways, bests.get(id(e), ""), common) for e in _grouped(group)],
        axis,
        _caption(measure, name, common),
        unit,
    )
    box = _bounded(drawn, len(group), f"{measure.label}: {name}")
    return figures.facet(box, entry=group[0], name=name, open_=unfolded)


def _bounded(chart: Markup, rows: int, name: str) -> Markup:
    """Return a figure; one of so many rows that the page would be high scrolls by itself, by keyboard too."""
    if rows <= SCROLLED:
        return tag("div", chart)
    return tag("div", chart, class_="bounded", tabindex=0, role="region", aria_label=f"{name}, scrolls")


def _grouped(group: Sequence[Entry]) -> list[Entry]:
    """Return arms by algorithm, that of the nearest arm first and baselines last; in it hard labels come first.

    Algorithms of which every arm loses utility come after the others.
    """
    nearest = sorted(
        group, key=lambda e: (e.standing.gate.passed is False, math.inf if e.left is None else e.left)
    )
    order = list(dict.fromkeys(entry.algorithm for entry in nearest))
    return sorted(group, key=lambda e: (e.baseline, order.index(e.algorithm), e.targets != "hard"))


def _caption(measure: Measure, name: str, common: Sequence[str]) -> str:
    return f"{measure.label}: {name}" + (f"; all arms: {' '.join(common)}" if common else "")


def _row(entry: Entry, measure: Measure, ways: dict[str, Way], honour: str, common: Sequence[str]) -> figures.Row:
    equal = _at_equal_cost(entry)
    references = [(name, ways[arm].mean) for name in equal if (arm := name.removesuffix(EQUAL)) in ways]
    gated = entry.standing.gate.passed is False
    note = "loses utility" if gated else "for comparison only" if entry.standing.comparison_only else ""
    return figures.Row(
        group="baselines" if entry.baseline else entry.algorithm,
        label=without(entry.label, common),
        name=entry.label,
        algorithm=entry.algorithm,
        targets=entry.targets,
        way=entry.ways[measure.name],
        needs=_needs(entry),
        note=honour or note,
        greyed=gated,
        is_best=bool(honour),
        references=tuple((name, x) for name, x in references if x is not None),
    )


def _needs(entry: Entry) -> str:
    """Return that an arm needs prepared models; empty for others."""
    return "prepared" if entry.standing.group == 1 else ""


def _at_equal_cost(entry: Entry) -> list[str]:
    """Return what retraining at an arm's cost is called, once for each arm of it."""
    there = [one.reference for one in entry.standing.faces[0].against]
    return [name for name in there if name.endswith(EQUAL) and algorithm_of(name) == "retrain"]


def _some_lose_utility(content: Content) -> bool:
    return any(entry.standing.gate.passed is False for entry in content.entries)


def _frontier_figure(content: Content) -> Markup:
    about = (
        "A line for every algorithm with its targets, at each cost by its nearest arm, with 95 % bands. "
        "An arrow: the interval, or the arm, goes on above. Arms of a single cost stand side by side."
    )
    known = [entry.setting for entry in content.entries if entry.algorithm == "retrain" and entry.standing.share]
    if known:
        drawn = "dashed line" if len(known) > len(set(known)) else "black bar"
        about += (
            f" The {drawn} is retraining from scratch for that cost: an arm above it is beaten by starting anew."
        )
    about += " Pale arms lose utility." if _some_lose_utility(content) else ""
    if any(entry.standing.prepared for entry in content.entries):
        about += " Costs before the request (teachers) are not in it."
    settings = by_setting(content.entries)

    def draw(measure: Measure) -> Markup:
        known = [(name, group, figures.frontier(group, measure.name)) for name, group in settings.items()]
        facets = [
            figures.facet(
                figures.of_plane(drawn[0], drawn[1], measure.label.partition(" (")[0]),
                figures.names(drawn[0]),
                entry=group[0],
                name=name,
                open_=at < OPEN,
            )
            for at, (name, group, drawn) in enumerate(known)
            if drawn
        ]
        return joined(*facets) if facets else tag("p", "No run has counted its cost, or no arm has a distance.")

    return _section("figure2", "Figure 2. Distance over cost", about, *_panels(content, draw), columns=LINES_DATA)


def _pairs_figure(content: Content) -> Markup:
    about = (
        "The same unit, pair by pair: how much more of the way an arm leaves than the arm it is compared with "
        "(hard labels, unless --compare names others). Left of 0 the arm is closer to retraining."
    )
    about += f" {MEANS_ALONE}" if content.is_crowded else ""
    compared = list(comparisons(content.entries, content.verdicts, content.pairings))
    about += " Searched arms each have settings of their own." if any(searched(v) for _, v, _ in compared) else ""
    about += " Grey: both arms lose utility." if any(_are_lossy(verdict) for _, verdict, _ in compared) else ""
    commons = {name: common_settings(group) for name, group in by_setting(content.entries).items()}

    def draw(measure: Measure) -> Markup:
        groups: dict[str, list[tuple[Entry, figures.Row]]] = {}
        for entry, verdict, pairing in compared:
            if verdict.measure.name == measure.name:
                common = commons[entry.setting.name]
                row = figures.Row(
                    group=entry.algorithm,
                    label=f"{without(entry.label, common)} less {without(verdict.one.name, common)}",
                    name=f"{entry.label} less {verdict.one.name}",
                    algorithm=entry.algorithm,
                    targets=entry.targets,
                    way=content.drawn(difference(verdict, pairing)),
                    needs=_needs(entry),
                    note="; ".join(utility_lost(verdict)),
                    greyed=_are_lossy(verdict),
                )
                groups.setdefault(entry.setting.name, []).append((entry, row))
        parts = [
            _differences(_caption(measure, name, commons[name]), rows, at < OPEN)
            for at, (name, rows) in enumerate(groups.items())
        ]
        return (
            joined(*parts)
            if parts
            else tag("p", "Nothing to compare: no algorithm has two kinds of targets here.")
        )

    names = {verdict.one.name for _, verdict, _ in compared}
    title = "Hard against soft" if not names or "hard" in names else "The compared arms"
    return _section("figure3", f"Figure 3. {title}, pair by pair", about, *_panels(content, draw))


def _are_lossy(verdict: Verdict) -> bool:
    """Return whether both arms of a comparison lose utility."""
    return verdict.gates == (False, False)


def _differences(caption: str, rows: list[tuple[Entry, figures.Row]], unfolded: bool) -> Markup:
    axis = figures.axis([row.way for _, row in rows], [(0.0, "no difference", "zero")], shaded=False)
    chart = figures.of_rows([row for _, row in rows], axis, caption, "difference")
    box, first = _bounded(chart, len(rows), f"difference, {caption}"), rows[0][0]
    return figures.facet(box, entry=first, name=first.setting.name, open_=unfolded)


def _table(content: Content) -> Markup:
    head = tag("tr", *(tag("th", name, scope="col") for name in HEAD))
    bodies = _rankings(content)
    whole = tag(
        "table",
        tag("caption", f"Distance: {content.distance}, mean ± standard deviation over pairs"),
        tag("thead", head),
        *(body for body, _ in bodies.values()),
        id="arms",
    )
    box = tag("div", whole, class_="wide bounded", tabindex=0, role="region", aria_label="All arms, scrolls")
    about = (
        "Every arm of every setting, the nearest first. A verdict opens tests, runs, floors and settings that "
        f"differ. {CORRECTED}"
    )
    return _section("table", "Table of arms", about, _jump(content, bodies), box, columns=None)


def _jump(content: Content, bodies: Mapping[str, tuple[Markup, str]]) -> Markup | None:
    """Return links to the best arms, and to the parts of the table that begin out of sight."""
    bests = [(f"arm-{number}", row) for number, row in enumerate(content.rows) if row.honour]
    links = {name: f"{row.honour.capitalize()}: {row.entry.standing.arm}" for name, row in bests[:NAMED]}
    links |= {name: title for name, (_, title) in list(bodies.items())[1:]}
    items = [tag("li", tag("a", title, href=f"#{name}")) for name, title in links.items()]
    return tag("ul", *items, class_="jump") if items else None


def _rankings(content: Content) -> dict[str, tuple[Markup, str]]:
    """Return the bodies of the table of arms by their `id`, each with its title in a row of its own.

    Arms that are ranked apart have a body each, and so have those of which no run finished. A title stands alone
    over none but a single body.
    """
    numbered = list(enumerate(content.rows))
    groups = {at: [one for one in numbered if one[1].entry.standing.group == at] for at in (0, *APART)}
    titles = {at: f"Ranked apart: arms {why}" for at, why in APART.items()}
    titles[0] = "Arms without prepared models" if groups[1] else "All arms"
    lines = {f"apart-{at}": (titles[at], [_table_row(*one) for one in group]) for at, group in groups.items()}
    lines["apart-lost"] = (tables.NONE_FINISHED, [_lost_row(*one) for one in content.runless.items()])
    there = {name: one for name, one in lines.items() if one[1]}
    return {name: (_body_of(name, title, rows, len(there) > 1), title) for name, (title, rows) in there.items()}


def _body_of(name: str, title: str, rows: Sequence[Markup], titled: bool) -> Markup:
    head = tag("tr", tag("th", title, colspan=len(HEAD), scope="rowgroup"), class_="apart") if titled else None
    return tag("tbody", head, *rows, id=name)


def _lost_row(arm: str, lost: Runless) -> Markup:
    """Return the row of an arm of which no run finished: its overrides, and what became of its runs."""
    chosen = overrides_in(arm)
    data = {"data_algorithm": chosen.get("mu_algo"), "data_targets": chosen.get("targets")}
    looks = ("setting", "arm", "number", "number", "number", "verdict")
    shown = ("–", arm, "–", "–", "–", lost.shown)
    return tag("tr", *(tag("td", text, class_=look) for text, look in zip(shown, looks, strict=True)), **data)


def _table_row(number: int, row: Ranked) -> Markup:
    entry = row.entry
    details = [part for name, text in row.details for part in (tag("dt", name), tag("dd", text))]
    verdict = tag("details", tag("summary", row.cells[-1]), tag("dl", *details))
    arm = (palette.mark(entry.algorithm, entry.targets), tag("span", row.cells[1]))
    shown = (row.cells[0], joined(*arm), *row.cells[2:5], verdict)
    looks = ("setting", "arm", "number", "number", "number", "verdict")
    cells = [
        tag("td", cell, class_=look, data_key=str(key))
        for cell, look, key in zip(shown, looks, row.keys, strict=True)
    ]
    data = figures.filtered(entry) | figures.kind_of(entry)
    named = {"class_": "best", "data_honour": row.honour} if row.honour else {}
    return tag("tr", *cells, **named, id=f"arm-{number}", **data)


SMALL = {
    "Forget and test accuracy": ("accuracies", "forget accuracy;test accuracy"),
    "On the way": ("trajectories", "step;value;low;high"),
}
"""Folded parts that are figures: what their files are called, and the columns of their data."""


def _folded(content: Content) -> list[Markup]:
    parts = {
        "Forget and test accuracy": (
            "Every run at its end. Outlined circles are retrained models, crosses originals: unlearning should "
            "end among the circles." + (f" {MEANS_ALONE}" if content.is_crowded else ""),
            [_legend(content), *folded.accuracies(content.entries, means=content.is_crowded)],
        ),
        "On the way": (
            "Means over pairs with 95 % bands, from the original model on; a run that stopped keeps its last "
            "value.",
            folded.trajectories(content.entries) or [tag("p", "No run kept a trajectory.")],
        ),
        "Class by class": (
            "Blue: less accurate than the retrained model. Orange: more accurate.",
            folded.classes(content.entries),
        ),
        "What the targets do at the original model": (
            "A first update below 0 lowers the loss on the forget set: it reinforces what is to be forgotten. "
            "q: the targets; p0: the original model's predictions; y: the label.",
            [folded.diagnosis(content.entries)],
        ),
        "Who can still tell?": (
            "Attacks on single samples, over models that share their forget set: was this image trained on? "
            "0.5 is a guess. Exchanged: mean, of the AUC 95 %, where a seed's models are exchanged at random. "
            "ε ≥: what unlearning cannot promise less than, at 95 %.",
            folded.attacks(content.leaks),
        ),
        "Margins over seeds": (
            "How far each sample's margins are from those of retrained models; the floor is between retrained "
            "models. Exchanged: mean where a seed's models are exchanged at random.",
            [folded.over_seeds(content.over)],
        ),
        "All comparisons of targets": (
            "By every measure, at the end of the runs and at matched forgetting.",
            folded.verdict_tables(content.verdicts),
        ),
    }
    return [
        _part(title, about, inside, *SMALL.get(title, (None, None))) for title, (about, inside) in parts.items()
    ]


def _part(title: str, about: str, inside: Sequence[Markup], name: str | None, columns: str | None) -> Markup:
    tools = _tools(title) if columns else None
    head = tag("summary", tag("h2", title, id=name))
    return tag("details", head, tools, tag("p", about), *inside, class_="part", data_columns=columns)


def _legend(content: Content) -> Markup:
    return palette.legend([(entry.algorithm, entry.targets) for entry in content.entries])


def _notes(content: Content) -> list[Markup]:
    verdicts = list(content.verdicts)
    lists = {
        "Tuned on what is judged here": tuning_notes(list(content.runs)),
        tables.NONE_FINISHED: [] if content.runs else tables.without_a_run(content.runless),
        "Set aside, since a file cannot be read": tables.why_without_result(aside(content.known.lost)),
        "Runs without a result": tables.why_without_result(without_result(content.known.lost)),
        "Differs between the arms beside the targets": tables.settings(verdicts),
        "Left out": tables.refused(verdicts),
    }
    parts: list[Markup] = []
    if unlike := tables.made_unlike(verdicts):
        parts.append(tag("p", f"{unlike}."))
    for title, lines in lists.items():
        if lines:
            items = tag("ul", *(tag("li", line) for line in lines))
            parts.append(tag("details", tag("summary", f"{title} ({len(lines)})"), items, open=len(lines) <= 10))
    parts = parts or [tag("p", "Nothing was left out.")]
    made = tag("p", _made(content.runs)) if content.runs else None
    return [tag("section", tag("h2", "Notes", id="notes"), *parts, made, aria_labelledby="notes")]


def _made(runs: Sequence[Run]) -> str:
    """Say with which code the runs were made."""
    commits = {str(run.result["provenance"].get("git_commit") or "unknown")[:10] for run in runs}
    dirty = sum(bool(run.result["provenance"].get("git_dirty")) for run in runs)
    text = f"Commit of the code: {', '.join(sorted(commits))}"
    return f"{text}; {counted(dirty, 'run')} with changes after it." if dirty else f"{text}."
