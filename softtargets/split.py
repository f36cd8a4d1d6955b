"""The sets of one run, drawn from a dataset's images, with every guard against leaks.

The examples share:

>>> from functools import partial
>>> from softtargets.forget_sets import random
>>> pixels = torch.arange(60 * 64, dtype=torch.int32).view(60, 1, 8, 8).remainder(251).to(torch.uint8)
>>> labels = torch.arange(60) % 2
>>> images = Images(pixels[:40], labels[:40], pixels[40:], labels[40:], ("cat", "dog"), marked=None)
>>> data = split(
...     images, partial(random, fraction=0.25), train_size=None, validation_fraction=0.1, seed=0, forget_seed=0,
...     mean=[0.5], std=[0.5],
... )
"""

import dataclasses
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Generator, Tensor

from softtargets.datasets import Images
from softtargets.errors import BadInput
from softtargets.fingerprints import fingerprints, prints_of
from softtargets.forget_sets import Candidates, Choice, wrong_labels
from softtargets.marks import ForgetSet
from softtargets.system.words import counted
from softtargets.types import (
    Evaluated,
    ForgottenLevel,
    Joined,
    MembershipTest,
    Samples,
    Split,
    generator,
    rows_at_once,
)

CALIBRATION = 1000
"""Number of images that temperatures are fitted on; spare images fill up a smaller validation set."""
FORGOTTEN_CLASS = 0.01
"""Accuracy (1 %) at which a class counts as forgotten; a model that never saw it has 0."""


def split(
    images: Images,
    choose,
    *,
    train_size: int | None,
    validation_fraction: float,
    seed: int,
    forget_seed: int,
    mean: list[float],
    std: list[float],
) -> Split:
    """Draw subset, validation and forget set, and normalise all inputs once.

    `choose(candidates, generator) -> Choice` is a kind of forget set, with its mark `fixed` if it has one. `seed`
    draws subset and validation, `forget_seed` the forget set; the run's own seed plays no part, so that all runs
    of a study share the sets. `mean` and `std` have one entry a channel, in units of pixels / 255.

    Raises ValueError for sizes that leave a set empty and for leaks between sets (see `guard`).

    >>> {name: len(samples) for name, samples in data.evaluated().items()}
    {'forget': 9, 'retain': 27, 'validation': 4, 'test': 20}
    """
    classes = len(images.class_names)
    unique = _without_copies(images)
    _refuse_missing_classes(images, unique)

    def among(index: Int64[Tensor, " n"]) -> Candidates:
        samples, names, pixels = len(images.train_labels), images.class_names, images.train_pixels
        return Candidates(images.train_labels[index], index, classes, images.marked, samples, names, pixels)

    # a fixed forget set is known before the subset is drawn, so that none of its samples is lost there
    fixed = (
        unique[choose(among(unique), generator(forget_seed, "forget")).positions]
        if ForgetSet.of(choose).fixed
        else None
    )
    pool = _subset(images.train_labels, unique, train_size, fixed, generator(seed, "subset"))
    validation = _validation(images.train_labels, pool, validation_fraction, fixed, generator(seed, "validation"))
    index = pool[~torch.isin(pool, validation)]
    candidates = among(index)
    # a new generator: the draw does not depend on whether `choose` was called before
    chosen = choose(candidates, generator(forget_seed, "forget"))
    copies = len(images.train_labels) - len(unique)
    result = _assemble(images, candidates, chosen, validation, _normaliser(mean, std), forget_seed, copies)
    left_over = unique[~torch.isin(unique, pool)]
    spare = _spare(images, left_over, result, _normaliser(mean, std), generator(seed, "spare"))
    result = dataclasses.replace(result, spare=spare)
    guard(result, index, chosen.positions)
    return result


def _assemble(
    images: Images, candidates: Candidates, chosen: Choice, unseen, normalise, seed: int, copies: int
) -> Split:
    def samples(pixels, index, labels) -> Samples:
        targets = torch.nn.functional.one_hot(labels, candidates.classes).float()
        return Samples(normalise(pixels, index), labels, targets)

    # a mask, so that the retain set stays in the dataset's order
    retained = torch.ones(len(candidates.index), dtype=torch.bool).index_fill(0, chosen.positions, False)
    order = torch.cat([chosen.positions, retained.nonzero()[:, 0]])
    # the images are in memory once: forget and retain set are its two ends, and the training set picks its rows.
    # The labels of the choice, not the dataset's: a forget set of wrong labels is trained on as such
    whole = samples(images.train_pixels, candidates.index[order], chosen.labels[order])
    forget, retain = whole.ends(len(chosen.positions))
    train = whole.select(order.argsort())
    validation = samples(images.train_pixels, unseen, images.train_labels[unseen])
    test = samples(images.test_pixels, torch.arange(len(images.test_labels)), images.test_labels)
    for name, part in (("forget_set", forget), ("retain_set", retain), ("test_set", test)):
        if not len(part):
            raise ValueError(f"the {name} is empty; choose a larger training set or another fraction")
    true = candidates.labels[chosen.positions]
    return Split(
        train=train,
        forget=forget,
        retain=retain,
        validation=validation,
        test=test,
        forget_positions=chosen.positions,
        forget_index=candidates.index[chosen.positions],
        forget_true_labels=true,
        membership=_membership(forget, true, test, candidates.classes, generator(seed, "membership")),
        copies_dropped=copies,
        level=_level(true, forget, retain, validation, candidates.classes, generator(seed, "level")),
        class_names=images.class_names,
        notes=(*images.notes, *_untested(images), *chosen.notes),
    )


def _stratified(labels: Int64[Tensor, " n"], count: int, generator: Generator) -> Int64[Tensor, " m"]:
    """Return `count` positions in which every class keeps its share to within one sample."""
    order = torch.randperm(len(labels), generator=generator)
    by_class = labels[order]
    rank = torch.zeros(len(labels))
    for label in by_class.unique():
        mask = by_class == label
        # the k-th of n samples of a class stands at (k + 1/2) / n: the smallest ranks hold all classes evenly
        rank[mask] = (torch.arange(int(mask.sum())) + 0.5) / mask.sum()
    return order[rank.argsort(stable=True)[:count]].sort().values


def _without_copies(images: Images) -> Int64[Tensor, " m"]:
    """Return the training indices without copies of test images, and one of each group of equal images.

    A copy of a forgotten image among the retained ones would let the retrained model see it. Of equal images a
    marked one stays, else the first: what is to be forgotten must not become a retained image by accident.
    """
    train, test = fingerprints(images.train_pixels), fingerprints(images.test_pixels)
    _, group = train.unique(return_inverse=True)
    count = len(train)
    rank = torch.arange(count)  # the smallest rank of a group wins: the first image
    if images.marked is not None:
        rank[images.marked] -= count  # below all others, so that a marked image wins
    # the smallest rank in each group, at the group's number
    best = torch.full_like(rank, count).scatter_reduce_(0, group, rank, "amin")
    return ((best[group] == rank) & ~torch.isin(train, test)).nonzero()[:, 0]


def _refuse_missing_classes(images: Images, unique: Int64[Tensor, " m"]) -> None:
    if len(images.class_names) < 2:
        raise ValueError(f"all images are of one class, {', '.join(images.class_names)}; at least two are needed")
    counts = (
        labels.bincount(minlength=len(images.class_names))
        for labels in (images.train_labels, images.train_labels[unique])
    )
    for name, there, left in zip(images.class_names, *map(Tensor.tolist, counts), strict=True):
        if not left:
            why = (
                f"all {there} are copies of test images or of other training images" if there else "there is none"
            )
            raise ValueError(f"class {name} has no training image: {why}")


def _untested(images: Images) -> list[str]:
    """Return a note on the classes of which no test image is there: no measure on test images is of them."""
    there = set(images.test_labels.unique().tolist())
    lacking = [name for label, name in enumerate(images.class_names) if label not in there]
    if not lacking:
        return []
    shown = f"{', '.join(lacking[:5])}{' …' if len(lacking) > 5 else ''}"
    return [f"{counted(len(lacking), 'class has', 'classes have')} no test image: {shown}"]


def _subset(labels, unique, train_size: int | None, fixed, generator: Generator) -> Int64[Tensor, " m"]:
    """Draw `train_size` of the `unique` images, stratified by class; the `fixed` ones are among them."""
    if train_size is None:
        return unique
    fixed = unique[:0] if fixed is None else fixed
    if not len(fixed) < train_size <= len(unique):
        allowed = f"must be from {len(fixed) + 1} to {len(unique)}, or null for all"
        raise BadInput(f"dataset.train_size={train_size}: {allowed}")
    free = unique[~torch.isin(unique, fixed)]
    drawn = free[_stratified(labels[free], train_size - len(fixed), generator)]
    return torch.cat([drawn, fixed]).sort().values


def _validation(labels, pool, fraction: float, fixed, generator: Generator) -> Int64[Tensor, " m"]:
    """Draw a `fraction` of `pool`, stratified by class, of the samples that are not `fixed`."""
    free = pool if fixed is None else pool[~torch.isin(pool, fixed)]
    count = min(round(fraction * len(pool)), len(free))
    if not count:
        raise BadInput(
            f"dataset.validation_fraction={fraction}: leaves no validation set of {len(pool)} training images; "
            "it must be greater"
        )
    return free[_stratified(labels[free], count, generator)]


def _spare(images: Images, left_over, data: Split, normalise, generator: Generator) -> Samples | None:
    """Draw the images that the validation set lacks for fitting temperatures, of classes in the retain set."""
    lacking = CALIBRATION - int(torch.isin(data.validation.labels, data.retain.labels).sum())
    left_over = left_over[torch.isin(images.train_labels[left_over], data.retain.labels)]
    count = min(lacking, len(left_over))
    if count <= 0:
        return None
    drawn = left_over[_stratified(images.train_labels[left_over], count, generator)]
    labels = images.train_labels[drawn]
    targets = torch.nn.functional.one_hot(labels, data.classes).float()
    return Samples(normalise(images.train_pixels, drawn), labels, targets)


def held_out_images(data: Split, stop: str) -> Samples | None:
    """Return the spare images, and with stop="none" the validation set before them; None if there are none.

    >>> len(held_out_images(data, "none")), held_out_images(data, "matched")
    (4, None)
    """
    parts = [part for part in (data.validation if stop == "none" else None, data.spare) if part is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    return Joined(*parts)


def _normaliser(mean: list[float], std: list[float]):
    mean_, std_ = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))

    def normalise(pixels: UInt8[Tensor, "n c h w"], index: Int64[Tensor, " m"]) -> Float[Tensor, "m c h w"]:
        inputs = torch.empty(len(index), *pixels.shape[1:])
        size = rows_at_once(pixels)
        # in parts and in place: all at once, they would be in memory twice more
        for part, at in zip(inputs.split(size), index.split(size), strict=True):
            part.copy_(pixels[at]).div_(255).sub_(mean_).div_(std_)
        return inputs

    return normalise


def _membership(forget: Samples, true, test: Samples, classes: int, generator: Generator) -> MembershipTest:
    """Draw equally many forget and test samples of each class, so that telling classes apart is no attack."""
    members, nonmembers = [], []
    for label in range(classes):
        inside, outside = (true == label).nonzero()[:, 0], (test.labels == label).nonzero()[:, 0]
        count = min(len(inside), len(outside))
        members.append(inside[torch.randperm(len(inside), generator=generator)[:count]])
        nonmembers.append(outside[torch.randperm(len(outside), generator=generator)[:count]])
    chosen, others = torch.cat(members).sort().values, torch.cat(nonmembers).sort().values
    labels = test.labels[others]
    # a model is less sure of wrong labels, seen or not: where one side alone had them, the attack would find these
    corrupt = not torch.equal(forget.labels, true)
    return MembershipTest(chosen, others, wrong_labels(labels, classes, generator) if corrupt else labels)


def _level(true, forget, retain, validation, classes: int, generator: Generator) -> ForgottenLevel:
    """Return the validation samples of the forgotten classes, with labels corrupted if the forget set's are."""
    # whole classes are forgotten: a model that never saw them never names them, so the level is a constant
    if not torch.isin(retain.labels, true).any():
        return ForgottenLevel(None, None, FORGOTTEN_CLASS)
    same_classes = torch.isin(validation.labels, true).nonzero()[:, 0]
    if not len(same_classes):
        raise ValueError("no validation image of the forgotten classes; raise dataset.validation_fraction")
    labels = validation.labels[same_classes]
    corrupt = not torch.equal(forget.labels, true)
    return ForgottenLevel(same_classes, wrong_labels(labels, classes, generator) if corrupt else labels, None)


class Sampled(NamedTuple):
    """A subset of every set of a split, for measures that are cheaper on fewer samples."""

    split: Split
    """The split with the subset as its four evaluated sets; `train` stays whole."""
    positions: dict[str, Int64[Tensor, " n"]]
    """Positions of the subset in each of the four whole sets, ascending."""


def sampled(data: Split, most: int | None, seed: int) -> Sampled:
    """Draw at most `most` samples of every evaluated set, or take all.

    >>> {name: len(samples) for name, samples in sampled(data, 5, seed=0).split.evaluated().items()}
    {'forget': 5, 'retain': 5, 'validation': 4, 'test': 5}
    """
    positions = {
        name: torch.randperm(len(samples), generator=generator(seed, f"sampled/{name}"))[:most].sort().values
        for name, samples in data.evaluated().items()
    }
    sets = {
        name: samples.select(positions[name]) if len(positions[name]) < len(samples) else samples
        for name, samples in data.evaluated().items()
    }
    # attack and level are drawn anew: positions of the whole sets mean nothing in the smaller ones
    forget, true = positions["forget"], data.forget_true_labels[positions["forget"]]
    draws = generator(seed, "sampled")
    # by the whole retain set: whether a class is forgotten whole is no matter of which samples were drawn
    level = _level(true, sets["forget"], data.retain, sets["validation"], data.classes, draws)
    few = dataclasses.replace(
        data,
        **sets,
        forget_positions=data.forget_positions[forget],
        forget_index=data.forget_index[forget],
        forget_true_labels=true,
        membership=_membership(sets["forget"], true, sets["test"], data.classes, draws),
        level=level,
    )
    return Sampled(few, positions)


def requests(data: Split, count: int, seed: int) -> list[Split]:
    """Cut the forget set into `count` requests, drawn by `seed`, and return the data of each.

    The training set of a request is what the requests before it have left, its retain set what it leaves itself:
    that of the last one is the retain set of all. Attack and level are drawn anew for each part.

    Raises ValueError where there are more requests than samples to forget.

    >>> [(len(one.train), len(one.forget), len(one.retain)) for one in requests(data, 3, seed=0)]
    [(36, 3, 33), (33, 3, 30), (30, 3, 27)]
    """
    if count > len(data.forget):
        raise ValueError(f"there are only {counted(len(data.forget), 'sample')} to forget, at least one a request")
    order = torch.randperm(len(data.forget), generator=generator(seed, "requests"))
    left, splits = torch.arange(len(data.train)), []
    for number, part in enumerate(order.tensor_split(count), 1):
        part = part.sort().values
        splits.append(_request(data, left, part, generator(seed, f"requests/{number}")))
        left = left[~torch.isin(left, data.forget_positions.cpu()[part])]
    return splits


def _request(data: Split, left, part, draws: Generator) -> Split:
    """Return the data of the request for `part` of the forget set; `left` are positions in the training set."""
    at = data.forget_positions.cpu()[part]
    forget, true = data.forget.take(part), data.forget_true_labels[part.to(data.forget_true_labels.device)]
    retain = data.train.select(left[~torch.isin(left, at)])
    return dataclasses.replace(
        data,
        train=data.train.select(left),
        forget=forget,
        retain=retain,
        forget_positions=torch.isin(left, at).nonzero()[:, 0].to(data.forget_positions.device),
        forget_index=data.forget_index[part.to(data.forget_index.device)],
        forget_true_labels=true,
        membership=_membership(forget, true, data.test, data.classes, draws),
        level=_level(true, forget, retain, data.validation, data.classes, draws),
    )


def audited(
    forget: Samples,
    retain: Samples,
    test: Samples,
    validation: Samples | None,
    true: Int64[Tensor, " n"],
    seed: int,
) -> Evaluated:
    """Return the given sets with a membership test and a level, drawn as a run draws its own.

    `true` are the classes that the forget images show. `seed` draws the membership test, like `forget_set.seed`.

    >>> again = audited(data.forget, data.retain, data.test, data.validation, data.forget.labels, seed=0)
    >>> torch.equal(again.membership.members, data.membership.members)
    True
    """
    classes, no_level = forget.targets.shape[1], validation is None
    return Evaluated(
        forget=forget,
        retain=retain,
        validation=validation,
        test=test,
        forget_true_labels=true,
        membership=_membership(forget, true, test, classes, generator(seed, "membership")),
        level=None if no_level else _level(true, forget, retain, validation, classes, generator(seed, "level")),
    )


def guard(data: Split, index: Int64[Tensor, " n"], positions: Int64[Tensor, " m"]) -> None:
    """Raise ValueError where a set leaks into another.

    By index: forget and retain set are disjoint and make up the training set. By content: validation and test
    set share no input with the training set, and the retain set, which is all the retrained model sees,
    none with the forget set; no spare image is in another set. The error names the two sets.

    >>> guard(data, torch.arange(3), torch.tensor([0]))
    Traceback (most recent call last):
    ValueError: forget_set and retain_set do not make up the training set
    """
    retained = index[~torch.isin(index, index[positions])]
    if len(retained) != len(data.retain) or not torch.equal(data.forget_index, index[positions]):
        raise ValueError("forget_set and retain_set do not make up the training set")
    prints = {name: prints_of(getattr(data, name)) for name in ("train", "forget", "retain")}
    unseen = {name: prints_of(getattr(data, name)) for name in ("validation", "test")}
    # sorted, since equal lists of fingerprints mean equal content: nothing was lost, added or changed
    if not torch.equal(
        torch.cat([prints["forget"], prints["retain"]]).sort().values, prints["train"].sort().values
    ):
        raise ValueError("forget_set and retain_set do not make up the training set")
    _refuse_shared(prints["forget"], prints["retain"], "forget_set", "retain_set")
    _refuse_shared(unseen["validation"], prints["train"], "validation_set", "training set")
    _refuse_shared(unseen["test"], prints["train"], "test_set", "training set")
    _refuse_shared(unseen["test"], unseen["validation"], "test_set", "validation_set")
    if data.spare is not None:
        spare = prints_of(data.spare)
        _refuse_shared(spare, prints["train"], "spare_set", "training set")
        for name in unseen:
            _refuse_shared(spare, unseen[name], "spare_set", f"{name}_set")


def _refuse_shared(one, other, name: str, other_name: str) -> None:
    shared = int(torch.isin(one, other).sum())
    if shared:
        raise ValueError(
            f"the {name} shares {counted(shared, 'image')} with the {other_name}; each may be in one only"
        )
