"""Locks exclude where they can; where a file system fails them, work goes on, and the first result is kept."""

import errno
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import filelock
import pytest
from conftest import HANGS, ROOT, SMALL

from softtargets.system import locks
from softtargets.system.locks import Busy, locked

REFUSALS = ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "EIO", "EPERM", "EACCES", "EWOULDBLOCK")
BEHAVIOURS = (*REFUSALS, "excludes nobody", "never answers", "as usual")
"""Of flock, in a process that the library below is loaded into; chosen by a variable, anew at every call."""
LIBRARY = """
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int flock(int descriptor, int operation) {
    const char *behaviour = getenv("FLOCK");
    if (!behaviour || !strcmp(behaviour, "as usual")) return syscall(SYS_flock, descriptor, operation);
    if (!strcmp(behaviour, "excludes nobody")) return 0;
    while (!strcmp(behaviour, "never answers")) pause();
    errno = atoi(behaviour);
    return -1;
}
"""
TWO_AT_ONCE = """
import errno, json, os, sys, threading, warnings
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
import test_idx_files as idx
from softtargets import store
from softtargets.readers import idx_files
from softtargets.system import locks
from softtargets.store.__main__ import prune, verify

def both(act):
    answers, problems = [], []
    def one(number):
        try:
            answers.append(act(number))
        except BaseException as error:
            problems.append(repr(error))
    threads = [threading.Thread(target=one, args=(number,)) for number in (1, 2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return answers, problems

def entry(number):
    def make():
        made.append(number)
        if os.environ["FLOCK"] != "as usual":
            together.wait()
        return {"by": torch.tensor([number])}, {}
    found = store.Store(folder / "store").get("model", {}, make)
    return found.tensors["by"].item()

def images(number):
    idx.check("FashionMNIST", idx_files.read_images("FashionMNIST", folder / "data"))

idx_files.MD5["FashionMNIST"] = idx.digests("FashionMNIST")
for behaviour in sys.argv[3:]:
    locks.ANSWER = 0.3 if behaviour == "never answers" else 600.0
    os.environ["FLOCK"] = str(getattr(errno, behaviour, behaviour))
    locks._refusing.clear()
    folder = Path(sys.argv[2], behaviour)
    idx_files.DEBIAN = idx.fill(folder / "debian", "FashionMNIST", compress=True)
    made, together = [], threading.Barrier(2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        entries, problems = both(entry)
        _, more = both(images)
        path = next(store.entries(folder / "store"))
        (path / "tensors.safetensors").write_bytes(b"")
        codes = [verify(folder / "store"), verify(folder / "store")]
        codes.append(prune(folder / "store", 0, False))
    said = [str(warning.message) for warning in said]
    outcome = {"made": len(made), "entries": entries, "problems": problems + more, "codes": codes, "said": said}
    print("outcome", json.dumps([behaviour, outcome]), flush=True)
os._exit(0)  # a thread may hang in flock
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> Path:
    """A library to be preloaded, whose flock fails as a file system's may."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler, cc")
    source = tmp_path_factory.mktemp("library") / "flock.c"
    source.write_text(LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", source.with_suffix(".so"), source], check=True)
    return source.with_suffix(".so")


@pytest.fixture(scope="session")
def outcomes(library, tmp_path_factory) -> dict:
    """What came of two threads that did the same at once, by what flock did."""
    place = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-c", TWO_AT_ONCE, ROOT / "tests", place, *BEHAVIOURS]
    environment = os.environ | {"LD_PRELOAD": str(library), "FLOCK": "as usual"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANGS)
    assert ended.returncode == 0, ended.stderr
    lines = [line.removeprefix("outcome ") for line in ended.stdout.splitlines() if line.startswith("outcome ")]
    return dict(map(json.loads, lines))


@pytest.mark.long
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_whatever_flock_does_two_at_once_end_with_the_first_ones_entry(outcomes, behaviour):
    found = outcomes[behaviour]
    assert found["problems"] == []
    assert len(found["entries"]) == 2
    assert len(set(found["entries"])) == 1
    assert found["made"] == (1 if behaviour == "as usual" else 2)
    assert found["codes"] == [1, 0, 0]  # the damaged entry is set aside once


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_file_system_that_refuses_locks_is_named_once_with_the_reason(outcomes, behaviour):
    said = outcomes[behaviour]["said"]
    if behaviour in ("as usual", "excludes nobody"):
        assert said == []
        return
    reason = {
        "never answers": "no answer in 0 s",
        "EACCES": "every lock is refused",
        "EWOULDBLOCK": "every lock is refused",
    }.get(behaviour) or os.strerror(getattr(errno, behaviour))
    assert len(said) in (1, 2)  # both threads may meet it first
    assert all(f"cannot be locked ({reason}). Work continues without the lock" in line for line in said)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(locks, "_refusing", set())


def enter(path: Path, busy=pytest.fail) -> None:
    with locked(path, busy):
        pass


def refuse() -> None:
    raise Busy


def test_a_lock_excludes_threads_and_is_free_afterwards(tmp_path):
    with locked(tmp_path / "lock", pytest.fail), pytest.raises(Busy):
        enter(tmp_path / "lock", refuse)
    enter(tmp_path / "lock")


def test_it_is_free_after_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "lock", pytest.fail):
        raise KeyError
    enter(tmp_path / "lock")


IN_THE_WAY = {
    "a link to a file": lambda path: path.symlink_to(path.with_name("private")),
    "a dangling link": lambda path: path.symlink_to(path.with_name("not there")),
    "a link to itself": lambda path: path.symlink_to(path),
    "a folder": lambda path: path.mkdir(),
    "a socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("planted", IN_THE_WAY)
def test_what_is_planted_at_the_locks_path_is_neither_followed_nor_touched(tmp_path, monkeypatch, planted):
    monkeypatch.chdir(tmp_path)
    private, path = tmp_path / "private", tmp_path / "lock"
    private.write_text("mine")
    private.chmod(0o600)
    IN_THE_WAY[planted](Path("lock"))
    before = path.lstat(), private.stat()
    with pytest.warns(UserWarning, match=r"lock: cannot be locked \("):
        enter(path)
    assert (path.lstat(), private.stat()) == before
    assert private.read_text() == "mine"
    assert not (tmp_path / "not there").exists()
    assert locks._refusing == set()  # the file system is not to blame


def test_a_pipe_at_the_locks_path_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "lock")
    entered = threading.Event()
    threading.Thread(target=lambda: (enter(tmp_path / "lock"), entered.set()), daemon=True).start()
    assert entered.wait(HANGS)


@pytest.fixture
def silent(tmp_path):
    """A lock that is held by somebody who gives no sign of life, as a dead process of another host."""
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    assert filelock.lock_descriptor(descriptor, blocking=False)
    yield tmp_path / "lock"
    os.close(descriptor)


def test_a_holder_without_a_sign_of_life_is_not_waited_for(silent, monkeypatch):
    monkeypatch.setattr(locks, "SILENCE", 0.3)
    said = []
    with pytest.warns(UserWarning, match="its holder has given no sign of life for 0 s; not waiting any longer"):
        enter(silent, lambda: said.append("waits"))
    assert said == ["waits"]


def test_a_holder_that_gives_signs_of_life_is_waited_for(tmp_path, monkeypatch):
    """Each wait ends with the holder's next sign; it lets go when the sum of the waits is twice the silence."""
    monkeypatch.setattr(locks, "SILENCE", 2.0)
    monkeypatch.setattr(locks, "BEAT", 0.01)
    path, held, over, left, waits = tmp_path / "lock", threading.Event(), threading.Event(), [], []

    def hold() -> None:
        with locked(path, pytest.fail):
            held.set()
            over.wait()
            left.append(True)

    def wait_for_a_sign(delay: float) -> None:
        waits.append(delay)
        before = locks._sign_of_life(path)
        while not over.is_set() and locks._sign_of_life(path) == before:
            time.sleep(0.01)
        if sum(waits) > 2 * locks.SILENCE:
            over.set()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=wait_for_a_sign))
    try:
        with locked(path, lambda: None):
            assert left == [True]
    finally:
        over.set()
        thread.join()


def test_a_killed_holder_is_followed_at_once(tmp_path, waits):
    holds = (
        "import sys, time; from pathlib import Path; from softtargets.system.locks import locked\n"
        "with locked(Path(sys.argv[1]), exit): print('holds', flush=True); time.sleep(3600)"
    )
    command = [sys.executable, "-c", holds, tmp_path / "lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "holds\n"
        enter(tmp_path / "lock", lambda: (holder.kill(), holder.wait()))
    assert waits == [0.05]


def test_a_lock_file_that_was_removed_meanwhile_locks_nothing(tmp_path, monkeypatch):
    path, opened = tmp_path / "lock", locks._opened
    calls = []

    def removed_after_opening(path: Path) -> int:
        descriptor = opened(path)
        calls.append(descriptor)
        if len(calls) == 1:
            path.unlink()
        return descriptor

    monkeypatch.setattr(locks, "_opened", removed_after_opening)
    with locked(path, lambda: None), pytest.raises(Busy):
        enter(path, refuse)
    assert len(calls) == 3


@pytest.mark.parametrize("options", ["ro", "nr_inodes=1"])
def test_a_folder_that_takes_no_file_is_an_error_that_names_the_lock(tmp_path, options):
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", tmp_path], check=True)
    try:
        with pytest.raises(OSError, match=rf"(Read-only file system|No space left on device): '{tmp_path}/lock'"):
            enter(tmp_path / "lock")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


# by real calls


def start(place: Path, *words: str, library: Path | None = None, flock: str = "", **named) -> subprocess.Popen:
    """Start the command with places of its own and the usual umask, and a library preloaded."""
    folders = {f"SOFTTARGETS_{name}": str(place / name.lower()) for name in ("STORE", "DATA", "RUNS")}
    preloaded = {"LD_PRELOAD": str(library), "FLOCK": flock} if library else {}
    command = [sys.executable, ROOT / "run.py", *words, *SMALL, "hydra.sweep.dir=${runs_dir}/sweep"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = os.environ | folders | preloaded
    return subprocess.Popen(command, cwd=place, env=environment, text=True, umask=0o022, **pipes, **named)


@pytest.mark.long
@pytest.mark.parametrize("flock", [str(errno.ENOLCK), "excludes nobody"])
def test_two_calls_of_one_sweep_end_well_where_locks_fail(library, tmp_path, flock, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    words = ("mu_algo._target_=own_parts.by_two", "~mu_algo.alpha", "plugins=[own_parts]", "seed=0,1")
    calls = [start(tmp_path, "-m", *words, library=library, flock=flock) for _ in range(2)]
    for call in calls:
        said, complaints = call.communicate(timeout=HANGS)
        assert call.returncode == 0, complaints
        assert "2 of 2 runs finished, 0 failed" in said
        assert "Traceback" not in complaints
        assert ("cannot be locked (No locks available)" in complaints) == (flock != "excludes nobody")
    assert len(list((tmp_path / "runs" / "sweep").glob("*/result.json"))) == 2
    assert not list((tmp_path / "store").glob("*/*.damaged-*")) + list(tmp_path.rglob("*.json.*"))


@pytest.mark.long
def test_a_sweep_that_fills_the_store_ends_well_where_locks_fail(library, tmp_path):
    call = start(tmp_path, "-m", "seed=0", "stage=train", library=library, flock=str(errno.EOPNOTSUPP))
    said, complaints = call.communicate(timeout=HANGS)
    assert (call.returncode, "Traceback" in complaints) == (0, False)
    assert "1 of 1 run finished" in said


@pytest.mark.long
def test_all_that_a_sweep_leaves_in_a_groups_folder_is_the_groups(tmp_path):
    tmp_path.chmod(0o2775)
    for words in (["-m", "seed=0"], ["-m", "seed=0", "stage=train"], ["seed=0"]):
        call = start(tmp_path, *words)
        _, complaints = call.communicate(timeout=HANGS)
        assert call.returncode == 0, complaints
    assert list(tmp_path.glob("runs/sweep/*/result.json")), "a stage takes no result away"
    found = {path for path in tmp_path.rglob("*") if not path.stat().st_mode & stat.S_IWGRP}
    assert found == set()
    names = {path.name for path in tmp_path.rglob("*")}
    assert {"result.json", "run.log", ".lock", ".stage.lock", "multirun.yaml", "machine.json", ".hydra"} <= names


@pytest.mark.long
def test_a_store_only_to_be_read_serves_runs_whose_models_are_there(tmp_path):
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    first = start(tmp_path, "seed=0")
    assert first.communicate(timeout=HANGS)[1] == ""
    for options in ([str(tmp_path / "store"), "--bind"], ["-o", "remount,ro,bind"]):
        subprocess.run(["mount", *options, tmp_path / "store"], check=True)
    try:
        again, other = (start(tmp_path, f"seed={seed}") for seed in (0, 1))
        assert again.communicate(timeout=HANGS)[1] == ""
        complaints = other.communicate(timeout=HANGS)[1]
    finally:
        subprocess.run(["umount", tmp_path / "store"], check=True)
    assert (again.returncode, other.returncode) == (0, 2)
    sentence = complaints.splitlines()[-1]
    assert sentence.startswith(f"run.py: store.dir={tmp_path}/store: {tmp_path}/store/model cannot")
    assert sentence.endswith("(Read-only file system). Give a folder of yours: store.dir=DIR")
