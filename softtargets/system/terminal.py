"""The screen may be closed, full, gone, or of any encoding: none of that ends a run."""

import contextlib
import errno
import io
import os
import select
import sys
from typing import TextIO


def steady() -> None:
    """From now on stdout and stderr of this process, the program, take everything and raise nothing."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file to be opened would get the number, and what is said go into it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stderr = stream(2, sys.stderr)
    sys.stdout = stream(1, sys.stdout)


def stream(number: int, like: TextIO | None) -> TextIO:
    """Return a text stream to a file descriptor, with the encoding of another, that drops what it cannot write.

    A character that the encoding lacks is written as its escape.
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
    """A file descriptor that drops what it cannot write, and says so once, unless its reader has left."""

    said = False

    def write(self, data) -> int:
        """Write what can be written; returns the length of `data` where nothing can be."""
        try:
            while (written := super().write(data)) is None:  # it does not block, and is full
                select.select([], [self], [])
        except OSError as error:
            if error.errno != errno.EPIPE and not self.said and self.fileno() != 2:
                self.said = True
                print(f"stdout: {error.strerror}; the run continues without this output", file=sys.stderr)
            return memoryview(data).nbytes
        return written

    def close(self) -> None:
        """Close, whatever the file system says to it."""
        with contextlib.suppress(OSError):
            super().close()
