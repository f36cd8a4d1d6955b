"""Where arms stand: planted runs against doing nothing, early stopping and retraining at equal cost."""

import csv
import dataclasses
import io
import itertools
import math

import numpy as np
import pytest
from page_by_hand import Page
from results_by_hand import leave, result
from scipy import stats

from softtargets.errors import BadInput
from softtargets.report import contrast, csv_files, retraining, tables
from softtargets.report.__main__ import main
from softtargets.report.comparison import comparison
from softtargets.report.contrast import contrasts, headlines
from softtargets.report.counts import of_arms, without_any
from softtargets.report.endpoint import cautious_gap_difference, failing, gap_difference
from softtargets.report.folders import Census, census
from softtargets.report.measures import FACES
from softtargets.report.pairs import pairings
from softtargets.report.planned import write_plan
from softtargets.report.ranking import ranked
from softtargets.report.retraining import break_evens
from softtargets.report.runs import read
from softtargets.report.standing import factor, gate, placed, say_standing, standings
from softtargets.report.statistics import folded
from softtargets.report.summary import ENDPOINTS, judge_all
from softtargets.report.way import way_to_go
from softtargets.report.way_left import entries

FAR = {"js_t_forget": 0.04, "disagreement_forget": 0.2, "mia_gap": 0.08}
"""Doing nothing."""
FLOOR = {"js_t_forget": 0.004, "disagreement_forget": 0.02, "mia_gap": 0.0}
NOISE = (0.1, -0.2, 0.15, -0.05, 0.02, -0.1, 0.05, 0.03)


def planted(algorithm: str, left: float | dict, share: float = 0.05, n: int = 8, targets: str = "hard", **more):
    """Runs on their own forget sets that leave a share of the way to retraining, by every face or by each its own.

    The noise over pairs differs between algorithms, and not between kinds of targets.
    """
    lefts = left if isinstance(left, dict) else dict.fromkeys(FAR, left)
    chosen = {"mu_algo": algorithm, "unlearn": algorithm}
    for seed, noise in zip(range(n), np.roll(NOISE, len(algorithm)).tolist(), strict=False):
        one = result(seed, targets, choices=chosen | {"forget_seed": seed})
        values = {name: FLOOR[name] + (lefts[name] + 0.1 * noise) * (FAR[name] - FLOOR[name]) for name in FAR}
        one["faces"] = {
            name: {"unlearned": value, "nothing": FAR[name], "floor": FLOOR[name]}
            for name, value in values.items()
        }
        test = {"unlearned": 0.006, "nothing": 0.006, "floor": 0.005}
        one["faces"] |= {
            "js_t_test": test,
            "test_acc_gap": {"unlearned": 0.002 * noise, "nothing": 0.0, "floor": 0.0},
        }
        one["cost"] = one["cost"] | {"share": share, "share_seconds": share, "prepared_share": 0.0}
        one["hashes"] = one["hashes"] | {"forget_set": f"set{seed}"}
        yield one | more


def judged(tmp_path, *arms) -> dict[str, str]:
    runs = read(leave(tmp_path, *itertools.chain(*arms)))
    return {one.arm: say_standing(one) for one in judge_all(runs, None, ENDPOINTS, None)[1]}


NOTHING = {"ignores_targets": True}


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (
            0.3,
            "against doing nothing: nearer by probabilities, decisions and privacy (by 0.025 nats); leaves 30% of",
        ),
        (
            1.6,
            "against doing nothing: farther by probabilities, decisions and privacy (by 0.022 nats); leaves 160%",
        ),
        (1.0, "against doing nothing: not farther by probabilities, decisions and privacy; leaves 100% of"),
        (
            {"js_t_forget": 0.3, "disagreement_forget": 1.0, "mia_gap": 1.5},
            "against doing nothing: nearer by probabilities, not farther by decisions, farther by privacy (by ",
        ),
    ],
)
def test_an_arm_stands_beside_doing_nothing_by_every_face(tmp_path, left, words):
    found = judged(tmp_path, planted("npo", left))
    assert found["npo hard"].startswith(words)
    assert found["npo hard"].endswith(
        "keeps utility; fails against doing nothing" if left == 1.6 else "keeps utility"
    )


@pytest.mark.long
def test_what_is_as_simple_and_costs_as_much_is_named(tmp_path):
    found = judged(
        tmp_path,
        planted("npo", 0.6),
        planted("retrain", 0.2, **NOTHING),
        planted("early", 0.4, share=0.0, **NOTHING),
    )
    assert (
        "farther than early stopping by 0.0072; farther than retrain at equal cost by 0.014" in found["npo hard"]
    )
    assert "nearer than early stopping by 0.0072" in found["retrain"]
    assert "equal cost" not in found["retrain"]
    assert set(found) == {"npo hard", "retrain", "early"}  # what ignores targets is not named by them


@pytest.mark.long
def test_fine_tuning_on_labels_at_equal_cost_is_a_reference_of_the_same_family(tmp_path):
    arms = [("npo", 0.6, {}), ("finetune", 0.3, {}), ("finetune", 0.2, {"targets": "soft"})]
    runs = read(leave(tmp_path, *(run for name, left, more in arms for run in planted(name, left, **more))))
    found = {one.arm: one for one in judge_all(runs, None, ENDPOINTS, None)[1]}
    against = found["npo hard"].faces[0].against
    assert [one.reference for one in against] == ["doing nothing", "finetune hard at equal cost"]
    assert "; farther than finetune hard at equal cost by 0.011; " in say_standing(found["npo hard"])
    assert "equal cost" not in say_standing(found["finetune hard"])
    assert "nearer than finetune hard at equal cost by 0.0036" in say_standing(found["finetune soft"])
    # three arms against doing nothing and two against fine-tuning, by three faces, beside the verdict on targets
    tested = [one.p for arm in found.values() for face in arm.faces for one in face.against]
    assert len(tested) == 15
    assert None not in tested


@pytest.mark.parametrize(("share", "there"), [(0.046, True), (0.04, False)])
def test_fine_tuning_is_a_reference_within_a_tenth_of_the_cost(tmp_path, share, there):
    simple = planted("finetune", 0.2, share=share)
    said = judged(tmp_path, planted("npo", 0.6), simple, planted("retrain", 0.7, **NOTHING))["npo hard"]
    assert ("than finetune hard at equal cost" in said) == there
    assert said.index("than retrain at equal cost") < said.find("than finetune hard") or not there


def test_retraining_at_another_cost_is_no_reference(tmp_path):
    found = judged(tmp_path, planted("npo", 0.6, share=0.05), planted("retrain", 0.2, share=0.07, **NOTHING))
    assert "equal cost" not in found["npo hard"]


@pytest.mark.parametrize(("n", "words"), [(4, "not shown to be nearer than"), (5, "farther than")])
def test_no_reference_is_nearer_or_farther_by_fewer_than_five_pairs(tmp_path, n, words):
    early = planted("early", 0.2, share=0.0, n=n, **NOTHING)
    left = f" by 0.014 ({n} pairs, " if n == 5 else f" ({n} pairs, "
    assert f"; {words} early stopping{left}" in judged(tmp_path, planted("npo", 0.6), early)["npo hard"]


def test_doing_nothing_is_the_same_as_itself(tmp_path):
    runs = list(planted("none", 1.0, share=0.0, **NOTHING))
    for run in runs:
        for face in FAR:
            run["faces"][face] = run["faces"][face] | {"unlearned": FAR[face]}
    assert judged(tmp_path, runs)["none"].startswith(
        "against doing nothing: the same by probabilities, decisions and privacy; leaves 100%"
    )


def test_few_pairs_have_no_verdict(tmp_path):
    assert (
        judged(tmp_path, planted("npo", 0.3, n=4))["npo hard"] == "no verdict below 5 pairs (n = 4, 4 forget sets)"
    )


def test_a_run_that_diverged_loses_its_pair_and_is_counted(tmp_path):
    runs = list(planted("npo", 0.3))
    for run in runs[:7]:
        run["status"] = "diverged"
    found = judged(tmp_path, runs)["npo hard"]
    assert found.startswith("against doing nothing: farther by ") or "not shown to be nearer" in found
    assert found.endswith("7 of 8 runs diverged")


def lose(*runs: dict) -> None:
    """Let runs diverge: no value of the unlearned model is left."""
    for run in runs:
        run["status"] = "diverged"
        run["faces"] = {name: face | {"unlearned": None} for name, face in run["faces"].items()}


def with_gap(runs, gap: float) -> list[dict]:
    """The same runs with a test accuracy that is so far from the retrained model's."""
    return [
        run | {"faces": run["faces"] | {"test_acc_gap": run["faces"]["test_acc_gap"] | {"unlearned": gap}}}
        for run in runs
    ]


def test_one_run_that_diverged_does_not_hide_that_the_others_lose_utility(tmp_path, capsys):
    ruined = with_gap(planted("npo", 0.1), -0.3)
    lose(ruined[0])
    runs = read(leave(tmp_path / "ruined", *ruined))
    assert gate(runs) == gate(runs[1:])
    assert gate(runs).passed is False
    assert main([str(leave(tmp_path / "both", *ruined, *planted("finetune", 0.6)))]) == 0
    best = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Best arm"))
    assert "random: finetune hard leaves 60" in best
    kept = list(planted("npo", 0.1))
    lose(kept[0])
    assert gate(read(leave(tmp_path / "kept", *kept))).passed is True


def test_a_primary_contrast_is_shown_though_a_run_of_it_diverged(tmp_path):
    runs = [*planted("relabel", 0.3, targets="soft"), *planted("finetune", 0.7)]
    lose(runs[0])
    (one,) = contrasts(read(leave(tmp_path, *runs)), ARMS)
    assert (one.shown, one.gates) == ("one", (True, True))
    unknown = contrast.say_contrast(dataclasses.replace(one, gates=(None, True)))
    assert unknown.startswith("neither is shown to be closer to retrained: relabel soft is ahead by")
    assert "; utility of relabel soft unknown; " in unknown


def test_what_makes_no_pair_of_a_primary_contrast_is_named(tmp_path):
    runs = [*planted("relabel", 0.3, targets="soft"), *planted("finetune", 0.7, n=7)]
    runs[8]["hashes"] = runs[8]["hashes"] | {"retrained": "another"}
    runs += list(planted("relabel", 0.3, targets="soft"))[1:2]
    (one,) = contrasts(read(leave(tmp_path, *runs)), ARMS)
    assert one.design.pairs == 5
    assert one.refused == [
        "run1, run15: seed 1 with forget_set.seed=1 is there 2 times",
        "run9: seed 1 with forget_set.seed=1 is there 2 times in relabel soft",
        "run7: seed 7 with forget_set.seed=7 is in one arm alone",
        "run0 and run8: not a pair, retrained differ",
    ]
    assert f"; left out: {'; '.join(one.refused[:3])}; 1 more; of the way from" in contrast.say_contrast(one)


def test_runs_that_make_no_pair_with_a_reference_are_counted(tmp_path):
    early = list(planted("early", 0.4, share=0.0, n=7, **NOTHING))
    early[0]["hashes"] = early[0]["hashes"] | {"retrained": "another"}
    words = judged(tmp_path, planted("npo", 0.6), early)["npo hard"]
    assert "; farther than early stopping by 0.0073 (6 pairs, 2 left out); " in words


def test_an_arm_of_degenerate_runs_is_neither_best_nor_closer(tmp_path, capsys):
    runs = [*planted("npo", 0.6), *planted("npo", 0.1, targets="soft")]
    for run in runs[8:13]:
        run["status"] = "degenerate"
    place = leave(tmp_path, *runs)
    assert main([str(place), "--primary", "npo soft", "npo hard"]) == 0
    lines = capsys.readouterr().out.splitlines()
    why = (
        "no verdict: in 5 of 8 runs the targets of npo soft give no gradient, so they cannot cause forgetting "
        "(status degenerate)"
    )
    assert f": {why}; npo soft is ahead by 0.018 nats of JS_T [" in lines[0]
    assert {one.arm: say_standing(one) for one in standings(read(place))}["npo soft"] == why
    best, targets = (
        next(line for line in lines if line.startswith(words)) for words in ("Best arm", "Hard against soft")
    )
    assert "random: npo hard leaves 60" in best
    assert targets.endswith(": npo: soft has no verdict against hard.")
    (one,) = contrasts(read(place), [("npo soft", "npo hard")])
    assert (one.rule.closer, one.shown) == ("one", None)


def test_where_every_arm_is_degenerate_none_is_the_best(tmp_path, capsys):
    leave(tmp_path, *planted("npo", 0.3, status="degenerate"))
    assert main([str(tmp_path)]) == 0
    assert (
        ": none, since most runs of every arm have a status that forbids a verdict.\n" in capsys.readouterr().out
    )


def test_a_share_of_the_way_of_few_runs_that_are_left_is_withheld(tmp_path):
    runs = list(planted("npo", 0.3))
    lose(*runs[1:])
    found = judged(tmp_path, runs)["npo hard"]
    assert found.startswith("against doing nothing: farther by probabilities")
    assert "of the way" not in found


def test_the_size_of_a_primary_contrast_says_which_pairs_it_is_of(tmp_path):
    runs = [*planted("relabel", 0.3, targets="soft"), *planted("finetune", 0.7)]
    for run in runs[:2]:
        run["faces"]["mia_gap"] = run["faces"]["mia_gap"] | {"unlearned": None}
    (one,) = contrasts(read(leave(tmp_path / "two", *runs)), ARMS)
    assert "; the size is that of 6 pairs that have a value by every face; " in contrast.say_contrast(one)
    lose(runs[2])
    (one,) = contrasts(read(leave(tmp_path / "three", *runs)), ARMS)
    words = "; the size is that of 5 pairs that have a value by every face, since a run diverged in 1; "
    assert words in contrast.say_contrast(one)


def test_the_rows_of_standings_name_the_test_that_p_is_of(tmp_path):
    runs = [*planted("npo", 0.3), *planted("relabel", 0.3)]
    lose(runs[0])
    stands = judge_all(read(leave(tmp_path, *runs)), None, ENDPOINTS, None)[1]
    rows = list(csv.DictReader(io.StringIO(csv_files.standing_csv(stands))))
    first = {row["arm"]: row for row in rows if row["face"] == "js_t_forget"}
    assert (first["npo hard"]["test"], first["relabel hard"]["test"]) == ("signed ranks", "t")
    # the run that diverged has lost its pair, and the other seven have won theirs: ranks 1 to 7 against 8
    ranks = stats.wilcoxon([-1, -2, -3, -4, -5, -6, -7, 8]).pvalue
    assert float(first["npo hard"]["p"]) == pytest.approx(ranks)
    paired = next(one.faces[0].against[0].paired for one in stands if one.arm == "relabel hard")
    assert float(first["relabel hard"]["p"]) == paired.t_p


@pytest.mark.parametrize(("spread", "shown"), [(1.24, True), (1.6, False)])
def test_the_way_is_shown_by_a_one_sided_test_at_five_per_cent(tmp_path, spread, shown):
    """Two-sided p values of .070 and .14; doing nothing is .002 farther than the floor on average."""
    apart = 0.002 * (1 + spread * np.array([1, -1, 1, -1, 1, -1, 1, -1]))
    assert bool(stats.ttest_1samp(apart, 0, alternative="greater").pvalue < 0.05) == shown
    assert stats.ttest_1samp(apart, 0).pvalue > 0.05
    runs = list(planted("npo", 0.3))
    for run, each in zip(runs, apart.tolist(), strict=True):
        run["faces"]["js_t_forget"]["nothing"] = FLOOR["js_t_forget"] + each
    runs = read(leave(tmp_path, *runs))
    assert way_to_go(FACES[0], runs, FLOOR["js_t_forget"]) == (pytest.approx(0.002) if shown else None)


def test_the_gate_by_hand(tmp_path):
    runs = read(leave(tmp_path, *planted("npo", 0.3)))
    gaps = 0.002 * np.array(NOISE)
    bound = stats.ttest_1samp(gaps, 0, alternative="greater").confidence_interval(0.95).low
    assert gate(runs).accuracy == pytest.approx(bound)
    assert (gate(runs).probabilities, gate(runs).passed) == (0, True)
    # a tenth of the way on the forget set: on the test set doing nothing has hardly a way to go
    assert gate(runs).allowed == pytest.approx(0.1 * (FAR["js_t_forget"] - FLOOR["js_t_forget"]))
    for far, passed in ((0.0095, True), (0.0097, False)):
        for run in runs:
            run.result["faces"]["js_t_test"] = {"unlearned": far, "nothing": 0.006, "floor": 0.005}
        assert gate(runs).passed is passed
    for run in runs:
        run.result["faces"]["js_t_test"]["unlearned"] = 0.006
        run.result["faces"]["test_acc_gap"] = {"unlearned": -0.02 + 0.001 * run.seed}
    assert gate(runs).passed is False
    assert gate(runs[:4]).passed is None


def test_a_mixed_design_has_as_many_differences_as_forget_sets(tmp_path):
    """Six pairs of two forget sets, not each seed with both: two means, of which no bound is worth a word."""
    runs = list(planted("npo", 0.3, n=6))
    for seed, run in enumerate(runs):
        run["hashes"] = run["hashes"] | {"forget_set": f"set{seed // 3 if seed else 1}"}
    (one,) = standings(read(leave(tmp_path, *runs)))
    words = "no verdict below 5 forget sets, of which each counts once (n = 6, from 2 forget sets and 6 seeds)"
    assert (one.design.kind, say_standing(one)) == ("mixed", words)
    assert (one.gate.passed, one.faces[0].at_floor) == (None, None)


@pytest.mark.long
def test_several_arms_of_early_stopping_have_their_names(tmp_path):
    arms = planted("early", 0.5, **NOTHING), planted("early", 0.4, **NOTHING), planted("npo", 0.3)
    runs = list(itertools.chain(*arms))
    for run in runs[8:16]:
        run["config"] = run["config"] | {"unlearn": {"batch_size": 7}}
    words = judged(tmp_path, runs)["npo hard"]
    assert (
        "; nearer than early unlearn.optimizer.lr=0.1 by 0.0072; nearer than early unlearn.batch_size=7 by 0.0036"
        in words
    )


def test_a_standing_says_that_all_runs_diverged(tmp_path):
    assert judged(tmp_path, planted("npo", 0.3, status="diverged")) == {
        "npo hard": "no value: 8 of 8 runs diverged"
    }


@pytest.mark.parametrize(
    ("ratio", "text"), [(1.00349, "1.0035"), (0.95, "0.9500"), (8.254, "8.25"), (163.7, "164")]
)
def test_a_ratio_of_distances_is_written_with_its_digits(ratio, text):
    assert factor(math.log(ratio)) == text


def test_a_gap_with_a_sign_is_the_mean_without_it():
    values = np.array([0.05, -0.01, 0.03, 0.04])
    assert folded(values) == pytest.approx(values)
    assert folded(-values) == pytest.approx(values)
    n, mean = 3, abs(np.array([0.1, -0.05, -0.04]).mean())
    without = [abs(x) for x in (-0.045, 0.03, 0.025)]
    pseudo = np.array([n * mean - (n - 1) * one for one in without])
    values = folded(np.array([0.1, -0.05, -0.04]))
    assert values.mean() == pytest.approx(mean)
    assert values - mean == pytest.approx(pseudo - pseudo.mean())


def compared(tmp_path, hard: float | dict, soft: float | dict) -> str:
    """The words on hard against soft by the first face."""
    arms = planted("npo", hard), planted("npo", soft, targets="soft")
    verdicts, *_ = judge_all(read(leave(tmp_path, *itertools.chain(*arms))), None, ENDPOINTS, None)
    return next(one.words for one in verdicts if one.measure.name == "js_t_forget")


def faces(first: float, second: float, third: float) -> dict:
    return dict(zip(FAR, (first, second, third), strict=True))


@pytest.mark.parametrize(
    ("hard", "soft", "words"),
    [
        (0.8, 0.3, "soft is closer to retrained than hard, by 0.018; by decisions and privacy not farther"),
        (
            faces(0.8, 0.5, 0.3),
            faces(0.3, 0.4, 0.9),
            "soft is closer to retrained than hard by probabilities alone, by 0.018; by decisions not farther, "
            "by privacy farther",
        ),
        (
            1.9,
            1.4,
            "soft does less harm than hard, by 0.018; by decisions and privacy not farther; both are farther",
        ),
        (0.5, 0.5, "the same in every pair"),
    ],
)
def test_a_comparison_has_direction_size_place_and_faces(tmp_path, hard, soft, words):
    found = compared(tmp_path, hard, soft).replace(" (n = 8, 8 forget sets)", "")
    assert found.startswith(words)
    if "closer" in words:
        assert (
            "of the way from doing nothing (0.04) to another retraining hard leaves 80% and soft leaves 30%"
            in found
        )


def test_the_other_faces_count_where_they_are_not_asked_for(tmp_path):
    arms = planted("npo", faces(0.8, 0.5, 0.3)), planted("npo", faces(0.3, 0.4, 0.9), targets="soft")
    runs = read(leave(tmp_path, *itertools.chain(*arms)))
    (one,), *_ = judge_all(runs, None, ("js_t_forget",), None)
    whole = next(v for v in judge_all(runs, None, ENDPOINTS, None)[0] if v.measure.name == "js_t_forget")
    by = "soft is closer to retrained than hard by probabilities alone, by 0.018 (n = 8, 8 forget sets); by "
    assert one.words == whole.words
    assert one.words.startswith(f"{by}decisions not farther, by privacy farther; ")
    for run in runs:
        run.result["faces"]["mia_gap"]["unlearned"] = None
    (one,), *_ = judge_all(runs, None, ("js_t_forget",), None)
    assert one.words.startswith(f"{by}decisions not farther, by privacy unknown; ")


@pytest.mark.long
def test_baselines_are_in_one_table_with_the_arms(tmp_path):
    runs = read(leave(tmp_path, *planted("npo", 0.6), *planted("retrain", 0.2, **NOTHING)))
    verdicts, stands, _ = judge_all(runs, None, ENDPOINTS, None)
    counts = of_arms(runs, Census({}, {}), placed)
    rows = ranked(entries(runs, stands, FACES), verdicts, pairings(runs), FACES, counts)
    lines = [line for line in tables.markdown(verdicts, rows, [], {}).splitlines() if "| leaves" in line]
    assert [line.split(" | ")[1] for line in lines] == ["retrain", "npo hard (best)"]  # the nearest first
    assert [one.arm for one in standings(runs)] == ["retrain", "npo hard"]
    assert all(len(pairing.pairs) == 8 for pairing in pairings(runs))


ARMS = [("relabel soft", "finetune hard")]


def contrasted(tmp_path, one: float | dict, other: float | dict, **more) -> str:
    arms = planted("relabel", one, targets="soft", **more), planted("finetune", other)
    (found,) = contrasts(read(leave(tmp_path, *itertools.chain(*arms))), ARMS)
    return contrast.say_contrast(found).removesuffix("; margins of these pairs themselves")


@pytest.mark.parametrize(
    ("one", "other", "start", "end"),
    [
        (
            0.3,
            0.7,
            "relabel soft is closer to retrained than finetune hard by 0.014 nats of JS_T [",
            "not farther",
        ),
        (
            0.7,
            0.3,
            "finetune hard is closer to retrained than relabel soft by 0.014 nats of JS_T [",
            "not farther",
        ),
        (
            faces(0.3, 0.9, 0.3),
            0.7,
            "neither is shown to be closer to retrained: relabel soft is ahead by 0.014 nats of JS_T [",
            "(n = 8, 8 forget sets); 8 pairs won, 0 lost, 0 tied (sign test p = 0.0078); of the way from doing "
            "nothing (0.04) to another retraining relabel soft leaves 30% and finetune hard leaves 70%; "
            "by decisions farther; by privacy not farther",
        ),
        (0.5, 0.5, "neither is shown to be closer to retrained: ", ""),
    ],
)
def test_the_primary_contrast_is_of_any_two_arms_and_needs_all_faces(tmp_path, one, other, start, end):
    words = contrasted(tmp_path, one, other)
    assert words.startswith(start)
    assert words.endswith(end)


def test_the_rows_of_a_primary_contrast_are_of_the_arm_that_is_ahead(tmp_path):
    nearer_but_told_apart = faces(0.3, 0.5, 0.9)
    arms = planted("relabel", 0.7, targets="soft"), planted("finetune", nearer_but_told_apart)
    found = contrasts(read(leave(tmp_path, *itertools.chain(*arms))), ARMS)
    rows = list(csv.DictReader(io.StringIO(csv_files.contrasts_csv(found))))
    assert [row["face"] for row in rows] == ["js_t_forget", "disagreement_forget", "mia_gap"]
    assert {(row["one"], row["ahead"], row["shown"], row["wins"], row["losses"]) for row in rows} == {
        ("relabel soft", "finetune hard", "", "0", "8")
    }
    assert [(row["status"], float(row["difference"]) < 0) for row in rows] == [
        ("", True),
        ("confirms", True),
        ("contradicts", False),
    ]
    # 40 % of the way from the floor to doing nothing
    assert float(rows[0]["difference"]) == pytest.approx(-0.4 * (0.04 - 0.004))
    assert [float(rows[0][f"left_{side}"]) for side in ("one", "other")] == pytest.approx([0.7, 0.3])


def test_arms_that_are_equal_have_a_row_of_the_first_face_alone(tmp_path):
    arms = planted("relabel", 0.5, targets="soft"), planted("finetune", 0.5)
    found = contrasts(read(leave(tmp_path, *itertools.chain(*arms))), ARMS)
    (row,) = csv.DictReader(io.StringIO(csv_files.contrasts_csv(found)))
    assert (row["ahead"], row["face"], float(row["difference"])) == ("", "js_t_forget", 0)


def test_an_arm_of_the_primary_contrast_that_loses_utility_is_named(tmp_path):
    runs = list(planted("relabel", 0.3, targets="soft"))
    for run in runs:
        run["faces"]["test_acc_gap"] = run["faces"]["test_acc_gap"] | {"unlearned": -0.05}
    place = leave(tmp_path, *runs, *planted("finetune", 0.7))
    (found,) = contrasts(read(place), ARMS)
    words = contrast.say_contrast(found)
    assert words.startswith("neither is shown to be closer to retrained: relabel soft is ahead by 0.014 nats")
    assert (
        "; 0 pairs won, 8 lost, 0 tied (sign test p = 0.0078); runs that lost their pair by test accuracy: "
        "8 of relabel soft; "
    ) in words
    assert words.endswith("; relabel soft without utility; margins of these pairs themselves")


def test_no_arm_is_closer_where_neither_is_nearer_than_doing_nothing(tmp_path):
    words = contrasted(tmp_path, 1.4, 1.9)
    assert words.startswith(
        "neither is closer to retrained than doing nothing (0.04): relabel soft does less harm by 0.018 nats"
    )
    runs = read(tmp_path)
    assert [one.side for one in contrasts(runs, ARMS)] == [None]


def test_arms_of_a_primary_contrast_at_unequal_costs_are_named(tmp_path):
    place = leave(tmp_path, *at_cost(0.05, 0.7, 0.6), *at_cost(0.2, 0.3, 0.6))
    (one,) = contrasts(read(place), [("relabel unlearn.cost=0.2", "finetune unlearn.cost=0.05")])
    assert "; at unequal costs, 0.2 and 0.05; " in contrast.say_contrast(one)
    (first,) = contrasts(read(place), named(0.2))
    assert "unequal" not in contrast.say_contrast(first)
    assert contrast.say_contrast(first).startswith("not claimed, as cost 0.05, which comes first, is not named: ")


def test_a_primary_contrast_needs_runs_that_did_not_diverge(tmp_path):
    runs = [*planted("relabel", 0.3, targets="soft"), *planted("finetune", 0.7)]
    for run in runs[:2]:
        run["status"] = "diverged"
    (one,) = contrasts(read(leave(tmp_path / "two", *runs)), ARMS)
    assert "; the size is that of 6 pairs in which neither run diverged; " in contrast.say_contrast(one)
    for run in runs[:8]:
        run["status"] = "diverged"
    with pytest.raises(BadInput, match="0 of 8 pairs have a distance by every face; at least 2 must"):
        contrasts(read(leave(tmp_path / "all", *runs)), ARMS)


def test_the_command_shows_the_primary_contrast_first_and_refuses_arms_that_are_not_there(tmp_path, capsys):
    place = leave(tmp_path, *planted("relabel", 0.3, targets="soft"), *planted("finetune", 0.7))
    assert main([str(place), "--primary", "relabel soft", "finetune hard"]) == 0
    assert (
        "fashion_mnist mlp random at cost 0.05: relabel soft is closer to retrained"
        in capsys.readouterr().out.splitlines()[0]
    )
    start = "## Primary contrast\n\n- fashion_mnist mlp random at cost 0.05: relabel soft"
    assert (place / "summary.md").read_text().startswith(start)
    assert main([str(place), "--primary", "relabel soft", "finetun hard"]) == 2
    said = capsys.readouterr().err
    assert (
        "no setting has both arms; the arms are finetune hard, relabel soft; did you mean finetune hard?" in said
    )


def at_cost(cost: float, one: float, other: float, training: str = "mlp", **more) -> list[dict]:
    """Both arms of `ARMS` at a budget, by a recipe."""
    runs = [*planted("relabel", one, cost, targets="soft", **more), *planted("finetune", other, cost, **more)]
    for run in runs:
        run["choices"] = run["choices"] | {"training": training}
        run["config"] = run["config"] | {"unlearn": run["config"]["unlearn"] | {"cost": cost}}
        run["cost"] = run["cost"] | {"budget": cost}
    return runs


def named(*costs: float) -> list[tuple[str, str]]:
    return [(f"relabel unlearn.cost={cost}", f"finetune unlearn.cost={cost}") for cost in costs]


def test_costs_are_claimed_in_their_order_and_a_headline_needs_both_recipes(tmp_path):
    runs = at_cost(0.05, 0.3, 0.7) + at_cost(0.1, 0.3, 0.7) + at_cost(0.02, 0.6, 0.6) + at_cost(0.2, 0.3, 0.7)
    runs += at_cost(0.05, 0.3, 0.7, training="mlp_efficient") + at_cost(0.1, 0.7, 0.3, training="mlp_efficient")
    found = contrasts(read(leave(tmp_path, *runs)), named(0.2, 0.02, 0.1, 0.05))
    sides = {(dict(one.setting.settings)["training"], one.cost): one.side for one in found}
    assert sides == {
        ("mlp", 0.05): "one",
        ("mlp", 0.1): "one",
        ("mlp", 0.02): None,
        ("mlp", 0.2): None,  # shown, and not claimed
        ("mlp_efficient", 0.05): "one",
        ("mlp_efficient", 0.1): "other",
    }
    (last,) = [contrast.say_contrast(one) for one in found if one.cost == 0.2]
    assert last.startswith("not claimed, as it is not shown at cost 0.02: relabel soft unlearn.cost=0.2")
    assert sorted(headlines(found)) == [
        "fashion_mnist mlp random at cost 0.05: the same arm is closer by mlp and mlp_efficient",
        "fashion_mnist mlp random at cost 0.1: no headline, since the recipes contradict each other",
    ]
    with pytest.raises(BadInput, match="fits 4 arms, so add words"):
        contrasts(read(tmp_path), [("relabel", "finetune")])


def test_arms_at_other_costs_answer_another_question(tmp_path):
    half = at_cost(0.5, 0.3, 0.7)
    whole = at_cost(1.0, 0.3, 0.7, training="mlp_efficient")
    runs = read(leave(tmp_path / "apart", *half, *whole))
    assert headlines(contrasts(runs, ARMS)) == []
    runs = read(leave(tmp_path / "equal", *half, *at_cost(0.5, 0.3, 0.7, training="mlp_efficient")))
    assert headlines(contrasts(runs, ARMS)) == [
        "fashion_mnist mlp random at cost 0.5: the same arm is closer by mlp and mlp_efficient"
    ]


def test_each_named_pair_at_a_cost_has_its_own_headline(tmp_path):
    runs = [*at_cost(0.05, 0.3, 0.7), *at_cost(0.05, 0.3, 0.7, training="mlp_efficient")]
    third = [*at_cost(0.05, 0.3, 0.5)[8:], *at_cost(0.05, 0.3, 0.5, training="mlp_efficient")[8:]]
    third = [run | {"choices": run["choices"] | {"mu_algo": "npo", "unlearn": "npo"}} for run in third]
    place = leave(tmp_path, *runs, *third)
    asked = [("relabel", "finetune"), ("relabel", "npo"), ("npo", "finetune")]
    both = "the same arm is closer by mlp and mlp_efficient"
    where = "fashion_mnist mlp random at cost 0.05, "
    assert headlines(contrasts(read(place), asked)) == [
        f"{where}relabel against finetune: {both}",
        f"{where}relabel against npo: {both}",
        f"{where}npo against finetune: {both}",
    ]


def test_a_cost_is_claimed_only_if_all_contrasts_named_there_are_shown(tmp_path):
    runs = [*at_cost(0.05, 0.3, 0.7), *at_cost(0.05, 0.3, 0.3)[8:], *at_cost(0.1, 0.3, 0.7)]
    for run in runs[16:24]:
        run["choices"] = run["choices"] | {"mu_algo": "npo", "unlearn": "npo"}
    asked = [*named(0.05, 0.1), ("relabel unlearn.cost=0.05", "npo")]
    first, later, tie = contrasts(read(leave(tmp_path, *runs)), asked)
    assert (first.shown, tie.shown, later.shown) == ("one", None, "one")
    assert (first.side, later.side) == (None, None)
    said = contrast.say_contrast(first)
    assert said.startswith("not claimed, as another contrast named at cost 0.05 is not shown: relabel")
    assert contrast.say_contrast(later).startswith("not claimed, as it is not shown at cost 0.05: relabel")


def test_tuning_pairs_fix_the_margins(tmp_path):
    here = at_cost(0.05, faces(0.3, 0.65, 0.3), 0.6)
    tuning = [dict(run) for run in at_cost(0.05, 0.5, 0.5)]
    for run in tuning:
        run["hashes"] = run["hashes"] | {"retrained": f"tuning {run['hashes']['retrained']}"}
        # by decisions doing nothing is nearly at the floor: the margin is small
        near = {"unlearned": 0.03, "nothing": 0.03, "floor": FLOOR["disagreement_forget"]}
        run["faces"] = run["faces"] | {"disagreement_forget": near}
    runs = read(leave(tmp_path / "runs", *here))
    with pytest.raises(BadInput, match="--margins: run0 has the retrained model of run8, which is judged"):
        contrasts(runs, named(0.05), runs)
    (free,) = contrasts(runs, named(0.05))
    (frozen,) = contrasts(runs, named(0.05), read(leave(tmp_path / "tuning", *tuning)))
    assert (free.side, frozen.side) == ("one", None)
    assert frozen.rule.faces["disagreement"].margin == pytest.approx(0.1 * 0.01)
    assert frozen.rule.faces["mia_gap"].margin == free.rule.faces["mia_gap"].margin
    assert contrast.say_contrast(free).endswith("; margins of these pairs themselves")
    other = at_cost(0.05, 0.5, 0.5, training="mlp_efficient")
    for run in other:
        run["hashes"] = run["hashes"] | {"retrained": f"other {run['hashes']['retrained']}"}
    with pytest.raises(BadInput, match="--margins: no run there is of the setting fashion_mnist mlp random; "):
        contrasts(runs, named(0.05), read(leave(tmp_path / "other", *other)))


def without_floors(runs) -> list[dict]:
    """The same runs with one retrained model each, on forget sets of their own."""
    bare = ("js_t_forget", "disagreement_forget")
    return [
        run | {"faces": run["faces"] | {name: run["faces"][name] | {"floor": None} for name in bare}}
        for run in runs
    ]


def test_margins_without_a_floor_are_said_to_be_so(tmp_path, capsys):
    runs = [*planted("relabel", 0.3, targets="soft"), *planted("finetune", 0.7)]
    place = leave(tmp_path / "bare", *without_floors(runs))
    assert main([str(place), "--primary", *ARMS[0]]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = "; margins reach from nothing to 0, since there is no floor; run with references=2 or more"
    assert lines[0].endswith(f"; margins of these pairs themselves{words}")
    assert next(line for line in lines if line.startswith("Trust: ")).endswith(f"{words}.")
    (bare,) = contrasts(read(place), ARMS)
    assert bare.rule.faces["disagreement"].margin == pytest.approx(0.1 * FAR["disagreement_forget"])
    assert gate(read(place)[:8]).allowed == pytest.approx(0.1 * FAR["js_t_forget"])
    place = leave(tmp_path / "whole", *runs)
    assert main([str(place), "--primary", *ARMS[0]]) == 0
    assert "no floor" not in capsys.readouterr().out


def test_a_face_on_which_doing_nothing_is_at_the_floor_has_no_margin(tmp_path):
    runs = [*planted("npo", 0.5), *planted("npo", 0.5, targets="soft")]
    for run in runs:
        run["faces"]["disagreement_forget"] |= {"floor": 0.3}
    verdicts, *_ = judge_all(read(leave(tmp_path, *runs)), None, ENDPOINTS, None)
    margins = {one.measure.name: one.margin for one in verdicts if one.where == "end"}
    assert margins["disagreement_forget"] == 0
    assert margins["js_t_forget"] == pytest.approx(0.1 * (0.04 - 0.004))


def of_class(runs) -> list[dict]:
    """The same runs on a whole class."""
    return [run | {"choices": run["choices"] | {"forget_set": "class"}} for run in runs]


def test_whole_classes_are_compared_by_logarithms(tmp_path):
    runs = read(leave(tmp_path, *of_class(planted("npo", 0.1)), *of_class(planted("npo", 0.02, targets="soft"))))
    verdicts, stands, _ = judge_all(runs, None, ENDPOINTS, None)
    by_arm = {one.arm: one for one in stands}
    face = by_arm["npo soft"].faces[0]
    values = {arm: [face.measure.at_end(run) for run in runs if run.arm == arm] for arm in ("hard", "soft")}
    assert face.against[0].paired.mean == pytest.approx(np.log(np.array(values["soft"]) / 0.04).mean())
    assert face.margin == pytest.approx(math.log(1.25))
    assert (face.at_floor, by_arm["npo hard"].faces[0].at_floor) == (True, False)
    nearer = factor(-face.against[0].paired.mean)
    assert say_standing(by_arm["npo soft"]).startswith(
        f"against doing nothing: nearer by probabilities, decisions and privacy (by a factor of {nearer})"
    )
    first = next(one for one in verdicts if one.measure.name == "js_t_forget")
    apart = np.log(np.array(values["hard"]) / np.array(values["soft"]))
    assert first.paired.mean == pytest.approx(apart.mean())
    assert f"soft is closer to retrained than hard, by a factor of {factor(apart.mean())} [" in first.words
    (primary,) = contrasts(runs, [("npo hard", "npo soft")])
    assert primary.rule.js_t.mean == pytest.approx(apart.mean())
    assert "of log JS_T" in contrast.say_contrast(primary)
    assert contrast.say_contrast(primary).endswith("a headline on a class needs evidence=[svc,relearn,probe]")


def test_an_arm_at_the_floor_of_every_pair_leaves_nothing_of_the_way(tmp_path):
    """By logarithms the way is the mean of log(nothing / floor), whatever the floor of each pair is."""
    runs = of_class([*planted("npo", 0.5), *planted("npo", 0.5, targets="soft")])
    for run in runs:
        face = run["faces"]["js_t_forget"]
        face["floor"] = 0.001 * 2 ** run["choices"]["seed"]
        face["nothing"] = face["floor"] * (50 + run["choices"]["seed"])
        # hard at its floor, and soft half of the logarithmic way from it
        face["unlearned"] = (
            face["floor"] if run["choices"]["targets"] == "hard" else math.sqrt(face["floor"] * face["nothing"])
        )
    place = leave(tmp_path, *runs)
    runs = read(place)
    verdicts, stands, _ = judge_all(runs, None, ENDPOINTS, None)
    first = next(one for one in verdicts if one.measure == FACES[0])
    (primary,) = contrasts(runs, [("npo hard", "npo soft")])
    expected = pytest.approx([0.0, 0.5])
    assert [arm.corrected for arm in first.arms] == expected
    assert list(primary.place.left) == expected
    assert [one.faces[0].left for one in stands] == expected
    assert [entry.left for entry in entries(runs, stands, FACES)] == expected
    assert "hard leaves 0% and soft leaves 50%" in first.words
    assert "npo hard leaves 0% and npo soft leaves 50%" in contrast.say_contrast(primary)
    assert [say_standing(one).partition("; ")[2].partition(";")[0] for one in stands] == [
        "leaves 0% of the way to retraining",
        "leaves 50% of the way to retraining",
    ]


def mixed(algorithm: str, lefts: tuple[float, ...], **more) -> list[dict]:
    """Eight runs on six forget sets, three of them on the first; each set has its share of the way left."""
    runs = list(planted(algorithm, 0.0, **more))
    for run, at in zip(runs, (0, 0, 0, 1, 2, 3, 4, 5), strict=True):
        run["hashes"] = run["hashes"] | {"forget_set": f"set{at}"}
        for name in FAR:
            run["faces"][name]["unlearned"] = FLOOR[name] + lefts[at] * (FAR[name] - FLOOR[name])
    return runs


def test_the_place_of_a_mixed_design_is_that_of_its_forget_sets(tmp_path):
    """Over runs relabel would leave .525: three of them are on the forget set where it is far."""
    relabel = mixed("relabel", (0.9, 0.3, 0.31, 0.29, 0.3, 0.3), targets="soft")
    finetune = mixed("finetune", (0.95, 0.5, 0.5, 0.5, 0.5, 0.5))
    place = leave(tmp_path / "kept", *relabel, *finetune)
    (one,) = contrasts(read(place), ARMS)
    words = contrast.say_contrast(one)
    assert words.startswith("relabel soft is closer to retrained than finetune hard by 0.0063 nats of JS_T [")
    assert "; 6 forget sets won, 0 lost, 0 tied (sign test p = 0.031); of the way from doing nothing" in words
    assert "relabel soft leaves 40% and finetune hard leaves 57%" in words
    assert one.place.means == pytest.approx((0.004 + 0.4 * 0.036, 0.004 + 0.575 * 0.036))
    stands = standings(read(place))
    assert [one.faces[0].mean for one in stands] == pytest.approx(one.place.means)
    assert [one.faces[0].left for one in stands] == pytest.approx([0.4, 0.575])
    (turned,) = contrasts(read(place), [ARMS[0][::-1]])
    assert (turned.shown, turned.rule.signs.losses) == ("other", 6)
    # of the first forget set two runs lose so much accuracy that its mean does, too; of the second the only one
    lossy = [*with_gap(relabel[:2], -0.02), relabel[2], *with_gap(relabel[3:4], -0.02), *relabel[4:]]
    (one,) = contrasts(read(leave(tmp_path / "lost", *lossy, *finetune)), ARMS)
    words = contrast.say_contrast(one)
    assert "; 4 forget sets won, 2 lost, 0 tied (sign test p = 0.69); " in words
    assert "; forget sets lost by test accuracy: 2 of relabel soft; " in words


def test_a_distance_of_zero_has_no_logarithm(tmp_path):
    runs = of_class(planted("npo", 0.1))
    runs[0]["faces"]["js_t_forget"]["unlearned"] = 0.0
    (one,) = standings(read(leave(tmp_path, *runs)))
    assert [face.logarithms for face in one.faces] == [False, True, False]


def test_a_gap_that_may_be_zero_is_no_bar_that_an_arm_passes_under(tmp_path):
    """An arm at a gap of .008 against one whose gaps are noise about 0."""
    arm, rival = list(planted("npo", 0.5)), list(planted("retrain", 0.5, **NOTHING))
    noise = 0.02 * np.array([1, -1, 1, -1, 1, -1, 1, -0.5])
    for run, other, gap in zip(arm, rival, noise.tolist(), strict=True):
        run["faces"]["mia_gap"] = run["faces"]["mia_gap"] | {"unlearned": 0.008}
        other["faces"]["mia_gap"] = other["faces"]["mia_gap"] | {"unlearned": gap}
    stands = {one.arm: one for one in standings(read(leave(tmp_path, *arm, *rival)))}
    against = stands["npo hard"].faces[2].against[1]
    plain = gap_difference(np.full(8, 0.008), noise)
    assert against.upper == pytest.approx(cautious_gap_difference(np.full(8, 0.008), noise).upper())
    assert against.upper > plain.upper() == pytest.approx(against.paired.upper)


@pytest.mark.long
def test_an_arm_fails_where_any_arm_of_the_report_makes_it_uncertain(tmp_path):
    alone = standings(read(leave(tmp_path / "alone", *planted("npo", 1.09))))
    assert alone[0].faces[0].fails is False
    algorithms = ("rmu", "scrub", "gradasc", "graddiff", "relabel", "finetune")
    many = [planted(algorithm, 1.09) for algorithm in ("npo", *algorithms)]
    stands = standings(read(leave(tmp_path / "many", *itertools.chain(*many))))
    family = [one.faces[0].against[0].beyond for one in stands]
    assert [one.faces[0].fails for one in stands] == failing(family, [one.faces[0].margin for one in stands])
    assert {one.arm: one.faces[0].fails for one in stands}["npo hard"] is True
    assert say_standing(stands[-1]).endswith("keeps utility; fails against doing nothing")


def retrains(left: dict[float, float], **more) -> list[dict]:
    """Retraining from scratch at budgets."""
    runs = []
    for cost, share in left.items():
        for run in planted("retrain", share, cost, **NOTHING, **more):
            config = run["config"] | {"unlearn": {"cost": cost}}
            runs.append(run | {"config": config, "cost": run["cost"] | {"budget": cost}})
    return runs


@pytest.mark.parametrize(
    ("left", "least", "words"),
    [
        ({0.05: 1.0, 0.1: 0.02, 0.2: 0.01}, 0.1, "from cost 0.1 on retrain instead"),
        ({0.05: 0.02, 0.1: 0.5, 0.2: 0.01}, 0.2, "from cost 0.2 on retrain instead"),
        (
            {0.05: 1.0, 0.1: 0.5},
            None,
            "is at none of the costs that were run (0.05, 0.1) shown to be at the floor",
        ),
    ],
)
def test_the_least_cost_from_which_on_retraining_is_the_answer(tmp_path, left, least, words):
    (found,) = break_evens(read(leave(tmp_path, *retrains(left))))
    assert (found.least, found.costs) == (least, tuple(left))
    assert words in retraining.say_break_even(found)


def test_a_cost_at_which_retraining_diverged_is_no_answer(tmp_path):
    runs = retrains({0.1: 0.01, 0.2: 0.01})
    lose(runs[-1])
    (found,) = break_evens(read(leave(tmp_path / "greater", *runs)))
    assert (found.least, found.costs) == (None, (0.1, 0.2))
    beside = retrains({0.2: 0.01}, n=8)
    for run in beside:
        run["config"] = {"unlearn": run["config"]["unlearn"] | {"batch_size": 7}}
    (found,) = break_evens(read(leave(tmp_path / "beside", *runs, *beside)))
    assert found.least == 0.1  # another arm of that cost did not diverge


def test_a_floor_of_zero_has_no_logarithm(tmp_path):
    runs = of_class(retrains({0.1: 0.01}))
    for run in runs:
        run["faces"]["disagreement_forget"]["floor"] = 0.0
    runs[0]["faces"]["js_t_forget"]["floor"] = 0.0
    runs = read(leave(tmp_path, *runs))
    assert [face.logarithms for face in standings(runs)[0].faces] == [False, False, False]
    (found,) = break_evens(runs)
    assert found.least == 0.1


def test_retraining_is_compared_on_the_scale_of_its_setting(tmp_path):
    """At 1.45 times the floor: less than a tenth of the way from it, and more than the margin of logarithms."""
    runs = of_class([*retrains({0.1: 0.05}), *planted("npo", 0.3)])
    (found,) = break_evens(read(leave(tmp_path / "logarithms", *runs)))
    assert found.least is None
    runs[-1]["faces"]["js_t_forget"]["unlearned"] = 0.0
    (found,) = break_evens(read(leave(tmp_path / "differences", *runs)))
    assert found.least == 0.1


def test_without_floors_of_their_own_nothing_is_said_of_retraining(tmp_path):
    runs = retrains({0.1: 0.02})
    runs[3]["faces"]["js_t_forget"]["floor"] = None
    assert break_evens(read(leave(tmp_path, *runs))) == []


def test_arms_that_need_models_from_before_the_request_stand_after_the_others(tmp_path):
    ready = list(planted("relabel", 0.1))
    for run in ready:
        run["cost"] = run["cost"] | {"prepared_share": 4.5}
    served = planted("teachers", 0.05, comparison_only=True, **NOTHING)
    stands = standings(read(leave(tmp_path, *ready, *served, *planted("npo", 0.6))))
    names = ["npo hard", "relabel hard (with models from before the request)", "teachers (for comparison only)"]
    assert [one.shown for one in stands] == [tables.standing_row(one)[0] for one in stands] == names
    assert say_standing(stands[1]).endswith("keeps utility; cheaper than retraining from 5 requests on")
    assert "cheaper" not in say_standing(stands[0])


def cross(runs: list[dict]) -> None:
    """Let runs be of 2 forget sets × 4 seeds."""
    for run in runs:
        at = run["choices"]["seed"]
        run["choices"] = run["choices"] | {"seed": at % 4, "forget_seed": at // 4}
        names = ("original", "retrained", "batches")
        run["hashes"] = run["hashes"] | {name: f"{name}{at}" for name in names} | {"forget_set": f"set{at // 4}"}


def test_crossed_pairs_of_which_a_run_diverged_have_no_verdict(tmp_path):
    runs = [*planted("npo", 0.7), *planted("npo", 0.3, targets="soft")]
    cross(runs)
    lose(runs[0])
    verdicts, *_ = judge_all(read(leave(tmp_path, *runs)), None, ENDPOINTS, None)
    assert verdicts[0].words.startswith(
        "no verdict: a run diverged, and forget sets that are crossed with seeds need all (n = 8, 2 forget sets"
    )


def test_crossed_pairs_of_which_a_run_diverged_have_no_primary_contrast(tmp_path):
    runs = at_cost(0.05, 0.3, 0.7)
    cross(runs)
    place = leave(tmp_path / "all", *runs)
    assert contrasts(read(place), named(0.05))[0].design.kind == "crossed"
    runs[0]["status"] = "diverged"
    with pytest.raises(BadInput, match="a run diverged, and forget sets that are crossed with seeds need all"):
        contrasts(read(leave(tmp_path / "lost", *runs)), named(0.05))


def test_arms_of_one_setting_stand_together_whichever_of_them_vary_it(tmp_path):
    runs = []
    for algorithm, size in (("npo", 500), ("relabel", 500), ("relabel", 5000), ("relabel", None)):
        runs += [run | {"config": run["config"] | size_of(size)} for run in planted(algorithm, 0.5, n=2)]
    runs += planted("finetune", 0.5, n=2)  # not there is not null
    there = {
        (one.setting.name.partition("random")[2].strip(), one.arm)
        for one in standings(read(leave(tmp_path, *runs)))
    }
    sizes = {"dataset.train_size=500", "dataset.train_size=5000", "dataset.train_size=null"}
    assert there == {("dataset.train_size=500", "npo hard"), ("", "finetune hard")} | {
        (size, "relabel hard") for size in sizes
    }


def size_of(size: int | None) -> dict:
    return {"dataset": {"train_size": size}}


def two_arms(place, asked: str) -> dict[tuple[str, str, str], tuple[int, list[str]]]:
    """Pairs of every comparison of two arms in a cell, and what is left out."""
    return {
        (one.cell.name, one.one, one.other): (len(one.pairs), one.refused)
        for one in comparison(asked).pairings(read(place))
    }


def test_algorithms_are_compared_whatever_further_sweeps_vary(tmp_path):
    def runs(algorithm: str, lr: float, size: int = 500, n: int = 3) -> list[dict]:
        config = {"unlearn": {"optimizer": {"lr": lr}}} | size_of(size)
        return [run | {"config": run["config"] | config} for run in planted(algorithm, 0.5, n=n)]

    first = leave(tmp_path / "first", *runs("npo", 0.1), *runs("relabel", 0.2))
    cell = "fashion_mnist mlp random targets=hard"
    assert two_arms(first, "mu_algo=npo,relabel") == {(cell, "npo", "relabel"): (3, [])}

    leave(tmp_path / "further", *runs("npo", 0.3, n=1), *runs("relabel", 0.2, 5000), *runs("finetune", 0.1))
    cell = "fashion_mnist mlp random dataset.train_size=500 targets=hard"
    assert two_arms(tmp_path, "mu_algo=npo,relabel") == {
        (cell, "npo unlearn.optimizer.lr=0.1", "relabel"): (3, []),
        (cell, "npo unlearn.optimizer.lr=0.3", "relabel"): (
            1,
            [f"run{at + 3}: seed {at} with forget_set.seed={at} is in one arm alone" for at in (1, 2)],
        ),
    }
    assert main([str(tmp_path), "--compare", "mu_algo=npo,relabel"]) == 0
    page = Page((tmp_path / "report.html").read_text())
    assert "relabel hard less npo unlearn.optimizer.lr=0.1" in page.text


def test_algorithms_with_equal_budgets_are_compared_budget_by_budget(tmp_path):
    def runs(algorithm: str, cost: float) -> list[dict]:
        config = {"unlearn": {"cost": cost}}
        return [run | {"config": run["config"] | config} for run in planted(algorithm, 0.5, n=2)]

    costs = {"npo": (0.05, 0.1), "relabel": (0.05, 0.1, 0.2), "finetune": (0.1,)}
    leave(tmp_path, *[run for name, each in costs.items() for cost in each for run in runs(name, cost)])
    assert two_arms(tmp_path, "mu_algo=npo,relabel") == {
        (f"fashion_mnist mlp random targets=hard unlearn.cost={cost}", "npo", "relabel"): (2, [])
        for cost in costs["npo"]
    }
    assert two_arms(tmp_path, "mu_algo=npo,finetune") == {
        ("fashion_mnist mlp random targets=hard unlearn.cost=0.1", "npo", "finetune"): (2, [])
    }


def test_equal_budgets_are_compared_where_one_algorithm_alone_varies_them(tmp_path):
    def runs(algorithm: str, cost: float, lr: float) -> list[dict]:
        config = {"unlearn": {"cost": cost, "optimizer": {"lr": lr}}}
        return [run | {"config": run["config"] | config} for run in planted(algorithm, 0.5, n=2)]

    settings = {"npo": itertools.product((0.05, 0.1), (0.1, 0.3)), "relabel": ((0.05, 0.1), (0.05, 0.3))}
    leave(tmp_path, *[run for name, each in settings.items() for one in each for run in runs(name, *one)])
    place = "fashion_mnist mlp random targets=hard unlearn.cost=0.05 unlearn.optimizer.lr"
    assert two_arms(tmp_path, "mu_algo=npo,relabel") == {
        (f"{place}={lr}", "npo", "relabel"): (2, []) for lr in (0.1, 0.3)
    }


def test_a_seed_that_is_there_twice_is_not_said_to_be_in_one_arm_alone(tmp_path):
    leave(tmp_path, *planted("npo", 0.5, n=2), *planted("npo", 0.5, n=1), *planted("relabel", 0.5, n=2))
    (said,) = two_arms(tmp_path, "mu_algo=npo,relabel").values()
    assert said == (1, ["run0, run2: seed 0 is there 2 times", "run3: seed 0 is there 2 times in npo"])


COMPARED = [
    ("mu_algo=npo,relabel", ("npo", "relabel"), "relabel is closer to retrained than npo"),
    ("mu_algo.alpha=0.1,1", ("0.1", "1"), "1 is closer to retrained than 0.1"),
    ("targets=hard,soft", ("hard", "soft"), "soft is closer to retrained than hard"),
    ("FOLDERS", None, "is closer to retrained than"),
]


@pytest.mark.long
@pytest.mark.parametrize(("asked", "arms", "words"), COMPARED)
def test_any_two_values_of_any_setting_are_compared(tmp_path, capsys, asked, arms, words):
    one = list(planted("npo", 0.6))
    other = list(planted(*(("relabel", 0.3) if asked.startswith("mu_algo=") else ("npo", 0.3))))
    for number, run in enumerate(other):
        run["faces"]["js_t_forget"]["unlearned"] += 1e-5 * number
        if asked.startswith("targets"):
            run["choices"] = run["choices"] | {"targets": "soft"}
    if asked.startswith("mu_algo.alpha"):
        for runs, alpha in ((one, 0.1), (other, 1.0)):
            for run in runs:
                run["config"] = run["config"] | {"mu_algo": {"alpha": alpha}}
    leave(tmp_path / "a", *one)
    leave(tmp_path / "b", *other)
    asked = asked.replace("FOLDERS", f"{tmp_path / 'a'},{tmp_path / 'b'}")
    assert main([str(tmp_path), "--compare", asked]) == 0
    with (tmp_path / "pairs.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["measure"] == "js_t_forget"]
    assert len(rows) == 8
    assert {(row["one"], row["other"]) for row in rows} == {arms or (str(tmp_path / "a"), str(tmp_path / "b"))}
    page = Page((tmp_path / "report.html").read_text())
    assert words in page.text
    assert [row[4] != "–" for row in page.arms()].count(True) == 1  # the second arm, less the first
    with (tmp_path / "arms.csv").open(newline="") as file:
        there = [row for row in csv.DictReader(file) if (row["measure"], row["where"]) == ("js_t_forget", "end")]
    (judged,) = [row for row in there if row["verdict"]]
    assert (judged["against"], judged["pairs"]) == (rows[0]["one"], "8")
    assert float(judged["mean"]) == pytest.approx(np.mean([float(row["value_other"]) for row in rows]))
    assert float(judged["difference"]) == pytest.approx(np.mean([float(row["difference"]) for row in rows]))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            "mu_algo",
            "--compare mu_algo: must be SETTING=A,B, two values of one setting (targets=hard,soft), or two",
        ),
        ("mu_algo=npo,npo", "--compare mu_algo=npo,npo: both values are npo"),
        ("mu_algo=npo,pull", "--compare mu_algo=npo,pull: no cell has both; its values are npo, relabel"),
        ("unlearn.beta=1,2", "--compare unlearn.beta=1,2: no cell has both; no run has this setting; those that"),
        (
            "/nowhere,/else",
            "--compare /nowhere,/else: /nowhere is no folder; to compare a setting, type SETTING=A,B",
        ),
    ],
)
def test_a_comparison_that_is_not_there_is_refused(tmp_path, capsys, asked, said):
    leave(tmp_path, *planted("npo", 0.6, n=2), *planted("relabel", 0.3, n=2))
    assert main([str(tmp_path), "--compare", asked]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"softtargets.report: {said}")
    assert not list(tmp_path.glob("*.csv"))


def test_two_folders_of_other_settings_are_refused_by_the_name_of_these(tmp_path, capsys):
    for folder, lr in (("a", 0.1), ("b", 0.3)):
        config = {"unlearn": {"optimizer": {"lr": lr}}}
        leave(tmp_path / folder, *[run | {"config": run["config"] | config} for run in planted("npo", 0.5, n=2)])
    (tmp_path / "c").mkdir()
    a, b, c = (str(tmp_path / name) for name in "abc")
    for other, said in ((b, "their runs differ in unlearn.optimizer.lr"), (c, "give two folders of runs below")):
        assert main([str(tmp_path), "--compare", f"{a},{other}"]) == 2
        assert f"--compare {a},{other}: no cell has both; {said}" in capsys.readouterr().err


def test_where_every_pair_is_there_twice_the_figure_says_so(tmp_path):
    for folder in "ab":
        leave(tmp_path / folder, *planted("npo", 0.5, n=2))
    assert main([str(tmp_path)]) == 0
    (row,) = Page((tmp_path / "report.html").read_text()).arms()
    assert row[3] == "left out: every pair is there more than once"
    assert row[5].startswith("no verdict below 5 pairs (n = 0)")


@pytest.mark.long
def test_a_ratio_that_no_float_holds_is_in_words(tmp_path):
    assert (factor(1000.0), factor(math.log(3)), factor(math.log(2e7))) == ("more than 2e+308", "3", "2e+07")
    arms = [*planted("npo", 0.5), *planted("npo", 0.2, targets="soft")]
    for run in arms:
        run["choices"] = run["choices"] | {"forget_set": "class"}
        if run["choices"]["targets"] == "hard":
            run["faces"]["js_t_forget"]["unlearned"] *= 1e-310
    assert main([str(leave(tmp_path, *arms))]) == 0
    rows = {row[1]: row[4] for row in Page((tmp_path / "report.html").read_text()).arms()}
    assert rows["npo soft"] == "too far for a number than hard"


# arms whose settings were searched

SEARCHES = {
    ("hard", 0.05): (16, 0.001),
    ("soft", 0.05): (32, 0.002),
    ("hard", 0.1): (64, 0.003),
    ("soft", 0.1): (64, 0.004),
}
"""Batch size and rate that a search chose for an arm at a budget."""


SEEN = {"dataset": "fashion_mnist", "images": 5700, "seeds": [1000], "forget_sets": [1000], "classes": []}
SEEN |= {"fixed": None, "test_images": 0, "recipe": "mlp-0"}
"""What a search saw."""


def searched(targets: str, left: float, cost: float = 0.05, tuned_at: float | None = 0.05):
    """Runs at a budget with a batch size and a rate of their own, which a search chose at one, or none."""
    size, lr = SEARCHES[targets, cost]
    for one in planted("npo", left, cost, targets=targets):
        unlearn = {"optimizer": {"lr": lr}, "batch_size": size, "cost": cost}
        one["choices"] |= {"unlearn": f"adamw batch={size}"}
        one["hashes"] = one["hashes"] | {"batches": f"of {size}, seed {one['choices']['seed']}"}
        tuned_on = SEEN | {"cost": tuned_at}
        yield one | {"config": one["config"] | {"unlearn": unlearn}, "tuned_on": tuned_on}


def said(folder) -> dict[str, str]:
    """The verdict of every comparison by the first face."""
    verdicts = judge_all(read(folder), None, ENDPOINTS, None)[0]
    return {
        f"{one.cell.name}: {one.names}": one.words
        for one in verdicts
        if one.other and one.where == "end" and one.measure == FACES[0]
    }


@pytest.mark.long
def test_searched_arms_pair_at_equal_budget_each_with_its_own_settings(tmp_path):
    arms = (("hard", 0.6, 0.05), ("soft", 0.3, 0.05), ("hard", 0.5, 0.1), ("soft", 0.5, 0.1))
    found = said(leave(tmp_path, *itertools.chain(*(searched(*arm) for arm in arms))))
    cell = "fashion_mnist mlp random npo unlearn.cost={} tuned=searched: hard, soft"
    assert list(found) == [cell.format(cost) for cost in (0.05, 0.1)]
    assert found[cell.format(0.05)].startswith("soft is closer to retrained than hard, by 0.0")
    assert all("; each with its own searched settings" in words for words in found.values())
    (pairing, _) = pairings(read(tmp_path))
    assert pairing.settings == ["unlearn.batch_size 16 / 32", "unlearn.optimizer.lr 0.001 / 0.002"]
    assert len(pairing.pairs) == 8
    assert {one.arm for one in standings(read(tmp_path))} == {
        f"npo {targets} unlearn.cost={cost} tuned=searched" for targets in ("hard", "soft") for cost in (0.05, 0.1)
    }


@pytest.mark.long
def test_arms_with_settings_of_their_own_that_no_search_chose_at_a_budget_make_no_pair(tmp_path):
    runs = [searched(targets, 0.5, tuned_at=None) for targets in ("hard", "soft")]
    assert said(leave(tmp_path, *itertools.chain(*runs))) == {}


def test_searched_arms_still_share_models_and_forget_set(tmp_path):
    hard, soft = list(searched("hard", 0.5)), list(searched("soft", 0.4))
    soft[0]["hashes"] |= {"retrained": "another"}
    (pairing,) = pairings(read(leave(tmp_path, *hard, *soft)))
    assert len(pairing.pairs) == 7
    assert pairing.refused == ["run0 and run8: not a pair, retrained differ"]


def test_a_searched_arm_without_a_finished_run_has_the_name_that_was_typed(tmp_path):
    seen = "+tuned.tuned_on={dataset:fashion_mnist,seeds:[1000],cost:0.05}"
    words = [
        "mu_algo=npo",
        "unlearn.cost=0.05",
        "unlearn=adamw",
        "unlearn.optimizer.lr=0.1",
        "mu_algo.alpha=2",
        seen,
    ]
    plan = {
        f"{targets}{seed}": [*words, f"targets={targets}", f"seed={seed}"] for targets in "ab" for seed in (0, 1)
    }
    # with a rate of its own, so that what it was tuned on has no cost
    typed = ["mu_algo=npo", "unlearn.cost=0.1", "unlearn.optimizer.lr=5", seen.replace(",cost:0.05", "")]
    write_plan(tmp_path, plan | {"other": ["mu_algo=npo", "unlearn.cost=0.1"], "typed": typed})
    names = {f"unlearn.cost=0.05 targets={targets} tuned=searched" for targets in "ab"}
    names |= {"unlearn.cost=0.1", "unlearn.cost=0.1 unlearn.optimizer.lr=5"}
    assert set(without_any([], census(tmp_path))) == names
