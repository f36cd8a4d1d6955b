"""A launcher under watch: it may raise, or wait for ever for a job that the queue has lost."""

import dataclasses
import os
import re
import threading
import time
from collections.abc import Callable, Sequence

from hydra.core.utils import JobReturn, JobStatus

from softtargets.compat import hydra_names, joblib_names
from softtargets.study.slurm_queue import Queue
from softtargets.system.signals import end_with_parent, stop
from softtargets.system.terminal import steady

POLL = 0.5
"""Seconds between looks at the folders."""
GRACE = 20.0
"""Seconds for which a launcher may stay silent after its last job has left the queue."""
STOP = 5.0
"""Seconds for which a launcher may put its things in order when the program is ended."""
WORKER = "if memory ran out, lower hydra.launcher.n_jobs. Run the same command again to resume"
ARRAY = ". An array must have fewer runs than MaxArraySize (scontrol show config); sweep over fewer at a time"


@dataclasses.dataclass
class LauncherEnd:
    """The end of a launcher: how each run ended, in their order, or the exception that it raised."""

    ended: Sequence[JobReturn] = ()
    raised: BaseException | None = None

    def failures(self) -> dict[int, str]:
        """Return, by the number of the run, what those that raised said."""
        return {
            number: str(hydra_names.raised(job))
            for number, job in enumerate(self.ended)
            if job.status is JobStatus.FAILED
        }


def launch(start: Callable[[], Sequence[JobReturn]], look: Callable[[], None], queue: Queue | None) -> LauncherEnd:
    """Run `start()` in a thread, calling `look()` meanwhile, until it ends; returns what it returned or raised.

    With a `queue` it has ended when both thread and queue have: submitit gives up at its first dead job while
    others run on. And it has ended when the queue is empty though the thread waits on: submitit does so after
    `scancel` of a pending task, and where there is no accounting after any death.
    """
    end = LauncherEnd()
    thread = threading.Thread(target=_keep, args=(start, end), daemon=True)
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
    return end


def _keep(start: Callable[[], Sequence[JobReturn]], end: LauncherEnd) -> None:
    try:
        end.ended = start() or ()
    except BaseException as error:  # a thread would end by SystemExit without a word
        end.raised = error


def sentence(error: BaseException, queue: Queue | None) -> str:
    """Return in one line why a launcher gave up."""
    message = " ".join(str(error).split())
    if queue and not queue.jobs():
        return f"SLURM accepted no job: {message}{ARRAY if 'job array' in message else ''}"
    if joblib_names.is_dead_worker(error):
        names = ", ".join(dict.fromkeys(re.findall(r"SIG[A-Z]+", message))) or "no signal is known"
        return f"a worker was killed ({names}); {WORKER}"
    cause = " ".join(str(error.__cause__ or "").split())
    return f"the launcher raised {type(error).__name__}: {message}{f' ({cause[-500:]})' if cause else ''}"


def bind_workers() -> None:
    """Have joblib start workers that end with this process, however that ends."""
    joblib_names.start_workers_by(_begin_worker, os.getpid())


def _begin_worker(parent: int) -> None:
    steady()
    end_with_parent(parent)


def watch(queue: Queue, look: Callable[[], None]) -> None:
    """Call `look()` until the jobs of `queue` have ended."""
    while queue.busy():
        look()
        time.sleep(POLL)
    look()
