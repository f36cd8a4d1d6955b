"""The store: made once, loaded after, whole or not at all, by any number of processes that may be killed."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import filelock
import pytest
import torch

from softtargets import store as store_module
from softtargets.store import Store, key

INGREDIENTS = {"seed": 0, "training": {"lr": 0.1, "epochs": 3}, "sizes": [1, 2]}
TENSORS = {"weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(3)}

ANOTHER_PROCESS = """
import os, signal, sys
from pathlib import Path
import torch
from softtargets import store

folder, ends = Path(sys.argv[1]), sys.argv[2]

def make():
    print("making", flush=True)
    sys.stdin.readline()
    return {"weight": torch.full((2, 3), 7.0)}, {"by": "another"}

if ends == "killed while writing":
    store.os.rename = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
entry = store.Store(folder).get("model", {"seed": 0}, make)
print(entry.from_store, flush=True)
"""


class Maker:
    """A `make` that counts its calls."""

    def __init__(self, tensors=TENSORS, **notes):
        self.tensors, self.notes, self.calls = tensors, notes, 0

    def __call__(self):
        self.calls += 1
        return self.tensors, dict(self.notes)


def entry_folder(folder: Path, ingredients=INGREDIENTS) -> Path:
    return folder / "model" / key("model", ingredients)


def equal(one: dict, other: dict) -> bool:
    same = (torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one)
    return one.keys() == other.keys() and all(same)


def test_made_once_and_loaded_after(tmp_path):
    make = Maker(diverged=False)
    made = Store(tmp_path).get("model", INGREDIENTS, make)
    loaded = [Store(tmp_path).get("model", INGREDIENTS, make) for _ in range(2)]
    assert make.calls == 1
    assert not made.from_store
    for entry in loaded:
        assert entry.from_store
        assert equal(entry.tensors, TENSORS)
        assert entry.seconds == made.seconds
        assert entry.manifest["diverged"] is False
        assert entry.manifest["ingredients"] == INGREDIENTS
        assert entry.manifest["stage"] == "model"


def test_loading_waits_for_nobody(tmp_path):
    Store(tmp_path).get("model", INGREDIENTS, Maker())
    with filelock.FileLock(entry_folder(tmp_path).with_suffix(".lock")):
        assert Store(tmp_path, pytest.fail).get("model", INGREDIENTS, Maker()).from_store


def test_seconds_are_those_of_the_making(tmp_path):
    make = Maker()
    entry = Store(tmp_path).get("model", {}, lambda: time.sleep(0.05) or make())
    assert 0.05 <= entry.seconds < 5


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3, 4).T,
        torch.randn(2, 3).bfloat16(),
        torch.arange(5),
        torch.tensor([True, False]),
        torch.empty(0, 3),
        torch.tensor([float("nan"), float("inf"), -0.0]),
        torch.randn(2, 4, 3, 3).to(memory_format=torch.channels_last),
    ],
    ids=lambda tensor: f"{tensor.dtype}{tuple(tensor.shape)}",
)
def test_tensors_come_back_bit_by_bit(tmp_path, tensor):
    Store(tmp_path).get("model", {}, Maker({"a": tensor}))
    found = Store(tmp_path).get("model", {}, Maker()).tensors["a"]
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert found.contiguous().flatten().view(torch.uint8).equal(tensor.contiguous().flatten().view(torch.uint8))


def test_key_is_the_hash_of_stage_and_ingredients():
    assert (
        key("model", {"b": 1, "a": [2, None]})
        == hashlib.sha256(b'{"a":[2,null],"b":1,"stage":"model"}').hexdigest()
    )
    assert key("model", {"a": [2, None], "b": 1.0}) == key("model", {"b": 1, "a": [2, None]})


@pytest.mark.parametrize(
    "other",
    [
        INGREDIENTS | {"seed": 1},
        INGREDIENTS | {"seed": "0"},
        INGREDIENTS | {"seed": None},
        INGREDIENTS | {"training": {"lr": 0.1000001, "epochs": 3}},
        INGREDIENTS | {"training": {"lr": 0.1}},
        INGREDIENTS | {"sizes": [2, 1]},
        INGREDIENTS | {"more": None},
        {},
    ],
    ids=str,
)
def test_key_depends_on_every_ingredient(tmp_path, other):
    assert key("model", other) != key("model", INGREDIENTS) != key("logits", INGREDIENTS)
    make = Maker()
    for ingredients in (INGREDIENTS, other):
        Store(tmp_path).get("model", ingredients, make)
    assert make.calls == 2


# damage


def flipped(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


DAMAGE = [
    ("tensors.safetensors", lambda path: flipped(path, -1)),
    ("tensors.safetensors", lambda path: flipped(path, 10)),
    ("tensors.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-4])),
    ("tensors.safetensors", lambda path: path.write_bytes(b"")),
    ("tensors.safetensors", lambda path: path.unlink()),
    ("manifest.json", lambda path: path.write_text(path.read_text()[:-10])),
    ("manifest.json", lambda path: path.write_text("")),
    ("manifest.json", lambda path: path.write_text("{}")),
    ("manifest.json", lambda path: path.unlink()),
    ("manifest.json", lambda path: path.write_bytes(b"\xff\x00")),
    ("manifest.json", lambda path: path.write_text("[]")),
    ("manifest.json", lambda path: changed(path, "false", "true")),
    ("manifest.json", lambda path: changed(path, '"seconds"', '"secunds"')),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_damaged_entry_is_named_set_aside_and_remade(tmp_path, name, damage):
    make = Maker(diverged=False)
    store = Store(tmp_path)
    store.get("model", INGREDIENTS, make)
    path = entry_folder(tmp_path)
    damage(path / name)
    left = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.warns(UserWarning, match=f"{path.name} is damaged; set aside"):
        remade = store.get("model", INGREDIENTS, make)
    assert make.calls == 2
    assert not remade.from_store
    (aside,) = path.parent.glob(f"{path.name}.damaged-*")
    assert {file.name: file.read_bytes() for file in aside.iterdir()} == left
    assert store.get("model", INGREDIENTS, make).from_store
    assert make.calls == 2


def test_file_in_the_place_of_an_entry_is_set_aside(tmp_path):
    path = entry_folder(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text("")
    with pytest.warns(UserWarning, match="is damaged"):
        assert equal(Store(tmp_path).get("model", INGREDIENTS, Maker()).tensors, TENSORS)


def test_failed_making_leaves_nothing_and_can_be_repeated(tmp_path):
    def fails():
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        Store(tmp_path).get("model", INGREDIENTS, fails)
    assert not [path for path in (tmp_path / "model").iterdir() if path.suffix != ".lock"]
    assert not Store(tmp_path).get("model", INGREDIENTS, Maker()).from_store


def test_failed_writing_leaves_nothing(tmp_path, monkeypatch):
    def full(*paths):
        raise OSError("no space left")

    monkeypatch.setattr(store_module.os, "rename", full)
    with pytest.raises(OSError, match="no space left"):
        Store(tmp_path).get("model", INGREDIENTS, Maker())
    assert not [path for path in (tmp_path / "model").iterdir() if path.suffix != ".lock"]


def test_temporary_leftovers_are_not_taken_for_entries(tmp_path):
    Store(tmp_path / "other").get("model", INGREDIENTS, Maker())
    shutil.copytree(entry_folder(tmp_path / "other"), tmp_path / "model" / ".new-abcdefgh")
    make = Maker()
    assert not Store(tmp_path).get("model", INGREDIENTS, make).from_store
    assert make.calls == 1


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    make = Maker()
    with pytest.raises(OSError, match=str(tmp_path / "file")):
        Store(tmp_path / "file" / "store").get("model", INGREDIENTS, make)
    assert make.calls == 0


def test_ingredients_without_one_spelling_are_refused_before_any_making(tmp_path):
    make = Maker()
    with pytest.raises(ValueError, match="not JSON compliant"):
        Store(tmp_path).get("model", {"lr": float("nan")}, make)
    assert make.calls == 0


def test_where_locks_do_not_hold_the_first_writer_wins(tmp_path):
    def overtaken():
        shutil.copytree(entry_folder(tmp_path / "other"), entry_folder(tmp_path))
        return {"weight": torch.zeros(1)}, {}

    Store(tmp_path / "other").get("model", INGREDIENTS, Maker())
    Store(tmp_path).get("model", INGREDIENTS, overtaken)
    assert equal(Store(tmp_path).get("model", INGREDIENTS, Maker()).tensors, TENSORS)


# several processes


@pytest.fixture
def another(tmp_path):
    """Start another process that is making the entry of {"seed": 0}."""
    started = []

    def start(ends: str) -> subprocess.Popen:
        command = [sys.executable, "-c", ANOTHER_PROCESS, tmp_path, ends]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        assert started[-1].stdout.readline() == "making\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def told_to_go_on(process: subprocess.Popen) -> None:
    process.stdin.write("go on\n")
    process.stdin.flush()


def test_two_at_once_make_once(tmp_path, another):
    process, said, make = another("well"), [], Maker()
    store = Store(tmp_path, lambda line: (said.append(line), told_to_go_on(process)))
    entry = store.get("model", {"seed": 0}, make)
    assert process.communicate()[0] == "False\n"
    assert entry.from_store
    assert entry.manifest["by"] == "another"
    assert make.calls == 0
    assert said == [f"waiting for another process that makes model {key('model', {'seed': 0})[:12]}"]


def test_killed_maker_is_taken_over_within_seconds(tmp_path, another):
    process, make, killed = another("killed while making"), Maker(by="me"), []

    def kill(line):
        process.send_signal(signal.SIGKILL)
        killed.append(time.monotonic())

    entry = Store(tmp_path, kill).get("model", {"seed": 0}, make)
    assert time.monotonic() - killed[0] < 5
    assert not entry.from_store
    assert make.calls == 1
    assert Store(tmp_path).get("model", {"seed": 0}, make).manifest["by"] == "me"


def test_maker_killed_while_writing_leaves_no_entry(tmp_path, another):
    process = another("killed while writing")
    told_to_go_on(process)
    assert process.wait() == -signal.SIGKILL
    (leftover,) = (tmp_path / "model").glob(".new-*")
    assert json.loads((leftover / "manifest.json").read_text())["by"] == "another"
    make = Maker(by="me")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not Store(tmp_path).get("model", {"seed": 0}, make).from_store
    loaded = Store(tmp_path).get("model", {"seed": 0}, make)
    assert loaded.from_store
    assert equal(loaded.tensors, TENSORS)
