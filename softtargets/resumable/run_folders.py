"""The folders of a sweep's runs, each named by what varies and by the first digits of its config's hash."""

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from softtargets.resumable.progress_marks import digest_in

Cell = TypeVar("Cell")


def folders_by_digest(sweep: Path) -> dict[str, list[Path]]:
    """Return the folders in a sweep's folder by the `digest_in` their names, each list sorted by name."""
    folders = collections.defaultdict(list)
    for path in sorted(sweep.glob("*-*")):
        folders[digest_in(path)].append(path)
    return dict(folders)


def finished_or_first(cells: Sequence[Cell]) -> Cell:
    """Return the first cell that is finished, or the first cell where none is.

    Earlier versions left several folders of one hash. A single cell's state is not read, which costs time.
    """
    finished = (cell for cell in cells if cell.state() == "finished")
    return cells[0] if len(cells) == 1 else next(finished, cells[0])
