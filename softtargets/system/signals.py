"""An end by signal: one sentence, nothing half-written, no process left behind."""

import contextlib
import ctypes
import functools
import os
import signal
import sys
import threading
import time
import types

from softtargets.compat import submitit_names, torch_import
from softtargets.errors import program

LIMIT = 10.0
"""Seconds from the signal to the end, come what may."""
code: int | None = None
"""The exit code of the end that has begun."""


def heed() -> None:
    """From now on SIGINT and SIGTERM end this process, the program, in good order."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def _end(number: int, frame: types.FrameType | None) -> None:
    """Say so and unwind, so that what is half-written goes.

    The exception is lost where a destructor was running, and raised again. Where nothing helps, the process ends
    without unwinding; and while torch is imported, before anything is written: it takes what is raised there for a
    lack of NumPy, and goes on.
    """
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    global code
    name, code = signal.Signals(number).name, 128 + number
    sentence = f"{program()}: stopped by {name}; run the same command again to resume\n"
    with contextlib.suppress(OSError):  # nobody may be there to read it
        os.write(2, sentence.encode())
    if torch_import.is_under_way(frame):
        os._exit(code)
    timer = threading.Timer(LIMIT, os._exit, (code,))
    timer.daemon = True
    timer.start()
    sys.unraisablehook = functools.partial(_lost, number)
    raise SystemExit(code)


def _lost(
    number: int, unraisable
) -> None:  # as `sys.unraisablehook` gets it, whose type has a name in stubs alone
    """Raise the end again a moment after it was lost; report every other exception as usual."""
    if unraisable.exc_type is not SystemExit or threading.current_thread() is not threading.main_thread():
        sys.__unraisablehook__(unraisable)
        return
    signal.signal(number, _unwind)
    timer = threading.Timer(0.01, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def _unwind(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def is_end(error: BaseException) -> bool:
    """Return whether it ends this process on purpose: by a signal, or as submitit ends a job that is requeued."""
    return isinstance(error, SystemExit) and (code is not None or submitit_names.ends_job(error))


def stop(thread: threading.Thread, seconds: float) -> None:
    """Have a thread unwind too, at the next line of Python that it comes to; wait so long for its end."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    thread.join(seconds)


def end_with_parent(parent: int) -> None:
    """End this process, a worker, when its parent has ended; Ctrl-C in the terminal is the parent's to heed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
