"""Forget and retain set with the targets of a run, computed once and stored by sample."""

import dataclasses
import time

from torch import Tensor

from softtargets.config.validation import naming
from softtargets.execution.ingredients import of_targets
from softtargets.execution.models import Stages, Trained
from softtargets.execution.teachers import LOCAL, Teachers
from softtargets.store import Entry
from softtargets.types import Samples


@dataclasses.dataclass(frozen=True)
class TargetSets:
    """The two sets with their targets, and the cost of computing these."""

    forget: Samples
    retain: Samples
    seconds: float
    """Seconds of predictions and targets, without trainings."""
    teachers: dict[str, float]
    """Seconds of training of each teacher, by name. None depends on the samples to forget, so it can be trained
    before the request. Where requests follow one another, each has teachers of its own: they are trained on what
    the requests before it have left."""


def target_sets(stages: Stages, original: Trained, retrained: Trained) -> TargetSets:
    """Compute the targets of both sets, or read them from the store."""
    sides = {side: _entry(stages, side, original, retrained) for side in ("forget", "retain")}
    data, device = stages.experiment.data, stages.experiment.settings.device
    forget, retain = (
        getattr(data, side).retarget(entry.tensors["targets"].to(device)) for side, entry in sides.items()
    )
    teachers = sides["forget"].manifest["teachers"] | sides["retain"].manifest["teachers"]
    seconds = sum(entry.manifest["targets_s"] for entry in sides.values())
    return TargetSets(stages.experiment.to_forget(forget), retain, seconds, teachers)


def _entry(stages: Stages, side: str, original: Trained, retrained: Trained) -> Entry:
    def make() -> tuple[dict[str, Tensor], dict]:
        return _computed(stages, side, {"original": original, "retrained": retrained})

    ingredients = of_targets(stages.experiment, side, original.digest, retrained.digest)
    return stages.kept("targets", ingredients, make)


def _computed(stages: Stages, side: str, known: dict[str, Trained]) -> tuple[dict[str, Tensor], dict]:
    teachers = Teachers(stages, known, side)
    started = time.perf_counter()
    with naming(f"targets.{side}"):
        targets = stages.experiment.recipes[side](teachers.source())
    own = time.perf_counter() - started - teachers.asking
    taught = {name: teacher.seconds for name, teacher in teachers.taught.items()}
    # what depends on the forget set is trained after the request
    after = sum(taught.pop(name) for name in list(taught) if name.startswith(LOCAL))
    return {"targets": targets}, {"targets_s": own + teachers.predicting + after, "teachers": taught}
