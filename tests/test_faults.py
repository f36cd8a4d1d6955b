"""After kills, full disks, damage and jumps of the clock no number is lost or wrong, and the user is told.

Random kills by hand: `python tests/faults.py`.
"""

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import faults
import numpy as np
import pytest
from conftest import HANGS, ROOT, SMALL

import softtargets
from softtargets import store
from softtargets.config.resolve import config_hash
from softtargets.errors import BadInput
from softtargets.execution import ingredients
from softtargets.execution.run_files import read_result
from softtargets.report import runs
from softtargets.store.__main__ import verify

KILLS = list(itertools.islice(faults.attacks(6), 7))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return faults.undisturbed(tmp_path_factory.mktemp("undisturbed"), workers=2)


def test_the_kills_are_of_every_kind():
    assert {(kill.kind, kill.victim) for kill in KILLS} == {
        (kind, victim) for kind, victims in faults.VICTIMS.items() for victim in victims
    }
    assert {kill.signal for kill in KILLS} == set(faults.SIGNALS)


@pytest.mark.kill
@pytest.mark.parametrize("number", range(len(KILLS)))
def test_a_kill_at_a_random_moment_loses_nothing(number, undisturbed, tmp_path):
    outcome = faults.trial(KILLS[number], undisturbed, tmp_path / "trial", workers=2)
    assert outcome.losses + outcome.files + outcome.processes + outcome.messages == [], KILLS[number]


# disks


@pytest.fixture
def disk(tmp_path):
    """`disk(options)`: a small disk of its own, mounted anew with other options at every call."""
    place = tmp_path / "disk"
    place.mkdir()

    def mounted(options: str) -> Path:
        remount = "remount," if place.is_mount() else ""
        subprocess.run(["mount", "-t", "tmpfs", "-o", remount + options, "tmpfs", place], check=True)
        return place

    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    yield mounted
    if place.is_mount():
        subprocess.run(["umount", place], check=True)


def called(tmp_path: Path, **places: Path) -> subprocess.CompletedProcess:
    """Run the command with store and runs in these places."""
    folders = {
        f"SOFTTARGETS_{name}": str(places.get(name.lower(), tmp_path / name.lower())) for name in ("RUNS", "STORE")
    }
    command = [sys.executable, ROOT / "run.py", *SMALL, "save_models=true"]
    return subprocess.run(
        command, cwd=tmp_path, env=os.environ | folders, capture_output=True, text=True, timeout=HANGS
    )


def numbers(folder: Path) -> str:
    """Return what may not depend on when and how often a run was called."""
    (result,) = folder.glob("*/result.json")
    return faults.read(result)[1]


@pytest.mark.long
@pytest.mark.parametrize("full", ["store", "runs"])
def test_a_full_disk_is_named_and_a_second_call_ends_the_work(full, disk, tmp_path):
    place = disk("size=120k")
    there = {full: place / full}
    found = called(tmp_path, **there)
    assert (found.returncode, found.stdout.count("\n") < 40) == (1, True)
    (sentence,) = found.stderr.splitlines()
    assert sentence.startswith(f"run.py: No space left on device: {place}")
    assert not list((tmp_path / "runs").glob("*/result.json")) + list(place.glob("runs/*/result.json"))
    for path in store.entries(there.get("store", tmp_path / "store")):
        assert store.load_entry(path) is not None
    assert not list(place.rglob(".new-*"))
    disk("size=100m")
    found = called(tmp_path, **there)
    assert (found.returncode, found.stderr) == (0, "")
    elsewhere = tmp_path / "elsewhere"
    assert called(tmp_path, store=elsewhere / "store", runs=elsewhere / "runs").returncode == 0
    kept = there.get("runs", tmp_path / "runs")
    shutil.rmtree(min(kept.iterdir(), key=lambda folder: (folder / "result.json").exists()))  # the first call's
    assert numbers(kept) == numbers(elsewhere / "runs")


@pytest.mark.long
@pytest.mark.parametrize("name", ["store", "runs"])
def test_a_folder_only_to_be_read_is_refused_before_any_work(name, disk, tmp_path):
    found = called(tmp_path, **{name: disk("ro") / name})
    assert found.returncode == 2
    assert found.stderr.startswith(f"run.py: {'store.dir' if name == 'store' else 'runs_dir'}=")
    assert "cannot be written to" in found.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk"]


# damage

FILES = {"manifest.json", "tensors.safetensors"}
"""What an entry of the store is made of."""


def flipped(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def rerun(folder: Path, run) -> None:
    run(f"rerun={folder}")


def arrays(folder: Path, run) -> None:
    """Read all margins; those that can be read are as they were, since what was flipped was no number."""
    names = np.load(folder.parent / "whole/margins.npz").files
    found = runs.Run(folder, {}, runs.Cell(()), "").arrays(*names)
    wanted = runs.Run(folder.parent / "whole", {}, runs.Cell(()), "").arrays(*names)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(found, wanted, strict=True))
    raise BadInput("margins.npz: what was flipped was no number")


READERS = {
    "result.json": lambda folder, run: runs.read(folder),
    "config.yaml": rerun,
    "margins.npz": arrays,
    **dict.fromkeys(
        ("original.safetensors", "retrained.safetensors", "unlearned.safetensors"),
        lambda folder, run: softtargets.load(folder),
    ),
}
"""Who reads each file that a run leaves."""


def test_a_flipped_bit_in_any_file_of_a_run_is_told(run, tmp_path):
    _, folder = run(*SMALL, "save_models=true")
    assert {file.name for file in folder.iterdir()} == READERS.keys()
    shutil.copytree(folder, tmp_path / "whole")
    draw = random.Random(0)
    for name, reader in READERS.items():
        for _ in range(5):
            flipped(folder / name, draw)
            with pytest.raises(
                (BadInput, ValueError), match=name.partition(".")[0] if name != "config.yaml" else "rerun="
            ):
                reader(folder, run)
            shutil.copy2(tmp_path / "whole" / name, folder / name)


def test_a_damaged_result_is_made_again_and_not_taken(run, tmp_path, composed):
    result, folder = run(*SMALL)
    asked = config_hash(composed(*SMALL))
    assert read_result(folder, asked)["hashes"] == result["hashes"]
    flipped(folder / "result.json", random.Random(1))
    assert read_result(folder, asked) is None


@pytest.mark.long
def test_a_flipped_bit_in_any_file_of_the_store_is_told_and_the_numbers_are_made_again(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTTARGETS_STORE", str(tmp_path / "store"))
    asked = (*SMALL, "mu_algo=relabel", "targets=out_of_fold")
    wanted = faults.read(run(*asked, "save_models=true")[1] / "result.json")
    draw = random.Random(0)
    assert {path.parent.name for path in store.entries(tmp_path / "store")} == {"model", "logits", "targets"}
    for stage, name in itertools.product(("model", "logits", "targets"), FILES):
        entries = [path for path in store.entries(tmp_path / "store") if path.parent.name == stage]
        for path in entries:
            assert {file.name for file in path.iterdir()} == FILES
            flipped(path / name, draw)
        with pytest.warns(UserWarning, match="[0-9a-f]{64} is damaged; renamed to"):
            _, folder = run(*asked, "save_models=true")
        assert faults.read(folder / "result.json") == wanted
        verify(tmp_path / "store")  # sets aside what was not asked for, such as teachers whose targets are there
        assert len(list((tmp_path / "store").glob(f"{stage}/*.damaged-*"))) == len(entries)
        for aside in (tmp_path / "store").glob("*/*.damaged-*"):
            shutil.rmtree(aside)


# time, and versions


@pytest.mark.long
@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_jumps_changes_no_number(jump, run, tmp_path, monkeypatch):
    _, folder = run(*SMALL, "save_models=true")
    monkeypatch.setenv("SOFTTARGETS_STORE", str(tmp_path / "store"))
    clock, calls = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: clock() + jump * next(calls))
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * time.time()))
    result, disturbed = run(*SMALL, "save_models=true")
    assert faults.read(disturbed / "result.json") == faults.read(folder / "result.json")
    assert all(0 < result["cost"][name] < 60 for name in ("train_s", "retrain_s", "unlearn_s"))
    assert all(store.load_entry(path) for path in store.entries(tmp_path / "store"))


@pytest.mark.long
def test_two_versions_of_the_code_share_a_store_and_nothing_in_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTTARGETS_STORE", str(tmp_path / "store"))
    first, _ = run(*SMALL)
    before = {path: path.stat().st_ino for path in store.entries(tmp_path / "store")}
    raised = {name: version + 1 for name, version in ingredients.CODE.items()}
    monkeypatch.setattr(ingredients, "CODE", raised)
    newer, _ = run(*SMALL)
    assert newer["cost"]["made"] == first["cost"]["made"] == ["original", "retrained"]
    monkeypatch.undo()
    monkeypatch.setenv("SOFTTARGETS_STORE", str(tmp_path / "store"))
    with warnings.catch_warnings(action="error"):
        older, _ = run(*SMALL)
    assert older["cost"]["made"] == []
    after = {path: path.stat().st_ino for path in store.entries(tmp_path / "store")}
    assert before.items() < after.items()
    assert len(after) == 2 * len(before)
    assert json.dumps(older["metrics"]) == json.dumps(first["metrics"])
