"""A launcher under watch: it may raise, or wait for ever for a job that the queue has lost."""

import dataclasses
import functools
import getpass
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from softtargets.ending import follow, stop
from softtargets.terminal import steady

POLL = 0.5
"""Seconds between looks at the folders."""
QUEUE_POLL = 5.0
"""Seconds between questions to SLURM."""
GRACE = 20.0
"""Seconds for which a launcher may stay silent after its last job has left the queue."""
STOP = 5.0
"""Seconds for which a launcher may put its things in order when the program is ended."""
WORKER = "where memory ran out, lower hydra.launcher.n_jobs; run the same command again to resume"
ARRAY = "; it takes arrays of fewer runs than MaxArraySize (scontrol show config): sweep over fewer at a time"
KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
"""Variables that tell where SLURM is, rather than what the surrounding job is."""


@dataclasses.dataclass
class Account:
    """What a launcher says at its end: how each run ended, in their order, or what it raised."""

    ended: Sequence[JobReturn] = ()
    raised: BaseException | None = None

    def failures(self) -> dict[int, str]:
        """Return, by the number of the run, what those that raised said."""
        return {
            number: str(job._return_value)  # `return_value` raises it
            for number, job in enumerate(self.ended)
            if job.status is JobStatus.FAILED
        }


def launch(start: Callable[[], Sequence[JobReturn]], look: Callable[[], None], queue: "Queue | None") -> Account:
    """Run `start()` in a thread, calling `look()` meanwhile, until it ends; returns what it returned or raised.

    With a `queue` it has ended when both thread and queue have: submitit gives up at its first dead job while
    others run on. And it has ended when the queue is empty though the thread waits on: submitit does so after
    `scancel` of a pending task, and where there is no accounting after any death.
    """
    account = Account()
    thread = threading.Thread(target=_keep, args=(start, account), daemon=True)
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
    return account


def sentence(error: BaseException, queue: "Queue | None") -> str:
    """Say why a launcher gave up, in one line."""
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    said = " ".join(str(error).split())
    if queue and not queue.jobs():
        return f"SLURM took no job: {said}{ARRAY if 'job array' in said else ''}"
    if isinstance(error, TerminatedWorkerError):
        names = ", ".join(dict.fromkeys(re.findall(r"SIG[A-Z]+", said))) or "of itself"
        return f"a worker was ended ({names}); {WORKER}"
    cause = " ".join(str(error.__cause__ or "").split())
    return f"the launcher ended with {type(error).__name__}: {said}{f' ({cause[-500:]})' if cause else ''}"


def bind_workers() -> None:
    """Have joblib start workers that end with this process, however that ends."""
    import joblib
    from joblib.parallel import LokyBackend

    bound = functools.partial(LokyBackend, initializer=_begin_worker, initargs=(os.getpid(),))
    joblib.register_parallel_backend("loky", bound)


def _begin_worker(parent: int) -> None:
    steady()
    follow(parent)


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


def _keep(start: Callable[[], Sequence[JobReturn]], account: Account) -> None:
    try:
        account.ended = start() or ()
    except BaseException as error:  # a thread would end by SystemExit without a word
        account.raised = error


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
