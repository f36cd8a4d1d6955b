"""Locks between processes. They save work; results are correct without them too.

Files under a lock are written atomically, and of two equal ones the first wins. So a lock must never cause an
error or an endless wait: if a file system refuses it, or its holder gives no sign of life, work goes on.
"""

import contextlib
import errno
import itertools
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from softtargets.system.files import require_writing, share

LONGEST = 1.0
"""Longest time between two attempts to get a lock, in seconds; the first ones follow faster."""
ANSWER = 20.0
"""Seconds to wait for a file system's answer to an attempt."""
BEAT = 15.0
"""Seconds between two signs of life of a holder, which touches the lock's file."""
SILENCE = 180.0
"""Seconds to wait without a sign of life; NFS shows those of other hosts up to a minute late."""
IN_THE_WAY = {errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES}
"""Error numbers if a link, a folder, a socket or another user's file lies at the lock's path."""
_refusing: set[int] = set()
"""Devices of file systems that refused a lock; no lock is tried there again."""


class Busy(Exception):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of the file `path`, whose folder exists.

    If another process holds it, call `busy()` once and wait; an exception of `busy` ends the wait. The operating
    system frees the lock of a dead process. Raises OSError if the folder accepts no new file.
    """
    require_writing(path.parent)
    descriptor, ended = _acquire(path, busy), threading.Event()
    if descriptor is not None:
        threading.Thread(target=_beat, args=(path, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        if descriptor is not None:
            os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Return whether a process holds the lock of a file; None where the file system does not say."""
    if not path.exists():
        return False
    try:
        descriptor = _attempt(path)
        if descriptor is None:
            _require_locks(path.parent)
    except OSError:
        return None
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):  # the file may be gone, or another user's
            os.utime(path, follow_symlinks=False)


def _acquire(path: Path, busy: Callable[[], None]) -> int | None:
    """Return the descriptor that holds the lock, or None if work must go on without it.

    Silence is the sum of the waits, not a difference of clock times: the clocks of hosts differ, and the waiting
    process may have been suspended.
    """
    sign, silent, delay = None, 0.0, 0.05
    for attempt in itertools.count():
        try:
            if path.parent.stat().st_dev in _refusing:
                raise OSError(errno.ENOLCK, "as before")
            if (descriptor := _attempt(path)) is not None:
                return descriptor
            if attempt == 0:
                _require_locks(path.parent)
        except OSError as error:
            _go_without(path, error)
            return None
        if attempt == 0:
            busy()
        latest = _sign_of_life(path)
        sign, silent = latest, silent + delay if latest == sign else 0.0
        if silent > SILENCE:
            reason = f"its holder has given no sign of life for {SILENCE:.0f} s"
            warnings.warn(f"{path}: {reason}; not waiting any longer", stacklevel=2)
            return None
        time.sleep(delay)
        delay = min(2 * delay, LONGEST)
    return None


def _sign_of_life(path: Path) -> int | None:
    try:
        return path.lstat().st_mtime_ns
    except FileNotFoundError:
        return None


def _attempt(path: Path) -> int | None:
    """Return the descriptor of the lock, or None if another process holds it; raise OSError if it is refused."""
    descriptor = _opened(path)
    try:
        if _granted(descriptor) and _lies_at(path, descriptor):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _opened(path: Path) -> int:
    """Open or make the lock's file; do not follow a link, nor wait for a pipe."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError as error:
        try:
            return os.open(path, os.O_RDONLY | flags)  # another user's file; on a local disk that is enough
        except OSError:
            raise error from None
    share(path)
    return descriptor


def _granted(descriptor: int) -> bool:
    """Return whether the lock is granted; ask in a separate thread, since a file system may never answer."""
    answers: list[bool | OSError] = []

    def ask() -> None:
        try:
            answers.append(filelock.lock_descriptor(descriptor, blocking=False))
        except OSError as error:
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER)
    answer = answers[0] if answers else OSError(errno.ETIMEDOUT, f"no answer in {ANSWER:.0f} s")
    if isinstance(answer, OSError):
        raise answer
    return answer


def _lies_at(path: Path, descriptor: int) -> bool:
    """Return whether the file is still at its path: its holder may have removed it, and then a new one counts."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _require_locks(folder: Path) -> None:
    """Raise OSError if every lock is refused here: some file systems answer as if another process held it."""
    with tempfile.TemporaryFile(dir=folder) as nobodys:
        if not _granted(nobodys.fileno()):
            raise OSError(errno.ENOLCK, "every lock is refused")


def _go_without(path: Path, error: OSError) -> None:
    """Warn once for each file system; raise OSError if the folder accepts no new file at all."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            device = path.parent.stat().st_dev
    except OSError as refused:
        raise OSError(refused.errno, refused.strerror, str(path)) from None
    if device in _refusing:
        return
    if error.errno not in IN_THE_WAY:
        _refusing.add(device)
    warnings.warn(
        f"{path}: cannot be locked ({error.strerror}). Work continues without the lock: two processes may do the "
        "same work, and the first result is kept",
        stacklevel=2,
    )
