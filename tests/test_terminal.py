"""Screens that are closed, full, gone, narrow or of another encoding: none of them ends a run."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from conftest import HANGS, ROOT, SMALL

from softtargets.errors import to_type
from softtargets.system.terminal import stream

SAYS = """
import contextlib, os, sys
from pathlib import Path
from softtargets.system.terminal import steady
steady()
with Path(sys.argv[1]).open("w") as file:
    for number in (1, 2):
        with contextlib.suppress(OSError):
            os.write(number, b"to the screen"[: 2 - number])
    print("→ é", flush=True)
    print("more" * 20000)
    file.write("whole")
sys.exit(3)
"""


def ended(words: list, screen: str, cwd: Path, **variables: str) -> tuple[int, str, str]:
    """Run a program whose stdout is `screen`; returns exit code, what it said there, and stderr."""
    environment = os.environ | variables
    script = {
        "pipe": '"$@"',
        "closed": '"$@" >&-',
        "both closed": '"$@" >&- 2>&-',
        "full": '"$@" >/dev/full',
        "both full": '"$@" >/dev/full 2>/dev/full',
        "left": '"$@" | head -c 1; exit ${PIPESTATUS[0]}',
    }[screen]
    command = ["bash", "-c", script, "bash", *map(str, words)]
    found = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, timeout=HANGS)
    return found.returncode, found.stdout.decode("latin-1"), found.stderr.decode()


@pytest.mark.parametrize("screen", ["pipe", "closed", "both closed", "full", "both full", "left"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_program_ends_as_it_would_on_any_screen(screen, encoding, tmp_path):
    program = [sys.executable, "-c", SAYS, tmp_path / "file"]
    code, stdout, stderr = ended(program, screen, tmp_path, PYTHONIOENCODING=encoding, PYTHONPATH=str(ROOT))
    assert code == 3, stderr
    assert (tmp_path / "file").read_text() == "whole", "what is said does not go into the file"
    lost = "stdout: No space left on device; the run continues without this output\n"
    assert stderr == (lost if screen == "full" else "")
    if screen == "pipe":
        assert ("\\u2192 \\xe9" if encoding == "ascii" else "→ é".encode().decode("latin-1")) in stdout


def test_a_pipe_that_does_not_block_gets_everything():
    there, here = os.pipe()
    os.set_blocking(here, False)
    reader = subprocess.Popen(["wc", "-c"], stdin=there, stdout=subprocess.PIPE, text=True)
    os.close(there)
    with stream(here, sys.__stdout__) as screen:
        for _ in range(5000):
            print("x" * 99, file=screen)
    assert reader.communicate(timeout=HANGS)[0].strip() == "500000"


COMMANDS = {
    "run": [ROOT / "run.py", *SMALL],
    "sweep": [ROOT / "run.py", "-m", *SMALL, "targets=hard,soft"],
    "report": ["-m", "softtargets.report", "runs/sweep"],
    "store": ["-m", "softtargets.store", "list"],
    "tracker": ["-m", "softtargets.tracker", "upload", "runs"],
}
CODES = {"tracker": 2}
"""Exit codes that are not 0: here there is nothing to upload."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a sweep's results."""
    folder = tmp_path_factory.mktemp("place")
    names = {f"SOFTTARGETS_{name}": str(folder / name.lower()) for name in ("RUNS", "STORE")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (names | {"PYTHONPATH": str(ROOT)}).items():
            patch.setenv(name, value)
        assert ended([sys.executable, *COMMANDS["sweep"]], "pipe", folder)[0] == 0
        yield folder


@pytest.mark.long
@pytest.mark.parametrize("screen", ["closed", "full", "left"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_ends_well_on_any_screen(name, screen, place):
    before = set(place.glob("runs/*/result.json"))
    code, _, stderr = ended([sys.executable, *COMMANDS[name]], screen, place, PYTHONIOENCODING="ascii")
    assert code == CODES.get(name, 0), stderr
    assert "Traceback" not in stderr
    assert len(set(place.glob("runs/*/result.json")) - before) == (name == "run")


@pytest.mark.kill
@pytest.mark.parametrize("screen", ["closed", "full", "left"])
def test_workers_end_well_on_any_screen(screen, place):
    words = [sys.executable, *COMMANDS["sweep"], f"seed={len(screen)},9", "hydra/launcher=local"]
    code, _, stderr = ended([*words, f"hydra.sweep.dir=runs/{screen}"], screen, place, PYTHONIOENCODING="ascii")
    assert code == 0, stderr
    assert len(list(place.glob(f"runs/{screen}/*/result.json"))) == 4


@pytest.mark.long
@pytest.mark.parametrize("width", [1, 80])
@pytest.mark.parametrize("kind", ["dumb", "xterm-256color"])
@pytest.mark.parametrize("name", ["run", "sweep", "report"])
def test_a_command_ends_well_on_a_terminal_of_any_width_and_kind(name, width, kind, place):
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 1, width, 0, 0))
    words = [sys.executable, *COMMANDS[name], *(["hydra.sweep.dir=runs/tty"] if name == "sweep" else [])]
    process = subprocess.Popen(words, cwd=place, stdout=its, stderr=its, env=os.environ | {"TERM": kind})
    os.close(its)
    said = b""
    while chunk := _read(ours):
        said += chunk
    os.close(ours)
    assert process.wait(timeout=HANGS) == 0, said.decode()
    assert said
    if width == 80:
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode())
        long = [line for line in re.split(r"[\r\n]+", text) if len(line) > width]
        assert not [line for line in long if "/" not in line], "whole words; paths and commands stay whole"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # as Linux says that the other side has closed
        return b""


@pytest.mark.parametrize(
    ("called", "report", "upload"),
    [
        ("/usr/bin/softtargets", "softtargets report", "softtargets upload"),
        ("softtargets.exe", "softtargets report", "softtargets upload"),
        ("run.py", "python -m softtargets.report", "python -m softtargets.tracker upload"),
        ("/place/softtargets/__main__.py", "python -m softtargets.report", "python -m softtargets.tracker upload"),
        ("", "python -m softtargets.report", "python -m softtargets.tracker upload"),
    ],
)
def test_what_to_type_next_is_the_command_that_was_called(monkeypatch, called, report, upload):
    monkeypatch.setattr(sys, "argv", [called])
    assert (to_type("report"), to_type("upload")) == (report, upload)
