"""The hash of the code that decides numbers: two results with one hash were computed by the same code."""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
NO_INFLUENCE = frozenset(
    {
        *("__main__.py", "cli", "config", "console.py", "errors.py", "layout.py", "colours.py", "class_names.py"),
        *("report", "resumable", "run_summary.py", "study", "store", "system", "table", "tracker", "tuning"),
    }
)
"""Parts of the package that change no number of a run whose config is known."""


@functools.cache
def code_hash() -> str:
    """Return the hash of this code, see `hash_of`."""
    files = (file for file in PACKAGE.rglob("*.py"))
    return hash_of({file.relative_to(PACKAGE).as_posix(): blob(file.read_bytes()) for file in files})


def blob(content: bytes) -> str:
    """Return the name that git gives a file of this content: git then knows the hash of every commit's code."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def hash_of(blobs: Mapping[str, str]) -> str:
    """Return the SHA-256 of the modules that decide numbers; `blobs` has git's name of each, by its path.

    Paths are those below the package. A comment counts as any other change: equal hashes promise equal code, other
    hashes do not promise other numbers.
    """
    lines = (f"{path} {name}\n" for path, name in sorted(blobs.items()) if _decides(path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _decides(path: str) -> bool:
    return path.endswith(".py") and path.partition("/")[0] not in NO_INFLUENCE
