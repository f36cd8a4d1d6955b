"""index.html: the table as one page without a script, which works offline."""

from collections.abc import Iterator, Sequence
from importlib import resources

from softtargets.execution.code_hash import code_hash
from softtargets.report.markup import Markup, joined, tag
from softtargets.report.numbers import number, percent
from softtargets.report.ranking import CORRECTED
from softtargets.report.standing import APART, EQUAL, SIMPLE, nearest_simple
from softtargets.report.way_left import Way
from softtargets.system.words import counted
from softtargets.table.fields import FIRST, Column, Field, Table
from softtargets.table.improvement import EDGES, Rank

DIGITS = 12
"""Hexadecimal digits of a hash that the page shows."""
FREE = 0.01
"""Share of retraining below which an arm without a budget fits into any."""
NARROW = 0.0005
"""Width of an interval below which it is not shown: all pairs say the same."""
STYLE = """
body { max-width: none; }
#table th[scope=row] { position: sticky; left: 0; background: var(--ground); min-width: 9rem; font-weight: 600; }
#table thead th, #table td { min-width: 11rem; }
#table td { max-width: 20rem; overflow-wrap: anywhere; }
#table td.never { color: var(--soft); font-size: 0.9em; }
.bar { display: block; height: 0.4rem; max-width: 10rem; margin: 0.2rem 0; border: 1px solid var(--soft); }
.bar span { display: block; height: 100%; background: var(--less); }
.bar .beyond { background: var(--more); }
#table td b, .whole { white-space: nowrap; }
.old { background: var(--band); color: var(--soft); }
.old .flag { border: 1px solid var(--soft); border-radius: 3px; padding: 0 0.3rem; font-size: 0.9em; }
@media (max-width: 40rem) { /* one field below the other, each under the name of its cell */
  #table, #table caption, #table tbody, #table tr, #table td, #table th[scope=row] { display: block; }
  #table td { max-width: none; }
  #table thead, #table td.never { display: none; }
  #table th[scope=row] { position: static; }
  #table td::before { content: attr(data-cell); display: block; color: var(--soft); font-size: 0.9em; }
}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
HOW = (
    "Each field says how much of the way from doing nothing to retraining an arm leaves, and draws it as a "
    "bar: 0% is another retrained model, 100% is doing nothing; beyond that the bar is full and orange. The "
    "interval is a 95 % t interval over n pairs. Below is the verdict against doing nothing, early stopping, "
    f"and retraining and fine-tuning at equal cost. {CORRECTED} The floor is how far two retrained models are "
    "from each other, in nats. The cost is a share of retraining, in gradient samples. What costs next to "
    "nothing stands in the cells of every budget."
)
RANKED = (
    "The probability of improvement is the share of pairs in which an arm is nearer to retraining than another "
    "one: mean over cells, and over the arms that it meets. Runs that diverged or lost utility lose their pair. "
    "The last column counts these: the first of several arms that lost most of their pairs has won nothing. "
    f"The rank interval has the {EDGES[0]:g} and {EDGES[1]:g} percentiles over resampled pairs: a picture, and no "
    "test. Arms that meet in few cells are ranked by these alone. Cells in which most runs of an arm are "
    "degenerate or untrained are left out for it."
)
OLDER = "older code"


def page(table: Table) -> str:
    """Return the page as HTML; nothing of a name in it can be markup."""
    style = (resources.files("softtargets.report") / "page.css").read_text(encoding="utf-8")
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("link", rel="icon", href="data:,"),
        tag("title", "SoftTargets: table of results"),
        tag("style", Markup(style + STYLE)),
    ]
    body = [tag("a", "Skip to the table", class_="skip", href="#table"), tag("main", *_body(table))]
    return f"<!doctype html>\n{tag('html', tag('head', *head), tag('body', *body), lang='en')}\n"


def _body(table: Table) -> Iterator[Markup]:
    size = f"{counted(len(table.rows), 'arm')} in {counted(len(table.columns), 'cell')}, by {FIRST.label}."
    yield tag("h1", "SoftTargets: table of results")
    yield tag("p", size, " ", _code_line(table.fields))
    yield tag("section", tag("h2", "Arms by cells"), tag("p", HOW), _matrix(table), class_="part")
    yield tag("section", tag("h2", "Ranking across cells"), tag("p", RANKED), *_rankings(table), class_="part")
    yield tag("section", tag("h2", "Runs left out"), _notes(table.notes), class_="part")
    data = [tag("a", name, href=name) for name in ("table.csv", "ranking.csv")]
    yield tag("p", "The same in unrounded numbers: ", data[0], " and ", data[1], ".")


def _code_line(fields: Sequence[Field]) -> str:
    runs, older = sum(len(field.runs) for field in fields), sum(field.older for field in fields)
    said = f"Code of today: {code_hash()[:DIGITS]}."
    if not older:
        return f"{said} No run has another code."
    return (
        f"{said} Another code made {older:,} of {counted(runs, 'run')}. Their fields are grey and say “{OLDER}”: "
        "new runs may give other numbers."
    )


def _matrix(table: Table) -> Markup:
    fields = _in_budgets(table)
    columns = [column for column in table.columns if any(column == at for _, at in fields)]
    caption = (
        f"Way to retraining that is left, by {FIRST.label}; rows are algorithm and targets, columns are cells"
    )
    common = _common(columns)
    heads = [tag("th", "algorithm and targets", scope="col")]
    heads += [tag("th", *_head(column, common), scope="col") for column in columns]
    rows = [
        tag(
            "tr",
            tag("th", row, scope="row"),
            *(_field(fields.get((row, column)), column) for column in columns),
        )
        for row in table.rows
    ]
    if common:
        caption = f"{caption}. All cells have {', '.join(common)}"
    whole = tag("table", tag("caption", caption), tag("thead", tag("tr", *heads)), tag("tbody", *rows), id="table")
    return _region(whole, "Arms by cells")


def _in_budgets(table: Table) -> dict[tuple[str, Column], Field]:
    """Return the field of each row and cell; what costs next to nothing stands in the cells of every budget."""
    fields = {(field.row, field.column): field for field in table.fields}
    for column in table.columns:
        free = [field for field in table.fields if field.column == column]
        budgets = [one for one in table.columns if one.data == column.data and one != column]
        if budgets and not column.has_budget and all(_is_free(field) for field in free):
            for field in free:
                del fields[field.row, column]
                fields = {(field.row, one): field for one in budgets} | fields
    return fields


def _is_free(field: Field) -> bool:
    share = field.entry.standing.share
    return share is not None and share < FREE


def _common(columns: Sequence[Column]) -> list[str]:
    """Return the words that all cells share, none where there is one cell."""
    first, *others = columns
    return [word for word in first.shown if others and all(word in other.shown for other in others)]


def _region(table: Markup, label: str) -> Markup:
    """Return a table that scrolls by itself, by keyboard too."""
    return tag("div", table, class_="wide", role="region", aria_label=label, tabindex="0")


def _head(column: Column, common: Sequence[str]) -> Iterator[object]:
    first, *rest = [word for word in column.shown if word not in common] or column.shown
    yield first
    for text in rest:
        yield joined(tag("br"), text)


def _field(field: Field | None, column: Column) -> Markup:
    if field is None:
        return tag("td", "not run", class_="never")
    entry, standing, verdict = field.entry, field.entry.standing, field.ranked.cells[5]
    n = joined(", ", tag("span", f"n = {standing.design.pairs}", class_="whole"))
    way = entry.ways[FIRST.name]
    parts = [tag("b", _left(way)), n, *_flags(field), *_bar(way), verdict, _details(field)]
    return tag("td", *parts, class_="old" if field.older else None, data_cell=", ".join(column.shown))


def _left(way: Way) -> str:
    if way.mean is None:
        return way.reason or "–"
    narrow = way.low is None or way.high - way.low < NARROW
    return f"leaves {percent(round(way.mean, 4)) if narrow else percent(way.mean, way.low, way.high)}"


def _bar(way: Way) -> Iterator[Markup]:
    """Yield the way left as a bar: empty at retraining, full at doing nothing and, in another colour, beyond."""
    if way.mean is None:
        yield tag("br")
        return
    shown = round(100 * way.mean)
    filled = tag("span", class_="beyond" if shown > 100 else None, style=f"width: {min(max(shown, 0), 100)}%")
    yield tag("span", filled, class_="bar", aria_hidden="true")


def _flags(field: Field) -> Iterator[Markup]:
    """Yield words for what a reader must know of a field."""
    if field.older:
        of = "" if field.older == len(field.runs) else f" in {field.older:,} of {counted(len(field.runs), 'run')}"
        yield joined(" ", tag("span", f"{OLDER}{of}", class_="flag"))
    if group := field.entry.standing.group:
        yield joined(tag("br"), tag("small", APART[group]))


def _details(field: Field) -> Markup:
    pairs = [*_facts(field), *field.ranked.details]
    items = [part for name, value in pairs for part in (tag("dt", name), tag("dd", value))]
    return tag("details", tag("summary", _summary(field)), tag("dl", *items))


def _summary(field: Field) -> str:
    """Return floor, cost and date in a line."""
    face, standing, last = field.entry.standing.faces[0], field.entry.standing, field.dates[1]
    parts = [] if face.floor is None else [f"floor {number(face.floor, 4)}"]
    parts += [] if standing.share is None else [f"cost {number(standing.share, 2)}"]
    return ", ".join([*parts, *filter(None, [last])]) or "details"


def _facts(field: Field) -> Iterator[tuple[str, str]]:
    first, last = field.dates
    yield "arm", field.ranked.cells[1]
    yield "distance", field.ranked.cells[2]
    for algorithm, one in nearest_simple(field.entry.standing.faces[0].against).items():
        yield SIMPLE[algorithm], one.reference.removesuffix(EQUAL)
    yield "finished", (first if first == last else f"{first} to {last}") or "unknown"
    yield "code", ", ".join(code[:DIGITS] for code in field.codes)


def _rankings(table: Table) -> Iterator[Markup]:
    for title, ranks in table.rankings:
        if not ranks:
            yield tag("p", f"{title}: no two arms have five pairs in common.")
            continue
        names = ("rank", "95 % interval", "arm", "probability of improvement", "cells", "arms met", "pairs lost")
        heads = tag("tr", *(tag("th", name, scope="col") for name in names))
        rows = [tag("tr", *_rank(one)) for one in ranks]
        whole = tag("table", tag("caption", title), tag("thead", heads), tag("tbody", *rows))
        yield _region(whole, title)


def _rank(one: Rank) -> Iterator[Markup]:
    yield tag("td", f"{one.rank:g}", class_="number")
    yield tag("td", f"{one.low:g} to {one.high:g}", class_="number")
    yield tag("th", one.name, scope="row")
    yield tag("td", number(one.probability, 2), class_="number")
    yield tag("td", str(one.cells), class_="number")
    yield tag("td", str(one.opponents), class_="number")
    yield tag("td", f"{one.lost} of {one.pairs}" if one.lost else "none", class_="number")


def _notes(notes: Sequence[str]) -> Markup:
    if not notes:
        return tag("p", "None.")
    return tag("details", tag("summary", f"{len(notes):,}"), tag("ul", *(tag("li", note) for note in notes)))
