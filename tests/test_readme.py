"""What the README shows of a user's own algorithm and measure, run as it stands there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SMALL
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from softtargets.execution import composed_run


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.long
def test_the_algorithm_in_the_readme_runs_from_a_package_of_ones_own(tmp_path):
    for block in (*blocks("python"), *blocks("yaml")):
        file = tmp_path / block.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block)
    code = (tmp_path / "mine/pull.py").read_text().splitlines()
    assert sum(bool(line) for line in code) < 20
    (line,) = [line for block in blocks("bash") for line in block.splitlines() if "mu_algo=pull" in line]
    (asked,) = re.findall(r'"evidence=\[mine\..*?"', (ROOT / "README.md").read_text())
    small = [word for word in SMALL if not word.startswith("mu_algo=")]
    settings = " ".join((*small, "unlearn.stop=none", "unlearn.optimizer.lr=0.1", asked))
    command = line.replace("python run.py", f"{sys.executable} {ROOT / 'run.py'}", 1) + f" {settings}"
    found = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert found.returncode == 0, found.stderr
    (line,) = [line for block in blocks("bash") for line in block.splitlines() if "--mu-algo" in line]
    command = line.replace("pytest ", f"{sys.executable} -m pytest -n0 -p no:cacheprovider {ROOT}/", 1)
    tried = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert "16 passed" in tried.stdout.splitlines()[-1], tried.stdout
    (file,) = Path(os.environ["SOFTTARGETS_RUNS"]).glob("*-pull-hard-0/result.json")
    result = json.loads(file.read_text())
    assert result["choices"]["mu_algo"] == "pull"
    assert all(0.1 < metrics["mine.certainty.certainty"] <= 1 for metrics in result["metrics"].values())
    assert result["metrics"]["unlearned"]["forget_loss"] > result["metrics"]["original"]["forget_loss"]


def uses() -> list[list[str]]:
    """Return the words of every run in the block "Use"; of a sweep those of its first run."""
    (block,) = [block for block in blocks("bash") if "run.py --help" in block]
    lines = [shlex.split(line, comments=True)[2:] for line in block.splitlines()]
    return [[word for word in words if word != "-m"] for words in lines if "--help" not in words]


@pytest.mark.parametrize("words", uses(), ids=" ".join)
def test_every_run_of_the_readme_is_composed_and_built(words, fashion, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "rerun=runs/first" in words:
        shutil.copytree(run(*SMALL)[1], "runs/first")
    words = [word.replace("range(5)", "0").replace("pairs=25", "seed=0") for word in words]
    first = [word if "[" in word else word.partition(",")[0] for word in words]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", first, return_hydra_config=True)
    with open_dict(config):
        config.hydra.overrides.task = first
    composed_run.check_runnable(config)
