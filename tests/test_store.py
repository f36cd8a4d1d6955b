"""The store: made once, loaded after, whole or not at all, by any number of processes that may be killed."""

import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import HANGS

from softtargets import store as store_module
from softtargets.errors import BadInput
from softtargets.report.__main__ import main as report
from softtargets.store import Store, key, tensor_file
from softtargets.store import __main__ as housekeeping
from softtargets.store.__main__ import main as look_after
from softtargets.store.__main__ import prune
from softtargets.system.locks import locked
from softtargets.table.__main__ import main as table
from softtargets.tracker.__main__ import main as tracker

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
    with locked(entry_folder(tmp_path).with_suffix(".lock"), pytest.fail):
        assert Store(tmp_path, pytest.fail).get("model", INGREDIENTS, Maker()).from_store


def test_seconds_are_those_of_the_making(tmp_path, monkeypatch):
    now, make = {"perf_counter": 10.0, "process_time": 1.0}, Maker()
    for name in now:
        monkeypatch.setattr(store_module.time, name, functools.partial(now.get, name))
    entry = Store(tmp_path).get("model", {}, lambda: now.update(perf_counter=13.5, process_time=3.0) or make())
    assert (entry.seconds, entry.manifest["cpu_seconds"]) == (3.5, 2.0)


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


TYPES = (
    *(torch.bool, torch.uint8, torch.int8, torch.float8_e5m2, torch.float8_e4m3fn, torch.int16, torch.uint16),
    *(torch.float16, torch.bfloat16, torch.int32, torch.uint32, torch.float32, torch.complex64, torch.float64),
    *(torch.int64, torch.uint64),
)


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_a_file_of_tensors_is_the_librarys(tmp_path, kind):
    both = torch.randn(3, 4)
    tensors = {
        '"ö"': torch.tensor([1, 0]),
        "a/b": both.T,
        "none": torch.empty(0, 3),
        "one": torch.tensor(2),
        "tied": both,
        "within": both[1:],
        "kind": torch.arange(14).view(2, 7).to(kind),
    }
    expected = safetensors.torch.save({name: tensor.contiguous().clone() for name, tensor in tensors.items()})
    file, (written, read) = tmp_path / "file", (hashlib.sha256(), hashlib.sha256())
    tensor_file.write(file, tensors, written)
    assert file.read_bytes() == expected
    assert tensor_file.size(tensors) == len(expected)
    assert equal(tensor_file.read(file, read), safetensors.torch.load(expected))
    assert written.digest() == read.digest() == hashlib.sha256(expected).digest()


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002], ids=oct)
def test_a_file_of_tensors_has_the_rights_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        tensor_file.write(tmp_path / "file", {"a": torch.zeros(1)}, hashlib.sha256())
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_file_that_is_shortened_while_its_tensors_are_in_use_takes_nothing_from_them(tmp_path):
    file, numbers = tmp_path / "file", torch.randn(10**6)
    tensor_file.write(file, {"a": numbers}, hashlib.sha256())
    found = tensor_file.read(file, hashlib.sha256())
    os.truncate(file, 0)
    assert found["a"].equal(numbers)


def test_a_files_numbers_are_in_memory_once(tmp_path):
    """While 200 MB are written, and while they are read, by a process of its own."""
    code = """
import hashlib, sys, torch
from pathlib import Path
from softtargets.store import tensor_file
from softtargets.system.memory import peak_bytes
file, sha = Path(sys.argv[1]), hashlib.sha256()
if not file.exists():
    before = peak_bytes()
    tensor_file.write(file, {"a": torch.ones(50 * 10**6)}, sha)
else:
    tensor_file.write(file.with_name("small"), {"a": torch.ones(1)}, sha)  # the library is loaded
    before = peak_bytes()
    tensor_file.read(file, sha)
print((peak_bytes() - before) / 10**6)
"""
    words = [sys.executable, "-c", code, tmp_path / "file"]
    took = [float(subprocess.check_output(words)) for _ in ("write", "read")]
    assert all(190 < megabytes < 240 for megabytes in took), took


HEADERS = {
    "no header": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "no tensor": b'{"a": 1}',
    "a deep one": b"[" * 100_000,
    "an unknown type": b'{"a":{"dtype":"F1","shape":[2],"data_offsets":[0,8]}}',
    "fewer numbers": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}',
    "a gap": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
    "bytes left": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "more than the file": b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}',
    "more than any file": b'{"a":{"dtype":"U8","shape":[1000000000000],"data_offsets":[0,1000000000000]}}',
    "sides below 0": b'{"a":{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}}',
    "a side of text": b'{"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}',
    "a side and a half": b'{"a":{"dtype":"F32","shape":[0.5,4],"data_offsets":[0,8]}}',
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_file_whose_header_does_not_fit_has_no_tensors(tmp_path, header):
    content = HEADERS[header]
    for length in (len(content), len(content) + 9, 2**63):
        (tmp_path / "file").write_bytes(length.to_bytes(8, "little") + content + bytes(8))
        assert tensor_file.read(tmp_path / "file", hashlib.sha256()) is None


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
    with pytest.warns(UserWarning, match=f"{path.name} is damaged; renamed to"):
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
    with pytest.raises(BadInput, match=rf"^store.dir={tmp_path}/file/store: .*\. Give a folder"):
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


@pytest.mark.long
def test_two_at_once_make_once(tmp_path, another):
    process, said, make = another("well"), [], Maker()
    store = Store(tmp_path, lambda line: (said.append(line), told_to_go_on(process)))
    entry = store.get("model", {"seed": 0}, make)
    assert process.communicate()[0] == "False\n"
    assert entry.from_store
    assert entry.manifest["by"] == "another"
    assert make.calls == 0
    assert said == [f"waiting for another process that computes model {key('model', {'seed': 0})[:12]}"]


def test_killed_maker_is_taken_over_at_once(tmp_path, another, waits):
    process, make = another("killed while making"), Maker(by="me")
    entry = Store(tmp_path, lambda line: (process.kill(), process.wait())).get("model", {"seed": 0}, make)
    assert waits == [0.05]
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


# housekeeping


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def filled(folder: Path, *seeds: int) -> list[Path]:
    for seed in seeds:
        Store(folder).get("model", {"name": "original", "seed": seed}, Maker())
    return [folder / "model" / key("model", {"name": "original", "seed": seed}) for seed in seeds]


def aged(path: Path, days: float = 100) -> Path:
    """Set back the times of all that lies at a path, itself included."""
    then = time.time() - days * 86400
    for file in (path, *(path.iterdir() if path.is_dir() and not path.is_symlink() else ())):
        os.utime(file, (then, then), follow_symlinks=False)
    return path


def test_looking_at_a_store_is_no_use_of_it(tmp_path, capsys):
    (path,) = filled(tmp_path, 0)
    aged(path)
    before = times(tmp_path)
    assert (look_after(["list", f"--dir={tmp_path}"]), look_after(["verify", f"--dir={tmp_path}"])) == (0, 0)
    assert times(tmp_path) == before
    assert "whole: 1 of 1 entry" in capsys.readouterr().out
    assert look_after(["prune", f"--dir={tmp_path}", "--dry-run"]) == 0
    size = sum(file.stat().st_size for file in path.iterdir())
    freed = f"1 entry, {size / 1e6:.1f} MB\n"
    assert (path.exists(), capsys.readouterr().out) == (True, f"would remove {path}\nwould remove {freed}")
    assert look_after(["prune", f"--dir={tmp_path}"]) == 0
    assert capsys.readouterr().out == f"removed {path}\nremoved {freed}"
    assert list((tmp_path / "model").iterdir()) == []
    for more, said in (([], "removed"), (["--dry-run"], "would remove")):
        assert look_after(["prune", f"--dir={tmp_path}", *more]) == 0
        assert capsys.readouterr() == (f"{said} 0 entries, 0.0 MB\n", "")


def test_prune_sums_what_it_removes(tmp_path, capsys):
    paths = [aged(path) for path in filled(tmp_path, 0, 1)]
    for path in paths:
        os.truncate(path / "tensors.safetensors", 3_000_000)
        aged(path)
    filled(tmp_path, 2)  # young
    assert look_after(["prune", f"--dir={tmp_path}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "removed 2 entries, 6.0 MB"


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
@pytest.mark.parametrize("name", ["dang", "logits/dang", f"model/{'0' * 64}", f"model/{'0' * 64}x"])
def test_a_link_that_leads_nowhere_is_named_and_the_rest_is_done(tmp_path, capsys, command, name):
    (path,) = filled(tmp_path, 0)
    aged(path)
    (tmp_path / "logits").mkdir()
    (tmp_path / name).symlink_to("nowhere")
    assert look_after([command, f"--dir={tmp_path}"]) == 1
    said, complaint = capsys.readouterr()
    assert complaint == f"{tmp_path / name}: a broken link; not changed\n"
    assert (tmp_path / name).is_symlink()
    expected = {"list": path.name[:16], "verify": "whole: 1 of 1 entry", "prune": f"removed {path}"}
    assert expected[command] in said


@pytest.mark.parametrize("name", ["notes.txt", "model/notes.txt", f"model/{'0' * 64}"])
def test_what_no_store_makes_is_named_and_left_alone(tmp_path, capsys, name):
    filled(tmp_path, 0)
    (tmp_path / name).write_text("mine")
    assert look_after(["prune", f"--dir={tmp_path}"]) == 0
    assert capsys.readouterr() == (
        "removed 0 entries, 0.0 MB\n",
        f"{tmp_path / name}: not an entry of the store; not changed\n",
    )
    assert (tmp_path / name).read_text() == "mine"


def test_use_keeps_an_entry(tmp_path):
    (path,) = filled(tmp_path, 0)
    aged(path)
    assert Store(tmp_path).get("model", {"name": "original", "seed": 0}, Maker()).from_store
    assert look_after(["prune", f"--dir={tmp_path}"]) == 0
    assert path.exists()


def test_list_reads_no_tensors(tmp_path, capsys):
    paths = filled(tmp_path, 0, 1)
    os.truncate(paths[0] / "tensors.safetensors", 10**12)  # a hole that no machine could read
    assert look_after(["list", f"--dir={tmp_path}"]) == 0
    *rows, total = capsys.readouterr().out.splitlines()
    assert [row.split()[-2:] for row in sorted(rows, key=lambda row: row[-1])] == [
        ["name=original", "seed=0"],
        ["name=original", "seed=1"],
    ]
    assert total.startswith("1000000.0 MB in ")


DAMAGED_MANIFESTS = {
    "a list": lambda file: file.write_text("[]"),
    "empty": lambda file: file.write_text("{}"),
    "half": lambda file: file.write_text(file.read_text()[:20]),
    "no text": lambda file: file.write_bytes(b"\xff\x00"),
    "no cpu_seconds": lambda file: changed(file, "cpu_seconds", "cpu_secunds"),
    "words for seconds": lambda file: file.write_text(json.dumps(json.loads(file.read_text()) | {"seconds": "x"})),
    "ingredients that are none": lambda file: file.write_text(
        json.dumps(json.loads(file.read_text()) | {"ingredients": "x"})
    ),
    "deep": lambda file: file.write_text("[" * 10**5),
    "none": lambda file: file.unlink(),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "a dangling link": lambda file: (file.unlink(), file.symlink_to("nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGED_MANIFESTS)
def test_a_damaged_manifest_is_listed_as_such_and_set_aside_by_verify(tmp_path, capsys, damage):
    bad, good = filled(tmp_path, 0, 1)
    DAMAGED_MANIFESTS[damage](bad / "manifest.json")
    assert look_after(["list", f"--dir={tmp_path}"]) == 0
    listed, found = capsys.readouterr()
    rows = {line.split()[1]: line for line in listed.splitlines()[:-1]}
    assert ["damaged" in rows[path.name[:16]] for path in (bad, good)] == [True, False]
    assert look_after(["verify", f"--dir={tmp_path}"]) == 1
    found += capsys.readouterr().err
    assert found == ""
    assert (bad.exists(), good.exists()) == (False, True)
    assert look_after(["verify", f"--dir={tmp_path}"]) == 0


def test_verify_looks_again_under_the_lock(tmp_path, monkeypatch, capsys):
    """A run makes the entry anew after `verify` has found it damaged."""
    (path,) = filled(tmp_path, 0)
    content = (path / "tensors.safetensors").read_bytes()
    (path / "tensors.safetensors").write_bytes(b"")

    def mended(lock, busy):
        (path / "tensors.safetensors").write_bytes(content)
        return contextlib.nullcontext()

    monkeypatch.setattr(housekeeping, "locked", mended)
    assert look_after(["verify", f"--dir={tmp_path}"]) == 0
    assert path.exists()
    assert capsys.readouterr().out == "whole: 1 of 1 entry\n"


@pytest.mark.parametrize("command", ["verify", "prune"])
def test_what_is_being_made_is_left_in_peace(tmp_path, capsys, command):
    (path,) = filled(tmp_path, 0)
    (path / "tensors.safetensors").unlink()
    aged(path)
    with locked(path.with_suffix(".lock"), pytest.fail):
        look_after([command, f"--dir={tmp_path}"])
    assert path.exists()
    assert f"in use: {path}\n" in capsys.readouterr().out


def link_to_another(place: Path, path: Path) -> None:
    path.symlink_to(place / "elsewhere")


ODDITIES = {
    "a dangling link": lambda place, path: path.symlink_to("nowhere"),
    "a link to itself": lambda place, path: path.symlink_to(path),
    "a link to a folder": link_to_another,
    "a file": lambda place, path: path.write_text(""),
}


@pytest.mark.parametrize("name", [".new-1", f"{'0' * 64}.damaged-1", "0" * 64, "no key"])
@pytest.mark.parametrize("oddity", ODDITIES)
def test_prune_removes_the_rest_whatever_lies_beside(tmp_path, capsys, oddity, name):
    store, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "manifest.json").write_text("mine")
    old = [aged(path) for path in filled(store, 0, 1)]
    odd = store / "model" / name
    ODDITIES[oddity](tmp_path, odd)
    aged(odd)
    aged(elsewhere)
    (store / "a file").write_text("")
    (store / "dangling").symlink_to("nowhere")
    debris = "." in name or (oddity == "a link to a folder" and name != "no key")
    strange = [store / "a file", store / "dangling", *([] if debris else [odd])]
    for command in ("list", "prune"):
        assert look_after([command, f"--dir={store}"]) == 1  # for the dangling one
        complaints = capsys.readouterr().err.splitlines()
        assert [line.partition(": ")[0] for line in complaints] == list(map(str, strange))
    assert [path.exists() for path in old] == [False, False]
    assert (elsewhere / "manifest.json").read_text() == "mine"
    assert os.path.lexists(odd) == (not debris)


def test_an_entry_that_cannot_be_looked_at_is_named_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    paths = sorted(filled(tmp_path, 0, 1))
    for path in paths:
        aged(path)
    iterdir, rename, read_bytes = Path.iterdir, Path.rename, Path.read_bytes

    def refusing(call):
        def refused(path, *arguments):
            if paths[0] in (path, path.parent):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *arguments)

        return refused

    monkeypatch.setattr(Path, "iterdir", refusing(iterdir))  # as for anybody but root
    monkeypatch.setattr(Path, "rename", refusing(rename))
    monkeypatch.setattr(Path, "read_bytes", refusing(read_bytes))
    for command in ("list", "verify", "prune"):
        assert look_after([command, f"--dir={tmp_path}"]) == 1
        said, complaint = capsys.readouterr()
        assert complaint == f"{paths[0]}: Permission denied\n"
        assert {"list": paths[1].name[:16], "verify": "1 of 2 entries", "prune": str(paths[1])}[command] in said
    assert [path.exists() for path in paths] == [True, False]


def test_two_prunes_at_once_remove_everything_and_complain_of_nothing(tmp_path, capsys):
    paths = [aged(path) for path in filled(tmp_path, *range(40))]
    codes = []
    prunes = [threading.Thread(target=lambda: codes.append(prune(tmp_path, 30.0, False))) for _ in range(3)]
    for thread in prunes:
        thread.start()
    for thread in prunes:
        thread.join()
    assert codes == [0, 0, 0]
    assert not any(path.exists() for path in paths)
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count(f"removed {tmp_path}") == 40


def test_what_one_prune_removes_is_no_debris_for_another(tmp_path, capsys, monkeypatch):
    (path,) = filled(tmp_path, 0)
    aged(path)
    remove, codes = housekeeping.shutil.rmtree, []

    def slowly(folder):
        monkeypatch.setattr(housekeeping.shutil, "rmtree", remove)
        codes.append(prune(tmp_path, 30.0, False))
        remove(folder)

    monkeypatch.setattr(housekeeping.shutil, "rmtree", slowly)
    codes.append(prune(tmp_path, 30.0, False))
    said = capsys.readouterr()
    assert (codes, said.err) == ([0, 0], "")
    assert said.out.splitlines()[:2] == ["removed 0 entries, 0.0 MB", f"removed {path}"]


@pytest.mark.parametrize("days", ["-1", "nan", "inf", "x", ""])
def test_a_number_of_days_that_is_none_is_refused(tmp_path, capsys, days):
    (path,) = filled(tmp_path, 0)
    with pytest.raises(SystemExit) as ended:
        look_after(["prune", f"--dir={tmp_path}", f"--older-than={days}"])
    assert ended.value.code == 2
    assert f"--older-than: {days}: must be a number of days, at least 0" in capsys.readouterr().err
    assert path.exists()


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
@pytest.mark.parametrize("place", ["file", "file/below", "not there", "dangling", "~nobody-of-that-name"])
def test_a_store_that_is_none_is_one_sentence(tmp_path, monkeypatch, capsys, command, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    assert look_after([command, f"--dir={place}"]) == 2
    said, complaint = capsys.readouterr()
    assert (said, complaint.count("\n"), place in complaint) == ("", 1, True)


@pytest.mark.parametrize("main", [look_after, report, table, tracker])
def test_an_empty_path_as_of_an_unset_variable_is_refused(main, tmp_path, monkeypatch, capsys):
    (path,) = filled(tmp_path / "usual", 100)
    monkeypatch.setenv("SOFTTARGETS_STORE", str(tmp_path / "usual"))
    monkeypatch.chdir(tmp_path)
    words = {look_after: ["prune", "--dir", ""], report: [""], table: ["add", ""], tracker: ["upload", ""]}
    with pytest.raises(SystemExit) as ended:
        main(words[main])
    assert (ended.value.code, "empty; give a path" in capsys.readouterr().err) == (2, True)
    assert path.exists()


def test_a_path_too_long_is_no_store(capsys):
    assert look_after(["list", "--dir", "x" * 300]) == 2
    assert "no such store" in capsys.readouterr().err


# the place


@pytest.mark.parametrize("chosen", [None, "~", "~/store"])
def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch, chosen):
    for name in ("HOME", "XDG_CACHE_HOME", "SOFTTARGETS_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4711)  # as in a container that was started with --user 4711
    with pytest.raises(BadInput, match=r"^store.dir=.*: this user has no home folder. Set store.dir=DIR or "):
        store_module.store_folder(chosen)
    assert store_module.store_folder("/a/b") == Path("/a/b")


def test_a_store_behind_a_link_is_the_same_store(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    assert not Store(tmp_path / "link").get("model", INGREDIENTS, Maker()).from_store
    assert Store(tmp_path / "there").get("model", INGREDIENTS, Maker()).from_store
    assert look_after(["verify", f"--dir={tmp_path / 'link'}"]) == 0


IN_THE_WAY = {
    "a dangling link for a store": lambda folder: folder.symlink_to("nowhere"),
    "a file for a store": lambda folder: folder.write_text(""),
    "a file for a stage": lambda folder: (folder.mkdir(), (folder / "model").write_text("")),
    "a dangling link for a stage": lambda folder: (folder.mkdir(), (folder / "model").symlink_to("nowhere")),
}


@pytest.mark.parametrize("planted", IN_THE_WAY)
def test_a_store_that_cannot_be_made_is_one_sentence_before_any_making(tmp_path, planted):
    IN_THE_WAY[planted](tmp_path / "store")
    make = Maker()
    with pytest.raises(
        BadInput, match=rf"^store.dir={tmp_path}/store: .* cannot be written to \(.*store.dir=DIR$"
    ):
        Store(tmp_path / "store").get("model", INGREDIENTS, make)
    assert make.calls == 0


@pytest.mark.parametrize("planted", ["a dangling link", "a link to itself", "a file"])
def test_what_lies_at_an_entrys_path_is_set_aside(tmp_path, planted):
    path = entry_folder(tmp_path)
    path.parent.mkdir()
    ODDITIES[planted](tmp_path, path)
    with pytest.warns(UserWarning, match="is damaged; renamed to"):
        Store(tmp_path).get("model", INGREDIENTS, Maker())
    assert Store(tmp_path).get("model", INGREDIENTS, Maker()).from_store


def test_a_store_only_to_be_read_works_for_what_is_there(tmp_path):
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    Store(tmp_path / "store").get("model", INGREDIENTS, Maker())
    disk, make = tmp_path / "disk", Maker()
    disk.mkdir()
    for options in ([str(tmp_path / "store"), "--bind"], ["-o", "remount,ro,bind"]):
        subprocess.run(["mount", *options, disk], check=True)
    try:
        assert Store(disk).get("model", INGREDIENTS, make).from_store
        with pytest.raises(
            BadInput, match=rf"^store.dir={disk}: .* cannot be written to \(Read-only file system\)"
        ):
            Store(disk).get("model", {"seed": 1}, make)
        assert make.calls == 0
        assert [look_after([command, f"--dir={disk}"]) for command in ("list", "verify", "prune")] == [0, 0, 0]
    finally:
        subprocess.run(["umount", disk], check=True)


# colleagues


def as_user(number: int, act, *arguments) -> None:
    """Be another user of group 12000, with the usual umask, and do something."""
    os.setgroups([12000])
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)
    os.umask(0o022)
    act(*arguments)


def makes(folder: Path, seed: int) -> None:
    assert not Store(folder).get("model", {"seed": seed}, Maker()).from_store


def takes(folder: Path, seed: int) -> None:
    manifest = folder / "model" / key("model", {"seed": seed}) / "manifest.json"
    before = manifest.stat().st_mtime
    assert Store(folder).get("model", {"seed": seed}, Maker()).from_store
    assert manifest.stat().st_mtime > before + 86400  # so that prune knows of the use


def fails_to_make(folder: Path, seed: int) -> None:
    def fails():
        raise KeyError

    with pytest.raises(KeyError):
        Store(folder).get("model", {"seed": seed}, fails)


def mends(folder: Path, seed: int) -> None:
    with pytest.warns(UserWarning, match="is damaged; renamed to"):
        makes(folder, seed)


def spoils(folder: Path, seed: int) -> None:
    (folder / "model" / key("model", {"seed": seed}) / "tensors.safetensors").write_bytes(b"")


def prunes(folder: Path, seed: int) -> None:
    assert prune(folder, 0.0, False) == 0
    assert list((folder / "model").glob("?" * 64)) == []


@pytest.fixture
def users():
    """`users(number, act, ...)`: have a process of another user do something; and a folder that they share."""
    if os.geteuid() != 0:
        pytest.skip("only root may be two users")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["softtargets.store.__main__"])

    def call(number: int, act, *arguments) -> None:
        process = server.Process(target=as_user, args=(number, act, *arguments))
        process.start()
        process.join(HANGS)
        assert process.exitcode == 0

    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to other users
        os.chmod(place, 0o755)
        shared = Path(place, "shared")
        shared.mkdir()
        os.chown(shared, 0, 12000)
        shared.chmod(0o2775)
        yield call, shared


@pytest.mark.long
def test_two_users_of_a_group_share_a_store_whatever_their_umask(users):
    call, shared = users
    for act, seed in ((makes, 0), (fails_to_make, 1)):
        call(12001, act, shared / "deep" / "store", seed)
    for path in (shared / "deep").rglob("*"):
        assert path.stat().st_mode & stat.S_IWGRP, path
    aged(shared / "deep" / "store" / "model" / key("model", {"seed": 0}))
    for act, seed in ((takes, 0), (makes, 1), (spoils, 0), (mends, 0)):
        call(12002, act, shared / "deep" / "store", seed)
    call(12001, prunes, shared / "deep" / "store", 0)


def test_a_store_of_ones_own_is_not_opened_to_a_group(users):
    call, shared = users
    shared.chmod(0o777)
    os.chown(shared, 0, 0)  # writable, and yet of another group than what a user makes in it
    call(12001, makes, shared / "store", 0)
    assert not any(path.stat().st_mode & stat.S_IWGRP for path in (shared / "store").rglob("*"))
