"""An audit of models that were made elsewhere: what a run and its report say of its own unlearned model."""

import copy
import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor, nn
from torch.utils.data import Dataset

from softtargets.errors import BadInput, nearest
from softtargets.evaluation.evaluate import Evaluation, evaluate, predict_sets
from softtargets.evaluation.faces import more_sets
from softtargets.execution.checkpoint import load_weights
from softtargets.execution.result import audit_content, finite, margin_arrays, measured, sizes
from softtargets.execution.run_files import write_result
from softtargets.fit import predict
from softtargets.split import audited
from softtargets.system.files import Damaged, read_json, require_writable
from softtargets.types import Evaluated, Samples, model_digest

Model = nn.Module | Mapping[str, Tensor] | str | Path
"""A network from inputs to logits, or the weights of one: a state dict, or a file that holds one."""
Data = Samples | tuple[Tensor, Tensor] | Dataset
"""Samples; or inputs (n, ...) as the network takes them, with integer labels (n,); or a dataset of such pairs."""
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
    place = None if folder is None else Path(folder).expanduser()
    if place:
        _require_free(place)
    given = {"original": original, **_numbered(retrained), "unlearned": unlearned}
    models = {name: _network(model, architecture, name) for name, model in given.items() if model is not None}
    named = _choices(choices or {}, models["original"], seed)
    sets = {"forget": forget, "retain": retain, "test": test, "validation": validation}
    pairs = {name: _pair(data, name) for name, data in sets.items() if data is not None}
    classes = _classes(models, pairs)
    samples = {name: _samples(*pair, classes, name) for name, pair in pairs.items()}
    true = samples["forget"].labels if forget_true_labels is None else forget_true_labels
    data = audited(samples["forget"], samples["retain"], samples["test"], samples.get("validation"), true, seed)
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


def _numbered(retrained: Model | Sequence[Model] | None) -> dict[str, Model | None]:
    """Return the retrained models by name: `retrained`, `retrained/2` and so on."""
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
    for name, value in given.items():
        if name not in NAMES:
            raise BadInput(f"choices has {name}; choose one of {', '.join(NAMES)}{nearest(name, NAMES)}")
        if not isinstance(value, NAMES[name]):
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


def _network(model: Model, architecture: Callable[[], nn.Module] | None, name: str) -> nn.Module:
    if isinstance(model, nn.Module):
        return model
    if not isinstance(model, Mapping | str | Path):
        raise BadInput(
            f"{name} is {type(model).__name__}; give a torch.nn.Module, a state dict, or the path of a file"
        )
    if architecture is None:
        raise BadInput(f"{name} has weights only; give architecture too, a function that returns a network")
    network = copy.deepcopy(architecture())
    load_weights(network, model, name if isinstance(model, Mapping) else f"{name}={model}")
    return network


def _pair(data: Data, name: str) -> tuple[Tensor, Tensor]:
    """Return inputs and labels of any form of data."""
    if isinstance(data, Samples):
        return data.inputs, data.labels
    if isinstance(data, Dataset):
        rows = [data[i] for i in range(len(data))]
        data = torch.stack([torch.as_tensor(row[0]) for row in rows]), torch.tensor([int(row[1]) for row in rows])
    if not isinstance(data, tuple | list) or len(data) != 2 or not all(isinstance(part, Tensor) for part in data):
        raise BadInput(f"{name}: give a pair of tensors (inputs and labels) or a dataset")
    inputs, labels = data
    if not len(inputs) or len(inputs) != len(labels):
        raise BadInput(f"{name} has {len(inputs)} inputs and {len(labels)} labels; give one label for each input")
    return inputs.float(), labels.long()


def _classes(models: dict[str, nn.Module], pairs: dict[str, tuple[Tensor, Tensor]]) -> int:
    """Return how many classes the models tell apart, the same for all."""
    inputs = pairs["forget"][0][:1]
    widths = {name: predict(model, inputs).shape[1] for name, model in models.items()}
    if len(set(widths.values())) > 1:
        raise BadInput(f"the models have logits of different widths: {widths}")
    return widths["original"]


def _samples(inputs: Tensor, labels: Tensor, classes: int, name: str) -> Samples:
    if labels.min() < 0 or labels.max() >= classes:
        raise BadInput(
            f"{name} has labels from {labels.min()} to {labels.max()}; they must be from 0 to {classes - 1}"
        )
    return Samples(inputs, labels, F.one_hot(labels, classes).float())
