"""Tracking as the run sees it: events go to a file, and a separate process sends them."""

import contextlib
import functools
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from softtargets.config.settings import TrackerSettings
from softtargets.console import Console
from softtargets.errors import to_type
from softtargets.system.files import make_folder, share
from softtargets.tracker import EVENTS, PLAY, SESSION, TASK
from softtargets.tracker.clone import SWEEP_TASK
from softtargets.tracker.player import in_words

IMPORT, PATIENCE = 120.0, 30.0
"""Seconds that a run waits, at its end, for the player to start, and for each further sign of life."""
NO_TRACKING = (OSError, RuntimeError)
"""What a full disk raises, or a limit on processes and threads; a run goes on without tracking then."""
POINTS = 200
"""Largest number of loss values sent for one stage."""


class Untracked:
    """The tracker of a run that is not tracked."""

    def progress(self, stage: str, step: int, steps: int, loss: float) -> None:
        """Ignore a step."""

    def result(self, content: dict) -> None:
        """Ignore the result."""

    def end(self, failure: str | None = None) -> None:
        """Ignore the end of the run."""

    def kept(self) -> str:
        """Return an empty text: there are no unsent events."""
        return ""

    def drop(self) -> None:
        """Ignore that the tracking failed."""


class Tracked(Untracked):
    """The tracker of a run that ClearML tracks."""

    def __init__(
        self, settings: TrackerSettings, config: dict, epochs: dict[str, int], folder: Path, console: Console
    ):
        self.settings, self.epochs, self.folder, self.console = settings, epochs, folder, console
        self.losses: list[float] = []
        self.needed = True
        """Whether the file of events has any that are not sent."""
        self.open = contextlib.ExitStack()
        try:
            self.begin(config)
        except NO_TRACKING:
            self.drop()
            raise

    def begin(self, config: dict) -> None:
        """Write the first event, and start the player."""
        make_folder(self.folder)
        for name in (SESSION, TASK):  # of an earlier attempt: an upload would take this one for sent
            (self.folder / name).unlink(missing_ok=True)
        file = (self.folder / EVENTS).open("w", encoding="utf-8", buffering=1)
        self.file = self.open.enter_context(file)
        share(self.folder / EVENTS)
        script = os.path.abspath(sys.argv[0])  # where an agent finds what to run
        self.write("start", config=config, project=self.settings.project, script=script)
        self.player = self.play(self.settings.offline)

    def drop(self) -> None:
        """End the player, and close what is open."""
        with contextlib.suppress(OSError):
            self.open.close()

    def write(self, kind: str, **event) -> None:
        """Append an event to the file."""
        self.file.write(json.dumps({"kind": kind, **event}) + "\n")

    def play(self, offline: bool) -> subprocess.Popen:
        """Start the process that sends the events."""
        mode = "offline" if offline else "online"
        # offline, a new session and not the task that an agent may have set
        dropped = {"CLEARML_TASK_ID"} if offline else {}
        environment = {name: value for name, value in os.environ.items() if name not in dropped}
        command = [sys.executable, "-c", PLAY, "play", str(self.folder), mode]
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115, closed by `drop`
        self.open.callback(self.errors.close)
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": self.errors}
        player = subprocess.Popen(command, text=True, env=environment, start_new_session=True, **pipes)
        self.given_up = time.monotonic() + IMPORT
        listener = threading.Thread(target=self.listen, args=(player,), daemon=True)
        self.open.callback(stop, player, listener)  # before the start, which fails at a limit on threads
        listener.start()
        return player

    def listen(self, player: subprocess.Popen) -> None:
        """Print the player's lines: the task's address, or why there is none. An empty line is a sign of life."""
        for line in player.stdout:
            self.given_up = time.monotonic() + PATIENCE
            if line.strip():
                self.console.say(f"tracking: {line.strip()}")

    def progress(self, stage: str, step: int, steps: int, loss: float) -> None:
        """Write the loss, about `POINTS` times in a stage, and its mean over each epoch."""
        every = max(1, steps // POINTS)
        if step % every == 0 or step == steps:
            self.write("scalar", title="loss", series=stage, value=loss, step=step)
        if step == 1:
            self.losses.clear()
        self.losses.append(loss)
        if len(self.losses) == self.epochs.get(stage):
            epoch, mean = step // len(self.losses), statistics.fmean(self.losses)
            self.write("scalar", title="loss of an epoch", series=stage, value=mean, step=epoch)
            self.losses.clear()

    def result(self, content: dict) -> None:
        """Write the trajectory of a result, and that its file is complete."""
        trajectory = content["trajectory"]
        for name, column in trajectory.items():
            for step, value in zip(trajectory["step"], column, strict=True):
                if name != "step" and value is not None:
                    self.write("scalar", title=in_words(name), series="unlearn", value=value, step=step)
        self.write("result")

    def end(self, failure: str | None = None) -> None:
        """Write the end and wait for the player; if it fails, keep or drop the events as `fallback` says."""
        self.write("end", failure=failure)
        self.file.close()
        if self.is_sent(self.player):
            self.delete_events()
        elif self.settings.fallback == "none":
            self.console.say(f"tracking: stopped ({self.why}); tracker.fallback=none keeps no events")
            self.delete_events()
        elif self.is_sent(self.play(offline=True)):
            place = shlex.quote(str(self.folder))
            self.console.say(f"tracking: offline session saved; to upload it: {to_type('upload')} {place}")
            self.delete_events()
        else:
            self.console.say(f"tracking: no session saved ({self.why}){self.kept()}")

    def delete_events(self) -> None:
        """Delete the file of events."""
        self.needed = False
        (self.folder / EVENTS).unlink()

    def kept(self) -> str:
        """Return, as the end of a sentence, where the unsent events are; an empty text if there are none."""
        file = self.folder / EVENTS
        return f"; unsent events are kept in {file}" if self.needed and os.path.isfile(file) else ""

    def is_sent(self, player: subprocess.Popen) -> bool:
        """Wait for a player while it shows signs of life; return whether it sent everything."""
        self.given_up = max(self.given_up, time.monotonic() + PATIENCE)
        while player.poll() is None and time.monotonic() < self.given_up:
            time.sleep(0.02)
        player.kill()
        player.wait()
        self.why = self.reason(player.returncode)
        self.open.close()
        return player.returncode == 0

    def reason(self, code: int) -> str:
        """Return why a player failed that ended with exit code `code`."""
        if code < 0:
            return f"no answer for {PATIENCE:g} s"
        self.errors.seek(0)
        return (self.errors.read().strip().splitlines() or [f"exit code {code}"])[-1]


def stop(player: subprocess.Popen, listener: threading.Thread) -> None:
    """Kill a player, and wait a second for the thread that prints its last lines, if that was started."""
    player.kill()
    player.wait()
    if listener.is_alive():
        listener.join(1)
    player.stdout.close()


class Dispensable(Untracked):
    """A tracker without which the run goes on where the disk is full, or no process or thread can be started."""

    def __init__(self, make: Callable[[], Tracked], console: Console):
        self.console = console
        self.tracker: Untracked = Untracked()
        with self.going_on():
            self.tracker = make()

    @contextlib.contextmanager
    def going_on(self, over: bool = False) -> Iterator[None]:
        """Track no more after an error, and print it with what follows; the run may be `over`."""
        try:
            yield
        except NO_TRACKING as error:
            then = self.tracker.kept() if over else "; the run continues without it"
            self.tracker.drop()
            self.tracker = Untracked()
            self.console.say(f"tracking: stopped ({error}){then}")

    def progress(self, stage: str, step: int, steps: int, loss: float) -> None:
        """Pass a step on."""
        with self.going_on():
            self.tracker.progress(stage, step, steps, loss)

    def result(self, content: dict) -> None:
        """Pass the result on."""
        with self.going_on():
            self.tracker.result(content)

    def end(self, failure: str | None = None) -> None:
        """Pass the end of the run on."""
        with self.going_on(over=True):
            self.tracker.end(failure)


@contextlib.contextmanager
def tracking(
    settings: TrackerSettings, config: dict, epochs: dict[str, int], folder: Path, console: Console
) -> Iterator[Untracked]:
    """Track a run in `folder`: losses, result and end. `epochs` has the steps of an epoch, by stage."""
    tracker = Untracked()
    if settings.kind == "clearml":
        make = functools.partial(Tracked, settings, config, epochs, folder, console)
        tracker = Dispensable(make, console)
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
    """Create the task of a finished sweep in a separate process, with a time limit."""
    words = ["sweep", str(folder), "--project", settings.project, "--script", os.path.abspath(sys.argv[0])]
    command = [sys.executable, "-m", "softtargets.tracker", *words]
    task = os.environ.get(SWEEP_TASK)
    environment = os.environ | ({"CLEARML_TASK_ID": task} if task else {})
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, env=environment)
        print(f"tracking: {done.stdout.strip() or 'the server has no task of this sweep'}")
    except (OSError, subprocess.TimeoutExpired) as error:
        why = error if isinstance(error, OSError) else "the server was too slow"
        print(f"tracking: {why}; to try again: {shlex.join(command)}")
