"""A page of a report as a reader without a browser sees it."""

import collections
import html.parser


class Page(html.parser.HTMLParser):
    """The elements of a page, its text, and the cells of its tables."""

    HIDDEN = ("script", "style")

    def __init__(self, text: str):
        super().__init__()
        self.tags: collections.Counter = collections.Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.parts: list[str] = []
        self.titles: list[str] = []
        """Of marks in figures."""
        self.tables: dict[str, list[list[str]]] = {}
        """Rows of every table, by its caption."""
        self.rows: list[list[str]] = []
        self.caption, self.open = "", []
        self.feed(text)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attributes]
        self.open.append(tag)
        if tag == "table":
            self.rows, self.caption = [], ""
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags[tag] += 1

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass
        if tag == "table":
            self.tables[self.caption] = self.rows

    def handle_data(self, data):
        if any(tag in self.open for tag in self.HIDDEN):
            return
        self.parts.append(data)
        if self.open[-1:] == ["title"] and "svg" in self.open:
            self.titles.append(data)
        elif "caption" in self.open:
            self.caption += data
        elif self.open and any(tag in self.open for tag in ("td", "th")):
            self.rows[-1][-1] += data

    def arms(self) -> list[list[str]]:
        """Rows of the table of six columns, the verdict with what it opens."""
        return next(rows for caption, rows in self.tables.items() if caption.startswith("Distance:"))[1:]
