"""Three faces of the distance to retrained models: probabilities, decisions and privacy.

Probabilities: JS_T, the mean over the forget set of JS(softmax(z / T), softmax(z_r / T_r)). Each model has its own
temperature, so that a model which is only surer or less sure than the retrained one is not far from it. The raw JS
stands beside it. Decisions: the share of samples for which the two predict different classes. Privacy: the
signed gap of the AUC of the membership attack; a mean over runs is taken before its absolute value.

No face sees everything: docs/yardstick.md says what each of them misses, with numbers.
"""

import dataclasses
import functools
import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from softtargets.evaluation import metrics
from softtargets.evaluation.evaluate import Evaluation, Logits
from softtargets.temperature import fitted_temperature
from softtargets.types import Evaluated, Lazy, Samples, generator

VALIDATION, RETAIN = "validation", "retain, cross-fitted"
"""Images on which temperatures are fitted; `Calibration` says which."""
LEAST = 100
"""Unseen images below which temperatures are fitted on the retain set."""
NOISE = 0.1
"""Standard deviation of the noise on the forget set, in standard deviations of its inputs."""
DRAWN = 1 << 20
"""Numbers that are drawn at a time, a multiple of 16."""
SETS = ("forget", "test", "forget_shifted", "forget_noisy")
"""Sets on which probabilities and decisions are compared."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The images on which temperatures are fitted.

    `validation`: images that no model has seen, with true labels, of the classes that the retain set has. Those of
    the validation set, and where these are fewer than 1,000, of the images that `dataset.train_size` left over.

    `retain, cross-fitted`: where there are fewer than 100 of these, as in an audit without validation images. The
    retain set is dealt into halves. Each gives a temperature of its own, and JS_T is the mean over both. This is a
    last resort, since every model has seen these images: their temperature says how well it remembers them. On
    6,000 images of Fashion-MNIST the original has T = 1.71 on 10,000 unseen images and .51 on the retain set, and
    doing nothing then is at JS_T = .065 and not at .028. With 100 unseen images it is at .0275 ± .0043 (standard
    deviation over draws), with 1,000 at .0278 ± .0011. So few unseen images are better than many seen ones, and
    100 suffice. The test set plays no part.
    """

    fitted_on: str
    folds: tuple[dict[str, Int64[Tensor, " _"]], ...]
    """Positions in sets by the set's name; one temperature a fold."""
    labels: tuple[Int64[Tensor, " _"], ...]

    @classmethod
    def of(cls, data: Evaluated) -> "Calibration":
        """Choose the images."""
        sets = {"validation": data.validation, "spare": data.spare}
        unseen = {
            name: torch.isin(samples.labels, data.retain.labels).nonzero()[:, 0]
            for name, samples in sets.items()
            if samples is not None
        }
        if sum(map(len, unseen.values())) >= LEAST:
            return cls(VALIDATION, (unseen,), (_labels(data, unseen),))
        # halves by chance, as the retain set may be sorted by class; a fixed seed, so that all models share them
        order = torch.randperm(len(data.retain), generator=generator(0, "temperature"))
        halves = [{"retain": half.to(data.retain.labels.device)} for half in order.chunk(2)]
        return cls(RETAIN, tuple(halves), tuple(_labels(data, half) for half in halves))

    def temperatures(self, logits: Logits) -> tuple[float, ...]:
        """Fit a model's temperature on every fold."""
        return tuple(
            fitted_temperature(torch.cat([logits[name][positions] for name, positions in fold.items()]), labels)
            for fold, labels in zip(self.folds, self.labels, strict=True)
        )


def _labels(data: Evaluated, fold: dict[str, Tensor]) -> Int64[Tensor, " m"]:
    return torch.cat([getattr(data, name).labels[positions] for name, positions in fold.items()])


def more_sets(data: Evaluated) -> dict[str, Samples]:
    """Return the sets beyond `data.evaluated()` on which the faces need predictions.

    `spare` images for the temperatures. `forget_shifted`: the forget set with every image moved by one pixel, to
    the left, right, top or bottom as drawn; the pixels at the edge fill the gap. `forget_noisy`: with Gaussian
    noise of a tenth of its inputs' standard deviation, kept within their range. Both are drawn from a fixed seed.
    A model that answers the forget set from a table gives itself away there. Inputs that are not images
    (channels, height, width) cannot be shifted.
    """
    sets = {} if data.spare is None else {"spare": data.spare}
    if len(data.forget.input_shape) == 3:
        sets["forget_shifted"] = Shifted(data.forget)
    return sets | {"forget_noisy": Noisy(data.forget)}


class Changed(Lazy):
    """Samples with the inputs of others, changed when they are taken: a changed copy would be as large again."""

    def __init__(self, others: Samples):
        """Take the samples whose labels and targets these have."""
        # of a frozen class: `self.others = …` would raise
        for name, value in (("others", others), ("labels", others.labels), ("targets", others.targets)):
            object.__setattr__(self, name, value)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one input."""
        return self.others.input_shape


class Shifted(Changed):
    """Images, each moved by one pixel in one of four directions."""

    @functools.cached_property
    def direction(self) -> Int64[Tensor, " n"]:
        """Draw a direction for each image, from 0 to 3."""
        drawn = torch.randint(4, (len(self),), generator=generator(0, "shifted"))
        return drawn.to(self.labels.device)

    def inputs_at(self, positions: Int64[Tensor, " m"]) -> Float[Tensor, "m c h w"]:
        """Return the moved images at these positions."""
        images, direction = self.others.inputs_at(positions), self.direction[positions]
        # one pixel wider on each side; a window at four places in it moves the image by one pixel
        wide = pad(images, (1, 1, 1, 1), mode="replicate")
        windows = (wide[..., 1:-1, 2:], wide[..., 1:-1, :-2], wide[..., 2:, 1:-1], wide[..., :-2, 1:-1])
        for number, window in enumerate(windows):
            images[direction == number] = window[direction == number]
        return images


class Noisy(Changed):
    """Samples with Gaussian noise of a tenth of their standard deviation; the range of all inputs is kept."""

    @functools.cached_property
    def spread(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the standard deviation of the noise, and the least and the greatest input."""
        inputs = self.others.inputs
        return NOISE * inputs.std(correction=0), inputs.min(), inputs.max()

    def inputs_at(self, positions: Int64[Tensor, " m"]) -> Float[Tensor, "m ..."]:
        """Return the noisy inputs at these positions; the noise of all is drawn for it."""
        return torch.cat(list(self.split(256)))[positions]

    def split(self, size: int) -> Iterator[Float[Tensor, "m ..."]]:
        """Yield the inputs, `size` rows at a time."""
        (deviation, low, high), shape = self.spread, (len(self), *self.input_shape)
        for noise, inputs in zip(normal_rows(shape, size), self.others.split(size), strict=True):
            # in place: each copy would be as large as a part
            yield noise.to(inputs.device).mul_(deviation).add_(inputs).clamp_(low, high)


def normal_rows(shape: tuple[int, ...], size: int) -> Iterator[Float[Tensor, "m ..."]]:
    """Yield the rows of noise that `torch.randn` draws at once for this shape, `size` rows at a time."""
    draw, row, left = generator(0, "noisy"), math.prod(shape[1:]), torch.empty(0)
    undrawn = shape[0] * row
    for start in range(0, shape[0], size):
        rows = min(size, shape[0] - start)
        while len(left) < rows * row:
            # torch draws 16 numbers at a time, and a remainder of fewer together with those before it
            count = undrawn if undrawn < 2 * DRAWN else DRAWN
            left, undrawn = torch.cat([left, torch.randn(count, generator=draw)]), undrawn - count
        part, left = left[: rows * row], left[rows * row :]
        yield part.view(rows, *shape[1:])


@dataclasses.dataclass(frozen=True)
class Face:
    """What the faces need of one model."""

    logits: Logits
    temperatures: tuple[float, ...]
    """One a fold of the calibration images."""
    metrics: dict


def js_t(name: str, one: Face, other: Face) -> float:
    """Return the mean JS of two models on the set `name`, in nats, each at its own temperature."""
    # float64, so that a division by T costs a small JS none of its digits
    z, z_r = one.logits[name].double(), other.logits[name].double()
    pairs = zip(one.temperatures, other.temperatures, strict=True)
    return statistics.mean(metrics.js(z / t, z_r / t_r) for t, t_r in pairs)


def raw_js(name: str, one: Face, other: Face) -> float:
    """Return the mean JS of two models on the set `name`, in nats, as they are."""
    return metrics.js(one.logits[name], other.logits[name])


def disagreement_on(name: str, one: Face, other: Face) -> float:
    """Return the share of the set `name` for which two models predict different classes."""
    return metrics.disagreement(one.logits[name], other.logits[name])


DISTANCES = {"js_t": js_t, "js": raw_js, "disagreement": disagreement_on}
SIGNED = {"mia_gap": "mia_auc", "test_acc_gap": "test_acc"}
"""Signed gaps, each with its metric."""
OF_EACH = ("forget_acc", "test_acc", "mia_auc")
"""Metrics of each retrained model in the result."""


def faces(evaluations: Mapping[str, Evaluation], references: Sequence[Evaluation], data: Evaluated) -> dict:
    """Measure the models `original` and `unlearned` by every face against all retrained models, the `references`.

    Returns plain data. A distance is {"unlearned", "nothing", "floor"}: D(model) is the mean over references r of
    D(model, r), `nothing` is D(original), and `floor` is the mean of D(r, r') over all pairs of references, None
    without a pair. `mia_gap` and `test_acc_gap` are signed: the model's metric less the references' mean. There
    `floor` is the first reference's metric less the mean of the others', since all such gaps have the mean zero by
    construction. `retrained` has the references' own metrics, in their order. None where a model is not finite or
    nothing can be measured.

    `evaluations` and `references` must have the logits on `more_sets(data)`.
    """
    calibration = Calibration.of(data)
    retrained = [_face(one, calibration) for one in references]
    models = {name: _face(evaluations[name], calibration) for name in ("original", "unlearned")}
    return {
        "references": len(references),
        "temperature": {
            **{name: _temperature(face) for name, face in models.items()},
            "retrained": [_temperature(face) for face in retrained],
            "images": sum(map(len, calibration.labels)),
            "fitted_on": calibration.fitted_on,
        },
        **{
            f"{name}_{set_name}": _distances(distance, set_name, models, retrained)
            for name, distance in DISTANCES.items()
            for set_name in SETS
        },
        **{gap: _gaps(metric, models, retrained) for gap, metric in SIGNED.items()},
        "retrained": {name: [one.metrics[name] for one in references] for name in OF_EACH},
    }


def _temperature(face: Face | None) -> float | None:
    """Return the geometric mean over the folds; None for a model that is not finite."""
    # geometric, since T divides: halving and doubling cancel
    return None if face is None else statistics.geometric_mean(face.temperatures)


def _face(evaluation: Evaluation, calibration: Calibration) -> Face | None:
    """Return what the faces need of a model; None for one that is not finite."""
    if evaluation.metrics["class_acc"] is None:
        return None
    return Face(evaluation.logits, calibration.temperatures(evaluation.logits), evaluation.metrics)


def _distances(
    distance: Callable[[str, Face, Face], float], set_name: str, models: dict[str, Face | None], retrained: list
) -> dict[str, float | None]:
    def between(one: Face | None, other: Face | None) -> float | None:
        # None where a model is not finite, or where the set cannot be made, as shifted ones of no images
        measurable = None not in (one, other) and set_name in one.logits
        return distance(set_name, one, other) if measurable else None

    return {
        "unlearned": _mean([between(models["unlearned"], one) for one in retrained]),
        "nothing": _mean([between(models["original"], one) for one in retrained]),
        "floor": _mean([between(*pair) for pair in itertools.combinations(retrained, 2)]),
    }


def _mean(values: list[float | None]) -> float | None:
    """Return the mean; None for no value, or where one of them is None."""
    return None if None in values or not values else statistics.mean(values)


def _gaps(metric: str, models: dict[str, Face | None], retrained: list) -> dict[str, float | None]:
    def value(face: Face | None) -> float | None:
        return None if face is None else face.metrics[metric]

    # the first against the others alone: against a mean that holds it, its gap would be smaller than it is
    first, *others = theirs = [value(face) for face in retrained]
    return {
        "unlearned": _gap(value(models["unlearned"]), theirs),
        "nothing": _gap(value(models["original"]), theirs),
        "floor": _gap(first, others),
    }


def _gap(one: float | None, others: list[float | None]) -> float | None:
    mean = _mean(others)
    return None if None in (one, mean) else one - mean
