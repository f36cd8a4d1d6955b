"""What the parts of one result say against each other: each function finds what no run can write.

An identity or an inequality stands here if it holds for every run, whatever its models are. Numbers that obey all
of them may still be false.
"""

import dataclasses
import functools
import importlib
import itertools
import math
import re
import statistics
from collections.abc import Callable, Iterator

from softtargets.config.names import SIDES
from softtargets.evaluation import matched
from softtargets.evaluation.diagnosis import MEANING, Diagnosis
from softtargets.evaluation.evaluate import APART
from softtargets.evaluation.faces import OF_EACH, SETS
from softtargets.execution.teachers import LOCAL
from softtargets.fit import epochs_for
from softtargets.marks import Algorithm, Targets
from softtargets.report.runs import Run
from softtargets.targets import hard, local_teacher, out_of_fold, random_label, teacher

Faults = Iterator[str]
NEAR = {"rel_tol": 1e-4, "abs_tol": 1e-5}
"""Numbers that follow from others of a result, or that runs of one pair share, differ by no more."""
HASHES = ("original", "retrained", "unlearned", "forget_set", "batches", "targets")
DIGITS = 8
"""Different digits that a SHA-256 has at least: fewer come up once in 10^15."""
WHOLE = "relabel scrub npo graddiff gradasc neggrad_plus ugradsl_plus finetune l1_sparse ct rmu unilogit retrain"
EVERY_SAMPLE = frozenset(WHOLE.split())
"""Algorithms that send each sample of a step backward through the whole network once, and none beside."""
EITHER = "one of them was edited"
BY_WORD = ("untrained", "diverged")
"""Statuses that do not follow from the diagnosis."""


def hashes(run: Run) -> Faults:
    """Find hashes that are none: without a retrained model there is no distance."""
    known = run.result["hashes"]
    for name in HASHES:
        digest = str(known.get(name))
        if not re.fullmatch("[0-9a-f]{64}", digest) or len(set(digest)) < DIGITS:
            yield f"hashes.{name}={known.get(name)}: no hash, so the {name.replace('_', ' ')} is missing"
    if known["forget_set"] != run.result["data"]["hashes"].get("forget", known["forget_set"]):
        yield f"hashes.forget_set and data.hashes.forget are of other samples: {EITHER}"


def status(run: Run) -> Faults:
    """Find a status that no run has, or that does not follow from the diagnosis of its targets."""
    result, said = run.result, run.result["status"]
    if said not in ("ok", *MEANING):
        yield f"status={said}: must be one of {', '.join(('ok', *MEANING))}"
    follows = _flag(result)
    if said not in BY_WORD and follows is not None and said != follows:
        yield f"status={said}, and its diagnosis gives {follows}: {EITHER}"


def _flag(result: dict) -> str | None:
    """Return the status by the diagnosis; None for an algorithm of which this version knows no marks."""
    marks, diagnosis = algorithm(result["config"]), dict(result["diagnosis"])
    if marks is None:
        return None
    # older results have no `training_distance`; theirs is that of evaluation mode
    diagnosis.setdefault("training_distance", diagnosis["target_distance"])
    thresholds = result["config"]["diagnosis"]
    return Diagnosis(**diagnosis).flag(**thresholds, targets_matter=not marks.ignores_forget_targets)


def marks(run: Run) -> Faults:
    """Find marks that are not those of the algorithm and the targets."""
    result, known = run.result, algorithm(run.result["config"])
    kinds = [_ours(node, "softtargets.targets") for node in _sides(run.result["config"])]
    follows = {name: getattr(known, name) for name in ("ignores_targets", "comparison_only") if known}
    if None not in kinds:
        follows["upper_bound"] = any(Targets.of(kind).upper_bound for kind in kinds)
    for name, value in follows.items():
        if result.get(name, value) != value:
            yield f"{name}={result[name]}, and its config gives {value}: {EITHER}"


def algorithm(config: dict) -> Algorithm | None:
    """Return the marks of a config's algorithm; None where it is not one of this package."""
    function = _ours(config["mu_algo"], "softtargets.mu_algo")
    return function and Algorithm.of(function)


def _sides(config: dict) -> list[dict]:
    return [config["targets"][side] for side in SIDES]


def is_labels(node: dict) -> bool | None:
    """Return whether targets are the labels; None where labels may come out by chance, or it is not known."""
    kind = _ours(node, "softtargets.targets")
    by_chance = kind is random_label or {"harden", "sample"} & set(node["modifiers"])
    return None if kind is None or by_chance else kind is hard and not node["modifiers"]


def _ours(node: dict, package: str) -> Callable | None:
    return _function(str(node.get("_target_")), package)


@functools.cache
def _function(target: str, package: str) -> Callable | None:
    """Return the function of this package that a target names; nothing of anybody else's is imported."""
    module, _, name = target.rpartition(".")
    if not re.fullmatch(rf"{re.escape(package)}(\.\w+)?", module):
        return None
    try:
        function = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    return function if getattr(function, "__module__", None) == module else None


def teachers(run: Run) -> Faults:
    """Find teachers that the config does not ask for, and a cost of their trainings that is not theirs."""
    result, cost = run.result, run.result["cost"]
    if result.get("requests") or result.get("ensemble"):
        return  # theirs are of several training sets
    names, needed = set(cost["teachers"]), _needed(result["config"])
    if needed is not None and names != needed:
        asked = ", ".join(sorted(needed)) or "none"
        yield f"cost.teachers={sorted(names)}, and its config asks for {asked}: {EITHER}"
    train = result["data"]["sizes"]["train"]
    prepared = sum(_trained_on(name, train) for name in names) * epochs(result) / retraining_samples(result)
    if not math.isclose(cost["prepared_share"], prepared, **NEAR):
        yield f"cost.prepared_share={cost['prepared_share']:.6g}, and its teachers give {prepared:.6g}: {EITHER}"
    if (cost["teachers_s"] > 0) != bool(names):
        yield f"cost.teachers_s={cost['teachers_s']:.6g} for {len(names)} teachers: {EITHER}"


def _needed(config: dict) -> set[str] | None:
    """Return the names of the teachers that a config asks for; None where it has parts from elsewhere."""
    nodes = [(node, _ours(node, "softtargets.targets")) for node in _sides(config)]
    if algorithm(config) is None or None in [kind for _, kind in nodes]:
        return None
    members = [node["members"] for node, kind in nodes if kind is teacher]
    folds = [node["folds"] for node, kind in nodes if kind is out_of_fold]
    folds += [config["mu_algo"]["folds"]] if "folds" in config["mu_algo"] else []
    dealt = {f"fold {i + 1} of {count}" for count in folds for i in range(count)}
    return dealt | {f"teacher {i + 1}" for count in members for i in range(count)}


def _trained_on(name: str, train: int) -> int:
    """Count the samples that a teacher is trained on before the request."""
    if name.startswith(LOCAL):
        return 0
    fold = re.fullmatch(r"fold (\d+) of (\d+)", name)
    return train - (len(range(int(fold[1]) - 1, train, int(fold[2]))) if fold else 0)


def epochs(result: dict) -> int:
    """Return the epochs of the run's own trainings."""
    training = result["config"]["training"]
    least = (training["batch_size"], training["min_epochs"], training["min_steps"])
    return training["epochs"] or epochs_for(result["data"]["sizes"]["train"], *least)


def retraining_samples(result: dict) -> int:
    """Count the gradient samples of the run's own retraining."""
    return epochs(result) * result["data"]["sizes"]["retain"]


def steps(run: Run) -> Faults:
    """Find samples of the unlearning that do not fit its steps, or what went through the network."""
    cost, config = run.result["cost"], run.result["config"]
    known, samples, done = algorithm(config), cost["gradient_samples"], cost["steps"]
    if run.result.get("requests") or known is None or run.result["status"] == "diverged":
        return
    name = config["mu_algo"]["_target_"].rpartition(".")[2]
    if samples < done or bool(samples) != bool(done):
        yield f"cost.gradient_samples={samples} in cost.steps={done}: at least one a step"
    if samples > cost["forward_samples"] * (1 + NEAR["rel_tol"]):
        yield f"cost.gradient_samples={samples}, of cost.forward_samples={cost['forward_samples']:.6g}: {EITHER}"
    back = cost["backward_samples"] - _taught(run.result)
    if name in EVERY_SAMPLE and not math.isclose(samples, back, **NEAR):
        yield f"cost.gradient_samples={samples}, and {back:.6g} went backward through the network: {EITHER}"


def _taught(result: dict) -> int:
    """Count the samples that teachers are trained on after the request, in all their epochs."""
    nodes = [node for node in _sides(result["config"]) if _ours(node, "softtargets.targets") is local_teacher]
    # a teacher that both sides ask is trained once
    counts = {min(node["samples"], result["data"]["sizes"]["retain"]) for node in nodes}
    return sum(counts) * epochs(result)


def accuracies(run: Run) -> Faults:
    """Find accuracies that are no share of so many samples, or lie outside those of the classes."""
    sizes, models = run.result["data"]["sizes"], run.result["metrics"]
    for model, metrics in models.items():
        for name, size in sizes.items():
            value = metrics.get(f"{name}_acc")
            if value is not None and abs(value * size - round(value * size)) > 1e-3:
                yield f"metrics.{model}.{name}_acc={value:.6g}: no share of {size} samples"
        for name, classes in (("test_acc", "class_acc"), ("forget_acc", "forget_class_acc")):
            yield from _among(f"metrics.{model}.{name}", metrics.get(name), metrics.get(classes))
    for name, values in (run.result["faces"].get("retrained") or {}).items():
        if None not in (values[0], models["retrained"].get(name, values[0])) and not math.isclose(
            values[0], models["retrained"].get(name, values[0]), **NEAR
        ):
            yield f"faces.retrained.{name} and metrics.retrained.{name} are of other models: {EITHER}"


def _among(name: str, mean: float | None, of_classes: list[float | None] | None) -> Faults:
    """Find a mean over samples that lies outside the values of the classes."""
    values = [value for value in of_classes or () if value is not None]
    allowed = NEAR["abs_tol"]
    if mean is not None and values and not min(values) - allowed <= mean <= max(values) + allowed:
        yield f"{name}={mean:.6g}, and its classes have {min(values):.6g} to {max(values):.6g}: {EITHER}"


def trajectory(run: Run) -> Faults:
    """Find a trajectory that does not end where the run does, where it saw all samples of a set."""
    result, rows = run.result, run.result["trajectory"]
    if result["status"] == "diverged" or result.get("requests"):
        return
    if not rows["step"]:
        yield from _unwatched(result)
        return
    if rows["step"][-1] != result["cost"]["steps"]:
        yield f"trajectory ends at step {rows['step'][-1]}, and cost.steps={result['cost']['steps']}: {EITHER}"
    most = result["config"]["unlearn"].get("evaluate_samples") or math.inf
    for name in ("forget", "retain", "validation", "test"):
        if result["data"]["sizes"].get(name, math.inf) > most:
            continue
        ends = {f"{name}_acc": result["metrics"]["unlearned"], f"js_{name}": result["distance"]}
        for column, values in ends.items():
            value, last = values.get(column), rows.get(column, [None])[-1]
            if None not in (value, last) and not math.isclose(value, last, **NEAR):
                yield f"{column} is {value:.6g} at the end of the run, and {last:.6g} in its trajectory: {EITHER}"
    yield from _matched(result)


def _unwatched(result: dict) -> Faults:
    """Find a trajectory without rows where the config asks for some; an algorithm without a loop has none."""
    known, every = algorithm(result["config"]), result["config"]["unlearn"].get("evaluate_every")
    if known and not known.has_no_loop and every is not None and result["cost"]["steps"]:
        yield f"trajectory is empty, and its config has unlearn.evaluate_every={every}: {EITHER}"


def _matched(result: dict) -> Faults:
    level = result.get("matched_level")
    follows = matched.point(result["trajectory"], level and matched.Level(**level))
    if follows != result["matched"]:
        yield f"matched is not the point of its trajectory: {EITHER}"


def unmoved(run: Run) -> Faults:
    """Find an unlearned model that is the original by its hash and not by its weights, or the reverse."""
    result, moved = run.result, run.result["change"]
    same = result["hashes"]["unlearned"] == result["hashes"]["original"]
    at_rest = moved["relative_l2"] == 0 and not moved.get("buffers_relative_l2")
    if same and moved["relative_l2"]:
        said = f"hashes.unlearned is that of the original, and change.relative_l2={moved['relative_l2']:.6g}"
        yield f"{said}: {EITHER}"
    if at_rest and not same and not result.get("comparison_only"):
        yield f"change.relative_l2=0, and hashes.unlearned is not that of the original: {EITHER}"


def distances(run: Run) -> Faults:
    """Find distances to the retrained model that no two models can have together."""
    result = run.result
    theirs = result["metrics"]["retrained"]
    for part, model in (("distance", "unlearned"), ("baseline", "original")):
        for name in ("forget", "test"):
            known = {one: result[part].get(f"{one}_{name}") for one in ("js", "l1", "disagreement")}
            known["activation"] = result[part].get(f"activation_distance_{name}")
            pair = [one.get(f"{name}_acc") for one in (result["metrics"][model], theirs)]
            if None not in (*known.values(), *pair):
                for said in _impossible(known, pair, result["data"]["classes"]):
                    yield f"{part} on the {name} set: {said}, so one of them was edited"
            yield from _among(f"{part}.js_{name}", known["js"], result[part].get(f"class_js_{name}"))


def _impossible(known: dict[str, float], accuracies: list[float], classes: int) -> Faults:
    """Find what breaks an inequality between the mean distances of two models."""
    js, l1, activation, disagreement = (known[one] for one in ("js", "l1", "activation", "disagreement"))
    one, other = accuracies
    # l1 is twice the total variation V. V^2 / 2 <= JS <= V ln 2, and a mean of squares is no less than the square
    yield from _within("JS", js, l1 * l1 / 8, l1 / 2 * math.log(2), f"L1={l1:.6g}")
    # of the differences of two distributions, whose sum is 0
    yield from _within("activation distance", activation, l1 / classes**0.5, l1 / 2**0.5, f"L1={l1:.6g}")
    said = f"accuracies {one:.6g} and {other:.6g}"
    yield from _within("disagreement", disagreement, abs(one - other), 2 - one - other, said)
    if disagreement > 0 and min(js, l1, activation) <= 0:
        yield f"disagreement={disagreement:.6g} where a distance of probabilities is 0"


def _within(name: str, value: float, low: float, high: float, by: str) -> Faults:
    allowed = NEAR["abs_tol"]
    if not low - allowed <= value <= high + allowed:
        yield f"{name}={value:.6g}, and {by} allows {low:.6g} to {high:.6g}"


def faces(run: Run) -> Faults:
    """Find mean distances to the retrained models that no model can have from all of them."""
    for name in SETS:
        for model, part in (("unlearned", "distance"), ("nothing", "baseline")):
            for said in itertools.chain(
                _apart(run.result["faces"], name, model), _of_first(run.result, name, model, part)
            ):
                yield f"{said}: {EITHER}"


def _apart(faces: dict, name: str, model: str) -> Faults:
    """Find a model that is nearer to all retrained models than these can be to each other.

    √JS is a metric, and so is the root of its mean: floor <= 4 times the mean JS. Disagreement is one itself.
    """
    for face, factor in (("js_t", 4), ("js", 4), ("disagreement", 2)):
        parts = faces.get(f"{face}_{name}") or {}
        value, floor = parts.get(model), parts.get("floor")
        if None not in (value, floor) and floor > factor * value + NEAR["abs_tol"]:
            said = f"too small for a floor of {floor:.6g}, of which it is at least 1/{factor}"
            yield f"faces.{face}_{name}.{model}={value:.6g}, {said}"
    decided = (faces.get(f"disagreement_{name}") or {}).get(model)
    for face in ("js_t", "js"):
        if decided and (faces.get(f"{face}_{name}") or {}).get(model) == 0:
            yield f"faces.{face}_{name}.{model}=0, and faces.disagreement_{name}.{model}={decided:.6g}"


def _of_first(result: dict, name: str, model: str, part: str) -> Faults:
    """Find means over all retrained models that the distance to the first one rules out."""
    faces, count = result["faces"], result["faces"]["references"]
    theirs = (faces.get("retrained") or {}).get(f"{name}_acc")
    mine = result["metrics"]["original" if model == "nothing" else model].get(f"{name}_acc")
    for face, most in (("js", math.log(2)), ("disagreement", 1.0)):
        mean, first = (faces.get(f"{face}_{name}") or {}).get(model), result[part].get(f"{face}_{name}")
        if None in (mean, first):
            continue
        others, least, greatest = count * mean - first, 0.0, (count - 1) * most
        if face == "disagreement" and theirs and None not in (mine, *theirs):
            least = sum(abs(mine - one) for one in theirs[1:])
            greatest = sum(2 - mine - one for one in theirs[1:])
        said = f"{part}.{face}_{name}={first:.6g} of the first"
        yield from _within(
            f"faces.{face}_{name}.{model}={mean:.6g}, the sum of the others", others, least, greatest, said
        )


def complete(run: Run) -> Faults:
    """Find measures that are missing, though both models that they are of have finite predictions."""
    result = run.result
    for part, model in (("distance", "unlearned"), ("baseline", "original")):
        for name in APART:
            known = None not in (result["metrics"][one].get("class_acc") for one in (model, "retrained"))
            if known and name != "js_validation" and result[part].get(name) is None:
                yield f"{part}.{name} is missing"
    for name in (f"{face}_{on}" for face in ("js_t", "js", "disagreement") for on in SETS[:2]):
        for model, part in (("unlearned", "unlearned"), ("original", "nothing"), ("retrained", "floor")):
            known = result["metrics"][model].get("class_acc") is not None
            if known and (result["faces"].get(name) or {}).get(part) is None:
                yield f"faces.{name}.{part} is missing"
    there = {"faces.retrained": (result["faces"].get("retrained"), OF_EACH)}
    there["data.hashes"] = result["data"]["hashes"], ("train", "forget", "retain", "validation", "test")
    there["diagnosis"] = result["diagnosis"], [field.name for field in dataclasses.fields(Diagnosis)]
    for where, (node, names) in there.items():
        yield from (f"{where}.{name} is missing" for name in names if name not in (node or {}))


def floors(run: Run) -> Faults:
    """Find floors that do not follow from the accuracies of the retrained models."""
    faces = run.result["faces"]
    theirs = faces.get("retrained") or {}
    for face, name in (("mia_gap", "mia_auc"), ("test_acc_gap", "test_acc")):
        first, *others = theirs.get(name) or [None]
        floor = (faces.get(face) or {}).get("floor")
        if None not in (first, floor, *others) and others:
            follows = first - statistics.mean(others)
            if not math.isclose(floor, follows, **NEAR):
                yield f"faces.{face}.floor={floor:.6g}, and the retrained models give {follows:.6g}: {EITHER}"
    for name in ("forget", "test"):
        floor, values = (faces.get(f"disagreement_{name}") or {}).get("floor"), theirs.get(f"{name}_acc") or [None]
        if None not in (floor, *values) and len(values) > 1:
            pairs = list(itertools.combinations(values, 2))
            least = statistics.mean(abs(one - other) for one, other in pairs)
            greatest = statistics.mean(2 - one - other for one, other in pairs)
            said = f"faces.disagreement_{name}.floor"
            yield from _within(said, floor, least, greatest, "the retrained models' accuracy")


OF_A_RESULT: tuple[Callable[[Run], Faults], ...] = (
    *(status, marks, teachers, steps, accuracies, trajectory, unmoved, distances, faces, floors),
)
