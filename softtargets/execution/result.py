"""The content of result.json: the public interface that reports read."""

import dataclasses
import datetime
import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy
import torch
from torch import Tensor, nn

from softtargets import RESULT_SCHEMA
from softtargets.config.resolve import decisive
from softtargets.cost import Spent
from softtargets.evaluation import matched, metrics
from softtargets.evaluation.diagnosis import MEANING, Diagnosis
from softtargets.evaluation.evaluate import Evaluation, change, distance
from softtargets.evaluation.faces import faces
from softtargets.evaluation.trajectory import COLUMNS, Trajectory
from softtargets.execution.experiment import Experiment
from softtargets.execution.models import Trained
from softtargets.execution.own_measures import described
from softtargets.execution.provenance import provenance
from softtargets.execution.rehearsal import answers_cost
from softtargets.execution.requests import Answer
from softtargets.execution.run_clock import RunClock
from softtargets.execution.target_sets import TargetSets
from softtargets.fit import Fit, predict
from softtargets.marks import Algorithm
from softtargets.mu_algo import INPUTS
from softtargets.system.memory import peak_bytes
from softtargets.types import Evaluated, Samples, Split, digest, model_digest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that a run made and measured, before any of it is written."""

    original: Trained
    retrained: Trained
    further: list[Trained]
    """Retrained models beyond the first, as many as `references` asks for."""
    unlearned: nn.Module
    targets: TargetSets
    fit: Fit
    """Of the unlearning."""
    spent: Spent
    """What the unlearning took."""
    seconds_a_sample: float
    """CPU seconds of a gradient sample of training, at the precision of the unlearning."""
    evaluations: dict[str, Evaluation]
    further_evaluations: list[Evaluation]
    extra_metrics: dict[str, dict]
    """Of each model, what `evidence` asks for."""
    diagnosis: Diagnosis
    trajectory: Trajectory
    status: str
    twin: nn.Module | None = None
    """What an algorithm with a promise makes of the retrained model."""
    answers: Sequence[Answer] = ()
    """What each request made, where there are several. The unlearned model is then that of the last one, and
    `spent` what all of them took."""
    models_from: dict[str, list[str]]
    """Names of the models that were `made`, and of those that came `from_store`."""
    clock: RunClock

    @property
    def models(self) -> dict[str, nn.Module]:
        """Return the three models by name."""
        return {"original": self.original.model, "retrained": self.retrained.model, "unlearned": self.unlearned}


def content(experiment: Experiment, outcome: Outcome) -> dict:
    """Return the content of result.json, in which numbers may still be what JSON cannot hold."""
    trajectory, marks = outcome.trajectory, Algorithm.of(experiment.unlearn)
    level = trajectory.level
    return {
        "schema": RESULT_SCHEMA,
        "status": outcome.status,
        "explanation": MEANING.get(outcome.status),
        "upper_bound": any(recipe.upper_bound for recipe in experiment.recipes.values()),
        "ignores_targets": marks.ignores_targets,
        "comparison_only": marks.comparison_only,
        "choices": choices(experiment.config),
        "config": decisive(experiment.config),
        "tuned_on": experiment.config.get("tuned_on"),
        **measured(
            outcome.models,
            outcome.evaluations,
            experiment.data,
            extra_metrics=outcome.extra_metrics,
            further=outcome.further_evaluations,
        ),
        "evidence": described(experiment.own_measures, outcome.extra_metrics["unlearned"]),
        **promise(experiment),
        **ensemble(experiment),
        **({"requests": [request(one, outcome) for one in outcome.answers]} if outcome.answers else {}),
        "diagnosis": dataclasses.asdict(outcome.diagnosis),
        "trajectory": trajectory.columns,
        "matched": matched.point(trajectory.columns, level),
        "matched_level": level and level._asdict(),
        "stop_rule": trajectory.stop_rule(),
        "cost": run_costs(experiment, outcome) | {"peak_bytes": peak_bytes()} | outcome.models_from,
        "hashes": hashes(experiment, outcome),
        "data": describe(experiment.data) | scores_of(experiment.data),
        "provenance": provenance(experiment.config, experiment.config_hash, outcome.clock.started),
    }


def audit_content(
    models: Mapping[str, nn.Module],
    evaluations: Mapping[str, Evaluation],
    data: Evaluated,
    named: dict[str, str | int],
    started: datetime.datetime,
    further: Sequence[Evaluation] = (),
) -> dict:
    """Return the content of an audit's result.json: that of a run, without what only its making could tell.

    `named` are its choices. What is not known is None, and for a hash "none".
    """
    parameter = next(models["original"].parameters(), torch.zeros(0))
    machine = {"device": parameter.device.type, "threads": torch.get_num_threads(), "precision": _name(parameter)}
    known = [*(evaluations[name] for name in models), *further]
    status = "diverged" if any(one.metrics["class_acc"] is None for one in known) else "ok"
    unknown = dict.fromkeys(("original", "retrained", "unlearned", "forget_set", "batches", "targets"), "none")
    return {
        "schema": RESULT_SCHEMA,
        "audit": True,
        "status": status,
        "explanation": MEANING.get(status),
        "upper_bound": False,
        "choices": named,
        "config": {},
        **measured(models, evaluations, data, further=further),
        "diagnosis": dict.fromkeys(field.name for field in dataclasses.fields(Diagnosis)),
        "trajectory": {name: [] for name in COLUMNS},
        "matched": None,
        "matched_level": None,
        "stop_rule": None,
        "cost": {"unlearn_s": None},
        "hashes": unknown
        | {name: model_digest(model) for name, model in models.items()}
        | {"forget_set": data.forget.digest},
        "data": describe(data),
        "provenance": provenance(machine, None, started),
    }


def _name(parameter: Tensor) -> str:
    return str(parameter.dtype).removeprefix("torch.")


def measured(
    models: Mapping[str, nn.Module],
    evaluations: Mapping[str, Evaluation],
    data: Evaluated,
    extra_metrics: Mapping[str, dict] | None = None,
    further: Sequence[Evaluation] = (),
) -> dict:
    """Return what a result says of the models `original`, `unlearned` and, where there is one, `retrained`.

    The `metrics` of each, with `extra_metrics`; the `distance` of the unlearned model to the retrained one and
    `baseline`, that of doing nothing; the `faces` against it and the `further` retrained models; the `change` from
    the original. Without a retrained model distance, baseline and faces are None.
    """
    extra, reference = extra_metrics or {}, evaluations.get("retrained")

    def distance_of(name: str) -> dict | None:
        return None if reference is None else distance(evaluations[name], reference, data)

    return {
        "metrics": {name: one.metrics | extra.get(name, {}) for name, one in evaluations.items()},
        "distance": distance_of("unlearned"),
        "baseline": distance_of("original"),
        "faces": None if reference is None else faces(evaluations, [reference, *further], data),
        "change": change(models["unlearned"], models["original"]),
    }


def stage_content(config_hash: str, models_from: dict[str, list[str]]) -> dict:
    """Return the content of `<stage>.json`, for a run that ends after this stage."""
    return {"provenance": {"config_hash": config_hash}, "cost": models_from}


def finite(value):
    """Return a value with None instead of every number that JSON cannot hold, at any depth."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def choices(config: dict) -> dict:
    """Return the choice in each group, and both seeds."""
    return config["choices"] | {"seed": config["seed"], "forget_seed": config["forget_set"]["seed"]}


def sizes(data: Evaluated) -> dict[str, int]:
    """Count the samples of every set on which models are measured, and before them those of training."""
    trained = {"train": len(data.train)} if isinstance(data, Split) else {}
    return trained | {name: len(samples) for name, samples in data.evaluated().items()}


def describe(data: Evaluated) -> dict:
    """Return sizes, shape and hashes of the data."""
    copies = {"copies_dropped": data.copies_dropped} if isinstance(data, Split) else {}
    names = {"class_names": list(data.class_names)} if isinstance(data, Split) else {}
    hashes = {"train": _training_digest(data)} | {name: one.digest for name, one in data.evaluated().items()}
    return {
        "input_shape": list(data.input_shape),
        "classes": data.classes,
        **names,
        "sizes": sizes(data),
        **copies,
        "membership_pairs": len(data.membership.members),
        "hashes": hashes,
    }


def scores_of(data: Split) -> dict:
    """Return the means of the scores that chose the forget set, and their hash; nothing without scores."""
    if data.train_scores is None:
        return {}
    scores = data.train_scores.double()
    means = {"forget": scores[data.forget_positions].mean().item(), "train": scores.mean().item()}
    return {"scores": {"means": means, "sha256": digest(data.train_scores)}}


def score_arrays(data: Split) -> dict[str, numpy.ndarray]:
    """Return the scores of the forget set, by which it was chosen; nothing without scores."""
    if data.train_scores is None:
        return {}
    return {"forget_scores": data.train_scores[data.forget_positions].cpu().numpy()}


def _training_digest(data: Evaluated) -> str:
    """Hash the training set; an audit does not know its order, and hashes forget and retain set instead."""
    if isinstance(data, Split):
        return data.train.digest
    return hashlib.sha256(f"{data.forget.digest}{data.retain.digest}".encode()).hexdigest()


def run_costs(experiment: Experiment, outcome: Outcome) -> dict:
    """Return each stage's seconds when it was computed, and rte = retrain_s / (targets_s + unlearn_s).

    teachers_s is separate: teachers do not depend on the samples to forget and can be trained before the request.
    """
    targets, account, seconds = outcome.targets, outcome.fit.account, outcome.spent.seconds
    return {
        "train_s": outcome.original.seconds,
        "retrain_s": outcome.retrained.seconds,
        "teachers_s": sum(targets.teachers.values()),
        "teachers": list(targets.teachers),
        "targets_s": targets.seconds,
        "unlearn_s": seconds,
        "unlearn_cpu_s": outcome.spent.cpu_seconds,
        "rte": outcome.retrained.seconds / (targets.seconds + seconds),
        **outcome.clock.took(),
        **shares(experiment, outcome),
        "gradient_samples": account.gradient_samples,
        "steps": account.steps,
        "stopped": account.stopped,
    } | costs_of_requests(outcome)


def promise(experiment: Experiment) -> dict:
    """Return the ε and δ that the algorithm promises; nothing without a promise."""
    promised = Algorithm.of(experiment.unlearn).promise
    if promised is None:
        return {}
    settings = {name: value for name, value in experiment.unlearn.keywords.items() if name not in INPUTS}
    return {"promise": dict(zip(("epsilon", "delta"), promised(**settings), strict=True))}


def ensemble(experiment: Experiment) -> dict:
    """Count the shards of an algorithm that has some, and those that hold samples to forget; else nothing."""
    if experiment.shards is None:
        return {}
    return {"ensemble": {"shards": experiment.shards, "touched": len(experiment.touched)}}


def twin_arrays(twin: nn.Module | None, forget: Samples) -> dict[str, numpy.ndarray]:
    """Return the margins on the forget set of what the algorithm makes of the retrained model, where it does."""
    if twin is None:
        return {}
    return {"forget_twin": metrics.margins(predict(twin, forget), forget.labels).cpu().numpy()}


def request(answer: Answer, outcome: Outcome) -> dict:
    """Return what the result says of one request of several."""
    account, spent = answer.fit.account, answer.spent
    costs = {
        "retrain_s": answer.retrained.seconds,
        "teachers_s": sum(answer.targets.teachers.values()),
        "targets_s": answer.targets.seconds,
        "unlearn_s": spent.seconds,
        **shares_of(answer.experiment, spent, outcome.seconds_a_sample),
        "gradient_samples": account.gradient_samples,
        "steps": account.steps,
        "stopped": account.stopped,
    }
    return answer.measured | ensemble(answer.experiment) | {"cost": costs}


SHARES = ("share", "share_seconds", "prepared_share")


def costs_of_requests(outcome: Outcome) -> dict:
    """Return the costs of all requests together, against one retraining for each; nothing where there is only one.

    They stand in the place of those of an unlearning at once. Teachers are trained for each request.
    """
    if not outcome.answers:
        return {}
    each = [request(one, outcome)["cost"] for one in outcome.answers]
    whole = [one.experiment.retraining_samples for one in outcome.answers]
    sums = ("retrain_s", "teachers_s", "targets_s", "forward_samples", "backward_samples")
    costs = {name: sum(one[name] for one in each) for name in (*sums, "gradient_samples", "steps")}
    costs["teachers"] = [name for one in outcome.answers for name in one.targets.teachers]
    for name in SHARES:
        costs[name] = sum(one[name] * size for one, size in zip(each, whole, strict=True)) / sum(whole)
    took = costs["targets_s"] + sum(one["unlearn_s"] for one in each)
    return costs | {"rte": costs["retrain_s"] / took}


def shares(experiment: Experiment, outcome: Outcome) -> dict:
    """Return the costs of the run's unlearning as shares of retraining, see `shares_of`."""
    return shares_of(experiment, outcome.spent, outcome.seconds_a_sample)


def shares_of(experiment: Experiment, spent: Spent, seconds_a_sample: float) -> dict:
    """Return what was computed after the request, and before it, as shares of what retraining takes.

    After it come the teachers' answers, the unlearning and the looks of a stop rule; before it their trainings.
    The seconds of answers and looks, of which the clock knows nothing, are those of their samples.
    """
    answers, whole = answers_cost(experiment), experiment.retraining_samples
    predicted, taught = spent.looked + answers.predicted, answers.trained * experiment.epochs
    return {
        "share": ((spent.forward + predicted + 2 * spent.backward) / 3 + taught) / whole,
        "share_seconds": (spent.cpu_seconds / seconds_a_sample + predicted / 3 + taught) / whole,
        "budget": experiment.unlearning.cost,
        "prepared_share": answers.prepared * experiment.epochs / whole,
        "forward_samples": spent.forward + predicted + taught,
        "backward_samples": spent.backward + taught,
    }


def hashes(experiment: Experiment, outcome: Outcome) -> dict:
    """Return the hashes that show whether two runs share models, forget set and batches, and differ in targets."""
    forget, retain = outcome.targets.forget, outcome.targets.retain
    return {
        "original": outcome.original.digest,
        "retrained": outcome.retrained.digest,
        "further_retrained": [model.digest for model in outcome.further],
        "unlearned": model_digest(outcome.unlearned),
        "forget_set": experiment.data.forget.digest,
        "batches": outcome.fit.plan_digest(forget, retain),
        "targets": digest(forget.targets, retain.targets),
    }


def margin_arrays(
    evaluations: Mapping[str, Evaluation], further: Sequence[Evaluation] = ()
) -> dict[str, numpy.ndarray]:
    """Return each model's margins on forget and test set.

    With the retrained models' probabilities on the forget set, from which distances between them follow. Arrays of
    further retrained models end in `retrained_2`, `retrained_3` …
    """
    numbered = {f"retrained_{number}": one for number, one in enumerate(further, start=2)}
    arrays = {
        f"{set_name}_{model}": values
        for model, evaluation in {**evaluations, **numbered}.items()
        for set_name, values in evaluation.margins.items()
    }
    for model, evaluation in {"retrained": evaluations["retrained"], **numbered}.items():
        arrays[f"forget_probs_{model}"] = evaluation.logits["forget"].double().softmax(1).float()
    return {name: values.cpu().numpy() for name, values in arrays.items()}
