"""Where, when and with which software and hardware a result was computed."""

import datetime
import functools
import os
import platform
import re
import socket
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from softtargets.compat import torch_names
from softtargets.config import contents
from softtargets.execution.code_hash import PACKAGE, code_hash, hash_of


def provenance(config: dict, config_hash: str | None, started: datetime.datetime) -> dict:
    """Return the `provenance` of result.json."""
    commit = _commit()
    files = {setting: path for setting, path, _ in contents.files_of(config)}
    packages = ("softtargets", "torch", "numpy", "hydra-core")
    return {
        "config_hash": config_hash,
        "git_commit": commit,
        # untracked files, such as an environment or results, are not the code
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None,
        "code_sha256": code_hash(),
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
    """Return the processor's name and the instruction set that torch uses: last bits depend on both."""
    description = torch_names.cpuinfo()
    name = description.get("model name") or platform.processor() or platform.machine()
    # hypervisors give different processors one name
    numbers = "".join(f", {key} {description[key]}" for key in ("cpu family", "model") if key in description)
    cpu = f"{name}{numbers}, {torch.backends.cpu.get_cpu_capability()}"
    return f"{torch.cuda.get_device_name(device)}; {cpu}" if device.startswith("cuda") else cpu


@functools.cache
def code_of_commit(commit: str) -> str | None:
    """Return the hash of the code (see `code_hash`) at a commit; None where this is no repository that has it."""
    if not re.fullmatch("[0-9a-f]{40}", commit):
        return None
    listed = _git("ls-tree", "-r", "--full-tree", commit, PACKAGE.name)
    lines = (line.partition("\t") for line in (listed or "").splitlines())
    blobs = {name.removeprefix(f"{PACKAGE.name}/"): info.split()[2] for info, _, name in lines}
    return hash_of(blobs) if blobs else None


def _commit() -> str | None:
    """Return the commit of this code; None for an installed copy, even inside another repository."""
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name)
    return _git("rev-parse", "HEAD") if tracked else None


def _git(*arguments: str) -> str | None:
    """Return git's output for the folder of this file; None without git, a repository or an answer."""
    # such variables name another repository, as within a git hook, or settings that would run a program
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = {"cwd": Path(__file__).parent, "env": environment, "timeout": 10}
    try:
        words = ["git", "-c", "core.fsmonitor=false", *arguments]
        ended = subprocess.run(words, capture_output=True, text=True, check=True, **command)
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout.strip()
