"""Where arms stand: planted runs against doing nothing, early stopping and retraining at equal cost."""

import itertools

import numpy as np
import pytest
from results_by_hand import leave, result
from scipy import stats

from softtargets.report import contrast, tables
from softtargets.report.__main__ import main
from softtargets.report.contrast import contrasts
from softtargets.report.pairs import pairings
from softtargets.report.runs import read
from softtargets.report.standing import gate, sentence, standings
from softtargets.report.statistics import folded
from softtargets.report.summary import ENDPOINTS, judge_all

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
    return {one.arm: sentence(one) for one in judge_all(runs, None, ENDPOINTS, None)[1]}


NOTHING = {"ignores_targets": True}


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (0.3, "than doing nothing nearer by probabilities, decisions and privacy (by 0.025 nats); leaves 30% of"),
        (
            1.6,
            "than doing nothing farther by probabilities, decisions and privacy (by 0.022 nats); leaves 160% of",
        ),
        (1.0, "than doing nothing not farther by probabilities, decisions and privacy; leaves 100% of"),
        (
            {"js_t_forget": 0.3, "disagreement_forget": 1.0, "mia_gap": 1.5},
            "than doing nothing nearer by probabilities, not farther by decisions, farther by privacy (by 0.025 ",
        ),
    ],
)
def test_an_arm_stands_beside_doing_nothing_by_every_face(tmp_path, left, words):
    found = judged(tmp_path, planted("npo", left))
    assert found["npo hard"].startswith(words)
    assert found["npo hard"].endswith("keeps utility")


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


def test_retraining_at_another_cost_is_no_reference(tmp_path):
    found = judged(tmp_path, planted("npo", 0.6, share=0.05), planted("retrain", 0.2, share=0.07, **NOTHING))
    assert "equal cost" not in found["npo hard"]


def test_doing_nothing_is_the_same_as_itself(tmp_path):
    runs = list(planted("none", 1.0, share=0.0, **NOTHING))
    for run in runs:
        for face in FAR:
            run["faces"][face] = run["faces"][face] | {"unlearned": FAR[face]}
    assert judged(tmp_path, runs)["none"].startswith(
        "than doing nothing the same by probabilities, decisions and privacy; leaves 100%"
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
    assert found.startswith("than doing nothing farther by ") or "not shown to be nearer" in found
    assert found.endswith("7 of 8 runs diverged")


def test_the_gate_by_hand(tmp_path):
    runs = read(leave(tmp_path, *planted("npo", 0.3)))
    gaps = 0.002 * np.array(NOISE)
    bound = stats.ttest_1samp(gaps, 0, alternative="greater").confidence_interval(0.95).low
    assert gate(runs).accuracy == pytest.approx(bound)
    assert (gate(runs).probabilities, gate(runs).passed) == (0, True)
    for run in runs:
        run.result["faces"]["test_acc_gap"] = {"unlearned": -0.02 + 0.001 * run.seed}
    assert gate(runs).passed is False
    assert gate(runs[:4]).passed is None


def test_a_gap_with_a_sign_is_the_mean_without_it():
    values = np.array([0.05, -0.01, 0.03, 0.04])
    assert folded(values) == pytest.approx(values)
    assert folded(-values) == pytest.approx(values)
    n, mean = 3, abs(np.array([0.1, -0.05, -0.04]).mean())
    without = [abs(x) for x in (-0.045, 0.03, 0.025)]
    assert folded(np.array([0.1, -0.05, -0.04])) == pytest.approx([n * mean - (n - 1) * one for one in without])


def compared(tmp_path, hard: float | dict, soft: float | dict) -> str:
    """The words on hard against soft by the first face."""
    arms = planted("npo", hard), planted("npo", soft, targets="soft")
    verdicts, _ = judge_all(read(leave(tmp_path, *itertools.chain(*arms))), None, ENDPOINTS, None)
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


def test_baselines_are_in_one_table_with_the_arms(tmp_path):
    runs = read(leave(tmp_path, *planted("npo", 0.6), *planted("retrain", 0.2, **NOTHING)))
    verdicts, stands = judge_all(runs, None, ENDPOINTS, None)
    text = tables.markdown(verdicts, stands, [], {})
    lines = [line for line in text.splitlines() if line.startswith(("| retrain |", "| npo hard |"))]
    assert [line.split(" | ")[0] for line in lines] == ["| retrain", "| npo hard"]  # the nearest first
    assert [one.arm for one in standings(runs)] == ["retrain", "npo hard"]
    assert all(len(pairing.pairs) == 8 for pairing in pairings(runs))


def contrasted(tmp_path, one: float | dict, other: float | dict, **more) -> str:
    arms = planted("relabel", one, targets="soft", **more), planted("finetune", other)
    (found,) = contrasts(read(leave(tmp_path, *itertools.chain(*arms))), "relabel soft", "finetune hard")
    return contrast.sentence(found)


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
            "(n = 8, 8 forget sets); by decisions farther; by privacy not farther",
        ),
        (0.5, 0.5, "neither is shown to be closer to retrained: ", ""),
    ],
)
def test_the_primary_contrast_is_of_any_two_arms_and_needs_all_faces(tmp_path, one, other, start, end):
    words = contrasted(tmp_path, one, other)
    assert words.startswith(start)
    assert words.endswith(end)


def test_an_arm_of_the_primary_contrast_that_loses_utility_is_named(tmp_path):
    runs = list(planted("relabel", 0.3, targets="soft"))
    for run in runs:
        run["faces"]["test_acc_gap"] = run["faces"]["test_acc_gap"] | {"unlearned": -0.05}
    place = leave(tmp_path, *runs, *planted("finetune", 0.7))
    (found,) = contrasts(read(place), "relabel soft", "finetune hard")
    assert contrast.sentence(found).endswith("; relabel soft without utility")


def test_the_command_shows_the_primary_contrast_first_and_refuses_arms_that_are_not_there(tmp_path, capsys):
    place = leave(tmp_path, *planted("relabel", 0.3, targets="soft"), *planted("finetune", 0.7))
    assert main([str(place), "--primary", "relabel soft", "finetune hard"]) == 0
    assert (
        "fashion_mnist mlp random: relabel soft is closer to retrained" in capsys.readouterr().out.splitlines()[0]
    )
    assert (
        (place / "summary.md").read_text().startswith("## Primary contrast\n\n- fashion_mnist mlp random: relabel")
    )
    assert main([str(place), "--primary", "relabel soft", "finetun hard"]) == 2
    said = capsys.readouterr().err
    assert (
        "no setting has both arms; the arms are finetune hard, relabel soft; did you mean finetune hard?" in said
    )
