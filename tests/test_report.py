"""From results on disk to verdicts: statistics against known values, pairs, refusals, words, tables."""

import csv
import io
import itertools
import math
import re

import numpy as np
import pytest
import torch
from conftest import SMALL
from results_by_hand import ACCURACIES, WAY, both, made, result
from scipy import stats

from softtargets import metrics
from softtargets.disk import write_json, write_text
from softtargets.errors import BadInput
from softtargets.report import alike, tables
from softtargets.report.__main__ import main
from softtargets.report.measures import MEASURES, Floors, js
from softtargets.report.pairs import pairings
from softtargets.report.runs import read
from softtargets.report.statistics import compare, detectable, equivalence, holm, interval, power, signed_rank
from softtargets.report.summary import ENDPOINTS, judged
from softtargets.report.verdicts import judge

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


def test_the_interval_of_many_normal_values_is_that_of_theory():
    sample = np.random.default_rng(0).normal(1.0, 2.0, size=500)
    half = 1.96 * sample.std(ddof=1) / math.sqrt(500)
    assert interval(sample) == pytest.approx((sample.mean() - half, sample.mean() + half), abs=0.05 * half)
    assert interval(sample) == interval(sample)


def test_the_interval_of_skewed_values_leans_to_their_tail():
    sample = np.random.default_rng(0).exponential(size=30)
    low, high = interval(sample)
    assert high - sample.mean() > 1.1 * (sample.mean() - low)


@pytest.mark.parametrize(
    ("n", "level", "dz"), [(30, 0.05, 0.53), (30, 0.05 / 24, 0.78), (34, 0.05, 0.495), (10, 0.05, 1.0)]
)
def test_the_least_detectable_effect_is_that_of_power_tables(n, level, dz):
    assert detectable(n, level) == pytest.approx(dz, abs=0.005)
    assert power(n, detectable(n, level), level) == pytest.approx(0.8)


def test_power_is_the_share_of_significant_studies():
    generator = np.random.default_rng(0)
    studies = generator.normal(0.8, 1.0, size=(4000, 12))
    share = (stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05).mean()
    assert power(12, 0.8) == pytest.approx(share, abs=3 * math.sqrt(share * (1 - share) / 4000))


def test_equivalence_by_hand():
    difference = values(0.1, 0.2, 0.3)  # mean .2, sd .1
    t = (1 - 0.2) / (0.1 / math.sqrt(3))
    assert equivalence(difference, 1.0) == pytest.approx(stats.t.sf(t, 2))
    assert equivalence(difference, 0.1) > 0.5
    assert compare(values(1, 1), values(1, 1), 0.1).equivalence_p == 0
    assert compare(values(2, 2), values(1, 1), 0.1).equivalence_p == 1


def test_holm_by_hand():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.7]) == [1, 1]


def test_an_arm_that_diverged_has_lost():
    one, other = values(1, 1, 1, math.inf, math.inf), values(2, 2, 3, 2, math.inf)
    found = compare(one, other, 0.1)
    assert found.n == 5
    assert found.cliff == pytest.approx((1 - 3) / 5)
    assert found.mean == pytest.approx(-4 / 3)  # of the pairs in which neither did
    worse = compare(values(1, 1, 1, 1, math.inf), values(2, 2, 2, 2, 9), 0.1)
    assert worse.wilcoxon_p > compare(values(1, 1, 1, 1, 9), values(2, 2, 2, 2, 10), 0.1).wilcoxon_p


# runs, made by hand


def one_verdict(place, measure="js_forget", where="end", margin=None, wanted=None):
    (found,) = judge(pairings(read(place), wanted), MEASURES[measure], where, margin, Floors())
    return found


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


def test_a_side_that_is_not_the_presets_own_is_in_the_arms_name(folder):
    sides = {"targets_forget": "masked", "targets_retain": "hard"}
    own = {"targets_forget": "self", "targets_retain": "self"}
    runs = read(
        folder(result(choices=sides), result(targets="soft", choices=own), result(targets="mine", choices=own))
    )
    assert {run.arm for run in runs} == {"hard forget=masked", "soft", "mine"}


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
        ("[]", "altered"),
        ('{"schema": 1}', "altered"),
        ({"schema": 99}, "of another"),
        ({"schema": 1}, "of another"),
        ({"a": 1}, "not the result"),
    ],
)
def test_what_is_no_result_is_named(tmp_path, content, said):
    write = write_text if isinstance(content, str) else write_json
    write(tmp_path / "result.json", content)
    with pytest.raises(BadInput, match=f"result.json: {said}"):
        read(tmp_path)
    with pytest.raises(BadInput, match="no finished run"):
        read(tmp_path / "none")


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
    found = js(one.softmax(1).numpy(), other.softmax(1).numpy())
    assert found == pytest.approx(metrics.js(one, other), rel=1e-5)
    sure = np.eye(2)
    assert js(sure, sure) == 0
    assert js(sure, sure[::-1]) == pytest.approx(math.log(2))


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
    runs = read(folder(result(0), result(1, metrics={"retrained": far})))
    expected = {"mia_gap": 0.03, "avg_gap": 0.05, "accuracy_distance": 0.3}
    assert {name: Floors().of(MEASURES[name], runs) for name in expected} == pytest.approx(expected)


def test_a_retrained_model_that_is_not_finite_is_no_part_of_a_floor(folder):
    lost = {"retrained": dict.fromkeys(ACCURACIES)}
    runs = read(folder(result(0), result(1), result(2, metrics=lost)))
    for name in ("js_forget", "mia_gap", "avg_gap", "accuracy_distance", "disagreement_forget"):
        assert Floors().of(MEASURES[name], runs) == Floors().of(MEASURES[name], runs[:2]) is not None
        assert Floors().of(MEASURES[name], runs[1:]) is None


# verdicts


def test_a_difference_is_told_with_its_size(folder):
    place = folder(*both(8))
    found = one_verdict(place)
    assert found.paired.mean == pytest.approx(0.0135)
    assert found.words.startswith("soft closer to retrained, by 0.013 [0.012, 0.015], n = 8")
    turned = one_verdict(place, wanted=("soft", "hard"))
    assert turned.words == found.words
    assert turned.paired.mean == -found.paired.mean


def test_matched_forgetting_has_values_of_its_own(folder):
    assert one_verdict(folder(*both(8)), where="matched").paired.mean == pytest.approx(0.0135 / 2)


def test_p_is_adjusted_over_all_cells(folder):
    noise = [0.011, -0.006, 0.008, 0.002, 0.003, 0.004]
    runs = []
    for algorithm, (seed, delta) in itertools.product(("a", "b", "c"), enumerate(noise)):
        choices = {"choices": {"mu_algo": algorithm}}
        runs += [result(seed, js_forget=0.03 + delta, **choices), result(seed, "soft", js_forget=0.03, **choices)]
    found = judge(pairings(read(folder(*runs))), MEASURES["js_forget"], "end", None, Floors())
    alone = stats.ttest_1samp(noise, 0).pvalue
    assert [verdict.p for verdict in found] == pytest.approx([min(1, 3 * alone)] * 3)


def test_no_difference_says_what_would_have_been_seen(folder):
    deltas = (0.01, -0.01, 0.012, -0.009)
    runs = [result(seed, js_forget=0.03 + delta) for seed, delta in enumerate(deltas)]
    place = folder(*runs, *(result(seed, "soft", js_forget=0.03) for seed in range(4)))
    found = one_verdict(place, margin=1e-6)
    assert found.words == f"no difference shown at n = 4; {found.paired.detectable:.2g} would have been"
    assert one_verdict(place, margin=0.1).words == "equivalent within ±0.1, n = 4"


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


def test_where_most_diverged_no_detectable_difference_is_made_up(folder):
    lost = [result(seed, "soft", status="diverged") for seed in range(3)]
    found = one_verdict(folder(*(result(seed) for seed in range(4)), *lost, result(3, "soft")))
    assert (found.paired.n, found.paired.detectable) == (4, None)
    assert found.words == "no difference shown at n = 4, in 1 of which neither diverged"


def test_runs_without_trajectory_are_not_said_to_have_never_forgotten(folder):
    blind = {"matched": None, "trajectory": {name: [] for name in WAY}}
    found = one_verdict(folder(*both(3, **blind)), where="matched")
    assert [(arm.censored, arm.unwatched) for arm in found.arms] == [(0, 3), (0, 3)]
    assert found.words == "nothing to compare: no trajectory was kept (unlearn.evaluate_every=null)"
    assert "– (3 without trajectory)" in tables.row(found)


def test_a_degenerate_arm_is_no_evidence(folder):
    runs = [result(seed) for seed in range(3)]
    found = one_verdict(folder(*runs, *(result(seed, "soft", status="degenerate") for seed in range(3))))
    assert found.words == "soft is degenerate: its targets cannot make forget"


# tables and the command


def test_a_setting_that_is_null_is_told_from_one_that_is_not_there(folder):
    sizes = [
        result(seed, arm, js_forget=0.03 + 0.001 * seed, config={"dataset": {"train_size": size}})
        for seed, arm, size in itertools.product(range(3), ("hard", "soft"), (None, 6000))
    ]
    alone = both(3, choices={"mu_algo": "npo", "unlearn": "npo"})
    verdicts = judged(read(folder(*sizes, *alone)), None, ("js_forget",), None)
    rows = csv.DictReader(io.StringIO(tables.comma_separated(verdicts)))
    assert {(row["mu_algo"], row["dataset.train_size"]) for row in rows} == {
        ("gradasc", "null"),
        ("gradasc", "6000"),
        ("npo", ""),
    }
    assert "dataset.train_size=null" in tables.markdown(verdicts, [])


def test_an_arm_that_is_alone_has_its_numbers_and_no_comparison(folder):
    control = [
        result(seed, js_forget=0.02 + 0.01 * seed, choices={"mu_algo": "rmu", "unlearn": "rmu"})
        for seed in range(3)
    ]
    verdicts = judged(read(folder(*both(3), *control)), None, ("js_forget",), None)
    alone = [verdict for verdict in verdicts if verdict.where == "end" and verdict.other is None]
    (found,) = alone
    assert (found.one.name, found.one.mean, found.paired, found.p) == ("hard", pytest.approx(0.03), None, None)
    assert found.words == "nothing to compare: the only arm of its cell"
    pair = next(v for v in verdicts if v.where == "end" and v.other)
    assert pair.p == pair.paired.t_p  # what is not compared is no hypothesis
    shown = [line for line in tables.markdown(verdicts, []).splitlines() if "rmu | hard | nothing" in line]
    assert [line.count("|") for line in shown] == [17, 17]
    assert "| 0.0300 ± 0.0100 | – |" in shown[1]
    lone = [
        row for row in csv.DictReader(io.StringIO(tables.comma_separated(verdicts))) if row["mu_algo"] == "rmu"
    ]
    assert [(row["other"], row["where"]) for row in lone] == [("", "matched"), ("", "end")]
    assert float(lone[1]["one_mean"]) == pytest.approx(0.03)


def test_arms_of_no_cell_that_can_be_compared_are_refused(folder):
    with pytest.raises(BadInput, match="no cell has two arms to compare; the arms there are: hard"):
        judged(read(folder(result(0), result(1))), None, ENDPOINTS, None)


def test_tables_hold_every_verdict(folder):
    verdicts = judged(read(folder(*both(5))), None, ENDPOINTS, None)
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated(verdicts))))
    assert [(row["measure"], row["where"]) for row in rows] == list(
        itertools.product(ENDPOINTS, ("matched", "end"))
    )
    assert float(rows[1]["mean"]) == verdicts[1].paired.mean
    assert rows[1]["verdict"] == verdicts[1].words
    text = tables.markdown(verdicts, [])
    assert text.count("| fashion_mnist mlp random gradasc | hard, soft |") == 4
    assert {line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")} == {17}
    tex = tables.latex(verdicts)
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 4
    assert r"fashion\_mnist" in tex
    assert not set("_%#") & set(tex.replace(r"\_", "").replace(r"\%", "").replace("% ", ""))


def test_the_command_reports_on_real_runs(run, tmp_path, capsys):
    for targets, seed in itertools.product(("hard", "soft"), range(2)):
        _, place = run(*SMALL, "mu_algo=graddiff", f"targets={targets}", f"seed={seed}")
    assert main([str(place.parent), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "mnist_5k mlp random" in said
    assert "n = 2" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "summary.csv",
        "summary.md",
        "summary.tex",
        "report.html",
    }
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/summary.csv").read_text())))
    assert all(0 < float(row["floor"]) < float(row["nothing"]) for row in rows if row["measure"] == "js_forget")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--compare", "targets=hard"], "--compare targets=hard: must be targets=A,B"),
        (["--metric", "svc_accuracy"], "--metric svc_accuracy: no run has it"),
        (["--compare", "targets=hard,gone"], "targets=hard,gone: no cell has two arms to compare; .* hard, soft"),
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
