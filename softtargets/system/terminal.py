"""stdout and stderr that never end a run: they may be closed, on a full disk, or of any encoding."""

import contextlib
import errno
import io
import os
import select
import sys
from typing import TextIO


def steady() -> None:
    """Make stdout and stderr of this process accept everything and raise nothing from now on."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: the next open file would get this number, and the output
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stderr = stream(2, sys.stderr)
    sys.stdout = stream(1, sys.stdout)


def stream(number: int, like: TextIO | None) -> TextIO:
    """Return a text stream to a file descriptor that drops what it cannot write, with the encoding of `like`.

    Characters that the encoding lacks are written as escapes.
    """
    at_once = like is None or like.line_buffering or like.write_through  # as on a terminal, or for `python -u`
    screen = io.TextIOWrapper(
        io.BufferedWriter(Patient(number, "w", closefd=number > 2)),
        encoding=like.encoding if like else "utf-8",
        errors="backslashreplace",
        line_buffering=at_once,
    )
    screen.mode = "w"  # as `open` sets it
    return screen


class Patient(io.FileIO):
    """A file descriptor that drops what it cannot write, with one message, unless its reader is gone."""

    warned = False

    def write(self, data) -> int:
        """Write as much as possible; return the bytes written, or the length of `data` after an error."""
        try:
            while (written := super().write(data)) is None:  # a non-blocking descriptor that is full
                select.select([], [self], [])
        except OSError as error:
            if error.errno != errno.EPIPE and not self.warned and self.fileno() != 2:
                self.warned = True
                print(f"stdout: {error.strerror}; the run continues without this output", file=sys.stderr)
            return memoryview(data).nbytes
        return written

    def close(self) -> None:
        """Close and ignore an error of the file system."""
        with contextlib.suppress(OSError):
            super().close()
