"""Whole files or none: what is written under its final name is complete, and JSON tells if it was altered."""

import contextlib
import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

Place = Annotated[str, Field(min_length=1)]
"""A path, as a setting."""

SEAL = ',\n "sha256": "'
"""Between a JSON file's content and the hash of that."""


class Damaged(ValueError):
    """A sentence that names a file which is not as it was written."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on leaving without an error it becomes `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with naming(path):
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have a failure to write name the file, which a full disk does not."""
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
    """Remove what writers that were killed left half-written in a folder that nobody else writes to."""
    for path in folder.iterdir():
        if re.fullmatch(r"\..+\.[0-9a-f]{32}", path.name):
            path.unlink()


def write_json(path: Path, value: dict) -> None:
    """Write JSON atomically, sealed by `sha256`; NaN and infinities are refused, since JSON has none."""
    content = json.dumps(value, indent=1, allow_nan=False).removesuffix("\n}")
    write_text(path, f'{content}{SEAL}{_sha256(content)}"\n}}\n')


def read_json(path: Path) -> dict:
    """Return what `write_json` wrote; raises Damaged for anything else."""
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path}: damaged, it is not JSON: {error}") from error
    content, _, end = text.rpartition(SEAL)
    if end != f'{_sha256(content)}"\n}}\n':
        raise Damaged(f"{path}: altered since it was written, its sha256 is missing or another")
    del value["sha256"]
    return value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(value: object) -> str:
    """Return the JSON of plain data in one spelling, fit for hashing: sorted keys, and 1.0 as 1."""
    return json.dumps(_spelt(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _spelt(value: object) -> object:
    if isinstance(value, dict):
        return {key: _spelt(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelt(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
