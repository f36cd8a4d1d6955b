"""What `--compare` asks for: two values of any setting, or two folders, as the arms that are compared."""

import collections
import dataclasses
from collections.abc import Collection
from pathlib import Path

from softtargets.config.resolve import flat
from softtargets.errors import BadInput
from softtargets.report.pairs import SHARED, SHARED_MODELS, Pairing, pair_runs, pairings
from softtargets.report.planned import SEEDS
from softtargets.report.runs import BUDGET, Cell, Factors, Run, typed

FOLDER = "folder"
Variant = tuple[Run, Factors]
"""A run of an arm, with the settings that the arm brings with it."""
FOLLOWS = {
    "mu_algo": ("unlearn", "unlearn.", "mu_algo.", "tuned"),
    "architecture": ("training", "training.", "architecture."),
}
"""Settings that another one brings with it, by their names or the starts of these: they make no cells then."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two values of a setting; of `targets` they are two arms as the report names them."""

    name: str
    one: str
    other: str

    def __str__(self):
        return f"--compare {self.one},{self.other}" if self.name == FOLDER else self.asked

    @property
    def asked(self) -> str:
        """Return what was typed."""
        return f"--compare {self.name}={self.one},{self.other}"

    def named(self, runs: list[Run]) -> list[Run]:
        """Return the runs, those of two folders as arms of their own: seeds that are in both are no duplicates."""
        if self.name != FOLDER:
            return runs
        folders = [next((text for text in (self.one, self.other) if self._has(run, text)), None) for run in runs]
        return [
            run if folder is None else _renamed(run, Cell((*run.cell.settings, (FOLDER, folder))))
            for run, folder in zip(runs, folders, strict=True)
        ]

    def pairings(self, runs: list[Run]) -> list[Pairing]:
        """Pair the two arms in every cell that has both; raises BadInput where none has."""
        shared = SHARED if self.name in ("targets", FOLDER) or self.name.startswith("targets.") else SHARED_MODELS
        if self.name == "targets":
            found = pairings(runs, (self.one, self.other), shared)
        else:
            cells = collections.defaultdict(lambda: collections.defaultdict(list))
            for run in runs:
                if placed := self._placed(run):
                    cells[placed.cell][placed.arm].append((placed, self._own(run)))
            found = [each for cell, arms in cells.items() for each in self._paired(cell, arms, shared)]
        if not found:
            raise BadInput(f"{self}: no cell has both; {self._there(runs)}")
        return found

    def _paired(self, cell: Cell, arms: dict[str, list[Variant]], shared: tuple[str, ...]) -> list[Pairing]:
        """Pair both arms of a cell, which may have variants: by the values that both have, else each with each."""
        runs = [arms.get(text, []) for text in (self.one, self.other)]
        budgets = {dict(own).get(BUDGET, _MISSING) for side in runs for _, own in side}
        sides = [_variants(side, [BUDGET] if len(budgets) > 1 else []) for side in runs]
        both = [dict.fromkeys(name for own in side for name, _ in own) for side in sides]
        common = [name for name in both[0] if name in both[1]]
        couples = [(one, other) for one in sides[0] for other in sides[1]]
        # as sets: a budget that one arm alone varies stands at another place in its settings
        equal = [couple for couple in couples if len({frozenset(_part(own, common)) for own in couple}) == 1]
        if not equal:  # they share no value: all of them tell the arms apart
            equal, common = couples, []
        return [
            pair_runs(
                self._cell_of(cell, _part(one, common)),
                (_with(self.one, one, common), _with(self.other, other, common)),
                sides[0][one],
                sides[1][other],
                shared,
            )
            for one, other in equal
        ]

    def _cell_of(self, cell: Cell, common: Factors) -> Cell:
        cell = Cell((*cell.settings, *common))
        return dataclasses.replace(cell, name=cell.shown())

    def _own(self, run: Run) -> Factors:
        """Return the settings that the compared one brings with it."""
        own = dict(setting for setting in run.cell.settings if _is(setting[0], FOLLOWS.get(self.name, ())))
        cost = run.result["config"].get("unlearn", {}).get("cost")
        if self.name == "mu_algo" and cost is not None:  # a budget counts even where an algorithm has no other
            own[BUDGET] = cost
        if own.get("unlearn.schedule.peak") == own.get("unlearn.optimizer.lr"):
            own.pop("unlearn.schedule.peak", None)  # in the presets it follows the learning rate
        return tuple(own.items())

    def _placed(self, run: Run) -> Run | None:
        """Return a run as one of the two arms, in a cell of all that is not compared; None for any other."""
        arm = next((text for text in (self.one, self.other) if self._has(run, text)), None)
        if arm is None:
            return None
        gone = (self.name, *FOLLOWS.get(self.name, ()))
        rest = [(name, value) for name, value in run.cell.settings if not _is(name, gone)]
        own = self.name.removeprefix("targets.")
        targets = " ".join(word for word in run.arm.split(" ") if not word.startswith(f"{own}="))
        return dataclasses.replace(_renamed(run, Cell((*rest, ("targets", targets)))), arm=arm)

    def _has(self, run: Run, text: str) -> bool:
        if self.name == FOLDER:
            return run.folder.resolve().is_relative_to(Path(text).resolve())
        value = _value(run, self.name)
        return value is not _MISSING and _same(value, text)

    def _there(self, runs: list[Run]) -> str:
        """Say what could be compared."""
        if self.name == FOLDER:
            return self._between_folders(runs)
        if self.name == "targets":
            return f"the arms there are: {', '.join(sorted({run.arm for run in runs}))}"
        counts = collections.Counter(
            str(typed(v)) for run in runs if (v := _value(run, self.name)) is not _MISSING
        )
        if not counts:
            return f"no run has this setting; {_differing(runs)}"
        return f"its values are {', '.join(sorted(counts))}"

    def _between_folders(self, runs: list[Run]) -> str:
        """Say why two folders have no run in common: one of them has none, or all of their runs differ."""
        sides = [[run for run in runs if self._has(run, text)] for text in (self.one, self.other)]
        if not all(sides):
            return "give two folders of runs below RUNS_DIR"
        values = [collections.defaultdict(set), collections.defaultdict(set)]
        for side, of_side in zip(values, sides, strict=True):
            for run in of_side:
                for name, value in (*run.cell.settings, ("targets", run.arm)):
                    side[name].add(value)
        apart = [name for name in values[0] if name != FOLDER and not values[0][name] & values[1][name]]
        differ = (
            f"their runs differ in {', '.join(apart)}" if apart else "no two of their runs have equal settings"
        )
        return f"{differ}; to compare a setting, type SETTING=A,B"


def comparison(text: str) -> Comparison:
    """Read `SETTING=A,B` or `FOLDER,FOLDER`; raises BadInput for anything else."""
    name, equals, value = text.rpartition("=") if text.count("=") == 1 else ("", "", text)
    arms = value.split(",")
    if len(arms) == 2 and arms[0] == arms[1] != "":
        raise BadInput(f"--compare {text}: both values are {arms[0]}; give two that differ")
    if len(arms) != 2 or not all(arms):
        raise BadInput(
            f"--compare {text}: must be SETTING=A,B, two values of one setting (targets=hard,soft), "
            "or two folders A,B"
        )
    if name in SEEDS:
        raise BadInput(f"--compare {text}: {name} makes the pairs; compare any other setting")
    if equals:
        return Comparison(name, *arms)
    for folder in arms:
        if not Path(folder).is_dir():
            raise BadInput(f"--compare {text}: {folder} is no folder; to compare a setting, type SETTING=A,B")
    return Comparison(FOLDER, *arms)


def _differing(runs: list[Run]) -> str:
    """Say in which settings runs differ: they can be compared by these."""
    values = collections.defaultdict(set)
    for run in runs:
        for name, value in (*run.cell.settings, ("targets", run.arm)):
            values[name].add(value)
    names = sorted(name for name, each in values.items() if len(each) > 1)
    if len(names) == 1:
        return f"the only one that differs is {names[0]}"
    return f"those that differ are {', '.join(names)}" if names else "no other differs between them"


_MISSING = object()


def _variants(runs: list[Variant], varied_between: Collection[str]) -> dict[Factors, list[Run]]:
    """Sort the runs of an arm by those of its own settings in which they differ, or differ from the other arm."""
    names = {name for _, own in runs for name, _ in own}
    varied = {name for name in names if len({dict(own).get(name, _MISSING) for _, own in runs}) > 1}
    varied |= set(varied_between)
    groups: dict[Factors, list[Run]] = {}
    for run, own in runs:
        groups.setdefault(_part(own, varied), []).append(run)
    return groups


def _part(settings: Factors, names: Collection[str]) -> Factors:
    return tuple((name, value) for name, value in settings if name in names)


def _with(arm: str, own: Factors, common: Collection[str]) -> str:
    """Name an arm with the settings in which it differs from others of the same value."""
    return " ".join([arm, *(f"{name}={typed(value)}" for name, value in own if name not in common)])


def _renamed(run: Run, cell: Cell) -> Run:
    return dataclasses.replace(run, cell=dataclasses.replace(cell, name=cell.shown()))


def _value(run: Run, name: str) -> object:
    """Return what a run has for a setting or a choice of a group."""
    chosen = dict(run.cell.settings)
    return chosen[name] if name in chosen else dict(flat(run.result["config"])).get(name, _MISSING)


def _same(value: object, text: str) -> bool:
    """Return whether a setting's value is what was typed: 1 and 1.0 are."""
    if str(typed(value)).lower() == text.lower():
        return True
    try:
        return not isinstance(value, bool | str) and float(value) == float(text)
    except (TypeError, ValueError):
        return False


def _is(name: str, gone: tuple[str, ...]) -> bool:
    return any(name == one or (one.endswith(".") and name.startswith(one)) for one in gone)
