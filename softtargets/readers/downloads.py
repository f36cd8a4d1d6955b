"""Whether a dataset's missing files may be downloaded: a report reads what is there, and no more."""

import contextlib
import contextvars
from collections.abc import Iterator

_allowed = contextvars.ContextVar("downloads are allowed", default=True)


def are_allowed() -> bool:
    """Return whether missing files may be prepared and downloaded."""
    return _allowed.get()


@contextlib.contextmanager
def switched_off() -> Iterator[None]:
    """Let readers raise DataUnavailable for an incomplete local copy, instead of completing it."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)
