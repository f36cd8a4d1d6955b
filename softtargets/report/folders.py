"""The folders of runs below a folder: those with a result, and those without one, with the reason."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from softtargets.errors import BadInput
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

    `refused` is called for a folder that cannot be read, and the walk goes on.
    """
    seen = {os.path.realpath(folder)}
    for here, below, files in os.walk(folder, followlinks=True, onerror=refused):
        yield Path(here), {*below, *files}
        below[:] = [name for name in sorted(below) if _first_time(os.path.join(here, name), seen)]


def _first_time(place: str, seen: set[str]) -> bool:
    """Return whether a folder is not `seen` yet, and add it: links may lead back, or to one place."""
    real = os.path.realpath(place)
    if real in seen:
        return False
    seen.add(real)
    return True


def result_files(folder: Path) -> list[Path]:
    """Return the result files below `folder`, each once; `without_result` names what cannot be read."""
    files = (place / "result.json" for place, names in walk(folder) if "result.json" in names)
    once = {os.path.realpath(file): file for file in files}
    return sorted(file for file in once.values() if not file.is_dir())


def without_result(folder: Path) -> dict[str, str]:
    """Return of every run below `folder` that has no result the reason, by its folder's name.

    Folders that cannot be read are there too: runs may be in them.
    """
    reasons = {}

    def refused(error: OSError) -> None:
        reasons[_name(Path(error.filename), folder)] = f"the folder cannot be read ({error.strerror})"

    for place, names in walk(folder, refused):
        if "error.json" in names and "result.json" not in names:
            reasons[_name(place, folder)] = _error(place / "error.json")
        elif names & STARTED and not names & ENDED:
            reasons[_name(place, folder)] = "it is running, or its process was killed"
    return dict(sorted(reasons.items()))


def _name(place: Path, folder: Path) -> str:
    return place.name if place == folder else str(place.relative_to(folder))


def _error(file: Path) -> str:
    """Return the first line of what a run raised."""
    try:
        report = read_json(file)
    except (Damaged, OSError) as error:
        return f"it failed, and its error.json cannot be read ({error})"
    return f"{report.get('error')}: {report.get('message')}"
