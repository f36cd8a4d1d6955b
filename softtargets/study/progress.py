"""The progress and the summary of a sweep, read from the folders of its cells."""

import collections
import contextlib
import datetime
import math
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import rich.console
import rich.live
import rich.progress_bar
import rich.table
import rich.text

from softtargets.errors import BadInput, to_type, visible
from softtargets.resumable.launching import without_folder
from softtargets.resumable.progress_marks import changed, digest_in
from softtargets.resumable.starting import Screen
from softtargets.study.cells import Missing, SweepCell
from softtargets.study.nearest import Nearest
from softtargets.system import signals
from softtargets.system.files import read_json_or_none
from softtargets.system.words import counted, in_lines, say

SHOWN = 3
"""Number of runs named for each reason of a failure, and of those that run now."""
MINUTE = 60.0
"""Seconds between two lines of counts in a file."""
LARGE = 100
"""Cells from which on the report of a finished sweep is not written again: its attacks take long."""
ENDED = ("finished", "failed")


class FailFast(Exception):
    """As many runs failed for the same reason as a sweep may have."""

    def __init__(self, number: int, reason: str):
        runs = "a run" if number == 1 else counted(number, "run")
        same = "" if number == 1 else " for the same reason"
        super().__init__(f"fail_fast={number}: {runs} failed{same}, so the sweep ends here: {reason}")


class Stopping:
    """The last line of the display of a sweep, from a signal on until the sweep has ended."""

    def __rich_console__(self, *_: object) -> Iterator[rich.text.Text]:
        if signals.code is not None:
            yield rich.text.Text("stopping; this may take some seconds")


class Display(Screen):
    """The progress of a sweep: a bar and a few lines on a terminal; elsewhere at most a line a minute.

    The first runs that fail for a reason are said as it happens.
    """

    def __init__(self, cells: list[SweepCell], unfinished: list[SweepCell], fail_fast: int | None = None):
        self.cells, self.unfinished, self.fail_fast = cells, unfinished, fail_fast
        self.by_digest = {digest_in(cell.folder): cell for cell in unfinished}
        self.states = dict.fromkeys(unfinished, "waiting")
        self.nearest = Nearest()
        self.reasons: collections.Counter[str] = collections.Counter()
        self.screen = rich.console.Console(highlight=False, soft_wrap=True, emoji=False)
        self.started = time.monotonic()
        self.last, self.said = "", -math.inf
        self.over = False
        """Whether nobody watches any more: what has begun and not ended may run on, as on SLURM, or be stopped."""

    def __enter__(self):
        self.live = rich.live.Live(console=self.screen, refresh_per_second=2, transient=True)
        self.shown = contextlib.ExitStack()
        self.shown.enter_context(signals.drawing(self.screen.is_terminal))
        self.shown.callback(self._end)
        if self.screen.is_terminal:
            self.shown.enter_context(self.live)
        return self

    def __exit__(self, *_):
        self.shown.close()

    def _end(self) -> None:
        self.over = True
        if not self.screen.is_terminal or signals.code is not None:
            self._say_counts()

    def update(self) -> None:
        """Read the states of the cells, say what failed since, and show the new counts.

        Raises FailFast as soon as `fail_fast` runs failed for one reason.
        """
        for cell in changed(self.cells[0].folder.parent, self.by_digest, self.states):
            if (state := cell.state()) != self.states[cell]:
                self.states[cell] = state
                self._take(cell, state)
        if self.screen.is_terminal:
            self.live.update(rich.console.Group(self.page(), Stopping()))
        elif time.monotonic() - self.said > MINUTE and {"running", *ENDED} & {*self.states.values()}:
            self._say_counts()

    def _take(self, cell: SweepCell, state: str) -> None:
        if state == "finished" and cell.stage == "all" and (result := read_json_or_none(cell.outcome)):
            self.nearest.add(result)
        if state == "failed" and (reason := cell.error()):
            self._fail(cell, reason, cell.folder / "error.json")

    def add_hopeless(self, reasons: Mapping[SweepCell, str]) -> None:
        """Add the failures of cells whose folders cannot be prepared, so that they will not run.

        Raises FailFast as soon as `fail_fast` of them have one reason.
        """
        self.states |= dict.fromkeys(reasons, "failed")
        for cell, reason in reasons.items():
            self._fail(cell, reason, cell.folder)

    def _fail(self, cell: SweepCell, reason: str, place: Path) -> None:
        """Count a failure, say it if it is one of the first for its reason, and check `fail_fast`."""
        common = without_folder(reason, cell.folder)
        self.reasons[common] += 1
        if self.reasons[common] <= SHOWN:
            width = self.screen.width if self.screen.is_terminal else None
            for line in in_lines(visible(f"a run failed: {reason} ({place})"), width):
                self.screen.print(line, markup=False)
        if self.reasons[common] == self.fail_fast:
            raise FailFast(self.fail_fast, common)

    def _say_counts(self) -> None:
        counts = self.counts()
        if counts != self.last:
            self.last, self.said = counts, time.monotonic()
            best = None if self.over else self.nearest.line()  # at the end the report says more
            self.screen.print(visible("; ".join(filter(None, [counts, self.times(), best]))), markup=False)

    def page(self) -> rich.table.Table:
        """Return the lines for a terminal, which wrap at its width."""
        ended = len(self.cells) - len(self.unfinished) + sum(state in ENDED for state in self.states.values())
        page = rich.table.Table.grid(expand=True)
        page.add_row(rich.progress_bar.ProgressBar(len(self.cells), ended))
        page.add_row(rich.text.Text(f"{self.counts()}; {self.times()}"))
        if running := [cell.folder.name for cell, state in self.states.items() if state == "running"]:
            more = f" and {len(running) - SHOWN:,} more" if len(running) > SHOWN else ""
            page.add_row(rich.text.Text(visible(f"running: {', '.join(running[:SHOWN])}{more}")))
        if best := self.nearest.line():
            page.add_row(rich.text.Text(visible(best)))
        return page

    def counts(self) -> str:
        """Return how many cells are done, failed and running."""
        earlier, states = len(self.cells) - len(self.unfinished), list(self.states.values())
        done, failed, running = (states.count(state) for state in ("finished", "failed", "running"))
        line = f"{earlier + done} of {len(self.cells)} done ({earlier} from an earlier call)"
        return f"{line}, {failed} failed, {running} {'begun' if self.over and running else 'running'}"

    def times(self) -> str:
        """Return the time so far, and the time left at the pace so far."""
        seconds = time.monotonic() - self.started
        ended = sum(state in ENDED for state in self.states.values())
        words = f"{datetime.timedelta(seconds=round(seconds))} so far"
        if 0 < ended < len(self.states) and not self.over:
            left = seconds / ended * (len(self.states) - ended)
            words += f", {datetime.timedelta(seconds=round(left))} left"
        return words


def counts_of_runs(cells: list[SweepCell], missing: Missing) -> bool:
    """Print how the sweep ended and return whether every cell is finished."""
    without, trained, reused = [], 0, 0
    for cell in cells:  # one after the other: thousands of results would fill the memory
        result = read_json_or_none(cell.outcome)
        if not result or not cell.has_made(result):
            without.append(cell)
            continue
        trained, reused = trained + len(result["cost"]["made"]), reused + len(result["cost"]["from_store"])
    unbegun = [cell for cell in without if cell in missing.unbegun and not cell.error()]
    failed = [cell for cell in without if cell not in unbegun]
    _print_failures(failed, missing)
    ended = f"{len(cells) - len(without):,} of {counted(len(cells), 'run')} finished, {len(failed):,} failed"
    ended += f", {len(unbegun):,} {'stopped or ' * missing.stopped}not started" if unbegun else ""
    if len(without) < len(cells):  # a run that failed does not say how many models it trained before
        those = "the finished ones " if without else ""
        ended += f"; {those}trained {counted(trained, 'model')}, reused {reused:,} from the store"
    say(ended)
    folder = cells[0].folder.parent
    print(visible(f"sweep: {folder}"))
    if len(cells) >= LARGE and not without and _is_reported(folder, cells):
        print(visible(f"report: {folder / 'report.html'}, of an earlier call; no result is newer"))
        print(visible(f"to write it again: {to_type('report')} {shlex.quote(str(folder))}"))
    elif cells[0].stage == "all" and len(unbegun) < len(cells):
        verdicts(folder)
    return not without


def _is_reported(folder: Path, cells: list[SweepCell]) -> bool:
    """Return whether the folder's report is newer than the result of every cell."""
    try:
        written = (folder / "report.html").stat().st_mtime
        return all(cell.outcome.stat().st_mtime < written for cell in cells)
    except OSError:
        return False


def _print_failures(failed: list[SweepCell], missing: Missing) -> None:
    """Print which runs failed and why; of those with equal reasons, the first `SHOWN` and the number of others."""
    equal = collections.defaultdict(list)
    for cell in failed:
        reason = cell.error() or missing.reasons.get(cell) or "no result, because its process was killed"
        equal[without_folder(reason, cell.folder)].append((cell.folder.name, reason))
    for common, runs in sorted(equal.items(), key=lambda pair: -len(pair[1])):
        for name, reason in runs[:SHOWN]:
            say(f"failed: {name}: {reason}")
        if len(runs) > SHOWN:
            say(f"failed: {counted(len(runs) - SHOWN, 'more run')}: {common}")


def verdicts(folder: Path) -> None:
    """Write the report on a sweep's folder and print its verdicts."""
    from softtargets.report.summary import ENDPOINTS, summarise  # scipy takes a second to import

    try:
        summarise(folder, folder, None, ENDPOINTS, None)
    except BadInput as error:
        say(f"no verdict: {error}")
