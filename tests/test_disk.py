"""Files are whole or absent, whatever happens to the writer."""

import json
import signal
import subprocess
import sys

import pytest

from softtargets.disk import Damaged, atomic, canonical, read_json, write_json, write_text

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from softtargets.disk import atomic
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
    with pytest.raises(Damaged, match=r"file\.json: (altered|damaged)"):
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
