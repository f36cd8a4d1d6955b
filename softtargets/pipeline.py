"""One run: train the original, retrain without the forget set, make targets, unlearn, evaluate all three."""

import dataclasses
import datetime
import functools
import time
from pathlib import Path

import numpy
import torch
from omegaconf import OmegaConf
from torch import nn

from softtargets import result
from softtargets.console import Console
from softtargets.diagnosis import MEANING, Diagnosis, diagnose
from softtargets.disk import write_text
from softtargets.evaluate import Evaluation, change, distance, evaluate, has_forgotten
from softtargets.experiment import Experiment, build
from softtargets.fit import Account, Fit, predict
from softtargets.saved import save_models
from softtargets.stages import Stages, Trained, model_digest
from softtargets.store import Store, folder
from softtargets.types import Samples, digest


def run(config: dict, output: Path, console: Console) -> dict | None:
    """Run a resolved config and leave result.json, margins.npz and config.yaml in `output`.

    Returns the result; None for a `stage` that ends before there is one. Raises BadInput before any work.
    """
    started = datetime.datetime.now(datetime.UTC)
    torch.use_deterministic_algorithms(True, warn_only=True)
    experiment = build(config)
    console.choices(config, result.sizes(experiment.data))
    if experiment.data.copies_dropped:
        console.say(f"left out {experiment.data.copies_dropped} training images that are copies of others")
    if experiment.settings.stage == "data":
        return result.leave_stage(output, "data", experiment.config_hash, [])
    stages = Stages(experiment, Store(folder(experiment.settings.store.dir), console.say), console)
    original, retrained = stages.original(), stages.retrained()
    reference = {model.name: evaluate(stages.logits(model), experiment.data) for model in (original, retrained)}
    if experiment.settings.stage == "train":
        return result.leave_stage(output, "train", experiment.config_hash, stages.from_store)
    forget, retain, targets_s = stages.targets(original)
    diagnosis = examine(experiment, original.model, forget, retain, reference["original"])
    fit, unlearned, unlearn_s = unlearn(experiment, original.model, forget, retain, console)
    found = evaluate(
        {name: predict(unlearned, samples.inputs) for name, samples in experiment.data.evaluated().items()},
        experiment.data,
    )
    evaluations = reference | {"unlearned": found}
    cost = costs(original, retrained, targets_s, unlearn_s, fit.account) | {"from_store": stages.from_store}
    status = judge(experiment, diagnosis, fit.account, unlearned, (original, retrained))
    content = {
        "schema": result.SCHEMA,
        "status": status,
        "explanation": MEANING.get(status),
        "choices": result.choices(config),
        "metrics": {name: evaluation.metrics for name, evaluation in evaluations.items()},
        "distance": distance(found, reference["retrained"]),
        "baseline": distance(reference["original"], reference["retrained"]),
        "change": change(unlearned, original.model),
        "diagnosis": dataclasses.asdict(diagnosis),
        "cost": cost,
        "hashes": hashes(experiment, original, retrained, unlearned, forget, retain, fit),
        "data": result.describe(experiment.data),
        "provenance": result.provenance(config, experiment.config_hash, started),
    }
    models = {"original": original.model, "retrained": retrained.model, "unlearned": unlearned}
    return leave(output, experiment, content, evaluations, models, console)


def examine(experiment: Experiment, original: nn.Module, forget, retain, reference: Evaluation) -> Diagnosis:
    """Diagnose the targets at the original, before anything is unlearned."""
    fit = experiment.unlearning_fit(lambda step, steps, loss: None, lambda model, step: False)
    return diagnose(original, experiment.unlearn, forget, retain, fit, reference.logits["forget"].softmax(1))


def unlearn(experiment: Experiment, original: nn.Module, forget: Samples, retain: Samples, console: Console):
    """Run the algorithm; returns its fit, the unlearned model and the seconds it took, evaluation excluded."""
    watch = Watch(experiment)
    with console.progress("unlearn") as progress:
        fit = experiment.unlearning_fit(progress, watch)
        started = time.perf_counter()
        unlearned = experiment.unlearn(original, forget, retain, fit)
        seconds = time.perf_counter() - started - watch.seconds
    return fit, unlearned.eval(), seconds


class Watch:
    """The stop rule `matched`, with a clock of its own: evaluation is no part of an algorithm's cost."""

    def __init__(self, experiment: Experiment):
        self.data = experiment.data
        self.seconds = 0.0

    def __call__(self, model: nn.Module, step: int) -> bool:
        """Tell whether the forget set is predicted no better than data never seen."""
        started = time.perf_counter()
        reached = has_forgotten(functools.partial(predict, model), self.data)
        self.seconds += time.perf_counter() - started
        return reached


def judge(experiment: Experiment, diagnosis: Diagnosis, account: Account, unlearned: nn.Module, trained) -> str:
    """Return the status: divergence first, then what the diagnosis flags."""
    finite = all(bool(parameter.isfinite().all()) for parameter in unlearned.parameters())
    if account.diverged or not finite or any(model.diverged for model in trained):
        return "diverged"
    return diagnosis.flag(**experiment.settings.diagnosis.model_dump())


def costs(original: Trained, retrained: Trained, targets_s: float, unlearn_s: float, account: Account) -> dict:
    """Return seconds of each stage when it was made, and rte = retrain_s / (targets_s + unlearn_s)."""
    return {
        "train_s": original.seconds,
        "retrain_s": retrained.seconds,
        "targets_s": targets_s,
        "unlearn_s": unlearn_s,
        "rte": retrained.seconds / (targets_s + unlearn_s),
        "gradient_samples": account.gradient_samples,
        "steps": account.steps,
        "stopped": account.stopped,
    }


def hashes(
    experiment: Experiment, original: Trained, retrained: Trained, unlearned, forget, retain, fit: Fit
) -> dict:
    """Return what proves that two runs shared models, forget set and batches, and differ in their targets."""
    return {
        "original": original.digest,
        "retrained": retrained.digest,
        "unlearned": model_digest(unlearned),
        "forget_set": experiment.data.forget.digest,
        "batches": fit.batches_digest(forget, retain),
        "targets": digest(forget.targets, retain.targets),
    }


def leave(output: Path, experiment: Experiment, content: dict, evaluations, models, console: Console) -> dict:
    """Write everything, the result last, and show it."""
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(experiment.config)))
    if experiment.settings.save_models:
        save_models(output, models)
    path = result.write(output, content, margins(experiment, evaluations))
    console.result(content)
    console.say(f"result: {path}")
    return content


def margins(experiment: Experiment, evaluations: dict[str, Evaluation]) -> dict[str, numpy.ndarray]:
    """Return each model's margins on forget and test set, and which samples the forget set's are."""
    arrays = {
        f"{set_name}_{model}": values.cpu().numpy()
        for model, evaluation in evaluations.items()
        for set_name, values in evaluation.margins.items()
    }
    return arrays | {"forget_index": experiment.data.forget_index.cpu().numpy()}
