"""The runs of a folder, read from what they left there."""

import collections
import dataclasses
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy

from softtargets import RESULT_SCHEMA
from softtargets.config import dataset_names
from softtargets.config.contents import SHOWN
from softtargets.config.dataset_names import DatasetName
from softtargets.config.names import Chosen
from softtargets.config.resolve import flat
from softtargets.errors import BadInput
from softtargets.evaluation import matched
from softtargets.report.fields import wrong
from softtargets.report.folders import census, require_folder, result_files
from softtargets.system.files import Damaged, canonical, read_json

FACTORS = ("dataset", "architecture", "forget_set", "mu_algo", "training", "unlearn")
"""Choices that make a cell, within which arms are compared."""
SETTING = ("dataset", "architecture", "forget_set", "training")
"""Choices that all algorithms of a ranking share."""
OF_SETTING = (*SETTING, "references")
"""Groups and settings that all algorithms of a ranking share."""
OWN = ("seed", "device", "threads", "precision", "choices")
"""Settings that make neither a cell nor an arm."""
DRAWS = ("forget_set.seed", "dataset.seed")
"""Settings that draw other data for the same question: with the run's seed they make the pairs."""
READABLE = (1, RESULT_SCHEMA)
"""Results of schema 1 have another matched point, which is computed anew where they are read."""
BUDGET = "unlearn.cost"
SEARCHED = ("tuned", "searched")
"""Stands in a cell for all settings of algorithm and unlearning that a search chose for an arm at its budget."""
AWAY_OR_AGAIN = "; take its run's folder away, or make it again"
Factors = tuple[tuple[str, object], ...]
Search = tuple[float, int, str | None]
"""Budget of a run whose settings a search chose for it, and the images and the recipe that were searched on."""
Placed = tuple[Path, dict, dict[str, object]]
"""A run's folder, its result, and its config by dotted names."""


class Unreadable(BadInput):
    """A run of which a file is damaged, odd, or of another version."""

    def __init__(self, file: Path, why: str, advice: str = "", names: tuple[str, ...] = ()):
        super().__init__(f"{file}{why}{advice}")
        self.file, self.why, self.names = file, f"{file.name}{why}", names
        """The file, what is wrong with it, and the arrays that were wanted of it."""


def in_line(settings: Factors, text: Callable[[object], str]) -> str:
    """Return settings in a line: the parts of a run by `text`, and others as they are typed."""
    parts = ("dataset", "architecture", "forget_set", "mu_algo")
    return " ".join(text(value) if name in parts else f"{name}={typed(value)}" for name, value in settings)


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """What runs have in common that are compared."""

    settings: Factors
    """Choices, whatever else was varied that is no matter of targets, and hashes of data where these differ."""
    name: str = ""

    @property
    def is_searched(self) -> bool:
        """Return whether each arm has the settings that a search chose for it: these are part of the arm."""
        return SEARCHED in self.settings

    def shown(self) -> str:
        """Return the settings in a line for readers, without those that follow others."""
        return in_line(self._told(), dataset_names.shown)

    @property
    def key(self) -> str:
        """Return the same line with the option of the dataset, for other programs."""
        return in_line(self._told(), str)

    def _told(self) -> Factors:
        chosen = dict(self.settings)
        follows = {"training": "architecture", "unlearn": "mu_algo"}
        hidden = {name for name, other in follows.items() if chosen.get(name) == chosen.get(other)}
        return tuple((name, value) for name, value in chosen.items() if name not in hidden)


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One finished run."""

    folder: Path
    result: dict
    cell: Cell
    arm: str
    """Its targets."""

    @property
    def seed(self) -> int:
        """Return the run's seed."""
        return self.result["choices"]["seed"]

    @property
    def draw(self) -> tuple[int, int]:
        """Return the seeds of forget set and dataset, which draw the data."""
        return self.result["choices"]["forget_seed"], self.result["config"].get("dataset", {}).get("seed", 0)

    @property
    def pair(self) -> tuple[int, int, int]:
        """Return the seeds of run, forget set and dataset, by which runs are paired."""
        return self.seed, *self.draw

    @property
    def further(self) -> list[str]:
        """Return the hashes of the retrained models beyond the first, that it was compared with too."""
        return self.result["hashes"].get("further_retrained", [])

    @property
    def is_old(self) -> bool:
        """Return whether it has been written before matched forgetting was measured by the retrained model."""
        return self.result["schema"] != RESULT_SCHEMA

    @property
    def stopped_early(self) -> bool:
        """Return whether the stop rule of that time ended it: at its first look, be it in a transient."""
        return self.is_old and self.result["cost"].get("stopped") is True

    @property
    def data(self) -> dict[str, str]:
        """Return hashes of what the run was made and measured on: what differs there has other samples."""
        hashes = self.result["data"]["hashes"]
        forget_set = {"forget_set": self.result["hashes"]["forget_set"]}
        return forget_set | {f"{name}_set": hashes[name] for name in ("train", "test")}

    def of_forget_set(self, *names: str) -> list[numpy.ndarray]:
        """Read arrays of margins.npz, a row a sample of the forget set; raises Unreadable for any other."""
        arrays, data = self.arrays(*names), self.result["data"]
        for name, array in zip(names, arrays, strict=True):
            shape = (data["sizes"]["forget"], data["classes"])[: 2 if "probs" in name else 1]
            if array.shape != shape or array.dtype.kind != "f":
                said = f": {name} is {array.dtype} of shape {array.shape}, and must be floats of shape {shape}"
                raise Unreadable(self.folder / "margins.npz", said, AWAY_OR_AGAIN, names)
        return arrays

    def arrays(self, *names: str) -> list[numpy.ndarray]:
        """Read arrays of margins.npz; raises Unreadable where it is missing or damaged."""
        file = self.folder / "margins.npz"
        try:
            with numpy.load(file) as left:
                return [left[name] for name in names]
        except (OSError, ValueError, KeyError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
            # numpy takes any other file for a pickle, and advises to load it as one
            why = "it holds no plain arrays" if "pickle" in str(error) else error
            raise Unreadable(file, f": missing or damaged ({why})", AWAY_OR_AGAIN, names) from error

    def check(self, *names: str) -> None:
        """Read arrays of margins.npz as reports do, those of the forget set by their shape; raises Unreadable."""
        of_forget_set = all(name.startswith("forget_") for name in names)
        (self.of_forget_set if of_forget_set else self.arrays)(*names)

    @property
    def name(self) -> str:
        """Return how to find it."""
        return self.folder.name


def read(folder: Path) -> list[Run]:
    """Read every finished run below `folder`.

    Raises BadInput where there is none, and as `finished` does.
    """
    runs = finished(folder)
    if not runs:
        lost = [f"{name}: {one.why}" for name, one in census(folder).lost.items()]
        also = f"; of {len(lost)} without a result the first is {lost[0]}" if lost else ""
        raise BadInput(f"{folder}: no finished run below it; give a folder which holds result.json files{also}")
    return runs


def finished(folder: Path) -> list[Run]:
    """Read every finished run below `folder`, if there is any.

    Raises BadInput where there is no such folder, or a run that is damaged or lacks a field that reports need.
    """
    require_folder(folder)
    return _arranged([(file.parent, _result(file)) for file in result_files(folder)])


def readable(*folders: Path) -> tuple[list[Run], list[Unreadable]]:
    """Read every finished run below `folders` whose result can be read, and what is wrong with the others.

    A run that is below two of them comes once. Raises BadInput where there is no such folder.
    """
    for folder in folders:
        require_folder(folder)
    results, unreadable = [], []
    files = [file for folder in folders for file in result_files(folder)]
    for file in dict(zip(map(os.path.realpath, files), files, strict=True)).values():
        try:
            results.append((file.parent, _result(file)))
        except Unreadable as error:
            unreadable.append(error)
    return _arranged(results), unreadable


def without_damaged(runs: list[Run], wanted: tuple[str, ...]) -> tuple[list[Run], list[Unreadable]]:
    """Return the runs whose margins.npz has the `wanted` arrays, and what is wrong with the others."""
    whole, unreadable = [], []
    for run in runs:
        try:
            run.check(*wanted)
            whole.append(run)
        except Unreadable as error:
            unreadable.append(error)
    return whole, unreadable


def _arranged(placed_results: list[tuple[Path, dict]]) -> list[Run]:
    """Return runs in their cells and arms."""
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    # before, a preset's name stood for any parts
    names_of = [Chosen(result["choices"]).names(result["config"]) for _, result in placed_results]
    for (place, result), names in zip(placed_results, _with_dataset_names(names_of), strict=True):
        search = _search(result)
        chosen = tuple((name, names[name]) for name in FACTORS if name != "unlearn" or search is None)
        chosen += () if search is None else ((BUDGET, search[0]), SEARCHED)
        groups[chosen, search][names["targets"]].append((place, result, dict(flat(result["config"]))))
    apart = _apart(groups)
    runs = [run for (chosen, _), arms in groups.items() for run in _varied(chosen, arms, apart[_setting(chosen)])]
    return [_named(run) for run in _by_data(runs)]


def _with_dataset_names(names_of: list[dict]) -> Iterator[dict]:
    """Yield the names of runs' parts, in which datasets have their names for readers.

    Two datasets of one name have their options beside it, and one of several names has its option alone.
    """
    pairs = [(names["dataset"], dataset_names.called(names["dataset"], names)) for names in names_of]
    options, called = collections.defaultdict(set), collections.defaultdict(set)
    for option, name in pairs:
        options[name].add(option)
        called[option].add(name)
    for names, (option, name) in zip(names_of, pairs, strict=True):
        one = name if len(options[name]) == 1 else f"{name} ({option})"
        yield names | {"dataset": DatasetName(option, one if len(called[option]) == 1 else option)}


def _search(result: dict) -> Search | None:
    """Return for what a run's settings were searched; None where no search chose all of them for a budget."""
    tuned_on, cost = result.get("tuned_on") or {}, result["config"].get("unlearn", {}).get("cost")
    if cost is None or tuned_on.get("cost") is None:
        return None
    return cost, tuned_on["images"], tuned_on.get("recipe")


def _result(file: Path) -> dict:
    """Read a result; raises Unreadable where it is not one, or where a field is missing or of another type."""
    away = "; take it away to report on the others, or call its sweep again"
    try:
        result = read_json(file)
    except Damaged as error:
        raise Unreadable(file, str(error).removeprefix(str(file)), away) from error
    except OSError as error:
        raise Unreadable(file, f": cannot be read ({error.strerror})", away) from error
    if "schema" not in result:
        raise Unreadable(file, ": not the result of a run", "; take the file away to report on the others")
    if result["schema"] not in READABLE:
        said = f": of another version, whose results this one (schema {RESULT_SCHEMA}) cannot read"
        raise Unreadable(file, said)
    if said := wrong(result):
        raise Unreadable(file, f": {said}; another version of softtargets may have written it", away)
    return result if result["schema"] == RESULT_SCHEMA else result | {"matched": _matched_anew(result)}


def _matched_anew(result: dict) -> dict | None:
    """Return the matched point of a result of schema 1, whose own was the first where forget_acc <= unseen_acc.

    From the columns that its trajectory has, and the retrained model's accuracy on the whole forget set.
    """
    most = result["config"].get("unlearn", {}).get("evaluate_samples")
    samples = min(result["data"]["sizes"]["forget"], most or math.inf)
    level = matched.level(result["metrics"]["retrained"]["forget_acc"], int(samples))
    point = matched.point(result["trajectory"], level)
    return None if point is None else dict.fromkeys(("js_forget", "js_test", "mia_gap")) | point


def _setting(chosen: Factors) -> Factors:
    """Return the choices that make a setting, in which all algorithms stand in one ranking."""
    return tuple((name, value) for name, value in chosen if name in SETTING)


def _apart(groups: dict[tuple[Factors, Search | None], dict[str, list[Placed]]]) -> dict[Factors, set[str]]:
    """Return by its choices what tells all arms of a setting apart: in what runs of one of them differ."""
    configs = collections.defaultdict(list)
    for (chosen, _), arms in groups.items():
        for arm, group in arms.items():
            configs[chosen, arm] += [config for *_, config in group]
    names: dict[Factors, set[str]] = collections.defaultdict(set)
    for (chosen, _), of_arm in configs.items():
        names[_setting(chosen)] |= {name for name in _differing(of_arm) if name.partition(".")[0] in OF_SETTING}
    return names


def _varied(chosen: Factors, arms: dict[str, list[Placed]], apart: set[str]) -> Iterator[Run]:
    """Tell runs of the same choices apart by the settings in which runs of one arm differ, and by those `apart`.

    Settings of the targets make arms of their own. All others make cells, for the arms that do not vary them too.
    """
    configs = {arm: [config for *_, config in group] for arm, group in arms.items()}
    varied = {arm: _differing(group) for arm, group in configs.items()}
    there = {name for names in varied.values() for name in names if not name.startswith("targets.")}
    beside = sorted(there | apart)
    for arm, group in arms.items():
        own = [name for name in varied[arm] if name.startswith("targets.")]
        for place, result, config in group:
            targets = [f"{name.removeprefix('targets.')}={_plain(config[name])}" for name in own if name in config]
            rest = tuple((name, _plain(config[name])) for name in beside if name in config)
            yield Run(place, result, Cell(chosen + rest), " ".join([arm, *targets]))


def _differing(configs: list[dict]) -> list[str]:
    """Return the names of settings that differ; one that only some configs have differs, too, even from null."""
    first, missing = configs[0], object()
    varied = {
        name
        for config in configs
        for name in config.keys() | first.keys()
        if config.get(name, missing) != first.get(name, missing)
    }
    return [name for name in sorted(varied) if name.partition(".")[0] not in OWN and name not in DRAWS]


def _plain(value: object) -> object:
    """Return a setting's value as it is typed: a list has no place in a key. Of a hash, the first digits."""
    if isinstance(value, str) and value.startswith("sha256:"):
        return f"{value[: len('sha256:') + SHOWN]}…"
    return canonical(value) if isinstance(value, tuple) else value


def _by_data(runs: list[Run]) -> list[Run]:
    """Set runs apart whose settings are the same and whose data are not: a file that was read may have changed.

    All algorithms of a setting are set apart by the same hashes, or none of them could be compared.
    """
    arms = collections.defaultdict(list)
    for run in runs:
        arms[run.cell, run.draw, run.arm].append(run)
    differing = collections.defaultdict(dict)
    for (cell, draw, _), group in arms.items():
        differing[_shared(cell), draw] |= dict.fromkeys(_telling([run.data for run in group]))
    return [_in_cell(run, list(differing[_shared(run.cell), run.draw])) for run in runs]


def _shared(cell: Cell) -> Factors:
    """Return what a cell shares with those of other algorithms."""
    return tuple((name, value) for name, value in cell.settings if name.partition(".")[0] in OF_SETTING)


def _telling(data: list[dict[str, str]]) -> list[str]:
    """Return the names whose values tell apart what differs, as few as do."""
    names: list[str] = []
    for name in data[0]:
        if len(_kinds(data, [*names, name])) > len(_kinds(data, names)):
            names.append(name)
    return names


def _kinds(data: list[dict[str, str]], names: list[str]) -> set[tuple[str, ...]]:
    return {tuple(one[name] for name in names) for one in data}


def _in_cell(run: Run, names: list[str]) -> Run:
    content = tuple((f"{name}_sha256", run.data[name][:8]) for name in names)
    return dataclasses.replace(run, cell=Cell(run.cell.settings + content))


def _named(run: Run) -> Run:
    return dataclasses.replace(run, cell=dataclasses.replace(run.cell, name=run.cell.shown()))


def typed(value: object) -> object:
    """Return a setting as it is typed: an empty field of the CSV says that a cell does not have that setting."""
    return "null" if value is None else value
