"""Tries of one search: a journal in a folder, shared by any number of processes, of which any may be killed.

The allowance is exact. A process takes a try only while fewer are finished and at work than the allowance; a try
whose process has died is given up and put back with its values, so that it is made once, and counts once.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from softtargets.system.files import make_folder
from softtargets.system.locks import is_held, locked

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
PROCESS, AGAIN = "process", "again"
"""Notes on a try: the process that is at it, and the number of the try whose values it repeats."""
PAUSE = 1.0
"""Seconds between two looks for a try that another process has given up."""


class Tries:
    """The tries of one search, up to an allowance."""

    def __init__(self, folder: Path, allowance: int, first: list[dict[str, object]]):
        """Open or begin the journal in `folder`; `first` are the values of the first tries."""
        self.folder, self.allowance, self.first = folder, allowance, first
        self.process = uuid.uuid4().hex
        journal = str(folder / "tries.journal")
        make_folder(folder / "processes")
        with self._alone():
            _mend(journal)
            storage = JournalStorage(JournalFileBackend(journal))
            pruner = optuna.pruners.MedianPruner(n_startup_trials=5)
            self.study = optuna.create_study(
                storage=storage, study_name="search", pruner=pruner, load_if_exists=True
            )

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Show other processes, for as long as the context lasts, that this one is alive."""
        mark = self._mark(self.process)
        with locked(mark, busy=lambda: None):
            yield
        mark.unlink(missing_ok=True)

    def take(self, waiting: Callable[[], None]) -> optuna.Trial | None:
        """Return a try to make, or None once the allowance is finished.

        Calls `waiting` once if other processes are at all that is left, and waits for them: one may die.
        """
        while True:
            with self._alone():
                at_work = self._at_work()
                finished = len(self.finished())
                if finished >= self.allowance:
                    return None
                if finished + at_work < self.allowance:
                    self._put_first()
                    trial = self.study.ask()
                    trial.set_user_attr(PROCESS, self.process)
                    return trial
            waiting()
            waiting = _nothing
            time.sleep(PAUSE)

    def finished(self) -> list[FrozenTrial]:
        """Return the tries within the allowance in the order in which they ended."""
        ended = self.study.get_trials(deepcopy=False, states=FINISHED)
        return sorted(ended, key=lambda one: one.datetime_complete)[: self.allowance]

    def rank(self, number: int) -> int:
        """Count the tries before one, but those given up: the same whether or not a process was killed."""
        kept = (one for one in self.study.get_trials(deepcopy=False) if one.state != TrialState.FAIL)
        return sum(one.number < number for one in kept)

    def _at_work(self) -> int:
        """Count the tries at which processes are, after putting back those of dead ones."""
        count = 0
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            # a note is there from the moment at which others can see the try: a try without one has no process
            alive = PROCESS in trial.user_attrs and is_held(self._mark(trial.user_attrs[PROCESS]))
            count += bool(alive)
            if alive is False:
                self._put_back(trial)
        return count

    def _put_first(self) -> None:
        """Put in the next of the first tries, unless one that was put back waits: it comes before."""
        kept = [one.state for one in self.study.get_trials(deepcopy=False) if one.state != TrialState.FAIL]
        if len(kept) < len(self.first) and TrialState.WAITING not in kept:
            self.study.enqueue_trial(self.first[len(kept)])

    def _put_back(self, dead: FrozenTrial) -> None:
        # what was drawn, or what was put in before anything was drawn
        values = dead.params or dead.system_attrs.get("fixed_params", {})
        again = [one.user_attrs.get(AGAIN) for one in self.study.get_trials(deepcopy=False)]
        if values and dead.number not in again:  # else another process was killed between the two lines below
            self.study.enqueue_trial(values, user_attrs={AGAIN: dead.number})
        self.study.tell(dead.number, state=TrialState.FAIL)

    def _mark(self, process: str) -> Path:
        return self.folder / "processes" / process

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return locked(self.folder / "tries.lock", busy=_nothing)


def _nothing() -> None:
    pass


def _mend(journal: str) -> None:
    """Cut a last line that was not written to its end, as on a full disk: no line could follow it."""
    if not os.path.exists(journal):
        return
    lock = JournalFileSymlinkLock(journal)  # that of Optuna's own writers
    lock.acquire()
    try:
        with open(journal, "r+b") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()
