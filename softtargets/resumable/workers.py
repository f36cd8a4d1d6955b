"""Worker processes on this machine: as many as the memory allows, each with one GPU."""

import math
import os
import socket
import subprocess
from collections.abc import Sequence

from softtargets.errors import BadInput
from softtargets.system.memory import available
from softtargets.system.signals import end_with_parent
from softtargets.system.terminal import steady

GB = 1e9
_claims: list[socket.socket] = []
"""The place on a GPU that this process holds, for as long as it lives."""


def number_of_workers(n_jobs: int, cores: int, runs: int, places: int | None, peak: int | None) -> tuple[int, str]:
    """Return how many workers to start, and one line that says so and why.

    A negative `n_jobs` is a worker for each of the `cores`, but no more than fit into the memory that is free if
    each takes `peak` bytes; a positive one counts as it is. There are never more workers than `runs`, or than
    `places` on GPUs, None without.
    """
    number, why = (cores, "one for each core") if n_jobs < 0 else (n_jobs, "hydra.launcher.n_jobs")
    if runs < number:
        number, why = runs, "one for each run"
    if places is not None and places < number:
        number, why = places, "as many as the GPUs have places (hydra.sweeper.runs_per_gpu)"
    if peak is None:
        return number, f"workers: {number}, {why}; no earlier run says how much memory a run takes"
    if (free := available()) is None:
        return number, f"workers: {number}, {why}; this system does not say how much memory is free"
    fitting = max(1, free // peak)
    if n_jobs < 0 and fitting < number:
        number, why = fitting, "as many as fit into memory"
    took = f"a run took up to {math.ceil(10 * peak / GB) / 10} GB"
    only = "only " if fitting < number else ""
    return number, f"workers: {number}, {why}; {took}, {only}{free / GB:.1f} GB are free"


def gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        try:
            command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
            listed = ",".join(answer.stdout.split())
        except (OSError, subprocess.TimeoutExpired):
            listed = ""
    return [name.strip() for name in listed.split(",") if name.strip()]


def places_on_gpus(runs_per_gpu: int, shared: bool = False) -> list[str]:
    """Return the GPU that each run at a time sees; raise BadInput where there is no GPU.

    With `shared` all runs go to one of them, which they name by its number, and so each sees all.
    """
    names = gpus()
    if not names:
        why = "nvidia-smi and CUDA_VISIBLE_DEVICES name none"
        raise BadInput(f"hydra.sweeper.runs_per_gpu={runs_per_gpu}: no GPU here, {why}. Leave it out")
    if shared:
        return [",".join(names)] * runs_per_gpu
    return names * runs_per_gpu  # the second run of a GPU comes after the first ones of all


def begin_worker(parent: int, places: Sequence[str]) -> None:
    """Prepare this process, a worker: it ends with its parent, and sees one GPU if there are `places`."""
    steady()
    end_with_parent(parent)
    if places:
        os.environ["CUDA_VISIBLE_DEVICES"] = _claimed(parent, places)


def _claimed(parent: int, places: Sequence[str]) -> str:
    """Claim a place that no other worker of this sweep holds, and return its GPU.

    A name that only one socket can have is freed by the operating system when its process ends, however it ends:
    a worker that takes a dead one's part gets its place.
    """
    for number, gpu in enumerate(places):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0softtargets-{parent}-{number}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return gpu
    raise RuntimeError(f"all {len(places)} places on GPUs are taken")
