"""`python -m softtargets.tracker upload DIR`: send offline sessions of runs below DIR to a ClearML server."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from softtargets.errors import to_type
from softtargets.system.files import named_path
from softtargets.system.terminal import steady, stream
from softtargets.tracker import PLAY, SESSION, TASK
from softtargets.tracker.clone import fetch
from softtargets.tracker.player import (
    NoServer,
    configured,
    create_sweep_task,
    login,
    note,
    play,
    require_configuration,
)

DAMAGES = (zipfile.BadZipFile, zlib.error, KeyError, json.JSONDecodeError)
"""What reading a damaged session raises."""


def main(words: list[str] | None = None) -> int:
    """Run a command; return the exit code: 1 if no server answers or a session cannot be sent, 2 for bad input."""
    parser = argparse.ArgumentParser(
        to_type("upload").removesuffix(" upload"), description="Send offline sessions of runs to a ClearML server."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    uploading = commands.add_parser("upload", help="send offline sessions to the server")
    uploading.add_argument("folder", type=named_path, metavar="DIR")
    playing = commands.add_parser("play", help=argparse.SUPPRESS)
    playing.add_argument("folder", type=Path)
    playing.add_argument("mode", choices=("online", "offline"))
    fetching = commands.add_parser("fetch", help=argparse.SUPPRESS)
    fetching.add_argument("task")
    fetching.add_argument("folder", type=Path)
    sweeping = commands.add_parser(
        "sweep", help="create the task of a finished sweep, the parent of its runs' tasks"
    )
    creating = commands.add_parser("create", help=argparse.SUPPRESS)
    for one in (sweeping, creating):
        one.add_argument("folder", type=named_path, metavar="DIR")
        one.add_argument("--project", default="SoftTargets")
        one.add_argument(
            "--script", type=named_path, default=Path("run.py"), help="what an agent runs for a clone"
        )
    given = parser.parse_args(words)
    try:
        if given.command == "play":
            with quiet() as say:
                play(given.folder, given.mode == "offline", say)
            return 0
        if given.command == "fetch":
            with quiet(), configured():
                login()
                fetch(given.task, given.folder)
            return 0
        if given.command == "create":
            return create_sweep(given.folder, given.project, given.script)
        return (
            upload(given.folder)
            if given.command == "upload"
            else send_sweep(given.folder, given.project, given.script)
        )
    except NoServer as error:
        print(f"no server: {error}", flush=True)
        return 1


@contextlib.contextmanager
def quiet() -> Iterator[Callable[[str], None]]:
    """Hide what the SDK prints; yield a function that prints a line nevertheless."""
    with (
        stream(os.dup(1), sys.stdout) as screen,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        yield lambda line: print(line, file=screen, flush=True)


def send_sweep(folder: Path, project: str, script: Path) -> int:
    """Create the task of a sweep in a process of its own, which prints the address; return its exit code."""
    words = ["create", str(folder), "--project", project, "--script", str(script)]
    return subprocess.run([sys.executable, "-c", PLAY, *words]).returncode


def create_sweep(folder: Path, project: str, script: Path) -> int:
    """Create the task of a sweep and print its address."""
    require_configuration()
    with quiet() as say, configured():
        login()
        say(create_sweep_task(folder, project, script))
    return 0


def upload(folder: Path) -> int:
    """Send every session below `folder` that has no task yet, and save the id of its task.

    One that cannot be sent is named, and the others are sent. Returns 1 if there is one, 2 without any session.
    """
    sessions = sorted(folder.rglob(SESSION)) if os.path.isdir(folder) else []
    waiting = [file for file in sessions if not file.with_name(TASK).exists()]
    if not waiting:
        print(f"{folder}: nothing to upload. Runs with tracker=clearml tracker.offline=true leave a {SESSION}")
        return 2
    require_configuration()
    with quiet() as say, configured():
        login()
        sent = [is_sent(file, say) for file in waiting]
    return 0 if all(sent) else 1


def is_sent(session: Path, say: Callable[[str], None]) -> bool:
    """Send a session, and print the address of its task, or why it cannot be sent; return whether it was sent."""
    from clearml import Task

    try:
        failure = failed(session)  # first: a damaged file makes no task
        task = Task.get_task(task_id=Task.import_offline_session(str(session)))
        if failure:
            task.mark_failed(force=True, status_message=failure)
        say(f"{session.parent}: {note(task, session.parent)}")
    except Exception as error:  # the SDK raises many types
        reason = str(error).partition("\n")[0]
        # a server's answer that is no JSON raises an OSError that is a JSONDecodeError, too
        in_file = isinstance(error, DAMAGES) and not isinstance(error, OSError)
        advice = "If it is damaged, delete it" if in_file else "To send it, run the same command again"
        say(f"{session}: cannot be sent ({type(error).__name__}: {reason}). {advice}")
        return False
    return True


def failed(session: Path) -> str | None:
    """Return why the run of a session failed, from a property: offline, the SDK does not keep a status."""
    with zipfile.ZipFile(session) as files:
        task = json.loads(files.read("task.json"))
    return task["hyperparams"].get("properties", {}).get("failure", {}).get("value")


if __name__ == "__main__":
    steady()
    sys.exit(main())
