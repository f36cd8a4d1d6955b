"""An audit of models that were made elsewhere: what a run and its report say of its own unlearned model."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from softtargets.errors import BadInput, nearest
from softtargets.evaluation.evaluate import Evaluation, evaluate, predict_sets
from softtargets.evaluation.faces import more_sets
from softtargets.execution.result import audit_content, finite, margin_arrays, measured, sizes
from softtargets.execution.run_files import write_result
from softtargets.report.audit_input import (
    Data,
    Model,
    Pairs,
    classes_of,
    network,
    pair,
    require_level,
    samples,
    true_labels,
)
from softtargets.split import audited
from softtargets.system.files import Damaged, read_json, require_writable
from softtargets.types import Evaluated, model_digest

NAMES = dict.fromkeys(("dataset", "architecture", "forget_set", "mu_algo", "targets"), str) | {"seed": int}
"""What a caller may name, and the type of the name."""


def audit(
    *,
    original: Model,
    unlearned: Model,
    retrained: Model | Sequence[Model] | None = None,
    forget: Data,
    retain: Data,
    test: Data,
    validation: Data | None = None,
    architecture: Callable[[], nn.Module] | None = None,
    forget_true_labels: Int64[Tensor, " n"] | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    choices: Mapping[str, str | int] | None = None,
) -> dict:
    """Measure models that were made elsewhere, as a run measures its own.

    Returns plain data under the names that `result.json` has: `metrics` of each model, `distance` of the unlearned
    model to the retrained one and `baseline`, the same for doing nothing, `faces` (these three are None without a
    retrained model), `change` from the original, `hashes`, `sizes`. Units are those of result.json.

    `retrained` may be a list of models that were retrained with different seeds. `faces` are then averages over
    them and have a floor; all else compares with the first.

    `architecture()` returns a network for models that are weights alone: state dicts, or paths of checkpoints as
    the setting `checkpoint` takes. `validation` are images that no model has seen; without them `unseen_acc` and
    `js_validation` are None, and temperatures are fitted on the retain set, which says less: see
    `softtargets.evaluation.faces.Calibration`. `forget_true_labels` are what the forget set shows, where its
    labels were corrupted. `seed` draws the membership test, like `forget_set.seed` in a run. No model is changed.

    With a `folder` the audit leaves result.json and margins.npz there, as a run does, and the report on them, as
    `softtargets report` does. `choices` name what was audited (`NAMES`), so that a report on a folder of audits
    compares those of different `targets` over equal values of `seed`.

    Raises BadInput, a ValueError, for sets and models that do not fit each other, for other names in `choices`,
    and for a `folder` that cannot be written to or holds the result of a run.

    >>> import softtargets, torch
    >>> inputs, labels = torch.randn(3, 20, 4), torch.arange(20) % 3
    >>> sets = {name: (inputs[i], labels) for i, name in enumerate(("forget", "retain", "test"))}
    >>> original, unlearned, retrained = (torch.nn.Linear(4, 3) for _ in range(3))
    >>> numbers = softtargets.audit(original=original, unlearned=unlearned, retrained=retrained, **sets)
    >>> 0 < numbers["distance"]["js_forget"] < 0.6931  # in nats, at most log 2
    True
    """
    started = datetime.datetime.now(datetime.UTC)
    if type(seed) is not int or seed < 0:
        raise BadInput(f"seed={seed!r}: must be a whole number from 0 on")
    place = None if folder is None else Path(folder).expanduser()
    if place:
        _require_free(place)
    given = {"original": original, **_numbered(retrained), "unlearned": unlearned}
    models = {name: network(model, architecture, name) for name, model in given.items()}
    named = _choices({} if choices is None else choices, models["original"], seed)
    sets = {"forget": forget, "retain": retain, "test": test, "validation": validation}
    pairs = {name: pair(data, name) for name, data in sets.items() if data is not None}
    data = _evaluated(pairs, classes_of(models, pairs), forget_true_labels, seed)
    more = more_sets(data)
    evaluations = {name: evaluate(predict_sets(model, data, more), data) for name, model in models.items()}
    names = [name for name in models if name.startswith("retrained/")]
    digests = {"further_retrained": [model_digest(models.pop(name)) for name in names]}
    further = [evaluations.pop(name) for name in names]
    if place:
        _write(place, models, evaluations, data, named, started, further)
    digests |= {name: model_digest(model) for name, model in models.items()} | {"forget_set": data.forget.digest}
    return finite(
        {**measured(models, evaluations, data, further=further), "hashes": digests, "sizes": sizes(data)}
    )


def _evaluated(pairs: Pairs, classes: int, given: Tensor | None, seed: int) -> Evaluated:
    """Return the checked sets with what is drawn from them; `given` are the forget set's true labels."""
    parts = {name: samples(*one, classes, name) for name, one in pairs.items()}
    true = true_labels(given, parts["forget"])
    require_level(parts.get("validation"), parts["retain"], true)
    return audited(parts["forget"], parts["retain"], parts["test"], parts.get("validation"), true, seed)


def _numbered(retrained: Model | Sequence[Model] | None) -> dict[str, Model]:
    """Return the retrained models by name: `retrained`, `retrained/2` and so on; none for None."""
    if retrained is None:
        return {}
    if not isinstance(retrained, list | tuple):
        return {"retrained": retrained}
    if not retrained:
        raise BadInput("retrained is an empty list; give one model or more, or None")
    return {f"retrained/{i}" if i > 1 else "retrained": model for i, model in enumerate(retrained, start=1)}


def _require_free(folder: Path) -> None:
    """Raise BadInput for a folder that cannot be written to, or has a result that is not an audit's."""
    require_writable("folder", folder)
    file = folder / "result.json"
    try:
        mine = not file.exists() or read_json(file).get("audit") is True
    except Damaged:
        mine = False
    if not mine:
        raise BadInput(f"folder={folder}: holds the result of a run. Give another folder")


def _choices(given: Mapping[str, str | int], original: nn.Module, seed: int) -> dict[str, str | int]:
    """Return the choices of a result; what is not given is called so."""
    if not isinstance(given, Mapping):
        raise BadInput(f"choices={given!r}: must be a dictionary, as in choices={{'targets': 'soft', 'seed': 0}}")
    for name, value in given.items():
        if name not in NAMES:
            raise BadInput(f"choices has {name}; choose one of {', '.join(NAMES)}{nearest(name, NAMES)}")
        if type(value) is not NAMES[name]:  # a bool is an int too
            raise BadInput(f"choices has {name}={value!r}; it must be {NAMES[name].__name__}")
    usual = dict.fromkeys(NAMES, "given") | {"architecture": type(original).__name__, "seed": 0}
    named = usual | dict(given)
    follow = {"training": named["architecture"], "unlearn": named["mu_algo"]}
    return named | follow | {"forget_seed": seed}


def _write(
    folder: Path,
    models: dict[str, nn.Module],
    evaluations: dict[str, Evaluation],
    data: Evaluated,
    named: dict[str, str | int],
    started: datetime.datetime,
    further: list[Evaluation],
) -> None:
    """Leave the files of a run, and then those of a report on it."""
    from softtargets.report.summary import write_report  # scipy: a second, which no audit without a folder needs

    if "retrained" not in evaluations:  # then it is written as a model of which no number is known
        unknown = {
            name: torch.full_like(logits, torch.nan) for name, logits in evaluations["original"].logits.items()
        }
        evaluations = evaluations | {"retrained": evaluate(unknown, data)}
    content = audit_content(models, evaluations, data, named, started, further)
    write_result(folder, finite(content), margin_arrays(evaluations, further))
    write_report(folder, folder)
