"""The fields of a result.json that reports read: names and types, checked once, when the file is read."""

import math

import pydantic

from softtargets.config.resolve import GROUPS


class _Read(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


Number = float | None
"""None where a model was not finite, or where there was nothing to measure."""


class Choices(_Read):
    """The choice in every group of the config."""

    dataset: str
    architecture: str
    forget_set: str
    forget_seed: int
    mu_algo: str
    training: str
    unlearn: str
    targets: str
    targets_forget: str | None = None
    targets_retain: str | None = None
    dataset_name: str | None = None
    seed: int


class Metrics(_Read):
    """Of one model; the last two are there where `evidence` asked for them, as are the user's own measures."""

    model_config = pydantic.ConfigDict(extra="allow")

    forget_acc: Number
    retain_acc: Number
    test_acc: Number
    mia_auc: Number
    class_acc: list[Number] | None
    svc_accuracy: Number = None
    relearn_steps: Number = None
    probe_accuracy: Number = None
    prototype_accuracy: Number = None


class OwnMeasureFields(_Read):
    """A result's description of a user's own measure."""

    description: str
    lower_is_better: bool


class ModelsFields(_Read):
    """The three models of a run."""

    original: Metrics
    retrained: Metrics
    unlearned: Metrics


class Matched(_Read):
    """Distances at matched forgetting."""

    js_forget: Number
    mia_gap: Number
    js_test: Number


class Distances(Matched):
    """Distances at the end of a run, or of doing nothing."""

    activation_distance_forget: Number
    disagreement_forget: Number
    avg_gap: Number
    accuracy_distance: Number


class Hashes(_Read):
    """Hashes that the two runs of a pair share."""

    original: str
    retrained: str
    forget_set: str
    batches: str
    further_retrained: list[str] = []


class TrajectoryFields(_Read):
    """Columns of one length, which is 0 where none was kept. More than these go into tables as they are."""

    model_config = pydantic.ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, list]

    step: list[int]
    forget_acc: list[Number]
    test_acc: list[Number]
    js_forget: list[Number]

    @pydantic.model_validator(mode="after")
    def _one_length(self) -> "TrajectoryFields":
        if len({len(column) for column in self.model_dump().values()}) > 1:
            raise ValueError("its columns differ in length")
        return self


class DiagnosisFields(_Read):
    """The state of the targets at the original model."""

    target_distance: Number
    sharpness: Number
    target_entropy: Number
    grad_cosine: Number
    first_order: Number


class CostFields(_Read):
    """Costs in seconds, and shares of what retraining costs, which older results lack."""

    unlearn_s: Number
    share: Number = None
    share_seconds: Number = None
    prepared_share: Number = None
    budget: Number = None


class FaceFields(_Read):
    """A distance or signed gap of both models to all retrained ones, and between these."""

    unlearned: Number
    nothing: Number
    floor: Number


class TemperatureFields(_Read):
    """The temperatures of calibration."""

    retrained: list[Number] = pydantic.Field(min_length=1)


class FacesFields(_Read):
    """What is measured against all retrained models."""

    js_t_forget: FaceFields
    disagreement_forget: FaceFields
    mia_gap: FaceFields
    js_t_test: FaceFields
    test_acc_gap: FaceFields
    js_forget: FaceFields | None = None
    js_t_forget_shifted: FaceFields | None = None
    js_t_forget_noisy: FaceFields | None = None
    disagreement_forget_shifted: FaceFields | None = None
    disagreement_forget_noisy: FaceFields | None = None
    temperature: TemperatureFields | None = None


class Sizes(_Read):
    """Numbers of samples in sets."""

    forget: int


class DataHashes(_Read):
    """Hashes of the content of sets."""

    train: str
    test: str


class Data(_Read):
    """The data on which a run's models were trained and measured."""

    classes: int
    sizes: Sizes
    hashes: DataHashes


class TunedOnFields(_Read):
    """What a search saw when it chose a run's settings."""

    dataset: str
    images: int
    seeds: list[int]
    forget_sets: list[int]
    classes: list[int]
    fixed: str | None
    test_images: int
    recipe: str | None = None
    cost: float | None = None
    trials: int | None = None
    objective: str | None = None


class PromiseFields(_Read):
    """The ε and δ that an algorithm promises."""

    epsilon: float
    delta: float


class EnsembleFields(_Read):
    """Numbers of shards: of all, and of those that hold samples to forget."""

    shards: int
    touched: int


class Drift(_Read):
    """Mean JS from the retrained model after a request, in nats."""

    js_unlearned: float | None
    js_nothing: float | None
    js_earlier: float | None


class RequestCost(_Read):
    """What a request cost, over its own retraining."""

    share: float | None


class RequestFields(_Read):
    """One request of several."""

    drift: Drift
    cost: RequestCost


class Result(_Read):
    """The fields of a run that a report needs."""

    status: str
    choices: Choices
    config: dict
    tuned_on: TunedOnFields | None = None
    metrics: ModelsFields
    evidence: dict[str, OwnMeasureFields] = {}
    distance: Distances
    baseline: Distances
    matched: Matched | None
    hashes: Hashes
    trajectory: TrajectoryFields
    diagnosis: DiagnosisFields
    change: dict = {}
    faces: FacesFields | None = None
    promise: PromiseFields | None = None
    ensemble: EnsembleFields | None = None
    requests: list[RequestFields] = []
    cost: CostFields
    data: Data
    provenance: dict

    @pydantic.model_validator(mode="after")
    def _groups(self) -> "Result":
        for name in GROUPS:
            if not isinstance(self.config.get(name, {}), dict):
                raise ValueError(f"config.{name}: must be a group of settings")
        if not isinstance(self.config.get("dataset", {}).get("seed", 0), int):
            raise ValueError("config.dataset.seed: must be an integer")
        return self

    @pydantic.model_validator(mode="after")
    def _every_class(self) -> "Result":
        columns = [
            one.class_acc for one in (self.metrics.original, self.metrics.retrained, self.metrics.unlearned)
        ]
        if any(each is not None and len(each) != self.data.classes for each in columns):
            raise ValueError(f"a class_acc of its metrics does not have data.classes={self.data.classes} entries")
        return self

    @pydantic.model_validator(mode="after")
    def _measured(self) -> "Result":
        for model, metrics in self.metrics:
            for name in self.evidence:
                value = metrics.__pydantic_extra__.get(name)
                if "." not in name:  # as the path of a function has, and no metric of ours
                    raise ValueError(f"evidence.{name}: must be the path of a measure")
                if not (value is None or (isinstance(value, int | float) and math.isfinite(value))):
                    raise ValueError(f"metrics.{model}.{name}: must be a finite number or null")
        return self


def wrong(result: dict) -> str | None:
    """Return what is wrong with a result, the field first; None where a report can read it."""
    try:
        Result.model_validate(result)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        return f"{place}: {said[0].lower()}{said[1:]}" if place else said
    return None
