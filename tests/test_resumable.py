"""Sweeps that resume, of this app and of others: how they are cut, and what is run again."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import submitit
from conftest import HANGS, ROOT
from faults import wait
from faults import workers as loky_workers
from omegaconf import OmegaConf
from slurm_stub import StubLauncher
from submitit.core.utils import FailedJobError

from softtargets.errors import BadInput
from softtargets.resumable import slurm_jobs, slurm_queue, starting, sweep, workers
from softtargets.resumable.arrays import cut, described
from softtargets.resumable.progress_marks import mark
from softtargets.resumable.recorded import FINISHED, config_hash
from softtargets.system import memory
from softtargets.system.files import write_json

APP = ROOT / "tests/toy_app/app.py"


@pytest.mark.parametrize(
    ("cells", "cells_per_job", "array_size", "arrays"),
    [
        (3, 1, 1001, [[[0], [1], [2]]]),
        (5, 1, 2, [[[0], [1]], [[2], [3]], [[4]]]),
        (7, 3, 2, [[[0, 3, 6], [1, 4]], [[2, 5]]]),
        (2, 9, 5, [[[0, 1]]]),
        (0, 1, 5, []),
    ],
)
def test_cells_are_cut_into_jobs_and_arrays(cells, cells_per_job, array_size, arrays):
    assert cut(range(cells), cells_per_job, array_size) == arrays


def test_every_cell_is_in_one_job_and_no_array_is_too_large():
    arrays = cut(range(5000), 3, 100)
    jobs = [job for array in arrays for job in array]
    assert sorted(cell for job in jobs for cell in job) == list(range(5000))
    assert {len(job) for job in jobs} == {2, 3}
    assert [len(array) for array in arrays] == [100] * 16 + [67]


def test_a_cut_is_described_in_words():
    assert described(cut(range(1500), 1, 1001)) == "1,500 cells: 2 arrays of at most 1,001 jobs"
    assert described(cut(range(300), 2, 1001)) == "300 cells: 150 jobs of at most 2 cells, in 1 array"
    assert described(cut(range(2), 2, 1001)) == "2 cells: 1 job of at most 2 cells, in 1 array"
    assert described(cut(range(1), 1, 1001)) == "1 cell: 1 array"
    assert described(cut(range(2), 1, 1)) == "2 cells: 2 arrays of at most 1 job"


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ("MaxArraySize            = 20", 20),
        ("MaxArraySize = 4001\nSchedulerParameters = bf_interval=1,max_array_tasks=300,defer", 300),
        ("MaxArraySize = 0", 1),
        ("", 1001),
    ],
)
def test_an_array_is_as_large_as_the_site_allows(config, limit, tmp_path, monkeypatch):
    command = tmp_path / "scontrol"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{config}\nEND\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert slurm_queue.array_limit() == limit


class Full(submitit.AutoExecutor):
    """An executor for a user who has too many jobs, as often as it is told."""

    def __init__(self, message: str, times: int):
        self.message, self.times = message, times

    def submit_array(self, fns):
        self.times -= 1
        if self.times >= 0:
            raise FailedJobError(self.message)
        return [submitit.Job(".", "1", (0,)) for _ in fns]


ARRAY = [slurm_jobs.Job(StubLauncher(Path()), []) for _ in range(2)]
TOO_MANY = "sbatch: error: QOSMaxSubmitJobPerUserLimit"


def test_an_array_that_a_limit_refuses_waits_for_other_jobs(monkeypatch, capsys):
    monkeypatch.setattr(slurm_jobs, "PATIENCE", 0.0)
    monkeypatch.setattr(slurm_jobs, "holds_jobs", lambda: True)
    assert len(slurm_jobs._submit(Full(TOO_MANY, 3), ARRAY)) == 2
    assert capsys.readouterr().out == f"waiting for other jobs to end: {TOO_MANY}\n"
    with pytest.raises(FailedJobError, match="Invalid account"):
        slurm_jobs._submit(Full("sbatch: error: Invalid account", 1), ARRAY)
    monkeypatch.setattr(slurm_jobs, "holds_jobs", lambda: False)
    with pytest.raises(FailedJobError, match="Limit"):
        slurm_jobs._submit(Full(TOO_MANY, 1), ARRAY)


def test_a_refusal_for_ever_is_waited_for_by_nobody(monkeypatch):
    """A sweep in a job of its own, as by slurm/sweep.sbatch: the queue always holds that one."""
    answers = {"stdout": "7\n"}
    monkeypatch.setattr(
        slurm_queue, "_squeue", lambda *_: subprocess.CompletedProcess([], 0, answers["stdout"], "")
    )
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    slurm_queue.leave_job()
    assert (slurm_queue.holds_jobs(), "SLURM_JOB_ID" in os.environ) == (False, False)
    answers["stdout"] = "7\n8\n"
    assert slurm_queue.holds_jobs()
    policy = "sbatch: error: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    with pytest.raises(FailedJobError, match="violates"):
        slurm_jobs._submit(Full(policy, 1), ARRAY)


@pytest.mark.parametrize("how", ["hangs", "fails"])
def test_a_queue_that_does_not_answer_ends_no_watch(tmp_path, monkeypatch, how):
    now, answers = [0.0], [None, "12_0\n", None, "", None]

    def squeue(*options: str) -> subprocess.CompletedProcess:
        if (said := answers.pop(0)) is None and how == "hangs":
            raise subprocess.TimeoutExpired("squeue", 60)
        return subprocess.CompletedProcess([], said is None, said or "", "no answer" if said is None else "")

    monkeypatch.setattr(slurm_queue, "_squeue", squeue)
    monkeypatch.setattr(slurm_queue.time, "monotonic", lambda: now[0])
    (tmp_path / "12_0").mkdir()
    queue, seen = slurm_queue.Queue(tmp_path), []
    for now[0] in (0.0, 100.0, 200.0, 300.0, 400.0):
        seen.append((queue.waiting(), queue.silent_for()))
    assert seen == [(1, 0), (1, 0), (1, 0), (0, 0), (0, 100)]
    queue.grow()
    answers[:] = [None]
    assert (queue.waiting(), queue.silent_for()) == (1, 0)
    answers[:] = [None]
    assert slurm_queue.holds_jobs()


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_a_call_that_is_stopped_names_the_jobs_that_run_on(tmp_path, monkeypatch, capsys, end):
    monkeypatch.setattr(slurm_queue, "_squeue", lambda *_: subprocess.CompletedProcess([], 0, "12_0\n12_1\n", ""))
    for queue in (None, slurm_queue.Queue(tmp_path)):  # without SLURM, and before the first array
        with pytest.raises(end), starting.outlived(queue):
            raise end
    assert capsys.readouterr().out == ""
    for job in ("12_0", "9_0"):  # the second has ended
        (tmp_path / job).mkdir()
    with pytest.raises(end), starting.outlived(slurm_queue.Queue(tmp_path)):
        raise end
    said = "its jobs run on; the same command waits for them. To cancel them: scancel 12\n"
    assert capsys.readouterr().out == said


def test_a_call_that_is_stopped_as_it_has_just_submitted_names_its_jobs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(slurm_queue, "_squeue", lambda *_: subprocess.CompletedProcess([], 0, "12_0\n", ""))
    queue = slurm_queue.Queue(tmp_path)
    assert queue.waiting() == 0
    (tmp_path / "12_0").mkdir()
    with pytest.raises(KeyboardInterrupt), starting.outlived(queue):
        raise KeyboardInterrupt
    assert "To cancel them: scancel 12\n" in capsys.readouterr().out


class Stopped:
    """A screen where Ctrl-C comes as the first line is written."""

    def __init__(self):
        self.lines = []

    def write(self, text: str) -> None:
        self.lines.append(text)
        if len(self.lines) == 1:
            raise KeyboardInterrupt

    def flush(self) -> None: ...


def test_a_call_that_is_stopped_in_its_first_line_names_the_jobs_of_an_earlier_call(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_queue, "_squeue", lambda *_: subprocess.CompletedProcess([], 0, "12_0\n", ""))
    (tmp_path / starting.JOBS / "12_0").mkdir(parents=True)
    config = OmegaConf.create({"hydra": {"launcher": {"_target_": "any.SlurmLauncher"}}})
    monkeypatch.setattr(sys, "stdout", Stopped())
    with pytest.raises(KeyboardInterrupt):
        starting.queue_of(config, tmp_path, sweep.Counts([], tmp_path, 0))
    first, last, *_ = sys.stdout.lines
    assert first == "waiting for jobs of an earlier call; to cancel them: scancel 12"
    assert last == "its jobs run on; the same command waits for them. To cancel them: scancel 12"


def test_a_cell_that_fails_before_its_run_leaves_its_reason_and_stops_no_other_of_its_job(tmp_path):
    (tmp_path / "1").mkdir()  # where the stub writes a file
    job = slurm_jobs.Job(StubLauncher(tmp_path), [(number, [str(number)]) for number in range(3)])
    reason = f"IsADirectoryError: [Errno 21] Is a directory: '{tmp_path / '1'}'"
    assert job() == {0: None, 1: reason, 2: None}
    assert (tmp_path / "2").read_text() == "ran\n"


def test_a_job_that_raised_is_the_reason_of_all_its_cells(tmp_path):
    class Raised(submitit.Job):
        def exception(self):
            trace = "Traceback (most recent call last):\n  File ...\nModuleNotFoundError: No module named 'hydra'"
            return FailedJobError(f"Job (task=0) failed during processing with trace:\n{trace}\nYou can check")

    task = slurm_jobs.Job(StubLauncher(tmp_path), [(4, ["4"]), (7, ["7"])])
    reason = "its job raised ModuleNotFoundError: No module named 'hydra'"
    assert slurm_jobs._returned(Raised(tmp_path, "1"), task) == {4: reason, 7: reason}


def test_a_foreign_config_is_hashed_as_it_is_written_and_without_what_is_ignored():
    config = OmegaConf.create({"a": {"b": 1, "c": 2}, "d": "${a.b}", "hydra": {"job": 1}})
    changed = OmegaConf.create({"d": "${a.b}", "a": {"c": 3, "b": 1}, "hydra": {"job": 2}})
    assert config_hash(config, ["a.c", "not.there"]) == config_hash(changed, ["a.c", "not.there"])
    assert config_hash(config) != config_hash(changed)
    open_values = [OmegaConf.create({"a": 1, "b": value}) for value in ("???", "${nope}", None, 2)]
    assert len({config_hash(one, ["b"]) for one in open_values}) == 1
    assert config.a.c == 2, "the config itself stays whole"


def test_a_watcher_of_a_foreign_sweep_asks_for_no_run_that_left_no_mark(tmp_path, monkeypatch, capsys):
    cells = [sweep.Cell((), tmp_path / f"x={number}-{number:012x}", "h") for number in range(3)]
    counts, asked, state = sweep.Counts(cells, tmp_path), [], sweep.Cell.state
    monkeypatch.setattr(sweep.Cell, "state", lambda cell: asked.append(cell) or state(cell))
    counts.update()
    write_json(cells[1].folder / FINISHED, {"config_hash": "h"})
    mark(cells[1].folder, "ended")
    counts.update()
    counts.update()
    assert asked == [cells[1]]
    said = capsys.readouterr().out.splitlines()
    assert said == ["0 of 3 done, 0 failed, 0 running", "1 of 3 done, 0 failed, 0 running"]


def start(notes: Path, *words: str) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"NOTES": str(notes)}
    return subprocess.Popen(
        [sys.executable, APP, "-m", *words], cwd=notes, env=environment, start_new_session=True, **pipes
    )


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=HANGS)
    return process.returncode, stdout, stderr


def times_run(notes: Path) -> dict[int, int]:
    return {int(file.name.partition("-")[2]): len(file.read_text().split()) for file in notes.glob("ran-*")}


def values(notes: Path) -> list[int]:
    return sorted(json.loads(file.read_text())["value"] for file in notes.glob("squares/*/finished.json"))


@pytest.mark.long
def test_a_foreign_app_runs_again_only_what_failed(tmp_path):
    code, stdout, _ = ended(start(tmp_path, "x=0,1,2", "bad=1"))
    assert code == 1
    (failed,) = [line for line in stdout.splitlines() if line.startswith("failed: ")]
    assert failed.startswith("failed: x=1-")
    assert failed.endswith(": ArithmeticError: no square of 1")
    assert values(tmp_path) == [0, 4]
    code, stdout, _ = ended(start(tmp_path, "x=0,1,2,3"))
    assert (code, values(tmp_path)) == (0, [0, 1, 4, 9])
    assert times_run(tmp_path) == {0: 1, 1: 2, 2: 1, 3: 1}
    assert "4 runs, 2 finished by earlier calls" in stdout
    counts = [line for line in stdout.splitlines() if " done, " in line]
    assert [line.partition(" done")[0] for line in (counts[0], counts[-1])] == ["2 of 4", "4 of 4"]
    code, stdout, _ = ended(start(tmp_path, "x=0,1,2,3", "gate=100,101"))
    assert (code, times_run(tmp_path)) == (0, {0: 1, 1: 2, 2: 1, 3: 1})
    assert "4 runs, 4 finished by earlier calls" in stdout, "whatever is swept"


@pytest.mark.long
def test_of_several_folders_with_one_hash_the_finished_one_counts(tmp_path):
    assert ended(start(tmp_path, "x=3"))[0] == 0
    (folder,) = tmp_path.glob("squares/*-*")
    digest = folder.name.rpartition("-")[2]
    for finished, empty in ("ab", "ba"):
        folder = folder.rename(folder.with_name(f"{finished}-{digest}"))
        shutil.rmtree(folder.with_name(f"{empty}-{digest}"), ignore_errors=True)
        folder.with_name(f"{empty}-{digest}").mkdir()
        code, stdout, _ = ended(start(tmp_path, "x=3"))
        assert (code, times_run(tmp_path)) == (0, {3: 1})
        assert "1 run, 1 finished by earlier calls" in stdout
        folder.with_name(f"{empty}-{digest}").rmdir()


@pytest.mark.long
def test_ignored_settings_that_no_run_of_a_foreign_app_has_are_named(tmp_path):
    code, _, stderr = ended(start(tmp_path, "x=0", "+only=1", "hydra.sweeper.ignored=[bad,nosuch,only,x.y]"))
    assert stderr == "hydra.sweeper.ignored: no run of this sweep has a setting nosuch, x.y\n"
    assert (code, values(tmp_path)) == (0, [0])


@pytest.mark.long
def test_a_folder_that_cannot_be_made_fails_one_run_of_a_foreign_app(tmp_path):
    assert ended(start(tmp_path, "x=0,1", "bad=1"))[0] == 1
    (failed,) = tmp_path.glob("squares/x=1-*")
    shutil.rmtree(failed)
    failed.touch()
    code, stdout, stderr = ended(start(tmp_path, "x=0,1,2"))
    assert (code, stderr, values(tmp_path)) == (1, "", [0, 4])
    assert f"failed: {failed.name}: FileExistsError: [Errno 17] File exists: '{failed}'\n" in stdout
    assert "2 of 3 runs finished, 1 without a result" in stdout


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra.sweep.dir='${now:%Y}'"], "hydra.sweep.dir=${now:%Y}: has the time of the call"),
        (["hydra.sweeper.cells_per_job=0"], "hydra.sweeper.cells_per_job=0: must be at least 1"),
        (["x=interval(0,1)"], "x=interval(0,1): a sweep cannot draw from an interval"),
        (["x=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs=0: must be -1"),
    ],
    ids=["folder", "number", "interval", "workers"],
)
def test_a_foreign_app_is_refused_in_one_sentence(words, said, tmp_path):
    code, stdout, stderr = ended(start(tmp_path, *words))
    assert (code, stdout) == (2, "")
    assert stderr.startswith(said)
    assert stderr.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.kill
@pytest.mark.parametrize(
    ("number", "launcher"),
    [
        (signal.SIGKILL, []),
        (signal.SIGKILL, ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]),
        (signal.SIGINT, ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]),
    ],
    ids=["killed", "killed with its workers", "Ctrl-C"],
)
def test_a_killed_sweep_of_a_foreign_app_resumes(number, launcher, tmp_path):
    process = start(tmp_path, "x=range(6)", "gate=3", *launcher)
    at_gate = {3, 4} if launcher else {3}  # all workers, since one that is starting does not yet ignore Ctrl-C
    assert wait(HANGS, lambda: len(values(tmp_path)) == 3 and at_gate <= times_run(tmp_path).keys())
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=HANGS)
    if number == signal.SIGINT:
        assert process.returncode == 130
        sentence, *others = stderr.splitlines()
        assert sentence == "stopped by Ctrl-C; run the same command again to resume"
        # on a busy machine the launcher is not done in the seconds that it is given, and joblib's tracker says so
        assert [line for line in others if "resource_tracker" not in line and "warnings.warn" not in line] == []
    assert values(tmp_path) == [0, 1, 4]
    (tmp_path / "open").touch()
    code, stdout, stderr = ended(start(tmp_path, "x=range(6)", "gate=3", *launcher))
    assert (code, values(tmp_path)) == (0, [0, 1, 4, 9, 16, 25]), stderr
    assert "6 runs, 3 finished by earlier calls" in stdout
    assert {x: times for x, times in times_run(tmp_path).items() if x < 3} == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize(
    ("n_jobs", "runs", "places", "peak", "number", "why"),
    [
        (-1, 3, None, 10**9, 3, "one for each run; a run took up to 1.0 GB, 8.0 GB are free"),
        (40, 1, None, 10**9, 1, "one for each run; a run took up to 1.0 GB, 8.0 GB are free"),
        (-1, 99, None, None, 16, "one for each core; no earlier run says how much memory a run takes"),
        (-1, 99, None, 10**9, 8, "as many as fit into memory; a run took up to 1.0 GB, 8.0 GB are free"),
        (-1, 99, 4, 10**9, 4, "(hydra.sweeper.runs_per_gpu); a run took up to 1.0 GB, 8.0 GB are free"),
        (-1, 99, None, 9 * 10**9, 1, "as many as fit into memory; a run took up to 9.0 GB, 8.0 GB are free"),
        (12, 99, None, 10**9, 12, "hydra.launcher.n_jobs; a run took up to 1.0 GB, only 8.0 GB are free"),
        (12, 99, 2, None, 2, "as many as the GPUs have places"),
    ],
)
def test_workers_are_as_many_as_runs_cores_memory_and_gpus_allow(
    n_jobs, runs, places, peak, number, why, monkeypatch
):
    monkeypatch.setattr(workers, "available", lambda: 8 * 10**9)
    counted, line = workers.number_of_workers(n_jobs, 16, runs, places, peak)
    assert counted == number
    assert line.startswith(f"workers: {number}, ")
    assert why in line


def test_the_peak_of_this_process_grows_with_what_it_holds():
    before = memory.peak_bytes()
    held = bytearray(b"x") * (before + 50_000_000)
    assert len(held) < memory.peak_bytes() < before + len(held) + 50_000_000


@pytest.mark.long
def test_the_peak_of_the_process_that_started_this_one_does_not_count():
    held = bytearray(b"x") * (memory.peak_bytes() + 500_000_000)
    ask = "from softtargets.system.memory import peak_bytes; print(peak_bytes())"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert int(told.stdout) < len(held) - 400_000_000


NVIDIA_SMI = "#!/bin/sh\nprintf 'GPU-a\\nGPU-b\\n'\n"


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """A stand-in for nvidia-smi that names two GPUs."""
    command = tmp_path / "bin/nvidia-smi"
    command.parent.mkdir()
    command.write_text(NVIDIA_SMI)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_gpus_are_those_that_this_process_may_use(two_gpus, monkeypatch):
    assert workers.places_on_gpus(2) == ["GPU-a", "GPU-b", "GPU-a", "GPU-b"]
    assert workers.places_on_gpus(3, shared=True) == 3 * ["GPU-a,GPU-b"], "runs of device=cuda:1 count from 0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert workers.gpus() == ["3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(BadInput, match=r"^hydra\.sweeper\.runs_per_gpu=2: no GPU here"):
        workers.places_on_gpus(2)


@pytest.mark.kill
def test_each_worker_sees_one_gpu_and_each_gpu_has_as_many_runs_as_asked(two_gpus, tmp_path):
    pinned = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=9", "hydra.sweeper.runs_per_gpu=2")
    process = start(tmp_path, "x=range(7)", "gate=0", *pinned)
    assert wait(HANGS, lambda: sum(times_run(tmp_path).values()) == 4)
    assert len(loky_workers(process.pid)) == 4, "each at a run, so that no fifth one begins"
    seen = [file.read_text().strip() for file in tmp_path.glob("ran-*")]
    (tmp_path / "open").touch()
    code, stdout, stderr = ended(process)
    assert code == 0, stderr
    assert sorted(seen) == ["GPU-a", "GPU-a", "GPU-b", "GPU-b"], "four at a time, two on each"
    assert "workers: 4, as many as the GPUs have places" in stdout
    assert {file.read_text().strip() for file in tmp_path.glob("ran-*")} == {"GPU-a", "GPU-b"}
