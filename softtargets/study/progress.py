"""How a sweep stands and how it ended, read from the folders of its cells."""

import time
from pathlib import Path

import rich.console
import rich.live

from softtargets.errors import BadInput, visible
from softtargets.study.cells import Cell, Missing, _json


class Display:
    """How a sweep stands, read from its folders: a line that is kept up to date, or lines where it changed."""

    def __init__(self, cells: list[Cell], unfinished: list[Cell]):
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
        """Look at the folders and show what has changed."""
        self.states |= {cell: cell.state() for cell, state in self.states.items() if state != "finished"}
        line = self.line(list(self.states.values()))
        if self.screen.is_terminal:
            self.live.update(line)
        elif line.partition("; ")[0] != self.last:
            self.last = line.partition("; ")[0]
            self.screen.print(line, markup=False)

    def line(self, states: list[str]) -> str:
        """Say done, failed and running of all, and the time left at the pace so far."""
        there = len(self.cells) - len(self.unfinished)
        done, failed, running = (states.count(state) for state in ("finished", "failed", "running"))
        line = f"{there + done} of {len(self.cells)} done ({there} were there), {failed} failed, {running} running"
        ended = done + failed
        if ended and ended < len(states):
            left = (time.monotonic() - self.started) / ended * (len(states) - ended)
            line += f"; {left / 60:.1f} min left"
        return line


def summary(cells: list[Cell], missing: Missing) -> bool:
    """Say how the sweep ended; returns whether every cell is finished."""
    without = [cell for cell in cells if cell.state() != "finished"]
    unbegun = [cell for cell in without if cell in missing.unbegun and not cell.error()]
    failed = [cell for cell in without if cell not in unbegun]
    for cell in failed:
        reason = cell.error() or missing.reasons.get(cell) or "no result; its process was ended"
        print(visible(f"failed: {cell.folder.name}: {reason}"))
    taken, made = _trainings(cells)
    ended = f"{len(cells) - len(without)} of {len(cells)} runs finished, {len(failed)} failed"
    ended += f", {len(unbegun)} not started" if unbegun else ""
    print(f"{ended}; {made} models were trained for them, {taken} came from the store")
    folder = cells[0].folder.parent
    print(visible(f"sweep: {folder}"))
    if cells[0].stage == "all" and len(unbegun) < len(cells):
        verdicts(folder)
    return not without


def verdicts(folder: Path) -> None:
    """Report on what is in a sweep's folder, and show its verdicts."""
    from softtargets.report.summary import ENDPOINTS, summarise  # scipy and plotly take a second to import

    try:
        summarise(folder, folder, None, ENDPOINTS, None)
    except BadInput as error:
        print(visible(f"no verdict: {error}"))


def _trainings(cells: list[Cell]) -> tuple[int, int]:
    results = [result for cell in cells if (result := _json(cell.outcome))]
    taken, made = (sum(len(result["cost"][key]) for result in results) for key in ("from_store", "made"))
    return taken, made
