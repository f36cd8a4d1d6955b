"""Arms with other targets beside hard labels, as an attacker sees them."""

import dataclasses

import numpy as np
import pytest

from softtargets.report import attacks
from softtargets.report.leak_pairs import leak_lines, leak_pairs
from softtargets.report.leaks import Leak
from softtargets.report.standing import Setting

SEEDS, SAMPLES, DRAWS = 30, 40, 199
RETRAINED = np.random.default_rng(0).normal(size=(SEEDS, SAMPLES))
NAMES = tuple(f"{seed:x}" for seed in range(SEEDS))
FIELDS = {one.name: 0.0 for one in dataclasses.fields(Leak) if one.default is dataclasses.MISSING}


def setting(dataset: str) -> Setting:
    names = {"dataset": dataset, "architecture": "mlp", "training": "mlp", "forget_set": "random"}
    return Setting(tuple(names.items()))


def scores(shift: float) -> attacks.Scores:
    return attacks.lira(RETRAINED[::-1] + shift, RETRAINED)


def leak(algorithm: str, targets: str | None, shift: float, **more) -> Leak:
    """Return what U-LiRA finds of an arm whose models lie so far above retrained ones."""
    attacked = scores(shift)
    drawn = attacks.resampled(lambda one: [one.auc], attacked, DRAWS)
    known = {"setting": setting("digits"), "arm": f"{algorithm} {targets}", "attack": "U-LiRA", "models": SEEDS}
    known |= {"auc": attacked.auc, "auc_drawn": tuple(drawn[:, 0].tolist()), "retrained": NAMES}
    return Leak(**FIELDS | known | {"algorithm": algorithm, "targets": targets} | more)


def names(leaks: list[Leak], *primary: tuple[str, str]) -> list[tuple[str, str]]:
    return [(pair.one.arm, pair.other.arm) for pair in leak_pairs(leaks, primary)]


def test_arms_are_paired_within_an_algorithm_and_the_least_leaking_of_both_kinds_beyond():
    found = [leak("npo", "hard", 1.0), leak("npo", "soft", 0.5), leak("scrub", "hard", 0.2), leak("none", None, 3)]
    assert names(found) == [("npo soft", "npo hard"), ("npo soft", "scrub hard")]
    assert names([*found, leak("scrub", "soft", 0.1)])[1:] == [("scrub soft", "scrub hard")]
    assert names(found[:1]) == names(found[1:2]) == []


def test_the_arms_of_a_primary_contrast_are_paired_first():
    found = [leak("npo", "hard", 1.0), leak("npo", "soft", 0.5), leak("retrain", None, 0.2)]
    asked = [("npo soft", "retrain None"), ("npo soft", "of another setting")]
    assert names(found, *asked) == [("npo soft", "retrain None"), ("npo soft", "npo hard")]
    assert names(found, ("npo soft", "npo hard")) == [("npo soft", "npo hard")], "once"


@pytest.mark.parametrize("more", [{"retrained": NAMES[1:]}, {"attack": "RMIA"}, {"setting": setting("clothes")}])
def test_arms_with_other_models_are_not_paired(more):
    assert names([leak("npo", "hard", 1.0), leak("npo", "soft", 0.5, **more)]) == []


@pytest.mark.parametrize(
    ("soft", "words"), [(0.2, "leaves less"), (3.0, "leaves more"), (1.0, "is not shown to leave less or more")]
)
def test_the_interval_draws_the_same_seeds_for_both_arms(soft, words):
    found = [leak("npo", "hard", 1.0), leak("npo", "soft", soft)]
    numbers, differences = np.random.default_rng(0), []
    for _ in range(DRAWS):
        rows = numbers.integers(SEEDS, size=SEEDS)
        both = [scores(shift) for shift in (soft, 1.0)]
        one, other = (attacks.Scores(each.unlearned[rows], each.retrained[rows]).auc for each in both)
        differences.append(one - other)
    (pair,) = leak_pairs(found)
    assert pair.interval == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])), abs=1e-12)
    (line,) = leak_lines(found)
    assert f"npo soft {words} " in line
    assert f"difference {found[1].auc - found[0].auc:+.3f}" in line
