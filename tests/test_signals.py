"""Ends by signal: a sentence, an unwound stack, and no process that outlives its parent."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import HANGS

from softtargets.system import signals

REST = """
import time

def rest():  # not in one long sleep: a signal that comes just before a sleep is heard at its end
    while True:
        time.sleep(0.02)
"""
PROGRAM = f"""{REST}
import sys
from pathlib import Path
from softtargets.system import signals
from softtargets.system.files import atomic

signals.LIMIT = 1.0 if sys.argv[2] == "deaf" else 3600.0
signals.heed()

class Deaf:
    def __del__(self):
        print("ready", flush=True)
        while sys.argv[2] == "deaf":
            try:
                rest()
            except SystemExit:
                pass
        rest()

with atomic(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of the n")
    if sys.argv[2] != "hears":
        Deaf()
    print("ready", flush=True)
    rest()
"""
PARENT = """
import subprocess, sys
code = "import os, sys; from softtargets.system import signals; signals.end_with_parent(os.getppid())\\n"
code += "print(os.getpid(), flush=True)\\nfor line in sys.stdin: print(line, end='', flush=True)"
subprocess.Popen([sys.executable, "-c", code]).wait()
"""


def started(code: str, *arguments: object) -> subprocess.Popen:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], start_new_session=True, **pipes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["hears", "in a destructor"])
def test_a_signal_ends_in_good_order(tmp_path, number, where):
    process = started(PROGRAM, tmp_path / "file", where)
    process.stdout.readline()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=HANGS)
    assert process.returncode == 128 + number
    assert stderr == (f"softtargets: stopped by {number.name}; run the same command again to resume\n")
    assert list(tmp_path.iterdir()) == []


def test_a_signal_ends_what_does_not_hear(tmp_path):
    process = started(PROGRAM, tmp_path / "file", "deaf")
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=HANGS)
    assert process.returncode == 128 + signal.SIGTERM


SWALLOWS = f"""{REST}
print("ready", flush=True)
try:
    rest()
except BaseException:
    pass  # as it does where NumPy cannot be imported
"""


def test_a_signal_ends_the_import_of_torch_which_takes_it_for_something_else(tmp_path):
    (tmp_path / "torch.py").write_text(SWALLOWS)
    code = "import sys; from softtargets.system import signals; signals.heed();"
    code += "sys.path.insert(0, sys.argv[1]); import torch"
    process = started(code, tmp_path)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=HANGS)
    assert process.returncode == 128 + signal.SIGTERM
    assert stderr.startswith("softtargets: stopped by SIGTERM;")


DISPLAY = f"""{REST}
import os, sys
import rich.console, rich.live
from softtargets.system import signals

signals.LIMIT = 0.5 if sys.argv[1] == "deaf" else 3600.0
signals.heed()
exit = os._exit
os._exit = lambda code: (os.write(1, b"drawn late"), exit(code))  # as a thread may that draws until the end
bar = rich.live.Live("a bar", console=rich.console.Console(), transient=True, auto_refresh=False)
with signals.drawing(on_terminal=True), bar:
    while True:
        try:
            print("ready")  # within `try`: the signal may come before this line has ended
            rest()
        except SystemExit:
            if sys.argv[1] == "hears":
                raise
"""


@pytest.mark.parametrize(("hears", "end"), [("hears", "{erased}{sentence}"), ("deaf", "\r\n{cursor}{sentence}")])
def test_no_display_is_drawn_over_the_sentence(hears, end):
    terminal, other = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", DISPLAY, hears], stdout=other, stderr=other)
    os.close(other)
    said = os.read(terminal, 1000)
    while not said.endswith(b"ready\r\na bar"):
        said += os.read(terminal, 1000)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # as Linux reports that the other side is closed
        while more := os.read(terminal, 1000):
            said += more
    os.close(terminal)
    assert process.wait() == 130
    sentence = "softtargets: stopped by SIGINT; run the same command again to resume\r\n"
    whole = said.decode()
    assert whole.endswith(end.format(erased="\x1b[2K", cursor="\x1b[?25h", sentence=sentence)), whole
    assert whole.count(sentence) == 1


def test_a_thread_is_stopped_in_good_order():
    began, left = threading.Event(), []

    def work():
        try:
            began.set()
            while True:
                time.sleep(0.01)
        except SystemExit:  # not handed on: pytest would report what Python passes over
            left.append("in good order")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    began.wait()
    signals.stop(thread, HANGS)
    assert not thread.is_alive()
    assert left == ["in good order"]


def test_a_worker_ends_with_its_parent_but_not_by_ctrl_c():
    parent = started(PARENT)
    worker = int(parent.stdout.readline())
    os.kill(worker, signal.SIGINT)
    parent.stdin.write("still here\n")
    parent.stdin.flush()
    assert parent.stdout.readline() == "still here\n"
    parent.kill()
    end = time.monotonic() + HANGS
    while alive(worker) and time.monotonic() < end:  # as its stdin stays open, nothing else ends it
        time.sleep(0.02)
    assert not alive(worker)
    parent.communicate()


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that waits to be reaped does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return found.stdout.strip()[:1] not in ("", "Z")
