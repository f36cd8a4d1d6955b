"""When the code of a result came to be, as the history of this checkout knows it."""

import datetime
import functools
import os
import re
import subprocess

from softtargets.execution.code_hash import PACKAGE
from softtargets.execution.provenance import code_of_commit


@functools.cache
def date_of(commit: str) -> datetime.datetime | None:
    """Return when a commit was made; None where this is no repository that has it."""
    if not re.fullmatch("[0-9a-f]{40}", commit):
        return None
    said = _git("show", "--no-patch", "--format=%cI", commit)
    return datetime.datetime.fromisoformat(said) if said else None


@functools.cache
def came_after(code: str, day: datetime.datetime) -> bool:
    """Return whether this checkout's commit has the code of this hash, and no commit up to that time had it.

    Without a repository, with a shallow one, and for any other code nothing is known: False.
    """
    if _git("rev-parse", "--is-shallow-repository") != "false":
        return False
    if code_of_commit(_git("rev-parse", "HEAD") or "") != code:
        return False
    earlier = _git("log", "--format=%H", f"--before={day.isoformat()}", "--", ".") or ""
    return code not in map(code_of_commit, earlier.split())


def _git(*arguments: str) -> str | None:
    """Return git's output for the folder of the package; None without git, a repository or an answer."""
    # as in provenance.py, which cannot change without another hash of the code
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    words = ["git", "-c", "core.fsmonitor=false", *arguments]
    try:
        ended = subprocess.run(
            words, capture_output=True, text=True, check=True, cwd=PACKAGE, env=environment, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout.strip()
