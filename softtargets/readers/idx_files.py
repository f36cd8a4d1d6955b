"""The four IDX files of MNIST or Fashion-MNIST on disk: verified, and prepared once for all processes.

The files are in torchvision's folder, `<root>/<name>/raw`. torchvision never checks a file that it has extracted,
and processes that download into one folder at the same time damage each other's files. Here every load checks the
MD5 of the uncompressed content (gzip files of equal content differ) and parses the bytes that it has checked.
"""

import contextlib
import gzip
import hashlib
import http.client
import io
import os
import socket
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from softtargets.readers import downloads
from softtargets.system.files import atomic, make_folder
from softtargets.system.locks import locked

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""The folder of Debian's package dataset-fashion-mnist."""
MD5 = {
    "MNIST": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}
"""MD5 of the uncompressed files, by torchvision's name of the dataset."""
MOST = 60_000 * 28 * 28 + 16
"""Size of the largest of these files in bytes; no file is read or decompressed beyond it."""
ADVICE = {
    "MNIST": "connect once and run `python run.py stage=data dataset=mnist`, or put the files in {raw}",
    "FashionMNIST": "connect once and run `python run.py stage=data dataset=fashion_mnist`, or "
    "`apt install dataset-fashion-mnist`, or put the files in {raw}",
}


class DataUnavailable(ValueError):
    """A missing dataset, in one sentence: the places tried, with the outcome of each, and what to do."""


class NotVerified(Exception):
    """A file with other content than the known one; the message says what is wrong, with its path."""


def read_images(name: str, root: Path) -> list[UInt8[Tensor, "..."]]:
    """Return training images and labels, test images and labels: (n, 28, 28) and (n,). `name` is a key of MD5.

    The sources, in this order: the local copy in `root`, Debian's package, a download. Missing files are added to
    the local copy. A damaged file is named in a warning, renamed to `<name>.damaged` and replaced. A complete
    local copy is only read. Raises DataUnavailable if a file is in no source, or cannot be read or written.
    """
    damaged = {}
    try:
        contents, damaged = _search(root / name / "raw", MD5[name])
        if damaged or len(contents) < len(MD5[name]):
            if not downloads.are_allowed():
                raise DataUnavailable(f"{name} is not complete in {root}")
            contents = _prepare(name, root)
    except OSError as error:
        reasons = "; ".join([*damaged.values(), str(error)])
        raise DataUnavailable(f"{name} cannot be prepared in {root}: {reasons}") from error
    return [parse(contents[file]) for file in MD5[name]]


def parse(content: bytes) -> UInt8[Tensor, "..."]:
    """Return the array in an IDX file: byte 3 is the number of dimensions, then come sizes (int32) and values."""
    dimensions = content[3]
    shape = struct.unpack_from(f">{dimensions}i", content, 4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    return torch.from_numpy(values.reshape(shape).copy())  # a copy, since bytes cannot be written to


def _search(folder: Path, md5: dict[str, str]) -> tuple[dict[str, bytes], dict[Path, str]]:
    """Return the content of each good file by name, plain or compressed, and the faults of others by path."""
    contents, damaged = {}, {}
    for name, right in md5.items():
        for path in (folder / name, folder / f"{name}.gz"):
            try:
                contents[name] = _verified(path, right)
                break
            except FileNotFoundError:
                continue
            except NotVerified as error:
                damaged[path] = str(error)
    return contents, damaged


def _verified(path: Path, right: str) -> bytes:
    """Return the uncompressed content of a file; raise NotVerified if its MD5 is wrong."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise NotVerified(f"{path} is truncated or altered: {error}") from error
    if len(content) > MOST:
        raise NotVerified(f"{path} is altered: it holds more than {MOST} bytes")
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 != right:
        raise NotVerified(f"{path} is truncated or altered: {len(content)} bytes with MD5 {md5}, not {right}")
    return content


def _prepare(name: str, root: Path) -> dict[str, bytes]:
    """Complete the local copy, under a lock for all processes and threads with this root; return its content."""
    raw, md5 = root / name / "raw", MD5[name]
    make_folder(raw)
    with locked(root / f".{name}.lock", busy=lambda: None):
        contents, damaged = _search(raw, md5)  # again: the lock's last holder may have done the work
        for path, reason in damaged.items():
            with contextlib.suppress(FileNotFoundError):  # without a lock another process may be faster
                os.replace(path, f"{path}.damaged")
            warnings.warn(f"{reason}; renamed to {path.name}.damaged and not used", stacklevel=2)
        tried = [f"{raw} ({len(contents)} of {len(md5)} files good)"]
        for source in (_packaged, _downloaded):
            if len(contents) < len(md5):
                offered, outcome = source(name, root)
                tried.append(outcome)
                for file in offered.keys() - contents.keys():
                    with atomic(raw / file) as temporary:
                        temporary.write_bytes(offered[file])
                contents = offered | contents
    if len(contents) < len(md5):
        places = ", ".join(filter(None, tried))
        raise DataUnavailable(f"{name} is not available; tried {places}: {ADVICE[name].format(raw=raw)}")
    return contents


def _packaged(name: str, root: Path) -> tuple[dict[str, bytes], str]:
    """Return the good files of Debian's package by name, and the outcome in words."""
    if name != "FashionMNIST":
        return {}, ""  # Debian has no other
    contents, damaged = _search(DEBIAN, MD5[name])
    for reason in damaged.values():
        warnings.warn(f"{reason}; not used", stacklevel=2)
    return contents, f"Debian's package in {DEBIAN} ({len(contents)} of {len(MD5[name])} files good)"


def _downloaded(name: str, root: Path) -> tuple[dict[str, bytes], str]:
    """Return the good files of a download by torchvision by name, and the outcome in words."""
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root) as folder:
        try:
            _download(name, folder)
        except (RuntimeError, OSError, EOFError, http.client.HTTPException) as error:
            return {}, f"a download ({_short(error)})"
        contents, _ = _search(Path(folder, name, "raw"), MD5[name])
    return contents, f"a download ({len(contents)} of {len(MD5[name])} files good)"


def _download(name: str, folder: str) -> None:
    import torchvision  # here: it takes a second of CPU time, which only the first run needs

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # torchvision sets none, so a firewall that drops packets would cost minutes
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            getattr(torchvision.datasets, name)(folder, download=True)
    finally:
        socket.setdefaulttimeout(before)


def _short(error: Exception) -> str:
    """Return the answer of the first mirror in one line, or else the start of the message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text.partition("got: ")[2].partition(" Tried ")[0] or text)[:120]
