"""What is checked of other people's results before they are taken in; the first fault is said in a sentence.

Whoever can run the code can write a result that passes all of it: only a new run shows that numbers are real.
"""

import collections
import datetime
import hashlib
import math
import os
import random
import re
import statistics
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from softtargets import RESULT_SCHEMA
from softtargets.config.names import Chosen
from softtargets.config.resolve import flat
from softtargets.config.tuned_on import RESERVED
from softtargets.config.validation import naming
from softtargets.errors import BadInput
from softtargets.evaluation import metrics
from softtargets.execution.code_hash import code_hash
from softtargets.execution.provenance import code_of_commit
from softtargets.report import statuses
from softtargets.report.folders import census, require_folder
from softtargets.report.measures import FACES
from softtargets.report.pairs import SHARED_MODELS
from softtargets.report.runs import Run, finished
from softtargets.report.standing import placed
from softtargets.report.tuning import touched
from softtargets.system.files import canonical
from softtargets.system.words import counted
from softtargets.table import contradictions, copies, history
from softtargets.table.contradictions import NEAR, retraining_samples
from softtargets.table.fields import code_of

LARGEST = 1_000_000
"""Bytes of a result.json; usual ones have some 20,000."""
NAME = re.compile(r"[\w.]([\w .,:;/()\[\]+=…-]*[\w.)\]…])?", re.ASCII)
"""Texts of a config: no markup, no LaTeX, no formula of a spreadsheet, no letter that looks like another."""
FOLDER = re.compile(r"\w[\w.-]{0,99}")
"""Name of a folder in the table."""
ODD = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""Errors that such values lead to."""
CLOCKS = 60.0
"""Seconds by which the clock of a machine may be set while it runs."""
Faults = Iterator[str]


def verified(folder: Path) -> list[Run]:
    """Return the runs of a folder; raises BadInput, in one sentence, for the first fault that is found."""
    require_folder(folder)
    _require_plain_files(folder)
    _require_finished(folder)
    runs = finished(folder)
    if not runs:
        raise BadInput(f"{folder}: no result of a run below it; give the folder of a sweep")
    # fields that no report reads may be of any type
    with naming(f"{folder}: a result has a value of another type than a run writes", ODD):
        for run in runs:
            for check in OF_A_RUN:
                _raise_first(check(run), run)
        for check in OF_ALL:
            _raise_first(check(runs), None)
    return runs


def require_fitting(runs: list[Run], known: list[Run]) -> None:
    """Raise BadInput where runs and those of the table have other forget sets under the same seeds, or copies."""
    for check in (copies.models_and_numbers, copies.weights, copies.predictions, _forget_sets):
        _raise_first(check([*known, *runs]), None)


def drawn(runs: list[Run], count: int) -> list[Run]:
    """Return so many runs, at random so that nobody knows beforehand which."""
    return random.SystemRandom().sample(runs, min(count, len(runs)))


def is_older(run: Run) -> bool:
    """Return whether a run's code is not the code of today."""
    return code_of(run) != code_hash()


def doubtful(runs: list[Run]) -> list[str]:
    """Say which arms are nearer to retraining than the retrained models are to each other, on average.

    And which arms have the same models, and which have runs with a status that a result cannot show.
    """
    arms = collections.defaultdict(list)
    for run in runs:
        arms[placed(run)].append(run)
    lines = []
    for some in arms.values():
        faces = [run.result["faces"][FACES[0].name] for run in some]
        known = [(face["unlearned"], face["floor"]) for face in faces if face["unlearned"] is not None]
        distance, floor = map(statistics.mean, zip(*known, strict=True)) if known else (0.0, 0.0)
        if distance < floor:
            said = f"nearer to retraining than another retrained model is, {distance:.4g} for {floor:.4g}"
            lines.append(f"{some[0].result['choices']['mu_algo']} {some[0].arm}: {said}; compute it again")
    return lines + _lost(arms.values()) + copies.same_models(runs)


def _lost(arms: Iterable[list[Run]]) -> list[str]:
    """Say which arms have runs that count as lost by a status that does not follow from their numbers."""
    return [
        f"{some[0].result['choices']['mu_algo']} {some[0].arm}: {counted(count, f'{status} run')}, "
        "which no number of theirs shows; compute one again"
        for some in arms
        for status, count in statuses.counted_statuses(some).items()
        if status in contradictions.BY_WORD
    ]


def _raise_first(faults: Faults, run: Run | None) -> None:
    if fault := next(faults, None):
        raise BadInput(f"{run.folder}: {fault}" if run else fault)


def _require_plain_files(folder: Path) -> None:
    """Raise BadInput for links, whatever they lead to, for what is no file, and for a result that is too large."""
    for here, folders, files in os.walk(folder):
        for path in (Path(here, name) for name in (*folders, *files)):
            if path.is_symlink():
                raise BadInput(f"{path}: a symbolic link; give a folder that holds the files themselves")
            if not path.is_dir() and not path.is_file():
                raise BadInput(f"{path}: neither a file nor a folder; take it away")
            if path.name == "result.json" and path.is_file() and path.stat().st_size > LARGEST:
                raise BadInput(f"{path}: {path.stat().st_size:,} bytes; a result has at most {LARGEST:,}")
    if folder.is_symlink():
        raise BadInput(f"{folder}: a symbolic link; give the folder itself")


def _require_finished(folder: Path) -> None:
    """Raise BadInput for a run that failed, was interrupted, or was planned and never began."""
    for name, lost in census(folder).lost.items():
        raise BadInput(f"{folder / name}: {lost.state}: {lost.why}; all runs of a sweep must have a result")


# checks of one run


def _version(run: Run) -> Faults:
    if run.result["schema"] != RESULT_SCHEMA:
        yield f"schema {run.result['schema']}, and this version writes {RESULT_SCHEMA}; run it anew"
    if run.result.get("audit"):
        yield "an audit of models from elsewhere, and no run that could be repeated"


def _config(run: Run) -> Faults:
    config, choices = run.result["config"], run.result["choices"]
    known = hashlib.sha256(canonical(config).encode()).hexdigest()
    if run.result["provenance"].get("config_hash") != known:
        yield "its config is not the one of its config_hash: one of them was edited"
    seeds = {"seed": config.get("seed"), "forget_seed": config.get("forget_set", {}).get("seed")}
    for name, value in seeds.items():
        if choices[name] != value:
            yield f"choices.{name}={choices[name]}, and its config has {value}: one of them was edited"


def _names(run: Run) -> Faults:
    """Find texts that a page, a paper or a spreadsheet could take for more than a name."""
    said = {f"choices.{name}": value for name, value in run.result["choices"].items()}
    said |= {f"config.{name}": value for name, value in flat(run.result["config"])}
    for name, value in said.items():
        for text in (name, *(value if isinstance(value, tuple) else (value,))):
            if isinstance(text, str) and text and not NAME.fullmatch(text):
                yield f"{name}={text!r}: a name has ASCII letters, digits, spaces and .,:;/()[]+=- alone"


def _choices(run: Run) -> Faults:
    """Find names that are not those of the config's parts; another version may have had other ones."""
    choices = run.result["choices"]
    if is_older(run):
        return
    for name, value in Chosen(choices).names(run.result["config"]).items():
        if choices.get(name) != value:
            yield f"choices.{name}={choices.get(name)}, and its config is that of {value}: one of them was edited"


def _complete(run: Run) -> Faults:
    """Find measures that are missing; an older version may have had fewer."""
    if not is_older(run):
        yield from contradictions.complete(run)


def _models(run: Run) -> Faults:
    """Find models that are missing: without a retrained one there is no distance, and without two no floor."""
    yield from contradictions.hashes(run)
    further, wanted = len(run.further), run.result["config"].get("references", 1) - 1
    if further != wanted:
        there = counted(further, "further retrained model")
        yield f"{there}, and references={wanted + 1} in its config asks for {wanted}"
    if run.result["metrics"]["retrained"]["class_acc"] is None or not run.result.get("faces"):
        yield "no retrained model that could be measured, so there is no distance to it"
    elif run.result["faces"][FACES[0].name]["floor"] is None:
        yield "one retrained model alone, so there is no floor; run it with references=3"


def _numbers(run: Run) -> Faults:
    """Find numbers that do not follow from the others of the result, or that no model can have."""
    for name, (said, follows) in _followed(run.result).items():
        if None not in (said, follows) and not math.isclose(said, follows, **NEAR):
            yield f"{name}={said:.6g}, and its other numbers give {follows:.6g}: one of them was edited"
    for face in FACES:
        for model, value in run.result["faces"][face.name].items():
            if value is not None and not -face.worst * face.signed <= value <= face.worst + 1e-9:
                yield f"faces.{face.name}.{model}={value:.6g}: must be at most {face.worst:.4g}"


def _followed(result: dict) -> dict[str, tuple[float | None, float | None]]:
    """Return numbers by their names, each with what it must be by other numbers of the result."""
    models, faces, known = result["metrics"], result["faces"], {}
    for gap, metric in (("mia_gap", "mia_auc"), ("test_acc_gap", "test_acc")):
        theirs = (faces.get("retrained") or {}).get(metric) or [None]
        for model, part in (("unlearned", "unlearned"), ("original", "nothing")):
            value = models[model].get(metric)
            follows = None if None in (value, *theirs) else value - statistics.mean(theirs)
            known[f"faces.{gap}.{part}"] = faces[gap][part], follows
    for model, part in (("unlearned", "distance"), ("original", "baseline")):
        mine, theirs, distance = models[model], models["retrained"], result[part]
        if None in (mine["class_acc"], theirs["class_acc"]):
            continue
        known[f"{part}.avg_gap"] = distance.get("avg_gap"), metrics.average_gap(mine, theirs)
        known[f"{part}.tow"] = distance.get("tow"), metrics.tow(mine, theirs)
        of_classes = metrics.accuracy_distance(mine["class_acc"], theirs["class_acc"])
        known[f"{part}.accuracy_distance"] = distance.get("accuracy_distance"), of_classes
    return known


def _sizes(run: Run) -> Faults:
    """Find sets that do not make up the training set, or are not as large as the config asks."""
    sizes, forget_set = run.result["data"]["sizes"], run.result["config"]["forget_set"]
    forget, retain, train = (sizes[name] for name in ("forget", "retain", "train"))
    if forget + retain != train:
        yield f"data.sizes: {forget} to forget and {retain} to retain are not the {train} of the training set"
    if str(forget_set.get("_target_")).endswith(".random") and forget != round(forget_set["fraction"] * train):
        yield f"data.sizes.forget={forget}: its config asks for {forget_set['fraction']:g} of {train}"


def _costs(run: Run) -> Faults:
    """Find a share of retraining that does not follow from what was counted, or that its budget does not allow."""
    cost, budget = run.result["cost"], run.result["config"]["unlearn"].get("cost")
    if cost["budget"] != budget:
        yield f"cost.budget={cost['budget']}, and its config has unlearn.cost={budget}: one of them was edited"
    if budget is not None and cost["share"] > budget * (1 + NEAR["rel_tol"]):
        yield f"cost.share={cost['share']:.6g}: more than its budget, unlearn.cost={budget:g}"
    if run.result.get("requests"):
        return  # its share is of several retrainings
    follows = (cost["forward_samples"] + 2 * cost["backward_samples"]) / 3 / retraining_samples(run.result)
    if not math.isclose(cost["share"], follows, **NEAR):
        yield f"cost.share={cost['share']:.6g}, and its samples give {follows:.6g}: one of them was edited"


def _seconds(run: Run) -> Faults:
    """Find times that do not fit each other; what the processor took in the end only a repetition can tell."""
    cost, made = run.result["cost"], run.result["provenance"]
    started, finished = (datetime.datetime.fromisoformat(made[name]) for name in ("started", "finished"))
    if cost["run_s"] > (finished - started).total_seconds() + CLOCKS:
        yield f"cost.run_s={cost['run_s']:.6g}: longer than from its start, {started}, to its end, {finished}"
    if cost["unlearn_s"] > cost["run_s"]:
        yield f"cost.unlearn_s={cost['unlearn_s']:.6g}: more than cost.run_s={cost['run_s']:.6g}, the whole run"
    follows = None if run.result.get("requests") else cost["retrain_s"] / (cost["targets_s"] + cost["unlearn_s"])
    if follows is not None and not math.isclose(cost["rte"], follows, **NEAR):
        yield f"cost.rte={cost['rte']:.6g}, and its seconds give {follows:.6g}: one of them was edited"


def _dates(run: Run) -> Faults:
    """Find an end before the start, or after today."""
    names = ("started", "finished")
    started, finished = (datetime.datetime.fromisoformat(run.result["provenance"][name]) for name in names)
    if finished < started:
        yield f"provenance: finished {finished}, before it started {started}"
    if finished > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1):  # clocks differ
        yield f"provenance: finished {finished}, which is to come"


def _code(run: Run) -> Faults:
    """Find a code that is not that of the commit which the result names."""
    code, made = code_of(run), run.result["provenance"]
    if not re.fullmatch("[0-9a-f]{64}", code):
        yield "no hash of the code that computed it; run it anew with this version"
    at_commit = code_of_commit(str(made.get("git_commit")))
    if at_commit is not None and at_commit != code:
        of = "which has changes after it" if made.get("git_dirty") else "whose code has another hash"
        yield f"its code is not that of its commit {made['git_commit'][:12]}, {of}: commit it and run it anew"
    committed = history.date_of(str(made.get("git_commit")))
    if committed is not None and _ended(run) < committed:
        said = f"finished {made['finished']}, before its commit {made['git_commit'][:12]} was made ({committed})"
        yield f"provenance: {said}: one of them was edited"
    if at_commit is None and code == code_hash() and made.get("git_commit") and made.get("git_dirty"):
        yield "its commit is not known here and had changes after it; commit them and run it anew"


def _ended(run: Run) -> datetime.datetime:
    """Return the latest time at which a run may have ended, whatever its clock."""
    finished = datetime.datetime.fromisoformat(run.result["provenance"]["finished"])
    return finished + datetime.timedelta(seconds=CLOCKS)


def _tuning(run: Run) -> Faults:
    if min(run.pair) < 0:
        yield f"seed {min(run.pair)}: seeds are 0 or more"
    if max(run.pair) >= RESERVED:
        yield f"seed {max(run.pair)}: seeds from {RESERVED} on are for tuning; run it on seeds below"
    for what in touched(run):
        of = f" (seed {run.seed}, forget_set.seed {run.draw[0]})"
        yield f"its settings were tuned on {what} of this very run{of}; tune on seeds from {RESERVED} on"


OF_A_RUN: tuple[Callable[[Run], Faults], ...] = (
    *(
        _version,
        _names,
        _config,
        _choices,
        _models,
        _complete,
        _numbers,
        _sizes,
        _costs,
        _dates,
        _seconds,
        _code,
        _tuning,
    ),
    *contradictions.OF_A_RESULT,
)


# checks of all runs together


def _codes(runs: list[Run]) -> Faults:
    codes = {code_of(run): run for run in runs}
    if len(codes) > 1:
        one, other = list(codes.values())[:2]
        yield f"{one.folder} and {other.folder}: computed by two versions of the code; run one of them anew"


def _before_their_code(runs: list[Run]) -> Faults:
    """Find runs by the code of today that ended before any commit had it, where git does not know their own."""
    unknown = [run for run in runs if history.date_of(str(run.result["provenance"].get("git_commit"))) is None]
    first = min(unknown, key=_ended, default=None)
    if first is not None and not is_older(first) and history.came_after(code_hash(), _ended(first)):
        finished = first.result["provenance"]["finished"]
        yield f"{first.folder}: finished {finished}, before any commit had the code of its hash"


def _twice(runs: list[Run]) -> Faults:
    """Find one arm twice in one pair."""
    arms: dict[tuple, Run] = {}
    for run in runs:
        other = arms.setdefault((*placed(run), run.pair), run)
        if other is not run:
            yield f"{other.folder} and {run.folder}: the same arm twice in one pair, seed {run.seed}"


def _forget_sets(runs: list[Run]) -> Faults:
    """Find random forget sets that are the same for two seeds, or differ where their seeds are the same."""
    drawn: dict[str, Run] = {}
    for run in runs:
        config = run.result["config"]
        if not str(config.get("forget_set", {}).get("_target_")).endswith(".random"):
            continue
        settings = canonical([config["dataset"], config["forget_set"]])
        digest = run.result["hashes"]["forget_set"]
        of_settings = drawn.setdefault(settings, run)
        of_digest = drawn.setdefault(digest, run)
        if of_settings.result["hashes"]["forget_set"] != digest:
            yield f"{of_settings.folder} and {run.folder}: two forget sets of the same seeds, so one was swapped"
        if of_digest.draw != run.draw:
            yield f"{of_digest.folder} and {run.folder}: one forget set under two seeds, so one is a copy"


def _pairs(runs: list[Run]) -> Faults:
    """Find runs of one pair with other models, or with other numbers of the same models.

    An ensemble has models of its own: it is held against ensembles of as many shards.
    """
    groups = collections.defaultdict(list)
    for run in runs:
        groups[placed(run)[0], run.pair, canonical(run.result.get("ensemble"))].append(run)
    for first, *others in groups.values():
        for run in others:
            for name in SHARED_MODELS:
                if first.result["hashes"][name] != run.result["hashes"][name]:
                    said = f"the {name.replace('_', ' ')} of seed {run.seed} differs, so they are no pair"
                    yield f"{first.folder} and {run.folder}: {said}"
            for name, (one, other) in _shared_numbers(first, run).items():
                if one is not None and other is not None and not math.isclose(one, other, **NEAR):
                    said = f"{name} is {one:.6g} and {other:.6g} for the same models"
                    yield f"{first.folder} and {run.folder}: {said}, so one was edited"


def _shared_numbers(one: Run, other: Run) -> dict[str, tuple[float | None, float | None]]:
    """Return what is the same in runs of one pair: numbers of the original and of the retrained models."""
    known = [{}, {}]
    for values, result in zip(known, (one.result, other.result), strict=True):
        for model in ("original", "retrained"):
            values |= {f"metrics.{model}.{name}": result["metrics"][model].get(name) for name in METRICS}
        for face in FACES:
            parts = result["faces"][face.name]
            values |= {f"faces.{face.name}.{part}": parts[part] for part in ("nothing", "floor")}
    return {name: (value, known[1][name]) for name, value in known[0].items()}


METRICS = ("forget_acc", "retain_acc", "test_acc", "mia_auc")

OF_ALL: tuple[Callable[[list[Run]], Faults], ...] = (
    *(_codes, _before_their_code, _twice, copies.models_and_numbers, _forget_sets, _pairs),
    *(copies.untrained, copies.weights, copies.predictions, copies.classes),
)
