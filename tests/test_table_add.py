"""The door of the living table for other people's results: what it refuses, and what it takes in."""

import copy
import datetime
import functools
import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, SMALL
from results_by_hand import leave
from test_table import build

from softtargets.errors import BadInput
from softtargets.evaluation import metrics
from softtargets.execution import code_hash, provenance
from softtargets.report import runs
from softtargets.report.planned import write_plan
from softtargets.system.files import canonical, read_json, write_json
from softtargets.table import checks, contradictions, copies, drawn, history, rerun
from softtargets.table.__main__ import main

SENT = sorted(folder for folder in ROOT.glob("community/*") if folder.is_dir())


def digest(*parts: object) -> str:
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()


@functools.cache
def community() -> dict[tuple[str, int], dict]:
    """Return real results by algorithm and seed: those of a narrow network on 1,000 digits."""
    results = map(read_json, (ROOT / "community/finetune_and_retrain").rglob("result.json"))
    return {(one["choices"]["mu_algo"], one["choices"]["seed"]): one for one in results}


def honest(seed: int, mu_algo: str = "finetune") -> dict:
    """Return a real result, as the code of today would have written it a minute ago."""
    run = copy.deepcopy(community()[mu_algo, seed])
    run["diagnosis"]["training_distance"] = run["diagnosis"]["target_distance"]
    ended = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - datetime.timedelta(minutes=1)
    times = {"started": ended - datetime.timedelta(seconds=20), "finished": ended}
    run["provenance"] |= {name: time.isoformat() for name, time in times.items()}
    run["provenance"] |= {"code_sha256": code_hash.code_hash(), "git_commit": None, "git_dirty": None}
    return run


def with_hash(run: dict) -> dict:
    """Return a result with the hash of its config, as whoever can run the code can write it."""
    run["provenance"]["config_hash"] = hashlib.sha256(canonical(run["config"]).encode()).hexdigest()
    return run


@pytest.fixture(scope="module")
def batch(tmp_path_factory) -> Path:
    """Return a folder of two arms of three pairs."""
    folder = tmp_path_factory.mktemp("batch")
    for number, (seed, arm) in enumerate((seed, arm) for seed in range(3) for arm in ("finetune", "retrain")):
        (folder / f"run{number}").mkdir()
        write_json(folder / f"run{number}" / "result.json", honest(seed, arm))
    return folder


@pytest.fixture
def sent(batch, tmp_path) -> Path:
    """Return a copy: the folder that somebody sent."""
    return shutil.copytree(batch, tmp_path / "sent")


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def edited(change, *numbers: int, right_hash: bool = False):
    """Return a forgery: these runs are changed and sealed again."""

    def forge(folder: Path) -> None:
        for number in numbers:
            file = folder / f"run{number}" / "result.json"
            run = read_json(file)
            change(run)
            write_json(file, with_hash(run) if right_hash else run)

    return forge


def put(*way: str, value):
    """Return a change of one value of a result."""

    def change(run: dict) -> None:
        *above, last = way
        functools.reduce(dict.__getitem__, above, run)[last] = value

    return change


def number_without_a_seal(folder: Path) -> None:
    file = folder / "run0/result.json"
    text = file.read_text()
    file.write_text(text.replace(str(read_json(file)["faces"]["js_t_forget"]["unlearned"]), "0.01"))


def truncated(folder: Path) -> None:
    file = folder / "run0/result.json"
    file.write_bytes(file.read_bytes()[:900])


def swapped_files(folder: Path) -> None:
    """Swap the seeds of two runs of one arm, in all places where a run says them."""
    for number, seed in ((0, 1), (2, 0)):
        file = folder / f"run{number}" / "result.json"
        run = read_json(file)
        run["choices"] |= {"seed": seed, "forget_seed": seed}
        run["config"] |= {"seed": seed, "forget_set": run["config"]["forget_set"] | {"seed": seed}}
        run["config"]["dataset"]["seed"] = seed
        write_json(file, with_hash(run))


def copied_under_two_seeds(folder: Path) -> None:
    """Copy both arms of a pair to another seed, with new names for their forget set."""
    for number in (0, 1):
        run = read_json(folder / f"run{number}" / "result.json")
        run["choices"] |= {"seed": 7, "forget_seed": 7}
        run["config"] |= {"seed": 7, "forget_set": run["config"]["forget_set"] | {"seed": 7}}
        run["config"]["dataset"]["seed"] = 7
        run["hashes"]["forget_set"] = run["data"]["hashes"]["forget"] = digest("another")
        (folder / f"more{number}").mkdir()
        write_json(folder / f"more{number}" / "result.json", with_hash(run))


def the_same_file_twice(folder: Path) -> None:
    shutil.copytree(folder / "run0", folder / "again")


def a_link_out(folder: Path) -> None:
    shutil.move(folder / "run0", folder.parent / "elsewhere")
    (folder / "run0").symlink_to(folder.parent / "elsewhere")


def a_linked_file(folder: Path) -> None:
    (folder / "run0/notes.txt").symlink_to("/etc/passwd")


def unfinished(folder: Path) -> None:
    (folder / "run9").mkdir()
    (folder / "run9/run.log").write_text("")


def failed(folder: Path) -> None:
    (folder / "run9").mkdir()
    write_json(folder / "run9/error.json", {"error": "ValueError", "message": "no"})


def planned_and_missing(folder: Path) -> None:
    write_plan(folder, {name: ["seed=0"] for name in ("run0", "run77")})


def huge(folder: Path) -> None:
    put_in = edited(put("provenance", "more", value="x" * 1_100_000), 0)
    put_in(folder)


def with_seed(value: int):
    """Return a change of a result's seed, wherever it says it."""

    def change(run: dict) -> None:
        run["choices"]["seed"] = run["config"]["seed"] = value

    return change


def budget(value: float):
    """Return a change of a result to one with a budget, in its config too."""

    def change(run: dict) -> None:
        run["config"]["unlearn"]["cost"] = run["cost"]["budget"] = value

    return change


TUNED = {"dataset": "mnist_5k", "images": 950, "seeds": [1], "forget_sets": [], "classes": [], "fixed": None}
FORGERIES = {
    "a number, without a seal": (number_without_a_seal, "changed since it was written"),
    "an accuracy": (edited(put("metrics", "unlearned", "test_acc", value=0.9), 0), "its other numbers give"),
    "a mean gap": (
        edited(put("distance", "avg_gap", value=0.001), 0),
        "distance.avg_gap=0.001, and its",
    ),
    "a floor": (
        edited(put("faces", "js_t_forget", "floor", value=0.02), 0),
        "same models, so one was edited",
    ),
    "doing nothing": (edited(put("faces", "js_t_forget", "nothing", value=0.09), 1), "for the same models"),
    "an impossible distance": (edited(put("faces", "js_t_forget", "unlearned", value=0.8), 0), "at most 0.6931"),
    "a cost": (edited(put("cost", "share", value=0.05), 0), "cost.share=0.05, and its samples give 0.1"),
    "a cost over its budget": (
        edited(budget(0.05), 0, right_hash=True),
        "cost.share=0.1: more than its budget, unlearn.cost=0.05",
    ),
    "the seconds of retraining": (
        edited(put("cost", "retrain_s", value=50.0), 0),
        "and its seconds give 109.123: one of them was edited",
    ),
    "the seconds of unlearning": (
        edited(put("cost", "unlearn_s", value=60.0), 0),
        "cost.unlearn_s=60: more than cost.run_s=12.0781, the whole run",
    ),
    "the seconds of a run": (
        edited(put("cost", "run_s", value=500.0), 0),
        "cost.run_s=500: longer than from its start",
    ),
    "another budget": (edited(put("cost", "budget", value=0.6), 0), "cost.budget=0.6, and its config has"),
    "a size": (edited(put("data", "sizes", "train", value=60000), 0), "are not the 60000 of the training set"),
    "a forget set of another size": (
        edited(put("data", "sizes", value={"train": 950, "forget": 1, "retain": 949, "test": 1000}), 0),
        "data.sizes.forget=1: its config asks for 0.1 of 950",
    ),
    "a date to come": (edited(put("provenance", "finished", value="2999-01-01T00:00:00+00:00"), 0), "is to come"),
    "an end before the start": (
        edited(put("provenance", "started", value="2999-01-01T00:00:00+00:00"), 0),
        "before it started",
    ),
    "a negative distance": (edited(put("faces", "js_t_forget", "unlearned", value=-0.1), 0), "must be"),
    "a config": (edited(put("config", "references", value=3), 0), "its config is not the one of its config_hash"),
    "a config, with its hash": (
        edited(put("config", "references", value=3), 0, right_hash=True),
        "1 further retrained model, and references=3",
    ),
    "a seed": (edited(put("choices", "seed", value=2), 0), "choices.seed=2, and its config has 0"),
    "an algorithm's name": (
        edited(put("choices", "mu_algo", value="npo"), 0),
        "choices.mu_algo=npo, and",
    ),
    "a negative seed": (edited(with_seed(-1), 0, 1, right_hash=True), "seed -1: seeds are 0 or more"),
    "swapped seeds": (swapped_files, "or has another's seed"),
    "copied under two seeds": (copied_under_two_seeds, "so one is a copy"),
    "one file twice": (the_same_file_twice, "the same arm twice in one pair, seed 0"),
    "no retrained model": (edited(put("hashes", "retrained", value="none"), 0), "so the retrained is missing"),
    "no measured retrained model": (
        edited(put("metrics", "retrained", "class_acc", value=None), 0),
        "no retrained model that could be measured",
    ),
    "another retrained model": (edited(put("hashes", "retrained", value=digest(5)), 0), "the retrained of seed 0"),
    "no floor": (edited(put("faces", "js_t_forget", "floor", value=None), 0, 1), "run it with references=3"),
    "another version in one arm": (
        edited(put("provenance", "code_sha256", value="0" * 64), 0),
        "computed by two versions of the code",
    ),
    "no version": (edited(put("provenance", "code_sha256", value=None), 0), "no hash of the code"),
    "another version passed off as this one": (
        edited(put("provenance", "git_commit", value="GIVEN"), 0),
        "its code is not that of its commit",
    ),
    "truncated": (truncated, "damaged, not JSON"),
    "a link to another folder": (a_link_out, "a symbolic link"),
    "a link to another file": (a_linked_file, "a symbolic link"),
    "HTML": (edited(put("choices", "dataset", value="<b>x</b>"), 0), "a name has ASCII letters, digits"),
    "LaTeX": (edited(put("choices", "mu_algo", value="\\input{x}"), 0), "a name has ASCII letters, digits"),
    "a formula": (edited(put("choices", "targets", value="=1+1"), 0), "a name has ASCII letters, digits"),
    "a formula in the config": (
        edited(put("config", "mu_algo", "note", value="@SUM(A1)"), 0, right_hash=True),
        "a name has ASCII letters, digits",
    ),
    "unfinished": (unfinished, "it is running, or its process was killed"),
    "failed": (failed, "ValueError: no"),
    "planned and missing": (planned_and_missing, "planned, and never began"),
    "tuned on its own seed": (
        edited(put("tuned_on", value=TUNED | {"test_images": 0}), 2),
        "tuned on the seed of this very run (seed 1,",
    ),
    "a text for a number": (
        edited(put("config", "references", value="2"), 0, right_hash=True),
        "a value of another type than a run writes",
    ),
    "letters that look like others": (
        edited(put("choices", "mu_algo", value="n\N{CYRILLIC SMALL LETTER ER}o"), 0),
        "a name has ASCII letters",
    ),
    "a list for a text": (edited(put("config", "dataset", value=None), 0, right_hash=True), "config.dataset"),
    "texts for accuracies": (
        edited(put("faces", "retrained", "mia_auc", value=["a"]), 0),
        "a value of another type than a run writes",
    ),
    "huge": (huge, "a result has at most 1,000,000"),
}


def degenerate_called_ok(run: dict) -> None:
    """Make a result one of an ascent on targets without a gradient."""
    run["config"]["mu_algo"]["_target_"] = "softtargets.mu_algo.gradasc.gradasc"
    run["choices"]["mu_algo"] = "gradasc"
    run["diagnosis"]["training_distance"] = 0.0


def with_teachers(run: dict) -> None:
    """Make a result one of out-of-fold targets whose teachers cost nothing."""
    folds = {"_target_": "softtargets.targets.out_of_fold", "_partial_": True, "folds": 3, "modifiers": []}
    run["config"]["targets"]["forget"] = folds
    run["choices"] |= {"targets": "out_of_fold_3/hard", "targets_forget": "out_of_fold_3"}


def matched_at_its_start(run: dict) -> None:
    run["matched"] = {name: column[0] for name, column in run["trajectory"].items()}


def higher_on_the_test_set(run: dict) -> None:
    """Raise the accuracy on the test set, and all that follows from it but the classes and the trajectory."""
    mine, theirs = run["metrics"]["unlearned"], run["metrics"]["retrained"]
    mine["test_acc"] += 0.05
    run["faces"]["test_acc_gap"]["unlearned"] += 0.05
    run["distance"] |= {"avg_gap": metrics.average_gap(mine, theirs), "tow": metrics.tow(mine, theirs)}


def without_trajectory(change: Callable[[dict], None]):
    """Return a change of a result that was not looked at while it unlearned, so that no trajectory shows it."""

    def forge(run: dict) -> None:
        run["trajectory"] = {name: [] for name in run["trajectory"]}
        run["matched"] = run["matched_level"] = run["config"]["unlearn"]["evaluate_every"] = None
        change(run)

    return forge


def decisions_swapped_between_arms(folder: Path) -> None:
    """Swap how often two arms decide otherwise than the retrained models."""
    for seed in (0, 2, 4):
        files = [folder / f"run{seed + arm}" / "result.json" for arm in (0, 1)]
        one, other = map(read_json, files)
        faces = [run["faces"]["disagreement_forget"] for run in (one, other)]
        faces[0]["unlearned"], faces[1]["unlearned"] = faces[1]["unlearned"], faces[0]["unlearned"]
        for file, run in zip(files, (one, other), strict=True):
            write_json(file, run)


def one_arm_under_another_name(folder: Path) -> None:
    """Replace the results of one arm by those of the other, with the first one's config."""
    for seed in (0, 2, 4):
        taken, file = (folder / f"run{seed + arm}" / "result.json" for arm in (0, 1))
        run, usual = read_json(taken), read_json(file)
        same = ("config", "choices", "status", "explanation", "ignores_targets", "provenance")
        write_json(file, run | {name: usual[name] for name in same})


def one_arm_with_other_hashes(folder: Path) -> None:
    """Replace the results of one arm by those of the other, with models that have other hashes."""
    one_arm_under_another_name(folder)
    for number in (1, 3, 5):
        edited(lambda run: run["hashes"].update(unlearned=digest(run["hashes"]["unlearned"])), number)(folder)


def one_arm_with_another_rate(folder: Path) -> None:
    """Copy the results of one arm as those of another learning rate."""
    for seed in (0, 2, 4):
        run = read_json(folder / f"run{seed}" / "result.json")
        run["config"]["unlearn"]["optimizer"]["lr"] = 0.011
        (folder / f"more{seed}").mkdir()
        write_json(folder / f"more{seed}" / "result.json", with_hash(run))


def seeds_swapped_in_all_arms(folder: Path) -> None:
    """Swap the seeds of two pairs, in all places where a run says them."""
    for number, seed in ((0, 1), (1, 1), (2, 0), (3, 0)):
        file = folder / f"run{number}" / "result.json"
        run = read_json(file)
        _reseed(run, seed)
        write_json(file, run)


def _reseed(run: dict, seed: int) -> None:
    run["choices"] |= {"seed": seed, "forget_seed": seed}
    run["config"]["seed"] = run["config"]["forget_set"]["seed"] = run["config"]["dataset"]["seed"] = seed
    with_hash(run)


def pairs_doubled_by_other_hashes(folder: Path) -> None:
    """Copy all pairs to other seeds, with other hashes and another scale of the main distance."""
    for number in range(6):
        run = read_json(folder / f"run{number}" / "result.json")
        _reseed(run, run["choices"]["seed"] + 100)
        further = [digest(one) for one in run["hashes"]["further_retrained"]]
        run["hashes"] = {name: digest(one) for name, one in run["hashes"].items()} | {"further_retrained": further}
        run["data"]["hashes"]["forget"] = run["hashes"]["forget_set"]
        face = run["faces"]["js_t_forget"]
        run["faces"]["js_t_forget"] = {name: value * 1.001 for name, value in face.items()}
        (folder / f"more{number}").mkdir()
        write_json(folder / f"more{number}" / "result.json", run)


def called_soft(run: dict) -> None:
    """Call the labels of the retain set the original's own predictions."""
    node = {"_target_": "softtargets.targets.self_prediction", "temperature": 1.0, "modifiers": []}
    run["config"]["targets"]["retain"] |= node
    run["choices"] |= {"targets": "soft_retain", "targets_retain": "self"}


FORGERIES |= {
    "labels under another name": (
        edited(called_soft, 0, right_hash=True),
        "hashes.targets is that of labels, and its config asks for other targets",
    ),
    "other targets under the name of labels": (
        edited(put("hashes", "targets", value=digest(1)), 0),
        "hashes.targets is that of no labels, and its config asks for labels",
    ),
    "teachers for nothing": (
        edited(with_teachers, 0, right_hash=True),
        "cost.teachers=[], and its config asks for",
    ),
    "teachers' costs of hard labels": (edited(put("cost", "prepared_share", value=2.2), 0), "its teachers give 0"),
    "teachers of hard labels": (edited(put("cost", "teachers", value=["fold 1 of 2"]), 0), "config asks for none"),
    "seconds of no teachers": (
        edited(put("cost", "teachers_s", value=1.0), 0),
        "cost.teachers_s=1 for 0 teachers",
    ),
    "samples of a step": (
        edited(put("cost", "gradient_samples", value=1), 0),
        "=1 in cost.steps=14: at least one a",
    ),
    "half of the samples": (
        edited(put("cost", "gradient_samples", value=400), 0),
        "cost.gradient_samples=400, and 855 went backward",
    ),
    "a hash of zeros": (
        edited(put("hashes", "unlearned", value="0" * 64), 0),
        "no hash, so the unlearned is missing",
    ),
    "half a hash": (edited(put("hashes", "unlearned", value=digest(1)[:32]), 0), "no hash, so the unlearned"),
    "a hash of other data": (
        edited(put("data", "hashes", "forget", value=digest(1)), 0),
        "hashes.forget_set and data.hashes.forget are of other samples",
    ),
    "a status that no run has": (
        edited(put("status", value="fine"), 0),
        "status=fine: must be one of ok, untrained",
    ),
    "a status against its diagnosis": (
        edited(degenerate_called_ok, 0, right_hash=True),
        "status=ok, and its diagnosis gives degenerate",
    ),
    "an untrained original in one arm": (
        edited(put("status", value="untrained"), 0),
        "is untrained, and it is the same",
    ),
    "an upper bound": (edited(put("upper_bound", value=True), 0), "upper_bound=True, and its config gives False"),
    "targets that are ignored": (
        edited(put("ignores_targets", value=True), 0),
        "ignores_targets=True, and its config",
    ),
    "an accuracy of no samples": (
        edited(put("metrics", "original", "validation_acc", value=0.83), 0),
        "metrics.original.validation_acc=0.83: no share of 50 samples",
    ),
    "an accuracy that its trajectory lacks": (edited(higher_on_the_test_set, 0), "test_acc is 0.925 at the end"),
    "an accuracy that its classes lack": (
        edited(without_trajectory(higher_on_the_test_set), 0, right_hash=True),
        "metrics.unlearned.test_acc=0.925, and its classes give 0.875",
    ),
    "another retrained model's accuracy": (
        edited(put("faces", "retrained", "forget_acc", value=[0.5, 0.9]), 0),
        "faces.retrained.forget_acc and metrics.retrained.forget_acc are of other models",
    ),
    "a distance that its trajectory lacks": (
        edited(put("distance", "js_test", value=0.013), 0),
        "js_test is 0.013 at the end of the run",
    ),
    "a distance that its classes lack": (
        edited(without_trajectory(put("distance", "js_test", value=0.013)), 0, right_hash=True),
        "distance.js_test=0.013, and its classes give",
    ),
    "a distance outside those of its classes": (
        edited(without_trajectory(put("distance", "js_forget", value=0.0490)), 0, right_hash=True),
        "distance.js_forget=0.049, and its classes have",
    ),
    "a trajectory that goes on": (edited(put("cost", "steps", value=15), 0), "trajectory ends at step 14, and"),
    "no trajectory": (
        edited(lambda run: [column.clear() for column in run["trajectory"].values()], 0),
        "trajectory is empty, and its config has unlearn.evaluate_every=50",
    ),
    "a matched point": (edited(matched_at_its_start, 1), "matched is not the point of its"),
    "an unlearned model that is the original": (
        edited(put("hashes", "unlearned", value=community()["finetune", 0]["hashes"]["original"]), 0),
        "hashes.unlearned is that of the original, and change.relative_l2",
    ),
    "an original that is unlearned": (
        edited(put("change", "relative_l2", value=0.0), 0),
        "change.relative_l2=0, and",
    ),
    "a divergence without a difference": (
        edited(put("distance", "l1_forget", value=0.001), 0),
        "and L1=0.001 allows",
    ),
    "a decision without a difference": (
        edited(put("distance", "disagreement_forget", value=0.0), 1),
        "disagreement=0, and accuracies",
    ),
    "no measure of decisions": (edited(put("distance", "disagreement_test", value=None), 0), "_test is missing"),
    "no distance at all": (
        edited(put("faces", "js_t_forget", "unlearned", value=0.0), 1),
        "=0, too small for a floor",
    ),
    "fewer decisions than accuracies": (
        edited(put("faces", "disagreement_forget", "unlearned", value=0.03), 1),
        "the sum of the others=",
    ),
    "decisions of another arm": (decisions_swapped_between_arms, "faces.disagreement_forget.unlearned"),
    "a floor of accuracies": (
        edited(put("faces", "test_acc_gap", "floor", value=0.1), 0, 1),
        "the retrained models give",
    ),
    "a floor of decisions": (
        edited(put("faces", "disagreement_test", "floor", value=0.001), 0, 1),
        "faces.disagreement_test.floor=0.001, and the retrained models' accuracy allows",
    ),
    "one arm under another name": (one_arm_under_another_name, "the same unlearned model, and other algorithms"),
    "one arm with other hashes": (one_arm_with_other_hashes, "two unlearned models by their hashes, and the same"),
    "one arm with another rate": (
        one_arm_with_another_rate,
        "the same unlearned model, and other unlearn.optimizer",
    ),
    "seeds swapped in all arms": (
        seeds_swapped_in_all_arms,
        "its train set is not the one that its config and seeds",
    ),
    "pairs doubled by other hashes": (pairs_doubled_by_other_hashes, "the same retrained model or distances"),
}


def test_an_ensemble_has_models_of_its_own_in_a_pair(sent, tmp_path):
    own = honest(0) | {"ensemble": {"shards": 5, "touched": 5}, "ignores_targets": True}
    own["choices"]["mu_algo"] = "sisa"
    own["config"]["mu_algo"] = {"_target_": "softtargets.mu_algo.sisa.sisa", "_partial_": True, "shards": 5}
    own["hashes"] |= {name: digest("ensemble", name) for name in ("original", "retrained", "unlearned")}
    own["distance"]["l1_test"] *= 1.0001  # as other models have it
    leave(sent / "ensembles", with_hash(own))
    assert main(["add", str(sent), "--to", str(tmp_path / "community")]) == 0


def test_arms_that_are_nearer_than_another_retrained_model_are_named(sent, tmp_path, capsys):
    edited(put("faces", "js_t_forget", "unlearned", value=0.005), 1, 3, 5)(sent)
    assert main(["add", str(sent), "--to", str(tmp_path / "community")]) == 0
    said = (
        "retrain hard: nearer to retraining than another retrained model is, 0.005 for 0.01167; compute it again"
    )
    assert [line for line in capsys.readouterr().out.splitlines() if ": nearer" in line] == [said]


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused_in_one_sentence_and_nothing_is_written(name, sent, tmp_path, capsys, monkeypatch):
    forge, said = FORGERIES[name]
    if name == "another version passed off as this one":
        monkeypatch.setattr(checks, "code_of_commit", lambda commit: "1" * 64 if commit == "GIVEN" else None)
    forge(sent)
    before = files_below(sent)
    assert main(["add", str(sent), "--to", str(tmp_path / "community")]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert err.startswith("softtargets.table: ")
    assert said in err
    assert not (tmp_path / "community").exists()
    assert files_below(sent) == before


def test_honest_results_are_taken_in_byte_for_byte(sent, tmp_path, capsys):
    (sent / "run0/secret.txt").write_text("of its author")
    to = tmp_path / "community"
    assert main(["add", str(sent), "--to", str(to)]) == 0
    assert "added 6 runs of 2 arms" in capsys.readouterr().out
    results = {file.read_bytes() for file in sent.rglob("result.json")}
    assert sorted(files_below(to).values()) == sorted(results)
    assert {path.parent.parent.name for path in to.rglob("*.json")} == {"sent"}
    assert build(to, out=tmp_path / "out")["table.csv"]


def test_results_are_taken_in_once_and_fit_those_that_are_there(sent, tmp_path, capsys):
    to = tmp_path / "community"
    assert main(["add", str(sent), "--to", str(to)]) == 0
    before = files_below(to)
    assert main(["add", str(sent), "--to", str(to)]) == 2
    assert "already exists" in capsys.readouterr().err
    sent.rename(tmp_path / "renamed")
    assert main(["add", str(tmp_path / "renamed"), "--to", str(to)]) == 2
    assert "the table has this run already" in capsys.readouterr().err
    other = honest(1)
    other["config"]["unlearn"]["optimizer"]["lr"] = 0.02
    other["hashes"]["unlearned"] = digest("another")
    other["distance"]["l1_test"] *= 1.0001
    other["hashes"]["forget_set"] = other["data"]["hashes"]["forget"] = digest("elsewhere")
    assert main(["add", str(leave(tmp_path / "third", with_hash(other))), "--to", str(to)]) == 2
    assert "two forget sets of the same seeds" in capsys.readouterr().err
    assert files_below(to) == before


EARLY = "2001-01-01T00:00:00+00:00"


def test_a_run_that_ended_before_its_code_was_there_is_refused(sent, tmp_path, capsys, monkeypatch):
    times = {"started": EARLY, "finished": EARLY}
    edited(lambda run: run["provenance"].update(times, git_commit="1" * 40), *range(6))(sent)
    edited(lambda run: run["cost"].update(run_s=5.0), *range(6))(sent)
    made = datetime.datetime.fromisoformat("2001-01-01T00:02:00+00:00")
    monkeypatch.setattr(history, "date_of", lambda commit: made if commit == "1" * 40 else None)
    monkeypatch.setattr(history, "came_after", lambda code, day: day < made)
    assert main(["add", str(sent), "--to", str(tmp_path / "community")]) == 2
    assert f"finished {EARLY}, before its commit 111111111111 was made" in capsys.readouterr().err
    monkeypatch.setattr(history, "date_of", lambda commit: None)
    assert main(["add", str(sent), "--to", str(tmp_path / "community")]) == 2
    assert f"finished {EARLY}, before any commit had the code of its hash" in capsys.readouterr().err
    assert not (tmp_path / "community").exists()


def test_the_history_knows_when_code_came_to_be():
    head = provenance.provenance(MACHINE, None, datetime.datetime.now(datetime.UTC))["git_commit"]
    if not head or history._git("rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("not a git repository with its history")
    code, now = provenance.code_of_commit(head), datetime.datetime.now(datetime.UTC)
    assert history.date_of(head) <= now
    assert history.date_of("0" * 40) is history.date_of("--help") is None
    assert history.came_after(code, datetime.datetime.fromisoformat(EARLY))
    assert not history.came_after(code, now)
    assert not history.came_after("0" * 64, datetime.datetime.fromisoformat(EARLY))


@pytest.mark.parametrize(("layers", "code"), [(1, 0), (2, 2)])
def test_algorithms_that_are_one_by_their_settings_may_have_the_same_models(layers, code, sent, tmp_path, capsys):
    others = {"head_reset": {}, "euk": {"layers": layers}}
    for name, settings in others.items():
        run = honest(0, "retrain")
        run["config"]["mu_algo"] = {"_target_": f"softtargets.mu_algo.{name}.{name}", "_partial_": True} | settings
        run["choices"]["mu_algo"] = name
        run["ignores_targets"] = name == "head_reset"
        run["hashes"]["unlearned"] = digest("reset")
        run["distance"]["l1_test"] *= 1.0001
        leave(sent / name, with_hash(run))
    assert main(["add", str(sent), "--to", str(tmp_path / "community")]) == code
    said = capsys.readouterr()
    assert (
        "the same models in 1 pair: " in said.out
        if code == 0
        else "other algorithms, so one is a copy" in said.err
    )


def test_arms_with_the_same_models_are_named_where_a_setting_may_have_no_effect(sent, tmp_path, capsys):
    for number in (0, 2, 4):
        run = read_json(sent / f"run{number}" / "result.json")
        run["config"]["unlearn"]["clip_norm"] = 1000.0
        (sent / f"more{number}").mkdir()
        write_json(sent / f"more{number}" / "result.json", with_hash(run))
    assert main(["add", str(sent), "--to", str(tmp_path / "community")]) == 0
    assert "the same models in 3 pairs: finetune hard (" in capsys.readouterr().out


@pytest.mark.parametrize("status", contradictions.BY_WORD)
def test_arms_that_are_lost_by_a_word_alone_are_named(status, sent, tmp_path, capsys):
    edited(put("status", value=status), 0, 1, 2, 3, 4, 5)(sent)
    assert main(["add", str(sent), "--to", str(tmp_path / "community")]) == 0
    said = f"3 {status} runs, which no number of theirs shows; compute one again"
    assert f"finetune hard: {said}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("group", "settings", "said"),
    [
        ("dataset", {"_target_": "mine.images"}, "its author's own code draws it"),
        (
            "dataset",
            {"_target_": "softtargets.datasets.folder", "path": "x"},
            "needs its author's own files",
        ),
        ("dataset", {"_target_": "softtargets.datasets.kmnist"}, "SOFTTARGETS_DATA=DIR names its folder"),
        (
            "forget_set",
            {"_target_": "softtargets.forget_sets.memorised", "grade": "low", "models": 2},
            "its forget set needs trained models",
        ),
    ],
)
def test_data_that_cannot_be_drawn_again_are_named(group, settings, said, batch, monkeypatch, tmp_path):
    monkeypatch.setenv("SOFTTARGETS_DATA", str(tmp_path))
    some = runs.finished(batch)
    for run in some:
        run.result["config"][group] |= settings
    (line,) = drawn.require_data(some)
    assert line.startswith("the data of 6 runs not drawn again: ")
    assert said in line


def test_how_many_samples_a_class_has_follows_from_the_accuracies_of_many_models(batch):
    some = [run.result["metrics"] for run in runs.finished(batch)]
    values = [model["class_acc"] for models in some for model in models.values()]
    assert copies.class_counts(values, 1000) == [100] * 10
    assert copies.class_counts([[1 / 3, 1.0], [2 / 3, 0.5]], 9) == [3, 2], "3 or 6 and 2, 4 or 6"
    assert copies.class_counts([], 9) is None


def test_data_drawn_again_say_how_many_samples_each_class_has(batch):
    (run,) = (run for run in runs.finished(batch) if run.folder.name == "run0")
    run.result["distance"]["js_forget"] *= 1.01
    with pytest.raises(BadInput, match=r"distance\.js_forget=0\.0127794, and its classes give 0\.0126528"):
        drawn.require_data([run])


@pytest.mark.parametrize("folder", SENT, ids=lambda folder: folder.name)
def test_the_results_in_community_verify(folder):
    assert drawn.require_data(checks.verified(folder)) == []
    assert sum(map(len, files_below(folder).values())) < 200_000


def test_code_of_a_commit_is_known_by_git():
    head = provenance.provenance(MACHINE, None, datetime.datetime.now(datetime.UTC))
    if not head["git_commit"]:
        pytest.skip("not a git repository: an unpacked copy")
    code = provenance.code_of_commit(head["git_commit"])
    assert re.fullmatch("[0-9a-f]{64}", code)
    assert head["git_dirty"] or code == head["code_sha256"]
    assert provenance.code_of_commit("--help") is provenance.code_of_commit("0" * 40) is None


MACHINE = {"device": "cpu", "threads": 1, "precision": "float32"}


@pytest.mark.long
def test_a_run_is_computed_again_and_an_edited_number_is_seen(run, tmp_path, capsys, monkeypatch):
    small = [word for word in SMALL if not word.startswith("mu_algo=")]
    _, folder = run(*small, "mu_algo=finetune", "references=2")
    sent = tmp_path / "sent"
    (sent / "run0").mkdir(parents=True)
    shutil.copy(folder / "result.json", sent / "run0")
    edited(lambda one: one["provenance"].update(git_commit=None), 0)(sent)
    assert main(["add", str(sent), "--to", str(tmp_path / "to"), "--rerun", "1"]) == 0
    assert "run again, the same models, byte for byte" in capsys.readouterr().out
    whole, again = (sent / "run0" / "result.json").read_bytes(), rerun._again(runs.finished(sent)[0])
    monkeypatch.setattr(rerun, "_again", lambda _: again)
    for path in (
        ("faces", "js_t_forget", "unlearned"),
        ("faces", "js_t_test", "unlearned"),
        ("faces", "disagreement_forget", "unlearned"),
        ("cost", "share"),
        ("data", "sizes", "train"),
    ):
        (sent / "run0" / "result.json").write_bytes(whole)
        edited(put(*path, value=0.001), 0)(sent)
        with pytest.raises(BadInput, match=rf"{re.escape('.'.join(path))} is 0\.00100, and"):
            rerun.compared(runs.finished(sent)[0])
    assert main(["add", str(sent), "--to", str(tmp_path / "to2"), "--rerun", "1"]) == 2
    assert not (tmp_path / "to2").exists()
