"""The files of a run in its folder: writing, reading and removing them."""

import contextlib
import datetime
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from softtargets.system.files import Damaged, atomic, read_json, write_json

if TYPE_CHECKING:
    import numpy

MARKS = ("error.json", "data.json", "train.json")
"""The files that say that a run raised or stopped after a stage."""
MODELS = ("original.safetensors", "retrained.safetensors", "unlearned.safetensors")
"""The files of a run with `save_models=true`, in the order in which they are written."""
NAMES = (
    *("result.json", *MARKS, "margins.npz", "config.yaml"),
    *MODELS,
    *("tracking.jsonl", "clearml.zip", "clearml.json"),
)
"""Every file that a run may leave in its folder, except its log."""


def write_result(folder: Path, result: dict, margins: "dict[str, numpy.ndarray]") -> Path:
    """Write margins.npz, then result.json, whose presence means that the run is complete."""
    import numpy  # a tenth of a second, which a finished sweep need not pay

    with atomic(folder / "margins.npz") as temporary, temporary.open("wb") as file:
        numpy.savez(file, **margins)
    (folder / "error.json").unlink(missing_ok=True)  # another call of the sweep may have left it meanwhile
    write_json(folder / "result.json", result)
    return folder / "result.json"


def write_stage(folder: Path, stage: str, content: dict) -> None:
    """Write `<stage>.json`, the mark of a run that ends after this stage."""
    write_json(folder / f"{stage}.json", content)


def write_error(folder: Path, error: BaseException, message: str) -> None:
    """Write error.json, the mark of a run that raised."""
    details = "".join(traceback.format_exception(error))
    write_json(folder / "error.json", {"error": type(error).__name__, "message": message, "traceback": details})


def read_result(folder: Path, config_hash: str, since: datetime.datetime | None = None) -> dict | None:
    """Return the whole result of this config that lies in the folder, written `since` then; None without one.

    Where locks do not exclude, two processes may be at one run of a sweep: `since` its own start, each takes what
    the other has written. Clocks that differ do no harm: numbers are equal.
    """
    try:
        written = (folder / "result.json").stat().st_mtime
        result = read_json(folder / "result.json")
    except (FileNotFoundError, Damaged):
        return None
    same = result["provenance"]["config_hash"] == config_hash
    return result if same and (since is None or written >= since.timestamp()) else None


def remove_earlier(folder: Path, config_hash: str | None, since: datetime.datetime | None) -> None:
    """Remove the files of an earlier run from a folder that is used again; other files stay.

    A whole result of this config, written `since` then, stays too: only the marks of other ends beside it go.
    """
    if not _is_of_a_run(folder):
        return
    stays = config_hash and read_result(folder, config_hash, since)
    for name in MARKS if stays else NAMES:  # the result first: it promises that the other files are complete
        (folder / name).unlink(missing_ok=True)


def _is_of_a_run(folder: Path) -> bool:
    """Return whether a run left the files in a folder: a user's file may have the same name."""
    for name in ("result.json", *MARKS):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, Damaged):
            return bool(read_json(folder / name))
    try:  # a run that was killed while it wrote its files
        return "\nchoices:\n" in (folder / "config.yaml").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
