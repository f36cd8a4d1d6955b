"""A launcher under watch: it may raise, or wait for ever for a job that the queue has lost."""

import functools
import getpass
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from softtargets.ending import follow, stop

POLL = 0.5
"""Seconds between looks at the folders."""
QUEUE_POLL = 5.0
"""Seconds between questions to SLURM."""
GRACE = 20.0
"""Seconds for which a launcher may stay silent after its last job has left the queue."""
STOP = 5.0
"""Seconds for which a launcher may put its things in order when the program is ended."""
KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
"""Variables that tell where SLURM is, rather than what the surrounding job is."""


def launch(start: Callable[[], object], look: Callable[[], None], queue: "Queue | None") -> Exception | None:
    """Run `start()` in a thread, calling `look()` meanwhile, until it ends; returns what it raised.

    With a `queue` it has ended when both thread and queue have: submitit gives up at its first dead job while
    others run on. And it has ended when the queue is empty though the thread waits on: submitit does so after
    `scancel` of a pending task, and where there is no accounting after any death.
    """
    raised: list[Exception] = []
    thread = threading.Thread(target=_caught, args=(start, raised), daemon=True)
    thread.start()
    try:
        while thread.is_alive() or (queue and queue.busy()):
            look()
            if queue and queue.silent_for() > GRACE:
                break
            time.sleep(POLL)
    except BaseException:
        stop(thread, STOP)
        raise
    look()
    return raised[0] if raised else None


def bind_workers() -> None:
    """Have joblib start workers that end with this process, however that ends."""
    import joblib
    from joblib.parallel import LokyBackend

    bound = functools.partial(LokyBackend, initializer=follow, initargs=(os.getpid(),))
    joblib.register_parallel_backend("loky", bound)


def watch(queue: "Queue", look: Callable[[], None]) -> None:
    """Call `look()` until the jobs of `queue` have ended."""
    while queue.busy():
        look()
        time.sleep(POLL)
    look()


def leave_job() -> None:
    """Forget the SLURM job this process is part of, if any.

    Jobs inherit the environment of who submits them, and `srun` takes options from it: the memory or the CPUs of
    a job that only watches would be asked for by every run, or contradict what the run's own job asks for.
    """
    if "SLURM_JOB_ID" in os.environ:
        for name in [name for name in os.environ if name.startswith("SLURM_") and name not in KEPT]:
            del os.environ[name]


def _caught(start: Callable[[], object], raised: list[Exception]) -> None:
    try:
        start()
    except Exception as error:
        raised.append(error)


class Queue:
    """The SLURM jobs of a sweep, known by the folders that submitit makes for them, those `but` these."""

    def __init__(self, folder: Path, but: frozenset[str] = frozenset()):
        self.folder, self.but = folder, but
        self.asked = float("-inf")
        self.empty_since = float("inf")
        self.state = False

    def jobs(self) -> frozenset[str]:
        """Return the ids of the jobs that were submitted."""
        names = (path.name.partition("_")[0] for path in self.folder.glob("*"))
        return frozenset(name for name in names if name.isdigit()) - self.but

    def busy(self) -> bool:
        """Tell whether a job of ours waits or runs; SLURM is asked every few seconds."""
        now = time.monotonic()
        if now - self.asked >= QUEUE_POLL:
            self.asked, jobs = now, self.jobs()
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
            found = subprocess.run(
                ["squeue", "--noheader", "--format=%i", *mine], capture_output=True, text=True, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            return self.state  # no answer is no news
        if found.returncode:
            return "Invalid job id" not in found.stderr and self.state
        return bool(found.stdout.strip())
