"""The memory of this machine and of this process, and what the images of a run need of it."""

import contextlib
import functools
import math
import resource
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from softtargets.errors import program
from softtargets.system.words import counted

COPIES, BASE = 6, 10**9
"""A peak of a run's memory: COPIES times the bytes of its pixels, and BASE bytes for all else but networks."""
WORTH_A_LINE = 2 * 10**9
"""Bytes from which a run says how much it will need."""
GROUPS = Path("/sys/fs/cgroup")


_TAKEN: ContextVar[tuple[int | None, int]] = ContextVar("taken", default=(None, 0))


@contextlib.contextmanager
def training_on(train_size: int | None, spare: int) -> Iterator[None]:
    """Let `require_memory` count, within the block, so many training images for a run; None for all of them.

    Of those left over a run takes up to `spare` more, which no model is trained on.
    """
    token = _TAKEN.set((train_size, spare))
    try:
        yield
    finally:
        _TAKEN.reset(token)


def require_memory(train: int, test: int, shape: tuple[int, int, int], *, read: bool = False) -> None:
    """Say on stderr what a run on images of a shape (channels, height, width) needs in memory, if it is much.

    The networks and what they compute are not counted: they are unknown before the images are read.
    It reads `train` and `test` images, and takes all of these or as many as `training_on` says. `read` says that
    their pixels are in memory already, so that fewer can be taken but none made smaller. Raises ValueError if the
    rest is more than this process may take.
    """
    size, spare = _TAKEN.get()
    least = min(train, spare) + test
    taken = min(train, (size or train) + spare) + test
    need, free = _need(taken, train + test, shape), available()
    if need < WORTH_A_LINE:
        return
    channels, height, width = shape
    images = counted(taken, "image") if taken == train + test else f"{taken:,} of {counted(train + test, 'image')}"
    sentence = f"{images} of {width}x{height} pixels in {counted(channels, 'channel')}"
    sentence += f" need up to {need / 1e9:.1f} GB of memory beside the network"
    if free is not None and need - read * (train + test) * math.prod(shape) > free:
        settings = [] if _need(least, train + test, shape) > free and not read else ["dataset.train_size"]
        settings += [] if read else ["dataset.size"]
        raise ValueError(
            f"{sentence}, and {free / 1e9:.1f} GB are free. Set a smaller {' or '.join(settings)}, or free some"
        )
    _say(sentence)


def _need(taken: int, read: int, shape: tuple[int, int, int]) -> int:
    """Return the bytes that a run needs which reads some images, and takes some of these."""
    return (COPIES * taken + read - taken) * math.prod(shape) + BASE


@functools.lru_cache(maxsize=1)
def _say(sentence: str) -> None:
    """Print a sentence on stderr, unless it is the last one again: a folder's need is known before it is read."""
    print(f"{program()}: {sentence}", file=sys.stderr)


def available() -> int | None:
    """Return the bytes that this process may still take, or None where the system does not say."""
    return min([*_free(), *_left_in_groups()], default=None)


def peak_bytes() -> int:
    """Return the most memory that this process has held so far, its libraries included.

    Linux starts the `ru_maxrss` of a process at the peak of its parent, so it is read elsewhere there.
    """
    file = Path("/proc/self/status")
    for line in file.read_text().splitlines() if file.is_file() else []:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _free() -> Iterator[int]:
    """Yield the bytes that the machine can give without swapping."""
    file = Path("/proc/meminfo")
    for line in file.read_text().splitlines() if file.is_file() else []:
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _left_in_groups() -> Iterator[int]:
    """Yield what the limits of this process's control groups leave, as of a container or a job of SLURM."""
    file = Path("/proc/self/cgroup")
    own = [line[3:] for line in file.read_text().splitlines() if line.startswith("0::")] if file.is_file() else []
    for group in own:
        place = GROUPS / group.strip("/")
        for folder in (place, *place.parents):
            if folder.is_relative_to(GROUPS) and (limit := _number(folder / "memory.max")) is not None:
                yield max(limit - (_number(folder / "memory.current") or 0) + _cached(folder), 0)


def _number(file: Path) -> int | None:
    """Return the number in a file; None if there is no file, or it says `max`."""
    text = file.read_text().strip() if file.is_file() else ""
    return int(text) if text.isdecimal() else None


def _cached(folder: Path) -> int:
    """Return the bytes of files in memory that the system would give up first; they count as current."""
    file = folder / "memory.stat"
    lines = file.read_text().splitlines() if file.is_file() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
