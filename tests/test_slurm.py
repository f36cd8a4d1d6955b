"""Sweeps on a real SLURM of one node with 2 CPUs, started for this session, without accounting."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import submitit
from clearml_stub import Stub
from conftest import HANGS, ROOT, SMALL
from slurm_stub import StubLauncher
from submitit.core.utils import FailedJobError
from test_resumable import ended, times_run, values
from test_resumable import start as start_toy
from test_sweep import GRID, comparable, results, start, sweep
from test_tracker import whole_and_parts

from softtargets.resumable.arrays import cut
from softtargets.resumable.launching import reason
from softtargets.resumable.slurm_jobs import run_arrays
from softtargets.resumable.slurm_queue import Queue, array_limit

pytestmark = pytest.mark.slurm

HERE = Path(__file__).parent / "slurm"
SLURM = ("hydra/launcher=slurm", "hydra.launcher.mem_gb=1", "hydra.launcher.timeout_min=20")


# algorithms that the tests sweep with; `fit.seed` tells the runs apart


def gated(original, forget, retain, fit):
    """Say that this run is here, and wait until the test lets all go on."""
    store = Path(os.environ["SOFTTARGETS_STORE"])
    life = f"{submitit.JobEnvironment().job_id} {os.getpid()} {os.environ.get('SLURM_RESTART_COUNT', 0)}\n"
    with (store / f"reached-{fit.seed}").open("a") as file:
        file.write(life)
    while not ((store / "open").exists() or (store / f"open-{fit.seed}").exists()):
        time.sleep(0.1)
    return original


def troubled_once(original, forget, retain, fit):
    """Raise with seed 1 and be killed with seed 2, the first time."""
    mark = Path(os.environ["SOFTTARGETS_STORE"], f"trouble-{fit.seed}")
    if fit.seed in (1, 2) and not mark.exists():
        mark.touch()
        if fit.seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        raise ArithmeticError("one bad seed")
    return original


def bad_or_gated(original, forget, retain, fit):
    """Raise with seed 0, and wait with the others, which nobody lets go on."""
    if fit.seed == 0:
        raise ArithmeticError("one bad seed")
    return gated(original, forget, retain, fit)


def algorithm(function) -> tuple[str, ...]:
    return f"mu_algo._target_=test_slurm.{function.__name__}", "~mu_algo.alpha", "plugins=[test_slurm]"


@pytest.fixture(scope="session")
def cluster():
    """The variables with which a process finds the cluster."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    needed = ("munged", "slurmctld", "slurmd", "sbatch")
    if missing := [name for name in needed if shutil.which(name, path=path) is None]:
        pytest.skip(f"needs slurm-wlm and munge: there is no {', '.join(missing)}")
    with tempfile.TemporaryDirectory(
        prefix="slurm-"
    ) as folder:  # munge refuses pytest's, which others cannot enter
        try:
            subprocess.run([HERE / "start_slurm.sh", folder], check=True, timeout=HANGS)
            yield {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin:{os.environ['PATH']}"}
        finally:
            subprocess.run([HERE / "stop_slurm.sh", folder], timeout=HANGS)


@pytest.fixture
def folder(tmp_path, monkeypatch, cluster):
    """A folder of its own for the test's runs and store."""
    for name in ("RUNS", "STORE"):
        monkeypatch.setenv(f"SOFTTARGETS_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "store").mkdir()
    yield tmp_path
    slurm("scancel", "--me")  # the jobs of a test that failed, which would hold the next one's
    until(lambda: not slurm("squeue", "--noheader"))


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=HANGS).stdout


def until(found):
    """Wait until `found()` is true, and return what it found."""
    end = time.monotonic() + HANGS
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def reached(folder: Path) -> dict[int, list[list[str]]]:
    """Return, by seed, the lives of the run that came to its gate: job, process and restarts."""
    texts = {int(file.name.partition("-")[2]): file.read_text() for file in folder.glob("store/reached-*")}
    return {  # the diagnosis calls an algorithm too; a file that was just made is empty
        seed: [line.split() for line in dict.fromkeys(text.splitlines())] for seed, text in texts.items() if text
    }


def submitted(folder: Path) -> int:
    """Count the jobs whose submission is complete."""
    return len(list(folder.glob("runs/sweep/.submitit/*/*_submitted.pkl")))


def failed(stdout: str) -> list[str]:
    return [line for line in stdout.splitlines() if line.startswith("failed: ")]


def test_an_array_shares_the_store_and_gives_the_results_of_local_runs(folder, tmp_path_factory, monkeypatch):
    names = {"partition": "debug", "account": "us", "qos": "normal", "max_num_timeout": 5, "array_parallelism": 7}
    code, stdout, stderr = sweep(folder, *GRID, *SLURM, *(f"hydra.launcher.{k}={v}" for k, v in names.items()))
    assert code == 0, stderr
    found = results(folder)
    assert "8 of 8 runs finished, 0 failed; trained 4 models, reused 12 from the store" in stdout
    assert sum(len(result["cost"]["made"]) for result in found.values()) == 4

    (script,) = folder.glob("runs/sweep/.submitit/*/*submission.sh")
    lines = script.read_text().splitlines()
    asked = {"partition": "debug", "account": "us", "qos": "normal", "time": 20, "mem": "1GB", "array": "0-7%7"}
    asked |= {
        "cpus-per-task": 1,
        "ntasks-per-node": 1,
        "nodes": 1,
        "job-name": "softtargets",
        "signal": "USR2@120",
    }
    assert {f"#SBATCH --{name}={value}" for name, value in asked.items()} | {"#SBATCH --requeue"} <= set(lines)
    assert not any("gpu" in line for line in lines)
    assert "export OMP_NUM_THREADS=1" in lines
    assert all(result["provenance"]["machine"]["device"] == "cpu" for result in found.values())

    elsewhere = tmp_path_factory.mktemp("local")
    for name in ("RUNS", "STORE"):
        monkeypatch.setenv(f"SOFTTARGETS_{name}", str(elsewhere / name.lower()))
    assert sweep(elsewhere, *GRID)[0] == 0
    assert comparable(found) == comparable(results(elsewhere))


def test_the_gpu_preset_asks_for_one_gpu_each(folder):
    """The node has none: SLURM refuses, and the sweep says so instead of waiting."""
    gpu = ("seed=0,1", "hydra/launcher=slurm_gpu", "hydra.launcher.mem_gb=1")
    code, stdout, stderr = sweep(folder, *gpu, "device=cpu")
    assert (code, stdout) == (2, "")
    assert "device=cuda" in stderr
    assert not (folder / "runs").exists()
    code, stdout, stderr = sweep(folder, *gpu, "device=cuda")
    assert code == 1
    (script,) = folder.glob("runs/sweep/.submitit/.submission_file_*.sh")
    assert "#SBATCH --gpus-per-node=1" in script.read_text().splitlines()
    *_, sentence = stderr.splitlines()  # before it stands what submitit hands on
    assert sentence.startswith("run.py: SLURM accepted no job: sbatch: error: Invalid generic resource")
    assert stderr.count("run.py: ") == 1
    assert failed(stdout) == []
    assert "0 of 2 runs finished, 0 failed, 2 not started" in stdout


def test_a_raised_and_a_killed_run_lose_no_other(folder, monkeypatch):
    """Here `sacct` only says that there is no accounting."""
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(":")[2])
    arguments = ("seed=range(3)", *algorithm(troubled_once), *SLURM)
    code, stdout, _ = sweep(folder, *arguments)
    assert code == 1
    raised, killed = failed(stdout)
    assert raised.startswith("failed: seed=1-")
    assert raised.endswith(": ArithmeticError: one bad seed")
    assert re.fullmatch(r"failed: seed=2-\w+: no result, because its process was killed", killed)
    assert "1 of 3 runs finished, 2 failed" in stdout
    (error,) = folder.glob("runs/sweep/*/error.json")
    assert "troubled_once" in json.loads(error.read_text())["traceback"]
    logs = {file.parent.name[-1]: file.read_text() for file in folder.glob("runs/sweep/.submitit/*/*_log.err")}
    assert "Killed" in logs["2"]

    before = results(folder)
    code, stdout, stderr = sweep(folder, *arguments)
    assert code == 0, stderr
    assert "3 of 3 done (1 from an earlier call)" in stdout
    assert before.items() <= results(folder).items()
    assert len(list(folder.glob("runs/sweep/.submitit/[0-9]*_*"))) == 3 + 2, "only what was missing ran again"


def test_every_run_of_an_array_is_tracked(folder, monkeypatch):
    for name in [name for name in os.environ if name.startswith("CLEARML_")]:
        monkeypatch.delenv(name)
    server, conf = Stub(), folder / "clearml.conf"
    conf.write_text(server.conf())
    monkeypatch.setenv("CLEARML_CONFIG_FILE", str(conf))
    code, stdout, stderr = sweep(folder, "targets=hard,soft", "seed=0,1", "tracker=clearml", *SLURM)
    assert code == 0, stderr
    assert stdout.splitlines()[-1].startswith(f"tracking: {server.url}")
    whole_and_parts(server, 4)
    server.shutdown()
    server.server_close()


def test_a_sweep_that_fails_fast_cancels_its_jobs(folder):
    code, out, err = sweep(folder, *SLURM, *SMALL, *algorithm(bad_or_gated), "seed=range(4)", "fail_fast=1")
    assert code == 1
    assert "fail_fast=1: a run failed, so the sweep ends here: ArithmeticError: one bad seed" in err
    assert "0 of 4 runs finished, 1 failed, 3 stopped or not started\n" in out
    assert not slurm("squeue", "--noheader").split()


@pytest.mark.parametrize("state", ["RUNNING", "PENDING"])
def test_a_cancelled_run_loses_no_other(folder, state):
    process = start(folder, "seed=range(3)", *algorithm(gated), *SLURM)
    until(lambda: len(reached(folder)) == 2)
    jobs = slurm("squeue", "--noheader", "--array", "--format=%i", f"--states={state}").split()
    slurm("scancel", jobs[0])
    # submitit's processes ignore SIGTERM: let through its gate meanwhile, a cancelled run would finish
    until(lambda: jobs[0] not in slurm("squeue", "--noheader", "--array", "--format=%i").split())
    (folder / "store/open").touch()
    stdout, _ = process.communicate(timeout=HANGS)
    assert process.returncode == 1
    assert len(failed(stdout)) == 1
    assert f"failed: seed={jobs[0][-1]}-" in stdout, "the task's number is the seed here"
    assert "2 of 3 runs finished, 1 failed" in stdout


def test_a_preempted_run_is_requeued_and_goes_on_from_the_store(folder):
    """SLURM tells of a coming time-out by the same signal."""
    process = start(folder, "seed=0,1", *algorithm(gated), *SLURM)
    first = until(lambda: len(reached(folder)) == 2 and reached(folder))
    slurm("scancel", "--signal=USR2", first[1][0][0])
    lives = until(lambda: len(reached(folder)[1]) == 2 and reached(folder)[1])
    (folder / "store/open").touch()
    stdout, stderr = process.communicate(timeout=HANGS)
    assert process.returncode == 0, stderr
    (job, _, restarts), (same_job, _, restarts_now) = lives
    assert (job, restarts, restarts_now) == (same_job, "0", "1")
    assert "2 of 2 runs finished, 0 failed" in stdout
    from_store = {result["choices"]["seed"]: result["cost"]["from_store"] for result in results(folder).values()}
    assert from_store == {0: [], 1: ["original", "retrained"]}


def test_a_preempted_job_of_several_cells_repeats_none_that_finished(folder):
    """Jobs of two cells have twice the time limit; one array of two is submitted after the other."""
    limits = ("hydra.sweeper.cells_per_job=2", "hydra.sweeper.array_size=2", "hydra.launcher.array_parallelism=2")
    process = start(folder, "seed=range(6)", *algorithm(gated), *SLURM, *limits)
    until(lambda: {0, 1} <= reached(folder).keys())
    (folder / "store/open-0").touch()
    lives = until(lambda: 3 in reached(folder) and reached(folder))  # the job of 0 goes on with 3
    assert lives[0][0][:2] == lives[3][0][:2], "the same job and process"
    slurm("scancel", "--signal=USR2", lives[3][0][0])
    until(lambda: len(reached(folder)[3]) == 2)
    assert sorted(reached(folder)) == [0, 1, 3], "the second array waits"
    (folder / "store/open").touch()
    stdout, stderr = process.communicate(timeout=HANGS)
    assert process.returncode == 0, stderr
    assert "6 cells: 3 jobs of at most 2 cells, in 2 arrays of at most 2 jobs" in stdout
    assert "6 of 6 runs finished, 0 failed" in stdout
    assert {seed: len(lives) for seed, lives in reached(folder).items()} == dict.fromkeys(range(6), 1) | {3: 2}
    scripts = [file.read_text() for file in folder.glob("runs/sweep/.submitit/*/*submission.sh")]
    assert len(scripts) == 2
    assert all("#SBATCH --time=40\n" in script for script in scripts)


def test_300_cells_with_arrays_of_at_most_20(folder):
    """Arrays are cut by the site's own limit; of the work there is a stub."""
    assert array_limit() == 20
    arrays = cut([(seed, [str(seed)]) for seed in range(300)], 6, array_limit())
    assert [len(array) for array in arrays] == [20, 20, 10]
    failures = run_arrays(StubLauncher(folder), arrays, Queue(folder / ".submitit"))
    assert failures == {7: "no luck"}
    assert all((folder / str(seed)).read_text() == "ran\n" for seed in range(300))


def test_an_array_over_the_sites_limit_is_refused_with_what_to_set(folder):
    arrays = cut([(seed, [str(seed)]) for seed in range(21)], 1, 21)
    queue = Queue(folder / ".submitit")
    with pytest.raises(FailedJobError) as error:
        run_arrays(StubLauncher(folder), arrays, queue)
    said = reason(error.value, queue)
    assert said.startswith("SLURM accepted no job: ")
    assert said.endswith("Invalid job array specification; lower hydra.sweeper.array_size to what the site allows")


def test_jobs_outlive_the_submitter_and_a_second_call_takes_their_results(folder):
    arguments = ("seed=range(4)", *algorithm(gated), *SLURM)
    process = start(folder, *arguments)
    until(lambda: len(reached(folder)) == 2 and submitted(folder) == 4)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = start(folder, *arguments)
    assert again.stdout.readline().startswith("waiting for jobs of an earlier call; to cancel them: scancel ")
    (folder / "store/open").touch()
    stdout, stderr = again.communicate(timeout=HANGS)
    assert again.returncode == 0, stderr
    assert "4 of 4 runs finished, 0 failed" in stdout
    assert {seed: len(lives) for seed, lives in reached(folder).items()} == dict.fromkeys(range(4), 1)
    assert len(list(folder.glob("runs/sweep/.submitit/[0-9]*_*"))) == 4, "nothing was submitted twice"


def test_a_call_that_waits_for_jobs_of_an_earlier_one_and_is_stopped_loses_nothing(folder):
    arguments = ("seed=range(4)", *algorithm(gated), *SLURM)
    process = start(folder, *arguments)
    until(lambda: len(reached(folder)) == 2 and submitted(folder) == 4)
    os.killpg(process.pid, signal.SIGINT)
    first, _ = process.communicate(timeout=HANGS)
    (on,) = [line for line in first.splitlines() if line.startswith("its jobs run on; ")]
    again = start(folder, *arguments)
    assert (
        again.stdout.readline() == f"waiting for jobs of an earlier call; {on[on.index('To cancel') :].lower()}\n"
    )
    os.killpg(again.pid, signal.SIGINT)
    stdout, stderr = again.communicate(timeout=HANGS)
    assert (again.returncode, stderr) == (130, "run.py: stopped by SIGINT; run the same command again to resume\n")
    assert stdout.splitlines()[-1] == on
    (folder / "store/open").touch()
    code, stdout, stderr = sweep(folder, *arguments)
    assert (code, stderr) == (0, "")
    assert "4 of 4 runs finished, 0 failed" in stdout
    assert {seed: len(lives) for seed, lives in reached(folder).items()} == dict.fromkeys(range(4), 1)
    assert len(list(folder.glob("runs/sweep/.submitit/[0-9]*_*"))) == 4, "nothing was submitted twice"


def test_a_job_of_its_own_watches_the_sweep(folder, monkeypatch):
    """It has memory per CPU, as by a site's choice, and the runs per node: inherited, `srun` would refuse both."""
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "1000")
    monkeypatch.setenv("SOFTTARGETS_PYTHON", sys.executable)
    sbatch = ("sbatch", "--parsable", f"--output={folder}/sweep.log")
    command = (
        *sbatch,
        "slurm/sweep.sbatch",
        *SMALL,
        *algorithm(gated),
        "unlearn.epochs=1,2",
        "seed=0,1",
        *SLURM[1:],
    )
    job = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=HANGS
    ).stdout.strip()
    log = folder / "sweep.log"
    until(lambda: log.exists() and "0 of 4 done (0 from an earlier call), 0 failed, 1 running" in log.read_text())
    (folder / "store/open").touch()  # until then no run ends, and beside the sweep's job the node has room for one
    ended = until(lambda: re.search(r"JobState=(COMPLETED|FAILED)", slurm("scontrol", "show", "job", job)))
    assert ended[1] == "COMPLETED", log.read_text()
    assert "4 of 4 runs finished, 0 failed; trained 4 models" in log.read_text()
    assert "\x1b" not in log.read_text()


def test_an_array_shares_one_search(folder):
    """The command of docs/slurm.md, with fewer tasks and a smaller search."""
    written = re.search(r"sbatch (--array.*?)trials=60", (ROOT / "docs/slurm.md").read_text(), re.DOTALL)[1]
    options, _, search = written.partition('--wrap \\\n  "')
    options = options.replace("0-3", "0-1").replace("4G", "500M").replace("=search", f"={folder}/search").split()
    words = "tuning_pairs=1 fresh_pairs=1 dataset.train_size=500 training.epochs=30"
    script = search.replace(".venv/bin/python", sys.executable).replace("dataset=fashion_mnist", "")
    script = script.replace("dataset.train_size=6000", words).replace("cost=0.1", "cost=0.5") + "trials=4"
    job = subprocess.run(
        ["sbatch", "--parsable", *options, "--wrap", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    until(lambda: not slurm("squeue", "--noheader", "--format=%i", f"--jobs={job}"))
    logs = [file.read_text() for file in sorted(folder.glob("search-*.log"))]
    assert len(logs) == 2
    assert sum(" of 4: " in line for log in logs for line in log.splitlines()) == 4, logs
    assert len({log.splitlines()[-1] for log in logs}) == 1
    assert logs[0].splitlines()[-1].startswith("to type: python -m softtargets run "), logs


PYTHON = """#!/usr/bin/env bash
# stands in for python3: notes what it was asked for, and copies itself where a virtual environment is wanted
echo "$@" >> "$NOTES"
if [ "$2" = venv ]; then sleep 0.5; mkdir -p .venv/bin; cp "$0" .venv/bin/python; fi
"""


def test_the_environment_is_made_once(tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    (checkout / "slurm").mkdir(parents=True)
    for name in ("slurm/sweep.sbatch", "pyproject.toml", "run.py"):
        shutil.copy(ROOT / name, checkout / name)
    python, notes = tmp_path / "bin/python3", tmp_path / "notes"
    python.parent.mkdir()
    python.write_text(PYTHON)
    python.chmod(0o755)
    monkeypatch.setenv("PATH", f"{python.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(notes))
    monkeypatch.delenv("SOFTTARGETS_PYTHON", raising=False)
    command = ["bash", checkout / "slurm/sweep.sbatch"]

    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=HANGS)[0] for process in both]
    assert told == [f"environment: {checkout}/.venv/bin/python\n"] * 2
    once = ["-m venv .venv", "-m pip install --quiet -e ."]
    assert notes.read_text().splitlines() == once
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert notes.read_text().splitlines() == once * 2
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_SUBMIT_DIR", str(checkout))
    subprocess.run([*command, "experiment=quick", "seed=0,1"], check=True)
    run = "-u run.py -m hydra/launcher=slurm experiment=quick seed=0,1"
    assert notes.read_text().splitlines() == [*once, *once, run]


def test_a_foreign_app_sweeps_in_split_arrays(folder):
    cluster = ("hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=1", "hydra.launcher.timeout_min=5")
    cut = ("hydra.sweeper.cells_per_job=2", "hydra.sweeper.array_size=2")
    code, stdout, stderr = ended(start_toy(folder, "x=range(6)", "bad=4", *cluster, *cut))
    assert code == 1, stderr
    assert "6 cells: 3 jobs of at most 2 cells, in 2 arrays of at most 2 jobs" in stdout
    assert "ArithmeticError: no square of 4" in stdout
    assert values(folder) == [0, 1, 4, 9, 25]
    code, stdout, stderr = ended(start_toy(folder, "x=range(6)", *cluster, *cut))
    assert (code, values(folder)) == (0, [0, 1, 4, 9, 16, 25]), stderr
    assert times_run(folder) == dict.fromkeys(range(6), 1) | {4: 2}
