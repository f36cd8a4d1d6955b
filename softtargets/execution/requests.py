"""Requests: parts of the forget set, each unlearned from the model that the request before left."""

import dataclasses

from torch import nn

from softtargets.config.validation import naming
from softtargets.cost import Spent
from softtargets.evaluation import metrics
from softtargets.evaluation.evaluate import Evaluation, change, distance, evaluate, predict_sets
from softtargets.execution import checks
from softtargets.execution.algorithm_inputs import prepared
from softtargets.execution.experiment import Experiment
from softtargets.execution.models import Stages, Trained
from softtargets.execution.rehearsal import budgeted
from softtargets.execution.target_sets import TargetSets
from softtargets.execution.unlearning import new_trajectory, unlearn
from softtargets.fit import Fit, predict
from softtargets.split import held_out_images, requests, sampled
from softtargets.system.words import counted
from softtargets.types import Joined, Split, model_digest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What one request made."""

    experiment: Experiment
    retrained: Trained
    """Trained without this request's samples and those of all requests before."""
    unlearned: Trained
    targets: TargetSets
    fit: Fit
    spent: Spent
    measured: dict
    """The request's `metrics`, `distance`, `drift` and `hashes` in the result."""


def count_of(config: dict) -> int:
    """Return the number of requests of a resolved config."""
    return config["forget_set"].get("requests", 1)


def experiments(experiment: Experiment) -> list[Experiment]:
    """Return an experiment for each request; raises BadInput where one cannot run.

    Their retrained models have as many epochs as the run's: the last one's is the run's own retrained model. A
    budget is a share of the request's own retraining.
    """
    seed, count = experiment.config["forget_set"]["seed"], count_of(experiment.config)
    with naming(f"forget_set.requests={count}"):
        parts = requests(experiment.data, count, seed)
    training = experiment.training.model_copy(update={"epochs": experiment.epochs})
    return [_of(dataclasses.replace(experiment, training=training, lengths=None), data, seed) for data in parts]


def _of(experiment: Experiment, data: Split, seed: int) -> Experiment:
    unlearning = experiment.unlearning
    monitored = sampled(data, unlearning.evaluate_samples, seed)
    one = dataclasses.replace(experiment, data=data, monitored=monitored)
    checks.require_whole_classes(one.unlearn, data)
    checks.require_shards(one.unlearn, data)
    checks.require_held_out(one.recipes, data, held_out_images(data, unlearning.stop))
    return one if unlearning.cost is None else budgeted(one)


def answers(stages: Stages, original: Trained) -> list[Answer]:
    """Unlearn one request after the other: the first from the original, each from what the one before left."""
    start, answered = original, []
    for number, one in enumerate(parts := experiments(stages.experiment), 1):
        stages.console.say(
            f"request {number} of {len(parts)}: {counted(len(one.data.forget), 'sample')} to forget"
        )
        own = dataclasses.replace(stages, experiment=one)
        retrained = own.retrained()
        reference = evaluate(own.logits(retrained), one.data)
        bound, targets = prepared(own, start, retrained)
        fit, model, spent = unlearn(bound, start.model, targets, new_trajectory(one, reference), stages.console)
        start = dataclasses.replace(
            start, model=model, digest=model_digest(model), diverged=fit.account.diverged, from_store=False
        )
        earlier = [answer.experiment.data for answer in answered]
        measured = _measured(one.data, earlier, original, start, retrained, reference)
        answer = Answer(
            experiment=one,
            retrained=retrained,
            unlearned=start,
            targets=targets,
            fit=fit,
            spent=spent,
            measured=measured,
        )
        answered.append(answer)
    return answered


def _measured(
    data: Split,
    earlier: list[Split],
    original: Trained,
    unlearned: Trained,
    retrained: Trained,
    reference: Evaluation,
) -> dict:
    """Compare the model after a request with its retrained model, on its samples and on those of all before."""
    after = evaluate(predict_sets(unlearned.model, data), data)
    models = {"unlearned": unlearned.model, "nothing": original.model}
    return {
        "samples": len(data.forget),
        "metrics": {"retrained": reference.metrics, "unlearned": after.metrics},
        "distance": distance(after, reference, data),
        "drift": {
            "relative_l2": change(unlearned.model, original.model)["relative_l2"],
            **{f"js_{name}": _js(model, retrained.model, [*earlier, data]) for name, model in models.items()},
            "js_earlier": _js(unlearned.model, retrained.model, earlier),
        },
        "hashes": {
            "retrained": retrained.digest,
            "unlearned": unlearned.digest,
            "forget_set": data.forget.digest,
        },
    }


def _js(model: nn.Module, retrained: nn.Module, parts: list[Split]) -> float | None:
    """Return the mean Jensen-Shannon divergence of two models, in nats, on the samples of some requests."""
    if not parts:
        return None
    forgotten = Joined(*(data.forget for data in parts))
    return metrics.js(predict(model, forgotten), predict(retrained, forgotten))
