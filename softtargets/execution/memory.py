"""Out of memory: which setting to lower."""

import errno
import re
import traceback

SAID = re.compile(r"(can.t|cannot) allocate memory|out of memory|bad_alloc|ALLOC_FAILED", re.IGNORECASE)
"""What PyTorch says, on a processor, on a GPU, and in C++."""
STAGES = {
    "_train": "training.batch_size",
    "unlearn": "unlearn.batch_size",
    "diagnose_targets": "unlearn.batch_size",
}
"""Functions of a run in which one setting decides what is held at a time."""
MACHINES = {
    "JoblibLauncher": "; or run fewer at a time: hydra.launcher.n_jobs",
    "SlurmLauncher": "; or ask for more: hydra.launcher.mem_gb",
}


def advice(error: BaseException, launcher: str) -> str | None:
    """Return in a sentence what to lower where `error` is a lack of memory, else None. `launcher`: its class."""
    if not _is_lack(error):
        return None
    functions = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    setting = next((STAGES[name] for name in reversed(functions) if name in STAGES), None)
    lower = f"{setting}, or dataset.train_size" if setting else "dataset.train_size"
    said = f" ({str(error).partition(chr(10))[0][:300]})" if str(error) else ""
    return f"out of memory; lower {lower}{MACHINES.get(launcher.rpartition('.')[2], '')}{said}"


def _is_lack(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(SAID.search(str(error))))
