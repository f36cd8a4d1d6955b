"""The wheel: it carries its configs and a command, and works from any folder without the checkout."""

import json
import os
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import CONF, ROOT, SMALL

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    built = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A virtual environment with this wheel, whose dependencies are those of the tests' own environment."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # paths of a .pth file are searched as they are: the .pth of the checkout's editable install is not read there
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    inside = ["--no-deps", "--no-index", "--quiet", "--target", str(packages), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "install", *inside], check=True, capture_output=True)
    return folder


@pytest.fixture
def call(installed, tmp_path):
    """`call(*words)`: what the command says in a folder of no checkout; it must end with 0 unless told."""

    def result(*words: str, code: int = 0) -> subprocess.CompletedProcess:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        program = "import sys; from softtargets.__main__ import main; sys.exit(main())"
        command = [installed / "bin" / "python", "-c", program, *words]
        found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert found.returncode == code, found.stderr
        return found

    return result


def test_the_wheel_carries_every_config_and_the_command(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    configs = {f"softtargets/conf/{file.relative_to(CONF).as_posix()}" for file in CONF.rglob("*.yaml")}
    assert configs <= set(names)
    assert {"softtargets/py.typed", "softtargets/report/page.js", "hydra_plugins/softtargets_sweeper.py"} <= set(
        names
    )
    (entry,) = [name for name in names if name.endswith("entry_points.txt")]
    assert "softtargets = softtargets.__main__:main" in zipfile.ZipFile(wheel).read(entry).decode()


def test_the_code_is_that_of_the_wheel(installed, tmp_path):
    code = "import softtargets.layout; print(softtargets.layout.CONF)"
    found = subprocess.run([installed / "bin/python", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert Path(found.stdout.strip()).is_relative_to(installed)


def test_a_run_and_its_report_work_from_any_folder(call, tmp_path):
    call("run", *SMALL, "runs_dir=here")
    (file,) = (tmp_path / "here").glob("*/result.json")
    assert json.loads(file.read_text())["provenance"]["git_commit"] is None
    call("report", "here")
    assert (tmp_path / "here" / "report.html").is_file()


def test_a_sweep_in_worker_processes_works_from_any_folder(call, tmp_path):
    workers = ("hydra/launcher=local", "hydra.launcher.n_jobs=2")
    said = call("run", "-m", *SMALL, "seed=0,1", "targets=hard,soft", *workers, "hydra.sweep.dir=sweep").stdout
    assert "4 of 4 runs finished" in said
    assert len(list((tmp_path / "sweep").glob("*/result.json"))) == 4


def test_bad_input_is_one_sentence_of_the_command(call):
    assert call("run", "seed=x", code=2).stderr == "softtargets: seed='x': must be a valid integer\n"
    assert "no such command" in call("rnu", code=2).stderr
    assert "softtargets report FOLDER" in call("--help").stdout
    assert "usage" in call("run", "--help").stdout
    assert "no such store" in call("store", "list", "--dir", "nowhere", code=2).stderr
