"""Every benchmark says how it is called, refuses words that it does not take, and runs at a small size."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys

import efficient
import pytest
from conftest import CONF, ROOT, options
from omegaconf import OmegaConf

pytestmark = pytest.mark.long

FEW = "dataset=mnist_5k dataset.train_size=300 training.min_steps=20 training.min_epochs=1 unlearn.max_steps=3"
SMALL = {
    "arms.py": "cost=0.5 trials=1 only=finetune tables={} tuning_pairs=1 fresh_pairs=1 dataset=mnist_5k "
    "dataset.train_size=500 training.epochs=30",
    "browser.py": f"results=20 {FEW}",
    "controls.py": FEW,
    "default_run.py": "pairs=1",
    "examples.py": f"folder={{}} pairs=2 {FEW.rpartition(' ')[0]}",
    "frontier.py": "",
    "gemm.py": "",
    "glance.py": FEW,
    "last_bits.py": f"seeds=1 {FEW}",
    "leaks.py": f"models=10 {FEW}",
    "levels.py": "studies=3 draws=9 folder={}",
    "meter.py": "rounds=2",
    "methods.py": f"forget_set=random mu_algo=gradasc,graddiff seeds=1 {FEW}",
    "opponents.py": FEW,
    "precision.py": f"architecture=mlp seeds=2 {FEW}",
    "reading.py": f"results=20 {FEW}",
    "recipes.py": "recipes=mlp seeds=2 images=300",
    "run.py": "parts=peers_mlp images=300 folder={}",
    "seed_grid.py": "",
    "stand_in.py": "images=300",
    "study.py": "{}",
    "sweeps.py": "cells=3 watched=40 entries=5 seconds=2",
    "targets.py": f"seeds=1 only=statuses {FEW}",
}
"""Words for a small size; {} is an empty folder."""
ELSEWHERE = {"cifar.py", "efficient.py"}
"""Run by tests of their own, or in need of images that no package brings (cifar.py)."""

SCRIPTS = sorted(file.name for file in (ROOT / "benchmarks").glob("*.py") if file.name != "usage.py")


@pytest.fixture
def called(monkeypatch, capsys):
    """`called(script, *words)`: exit code, stdout and stderr of a benchmark, run in this process."""

    def ended(script: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
        monkeypatch.setattr(sys, "argv", [str(ROOT / "benchmarks" / script), *words])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(sys.argv[0], run_name="__main__")
        return end.value.code, *capsys.readouterr()

    return ended


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_a_usage_text(called, script):
    code, out, err = called(script, "--help")
    assert (code, err) == (0, "")
    assert f"`python benchmarks/{script}" in out


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_word_that_is_not_taken_is_one_sentence(called, script):
    code, _, err = called(script, "--nonsense", "--more")
    assert code == 2
    assert err.count("\n") == 1
    assert err.startswith(f"{script}: ")


def test_every_benchmark_is_run():
    assert {*SMALL, *ELSEWHERE} == {*SCRIPTS}


SLOW = {"default_run.py", "run.py"}
"""Half a minute and more."""


@pytest.mark.parametrize(
    "script", [pytest.param(script, marks=[pytest.mark.slow] if script in SLOW else []) for script in SMALL]
)
def test_a_benchmark_prints_numbers(script, tmp_path):
    folder = tmp_path / "folder"
    if script == "study.py":  # it draws its figure into the folder that it reads
        shutil.copytree(ROOT / "docs/study/soft_study", folder)
    folder.mkdir(exist_ok=True)
    words = SMALL[script].format(folder).split()
    places = {f"SOFTTARGETS_{name}": str(tmp_path / name.lower()) for name in ("STORE", "RUNS")}
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}", *words],
        cwd=ROOT,
        env=os.environ | places | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d", done.stdout)
    assert "nan" not in done.stdout


@pytest.mark.parametrize("recipe", [name for name in options("training") if name.endswith("_efficient")])
def test_an_efficient_recipe_is_the_winner_of_its_search(recipe):
    lines = (ROOT / "benchmarks/results/efficient.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if f"{row['architecture']}_efficient" == recipe]
    conf = OmegaConf.load(CONF / "training" / f"{recipe}.yaml")
    winner = efficient.chosen(efficient.means(rows))
    assert winner == efficient.Candidate(conf.epochs, conf.batch_size, conf.schedule.peak)
