"""The images of a user's folder: its tree, and the pixels of its files, of any format that Pillow reads."""

import collections
import functools
import io
import os
import re
import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import UInt8

from softtargets.errors import reason
from softtargets.system.memory import require_memory
from softtargets.system.words import counted

if TYPE_CHECKING:
    import PIL.Image

Pixels = UInt8[np.ndarray, "height width channels"]
Size = tuple[int, int]
"""Height and width in pixels."""
LEAST, MOST = 8, 1024
"""Smallest and largest height and width in pixels."""


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
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
TRUNCATED = "If the tree is from an archive, this may be truncated: unpack it again and look for an error of tar"
SEVERAL = ("MPO", "PSD")
"""Formats of one picture and its parts, or of a photograph and its previews: they may have several frames."""
GREY = ("1", "L", "LA", "La")


def tree(base: Path) -> Tree:
    """List the images of a user's folder; raises ValueError for a tree of another shape."""
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
    _require_numbers(base, folders)
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


def _require_numbers(base: Path, folders: list[Path]) -> None:
    """Raise ValueError for a class folder of the seed project's tree whose name is not a number."""
    words = [folder.name for folder in folders if not re.fullmatch(r"[0-9]+e?", folder.name)]
    if not words:
        return
    if below := next((folder for folder in folders if (folder / "train").is_dir()), None):
        raise ValueError(f"{base} has no sub-folder train, but {below} has one. Give that folder")
    if (base / "test").is_dir():
        raise ValueError(f"{base} has a sub-folder test but none called train. {TRUNCATED}")
    raise ValueError(
        f"{base} has no sub-folder train; it must hold train/CLASS/* and test/CLASS/*. Or name all class "
        f"folders by numbers, as in 3 and 3e; {words[0]} is not a number"
    )


def _class_folders(base: Path) -> tuple[list[Path], list[str]]:
    """Return the class folders of a folder, and the names of its other entries."""
    if not base.is_dir():
        raise ValueError(_no_folder(base))
    entries = list(base.iterdir())
    folders = [entry for entry in entries if entry.is_dir() and not _hidden(entry.name)]
    if not folders:
        archive = next((entry for entry in sorted(entries) if entry.name.endswith(ARCHIVES)), None)
        packed = f". {_unpacked(archive)}" if archive else ""
        raise ValueError(f"{base} has no class folder; it must hold one sub-folder for every class{packed}")
    others = [entry.name for entry in entries if entry not in folders]
    return sorted(folders, key=lambda folder: natural(folder.name)), others


def _no_folder(base: Path) -> str:
    """Return what is wrong where a folder should be."""
    if base.is_file() and base.name.endswith(ARCHIVES):
        return _unpacked(base)
    if (base.parent / "train").is_dir():  # the other half of a tree
        return f"{base} is not a folder; beside train there must be test/CLASS/*. {TRUNCATED}"
    return f"{base} is not a folder"


def _unpacked(archive: Path) -> str:
    """Return that an archive has to be unpacked, and the command."""
    name = shlex.quote(str(archive))
    command = f"unzip {name} -d DIR" if archive.suffix == ".zip" else f"mkdir DIR && tar xf {name} -C DIR"
    return f"{archive} is an archive. Unpack it, and give the folder: {command}"


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in LITTER


def _images(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the images of a class folder, and the names of its other entries."""
    extensions, names = _extensions(), sorted(os.listdir(folder))
    # by names: as paths, 60,000 would take four times as long
    images = [name for name in names if os.path.splitext(name)[1].lower() in extensions and not _hidden(name)]
    image_set = set(images)  # looked up once for every entry
    others = [name for name in names if name not in image_set]
    for name in others:
        if (folder / name).is_dir() and not _hidden(name):
            raise ValueError(f"{folder / name} is a folder inside a class; it must hold images and no folders")
    if not images:
        there = f" and {counted(len(others), 'other file')}, such as {others[0]}" if others else ""
        raise ValueError(f"class folder {folder} has no image{there}")
    return [folder / name for name in images], others


@functools.cache
def _extensions() -> frozenset[str]:
    """Return the extensions of the formats that Pillow can decode, in lower case."""
    from PIL import Image  # the other datasets can do without

    names = Image.registered_extensions()
    return frozenset(end for end, form in names.items() if form in Image.OPEN and form not in NO_PICTURES)


def natural(name: str) -> tuple:
    """Return a sort key under which 2 comes before 10: text and numbers alternate, so that types never mix."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def decode(
    files: list[File], channels: int | None, size: int | None, changes: collections.Counter
) -> UInt8[np.ndarray, "n channels height width"]:
    """Decode images into one array, and count in `changes` how many were resized, stretched or turned grey.

    With `size` all become squares of so many pixels a side, else all must have the size of the first. Without
    `channels` there are 3 if any image shows a colour, else 1.

    Raises ValueError for a file that cannot be read, for another size than the first image's, and for more
    pixels than the memory takes.
    """
    from PIL import Image

    # Pillow's warnings name no file and concern images that it can read
    with warnings.catch_warnings(action="ignore"):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        first = _decode(files[0].path, channels, size and (size, size), collections.Counter())
        height, width, depth = first.shape
        if not (LEAST <= height <= MOST and LEAST <= width <= MOST):
            raise ValueError(_odd_size(files[0], first.shape))
        test = sum(file.test for file in files)
        require_memory(len(files) - test, test, (channels or 3, height, width))
        pixels = np.empty((len(files), depth, height, width), np.uint8)
        for place, file in enumerate(files):
            # after the first colour there is nothing left to look for
            seen = channels or (3 if pixels.shape[1] == 3 else None)
            image = _decode(file.path, seen, size and (size, size), changes)
            if image.shape[:2] != (height, width):
                raise ValueError(_sizes_differ(files[0], first.shape, file, image.shape))
            if image.shape[2] > pixels.shape[1]:  # the first image that shows a colour
                grey, pixels = pixels, np.empty((len(files), 3, height, width), np.uint8)
                pixels[:place] = grey[:place]  # what is not written takes no memory yet
                del grey
            pixels[place] = image.transpose(2, 0, 1)  # Pillow has channels last, networks take them first
    return pixels


def _odd_size(file: File, shape: tuple[int, ...]) -> str:
    sides = f"a side must have {LEAST} to {MOST}"
    return f"{file.path} has {shape[1]}x{shape[0]} pixels; {sides}. Resize all, as in dataset.size={_near(shape)}"


def _sizes_differ(one: File, shape: tuple[int, ...], other: File, other_shape: tuple[int, ...]) -> str:
    sizes = f"{shape[1]}x{shape[0]} pixels in {one.path}, {other_shape[1]}x{other_shape[0]} in {other.path}"
    return f"images differ in size: {sizes}. Resize all, as in dataset.size={_near(shape)}"


def _near(shape: tuple[int, ...]) -> int:
    return min(max(min(shape[:2]), LEAST), MOST)


class _Unfit(ValueError):
    """A whole image of a kind that is refused, and what to do."""


def _decode(path: Path, channels: int | None, size: Size | None, changes: collections.Counter) -> Pixels:
    """Decode one image to the given channels and size; of None the image decides."""
    from PIL import Image

    try:
        content = path.read_bytes()
        # Pillow asks each of its readers in turn; of JPEG, the commonest for many images, the first bytes tell
        formats = ("JPEG",) if content.startswith(b"\xff\xd8\xff") else None
        with Image.open(io.BytesIO(content), formats=formats) as image:
            if formats is None:
                _refuse_picture(image)
            resized = size not in (None, (image.height, image.width))
            if resized:
                changes["resized"] += 1
                changes["stretched"] += image.width != image.height
            grey = channels == 1 or (channels is None and image.mode in GREY)
            if channels != 3 and image.mode not in GREY:
                # looked at, since a grey picture may be stored as RGB
                colours = np.asarray(image.convert("RGB"))
                coloured = bool((colours != colours[..., :1]).any())
                changes["grey"] += coloured and channels == 1
                grey |= not coloured
            image = image.convert("L" if grey else "RGB")
            if resized:
                image = image.resize(size[::-1], Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(image.height, image.width, -1)
    except Exception as error:  # for a damaged file Pillow's readers raise nearly anything
        raise ValueError(f"{path} cannot be read as an image: {_why(error, path)}") from error


def _why(error: Exception, path: Path) -> str:
    """Return why a file could not be decoded, and what to do."""
    from PIL import UnidentifiedImageError

    advice = "Remove it, or replace it by a whole image"
    if isinstance(error, _Unfit):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        what = "it is not an image, or its first bytes are damaged" if path.stat().st_size else "it is empty"
        return f"{what}. {advice}"
    return f"{reason(error).rstrip('.')}. {advice}"


def _refuse_picture(image: "PIL.Image.Image") -> None:
    """Raise _Unfit for a picture that Pillow would read only in part or as something else."""
    if image.format == "EPS":
        raise _Unfit("EPS is a program that Ghostscript would run. Save it as PNG")
    if image.mode.startswith(("I", "F")):
        # Pillow would cut values off at 255 instead of scaling them
        raise _Unfit(f"mode {image.mode} has more than 8 bits a channel. Save it with 8 bits")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in SEVERAL:
        raise _Unfit(f"it has {frames} frames or pages. Save one frame as a separate picture")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise _Unfit("it has transparent pixels. Save it with a background colour")


def passed_over(names: list[str]) -> list[str]:
    """Return a note on the skipped files: how many, and the commonest names."""
    if not names:
        return []
    counts = collections.Counter(names).most_common()
    shown = [name if count == 1 else f"{name} ({count})" for name, count in counts[:5]]
    more = ["…"] if len(counts) > 5 else []
    what = counted(len(names), "entry that is no image", "entries that are no images")
    return [f"ignored {what}: {', '.join([*shown, *more])}"]


def changed(changes: collections.Counter, count: int, size: int | None) -> list[str]:
    """Return notes on how many images were resized, stretched or turned grey."""
    notes = []
    if resized := changes["resized"]:
        stretched = f"; {changes['stretched']} are not square and were stretched" if changes["stretched"] else ""
        notes.append(
            f"resized {resized:,} of {counted(count, 'image')} to {size}x{size} pixels (dataset.size){stretched}"
        )
    if grey := changes["grey"]:
        notes.append(
            f"turned {grey:,} of {counted(count, 'image')} from colour to grey; dataset.channels=3 keeps colours"
        )
    return notes
