"""The data of results, drawn again from their configs: no training is needed to know who is to be forgotten."""

import collections
import os

from torch import nn

from softtargets.config import allowed_targets
from softtargets.config.names import SIDES, composed
from softtargets.config.validation import naming
from softtargets.errors import BadInput
from softtargets.execution import scores
from softtargets.execution.load_data import load_data
from softtargets.readers import downloads
from softtargets.readers.idx_files import DataUnavailable
from softtargets.report.runs import Run
from softtargets.system.files import canonical
from softtargets.system.words import counted
from softtargets.table.checks import ODD
from softtargets.table.contradictions import EITHER, is_labels
from softtargets.table.copies import OF_CLASSES, means
from softtargets.types import Split, digest

ROOT = "SOFTTARGETS_DATA"
"""Variable with the folder of published datasets, which a result does not name."""


def require_data(runs: list[Run]) -> list[str]:
    """Draw the data of all runs again, and return what to say of those whose data cannot be drawn here.

    Raises BadInput for a result with other samples than its config and its seeds draw. Nothing is downloaded.
    """
    groups, unknown = collections.defaultdict(list), collections.Counter()
    for run in runs:
        groups[canonical([run.result["config"][name] for name in ("dataset", "forget_set")])].append(run)
    for some in groups.values():
        with naming(f"{some[0].folder}: its data cannot be drawn again", ODD):
            data = _drawn(some[0].result)
        if isinstance(data, str):
            unknown[data] += len(some)
            continue
        for run in some:
            _require_same(run, data)
    return [f"the data of {counted(count, 'run')} not drawn again: {why}" for why, count in unknown.items()]


def _drawn(result: dict) -> Split | str:
    """Draw the data of a result, or return why that is not possible here."""
    config = {name: dict(result["config"][name]) for name in ("dataset", "forget_set")}
    try:
        allowed_targets.require_allowed(config, ())
    except BadInput:
        return "its author's own code draws it"
    if any("path" in node for node in config.values()):
        return "it needs its author's own files"
    if scores.needed(config):
        return "its forget set needs trained models"
    config["dataset"] = with_root(config["dataset"])
    try:
        with downloads.switched_off():
            return load_data(config | {"store": {"dir": None}}, "cpu")
    except BadInput as error:
        if isinstance(error.__cause__, DataUnavailable):
            return f"{error}; {ROOT}=DIR names its folder"
        raise


def with_root(dataset: dict) -> dict:
    """Return a dataset's settings with the folder of published datasets, where it has one."""
    usual = composed("dataset", str(dataset.get("_target_")).rpartition(".")[2]) or {}
    return dataset | ({"root": os.environ.get(ROOT, "data")} if "root" in usual else {})


def _require_same(run: Run, data: Split) -> None:
    """Raise BadInput where the samples of a result are not those of its config, or their classes are others."""
    sets = {"train": data.train} | data.evaluated()
    sizes = run.result["data"]["sizes"]
    for name, known in run.result["data"]["hashes"].items():
        if name not in sets or known != sets[name].digest or sizes[name] != len(sets[name]):
            said = f"its {name} set is not the one that its config and seeds draw"
            raise BadInput(f"{run.folder}: {said}: {EITHER}")
    for name in OF_CLASSES:
        counts = sets[name].labels.bincount(minlength=data.classes).tolist()
        for fault in means(run, name, counts):
            raise BadInput(fault)
    _require_labels(run, data)


def _require_labels(run: Run, data: Split) -> None:
    """Raise BadInput for labels under the name of other targets, or the reverse: labels need no model."""
    known = [is_labels(run.result["config"]["targets"][side]) for side in SIDES]
    sets = (getattr(data, side).labels for side in SIDES)
    labels = digest(*(nn.functional.one_hot(one, data.classes).float() for one in sets))
    same = run.result["hashes"]["targets"] == labels
    if run.result.get("requests") or None in known or same == all(known):
        return
    said = "labels, and its config asks for other targets" if same else "no labels, and its config asks for labels"
    raise BadInput(f"{run.folder}: hashes.targets is that of {said}: {EITHER}")
