"""`plan=true`: counts, hours and bytes that a sweep or a run will take, and nothing written."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import SMALL

import softtargets
from softtargets.config.resolve import config_hash, decisive
from softtargets.console import Console
from softtargets.errors import BadInput
from softtargets.execution import pipeline
from softtargets.store import entries, manifest
from softtargets.study import planning
from softtargets.study.cells import SweepCell
from softtargets.study.records import Runs, budget, kinds_of_rest, kinds_of_unlearning, nearest
from softtargets.system.files import read_json, write_json
from softtargets.system.locks import locked


@pytest.fixture
def own_store(elsewhere, monkeypatch):
    """A store and a folder of runs of this test alone."""
    monkeypatch.setenv("SOFTTARGETS_STORE", str(elsewhere / "store"))
    return elsewhere


def tree(folder: Path) -> dict[str, tuple]:
    """Every path in a folder with what a write would change."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in folder.rglob("*")
    }


def estimate(line: str) -> float:
    return float(re.search(r"(?:at least )?([\d.e-]+)", line)[1])


def planned(here, *words: str) -> dict[str, str]:
    """The lines of a plan by their first words."""
    ended = here(*words, "plan=true")
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    _, begins, plan = ended.stdout.rpartition("plan of ")  # runs before it have said something too
    return dict(line.split(": ", 1) for line in (begins + plan).splitlines())


@pytest.mark.long
def test_a_sweep_trains_and_keeps_what_its_plan_said_and_the_plan_wrote_nothing(here, own_store, composed):
    runs, stored = own_store / "runs", own_store / "store"
    pipeline.run_experiment(composed(*SMALL), runs / "first", Console())
    before, kept = tree(own_store), {*entries(stored)}
    said = planned(here, "-m", *SMALL, "targets=hard,out_of_fold_3", "seed=0,1")
    assert tree(own_store) == before
    assert said["cells"] == "4: 0 finished, 4 missing, 0 failed"
    assert said["models"] == "2 to train, 2 in the store"
    assert said["teachers"] == "6 to train, 0 in the store"
    words = [
        (targets, seed) for targets in ("targets=hard", "targets=out_of_fold_3") for seed in ("seed=0", "seed=1")
    ]
    costs = [
        pipeline.run_experiment(composed(*SMALL, *some), runs / "sweep" / "".join(some), Console())["cost"]
        for some in words
    ]
    assert sum(len(cost["made"]) for cost in costs) == 2 + 6
    new = {*entries(stored)} - kept
    known = re.search(
        r"([\d.]+) MB for (\d+) entries of the store; ([\d.]+) MB for 4 folders", said["disk to come"]
    )
    assert int(known[2]) == len(new)
    assert float(known[1]) == pytest.approx(megabytes(new), rel=0.05)
    assert float(known[3]) == pytest.approx(megabytes((runs / "sweep").iterdir()), abs=0.1)
    assert 0 < estimate(said["CPU hours to come"]) < 0.01


@pytest.mark.long
def test_of_ensembles_in_the_store_a_plan_counts_nothing_as_new(here, own_store, composed):
    """Predictions of an ensemble are kept by the digest of all its networks, which no manifest has."""
    runs, stored, words = own_store / "runs", own_store / "store", (*SMALL, "mu_algo=sisa", "unlearn=sisa")
    words = tuple(word for word in words if word not in ("mu_algo=graddiff", "unlearn.epochs=2"))
    for seed, known in ((0, 0), (1, 10)):
        said = planned(here, "-m", *words, "seed=range(2)", f"hydra.sweep.dir={runs / 'other'}")
        assert said["models"] == f"{20 - known} to train, {known} in the store"
        before = {*entries(stored)} if stored.exists() else set()
        counted = int(re.search(r"for (\d+) entries of the store", said["disk to come"])[1])
        pipeline.run_experiment(composed(*words, f"seed={seed}"), runs / f"sweep/{seed}", Console())
        assert len({*entries(stored)} - before) == counted / (2 - seed), said["disk to come"]
    said = planned(here, "-m", *words, "seed=range(2)", f"hydra.sweep.dir={runs / 'other'}")
    assert "store" not in said["disk to come"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "models", "teachers"),
    [
        (("forget_set=memorised", "forget_set.models=4"), 6, 0),
        (("forget_set=worst_case", "forget_set.models=4", "forget_set.steps=2"), 7, 0),
        (("forget_set.requests=3", "targets=out_of_fold_3"), 4, 9),
        (("forget_set.requests=3", "stage=train"), 4, 0),
    ],
)
def test_models_that_score_samples_and_those_of_further_requests_are_planned(
    here, own_store, composed, words, models, teachers
):
    said = planned(here, *SMALL, *words)
    counts = tuple(f"{number} to train, 0 in the store" for number in (models, teachers))
    assert (said["models"], said["teachers"]) == counts
    pipeline.run_experiment(composed(*SMALL, *words), own_store / "run", Console())
    kept = [path.parent.name for path in entries(own_store / "store")]
    assert kept.count("model") == models + teachers
    assert int(re.search(r"for (\d+) entries of the store", said["disk to come"])[1]) == len(kept)


@pytest.mark.parametrize("arms", ["sisa,none", "none,sisa"])
def test_arms_with_and_without_shards_need_models_of_their_own(here, own_store, arms):
    words = [word for word in SMALL if not word.startswith(("mu_algo=", "unlearn."))]
    said = planned(here, "-m", *words, f"mu_algo={arms}")
    assert said["models"] == "12 to train, 0 in the store"


def megabytes(folders: Iterable[Path]) -> float:
    return sum(file.stat().st_size for folder in folders for file in folder.iterdir()) / 1e6


def test_hours_are_steps_and_runs_by_what_earlier_ones_took(here, own_store, composed):
    """A second a step, 7 seconds a run without its unlearning, which takes 3, 5 to store each of two models."""
    first = own_store / "runs" / "sweep" / "first"
    pipeline.run_experiment(composed(*SMALL), first, Console())
    result = read_json(first / "result.json")
    result["cost"] |= {"run_cpu_s": 50.0, "trainings_cpu_s": 30.0, "stored_cpu_s": 10.0, "unlearn_cpu_s": 3.0}
    write_json(first / "result.json", result)
    steps = {}
    for path in entries(own_store / "store"):
        if path.parent.name == "model":
            record = manifest(path) | {"cpu_seconds": 1.0 * manifest(path)["steps"]}
            (path / "manifest.json").write_text(json.dumps(record))
            steps[record["ingredients"]["name"]] = record["steps"]
    said = planned(here, "-m", *SMALL, "seed=1,2,3", f"hydra.sweep.dir={own_store / 'runs' / 'other'}")
    trainings, runs = 3 * (sum(steps.values()) + 2 * 5) / 3600, 3 * (7 + 3) / 3600
    assert said["CPU hours to come"] == (
        f"{trainings + runs:.3g} ({trainings:.3g} for 6 trainings; {runs:.3g} for 3 runs)"
    )
    # another rate takes as long; how long another number of steps takes, or another algorithm, is a guess
    for words, roughly in (
        (["unlearn.optimizer.lr=0.5"], ""),
        (["unlearn.epochs=4"], " (1 roughly: by other algorithms)"),
        (["mu_algo=npo"], " (1 roughly: by other algorithms)"),
    ):
        said = planned(here, *SMALL, *words, "unlearn.evaluate_every=5")
        assert said["CPU hours to come"] == f"{10 / 3600:.3g} ({10 / 3600:.3g} for 1 run{roughly})"


def test_seconds_of_an_unlearning_are_in_proportion_to_its_budget(tmp_path, composed):
    small = (*SMALL, "unlearn.epochs=1")
    config = decisive(composed(*small, "unlearn.cost=0.1"))
    cost = {"run_cpu_s": 9.0, "trainings_cpu_s": 3.0, "unlearn_cpu_s": 2.0, "made": []}
    write_json(tmp_path / "result.json", {"config": config, "cost": cost})
    runs = Runs([tmp_path / "result.json"])
    for words, expected in (
        (["unlearn.cost=0.4"], (8.0, False)),
        (["unlearn.cost=0.4", "mu_algo=npo"], (8.0, True)),
    ):
        other = decisive(composed(*small, *words))
        known = nearest(runs.unlearning, kinds_of_unlearning(other))
        assert (known.value * budget(other), known.rough) == (pytest.approx(expected[0]), expected[1])
        assert nearest(runs.rest, kinds_of_rest(other)).value == 4.0
    assert nearest(runs.rest, kinds_of_rest(decisive(composed("dataset.train_size=400")))) is None


def test_without_records_a_plan_says_so(here, own_store):
    said = planned(here, *SMALL)
    assert said["CPU hours to come"] == "unknown (no record: 2 trainings, 1 run)"
    assert said["no record"].endswith("Type the same again after the first run")
    assert "at least" in said["disk to come"]
    assert not any(own_store.iterdir())


@pytest.mark.parametrize(
    ("words", "arrays"),
    [
        (["seed=range(5)"], "5 cells: 1 array"),
        (
            ["seed=range(5)", "hydra.sweeper.array_size=2", "hydra.sweeper.cells_per_job=2"],
            "5 cells: 3 jobs of at most 2 cells, in 2 arrays of at most 2 jobs",
        ),
    ],
)
def test_a_plan_for_slurm_says_how_cells_are_cut(here, own_store, words, arrays):
    assert planned(here, "-m", *SMALL, *words, "hydra/launcher=slurm")["arrays"] == arrays
    assert not any(own_store.iterdir())


def test_failed_finished_running_and_killed_cells_are_counted(here, own_store, composed):
    sweep = own_store / "runs" / "sweep"
    words = ("-m", *SMALL, "seed=0,1,2")
    # the folders of a sweep end with the hash of the config
    failed, finished = (f"any-{config_hash(composed(*SMALL, f'seed={seed}'))[:12]}" for seed in (1, 2))
    write_json(sweep / failed / "error.json", {"error": "ValueError", "message": "", "traceback": ""})
    digest = config_hash(composed(*SMALL, "seed=2"))
    write_json(sweep / finished / "result.json", {"provenance": {"config_hash": digest}, "cost": {}})
    began = sweep / f"any-{config_hash(composed(*SMALL, 'seed=0'))[:12]}"
    began.mkdir()
    (began / "run.log").write_text("begun")
    with locked(began / ".lock", busy=lambda: None):
        assert planned(here, *words)["cells"] == "3: 1 finished, 0 missing, 1 failed, 1 running"
    said = planned(here, *words)  # now it was killed
    assert said["cells"] == "3: 1 finished, 1 missing, 1 failed"
    assert said["models"] == "4 to train, 0 in the store"


def test_a_plan_of_pairs_counts_each_draw_of_the_data(here, own_store):
    said = planned(here, "-m", *SMALL, "pairs=2", "targets=hard,soft")
    assert said["cells"] == "4: 0 finished, 4 missing, 0 failed"
    assert said["models"] == "4 to train, 0 in the store"
    said = planned(here, "-m", *SMALL, "forget_set.seed=0,1")
    assert said["models"] == "3 to train, 0 in the store", "one original, and two retrained"


@pytest.mark.long
def test_of_many_draws_some_are_looked_at_and_the_models_are_counted_for_all(here, own_store, monkeypatch):
    whole = planned(here, "-m", *SMALL, "pairs=6", "targets=hard,out_of_fold_3")
    monkeypatch.setattr(planning, "DRAWS", 2)
    said = planned(here, "-m", *SMALL, "pairs=6", "targets=hard,out_of_fold_3")
    assert said.pop("data") == "2 of 6 draws looked at, and the others estimated from them"
    assert said["models"] == "12 to train, 0 in the store"
    assert said["teachers"] == "18 to train, 0 in the store"
    assert said == whole
    said = planned(here, "-m", *SMALL, "forget_set.seed=range(6)")
    assert said["models"] == "7 to train, 0 in the store", "one original, and six retrained"


def arm(name: str, seeds: Iterable[int]) -> list[SweepCell]:
    """Return cells of an arm whose models and data depend on the seed alone."""
    return [
        SweepCell(
            (f"targets={name}", f"seed={seed}"), Path(), "", "all", (f"o{seed}", f"r{seed}"), ("d", f"f{seed}")
        )
        for seed in seeds
    ]


@pytest.mark.parametrize(
    "arms",
    [
        {"hard": range(100), "soft": range(60)},
        {"hard": range(100), "soft": range(0, 100, 2), "own": range(7, 91)},
        {"hard": range(0, 120, 3), "soft": range(1, 90), "own": [1000]},
    ],
)
def test_arms_with_different_seeds_left_count_each_model_and_run_once(arms, monkeypatch):
    monkeypatch.setattr(planning, "DRAWS", 20)
    weights = dict(planning._of_some_draws([cell for name, seeds in arms.items() for cell in arm(name, seeds)]))
    assert len({cell.data for cell in weights}) <= 20 + len(arms)
    for which in range(2):
        models = {cell.models[which]: weight[1 + which] for cell, weight in weights.items()}
        assert sum(models.values()) == pytest.approx(len({seed for seeds in arms.values() for seed in seeds}))
    for name, seeds in arms.items():
        runs = [weight.runs for cell, weight in weights.items() if cell.overrides[0] == f"targets={name}"]
        assert sum(runs) == pytest.approx(len(seeds))


def test_a_plan_prepares_no_images(here, own_store):
    words = ("dataset=kmnist", f"data_dir={own_store / 'data'}")
    for first in ((), ("-m", "seed=0,1")):
        ended = here(*first, *words, "plan=true")
        assert ended.returncode == 2
        assert ended.stderr.startswith(
            "run.py: plan=true: writes nothing, and the images have to be prepared first"
        )
        assert f", which writes to {own_store / 'data'}" in ended.stderr
        assert (".lock" in ended.stderr, ended.stderr.count("\n")) == (False, 1)
        assert not (own_store / "data").exists()
    (own_store / "data").mkdir()  # there the first thing that it would make is a lock
    assert f", which writes to {own_store / 'data'}. Type" in here(*words, "plan=true").stderr


@pytest.mark.parametrize("words", [["plan=some"], ["plan=3"], ["-m", "plan=true,false"]])
def test_a_wrong_value_is_refused(here, own_store, words):
    ended = here(*words)
    assert ended.returncode == 2
    assert ended.stderr.startswith("run.py: plan=")
    assert ended.stderr.count("\n") == 1
    assert not any(own_store.iterdir())


@pytest.mark.long
def test_from_python_a_sweep_plans_and_a_run_refuses(own_store, monkeypatch, capfd):
    monkeypatch.chdir(own_store)
    folder = softtargets.sweep([*SMALL, "seed=0,1", "plan=true"])
    assert "models: 4 to train" in capfd.readouterr().out
    assert not folder.exists()
    for call in (softtargets.run, softtargets.search):
        with pytest.raises(BadInput, match=r"^plan=true: "):
            call([*SMALL, "unlearn.cost=0.5", "plan=true"])
    assert not any(own_store.iterdir())
