"""Runs as tidy rows: one a run, or one for every look at a model on its way; for spreadsheets and for pandas."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from softtargets.config.resolve import flat
from softtargets.errors import BadInput
from softtargets.report.runs import Run, read

if TYPE_CHECKING:
    import pandas

PARTS = ("distance", "baseline", "change", "cost")
"""Parts of a result whose numbers become columns, named PART.NAME."""


def results(folder: str | Path) -> "pandas.DataFrame":
    """Return a row for every finished run below `folder`, as `softtargets report` writes them to runs.csv.

    Columns: the choices (dataset, architecture, mu_algo, targets, seed, ...), `status`, `MODEL.METRIC` of the
    three models, `distance.NAME`, `baseline.NAME` (doing nothing), `change.NAME`, `cost.NAME`,
    `faces.NAME.unlearned` with `.nothing` and `.floor`, `config_hash` and `folder`. Units are as in result.json.
    Raises BadInput, a ValueError, where there is no run.

    >>> import softtargets
    >>> table = softtargets.results("runs/mine")
    >>> means = table.groupby("targets")["distance.js_forget"].mean()
    >>> list(means.index)
    ['hard', 'soft']
    """
    return _frame(map(row, read(Path(folder).expanduser())))


def trajectories(folder: str | Path) -> "pandas.DataFrame":
    """Return a row for every look at a model while it unlearned, of all finished runs below `folder`.

    Columns: the choices, `folder`, and those of result.json's `trajectory`: `step`, accuracies, distances. Raises
    BadInput, a ValueError, where there is no run.

    >>> import softtargets
    >>> table = softtargets.trajectories("runs/mine")
    >>> means = table.groupby(["targets", "step"])["js_forget"].mean()
    >>> int(means["hard"].index[0])  # the first look is before the first step
    0
    """
    return _frame(look for run in read(Path(folder).expanduser()) for look in looks(run))


def row(run: Run) -> dict[str, object]:
    """Return what a run says of itself in numbers and words, without lists, which have an entry for each class."""
    result = run.result
    parts = result["metrics"] | {name: result.get(name, {}) for name in PARTS}
    numbers = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    numbers |= {f"faces.{name}": value for name, value in flat(result.get("faces") or {})}
    plain = {name: value for name, value in numbers.items() if not isinstance(value, list | tuple | dict)}
    end = {"config_hash": result["provenance"].get("config_hash"), "folder": str(run.folder)}
    return result["choices"] | {"status": result["status"]} | plain | end


def looks(run: Run) -> Iterator[dict[str, object]]:
    """Yield a row for every entry of a run's trajectory."""
    trajectory, same = run.result["trajectory"], run.result["choices"] | {"folder": str(run.folder)}
    for values in zip(*trajectory.values(), strict=True):
        yield same | dict(zip(trajectory, values, strict=True))


def _frame(rows: Iterator[dict[str, object]]) -> "pandas.DataFrame":
    try:
        import pandas  # a third of a second, and no part of what a run needs
    except ImportError as error:
        raise BadInput("a table needs pandas; install it with pip install 'softtargets[pandas]'") from error
    return pandas.DataFrame.from_records(list(rows))
