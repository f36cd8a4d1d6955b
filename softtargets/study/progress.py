"""The progress and the summary of a sweep, read from the folders of its cells."""

import collections
import time
from pathlib import Path

import rich.console
import rich.live

from softtargets.errors import BadInput, visible
from softtargets.study.cells import Missing, SweepCell, _json

SHOWN = 3
"""Number of runs named for each reason of a failure."""


class Display:
    """The progress of a sweep: one updated line on a terminal, elsewhere a new line at each change."""

    def __init__(self, cells: list[SweepCell], unfinished: list[SweepCell]):
        self.cells, self.unfinished = cells, unfinished
        self.states = dict.fromkeys(unfinished, "waiting")
        self.screen = rich.console.Console(highlight=False, soft_wrap=True)
        self.started = time.monotonic()
        self.last = ""

    def __enter__(self):
        self.live = rich.live.Live(console=self.screen, refresh_per_second=2, transient=True)
        if self.screen.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_):
        self.live.stop()

    def update(self) -> None:
        """Read the states of the cells and show the new counts."""
        self.states |= {cell: cell.state() for cell, state in self.states.items() if state != "finished"}
        line = self.line(list(self.states.values()))
        if self.screen.is_terminal:
            self.live.update(line)
        elif line.partition("; ")[0] != self.last:
            self.last = line.partition("; ")[0]
            self.screen.print(line, markup=False)

    def line(self, states: list[str]) -> str:
        """Return the counts of done, failed and running cells, and the time left at the pace so far."""
        earlier = len(self.cells) - len(self.unfinished)
        done, failed, running = (states.count(state) for state in ("finished", "failed", "running"))
        line = f"{earlier + done} of {len(self.cells)} done ({earlier} from an earlier call)"
        line += f", {failed} failed, {running} running"
        ended = done + failed
        if ended and ended < len(states):
            left = (time.monotonic() - self.started) / ended * (len(states) - ended)
            line += f"; {left / 60:.1f} min left"
        return line


def counts_of_runs(cells: list[SweepCell], missing: Missing) -> bool:
    """Print how the sweep ended and return whether every cell is finished."""
    without = [cell for cell in cells if cell.state() != "finished"]
    unbegun = [cell for cell in without if cell in missing.unbegun and not cell.error()]
    failed = [cell for cell in without if cell not in unbegun]
    _print_failures(failed, missing)
    reused, trained = _trainings(cells)
    ended = f"{len(cells) - len(without)} of {len(cells)} runs finished, {len(failed)} failed"
    ended += f", {len(unbegun)} not started" if unbegun else ""
    print(f"{ended}; trained {trained} models, reused {reused} from the store")
    folder = cells[0].folder.parent
    print(visible(f"sweep: {folder}"))
    if cells[0].stage == "all" and len(unbegun) < len(cells):
        verdicts(folder)
    return not without


def _print_failures(failed: list[SweepCell], missing: Missing) -> None:
    """Print which runs failed and why; of those with equal reasons, the first `SHOWN` and the number of others."""
    equal = collections.defaultdict(list)
    for cell in failed:
        reason = cell.error() or missing.reasons.get(cell) or "no result, because its process was killed"
        equal[reason].append(cell.folder.name)
    for reason, names in equal.items():
        for name in names[:SHOWN]:
            print(visible(f"failed: {name}: {reason}"))
        if len(names) > SHOWN:
            print(visible(f"failed: {len(names) - SHOWN:,} more runs: {reason}"))


def verdicts(folder: Path) -> None:
    """Write the report on a sweep's folder and print its verdicts."""
    from softtargets.report.summary import ENDPOINTS, summarise  # scipy and plotly take a second to import

    try:
        summarise(folder, folder, None, ENDPOINTS, None)
    except BadInput as error:
        print(visible(f"no verdict: {error}"))


def _trainings(cells: list[SweepCell]) -> tuple[int, int]:
    results = [result for cell in cells if (result := _json(cell.outcome))]
    reused, trained = (sum(len(result["cost"][key]) for result in results) for key in ("from_store", "made"))
    return reused, trained
