"""The whole run on real digits: what it leaves, that it repeats, and that arms differ in their targets alone."""

import dataclasses
import datetime
import itertools
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import CONF, SMALL, options, suited
from scipy.spatial.distance import jensenshannon

import softtargets
from softtargets.compat import torch_names
from softtargets.config.resolve import config_hash
from softtargets.console import Console
from softtargets.errors import BadInput
from softtargets.evaluation.diagnosis import MEANING
from softtargets.evaluation.evaluate import evaluate, predict_sets
from softtargets.evaluation.faces import Calibration, Face, js_t
from softtargets.execution import calibration, pipeline, provenance, scoring, unlearning
from softtargets.execution.agenda import agenda
from softtargets.execution.algorithm_inputs import prepared
from softtargets.execution.demands import demands
from softtargets.execution.experiment import build
from softtargets.execution.models import Stages
from softtargets.fit import predict
from softtargets.losses import cross_entropy
from softtargets.store import Store, manifest, store_folder
from softtargets.system.files import read_json
from softtargets.types import model_digest

MODELS = ("original", "retrained", "unlearned")


def test_result_has_the_public_interface(run):
    result, folder = run(*SMALL)
    on_disk = read_json(folder / "result.json")
    assert on_disk == json.loads(json.dumps(result))
    assert set(on_disk["metrics"]) == set(MODELS)
    for metrics in on_disk["metrics"].values():
        assert {"forget_acc", "retain_acc", "validation_acc", "test_acc", "mia_auc"} <= set(metrics)
        assert len(metrics["class_acc"]) == 10
    assert set(on_disk["distance"]) == set(on_disk["baseline"])
    assert {"js_forget", "js_test", "accuracy_distance", "avg_gap", "tow"} <= set(on_disk["distance"])
    assert set(on_disk["change"]) == {"avg_parameter_change", "relative_l2", "buffers_relative_l2"}
    assert {"original", "retrained", "forget_set", "batches", "targets"} <= set(on_disk["hashes"])
    names = ("train_s", "retrain_s", "targets_s", "unlearn_s", "rte", "gradient_samples", "from_store")
    names += ("share", "share_seconds", "budget", "prepared_share", "forward_samples", "backward_samples")
    names += ("run_s", "run_cpu_s", "trainings_s", "trainings_cpu_s", "unlearn_cpu_s")
    names += ("stored_s", "stored_cpu_s")
    assert set(names) <= set(on_disk["cost"])
    assert on_disk["provenance"]["config_hash"]
    assert torch.backends.cpu.get_cpu_capability() in on_disk["provenance"]["machine"]["processor"]
    assert on_disk["provenance"]["machine"]["plain_torch"] is torch_names.PLAIN
    assert on_disk["choices"]["targets"] == "hard"
    assert on_disk["choices"]["forget_seed"] == 0


def test_a_run_takes_its_trainings_and_the_rest_of_its_seconds(run, monkeypatch):
    """By clocks that go on with every look at them, and so are not those of a busy machine."""
    looks = itertools.count()
    for name in ("perf_counter", "process_time"):
        monkeypatch.setattr(time, name, lambda: next(looks) / 1024)
    monkeypatch.setattr(calibration, "_KNOWN", {})
    (result, _), (repeated, _) = (run(*SMALL, "seed=4711") for _ in range(2))
    first, again = result["cost"], repeated["cost"]
    trained = [
        said
        for path in (store_folder(None) / "model").iterdir()
        if (said := manifest(path)) and said["ingredients"]["seed"] == 4711
    ]
    for name in ("seconds", "cpu_seconds"):
        known = first["trainings_s" if name == "seconds" else "trainings_cpu_s"]
        assert known == pytest.approx(sum(said[name] for said in trained))
    assert {said["digest"] for said in trained} == {result["hashes"][name] for name in ("original", "retrained")}
    assert again["trainings_s"] == again["trainings_cpu_s"] == again["stored_s"] == again["stored_cpu_s"] == 0
    for clock in ("s", "cpu_s"):
        assert first[f"stored_{clock}"] > 0
        shared = first[f"trainings_{clock}"] + first[f"stored_{clock}"]
        assert first[f"run_{clock}"] > shared + first[f"unlearn_{clock}"]
    assert 0 < again["unlearn_cpu_s"] < again["run_cpu_s"] < first["run_cpu_s"]
    assert first["run_s"] > first["trainings_s"] + first["unlearn_s"]


def test_margins_are_those_of_the_saved_models(run, composed):
    _, folder = run(*SMALL, "save_models=true", "unlearn.stop=none")
    data = build(composed(*SMALL)).data
    margins = np.load(folder / "margins.npz")
    for name, model in softtargets.load(folder)._asdict().items():
        probs = predict(model, data.forget.inputs).double().softmax(1)
        p = probs[torch.arange(len(probs)), data.forget.labels]
        inside = (p > 1e-9) & (p < 1 - 1e-9)
        expected = (p.log() - (-p).log1p())[inside]
        torch.testing.assert_close(
            torch.tensor(margins[f"forget_{name}"])[inside].double(), expected, rtol=1e-4, atol=1e-4
        )
    assert margins["forget_index"].shape == margins["forget_unlearned"].shape


def test_same_command_twice_gives_equal_metrics(run, composed, tmp_path):
    cold = [run(*SMALL, f"store.dir={tmp_path / name}")[0] for name in "ab"]
    assert cold[0]["cost"]["from_store"] == cold[1]["cost"]["from_store"] == []
    assert json.dumps(cold[0]["metrics"]) == json.dumps(cold[1]["metrics"])
    assert cold[0]["hashes"] == cold[1]["hashes"]
    warm = run(*SMALL, f"store.dir={tmp_path / 'a'}")[0]
    assert warm["cost"]["from_store"] == ["original", "retrained"]
    assert json.dumps(warm["metrics"]) == json.dumps(cold[0]["metrics"])


@pytest.mark.long
@pytest.mark.parametrize("preset", [name for name in options("targets") if name != "hard"])
def test_arms_differ_in_the_targets_alone(run, preset):
    hard, soft = (run(*SMALL, f"targets={name}")[0]["hashes"] for name in ("hard", preset))
    for name in ("original", "retrained", "forget_set", "batches"):
        assert hard[name] == soft[name]
    assert hard["targets"] != soft["targets"]


def test_algorithms_share_models_and_batches_seeds_share_the_forget_set(run):
    one, other, seed = (
        run(*SMALL, override)[0]["hashes"] for override in ("mu_algo=gradasc", "mu_algo=graddiff", "seed=1")
    )
    assert {key: one[key] for key in ("original", "retrained", "forget_set", "batches")} == {
        key: other[key] for key in ("original", "retrained", "forget_set", "batches")
    }
    assert seed["forget_set"] == one["forget_set"]
    assert not any(seed[key] in str(one) for key in ("original", "retrained", "batches"))


@pytest.mark.long
@pytest.mark.parametrize("recipe", ["mlp", "mlp_efficient"])
def test_retraining_at_the_whole_cost_is_one_more_retrained_model(composed, recipe):
    """Its JS_T to six retrained models is in the range of theirs to each other; at a fifth of the cost above."""
    words = (
        "references=6",
        "architecture.hidden=128",
        f"training={recipe}",
        "mu_algo=retrain",
        "unlearn=retrain_own",
    )
    whole, fifth = (build(composed(*words, f"unlearn.cost={cost}")) for cost in (1, 0.2))
    stages = Stages(whole, Store(store_folder(None)), Console())
    original, retrained = stages.original(), stages.retrained()
    tempered = Calibration.of(whole.data)

    def face(logits):
        return Face(logits, tempered.temperatures(logits), {})

    def unlearned(experiment):
        own = Stages(experiment, Store(store_folder(None)), Console())
        taken, targets = prepared(own, original, retrained)
        trajectory = unlearning.new_trajectory(taken, evaluate(stages.logits(retrained), taken.data))
        model = unlearning.unlearn(taken, original.model, targets, trajectory, Console())[1]
        return face(predict_sets(model, taken.data, stages.more_sets))

    references = [face(stages.logits(one)) for one in (retrained, *stages.further_references())]
    between = [js_t("forget", *two) for two in itertools.combinations(references, 2)]
    near, far, nothing = (
        np.mean([js_t("forget", one, other) for other in references])
        for one in (unlearned(whole), unlearned(fifth), face(stages.logits(original)))
    )
    assert min(between) <= near <= max(between) < min(far, nothing)


def test_the_retrained_model_starts_from_its_own_initialisation(composed):
    experiment = build(composed(*SMALL))
    original, again, retrained = (experiment.initialised(name) for name in ("original", "original", "retrained"))
    first = [next(model.parameters()) for model in (original, again, retrained)]
    assert torch.equal(first[0], first[1])
    assert not torch.isclose(first[0], first[2]).any(dim=1).all()


def test_original_and_retrained_are_trained_from_scratch_on_their_own_sets(composed, tmp_path):
    experiment = build(composed(*SMALL))
    stages = Stages(experiment, Store(tmp_path / "store"), Console())
    sets = ((stages.original(), experiment.data.train), (stages.retrained(), experiment.data.retain))
    for trained, samples in sets:
        model = experiment.initialised(trained.name)
        fit = experiment.training_fit(trained.name, lambda step, steps, loss: None)
        fit(model, lambda batch, model=model: cross_entropy(model(batch.inputs), batch.targets), samples)
        assert model_digest(model) == trained.digest


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("training.schedule.peak=1e-9",), "untrained"),
        (("training=mlp_reference", "training.epochs=1", "training.optimizer.lr=1e-9"), "untrained"),
        (("training.schedule.peak=1e-9", "targets=soft", "targets.forget.temperature=1"), "untrained"),
        (
            (
                "training.schedule.peak=1e-9",
                "mu_algo=gradasc",
                "unlearn.optimizer.lr=1000000",
                "unlearn.clip_norm=null",
            ),
            "diverged",
        ),
        ((), "ok"),
        (("training.epochs=1",), "ok"),
    ],
    ids=str,
)
def test_an_original_that_learnt_nothing_has_a_status_of_its_own(run, words, status):
    result, _ = run(*SMALL, *words)
    assert result["status"] == status
    assert result["explanation"] == MEANING.get(status)


def test_arms_of_a_sweep_share_what_their_untrained_network_predicts(run, monkeypatch):
    seen, original = [], pipeline.predict
    monkeypatch.setattr(pipeline, "_UNTRAINED", {})
    monkeypatch.setattr(pipeline, "predict", lambda *given: seen.append(1) or original(*given))
    for words in ((), ("mu_algo=gradasc",), ("unlearn.evaluate_samples=100",), ("seed=1",)):
        run(*SMALL, *words)
    assert len(seen) == 3, "the same network and samples, other samples, another network"


def test_strict_refuses_to_unlearn_what_was_never_learnt(run):
    with pytest.raises(
        BadInput, match=r"^strict=true: the run is untrained: the original predicts its training data"
    ):
        run(*SMALL, "training.schedule.peak=1e-9", "strict=true")


def every_pair():
    """Every algorithm with every preset.

    The plain tier has each of either with those that differ most, CI a fourth of the rest.
    """
    rest = itertools.cycle((pytest.mark.long, *[pytest.mark.slow] * 3))
    for preset in (name for name in options("targets") if name != "out_of_fold_3"):
        for algorithm in options("mu_algo"):
            plain = preset == "soft" or algorithm == "relabel"
            yield pytest.param(preset, algorithm, marks=() if plain else next(rest))


@pytest.mark.parametrize(("preset", "algorithm"), list(every_pair()))
def test_every_algorithm_runs_with_every_preset(run, composed, algorithm, preset):
    asked = (
        *SMALL,
        f"mu_algo={algorithm}",
        *suited(algorithm),
        f"targets={preset}",
        "unlearn.stop=none",
        "unlearn.evaluate_every=null",
    )
    if (algorithm, preset) in NO_LOSS:
        with pytest.raises(BadInput, match=r"targets\.forget: .* negative entries"):
            run(*asked)
        return
    result, _ = run(*asked)
    assert result["status"] in ("ok", "degenerate", "hard-like", "anti-forgetting")
    assert result["distance"]["js_forget"] <= np.log(2)
    # the clock on the screen knew of every training
    assert {*result["cost"]["made"], *result["cost"]["from_store"]} <= {*agenda(build(composed(*asked)))}


NO_LOSS = {(name, preset) for name in ("scrub", "sfron") for preset in ("ugradsl", "out_of_fold_reflect")}
"""Algorithms with a loss for distributions alone, and presets that are none."""


def test_an_algorithm_for_whole_classes_refuses_parts_of_them(composed):
    asked = (*SMALL, "mu_algo=unsir")
    for refused in ("forget_set=random", "forget_set=class_fraction", "forget_set=mislabelled"):
        with pytest.raises(BadInput, match="forget_set: unsir forgets whole classes"):
            build(composed(*asked, refused))
    build(composed(*asked, "forget_set=class", "forget_set.classes=[1,2]"))


MEMORISED = ("dataset.train_size=1500", "architecture.hidden=64", "training.epochs=30", "unlearn.epochs=1")
DIRECTION = {"gradasc": "ascent", "graddiff": "ascent", "relabel": "descent"}


WORDS = {name: (CONF / "targets" / f"{name}.yaml").read_text().splitlines()[0] for name in options("targets")}


@pytest.mark.long
# graddiff ascends as gradasc does
@pytest.mark.parametrize("algorithm", ["gradasc", pytest.param("graddiff", marks=pytest.mark.long), "relabel"])
@pytest.mark.parametrize("preset", [name for name, words in WORDS.items() if re.search("for (as|des)cent", words)])
def test_a_preset_for_the_other_direction_is_flagged_where_that_is_sure_and_not_turned_round(
    run, algorithm, preset
):
    result, _ = run(*MEMORISED, f"mu_algo={algorithm}", f"targets={preset}")
    fits = f"for {DIRECTION[algorithm]}" in WORDS[preset]
    found = result["diagnosis"]
    assert (found["first_order"] > 0) is (found["direction"] > 0) is fits
    sure = found["direction"] + 2 * found["direction_se"] < -0.05
    assert result["status"] == ("anti-forgetting" if sure else "ok")


@pytest.mark.parametrize(("targets", "flag"), [("hard", "anti-forgetting"), ("out_of_fold", "ok")])
def test_strict_refuses_what_is_flagged_before_it_unlearns(run, capsys, targets, flag):
    asked = (*SMALL, "mu_algo=relabel", f"targets={targets}", "strict=true")
    if flag == "ok":
        assert run(*asked)[0]["status"] == "ok"
    else:
        with pytest.raises(BadInput, match=f"strict=true: the run is {flag}: "):
            run(*asked)
    said = capsys.readouterr().out
    assert f"diagnosis: {flag}: the first update " in said
    assert ("unlearn: " in said) == (flag == "ok")


FORGET_SETS = {
    "random": [],
    "class": ["forget_set.classes=[3]"],
    "class_fraction": ["forget_set.classes=[1,2]"],
    "mislabelled": [],
    "memorised": ["forget_set.models=4"],
    "near_duplicates": [],
    "worst_case": ["forget_set.models=4", "forget_set.rounds=3", "forget_set.steps=5"],
}


def test_every_kind_of_forget_set_is_among_those_that_run():
    files = {"indices", "marked"}  # of the user's own, below and in test_contents.py
    assert {*FORGET_SETS} | files == {*options("forget_set")}


@pytest.mark.parametrize("kind", FORGET_SETS)
def test_forget_sets_run(run, kind):
    result, _ = run(*SMALL, f"forget_set={kind}", *FORGET_SETS[kind])
    retrained = result["metrics"]["retrained"]
    assert result["data"]["membership_pairs"] > 0
    if kind == "class":
        assert retrained["forget_acc"] == 0
        assert retrained["class_acc"][3] == 0
    if kind == "mislabelled":
        assert retrained["forget_acc"] < 0.1 < 0.5 < retrained["forget_true_acc"]


@pytest.mark.long
def test_memorised_samples_are_chosen_by_models_that_all_seeds_share(run, capsys):
    asked = (*SMALL, "forget_set=memorised", "forget_set.models=6", "training.epochs=20")
    high, folder = run(*asked, "seed=1")
    assert "forget_set: 6 of 6" not in capsys.readouterr().out.replace("steps", "")
    scores, index = (np.load(folder / "margins.npz")[name] for name in ("forget_scores", "forget_index"))
    assert high["data"]["scores"]["means"]["forget"] == pytest.approx(scores.mean())
    again, folder = run(*asked, "seed=2")
    assert "forget_set: " not in capsys.readouterr().out  # neither trained nor waited for
    assert again["data"]["scores"] == high["data"]["scores"]
    assert np.load(folder / "margins.npz")["forget_index"].tolist() == index.tolist()
    means = [run(*asked, f"forget_set.grade={grade}")[0]["data"]["scores"]["means"] for grade in ("low", "medium")]
    assert means[0]["train"] == high["data"]["scores"]["means"]["train"]
    assert means[0]["forget"] <= means[1]["forget"] < high["data"]["scores"]["means"]["forget"]
    # retraining loses more of what only training on it taught
    losses = [one["metrics"]["retrained"]["forget_acc"] for one in (high, run(*asked, "forget_set.grade=low")[0])]
    assert losses[0] < losses[1]


def test_damaged_scores_are_made_again_and_use_keeps_them(run, composed, tmp_path):
    place = tmp_path / "store"
    words = (*SMALL, "forget_set=memorised", "forget_set.models=2", f"store.dir={place}")
    first, _ = run(*words)
    (entry,) = (path for path in place.glob("scores/*") if path.is_dir())
    os.utime(entry / "manifest.json", (1e9, 1e9))
    build(composed(*words))
    assert (entry / "manifest.json").stat().st_mtime > 1.1e9
    (entry / "tensors.safetensors").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="is damaged; renamed"):
        again, _ = run(*words)
    assert again["hashes"] == first["hashes"]


def test_indices_are_the_forget_set(run, tmp_path):
    (tmp_path / "forget.txt").write_text("3999\n0\n17\n")
    _, folder = run(*SMALL, "forget_set=indices", f"forget_set.path={tmp_path / 'forget.txt'}")
    assert np.load(folder / "margins.npz")["forget_index"].tolist() == [0, 17, 3999]


def test_divergence_is_a_result(run):
    result, folder = run(
        *SMALL, "mu_algo=gradasc", "unlearn.optimizer.lr=1e6", "unlearn.clip_norm=null", "unlearn.stop=none"
    )
    assert result["status"] == "diverged"
    assert json.loads((folder / "result.json").read_text())["metrics"]["original"]["forget_acc"] is not None


def test_no_op_at_the_models_own_predictions(run):
    result, _ = run(
        *SMALL, "mu_algo=gradasc", "unlearn=gradasc_reference", "targets=soft", "targets.forget.temperature=1"
    )
    assert result["status"] == "degenerate"
    assert result["change"]["relative_l2"] < 1e-7
    assert result["metrics"]["unlearned"]["forget_acc"] == result["metrics"]["original"]["forget_acc"]


def test_rerun_repeats_a_result(run):
    first, folder = run(*SMALL, "targets=soft", "seed=3")
    again, _ = run(f"rerun={folder}")
    assert json.dumps(again["metrics"]) == json.dumps(first["metrics"])
    assert again["choices"] == first["choices"]
    assert again["provenance"]["config_hash"] == first["provenance"]["config_hash"]


def test_a_users_checkpoint_is_the_original(run):
    first, folder = run(*SMALL, "save_models=true", "seed=5")
    state = torch.nn.Module.state_dict(softtargets.load(folder).original)
    torch.save(
        {"epoch": 3, "state_dict": {f"model._orig_mod.{k}": v for k, v in state.items()}}, folder / "mine.ckpt"
    )
    for file in ("mine.ckpt", "original.safetensors"):
        result, _ = run(*SMALL, f"checkpoint={folder / file}")
        assert result["hashes"]["original"] == first["hashes"]["original"]
        assert result["cost"]["train_s"] == 0
    wrapped = {f"module.{name}": tensor.contiguous() for name, tensor in state.items()}
    safetensors.torch.save_file(wrapped, folder / "original.safetensors")
    assert model_digest(softtargets.load(folder).original) == first["hashes"]["original"]


def test_stage_train_fills_the_store(run, tmp_path):
    store = f"store.dir={tmp_path / 'store'}"
    assert run(*SMALL, store, "stage=train")[0] is None
    assert run(*SMALL, store)[0]["cost"]["from_store"] == ["original", "retrained"]


def test_references_are_shared_counted_apart_and_leave_all_else_as_it_was(run, composed, tmp_path):
    store = f"store.dir={tmp_path / 'store'}"
    one, _ = run(*SMALL, store)
    three, folder = run(*SMALL, store, "references=3")
    assert three["cost"]["made"] == ["retrained/2", "retrained/3"]
    other, _ = run(*SMALL, store, "references=3", "targets=soft")
    assert other["cost"]["made"] == []
    assert other["hashes"]["further_retrained"] == three["hashes"]["further_retrained"]
    digests = [three["hashes"]["retrained"], *three["hashes"]["further_retrained"]]
    assert (len(set(digests)), one["hashes"]["further_retrained"]) == (3, [])
    for part in ("metrics", "distance", "baseline", "change"):
        assert one[part] == three[part]
    assert three["cost"]["retrain_s"] == one["cost"]["retrain_s"]
    assert (one["faces"]["references"], three["faces"]["references"]) == (1, 3)
    assert one["faces"]["js_forget"]["floor"] is None
    assert one["faces"]["js_forget"]["unlearned"] == one["distance"]["js_forget"]
    left = np.load(folder / "margins.npz")
    p = [left[f"forget_probs_retrained{end}"].astype(float) for end in ("", "_2", "_3")]
    apart = [np.mean(jensenshannon(p[i], p[j], axis=1) ** 2) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert three["faces"]["js_forget"]["floor"] == pytest.approx(np.mean(apart), abs=1e-6)
    assert "references" not in composed(*SMALL)  # as before there was this setting, so that hashes are as ever
    assert config_hash(composed(*SMALL, "references=3")) != config_hash(composed(*SMALL))


def test_a_reference_that_diverged_makes_a_run_diverged(run, monkeypatch):
    trained = Stages.trained
    lost = lambda self, name, samples: dataclasses.replace(  # noqa: E731
        trained(self, name, samples), diverged=name == "retrained/2"
    )
    monkeypatch.setattr(Stages, "trained", lost)
    assert run(*SMALL, "references=2")[0]["status"] == "diverged"


def test_a_module_of_ones_own(run):
    result, folder = run(
        *SMALL[:1],
        *SMALL[2:],
        "~architecture.hidden",
        "architecture._target_=own_parts.TinyNet",
        "plugins=[own_parts]",
        "save_models=true",
    )
    assert result["metrics"]["original"]["test_acc"] > 0.3
    assert type(softtargets.load(folder, plugins=["own_parts"]).original).__name__ == "TinyNet"
    with pytest.raises(BadInput, match=r"own_parts\.TinyNet: not allowed"):
        softtargets.load(folder)


def test_parameter_change_is_zero_without_a_step(run):
    result, _ = run(*SMALL, "unlearn.optimizer.lr=0", "unlearn.stop=none")
    no_step = {"avg_parameter_change": 0.0, "relative_l2": 0.0}
    assert result["change"] == no_step | {"buffers_relative_l2": None}  # of an mlp, which has none
    assert result["distance"] == result["baseline"]


@pytest.mark.parametrize("layout", ["train and test", "the seed project's"])
def test_a_folder_of_ones_own_images(run, tmp_path, layout):
    from PIL import Image

    from softtargets.datasets import mnist_5k

    images = mnist_5k()
    parts = (
        ("train", images.train_pixels, images.train_labels, 40),
        ("test", images.test_pixels, images.test_labels, 20),
    )
    for part, pixels, labels, count in parts:
        for label in range(3):
            for number, image in enumerate(pixels[labels == label][:count]):
                marked = "e" if number < 8 else ""
                seed_tree = tmp_path / "images" / f"{label}{marked}" / f"{part}_{number}.png"
                path = (
                    seed_tree
                    if layout != "train and test"
                    else tmp_path / "images" / part / str(label) / f"{number}.png"
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image[0].numpy()).save(path)
    forget = "random" if layout == "train and test" else "marked"
    result, _ = run("dataset=folder", f"dataset.path={tmp_path / 'images'}", f"forget_set={forget}", *SMALL[1:])
    sizes = result["data"]["sizes"]
    assert (sizes["test"], sizes["train"] + sizes["validation"]) == (60, 120)
    assert sizes["forget"] == (24 if forget == "marked" else 11)
    assert result["data"]["classes"] == 3
    assert result["metrics"]["original"]["test_acc"] > 0.6


@pytest.fixture
def placed(tmp_path, monkeypatch):
    """Lay a copy of provenance.py in a folder where `placed(*arguments)` calls git."""
    place = tmp_path / "repository"
    (place / ".venv/softtargets/execution").mkdir(parents=True)
    (place / "notes.txt").write_text("of somebody's own")
    copy = place / ".venv/softtargets/execution/provenance.py"
    copy.write_bytes(Path(provenance.__file__).read_bytes())
    shutil.copy(copy, place / "provenance.py")
    monkeypatch.setattr(provenance, "__file__", str(copy))

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=one", "-c", "user.email=one@example.org")
        done = subprocess.run(["git", *who, *arguments], cwd=place, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    return git


def commit_and_dirty(composed) -> tuple[str | None, bool | None]:
    found = provenance.provenance(composed(*SMALL), "", datetime.datetime.now(datetime.UTC))
    return found["git_commit"], found["git_dirty"]


@pytest.mark.parametrize("ignored", [True, False])
def test_a_copy_in_a_strangers_repository_has_no_commit(placed, composed, monkeypatch, ignored):
    assert commit_and_dirty(composed) == (None, None)  # no repository yet
    placed("init", "-q")
    assert commit_and_dirty(composed) == (None, None)  # one without a commit
    placed("add", "notes.txt", "provenance.py")
    placed("commit", "-qm", "Note")
    if ignored:
        placed("config", "core.excludesFile", ".venv/ignore")
        (Path(provenance.__file__).parents[1] / "ignore").write_text(".venv\n")
    assert placed("rev-parse", "HEAD")
    assert commit_and_dirty(composed) == (None, None)
    monkeypatch.setenv("GIT_DIR", str(Path(provenance.__file__).parents[2] / ".git"))  # as in a hook of theirs
    assert commit_and_dirty(composed) == (None, None)


@pytest.mark.parametrize("place", ["environment", "repository"])
def test_git_runs_no_program_of_a_config(placed, composed, monkeypatch, tmp_path, place):
    placed("init", "-q")
    placed("add", "-f", ".")
    placed("commit", "-qm", "Begin")
    (tmp_path / "hook").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "hook").chmod(0o755)
    if place == "repository":
        placed("config", "core.fsmonitor", str(tmp_path / "hook"))
    else:  # as by hydra.job.env_set
        setting = {"COUNT": "1", "KEY_0": "core.fsmonitor", "VALUE_0": str(tmp_path / "hook")}
        for name, value in setting.items():
            monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert commit_and_dirty(composed)[1] is False
    assert not (tmp_path / "ran").exists()


def test_code_in_its_own_repository_has_its_commit(placed, composed, monkeypatch, tmp_path):
    placed("init", "-q")
    placed("add", "-f", ".")
    placed("commit", "-qm", "Begin")
    assert commit_and_dirty(composed) == (placed("rev-parse", "HEAD"), False)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another"))
    assert commit_and_dirty(composed)[1] is False
    monkeypatch.delenv("GIT_DIR")
    repository = Path(placed("rev-parse", "--show-toplevel"))
    (repository / "untracked.txt").write_text("one")
    assert commit_and_dirty(composed)[1] is False, "an environment or results make no code another"
    (repository / "notes.txt").write_text("two")
    assert commit_and_dirty(composed)[1] is True


@pytest.mark.parametrize("during", ["build", "status_of"])
def test_of_two_processes_that_make_one_run_at_once_the_first_result_is_kept(
    during, run, composed, tmp_path, monkeypatch
):
    """Where a file system's locks exclude nobody."""
    first, folder = run(*SMALL, "save_models=true")
    place, usual = tmp_path / "cell", getattr(pipeline, during)

    def overtaken(*arguments):
        shutil.copytree(folder, place)
        for file in place.iterdir():
            file.touch()
        return usual(*arguments)

    monkeypatch.setattr(pipeline, during, overtaken)
    second = pipeline.run_experiment(composed(*SMALL, "save_models=true"), place, Console())
    assert second["provenance"] == first["provenance"]
    assert {file.name: file.read_bytes() for file in place.iterdir()} == {
        file.name: file.read_bytes() for file in folder.iterdir()
    }


def test_a_run_in_the_folder_of_an_earlier_one_is_made(run, composed, monkeypatch):
    first, folder = run(*SMALL)
    for file in folder.iterdir():
        os.utime(file, (1e9, 1e9))
    second = pipeline.run_experiment(composed(*SMALL), folder, Console())
    assert second["provenance"]["finished"] >= first["provenance"]["finished"]
    assert (folder / "result.json").stat().st_mtime > 1.1e9


def test_a_promise_is_in_the_result_with_what_it_makes_of_the_retrained_model(run):
    result, folder = run(*SMALL, "mu_algo=noisy_finetune", "targets=soft")
    assert result["promise"] == {"epsilon": 3.0, "delta": 1e-5}
    margins = np.load(folder / "margins.npz")
    assert margins["forget_twin"].shape == margins["forget_unlearned"].shape
    assert not np.array_equal(margins["forget_twin"], margins["forget_unlearned"])


def test_a_promise_allows_no_look_at_the_forget_set(composed):
    with pytest.raises(
        BadInput, match=r"unlearn\.stop=matched: looks at the forget set, and the promise of noisy"
    ):
        build(composed(*SMALL, "mu_algo=noisy_finetune", "unlearn.stop=matched"))


SISA = (*SMALL, "mu_algo=sisa", "mu_algo.shards=2")


def test_sisa_is_an_ensemble_judged_against_its_own_retraining(run, composed):
    result, folder = run(*SISA, "save_models=true", "references=2")
    assert result["ensemble"] == {"shards": 2, "touched": 2}
    assert result["cost"]["share"] == pytest.approx(1)  # both shards: as much as retraining
    names = [f"{name}, shard {i} of 2" for name in ("original", "retrained", "retrained/2") for i in (1, 2)]
    assert [*result["cost"]["made"], *result["cost"]["from_store"]] == names
    assert result["faces"]["js_t_forget"]["unlearned"] < result["faces"]["js_t_forget"]["nothing"]
    assert {len(model.networks) for model in softtargets.load(folder)} == {2}
    found = demands(build(composed(*SISA, "references=2")), ()).models
    entries = store_folder(None) / "model"
    assert {name: (entries / model.key).is_dir() for name, model in found.items()} == dict.fromkeys(names, True)


def test_models_that_score_samples_are_single_networks_whatever_the_algorithm(composed):
    """The store keeps one entry of scores for all algorithms."""

    def digest(*words) -> str:
        stages = Stages(build(composed(*words)), Store(store_folder(None)), Console())
        laboratory = scoring._laboratory(stages, lambda step, steps, loss: None)
        (model,) = laboratory.trained({"half/0": torch.arange(200)})
        return model_digest(model)

    assert digest(*SISA) == digest(*SMALL)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["mu_algo.shards=100"], r"mu_algo\.shards=100: leaves a shard without one of .* samples to retain"),
        (["checkpoint=mine.pt"], r"checkpoint=.*mine\.pt: sisa starts from an ensemble of its own"),
        (["evidence=[probe]"], "evidence: probe needs one network, and sisa has an ensemble"),
        (["unlearn.cost=0.5"], r"unlearn\.cost=0\.5: sisa costs more, and takes no steps; must be 1\.0 or more"),
    ],
)
def test_what_an_ensemble_cannot_do_is_refused(composed, words, sentence):
    with pytest.raises(BadInput, match=sentence):
        build(composed(*SISA, *words))
