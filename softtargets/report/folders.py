"""The folders of runs below a folder: those with a result, and those that have none, with the reason."""

import os
from collections.abc import Iterator
from pathlib import Path

from softtargets.disk import Damaged, read_json
from softtargets.errors import BadInput

ENDED = {"result.json", "train.json", "data.json"}
"""What a run leaves that ended as it was asked to."""
STARTED = {".hydra", "run.log"}
"""What a run's folder holds from its start."""


def walk(folder: Path) -> Iterator[tuple[Path, set[str]]]:
    """Yield every folder from `folder` down with the names in it; links are followed, each folder comes once.

    Raises BadInput for a folder that cannot be read.
    """
    seen = {os.path.realpath(folder)}
    for here, below, files in os.walk(folder, followlinks=True, onerror=_refuse):
        yield Path(here), {*below, *files}
        below[:] = [name for name in sorted(below) if _first_time(os.path.join(here, name), seen)]


def _first_time(place: str, seen: set[str]) -> bool:
    """Return whether a folder is not `seen` yet, and add it: links may lead back, or to one place."""
    real = os.path.realpath(place)
    if real in seen:
        return False
    seen.add(real)
    return True


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # taken away meanwhile
        raise BadInput(f"{error.filename}: cannot be read ({error.strerror}); take it away") from error


def results(folder: Path) -> list[Path]:
    """Return the result files below `folder`, each once."""
    files = (place / "result.json" for place, names in walk(folder) if "result.json" in names)
    once = {os.path.realpath(file): file for file in files}
    return sorted(file for file in once.values() if not file.is_dir())


def without_result(folder: Path) -> dict[str, str]:
    """Return of every run below `folder` that has no result the reason, by its folder's name."""
    found = {}
    for place, names in walk(folder):
        if "error.json" in names and "result.json" not in names:
            found[_name(place, folder)] = _error(place / "error.json")
        elif names & STARTED and not names & ENDED:
            found[_name(place, folder)] = "it is running, or its process was ended"
    return dict(sorted(found.items()))


def _name(place: Path, folder: Path) -> str:
    return place.name if place == folder else str(place.relative_to(folder))


def _error(file: Path) -> str:
    """Return the first line of what a run raised."""
    try:
        left = read_json(file)
    except (Damaged, OSError) as error:
        return f"it failed, and what it left cannot be read ({error})"
    return f"{left.get('error')}: {left.get('message')}"
