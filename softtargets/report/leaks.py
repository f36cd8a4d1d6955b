"""What attacks per sample find out: every arm of a report that has enough seeds on one forget set."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator

import numpy
from jaxtyping import Float

from softtargets.report import attacks
from softtargets.report.attacks import Population, Scores
from softtargets.report.endpoint import leave_one_out
from softtargets.report.measures import Floors
from softtargets.report.runs import Run
from softtargets.report.samples import Shown
from softtargets.report.seeds import LEAST, Margins, exchanges, measurable, usual_range
from softtargets.report.standing import Setting, gate, placed
from softtargets.report.statistics import holm

POPULATION = 500
"""Most test images that RMIA compares a sample with."""
DRAWS = {"U-LiRA": 999, "RMIA": 99, "RMIA, offline": 99}
"""Exchanges behind every null; the attack that is tested needs more."""
OF_MARGINS = 19
"""Exchanges behind the null of what is measured of the margins themselves, of which only the mean is used."""
WORST = 20
"""Number of samples that are named."""
RATES = numpy.logspace(-3, 0, 25)
"""False positive rates at which a ROC is drawn."""
MODELS = ("original", "retrained", "unlearned")


@dataclasses.dataclass(frozen=True)
class Leak:
    """One attack on one arm: what it finds out from models that share their forget set."""

    setting: Setting
    arm: str
    """`doing nothing` for the original models, `another retraining` for further retrained ones."""
    algorithm: str
    targets: str | None
    """By which it is drawn; None for a model that no targets have changed."""
    attack: str
    models: int
    """Number of unlearned models, and of retrained ones."""
    auc: float
    low: float
    high: float
    """95 % interval, by a jackknife over seeds that fits the attack anew."""
    null: float
    null_low: float
    null_high: float
    """Mean and 95 % of the AUC where the two models of a seed are exchanged at random."""
    p: float | None
    """One-sided, by these exchanges, adjusted by Holm over the arms of a report; of U-LiRA alone."""
    balanced_accuracy: float
    tpr_at_01: float
    tpr_at_001: float
    """True positive rates at false positive rates of 1 % and .1 %, over all models and samples."""
    tpr_at_01_low: float
    tpr_at_01_high: float
    """95 % interval, as that of the AUC."""
    tpr_at_01_null: float
    tpr_at_001_null: float
    """Means where the two models of a seed are exchanged at random."""
    epsilon: float | None
    """Lower bound of 95 % on ε of unlearning, by models; None for scores without a threshold of their own."""
    epsilon_most: float
    """The largest bound that so many models can show."""
    forgetting_score: float
    forgetting_score_null: float
    """Of the margins, whatever the attack: 1 where no sample is told apart; and its mean over exchanges."""
    klom: float
    klom_null: float
    """Binned KLoM in nats, of the margins, whatever the attack; and its mean over exchanges."""
    curve: tuple[tuple[float, float], ...] = ()
    """Points of the ROC: false positive rates, evenly spaced by logarithm, with true positive rates."""
    worst: tuple[int, ...] = ()
    """Positions in the forget set of the samples that leak most, the worst first."""
    worst_auc: tuple[float, ...] = ()
    """Their areas under the ROC curve over models."""
    images: tuple[Shown, ...] = ()
    """Their images, for U-LiRA where the dataset is on this machine."""
    retrained: tuple[str, ...] = ()
    """Hashes of the retrained models, one a seed."""
    auc_without: tuple[float, ...] = ()
    """AUC without each of the seeds, by an attack that is fitted without it."""
    keeps_utility: bool | None = None
    """Whether it passes the utility gate; None where that cannot be said."""

    @property
    def shown(self) -> str:
        """Return the arm's name, and whether it loses utility: to be recognised less is no merit then."""
        return f"{self.arm} (loses utility)" if self.keeps_utility is False else self.arm


def leaks(runs: list[Run]) -> list[Leak]:
    """Attack every arm with ten seeds on one forget set, doing nothing, and another retraining if runs have it."""
    made = [leak for arm in _arms(runs) for leak in _attacked(arm)]
    adjusted = holm([leak.p for leak in made])
    return [dataclasses.replace(leak, p=p) for leak, p in zip(made, adjusted, strict=True)]


@dataclasses.dataclass(frozen=True)
class _Arm:
    """Models of one kind, with the margins of all models of their runs."""

    run: Run
    """One of those that made them."""
    setting: Setting
    name: str
    model: str
    margins: dict[str, Margins]
    retrained: tuple[str, ...]
    algorithm: str
    targets: str | None = None
    keeps_utility: bool | None = None


def _arms(runs: list[Run]) -> Iterator[_Arm]:
    compared, floors = set(), Floors()
    for _, arm, _, every in measurable(runs):
        there = list(filter(has_finite_margins, every))
        if len(there) < LEAST:
            continue
        margins = _margins(there)
        result, (setting, name) = there[0].result, placed(there[0])
        first, known = (there[0], setting), (margins, tuple(run.result["hashes"]["retrained"] for run in there))
        # the same models in every cell that trains them
        trained = tuple(result["hashes"][model] for model in ("original", "retrained"))
        if trained not in compared:
            compared.add(trained)
            yield _Arm(*first, "doing nothing", "original", *known, "none")
            if "forget_retrained_2" in margins:
                yield _Arm(*first, "another retraining", "retrained_2", *known, "retrain")
        if (algorithm := result["choices"]["mu_algo"]) != "none":
            targets = None if result.get("ignores_targets") else arm
            yield _Arm(*first, name, "unlearned", *known, algorithm, targets, gate(there, floors).passed)


def has_finite_margins(run: Run) -> bool:
    """Return whether its models can be attacked."""
    names = [f"{part}_{model}" for part in ("forget", "test") for model in _models([run])]
    return all(numpy.isfinite(each).all() for each in run.arrays(*names))


def _margins(runs: list[Run]) -> dict[str, Margins]:
    """Load the margins on forget set and test set, one row a seed."""
    names = [f"forget_{model}" for model in _models(runs)]
    columns = dict(zip(names, zip(*(run.of_forget_set(*names) for run in runs), strict=True), strict=True))
    tests = [f"test_{model}" for model in _models(runs)]
    columns |= dict(zip(tests, zip(*(run.arrays(*tests) for run in runs), strict=True), strict=True))
    return {name: numpy.stack(rows).astype(numpy.float64) for name, rows in columns.items()}


def _models(runs: list[Run]) -> tuple[str, ...]:
    """Return the models whose margins all these runs left."""
    return (*MODELS, *(["retrained_2"] if all(run.further for run in runs) else []))


def _attacked(arm: _Arm) -> Iterator[Leak]:
    margins = arm.margins
    every = math.ceil(margins["test_retrained"].shape[1] / POPULATION)
    samples = margins["forget_retrained"].shape[1]
    # side by side, so that an exchange of two models takes what they say of the population along
    both = [
        numpy.hstack([margins[f"forget_{name}"], margins[f"test_{name}"][:, ::every]])
        for name in (arm.model, "retrained")
    ]
    of_margins = _of_margins(*(each[:, :samples] for each in both))
    for name, attack in ATTACKS.items():

        def make(one: Margins, other: Margins, attack: Attack = attack) -> Scores:
            return attack(*(side for each in (one, other) for side in numpy.split(each, [samples], axis=1)))

        scores = make(*both)
        by_sample = scores.by_sample()
        worst = numpy.argsort(-by_sample, kind="stable")[:WORST]
        drawn = numpy.array([_rates(make(*exchanged)) for exchanged in exchanges(*both, DRAWS[name])])
        auc, tpr_at_01, tpr_at_001 = _rates(scores)
        without = _without_each(make, *both)
        (low, high), (tpr_low, tpr_high) = map(_interval, (auc, tpr_at_01), without.T[:2])
        null, (null_low, null_high) = drawn.mean(0), usual_range(auc, drawn[:, 0])
        yield Leak(
            arm.setting,
            arm.name,
            arm.algorithm,
            arm.targets,
            name,
            models=len(both[0]),
            auc=auc,
            low=low,
            high=high,
            null=float(null[0]),
            null_low=null_low,
            null_high=null_high,
            p=float((1 + (drawn[:, 0] >= auc).sum()) / (len(drawn) + 1)) if attack is _lira else None,
            balanced_accuracy=scores.balanced_accuracy,
            tpr_at_01=tpr_at_01,
            tpr_at_001=tpr_at_001,
            tpr_at_01_low=tpr_low,
            tpr_at_01_high=tpr_high,
            tpr_at_01_null=float(null[1]),
            tpr_at_001_null=float(null[2]),
            epsilon=attacks.epsilon_bound(scores) if attack is _lira else None,
            epsilon_most=attacks.largest_bound(len(both[0])),
            **of_margins,
            curve=tuple((float(rate), scores.tpr(rate)) for rate in RATES),
            worst=tuple(worst.tolist()),
            worst_auc=tuple(by_sample[worst].tolist()),
            images=_images(arm.run, worst.tolist()) if attack is _lira else (),
            retrained=arm.retrained,
            auc_without=tuple(without[:, 0].tolist()),
            keeps_utility=arm.keeps_utility,
        )


def _without_each(make: Callable[..., Scores], ours: Margins, theirs: Margins) -> Float[numpy.ndarray, "_ 3"]:
    """Return the rates without each of the seeds, by an attack that is fitted without it."""
    rest = (numpy.delete(numpy.arange(len(ours)), seed) for seed in range(len(ours)))
    return numpy.array([_rates(make(ours[rows], theirs[rows])) for rows in rest])


def _interval(rate: float, without: Float[numpy.ndarray, " _"]) -> tuple[float, float]:
    """Return the 95 % interval of a rate.

    A bootstrap of scores would keep the attack that was fitted to all models, and be too narrow.
    """
    low, high = leave_one_out(rate, without).interval()
    return max(low, 0.0), min(high, 1.0)


def _images(run: Run, positions: list[int]) -> tuple[Shown, ...]:
    from softtargets.report.images import forget_images  # it imports torch, for which other reports need not wait

    return forget_images(run, positions)


def _rates(scores: Scores) -> list[float]:
    return [scores.auc, scores.tpr(0.01), scores.tpr(0.001)]


def _of_margins(ours: Margins, theirs: Margins) -> dict[str, float]:
    """Return forgetting score and binned KLoM, each with its null at the same number of models."""

    def measured(one: Margins, other: Margins) -> list[float]:
        return [attacks.forgetting_score(one, other), attacks.binned_klom(one, other)]

    names = ("forgetting_score", "klom")
    null = numpy.mean([measured(*exchanged) for exchanged in exchanges(ours, theirs, OF_MARGINS)], axis=0)
    values = dict(zip(names, measured(ours, theirs), strict=True))
    return values | {f"{name}_null": float(mean) for name, mean in zip(names, null, strict=True)}


def _lira(ours: Margins, our_z: Population, theirs: Margins, their_z: Population) -> Scores:
    return attacks.lira(ours, theirs)


def _rmia(ours: Margins, our_z: Population, theirs: Margins, their_z: Population, online: bool = True) -> Scores:
    return attacks.rmia(ours, theirs, (our_z, their_z), online)


Attack = Callable[[Margins, Population, Margins, Population], Scores]
ATTACKS: dict[str, Attack] = {
    "U-LiRA": _lira,
    "RMIA": _rmia,
    "RMIA, offline": functools.partial(_rmia, online=False),
}
"""By name: of margins on the samples and on the population, of unlearned and then of retrained models."""
