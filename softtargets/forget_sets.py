"""What is to be forgotten: `kind(candidates, generator, *, settings) -> Choice`.

A kind that names its samples by itself, instead of drawing them, is marked `fixed`: they are then never
set aside for validation nor left out of a subset.
"""

import csv
import zipfile
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy
import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Generator, Tensor

from softtargets.disk import Place
from softtargets.errors import BadInput

Fraction = Annotated[float, Field(gt=0, lt=1)]
ClassList = Annotated[list[Annotated[int, Field(ge=0, le=10**6)]], Field(min_length=1)]


class Candidates(NamedTuple):
    """The training samples to choose from."""

    labels: Int64[Tensor, " n"]
    index: Int64[Tensor, " n"]
    """Indices in the dataset's own training set, ascending."""
    classes: int
    marked: Int64[Tensor, " m"] | None
    """Indices that the dataset itself marks to be forgotten."""


class Choice(NamedTuple):
    """Positions of the chosen among the candidates, ascending, and the labels all candidates are to have."""

    positions: Int64[Tensor, " m"]
    labels: Int64[Tensor, " n"]


def random(candidates: Candidates, generator: Generator, *, fraction: Fraction) -> Choice:
    """Draw a `fraction` of the training set."""
    return Choice(_draw(torch.arange(len(candidates.labels)), fraction, generator), candidates.labels)


def whole_classes(candidates: Candidates, generator: Generator, *, classes: ClassList) -> Choice:
    """Take every training sample of `classes`."""
    return Choice(_of_classes(candidates, classes), candidates.labels)


def class_fraction(
    candidates: Candidates, generator: Generator, *, classes: ClassList, fraction: Fraction
) -> Choice:
    """Draw a `fraction` of the training samples of `classes`."""
    return Choice(_draw(_of_classes(candidates, classes), fraction, generator), candidates.labels)


def mislabelled(candidates: Candidates, generator: Generator, *, fraction: Fraction) -> Choice:
    """Draw a `fraction` of the training set and give it wrong labels before any training."""
    positions = _draw(torch.arange(len(candidates.labels)), fraction, generator)
    labels = candidates.labels.clone()
    labels[positions] = wrong_labels(labels[positions], candidates.classes, generator)
    return Choice(positions, labels)


def indices(candidates: Candidates, generator: Generator, *, path: Place) -> Choice:
    """Take the training indices listed in a .txt, .csv (first column) or .npy file.

    Raises ValueError for a file that cannot be read, for repeated indices and for those out of range.
    """
    listed = _read_indices(Path(path).expanduser())
    outside = sorted(set(listed.tolist()) - set(candidates.index.tolist()))
    if outside:
        span = f"{int(candidates.index[0])} to {int(candidates.index[-1])}, less copies of other images"
        raise ValueError(f"index {outside[0]} is not in the training set, whose indices are {span}")
    if len(listed.unique()) < len(listed):
        raise ValueError(f"{len(listed) - len(listed.unique())} indices are repeated; each may stand once")
    return Choice(torch.isin(candidates.index, listed).nonzero()[:, 0], candidates.labels)


def marked(candidates: Candidates, generator: Generator) -> Choice:
    """Take what the dataset itself marks.

    Raises ValueError for a dataset without marks.
    """
    if candidates.marked is None or not len(candidates.marked):
        raise ValueError("this dataset marks nothing; allowed with a folder that has class folders named CLASSe")
    return Choice(torch.isin(candidates.index, candidates.marked).nonzero()[:, 0], candidates.labels)


indices.fixed = marked.fixed = True


def wrong_labels(labels: Int64[Tensor, " n"], classes: int, generator: Generator) -> Int64[Tensor, " n"]:
    """Draw another class for every label, each of the others with the same probability."""
    return (labels + torch.randint(1, classes, labels.shape, generator=generator).to(labels.device)) % classes


def _draw(positions: Int64[Tensor, " n"], fraction: float, generator: Generator) -> Int64[Tensor, " m"]:
    count = round(fraction * len(positions))
    return positions[torch.randperm(len(positions), generator=generator)[:count]].sort().values


def _of_classes(candidates: Candidates, classes: list[int]) -> Int64[Tensor, " m"]:
    if max(classes) >= candidates.classes:
        raise BadInput(
            f"forget_set.classes={classes}: class {max(classes)} does not exist; allowed are 0 to "
            f"{candidates.classes - 1}"
        )
    return torch.isin(candidates.labels, torch.tensor(classes)).nonzero()[:, 0]


def _read_indices(path: Path) -> Int64[Tensor, " n"]:
    try:
        if path.suffix == ".npy":
            found = numpy.load(path).reshape(-1).tolist()
        elif path.suffix in (".txt", ".csv"):
            rows = csv.reader(path.read_text().splitlines())
            found = [int(row[0]) for row in rows if row]
        else:
            raise ValueError("not a .txt, .csv or .npy file")
        listed = torch.tensor(found)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no list of training indices: {error}") from error
    if not len(listed) or listed.dtype != torch.int64:
        raise ValueError(f"{path} holds no list of training indices: it must hold integers, at least one")
    return listed
