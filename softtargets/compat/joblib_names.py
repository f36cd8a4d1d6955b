"""What is used of joblib that is not its public interface, each with what goes wrong without it.

joblib is imported where it is needed: a run that is no sweep does without.
"""

import functools
from collections.abc import Callable


def start_workers_by(initializer: Callable[..., None], *arguments: object) -> None:
    """Have joblib call `initializer(*arguments)` first in every worker process.

    Hydra's launcher for joblib takes no such function. Without one, workers train on when the sweep was killed.
    """
    import joblib
    from joblib.parallel import LokyBackend

    backend = functools.partial(LokyBackend, initializer=initializer, initargs=arguments)
    joblib.register_parallel_backend("loky", backend)


def is_dead_worker(error: BaseException) -> bool:
    """Return whether a worker process was ended from outside, as for lack of memory.

    joblib exports no name for it. Without one the sweep cannot say which setting to lower.
    """
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    return isinstance(error, TerminatedWorkerError)
