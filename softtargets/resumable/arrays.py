"""How the cells of a sweep are cut: into jobs, and the jobs into arrays of SLURM."""

from collections.abc import Sequence
from typing import TypeVar

from softtargets.system.words import counted

Cell = TypeVar("Cell")
USUAL = 1001
"""SLURM's default of MaxArraySize."""


def cut(cells: Sequence[Cell], cells_per_job: int, array_size: int) -> list[list[list[Cell]]]:
    """Return the arrays of a sweep in the order of their submission; each is a list of jobs of 1 to N cells.

    `cells_per_job` and `array_size` are the most of each, at least 1. Cell i is in job i modulo their number: so
    all jobs are equally long, and neighbours, which the caller orders to share no model, begin at the same time.
    """
    number = -(-len(cells) // cells_per_job)
    jobs = [list(cells[i::number]) for i in range(number)]
    return [jobs[i : i + array_size] for i in range(0, number, array_size)]


def described(arrays: list[list[list[Cell]]]) -> str:
    """Return in words how cells are cut, as in "300 cells: 150 jobs of at most 2 cells, in 8 arrays"."""
    jobs = [job for array in arrays for job in array]
    cells = sum(map(len, jobs))
    shared = (
        f"{counted(len(jobs), 'job')} of at most {counted(len(jobs[0]), 'cell')}, in " if len(jobs) < cells else ""
    )
    parts = "" if len(arrays) == 1 else f" of at most {counted(len(arrays[0]), 'job')}"
    return f"{counted(cells, 'cell')}: {shared}{counted(len(arrays), 'array')}{parts}"
