"""From results on disk to verdicts: statistics against known values, pairs, refusals, words, tables."""

import csv
import dataclasses
import functools
import hashlib
import io
import itertools
import json
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest
import reading
import torch
from conftest import ROOT, SMALL
from page_by_hand import Page
from results_by_hand import ACCURACIES, WAY, both, diverged, leave, made, result
from scipy import stats
from scipy.spatial.distance import jensenshannon

import softtargets
from softtargets.config.tuned_on import fixed_hash
from softtargets.errors import BadInput
from softtargets.evaluation import metrics
from softtargets.report import alike, csv_files, rows, tables
from softtargets.report.__main__ import main
from softtargets.report.attacks import can_show, lira
from softtargets.report.costs import cheaper_from
from softtargets.report.ensembles import ensemble_lines
from softtargets.report.leaks import leaks
from softtargets.report.left_out import left_out_lines
from softtargets.report.measures import MEASURES, Floors, js_of_probs
from softtargets.report.pairs import SHARED_MODELS, pair_runs, pairings
from softtargets.report.planned import write_plan
from softtargets.report.promises import audit_lines, audits
from softtargets.report.requests import request_lines
from softtargets.report.runs import read
from softtargets.report.seeds import clipped_klom, exchanges, klom, over_seeds, permuted, ulira
from softtargets.report.standing import standings
from softtargets.report.statistics import compare, crossed, holm, independent, power, signed_rank
from softtargets.report.summary import ENDPOINTS, compare_all, judge_all, write_report
from softtargets.report.tuning import tuning_notes
from softtargets.report.verdicts import compare_arms, judged, words
from softtargets.system.files import write_json, write_text

# statistics


def values(*numbers) -> np.ndarray:
    return np.array(numbers, dtype=float)


def test_three_pairs_by_hand():
    found = compare(values(2, 4, 6), values(1, 2, 3), margin=1.0)
    assert (found.n, found.mean, found.sd, found.cliff, found.wins) == (3, 2, 1, 1, 1)
    assert found.dz == pytest.approx(2 * (1 - 3 / 7))
    assert found.t_p == pytest.approx(2 * stats.t.sf(2 * math.sqrt(3), 2))
    assert found.wilcoxon_p == pytest.approx(2 / 2**3)


def test_a_paired_t_test_and_its_peer_agree():
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=12), generator.normal(size=12)
    assert compare(one, other, 0.1).t_p == pytest.approx(stats.ttest_rel(one, other).pvalue)


def test_equal_pairs_are_half_a_win_and_hold_their_rank():
    found = compare(values(1, 2, 3, 5), values(1, 1, 1, 1), margin=1.0)
    assert found.cliff == 0.75
    assert found.wins == 0.875
    # Pratt: the ranks 2, 3 and 4 stay, and of the 2^3 ways to sign them one is as far on either side
    assert signed_rank(values(0, 1, 2, 4)) == pytest.approx(2 / 2**3)
    assert signed_rank(values(0, 0)) is None


@pytest.mark.parametrize("n", [1, 2, 5, 9, 14])
def test_the_signed_rank_test_is_scipys(n):
    draw = np.random.default_rng(n)
    for beyond in (3, 3, math.inf, math.inf):
        difference = draw.integers(-3, 4, n).astype(float)
        difference[difference == 3] = beyond
        if difference.any():
            # infinite differences have the highest rank, as 9 has here
            expected = stats.wilcoxon(difference.clip(-9, 9), zero_method="pratt").pvalue
            assert signed_rank(difference) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "dz"), [(30, 0.53), (34, 0.495), (25, 0.58), (10, 1.0)])
def test_the_least_detectable_effect_is_that_of_power_tables(n, dz):
    sample = np.random.default_rng(0).normal(size=n)
    found = independent(sample).detectable()
    assert found / sample.std(ddof=1) == pytest.approx(dz, abs=0.005)
    assert power(float(n - 1), found / independent(sample).se) == pytest.approx(0.8)


def test_power_is_the_share_of_significant_studies():
    generator = np.random.default_rng(0)
    studies = generator.normal(0.8, 1.0, size=(4000, 12))
    share = (stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05).mean()
    assert power(11.0, 0.8 * math.sqrt(12)) == pytest.approx(share, abs=3 * math.sqrt(share * (1 - share) / 4000))


def test_equivalence_by_hand():
    difference = values(0.1, 0.2, 0.3)  # mean .2, sd .1
    t = (1 - 0.2) / (0.1 / math.sqrt(3))
    assert independent(difference).within(0.2, 1.0) == pytest.approx(stats.t.sf(t, 2))
    assert independent(difference).within(0.2, 0.1) > 0.5
    ones = np.ones(5)
    assert compare(ones, ones, 0.1).equivalence_p == 0
    assert compare(2 * ones, ones, 0.1).equivalence_p == 1


@pytest.mark.parametrize("n", [2, 4])
def test_few_equal_differences_prove_nothing(n):
    found = compare(np.full(n, 3.0), np.full(n, 1.0), margin=5.0)
    assert (found.mean, found.sd) == (2, 0)
    assert (found.low, found.high, found.equivalence_p, found.detectable) == (None,) * 4


@pytest.mark.parametrize("n", [2, 4])
def test_below_five_pairs_there_is_no_interval_equivalence_or_detectable_difference(n):
    one, other = np.arange(5.0), np.zeros(5)
    few, enough = compare(one[:n], other[:n], 100.0), compare(one, other, 100.0)
    assert few.t_p == pytest.approx(stats.ttest_1samp(one[:n], 0).pvalue)
    assert (few.low, few.high, few.equivalence_p, few.detectable) == (None,) * 4
    assert (enough.low, enough.high) == pytest.approx(stats.ttest_1samp(one, 0).confidence_interval())
    above = stats.ttest_1samp(one, -100.0, alternative="greater").pvalue
    below = stats.ttest_1samp(one, 100.0, alternative="less").pvalue
    assert enough.equivalence_p == pytest.approx(max(above, below))
    assert enough.detectable == independent(one).detectable()


def grid(sets: int, seeds: int) -> np.ndarray:
    return np.array(list(itertools.product(range(sets), range(seeds))))


def test_the_error_of_a_crossed_design_by_hand():
    # sets: 1, 3; seeds: -1, 0, 1; no interaction but at one place
    table = np.array([[0.0, 1.0, 2.0], [2.0, 3.0, 4.6]])
    found = crossed(table.ravel(), grid(2, 3))
    # means of rows 1, 3.2, of columns 1, 2, 3.3, of all 2.1
    ms_a, ms_b = 3 * (1.1**2 + 1.1**2), 2 * (1.1**2 + 0.1**2 + 1.2**2) / 2
    rest = table - np.array([[1.0], [3.2]]) - np.array([1.0, 2.0, 3.3]) + 2.1
    ms_e = (rest**2).sum() / 2
    total = ms_a + ms_b - ms_e
    assert found.se == pytest.approx(math.sqrt(total / 6))
    df = total**2 / (ms_a**2 / 1 + ms_b**2 / 2 + ms_e**2 / 2)
    assert found.df == pytest.approx(max(df, 1))


def test_without_effects_of_set_and_seed_a_crossed_design_has_the_error_of_its_rest():
    table = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = crossed(table.ravel(), grid(3, 3))
    assert (found.se, found.df) == pytest.approx((math.sqrt(4 / 4 / 9), 4))


def test_a_crossed_design_has_at_least_as_many_degrees_of_freedom_as_its_smaller_side_less_one():
    """Mean squares 4, 4 and 3.6: Satterthwaite's approximation would be 4.4² / (4² + 4² + 3.6²) = .43."""
    table = np.array([[1.0, 1], [-1, -1]]) + np.array([[1.0, -1], [1, -1]])
    found = crossed((table + math.sqrt(0.9) * np.array([[1.0, -1], [-1, 1]])).ravel(), grid(2, 2))
    assert (found.se, found.df) == pytest.approx((math.sqrt(4.4 / 4), 1))


@pytest.mark.parametrize("wrong", [[[0, 0], [0, 1], [1, 0]], [[0, 0], [0, 1], [1, 0], [1, 0]]])
def test_a_crossed_design_has_each_pair_once(wrong):
    with pytest.raises(ValueError, match="each must meet each once"):
        crossed(np.arange(float(len(wrong))), np.array(wrong))


def test_holm_by_hand():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.7]) == [1, 1]


def test_both_p_values_of_a_row_are_those_that_its_words_follow(folder):
    found = one_verdict(folder(*both(8)))
    row = tables.verdict_row(dataclasses.replace(found, p=0.25, equivalence_p=0.75))
    assert row[7:9] == ["0.250", "0.750"]


def test_an_arm_that_diverged_has_lost():
    one, other = values(1, 1, 1, math.inf, math.inf), values(2, 2, 3, 2, math.inf)
    found = compare(one, other, 0.1)
    assert (found.n, found.measured) == (5, 3)
    assert found.cliff == pytest.approx((1 - 3) / 5)
    worse = compare(values(1, 1, 1, 1, math.inf), values(2, 2, 2, 2, 9), 0.1)
    assert worse.wilcoxon_p > compare(values(1, 1, 1, 1, 9), values(2, 2, 2, 2, 10), 0.1).wilcoxon_p


SIZE = ("mean", "sd", "low", "high", "t_p", "dz", "detectable")


@pytest.mark.parametrize(
    ("one", "other", "against", "given"),
    [
        ([1, 1, math.inf, math.inf], [1, 1, 1, math.inf], True, False),
        ([3, 4, 6, 7, math.inf], [1, 1, 1, 1, 1], False, False),
        ([3, 4, 6, 7, 9, math.inf], [1, 1, 1, 1, 1, 1], False, True),
        ([1, 1, 1, 1, 1, *6 * [math.inf]], [3, 4, 6, 7, 9, *6 * [1]], True, False),
        ([1, 1, 1, 1, 1, math.inf], [1, 1, 1, 1, 1, 1], True, False),
        ([1, 1, 1, 1, 1, math.inf], [1, 1, 1, 1, 1, math.inf], False, True),
    ],
)
def test_where_runs_diverged_a_size_is_of_five_pairs_that_point_where_the_ranks_do(one, other, against, given):
    found = compare(values(*one), values(*other), margin=100.0)
    assert (found.lost, found.against_ranks, found.mean is not None) == (True, against, given)
    assert found.equivalence_p is None
    if given:
        both_measured = [(a, b) for a, b in zip(one, other, strict=True) if math.inf not in (a, b)]
        alone = compare(*(values(*side) for side in zip(*both_measured, strict=True)), 100.0)
        assert [getattr(found, name) for name in SIZE] == [getattr(alone, name) for name in SIZE]
    else:
        assert [getattr(found, name) for name in SIZE] == [None] * len(SIZE)


# runs, made by hand


def one_verdict(place, measure="js_forget", where="end", margin=None, wanted=None):
    found = compare_arms(pairings(read(place), wanted), MEASURES[measure], where, margin, Floors())
    (verdict,) = judged(found, [])[0]
    return verdict


def said(verdict) -> str:
    """The words of a verdict without its place beside retraining and doing nothing, which has its own tests."""
    places = ("of the way from doing nothing", "doing nothing is at")
    return "; ".join(part for part in verdict.words.split("; ") if not part.startswith(places))


def test_arms_are_paired_by_seed_within_a_cell(folder):
    runs = read(folder(*both(4), *both(3, choices={"mu_algo": "graddiff"})))
    found = pairings(runs)
    assert sorted(len(pairing.pairs) for pairing in found) == [3, 4]
    for pairing in found:
        assert (pairing.one, pairing.other, pairing.refused, pairing.settings) == ("hard", "soft", [], [])
        assert all(one.seed == other.seed for one, other in pairing.pairs)
        assert all((one.arm, other.arm) == ("hard", "soft") for one, other in pairing.pairs)


def test_other_targets_are_other_arms_and_other_settings_other_cells(folder):
    def config(temperature=1.0, lr=0.1):
        return {"targets": {"forget": {"temperature": temperature}}, "unlearn": {"optimizer": {"lr": lr}}}

    soft = [result(0, "soft", config=config(temperature)) for temperature in (0.5, 2.0)]
    runs = read(folder(*soft, *(result(0, config=config(lr=lr)) for lr in (0.1, 0.2))))
    assert {run.arm for run in runs} == {"hard", "soft forget.temperature=0.5", "soft forget.temperature=2.0"}
    assert len({run.cell for run in runs if run.arm == "hard"}) == 2


def test_sides_that_are_not_the_presets_own_name_the_arm(folder):
    sides = {"targets_forget": "masked", "targets_retain": "hard"}
    own = {"targets_forget": "self", "targets_retain": "self"}
    runs = read(
        folder(result(choices=sides), result(targets="soft", choices=own), result(targets="mine", choices=own))
    )
    assert {run.arm for run in runs} == {"masked/hard", "soft", "mine"}


def test_settings_that_were_found_for_each_arm_are_told(folder):
    tuned = {"config": {"targets": {}, "unlearn": {"optimizer": {"lr": 0.2}}}}
    (found,) = pairings(read(folder(result(), result(targets="soft", **tuned))))
    assert found.settings == ["seed 0 / None", "unlearn.optimizer.lr 0.1 / 0.2"]


@pytest.mark.parametrize("name", ["original", "retrained", "forget_set", "batches"])
def test_what_differs_in_more_than_targets_is_no_pair(folder, name):
    hashes = result()["hashes"] | {name: "other"}
    (found,) = pairings(read(folder(result(), result(targets="soft", hashes=hashes))))
    assert found.pairs == []
    assert found.refused == [f"run0 and run1: not a pair, {name} differ"]


def test_seeds_that_are_alone_or_twice_are_named(folder):
    (found,) = pairings(read(folder(*both(2), result(7), result(0))))
    assert [pair[0].seed for pair in found.pairs] == [1]
    assert "run0, run5: seed 0 is there 2 times" in found.refused
    assert "run4: seed 7 is in one arm alone" in found.refused


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "damaged"),
        ("[]", "changed since it was written"),
        ('{"schema": 1}', "changed since it was written"),
        ({"schema": 99}, "of another"),
        ({"schema": 1}, "status: field required"),
        ({"a": 1}, "not the result"),
    ],
)
def test_what_is_no_result_is_named(tmp_path, content, said):
    write = write_text if isinstance(content, str) else write_json
    write(tmp_path / "result.json", content)
    with pytest.raises(BadInput, match=f"result.json: {said}"):
        read(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput, match="no finished run"):
        read(tmp_path / "none")


def nan(place: Path) -> None:
    left = result(9)
    left["distance"] = left["distance"] | {"js_forget": math.nan}
    text = json.dumps(left, indent=1).removesuffix("\n}")  # as `write_json` would, which refuses it
    sealed = hashlib.sha256(text.encode()).hexdigest()
    write_text(place / "result.json", f'{text},\n "sha256": "{sealed}"\n}}\n')


def faces(**unlearned) -> dict:
    """What a result has of its faces, with these values of the unlearned model."""
    names = ("js_t_forget", "disagreement_forget", "mia_gap", "js_t_test", "test_acc_gap")
    return {name: {"unlearned": unlearned.get(name, 0.1), "nothing": 0.2, "floor": 0.0} for name in names}


DAMAGED = {
    "torn": (lambda place: write_text(place / "result.json", "{"), "result.json: damaged, not JSON"),
    "not finite": (nan, "result.json: distance.js_forget: input should be a finite number"),
    "of another version": (
        lambda place: write_json(place / "result.json", {"schema": 99}),
        "result.json: of another version",
    ),
    "odd": (
        lambda place: write_json(place / "result.json", result(9, config={"unlearn": 3})),
        "result.json: config.unlearn: must be a group of settings",
    ),
    "a word for a number": (
        lambda place: write_json(place / "result.json", result(9, faces=faces(js_t_forget="x"))),
        "result.json: faces.js_t_forget.unlearned: input should be a valid number",
    ),
    "a word for a share": (
        lambda place: write_json(place / "result.json", result(9, cost={"unlearn_s": 1.5, "budget": "x"})),
        "result.json: cost.budget: input should be a valid number",
    ),
    "a word for a seed": (
        lambda place: write_json(place / "result.json", result(9, config={"dataset": {"seed": "x"}})),
        "result.json: config.dataset.seed: must be an integer",
    ),
    "without arrays": (lambda place: (place / "margins.npz").unlink(), "margins.npz: missing or damaged"),
    "with torn arrays": (lambda place: write_text(place / "margins.npz", "PK"), "margins.npz: missing or damaged"),
    "with something else": (
        lambda place: write_text(place / "margins.npz", "some text"),
        "margins.npz: missing or damaged (it holds no plain arrays)",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_run_that_cannot_be_read_is_set_aside_counted_and_named(folder, capsys, damage):
    place = folder(*both(6), result(6, js_forget=0.5))
    break_it, said = DAMAGED[damage]
    break_it(place / "run12")
    assert main([str(place)]) == 0
    assert f"set aside: run12: {said}" in capsys.readouterr().err
    page, text = Page((place / "report.html").read_text()).text, (place / "summary.md").read_text()
    for shown in (page, text):
        assert "12 finished, 0 failed, 1 set aside (their files cannot be read)" in shown
        assert f"run12: {said}" in shown
    assert len(lines_of(place / "runs.csv")) == 12
    assert "run12: seed 6 is in one arm alone" not in text


def test_an_arm_without_a_readable_run_is_named_where_no_plan_is_left(folder):
    place = folder(*both(2))
    for at, (arm, seed) in enumerate(itertools.product(("hard", "soft", "mine"), (0, 1))):
        name = place / f"mu_algo=gradasc,targets={arm},seed={seed}-{at:012x}"
        if arm == "mine":
            write_text(name / "result.json", "{")
        else:
            (place / f"run{at}").rename(name)
    assert main([str(place)]) == 0
    lines = (place / "summary.md").read_text().splitlines()
    assert "; there is no readable result of targets=mine." in lines[1]
    lost = (
        "- targets=mine: 2 runs began, 0 finished, 0 failed, 2 set aside (their files cannot be read); the first: "
    )
    assert any(line.startswith(f"{lost}result.json: damaged") for line in lines)


def test_where_no_run_can_be_read_the_first_is_named(folder, capsys):
    place = folder(*both(2))
    for file in place.glob("*/result.json"):
        write_text(file, "{")
    assert main([str(place)]) == 2
    assert re.fullmatch(
        r"softtargets.report: \S+: no run below it can be read: run0: result.json: damaged, not JSON: .*, "
        r"and 3 more; call their sweep again, or give another folder\n",
        capsys.readouterr().err,
    )
    failed(place / "lost", "no luck")
    assert main([str(place)]) == 0


# runs that were not made alike


def of_two(here: dict, there: dict) -> list[dict]:
    """Runs of both arms over three seeds, those of soft with seeds 1 and 2 made as `there`."""
    hard = [result(seed, provenance=here) for seed in range(3)]
    return hard + [result(seed, "soft", provenance=there if seed else here) for seed in range(3)]


@pytest.mark.parametrize(
    ("there", "named"),
    [
        (made(processor="one, AVX2"), "processor (2)"),
        (made(threads=2), "threads (2)"),
        (made(device="cuda"), "device (2)"),
        (made(plain_torch=True), "SOFTTARGETS_PLAIN_TORCH (2)"),
        (made(torch="2.14.1", threads=2), "threads (2), torch (2)"),
        (made(commit="decaf"), "commit (2)"),
        (made() | {"git_dirty": True}, "changes after the commit (2)"),
    ],
)
def test_pairs_that_were_not_made_alike_are_told_everywhere(folder, capsys, there, named):
    place = folder(*of_two(made(), there))
    assert main([str(place)]) == 0
    sentence = f"2 of 3 pairs were not made alike: {named} differ"
    assert sentence in " ".join(capsys.readouterr().out.split())
    assert sentence in (place / "summary.md").read_text()
    assert sentence in (place / "report.html").read_text()
    rows = list(csv.DictReader(io.StringIO((place / "summary.csv").read_text())))
    assert {row["made"] for row in rows} == {sentence}


def test_precisions_of_training_and_unlearning_are_told(folder):
    def config(training, unlearn):
        return {"training": {"precision": training}, "unlearn": {"precision": unlearn}}

    arms = (result(config=config("bf16", "float32")), result(0, "soft", config=config("float32", "bf16")))
    (found,) = pairings(read(folder(*arms)))
    assert found.unlike == [("precision of training", "precision of unlearning")]
    said = alike.in_words([*found.unlike, ()])
    assert said == "1 of 2 pairs was not made alike: precision of training (1), precision of unlearning (1) differ"


def test_pairs_made_alike_and_older_results_need_no_word(folder, capsys):
    older = made()
    del older["machine"]["processor"]
    place = folder(*of_two(made(), older))
    assert main([str(place)]) == 0
    assert "made alike" not in capsys.readouterr().out + (place / "summary.md").read_text()


def test_why_hashes_differ_is_told(folder):
    there = {"hashes": result()["hashes"] | {"original": "other"}, "provenance": made(processor="another")}
    (found,) = pairings(read(folder(result(), result(targets="soft", **there))))
    assert found.refused == ["run0 and run1: not a pair, original differ; not made alike: processor"]


# measures


def test_js_is_that_of_the_metrics():
    one, other = (torch.randn(50, 7, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    found = js_of_probs(one.softmax(1).numpy(), other.softmax(1).numpy())
    assert found == pytest.approx(metrics.js(one, other), rel=1e-5)
    sure = np.eye(2)
    assert js_of_probs(sure, sure) == 0
    assert js_of_probs(sure, sure[::-1]) == pytest.approx(math.log(2))


def test_the_floor_is_between_retrained_models(folder):
    runs = read(folder(*both(3)))
    half, sure = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    middle = (half + sure) / 2
    apart = sum((p * np.log(p / middle)).sum() for p in (half, sure)) / 2 / 2  # of one sample in two
    assert Floors().of(MEASURES["js_forget"], runs) == pytest.approx(apart * 2 / 3)  # seeds 0 and 2 agree
    assert Floors().of(MEASURES["mia_gap"], runs) == 0
    assert Floors().of(MEASURES["js_forget"], runs[:1]) is None
    found = one_verdict(runs[0].folder.parent)
    nothing, floor = 0.04, found.floor
    assert found.one.corrected == pytest.approx((0.031 - floor) / (nothing - floor))


def test_gaps_between_retrained_models_by_hand(folder):
    far = {"forget_acc": 0.75, "retain_acc": 0.95, "test_acc": 0.8, "mia_auc": 0.53, "class_acc": [0.5, None]}
    runs = read(folder(result(0), result(1, metrics=result()["metrics"] | {"retrained": far})))
    expected = {"mia_gap": 0, "avg_gap": 0.05, "accuracy_distance": 0.3}  # signed gaps have the mean 0
    assert {name: Floors().of(MEASURES[name], runs) for name in expected} == pytest.approx(expected)


def own(seed: int, targets: str, value: float | None, lower_is_better: bool = False, **said) -> dict:
    """A run that carries a measure of the user's own: 0.9 of the original, 0.5 and a little of the retrained."""
    values = {"original": 0.9, "retrained": 0.5 + 0.01 * seed, "unlearned": value}
    metrics = {model: ACCURACIES | {"mine.sharp": one} for model, one in values.items()}
    said = {"description": "Sharpness <b> of it.", "lower_is_better": lower_is_better} | said
    return result(seed, targets, metrics=metrics, evidence={"mine.sharp": said})


@pytest.mark.parametrize(
    ("lower_is_better", "mean", "nothing", "floor", "said"),
    [
        (False, 0.325, 0.375, 0.07 / 3, "soft is closer to retrained than hard, by 0.13"),
        (True, 0.85, 0.9, None, "soft is lower than hard, by 0.13"),
    ],
)
def test_a_measure_of_ones_own_is_compared_as_it_is_marked(folder, lower_is_better, mean, nothing, floor, said):
    """Hard is at 0.8 + 0.02 seed, soft at 0.7 + 0.01 seed and retrained at 0.5 + 0.01 seed."""
    runs = [own(seed, "hard", 0.8 + 0.02 * seed, lower_is_better) for seed in range(6)]
    runs += [own(seed, "soft", 0.7 + 0.01 * seed, lower_is_better) for seed in range(6)]
    place = folder(*runs)
    assert main([str(place), "--metric", "mine.sharp"]) == 0
    (row,) = csv.DictReader(io.StringIO((place / "summary.csv").read_text()))
    assert (row["measure"], row["where"]) == ("mine.sharp", "end")
    assert float(row["mean"]) == pytest.approx(0.125)
    assert float(row["one_mean"]) == pytest.approx(mean)
    assert float(row["nothing"]) == pytest.approx(nothing)
    assert row["floor"] == "" if floor is None else float(row["floor"]) == pytest.approx(floor)
    assert row["verdict"].startswith(said)
    assert row["one_mean_with_diverged"] == ""
    assert "Sharpness &lt;b> of it, at the end of the run" in (place / "summary.md").read_text()
    pairs = list(csv.DictReader(io.StringIO((place / "pairs.csv").read_text())))
    assert [float(pair["difference"]) for pair in pairs] == pytest.approx([0.1 + 0.01 * seed for seed in range(6)])
    assert rows.row(read(place)[0])["unlearned.mine.sharp"] in (0.7, 0.8)
    assert "not compared, since" not in (place / "report.html").read_text()


def test_what_a_report_does_not_know_of_a_measure_is_refused(folder, capsys):
    place = folder(own(0, "hard", 0.5), own(0, "soft", 0.5, lower_is_better=True))
    assert main([str(place), "--metric", "mine.sharpp"]) == 2
    assert "its mark lower_is_better of mine.sharp is not" in capsys.readouterr().err
    (place / "run1/result.json").unlink()
    assert main([str(place), "--metric", "mine.sharpp"]) == 2
    assert re.search(r"mine\.sharpp: no run has it; .*; did you mean mine\.sharp\?", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metrics": {"mine.sharp": "0.5"}}, r"metrics.original.mine.sharp: must be a finite number or null"),
        (
            {"evidence": {"mia_auc": {"description": "", "lower_is_better": True}}},
            "evidence.mia_auc: must be the path",
        ),
        ({"evidence": {"mine.sharp": {"description": ""}}}, "evidence.mine.sharp.lower_is_better: field required"),
    ],
    ids=["value", "name", "mark"],
)
def test_a_result_that_says_nonsense_of_a_measure_is_named(folder, changes, said):
    one = own(0, "hard", 0.5)
    one |= {"evidence": changes.get("evidence", one["evidence"])}
    one["metrics"] = {model: values | changes.get("metrics", {}) for model, values in one["metrics"].items()}
    with pytest.raises(BadInput, match=rf"result\.json: {said}"):
        read(folder(one))


def with_references(folder: Path, numbers: int = 2) -> list:
    """Give each run of a folder further retrained models with predictions and margins of their own."""
    for number, place in enumerate(sorted(folder.glob("run*"))):
        left = json.loads((place / "result.json").read_text())
        digests = [f"further{number}/{i}" for i in range(numbers)]
        left["hashes"]["further_retrained"] = digests
        left["faces"] = faces() | {"retrained": {"mia_auc": [0.5, *(0.6 + 0.1 * i for i in range(numbers))]}}
        write_json(place / "result.json", left)
        arrays = dict(np.load(place / "margins.npz"))
        for i in range(numbers):
            draw = np.random.default_rng([number, i])
            arrays[f"forget_retrained_{i + 2}"] = draw.normal(size=2)
            arrays[f"forget_probs_retrained_{i + 2}"] = draw.dirichlet([1, 1], 2).astype(np.float32)
        np.savez(place / "margins.npz", **arrays)
    return read(folder)


def test_further_retrained_models_give_one_run_a_floor(folder):
    (run,) = with_references(folder(result()))
    arrays = run.arrays(*(f"forget_probs_retrained{end}" for end in ("", "_2", "_3")))
    p = [array.astype(float) for array in arrays]
    apart = [np.mean(jensenshannon(p[i], p[j], axis=1) ** 2) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert Floors().of(MEASURES["js_forget"], [run]) == pytest.approx(np.mean(apart), abs=1e-6)
    assert Floors().of(MEASURES["mia_gap"], [run]) == 0  # of signed gaps
    assert Floors().of(MEASURES["avg_gap"], [run]) is None


@pytest.mark.parametrize("copy", ["forget_shifted", "forget_noisy"])
@pytest.mark.parametrize("distance", ["js_t", "disagreement"])
def test_distances_on_copies_of_the_images_are_measures_too(distance, copy, folder):
    known = ("js_t_forget", "disagreement_forget", "mia_gap", "js_t_test", "test_acc_gap")
    old = {name: {"unlearned": 0.5, "nothing": 0.5, "floor": 0.5} for name in known}
    new = old | {f"{distance}_{copy}": {"unlearned": 0.3, "nothing": 0.4, "floor": 0.05}}
    older, newer = sorted(read(folder(result(0, faces=old), result(1, faces=new))), key=lambda run: run.seed)
    measure = MEASURES[f"{distance}_{copy}"]
    assert [(measure.at_end(run), measure.nothing(run)) for run in (older, newer)] == [(None, None), (0.3, 0.4)]
    assert Floors().of(measure, [newer]) == 0.05
    assert Floors().of(measure, [older, newer]) is None


def test_over_seeds_the_floor_is_that_of_other_retrained_models_where_runs_have_them(folder):
    place = folder(*(result(seed) for seed in range(10)))
    before = list(over_seeds(read(place)))
    after = list(over_seeds(with_references(place, 1)))
    runs = sorted(read(place), key=lambda run: run.seed)
    retrained, others = (np.stack([run.arrays(f"forget_retrained{end}")[0] for run in runs]) for end in ("", "_2"))
    for old, new in zip(before, after, strict=True):
        assert (new.klom, new.ulira) == (old.klom, old.ulira)
        assert (new.klom_floor, new.ulira_floor) == (klom(others, retrained), ulira(others, retrained))


def test_a_retrained_model_that_is_not_finite_is_no_part_of_a_floor(folder):
    lost = result()["metrics"] | {"retrained": dict.fromkeys(ACCURACIES)}
    runs = read(folder(result(0), result(1), result(2, metrics=lost)))
    for name in ("js_forget", "avg_gap", "accuracy_distance", "disagreement_forget"):
        assert Floors().of(MEASURES[name], runs) == Floors().of(MEASURES[name], runs[:2]) is not None
        assert Floors().of(MEASURES[name], runs[1:]) is None


# verdicts


def test_a_difference_is_told_with_its_size(folder):
    place = folder(*both(8))
    found = one_verdict(place)
    assert found.paired.mean == pytest.approx(0.0135)
    assert found.words.startswith(
        "soft is closer to retrained than hard, by 0.013 [0.011, 0.016] (n = 8, one forget set)"
    )
    turned = one_verdict(place, wanted=("soft", "hard"))
    assert said(turned) == said(found)
    assert turned.paired.mean == -found.paired.mean


def test_matched_forgetting_has_values_of_its_own(folder):
    assert one_verdict(folder(*both(8)), where="matched").paired.mean == pytest.approx(0.0135 / 2)


def test_p_is_adjusted_over_all_cells(folder):
    noise = [0.011, -0.006, 0.008, 0.002, 0.003, 0.004]
    runs = []
    for algorithm, (seed, delta) in itertools.product(("a", "b", "c"), enumerate(noise)):
        choices = {"choices": {"mu_algo": algorithm}}
        runs += [result(seed, js_forget=0.03 + delta, **choices), result(seed, "soft", js_forget=0.03, **choices)]
    found = compare_arms(pairings(read(folder(*runs))), MEASURES["js_forget"], "end", None, Floors())
    matched = [dataclasses.replace(one, where="matched") for one in found]
    both_places = judged([*found, *matched], [])[0]
    p, equivalence = found[0].paired.t_p, found[0].paired.equivalence_p
    family = sorted([p, equivalence] * 3)
    steps = [min(1.0, (6 - rank) * value) for rank, value in enumerate(family)]
    expected = {value: max(steps[: family.index(value) + 1]) for value in (p, equivalence)}
    # at the end equivalence is of the family; the matched points are a family of their own, each kind of test too
    assert [one.p for one in both_places[:3]] == pytest.approx([expected[p]] * 3)
    assert [one.equivalence_p for one in both_places[:3]] == pytest.approx([expected[equivalence]] * 3)
    assert [one.p for one in both_places[3:]] == pytest.approx([min(1, 3 * p)] * 3)


def test_no_difference_says_what_would_have_been_seen(folder):
    deltas = (0.01, -0.01, 0.012, -0.009, 0.001)
    runs = [result(seed, js_forget=0.03 + delta) for seed, delta in enumerate(deltas)]
    place = folder(*runs, *(result(seed, "soft", js_forget=0.03) for seed in range(5)))
    found = one_verdict(place, margin=1e-6)
    smallest = f"{found.paired.detectable:.2g}"
    assert said(found) == f"no significant difference (n = 5, one forget set; smallest detectable: {smallest})"
    assert said(one_verdict(place, margin=0.1)) == "equivalent within ±0.1 (n = 5, one forget set)"


def test_a_difference_that_only_the_correction_hides_is_given(folder):
    """Its size is above the smallest detectable one, which is of a test by itself: to name that would mislead."""
    noise = [0.011, -0.006, 0.008, 0.002, 0.003, 0.004]
    runs = [result(seed, js_forget=0.033 + x) for seed, x in enumerate(noise)]
    runs += [result(seed, "soft", js_forget=0.03) for seed in range(6)]
    found = one_verdict(folder(*runs), margin=1e-6)
    single = found.paired.p
    hidden = dataclasses.replace(found, p=10 * single)
    assert single < 0.05 < hidden.p
    assert words(hidden).startswith(
        "no significant difference after correction for all tests (n = 6, one forget set): soft is ahead by "
    )
    assert f", p = {single:.2g} by itself, {hidden.p:.2g} corrected" in words(hidden)


def test_pairs_without_a_value_are_no_part_of_n(folder):
    runs = both(8)
    for run in runs[:4]:
        run["matched"] = None
    found = one_verdict(folder(*runs), where="matched")
    assert said(found).startswith("no verdict below 5 pairs (n = 4, one forget set)")
    assert "; 4 of 8 runs of hard did not stay at the retrained model's forget accuracy" in said(found)


def test_flags_divergence_and_censoring_are_counted_and_not_dropped(folder):
    runs = [result(seed, js_forget=0.03) for seed in range(4)]
    soft = [result(seed, "soft", js_forget=0.02) for seed in range(2)]
    soft += [
        result(2, "soft", status="diverged", matched=None),
        result(3, "soft", matched=None, status="hard-like"),
    ]
    place = folder(*runs, *soft)
    end = one_verdict(place)
    assert (end.other.diverged, end.other.censored) == (1, 0)
    assert end.other.flags == {"diverged": 1, "hard-like": 1}
    assert end.other.mean == pytest.approx((0.02 * 3) / 3)
    assert end.other.mean_with_diverged == pytest.approx((0.02 * 3 + math.log(2)) / 4)
    assert end.paired.n == 4
    matched = one_verdict(place, where="matched")
    assert (matched.other.diverged, matched.other.censored, matched.paired.n) == (1, 1, 3)


def test_direction_and_p_are_of_one_statistic(folder):
    """Where 8 of 10 runs of an arm diverged, its two others decide nothing."""
    hard = [result(seed, js_forget=0.03) for seed in range(10)]
    soft = [result(seed, "soft", js_forget=0.02) for seed in range(2)]
    place = folder(*hard, *soft, *(diverged(seed, "soft") for seed in range(2, 10)))
    found = one_verdict(place)
    assert found.p == found.paired.wilcoxon_p < 0.05
    assert said(found) == (
        "hard is closer to retrained than soft by signed ranks (n = 10, one forget set), "
        "but not on average over the 2 pairs where neither diverged; 8 of 10 runs of soft diverged"
    )
    turned = one_verdict(place, wanted=("soft", "hard"))
    assert said(turned) == said(found)
    assert turned.paired.ranks == -found.paired.ranks == 49  # ranks 3 to 10 share 52, 1 and 2 point the other way


@pytest.mark.parametrize(
    ("lost", "size"), [(2, ", by 0.015 [0.013, 0.018] in the 8 pairs where neither diverged"), (7, "")]
)
def test_the_size_of_a_winner_is_of_five_pairs_or_more(folder, lost, size):
    runs = both(10)
    found = one_verdict(folder(*(diverged(run["choices"]["seed"]) for run in runs[:lost]), *runs[lost:]))
    assert said(found) == (
        f"soft is closer to retrained than hard by signed ranks (n = 10, one forget set){size}; "
        f"{lost} of 10 runs of hard diverged"
    )


@pytest.mark.parametrize("soft", [10, 6])
def test_where_most_of_both_arms_diverged_there_is_no_winner(folder, soft):
    runs = [diverged(seed) for seed in range(10)] + [diverged(seed, "soft") for seed in range(soft)]
    found = one_verdict(folder(*runs, *(result(seed, "soft") for seed in range(soft, 10))))
    assert said(found) == (
        "no verdict: most runs of both arms diverged (n = 10, one forget set); "
        f"10 of 10 runs of hard and {soft} of 10 runs of soft diverged"
    )
    assert found.paired.mean is None


def diverged_on_the_way() -> list[dict]:
    """Six pairs whose runs all diverged, three of hard and two of soft before matched forgetting."""
    runs = [result(seed, arm, status="diverged") for arm in ("hard", "soft") for seed in range(6)]
    for number in (0, 1, 2, 6, 9):
        runs[number]["matched"] = None
    return runs


def test_what_the_sentence_withholds_is_in_no_table(folder):
    place = folder(*diverged_on_the_way())
    found = one_verdict(place, where="matched")
    assert said(found) == (
        "no significant difference by signed ranks (n = 6, one forget set); "
        "3 of 6 runs of hard and 2 of 6 runs of soft diverged before matched forgetting"
    )
    shown = dict(zip(("cell", "arms", *tables.HEAD), tables.verdict_row(found), strict=True))
    assert shown["n"] == "6 (2 measured)"
    assert [shown[name] for name in ("difference", "p of equivalence", "detectable", "dz")] == 4 * ["–"]
    assert shown["p"] == "1.000"
    assert main([str(place)]) == 0
    assert "| – | n = 6 (2 measured), p 1.000 | no significant" in (place / "summary.md").read_text()
    (row,) = [
        row
        for row in csv.DictReader(io.StringIO((place / "summary.csv").read_text()))
        if (row["measure"], row["where"]) == ("js_forget", "matched")
    ]
    assert (row["n"], row["measured"]) == ("6", "2")
    assert {row[name] for name in ("mean", "sd", "low", "high", "t_p", "dz", "equivalence_p", "detectable")} == {
        ""
    }
    page = Page((place / "report.html").read_text())
    (shown,) = page.tables["JS on the forget set, at matched forgetting"][1:]
    assert shown[3:5] == ["–", "n = 6 (2 measured), p 1.000"]
    assert "dz–δ" in shown[5]  # what a click opens


def test_diverged_runs_have_one_count_and_the_status_another(folder):
    place = folder(*diverged_on_the_way())
    matched, end = (tables.verdict_row(one_verdict(place, where=where)) for where in ("matched", "end"))
    assert [cell.partition(" (")[2].partition(",")[0] for cell in matched[4:6]] == [
        "3 diverged before matched forgetting",
        "2 diverged before matched forgetting",
    ]
    assert [cell.partition(" (")[2].partition(",")[0] for cell in end[4:6]] == 2 * ["6 diverged"]
    assert all(cell.endswith(", status diverged: 6)") for cell in matched[4:6] + end[4:6])


def test_a_run_that_diverged_beside_one_without_a_value_is_in_no_pair(folder):
    """Hard diverged where soft never forgot enough: the other pairs are measured, and judged as such."""
    runs = both(7)
    runs[0] = diverged(0)
    runs[7]["matched"] = None
    found = one_verdict(folder(*runs), where="matched")
    assert (found.paired.n, found.paired.measured, found.p) == (6, 6, found.paired.t_p)
    assert re.match(
        r"soft is closer to retrained than hard, by \S+ \[.*\] \(n = 6, one forget set\); equivalent within "
        r"±0.029; 1 of 7 runs of hard diverged",
        said(found),
    )


def test_what_diverged_is_neither_equivalent_nor_the_same(folder):
    runs = [result(seed, arm) for arm in ("hard", "soft") for seed in range(10)]
    runs[0], runs[-1] = diverged(0), diverged(9, "soft")
    found = one_verdict(folder(*runs), margin=0.1)
    assert found.paired.equivalence_p is None
    assert said(found) == (
        "no significant difference by signed ranks (n = 10, one forget set); "
        "1 of 10 runs of hard and 1 of 10 runs of soft diverged"
    )


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_pairs_have_numbers_and_no_winner(folder, n):
    found = one_verdict(folder(*both(n)))
    less = f"hard less soft is {found.paired.mean:+.2g} on average"
    assert said(found) == f"no verdict below 5 pairs (n = {n}, one forget set): {less}"


def test_a_difference_that_is_the_same_in_every_pair_is_one(folder):
    runs = [result(seed, js_forget=0.03) for seed in range(6)]
    found = one_verdict(folder(*runs, *(result(seed, "soft", js_forget=0.02) for seed in range(6))))
    assert found.p == pytest.approx(2 / 2**6)
    assert said(found) == (
        "soft is closer to retrained than hard, by 0.01 (n = 6, one forget set); equivalent within ±0.031"
    )


def test_arms_that_do_worse_than_nothing_are_called_so(folder):
    runs = both(8)
    for run in runs:
        run["baseline"] = run["baseline"] | {"js_forget": 0.01}
    found = one_verdict(folder(*runs))
    assert found.words.startswith("soft does less harm than hard, by ")
    assert found.words.endswith("; both are farther from retrained than doing nothing (0.01)")


def test_a_status_speaks_for_an_arm_if_most_of_its_runs_have_it(folder):
    runs = both(10)
    runs[-1]["status"] = "degenerate"
    found = one_verdict(folder(*runs))
    assert found.words.startswith("soft is closer to retrained than hard")
    assert found.words.endswith("; 1 of 10 runs of soft had targets without a gradient (status degenerate)")


def test_runs_of_an_untrained_original_are_no_evidence_and_are_counted(folder):
    runs = both(10)
    runs[-1]["status"] = "untrained"
    found = one_verdict(folder(*runs))
    assert found.words.endswith("; 1 of 10 runs of soft had an original that learnt nothing (status untrained)")


def test_an_arm_of_untrained_originals_has_no_verdict(folder):
    runs = both(10)
    for one in runs:
        one["status"] = "untrained"
    assert one_verdict(folder(*runs)).words == (
        "no verdict: in 10 of 10 runs the original of hard learnt nothing, so there is nothing to forget "
        "(status untrained)"
    )


def test_what_was_not_measured_is_not_said_to_have_never_forgotten(folder):
    runs = both(6)
    for run in runs[:6]:
        run["distance"] = run["distance"] | {"js_test": None}
        run["matched"] = run["matched"] | {"js_test": None}
    place = folder(*runs)
    for where in ("end", "matched"):
        found = one_verdict(place, "js_test", where)
        assert (found.one.unmeasured, found.one.censored) == (6, 0)
        assert said(found) == "nothing to compare: 6 of 6 runs of hard did not measure this"


def test_predictions_that_are_not_finite_count_as_diverged(folder):
    lost = [diverged(seed, "soft") | {"status": "ok"} for seed in range(6)]
    found = one_verdict(folder(*(result(seed) for seed in range(6)), *lost))
    assert found.other.diverged == 6
    assert found.words.startswith("hard is closer to retrained than soft by signed ranks (n = 6, one forget set);")


@pytest.mark.parametrize("lost", [1, 5, 6])
def test_nothing_that_is_not_a_number_is_shown(folder, capsys, lost):
    runs = [result(seed) for seed in range(6)] + both(6)[6:]
    place = folder(
        *(diverged(run["choices"]["seed"], run["choices"]["targets"]) for run in runs[-lost:]), *runs[:-lost]
    )
    assert main([str(place)]) == 0
    texts = [capsys.readouterr().out, *((place / f"summary.{kind}").read_text() for kind in ("csv", "md", "tex"))]
    for text in texts:
        assert not re.search(r"\b(nan|inf)\b|\[\]", text)


def test_where_most_diverged_no_detectable_difference_is_made_up(folder):
    lost = [result(seed, "soft", status="diverged") for seed in range(3)]
    found = one_verdict(folder(*(result(seed) for seed in range(4)), *lost, result(3, "soft")))
    assert (found.paired.n, found.paired.detectable) == (4, None)
    assert said(found) == ("no verdict below 5 pairs (n = 4, one forget set); 3 of 4 runs of soft diverged")


def test_runs_without_trajectory_are_not_said_to_have_never_forgotten(folder):
    blind = {"matched": None, "trajectory": {name: [] for name in WAY}}
    found = one_verdict(folder(*both(3, **blind)), where="matched")
    assert [(arm.censored, arm.unwatched) for arm in found.arms] == [(0, 3), (0, 3)]
    assert said(found) == (
        "nothing to compare: 3 of 3 runs of hard and 3 of 3 runs of soft kept no trajectory "
        "(unlearn.evaluate_every=null)"
    )
    assert "– (3 without trajectory)" in tables.verdict_row(found)


def test_a_degenerate_arm_is_no_evidence(folder):
    runs = [result(seed) for seed in range(3)]
    found = one_verdict(folder(*runs, *(result(seed, "soft", status="degenerate") for seed in range(3))))
    assert said(found) == (
        "no verdict: in 3 of 3 runs the targets of soft give no gradient, so they cannot cause forgetting "
        "(status degenerate)"
    )


@pytest.mark.parametrize("size", [3, 2])
def test_a_crossed_design_has_the_crossed_analysis(folder, size):
    """And what lacks a pair of it, one mean a forget set."""
    seeds = [pair for pair in itertools.product(range(3), range(3)) if size == 3 or pair != (2, 2)]
    runs = drawn(*seeds)
    draw = np.random.default_rng(0)
    for run in runs:
        run["distance"] = run["distance"] | {"js_forget": 0.02 + 0.01 * draw.random()}
    found = one_verdict(folder(*runs)).paired
    value = {(r["choices"]["targets"], r["choices"]["forget_seed"], r["choices"]["seed"]): r for r in runs}
    table = {
        (forget, seed): value["hard", forget, seed]["distance"]["js_forget"]
        - value["soft", forget, seed]["distance"]["js_forget"]
        for seed, forget in seeds
    }
    if size == 3:
        error = crossed(np.array(list(table.values())), np.array(list(table)))
        assert (found.n, found.wilcoxon_p) == (9, None)
        assert found.t_p == pytest.approx(error.two_sided(np.mean(list(table.values()))))
    else:
        means = [np.mean([v for (forget, _), v in table.items() if forget == number]) for number in range(3)]
        assert (found.n, found.mean) == (3, pytest.approx(np.mean(means)))
        assert found.t_p == pytest.approx(stats.ttest_1samp(means, 0).pvalue)


# names and data


def drawn(*seeds: tuple[int, int]) -> list[dict]:
    """Runs of both arms, a pair for each (seed, forget seed); equal forget seeds have equal forget sets."""
    runs = []
    for (seed, forget), targets in itertools.product(seeds, ARMS):
        run = result(seed, targets, js_forget=0.02 + 0.01 * (targets == "hard"), choices={"forget_seed": forget})
        run["hashes"] = run["hashes"] | {"forget_set": f"set{forget}"}
        runs.append(run)
    return runs


def test_forget_sets_of_several_seeds_are_pairs_of_one_cell(folder):
    runs = drawn((0, 0), (1, 1), (2, 2)) + both(2, choices={"mu_algo": "npo", "unlearn": "npo"})
    found = {pairing.cell.name: pairing for pairing in pairings(read(folder(*runs)))}
    assert {name: len(one.pairs) for name, one in found.items()} == {
        "fashion_mnist mlp random gradasc": 3,
        "fashion_mnist mlp random npo": 2,
    }
    assert not any(one.refused for one in found.values())


@pytest.mark.parametrize(
    ("seeds", "kind", "words"),
    [
        ([(0, 0), (1, 0)], "one set", "n = 2, one forget set"),
        ([(0, 0), (1, 1), (2, 2)], "distinct", "n = 3, 3 forget sets"),
        ([(4, 0), (4, 1)], "one seed", "n = 2, 2 forget sets of one seed"),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], "crossed", "n = 4, 2 forget sets × 2 seeds"),
        ([(0, 0), (1, 1), (0, 2)], "mixed", "n = 3, from 3 forget sets and 2 seeds"),
        ([(0, 0), (0, 1), (1, 0)], "mixed", "n = 3, from 2 forget sets and 2 seeds"),
    ],
)
def test_a_design_says_what_its_pairs_are_of(folder, seeds, kind, words):
    (found,) = pairings(read(folder(*drawn(*seeds))))
    assert (found.design.kind, found.design.shown) == (kind, words)


def test_a_setting_that_one_arm_varies_makes_cells_for_all_arms(folder):
    def config(fraction):
        return {"forget_set": {"fraction": fraction, "classes": [3]}}

    hard = [result(seed, config=config(0.05)) for seed in range(2)]
    soft = [
        result(seed, "soft", config=config(fraction))
        for fraction, seed in itertools.product((0.05, 0.1), range(2))
    ]
    found = {pairing.cell.name.rpartition("=")[2]: pairing for pairing in pairings(read(folder(*hard, *soft)))}
    assert [(name, pairing.other, len(pairing.pairs)) for name, pairing in sorted(found.items())] == [
        ("0.05", "soft", 2),
        ("0.1", None, 2),
    ]


def test_settings_that_are_lists_make_cells(folder):
    classes = ([3], [4, {"a": 1}])
    runs = read(folder(*(result(0, config={"forget_set": {"classes": each}}) for each in classes)))
    assert [run.cell.name.partition("classes=")[2] for run in runs] == ["[3]", '[4,{"a":1}]']


def of_data(number: int, name: str = "other", samples: int = 2, **hashes) -> list[dict]:
    """Runs of both arms as of seed 10 on, whose forget set or other data are not those of `both`."""
    runs = both(10 + number)
    runs = [run for run in runs if run["choices"]["seed"] >= 10]
    for run in runs:
        run["hashes"] = run["hashes"] | {"forget_set": name}
        run["data"] = {"classes": 2, "sizes": {"forget": samples}, "hashes": run["data"]["hashes"] | hashes}
    return runs


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(2, marks=pytest.mark.long, id="one size"),
        pytest.param(3, marks=pytest.mark.slow, id="two sizes"),
    ],
)
def test_forget_sets_of_the_same_settings_are_judged_apart(tmp_path, capsys, samples):
    """A file that runs read may have changed between them."""
    together, apart = tmp_path / "together", (tmp_path / "a", tmp_path / "b")
    groups = both(10), of_data(10, samples=samples)
    for place, runs in zip(apart, groups, strict=True):
        leave(place, *runs)
    together.mkdir()
    for place in apart:
        (together / place.name).symlink_to(place)
    found, alone = (
        compare_all(read(together), None, ENDPOINTS, None),
        [compare_all(read(place), None, ENDPOINTS, None) for place in apart],
    )
    assert {one.cell.name.partition("forget_set_sha256=")[2] for one in found} == {"forget_s", "other"}
    assert sorted((one.floor, one.paired.mean, one.nothing) for one in found) == sorted(
        (one.floor, one.paired.mean, one.nothing) for several in alone for one in several
    )
    rows = [list(over_seeds(read(place))) for place in (together, *apart)]
    values = [[(one.arm, one.klom, one.klom_floor, one.ulira, one.ulira_floor) for one in row] for row in rows]
    assert sorted(values[0]) == sorted(values[1] + values[2])
    assert len(values[0]) == 6
    assert main([str(together)]) == 0
    assert "n = 20" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["train", "test"])
def test_other_training_or_test_data_are_no_pair(folder, name):
    (hard,), (soft,) = ([run for run in of_data(1, "forget_set") if run["choices"]["targets"] == t] for t in ARMS)
    soft["data"] = soft["data"] | {"hashes": soft["data"]["hashes"] | {name: "other"}}
    (found,) = pairings(read(folder(hard, soft)))
    assert (found.pairs, found.refused) == ([], [f"run0 and run1: not a pair, {name}_set differ"])


ARMS = ("hard", "soft")


def test_datasets_of_other_classes_are_judged_apart(folder):
    """A class may have been added to a folder of images."""
    three = dict.fromkeys(("original", "retrained", "unlearned"), ACCURACIES | {"class_acc": [0.1, 0.2, 0.3]})
    other = of_data(2, "forget_set", test="other", train="other")
    for run in other:
        run["metrics"], run["data"] = three, run["data"] | {"classes": 3}
    place = folder(*both(2), *other)
    assert main([str(place), "--metric", "accuracy_distance"]) == 0
    assert {run.cell.name.partition("train_set_sha256=")[2] for run in read(place)} == {"train", "other"}


def test_a_floor_is_between_models_that_saw_the_same_samples(folder):
    runs = read(folder(*both(2), *of_data(2, samples=3)))
    groups = [run for run in runs if run.seed < 10], [run for run in runs if run.seed >= 10]
    for name in ("js_forget", "avg_gap", "accuracy_distance", "disagreement_forget"):
        floors = [Floors().of(MEASURES[name], group) for group in groups]
        assert Floors().of(MEASURES[name], runs) == pytest.approx(sum(floors) / 2)
        assert Floors().of(MEASURES[name], [groups[0][0], groups[1][0]]) is None


@pytest.mark.parametrize("left", [np.full((3, 2), 0.5), np.full(2, 0.5), np.full((2, 2), "a")], ids=str)
def test_arrays_of_another_shape_or_type_are_refused(folder, capsys, left):
    place = folder(*both(2))
    for file in place.glob("*/margins.npz"):
        np.savez(file, forget_probs_retrained=left)
    assert main([str(place)]) == 2
    assert re.search(
        r"margins.npz: forget_probs_retrained is .* floats of shape \(2, 2\)", capsys.readouterr().err
    )


@pytest.mark.parametrize("seeds", [range(12), [0, 0, *range(1, 10)]])
def test_seeds_that_are_there_twice_are_no_part_of_a_comparison_over_seeds(folder, seeds):
    rows = list(over_seeds(read(folder(*map(result, seeds)))))
    assert [row.seeds for row in rows] == ([12, 12] if len(seeds) == 12 else [])


@pytest.mark.long
@pytest.mark.parametrize("value", [math.inf, math.nan, 1.0])
def test_margins_that_are_not_finite_or_do_not_vary_have_no_divergence(folder, value):
    place = folder(*map(result, range(10)))
    for file in place.glob("*/margins.npz"):
        left = dict(np.load(file))
        left["forget_unlearned"] = np.array([value, left["forget_unlearned"][1]])
        np.savez(file, **left)
    nothing, hard = over_seeds(read(place))
    assert None not in (nothing.klom, nothing.klom_floor, nothing.ulira, nothing.ulira_floor)
    assert (hard.klom, hard.ulira) == (None, None)
    assert hard.klom_floor == nothing.klom_floor
    assert "| – |" in tables.markdown(compare_all(read(place), None, ENDPOINTS, None), [], [hard], {})


MARGINS = ("original", "retrained", "unlearned")


@pytest.mark.long
def test_over_seeds_models_are_tested_against_exchanges_of_a_seeds_models(folder):
    place = folder(*map(result, range(10)))
    for file in place.glob("*/margins.npz"):
        left = dict(np.load(file))
        left["forget_unlearned"] = left["forget_retrained"] + 4.0  # a shift that no exchange hides
        np.savez(file, **left)
    verdicts, stands, over = judge_all(read(place), None, ENDPOINTS, None)
    nothing, hard = over
    margins = {model: np.stack([run.arrays(f"forget_{model}")[0] for run in read(place)]) for model in MARGINS}
    for one, model in ((nothing, "original"), (hard, "unlearned")):
        assert one.bounded.p == permuted(clipped_klom, margins[model], margins["retrained"]).p
        assert one.attack.p == permuted(ulira, margins[model], margins["retrained"]).p
    assert hard.bounded.p < 0.01 < nothing.bounded.p
    # all tests of a report are one family, those against doing nothing among them
    others = [one.paired and one.paired.p for stand in stands for face in stand.faces for one in face.against]
    nulls = [test.p for one in over for test in (one.bounded, one.attack)]
    assert hard.bounded.p_holm == pytest.approx(holm([*nulls, *others])[2])
    row = tables.markdown(verdicts, [], over, {}).split("## Over seeds")[1].splitlines()[-1].split(" | ")
    bounded = hard.bounded
    assert row[4] == f"{bounded.value:.3f} ({bounded.null:.3f}, {bounded.p_holm:.3f})"


@pytest.mark.long
def test_attacks_per_sample_are_over_the_models_of_ten_seeds(folder, capsys):
    place = folder(*map(result, range(10)))
    assert main([str(place)]) == 0
    for file in place.glob("*/margins.npz"):
        left = dict(np.load(file))
        left["forget_unlearned"] = left["forget_retrained"] + 8.0
        np.savez(file, **left)
    assert main([str(place)]) == 0
    lines = lines_of(place / "attacks.csv")
    assert [(row["arm"], row["attack"]) for row in lines] == [
        (arm, attack)
        for arm in ("doing nothing", "gradasc hard")
        for attack in ("U-LiRA", "RMIA", "RMIA, offline")
    ]
    margins = {model: np.stack([run.arrays(f"forget_{model}")[0] for run in read(place)]) for model in MARGINS}
    for row, model in ((lines[0], "original"), (lines[3], "unlearned")):
        scores = lira(margins[model].astype(float), margins["retrained"].astype(float))
        assert float(row["auc"]) == scores.auc
        assert float(row["tpr_at_01"]) == scores.tpr(0.01)
        assert row["worst"].split() == [str(at) for at in np.argsort(-scores.by_sample(), kind="stable")]
        rates = [float(rate) for rate in row["curve"].split()]
        assert rates == [scores.tpr(rate) for rate in np.logspace(-3, 0, 25)]
    assert float(lines[3]["auc"]) > 0.99
    assert float(lines[3]["p"]) < 0.01
    assert lines[1]["p"] == "", "one attack is tested"
    draws = list(exchanges(*(margins[model].astype(float) for model in ("unlearned", "retrained")), 999))
    areas, rates = zip(*((one.auc, one.tpr(0.01)) for one in (lira(*both) for both in draws)), strict=True)
    expected = [
        np.mean(areas),
        *(sorted([float(lines[3]["auc"]), *areas])[at] for at in (25, 974)),
        np.mean(rates),
    ]
    columns = ("null", "null_low", "null_high", "tpr_at_01_null")
    np.testing.assert_allclose([float(lines[3][name]) for name in columns], expected, atol=1e-12)
    assert float(lines[3]["p"]) == 2 * (1 + sum(area >= float(lines[3]["auc"]) for area in areas)) / 1000, "Holm"
    assert float(lines[3]["null_high"]) < float(lines[3]["auc"])
    both = [margins[model].astype(float) for model in ("original", "retrained")]
    without = [lira(*(np.delete(each, seed, axis=0) for each in both)) for seed in range(10)]
    for ends, whole, rest in (
        (("low", "high"), lines[0]["auc"], [one.auc for one in without]),
        (("tpr_at_01_low", "tpr_at_01_high"), lines[0]["tpr_at_01"], [one.tpr(0.01) for one in without]),
    ):
        pseudo = 10 * float(whole) - 9 * np.array(rest)
        reach = stats.t.ppf(0.975, 9) * stats.sem(pseudo)
        expected = [max(0.0, float(whole) - reach), min(1.0, float(whole) + reach)]
        assert [float(lines[0][name]) for name in ends] == pytest.approx(expected, abs=1e-12)
    assert float(lines[3]["forgetting_score"]) < float(lines[3]["forgetting_score_null"])
    assert float(lines[3]["klom"]) > float(lines[3]["klom_null"])
    page = (place / "report.html").read_text()
    assert "ROC of U-LiRA" in page
    assert can_show(10) in page


def test_nine_seeds_are_too_few_for_attacks(folder):
    runs = read(folder(*map(result, range(9))))
    assert leaks(runs) == left_out_lines(runs) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("diverged", "leave out 2 of 12 seeds (2 diverged)."),
        ("twice", "leave out 1 of 12 seeds (1 there twice)."),
        ("not finite", "leave out 1 of 12 seeds (1 with margins that are not finite)."),
        ("too many", "leave out 3 of 12 seeds (3 diverged). The others are fewer than 10, so there is no attack."),
    ],
)
def test_seeds_that_attacks_leave_out_are_named(folder, planted, said):
    lost = {"diverged": 2, "too many": 3}.get(planted, 0)
    made = [result(seed, status="diverged" if seed < lost else "ok") for seed in range(12)]
    place = folder(*made, *([result(11)] if planted == "twice" else []))
    if planted == "not finite":
        file = place / "run3/margins.npz"
        left = dict(np.load(file))
        np.savez(file, **left | {"test_unlearned": np.full_like(left["test_unlearned"], np.inf)})
    runs = read(place)
    (line,) = left_out_lines(runs)
    assert line == f"fashion_mnist mlp random, gradasc hard: attacks and other measures over seeds {said}"
    assert {leak.models for leak in leaks(runs)} == (
        {12 - int(said.split()[2])} if planted != "too many" else set()
    )
    assert line in write_report(place, place).said


@pytest.mark.long
def test_doing_nothing_is_attacked_once_for_all_algorithms(folder):
    arms = [
        result(seed, choices={"mu_algo": name, "unlearn": name})
        for seed in range(10)
        for name in ("gradasc", "npo")
    ]
    assert [leak.arm for leak in leaks(read(folder(*arms)))][::3] == ["doing nothing", "gradasc hard", "npo hard"]


@pytest.mark.long
def test_attacks_say_which_arm_loses_utility(folder):
    measured = {"unlearned": 0.02, "nothing": 0.04, "floor": 0.004}
    faces = dict.fromkeys(("js_t_forget", "disagreement_forget", "mia_gap", "js_t_test"), measured)
    arms = [
        result(
            seed,
            choices={"mu_algo": name, "unlearn": name},
            faces=faces | {"test_acc_gap": {"unlearned": gap + 1e-4 * seed, "nothing": 0.0, "floor": 0.0}},
        )
        for name, gap in (("npo", -0.05), ("scrub", 0.0))
        for seed in range(10)
    ]
    found = leaks(read(folder(*arms)))
    assert [leak.shown for leak in found][::3] == ["doing nothing", "npo hard (loses utility)", "scrub hard"]
    kept = [row["keeps_utility"] for row in csv.DictReader(io.StringIO(csv_files.attacks_csv(found)))]
    assert kept[::3] == ["", "False", "True"]


# what a folder holds


def leaves(node: dict, *way: str):
    """The places of every value that a report reads, groups too."""
    for name, value in node.items():
        yield (*way, name)
        if isinstance(value, dict) and way[:1] != ("config",) and name not in ("config", "provenance"):
            yield from leaves(value, *way, name)


OPTIONAL = {("choices", "targets_forget"), ("choices", "targets_retain")}
READ = [way for way in leaves(result()) if way != ("metrics", "original", "forget_class_acc")]
READ = [way for way in READ if way[-1] != "forget_class_acc" and way[0] != "schema" and way not in OPTIONAL]


LONG = {
    "step": [0, 5, 10, 15],
    "forget_acc": [1.0, 0.85, 0.7, 0.85],
    "unseen_acc": [0.9, 0.86, 0.6, 0.8],
    "test_acc": [0.9] * 4,
    "js_forget": [0.1, 0.06, 0.05, 0.013],
    "js_test": [0.0, 0.01, 0.02, 0.03],
    "mia_gap": [0.3, 0.2, 0.1, 0.05],
}
"""First at the level in a hot phase at step 5, which is back there at step 15 (n = 100: .85 ± .036)."""


def before(seed: int, targets: str, **changes) -> dict:
    """A result of schema 1, whose matched point is that of the first yardstick."""
    data = {"classes": 2, "sizes": {"forget": 100}, "hashes": {"train": "train", "test": "test"}}
    point = {"js_forget": 0.06, "mia_gap": 0.2, "js_test": 0.01}
    return result(seed, targets, schema=1, trajectory=LONG, matched=point, data=data) | changes


def test_matched_points_of_old_results_are_computed_anew_and_named(folder):
    stopped = {"unlearn_s": 1.5, "stopped": True}
    way = {name: column[:3] for name, column in LONG.items()}
    hard = [before(seed, "hard") for seed in range(3)]
    soft = [before(seed, "soft", cost=stopped, trajectory=way) for seed in range(3)]
    place = folder(*hard, *soft)
    runs = {run.arm: run.result["matched"] for run in read(place)}
    assert runs["hard"] == {name: column[3] for name, column in LONG.items()}
    assert runs["soft"] is None
    end, verdict = compare_all(read(place), None, ("js_forget",), None)
    assert (end.where, verdict.where) == ("end", "matched")
    assert "3 of 3 runs of soft did not stay at the retrained model's forget accuracy" in verdict.words
    anew = "have an old result, whose matched point was computed anew from its trajectory"
    assert f"3 of 3 runs of hard and 3 of 3 runs of soft {anew}" in verdict.words
    assert "3 of 3 runs of soft were ended by the first stop rule, maybe in a transient" in verdict.words


def test_an_old_result_without_a_trajectory_is_not_said_to_be_computed_anew(folder):
    unwatched = [before(seed, "soft", trajectory={name: [] for name in LONG}) for seed in range(3)]
    place = folder(*(before(seed, "hard") for seed in range(3)), *unwatched)
    words = compare_all(read(place), None, ("js_forget",), None)[1].words
    assert "3 of 3 runs of soft kept no trajectory" in words
    assert "; 3 of 3 runs of hard have an old result, whose matched point was computed anew" in words


def test_old_results_without_columns_have_none_there(folder):
    few = {name: LONG[name] for name in ("step", "forget_acc", "test_acc", "js_forget")}
    (run,) = read(folder(before(0, "hard", trajectory=few)))
    assert (run.result["matched"]["js_forget"], run.result["matched"]["mia_gap"]) == (0.013, None)
    write_json(run.folder / "result.json", before(0, "hard", trajectory={name: [] for name in few}))
    assert read(run.folder.parent)[0].result["matched"] is None


@pytest.mark.parametrize("change", ["missing", "of another type"])
def test_every_field_that_a_report_needs_is_checked_when_it_is_read(tmp_path, change):
    assert len(READ) > 70
    for number, way in enumerate(READ):
        one = json.loads(json.dumps(result()))  # no part of which is in it twice
        *above, name = way
        node = functools.reduce(lambda found, key: found[key], above, one)
        if change == "missing":
            del node[name]
        else:
            node[name] = {"x": []} if not isinstance(node[name], dict) else "x"
        write_json(tmp_path / f"{number}/result.json", one)
        with pytest.raises(BadInput, match=rf"{number}/result.json: {'.'.join(way)}: .* another version"):
            read(tmp_path / str(number))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 3}, "of another version"),
        ({"data": result()["data"] | {"classes": 3}}, "a class_acc .* data.classes=3"),
        ({"trajectory": WAY | {"js_forget": [0.1]}}, "trajectory: its columns differ in length"),
        ({"trajectory": WAY | {"js_test": [0.1]}}, "trajectory: its columns differ in length"),
        ({"trajectory": WAY | {"js_test": 0.1}}, "trajectory.js_test: input should be a valid list"),
        ({"change": [0.1]}, "change: input should be a valid dictionary"),
        ({"faces": [0.1]}, "faces: input should be a valid dictionary"),
    ],
)
def test_fields_that_contradict_each_other_are_named(folder, changes, said):
    with pytest.raises(BadInput, match=f"run0/result.json: {said}"):
        read(folder(result(**changes)))


def test_results_behind_links_are_read_once(tmp_path):
    leave(tmp_path / "elsewhere", *both(2))
    place = tmp_path / "sweep"
    place.mkdir()
    (tmp_path / "elsewhere/back").symlink_to(tmp_path)  # a loop
    (place / "linked").symlink_to(tmp_path / "elsewhere")
    (place / "twin").symlink_to(tmp_path / "elsewhere/run0")
    (place / "file").mkdir()
    (place / "file/result.json").symlink_to(tmp_path / "elsewhere/run1/result.json")
    (place / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(place)
    for folder in (place, tmp_path / "link"):
        found = read(folder)
        assert sorted((run.seed, run.arm) for run in found) == list(itertools.product(range(2), ARMS))
        assert main([str(folder)]) == 0


ARMS_PLANNED = ("hard", "soft", "uniform")
LOST = ("failed", "unfinished", "unbegun", "set_aside")


def failed(place, message: str) -> None:
    write_json(place / "error.json", {"error": "ValueError", "message": message, "traceback": "…"})


def test_runs_without_a_result_are_shown_everywhere(folder, capsys):
    place = folder(*both(5))
    failed(place / "lost", "no <b>luck</b>")
    write_text(place / "ended/run.log", "…")
    write_text(place / "broken/error.json", "{")
    write_json(place / "warmed/train.json", {})
    write_text(place / "warmed/run.log", "…")
    failed(place / "run0", "of an earlier call")
    assert main([str(place)]) == 0
    said = capsys.readouterr().out
    reasons = (
        "broken: it failed, and its error.json cannot be read",
        "ended: it is running, or its process was killed",
    )
    page = Page((place / "report.html").read_text()).text
    assert "with a result: 10, without: 3" in said
    for reason in (*reasons, "lost: ValueError: no <b>luck</b>"):
        assert reason in " ".join(said.split())
        assert reason.replace("<", "&lt;") in (place / "summary.md").read_text()
        assert reason in page
    assert "Runs without a result (3)" in page


def planned_sweep(folder) -> Path:
    """A sweep of three arms and five seeds that was ended: soft lacks runs, and of uniform none finished."""
    place = folder(*both(5))
    for seed in (3, 4):
        shutil.rmtree(place / f"run{5 + seed}")  # of soft
    words = {name: [f"targets={arm}", f"seed={seed}", "a=1"] for name, arm, seed in PLANNED}
    write_plan(place, words)
    write_plan(place, words)  # the same call again
    write_plan(place, dict(list(words.items())[:3]))  # a smaller call adds nothing
    failed(place / "run8", "no luck")
    (place / "run9/.hydra").mkdir(parents=True)  # as a sweep leaves it for a run that waits
    write_text(place / "run10/run.log", "…")
    failed(place / "run11", "no luck")
    return place


PLANNED = [(f"run{5 * at + seed}", arm, seed) for at, arm in enumerate(ARMS_PLANNED) for seed in range(5)]


def test_a_plan_says_what_is_missing_in_all_and_for_each_arm(folder, capsys):
    place = planned_sweep(folder)
    assert main([str(place)]) == 0
    page, text = Page((place / "report.html").read_text()), (place / "summary.md").read_text()
    counts = "15 runs planned, 8 finished, 2 failed, 1 still running or killed, 4 never began, 0 diverged"
    assert f"Trust: {counts}" in page.text
    assert f"Trust: {counts}" in text
    out = " ".join(capsys.readouterr().out.split())
    assert "with a result: 8, without: 7" in out
    rows = {row[1].split(" ")[-1]: row[5] for row in page.arms() if len(row) == 6}
    assert "5 runs planned, 5 finished, 0 failed, 0 diverged" in rows["hard"]
    assert "5 runs planned, 3 finished, 1 failed, 1 never began, 0 diverged" in rows["soft"]
    lost = "targets=uniform: 5 runs planned, 0 finished, 1 failed, 1 still running or killed, 3 never began"
    why = "; the first: ValueError: no luck"
    assert f"no run finished of {lost}{why}" in out
    assert rows["targets=uniform"] == lost.partition(": ")[2] + why
    assert "Arms of which no run finished" in [row[0] for row in page.arms()], "they have a part of the table"
    for shown in (page.text, text):
        assert lost in shown
        assert all(f"run{number}: planned, and never began" in shown for number in (9, 12, 13, 14))
    arms = {row["arm"]: row for row in lines_of(place / "arms.csv")}
    assert [[arms[arm][name] for name in LOST] for arm in ("hard", "soft")] == [
        ["0", "0", "0", "0"],
        ["1", "0", "1", "0"],
    ]


def test_without_a_plan_no_run_is_said_to_be_missing(folder):
    place = planned_sweep(folder)
    shutil.rmtree(place / ".plans")
    assert main([str(place)]) == 0
    page = Page((place / "report.html").read_text()).text
    assert "Trust: 12 runs began, 8 finished, 2 failed, 1 still running or killed, 1 never began" in page
    assert {row[name] for row in lines_of(place / "arms.csv") for name in LOST} == {""}


@pytest.mark.parametrize("content", ["{", '{"arms": [], "cells": {}}'])
def test_a_plan_that_cannot_be_read_is_named(folder, capsys, content):
    place = planned_sweep(folder)
    for file in place.glob(".plans/*.json"):
        write_text(file, content)
    assert main([str(place)]) == 0
    assert ".plans: the plan cannot be read (" in capsys.readouterr().out
    assert "Trust: 12 runs began" in (place / "summary.md").read_text()


def test_many_runs_without_a_result_are_counted_on_screen_and_listed_in_the_summary(folder, capsys):
    place = folder(*both(5))
    for number in range(9):
        failed(place / f"lost{number}", "no luck")
    assert main([str(place)]) == 0
    assert "with a result: 10, without: 9" in (said := capsys.readouterr().out)
    assert (said.count("no luck"), "4 more, named in summary.md" in said) == (5, True)
    assert (place / "summary.md").read_text().count("no luck") == 9


def test_a_folder_that_cannot_be_read_is_named(folder, capsys, monkeypatch):
    place = folder(*both(2))
    (place / "lost+found").mkdir()
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert main([str(place)]) == 0
    assert "lost+found: the folder cannot be read (Permission denied)" in capsys.readouterr().out


def test_a_file_in_place_of_a_folder_of_runs_is_called_so(folder, capsys):
    assert main([str(folder(result()) / "run0/result.json")]) == 2
    assert re.fullmatch(r"softtargets.report: \S+/result.json: no folder; .*\n", capsys.readouterr().err)


def test_where_every_run_failed_all_are_named_everywhere(tmp_path, capsys):
    for number in range(7):
        failed(tmp_path / f"lost{number}", f"no luck {number}")
    assert main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("No run finished: there is nothing to compare.\nwith a result: 0, without: 7\n")
    reasons = [f"lost{number}: ValueError: no luck {number}" for number in range(7)]
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("No run finished: there is nothing to compare.\n")
    assert [line.removeprefix("- ") for line in text.splitlines() if line.startswith("- ")] == reasons
    page = Page((tmp_path / "report.html").read_text()).text
    assert "No run finished: there is nothing to compare." in page
    assert not [reason for reason in reasons if reason not in page]
    with pytest.raises(BadInput, match="of 7 without a result the first is lost0: ValueError: no luck 0"):
        read(tmp_path)


@pytest.mark.parametrize("left", [None, "train.json"])
def test_a_folder_without_any_result_or_failure_is_refused(tmp_path, capsys, left):
    if left:
        write_json(tmp_path / "warmed" / left, {})
    before = sorted(tmp_path.rglob("*"))
    assert main([str(tmp_path)]) == 2
    said = f"{tmp_path}: no result of a run below it; give a folder which holds result.json files"
    assert capsys.readouterr().err == f"softtargets.report: {said}\n"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_not_there_is_no_run(tmp_path, capsys):
    gone = tmp_path / "gone"
    assert main([str(gone), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr() == ("", f"softtargets.report: {gone}: no such folder\n")
    with pytest.raises(BadInput, match=f"^{re.escape(str(gone))}: no such folder$"):
        read(gone)
    assert not list(tmp_path.iterdir())


def unwritable(place, kind):
    """A folder to which nothing can be written."""
    if kind == "a file":
        write_text(place / "out", "")
    if kind == "below a file":
        write_text(place / "file", "")
        return place / "file/out"
    if kind == "a link to nothing":
        (place / "out").symlink_to(place / "nowhere/at/all")
    if kind == "a folder in a file's place":
        (place / "out/summary.md").mkdir(parents=True)
    if kind == "no folder of ours":
        return Path("/proc/none/of/ours")
    if kind == "a long name":
        return place / (300 * "n")
    return place / "out"


@pytest.mark.parametrize(
    "kind",
    [
        "a file",
        "below a file",
        "a link to nothing",
        "a folder in a file's place",
        "no folder of ours",
        "a long name",
    ],
)
def test_where_nothing_can_be_written_is_one_sentence(folder, capsys, tmp_path_factory, kind):
    place, out = folder(*both(2)), unwritable(tmp_path_factory.mktemp("other"), kind)
    assert main([str(place), "--out", str(out)]) == 2
    said, err = capsys.readouterr()
    assert not said
    assert re.fullmatch(rf"softtargets.report: --out={re.escape(str(out))}: .+\n", err)


@pytest.mark.parametrize("kind", ["a file", "below a file", "a long name"])
def test_a_place_that_is_wrong_is_named_before_anything_is_read(folder, capsys, tmp_path_factory, kind):
    place, out = folder(result()), unwritable(tmp_path_factory.mktemp("other"), kind)
    write_text(place / "run0/result.json", "{")
    assert main([str(place), "--out", str(out)]) == 2
    assert "--out=" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else_asks_for_another_place(folder, capsys):
    place = folder(*both(2))
    place.chmod(0o500)
    assert main([str(place)]) == 2
    assert re.match(
        "softtargets.report: without --out, RUNS_DIR=.*: cannot be written to", capsys.readouterr().err
    )
    place.chmod(0o700)


# tables and the command


def test_a_setting_that_is_null_is_told_from_one_that_is_not_there(folder):
    sizes = [
        result(seed, arm, js_forget=0.03 + 0.001 * seed, config={"dataset": {"train_size": size}})
        for seed, arm, size in itertools.product(range(3), ("hard", "soft"), (None, 6000))
    ]
    alone = both(3, choices={"mu_algo": "npo", "unlearn": "npo"})
    verdicts = compare_all(read(folder(*sizes, *alone)), None, ("js_forget",), None)
    rows = csv.DictReader(io.StringIO(tables.comma_separated(verdicts)))
    assert {(row["mu_algo"], row["dataset.train_size"]) for row in rows} == {
        ("gradasc", "null"),
        ("gradasc", "6000"),
        ("npo", ""),
    }
    assert "dataset.train_size=null" in tables.markdown(verdicts, [], [], {})


def test_an_arm_that_is_alone_has_its_numbers_and_no_comparison(folder):
    control = [
        result(seed, js_forget=0.02 + 0.01 * seed, choices={"mu_algo": "rmu", "unlearn": "rmu"})
        for seed in range(3)
    ]
    place = folder(*both(3), *control)
    verdicts = compare_all(read(place), None, ("js_forget",), None)
    alone = [verdict for verdict in verdicts if verdict.where == "end" and verdict.other is None]
    (found,) = alone
    assert (found.one.name, found.one.mean, found.paired, found.p) == ("hard", pytest.approx(0.03), None, None)
    assert said(found) == "nothing to compare: only one kind of targets has results here"
    pair = next(v for v in verdicts if v.where == "end" and v.other)
    together = judged(
        [dataclasses.replace(one, words="") for one in verdicts if one.other], standings(read(place))
    )
    assert pair.p == next(v.p for v in together[0] if v.where == "end")  # what is not compared is no hypothesis
    shown = [line for line in tables.markdown(verdicts, [], [], {}).splitlines() if "rmu | hard |" in line]
    assert [line.count("|") for line in shown] == [7, 7]
    assert "| 0.0300 ± 0.0100 / – | – | – | nothing to compare: " in shown[0]
    lone = [
        row for row in csv.DictReader(io.StringIO(tables.comma_separated(verdicts))) if row["mu_algo"] == "rmu"
    ]
    assert [(row["other"], row["where"]) for row in lone] == [("", "end"), ("", "matched")]
    assert float(lone[0]["one_mean"]) == pytest.approx(0.03)


@pytest.mark.parametrize("runs", [1, 3])
def test_a_folder_of_one_arm_has_a_report_that_says_so(folder, capsys, runs):
    place = folder(*(result(seed) for seed in range(runs)))
    assert main([str(place)]) == 0
    screen = capsys.readouterr().out
    assert screen.count("nothing to compare") == 1  # no row for each arm: where arms stand is in the table above
    assert "nothing to compare: no cell has results of two kinds of targets, only hard" in screen
    text = (place / "summary.md").read_text()
    assert "| – | nothing to compare: only one kind of targets has results here |" in text
    (row,) = Page((place / "report.html").read_text()).arms()
    assert row[5].startswith(f"no verdict below 5 pairs (n = {runs}, ")


def test_tables_hold_every_verdict(folder):
    verdicts = compare_all(read(folder(*both(5))), None, ENDPOINTS, None)
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated(verdicts))))
    # results of an older version lack the first face
    assert [(row["measure"], row["where"]) for row in rows] == [
        *((name, "end") for name in ENDPOINTS[1:]),
        ("js_forget", "matched"),
    ]
    assert float(rows[1]["mean"]) == verdicts[1].paired.mean
    assert rows[1]["verdict"] == verdicts[1].words
    text = tables.markdown(verdicts, [], [], {})
    assert text.count("| fashion_mnist mlp random gradasc | hard, soft |") == 4
    assert {line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")} == {7}


# rows for other programs


def lines_of(file: Path) -> list[dict]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_runs_csv_holds_the_rows_of_results_to_the_last_bit(folder, capsys):
    odd = result(7, "soft", js_forget=1 / 3, choices={"dataset": "=mine, 'theirs'"}, cost={"unlearn_s": 0.1 + 0.2})
    place = folder(*both(2), odd, diverged(3))
    assert main([str(place)]) == 0
    table, wanted = lines_of(place / "runs.csv"), softtargets.results(place)
    assert len(table) == len(wanted) == 6
    assert list(table[0]) == list(wanted)
    for name in wanted:
        for row, value in zip(table, wanted[name], strict=True):
            if isinstance(value, str):
                assert row[name].removeprefix("'") == value
            else:
                assert row[name] == "" if pandas.isna(value) else float(row[name]) == value
    assert [row["dataset"] for row in table if row["seed"] == "7"] == ["'=mine, 'theirs'"]


def test_arms_csv_holds_means_by_hand(folder, capsys):
    hard, soft = (0.03, 0.031, 0.032, 0.033, 0.035), (0.02, 0.021, 0.0225, 0.023, 0.024)
    runs = [
        result(seed, arm, js_forget=value)
        for arm, column in (("hard", hard), ("soft", soft))
        for seed, value in enumerate(column)
    ]
    place = folder(*runs, result(5, js_forget=0.05), diverged(6))
    assert main([str(place)]) == 0
    rows = {(row["measure"], row["where"], row["arm"]): row for row in lines_of(place / "arms.csv")}
    assert len(rows) == 2 * 2 * 2
    first, second = rows["js_forget", "end", "hard"], rows["js_forget", "end", "soft"]
    every = (*hard, 0.05)
    assert (first["n"], first["runs"], first["diverged"], first["statuses"]) == ("6", "7", "1", "diverged 1")
    assert float(first["mean"]) == pytest.approx(sum(every) / 6)
    assert float(first["mean_with_diverged"]) == pytest.approx((sum(every) + math.log(2)) / 7)
    assert float(first["sd"]) == pytest.approx(np.std(every, ddof=1))
    assert (first["against"], first["verdict"]) == ("", "")  # the arm that the others are compared with
    peer = stats.ttest_1samp(soft, 0).confidence_interval()
    assert (float(second["low"]), float(second["high"])) == pytest.approx((peer.low, peer.high))
    gap = np.subtract(hard, soft)
    assert (second["against"], second["pairs"]) == ("hard", "5")
    assert float(second["difference"]) == pytest.approx(gap.mean())
    verdict = next(
        one
        for one in compare_all(read(place), None, ENDPOINTS, None)
        if (one.measure.name, one.where) == ("js_forget", "end")
    )
    assert float(second["p"]) == verdict.p > verdict.paired.t_p == pytest.approx(stats.ttest_1samp(gap, 0).pvalue)
    assert second["verdict"] in (place / "summary.md").read_text()
    assert float(rows["js_forget", "matched", "soft"]["mean"]) == pytest.approx(sum(soft) / 5 / 2)
    floor, nothing = float(second["floor"]), float(second["nothing"])
    assert float(second["floor_corrected"]) == pytest.approx((sum(soft) / 5 - floor) / (nothing - floor))


def test_costs_are_means_over_runs_and_spread_over_requests(folder, capsys):
    spent = {"unlearn_s": 1.0, "share_seconds": 0.02}
    hard = [
        result(seed, cost=spent | {"share": share, "prepared_share": 0.0})
        for seed, share in ((0, 0.04), (1, 0.05))
    ]
    soft = [result(seed, "soft", cost=spent | {"share": 0.03, "prepared_share": 4.0}) for seed in (0, 1)]
    # teachers of several requests are trained for each
    costs = spent | {"share": 0.03, "prepared_share": 4.0}
    anew = [of_requests(seed, (0.1, 0.2, None, 0.05)) | {"cost": costs} for seed in (0, 1)]
    for one in anew:
        one["choices"] |= {"targets": "teacher", "targets_forget": "teacher"}
    place = folder(*hard, *soft, *anew)
    assert main([str(place)]) == 0
    lines = (place / "summary.md").read_text().partition("## Cost")[2].splitlines()
    cells = {line.split(" | ")[1]: line.strip("| ").split(" | ")[2:] for line in lines if " | 2 | " in line}
    assert cells["hard"] == ["2", "0.045 (0.020)", "0.000", "–, –, –"]
    assert cells["soft"] == ["2", "0.030 (0.020)", "4.000", "4.030, 0.430, 0.070"]
    assert cells["teacher"] == ["2", "0.030 (0.020)", "4.000", "4.030, 4.030, 4.030"]
    arms = {row["arm"]: row for row in lines_of(place / "arms.csv")}
    assert [arms["soft"][f"cost_{name}"] for name in ("share", "share_seconds", "prepared_share")] == [
        "0.03",
        "0.02",
        "4.0",
    ]


def test_results_from_before_costs_were_counted_have_no_table_of_them(folder, capsys):
    place = folder(*both(2))
    assert main([str(place)]) == 0
    assert "## Cost" not in (place / "summary.md").read_text()


@pytest.mark.parametrize(
    ("costs", "requests"),
    [
        ((0.04, 0.06, 0.0), 1),
        ((1.0, 0.06, 0.0), None),
        ((0.04, 1.2, 0.0), None),  # small batches: few samples, many seconds
        ((0.04, None, 0.0), None),
        ((0.2, 0.5, 4.5), 10),  # .5 + 4.5 / 9 is retraining itself
        ((0.2, 0.04, 4.0), 6),
        ((0.2, 0.04, None), 1),
    ],
)
def test_cheaper_is_what_both_currencies_say_from_a_number_of_requests_on(costs, requests):
    assert cheaper_from(*costs) == requests
    if requests:
        share, seconds, prepared = costs
        assert max(share, seconds) + (prepared or 0) / requests < 1
        assert requests == 1 or max(share, seconds) + (prepared or 0) / (requests - 1) >= 1


def test_pairs_csv_holds_both_values_and_their_difference(folder, capsys):
    place = folder(*both(3), diverged(3), result(3, "soft"), result(4))  # seed 4 is in one arm alone
    assert main([str(place), "--metric", "js_forget"]) == 0
    rows = [row for row in lines_of(place / "pairs.csv") if row["where"] == "end"]
    assert [row["seed"] for row in rows] == ["0", "1", "2", "3"]
    for seed, row in enumerate(rows[:3]):
        assert (row["one"], row["other"], row["measure"]) == ("hard", "soft", "js_forget")
        assert (float(row["value_one"]), float(row["value_other"])) == (0.03 + 0.001 * seed, 0.02)
        assert float(row["difference"]) == 0.03 + 0.001 * seed - 0.02
        assert json.loads((Path(row["folder_one"]) / "result.json").read_text())["choices"]["targets"] == "hard"
    assert (rows[3]["value_one"], rows[3]["difference"]) == ("inf", "")


def test_one_run_one_arm_and_no_run_have_these_files_too(folder, tmp_path, capsys):
    place = folder(result(0), result(1))
    (tmp_path / "lost").mkdir()
    failed(tmp_path / "lost", "no luck")
    for where, runs in ((place / "run0", 1), (place, 2), (tmp_path / "lost", 0)):
        assert main([str(where), "--out", str(tmp_path / "out")]) == 0
        files = {name: lines_of(tmp_path / f"out/{name}.csv") for name in ("runs", "arms", "pairs")}
        assert [len(files["runs"]), len(files["pairs"])] == [runs, 0]
        assert [row["n"] for row in files["arms"]] == 4 * [str(runs)] * bool(runs)
        assert all(row["verdict"].startswith("nothing to compare") for row in files["arms"])
        assert (tmp_path / "out/runs.csv").read_text().startswith("dataset,architecture,")


def test_every_column_is_documented():
    text = (ROOT / "docs/tables.md").read_text()
    assert [
        name
        for name in (*csv_files.RUNS, *csv_files.ARMS, *csv_files.PAIRS, *csv_files.STANDING, *csv_files.CONTRASTS)
        if f"`{name}`" not in text
    ] == []


def test_the_command_reports_on_real_runs(run, tmp_path, capsys):
    for targets, seed in itertools.product(("hard", "soft"), range(2)):
        _, place = run(*SMALL, "mu_algo=graddiff", f"targets={targets}", f"seed={seed}")
    assert main([str(place.parent), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "mnist_5k mlp random" in said
    assert " ".join(said.split()).count("no verdict below 5 pairs (n = 2, one forget set): hard less soft") == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "summary.csv",
        "summary.md",
        "standing.csv",
        "summary.tex",
        "runs.csv",
        "arms.csv",
        "pairs.csv",
        "contrasts.csv",
        "attacks.csv",
        "report.html",
    }
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/summary.csv").read_text())))
    assert all(0 < float(row["floor"]) < float(row["nothing"]) for row in rows if row["measure"] == "js_forget")


@pytest.mark.long
def test_the_benchmark_lays_results_that_reports_read(tmp_path, capsys):
    assert reading.lay(tmp_path, 45, *SMALL) == 45
    assert main([str(tmp_path)]) == 0
    assert len(read(tmp_path)) == 45
    assert "mnist" not in (said := capsys.readouterr().out.partition("report:")[0])
    assert re.search("dataset0 mlp random( gradasc)? +hard, soft", said)  # which may be in the next line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--compare", "targets=hard"], "--compare targets=hard: must be SETTING=A,B"),
        (["--compare", "targets=hard,hard"], "--compare targets=hard,hard: both values are hard; give two"),
        (["--compare", "nosuch=1,2"], "no run has this setting; the only one that differs is targets$"),
        *(
            (["--compare", f"{name}=0,1"], f"--compare {name}=0,1: {name} makes the pairs; compare any other")
            for name in ("seed", "dataset.seed", "forget_set.seed")
        ),
        *(
            ([f"--margin={value}"], f": --margin={value}: must be a finite number above zero, such as ")
            for value in ("-1", "0", "nan", "inf", "-inf", "wide", "", "0,1")
        ),
        (["--metric", "svc_accuracy"], "--metric svc_accuracy: no run measured it"),
        (["--compare", "targets=hard,gone"], "targets=hard,gone: no cell has both; .* hard, soft"),
    ],
)
def test_bad_input_is_one_sentence(folder, capsys, words, said):
    place = folder(*both(2))
    assert main([str(place), *words]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) == 1
    assert re.search(said, err)
    assert not list(place.glob("summary.*"))


# arms that were tuned on what is judged

SEEN = {"dataset": "fashion_mnist", "images": 5700, "seeds": [1, 1000], "forget_sets": [1000]}
SEEN |= {"classes": [3], "fixed": None, "test_images": 0}
USED = {"classes": 2, "sizes": {"forget": 2, "train": 5700}, "hashes": {"train": "train", "test": "test"}}
WHO = "fashion_mnist mlp random gradasc, hard: "


def notes_of(place: Path, *seeds: int, forget_seed: int = 0, seen: dict | None = None, **changes) -> list[str]:
    """What a report says of the tuning of one arm, beside an arm of which nothing is known."""
    draw = {"forget_seed": forget_seed}
    hard = [result(seed, choices=draw, tuned_on=SEEN | (seen or {}), data=USED, **changes) for seed in seeds]
    soft = [result(seed, "soft", choices=draw) for seed in seeds]
    return tuning_notes(read(leave(place / str(len(list(place.iterdir()))), *hard, *soft)))


def test_a_report_names_arms_that_were_tuned_on_what_judges_them(tmp_path):
    assert notes_of(tmp_path, 2, 3) == []
    assert notes_of(tmp_path, 1, 2) == [f"{WHO}tuned on the seed of 1 of 2 runs"]
    config = {"config": {"forget_set": {"classes": [3, 4], "seed": 0}}}
    assert notes_of(tmp_path, 2, 3, **config) == [f"{WHO}tuned on the class of 2 of 2 runs"]
    # a forget set that no seed draws is known by its content
    fixed = {"fixed": fixed_hash({"path": "sha256:ab"})}
    assert notes_of(tmp_path, 2, seen=fixed, config={"forget_set": {"path": "sha256:cd", "seed": 7}}) == []
    assert notes_of(tmp_path, 2, seen=fixed, config={"forget_set": {"path": "sha256:ab", "seed": 7}}) == [
        f"{WHO}tuned on the forget set of this run"
    ]
    assert notes_of(tmp_path, 2, seen={"test_images": 9}) == [f"{WHO}tuned on test images of this run"]
    assert notes_of(tmp_path, 2, forget_seed=1000) == [
        f"{WHO}tuned on the forget set of this run",
        "seeds from 1000 on, which are for tuning and not for a study: 2 of 2 runs",
    ]


def test_a_report_names_arms_that_were_tuned_on_other_data(tmp_path):
    other = "and are used with 5,700 of fashion_mnist"
    assert notes_of(tmp_path, 1, seen={"dataset": "mnist"}) == [
        f"{WHO}settings were tuned on 5,700 images of mnist, {other}"
    ]
    assert notes_of(tmp_path, 2, 3, seen={"images": 57_000}) == [
        f"{WHO}settings were tuned on 57,000 images of fashion_mnist, {other}"
    ]


def test_a_report_names_arms_that_were_searched_with_other_tries_objective_or_start(tmp_path):
    seen = {"seeds": [1000], "trials": 60, "objective": "retrained", "start": "nothing"}
    searched = {
        "hard": seen,
        "soft": seen | {"trials": 1, "objective": "utility", "start": "tables"},
        "delete": seen,
        "uniform": {"seeds": [1000], "trials": 60},  # of an older search the objective is not known
        "oracle": {"seeds": [1000]},
    }
    runs = [result(2, name, tuned_on=SEEN | more, data=USED) for name, more in searched.items()]
    setting, other = "fashion_mnist mlp random", result(2, "soft_retain", tuned_on=SEEN | seen, data=USED)
    other["choices"] |= {"mu_algo": "graddiff", "unlearn": "graddiff"}
    assert tuning_notes(read(leave(tmp_path / "one", *runs, other))) == [
        f"{setting}: arms were searched with different numbers of tries: 1 (gradasc soft), 60 (4 arms)",
        f"{setting}: arms were searched by different objectives: "
        "retrained (gradasc delete, gradasc hard, graddiff soft_retain), utility (gradasc soft)",
        f"{setting}: arms were searched from different starts: "
        "nothing (gradasc delete, gradasc hard, graddiff soft_retain), tables (gradasc soft)",
    ]
    alike = [run for run in runs if run["choices"]["targets"] != "soft"]
    assert tuning_notes(read(leave(tmp_path / "two", *alike))) == []
    # arms of two costs are not compared
    other = result(2, "soft", tuned_on=SEEN | searched["soft"], data=USED, config={"unlearn": {"cost": 0.1}})
    assert tuning_notes(read(leave(tmp_path / "three", *alike, other))) == []


def test_what_was_tuned_on_is_on_screen_in_the_tables_and_on_the_page(folder, capsys):
    place = folder(*[result(seed, tuned_on=SEEN, data=USED) for seed in (1, 2)])
    assert main([str(place)]) == 0
    said = f"{WHO}tuned on the seed of 1 of 2 runs"
    assert said in capsys.readouterr().out.splitlines()
    assert f"Tuned on what is judged here:\n\n- {said}\n" in (place / "summary.md").read_text()
    assert f"<li>{said}</li>" in (place / "report.html").read_text()


def of_requests(seed: int, *drifts: tuple[float, float, float | None, float]) -> dict:
    """A run with a request for each drift: of the unlearned model, of nothing, on earlier ones; and its cost."""
    names = ("js_unlearned", "js_nothing", "js_earlier")
    requests = [{"drift": dict(zip(names, one[:3], strict=True)), "cost": {"share": one[3]}} for one in drifts]
    return result(seed=seed, requests=requests)


def test_requests_are_means_over_runs_by_hand(folder):
    one = of_requests(0, (0.1, 0.2, None, 0.05), (0.2, 0.3, 0.4, 0.1))
    other = of_requests(1, (0.3, 0.2, None, 0.05), (0.3, 0.3, 0.2, 0.2))
    (line,) = request_lines(read(folder(one, other, result(seed=2))))
    assert line.endswith(
        "hard (n = 2): after each of 2 requests the mean raw JS on all forgotten so far is 0.200, 0.250 nats "
        "(doing nothing: 0.200, 0.300), on earlier requests alone –, 0.300. Each costs 0.050, 0.150 of its own "
        "retraining"
    )


@pytest.mark.parametrize(("apart", "broken"), [(0.0, False), (5.0, True)])
def test_a_promise_is_broken_where_an_attack_shows_more(tmp_path, apart, broken):
    # claims ε = 0.5: right where both are of one law, wrong where the noise was left out
    promise = {"promise": {"epsilon": 0.5, "delta": 1e-5}}
    leave(tmp_path, *(result(seed, **promise) for seed in range(20)))
    draw = np.random.default_rng(0)
    for file in tmp_path.glob("*/margins.npz"):
        arrays = dict(np.load(file)) | {"forget_twin": draw.normal(size=2)}
        np.savez(file, **arrays | {"forget_unlearned": draw.normal(size=2) + apart})
    (audit,) = audits(read(tmp_path))
    assert (audit.models, audit.is_broken) == (20, broken)
    assert audit.shown <= audit.most
    assert (audit.shown > 1) is broken
    assert audit_lines(read(tmp_path))[0].count("broken" if broken else "not refuted") == 1


@pytest.mark.parametrize(("epsilon", "verdict"), [(1.5, "not refuted"), (1.7, "not tested by so few models")])
def test_a_promise_that_so_few_models_cannot_refute_is_called_untested(tmp_path, epsilon, verdict):
    # 20 models a side show 1.6 at most
    leave(tmp_path, *(result(seed, promise={"epsilon": epsilon, "delta": 1e-5}) for seed in range(20)))
    draw = np.random.default_rng(0)
    for file in tmp_path.glob("*/margins.npz"):
        np.savez(
            file,
            **dict(np.load(file)) | {name: draw.normal(size=2) for name in ("forget_unlearned", "forget_twin")},
        )
    (line,) = audit_lines(read(tmp_path))
    assert f" {verdict}: " in line


def test_an_ensemble_is_no_pair_of_a_network_and_its_price_is_said(tmp_path):
    own = {"original": "e0", "retrained": "e1", "forget_set": "forget_set", "batches": "batches0"}
    accuracy = dict.fromkeys(("original", "retrained", "unlearned"), ACCURACIES | {"test_acc": 0.75})
    more = {"hashes": own, "metrics": accuracy, "cost": {"unlearn_s": 1.0, "share": 0.4}}
    leave(
        tmp_path,
        result(choices={"mu_algo": "sisa"}, ensemble={"shards": 5, "touched": 2}, **more),
        result(),
        result(1),
    )
    sisa, plain = (
        next(run for run in read(tmp_path) if run.result["choices"]["mu_algo"] == name)
        for name in ("sisa", "gradasc")
    )
    pairing = pair_runs(plain.cell, ("sisa", "gradasc"), [sisa], [plain], SHARED_MODELS)
    assert pairing.pairs == []
    assert "its own retraining, so compare the shares of the way left" in pairing.refused[0]
    (line,) = ensemble_lines(read(tmp_path))
    assert "lie in 2 of 5 shards. Training the networks of these anew costs 0.40 of retraining." in line
    assert "accuracy is 0.750 before the request, that of one network on the same data 0.850 (n = 1)" in line
