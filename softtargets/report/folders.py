"""The folders of runs below a folder: those with a result, and those without one, with the reason."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from softtargets.errors import BadInput
from softtargets.layout import PLANS
from softtargets.report.planned import Arm, read_plans
from softtargets.system.files import Damaged, read_json

ENDED = {"result.json", "train.json", "data.json"}
"""Files of a run that has finished, or that stopped after its stage."""
STARTED = {".hydra", "run.log"}
"""Names in a run's folder from its start on."""


def require_folder(folder: Path) -> None:
    """Raise BadInput unless there is a folder that can be listed."""
    try:
        os.listdir(folder)
    except FileNotFoundError as error:
        raise BadInput(f"{folder}: no such folder") from error
    except NotADirectoryError as error:
        raise BadInput(f"{folder}: no folder; give one which holds result.json files") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def walk(folder: Path, refused: Callable[[OSError], None] | None = None) -> Iterator[tuple[Path, set[str]]]:
    """Yield every folder from `folder` down with the names in it; links are followed, each folder comes once.

    Hidden folders are passed over: no run lies there, but what a killed process left half-copied may. `refused` is
    called for a folder that cannot be read, and the walk goes on.
    """
    seen = {os.path.realpath(folder)}
    for here, below, files in os.walk(folder, followlinks=True, onerror=refused):
        yield Path(here), {*below, *files}
        shown = (name for name in sorted(below) if not name.startswith("."))
        below[:] = [name for name in shown if _first_time(os.path.join(here, name), seen)]


def _first_time(place: str, seen: set[str]) -> bool:
    """Return whether a folder is not `seen` yet, and add it: links may lead back, or to one place."""
    real = os.path.realpath(place)
    if real in seen:
        return False
    seen.add(real)
    return True


def result_files(folder: Path) -> list[Path]:
    """Return the result files below `folder`, each once; `census` names what cannot be read."""
    files = (place / "result.json" for place, names in walk(folder) if "result.json" in names)
    once = {os.path.realpath(file): file for file in files}
    return sorted(file for file in once.values() if not file.is_dir())


@dataclasses.dataclass(frozen=True)
class Lost:
    """A run without a result, or a folder in which runs may be."""

    state: str
    """failed, unfinished (it runs, or was killed), unbegun, unreadable, or set aside (its files are damaged)."""
    why: str
    arm: Arm | None = None
    """As its sweep planned it, where one did."""


ASIDE = "set aside"
BEGUN = Lost("unfinished", "it is running, or its process was killed")
UNBEGUN = Lost("unbegun", "planned, and never began")
NO_FOLDER = Lost("failed", "its folder cannot be made, because a file of this name is there")


@dataclasses.dataclass(frozen=True)
class Census:
    """The runs below a folder that sweeps planned, and those without a result."""

    arm_of: dict[Path, Arm]
    """Of every planned run, by its folder."""
    lost: dict[str, Lost]
    """By the names of their folders."""

    def with_aside(self, folder: Path, why_of: Mapping[Path, str]) -> "Census":
        """Return it with the runs in these folders below `folder` set aside, each for its reason."""
        more = {_name(place, folder): Lost(ASIDE, why, self.arm_of.get(place)) for place, why in why_of.items()}
        return Census(self.arm_of, self.lost | more)


def aside(lost: Mapping[str, Lost]) -> dict[str, Lost]:
    """Return the runs that are set aside."""
    return {name: one for name, one in lost.items() if one.state == ASIDE}


def without_result(lost: Mapping[str, Lost]) -> dict[str, Lost]:
    """Return what has no result at all."""
    return {name: one for name, one in lost.items() if one.state != ASIDE}


def census(folder: Path) -> Census:
    """Return what was planned below `folder`, and of every run that has no result the reason.

    Folders and plans that cannot be read are among the latter: runs may be in them.
    """
    arm_of: dict[Path, Arm] = {}
    lost: dict[Path, Lost] = {}
    finished: set[Path] = set()

    def refused(error: OSError) -> None:
        lost[Path(error.filename)] = Lost("unreadable", f"the folder cannot be read ({error.strerror})")

    for place, names in walk(folder, refused):
        if PLANS in names:
            try:
                arm_of |= read_plans(place)
            except (Damaged, OSError) as error:
                lost[place / PLANS] = Lost("unreadable", f"the plan cannot be read ({error})")
        if "result.json" in names:
            finished.add(place)
        if "error.json" in names and "result.json" not in names:
            lost[place] = Lost("failed", _error(place / "error.json"))
        elif names & STARTED and not names & ENDED:
            lost[place] = BEGUN if "run.log" in names or not _is_empty(place / ".hydra") else UNBEGUN
    lost |= {place: _unbegun(place) for place in arm_of if place not in finished and place not in lost}
    named = {
        _name(place, folder): dataclasses.replace(lost[place], arm=arm_of.get(place)) for place in sorted(lost)
    }
    return Census(arm_of, named)


def _unbegun(place: Path) -> Lost:
    """Return that a planned run never began; that it failed if a file is where its folder belongs."""
    return NO_FOLDER if os.path.lexists(place) and not place.is_dir() else UNBEGUN


def _is_empty(folder: Path) -> bool:
    """Return whether a folder is empty, as a sweep leaves that of a run that waits; False if it cannot be read."""
    try:
        return not os.listdir(folder)
    except OSError:
        return False


def _name(place: Path, folder: Path) -> str:
    return place.name if place == folder else str(place.relative_to(folder))


def _error(file: Path) -> str:
    """Return the first line of what a run raised."""
    try:
        report = read_json(file)
    except (Damaged, OSError) as error:
        return f"it failed, and its error.json cannot be read ({error})"
    return f"{report.get('error')}: {report.get('message')}"
