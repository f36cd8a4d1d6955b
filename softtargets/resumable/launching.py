"""Running a launcher in a thread, which leaves the screen to progress; it may raise anything."""

import dataclasses
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from softtargets.compat import hydra_names, joblib_names
from softtargets.resumable.slurm_queue import Queue
from softtargets.resumable.workers import begin_worker, number_of_workers
from softtargets.system.signals import stop

POLL = 0.5
"""Seconds between two checks of the launcher, and at least between two of the folders."""
REST = 60
"""Pause between two checks of the folders, as a multiple of the time that the last one took."""
STOP = 5.0
"""Seconds to wait for a launcher to clean up when the program is stopped."""
WORKER = "if memory ran out, lower hydra.launcher.n_jobs. Run the same command again to resume"
TOO_MANY = re.compile("job array|Submit|submit limit")
LIMIT = "; lower hydra.sweeper.array_size to what the site allows"


@dataclasses.dataclass
class LauncherEnd:
    """The outcome of a launcher: the messages of runs that raised, or the exception that the launcher raised."""

    failures: dict[int, str] = dataclasses.field(default_factory=dict)
    """By the run's number, its position among those launched."""
    raised: BaseException | None = None


def failures_of(ended: Sequence[JobReturn]) -> dict[int, str]:
    """Return the message of each run that raised, by its position."""
    return {
        number: str(hydra_names.raised(job)) for number, job in enumerate(ended) if job.status is JobStatus.FAILED
    }


def launch(start: Callable[[], dict[int, str]], look: Callable[[], None]) -> LauncherEnd:
    """Run `start()`, which returns the messages of failures, in a thread; call `look()` until it ends."""
    end = LauncherEnd()
    seldom = resting(look)
    thread = threading.Thread(target=_keep, args=(start, end), daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            seldom()
            time.sleep(POLL)
    except BaseException:
        stop(thread, STOP)
        raise
    look()
    return end


def resting(look: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls `look()`, but does nothing for `REST` times as long as the last call took.

    So many cells, or a slow file system, cost at most 2 % of a core, and as little of the file server's time.
    """
    due = 0.0

    def seldom() -> None:
        nonlocal due
        started = time.monotonic()
        if started >= due:
            look()
            ended = time.monotonic()
            due = ended + REST * (ended - started)

    return seldom


def _keep(start: Callable[[], dict[int, str]], end: LauncherEnd) -> None:
    try:
        end.failures = start()
    except BaseException as error:  # SystemExit included, which would end a thread without a message
        end.raised = error


def reason(error: BaseException, queue: Queue | None) -> str:
    """Return the reason why a launcher raised, in one line."""
    message = " ".join(str(error).split())
    if queue and _is_refusal(error):
        more = "more jobs" if queue.jobs() else "job"
        return f"SLURM accepted no {more}: {message}{LIMIT if TOO_MANY.search(message) else ''}"
    if joblib_names.is_dead_worker(error):
        names = ", ".join(dict.fromkeys(re.findall(r"SIG[A-Z]+", message))) or "no signal is known"
        return f"a worker was killed ({names}); {WORKER}"
    cause = " ".join(str(error.__cause__ or "").split())
    return f"the launcher raised {type(error).__name__}: {message}{f' ({cause[-500:]})' if cause else ''}"


def _is_refusal(error: BaseException) -> bool:
    """Return whether SLURM refused a job; any other error came before SLURM saw one."""
    from submitit.core.utils import FailedJobError  # it takes a while to import, and only SLURM needs it

    return isinstance(error, FailedJobError)


def without_folder(why: str, folder: Path) -> str:
    """Return why a run has no result, without the path of its folder: runs that failed alike have equal ones."""
    return why.replace(str(folder), "…")


def bind_workers(launcher: Launcher, runs: int, places: Sequence[str], peak: int | None) -> None:
    """Make joblib start workers that end when this process ends, even if it is killed, and print how many.

    There are no more of them than `runs`. `places` has a GPU's name for each run that may be on a GPU at a time,
    and is empty without GPUs; `peak` is what a run takes in memory, in bytes.
    """
    import joblib  # a tenth of a second

    n_jobs = launcher.joblib["n_jobs"]
    number, line = number_of_workers(n_jobs, joblib.effective_n_jobs(n_jobs), runs, len(places) or None, peak)
    print(line, flush=True)
    # of one run joblib would make no worker, and a kill of the run would end the sweep: a second worker stays idle
    launcher.joblib["n_jobs"] = max(number, 2) if runs == 1 else number
    joblib_names.start_workers_by(begin_worker, os.getpid(), tuple(places))


def watch(queue: Queue, look: Callable[[], None]) -> None:
    """Call `look()` until the jobs of `queue` have ended."""
    seldom = resting(look)
    while queue.waiting():
        seldom()
        time.sleep(POLL)
    look()
