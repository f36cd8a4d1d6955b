"""Marks of a sweep's runs: empty files in one folder, by which a watcher sees what changed in all of them.

It lists that folder instead of asking for the files of every run. What counts is in the run's own folder.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from softtargets.system.files import make_folder, share

Cell = TypeVar("Cell")
MARKS = ".progress"
"""The folder of marks in a sweep's folder."""


def mark(folder: Path, state: str) -> None:
    """Leave a mark that says that a sweep's run `began` or `ended`; one that cannot be left is no error."""
    with contextlib.suppress(OSError):
        make_folder(folder.parent / MARKS)
        if state == "began":
            remove_marks(folder)
        mark = folder.parent / MARKS / f"{digest_in(folder)}.{state}"
        mark.touch()
        share(mark)


def remove_marks(folder: Path) -> None:
    """Remove the marks of a run."""
    for state in ("began", "ended"):
        (folder.parent / MARKS / f"{digest_in(folder)}.{state}").unlink(missing_ok=True)


def changed(sweep: Path, by_digest: Mapping[str, Cell], states: Mapping[Cell, str]) -> list[Cell]:
    """Return the cells whose marks show that they may have another state than in `states`.

    `by_digest` are the cells by the `digest_in` their folders. One without a state counts as finished.
    """
    cells = []
    for name in _marks(sweep):
        digest, _, mark = name.partition(".")
        cell = by_digest.get(digest)
        before = states.get(cell, "finished")
        if before != "finished" and not (mark == "began" and before == "running"):
            cells.append(cell)
    return cells


def _marks(sweep: Path) -> list[str]:
    """Return the names of all marks in a sweep's folder, as in 0123456789ab.began."""
    try:
        return os.listdir(sweep / MARKS)
    except OSError:
        return []


def digest_in(folder: Path) -> str:
    """Return the digits of the config's hash with which the name of a run's folder ends."""
    return folder.name.rpartition("-")[2]
