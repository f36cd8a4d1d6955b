"""The jobs of a sweep in the queue of SLURM."""

import getpass
import os
import subprocess
import time
from pathlib import Path

QUEUE_POLL = 5.0
"""Seconds between two calls of squeue."""
LOCATION = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
"""Variables that name the cluster; the others describe the job that this process is in."""


def leave_job() -> None:
    """Delete the variables of the SLURM job that this process is in, if any.

    Submitted jobs inherit the environment, and `srun` reads options from it. Every run would request the memory
    and the CPUs of the job that called the sweep, which may contradict the request of the run's own job.
    """
    if "SLURM_JOB_ID" in os.environ:
        for name in [name for name in os.environ if name.startswith("SLURM_") and name not in LOCATION]:
            del os.environ[name]


class Queue:
    """The SLURM jobs of a sweep except those in `but`; submitit names a folder by the id of each job."""

    def __init__(self, folder: Path, but: frozenset[str] = frozenset()):
        self.folder, self.but = folder, but
        self.queried = float("-inf")
        self.empty_since = float("inf")
        self.state = False

    def jobs(self) -> frozenset[str]:
        """Return the ids of the jobs that were submitted."""
        names = (path.name.partition("_")[0] for path in self.folder.glob("*"))
        return frozenset(name for name in names if name.isdigit()) - self.but

    def busy(self) -> bool:
        """Return whether one of the jobs is pending or running; query SLURM every `QUEUE_POLL` seconds."""
        now = time.monotonic()
        if now - self.queried >= QUEUE_POLL:
            self.queried, jobs = now, self.jobs()
            self.state = bool(jobs) and self._ask(jobs)
            over = jobs and not self.state
            self.empty_since = min(self.empty_since, now) if over else float("inf")
        return self.state

    def silent_for(self) -> float:
        """Return for how many seconds the queue has held none of the jobs; 0 before the first was submitted."""
        self.busy()
        return max(0.0, time.monotonic() - self.empty_since)

    def _ask(self, jobs: frozenset[str]) -> bool:
        mine = [f"--user={getpass.getuser()}", f"--jobs={','.join(sorted(jobs))}"]
        try:
            answer = subprocess.run(
                ["squeue", "--noheader", "--format=%i", *mine], capture_output=True, text=True, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            return self.state  # without an answer, the last state counts
        if answer.returncode:
            return "Invalid job id" not in answer.stderr and self.state
        return bool(answer.stdout.strip())
