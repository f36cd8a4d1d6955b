"""Datasets that others publish as files of known hashes: CIFAR-10, CIFAR-100, SVHN and Kuzushiji-MNIST.

The files lie where torchvision puts them. Nothing is parsed before its MD5 is right: a pickle could run code. A
missing file is downloaded under a lock, checked, and renamed to its place.
"""

import dataclasses
import hashlib
import http.client
import io
import os
import pickle
import shutil
import tarfile
import urllib.request
import warnings
from pathlib import Path, PurePosixPath

import numpy as np

from softtargets.readers import downloads
from softtargets.readers.idx_files import DataUnavailable, NotVerified
from softtargets.system.files import atomic, make_folder
from softtargets.system.locks import locked

TIMEOUT = 30.0
"""Seconds to wait for a server's answer."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A published dataset."""

    option: str
    """Its name as an option of `dataset`."""
    title: str
    url: str
    """Address of the folder with the files to download."""
    files: dict[str, str]
    """MD5 of each file, by its path below `dataset.root`."""
    archive: tuple[str, str] | None = None
    """Name and MD5 of a tar file that holds them all; None where each file is downloaded by itself."""

    def downloads(self) -> dict[str, str]:
        """Return the MD5 of each file to download, by its path."""
        return dict([self.archive]) if self.archive else self.files


CIFAR10 = Published(
    "cifar10",
    "CIFAR-10",
    "https://www.cs.toronto.edu/~kriz/",
    {
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
    ("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
)
CIFAR100 = Published(
    "cifar100",
    "CIFAR-100",
    "https://www.cs.toronto.edu/~kriz/",
    {
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
    },
    ("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
)
SVHN = Published(
    "svhn",
    "SVHN",
    "http://ufldl.stanford.edu/housenumbers/",
    {
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    },
)
KMNIST = Published(
    "kmnist",
    "Kuzushiji-MNIST",
    "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    {
        "KMNIST/raw/train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
        "KMNIST/raw/train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
        "KMNIST/raw/t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
        "KMNIST/raw/t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
    },
)


def read(dataset: Published, root: Path) -> dict[str, bytes]:
    """Return the verified content of a dataset's files by path, from a local copy in `root` or else a download.

    A complete local copy is only read. A damaged file that is replaced is named in a warning and renamed to
    `<name>.damaged`. Raises DataUnavailable, in one sentence, if a file is neither good nor to be had, or if the
    folder cannot be read or written.
    """
    try:
        contents, _ = _local(dataset, root)
        if len(contents) < len(dataset.files):
            if not downloads.are_allowed():
                raise DataUnavailable(f"{dataset.title} is not complete in {root}")
            contents = _prepared(dataset, root)
    except OSError as error:
        raise DataUnavailable(f"{dataset.title} cannot be prepared in {root}: {error}") from error
    return {name: contents[name] for name in dataset.files}


def _prepared(dataset: Published, root: Path) -> dict[str, bytes]:
    """Complete the local copy, under a lock for all processes and threads with this root; return its content."""
    make_folder(root)
    with locked(root / f".{dataset.option}.lock", busy=lambda: None):
        contents, faults = _local(dataset, root)  # again: the lock's last holder may have done the work
        if len(contents) < len(dataset.files):
            _download_missing(dataset, root, contents, faults)
            contents, _ = _local(dataset, root)
        return contents


def _local(dataset: Published, root: Path) -> tuple[dict[str, bytes], list[str]]:
    """Return the content of each good file by path, and the faults of the others that exist."""
    contents, faults = _good(dataset.files, root)
    if dataset.archive and len(contents) < len(dataset.files):
        whole, more = _good(dict([dataset.archive]), root)
        faults += more
        for content in whole.values():
            contents |= _unpacked(content, dataset.files)
    return contents, faults


def _good(files: dict[str, str], root: Path) -> tuple[dict[str, bytes], list[str]]:
    contents, faults = {}, []
    for name, right in files.items():
        try:
            content = (root / name).read_bytes()
        except FileNotFoundError:
            continue
        md5 = _md5(content)
        if md5 == right:
            contents[name] = content
        else:
            size = f"{len(content):,} bytes with MD5 {md5}, not {right}"
            faults.append(f"{root / name} is truncated or altered ({size})")
    return contents, faults


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _unpacked(archive: bytes, files: dict[str, str]) -> dict[str, bytes]:
    """Return the content of the files in a tar archive of known hash; nothing is written."""
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for name, right in files.items():
            content = tar.extractfile(name).read()
            assert _md5(content) == right, f"{name} in an archive with a right hash has a wrong one"
            contents[name] = content
    return contents


def _download_missing(dataset: Published, root: Path, contents: dict[str, bytes], faults: list[str]) -> None:
    for name, right in dataset.downloads().items():
        if name in contents:
            continue
        try:
            _download(dataset.url + PurePosixPath(name).name, root / name, right)
        except (OSError, http.client.HTTPException, NotVerified) as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            tried = "; ".join([*faults, f"a download failed ({reason})"])
            files = " and ".join(dataset.downloads())
            raise DataUnavailable(
                f"{dataset.title} is not available: {tried}. Connect once and run `python run.py stage=data "
                f"dataset={dataset.option}`, or put {files} in {root}"
            ) from error


def _download(url: str, path: Path, right: str) -> None:
    """Download a file to its place; raise NotVerified, and leave nothing, if its MD5 is not the `right` one."""
    with atomic(path) as temporary:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, temporary.open("wb") as file:
            shutil.copyfileobj(answer, file)
        md5 = _md5(temporary.read_bytes())
        if md5 != right:
            raise NotVerified(f"{url} has MD5 {md5}, not {right}")
        if path.exists():
            os.replace(path, f"{path}.damaged")
            warnings.warn(f"{path} is truncated or altered; renamed to {path.name}.damaged", stacklevel=2)


ARRAYS = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""The only names that a pickle of arrays, lists and texts needs."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        """Return a part of an array; raise UnpicklingError for anything else."""
        if (module, name) not in ARRAYS:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, and only arrays are admitted")
        return ARRAYS[module, name]


def arrays(content: bytes) -> dict:
    """Return the dictionary of arrays, lists and texts in a pickle of Python 2, and execute nothing.

    Raises UnpicklingError for any other object in it.
    """
    with warnings.catch_warnings(action="ignore"):  # about types of numbers as Python 2 wrote them
        return _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
