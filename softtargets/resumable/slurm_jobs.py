"""Jobs of SLURM: the cells that share one, and the arrays in which they are submitted, one after the other.

An array is submitted when those before it have left the queue. With all of them in the queue at once, each waiting
for the former by a dependency, a sweep would be refused where a site limits the jobs that a user may submit, and
each array has a limit of its own for the jobs at a time, so that two of them would run twice as many.
"""

import re
import time
from collections.abc import Sequence

import submitit
from hydra.core.singleton import Singleton
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from omegaconf import OmegaConf
from submitit.core.utils import FailedJobError

from softtargets.compat import hydra_names
from softtargets.resumable.slurm_queue import Queue, holds_jobs

GRACE = 20.0
"""Seconds to wait for what a job returned after the last one has left the queue."""
POLL = 0.5
"""Seconds between two checks of a job."""
PATIENCE = 60.0
"""Seconds between two attempts to submit an array that is over a limit of the site."""
OVER_LIMIT = re.compile(r"Max\w*Submit\w*|temporarily")
"""What sbatch says of an array that it accepts once other jobs have ended.

"Job violates accounting/QOS policy (job submit limit, ...)" is none: sbatch says so of jobs that it never accepts.
"""
Overrides = Sequence[str]


class Job:
    """Cells that run one after the other in one job; a job that is queued again goes on where it was stopped."""

    def __init__(self, launcher: Launcher, cells: list[tuple[int, Overrides]]):
        self.launcher, self.cells, self.state = launcher, cells, Singleton.get_state()
        self.failures: dict[int, str | None] = {}
        """The message of each cell that ended, by its number; None if it did not raise."""

    def __call__(self) -> dict[int, str | None]:
        """Run the cells that have not ended, and return `failures`."""
        for number, overrides in self.cells:
            if number not in self.failures:
                self.failures[number] = self._run(number, list(overrides))
        return self.failures

    def _run(self, number: int, overrides: list[str]) -> str | None:
        try:
            end = self.launcher(overrides, "hydra.sweep.dir", number, str(number), self.state)
        except Exception as error:  # before the run: Hydra cannot make its folder, say. The other cells can run
            return f"{type(error).__name__}: {error}"
        return str(hydra_names.raised(end)) if end.status is JobStatus.FAILED else None

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Return what SLURM queues again when it stops this job: the same cells, and how the first ones ended."""
        return submitit.helpers.DelayedSubmission(self)


def run_arrays(
    launcher: Launcher, arrays: list[list[list[tuple[int, Overrides]]]], queue: Queue
) -> dict[int, str]:
    """Submit the arrays, wait until all jobs have left the queue, and return the messages of cells that raised.

    `launcher` is Hydra's for SLURM, an array is a list of jobs, a job a list of numbered cells. Raises submitit's
    FailedJobError after the jobs before have ended, if SLURM refuses an array.
    """
    executor = _executor(launcher.params, max(len(job) for array in arrays for job in array))
    room = max(len(arrays[0]), launcher.params["array_parallelism"])
    jobs, refusal = [], None
    try:
        for array in arrays:
            while queue.waiting() + len(array) > room:
                time.sleep(POLL)
            tasks = [Job(launcher, cells) for cells in array]
            jobs += zip(_submit(executor, tasks), tasks, strict=True)
            queue.grow()
    except FailedJobError as error:
        refusal = error
    failures = _failures(jobs, queue)
    if refusal:
        raise refusal
    return failures


def _executor(params: dict, cells_per_job: int) -> submitit.AutoExecutor:
    """Return what submits jobs as Hydra's launcher would, with a time limit for `cells_per_job` cells."""
    executor = submitit.AutoExecutor(
        params["submitit_folder"], cluster="slurm", slurm_max_num_timeout=params["max_num_timeout"]
    )
    asked = params | {"timeout_min": params["timeout_min"] * cells_per_job}
    everywhere = OmegaConf.structured(BaseQueueConf)  # the others are SLURM's
    names = {key: key if key in everywhere else f"slurm_{key}" for key in asked}
    init = ("submitit_folder", "max_num_timeout")
    executor.update_parameters(**{names[key]: value for key, value in asked.items() if key not in init})
    return executor


def _submit(executor: submitit.AutoExecutor, array: list[Job]) -> list[submitit.Job]:
    """Submit an array; where it is over a limit of the site, wait until other jobs of this user have ended."""
    waited = False
    while True:
        try:
            return executor.submit_array(array)
        except FailedJobError as error:
            if not OVER_LIMIT.search(str(error)) or not holds_jobs():
                raise
            if not waited:
                print(f"waiting for other jobs to end: {' '.join(str(error).split())}", flush=True)
            waited = True
            time.sleep(PATIENCE)


def _failures(jobs: list[tuple[submitit.Job, Job]], queue: Queue) -> dict[int, str]:
    """Wait until every job has returned something, or has left the queue without; return the cells' messages.

    What a job returned is on disk: submitit itself would wait for ever for a job that was cancelled before it
    began and, without accounting, for any dead one.
    """
    found: dict[int, str | None] = {}
    for job, task in jobs:
        while not job.paths.result_pickle.exists() and queue.silent_for() < GRACE:
            time.sleep(POLL)
        if job.paths.result_pickle.exists():
            found |= _returned(job, task)
    return {number: text for number, text in found.items() if text is not None}


def _returned(job: submitit.Job, task: Job) -> dict[int, str | None]:
    """Return what a job returned; if it raised, as where the node lacks a package, the same for all its cells."""
    if (error := job.exception()) is None:
        return job.result()
    lines = [line for line in str(error).splitlines() if re.match(r"[\w.]+: ", line)]
    reason = lines[-1] if lines else " ".join(str(error).split())
    return {number: f"its job raised {reason}" for number, _ in task.cells}
