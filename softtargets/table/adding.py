"""Taking other people's results in: checked first, then copied, complete or not at all."""

import shutil
import uuid
from pathlib import Path

from softtargets.config.validation import naming
from softtargets.errors import BadInput
from softtargets.report.runs import Run, finished
from softtargets.report.standing import placed
from softtargets.system.files import make_folder, naming_file, require_writable, share_all
from softtargets.system.words import counted
from softtargets.table import checks
from softtargets.table.drawn import require_data
from softtargets.table.rerun import compared


def add(folder: Path, to: Path, rerun: int = 0) -> list[str]:
    """Copy the results below `folder` into a new folder in `to`; return what to say of it.

    Only result.json files are copied, byte for byte: each has its own seal, and no other file is needed by the
    table. `rerun` runs are computed again and compared. Raises BadInput, and writes nothing, for the first fault.
    """
    place = to / folder.resolve().name
    _require_place(place)
    runs = checks.verified(folder)
    _require_new(runs, to)
    unknown = require_data(runs)
    lines = [compared(run) for run in checks.drawn(runs, rerun)]
    _copy(runs, place)
    arms, older = {placed(run) for run in runs}, sum(map(checks.is_older, runs))
    lines.append(f"added {counted(len(runs), 'run')} of {counted(len(arms), 'arm')} to {place}")
    lines += [f"by another code than today's: {counted(older, 'run')}; grey in the table"] if older else []
    lines += checks.doubtful(runs) + unknown
    lines += [] if rerun else ["their numbers fit each other; that they are real only a new run shows: --rerun 1"]
    return lines


def _require_place(place: Path) -> None:
    """Raise BadInput for a name that is no plain one, one that is taken, and a place that cannot be written to."""
    if not checks.FOLDER.fullmatch(place.name):
        raise BadInput(f"{place.name!r}: give the folder a name of letters, digits, dots, dashes and underscores")
    if place.exists() or place.is_symlink():
        raise BadInput(f"{place}: already exists; give the folder of results another name")
    require_writable("--to", place.parent)


def _require_new(runs: list[Run], to: Path) -> None:
    """Raise BadInput for a config that is already in the table, and for runs that do not fit those that are."""
    known = finished(to) if to.is_dir() else []
    configs = {run.result["provenance"]["config_hash"]: run for run in known}
    for run in runs:
        if same := configs.get(run.result["provenance"]["config_hash"]):
            raise BadInput(f"{run.folder}: the table has this run already, in {same.folder}")
    checks.require_fitting(runs, known)


def _copy(runs: list[Run], place: Path) -> None:
    """Copy under a temporary name, which a killed process leaves behind, and rename."""
    temporary = place.with_name(f".new-{uuid.uuid4().hex}")
    with naming(f"--to={place.parent}", (OSError,)):
        make_folder(place.parent)
        try:
            with naming_file(place):
                for run in runs:
                    target = temporary / run.result["provenance"]["config_hash"][:12] / "result.json"
                    target.parent.mkdir(parents=True)
                    shutil.copyfile(run.folder / "result.json", target)
                share_all(temporary)
                temporary.rename(place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
