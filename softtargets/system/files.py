"""Files that are complete or absent: each gets its final name at the end, and JSON holds a hash of its content."""

import argparse
import contextlib
import errno
import functools
import hashlib
import json
import os
import re
import socket
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from softtargets.errors import BadInput

ABANDONED = 3600.0
"""Age in seconds at which a half-written file is deleted: a process that still writes it would have changed it."""
SEAL = ',\n "sha256": "'
"""Text between the content of a JSON file and its hash."""


_reading: str | None = None
"""The setting for which this process only reads; None where it may write."""


@contextlib.contextmanager
def only_reading(setting: str) -> Iterator[None]:
    """Refuse within to make a folder, a file or a lock, and name this setting as the reason."""
    global _reading
    _reading, before = setting, _reading
    try:
        yield
    finally:
        _reading = before


def may_write() -> bool:
    """Return whether this process may write, which it may not within `only_reading`."""
    return _reading is None


def require_writing(folder: Path) -> None:
    """Raise BadInput within `only_reading`."""
    if _reading is not None:
        raise BadInput(
            f"{_reading}: writes nothing, and the images have to be prepared first, which writes to {folder}. "
            f"Type the same with stage=data in the place of {_reading}"
        )


def named_path(text: str) -> Path:
    """Return the path that an option names; raise ArgumentTypeError for an empty one, as of an unset variable."""
    if not text:
        raise argparse.ArgumentTypeError("empty; give a path")
    return Path(text)


class Damaged(ValueError):
    """A file whose content is not what was written, named in one sentence."""


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, each with the group rights of its own parent."""
    if not path.is_dir():
        require_writing(path)
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        share(path)


def share(path: Path) -> None:
    """Let the group write a file or folder of this user if it may write the folder above, whatever the umask.

    Colleagues who share a folder need that. The rights stay as they are if the group differs from the folder's,
    and for links and files with two names, which may be private. Some file systems have no rights to set.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            above, own = path.parent.stat(), os.fstat(descriptor)
            folder = stat.S_ISDIR(own.st_mode)
            mode = own.st_mode | stat.S_IRGRP | stat.S_IWGRP | (stat.S_IXGRP if folder else 0)
            shared = above.st_mode & stat.S_IWGRP and above.st_gid == own.st_gid
            if shared and own.st_uid == os.geteuid() and own.st_mode != mode and (folder or own.st_nlink == 1):
                os.fchmod(descriptor, stat.S_IMODE(mode))
        finally:
            os.close(descriptor)


def share_all(folder: Path) -> None:
    """Share a folder and everything in it, as `share` does."""
    share(folder)
    for above, folders, files in os.walk(folder):
        for name in (*folders, *files):
            share(Path(above, name))


def clock_of_files(folder: Path) -> float:
    """Return the time by the clock of a folder's file system, which may be that of another host."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` unless the block raises."""
    require_writing(path.parent)
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{_here()}{os.getpid():08x}{uuid.uuid4().hex[:16]}")
    try:
        with naming_file(path):
            yield temporary
            share(temporary)
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # an error here would hide the first one
            temporary.unlink(missing_ok=True)


@functools.cache
def _here() -> str:
    """Return 8 hex digits for this host and its process namespace, since each container has one."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # not on Linux
        space = 0
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


@contextlib.contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Add the file's name to an OSError that lacks one, as on a full disk."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def clear(folder: Path) -> None:
    """Delete the half-written files of killed processes in a folder; those of living ones stay."""
    for path in folder.iterdir():
        if match := re.fullmatch(r"\..+\.([0-9a-f]{8})([0-9a-f]{8})[0-9a-f]{16}", path.name):
            with contextlib.suppress(FileNotFoundError):  # renamed, or deleted by another process
                if _dead(*match.groups()) or clock_of_files(folder) - path.lstat().st_mtime > ABANDONED:
                    path.unlink()


def _dead(host: str, process: str) -> bool:
    """Return whether a process has certainly ended; for another host this is unknown, hence False."""
    if host != _here():
        return False
    try:
        os.kill(int(process, 16), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def write_json(path: Path, value: dict) -> None:
    """Write JSON atomically with a hash of its content; raise ValueError for NaN or infinity."""
    content = json.dumps(value, indent=1, allow_nan=False).removesuffix("\n}")
    write_text(path, f'{content}{SEAL}{_sha256(content)}"\n}}\n')


def read_json(path: Path) -> dict:
    """Return the content of a file that `write_json` wrote; raise Damaged for any other content."""
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path}: damaged, not JSON: {error}") from error
    content, _, end = text.rpartition(SEAL)
    if end != f'{_sha256(content)}"\n}}\n':
        raise Damaged(f"{path}: changed since it was written, because its sha256 is missing or differs")
    del value["sha256"]
    return value


def read_json_or_none(path: Path) -> dict | None:
    """Return the content of a file that `write_json` wrote; None if the file is missing, unreadable or damaged."""
    try:
        return read_json(path)
    except (OSError, Damaged):
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(value: object) -> str:
    """Return the JSON of plain data in one spelling, for hashes: sorted keys, and 1.0 as 1."""
    return json.dumps(_spelt(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _spelt(value: object) -> object:
    if isinstance(value, dict):
        return {key: _spelt(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelt(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


NAME, PATH = 255, 3600
"""Largest number of bytes of a name, and of the path of a folder, which leaves room for the files in it."""


def require_writable(setting: str, folder: Path) -> None:
    """Raise BadInput for a folder that cannot be made or written to; write nothing."""
    if len(os.fsencode(folder.absolute())) > PATH or any(len(os.fsencode(part)) > NAME for part in folder.parts):
        raise BadInput(f"{setting}={folder}: too long. A name has at most {NAME} bytes, a path {PATH:,}")
    lowest = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    if not lowest.is_dir() or not os.access(lowest, os.W_OK, effective_ids=True) or not _takes_files(lowest):
        raise BadInput(f"{setting}={folder}: cannot be written to. Give a folder of yours, or a new one")


def _takes_files(folder: Path) -> bool:
    """Return whether a file can be made there: root may write anywhere, but /proc takes no files. Leave none."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)  # a full disk is said where something is written
