"""Means of any number of a run: `python benchmarks/means.py FOLDER NUMBER …`.

Reads every finished run below the folder. A NUMBER is named by its dots in `result.json`, such as cost.steps
or metrics.unlearned.relearn_steps. Prints their means for each arm in Markdown, over the runs that have all
of them; whole classes that are forgotten count as one setting.
"""

import collections
import statistics
from pathlib import Path

from usage import call

from softtargets.config.resolve import flat
from softtargets.errors import BadInput
from softtargets.report.runs import Run, read

CLASSES = "forget_set.classes="


def main(folder: str, number: str, *more: str) -> None:
    """Print the table."""
    numbers = number, *more
    found = values(read(Path(folder)), numbers)
    if not found:
        raise BadInput(f"{folder}: no run below it has {' and '.join(numbers)}; result.json has their names")
    print(f"| arm | n | {' | '.join(numbers)} |\n{(2 + len(numbers)) * '|---'}|")
    for arm, rows in sorted(found.items()):
        means = (f"{statistics.fmean(column):.4g}" for column in zip(*rows, strict=True))
        print(f"| {arm} | {len(rows)} | {' | '.join(means)} |")


def values(runs: list[Run], numbers: tuple[str, ...]) -> dict[str, list[list[float]]]:
    """Return, by arm with its setting, the numbers of every run that has them all."""
    found = collections.defaultdict(list)
    for run in runs:
        known = dict(flat(run.result))
        row = [known.get(name) for name in numbers]
        if all(isinstance(value, (int, float)) for value in row):
            found[arm_of(run)].append(row)
    return found


def arm_of(run: Run) -> str:
    """Return setting, algorithm and targets in a line."""
    return " ".join([*(word for word in run.cell.shown().split() if not word.startswith(CLASSES)), run.arm])


if __name__ == "__main__":
    call(main, __doc__)
