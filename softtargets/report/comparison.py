"""What `--compare` asks for: two values of any setting, or two folders, as the arms that are compared."""

import collections
import dataclasses
from pathlib import Path

from softtargets.config.resolve import flat
from softtargets.errors import BadInput
from softtargets.report.pairs import SHARED, SHARED_MODELS, Pairing, pairings
from softtargets.report.planned import SEEDS
from softtargets.report.runs import Cell, Run, typed

FOLDER = "folder"
FOLLOWS = {
    "mu_algo": ("unlearn", "unlearn.", "mu_algo."),
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
        grouped = runs if self.name == "targets" else [run for one in runs if (run := self._placed(one))]
        found = pairings(grouped, (self.one, self.other), shared)
        if not found:
            raise BadInput(f"{self}: no cell has both; {self._there(runs)}")
        return found

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
            return "give two folders of runs below RUNS_DIR"
        if self.name == "targets":
            return f"the arms there are: {', '.join(sorted({run.arm for run in runs}))}"
        counts = collections.Counter(
            str(typed(v)) for run in runs if (v := _value(run, self.name)) is not _MISSING
        )
        if not counts:
            names = sorted({name for run in runs for name, _ in run.cell.settings})
            return f"no run has this setting; those that differ are {', '.join(names)}"
        return f"its values are {', '.join(sorted(counts))}"


def comparison(text: str) -> Comparison:
    """Read `SETTING=A,B` or `FOLDER,FOLDER`; raises BadInput for anything else."""
    name, equals, value = text.rpartition("=") if text.count("=") == 1 else ("", "", text)
    arms = value.split(",")
    if len(arms) != 2 or arms[0] == arms[1] or not all(arms):
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


_MISSING = object()


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
