"""Whole files or none: what is written under its final name is complete."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

Place = Annotated[str, Field(min_length=1)]
"""A path, as a setting."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on leaving without an error it becomes `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically; NaN and infinities are refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def canonical(value: object) -> str:
    """Return the JSON of plain data in one spelling, fit for hashing: sorted keys, and 1.0 as 1."""
    return json.dumps(_spelt(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _spelt(value: object) -> object:
    if isinstance(value, dict):
        return {key: _spelt(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelt(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
