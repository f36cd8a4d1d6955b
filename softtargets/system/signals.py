"""Stopping by a signal: one sentence, no half-written file, no process left over."""

import contextlib
import ctypes
import functools
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Iterator

from softtargets.compat import submitit_names, torch_import
from softtargets.errors import program

LIMIT = 10.0
"""Seconds after a signal at which the process ends in any case."""
code: int | None = None
"""The exit code, once a signal has been received."""
drawn = False
"""Whether a display is drawn again and again on the terminal, over whatever is written there meanwhile."""
SHOW_CURSOR = b"\x1b[?25h"


def heed() -> None:
    """Make SIGINT and SIGTERM stop this process cleanly from now on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def _end(number: int, frame: types.FrameType | None) -> None:
    """Print a sentence, unless a display waits to do so, and raise SystemExit: half-written files are removed.

    If a destructor swallows the exception, `_lost` raises it again. After `LIMIT` seconds the process ends without
    cleaning up. During the import of torch it ends at once: torch takes an exception there for a missing NumPy.
    """
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    global code
    code = 128 + number
    if not drawn:
        _say()
    if torch_import.is_under_way(frame):
        _leave()
    timer = threading.Timer(LIMIT, _leave)
    timer.daemon = True
    timer.start()
    sys.unraisablehook = functools.partial(_lost, number)
    raise SystemExit(code)


@contextlib.contextmanager
def drawing(on_terminal: bool) -> Iterator[None]:
    """Hold the sentence of a signal back while a display is drawn on a terminal, and print it at its end."""
    global drawn
    drawn = on_terminal and os.isatty(2)
    try:
        yield
    finally:
        if drawn and code is not None:
            _say()
        drawn = False


def _say(screen: int = 2) -> None:
    sentence = f"{program()}: stopped by {signal.Signals(code - 128).name}; run the same command again to resume\n"
    with contextlib.suppress(OSError):  # stderr may be closed
        os.write(screen, sentence.encode())


def _leave() -> None:
    """End the process at once; a display that is still drawn has said nothing, and has hidden the cursor."""
    if drawn:
        with contextlib.suppress(OSError):
            screen, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
            for output in (1, 2):  # a thread may draw until the process has ended
                os.dup2(nowhere, output)
            os.write(screen, b"\n" + SHOW_CURSOR)
            _say(screen)
    os._exit(code)


def _lost(number: int, unraisable) -> None:  # `unraisable` has no annotation: its type has a name only in stubs
    """Raise a swallowed SystemExit again a moment later; report every other exception as usual."""
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
    """Return whether an exception ends this process on purpose: after a signal, or for submitit's requeue."""
    by_us = code is not None or isinstance(error, Stopped)
    return isinstance(error, SystemExit) and (by_us or submitit_names.ends_job(error))


class Stopped(SystemExit):
    """The end of a thread that another one stops."""


def stop(thread: threading.Thread, seconds: float) -> None:
    """Raise Stopped in a thread, at its next line of Python; wait at most so many seconds for its end."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stopped))
    thread.join(seconds)


def end_with_parent(parent: int) -> None:
    """Make this process, a worker, end when its parent ends; Ctrl-C stops the parent alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
