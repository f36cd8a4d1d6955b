"""The side of a run: it writes down what is to be tracked, and has a process beside it tell that."""

import contextlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from softtargets.config.settings import TrackerSettings
from softtargets.console import Console
from softtargets.system.files import make_folder, share
from softtargets.tracker import EVENTS

IMPORT, PATIENCE = 120.0, 30.0
"""Seconds that a run, at its end, waits for a player to start, and then for any sign of life of it."""
PLAY = "import sys; from softtargets.tracker.__main__ import main; sys.exit(main(['play', *sys.argv[1:]]))"
"""Not as a module, which ClearML would note as what an agent has to run, instead of the run's own script."""
POINTS = 200
"""Most scalars of one stage."""


class Untracked:
    """The tracker of a run that is not tracked."""

    def progress(self, stage: str, step: int, steps: int, loss: float) -> None:
        """Take note of a step."""

    def result(self, content: dict) -> None:
        """Take note of the result; its file is in the run's folder."""

    def end(self, failure: str | None = None) -> None:
        """Finish, as completed or as failed."""


class Tracked(Untracked):
    """The tracker of a run that a process beside it tells to ClearML."""

    def __init__(
        self, settings: TrackerSettings, config: dict, epochs: dict[str, int], folder: Path, console: Console
    ):
        self.settings, self.epochs, self.folder, self.console = settings, epochs, folder, console
        self.losses: list[float] = []
        make_folder(folder)
        self.file = (folder / EVENTS).open("w", encoding="utf-8", buffering=1)
        share(folder / EVENTS)
        script = os.path.abspath(sys.argv[0])  # where an agent finds what to run
        self.tell("start", config=config, project=settings.project, script=script)
        self.player = self.play(settings.offline)

    def tell(self, kind: str, **event) -> None:
        """Write down an event."""
        self.file.write(json.dumps({"kind": kind, **event}) + "\n")

    def play(self, offline: bool) -> subprocess.Popen:
        """Start the process that plays the events."""
        mode = "offline" if offline else "online"
        # a session of its own, not of the task that an agent may have asked for
        dropped = {"CLEARML_TASK_ID"} if offline else {}
        environment = {name: value for name, value in os.environ.items() if name not in dropped}
        command = [sys.executable, "-c", PLAY, str(self.folder), mode]
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115, closed with the player
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": self.errors}
        player = subprocess.Popen(command, text=True, env=environment, start_new_session=True, **pipes)
        self.given_up = time.monotonic() + IMPORT
        self.listener = threading.Thread(target=self.listen, args=(player,), daemon=True)
        self.listener.start()
        return player

    def listen(self, player: subprocess.Popen) -> None:
        """Say on screen where the task is, or why there is none. An empty line is a sign of life."""
        for line in player.stdout:
            self.given_up = time.monotonic() + PATIENCE
            if line.strip():
                self.console.say(f"tracking: {line.strip()}")

    def progress(self, stage: str, step: int, steps: int, loss: float) -> None:
        """Write down a loss, at most `POINTS` times in a stage, and its mean over each epoch."""
        every = max(1, steps // POINTS)
        if step % every == 0 or step == steps:
            self.tell("scalar", title="loss", series=stage, value=loss, step=step)
        if step == 1:
            self.losses.clear()
        self.losses.append(loss)
        if len(self.losses) == self.epochs.get(stage):
            epoch, mean = step // len(self.losses), statistics.fmean(self.losses)
            self.tell("scalar", title="loss of an epoch", series=stage, value=mean, step=epoch)
            self.losses.clear()

    def result(self, content: dict) -> None:
        """Write down that the result is there, and the scalars of its trajectory."""
        way = content["trajectory"]
        for name, column in way.items():
            for step, value in zip(way["step"], column, strict=True):
                if name != "step" and value is not None:
                    self.tell("scalar", title=name, series="unlearn", value=value, step=step)
        self.tell("result")

    def end(self, failure: str | None = None) -> None:
        """Finish; where the server could not be told, keep or drop what there was, as the settings ask."""
        self.tell("end", failure=failure)
        self.file.close()
        if self.told(self.player):
            (self.folder / EVENTS).unlink()
        elif self.settings.fallback == "none":
            self.console.say("tracking: given up; the run continues without it")
            (self.folder / EVENTS).unlink()
        elif self.told(self.play(offline=True)):
            (self.folder / EVENTS).unlink()
            place = shlex.quote(str(self.folder))
            self.console.say(f"tracking: session kept; to upload it: python -m softtargets.tracker upload {place}")
        else:
            self.console.say(f"tracking: no session ({self.why})")
            self.console.say(f"tracking: unsent events are kept in {self.folder / EVENTS}")

    def told(self, player: subprocess.Popen) -> bool:
        """Wait for a player as long as it shows signs of life; tell whether it told everything."""
        self.given_up = max(self.given_up, time.monotonic() + PATIENCE)
        while player.poll() is None and time.monotonic() < self.given_up:
            time.sleep(0.02)
        player.kill()
        player.wait()
        self.listener.join(1)
        player.stdout.close()
        self.why = self.reason(player.returncode)
        self.errors.close()
        return player.returncode == 0

    def reason(self, code: int) -> str:
        """Say why a player that has ended with `code` told nothing."""
        if code < 0:
            return f"no answer for {PATIENCE:g} s"
        self.errors.seek(0)
        return (self.errors.read().strip().splitlines() or [f"exit code {code}"])[-1]


@contextlib.contextmanager
def tracking(
    settings: TrackerSettings, config: dict, epochs: dict[str, int], folder: Path, console: Console
) -> Iterator[Untracked]:
    """Track a run in `folder`: its losses, its result, how it ended. `epochs`: steps of one, by stage."""
    clearml = settings.kind == "clearml"
    tracker = Tracked(settings, config, epochs, folder, console) if clearml else Untracked()
    console.watchers.append(tracker.progress)
    try:
        yield tracker
    except BaseException as error:
        tracker.end(f"{type(error).__name__}: {error}")
        raise
    else:
        tracker.end()
    finally:
        console.watchers.remove(tracker.progress)


def track_sweep(folder: Path, settings: TrackerSettings) -> None:
    """Make the task of a finished sweep, in a process of its own and not for long."""
    command = [sys.executable, "-m", "softtargets.tracker", "sweep", str(folder), "--project", settings.project]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE)
        print(f"tracking: {done.stdout.strip() or 'the server has no task of this sweep'}")
    except subprocess.TimeoutExpired:
        print(f"tracking: the server was too slow; to try again: {shlex.join(command)}")
