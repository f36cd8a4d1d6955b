"""Every benchmark says how it is called, refuses words that it does not take, and runs at a small size."""

import contextlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import arms
import authors
import cifar_frontier
import efficient
import means
import pytest
import torch
from conftest import CONF, ROOT, options
from conftest import SMALL as SMALL_RUN
from omegaconf import OmegaConf

from softtargets.config import tuned
from softtargets.errors import BadInput
from softtargets.types import Samples

pytestmark = pytest.mark.long

FEW = "dataset=mnist_5k dataset.train_size=300 training.min_steps=20 training.min_epochs=1 unlearn.max_steps=3"
SMALL = {
    "answer.py": "",
    "arms.py": "cost=0.5 trials=1 only=finetune tables={} tuning_pairs=1 fresh_pairs=1 dataset=mnist_5k "
    "dataset.train_size=500 training.epochs=30",
    "browser.py": f"results=20 {FEW}",
    "classes.py": "{}",
    "controls.py": FEW,
    "default_run.py": "pairs=1",
    "examples.py": f"folder={{}} pairs=2 {FEW.rpartition(' ')[0]}",
    "faces.py": "{}",
    "frontier.py": "",
    "gemm.py": "",
    "glance.py": FEW,
    "importances.py": "images=4",
    "last_bits.py": f"seeds=1 {FEW}",
    "leaks.py": f"models=10 {FEW}",
    "levels.py": "studies=3 draws=9 folder={}",
    "meter.py": "rounds=2",
    "methods.py": f"forget_set=random mu_algo=gradasc,graddiff seeds=1 {FEW}",
    "opponents.py": FEW,
    "precision.py": f"architecture=mlp seeds=2 {FEW}",
    "reading.py": f"results=20 {FEW}",
    "recipes.py": "recipes=mlp seeds=2 images=300",
    "roc.py": "{}",
    "run.py": "parts=peers_mlp images=300 folder={}",
    "seed_grid.py": "",
    "settings.py": "{}",
    "sides.py": "{}",
    "stand_in.py": "images=300",
    "study.py": "{}",
    "sweeps.py": "cells=3 watched=40 entries=5 seconds=2",
    "targets.py": f"seeds=1 only=statuses {FEW}",
}
"""Words for a small size; {} is an empty folder."""
ELSEWHERE = {"authors.py", "cifar.py", "cifar_frontier.py", "efficient.py", "means.py"}
"""Run by tests of their own, or in need of images or code that no package brings."""

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


FIGURES = {
    "classes.py": "elsewhere",
    "study.py": "first_study",
    "roc.py": "leaks",
    "faces.py": "at_best",
    "settings.py": "elsewhere",
    "sides.py": "crossed",
}
SLOW = {"default_run.py", "run.py"}
"""Half a minute and more."""


@pytest.mark.parametrize(
    "script", [pytest.param(script, marks=[pytest.mark.slow] if script in SLOW else []) for script in SMALL]
)
def test_a_benchmark_prints_numbers(script, tmp_path):
    folder = tmp_path / "folder"
    if script in FIGURES:  # it draws its figure into the folder that it reads
        shutil.copytree(ROOT / "docs/study" / FIGURES[script], folder)
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


def test_winners_of_a_second_search_are_compared_with_the_first_ones(tmp_path, capsys):
    name = "fashion_mnist/mlp/random"
    entries = tuned.read_table(CONF / "tuned" / f"{name}.yaml")["finetune"]["hard"]
    first = next(one for one in entries if "cost" in one)
    (tmp_path / name).parent.mkdir(parents=True)
    second = first | {"score": first["score"] + 0.25, "interval": None}
    elsewhere = first | {"tuned_on": first["tuned_on"] | {"images": 1}}
    tuned.write(tmp_path / f"{name}.yaml", {"finetune": {"hard": [second, elsewhere]}})
    arms.differ(str(tmp_path))
    *_, row, _, last = capsys.readouterr().out.splitlines()
    assert row.startswith(f"| finetune | hard | {first['cost']:g} | 60 | {first['score']:.3f} (")
    assert row.endswith(f"| {second['score']:.3f} | +0.250 |")
    assert last == "1 arms: |second - first| is 0.250 on average, 0.250 at most"
    arms.scores(str(tmp_path))
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| finetune")]
    low, high = first["interval"]
    shown = [f"{second['score']:.3f}", f"{first['score']:.3f} ({low:.2f} to {high:.2f})"]
    assert rows == [f"| finetune | hard | {score} |" for score in shown]  # of two sizes, in two tables


def test_means_are_those_of_the_runs_of_an_arm(run, called, tmp_path, capsys):
    results = [run(*SMALL_RUN, "mu_algo=finetune", f"seed={seed}")[0] for seed in (0, 1)]
    run(*SMALL_RUN, "mu_algo=none")
    mean = sum(one["metrics"]["unlearned"]["test_acc"] for one in results) / 2
    capsys.readouterr()
    means.main(str(tmp_path), "metrics.unlearned.test_acc", "cost.steps")
    out = capsys.readouterr().out
    (row,) = [line for line in out.splitlines() if " finetune " in line]
    assert row.endswith(f"| 2 | {mean:.4g} | {results[0]['cost']['steps']} |")
    assert " none " in out
    code, _, err = called("means.py", str(tmp_path), "metrics.no_such_number")
    assert (code, err.count("\n")) == (2, 1)
    assert "metrics.no_such_number" in err


@pytest.fixture
def frontier(tmp_path, monkeypatch):
    """`frontier(*arms, **settings)`: call the CIFAR-10 frontier with searches that know these arms alone.

    Returns the searches' words and the sweeps', each in its order.
    """
    file = tmp_path / "experiment/cifar_frontier.yaml"

    def called(*arms: str, **settings: str) -> tuple[list[list[str]], list[list[str]]]:
        searches, sweeps = [], []

        def search(words, say):
            searches.append(words)
            if not set(arms) & {*words}:
                raise KeyboardInterrupt
            kept = [word for word in words if not word.startswith(("trials=", "tuning_pairs=", "fresh_pairs="))]
            return {"words": [*kept, "unlearn.schedule={peak:1,warmup:2}", "tuned=none"]}

        def sweep(words):
            assert len(OmegaConf.load(file).hydra.sweeper.cells) == 6  # written before the first run
            sweeps.append(words)

        monkeypatch.setattr(cifar_frontier, "softtargets", SimpleNamespace(search=search, sweep=sweep))
        with contextlib.suppress(KeyboardInterrupt):
            cifar_frontier.main(path="images", folder=str(tmp_path), **settings)
        return searches, sweeps

    return called


def test_what_the_cifar_frontier_found_is_kept_and_not_searched_again(frontier, tmp_path):
    def searched(searches: list[list[str]]) -> list[str]:
        return [word for words in searches for word in words if word.startswith("mu_algo=")]

    names = [arm.split()[0] for arm in cifar_frontier.ARMS]
    searches, sweeps = frontier(*names[:2])  # stopped in the third search
    assert (searched(searches), sweeps) == (names[:3], [])
    searches, sweeps = frontier(*names)
    assert searched(searches) == names[2:]
    assert frontier() == ([], sweeps)
    study = OmegaConf.load(tmp_path / "experiment/cifar_frontier.yaml")
    assert study.hydra.sweeper.cells[0] == "mu_algo=none"
    assert study.hydra.sweeper.cells[3] == (
        "mu_algo=relabel targets=out_of_fold 'unlearn.schedule={peak:1,warmup:2}' unlearn.cost=0.05,0.1,0.2"
    )
    shared = cifar_frontier.NETWORK | cifar_frontier.USUAL
    usual = {"tuned": "none", "unlearn.evaluate_every": "null", "pairs": "10"}
    assert study.hydra.sweeper.params == usual | shared
    assert "path" not in str(study)  # the images may lie elsewhere on another machine


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ({}, {"trials": "5"}, "trials=5: {} is a study with trials=20. "),
        ({"threads": "2"}, {}, "no threads: {} is a study with threads=2. "),
        ({}, {"training.clip_norm": "1"}, "training.clip_norm=1: {} is a study with no training.clip_norm. "),
    ],
)
def test_a_study_of_the_cifar_frontier_with_other_settings_is_refused(first, then, said, frontier, tmp_path):
    frontier("mu_algo=retrain", **first)
    file = tmp_path / "experiment/cifar_frontier.yaml"
    before = file.read_bytes()
    with pytest.raises(BadInput) as refused:
        frontier("mu_algo=finetune", **then)
    assert str(refused.value) == said.format(file) + "Type the same, or give another folder"
    assert file.read_bytes() == before


@pytest.mark.parametrize("recipe", [name for name in options("training") if name.endswith("_efficient")])
def test_an_efficient_recipe_is_the_winner_of_its_search(recipe):
    lines = (ROOT / "benchmarks/results/efficient.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if f"{row['architecture']}_efficient" == recipe]
    conf = OmegaConf.load(CONF / "training" / f"{recipe}.yaml")
    winner = efficient.chosen(efficient.means(rows))
    assert winner == efficient.Candidate(conf.epochs, conf.batch_size, conf.schedule.peak)


@pytest.fixture
def clones(tmp_path, monkeypatch):
    """`clones(repository, **files)`: a folder with a clone of ours in place of the authors' one, at its commit."""

    def laid(repository: str, **files: str) -> Path:
        path = tmp_path / repository.partition("/")[2]
        for name, text in files.items():
            file = path / f"{name.replace('__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        git = ["git", "-C", path, "-c", "user.name=a", "-c", "user.email=a@b"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "code"]):
            subprocess.run([*git, *words], check=True)
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
        others = [one for one in authors.REPOSITORIES if not one.startswith(f"{repository}@")]
        monkeypatch.setattr(authors, "REPOSITORIES", (*others, f"{repository}@{commit}"))
        return tmp_path

    return laid


def test_a_missing_clone_is_the_command_that_brings_it(called, tmp_path):
    code, _, err = called("authors.py", str(tmp_path), "only=ssd")
    assert (code, err.count("\n")) == (2, 1)
    path = tmp_path / "selective-synaptic-dampening"
    assert (
        f"git clone https://github.com/if-loops/selective-synaptic-dampening {path} && git -C {path} check" in err
    )


def test_a_clone_at_another_commit_is_refused(called, clones):
    folder = clones("if-loops/selective-synaptic-dampening", src__ssd="")
    code, _, err = called("authors.py", str(folder), "only=ssd")  # the script's own list has another commit
    assert (code, err.count("\n")) == (2, 1)
    assert "is at another commit" in err


def test_each_clone_has_its_own_modules_and_leaves_none_behind(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helper_of_theirs.py").write_text(f"NAME = {name!r}")
        (tmp_path / name / "method.py").write_text(
            "import matplotlib.pyplot as plt, helper_of_theirs, absent\nNAME = helper_of_theirs.NAME\n"
            "class Own(absent.Base): pass\nleft, right = plt.draw().of(1)\ntext = f'{left:.2f}'"
        )
    before = dict(sys.modules)
    for name in ("one", "other"):
        with authors.imported(tmp_path / name, "method", "absent") as module:
            assert (module.NAME, module.text) == (name, "")
    assert sys.modules == before


@pytest.mark.parametrize(("row", "dataset"), [("relabel", "cifar10"), ("relabel_mixed", "cifar100")])
def test_each_order_of_random_labels_is_the_authors_and_may_replace_labels(row, dataset, tmp_path):
    (tmp_path / "unlearn.py").write_text(
        "def RL(loaders, model, criterion, args):\n"
        "    images = loaders['forget'].dataset\n"
        "    images.targets = images.targets + 10\n"
        "    model.seen = args.dataset, next(iter(loaders['forget']))[1].tolist()"
    )
    few = Samples(torch.zeros(2, 3), torch.tensor([1, 1]), torch.eye(2))
    pair = SimpleNamespace(seed=0, original=SimpleNamespace(), forget=few, retain=few)
    assert authors.METHODS[row].theirs(tmp_path, pair, 0.01, 1).seen == (dataset, [11, 11])


def test_code_that_does_nothing_is_as_far_as_doing_nothing(clones, capsys, tmp_path, monkeypatch):
    helper = "thirdparty__repdistiller__helper__loops"
    folder = clones("meghdadk/SCRUB", **{helper: "def train_negrad(*_, **__): pass"})
    monkeypatch.setenv("SOFTTARGETS_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(ROOT)
    authors.main(str(folder), "only=neggrad_plus", "pairs=2", *FEW.split())
    first, *_, last = capsys.readouterr().out.splitlines()
    nothing = re.search(r"JS_T (\d\.\d{4})", first)[1]
    name, _, _, theirs, ours, _, _, usual, our_usual, _, seconds = [
        cell.strip() for cell in last.strip("|").split("|")
    ]
    assert (name, theirs, usual) == ("neggrad_plus", nothing, nothing)
    assert nothing not in (ours, our_usual)
    assert int(seconds) >= 0


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ([-1, 1, 0], "no worse beyond noise"),
        ([1, 1.1, 0.9], "worse"),
        ([-1, -1.1, -0.9], "nearer"),
        ([1, float("nan")], "not finite"),
    ],
)
def test_a_verdict_is_where_the_interval_lies(differences, said):
    assert authors.verdict(*authors.interval(differences)) == said


def test_a_setting_whose_models_are_not_finite_wins_no_search(monkeypatch):
    monkeypatch.setattr(authors, "run", lambda side, one, *setting: side(*setting))
    scores = {(0.3, 1): float("nan"), (0.2, 1): 2.0, (0.1, 1): 1.0}
    tuning = [SimpleNamespace(score=lambda score: score)] * 2
    assert authors.best(lambda *setting: scores[setting], list(scores), tuning) == (0.1, 1)
