"""One run: train the original, retrain without the forget set, make targets, unlearn, evaluate all three."""

import dataclasses
import datetime
import shlex
import time
from collections.abc import Iterable
from pathlib import Path

import numpy
import torch
from omegaconf import OmegaConf
from torch import nn

from softtargets import RESULT_SCHEMA
from softtargets.config.resolve import asked
from softtargets.console import Console
from softtargets.errors import BadInput
from softtargets.evaluation import matched
from softtargets.evaluation.diagnosis import MEANING, Diagnosis, diagnose, learnt_nothing
from softtargets.evaluation.evaluate import Evaluation, change, distance, evaluate, predict_sets
from softtargets.evaluation.evidence import confidence_attack, relearn_steps
from softtargets.evaluation.trajectory import Trajectory
from softtargets.execution import result
from softtargets.execution.experiment import Experiment, build
from softtargets.execution.models import Stages, Trained
from softtargets.execution.saved_models import save_models
from softtargets.execution.target_sets import TargetSets, target_sets
from softtargets.fit import Account, Fit, predict
from softtargets.marks import Algorithm
from softtargets.store import Store, folder
from softtargets.system.files import make_folder, write_text
from softtargets.tracker.tracked import Untracked, tracking
from softtargets.types import digest, model_digest


def run(config: dict, output: Path, console: Console) -> dict | None:
    """Run a resolved config and leave result.json, margins.npz and config.yaml in `output`.

    Returns the result; None for a `stage` that ends before there is one. Raises BadInput before any work.
    """
    started = datetime.datetime.now(datetime.UTC)
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms, which imports torch's compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs a tenth of a small step
    experiment = build(config)
    result.clear_earlier(output)
    with tracking(experiment.settings.tracker, config, experiment.epoch_steps(), output, console) as tracker:
        return _run(experiment, output, console, tracker, started)


def _run(
    experiment: Experiment, output: Path, console: Console, tracker: Untracked, started: datetime.datetime
) -> dict | None:
    config = experiment.config
    console.choices(config, result.sizes(experiment.data))
    if experiment.data.copies_dropped:
        console.say(f"left out {experiment.data.copies_dropped} training images that are copies of others")
    for note in experiment.data.notes:
        console.say(note)
    if experiment.settings.stage == "data":
        return result.leave_stage(output, "data", experiment.config_hash, {"made": [], "from_store": []})
    stages = Stages(experiment, Store(folder(experiment.settings.store.dir), console.say), console)
    original, retrained = stages.original(), stages.retrained()
    reference = {model.name: evaluate(stages.logits(model), experiment.data) for model in (original, retrained)}
    targets = target_sets(stages, original, retrained)
    models_from = {"made": stages.made, "from_store": stages.from_store}
    if experiment.settings.stage == "train":
        return result.leave_stage(output, "train", experiment.config_hash, models_from)
    untrained = is_untrained(experiment, reference["original"])
    diagnosis = diagnose_targets(experiment, original.model, targets, reference["original"], console, untrained)
    trajectory = watcher(experiment, reference["retrained"])
    fit, unlearned, unlearn_s = unlearn(experiment, original.model, targets, trajectory, console)
    found = evaluate(predict_sets(unlearned, experiment.data), experiment.data)
    evaluations = reference | {"unlearned": found}
    models = {"original": original.model, "retrained": retrained.model, "unlearned": unlearned}
    more = evidence(experiment, models, evaluations)
    flag = flagged(experiment, diagnosis, untrained)
    status = status_of(flag, fit.account, unlearned, (original, retrained))
    content = {
        "schema": RESULT_SCHEMA,
        "status": status,
        "explanation": MEANING.get(status),
        "upper_bound": any(recipe.upper_bound for recipe in experiment.recipes.values()),
        "choices": result.choices(config),
        "config": asked(config),
        "metrics": {name: evaluation.metrics | more[name] for name, evaluation in evaluations.items()},
        "distance": distance(found, reference["retrained"], experiment.data),
        "baseline": distance(reference["original"], reference["retrained"], experiment.data),
        "change": change(unlearned, original.model),
        "diagnosis": dataclasses.asdict(diagnosis),
        "trajectory": trajectory.columns,
        "matched": matched.point(trajectory.columns),
        "cost": costs(original, retrained, targets, unlearn_s, fit.account) | models_from,
        "hashes": hashes(experiment, original, retrained, unlearned, targets, fit),
        "data": result.describe(experiment.data),
        "provenance": result.provenance(config, experiment.config_hash, started),
    }
    first = result.made_meanwhile(output, started, experiment.config_hash)
    if first:
        console.say(f"another process ended this run first; its result is kept: {output}")
    else:
        write_outputs(output, experiment, content, evaluations, models, console)
    tracker.result(first or content)
    return first or content


def is_untrained(experiment: Experiment, original: Evaluation) -> bool:
    """Return whether the original learnt nothing, by the retain samples on which models are measured."""
    seen = experiment.monitored.split.retain
    logits = original.logits["retain"][experiment.monitored.positions["retain"]]
    return learnt_nothing(logits, predict(experiment.initialised("original"), seen.inputs), seen.labels)


def diagnose_targets(
    experiment: Experiment,
    original: nn.Module,
    targets: TargetSets,
    reference: Evaluation,
    console: Console,
    untrained: bool = False,
) -> Diagnosis:
    """Diagnose the targets at the original, before anything is unlearned; with `strict` refuse what is flagged."""
    fit = experiment.unlearning_fit(lambda step, steps, loss: None, lambda model, step: False)
    probs = reference.logits["forget"].softmax(1)
    found = diagnose(original, experiment.unlearn, targets.forget, targets.retain, fit, probs)
    flag = flagged(experiment, found, untrained)
    console.diagnosis(found, flag)
    if experiment.settings.strict and flag != "ok":
        raise BadInput(f"strict=true: the run is {flag}: {MEANING[flag]}; allowed with strict=false")
    return found


def flagged(experiment: Experiment, diagnosis: Diagnosis, untrained: bool = False) -> str:
    """Judge a diagnosis by the thresholds of the config; of an original that is untrained it says nothing."""
    if untrained:
        return "untrained"
    matter = not Algorithm.of(experiment.unlearn).ignores_forget_targets
    return diagnosis.flag(**experiment.settings.diagnosis.model_dump(), targets_matter=matter)


def watcher(experiment: Experiment, retrained: Evaluation) -> Trajectory:
    """Return what will look at the model on its way, holding it against the retrained one."""
    monitored = experiment.monitored
    logits = {name: values[monitored.positions[name]] for name, values in retrained.logits.items()}
    return Trajectory(monitored.split, logits, experiment.unlearning.stop == "matched")


def unlearn(
    experiment: Experiment, original: nn.Module, targets: TargetSets, trajectory: Trajectory, console: Console
) -> tuple[Fit, nn.Module, float]:
    """Run the algorithm; returns its fit, the unlearned model and the seconds it took, evaluation excluded."""
    with console.progress("unlearn") as progress:
        fit = experiment.unlearning_fit(progress, trajectory)
        started = time.perf_counter()
        unlearned = experiment.unlearn(original, targets.forget, targets.retain, fit)
        seconds = time.perf_counter() - started - trajectory.seconds
    return fit, unlearned.eval(), seconds


def evidence(experiment: Experiment, models: dict[str, nn.Module], evaluations: dict[str, Evaluation]) -> dict:
    """Return of every model what the config asks for beyond the usual; None for one that is not finite."""
    asked, data = experiment.settings.evidence, experiment.data
    found: dict[str, dict] = {}
    level = evaluations["original"].metrics["forget_acc"]
    for name, model in models.items():
        finite = evaluations[name].metrics["class_acc"] is not None
        found[name] = {}
        if "svc" in asked:
            made = confidence_attack(evaluations[name].logits, data) if finite else {}
            found[name] |= {key: made.get(key) for key in ("svc_accuracy", "svc_members")}
        if "relearn" in asked:
            steps = relearn_steps(model, data.forget, level, experiment.relearning_fit) if finite else None
            found[name] |= {"relearn_steps": steps}
    return found


def status_of(flag: str, account: Account, unlearned: nn.Module, trained: Iterable[Trained]) -> str:
    """Return the status: divergence first, then the flag from before the unlearning."""
    finite = all(bool(parameter.isfinite().all()) for parameter in unlearned.parameters())
    if account.diverged or not finite or any(model.diverged for model in trained):
        return "diverged"
    return flag


def costs(original: Trained, retrained: Trained, targets: TargetSets, unlearn_s: float, account: Account) -> dict:
    """Return seconds of each stage when it was made, and rte = retrain_s / (targets_s + unlearn_s).

    teachers_s is apart: teachers do not depend on the forget set and serve every request.
    """
    return {
        "train_s": original.seconds,
        "retrain_s": retrained.seconds,
        "teachers_s": sum(targets.teachers.values()),
        "teachers": list(targets.teachers),
        "targets_s": targets.seconds,
        "unlearn_s": unlearn_s,
        "rte": retrained.seconds / (targets.seconds + unlearn_s),
        "gradient_samples": account.gradient_samples,
        "steps": account.steps,
        "stopped": account.stopped,
    }


def hashes(
    experiment: Experiment, original: Trained, retrained: Trained, unlearned, targets: TargetSets, fit: Fit
) -> dict:
    """Return what proves that two runs shared models, forget set and batches, and differ in their targets."""
    return {
        "original": original.digest,
        "retrained": retrained.digest,
        "unlearned": model_digest(unlearned),
        "forget_set": experiment.data.forget.digest,
        "batches": fit.batches_digest(targets.forget, targets.retain),
        "targets": digest(targets.forget.targets, targets.retain.targets),
    }


def write_outputs(
    output: Path, experiment: Experiment, content: dict, evaluations, models, console: Console
) -> None:
    """Write everything, the result last, and show it."""
    make_folder(output)
    write_text(output / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(experiment.config)))
    if experiment.settings.save_models:
        save_models(output, models)
    path = result.write(output, content, margins(experiment, evaluations))
    console.result(content)
    console.say(f"result: {path}")
    console.say(f"report: python -m softtargets.report {shlex.quote(str(output.parent))}")


def margins(experiment: Experiment, evaluations: dict[str, Evaluation]) -> dict[str, numpy.ndarray]:
    """Return each model's margins on forget and test set, and which samples the forget set's are.

    With the retrained model's probabilities on the forget set, by which another retraining is told from it.
    """
    arrays = {
        f"{set_name}_{model}": values.cpu().numpy()
        for model, evaluation in evaluations.items()
        for set_name, values in evaluation.margins.items()
    }
    probs = evaluations["retrained"].logits["forget"].double().softmax(1).float()
    return arrays | {
        "forget_probs_retrained": probs.cpu().numpy(),
        "forget_index": experiment.data.forget_index.cpu().numpy(),
    }
