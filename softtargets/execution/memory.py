"""Out of memory: the setting to lower."""

import contextlib
import errno
import re
from collections.abc import Iterator

MESSAGE = re.compile(r"(can.t|cannot) allocate memory|out of memory|bad_alloc|ALLOC_FAILED", re.IGNORECASE)
"""PyTorch's messages, on a processor, on a GPU, and in C++."""
MACHINES = {
    "JoblibLauncher": ", or run fewer at a time (hydra.launcher.n_jobs)",
    "SlurmLauncher": ", or request more (hydra.launcher.mem_gb)",
}


@contextlib.contextmanager
def decided_by(setting: str) -> Iterator[None]:
    """Mark what is raised within, or in a function decorated by this: `setting` decides what is held at a time."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, "decided_by"):  # the innermost knows best
            error.decided_by = setting
        raise


def advice(error: BaseException, launcher: str) -> str | None:
    """Return a sentence with the setting to lower if memory ran out, else None. `launcher`: its class."""
    if not _is_lack(error):
        return None
    setting = getattr(error, "decided_by", None)
    lower = f"{setting}, or dataset.train_size" if setting else "dataset.train_size"
    message = f" ({str(error).partition(chr(10))[0][:300]})" if str(error) else ""
    return f"out of memory; lower {lower}{MACHINES.get(launcher.rpartition('.')[2], '')}{message}"


def _is_lack(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(MESSAGE.search(str(error))))
