"""The report on a folder of runs: read, paired, judged, written."""

from pathlib import Path

import rich.box
import rich.console
import rich.table

from softtargets.disk import write_text
from softtargets.errors import BadInput
from softtargets.report import tables
from softtargets.report.measures import MEASURES
from softtargets.report.pairs import pairings
from softtargets.report.runs import Run, read
from softtargets.report.verdicts import WHERE, Verdict, judge

ENDPOINTS = ("js_forget", "mia_gap")
"""The primary and the second endpoint."""


def summarise(
    folder: Path, out: Path, wanted: tuple[str, str] | None, measures: tuple[str, ...], margin: float | None
) -> list[Verdict]:
    """Write summary.csv, summary.md and summary.tex on the runs below `folder` to `out`, and show the verdicts."""
    verdicts = judged(read(folder), wanted, measures, margin)
    written = {"csv": tables.comma_separated, "md": tables.markdown, "tex": tables.latex}
    for suffix, table in written.items():
        write_text(out / f"summary.{suffix}", table(verdicts))
    show(verdicts)
    return verdicts


def judged(
    runs: list[Run], wanted: tuple[str, str] | None, measures: tuple[str, ...], margin: float | None
) -> list[Verdict]:
    """Compare all arms by every measure, at matched forgetting and at the end; raises BadInput if none can be."""
    found = pairings(runs, wanted)
    if not found:
        arms = ", ".join(sorted({run.arm for run in runs}))
        raise BadInput(
            f"targets={','.join(wanted or ())}: no cell has two arms to compare; the arms there are: {arms}"
        )
    return [
        verdict
        for name in measures
        for where in WHERE
        if where == "end" or MEASURES[name].along
        for verdict in judge(found, MEASURES[name], where, margin)
    ]


def show(verdicts: list[Verdict]) -> None:
    """Print the words of every verdict."""
    screen = rich.console.Console(highlight=False)
    for title, group in tables.grouped(verdicts).items():
        table = rich.table.Table(title=title, box=rich.box.SIMPLE_HEAD, title_justify="left")
        for name in ("cell", "arms", "verdict"):
            table.add_column(name, overflow="fold")
        for verdict in group:
            cells = (tables.cell_name(verdict), f"{verdict.one.name}, {verdict.other.name}", verdict.words)
            table.add_row(*map(rich.markup.escape, cells))
        screen.print(table)
    for sentence in sorted({sentence for verdict in verdicts for sentence in verdict.refused}):
        screen.print(f"left out: {sentence}", markup=False)
