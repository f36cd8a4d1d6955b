"""The result of a run: the public interface that reports read."""

import contextlib
import datetime
import functools
import math
import os
import platform
import socket
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy
import torch

from softtargets.compat import torch_names
from softtargets.config import contents
from softtargets.system.files import Damaged, atomic, read_json, write_json
from softtargets.types import Samples, Split

HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""Variables by which git looks at one repository, wherever it is called."""
LEFT = (
    *("result.json", "error.json", "data.json", "train.json", "margins.npz", "config.yaml"),
    *("original.safetensors", "retrained.safetensors", "unlearned.safetensors"),
    *("tracking.jsonl", "clearml.zip", "clearml.json"),
)
"""All that a run may leave in its folder, but for its log."""


def finite(value):
    """Replace every number that JSON cannot hold by None, at any depth."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(folder: Path, result: dict, margins: dict[str, numpy.ndarray]) -> Path:
    """Write margins.npz and then result.json; where the latter is, the run is complete."""
    with atomic(folder / "margins.npz") as temporary, temporary.open("wb") as file:
        numpy.savez(file, **margins)
    (folder / "error.json").unlink(missing_ok=True)  # of another call of a sweep, meanwhile
    write_json(folder / "result.json", finite(result))
    return folder / "result.json"


def clear_earlier(folder: Path) -> None:
    """Remove what an earlier run has left in a folder that is used again; the files of nobody's run stay."""
    if not _left_by_a_run(folder):
        return
    for name in LEFT:  # the result first: without its other files it would be no result
        (folder / name).unlink(missing_ok=True)


def _left_by_a_run(folder: Path) -> bool:
    """Return whether the folder's files are a run's: files of these names may be somebody's own."""
    for name in ("result.json", "error.json", "data.json", "train.json"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, Damaged):
            return bool(read_json(folder / name))
    try:  # a run that was killed while it wrote
        return "\nchoices:\n" in (folder / "config.yaml").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def made_meanwhile(folder: Path, started: datetime.datetime, config_hash: str) -> dict | None:
    """Return the result that another process has left for this config since this run started, if any is whole.

    Where locks do not exclude, two may be at one run of a sweep. Clocks that differ do no harm: numbers are equal.
    """
    try:
        since = (folder / "result.json").stat().st_mtime
        other = read_json(folder / "result.json")
    except (FileNotFoundError, Damaged):
        return None
    same = other["provenance"]["config_hash"] == config_hash
    return other if same and since >= started.timestamp() else None


def leave_stage(folder: Path, stage: str, config_hash: str, models_from: dict[str, list[str]]) -> None:
    """Write `<stage>.json`, the mark of a run that was asked to stop after that stage."""
    done = {"provenance": {"config_hash": config_hash}, "cost": models_from}
    write_json(folder / f"{stage}.json", done)


def choices(config: dict) -> dict:
    """Return what was chosen in every group, with both seeds."""
    return config["choices"] | {"seed": config["seed"], "forget_seed": config["forget_set"]["seed"]}


def sizes(data: Split) -> dict[str, int]:
    """Count the samples of every set."""
    return {name: len(getattr(data, name)) for name in ("train", *data.evaluated())}


def describe(data: Split) -> dict:
    """Return sizes, shape and hashes of the data."""
    sets: dict[str, Samples] = {"train": data.train, **data.evaluated()}
    return {
        "input_shape": list(data.input_shape),
        "classes": data.classes,
        "sizes": sizes(data),
        "copies_dropped": data.copies_dropped,
        "membership_pairs": len(data.membership.members),
        "hashes": {name: samples.digest for name, samples in sets.items()},
    }


def provenance(config: dict, config_hash: str, started: datetime.datetime) -> dict:
    """Return where, when and with what a result was made."""
    commit = _commit()
    files = {setting: path for setting, path, _ in contents.rows(config)}
    packages = ("softtargets", "torch", "numpy", "hydra-core")
    return {
        "config_hash": config_hash,
        "git_commit": commit,
        # files that git does not track, such as an environment or results, do not make the code another
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "machine": {name: config[name] for name in ("device", "threads", "precision")}
        | {"processor": processor(config["device"]), "plain_torch": torch_names.PLAIN},
        **({"files": files} if files else {}),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def processor(device: str) -> str:
    """Name what computes, with the instructions that torch picked for it: on other ones last bits may differ."""
    said = torch_names.cpuinfo()
    name = said.get("model name") or platform.processor() or platform.machine()
    # hypervisors give different processors one name
    numbers = "".join(f", {key} {said[key]}" for key in ("cpu family", "model") if key in said)
    found = f"{name}{numbers}, {torch.backends.cpu.get_cpu_capability()}"
    return f"{torch.cuda.get_device_name()}; {found}" if device == "cuda" else found


def _commit() -> str | None:
    """Return the commit of this very code; None for an installed copy, whatever repository it lies in."""
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name)
    return _git("rev-parse", "HEAD") if tracked else None


def _git(*arguments: str) -> str | None:
    """Ask git about the folder of this file; None where git, a repository or an answer is missing."""
    # a hook of git's sets these, for the repository that it belongs to
    environment = {name: value for name, value in os.environ.items() if name not in HOOKS}
    command = {"cwd": Path(__file__).parent, "env": environment, "timeout": 10}
    try:
        found = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, **command)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
