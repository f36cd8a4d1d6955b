"""What the results of a batch say against each other: one model or one number in places that cannot share it."""

import collections
import fractions
import math
from collections.abc import Iterator

from softtargets.marks import Algorithm
from softtargets.report.measures import FACES
from softtargets.report.runs import Run
from softtargets.report.standing import placed
from softtargets.system.words import counted
from softtargets.table.contradictions import EITHER, NEAR, algorithm

Faults = Iterator[str]
OF_CLASSES = {"test": ("test_acc", "class_acc"), "forget": ("forget_acc", "forget_class_acc")}
"""By set: the accuracy, and those of its classes."""
OF_A_MODEL = ("js_test", "l1_test")
"""Distances with sixteen digits, which no two models share."""


def models_and_numbers(runs: list[Run]) -> Faults:
    """Find one result under two seeds: retrained models, losses and distances are of one seed alone."""
    known: dict[object, Run] = {}
    for run in runs:
        for key in _of_one_seed(run.result):
            other = known.setdefault(key, run)
            if other.seed != run.seed:
                said = f"seeds {other.seed} and {run.seed} have the same retrained model or distances"
                yield f"{other.folder} and {run.folder}: {said}, so one is a copy or has another's seed"


def predictions(runs: list[Run]) -> Faults:
    """Find models with other weights and the same distances, to the last digit: one of them is a copy."""
    known: dict[object, Run] = {}
    for run in runs:
        apart, nothing = ([part.get(name) for name in OF_A_MODEL] for part in _parts(run.result))
        if not all(apart) or apart == nothing or run.result.get("comparison_only"):
            continue  # missing, 0 or as far as the original, from which rounding alone may part it
        other = known.setdefault(tuple(apart), run)
        if other.result["hashes"]["unlearned"] != run.result["hashes"]["unlearned"]:
            said = "two unlearned models by their hashes, and the same distances"
            yield f"{other.folder} and {run.folder}: {said}, so one is a copy"


def _parts(result: dict) -> tuple[dict, dict]:
    return result["distance"], result["baseline"]


def _of_one_seed(result: dict) -> Iterator[object]:
    """Yield what no two seeds share: hashes, and numbers with sixteen digits of a model's own."""
    face, metrics = result["faces"][FACES[0].name], result["metrics"]
    yield result["hashes"]["retrained"]
    yield face["nothing"], face["floor"]
    # a trained model that its author gave is the original of all seeds
    given = result["config"].get("checkpoint") is not None
    for model in ("retrained",) if given else ("original", "retrained"):
        losses = [metrics[model].get(f"{name}_loss") for name in ("forget", "test")]
        if all(losses):  # neither missing nor 0
            yield model, *losses
    apart = [result["distance"].get(name) for name in OF_A_MODEL]
    if all(apart):
        yield "unlearned", *apart


def weights(runs: list[Run]) -> Faults:
    """Find unlearned models that another seed or another arm has too; the original itself may come up anywhere."""
    for first, *others in _same_weights(runs):
        for run in others:
            where = f"{first.folder} and {run.folder}"
            if first.seed != run.seed and not _is_of_one_original(first, run):
                yield f"{where}: seeds {first.seed} and {run.seed} have the same unlearned model, so one is a copy"
            elif why := _apart(first.result, run.result):
                yield f"{where}: the same unlearned model, and other {why}, so one is a copy; leave it out"


def _is_of_one_original(one: Run, other: Run) -> bool:
    """Return whether two models follow from one trained model that their author gave, whatever the seed is."""
    marks, originals = algorithm(one.result["config"]), [run.result["hashes"]["original"] for run in (one, other)]
    return originals[0] == originals[1] and (marks is None or marks.has_no_loop)


def same_models(runs: list[Run]) -> list[str]:
    """Say which arms have the same models: a setting in which they differ has no effect, or one is a copy."""
    pairs = collections.Counter()
    for group in _same_weights(runs):
        names = {f"{run.result['choices']['mu_algo']} {run.arm} ({run.cell.name})": placed(run) for run in group}
        if len(set(names.values())) > 1:
            pairs[" and ".join(sorted(names))] += 1
    return [f"the same models in {counted(count, 'pair')}: {names}" for names, count in pairs.items()]


def _same_weights(runs: list[Run]) -> list[list[Run]]:
    groups = collections.defaultdict(list)
    for run in runs:
        if run.result["hashes"]["unlearned"] != run.result["hashes"]["original"]:
            groups[run.result["hashes"]["unlearned"]].append(run)
    return [group for group in groups.values() if len(group) > 1]


def _apart(one: dict, other: dict) -> str | None:
    """Return what two runs differ in that gives other weights; None where each difference may have no effect.

    A budget that pays for as many steps, a norm that is never clipped, a weight of a part of the loss that is 0,
    and targets that the algorithm does not read give the same weights.
    """
    configs = [result["config"] for result in (one, other)]
    if not _is_one_algorithm(*(config["mu_algo"] for config in configs)):
        return "algorithms"
    marks = algorithm(configs[0])
    data = "train" if marks is None or marks.has_no_loop else "retain"
    if one["data"]["hashes"].get(data) != other["data"]["hashes"].get(data):
        return "data"
    for name in () if marks is None or marks.has_no_loop else ("optimizer", "schedule", "batch_size"):
        if configs[0]["unlearn"].get(name) != configs[1]["unlearn"].get(name):
            return f"unlearn.{name}"
    same = one["hashes"]["targets"] == other["hashes"]["targets"] or _ignores(marks, *configs)
    return None if marks is None or same else "targets"


def _is_one_algorithm(one: dict, other: dict) -> bool:
    """Return whether two settings name one algorithm; EU-k of one layer resets the head as head_reset does."""
    names = [str(node.get("_target_")).rpartition(".")[2] for node in (one, other)]
    of_one_layer = sorted(names) == ["euk", "head_reset"] and 1 in (one.get("layers"), other.get("layers"))
    return of_one_layer or one.get("_target_") == other.get("_target_")


def _ignores(marks: Algorithm | None, one: dict, other: dict) -> bool:
    """Return whether an algorithm does not read the targets in which two configs differ."""
    retain = one["targets"].get("retain") == other["targets"].get("retain")
    return marks is not None and (marks.ignores_targets or (marks.ignores_forget_targets and retain))


def untrained(runs: list[Run]) -> Faults:
    """Find an original that has learnt nothing in one run, and something in another."""
    originals: dict[tuple, Run] = {}
    for run in runs:
        if run.result["status"] == "diverged":
            continue
        other = originals.setdefault((placed(run)[0], run.pair, run.result["hashes"]["original"]), run)
        said = [one.result["status"] == "untrained" for one in (other, run)]
        if said[0] != said[1]:
            where = f"{other.folder} and {run.folder}"
            yield f"{where}: the original of one is untrained, and it is the same: {EITHER}"


def classes(runs: list[Run]) -> Faults:
    """Find accuracies and distances that are not the means of those of the classes.

    How many samples each class has follows from the accuracies of all models on one set.
    """
    for name, (_, of_classes) in OF_CLASSES.items():
        sets = collections.defaultdict(list)
        for run in runs:
            sets[run.result["data"]["hashes"].get(name)].append(run)
        for digest, some in sets.items():
            if digest is None:
                continue
            size = some[0].result["data"]["sizes"][name]
            known = [model.get(of_classes) for run in some for model in run.result["metrics"].values()]
            counts = class_counts([values for values in known if values], size)
            if counts is None:
                continue
            if sum(counts) > size:
                yield f"{some[0].folder}: {of_classes} of it or its pair are of more than {size} samples: {EITHER}"
            for run in some if sum(counts) == size else ():
                yield from means(run, name, counts)


def class_counts(accuracies: list[list[float | None]], size: int) -> list[int] | None:
    """Return for each class the least number of samples of which all accuracies are shares; None without any.

    It divides the true number, so that a sum equal to the size of the set makes it the true one.

    >>> class_counts([[0.5, 0.25], [0.0, 1 / 3]], 14)
    [2, 12]
    """
    if not accuracies:
        return None

    def denominator(value: float | None) -> int:
        return 0 if value is None else fractions.Fraction(value).limit_denominator(size).denominator

    return [math.lcm(*map(denominator, values)) for values in zip(*accuracies, strict=True)]


def means(run: Run, name: str, counts: list[int]) -> Faults:
    """Find means over a set that do not follow from its classes, with so many samples of each."""
    result, (metric, of_classes) = run.result, OF_CLASSES[name]
    said = {
        f"metrics.{model}.{metric}": (one.get(metric), one.get(of_classes))
        for model, one in result["metrics"].items()
    }
    for part in ("distance", "baseline"):
        said[f"{part}.js_{name}"] = (result[part].get(f"js_{name}"), result[part].get(f"class_js_{name}"))
    for place, (mean, values) in said.items():
        if mean is None or not values:
            continue
        follows = sum(n * (value or 0.0) for n, value in zip(counts, values, strict=True)) / sum(counts)
        if not math.isclose(mean, follows, **NEAR):
            yield f"{run.folder}: {place}={mean:.6g}, and its classes give {follows:.6g}: {EITHER}"
