"""Errors that end a program with one sentence."""

import difflib
import re
import sys
from collections.abc import Iterable
from pathlib import Path


class BadInput(ValueError):
    """Bad input, in one sentence: the setting, its value and what to type. Ends a program with exit code 2."""


class NoStep(BadInput):
    """A budget that pays for less than one step of each turn."""


class Failed(Exception):
    """A run that ended without a result, in one sentence. Ends a program with exit code 1."""


def visible(text: object) -> str:
    """Return a text in one line, with control characters as escapes: a name may hold any."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))


def reason(error: BaseException) -> str:
    """Return what an error says in one line, or its type; without addresses in memory, which help nobody.

    >>> reason(ValueError("no image in <_io.BytesIO object at 0x7f60a4c3b2e0>")), reason(KeyError())
    ('no image in <_io.BytesIO object>', 'KeyError')
    """
    return re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(str(error).split())) or type(error).__name__


MEANT = {
    "gpu": "cuda",
    "algo": "mu_algo",
    "algorithm": "mu_algo",
    "model": "architecture",
    "network": "architecture",
}
MEANT |= {"forget": "forget_set", "data": "dataset"}
"""Names in other programs, with ours."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return "; did you mean NAME?" with the name nearest to a word, or an empty text."""
    names = list(allowed)
    same = [name for name in names if name in (MEANT.get(word.lower()), word.lower())]
    matches = same or difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {matches[0]}?" if matches else ""


def program() -> str:
    """Return the name under which this program was called, for the start of a sentence on stderr."""
    return "run.py" if Path(sys.argv[0]).name == "run.py" else "softtargets"


MODULES = {"report": "report", "store": "store", "table": "table", "upload": "tracker upload"}
"""Where the other commands of `softtargets` are, without an installation."""


def to_type(name: str) -> str:
    """Return what to type for `run` or one of `MODULES`, in the way in which this program was called."""
    if Path(sys.argv[0]).stem == "softtargets":
        return f"softtargets {name}"
    if name == "run":
        return "python run.py" if program() == "run.py" else "python -m softtargets run"
    return f"python -m softtargets.{MODULES[name]}"
