"""The jobs of a sweep in the queue of SLURM."""

import getpass
import os
import re
import subprocess
import time
from pathlib import Path

from softtargets.resumable.arrays import USUAL

QUEUE_POLL = 5.0
"""Seconds between two calls of squeue."""
LOCATION = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
"""Variables that name the cluster; the others describe the job that this process is in."""
SIZES = re.compile(r"(?:MaxArraySize\s*=\s*|\bmax_array_tasks=)(\d+)")
"""Where `scontrol show config` has the site's limits: of a job's number in its array, and of jobs in an array."""


_own_job: str | None = None
"""The id of the job that this process is in, if any."""


def array_limit() -> int:
    """Return how many jobs the site allows in one array; SLURM's default where scontrol does not answer."""
    try:
        config = _answer("scontrol", "show", "config").stdout
    except (OSError, subprocess.TimeoutExpired):  # as on a laptop, where a sweep may be planned
        config = ""
    limits = [int(size) for size in SIZES.findall(config)]
    return max(1, min(limits, default=USUAL))


def leave_job() -> None:
    """Delete the variables of the SLURM job that this process is in, if any.

    Submitted jobs inherit the environment, and `srun` reads options from it. Every run would request the memory
    and the CPUs of the job that called the sweep, which may contradict the request of the run's own job.
    """
    global _own_job
    _own_job = os.environ.get("SLURM_JOB_ID", _own_job)
    if "SLURM_JOB_ID" in os.environ:
        for name in [name for name in os.environ if name.startswith("SLURM_") and name not in LOCATION]:
            del os.environ[name]


class Queue:
    """The SLURM jobs of a sweep except those in `but`; submitit names a folder by the id of each job."""

    def __init__(self, folder: Path, but: frozenset[str] = frozenset()):
        self.folder, self.but = folder, but
        self.queried = float("-inf")
        self.empty_since = float("inf")
        self.present: list[str] = []
        """The numbers of the tasks that are pending or running, by the last answer."""

    def jobs(self) -> frozenset[str]:
        """Return the ids of the jobs that were submitted."""
        names = (path.name.partition("_")[0] for path in self.folder.glob("*"))
        return frozenset(name for name in names if name.isdigit()) - self.but

    def waiting(self) -> int:
        """Return how many of the jobs are pending or running; query SLURM every `QUEUE_POLL` seconds.

        Without an answer the last one counts; before the first all jobs do.
        """
        now = time.monotonic()
        if now - self.queried >= QUEUE_POLL:
            self.queried, jobs = now, self.jobs()
            answer = self._ask(jobs) if jobs else []
            if answer is not None:
                self.present, over = answer, jobs and not answer
                self.empty_since = min(self.empty_since, now) if over else float("inf")
            elif self.empty_since == float("inf"):
                self.present = self.present or sorted(jobs)
        return len(self.present)

    @property
    def to_cancel(self) -> str:
        """Return what to type to cancel the jobs that are pending or running."""
        jobs = {task.partition("_")[0] for task in self.present}
        return f"scancel {' '.join(sorted(jobs, key=int))}"

    def cancel(self) -> None:
        """Cancel all jobs, and wait until none runs any more."""
        if jobs := self.jobs():
            _answer("scancel", *sorted(jobs))
            self.grow()
            while self.waiting():
                time.sleep(1)

    def grow(self) -> None:
        """Forget the last answer, since jobs have just been submitted."""
        self.queried, self.empty_since = float("-inf"), float("inf")

    def silent_for(self) -> float:
        """Return for how many seconds the queue has held none of the jobs; 0 before the first was submitted."""
        self.waiting()
        return max(0.0, time.monotonic() - self.empty_since)

    def _ask(self, jobs: frozenset[str]) -> list[str] | None:
        """Return the tasks that are pending or running; None without an answer."""
        try:
            answer = _squeue(f"--jobs={','.join(sorted(jobs))}")
        except (OSError, subprocess.TimeoutExpired):
            return None
        if answer.returncode:
            return [] if "Invalid job id" in answer.stderr else None
        return answer.stdout.split()


def holds_jobs() -> bool:
    """Return whether the queue holds another job of this user, whatever it belongs to; True without an answer."""
    try:
        answer = _squeue("--format=%A")  # as in SLURM_JOB_ID, also for a task of an array
    except (OSError, subprocess.TimeoutExpired):
        return True
    return answer.returncode != 0 or bool(set(answer.stdout.split()) - {_own_job})


def _squeue(*options: str) -> subprocess.CompletedProcess[str]:
    return _answer("squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}", *options)


def _answer(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
