"""The same bytes by every way to a result: launcher, number of workers, store, repetition, kill and resumption.

And by two sweeps at once. At equal `threads`, on one machine; those of SLURM are in test_slurm.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import faults
import pytest
from conftest import HANGS

from softtargets import store
from softtargets.system.files import read_json
from softtargets.system.locks import locked

pytestmark = pytest.mark.kill

SWEEP = ("mu_algo=graddiff", "training.epochs=40", "targets=hard,out_of_fold", "seed=0,1")
OVERLAPPING = (*SWEEP[:2], "targets=out_of_fold", "seed=1,0")
MODELS = 2 * (2 + 5)
"""Of two seeds: the original, the retrained, and a teacher for each of five folds."""


def swept(place: faults.Place, kind: str, overrides: tuple[str, ...] = SWEEP) -> faults.Place:
    """Sweep, well, to the end."""
    well(place, place.start(kind, overrides))
    return place


def well(place: faults.Place, process: subprocess.Popen) -> None:
    left = faults.ended(process, HANGS)
    assert (process.returncode, place.stderr, left) == (0, "", [])
    assert place.damaged() + place.leftovers(killed=True) == []


def made(*folders: Path) -> list[str]:
    """Name the models that were trained for the results in these folders."""
    files = [file for folder in folders for file in folder.glob("**/result.json")]
    return [name for file in files for name in read_json(file)["cost"]["made"]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> faults.Place:
    """A sweep in one process, from nothing."""
    place = swept(faults.Place(tmp_path_factory.mktemp("alone") / "sweep", 1), "sweep")
    assert (len(place.results()), len(made(place.runs))) == (4, MODELS)
    return place


@pytest.mark.parametrize(
    ("kind", "workers", "warm"),
    [("local", 1, True), ("local", 2, False)],
    ids=["one worker, warm", "two workers, cold"],
)
def test_launchers_and_the_store_change_no_byte(kind, workers, warm, alone, tmp_path):
    place = faults.Place(tmp_path / "sweep", workers)
    if warm:
        shutil.copytree(alone.store, place.store)
    swept(place, kind)
    assert place.results() == alone.results()
    assert len(made(place.runs)) == (0 if warm else MODELS)


def test_a_result_is_repeated_from_its_folder(alone, tmp_path):
    place = faults.Place(tmp_path / "again", 1)
    file = min(alone.runs.glob("**/result.json"))
    well(place, place.start("run", (f"rerun='{file.parent}'", "save_models=true"), usual=()))
    assert place.results() == dict([faults.read(file)])
    assert made(place.runs)


def test_a_sweep_that_was_killed_and_resumed_by_another_launcher_changes_no_byte(alone, tmp_path):
    place = faults.Place(tmp_path / "sweep", 2)
    with held(place, seed=1, like=alone):  # half of its runs wait
        process = place.start("local", SWEEP)
        assert faults.wait(HANGS, lambda: list(place.runs.glob("**/result.json")))
        os.killpg(process.pid, signal.SIGKILL)
        faults.ended(process, HANGS)
    before = place.results()
    assert 0 < len(before) < 4
    swept(place, "sweep")
    assert place.results() == alone.results()
    assert before.items() <= place.results().items()


@contextlib.contextmanager
def held(place: faults.Place, seed: int, like: faults.Place) -> Iterator[None]:
    """Hold the lock of the original model of a seed, as if another process were training it."""
    manifests = {path: store.manifest(path)["ingredients"] for path in like.store.glob("model/*/")}
    (key,) = (path.name for path, one in manifests.items() if (one["name"], one["seed"]) == ("original", seed))
    (place.store / "model").mkdir(parents=True, exist_ok=True)
    with locked(place.store / "model" / f"{key}.lock", pytest.fail):
        yield


def at_once(*asked: tuple[faults.Place, str, tuple[str, ...]]) -> None:
    """Start these sweeps together, and see that all of them end well."""
    started = [(place, place.start(kind, overrides)) for place, kind, overrides in asked]
    for _, process in started:
        process.wait(HANGS)
    for place, process in started:
        well(place, process)


def test_two_sweeps_on_one_store_train_each_model_once(alone, tmp_path):
    one, other = (faults.Place(tmp_path / name, 2) for name in ("one", "other"))
    other.store = one.store
    at_once((one, "local", SWEEP), (other, "sweep", OVERLAPPING))
    assert one.results() == alone.results()
    assert other.results().items() < alone.results().items()
    assert len(other.results()) == 2
    assert len(made(one.runs, other.runs)) == len(list(one.store.glob("model/*/manifest.json"))) == MODELS


def test_two_calls_of_one_sweep_at_once_share_its_runs(alone, tmp_path):
    one, other = (faults.Place(tmp_path / name, 2) for name in ("one", "other"))
    other.store, other.runs = one.store, one.runs
    at_once((one, "sweep", SWEEP), (other, "sweep", SWEEP))
    assert one.results() == alone.results()
    assert len(list(one.runs.glob("**/result.json"))) == 4
    assert len(made(one.runs)) == MODELS
    for place in (one, other):
        assert "4 of 4 runs finished, 0 failed; trained 14 models" in said(place)


def said(place: faults.Place) -> str:
    return (place.folder / "stdout").read_text()


def test_two_calls_that_fill_a_store_at_once_come_one_after_the_other(alone, tmp_path):
    one, other = (faults.Place(tmp_path / name, 2) for name in ("one", "other"))
    other.store, other.runs = one.store, one.runs
    warming = (*SWEEP, "stage=train")
    with held(one, seed=0, like=alone):
        started = [(place, place.start("sweep", warming)) for place in (one, other)]
        assert faults.wait(HANGS, lambda: any("waiting for another call" in said(place) for place in (one, other)))
    for place, process in started:
        well(place, process)
    texts = [said(place) for place in (one, other)]
    assert all("4 of 4 runs finished, 0 failed" in text for text in texts)
    assert sum("waiting for another call with stage=train" in text for text in texts) == 1
    assert len(list(one.store.glob("model/*/manifest.json"))) == MODELS
