"""Arms with other targets beside hard labels, as an attacker sees them."""

import dataclasses
import functools

import numpy as np
import pytest
import scipy.stats

from softtargets.report import attacks
from softtargets.report.leak_pairs import LeakPair, leak_lines, leak_pairs
from softtargets.report.leaks import Leak
from softtargets.report.standing import Setting
from softtargets.report.statistics import holm

SEEDS, SAMPLES = 30, 40
RETRAINED = np.random.default_rng(0).normal(size=(SEEDS, SAMPLES))
NAMES = tuple(f"{seed:x}" for seed in range(SEEDS))
FIELDS = {one.name: 0.0 for one in dataclasses.fields(Leak) if one.default is dataclasses.MISSING}


def setting(dataset: str) -> Setting:
    names = {"dataset": dataset, "architecture": "mlp", "training": "mlp", "forget_set": "random"}
    return Setting(tuple(names.items()))


def auc(shift: float, rows: np.ndarray | slice = slice(None)) -> float:
    """Return the AUC of U-LiRA for models that lie so far above retrained ones."""
    return float(attacks.lira((RETRAINED[::-1] + shift)[rows], RETRAINED[rows]).auc)


def without_each(shift: float) -> tuple[float, ...]:
    return tuple(auc(shift, np.arange(SEEDS) != seed) for seed in range(SEEDS))


def leak(algorithm: str, targets: str | None, shift: float, **more) -> Leak:
    """Return what U-LiRA finds of an arm whose models lie so far above retrained ones."""
    known = {"setting": setting("digits"), "arm": f"{algorithm} {targets}", "attack": "U-LiRA", "models": SEEDS}
    known |= {"auc": auc(shift), "auc_without": without_each(shift), "retrained": NAMES}
    return Leak(**FIELDS | known | {"algorithm": algorithm, "targets": targets} | more)


def names(leaks: list[Leak], *primary: tuple[str, str]) -> list[tuple[str, str]]:
    return [(pair.one.arm, pair.other.arm) for pair in leak_pairs(leaks, primary)]


def test_arms_are_paired_within_an_algorithm_and_the_least_leaking_of_both_kinds_beyond():
    found = [leak("npo", "hard", 1.0), leak("npo", "soft", 0.5), leak("scrub", "hard", 0.2), leak("none", None, 3)]
    assert names(found) == [("npo soft", "npo hard"), ("npo soft", "scrub hard")]
    assert [", picked by these AUCs)." in line for line in leak_lines(found)] == [False, True]
    found[1] = dataclasses.replace(found[1], keeps_utility=False)
    assert all(line.endswith("; npo soft loses utility).") for line in leak_lines(found))
    found[0] = dataclasses.replace(found[0], keeps_utility=False)
    assert leak_lines(found)[0].endswith("; npo soft and npo hard lose utility).")
    assert names([*found, leak("scrub", "soft", 0.1)])[1:] == [("scrub soft", "scrub hard")]
    assert names(found[:1]) == names(found[1:2]) == []


def test_the_arms_of_a_primary_contrast_are_paired_first():
    found = [leak("npo", "hard", 1.0), leak("npo", "soft", 0.5), leak("retrain", None, 0.2)]
    asked = [("npo soft", "retrain None"), ("npo soft", "of another setting")]
    assert names(found, *asked) == [("npo soft", "retrain None"), ("npo soft", "npo hard")]
    assert names(found, ("npo soft", "npo hard")) == [("npo soft", "npo hard")], "once"


def test_two_arms_that_were_named_are_not_picked_and_stand_there_once():
    found = [leak("npo", "hard", 1.0), leak("npo", "soft", 0.5)]
    for asked in (("npo soft", "npo hard"), ("npo hard", "npo soft")):
        (pair,) = leak_pairs(found, [asked])
        assert ((pair.one.arm, pair.other.arm), pair.picked) == (asked, False)
        assert pair.p == pair.difference.p


@pytest.mark.parametrize("more", [{"retrained": NAMES[1:]}, {"attack": "RMIA"}, {"setting": setting("clothes")}])
def test_arms_with_other_models_are_not_paired(more):
    assert names([leak("npo", "hard", 1.0), leak("npo", "soft", 0.5, **more)]) == []


@pytest.mark.parametrize(
    ("soft", "words"), [(0.2, "leaves less"), (3.0, "leaves more"), (1.0, "is not shown to leave less or more")]
)
def test_the_interval_is_a_jackknife_over_seeds_of_both_arms(soft, words):
    found = [leak("npo", "hard", 1.0), leak("npo", "soft", soft)]
    whole = auc(soft) - auc(1.0)
    rest = [one - other for one, other in zip(without_each(soft), without_each(1.0), strict=True)]
    pseudo = [SEEDS * whole - (SEEDS - 1) * one for one in rest]
    reach = scipy.stats.t.ppf(0.975, SEEDS - 1) * scipy.stats.sem(pseudo)
    (pair,) = leak_pairs(found)
    assert pair.difference.interval() == pytest.approx((whole - reach, whole + reach), abs=1e-12)
    errors = abs(whole) / scipy.stats.sem(pseudo) if whole else 0.0
    assert pair.p == pytest.approx(2 * scipy.stats.t.sf(errors, SEEDS - 1), rel=1e-6)
    (line,) = leak_lines(found)
    assert f"npo soft {words} " in line
    assert f"difference {whole:+.3f}" in line


def test_the_verdicts_of_several_pairs_are_corrected_for_their_number():
    shifts = {"a": 0.99, "b": 0.98, "c": 0.995}
    alone = [leak_pairs([leak(name, "hard", 1.0), leak(name, "soft", shift)])[0] for name, shift in shifts.items()]
    assert [pair.p for pair in alone] == [pair.difference.p for pair in alone]
    every = [
        leak(name, kind, shifts[name] if kind == "soft" else 1.0) for name in shifts for kind in ("hard", "soft")
    ]
    together = leak_pairs(every)
    # the least leaking of both kinds are a fourth pair
    assert [pair.p for pair in together] == holm([pair.difference.p for pair in together])
    assert 0 < min(pair.p for pair in alone) < min(pair.p for pair in together)


@pytest.mark.long
def test_equal_arms_are_told_apart_as_seldom_as_95_percent_promises():
    numbers, apart = np.random.default_rng(0), 0
    models, samples, studies = 12, 40, 200
    for _ in range(studies):
        leaking = np.abs(numbers.normal(1, 0.7, samples))
        one, other, retrained = (numbers.normal(size=(models, samples)) for _ in range(3))
        pair = LeakPair(*(judged(arm + leaking, retrained) for arm in (one, other)))
        low, high = pair.difference.interval()
        apart += not low <= 0 <= high
    assert apart <= scipy.stats.binom.ppf(0.999, studies, 0.05)


def judged(unlearned: np.ndarray, retrained: np.ndarray) -> Leak:
    """Return what U-LiRA finds of these margins."""
    rows = [np.arange(len(retrained)) != seed for seed in range(len(retrained))]
    without = tuple(float(attacks.lira(unlearned[row], retrained[row]).auc) for row in rows)
    area = float(attacks.lira(unlearned, retrained).auc)
    return dataclasses.replace(any_leak(), auc=area, auc_without=without)


@functools.cache
def any_leak() -> Leak:
    return leak("npo", "soft", 0.5)
