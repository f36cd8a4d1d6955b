"""The report on a folder of runs: read, paired, compared, written."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
import rich.box
import rich.console
import rich.table
from rich.text import Text

from softtargets.config.validation import naming
from softtargets.errors import BadInput, nearest, visible
from softtargets.report import csv_files, tables
from softtargets.report.comparison import Comparison
from softtargets.report.contrast import Contrast, Named, contrasts
from softtargets.report.costs import costs
from softtargets.report.ensembles import ensemble_lines
from softtargets.report.folders import Census, Lost, aside, census, without_result
from softtargets.report.leak_pairs import leak_lines
from softtargets.report.leaks import leaks
from softtargets.report.left_out import left_out_lines
from softtargets.report.measures import FACES, Floors, Measure, measures_of
from softtargets.report.page import Content, page
from softtargets.report.pairs import pairings
from softtargets.report.promises import audit_lines
from softtargets.report.ranking import CORRECTED
from softtargets.report.requests import request_lines
from softtargets.report.retraining import break_evens
from softtargets.report.runs import Run, Unreadable, read, readable, without_damaged
from softtargets.report.seeds import OverSeeds, over_seeds
from softtargets.report.standing import Standing, standings
from softtargets.report.tuning import tuning_notes
from softtargets.report.verdicts import Verdict, compare_arms, judged, places
from softtargets.report.way_left import entries
from softtargets.system.files import write_text
from softtargets.system.words import counted, say

ENDPOINTS = (*(face.name for face in FACES), "js_forget")
"""The three faces, the first of them that of the primary endpoint, and the raw JS beside it."""
NAMED = 5
"""Most of what was left out that is named on screen."""


@dataclasses.dataclass(frozen=True)
class PrimaryOptions:
    """The primary contrasts that a reader asks for."""

    named: Sequence[Named] = ()
    """Two arms each."""
    margins: Path | None = None
    """A folder of runs on tuning seeds, which fix the margins beforehand."""

    def of(self, runs: list[Run]) -> list[Contrast]:
        """Judge them; raises BadInput as `contrasts` and `read` do."""
        if not self.named:
            if self.margins:
                raise BadInput(f"--margins={self.margins}: fixes the margins of --primary, which is not given")
            return []
        return contrasts(runs, self.named, read(self.margins) if self.margins else None)


NONE_NAMED = PrimaryOptions()


class Report(NamedTuple):
    """What a report says."""

    content: Content
    """Of its page."""
    standings: list[Standing]
    contrasts: list[Contrast]
    said: list[str]
    """Sentences on arms of their own kind."""


def summarise(
    folder: Path,
    out: Path,
    wanted: Comparison | None,
    names: tuple[str, ...],
    margin: float | None,
    primary: PrimaryOptions = NONE_NAMED,
) -> Path:
    """Write the report on the runs below `folder` to `out`, show the verdicts and return the page.

    Verdicts are shown by the first measure. Where no run finished, all that have no result are named. Raises
    BadInput as `write_report` does.
    """
    report = write_report(folder, out, wanted, names, margin, primary)
    content = report.content
    if content.runs:
        _show_arms(report)
    else:
        say(tables.NO_RUN)
    _show_tuning(tuning_notes(list(content.runs)))
    _show_missing(len(content.runs), without_result(content.known.lost))
    _warn_of(aside(content.known.lost))
    for line in content.headline:
        say(line)
    same = (
        "the same as tables in summary.csv, summary.md and summary.tex"
        if content.runs
        else "the same in summary.md"
    )
    same += (
        "; rows in runs.csv, arms.csv, pairs.csv, standing.csv, contrasts.csv and attacks.csv"
        if content.runs
        else ""
    )
    say(f"report: {out / 'report.html'}; {same}")
    return out / "report.html"


def _show_arms(report: Report) -> None:
    """Print where every arm stands, those without a finished run too, and the verdicts by the first measure."""
    for line in tables.primary_lines(report.contrasts):
        say(line)
    show_standings(report.standings)
    for line in tables.without_a_run(report.content.runless):
        say(f"no run finished of {line}")
    for line in report.said:
        say(line)
    first = report.content.verdicts[0].measure
    show([one for one in report.content.verdicts if one.measure == first and one.where == "end"])


def write_report(
    folder: Path,
    out: Path,
    wanted: Comparison | None = None,
    names: tuple[str, ...] = ENDPOINTS,
    margin: float | None = None,
    primary: PrimaryOptions = NONE_NAMED,
) -> Report:
    """Write tables (.csv, .md, .tex) and report.html on the runs below `folder` to `out`, by the measures `names`.

    A run of which a file cannot be read is set aside, and the report goes on. Raises BadInput if there is no
    other, if arms `wanted` or in `primary` are nowhere together, and where `out` cannot be written to.
    """
    known, (runs, damaged) = census(folder), readable(folder)
    while True:
        there = known.with_aside(folder, {error.file.parent: error.why for error in damaged})
        _require_any(folder, runs, there.lost)
        try:
            return _write(folder, out, runs, there, wanted, names, margin, primary)
        except Unreadable as error:  # margins.npz is read where it is needed
            runs, more = without_damaged(runs, error.names)
            if not more:  # of --margins, whose runs are not those of the report
                raise
            damaged += more


def _require_any(folder: Path, runs: list[Run], lost: dict[str, Lost]) -> None:
    """Raise BadInput where there is nothing to report on."""
    if runs or without_result(lost):
        return
    if not lost:
        raise BadInput(f"{folder}: no result of a run below it; give a folder which holds result.json files")
    name, first = next(iter(lost.items()))
    others = f", and {len(lost) - 1} more" if len(lost) > 1 else ""
    said = f"no run below it can be read: {name}: {first.why}{others}"
    raise BadInput(f"{folder}: {said}; call their sweep again, or give another folder")


def _write(
    folder: Path,
    out: Path,
    runs: list[Run],
    known: Census,
    wanted: Comparison | None,
    names: tuple[str, ...],
    margin: float | None,
    primary: PrimaryOptions,
) -> Report:
    """Analyse the runs and write everything; raises Unreadable, before it writes, where an array is damaged."""
    report = _analysed(folder.resolve().name, runs, known, wanted, names, margin, primary)
    texts = _texts(report)
    with naming(f"--out={out}", (OSError,)):
        for name, text in texts.items():
            write_text(out / name, text)
    return report


def _analysed(
    title: str,
    runs: list[Run],
    known: Census,
    wanted: Comparison | None,
    names: tuple[str, ...],
    margin: float | None,
    primary: PrimaryOptions,
) -> Report:
    """Compare and judge; raises Unreadable where an array is damaged."""
    runs = wanted.named(runs) if wanted else runs
    measures = chosen_measures(runs, names)
    with numpy.errstate(over="ignore"):  # of values whose squares no float holds: these become infinite
        verdicts, stands, over = judge_all(runs, wanted, names, margin) if runs else ([], [], [])
    first, said = primary.of(runs), _said(runs)
    found = leaks(runs)
    said += [*leak_lines(found, [(one.one, one.other) for one in first]), *left_out_lines(runs)]
    content = Content(
        title,
        runs,
        entries(runs, stands, measures),
        verdicts,
        wanted.pairings(runs) if wanted and runs else pairings(runs),
        over,
        found,
        known,
        measures,
        [*tables.primary_lines(first), *said],
    )
    return Report(content, stands, first, said)


def _said(runs: list[Run]) -> list[str]:
    """Return the sentences on arms of their own kind: retraining, requests, promises and ensembles."""
    return [
        *tables.retraining_lines(break_evens(runs)),
        *request_lines(runs),
        *audit_lines(runs),
        *ensemble_lines(runs),
    ]


def _texts(report: Report) -> dict[str, str]:
    """Return the content of every file of a report, by its name."""
    content, runs = report.content, list(report.content.runs)
    verdicts, measures, pairs = list(content.verdicts), content.measures, list(content.pairings)
    return {
        "summary.csv": tables.comma_separated(verdicts),
        "summary.md": _markdown(report),
        "summary.tex": tables.latex(content.rows, content.distance, content.runless),
        "runs.csv": csv_files.runs_csv(runs),
        "arms.csv": csv_files.arms_csv(runs, verdicts, pairs, measures, content.known),
        "standing.csv": csv_files.standing_csv(report.standings),
        "contrasts.csv": csv_files.contrasts_csv(report.contrasts),
        "pairs.csv": csv_files.pairs_csv(pairs, measures),
        "attacks.csv": csv_files.attacks_csv(content.leaks),
        "report.html": page(content),
    }


def _markdown(report: Report) -> str:
    content, runs = report.content, list(report.content.runs)
    return tables.primary_section(report.contrasts) + tables.markdown(
        list(content.verdicts),
        content.rows,
        list(content.over),
        content.known.lost,
        costs(runs),
        [*content.headline, *report.said],
        tuning_notes(runs),
        content.runless,
    )


def judge_all(
    runs: list[Run], wanted: Comparison | None, names: tuple[str, ...], margin: float | None
) -> tuple[list[Verdict], list[Standing], list[OverSeeds]]:
    """Compare all arms by every measure and place, say where every arm stands, and test margins over seeds.

    Raises BadInput if `wanted` arms are in no cell, and as `chosen_measures` does.
    """
    paired_arms = wanted.pairings(runs) if wanted else pairings(runs)
    floors = Floors()
    verdicts = [
        verdict
        for measure, where in places(chosen_measures(runs, names))
        for verdict in compare_arms(paired_arms, measure, where, margin, floors)
    ]
    return judged(verdicts, standings(runs), list(over_seeds(runs)))


def compare_all(
    runs: list[Run], wanted: Comparison | None, names: tuple[str, ...], margin: float | None
) -> list[Verdict]:
    """Return the verdicts of `judge_all`."""
    return judge_all(runs, wanted, names, margin)[0]


def chosen_measures(runs: list[Run], names: tuple[str, ...]) -> tuple[Measure, ...]:
    """Return the measures of these names; raises BadInput for one that is not ours and that no run has.

    And for one of ours that runs have on request, and none has. Without runs, those of ours are returned.
    """
    known = measures_of(runs)
    if not runs:
        return tuple(known[name] for name in names if name in known)
    for name in names:
        if name not in known:
            raise BadInput(
                f"--metric {name}: no run has it; allowed here are {', '.join(known)}{nearest(name, known)}"
            )
        if known[name].metric and all(known[name].at_end(run) is None for run in runs):
            raise BadInput(f"--metric {name}: no run measured it; run with evidence=[svc,relearn,probe]")
    wanted = tuple(known[name] for name in names)
    there = tuple(one for one in wanted if any(one.nothing(run) is not None for run in runs))
    return there if names == ENDPOINTS and there else wanted  # older runs lack the first face


def show_standings(standings: list[Standing]) -> None:
    """Print where every arm stands, setting by setting."""
    screen = rich.console.Console(highlight=False, emoji=False)
    for title, group in tables.rankings(standings).items():
        title = Text(visible(title))
        table = rich.table.Table(title=title, box=rich.box.SIMPLE_HEAD, title_justify="left")
        for column in ("arm", "cost", "JS_T", "against what is simpler"):
            table.add_column(column, overflow="fold")
        for one in group:
            table.add_row(*(Text(visible(cell)) for cell in tables.standing_row(one)))
        screen.print(table)
    say(CORRECTED)


def show(verdicts: list[Verdict]) -> None:
    """Print the words of every verdict; names in them are no markup."""
    screen = rich.console.Console(highlight=False, emoji=False)
    compared = [verdict for verdict in verdicts if verdict.other is not None]
    for title, group in tables.grouped(compared).items():
        table = rich.table.Table(title=Text(title), box=rich.box.SIMPLE_HEAD, title_justify="left")
        for name in ("cell", "arms", "verdict"):
            table.add_column(name, overflow="fold")
        for verdict in group:
            cells = (tables.cell_name(verdict), verdict.names, verdict.words)
            table.add_row(*(Text(visible(cell)) for cell in cells))
        screen.print(table)
    if not compared:
        arms = ", ".join(sorted({verdict.one.name for verdict in verdicts}))
        screen.print(
            visible(f"nothing to compare: no cell has results of two kinds of targets, only {arms}"), markup=False
        )
    if made := tables.made_unlike(verdicts):
        screen.print(made, markup=False)
    refused = tables.refused(verdicts)
    for sentence in refused[:NAMED]:
        screen.print(visible(f"left out: {sentence}"), markup=False)
    if len(refused) > NAMED:
        screen.print(f"left out: {len(refused) - NAMED} more, named in summary.md")


def _show_tuning(notes: list[str]) -> None:
    """Print which arms were tuned on what they are judged by, the first of them by name."""
    for sentence in notes[:NAMED]:
        say(sentence)
    if len(notes) > NAMED:
        print(f"tuned on what is judged here: {counted(len(notes) - NAMED, 'more arm')}, named in summary.md")


def _warn_of(aside: dict[str, Lost]) -> None:
    """Name on stderr the first runs that are set aside, with the reason."""
    for sentence in tables.why_without_result(aside)[:NAMED]:
        print(visible(f"set aside: {sentence}"), file=sys.stderr)
    if len(aside) > NAMED:
        print(f"set aside: {len(aside) - NAMED} more, named in summary.md", file=sys.stderr)


def _show_missing(there: int, missing: dict[str, Lost]) -> None:
    """Print how many runs have no result, and of the first of them why; those that never began are counted."""
    if not missing:
        return
    print(f"with a result: {there}, without: {len(missing)}")
    begun = {name: one for name, one in missing.items() if one.state != "unbegun"}
    for sentence in tables.why_without_result(begun)[:NAMED]:
        say(f"  {sentence}")
    if len(begun) > NAMED:
        print(f"  {len(begun) - NAMED} more, named in summary.md")
    if len(begun) < len(missing):
        print(f"  {len(missing) - len(begun)} never began, named in summary.md")
