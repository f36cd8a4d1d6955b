"""One run: train the original, retrain without the forget set, compute targets, unlearn, evaluate all three."""

import dataclasses
import shlex
from collections.abc import Iterable
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import nn

from softtargets.config import tuned_on
from softtargets.console import Console
from softtargets.cost import total
from softtargets.errors import BadInput, to_type
from softtargets.evaluation.diagnosis import MEANING, Diagnosis, diagnose, learnt_nothing
from softtargets.evaluation.evaluate import Evaluation, evaluate, predict_sets
from softtargets.evaluation.evidence import confidence_attack, no_attack, relearn_steps
from softtargets.evaluation.metrics import accuracy
from softtargets.evaluation.probes import probe
from softtargets.execution import requests, result, run_files
from softtargets.execution.agenda import agenda
from softtargets.execution.algorithm_inputs import prepared
from softtargets.execution.calibration import seconds_a_sample
from softtargets.execution.experiment import Experiment, build
from softtargets.execution.ingredients import of_logits
from softtargets.execution.memory import decided_by
from softtargets.execution.models import Stages, Trained
from softtargets.execution.own_measures import take
from softtargets.execution.result import Outcome
from softtargets.execution.run_clock import RunClock
from softtargets.execution.saved_models import save_models
from softtargets.execution.scoring import scored
from softtargets.execution.target_sets import TargetSets
from softtargets.execution.unlearning import new_trajectory, unlearn
from softtargets.fit import Account, predict
from softtargets.marks import Algorithm
from softtargets.store import Store, store_folder
from softtargets.system.files import canonical, make_folder, write_text
from softtargets.tracker.tracked import Untracked, tracking
from softtargets.types import model_digest


def run_experiment(config: dict, output: Path, console: Console) -> dict | None:
    """Run a resolved config, write result.json, margins.npz and config.yaml to `output`, and return the result.

    Returns None for a `stage` that ends before the result. Raises BadInput before any work.
    """
    run_clock = RunClock()
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms, which imports torch's compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs a tenth of a small step
    experiment = build(config)
    # a stage leaves a finished run's result alone. Where locks do not exclude, another process may have finished
    # this run since it was looked for
    stage = experiment.settings.stage
    run_files.remove_earlier(output, experiment.config_hash, run_clock.started if stage == "all" else None)
    store = Store(store_folder(experiment.settings.store.dir), console.say)
    stages = Stages(experiment, store, console, run_clock)
    if stage != "data":
        stages = dataclasses.replace(stages, experiment=scored(stages))
    experiment = stages.experiment
    with tracking(experiment.settings.tracker, config, experiment.epoch_steps(), output, console) as tracker:
        return _run(stages, output, tracker)


def _run(stages: Stages, output: Path, tracker: Untracked) -> dict | None:
    experiment, console = stages.experiment, stages.console
    data, stage = experiment.data, experiment.settings.stage
    show_data(experiment, console)
    if stage == "data":
        mark = result.stage_content(experiment.config_hash, {"made": [], "from_store": []})
        return run_files.write_stage(output, stage, mark)
    console.expect(agenda(experiment), may_stop=experiment.unlearning.stop == "matched")
    original, retrained = stages.original(), stages.retrained()
    further = stages.further_references()
    reference = {model.name: evaluate(stages.logits(model), data) for model in (original, retrained)}
    further_evaluations = [evaluate(stages.logits(model), data) for model in further]
    experiment, targets = prepared(stages, original, retrained)
    models_from = {"made": stages.trained_now, "from_store": stages.from_store}
    several = requests.count_of(experiment.config) > 1
    if stage == "train":
        if several:
            for one in requests.experiments(experiment):
                dataclasses.replace(stages, experiment=one).retrained()
        return run_files.write_stage(output, stage, result.stage_content(experiment.config_hash, models_from))
    untrained = is_untrained(experiment, reference["original"])
    diagnosis = diagnose_targets(experiment, original.model, targets, reference["original"], console, untrained)
    trajectory, answers = new_trajectory(experiment, reference["retrained"]), []
    if several:
        answers = requests.answers(stages, original)
        fit, unlearned, spent = answers[-1].fit, answers[-1].unlearned.model, total(one.spent for one in answers)
    else:
        fit, unlearned, spent = unlearn(experiment, original.model, targets, trajectory, console)
    evaluations = reference | {"unlearned": evaluate(predict_sets(unlearned, data, stages.more_sets), data)}
    models = {"original": original.model, "retrained": retrained.model, "unlearned": unlearned}
    flag = diagnosis_flag(experiment, diagnosis, untrained)
    outcome = Outcome(
        original=original,
        retrained=retrained,
        further=further,
        unlearned=unlearned,
        targets=targets,
        fit=fit,
        spent=spent,
        seconds_a_sample=seconds_a_sample(experiment),
        evaluations=evaluations,
        further_evaluations=further_evaluations,
        extra_metrics=extra_metrics(experiment, models, evaluations),
        diagnosis=diagnosis,
        trajectory=trajectory,
        status=status_of(
            flag, fit.account, unlearned, (original, retrained, *further, *(one.unlearned for one in answers))
        ),
        twin=twin_of(experiment, retrained, targets, reference["retrained"]),
        answers=answers,
        models_from=models_from,
        clock=stages.clock,
    )
    return write_outputs(output, experiment, outcome, console, tracker)


def twin_of(
    experiment: Experiment, retrained: Trained, targets: TargetSets, reference: Evaluation
) -> nn.Module | None:
    """Return what an algorithm with a promise makes of the retrained model, which the promise speaks of."""
    if Algorithm.of(experiment.unlearn).promise is None:
        return None
    trajectory = new_trajectory(experiment, reference)
    return unlearn(experiment, retrained.model, targets, trajectory, Console.silent())[1]


def show_data(experiment: Experiment, console: Console) -> None:
    """Print the choices of the run, and notes on how the data were read."""
    console.choices(experiment.config, result.sizes(experiment.data))
    if experiment.data.copies_dropped:
        console.say(f"left out {experiment.data.copies_dropped} training images that are copies of other images")
    for note in experiment.data.notes:
        console.say_sentence(note)
    for sentence in _tuning(experiment):
        console.say_sentence(sentence)
    if "svc" in experiment.settings.evidence and (why := no_attack(experiment.data)):
        console.say_sentence(f"evidence=[svc] will measure nothing: {why}")


def _tuning(experiment: Experiment) -> list[str]:
    """Return whether a search chose the settings of a run, at its budget, and for what else if not for this."""
    config, cost = experiment.config, experiment.unlearning.cost
    choices, seen = config["choices"], config.get("tuned_on") or {}
    images, dataset = len(experiment.data.train), choices["dataset"]
    if others := tuned_on.unlike(seen, config, choices, images):
        return [f"{one}: tuned=none leaves them out" for one in others]
    if cost is None:
        return []
    if seen.get("cost") == cost:
        return [f"unlearn.cost={cost:g}: settings were searched at this budget, for this recipe and size"]
    arm, recipe = f"{choices['mu_algo']} {choices['targets']}", tuned_on.recipe_of(config, choices)
    where = f"{images:,} images of {dataset}, recipe {recipe}"
    return [f"unlearn.cost={cost:g}: no search chose these settings of {arm} for this budget ({where})"]


_UNTRAINED: dict[str, float] = {}
"""Accuracies of untrained networks that this process has measured, by network and samples: arms share them."""


def is_untrained(experiment: Experiment, original: Evaluation) -> bool:
    """Return whether the original learnt nothing, measured on the monitored retain samples."""
    seen, start = experiment.monitored.split.retain, experiment.initialised("original")
    logits = original.logits["retain"][experiment.monitored.positions["retain"]]
    key = canonical(of_logits(experiment, model_digest(start), seen))
    if key not in _UNTRAINED:
        _UNTRAINED[key] = accuracy(predict(start, seen), seen.labels)
    return learnt_nothing(logits, _UNTRAINED[key], seen.labels)


@decided_by("unlearn.batch_size")
def diagnose_targets(
    experiment: Experiment,
    original: nn.Module,
    targets: TargetSets,
    reference: Evaluation,
    console: Console,
    untrained: bool = False,
) -> Diagnosis:
    """Return the diagnosis of the targets at the original; raises BadInput if it is flagged and `strict` set."""
    fit = experiment.unlearning_fit(lambda step, steps, loss: None, lambda model, step: False)
    probs = reference.logits["forget"].softmax(1)
    diagnosis = diagnose(original, experiment.unlearn, targets.forget, targets.retain, fit, probs)
    flag = diagnosis_flag(experiment, diagnosis, untrained)
    console.diagnosis(diagnosis, flag)
    if experiment.settings.strict and flag != "ok":
        raise BadInput(f"strict=true: the run is {flag}: {MEANING[flag]}. To run it anyway: strict=false")
    return diagnosis


def diagnosis_flag(experiment: Experiment, diagnosis: Diagnosis, untrained: bool = False) -> str:
    """Return the status by the thresholds of the config, or `untrained`, where a diagnosis says nothing."""
    if untrained:
        return "untrained"
    matter = not Algorithm.of(experiment.unlearn).ignores_forget_targets
    return diagnosis.flag(**experiment.settings.diagnosis.model_dump(), targets_matter=matter)


def extra_metrics(
    experiment: Experiment, models: dict[str, nn.Module], evaluations: dict[str, Evaluation]
) -> dict:
    """Return the metrics of every model that setting `evidence` adds; None for a model that is not finite."""
    listed, data = experiment.settings.evidence, experiment.data
    metrics: dict[str, dict] = {}
    level = evaluations["original"].metrics["forget_acc"]
    for name, model in models.items():
        finite = evaluations[name].metrics["class_acc"] is not None
        metrics[name] = {}
        if "svc" in listed:
            attack = confidence_attack(evaluations[name].logits, data) if finite else {}
            metrics[name] |= {key: attack.get(key) for key in ("svc_accuracy", "svc_members")}
        if "relearn" in listed:
            steps = relearn_steps(model, data.forget, level, experiment.relearning_fit) if finite else None
            metrics[name] |= {"relearn_steps": steps}
        if "probe" in listed:
            known = probe(model, data.forget, data.test) if finite else {}
            metrics[name] |= {key: known.get(key) for key in ("probe_accuracy", "prototype_accuracy")}
    own = take(experiment.own_measures, models, evaluations, data, experiment.settings.seed)
    return {name: metrics[name] | own[name] for name in models}


def status_of(flag: str, account: Account, unlearned: nn.Module, trained: Iterable[Trained]) -> str:
    """Return the status: divergence first, then the flag from before the unlearning."""
    finite = all(bool(parameter.isfinite().all()) for parameter in unlearned.parameters())
    if account.diverged or not finite or any(model.diverged for model in trained):
        return "diverged"
    return flag


def write_outputs(
    output: Path,
    experiment: Experiment,
    outcome: Outcome,
    console: Console,
    tracker: Untracked,
) -> dict:
    """Write all files, the result last, print and return it; return another process's result if it was first."""
    content = result.content(experiment, outcome)
    if first := run_files.read_result(output, experiment.config_hash, since=outcome.clock.started):
        console.say(f"another process finished this run first; using its result in {output}")
        tracker.result(first)
        return first
    make_folder(output)
    write_text(output / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(experiment.config)))
    if experiment.settings.save_models:
        save_models(output, outcome.models)
    which = {"forget_index": experiment.data.forget_index.cpu().numpy()} | result.score_arrays(experiment.data)
    which |= result.twin_arrays(outcome.twin, experiment.data.forget)
    arrays = result.margin_arrays(outcome.evaluations, outcome.further_evaluations) | which
    path = run_files.write_result(output, result.finite(content), arrays)
    console.result(content)
    console.say(f"result: {path}")
    console.say(f"report: {to_type('report')} {shlex.quote(str(output.parent))}")
    tracker.result(content)
    return content
