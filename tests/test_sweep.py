"""Sweeps in real processes: nothing trained twice, nothing lost, only what is missing run again."""

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HANGS, ROOT, SMALL, options
from omegaconf import OmegaConf
from submitit.core.utils import FailedJobError
from test_allowed_targets import canary  # noqa: F401, a fixture

from softtargets.config import at_cost
from softtargets.config.resolve import config_hash
from softtargets.errors import BadInput
from softtargets.execution import composed_run
from softtargets.report.planned import read_plans
from softtargets.resumable import launching, starting
from softtargets.resumable.combinations import every_combination
from softtargets.resumable.launching import LauncherEnd, reason
from softtargets.resumable.slurm_queue import Queue
from softtargets.study import cells as sweeps
from softtargets.study import progress
from softtargets.study import sweep as study_sweep
from softtargets.study.cells import SweepCell, missing, prepare, spread
from softtargets.study.pairs import typed_out
from softtargets.study.peak import peak_of_runs
from softtargets.study.progress import counts_of_runs
from softtargets.study.sweep import _combinations, _composer
from softtargets.system.files import read_json, write_json

GRID = ("mu_algo=gradasc,graddiff", "targets=hard,soft", "seed=range(2)")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("RUNS", "STORE"):
        monkeypatch.setenv(f"SOFTTARGETS_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    return tmp_path


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    # the command line goes before what a sweep's cells say
    listed = any("hydra.sweeper.cells" in word and "mu_algo=" in word for word in arguments)
    small = [word for word in SMALL if not (listed and word.startswith("mu_algo="))]
    whole = [sys.executable, ROOT / "run.py", "-m", *small, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(whole, cwd=folder, start_new_session=True, **pipes)


def sweep(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(folder, *arguments)
    stdout, stderr = process.communicate(timeout=HANGS)
    return process.returncode, stdout, stderr


def results(folder: Path) -> dict[str, dict]:
    return {file.parent.name: json.loads(file.read_text()) for file in folder.glob("runs/sweep/*/result.json")}


def comparable(found: dict[str, dict]) -> dict[str, tuple]:
    return {name: (json.dumps(result["metrics"]), result["hashes"]) for name, result in found.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Results of a sweep that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNS", "STORE"):
            patch.setenv(f"SOFTTARGETS_{name}", str(folder / name.lower()))
        code, stdout, stderr = sweep(folder, *GRID)
    assert code == 0, stderr
    return results(folder), stdout


@pytest.mark.long
def test_a_sweep_trains_each_model_once(undisturbed):
    found, stdout = undisturbed
    assert len(found) == 8
    assert "8 of 8 runs finished, 0 failed; trained 4 models, reused 12 from the store" in stdout
    assert sum(result["cost"]["from_store"] == [] for result in found.values()) == 2


@pytest.mark.long
def test_a_sweep_ends_with_its_verdicts(undisturbed):
    _, stdout = undisturbed
    ending = stdout.partition("sweep: ")[2]
    assert ending.count("mnist_5k mlp random grad") == 2  # two cells, at the end
    assert "mnist_5k mlp random: where every arm stands, the nearest first" in ending
    (page,) = re.findall(r"^report: (\S+report.html)", ending, re.MULTILINE)
    assert {"report.html", "summary.csv"} <= {file.name for file in Path(page).parent.iterdir()}


@pytest.mark.long
def test_runs_have_folders_named_by_what_differs(undisturbed):
    names = {name.rpartition("-")[0] for name in undisturbed[0]}
    assert "mu_algo=gradasc,targets=soft,seed=1" in names
    assert len(names) == 8


@pytest.mark.kill
def test_local_workers_give_the_same_results(folder, undisturbed):
    code, stdout, stderr = sweep(folder, *GRID, "hydra/launcher=local")
    assert code == 0, stderr
    assert "trained 4 models" in stdout
    assert comparable(results(folder)) == comparable(undisturbed[0])


@pytest.mark.long
def test_calling_again_runs_only_what_is_missing(folder, here):
    assert here("-m", *SMALL, "seed=0,1").returncode == 0
    before = {file: file.stat().st_mtime_ns for file in folder.glob("runs/sweep/*/result.json")}
    assert len(before) == 2
    code, stdout, _ = here("-m", *SMALL, "seed=1,2,0")  # another order: cells are known by hash, not by position
    assert code == 0
    assert "3 of 3 done (2 from an earlier call)" in stdout
    after = {file: file.stat().st_mtime_ns for file in folder.glob("runs/sweep/*/result.json")}
    assert len(after) == 3
    assert before.items() <= after.items()


@pytest.mark.long
def test_a_sweep_may_list_its_cells(folder):
    lines = "hydra.sweeper.cells=['mu_algo=gradasc targets=hard,soft','mu_algo=relabel targets=delete']"
    code, _, stderr = sweep(folder, lines, "seed=0,1")
    assert code == 0, stderr
    assert {name.rpartition("-")[0] for name in results(folder)} == {
        f"mu_algo={algorithm},targets={targets},seed={seed}"
        for algorithm, targets in (("gradasc", "hard"), ("gradasc", "soft"), ("relabel", "delete"))
        for seed in (0, 1)
    }


@pytest.mark.long
def test_a_finished_sweep_is_told_without_torch(folder, here):
    assert here("-m", *SMALL, "seed=0,1").returncode == 0
    code = "import sys, run; from softtargets.cli.main import command; sys.argv = sys.argv[1:]\n"
    code += "command(run.main)\nassert 'torch' not in sys.modules"
    arguments = ["run.py", "-m", *SMALL, "seed=0,1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True
    )
    assert found.returncode == 0, found.stderr
    assert b"2 of 2 runs finished" in found.stdout


@pytest.mark.parametrize("launcher", ["basic", pytest.param("local", marks=pytest.mark.kill)])
def test_a_run_that_raises_stops_no_other(folder, launcher, here):
    arguments = (
        "seed=0,1",
        "unlearn.batch_size=8,16",
        "mu_algo._target_=own_parts.broken_at_16",
        "plugins=[own_parts]",
        f"hydra/launcher={launcher}",
    )
    code, stdout, _ = here("-m", *SMALL, "~mu_algo.alpha", *arguments)
    assert code == 1
    assert len(results(folder)) == 2
    failed = [line for line in stdout.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2
    assert all(
        "unlearn.batch_size=16" in line and "ZeroDivisionError: division by zero" in line for line in failed
    )
    assert "2 of 4 runs finished, 2 failed" in stdout


@pytest.mark.kill
def test_a_killed_worker_loses_no_finished_result(folder):
    arguments = ("seed=range(6)", "unlearn.batch_size=16", "hydra/launcher=local", "hydra.launcher.n_jobs=2")
    killed = ("~mu_algo.alpha", "mu_algo._target_=own_parts.killed_once", "plugins=[own_parts]")
    code, _, stderr = sweep(folder, *killed, *arguments)
    assert code == 1
    assert "run.py: a worker was killed (SIGKILL" in stderr
    assert "hydra.launcher.n_jobs" in stderr
    before = results(folder)
    assert len(before) < 6
    code, _, stderr = sweep(folder, *killed, *arguments)
    assert code == 0, stderr
    assert before.items() <= results(folder).items()
    assert len(results(folder)) == 6


@pytest.mark.long
def test_auto_is_resolved_once_for_a_sweep(folder):
    assert sweep(folder, "seed=0,1")[0] == 0
    machine = json.loads((folder / "runs/sweep/machine.json").read_text())
    assert "auto" not in machine.values()
    other = {"device": "cpu", "precision": "bf16" if machine["precision"] == "float32" else "float32"}
    write_json(folder / "runs/sweep/machine.json", other)
    assert sweep(folder, "seed=2,3")[0] == 0
    used = {
        result["choices"]["seed"]: result["provenance"]["machine"]["precision"]
        for result in results(folder).values()
    }
    assert used == {0: machine["precision"], 1: machine["precision"], 2: other["precision"], 3: other["precision"]}


def test_experiments_are_sweeps_of_the_size_they_claim_whose_arms_were_searched_where_they_say_so():
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser

    sizes = {}
    for name in options("experiment"):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = compose("config", [f"experiment={name}"], return_hydra_config=True)
        words = [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
        parse = OverridesParser.create().parse_overrides
        lines = [shlex.split(line) for line in config.hydra.sweeper.cells or [""]]
        parsed = [typed_out(parse(words), parse(line), None, parse) for line in lines]
        cells = [cell for one in parsed for cell in every_combination(one)]
        # raises for an arm that no search chose settings for; seeds are free
        assert all(map(at_cost.with_searched, {tuple(w for w in cell if "seed=" not in w) for cell in cells}))
        sizes[name] = len(cells)
    assert sizes == {
        "frontier": 575,
        "frontier_efficient": 625,
        "labels_alone": 700,
        "leaks": 640,
        "leaks_memorised": 640,
        "leaks_tenth": 448,
        "quick": 20,
        "seed_grid": 480,
        "seed_grid_matched": 480,
        "at_best": 700,
        "cifar": 160,
        "crossed": 600,
        "elsewhere": 993,
        "elsewhere_twice": 325,
        "first_study": 1000,
        "soft_study": 1275,
        "soft_study_costs": 450,
        "soft_study_costs_efficient": 425,
        "soft_study_efficient": 1025,
        "soft_study_utility": 300,
        "soft_study_utility_efficient": 175,
        "swapped": 550,
        "wider": 425,
    }


@pytest.mark.parametrize(
    "words",
    [
        ["seed=range(3)", "targets=hard,soft", "dataset=mnist_5k"],
        ["seed=1,2", "seed=3", "+a.b=choice(x,y)", "~tuned"],
        ["a=[1,2],[3]", "b={c:1}", "d='x y','z'", "f=null", "g=shuffle(range(1))"],
    ],
    ids=len,
)
def test_combinations_are_those_of_hydras_own_sweeper(words):
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = OverridesParser.create().parse_overrides(words)
    combinations = every_combination(overrides)
    assert combinations == BasicSweeper.split_arguments(overrides, None)[0]
    assert combinations


def test_an_interval_is_no_sweep():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides(["unlearn.optimizer.lr=interval(0,1)"])
    with pytest.raises(BadInput, match=r"^unlearn\.optimizer\.lr=interval\(0,1\): .* Type a list or a range"):
        every_combination([override])


@pytest.mark.long
def test_a_sweep_can_warm_the_store(folder):
    for made in (4, 0):  # the second time there is nothing left to train
        code, stdout, stderr = sweep(folder, "seed=0,1", "stage=train")
        assert code == 0, stderr
        assert f"2 of 2 runs finished, 0 failed; trained {made} models" in stdout
    code, stdout, _ = sweep(folder, "seed=0,1", "mu_algo=gradasc,graddiff")
    assert code == 0
    assert "4 of 4 runs finished, 0 failed; trained 0 models, reused 8 from the store" in stdout
    before = {
        file: file.read_bytes()
        for file in folder.glob("runs/sweep/*/*.*")
        if file.suffix in (".npz", ".json", ".yaml")
    }
    for stage in ("data", "train"):  # in the folders of finished runs
        assert sweep(folder, "seed=0,1", "mu_algo=gradasc,graddiff", f"stage={stage}")[0] == 0
        assert {file: file.read_bytes() for file in before} == before


def test_runs_that_share_a_model_come_far_apart():
    grid = [(seed, chosen, arm) for seed in (0, 1) for chosen in ("random", "class") for arm in range(3)]
    cells = [
        SweepCell((f"seed={seed}",), Path(f"{seed}-{chosen}-{arm}"), "", "all", (f"{seed}", f"{seed}{chosen}"))
        for seed, chosen, arm in grid
    ]
    order = [cell.folder.name for cell in spread(cells)]
    rounds = ["0-random", "1-random", "0-class", "1-class"]  # another original first, then another retrained one
    assert order == [f"{models}-{arm}" for arm in range(3) for models in rounds]
    assert spread([]) == []


def test_what_another_call_finished_meanwhile_is_not_taken_away(tmp_path):
    overrides = ("device=cpu", "precision=float32")
    ours, theirs = (SweepCell(overrides, tmp_path / name, name, "all", ("", "")) for name in ("ours", "theirs"))
    for cell, digest in ((ours, "another"), (theirs, "theirs")):
        write_json(cell.outcome, {"provenance": {"config_hash": digest}})
    prepare(tmp_path, [ours, theirs])
    assert (ours.outcome.exists(), theirs.outcome.exists()) == (False, True)


def test_what_another_call_finishes_at_this_moment_is_not_taken_away(tmp_path, monkeypatch):
    one = SweepCell(("device=cpu", "precision=float32"), tmp_path / "one", "one", "all", ("", ""))
    usual = sweeps.remove_marks

    def finished(folder: Path) -> None:
        usual(folder)
        write_json(one.outcome, {"provenance": {"config_hash": "one"}})

    monkeypatch.setattr(sweeps, "remove_marks", finished)
    assert prepare(tmp_path, [one]) == {}
    assert one.state() == "finished"


def test_what_another_call_finishes_while_folders_are_prepared_is_not_taken_away(tmp_path, monkeypatch):
    overrides = ("device=cpu", "precision=float32")
    one, other = (SweepCell(overrides, tmp_path / name, name, "all", ("", "")) for name in ("one", "other"))
    usual = sweeps._make_ready

    def slowly(cell: SweepCell) -> None:
        usual(cell)
        if cell is one:
            write_json(other.outcome, {"provenance": {"config_hash": "other"}})

    monkeypatch.setattr(sweeps, "_make_ready", slowly)
    prepare(tmp_path, [one, other])
    assert (one.outcome.exists(), other.outcome.exists()) == (False, True)


def spoilt(cells: list[Path]) -> dict[str, str]:
    """Spoil the folders of four cells, each in another way; returns what is to be said of each."""
    log, file, link, own = cells
    (log / "run.log").mkdir(parents=True)
    file.write_text("")
    link.symlink_to("nowhere")
    own.mkdir()
    (own / ".hydra").write_text("")
    return {
        log.name: "IsADirectoryError",
        file.name: "FileExistsError",
        link.name: "FileExistsError",
        own.name: "FileExistsError",
    }


@pytest.mark.parametrize("launcher", ["basic", pytest.param("local", marks=pytest.mark.kill)])
def test_what_fails_before_a_run_begins_is_said_and_stops_no_other(folder, launcher, here):
    words = ("-m", *SMALL, "seed=range(5)", "stage=data")
    assert here(*words).returncode == 0
    *places, last = sorted(folder.glob("runs/sweep/seed=*"))
    for place in (*places, last):
        shutil.rmtree(place)
    told = spoilt(places)
    code, stdout, stderr = here(*words, f"hydra/launcher={launcher}")
    assert (code, stderr) == (1, "")
    failed = dict(re.findall(r"^failed: (\S+): (\w+): .+$", stdout, re.MULTILINE))
    assert failed == told
    assert stdout.count(str(folder)) >= len(told), "each names its file"
    assert "1 of 5 runs finished, 4 failed; " in stdout
    assert (last / "data.json").exists()


@pytest.mark.parametrize("name", ["stubborn", "hungry", "gives_up"])
@pytest.mark.kill
def test_whatever_a_worker_raises_comes_with_its_reason(folder, name):
    own = (f"mu_algo._target_=own_parts.{name}", "~mu_algo.alpha", "plugins=[own_parts]")
    code, stdout, stderr = sweep(folder, "seed=0,1", *own, "hydra/launcher=local", "hydra.launcher.n_jobs=2")
    assert (code, stderr) == (1, "")
    said = {"stubborn": "Stubborn: one and two", "hungry": "hydra.launcher.n_jobs", "gives_up": "I give up"}[name]
    assert [said in line for line in stdout.splitlines() if line.startswith("failed: ")] == [True, True]
    for log in folder.glob("runs/sweep/*/run.log"):
        assert f"in {name}\n" in log.read_text(), "the log holds the error"


def cell(folder: Path) -> SweepCell:
    return SweepCell((), folder, folder.name, "all", ("", ""))


def test_runs_that_nobody_began_are_counted_and_not_called_ended(tmp_path, capsys):
    began, ended, never = (cell(tmp_path / name) for name in ("began", "ended", "never"))
    for one in (began, ended):
        one.folder.mkdir()
        (one.folder / "run.log").write_text("an earlier life\n")
    before = {one: one.log_bytes() for one in (began, ended, never)}
    with (began.folder / "run.log").open("a") as log:
        log.write("this life\n")
    assert not counts_of_runs(list(before), missing(before, {}, {1: "KeyError: 'a'"}, gave_up=True))
    out = capsys.readouterr().out
    assert "failed: began: no result, because its process was killed\n" in out
    assert "0 of 3 runs finished, 1 failed, 2 not started\n" in out
    assert not counts_of_runs(list(before), missing(before, {}, {1: "KeyError: 'a'"}, gave_up=False))
    assert "failed: ended: KeyError: 'a'\n" in capsys.readouterr().out


def test_runs_that_fail_for_the_same_reason_are_named_three_times(tmp_path, capsys):
    cells = [cell(tmp_path / f"seed={seed}") for seed in range(6)]
    reasons = dict.fromkeys(range(6), "OSError: disk is full") | {2: "KeyError: 'a'"}
    assert not counts_of_runs(cells, missing(dict.fromkeys(cells, 0), {}, reasons, gave_up=False))
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed: ")]
    assert failed == [
        *(f"failed: seed={seed}: OSError: disk is full" for seed in (0, 1, 3)),
        "failed: 2 more runs: OSError: disk is full",
        "failed: seed=2: KeyError: 'a'",
    ]


def test_a_sweep_of_which_every_run_failed_leaves_a_page_that_names_them(tmp_path, capsys):
    cells = [cell(tmp_path / f"seed={seed}-0") for seed in range(3)]
    for one in cells:
        write_json(one.folder / "error.json", {"error": "ValueError", "message": f"no luck in {one.folder.name}"})
    assert not counts_of_runs(cells, missing({}, {}, {}, gave_up=False))
    out = capsys.readouterr().out
    assert "0 of 3 runs finished, 3 failed\n" in out
    assert f"report: {tmp_path / 'report.html'}; the same in summary.md\n" in out
    text = (tmp_path / "summary.md").read_text()
    assert "No run finished" in text
    assert all(f"- {one.folder.name}: ValueError: no luck in {one.folder.name}\n" in text for one in cells)


def test_a_large_finished_sweep_keeps_its_report_until_a_result_is_newer(tmp_path, capsys, monkeypatch):
    reported = []
    monkeypatch.setattr(progress, "verdicts", reported.append)
    cells = [cell(tmp_path / f"seed={seed}-{seed}") for seed in range(progress.LARGE)]
    for one in cells:
        content = {"provenance": {"config_hash": one.hash}, "cost": {"made": ["original"], "from_store": []}}
        write_json(one.outcome, content)
    assert counts_of_runs(cells, missing({}, {}, {}, gave_up=False))
    assert len(reported) == 1  # there is none
    (tmp_path / "report.html").touch()
    os.utime(tmp_path / "report.html", (2e9, 2e9))
    assert counts_of_runs(cells, missing({}, {}, {}, gave_up=False))
    out = capsys.readouterr().out
    assert len(reported) == 1
    assert "of an earlier call; no result is newer\n" in out
    assert "100 of 100 runs finished, 0 failed; trained 100 models, reused 0 from the store" in out
    os.utime(cells[-1].outcome, (3e9, 3e9))
    assert counts_of_runs(cells, missing({}, {}, {}, gave_up=False))
    cells[0].outcome.unlink()
    assert not counts_of_runs(cells, missing({}, {}, {}, gave_up=False))
    assert len(reported) == 3


def test_finished_runs_whose_models_a_call_would_save_are_counted(folder, here, composed):
    digest = config_hash(composed(*SMALL))
    content = {"provenance": {"config_hash": digest}, "cost": {"made": [], "from_store": []}}
    write_json(folder / "runs" / "sweep" / f"seed=0-{digest[:12]}" / "result.json", content)
    words, sentence = ("-m", *SMALL, "seed=0"), "save_models=true: 1 run finished earlier without saved models."
    assert sentence in here(*words, "save_models=true").stdout
    assert sentence not in here(*words).stdout


def test_a_sweep_that_never_began_leaves_no_page(tmp_path, capsys):
    cells = [cell(tmp_path / "never")]
    assert not counts_of_runs(cells, missing(dict.fromkeys(cells, 0), {}, {}, gave_up=True))
    assert "0 of 1 run finished, 0 failed, 1 not started\n" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_sweep_that_stops_after_a_stage_has_no_plan_to_report(tmp_path):
    cells = [cell(tmp_path / name) for name in ("one", "other")]
    sweeps.plan(tmp_path, [dataclasses.replace(one, stage="train") for one in cells])
    assert read_plans(tmp_path) == {}
    sweeps.plan(tmp_path, cells)
    assert read_plans(tmp_path) == {one.folder: () for one in cells}


def test_what_slurm_refuses_is_said_in_its_own_words(tmp_path):
    class Empty(Queue):
        def jobs(self):
            return frozenset()

    said = "sbatch: error: Batch job submission failed: Invalid job array specification\n"
    assert reason(OSError("No space left on device"), Empty(tmp_path)).startswith(
        "the launcher raised OSError: No"
    )
    assert reason(FailedJobError(said), Empty(tmp_path)) == (
        "SLURM accepted no job: sbatch: error: Batch job submission failed: Invalid job array specification; "
        "lower hydra.sweeper.array_size to what the site allows"
    )
    assert reason(KeyError("a"), None) == "the launcher raised KeyError: 'a'"
    assert LauncherEnd().failures == {}


def test_memory_of_a_run_is_that_of_its_sweep_or_of_equal_data_and_network(tmp_path):
    def leave(name: str, dataset: str, peak: int) -> None:
        choices = {"dataset": dataset, "architecture": "mlp"}
        write_json(tmp_path / name / "result.json", {"choices": choices, "cost": {"peak_bytes": peak}})

    chosen = {"runtime": {"choices": {"dataset": "mnist_5k", "architecture": "mlp"}}}
    config = OmegaConf.create({"runs_dir": str(tmp_path), "hydra": chosen})
    cells = [SweepCell(("dataset=folder",), tmp_path / "mine/x", "x", "all", ("", ""))]
    assert peak_of_runs(config, cells, tmp_path / "mine") is None
    leave("other/a", "mnist_5k", 3)
    leave("b", "folder (pets)", 5)
    leave("c", "cifar10", 9)
    assert peak_of_runs(config, cells, tmp_path / "mine") == 5
    leave("mine/d", "mnist_5k", 4)
    assert peak_of_runs(config, cells, tmp_path / "mine") == 4


@pytest.mark.parametrize("letter", ["x", "é", "漢"])
def test_a_folder_is_named_by_as_much_as_the_disk_takes(letter, tmp_path):
    name = sweeps._differing([f"a={letter * 300}"], ["a"], dict.fromkeys(composed_run.CHOSEN, ""))
    assert name == f"a={letter * 300}"[: len(name)]
    assert 255 - 13 - 2 <= len(name.encode()) <= 255 - 13
    (tmp_path / f"{name}-{'0' * 12}").mkdir()


@pytest.mark.long
@pytest.mark.parametrize("place", ["a=b c'd\"e", "back\\slash", "→ é", "x,y{z}[w]", "$HOME"])
def test_a_sweep_lies_where_it_is_told_and_is_resumed_there(place, here):
    quoted = place.replace("'", "\\'")
    words = ("-m", *SMALL, "stage=data", "seed=0,1", f"hydra.sweep.dir='there/{quoted}'")
    found = here(*words)
    assert found.returncode == 0, found.stderr
    assert sorted(path.name[:6] for path in Path("there", place).glob("seed=*")) == ["seed=0", "seed=1"]
    assert len(list(Path("there").iterdir())) == 1


def test_the_watcher_rests_sixty_times_as_long_as_it_looks(monkeypatch):
    now, looks = [100.0], []
    monkeypatch.setattr(launching.time, "monotonic", lambda: now[0])

    def look() -> None:
        looks.append(now[0])
        now[0] += 0.5

    seldom = launching.resting(look)
    for now[0] in (100.0, 101.0, 130.0, 130.75, 131.5, 162.0):
        seldom()
    assert looks == [100.0, 130.75, 162.0], "half a second of looking is followed by thirty of rest"


def test_a_sweep_is_resumed_behind_symbolic_links(here, monkeypatch, tmp_path):
    words = ("-m", *SMALL, "seed=0,1", "hydra.sweep.dir=there")
    assert here(*words).returncode == 0
    Path("there").rename("real")
    Path("there").symlink_to("real")
    cell = next(Path("real").glob("seed=0-*"))
    cell.rename("cell")
    cell.symlink_to(Path("cell").absolute())
    found = here(*words)
    assert found.returncode == 0, found.stderr
    assert "2 of 2 runs finished, 0 failed" in found.stdout
    assert "done (" not in found.stdout, "nothing is run again"


def test_cells_are_split_as_a_shell_would(here):
    line = "'forget_set.classes=[1, 2]' forget_set=class seed=1,2"
    found = here("-m", *SMALL, "stage=data", f"hydra.sweeper.cells=[\"{line}\",'seed=0']")
    assert found.returncode == 0, found.stderr
    names = {path.name.rpartition("-")[0] for path in Path("runs/sweep").glob("*-*")}
    assert names == {f"forget_set.classes=_1,2_,forget_set=class,seed={seed}" for seed in (1, 2)} | {"seed=0"}


TYPED_OUT = ("seed=range(4)", "forget_set.seed=${seed}", "dataset.seed=${seed}")
BOTH = (
    "pairs=4 already sets seed, forget_set.seed, dataset.seed, each to the number of the pair. Give one of the two"
)
REFUSED_PAIRS = {
    "pairs=1": "pairs=1: must be greater than or equal to 2",
    "pairs=10001": "pairs=10001: must be less than or equal to 10000",
    "pairs=2.5": "pairs=2.5: must be a valid integer",
    "pairs=many": "pairs='many': must be a valid integer",
    "pairs=2,3": "pairs=2,3: must be one number of pairs, as in pairs=25",
    "pairs=7-7": "pairs=7-7: must be 2 to 10,000 pairs, the first to the last, as in pairs=25-49",
    "pairs=0-10000": "pairs=0-10000: must be 2 to 10,000 pairs, the first to the last, as in pairs=25-49",
    "pairs=7-3": "pairs=7-3: must be 2 to 10,000 pairs, the first to the last, as in pairs=25-49",
    "pairs=4 seed=range(3)": f"seed=range(3): {BOTH}",
    "seed=1 pairs=4": f"seed=1: {BOTH}",
    "pairs=4 forget_set.seed=2": f"forget_set.seed=2: {BOTH}",
    "pairs=4 ++dataset.seed=0,1": f"dataset.seed=0,1: {BOTH}",
}


@pytest.fixture
def planned(tmp_path):
    """`planned(words, config_words, **params)`: the cells of a sweep, and how often Hydra composed a config."""
    from types import SimpleNamespace

    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from hydra_plugins.softtargets_sweeper import CheckedSweeper

    def plan(words, config_words=(), cells=(), **params) -> tuple[list[SweepCell], int]:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            sweeper = CheckedSweeper(params, list(cells) or None)
            sweeper.config = loader.load_configuration("config", list(config_words), run_mode=RunMode.MULTIRUN)
            sweeper.hydra_context = SimpleNamespace(config_loader=loader)
            composer = _composer(sweeper)
            found = sweeps.cells(*_combinations(sweeper, list(words)), tmp_path, composer)
        return found, composer.composed

    return plan


def test_pairs_are_what_is_typed_out_and_composed_once(planned):
    arms = "targets=hard,soft"
    pairs, compositions = planned([arms, "pairs=4"])
    assert compositions == 2, "once for each arm"
    assert [(cell.hash, cell.folder) for cell in pairs] == [
        (cell.hash, cell.folder) for cell in planned([arms, *TYPED_OUT])[0]
    ]
    assert len({cell.hash for cell in pairs}) == 8


def test_only_what_was_auto_is_saved_as_its_value(planned, tmp_path):
    (typed,), _ = planned(["device=cpu", "precision=bf16", "seed=1"])
    sweeps.prepare(tmp_path, [typed])
    assert not (tmp_path / sweeps.MACHINE).exists()
    (one,), _ = planned(["device=cpu", "seed=1"])
    sweeps.prepare(tmp_path, [one])
    (precision,) = (word.partition("=")[2] for word in one.overrides if word.startswith("precision="))
    assert read_json(tmp_path / sweeps.MACHINE) == {"precision": precision}
    other = "float32" if precision == "bf16" else "bf16"
    write_json(tmp_path / sweeps.MACHINE, {"device": "cuda:7", "precision": other})
    (later,), _ = planned(["seed=2"])
    assert later.overrides[-2:] == ("device=cuda:7", f"precision={other}")


@pytest.mark.parametrize("place", ["params", "cells"])
def test_a_sweep_that_lists_modules_in_a_file_imports_none(planned, canary, place):  # noqa: F811
    words = {"plugins": "[canary_module]", "architecture._target_": "canary_module.touch"}
    cells = [" ".join(f"{name}={value}" for name, value in words.items())]
    with pytest.raises(BadInput, match=r"plugins=\[canary_module\] is set in a config file"):
        planned(["seed=0"], **(words if place == "params" else {}), cells=cells if place == "cells" else ())


def test_a_file_sets_no_variables_for_the_runs_of_a_sweep(planned, monkeypatch):
    variable = {"+hydra.job.env_set.PATH": "/of/somebody"}
    with pytest.raises(BadInput, match=r"hydra\.job\.env_set\.PATH is set in a config file"):
        planned(["seed=0"], **variable)
    monkeypatch.setattr(sys, "argv", ["run.py", "-m", "+hydra.job.env_set.PATH=/of/somebody"])
    assert len(planned(["seed=0"], **variable)[0]) == 1


@pytest.mark.parametrize("finished", ["a", "b"])
def test_of_several_folders_with_the_hash_of_a_cell_the_finished_one_counts(planned, tmp_path, finished):
    (cell,), _ = planned(["seed=1"])
    folders = {letter: tmp_path / f"{letter}-{cell.hash[:12]}" for letter in "ba"}
    for folder in folders.values():
        content = {"provenance": {"config_hash": cell.hash[:12] + "of another config"}}
        write_json(folder / "result.json", content)
    assert planned(["seed=1"])[0][0].folder == folders["a"], "the first by name, as none is finished"
    write_json(folders[finished] / "result.json", {"provenance": {"config_hash": cell.hash}})
    (found,), _ = planned(["seed=1"])
    assert (found.folder, found.state()) == (folders[finished], "finished")


def test_pairs_may_begin_after_the_first(planned):
    typed = ("seed=range(25,28)", "forget_set.seed=${seed}", "dataset.seed=${seed}")
    hashes = {cell.hash for cell in planned(typed)[0]}
    for given in ({"pairs": "25-27"}, {"config_words": ["pairs=25-27"]}):
        assert {cell.hash for cell in planned([], **given)[0]} == hashes
    assert {cell.hash for cell in planned(["pairs=25-27"])[0]} == hashes


def test_pairs_may_stand_in_an_experiment(planned):
    hashes = {cell.hash for cell in planned(TYPED_OUT)[0]}
    for given in ({"pairs": 4}, {"config_words": ["pairs=4"]}):
        assert {cell.hash for cell in planned([], **given)[0]} == hashes
    assert len(planned(["pairs=null"], pairs=4)[0]) == 1, "the last value counts"
    said = f"seed=range(5) (in hydra.sweeper.params; leave it out by '~hydra.sweeper.params.seed'): {BOTH}"
    with pytest.raises(BadInput, match=f"^{re.escape(said)}$"):
        planned(["pairs=4"], seed="range(5)")


@pytest.mark.parametrize("words", REFUSED_PAIRS)
def test_pairs_are_refused_beside_seeds_and_out_of_range(words):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parse = OverridesParser.create().parse_overrides
    with pytest.raises(BadInput, match=f"^{re.escape(REFUSED_PAIRS[words])}$"):
        typed_out([], parse(words.split()), None, parse)


def test_pairs_are_refused_in_one_run(here):
    found = here("pairs=4")
    said = "run.py: pairs=4: one run has no pairs, a sweep has. Type -m first, as in -m pairs=4\n"
    assert (found.returncode, found.stderr) == (2, said)
    assert not Path("runs").exists()


@pytest.mark.long
def test_a_sweep_of_pairs_from_python_has_distinct_forget_sets(folder):
    import softtargets
    from softtargets.report.pairs import pairings
    from softtargets.report.runs import read

    place = softtargets.sweep([*SMALL, "targets=hard,soft", "pairs=3"])
    found = results(folder).values()
    assert len(softtargets.results(place)) == len(found) == 6
    for drawn in ("seed", "forget_seed"):
        assert {one["choices"][drawn] for one in found} == {0, 1, 2}
    (pairing,) = pairings(read(place))
    assert (pairing.design.kind, pairing.design.shown) == ("distinct", "n = 3, 3 forget sets")


def test_own_settings_of_a_sweep_are_the_last_values_and_no_part_of_its_runs(planned):
    usual = {cell.hash for cell in planned(["seed=0,1"])[0]}
    for words, params, config_words in (
        (["seed=0,1", "fail_fast=3"], {}, []),
        (["seed=0,1"], {"fail_fast": 3}, []),
        (["seed=0,1"], {}, ["fail_fast=3"]),
    ):
        cells, _ = planned(words, config_words, **params)
        assert {cell.hash for cell in cells} == usual
        assert all("fail_fast=null" in cell.overrides for cell in cells)


@pytest.mark.long
def test_a_sweep_that_fails_fast_leaves_the_rest_and_goes_on_at_the_next_call(folder):
    broken = ("~mu_algo.alpha", "mu_algo._target_=own_parts.broken_at_16_twice", "plugins=[own_parts]")
    words = (*broken, "unlearn.batch_size=16,8", "seed=range(3)")
    code, stdout, stderr = sweep(folder, *words, "fail_fast=2")  # a process: it stops a thread
    assert (code, len(results(folder))) == (1, 0)
    assert "fail_fast=2: 2 runs failed for the same reason, so the sweep ends here: ZeroDivisionError" in stderr
    assert "0 of 6 runs finished, 2 failed, 4 stopped or not started" in stdout, "the third waited to be stopped"
    assert "Trust: 6 runs planned, 0 finished, 2 failed" in (folder / "runs/sweep/summary.md").read_text()
    (folder / "store/open").touch()
    code, stdout, _ = sweep(folder, *words)
    assert "3 of 6 runs finished, 3 failed; " in stdout
    assert "Trust: 6 runs planned, 3 finished, 3 failed" in (folder / "runs/sweep/summary.md").read_text()
    assert len(list((folder / "runs/sweep/.plans").iterdir())) == 1, "fail_fast is no part of a plan"
    assert len(results(folder)) == 3


def test_runs_whose_folders_cannot_be_made_are_failures_that_end_a_sweep_fast(folder, here):
    assert here("-m", *SMALL, "seed=range(3)", "stage=data").returncode == 0
    first, *others = sorted(folder.glob("runs/sweep/seed=*"))
    shutil.rmtree(first / ".hydra")
    (first / ".hydra").touch()  # error.json can be left beside it
    for place in others:
        shutil.rmtree(place)
        place.touch()
    code, stdout, stderr = here("-m", *SMALL, "seed=range(4)", "fail_fast=2")
    why = "FileExistsError: [Errno 17] File exists: '…'"
    assert stderr == f"run.py: fail_fast=2: 2 runs failed for the same reason, so the sweep ends here: {why}\n"
    said = [line for line in stdout.splitlines() if line.startswith("a run failed: ")]
    assert [line.rpartition(" (")[2] for line in said] == [f"{place})" for place in (first, *others)]
    assert "0 of 4 runs finished, 3 failed, 1 stopped or not started" in stdout
    assert (code, results(folder)) == (1, {})
    assert (
        "Trust: 4 runs planned, 0 finished, 3 failed, 1 never began"
        in (folder / "runs/sweep/summary.md").read_text()
    )


@pytest.mark.parametrize("words", ["fail_fast=0", "fail_fast=1,2", "fail_fast=few"])
def test_own_settings_are_refused_in_one_sentence(here, words):
    code, stdout, stderr = here("-m", *SMALL, words)
    assert (code, stdout) == (2, "")
    assert stderr.startswith(f"run.py: {words.partition('=')[0]}=")
    assert stderr.count("\n") == 1
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("device", "places"),
    [("cpu", None), ("cuda", ["GPU-a", "GPU-b", "GPU-a", "GPU-b"]), ("cuda:1", ["GPU-a,GPU-b", "GPU-a,GPU-b"])],
)
def test_local_workers_are_spread_over_the_gpus_or_all_go_to_one(device, places, planned, monkeypatch, tmp_path):
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # Hydra imports its plugins anew

    bound, sweeper = [], BasicSweeper(max_batch_size=None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    monkeypatch.setattr(starting, "bind_workers", lambda launcher, runs, places, peak: bound.append(places))
    monkeypatch.setattr(study_sweep, "peak_of_runs", lambda config, cells, folder: None)
    hydra = {"launcher": {"_target_": "a.JoblibLauncher"}, "sweeper": {"runs_per_gpu": 2}}
    sweeper.config, sweeper.launcher = OmegaConf.create({"hydra": hydra}), None
    (cell,), _ = planned(["device=cpu", "precision=bf16", "seed=1"])
    cell = dataclasses.replace(cell, overrides=(*cell.overrides[:-2], f"device={device}", "precision=bf16"))
    study_sweep._starter(sweeper, [cell], tmp_path, None)
    assert bound == [places or []]
