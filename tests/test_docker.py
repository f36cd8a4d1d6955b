"""The image, built and run. `VERIFY_DOCKERFILE` names a script that builds DIR/Dockerfile into a podman store.

The script is called with DIR, and with WORK for its store; the image is localhost/verify afterwards.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, SMALL

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("machine")]
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096", "--no-healthcheck", "--network=none")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """`image(folder, *words, options=())`: a container's exit code and what it said, `folder` as its data."""
    script = os.environ.get("VERIFY_DOCKERFILE")
    if not script or not shutil.which("podman") or os.geteuid():
        pytest.skip("needs root, podman and VERIFY_DOCKERFILE, a script that builds a Dockerfile")
    work = Path(os.environ.get("WORK") or tmp_path_factory.mktemp("image"))
    environment = os.environ | {"WORK": str(work), "BUILD_ONLY": "1"}
    built = subprocess.run(["bash", script, ROOT], env=environment, capture_output=True, text=True, timeout=1500)
    assert built.returncode == 0, built.stdout + built.stderr
    store = os.environ | {"CONTAINERS_STORAGE_CONF": str(work / "storage.conf")}

    def run(folder: Path, *words: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        start = ("podman", "--runtime", shutil.which("runc"), "run", "--rm", *LIMITS, *options)
        command = (*start, "-v", f"{folder}:/app/data", "localhost/verify", *words)
        done = subprocess.run(command, env=store, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr

    return run


def folder_of(place: Path, uid: int) -> Path:
    place.mkdir(mode=0o755)
    os.chown(place, uid, uid)
    place.parent.chmod(0o755)
    return place


def owners(folder: Path) -> set[int]:
    return {path.stat().st_uid for path in folder.rglob("*")}


@pytest.mark.parametrize("uid", [0, 1234])
def test_a_run_without_network_leaves_all_in_the_mounted_folder_as_its_owner(image, tmp_path, uid):
    folder = folder_of(tmp_path / "data", uid)
    code, said = image(folder, "dataset=fashion_mnist", *SMALL)
    assert code == 0, said
    (file,) = folder.glob("runs/*/result.json")
    assert json.loads(file.read_text())["choices"]["dataset"] == "fashion_mnist"
    assert list(folder.glob("store/**/*.safetensors"))
    assert owners(folder) == {uid}


def test_no_argument_is_the_default_run_and_another_finds_its_models(image, tmp_path):
    folder = folder_of(tmp_path / "data", 1234)
    assert image(folder)[0] == 0
    code, said = image(folder, "targets=soft")
    assert code == 0, said
    assert "original: reused from the store" in said


def test_a_user_can_be_named(image, tmp_path):
    folder = folder_of(tmp_path / "data", 4321)
    code, said = image(folder, *SMALL, options=("--user", "4321:4321"))
    assert code == 0, said
    assert owners(folder) == {4321}


def test_a_sweep_in_workers_runs(image, tmp_path):
    folder = folder_of(tmp_path / "data", 1234)
    code, said = image(folder, "-m", "targets=hard,soft", "hydra/launcher=local", *SMALL)
    assert code == 0, said
    assert "2 of 2 runs finished, 0 failed" in said
    code, said = image(folder, "python", "-m", "softtargets.report", "data/runs")
    assert code == 0, said
    assert (folder / "runs/report.html").is_file()


def test_bad_input_is_one_sentence(image, tmp_path):
    folder = folder_of(tmp_path / "data", 1234)
    code, said = image(folder, "seed=-1")
    assert code == 2
    assert len(said.splitlines()) == 1
    assert not list(folder.iterdir())


@pytest.mark.parametrize(("uid", "options"), [(0, ()), (1234, ()), (1234, ("--user", "1234:1234"))])
def test_the_mounted_clearml_conf_can_be_read(image, tmp_path, uid, options):
    folder, conf = folder_of(tmp_path / "data", uid), tmp_path / "clearml.conf"
    conf.write_text("api { }\n")
    conf.chmod(0o644 if options else 0o600)
    read = "import os, pathlib; print(pathlib.Path(os.environ['CLEARML_CONFIG_FILE']).read_text())"
    code, said = image(folder, "python", "-c", read, options=("-v", f"{conf}:/root/clearml.conf", *options))
    assert code == 0, said
    assert "api { }" in said


def test_the_image_holds_code_and_nothing_else(image, tmp_path):
    entry = ("--entrypoint", "sh")
    _, said = image(folder_of(tmp_path / "data", 0), "-c", "ls -A /app", options=entry)
    expected = {"LICENSE", "README.md", "conf", "data", "docker", "hydra_plugins", "pyproject.toml", "run.py"}
    assert set(said.split()) == expected | {"constraints.txt", "softtargets"}


def test_the_image_has_the_versions_of_the_constraints(image, tmp_path):
    _, said = image(folder_of(tmp_path / "data", 0), "python", "-m", "pip", "freeze", "--exclude-editable")
    there = dict(line.split("==") for line in said.splitlines() if "==" in line)
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert len(there) > 20
    for name, version in there.items():
        if name in pinned:
            assert version.partition("+")[0] == pinned[name], name  # torch's index of CPU wheels adds +cpu
