"""The jobs of a sweep in SLURM's queue."""

import getpass
import os
import subprocess
import time
from pathlib import Path

QUEUE_POLL = 5.0
"""Seconds between questions to SLURM."""
LOCATION = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
"""Variables that say where SLURM is; the others describe the surrounding job."""


def leave_job() -> None:
    """Forget the SLURM job this process is part of, if any.

    Jobs inherit the environment of who submits them, and `srun` takes options from it: the memory or the CPUs of
    a job that only watches would be asked for by every run, or contradict what the run's own job asks for.
    """
    if "SLURM_JOB_ID" in os.environ:
        for name in [name for name in os.environ if name.startswith("SLURM_") and name not in LOCATION]:
            del os.environ[name]


class Queue:
    """The SLURM jobs of a sweep, known by the folders that submitit makes for them, those `but` these."""

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
        """Return whether one of our jobs waits or runs; SLURM is queried every few seconds."""
        now = time.monotonic()
        if now - self.queried >= QUEUE_POLL:
            self.queried, jobs = now, self.jobs()
            self.state = bool(jobs) and self._ask(jobs)
            over = jobs and not self.state
            self.empty_since = min(self.empty_since, now) if over else float("inf")
        return self.state

    def silent_for(self) -> float:
        """Return for how many seconds the queue has been without our jobs, once there were some."""
        self.busy()
        return max(0.0, time.monotonic() - self.empty_since)

    def _ask(self, jobs: frozenset[str]) -> bool:
        mine = [f"--user={getpass.getuser()}", f"--jobs={','.join(sorted(jobs))}"]
        try:
            answer = subprocess.run(
                ["squeue", "--noheader", "--format=%i", *mine], capture_output=True, text=True, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            return self.state  # no answer is no news
        if answer.returncode:
            return "Invalid job id" not in answer.stderr and self.state
        return bool(answer.stdout.strip())
