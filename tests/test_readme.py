"""What the README shows of a user's own algorithm, run as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, SMALL


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_algorithm_in_the_readme_runs_from_a_package_of_ones_own(tmp_path):
    for block in (*blocks("python"), *blocks("yaml")):
        file = tmp_path / block.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block)
    code = (tmp_path / "mine/pull.py").read_text().splitlines()
    assert sum(bool(line) for line in code) < 20
    (line,) = [line for block in blocks("bash") for line in block.splitlines() if "mu_algo=pull" in line]
    settings = " ".join((*SMALL, "unlearn.stop=none", "unlearn.optimizer.lr=0.1"))
    command = line.replace("python run.py", f"{sys.executable} {ROOT / 'run.py'}", 1) + f" {settings}"
    found = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert found.returncode == 0, found.stderr
    (line,) = [line for block in blocks("bash") for line in block.splitlines() if "--mu-algo" in line]
    command = line.replace("pytest ", f"{sys.executable} -m pytest -n0 -p no:cacheprovider {ROOT}/", 1)
    tried = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert "15 passed" in tried.stdout.splitlines()[-1], tried.stdout
    (file,) = Path(os.environ["SOFTTARGETS_RUNS"]).glob("*-pull-hard-0/result.json")
    result = json.loads(file.read_text())
    assert result["choices"]["mu_algo"] == "pull"
    assert result["metrics"]["unlearned"]["forget_loss"] > result["metrics"]["original"]["forget_loss"]
