"""What a user can get wrong."""

import difflib
import sys
from collections.abc import Iterable
from pathlib import Path


class BadInput(ValueError):
    """One sentence for a user: the setting, its value and what is allowed. Ends a program with exit code 2."""


class Failed(Exception):
    """One sentence on a run that has ended without a result. Ends a program with exit code 1."""


def visible(text: object) -> str:
    """Return a text in one line with control characters as escapes: it may come from elsewhere, like a name."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))


MEANT = {
    "gpu": "cuda",
    "algo": "mu_algo",
    "algorithm": "mu_algo",
    "model": "architecture",
    "network": "architecture",
}
MEANT |= {"forget": "forget_set", "data": "dataset"}
"""What other programs call it."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return the end of a sentence that asks for what may have been meant, or nothing."""
    names = list(allowed)
    same = [name for name in names if name in (MEANT.get(word.lower()), word.lower())]
    found = same or difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def program() -> str:
    """Return the name under which this program was called, for the start of a sentence on stderr."""
    return "run.py" if Path(sys.argv[0]).name == "run.py" else "softtargets"
