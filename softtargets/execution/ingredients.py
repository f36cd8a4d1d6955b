"""What the entries of a run in the store depend on: their ingredients, of which the store makes keys."""

from softtargets.config import allowed_targets
from softtargets.execution.experiment import Experiment
from softtargets.marks import Targets
from softtargets.types import Samples

CODE = {"model": 2, "logits": 2, "targets": 1}
"""Version of a stage's code, raised when its output changes, so that old entries are not reused."""


def of_model(experiment: Experiment, name: str, samples: Samples) -> dict:
    """Return the ingredients of the model `name` trained on `samples`."""
    config = experiment.decisive
    # it is the checkpoint that the validation set chooses
    chosen = {"validation": experiment.data.validation.digest} if name == "early_original" else {}
    return (
        _origin(experiment, "architecture", "training")
        | chosen
        | {
            "code": CODE["model"],
            "name": name,
            "architecture": config["architecture"],
            "training": config["training"] | {"epochs": experiment.epochs},
            "samples": samples.digest,
            "classes": samples.targets.shape[1],
            "seed": experiment.settings.seed,
        }
    )


def of_logits(experiment: Experiment, model: str, samples: Samples) -> dict:
    """Return the ingredients of the logits on `samples` of the model with digest `model`."""
    return _origin(experiment, "architecture") | {
        "code": CODE["logits"],
        "architecture": experiment.decisive["architecture"],
        "model": model,
        "samples": samples.digest,
    }


def of_targets(experiment: Experiment, side: str, original: str, retrained: str) -> dict:
    """Return the ingredients of the targets of one side, "forget" or "retain", by the digests of both models."""
    config = experiment.decisive
    ingredients = _origin(experiment, "targets", "architecture", "training") | {
        "code": CODE["targets"],
        "side": side,
        "kind": config["targets"][side],
        "samples": getattr(experiment.data, side).digest,
        "train": experiment.data.train.digest,
        "original": original,
        "retrained": retrained,
        "architecture": config["architecture"],
        "training": config["training"] | {"epochs": experiment.epochs},
        "seed": experiment.settings.seed,
    }
    if Targets.of(experiment.recipes[side].kind).held_out:
        ingredients["held_out"] = experiment.held_out.digest
    return ingredients


def _origin(experiment: Experiment, *groups: str) -> dict:
    """Return the ingredients that set machines apart, and the hashes of the user's code."""
    settings = experiment.settings
    own = allowed_targets.sources({group: experiment.config[group] for group in groups}, settings.plugins)
    kind = settings.device.partition(":")[0]
    return {"device": kind, "threads": settings.threads} | ({"sources": own} if own else {})
