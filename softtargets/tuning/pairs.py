"""Tuning pairs: seeds that no study uses, the models of each, and the score of a try on them."""

import copy
import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence

import torch
from scipy import stats
from torch import Tensor, nn

from softtargets.config.tuned_on import RESERVED
from softtargets.console import Console
from softtargets.errors import BadInput, Failed
from softtargets.evaluation import metrics
from softtargets.evaluation.attacks import auc
from softtargets.evaluation.faces import VALIDATION, Calibration, Face, js_t
from softtargets.evaluation.trajectory import Trajectory
from softtargets.execution.algorithm_inputs import with_inputs
from softtargets.execution.experiment import Experiment, build
from softtargets.execution.models import Stages, Trained
from softtargets.execution.requests import count_of
from softtargets.execution.scoring import scored
from softtargets.execution.target_sets import TargetSets, target_sets
from softtargets.execution.unlearning import unlearn
from softtargets.fit import predict
from softtargets.report import endpoint
from softtargets.store import Store, store_folder
from softtargets.system.files import canonical

TUNING, FRESH = RESERVED, RESERVED + 1000
"""First seed of the pairs on which tries are scored, and of those on which the winner is chosen."""
LOSS, WEIGHT = 0.01, 10
"""Accuracy that a model may lose for nothing, and what a point beyond it costs."""
FREE = 0.5
"""Share of the utility gate that a model may use for nothing."""
WORST = 100.0
"""Score of a try that diverged, whose weights or measures are not finite, and of one that had no step."""
Compose = Callable[[Sequence[str], int], dict]
"""Resolve words into the config of a pair."""
Measured = Sequence[float]
"""What an objective measures on one pair."""


SEEDS = ("seed", "dataset.seed", "forget_set.seed")
"""Settings that have the number of the pair."""


def seeded(pair: int) -> tuple[str, ...]:
    """Return the words of a pair."""
    return tuple(f"{name}={pair}" for name in SEEDS)


class Pair:
    """One pair; its models are made once and kept in the store for all tries and processes."""

    def __init__(self, number: int, words: Sequence[str], compose: Compose):
        self.number, self.compose = number, compose
        self.experiment = scored(_stages(build(compose(words, number))))
        if (count := count_of(self.experiment.config)) > 1:
            raise BadInput(f"forget_set.requests={count}: a search unlearns at once. Set forget_set.requests=1")
        self.check()
        self.stages = _stages(self.experiment)
        self.original = self.stages.original()
        self.targets: dict[str, TargetSets] = {}

    def tried(self, words: Sequence[str]) -> Measured | None:
        """Unlearn by these words and measure the model; None if its weights or measures are not finite."""
        experiment = build(self.compose(words, self.number), self.experiment.data)
        stages = _stages(experiment)
        retrained = self.known_retrained()
        targets = self._targets(stages, retrained)
        experiment, targets = with_inputs(experiment, stages, self.original, retrained, targets)
        # nothing is evaluated on the way: a schedule looks worst early
        trajectory = Trajectory(experiment.monitored.split, {}, 0)
        # a copy: an own algorithm may unlearn in the model that it gets, which all tries share
        original = copy.deepcopy(self.original.model)
        fit, model, _ = unlearn(experiment, original, targets, trajectory, stages.console)
        finite = all(bool(parameter.isfinite().all()) for parameter in model.parameters())
        measures = self.measured(model) if finite and not fit.account.diverged else (math.nan,)
        # weights may be finite where logits overflow
        return measures if _finite(measures) else None

    @property
    def fraction(self) -> str:
        """Return the setting that decides how many validation images there are, as it is typed."""
        name = "validation_fraction"
        return f"dataset.{name}={self.experiment.config['dataset'][name]}"

    def _targets(self, stages: Stages, retrained: Trained) -> TargetSets:
        """Return the targets of a try, computed or read once for all tries that have them in common."""
        config = stages.experiment.config
        # the stop rule decides whether targets may draw on the validation images
        key = canonical([config["targets"], config["unlearn"]["stop"]])
        if key not in self.targets:
            self.targets[key] = target_sets(stages, self.original, retrained)
        known = self.targets[key]
        # its batches may have another size than those of the try that came first
        return dataclasses.replace(known, forget=stages.experiment.to_forget(known.forget))

    def nothing(self) -> Measured:
        """Measure the original; raises Failed where nothing can be compared with it."""
        measures = self.measured(self.original.model)
        if not _finite(measures):
            raise Failed(
                f"seed={self.number}: the original or a retrained model is not finite, so no try can be scored. "
                "Train at a lower rate"
            )
        return measures

    def check(self) -> None:
        """Raise BadInput, before any model is made, where the data cannot give a score."""
        raise NotImplementedError

    def known_retrained(self) -> Trained:
        """Return the model that stands for the retrained one where targets are computed."""
        raise NotImplementedError

    def measured(self, model: nn.Module) -> Measured:
        """Measure a model."""
        raise NotImplementedError

    @staticmethod
    def score(measures: Sequence[Measured]) -> float:
        """Return the score of what was measured on several pairs; less is better."""
        raise NotImplementedError


def _stages(experiment: Experiment) -> Stages:
    """Return an experiment's stages, which print nothing."""
    return Stages(experiment, Store(store_folder(experiment.settings.store.dir)), Console.silent())


class NearRetrained(Pair):
    """The score is the share of the way to retrained models that is left, and a price for accuracy.

        S = mean(JS_T - floor) / mean(nothing - floor) + 10 max(0, mean(acc_r - acc_u) - .01)

    Means are over pairs. JS_T is the mean distance on the forget set to two retrained models r, `floor` that
    between them, `nothing` that of the original. acc is the accuracy on unseen images, on which temperatures are
    fitted too. Test images play no part. A retrained model has S of about 0, doing nothing 1, and more where its
    accuracy has a price.
    """

    def __init__(self, number: int, words: Sequence[str], compose: Compose):
        super().__init__(number, words, compose)
        data = self.experiment.data
        self.sets = {"forget": data.forget, "validation": data.validation, "spare": data.spare}
        self.calibration = Calibration.of(data)
        self.retrained = [self.stages.retrained(), *self.stages.further_references()]
        self.references = [self._face(one.model) for one in self.retrained]
        self.floor = js_t("forget", *self.references)
        self.original_face = self._face(self.original.model)
        self.nothing_at = self._distance("forget", self.original_face)

    def check(self) -> None:
        """Raise BadInput if there are too few images to fit temperatures on."""
        if Calibration.of(self.experiment.data).fitted_on != VALIDATION:
            raise BadInput(f"{self.fraction}: too few validation images to score tries. Give at least 100")

    def known_retrained(self) -> Trained:
        """Return the first retrained model."""
        return self.retrained[0]

    def measured(self, model: nn.Module) -> Measured:
        """Return JS_T and that of doing nothing, each less the floor, and the accuracy lost."""
        return self._of_face(self._face(model))

    def _of_face(self, face: Face) -> tuple[float, float, float]:
        lost = statistics.mean(one.metrics["acc"] for one in self.references) - face.metrics["acc"]
        return self._distance("forget", face) - self.floor, self.nothing_at - self.floor, lost

    @staticmethod
    def score(measures: Sequence[Measured]) -> float:
        """Return S, see above; raises Failed where doing nothing is no farther than a retrained model."""
        left, whole, lost = map(statistics.mean, zip(*measures, strict=True))
        return left / _positive(whole) + WEIGHT * max(0, lost - LOSS)

    def _distance(self, name: str, face: Face) -> float:
        return statistics.mean(js_t(name, face, one) for one in self.references)

    def _face(self, model: nn.Module) -> Face:
        logits = {name: predict(model, one) for name, one in self.sets.items() if one is not None}
        (fold,), (labels,) = self.calibration.folds, self.calibration.labels
        unseen = torch.cat([logits[name][positions] for name, positions in fold.items()])
        temperatures = self.calibration.temperatures(logits)
        return Face(logits | {"unseen": unseen}, temperatures, {"acc": metrics.accuracy(unseen, labels)})


class KeptUtility(NearRetrained):
    """The score is the share of the way that is left, and a steep price where utility is at risk.

        U = mean(JS_T - floor) / w + max(0, u - 1/2)
        u = max( mean(acc_r - acc_u) / .01, mean(JS_T' - nothing') / (.1 w) ),   w = mean(nothing - floor)

    JS_T' and nothing' are JS_T and that of doing nothing on unseen images. u is 1 where the report's utility gate
    closes, on average; half of it is free, since the gate looks at the end of an interval and at other images.
    Beyond that, each width of the gate costs as much as doing nothing.
    """

    def measured(self, model: nn.Module) -> Measured:
        """Return what `NearRetrained` does, and JS_T on unseen images less that of doing nothing."""
        face = self._face(model)
        return *self._of_face(face), self._distance("unseen", face) - self._distance("unseen", self.original_face)

    @staticmethod
    def score(measures: Sequence[Measured]) -> float:
        """Return U, see above; raises Failed as `NearRetrained` does."""
        left, way, lost, farther = map(statistics.mean, zip(*measures, strict=True))
        used = max(lost / -endpoint.LEAST_ACCURACY, farther / (endpoint.MARGIN * _positive(way)))
        return left / way + max(0.0, used - FREE)


def _positive(way: float) -> float:
    """Return the way from doing nothing to retraining; raises Failed where there is none."""
    if way <= 0:
        raise Failed(
            "nothing to search for: doing nothing is as near as another retrained model on these pairs. Train "
            "longer, or choose another forget set"
        )
    return way


SEES_RETRAINED = "objective=blind: these targets come from a retrained model. Choose other targets"


class _Refusing(nn.Module):
    """The model in the place of the retrained one where no score may see that."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Raise BadInput."""
        raise BadInput(SEES_RETRAINED)


class Blind(Pair):
    """The score sees no retrained model: likelihood of unseen images, and how well an attack finds the forget set.

        B = mean NLL on validation + 2 mean |AUC - 1/2|

    NLL is in nats. AUC is that of the margins φ of the forget set against validation images of the same class, a
    mean over classes by their share of the forget set; classes without validation images are left out. Means are
    over pairs.
    """

    def check(self) -> None:
        """Raise BadInput for targets that see a retrained model, and for a forget set without unseen images."""
        data = self.experiment.data
        if any(recipe.upper_bound for recipe in self.experiment.recipes.values()):
            raise BadInput(SEES_RETRAINED)
        if not torch.equal(data.forget_true_labels, data.forget.labels):
            raise BadInput(
                "objective=blind: no unseen image has wrong labels like the forget set. Choose retrained"
            )
        if not _common(data.forget.labels, data.validation.labels):
            raise BadInput(
                f"{self.fraction}: no validation image has a class of the forget set, as objective=blind needs. "
                "Give a larger fraction"
            )

    def known_retrained(self) -> Trained:
        """Return one that refuses to predict: targets may ask for it without the mark that says so."""
        return dataclasses.replace(self.original, name="retrained", model=_Refusing(), digest="hidden")

    def measured(self, model: nn.Module) -> Measured:
        """Return NLL and |AUC - 1/2|."""
        forget, unseen = self.experiment.data.forget, self.experiment.data.validation
        logits = [predict(model, one) for one in (forget, unseen)]
        if not all(z.isfinite().all() for z in logits):
            return math.nan, math.nan  # NaN has no rank
        members, others = (metrics.margins(z, one.labels) for z, one in zip(logits, (forget, unseen), strict=True))
        counts = {label: int((forget.labels == label).sum()) for label in _common(forget.labels, unseen.labels)}
        total = sum(
            auc(members[forget.labels == label], others[unseen.labels == label]) * count
            for label, count in counts.items()
        )
        return metrics.loss(logits[1], unseen.labels), abs(total / sum(counts.values()) - 0.5)

    @staticmethod
    def score(measures: Sequence[Measured]) -> float:
        """Return B, see above."""
        loss, gap = map(statistics.mean, zip(*measures, strict=True))
        return loss + 2 * gap


def _common(one: Tensor, other: Tensor) -> list[int]:
    """Return the labels that occur in both, in order."""
    return one[torch.isin(one, other)].unique().tolist()


def _finite(measures: Measured) -> bool:
    return all(map(math.isfinite, measures))


def interval(score: Callable[[Sequence[Measured]], float], measures: Sequence[Measured]) -> list[float] | None:
    """Return the ends of the 95 % interval of a score, by a jackknife over its pairs; None where there is none.

    There is none for one pair, nor where without some pair doing nothing is as near as a retrained model.

    A score is a ratio of means, so a pair has no score by itself. SE² = (n - 1) / n · Σ (s_i - mean)², where s_i
    is the score without pair i. The quantile is that of t with n - 1 degrees of freedom.
    """
    n = len(measures)
    if n < 2:
        return None
    try:
        without = [score([*measures[:i], *measures[i + 1 :]]) for i in range(n)]
    except Failed:
        return None
    half = stats.t.ppf(0.975, n - 1) * ((n - 1) * statistics.pvariance(without)) ** 0.5
    return [round(float(score(measures) + sign * half), 4) for sign in (-1, 1)]


OBJECTIVES = {"retrained": NearRetrained, "utility": KeptUtility, "blind": Blind}
