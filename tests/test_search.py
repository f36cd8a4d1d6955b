"""The search for an arm's settings: spaces, scores, tries that several calls share, and the choice of a winner."""

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import CONF, HANGS, ROOT, SMALL
from hydra.utils import get_object
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from safetensors.torch import load_file
from scipy import stats

import softtargets
from softtargets.config import tuned, tuned_on
from softtargets.config.resolve import NEWER, flat
from softtargets.errors import BadInput, Failed
from softtargets.execution.experiment import build
from softtargets.marks import Algorithm
from softtargets.tuning import pairs, tries
from softtargets.tuning.known import with_known
from softtargets.tuning.pairs import WORST, Blind, KeptUtility, NearRetrained, interval, seeded
from softtargets.tuning.search import STILL, UNWATCHED, USUAL, Search, SearchSettings
from softtargets.tuning.space import NOTHING_TO_SEARCH, draw, first_tries, read_space
from softtargets.tuning.tries import Tries
from softtargets.types import Samples

ALGORITHMS = sorted(file.stem for file in (CONF / "mu_algo").glob("*.yaml"))
FIRST = {"ssd": {"mu_algo.alpha": 100, "mu_algo.lam": 1}}
"""First tries of algorithms without an optimiser."""
WEIGHTS = {
    "alpha",
    "beta",
    "gamma",
    "kappa",
    "lam",
    "epsilon",
    "share",
    "max_passes",
    "noise",
    "copies",
    "penalty",
}
"""Settings of algorithms that a search draws. Not among them are scrub's temperature, as its weights scale the
same loss, and what unsir makes its noise by."""
PLACES = ("mu_algo", "unlearn", "unlearn.optimizer")
"""Where values of tables stand in a config."""
TINY = (*SMALL[:4], "mu_algo=npo", "targets=soft", "unlearn.cost=0.5", "tuning_pairs=2", "fresh_pairs=1")


# spaces


def space_of(text: str, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return read_space(file, [CONF])


def test_a_space_is_read_in_the_syntax_of_hydras_optuna_sweeper(tmp_path):
    text = """
    sgd:
      unlearn: sgd
      mu_algo.a: interval(1, 5)
      mu_algo.b: int(interval(1, 5))
      mu_algo.c: tag(log, interval(1e-3, 1))
      mu_algo.d: choice(x, 1.0)
      mu_algo.e: null, 1.0
      mu_algo.f: range(1, 4)
    """
    block = space_of(text, tmp_path)["sgd"]
    assert block.fixed == ("unlearn=sgd",)
    assert block.drawn == {
        "mu_algo.a": FloatDistribution(1, 5),
        "mu_algo.b": IntDistribution(1, 5),
        "mu_algo.c": FloatDistribution(1e-3, 1, log=True),
        "mu_algo.d": CategoricalDistribution(["x", "1.0"]),
        "mu_algo.e": CategoricalDistribution(["null", "1.0"]),
        "mu_algo.f": CategoricalDistribution(["1", "2", "3"]),
    }
    assert list(block.first().values()) == [1, 1, 1e-3, "x", "null", "1"]
    down = space_of(
        "own: {mu_algo.c: 'tag(log, from_high, interval(1e-3, 1))', mu_algo.d: 'choice(x, y)'}", tmp_path
    )["own"]
    assert down.first() == {"mu_algo.c": 1, "mu_algo.d": "x"}
    assert down.without({"mu_algo.d"}).first() == {"mu_algo.c": 1}


def test_starts_of_a_block_are_joined_with_those_of_every_and_tried_after_the_first(tmp_path):
    text = """
    sgd: {mu_algo.lr: 'interval(0, 1)'}
    adamw:
      mu_algo.lr: interval(0, 1)
      mu_algo.way: null, x
      starts: [{mu_algo.lr: 0.5, mu_algo.way: x}, {mu_algo.lr: 0.25}, {mu_algo.lr: 0.25, mu_algo.way: null}]
    every:
      mu_algo.alpha: int(interval(1, 100))
      starts: [{mu_algo.alpha: 100}, {mu_algo.alpha: 10}]
    """
    space = space_of(text, tmp_path)
    assert space["sgd"].starts == ()
    expected = [(0.5, "x", 100), (0.5, "x", 10), (0.25, "null", 100), (0.25, "null", 10)]
    assert [tuple(one.values()) for one in space["adamw"].starts] == expected
    first, *rest = first_tries(space)
    assert first == {"block": "sgd", "sgd/mu_algo.lr": 0, "sgd/mu_algo.alpha": 1}
    assert rest[0] == {"block": "adamw"} | {
        f"adamw/mu_algo.{name}": one for name, one in (("lr", 0.5), ("way", "x"), ("alpha", 100))
    }
    typed = {name: block.without({"mu_algo.lr", "mu_algo.way"}) for name, block in space.items()}
    assert [tuple(one.values()) for one in typed["adamw"].starts] == [(100,), (10,)]
    search = Tries(tmp_path, 9, first_tries(space))
    with search.shared():
        drawn = [draw(space, search.take(pytest.fail)) for _ in range(5)]
    assert drawn[2:] == [
        (f"mu_algo.lr={lr}", f"mu_algo.way={way}", f"mu_algo.alpha={alpha}")
        for lr, way, alpha in (expected[1], expected[2], expected[3])
    ]


BAD = {
    "": "not a space",
    "sgd: {mu_algo.a: 'interval(1, 2)', starts: {mu_algo.a: 1}}": "not a list of settings",
    "sgd: {mu_algo.a: 'interval(1, 2)', starts: [1]}": "not a list of settings",
    "sgd: {mu_algo.a: 'interval(1, 2)', starts: [{mu_algo.b: 1}]}": "b: not drawn; choose among mu_algo.a",
    "sgd: {mu_algo.a: 'interval(1, 2)', starts: [{mu_algo.a: 3}]}": "a=3: must be of 1.0 to 2.0",
    "sgd: {mu_algo.a: 'interval(1, 2)', starts: [{mu_algo.a: x}]}": "a=x: must be of 1.0 to 2.0",
    "sgd: {mu_algo.a: 'choice(x, y)', starts: [{mu_algo.a: z}]}": "a=z: must be of x, y",
    "sgd: {mu_algo.a: 'choice(x, y)', starts: [{mu_algo.a: 'x, y'}]}": "must be of x, y",
    "{every: {mu_algo.a: 'interval(1, 2)', starts: [{mu_algo.a: 1}]}, sgd: {unlearn: sgd}}": "no block has starts",
    "{}": "no block",
    "sgd: 1": "sgd: not a block",
    "sgd: {mu_algo.a: 'interval(2, 1)'}": "from low to high",
    "sgd: {mu_algo.a: 'tag(log, interval(0, 1))'}": "above 0",
    "sgd: {mu_algo.a: 'tag(lg, interval(1, 2))'}": "no such tag",
    "sgd: {mu_algo.a: 'choice(1)'}": "two choices",
    "sgd: {mu_algo.a: 'tag(from_high, choice(1, 2))'}": "for intervals alone",
    "sgd: {mu_algo.a: 'interval(1'}": "cannot be read",
    "sgd: {mu_algo.a: glob(*)}": "glob is for options of a group",
    "sgd: {mu_algo.a: '1, glob(*)'}": "a choice is of plain values",
    "sgd: {mu_algo.a: 'interval(1, 2), 3'}": "a choice is of plain values",
    "sgd: {mu_algo.a: 'shuffle(choice(1, 2))'}": "shuffle would change the first try",
    "sgd: {mu_algo.a: 'range(0, 30000000)'}": "at most 1,000 values; use int",
    "sgd: {mu_algo.a: 'range(0, 1, 1e-9)'}": "at most 1,000 values",
    "sgd: {mu_algo.a: 'range(0, inf)'}": "at most 1,000 values",
    "sgd: {mu_algo.a: 'range(0, 9, 0)'}": "at most 1,000 values",
    "sgd: {mu_algo.a: 'interval(1, inf)'}": "from low to high, both finite",
    "sgd: {unlearn: sgd}\nsgd: {unlearn: adamw}": "a key is repeated",
    "sgd: {mu_algo.a: 'choice(1, 2)', mu_algo.a: 'choice(3, 4)'}": "a key is repeated",
    "sgd: {mu_algo.a: 'choice(1, 2)', +mu_algo.a: 'choice(3, 4)'}": "sgd: mu_algo.a: is there twice",
    "blocks: nowhere": "another file",
    "sgd: {mu_algo.a: [": "cannot be read",
    "sgd: {seed: 'choice(1, 2)'}": "sgd: seed: would make tries incomparable. Draw settings of mu_algo, unlearn",
    "{sgd: {unlearn: sgd}, every: {unlearn.cost: 'interval(0.1, 0.2)'}}": "sgd: unlearn.cost: would",
    "sgd: {training.epochs: 'int(interval(1, 9))'}": "training.epochs: would",
    "sgd: {dataset.train_size: 500}": "dataset.train_size: would",
    "sgd: {forget_set.fraction: 'choice(0.1, 0.2)'}": "forget_set.fraction: would",
    "sgd: {+architecture.hidden: 'choice(8, 16)'}": "architecture.hidden: would",
    "sgd: {targets: 'choice(hard, soft)'}": "targets: would",
    "sgd: {targets/forget: 'choice(hard, soft)'}": "targets/forget: would",
    "sgd: {mu_algo: 'choice(npo, graddiff)'}": "mu_algo: would",
    "sgd: {unlearn.stop: 'choice(none, matched)'}": "unlearn.stop: would",
}


@pytest.mark.parametrize("text", BAD, ids=repr)
def test_a_bad_space_is_refused_by_name(text, tmp_path):
    with pytest.raises(BadInput, match=BAD[text]) as error:
        space_of(text, tmp_path)
    assert str(error.value).startswith(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_has_a_space_that_starts_where_nothing_moves_or_a_reason_why_not(name):
    file = CONF / "search" / f"{name}.yaml"
    assert file.is_file() != (name in NOTHING_TO_SEARCH)
    if name in NOTHING_TO_SEARCH:
        return
    space = read_space(file, [CONF])
    if name in FIRST:
        assert [block.first() for block in space.values()] == [FIRST[name]]
        return
    assert list(space) == ["sgd", "adamw"]
    for block in space.values():
        assert block.first()["unlearn.optimizer.lr"] <= 1e-6
        assert {"unlearn.batch_size", "unlearn.clip_norm", "unlearn.schedule"} <= set(block.drawn)
    # every number of the method is drawn, or left out for a reason that stands here
    own = {key for key in yaml.safe_load((CONF / "mu_algo" / f"{name}.yaml").read_text()) if key in WEIGHTS}
    own -= {"epsilon"} if name == "noisy_finetune" else set()  # what it promises is no choice of a search
    assert {f"mu_algo.{key}" for key in own} <= set(space["sgd"].drawn)


MOVES_AT_ONCE = "ct"
"""The algorithm that moves the network before its first step, so that no rate leaves it where it was."""
STILL_FIRST = [
    name
    for name in ALGORITHMS
    if name not in {*NOTHING_TO_SEARCH, MOVES_AT_ONCE}
    and not Algorithm.of(get_object(f"softtargets.mu_algo.{name}.{name}")).starts_afresh
]
WHOLE = ("forget_set=class", "forget_set.classes=[9]")


@pytest.fixture(scope="module")
def tried_first(composed):
    """Return a function that scores the first try of an algorithm on a tuning pair, less doing nothing."""

    def config(words, pair: int) -> dict:
        return composed(*words, *seeded(pair))

    def words(name: str, data: tuple[str, ...], *drawn: str) -> tuple[str, ...]:
        return ("unlearn=sgd", *USUAL, *drawn, *data, f"mu_algo={name}", "unlearn.cost=0.6", *UNWATCHED)

    @functools.cache
    def pair(data: tuple[str, ...]) -> NearRetrained:
        return NearRetrained(1000, words("npo", data), config)

    def score(name: str, *data: str) -> float:
        block = next(iter(read_space(CONF / "search" / f"{name}.yaml", [CONF]).values()))
        tried = pair(data).tried(words(name, data, *block.words(block.first())))
        return NearRetrained.score([tried]) - NearRetrained.score([pair(data).nothing()])

    return score


@pytest.mark.long
@pytest.mark.parametrize("name", STILL_FIRST)
def test_the_first_try_of_an_algorithm_is_where_doing_nothing_is(name, tried_first):
    data = (*SMALL[:4], *(WHOLE if name == "unsir" else ()))
    assert tried_first(name, *data) == pytest.approx(0, abs=STILL)


@pytest.mark.long
def test_what_moves_the_network_before_its_first_step_is_not_there(tried_first):
    tiny_cnn = (SMALL[0], "architecture=cnn", *SMALL[2:4])
    assert abs(tried_first(MOVES_AT_ONCE, *tiny_cnn)) > STILL


SEARCHED = [
    pytest.param(entry, id=f"{name}/{algorithm}/{targets}/{entry['cost']}")
    for name in tuned.names(CONF / "tuned")
    for algorithm, arms in tuned.read_table(CONF / "tuned" / f"{name}.yaml").items()
    for targets, entries in arms.items()
    for entry in entries
    if "cost" in entry
]


@pytest.mark.long
@pytest.mark.parametrize("entry", SEARCHED)
def test_the_words_of_an_entry_with_a_cost_are_a_run_that_carries_what_it_was_tuned_on(entry, composed):
    words = entry["words"]
    if words == ["mu_algo=none"]:  # no try was better, and none as good
        assert entry["score"] == entry["before"] == 1
        return
    config = composed(*words)
    if not Algorithm.of(get_object(config["mu_algo"]["_target_"])).starts_afresh:
        assert entry["score"] <= entry["before"] + STILL
    assert (config["unlearn"]["cost"], config["unlearn"]["stop"]) == (entry["cost"], "none")
    assert config["tuned_on"] == tuned_on.TunedOn(**entry["tuned_on"]).model_dump()
    assert min(entry["tuned_on"]["seeds"]) >= tuned_on.RESERVED
    settings = NEWER | dict(flat(config))
    for name, value in entry["values"].items():
        assert value in [settings.get(f"{group}.{name}") for group in PLACES]


# scores


def test_the_score_is_the_share_of_the_way_left_and_a_price_for_accuracy():
    nothing = [(0.04, 0.04, -0.01), (0.02, 0.02, 0.0)]
    assert NearRetrained.score(nothing) == 1
    # (.01 + .02) / (.04 + .02) = .5, and accuracy .03 lost on average, .02 beyond the first point
    assert NearRetrained.score([(0.01, 0.04, 0.05), (0.02, 0.02, 0.01)]) == pytest.approx(0.5 + 0.2)
    with pytest.raises(Failed, match="nothing to search"):
        NearRetrained.score([(0.01, -0.01, 0.0)])
    half_of_the_gate = [(0.02, 0.04, 0.005, 0.002)]
    assert KeptUtility.score(half_of_the_gate) == 0.5
    assert KeptUtility.score([(0.02, 0.04, 0.015, 0.0)]) == pytest.approx(0.5 + 1)
    assert KeptUtility.score([(0.02, 0.04, 0.0, 0.004), (0.02, 0.04, 0.0, 0.008)]) == pytest.approx(0.5 + 1)
    assert Blind.score([(0.5, 0.1), (0.7, 0.2)]) == pytest.approx(0.6 + 0.3)


def test_a_blind_score_is_a_mean_over_the_classes_that_have_unseen_images():
    def samples(inputs, labels):
        inputs, labels = torch.tensor(inputs), torch.tensor(labels)
        return Samples(inputs, labels, torch.nn.functional.one_hot(labels, 3).float())

    pair = Blind.__new__(Blind)
    one, other = [2.0, 0.0, 0.0], [1.0, 0.0, 0.0]
    forget = samples([one, one, other], [0, 0, 2])
    pair.experiment = types.SimpleNamespace(
        data=types.SimpleNamespace(forget=forget, validation=samples([other, one, one, other], [0, 0, 1, 1]))
    )
    # class 0: both members lie above one of two unseen images and beside the other; class 2 has no unseen image
    loss, gap = pair.measured(torch.nn.Identity())
    assert gap == pytest.approx(0.25)
    log_z = [np.log(np.e**z + 2) for z in (1, 2, 2, 1)]
    assert loss == pytest.approx((sum(log_z) - 1 - 2) / 4)


def before_the_first_try(line: str) -> None:
    """Fail at a line of a search about a try."""
    assert line.startswith("pair ")


def overflowing(experiment, model, *_):
    """Unlearn with finite weights whose logits overflow."""
    for parameter in model.parameters():
        parameter.data.fill_(1e38)
    return types.SimpleNamespace(account=types.SimpleNamespace(diverged=False)), model, None


@pytest.mark.long
@pytest.mark.parametrize("objective", ["retrained", "utility", "blind"])
def test_a_try_whose_measures_are_not_finite_has_the_worst_score(objective, monkeypatch, tmp_path):
    monkeypatch.setattr(pairs, "unlearn", overflowing)
    words, lines = [*TINY, f"objective={objective}", "trials=2", f"runs_dir={tmp_path}"], []
    winner = softtargets.search(words, say=lines.append)
    scores = [line.partition(", best")[0] for line in lines if " of 2: " in line]
    assert scores == [f"try {i} of 2: {WORST:.3f}" for i in (1, 2)]
    assert winner["try"] == "nothing"


@pytest.mark.long
def test_a_winner_that_diverges_on_a_fresh_pair_has_the_worst_score_and_no_interval(monkeypatch, tmp_path):
    monkeypatch.setattr(NearRetrained, "tried", lambda pair, _: None if pair.number == 2001 else (0.1, 0.1, 0.0))
    words = [*TINY[:4], "mu_algo=retrain", "unlearn.cost=0.5", "tuning_pairs=1", "fresh_pairs=3", "trials=1"]
    winner = softtargets.search([*words, f"runs_dir={tmp_path}"], say=lambda line: None)
    assert (winner["try"], winner["score"], winner["interval"]) == ("nothing", WORST, None)
    assert "mu_algo=retrain" in winner["words"]


def ordered_by_rate(pair, words):
    """Return what is left of a way of 1: the least rate leaves most on tuning pairs, and nothing on fresh ones."""
    rate = float(next(word for word in words if "lr=" in word).partition("=")[2])
    return (rate if pair.number < 2000 else 1e-6 / rate, 1.0, 0.0)


@pytest.mark.long
def test_more_finalists_of_a_finished_search_choose_anew_without_a_new_try(monkeypatch, tmp_path):
    monkeypatch.setattr(NearRetrained, "tried", ordered_by_rate)
    words = [*TINY[:4], "mu_algo=finetune", "unlearn.cost=0.5", "tuning_pairs=1", "fresh_pairs=1", "trials=8"]
    words, lines = [*words, f"runs_dir={tmp_path}"], []
    few, many = (softtargets.search([*words, f"finalists={count}"], say=lines.append) for count in (1, 8))
    assert (few["finalists"], many["finalists"]) == (1, 8)
    assert (len(few["fresh_scores"]), many["trials"]) == (2, 8)
    assert set(few["fresh_scores"]) < set(many["fresh_scores"])
    assert many["score"] == min(many["fresh_scores"].values()) < few["score"]
    assert sum(line.startswith("try 8 of 8") for line in lines) == 1


@pytest.mark.long
def test_a_pair_whose_original_is_not_finite_ends_a_search_before_its_first_try(monkeypatch, tmp_path):
    monkeypatch.setattr(NearRetrained, "measured", lambda *_: (float("nan"), 0.1, 0.0))
    monkeypatch.setattr(NearRetrained, "tried", pytest.fail)
    with pytest.raises(Failed, match=r"^seed=1000: the original or a retrained model is not finite"):
        softtargets.search([*TINY, f"runs_dir={tmp_path}"], say=before_the_first_try)


def test_the_interval_of_a_score_is_that_of_a_mean_where_the_score_is_one():
    left = [0.1, 0.4, 0.3, 0.8]
    low, high = interval(NearRetrained.score, [(one, 1.0, 0.0) for one in left])
    expected = stats.t.interval(0.95, 3, np.mean(left), stats.sem(left))
    assert (low, high) == pytest.approx(expected, abs=1e-4)
    assert interval(NearRetrained.score, [(0.1, 1.0, 0.0)]) is None
    assert interval(NearRetrained.score, [(0.1, 1.0, 0.0), (0.1, -0.5, 0.0)]) is None


# refusals, before any work

REFUSED = {
    ("mu_algo=npo",): "unlearn.cost is required",
    "mu_algo=npo": "must be a list",
    ("mu_algo=npo", "unlearn.cost=0.5", "experiment=quick"): "experiment: a sweep has many arms",
    ("mu_algo=npo", "unlearn.cost=0.5", "seed=1"): "seed=1: a search decides seed",
    ("-m", "mu_algo=npo", "unlearn.cost=0.5"): "-m: a search takes settings alone",
    ("mu_algo=npo", "unlearn.cost=0.5", "stage=data"): "stage=data: a search decides stage",
    ("mu_algo=npo", "unlearn.cost=0.5", "forget_set=class"): (
        r"^forget_set\.classes is required: runs of forget_set=class forget \[0\] by default.*\.classes=\[1\], or"
    ),
    ("mu_algo=npo", "unlearn.cost=0.5", "forget_set=class_fraction"): "forget_set=class_fraction forget",
    ("mu_algo=npo", "unlearn.cost=0.5", "trails=3"): "trails=3: no such setting; did you mean trials?",
    ("rerun=nowhere", "unlearn.cost=0.5"): "rerun=nowhere: a search decides rerun",
    ("mu_algo=npo", "unlearn.cost=0.5", "trials=0"): "trials=0",
    ("mu_algo=npo", "unlearn.cost=0.5", "trials=many"): "trials='many'",
    ("mu_algo=npo", "unlearn.cost=0.5", "objective=mine"): "objective='mine'",
    ("mu_algo=npo", "unlearn.cost=0.5", "space=nowhere.yaml"): "nowhere.yaml: cannot be read",
    ("mu_algo=npo", "unlearn.cost=0.5", "unlearn.batch_size=-1"): "^unlearn.batch_size=-1",
    ("mu_algo=npo", "unlearn.cost=0.00001"): "^unlearn.cost=1e-05: npo takes less than one step",
    ("mu_algo=ssd", "unlearn.cost=0.5", "mu_algo.alpha=1", "mu_algo.lam=1"): "ssd.yaml: draws nothing beside the",
    (
        "mu_algo=class_mask",
        "unlearn.cost=0.5",
        "forget_set=class",
    ): "has nothing to search, because it has no setting",
}


def test_a_users_space_that_ours_would_hide_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("SOFTTARGETS_RUNS", str(tmp_path / "runs"))
    own, ours = tmp_path / "search/npo.yaml", CONF / "search/npo.yaml"
    own.parent.mkdir()
    own.write_text("sgd: {unlearn: sgd, unlearn.batch_size: 'choice(32, 64)'}")
    said = f"{own} would not be read, as {ours} has its name. Give it another name, or type space=FILE"
    with pytest.raises(BadInput, match=re.escape(said)):
        softtargets.search([f"hydra.searchpath=[file://{tmp_path}]", "mu_algo=npo", "unlearn.cost=0.5"])
    assert not (tmp_path / "runs").exists()


LATE = {("mu_algo=npo", "unlearn.cost=0.5", "unlearn.batch_size=-1"), ("mu_algo=npo", "unlearn.cost=0.00001")}
"""Refused when the data are known."""


@pytest.mark.parametrize(
    "words", [pytest.param(words, marks=[pytest.mark.long] * (words in LATE), id=str(words)) for words in REFUSED]
)
def test_a_search_that_cannot_run_is_refused_before_any_work(words, monkeypatch, tmp_path):
    monkeypatch.setenv("SOFTTARGETS_RUNS", str(tmp_path / "runs"))
    with pytest.raises(BadInput, match=REFUSED[words]):
        softtargets.search(words)
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_a_space_that_no_run_takes_ends_with_one_sentence(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("sgd: {unlearn: sgd, unlearn.batch_size: 'choice(32, -1)'}")
    words = [*TINY, f"space={file}", f"runs_dir={tmp_path / 'runs'}"]
    process = subprocess.run(
        [sys.executable, "-m", "softtargets", "search", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert f"{file}: sgd: unlearn.batch_size=-1" in process.stderr
    assert process.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_a_search_whose_pairs_cannot_be_scored_makes_no_model(composed, monkeypatch, tmp_path):
    few = ("dataset.validation_fraction=0.01", "forget_set=class")
    seen = build(composed(*TINY[:4], *few, *seeded(1000))).data.validation.labels.tolist()
    unseen = next(label for label in range(10) if label not in seen)
    monkeypatch.setattr(pairs.Stages, "original", pytest.fail)
    words = [*TINY, *few, f"forget_set.classes=[{unseen}]", f"runs_dir={tmp_path}"]
    with pytest.raises(
        BadInput, match=r"^dataset.validation_fraction=0.01: no validation image has a class of the forget set"
    ):
        softtargets.search([*words, "objective=blind"], say=lambda line: None)
    few_unseen = [*words, "dataset.train_size=null", "dataset.validation_fraction=0.001"]
    with pytest.raises(BadInput, match=r"^dataset.validation_fraction=0.001: too few validation images"):
        softtargets.search(few_unseen, say=lambda line: None)


@pytest.mark.parametrize(("kind", "refused"), [("peek", True), ("oracle_of_nothing", False)])
def test_a_blind_search_refuses_the_targets_that_are_marked_as_an_upper_bound(kind, refused, composed):
    pair = Blind.__new__(Blind)
    words = (*SMALL[:5], "targets=hard", f"targets.forget._target_=own_parts.{kind}", "plugins=[own_parts]")
    pair.experiment = build(composed(*words))
    with pytest.raises(BadInput, match="come from a retrained model") if refused else contextlib.nullcontext():
        pair.check()


@pytest.mark.long
def test_a_blind_search_ends_where_targets_ask_for_the_retrained_model_without_the_mark(tmp_path):
    own = ("targets=hard", "targets.forget._target_=own_parts.unmarked_peek", "plugins=[own_parts]")
    words = [*TINY[:5], *own, "unlearn.cost=0.5", "objective=blind", "trials=1", "tuning_pairs=1", "fresh_pairs=1"]
    with pytest.raises(
        BadInput, match=r"a try with .*: objective=blind: these targets come from a retrained model"
    ):
        softtargets.search(words, say=lambda line: None)


def test_a_space_with_a_setting_that_does_not_exist_is_refused_by_name(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("sgd: {unlearn: sgd, mu_algo.nosuch: 'interval(1, 2)'}")
    with pytest.raises(BadInput, match=f"^{file}: sgd: mu_algo.nosuch.*: no such setting"):
        softtargets.search([*TINY, f"space={file}", f"runs_dir={tmp_path / 'runs'}"])
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
@pytest.mark.parametrize("number", [1001, 2000])
def test_where_doing_nothing_is_at_the_floor_a_search_ends_before_its_first_try(number, monkeypatch, tmp_path):
    room = {1000: 0.01, 1001: 0.01, 2000: 0.01} | {number: -0.02}
    monkeypatch.setattr(NearRetrained, "nothing", lambda pair: (room[pair.number],) * 2 + (0.0,))
    monkeypatch.setattr(NearRetrained, "tried", pytest.fail)
    with pytest.raises(Failed, match="nothing to search for"):
        softtargets.search([*TINY, f"runs_dir={tmp_path}"], say=before_the_first_try)


@pytest.mark.long
def test_a_pair_at_the_floor_ends_no_search_in_which_the_others_have_room(monkeypatch, tmp_path):
    room = {1000: -0.01, 1001: 0.03, 2000: 0.01}
    monkeypatch.setattr(NearRetrained, "nothing", lambda pair: (room[pair.number],) * 2 + (0.0,))
    monkeypatch.setattr(NearRetrained, "tried", lambda pair, _: (0.005, room[pair.number], 0.0))
    winner = softtargets.search([*TINY, "trials=1", f"runs_dir={tmp_path}"], say=lambda line: None)
    assert winner["score_on_tuning_pairs"] == pytest.approx(0.5)


@pytest.mark.long
def test_a_try_whose_targets_are_refused_names_the_space_and_the_settings(monkeypatch, tmp_path):
    def refused(*_):
        raise BadInput("targets.forget: row 0 is no distribution")

    monkeypatch.setattr(NearRetrained, "tried", refused)
    said = r"npo.yaml: a try with unlearn=sgd unlearn.optimizer.lr=1e-06 .*: targets.forget: row 0"
    with pytest.raises(BadInput, match=said):
        softtargets.search([*TINY, f"runs_dir={tmp_path}"], say=before_the_first_try)


OWN_NET = ("architecture._target_=own_parts.TinyNet", "~architecture.hidden", "plugins=[own_parts]")


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "network", "arm"),
    [
        ((), "mlp", ["npo", "soft"]),
        (("mu_algo=retrain",), "mlp", ["retrain", "all"]),
        (("targets.forget.temperature=2",), "mlp", ["npo", "soft forget.temperature=2"]),
        (("targets/forget=uniform", "targets/retain=hard"), "mlp", ["npo", "uniform/hard"]),
        (OWN_NET, "own_parts.TinyNet", ["npo", "soft"]),
    ],
)
def test_a_search_has_the_names_that_results_have(words, network, arm, monkeypatch, tmp_path):
    searches = []
    monkeypatch.setattr(Search, "_require_room", lambda self: searches.append(self) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        softtargets.search([*TINY, *words, f"runs_dir={tmp_path}"], say=pytest.fail)
    (search,), (algorithm, targets) = searches, arm
    assert search._place() == {"table": f"mnist_5k/{network}/random", "arm": arm}
    targets = "hard" if targets == "all" else targets.replace("/", "_").replace(" ", "_")
    assert search.folder.name[:-10] == f"mnist_5k-{network}-random-{algorithm}-{targets}-"


def test_the_estimate_of_the_end_is_by_the_pace_of_all_processes_and_has_the_finalists(monkeypatch):
    lines, settings = [], SearchSettings(trials=60, fresh_pairs=10, finalists=3)
    search = Search(settings, [], pytest.fail, lines.append, runs=[10.0, 14.0])
    done = types.SimpleNamespace(state=TrialState.COMPLETE, value=0.5)
    search.tries = types.SimpleNamespace(finished=lambda: [done] * 20)
    monkeypatch.setattr(time, "monotonic", lambda: 1600.0)
    # ten tries in 600 s, so 40 more in 40 min; then three tries on ten pairs, 12 s each, in 6 min
    search._progress(started=1000.0, before=10)
    assert lines == ["try 20 of 60: 0.500, best 0.500; about 46 min left"]


# tries that processes share


def test_a_try_of_a_dead_process_is_made_again_and_the_allowance_is_exact(tmp_path, monkeypatch):
    monkeypatch.setattr(tries, "PAUSE", 0)
    first, second = Tries(tmp_path, 3, [{"x": 1.0}]), Tries(tmp_path, 3, [{"x": 1.0}])
    waited = []
    with contextlib.ExitStack() as life, second.shared():
        life.enter_context(first.shared())
        lost = first.take(pytest.fail)
        assert lost.suggest_float("x", 0, 2) == 1
        for value in (0.1, 0.2):
            mine = second.take(pytest.fail)
            assert (mine.suggest_float("x", 0, 2) == 1) is False
            second.study.tell(mine, value)
        # all that is left is at work in the other process, which dies
        again = second.take(lambda: waited.append(1) or life.close())
        assert (waited, again.suggest_float("x", 0, 2)) == ([1], 1)
        second.study.tell(again, 0.3)
        assert second.take(pytest.fail) is None
    assert [one.value for one in second.finished()] == [0.1, 0.2, 0.3]
    assert [one.state.name for one in second.study.trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert [second.rank(one.number) for one in second.study.trials] == [0, 0, 1, 2]


def test_a_journal_whose_last_line_was_cut_is_mended(tmp_path):
    study = Tries(tmp_path, 1, [{"x": 1.0}]).study
    study.tell(study.ask(), 0.5)
    with (tmp_path / "tries.journal").open("a") as file:
        file.write('{"op_code":')
    mended = Tries(tmp_path, 2, [{"x": 1.0}])
    mended.study.tell(mended.take(pytest.fail), 0.7)
    assert [one.value for one in Tries(tmp_path, 2, []).finished()] == [0.5, 0.7]


def typed(folder: Path, *words: str) -> subprocess.Popen:
    """Start `softtargets search` with an algorithm of the tests."""
    conf = folder.parent / "conf"
    own = {"mu_algo": "{_target_: own_parts.killed_in_two_tries, _partial_: true}", "search": "blocks: optimisers"}
    for group, text in own.items():
        (conf / group).mkdir(parents=True, exist_ok=True)
        (conf / group / "mine.yaml").write_text(text)
    command = [*TINY[:4], f"hydra.searchpath=[file://{conf}]", "mu_algo=mine", "plugins=[own_parts]"]
    command += ["unlearn.cost=0.5", "tuning_pairs=2", "fresh_pairs=1", f"runs_dir={folder}", *words]
    return subprocess.Popen(
        [sys.executable, "-m", "softtargets", "search", *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests"), "SOFTTARGETS_STORE": str(folder.parent / "store")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(*processes: subprocess.Popen) -> list[str]:
    """Wait for searches, which must end well, and return what they printed."""
    printed = [one.communicate(timeout=HANGS)[0] for one in processes]
    assert [one.returncode for one in processes] == [0] * len(processes), printed
    return printed


def tries_in(runs: Path) -> list[tuple[str, dict, float]]:
    """Return state, parameters and score of every try of the only search there."""
    (folder,) = (runs / "search").iterdir()
    return [(one.state.name, one.params, one.value) for one in Tries(folder, 99, []).study.trials]


@pytest.mark.kill
def test_searches_that_are_killed_or_at_once_make_the_tries_of_one_that_is_left_alone(tmp_path):
    (tmp_path / "store").mkdir()
    for _ in range(2):
        killed = typed(tmp_path / "killed", "trials=4")
        killed.communicate(timeout=HANGS)
        assert killed.returncode == -signal.SIGKILL
    ended(typed(tmp_path / "killed", "trials=4"))
    ended(typed(tmp_path / "alone", "trials=4"))
    alone, disturbed = tries_in(tmp_path / "alone"), tries_in(tmp_path / "killed")
    # the first try was begun three times, and counts once
    assert [state for state, *_ in disturbed] == ["FAIL", "FAIL", *(state for state, *_ in alone)]
    assert disturbed[2:] == alone
    assert [params for _, params, _ in disturbed[:2]] == [alone[0][1]] * 2
    both = ended(typed(tmp_path / "both", "trials=4"), typed(tmp_path / "both", "trials=4"))
    assert [state for state, *_ in tries_in(tmp_path / "both")].count("FAIL") == 0
    assert len(tries_in(tmp_path / "both")) == 4
    assert sum(line.startswith("try ") and " of 4: " in line for text in both for line in text.splitlines()) == 4
    assert {text.splitlines()[-1] for text in both} == {both[0].splitlines()[-1]}


# whole searches


@pytest.mark.long
def test_a_search_starts_at_doing_nothing_and_goes_on_where_it_was(tmp_path):
    words, lines = [*TINY, f"runs_dir={tmp_path}"], []
    softtargets.search([*words, "trials=2"], say=lines.append)
    assert lines[:3] == [f"pair {number} of 3: making its models" for number in (1, 2, 3)]
    assert lines[3].startswith("try 1 of 2: 1.000")  # the least rate moves nothing
    (folder,) = (tmp_path / "search").iterdir()
    lines.clear()
    winner = softtargets.search([*words, "trials=3"], say=lines.append)
    assert [line.split(":")[0] for line in lines if " of " in line] == ["try 3 of 3"]  # no pair is made again
    assert winner == json.loads((folder / "winner.json").read_text())
    assert winner["score"] < winner["fresh_scores"]["nothing"] == 1
    (row,) = tuned.read_table(folder / "tuned" / "mnist_5k" / "mlp" / "random.yaml")["npo"]["soft"]
    assert (row["cost"], row["words"], row["tuned_on"]) == (0.5, winner["words"], winner["tuned_on"])
    seen = {"dataset": "mnist_5k", "images": 475, "seeds": [1000, 1001, 2000], "forget_sets": [1000, 1001, 2000]}
    seen |= {"classes": [], "fixed": None, "test_images": 0, "cost": 0.5, "recipe": winner["tuned_on"]["recipe"]}
    seen |= {"trials": 3, "objective": "retrained", "start": "nothing"}
    assert winner["tuned_on"] == seen
    known = known_table(tmp_path, "mu_algo=npo unlearn=adamw unlearn.optimizer.lr=0.00123")
    again = softtargets.search([*words, "trials=3", f"known={known}"], say=lambda line: None)
    assert again["tuned_on"] == seen | {"start": "tables"}
    assert row["interval"] is None  # of one fresh pair
    assert row["cpu_s"] == winner["cpu_s"] > 0
    # the words that are printed make a run that carries it
    run = softtargets.run([*winner["words"], "seed=1001", f"hydra.run.dir={tmp_path / 'run'}"])
    assert run["tuned_on"] == winner["tuned_on"]
    assert row["values"]["lr"] > 1e-6
    lines.clear()
    assert softtargets.search([*words, "trials=3"], say=lines.append) == winner
    assert not [line for line in lines if " of 3" in line]
    assert len(list((tmp_path / "search").iterdir())) == 2  # with tables and without


@pytest.mark.long
def test_an_own_algorithm_is_searched_without_a_retrained_model(tmp_path):
    for group in ("mu_algo", "search"):
        (tmp_path / "conf" / group).mkdir(parents=True)
    own = {"_target_": "own_parts.in_place", "_partial_": True}
    (tmp_path / "conf" / "mu_algo" / "mine.yaml").write_text(yaml.safe_dump(own))
    (tmp_path / "conf" / "search" / "mine.yaml").write_text("blocks: optimisers\n")
    words = [*TINY[:4], f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "mu_algo=mine", "plugins=[own_parts]"]
    words += ["unlearn.cost=0.5", "tuning_pairs=1", "fresh_pairs=1", "objective=blind"]
    winner = softtargets.search([*words, f"runs_dir={tmp_path}", "trials=2"], say=lambda line: None)
    assert (winner["tuning_pairs"], winner["fresh_pairs"], winner["trials"]) == ([1000], [2000], 2)
    assert set(winner["fresh_scores"]) == {"nothing", "0", "1"}


@pytest.mark.long
def test_the_price_of_utility_is_measured_on_unseen_images_against_doing_nothing(tmp_path):
    words = [*TINY, f"runs_dir={tmp_path}", "trials=1"]
    winner = softtargets.search([*words, "objective=utility"], say=lambda line: None)
    # the first try hardly moves, so it is where doing nothing is, and that loses nothing against itself
    assert winner["fresh_scores"]["0"] == pytest.approx(1, abs=0.01)
    assert softtargets.search(words, say=lambda line: None)["fresh_scores"]["nothing"] == 1
    assert winner["fresh_scores"]["nothing"] == 1


@pytest.mark.long
def test_where_nothing_is_best_an_arm_gets_the_settings_that_move_least(tmp_path, monkeypatch):
    monkeypatch.setattr(Search, "_nothing", lambda *_: 0.99)  # 1, and the first try too, if it were measured
    lines = []
    winner = softtargets.search([*TINY, f"runs_dir={tmp_path}", "trials=1"], say=lines.append)
    assert (winner["try"], winner["fresh_scores"]["nothing"]) == ("nothing", 0.99)
    assert winner["score"] == winner["fresh_scores"]["0"] == pytest.approx(1, abs=0.01)
    assert {"mu_algo=npo", "unlearn.optimizer.lr=1e-06", "mu_algo.alpha=0.01"} <= set(winner["words"])
    assert "no try is better than doing nothing: the search chose not to move" in lines


@pytest.mark.long
def test_what_starts_afresh_gets_its_best_settings_where_nothing_is_better(tmp_path):
    lines = []
    words = [*TINY[:4], "mu_algo=retrain", *TINY[-3:], f"runs_dir={tmp_path}", "trials=2"]
    winner = softtargets.search(words, say=lines.append)
    scores = winner["fresh_scores"]
    assert (winner["try"], winner["score"]) == ("nothing", min(scores["0"], scores["1"]))
    assert winner["score"] > scores["nothing"] == 1
    assert "mu_algo=retrain" in winner["words"]
    assert [line for line in lines if line.endswith("as it cannot do nothing")]


@pytest.mark.long
def test_a_model_that_is_not_finite_has_the_worst_score(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("sgd: {unlearn: sgd, unlearn.optimizer.lr: 'interval(1e5, 1e6)'}")
    lines = []
    softtargets.search([*TINY, f"space={file}", f"runs_dir={tmp_path}", "trials=1"], say=lines.append)
    assert lines[3].startswith("try 1 of 1: 100.000")
    assert lines[-1] == "to type: python -m softtargets run mu_algo=none"


@pytest.mark.long
def test_values_for_which_the_budget_has_no_step_score_worst_and_cost_nothing(monkeypatch, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("sgd: {unlearn: sgd, unlearn.batch_size: 'choice(400, 4)'}")
    words = [*SMALL[:4], "mu_algo=finetune", "unlearn.cost=0.02", "tuning_pairs=1", "fresh_pairs=1", "trials=6"]
    words, lines = [*words, f"space={file}", f"runs_dir={tmp_path}"], []
    softtargets.search(words, say=lines.append)
    scores = [line.partition(", best")[0].rpartition(" ")[2] for line in lines if " of 6: " in line]
    assert scores[0] == f"{WORST:.3f}"
    assert set(scores) > {scores[0]}
    file.write_text("sgd: {unlearn: sgd, unlearn.batch_size: 'choice(400, 256)'}")
    with pytest.raises(BadInput, match=r"sgd: unlearn\.cost=0\.02: finetune takes less than one step; must be"):
        softtargets.search(words, say=pytest.fail)


@pytest.mark.long
def test_a_try_is_the_run_of_its_words_whatever_was_tried_before(monkeypatch, tmp_path):
    pairs, tried, move, quarter = (
        [],
        NearRetrained.tried,
        "unlearn.optimizer.lr=0.01",
        "unlearn.forget_batch_ratio=0.25",
    )

    def several(pair, words):
        several_words = ((*words, move), words, (*words, move), (*words, move, quarter))
        pairs.append((pair, words, [tried(pair, one) for one in several_words]))
        return pairs[-1][2][0]

    monkeypatch.setattr(NearRetrained, "tried", several)
    words = [*TINY[:-2], "tuning_pairs=1", "fresh_pairs=1", "trials=1", f"runs_dir={tmp_path}"]
    softtargets.search(words, say=lambda line: None)
    pair, typed, (first, still, again, smaller) = pairs[0]
    assert first == again != still
    for name, more, measured in (("run", [move], first), ("smaller", [move, quarter], smaller)):
        place = tmp_path / name
        softtargets.run([*typed, *more, *seeded(pair.number), "save_models=true", f"hydra.run.dir={place}"])
        model = pair.experiment.initialised("unlearn")
        model.load_state_dict(load_file(place / "unlearned.safetensors"))
        assert pair.measured(model) == measured


# starts that tables have


def known_table(tmp_path, *entries: str):
    """A folder with one table, in which the arm npo soft has entries of these words, the last without a cost."""
    file = tmp_path / "tables/digits/mlp/random.yaml"
    file.parent.mkdir(parents=True)
    rows = [
        {"values": {}, "cost": 0.1 + place / 100, "words": words.split()} for place, words in enumerate(entries)
    ]
    file.write_text(yaml.safe_dump({"npo": {"soft": [*rows, {"values": {"lr": 9.0}}]}}))
    return tmp_path / "tables"


def test_what_tables_have_for_an_arm_starts_a_search_of_it(tmp_path):
    space = space_of(
        """
    sgd:
      unlearn: sgd
      unlearn.optimizer.lr: tag(log, interval(1e-6, 0.3))
    adamw:
      unlearn: adamw
      unlearn.optimizer.lr: tag(log, interval(1e-6, 0.01))
      unlearn.clip_norm: null, 1.0
      ++unlearn.optimizer.weight_decay: choice(0.01, 0.1)
      mu_algo.passes: int(interval(1, 9))
      unlearn.schedule: >-
        null, {_target_:a,peak:${unlearn.optimizer.lr}}
      starts: [{unlearn.optimizer.lr: 0.003}]
    """,
        tmp_path,
    )
    folder = known_table(
        tmp_path,
        "mu_algo=npo unlearn=adamw unlearn.optimizer.lr=0.002 ++unlearn.optimizer.weight_decay=0.1 "
        r"unlearn.clip_norm=1.0 mu_algo.passes=4 unlearn.schedule={_target_:a,peak:$\{unlearn.optimizer.lr\}}",
        "mu_algo=npo unlearn=adamw unlearn.optimizer.lr=0.5 unlearn.clip_norm=2.0",  # both beyond the space
        "mu_algo=npo unlearn=sgd unlearn.optimizer.lr=0.25",
    )
    found = with_known(space, folder, "npo", "soft")
    first = space["adamw"].first()
    decay, lr, clip = "++unlearn.optimizer.weight_decay", "unlearn.optimizer.lr", "unlearn.clip_norm"
    assert found["sgd"].starts == ({lr: 0.25},)
    assert found["adamw"].starts == (
        first | {lr: 0.003},
        {
            lr: 0.002,
            clip: "1.0",
            decay: "0.1",
            "mu_algo.passes": 4,
            "unlearn.schedule": space["adamw"].drawn["unlearn.schedule"].choices[1],
        },
        first,
    )


class Begun(Exception):
    """Ends a search once its first tries are known."""


def test_a_search_tries_what_it_knows_first(monkeypatch, tmp_path):
    def begun(folder, allowance, first):
        raise Begun(first)

    monkeypatch.setattr("softtargets.tuning.search.Tries", begun)
    monkeypatch.setattr(Search, "_check", lambda search: None)  # other tests have it
    words = "mu_algo=npo unlearn=adamw unlearn.optimizer.lr=0.00123 unlearn.batch_size=64 mu_algo.beta=0.7"
    with pytest.raises(Begun) as begins:
        softtargets.search([*TINY, f"runs_dir={tmp_path}", f"known={known_table(tmp_path, words)}"])
    usual = first_tries(read_space(CONF / "search/npo.yaml", [CONF]))
    *before, start = begins.value.args[0]
    assert before == usual
    assert (start["block"], start["adamw/unlearn.optimizer.lr"], start["adamw/mu_algo.beta"]) == (
        "adamw",
        0.00123,
        0.7,
    )
    assert start["adamw/unlearn.batch_size"] == "64"


def test_tables_without_the_arm_are_refused(tmp_path):
    folder = known_table(tmp_path)
    with pytest.raises(BadInput, match=f"known={folder}: no table there has an entry with a cost for npo soft"):
        softtargets.search([*TINY, f"known={folder}", f"runs_dir={tmp_path}"], say=lambda line: None)
