"""A launcher under watch: it may raise, or wait for ever for a job that the queue has lost."""

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

POLL = 0.5
"""Seconds between looks at the folders."""
QUEUE_POLL = 5.0
"""Seconds between questions to SLURM."""
GRACE = 20.0
"""Seconds for which a launcher may stay silent after its last job has left the queue."""


def launch(start: Callable[[], object], look: Callable[[], None], queue: "Queue | None") -> Exception | None:
    """Run `start()` in a thread, calling `look()` meanwhile, until it ends; returns what it raised.

    With a `queue` it has ended when both thread and queue have: submitit gives up at its first dead job while
    others run on. And it has ended when the queue is empty though the thread waits on: submitit does so after
    `scancel` of a pending task, and where there is no accounting after any death.
    """
    raised: list[Exception] = []
    thread = threading.Thread(target=_caught, args=(start, raised), daemon=True)
    thread.start()
    while thread.is_alive() or (queue and queue.busy()):
        look()
        if queue and queue.silent_for() > GRACE:
            break
        time.sleep(POLL)
    look()
    return raised[0] if raised else None


def _caught(start: Callable[[], object], raised: list[Exception]) -> None:
    try:
        start()
    except Exception as error:
        raised.append(error)


class Queue:
    """The SLURM jobs of one launch, known by the folders that submitit makes for them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.before = self._folders()
        self.asked = self.empty_since = float("-inf")
        self.state = False

    def _folders(self) -> set[str]:
        return {path.name for path in self.folder.glob("*")}

    def busy(self) -> bool:
        """Tell whether a job of ours waits or runs; SLURM is asked every few seconds."""
        now = time.monotonic()
        if now - self.asked >= QUEUE_POLL:
            self.asked, was = now, self.state
            self.state = self._ask()
            if was and not self.state:
                self.empty_since = now
        return self.state

    def silent_for(self) -> float:
        """Return for how many seconds the queue has been empty after having held jobs."""
        return 0.0 if self.busy() or self.empty_since < 0 else time.monotonic() - self.empty_since

    def _ask(self) -> bool:
        jobs = {name.partition("_")[0] for name in self._folders() - self.before if name[:1].isdigit()}
        if not jobs:
            return False
        command = ["squeue", "--noheader", "--format=%i", f"--jobs={','.join(sorted(jobs))}"]
        try:
            found = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return self.state  # no answer is no news
        if found.returncode:
            return "Invalid job id" not in found.stderr and self.state
        return bool(found.stdout.strip())
