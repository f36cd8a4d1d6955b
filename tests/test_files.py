"""Files are whole or absent, whatever happens to the writer."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import HANGS

from softtargets.system import files
from softtargets.system.files import Damaged, atomic, canonical, read_json, write_json, write_text

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from softtargets.system.files import atomic
with atomic(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_file_appears_whole_with_its_folders_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_new_file_has_the_rights_of_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_error_on_the_way_leaves_what_was_there(tmp_path, old, error):
    path = tmp_path / "file.txt"
    if old:
        path.write_text(old)

    def write():
        with atomic(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        write()
    assert [file.read_text() for file in tmp_path.iterdir()] == ([old] if old else [])


@pytest.mark.parametrize("old", [None, "old"])
def test_kill_on_the_way_leaves_what_was_there(tmp_path, old):
    path = tmp_path / "file.txt"
    if old:
        path.write_text(old)
    ended = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, path], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (path.read_text() if path.exists() else None) == old
    assert all(file.name.startswith(".") for file in tmp_path.iterdir() if file != path)
    write_text(path, "new")  # what the killed one left is in nobody's way
    assert path.read_text() == "new"


@pytest.mark.parametrize("value", [{"a": float("nan")}, [float("inf")], {"a": object()}])
def test_what_json_cannot_hold_leaves_the_old_file(tmp_path, value):
    path = tmp_path / "file.json"
    write_json(path, {"a": [1, None, "ü"]})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, value)
    assert read_json(path) == {"a": [1, None, "ü"]}


ALTERED = {
    "a number": lambda text: text.replace("1", "2", 1),
    "a byte of the hash": lambda text: text.replace('"sha256": "', '"sha256": "0'),
    "no hash": lambda text: json.dumps({"a": [1, None, "ü"]}),
    "something after the hash": lambda text: text.replace('"\n}\n', '",\n "a": 2\n}\n'),
    "something before it": lambda text: text.replace(',\n "sha256"', ',\n "b": 2,\n "sha256"'),
    "an array": lambda text: f"[{text}]",
    "half of it": lambda text: text[: len(text) // 2],
    "nothing": lambda text: "",
}


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_json_that_was_altered_is_refused(tmp_path, alter):
    path = tmp_path / "file.json"
    write_json(path, {"a": [1, None, "ü"]})
    text = path.read_text(encoding="utf-8")
    path.write_text(alter(text), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    with pytest.raises(Damaged, match=r"file\.json: (changed|damaged)"):
        read_json(path)


def test_canonical_spells_equal_data_equally():
    assert (
        canonical({"b": [1, 2.5], "a": None})
        == canonical({"a": None, "b": (1.0, 2.5)})
        == '{"a":null,"b":[1,2.5]}'
    )
    others = [
        {"a": 1},
        {"a": "1"},
        {"a": True},
        {"a": [1]},
        {"a": 1.5},
        {"a": None},
        {"b": 1},
        {"a": 1, "b": None},
    ]
    assert len({canonical(other) for other in others}) == len(others)
    assert float(json.loads(canonical(0.1 + 0.2))) == 0.1 + 0.2
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": {"b": [float("nan")]}})


# leftovers


def left_by(folder: Path, writer: str) -> Path:
    """Leave a half-written file as a writer would that was killed, or lives, here or on another host."""
    here = files._here()
    with subprocess.Popen(["true"]) as ended:
        pass
    host, process = {
        "killed": (here, ended.pid),
        "living": (here, os.getpid()),
        "elsewhere": (f"{int(here, 16) ^ 1:08x}", ended.pid),
        "long ago": (f"{int(here, 16) ^ 1:08x}", ended.pid),
        "with no such number": (here, 2**32 - 1),
    }[writer]
    path = folder / f".result.json.{host}{process:08x}{'0' * 16}"
    path.write_text("half of the n")
    if writer == "long ago":
        os.utime(path, (time.time() - 7200,) * 2)
    return path


@pytest.mark.parametrize(
    ("writer", "stays"),
    [("killed", False), ("living", True), ("elsewhere", True), ("long ago", False), ("with no such number", True)],
)
def test_only_what_nobody_is_writing_is_cleared(tmp_path, writer, stays):
    path = left_by(tmp_path, writer)
    (tmp_path / "result.json").write_text("whole")
    files.clear(tmp_path)
    assert path.exists() == stays
    assert (tmp_path / "result.json").exists()


def test_a_writer_is_not_disturbed_by_another_that_begins_in_its_folder(tmp_path):
    with atomic(tmp_path / "file.txt") as temporary:
        temporary.write_text("new")
        files.clear(tmp_path)
    assert (tmp_path / "file.txt").read_text() == "new"


def test_a_killed_writers_file_is_cleared(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, tmp_path / "file.txt"], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    files.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["replace", "write"])
def test_what_a_file_system_refuses_is_named_and_leaves_nothing(tmp_path, monkeypatch, call):
    def refused(*arguments, **named):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "replace" if call == "replace" else "write_text", refused)
    with pytest.raises(OSError, match=r"Operation not permitted: '.*/file.txt'"):
        write_text(tmp_path / "file.txt", "new")
    assert list(tmp_path.iterdir()) == []


# shared folders


@pytest.fixture
def shared(tmp_path):
    """A folder that its group may write, under the usual umask."""
    before = os.umask(0o022)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2775)
    yield tmp_path / "shared"
    os.umask(before)


def open_to_group(path: Path) -> bool:
    wanted = 0o070 if path.is_dir() else 0o060
    return path.stat().st_mode & wanted == wanted


def test_what_is_written_in_a_groups_folder_is_the_groups(shared):
    write_text(shared / "a" / "b" / "file.txt", "")
    assert all(map(open_to_group, shared.rglob("*")))
    assert (shared / "a" / "b").stat().st_mode & stat.S_ISGID
    write_text(shared.parent / "private" / "file.txt", "")
    assert not any(path.stat().st_mode & stat.S_IWGRP for path in (shared.parent / "private").rglob("*"))


def test_all_that_others_have_written_there_can_be_given_to_the_group(shared):
    (shared / "run" / ".hydra").mkdir(parents=True)
    (shared / "run" / ".hydra" / "config.yaml").write_text("")
    assert not open_to_group(shared / "run")
    files.share_all(shared / "run")
    assert all(map(open_to_group, shared.rglob("*")))


@pytest.mark.parametrize("lies_there", ["link", "second name", "pipe", "nothing", "file of another group"])
def test_nothing_is_given_away_by_what_lies_in_a_shared_folder(shared, lies_there):
    private, path = shared.parent / "private", shared / "file"
    private.write_text("")
    private.chmod(0o600)
    if lies_there == "link":
        path.symlink_to(private)
    elif lies_there == "second name":
        path.hardlink_to(private)
    elif lies_there == "pipe":
        os.mkfifo(path, 0o600)
    elif lies_there == "file of another group":
        if os.geteuid() != 0:
            pytest.skip("only root may be two users")
        path.write_text("")
        os.chown(path, 0, 12000)
    files.share(path)
    assert private.stat().st_mode & 0o777 == 0o600
    assert lies_there != "file of another group" or not path.stat().st_mode & stat.S_IWGRP


def test_the_clock_is_the_file_systems(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    (tmp_path / "file").write_text("")
    assert abs(files.clock_of_files(tmp_path) - (tmp_path / "file").stat().st_mtime) < HANGS


def test_a_folder_below_one_that_may_not_be_looked_into_is_refused_by_its_setting(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root may take another user's place")
    (tmp_path / "closed").mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    code = (
        "import os, pathlib; from softtargets.system import files\n"
        f"os.chdir({str(tmp_path)!r}); os.setuid(65534)\n"
        "files.require_writable('runs_dir', pathlib.Path('closed/x/y'))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stderr.splitlines()[-1].endswith(
        "BadInput: runs_dir=closed/x/y: cannot be written to. Give a folder of yours, or a new one"
    )
