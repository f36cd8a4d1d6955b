"""Kinds of targets, each `kind(source, *, settings) -> targets` of shape (n, classes), and modifiers of any kind.

A kind does not know which set it is for, nor whether an algorithm will ascend or descend on it. z0 are the logits
of the original model θ0, e_y is the one-hot label, u the uniform distribution. n counts samples, k classes.

A kind declares by marks what a run has to know of it: see `softtargets.marks.Targets`.

The examples share:

>>> logits = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]).log()
>>> generator = torch.Generator().manual_seed(0)
>>> source = Source(torch.tensor([0, 2]), 3, lambda model: logits, lambda folds: logits, generator)
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from softtargets.forget_sets import wrong_labels
from softtargets.heads import check_head
from softtargets.marks import Targets, targets_kind

TOLERANCE = 1e-6
"""How far a row's sum may be from 1."""


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Images that no model was trained on, on the CPU."""

    labels: Int64[Tensor, " m"]
    logits: Float[Tensor, "m classes"]
    """The original's."""


@dataclasses.dataclass(frozen=True)
class Source:
    """The inputs of a kind, for n samples in their order, on the CPU."""

    labels: Int64[Tensor, " n"]
    classes: int
    logits: Callable[[str], Float[Tensor, "n classes"]]
    """A model's float32 eval-mode logits on these samples, by its name: "original" is θ0, "retrained" the
    reference, "untrained" an initialisation; any other name is a model trained on all training data."""
    out_of_fold: Callable[[int], Float[Tensor, "n classes"]]
    """The same from k-fold cross-fitting: each row is from the model trained without the sample's fold."""
    generator: torch.Generator
    held_out: Callable[[], HeldOut] | None = None
    """Spare images, and the validation set where no stop rule reads it. Who asks has the mark `held_out`."""
    features: Callable[[], tuple[Float[Tensor, "n width"], Float[Tensor, "m width"]]] | None = None
    """What the original's last linear layer reads, of these samples and of the held-out images."""
    class_weights: Callable[[], Float[Tensor, "classes width"]] | None = None
    """Weights of the original's last linear layer, a row for each class."""
    retained: Callable[[], Float[Tensor, "r classes"]] | None = None
    """The original's logits on the whole retain set, whichever set these samples are."""
    local: Callable[[int], Float[Tensor, "n classes"]] | None = None
    """`local(samples)`: logits of a model trained, after the request, on so many retained samples: those nearest
    to the forget set by what the original's last linear layer reads."""

    def one_hot(self) -> Float[Tensor, "n classes"]:
        """Return e_y, the one-hot labels."""
        return F.one_hot(self.labels, self.classes).float()


def hard(source: Source) -> Float[Tensor, "n k"]:
    """Return q = e_y, the one-hot label.

    >>> hard(source)
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """
    return source.one_hot()


def self_prediction(
    source: Source, *, temperature: Annotated[float, Field(ge=1e-3, le=10**6)]
) -> Float[Tensor, "n k"]:
    """Return q = softmax(z0 / T), T → temperature.

    On the forget set at T = 1 the gradient p - q vanishes at the original in evaluation mode, or under
    `unlearn.freeze_norm`, and ascent does nothing; T < 1 sharpens towards the hard label, T > 1 flattens. On the
    retain set T = 1 holds the model where it was.

    >>> self_prediction(source, temperature=1.0)
    tensor([[0.7000, 0.2000, 0.1000],
            [0.1000, 0.1000, 0.8000]])
    """
    return (source.logits("original") / temperature).softmax(1)


@targets_kind(signed=lambda smoothing: smoothing < 0)
def label_smoothing(source: Source, *, smoothing: Annotated[float, Field(ge=-4, le=1)]) -> Float[Tensor, "n k"]:
    """Return q = (1 - a) e_y + a u, a → smoothing (Szegedy et al. 2016, arXiv 1512.00567).

    a < 0 is the negative smoothing of UGradSL (Di et al. 2024, arXiv 2406.07698): q_y > 1 and the other entries
    are negative, no distribution. CE(q, p) is then (1 - a) CE(e_y, p) + a CE(u, p): its ascent is that of hard
    labels plus a pull to the uniform, its descent is unbounded.

    >>> label_smoothing(source, smoothing=0.3)
    tensor([[0.8000, 0.1000, 0.1000],
            [0.1000, 0.1000, 0.8000]])
    """
    # u has 1 / classes in every entry, so that a u is one number
    return (1 - smoothing) * source.one_hot() + smoothing / source.classes


def uniform(source: Source) -> Float[Tensor, "n k"]:
    """Return q = u.

    >>> uniform(source)
    tensor([[0.3333, 0.3333, 0.3333],
            [0.3333, 0.3333, 0.3333]])
    """
    return torch.full((len(source.labels), source.classes), 1 / source.classes)


def bad_teacher(source: Source) -> Float[Tensor, "n k"]:
    """Return q = softmax of a randomly initialised model's logits (Chundawat et al. 2023, arXiv 2205.08096).

    >>> bad_teacher(source).sum(1)
    tensor([1., 1.])
    """
    return source.logits("untrained").softmax(1)


def masked(source: Source) -> Float[Tensor, "n k"]:
    """Return q = softmax(z0 with z0_y = -∞): the label has probability 0.

    DELETE, Zhou et al. 2025, arXiv 2503.23751.

    >>> masked(source)
    tensor([[0.0000, 0.6667, 0.3333],
            [0.5000, 0.5000, 0.0000]])
    """
    # before the softmax: the other probabilities are scaled up together, and the row still sums to 1
    return source.logits("original").masked_fill(source.one_hot().bool(), -torch.inf).softmax(1)


@targets_kind(check_network=check_head)
def tilted(source: Source, *, beta: Annotated[float, Field(ge=0, le=10**6)]) -> Float[Tensor, "n k"]:
    """Return q_k ∝ p0_k exp(β s(k, y)) for k ≠ y, and q_y = 0; β → beta, p0 = softmax(z0). `masked` at β = 0.

    TREW (tilted reweighting), Ebrahimpour-Boroojeny, Wang and Sundaram, ICML 2026, arXiv 2506.20893: of all
    distributions over the other classes with a given mean similarity to y, q has the least divergence from p0 (β
    is the multiplier). s(k, y) is the cosine between the rows of the last linear layer's weights for k and y,
    after the mean of the rows is taken away.

    Written from the paper's abstract and public reviews: we could read neither its full text nor its code
    (CrowdDynamicsLab/ICML_TREW). Differs from what the reviews say of s: there a principal component analysis of
    few dimensions comes before the cosine, here one of all dimensions (which is the mean's removal), and a sharp
    softmax after it, here none. The paper's β is 10. Made for whole classes. Networks that do not end in a
    linear layer are refused.

    >>> weights = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-2.0, 0.0]])
    >>> tilted(dataclasses.replace(source, class_weights=lambda: weights), beta=1.0)
    tensor([[0.0000, 0.9366, 0.0634],
            [0.5000, 0.5000, 0.0000]])
    """
    weights = source.class_weights()
    centred = F.normalize(weights - weights.mean(0), dim=1)
    similarity = (centred @ centred.T)[source.labels]
    logits = source.logits("original") + beta * similarity
    return logits.masked_fill(source.one_hot().bool(), -torch.inf).softmax(1)


def undial(source: Source, *, beta: Annotated[float, Field(ge=0, le=10**6)]) -> Float[Tensor, "n k"]:
    """Return q = softmax(z0 - β e_y), β → beta; `masked` as β → ∞ (UNDIAL, Dong et al. 2024, 2402.10052).

    >>> undial(source, beta=2.0)
    tensor([[0.2400, 0.5067, 0.2533],
            [0.3244, 0.3244, 0.3512]])
    """
    return (source.logits("original") - beta * source.one_hot()).softmax(1)


def random_label(source: Source) -> Float[Tensor, "n k"]:
    """Return q = e_r, r drawn once a sample from the other classes (Graves et al. 2021, arXiv 2010.10981).

    Differs from the code of SalUn (arXiv 2310.12508), which draws r anew every epoch from all classes: over many
    epochs that is descent to `uniform`.

    >>> (random_label(source) * hard(source)).sum()
    tensor(0.)
    """
    return F.one_hot(wrong_labels(source.labels, source.classes, source.generator), source.classes).float()


def out_of_fold(source: Source, *, folds: Annotated[int, Field(ge=2, le=100)]) -> Float[Tensor, "n k"]:
    """Return q(x) = softmax of the model trained without the fold of x, one of k drawn at random; k → folds.

    Cross-fitting (Chernozhukov et al. 2018, arXiv 1608.00060). The folds are drawn without looking at the forget
    set, so that the teachers can be trained before anyone asks to be forgotten: a cost amortised over requests.
    They still know a forgotten class, so these targets serve to forget single samples.

    >>> out_of_fold(source, folds=5)
    tensor([[0.7000, 0.2000, 0.1000],
            [0.1000, 0.1000, 0.8000]])
    """
    # each row from one model: no mean over folds, whose members would differ in what they have seen
    return source.out_of_fold(folds).softmax(1)


def teacher(source: Source, *, members: Annotated[int, Field(ge=1, le=100)]) -> Float[Tensor, "n k"]:
    """Return q = mean of softmax(z_m) over models trained on all data, each from its own initialisation.

    Their number → members. They have seen the forget set, as the original has, but memorised it differently.

    >>> teacher(source, members=3)
    tensor([[0.7000, 0.2000, 0.1000],
            [0.1000, 0.1000, 0.8000]])
    """
    # a mean of probabilities, not of logits: the row of an ensemble is what it predicts
    return torch.stack([source.logits(f"teacher {m + 1}").softmax(1) for m in range(members)]).mean(0)


@targets_kind(check_network=check_head)
def local_teacher(source: Source, *, samples: Annotated[int, Field(ge=1, le=10**9)]) -> Float[Tensor, "n k"]:
    """Return q = softmax(z_l), z_l the logits of a model of the retained neighbours of the forget set alone.

    Local Teacher Distillation, Dolgova and Stich 2026, arXiv 2605.31317. The neighbours are the retained samples
    (their number → samples, or all that there are) with the largest cosine to any forget sample, between what the
    original's last linear layer reads. The teacher is trained after the request, by the training's recipe for as
    many epochs, and its training counts in the cost of the unlearning. Networks that do not end in a linear layer
    are refused.

    Written from the paper's abstract. Compared with the authors' code afterwards, on one network with 500
    neighbours and batches of 64: for the same teacher its targets `soft` are equal, and its step is that of
    `relabel` at alpha=.5 with targets/retain=hard to 2e-7 of the largest.

    Differs from the authors' code. There neighbours have the largest cosine to the mean of the forget set: 369 of
    500 are the same for half of a class, 329 for a whole class, and 5 for a random 10 %, whose mean is near no
    sample. There the teacher is a small network (ResNet-8 by default), trained by SGD on 1,000 neighbours to a
    train accuracy of .99, at most 250 epochs; here it has the run's architecture. By default there each target
    keeps its three largest probabilities, scaled to sum to 1, which changes ours by .01 to .05 (‖·‖₁, mean of 64).
    Its targets follow the augmentation of each batch; here they are computed once. There batches mix both sets,
    the retain set has its labels, and a forget sample has twice the weight of a retained one.

    >>> local_teacher(dataclasses.replace(source, local=lambda samples: logits), samples=10)
    tensor([[0.7000, 0.2000, 0.1000],
            [0.1000, 0.1000, 0.8000]])
    """
    return source.local(samples).softmax(1)


@targets_kind(upper_bound=True)
def oracle(source: Source) -> Float[Tensor, "n k"]:
    """Return q = softmax(z_r), z_r the logits of the retrained model: an upper bound and no method.

    >>> oracle(source)
    tensor([[0.7000, 0.2000, 0.1000],
            [0.1000, 0.1000, 0.8000]])
    """
    return source.logits("retrained").softmax(1)


@targets_kind(held_out=True)
def held_out(source: Source, *, pooled: bool) -> Float[Tensor, "n k"]:
    """Return q(x) = P_y, the mean of softmax(z0) over the held-out images whose label is that of x.

    Reference-Guided Unlearning, ReGUn, Mirlach, Laguna and Vogt 2026, arXiv 2603.11210, with its selector
    `class_informed` and aggregation `mean_probs`. Nothing is trained. There all samples of a batch have one
    target, the mean over as many held-out images with the labels of the batch, drawn anew for every batch. Its
    expectation is the mean of P_y over the batch. pooled=true gives every sample the mean of P_y over the whole
    set, which a random batch has on average. Of a set of one class both are the same.

    Compared with the authors' code on one network, a batch of 64 and 1,000 held-out images: the mean of 20,000 of
    its draws is the pooled target within 2.0e-4 (1.4 standard errors). With all images of a class in place of its
    draws it is the same to 1.5e-8. A single draw is .11 from the pooled target, a sample's own row 1.5 (both in
    ‖·‖₁). For the same target, its step is half that of `relabel` at alpha=1 with targets/retain=hard.

    Differs from the authors' code. All held-out images of a class count and nothing is drawn, since the targets of
    a run are fixed. A class without held-out images is refused; there images of all classes stand in for it. There
    a temperature divides the logits of targets and model (1 by default: here it is always 1); probabilities or
    logits can be averaged (here probabilities); forget and retain loss have weights that sum to 1 (.5 each), and
    the retain set has its labels. Its default selector, `uniform`, draws from all classes alike: it has no
    counterpart here.

    >>> unseen = HeldOut(torch.tensor([0, 0, 2]), logits[[0, 1, 1]])
    >>> held_out(dataclasses.replace(source, held_out=lambda: unseen), pooled=False)
    tensor([[0.4000, 0.1500, 0.4500],
            [0.1000, 0.1000, 0.8000]])
    """
    unseen = source.held_out()
    members = F.one_hot(unseen.labels, source.classes).double()
    # a class without an image has 0 / 0 here; no sample has its label, as the run checks beforehand
    means = members.T @ unseen.logits.double().softmax(1) / members.sum(0)[:, None]
    return _pooled(means[source.labels], pooled)


@targets_kind(held_out=True, check_network=check_head)
def held_out_nearest(source: Source, *, pooled: bool) -> Float[Tensor, "n k"]:
    """Return q(x) = softmax(z0) of the held-out image that is nearest to x.

    Nearest by the cosine between what the original's last linear layer reads. ReGUn, arXiv 2603.11210, with its
    selector `feature_1nn`. There all samples of a batch have the mean over the batch for their target;
    pooled=true gives every sample the mean over the whole set. Networks that do not end in a linear layer are
    refused.

    Compared with the authors' code on one network, a batch of 64 and 1,000 held-out images: the same neighbours,
    64 of 64, and the same pooled target to 1.5e-8. A sample's own row is 1.7 from it (‖·‖₁, mean). Its step is
    half that of `relabel` at alpha=1 with targets/retain=hard, to 2.7e-7 of the largest. What else differs: see
    `held_out`.

    >>> unseen = HeldOut(torch.tensor([0, 2]), logits.flip(0))
    >>> features = lambda: (torch.eye(2), torch.tensor([[3.0, 1.0], [2.0, 2.0]]))
    >>> held_out_nearest(dataclasses.replace(source, held_out=lambda: unseen, features=features), pooled=False)
    tensor([[0.1000, 0.1000, 0.8000],
            [0.7000, 0.2000, 0.1000]])
    """
    unseen, (own, others) = source.held_out(), source.features()
    nearest = (F.normalize(own, dim=1) @ F.normalize(others, dim=1).T).argmax(1)
    return _pooled(unseen.logits.double().softmax(1)[nearest], pooled)


def marginal(source: Source) -> Float[Tensor, "n k"]:
    """Return q = the mean of softmax(z0) over the retain set, the same for every sample.

    Pseudo-probabilities that align with the model's overall distribution, Zhao et al. 2024 (PPU, later AdaProb),
    arXiv 2411.02622. The other choice there, uniform ones, is `uniform`.

    Differs from the authors' code (zzhao71/AdaProb): there the forget samples' rows are random (or uniform), and
    an iterative scaling fits them and all other rows to given class sums. Rows of ours are what such a scaling to
    the class sums of the retain set leaves as they are: that code changes them by 1.5e-8. Its own class sums are
    those of the random rows and the others, which changes nothing (1.2e-7): its targets are the random rows. The
    retain set's own targets are the setting `targets/retain`.

    >>> marginal(dataclasses.replace(source, retained=lambda: logits))
    tensor([[0.4000, 0.1500, 0.4500],
            [0.4000, 0.1500, 0.4500]])
    """
    return source.retained().double().softmax(1).mean(0).repeat(len(source.labels), 1).float()


def _pooled(targets: Float[Tensor, "n k"], pooled: bool) -> Float[Tensor, "n k"]:
    return (targets.mean(0).repeat(len(targets), 1) if pooled else targets).float()


def harden(source: Source, targets: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Return the one-hot of each row's argmax: the same best guess, without the softness.

    >>> harden(source, torch.tensor([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]]))
    tensor([[0., 1., 0.],
            [1., 0., 0.]])
    """
    return F.one_hot(targets.argmax(1), source.classes).float()


def sample(source: Source, targets: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Return a one-hot drawn from each row, once: right on average over samples, without the softness.

    >>> sample(source, uniform(source)).sum(1)
    tensor([1., 1.])
    """
    # once, with the targets: drawn anew in every epoch, the draws would average to the soft row
    classes = torch.multinomial(targets, 1, generator=source.generator)[:, 0]
    return F.one_hot(classes, source.classes).float()


def reflect(source: Source, targets: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Return 2 e_y - q, with negative entries: where the model is sure of y, ascent on it is descent to q.

    >>> reflect(source, uniform(source))
    tensor([[ 1.6667, -0.3333, -0.3333],
            [-0.3333, -0.3333,  1.6667]])
    """
    # at p = e_y ascent moves the logits by p - (2 e_y - q) = q - e_y, which is the step of descent to q
    return 2 * source.one_hot() - targets


MODIFIERS = {modifier.__name__: modifier for modifier in (harden, sample, reflect)}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A kind with its settings, and the modifiers that are applied to it in this order.

    >>> Recipe(functools.partial(uniform), modifiers=("reflect",)).signed
    True
    """

    kind: functools.partial
    modifiers: tuple[str, ...]

    def __post_init__(self):
        """Raise ValueError where `sample` would draw from rows with negative entries."""
        for i, modifier in enumerate(self.modifiers):
            if modifier == "sample" and self._signed(i):
                raise ValueError(
                    f"modifiers={list(self.modifiers)}: sample draws from a distribution, and "
                    f"{self.kind.func.__name__} {' '.join(self.modifiers[:i])} has negative entries"
                )

    @property
    def signed(self) -> bool:
        """Return whether rows may have negative entries."""
        return self._signed(len(self.modifiers))

    def _signed(self, after: int) -> bool:
        signed = Targets.of(self.kind).signed(**self.kind.keywords)
        for modifier in self.modifiers[:after]:
            # harden and sample return one-hot rows whatever they get; reflect may have entries below 0
            signed = modifier == "reflect"
        return signed

    @property
    def upper_bound(self) -> bool:
        """Return whether the kind uses the retrained model."""
        return Targets.of(self.kind).upper_bound

    def __call__(self, source: Source) -> Float[Tensor, "n classes"]:
        """Return the targets (n, classes), float32; raise ValueError that shows the first bad row."""
        targets = self.kind(source)
        for modifier in self.modifiers:
            targets = MODIFIERS[modifier](source, targets)
        check_rows(targets, (len(source.labels), source.classes), self.signed)
        return targets


def check_rows(targets: Float[Tensor, "n k"], shape: tuple[int, int], signed: bool = False) -> None:
    """Raise ValueError for rows that are not finite, do not sum to 1 or, unless `signed`, have a negative entry.

    >>> check_rows(torch.tensor([[1.5, -0.5]]), (1, 2))
    Traceback (most recent call last):
    ValueError: row 0 of the targets is [1.5, -0.5], not finite numbers that sum to 1, none of them negative
    """
    if targets.shape != shape or targets.dtype != torch.float32:
        raise ValueError(f"targets are {targets.dtype} {tuple(targets.shape)}, not torch.float32 {shape}")
    # in float64, so that the sum's own rounding stays far below the tolerance
    bad = ~targets.isfinite().all(1) | ((targets.double().sum(1) - 1).abs() > TOLERANCE)
    if not signed:
        bad |= (targets < 0).any(1)
    if bad.any():
        row = int(bad.nonzero()[0])
        allowed = "finite numbers that sum to 1" + ("" if signed else ", none of them negative")
        raise ValueError(f"row {row} of the targets is {targets[row].tolist()}, not {allowed}")
