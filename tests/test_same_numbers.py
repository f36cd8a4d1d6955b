"""The same bytes by every way to a result: launcher, number of workers, store, repetition, kill and resumption.

And by two sweeps at once. At equal `threads`, on one machine; those of SLURM are in test_slurm.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import faults
import pytest

from softtargets.system.files import read_json

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
    left = faults.ended(process, 100)
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
    process = place.start("local", SWEEP)
    assert faults.wait(60, lambda: list(place.runs.glob("**/result.json")))
    os.killpg(process.pid, signal.SIGKILL)
    faults.ended(process, 10)
    before = place.results()
    assert 0 < len(before) < 4
    swept(place, "sweep")
    assert place.results() == alone.results()
    assert before.items() <= place.results().items()


def at_once(*asked: tuple[faults.Place, str, tuple[str, ...]]) -> None:
    """Start these sweeps together, and see that all of them end well."""
    started = [(place, place.start(kind, overrides)) for place, kind, overrides in asked]
    for _, process in started:
        process.wait(100)
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
        assert "4 of 4 runs finished, 0 failed; trained 14 models" in (place.folder / "stdout").read_text()


def test_two_calls_that_fill_a_store_at_once_come_one_after_the_other(tmp_path):
    one, other = (faults.Place(tmp_path / name, 2) for name in ("one", "other"))
    other.store, other.runs = one.store, one.runs
    warming = (*SWEEP, "stage=train")
    at_once((one, "sweep", warming), (other, "sweep", warming))
    said = [(place.folder / "stdout").read_text() for place in (one, other)]
    assert all("4 of 4 runs finished, 0 failed" in text for text in said)
    assert sum("waiting for another call with stage=train" in text for text in said) == 1
    assert len(list(one.store.glob("model/*/manifest.json"))) == MODELS
