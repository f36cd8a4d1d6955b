"""Datasets of known hashes: small stand-ins, whose hashes the tests declare, read as torchvision reads them."""

import dataclasses
import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from conftest import SMALL

from softtargets import datasets
from softtargets.readers import published
from softtargets.readers.idx_files import DataUnavailable

NAMES = ("CIFAR10", "CIFAR100", "SVHN", "KMNIST")
DRAW = np.random.default_rng(0)


class AsPython2(pickle._Pickler):
    """Writes bytes as Python 2 wrote its texts, of which the real files are made."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def save_bytes(self, content: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(content)

    dispatch[bytes] = save_bytes


def pickled(content: object) -> bytes:
    file = io.BytesIO()
    AsPython2(file, protocol=2).dump(content)
    # as numpy 1 called the module in which the real files were made
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def batch(count: int, labels: str) -> bytes:
    pixels = DRAW.integers(256, size=(count, 3072), dtype=np.uint8)
    return pickled({"data": pixels, labels: [int(label) for label in DRAW.integers(10, size=count)]})


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}i", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def mat(count: int) -> bytes:
    file = io.BytesIO()
    pixels = DRAW.integers(256, size=(32, 32, 3, count), dtype=np.uint8)
    scipy.io.savemat(file, {"X": pixels, "y": np.arange(10, 10 - count, -1, dtype=np.uint8)[:, None]})
    return file.getvalue()


def made_up(name: str) -> dict[str, bytes]:
    """Small files by the real files' names."""
    files = list(getattr(published, name).files)
    if name == "SVHN":
        return {file: mat(count) for file, count in zip(files, (5, 3), strict=True)}
    if name == "KMNIST":
        arrays = [DRAW.integers(9, size=size, dtype=np.uint8) for size in ((5, 28, 28), 5, (3, 28, 28), 3)]
        return {file: gzip.compress(idx(array)) for file, array in zip(files, arrays, strict=True)}
    labels, names = ("labels", "label_names") if name == "CIFAR10" else ("fine_labels", "fine_label_names")
    *batches, meta = files
    return {file: batch(4, labels) for file in batches} | {
        meta: pickled({names: [f"class {n}" for n in range(10)]})
    }


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def archived(files: dict[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return whole.getvalue()


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def small(monkeypatch, tmp_path):
    """`small(NAME)`: its made-up files, and those that a folder in place of a server offers."""

    def replace(name: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
        usual, files = getattr(published, name), made_up(name)
        archive = archived(files)
        offered = {usual.archive[0]: archive} if usual.archive else files
        lay(tmp_path / "server", {Path(file).name: content for file, content in offered.items()})
        new = dataclasses.replace(
            usual,
            url=f"{(tmp_path / 'server').as_uri()}/",
            files={file: md5(content) for file, content in files.items()},
            archive=usual.archive and (usual.archive[0], md5(archive)),
        )
        monkeypatch.setattr(published, name, new)
        return files, offered

    return replace


def load(name: str, root: Path) -> datasets.Images:
    return getattr(datasets, name.lower())(root=str(root))


def by_torchvision(name: str, root: Path, train: bool) -> tuple[np.ndarray, list[int]]:
    """Pixels (n, channels, height, width) and labels of our files, as torchvision reads them."""
    theirs, ours = getattr(torchvision.datasets, name), getattr(published, name)
    if name == "SVHN":
        split = "train" if train else "test"
        files = {
            part: [*theirs.split_list[part][:2], ours.files[f"{part}_32x32.mat"]] for part in ("train", "test")
        }
        read = type(name, (theirs,), {"split_list": files})(str(root), split)
        return read.data, read.labels.tolist()
    if name == "KMNIST":
        for file, content in {file: (root / file).read_bytes() for file in ours.files}.items():
            (root / file.removesuffix(".gz")).write_bytes(gzip.decompress(content))
        read = theirs(str(root), train=train)
        return read.data[:, None].numpy(), read.targets.tolist()
    lists = {
        f"{part}_list": [[Path(f).name, ours.files[f"{theirs.base_folder}/{Path(f).name}"]] for f, _ in files]
        for part, files in (("train", theirs.train_list), ("test", theirs.test_list))
    }
    meta = theirs.meta | {"md5": ours.files[f"{theirs.base_folder}/{theirs.meta['filename']}"]}
    read = type(name, (theirs,), lists | {"meta": meta})(str(root), train=train)
    return read.data.transpose(0, 3, 1, 2), read.targets


@pytest.mark.filterwarnings("ignore:dtype")
@pytest.mark.parametrize("name", NAMES)
def test_a_local_copy_is_read_as_torchvision_reads_it(name, small, tmp_path):
    files, _ = small(name)
    images = load(name, lay(tmp_path / "root", files))
    for train, pixels, labels in ((True, *images[:2]), (False, *images[2:4])):
        their_pixels, their_labels = by_torchvision(name, tmp_path / "root", train)
        assert (pixels.numpy() == their_pixels).all()
        assert labels.tolist() == their_labels
        assert (pixels.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert len(images.class_names) == 10


def test_hashes_and_names_are_torchvisions():
    theirs = torchvision.datasets
    for ours, their in ((published.CIFAR10, theirs.CIFAR10), (published.CIFAR100, theirs.CIFAR100)):
        meta = [[their.meta["filename"], their.meta["md5"]]]
        listed = {
            f"{their.base_folder}/{name}": right for name, right in their.train_list + their.test_list + meta
        }
        assert (ours.files, ours.archive) == (listed, (their.filename, their.tgz_md5))
        assert f"{ours.url}{their.filename}" == their.url
    listed = [theirs.SVHN.split_list[part] for part in ("train", "test")]
    assert published.SVHN.files == {file: right for _, file, right in listed}
    assert [published.SVHN.url + file for file in published.SVHN.files] == [url for url, *_ in listed]
    assert list(published.KMNIST.files.items()) == [(f"KMNIST/raw/{f}", m) for f, m in theirs.KMNIST.resources]
    assert published.KMNIST.url in theirs.KMNIST.mirrors
    assert tuple(theirs.KMNIST.classes) == datasets.KUZUSHIJI


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_downloaded_once_and_checked(name, small, tmp_path, monkeypatch):
    files, offered = small(name)
    expected = load(name, lay(tmp_path / "other", files))
    usual, calls = published._download, []
    monkeypatch.setattr(published, "_download", lambda *args: calls.append(args) or usual(*args))
    results: list[datasets.Images] = []
    threads = [threading.Thread(target=lambda: results.append(load(name, tmp_path / "root"))) for _ in range(3)]
    for step in (threading.Thread.start, threading.Thread.join):
        for thread in threads:
            step(thread)
    assert len(calls) == len(offered)
    assert len(results) == 3
    for images in results:
        assert all(torch.equal(one, other) for one, other in zip(images[:4], expected[:4], strict=True))
    left = {str(file.relative_to(tmp_path / "root")) for file in (tmp_path / "root").rglob("*") if file.is_file()}
    assert left == {*offered, f".{name.lower()}.lock"}


def test_missing_files_come_from_the_archive_in_the_right_order(small, tmp_path):
    files, offered = small("CIFAR10")
    expected = load("CIFAR10", lay(tmp_path / "other", files))
    root = lay(tmp_path / "root", offered | dict(list(files.items())[2:4]))
    (tmp_path / "server/cifar-10-python.tar.gz").unlink()
    assert torch.equal(load("CIFAR10", root).train_pixels, expected.train_pixels)


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_file_is_named_in_one_sentence_and_left(name, small, tmp_path, monkeypatch):
    _, offered = small(name)
    first, content = next(iter(offered.items()))
    root = lay(tmp_path / "root", offered | {first: content[:-1]})
    (tmp_path / "server" / Path(first).name).unlink()
    for parse in ("arrays", "_unpacked"):
        monkeypatch.setattr(published, parse, None)  # nothing is parsed
    with pytest.raises(DataUnavailable) as caught:
        load(name, root)
    title = getattr(published, name).title
    start = (
        f"{title} is not available: {root / first} is truncated or altered ({len(content) - 1:,} bytes with MD5 "
    )
    assert str(caught.value).startswith(start)
    assert "; a download failed (" in str(caught.value)
    assert f" stage=data dataset={name.lower()}`, or put " in str(caught.value)
    assert (root / first).read_bytes() == content[:-1]


def test_a_truncated_file_is_replaced_where_there_is_a_good_one(small, tmp_path):
    files, offered = small("CIFAR100")
    archive = "cifar-100-python.tar.gz"
    root = lay(tmp_path / "root", {archive: offered[archive][:100]})
    with pytest.warns(UserWarning, match=rf"{archive} is truncated or altered; renamed to {archive}\.damaged"):
        images = load("CIFAR100", root)
    assert torch.equal(images.train_pixels, load("CIFAR100", lay(tmp_path / "other", files)).train_pixels)
    assert (root / f"{archive}.damaged").read_bytes() == offered[archive][:100]


def test_a_download_of_other_content_is_refused_and_leaves_nothing(small, tmp_path):
    small("SVHN")
    (tmp_path / "server/train_32x32.mat").write_bytes(b"an error page")
    with pytest.raises(DataUnavailable, match=r"a download failed \(file:\S+train_32x32\.mat has MD5 "):
        load("SVHN", tmp_path / "root")
    assert [file.name for file in (tmp_path / "root").iterdir()] == [".svhn.lock"]


class Hostile:
    def __reduce__(self):
        return Path.touch, (Path("touched"),)


@pytest.mark.parametrize("content", [Hostile(), {"data": Hostile()}, [np.zeros(2), Hostile()], {"data": np.dtype}])
def test_a_pickle_with_anything_but_arrays_is_not_executed(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if isinstance(content, dict) and content["data"] is np.dtype:
        content = {"data": np.array([Hostile()], dtype=object)}
    with pytest.raises(pickle.UnpicklingError, match="only arrays are admitted"):
        published.arrays(pickled(content))
    assert not list(tmp_path.iterdir())


def test_an_unavailable_dataset_ends_the_program_in_one_sentence(small, here, elsewhere):
    small("CIFAR10")
    (elsewhere / "server/cifar-10-python.tar.gz").write_bytes(b"half")
    ended = here(*SMALL, "dataset=cifar10", f"data_dir={elsewhere / 'data'}")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert ended.stderr.startswith("run.py: dataset: CIFAR-10 is not available: a download failed (file:")
