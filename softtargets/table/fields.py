"""The fields of the table: every arm in its row (algorithm × targets) and its column (a cell)."""

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from softtargets.config import dataset_names
from softtargets.errors import BadInput
from softtargets.execution.code_hash import code_hash
from softtargets.report.counts import of_arms
from softtargets.report.folders import Census, census, without_result
from softtargets.report.measures import FACES, Floors
from softtargets.report.pairs import SHARED_MODELS, pairings
from softtargets.report.ranking import Ranked, ranked
from softtargets.report.runs import Run, Unreadable, readable, typed, without_damaged
from softtargets.report.standing import OF_ARM, fails_gate, placed, standings
from softtargets.report.statuses import counted_statuses, no_verdict
from softtargets.report.verdicts import compare_arms, judged
from softtargets.report.way_left import Entry, entries
from softtargets.table.improvement import Rank, ranks

FIRST = FACES[0]
"""The measure by which arms are ranked."""
COST = "unlearn.cost"
NO_BUDGET = "no budget"
SHOWN = ("dataset", "images", "network", "recipe", "forget set", "cost")
"""What names a cell."""
PLAIN = ("dataset", "architecture", "training", "forget_set", "dataset.train_size")
"""Settings that these names have already."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A cell of the table: what all arms in it share."""

    values: tuple[tuple[str, object], ...]
    """Under `SHOWN`, and every other setting that varies between cells."""

    @property
    def shown(self) -> list[str]:
        """Return what the cell is made of, each in a text."""
        return [_shown(name, value) for name, value in self.values]

    @property
    def data(self) -> tuple[tuple[str, object], ...]:
        """Return what the cell is made of, but for its budget."""
        return tuple(value for value in self.values if value[0] != "cost")

    @property
    def has_budget(self) -> bool:
        """Return whether its arms have a budget."""
        return dict(self.values)["cost"] != NO_BUDGET


def _shown(name: str, value: object) -> str:
    if name == "images" and isinstance(value, int):
        return f"{value:,} images"
    if name in ("dataset", "network", "forget set") or value == NO_BUDGET:
        return dataset_names.shown(value)
    return f"{name} {typed(value)}"


@dataclasses.dataclass(frozen=True)
class Field:
    """One arm in one cell."""

    row: str
    column: Column
    ranked: Ranked
    """As a report ranks the arm."""
    older: int
    """Runs whose code is not the code of today."""

    @property
    def entry(self) -> Entry:
        """Return the arm with its runs."""
        return self.ranked.entry

    @property
    def runs(self) -> list[Run]:
        """Return the run of each pair."""
        return list(self.entry.runs.values())

    @property
    def dates(self) -> tuple[str, str]:
        """Return the first and the last day on which its runs finished; empty where none says it."""
        days = sorted(
            day for run in self.runs if (day := str(run.result["provenance"].get("finished") or "")[:10])
        )
        return (days[0], days[-1]) if days else ("", "")

    @property
    def codes(self) -> list[str]:
        """Return the hashes of the code of its runs; "unknown" for results from before they had one."""
        return sorted({code_of(run) for run in self.runs})


@dataclasses.dataclass(frozen=True)
class Table:
    """All that the table shows."""

    fields: Sequence[Field]
    rankings: Sequence[tuple[str, Sequence[Rank]]]
    """Titles with rankings across cells: arms that need models from before the request stand apart."""
    notes: Sequence[str]
    """A sentence for every run that is left out."""

    @property
    def columns(self) -> list[Column]:
        """Return the cells in order."""
        return sorted({field.column for field in self.fields}, key=lambda column: str(column.values))

    @property
    def rows(self) -> list[str]:
        """Return the names of the rows in order."""
        return sorted({field.row for field in self.fields})


def code_of(run: Run) -> str:
    """Return the hash of a run's code; "unknown" for results from before they had one."""
    return str(run.result["provenance"].get("code_sha256") or "unknown")


def table(folders: Sequence[Path]) -> Table:
    """Read the runs below `folders` and arrange them.

    Where several folders have the same arm in the same pair, the first one counts. Raises BadInput where there is
    no run at all, or no such folder.
    """
    runs, unreadable = readable(*folders)
    runs, notes = _first_of_each(runs)
    while True:
        left_out = [*notes, *(f"{error.file.parent.name}: {error.why}" for error in unreadable)]
        if not runs:
            said = f"; {left_out[0]}" if left_out else ""
            raise BadInput(f"{', '.join(map(str, folders))}: no result of a run below it{said}")
        try:
            return _arranged(runs, _census(folders), left_out)
        except Unreadable as error:  # margins.npz is read where a floor needs it
            runs, more = without_damaged(runs, error.names)
            unreadable += more


def _first_of_each(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    """Return the first run of every arm and pair, and a sentence for each that is left out."""
    first: dict[tuple, Run] = {}
    notes = []
    for run in runs:
        kept = first.setdefault((*placed(run), run.pair), run)
        if kept is not run:
            notes.append(f"{run.folder}: left out, since {kept.folder} has the same arm and pair")
    return list(first.values()), notes


def _census(folders: Sequence[Path]) -> Census:
    arm_of, lost = {}, {}
    for folder in folders:
        known = census(folder)
        arm_of |= known.arm_of
        lost |= {f"{folder}/{name}": one for name, one in known.lost.items()}
    return Census(arm_of, lost)


def _arranged(runs: list[Run], known: Census, notes: list[str]) -> Table:
    pairs, floors = pairings(runs), Floors()
    verdicts, stands, _ = judged(compare_arms(pairs, FIRST, "end", None, floors), standings(runs))
    arms = ranked(entries(runs, stands, [FIRST]), verdicts, pairs, [FIRST], of_arms(runs, known, placed))
    rows = _rows([one.entry for one in arms])
    fields = [
        Field(row, column_of(one.entry), one, sum(code_of(run) != code_hash() for run in one.entry.runs.values()))
        for one, row in zip(arms, rows, strict=True)
    ]
    lost = [f"{name}: {one.why}" for name, one in without_result(known.lost).items()]
    return Table(fields, _rankings(fields), [*notes, *lost])


def column_of(entry: Entry) -> Column:
    """Return the cell of an arm."""
    run = next(iter(entry.runs.values()))
    chosen, config = dict(entry.setting.settings), run.result["config"]
    cost = config.get("unlearn", {}).get("cost")
    values = (
        chosen["dataset"],
        _number(run.result["data"]["sizes"].get("train", "unknown")),
        chosen["architecture"],
        chosen["training"],
        _forget_set(chosen["forget_set"], config.get("forget_set", {})),
        NO_BUDGET if cost is None else _number(cost),
    )
    more = [
        setting
        for setting in entry.setting.settings
        if setting[0] not in PLAIN and not setting[0].startswith("forget_set.")
    ]
    return Column((*zip(SHOWN, values, strict=True), *more))


def _number(value: object) -> object:
    """Return a number as it is, and a text of anything else, which a result may hold in its place."""
    return value if isinstance(value, int | float) else str(value)


def _forget_set(name: str, settings: dict) -> str:
    """Return a kind of forget set with its settings, without its seed."""
    shown = {
        key: value
        for key, value in settings.items()
        if not key.startswith("_") and key != "seed" and value is not None
    }
    return " ".join([name, *(f"{key}={value}" for key, value in shown.items())])


def _rows(arms: Sequence[Entry]) -> list[str]:
    """Name the row of every arm: algorithm and targets, with the settings in which arms of one field differ."""
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for entry in arms:
        groups[_kind(entry)][column_of(entry)].append(_own(entry))
    varied = {
        kind: sorted({name for field in columns.values() for name in _differing(field)})
        for kind, columns in groups.items()
    }
    return [
        " ".join([_kind(entry), *(f"{name}={typed(_own(entry).get(name))}" for name in varied[_kind(entry)])])
        for entry in arms
    ]


def _kind(entry: Entry) -> str:
    return " ".join(filter(None, [entry.algorithm, entry.targets]))


def _own(entry: Entry) -> dict[str, object]:
    """Return the settings that make the arm, beside its algorithm, its targets and its budget."""
    rest = ("mu_algo", COST)
    return {
        name: value for name, value in entry.cell.settings if name.partition(".")[0] in OF_ARM and name not in rest
    }


def _differing(arms: Sequence[dict[str, object]]) -> set[str]:
    names = {name for one in arms for name in one}
    return {name for name in names if len({str(one.get(name)) for one in arms}) > 1}


WITHOUT = "Arms without models from before the request"
WITH = "All arms, those with models from before the request beside the others"
"""Titles of rankings; arms that only compare are in none."""


def _rankings(fields: Sequence[Field]) -> list[tuple[str, list[Rank]]]:
    """Rank arms across cells: those that prepare nothing, and where others do, all of them.

    An arm is left out in the cells where it has no verdict whatever its numbers.
    """
    able = [field for field in fields if field.entry.standing.group < 2 and not _is_mute(field)]
    plain = [field for field in able if not field.entry.standing.group]
    rankings = [(WITHOUT, ranks(_distances(plain)))]
    return rankings if len(plain) == len(able) else [*rankings, (WITH, ranks(_distances(able)))]


def _is_mute(field: Field) -> bool:
    return no_verdict(field.row, counted_statuses(field.runs), len(field.runs)) is not None


def _distances(fields: Sequence[Field]) -> list[dict[str, dict[tuple, float]]]:
    """Return of every cell the distance of each pair, by its seeds and by the models that its runs share.

    Cells without a distance are left out: their results are older than this distance.
    """
    cells = collections.defaultdict(dict)
    for field in fields:
        known = {_pair(run): _distance(run) for run in field.runs}
        cells[field.column][field.row] = {pair: value for pair, value in known.items() if value is not None}
    return [cell for cell in cells.values() if any(cell.values())]


def _pair(run: Run) -> tuple:
    return (*run.pair, *(run.result["hashes"][name] for name in SHARED_MODELS), *run.data.values())


def _distance(run: Run) -> float | None:
    """Return the distance of a run; infinity where it diverged or lost its utility, as in the sign test."""
    return float("inf") if fails_gate(run) else FIRST.at_end(run)
