"""Kinds of forget sets, each `kind(candidates, generator, *, settings) -> Choice`.

A kind that names its samples and does not draw them has the mark `fixed`: see `softtargets.marks.ForgetSet`.

The examples share:

>>> labels = torch.tensor([0, 0, 1, 1, 1, 1])
>>> candidates = Candidates(labels, index=torch.arange(6), classes=2, marked=None, samples=6)
>>> generator = torch.Generator().manual_seed(0)
"""

import codecs
import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from pydantic import Field
from torch import Generator, Tensor

from softtargets.errors import BadInput
from softtargets.marks import forget_set
from softtargets.memorisation import estimates
from softtargets.ranges import Count, Fraction, Halves, Place, Weight
from softtargets.worst_case import still_known

INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")
"""A line with an integer. Python refuses to convert longer ones, which would take very long."""
NAME = re.compile(r"""(# ?)?(["']?)[A-Za-z_][\w .-]*\2""")
"""A line that names the column below it."""
VALUES = ("true", "false", "nan", "none", "null", "inf")
"""Words that are values rather than names."""
ClassList = Annotated[list[Annotated[int, Field(ge=0, le=10**6)]], Field(min_length=1)]


class Candidates(NamedTuple):
    """The training samples to choose from."""

    labels: Int64[Tensor, " n"]
    index: Int64[Tensor, " n"]
    """Indices in the dataset's own training set, ascending."""
    classes: int
    marked: Int64[Tensor, " m"] | None
    """Indices that the dataset itself marks to be forgotten."""
    samples: int
    """Number of images in the dataset's own training set, candidates and others."""
    class_names: tuple[str, ...] = ()
    """Names in the order of the labels; empty where the dataset names no classes."""
    pixels: UInt8[Tensor, "samples c h w"] | None = None
    """All training images of the dataset; the candidates are its rows `index`."""
    scores: Float[Tensor, " n"] | None = None
    """What the function of the kind's mark `scores` computed for each candidate."""


class Choice(NamedTuple):
    """Positions of the forget set among the candidates, ascending, and the labels that all candidates get."""

    positions: Int64[Tensor, " m"]
    labels: Int64[Tensor, " n"]
    notes: tuple[str, ...] = ()
    """Sentences for the screen on how a file was read, and on which classes are forgotten."""


def random(candidates: Candidates, generator: Generator, *, fraction: Fraction) -> Choice:
    """Draw a `fraction` of the training set, rounded to whole samples.

    >>> len(random(candidates, generator, fraction=0.5).positions)
    3
    """
    return Choice(_draw(torch.arange(len(candidates.labels)), fraction, generator), candidates.labels)


def whole_classes(candidates: Candidates, generator: Generator, *, classes: ClassList) -> Choice:
    """Take every training sample of `classes`.

    >>> whole_classes(candidates, generator, classes=[1]).positions
    tensor([2, 3, 4, 5])
    """
    return Choice(_of_classes(candidates, classes), candidates.labels, _named(candidates, classes))


def class_fraction(
    candidates: Candidates, generator: Generator, *, classes: ClassList, fraction: Fraction
) -> Choice:
    """Draw a `fraction` of the training samples of `classes`.

    >>> len(class_fraction(candidates, generator, classes=[1], fraction=0.5).positions)
    2
    """
    positions = _draw(_of_classes(candidates, classes), fraction, generator)
    return Choice(positions, candidates.labels, _named(candidates, classes))


def mislabelled(candidates: Candidates, generator: Generator, *, fraction: Fraction) -> Choice:
    """Draw a `fraction` of the training set and give it wrong labels before any training.

    >>> choice = mislabelled(candidates, generator, fraction=0.5)
    >>> (choice.labels != labels).nonzero()[:, 0].equal(choice.positions)
    True
    """
    positions = _draw(torch.arange(len(candidates.labels)), fraction, generator)
    labels = candidates.labels.clone()
    labels[positions] = wrong_labels(labels[positions], candidates.classes, generator)
    return Choice(positions, labels)


def near_duplicates(candidates: Candidates, generator: Generator, *, fraction: Fraction) -> Choice:
    """Take the `fraction` of the training set with the nearest twins, while each one's twin is retained.

    The twin of a sample is its nearest neighbour of the same class by the Euclidean distance of pixels / 255. The
    pairs are taken in ascending order of distance, greedily: a sample that is the twin of a forgotten one stays.
    What the retained twins teach is nearly what the forgotten samples taught, so that retraining changes little:
    the entanglement of forget and retain set that Zhao et al. (2024, arXiv:2406.01257) call hard. Theirs is of
    features of the original; pixels need no model, and give all models and seeds one forget set.

    Raises ValueError where too few samples have a twin that can stay.

    >>> pixels = torch.tensor([0, 9, 50, 51, 90, 93], dtype=torch.uint8).view(6, 1, 1, 1)
    >>> near_duplicates(candidates._replace(pixels=pixels), generator, fraction=0.34).positions
    tensor([2, 4])
    """
    count = round(fraction * len(candidates.labels))
    distance, twin = _twins(candidates)
    chosen, kept = set(), set()
    for sample in distance.argsort(stable=True).tolist():
        if len(chosen) == count or distance[sample] == float("inf"):
            break
        if sample not in kept and int(twin[sample]) not in chosen:
            chosen.add(sample)
            kept.add(int(twin[sample]))
    if len(chosen) < count:
        raise ValueError(
            f"fraction={fraction}: these are {count:,} samples, but only {len(chosen):,} can be forgotten while "
            "their nearest neighbours of the same class stay. Choose a smaller fraction"
        )
    return Choice(torch.tensor(sorted(chosen), dtype=torch.int64), candidates.labels)


def _twins(candidates: Candidates) -> tuple[Float64[Tensor, " n"], Int64[Tensor, " n"]]:
    """Return each candidate's squared distance, in pixels, to its nearest neighbour of the same class.

    And that one's position. The distance is infinite for the only sample of a class.
    """
    distance = torch.full((len(candidates.labels),), float("inf"), dtype=torch.float64)
    twin = torch.zeros(len(candidates.labels), dtype=torch.int64)
    for label in candidates.labels.unique():
        members = (candidates.labels == label).nonzero()[:, 0]
        # |a|² + |b|² - 2ab of whole numbers below 2^53: exact in float64, and many times as fast as differences
        rows = candidates.pixels[candidates.index[members]].flatten(1).double()
        squares = (rows * rows).sum(1)
        # in parts: all distances of a large class at once would be gigabytes
        for at in torch.arange(len(members)).split(1024):
            near = squares[at, None] + squares - 2 * rows[at] @ rows.T
            near[torch.arange(len(at)), at] = float("inf")
            distance[members[at]], nearest = near.min(1)
            twin[members[at]] = members[nearest]
    return distance, twin


def _lowest(count: int, values: Float[Tensor, " n"], generator: Generator) -> Int64[Tensor, " m"]:
    """Return the positions of the `count` smallest values; equal ones are drawn."""
    order = torch.randperm(len(values), generator=generator)
    return order[values[order].argsort(stable=True)[:count]]


@forget_set(scores=estimates)
def memorised(
    candidates: Candidates,
    generator: Generator,
    *,
    fraction: Fraction,
    grade: Literal["low", "medium", "high"],
    models: Halves,
) -> Choice:
    """Take the `fraction` of the training set that is memorised most (`high`), least (`low`) or in between.

    Sorted by the estimates of `softtargets.memorisation`, from so many `models`: the lowest, the highest, and of
    all others those nearest to the middle between the means of the two; equal estimates are drawn. Such grades are
    those of Zhao et al. (2024, arXiv:2406.01257), by whom high memorisation is hard to unlearn.

    Raises ValueError for a fraction above 1/3, of which there are no three grades.

    >>> scores = torch.tensor([0.0, 0.9, 0.1, 0.4, 1.0, 0.0])
    >>> medium = memorised(candidates._replace(scores=scores), generator, fraction=0.2, grade="medium", models=2)
    >>> medium.positions
    tensor([3])
    """
    count, scores = round(fraction * len(candidates.labels)), candidates.scores
    if 3 * count > len(scores):
        raise ValueError(f"fraction={fraction}: there are three grades, so it must be at most 1/3")
    low, high = _lowest(count, scores, generator), _lowest(count, -scores, generator)
    away = (scores - (scores[low].mean() + scores[high].mean()) / 2).abs()
    away[torch.cat([low, high])] = float("inf")
    positions = {"low": low, "high": high, "medium": _lowest(count, away, generator)}[grade].sort().values
    note = f"estimated memorisation ({models} models): forget set {scores[positions].mean():.3f} on average, "
    return Choice(positions, candidates.labels, (f"{note}all training images {scores.mean():.3f}",))


@forget_set(scores=still_known)
def worst_case(
    candidates: Candidates,
    generator: Generator,
    *,
    fraction: Fraction,
    models: Halves,
    rounds: Count,
    steps: Count,
    rate: Weight,
) -> Choice:
    """Take the `fraction` of the training set that a cheap unlearner leaves known: see `softtargets.worst_case`.

    >>> scores = torch.tensor([0.0, 0.9, 0.1, 0.4, 1.0, 0.0])
    >>> settings = {"fraction": 0.3, "models": 2, "rounds": 1, "steps": 1, "rate": 0.1}
    >>> worst_case(candidates._replace(scores=scores), generator, **settings).positions
    tensor([1, 4])
    """
    count = round(fraction * len(candidates.labels))
    return Choice(_lowest(count, -candidates.scores, generator).sort().values, candidates.labels)


@forget_set(fixed=True)
def indices(candidates: Candidates, generator: Generator, *, path: Place) -> Choice:
    """Take the training indices that a file lists: a .txt or .csv with one on each line, or an array in a .npy.

    A text may begin with a line that names the column. An array of booleans is a mask over the dataset's own
    training set, before subset, validation set and copies are removed.

    Raises ValueError for a file that cannot be read or may mean something else, for repeated indices and for those
    out of range.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     numpy.save(f"{folder}/forget.npy", [4, 0])
    ...     indices(candidates, generator, path=f"{folder}/forget.npy").positions
    tensor([0, 4])
    """
    listed, notes = _read_indices(Path(path).expanduser(), candidates.samples)
    # a Python set, for a lookup that does not search the list for every index
    valid = set(candidates.index.tolist())
    outside = next((index for index in listed if index not in valid), None)
    repeated = len(listed) - len(set(listed))
    # zeros and ones are a mask far more often than the first two images
    if len(listed) > 2 and set(listed) <= {0, 1}:
        raise ValueError(
            f"{path} holds only zeros and ones. If it is a mask, save it as an array of booleans (.npy)"
        )
    if outside is not None:
        span = f"{int(candidates.index[0])} to {int(candidates.index[-1])}, without copies of other images"
        raise ValueError(f"index {outside} is not in the training set, whose indices are {span}")
    if repeated:
        raise ValueError(f"{repeated} indices are repeated. List each once")
    # indices of the dataset become positions among the candidates, ascending whatever the order in the file
    is_listed = torch.isin(candidates.index, torch.tensor(listed, dtype=torch.int64))
    return Choice(is_listed.nonzero()[:, 0], candidates.labels, notes)


@forget_set(fixed=True)
def marked(candidates: Candidates, generator: Generator) -> Choice:
    """Take the samples that the dataset itself marks, such as those in folder 3e of the seed project's tree.

    Raises ValueError for a dataset without marks.

    >>> marked(candidates._replace(marked=torch.tensor([5])), generator).positions
    tensor([5])
    """
    if candidates.marked is None or not len(candidates.marked):
        raise ValueError("this dataset marks no samples. Use a folder of images with classes such as 3 and 3e")
    return Choice(torch.isin(candidates.index, candidates.marked).nonzero()[:, 0], candidates.labels)


def wrong_labels(labels: Int64[Tensor, " n"], classes: int, generator: Generator) -> Int64[Tensor, " n"]:
    """Draw another class for every label, each of the others with the same probability.

    >>> wrong_labels(torch.tensor([0, 1]), 2, generator)
    tensor([1, 0])
    """
    # an offset from 1 to classes - 1, modulo classes, reaches every other class once and the label never
    return (labels + torch.randint(1, classes, labels.shape, generator=generator).to(labels.device)) % classes


def _draw(positions: Int64[Tensor, " n"], fraction: float, generator: Generator) -> Int64[Tensor, " m"]:
    count = round(fraction * len(positions))
    return positions[torch.randperm(len(positions), generator=generator)[:count]].sort().values


def _of_classes(candidates: Candidates, classes: list[int]) -> Int64[Tensor, " m"]:
    if max(classes) >= candidates.classes:
        raise BadInput(
            f"forget_set.classes={classes}: class {max(classes)} does not exist. Choose from 0 to "
            f"{candidates.classes - 1}{_which(candidates.class_names)}"
        )
    return torch.isin(candidates.labels, torch.tensor(classes)).nonzero()[:, 0]


def _which(names: tuple[str, ...]) -> str:
    """Return a bracketed list of numbers and class names; nothing where the names are the numbers."""
    return f" ({numbered(names)})" if _has_names(names) else ""


def _named(candidates: Candidates, classes: list[int]) -> tuple[str, ...]:
    """Return a note for the screen that calls the forgotten classes by number and name."""
    if not _has_names(candidates.class_names):
        return ()
    return (f"classes to forget: {numbered(candidates.class_names, classes)}",)


def _has_names(names: tuple[str, ...]) -> bool:
    return any(name != str(number) for number, name in enumerate(names))


def numbered(names: tuple[str, ...], classes: Iterable[int] | None = None) -> str:
    """Return a list of class numbers with their names, of all classes or of some.

    >>> numbered(("cat", "dog"))
    '0 = cat, 1 = dog'
    """
    return ", ".join(f"{number} = {names[number]}" for number in sorted(set(classes or range(len(names)))))


def _read_indices(path: Path, samples: int) -> tuple[list[int], tuple[str, ...]]:
    """Return the indices that a file lists, and notes that say how it was read."""
    readers = {".npy": functools.partial(_from_array, samples=samples), ".txt": _from_text, ".csv": _from_text}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} holds no list of training indices: not a .txt, .csv or .npy file")
    if not path.is_file():
        raise ValueError(
            f"{path} holds no list of training indices: {'it is not a file' if path.exists() else 'no such file'}"
        )
    try:
        return readers[path.suffix.lower()](path)
    except Exception as error:  # for a damaged array NumPy raises nearly anything
        raise ValueError(f"{path} holds no list of training indices: {error}") from error


def _from_array(path: Path, samples: int) -> tuple[list[int], tuple[str, ...]]:
    array = numpy.load(path)
    if not isinstance(array, numpy.ndarray):
        raise ValueError("it holds several arrays; save one with numpy.save")
    if array.dtype == bool:
        if array.shape != (samples,):
            raise ValueError(
                f"a mask of shape {array.shape}; it must have the shape ({samples},), one value for each training "
                "image of the dataset, before train_size, validation set and copies are removed"
            )
        return array.nonzero()[0].tolist(), (f"{path}: read as a mask over {samples} training images",)
    if array.dtype.kind not in "iu":
        raise ValueError(f"an array of {array.dtype}; it must hold integers, or booleans as a mask")
    if not array.size or array.size != max(array.shape, default=0):
        raise ValueError(f"an array of shape {array.shape}; it must be a list of at least one index")
    return array.reshape(-1).tolist(), ()


def _from_text(path: Path) -> tuple[list[int], tuple[str, ...]]:
    """Read one integer on each line, below a name of the column if there is one."""
    lines = [(number, line.strip()) for number, line in enumerate(_text(path).splitlines(), 1) if line.strip()]
    notes: tuple[str, ...] = ()
    if not lines:
        raise ValueError("it is empty; list at least one integer")
    if NAME.fullmatch(lines[0][1]) and lines[0][1].lower() not in VALUES:
        notes = (f"{path}: read its first line, {lines[0][1]}, as the name of the column",)
        del lines[0]
    elif path.suffix.lower() == ".csv" and lines[0][1] == "0":
        # pandas writes the name of a column without one so: the index 0 or a name
        raise ValueError(
            "its first line, 0, may be an index or a name; put a line with a name, such as index, before it"
        )
    for number, line in lines:
        if not INTEGER.fullmatch(line):
            raise ValueError(f"line {number} is {line[:60]!r}; write one integer on each line and nothing else")
    if not lines:
        raise ValueError("below the name of the column, list at least one integer")
    return [int(line) for _, line in lines], notes


def _text(path: Path) -> str:
    """Decode UTF-8, or the UTF-16 that Windows writes behind a mark."""
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig")
