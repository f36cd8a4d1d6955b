"""What README and the pages show: every run is composed, and own parts are run as they stand there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import answer
import faces
import pytest
from conftest import ROOT, SMALL
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from softtargets.execution import composed_run

OWN = "docs/own.md"


def blocks(language: str, page: str = "README.md") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def lines_with(word: str) -> list[str]:
    """Return the commands of docs/own.md that have this word, which may be a pattern."""
    return [line for block in blocks("bash", OWN) for line in block.splitlines() if re.search(word, line)]


@pytest.fixture
def package(tmp_path) -> Path:
    """The folder in which the parts of docs/own.md lie, each in its file."""
    for block in (*blocks("python", OWN), *blocks("yaml", OWN)):
        file = tmp_path / block.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block)
    return tmp_path


def called(line: str, *settings: str, folder: Path) -> None:
    """Run a command of the page with further settings, in the folder of its package."""
    command = line.replace("python run.py", f"{sys.executable} {ROOT / 'run.py'}", 1)
    command = command.replace("python -m", f"{sys.executable} -m", 1)
    ended = subprocess.run(
        " ".join((command, *settings)), shell=True, cwd=folder, capture_output=True, text=True, env=os.environ
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.long
def test_the_targets_of_the_page_drive_a_run_from_a_package_of_ones_own(package):
    (line,) = lines_with("targets/forget=flat")
    small = [word for word in SMALL if not word.startswith("mu_algo=")]
    called(line, *small, "save_models=true", "hydra.run.dir=flat", folder=package)
    result = json.loads((package / "flat/result.json").read_text())
    assert result["choices"]["targets"].startswith("flat")
    # descent to half of the uniform distribution makes the model less sure of the forget set
    assert result["metrics"]["unlearned"]["forget_loss"] > result["metrics"]["original"]["forget_loss"]


@pytest.mark.long
def test_the_algorithm_of_the_page_runs_from_a_package_of_ones_own(package, tmp_path):
    code = (tmp_path / "mine/pull.py").read_text().splitlines()
    assert sum(bool(line) for line in code) < 20
    (line,) = lines_with("run.py .*mu_algo=pull")
    (asked,) = re.findall(r'"evidence=\[mine\..*?"', (ROOT / OWN).read_text())
    small = [word for word in SMALL if not word.startswith("mu_algo=")]
    called(line, *small, "unlearn.stop=none", "unlearn.optimizer.lr=0.1", asked, folder=package)
    (line,) = lines_with("--mu-algo")
    command = line.replace("pytest ", f"{sys.executable} -m pytest -n0 -p no:cacheprovider {ROOT}/", 1)
    tried = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert "16 passed" in tried.stdout.splitlines()[-1], tried.stdout
    (file,) = Path(os.environ["SOFTTARGETS_RUNS"]).glob("*-pull-hard-0/result.json")
    result = json.loads(file.read_text())
    assert result["choices"]["mu_algo"] == "pull"
    assert all(0.1 < metrics["mine.certainty.certainty"] <= 1 for metrics in result["metrics"].values())
    assert result["metrics"]["unlearned"]["forget_loss"] > result["metrics"]["original"]["forget_loss"]


@pytest.mark.long
def test_the_search_of_the_page_draws_from_the_space_of_ones_own_algorithm(package):
    (line,) = lines_with("softtargets search")
    small = [word for word in SMALL if not word.startswith(("mu_algo=", "unlearn."))]
    pairs = ("trials=3", "tuning_pairs=2", "fresh_pairs=2")
    called(line, *small, "unlearn.cost=0.5", *pairs, folder=package)
    (folder,) = Path(os.environ["SOFTTARGETS_RUNS"]).glob("search/*-pull-hard-*")
    (word,) = [word for word in json.loads((folder / "winner.json").read_text())["words"] if "alpha" in word]
    assert 0.1 <= float(word.removeprefix("mu_algo.alpha=")) <= 10


QUICK = ("README.md", "docs/runs.md")
LONGER = tuple(f"docs/{name}.md" for name in ("quickstart", "sweeps", "plan", "slurm", "tracking"))


def uses(*pages: str) -> list[tuple[str, ...]]:
    """Return the words of every run in the commands of the pages, each once, but runs with parts of one's own."""
    whole = [block.replace("\\\n", "") for page in pages for block in blocks("bash", page)]
    lines = [line for block in whole for line in block.splitlines()]
    calls = {match[1] for line in lines if (match := re.search(r"\bpython run\.py(.*)", line))}
    words = [shlex.split(call, comments=True) for call in calls if "--help" not in call and "mine" not in call]
    return sorted({tuple(word for word in one if word not in ("-m", "plan=true")) for one in words})


def every_use() -> list:
    """Return the words of `uses`, those that README and docs/runs.md lack as tests of minutes."""
    quick = uses(*QUICK)
    more = [words for words in uses(*LONGER) if words not in quick]
    return [*quick, *(pytest.param(words, marks=pytest.mark.long) for words in more)]


@pytest.mark.parametrize("page", [*QUICK, *LONGER])
def test_each_page_has_a_run(page):
    assert uses(page)


@pytest.mark.parametrize("words", every_use(), ids=" ".join)
def test_every_run_of_the_pages_is_composed_and_built(words, fashion, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "rerun=runs/first" in words:
        shutil.copytree(run(*SMALL)[1], "runs/first")
    words = [re.sub(r"^pairs=[\d-]+", "seed=0", re.sub(r"range\(\d+\)", "0", word)) for word in words]
    first = [word if "[" in word else word.partition(",")[0] for word in words]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", first, return_hydra_config=True)
    with open_dict(config):
        config.hydra.overrides.task = first
    composed_run.check_runnable(config)


def test_the_algorithm_of_the_readme_is_that_of_the_page_on_own_parts():
    shown = [block for language in ("python", "yaml") for block in blocks(language)]
    assert shown
    assert set(shown) <= {*blocks("python", OWN), *blocks("yaml", OWN)}
    assert set(blocks("bash")[-1].splitlines()) <= {
        line for block in blocks("bash", OWN) for line in block.splitlines()
    }


def test_shares_of_the_answer_are_those_of_the_figure_and_of_the_study():
    answer = (ROOT / "README.md").read_text().partition("## The answer so far")[2].partition("\n## ")[0]
    shares = re.findall(r"(−?\d+) %\s+\[(−?\d+), (−?\d+)\]", answer)
    studies = [ROOT / f"docs/study/{name}/standing.csv" for name in ("labels_alone", "crossed", "at_best")]
    found = [faces.arms_in(file, name).values() for file in studies for name in faces.RECIPES]
    points = [point for arms in found for point in arms]
    known = [faces.way_left(rows[face]) for rows in points for face in faces.FACES]
    assert len(shares) > 5
    for share in shares:
        assert tuple(int(number.replace("−", "-")) for number in share) in {
            tuple(round(100 * number) for number in point) for point in known
        }


def test_the_table_of_the_answer_is_what_its_command_prints(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    answer.main()
    printed = capsys.readouterr().out
    assert printed in (ROOT / "README.md").read_text()
    # read off docs/study/labels_alone/standing.csv by hand: .00777 nats, another retraining .00462
    assert "| a random tenth | 6,000 images of Fashion-MNIST | **1.7** |" in printed
