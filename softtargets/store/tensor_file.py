"""Files of tensors in the format of safetensors, written and read without a second copy in memory.

The library's `save` and `load` hold all bytes of a file beside its tensors. Its `save_file` does not, but nobody
else may read the file, and a full disk cannot be distinguished from other errors. A file holds the length of its
header (8 bytes, the lowest first), the header in JSON, and the numbers of each tensor. The header gives, for the
name of each tensor, its type, its shape, and where its bytes begin and end after the header.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hashlib import _Hash

TYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "C64": torch.complex64,
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
}
"""Types by their names in a file, in the library's order: wide ones are written first, so that all are aligned."""
NAMES = {kind: name for name, kind in TYPES.items()}


def write(path: Path, tensors: dict[str, Tensor], sha: "_Hash") -> None:
    """Write tensors to a new file, and feed its bytes to a hash."""
    with path.open("wb") as file:
        for part in (_header(tensors), *(_bytes(tensors[name]) for name in _order(tensors))):
            file.write(part)
            sha.update(part)


def size(tensors: dict[str, Tensor]) -> int:
    """Return how many bytes the file of these tensors has.

    >>> size({"a": torch.zeros(3)})
    76
    """
    return len(_header(tensors)) + sum(tensor.nbytes for tensor in tensors.values())


def read(path: Path, sha: "_Hash") -> dict[str, Tensor] | None:
    """Return the tensors of a file, and feed its bytes to a hash; None for a file that is not whole.

    Raises OSError if it cannot be read.
    """
    with path.open("rb") as file:
        try:
            parts = _parts(file, path.stat().st_size, sha)
            tensors = {name: torch.empty(shape, dtype=kind) for name, kind, shape in parts}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # another program's header
            return None
        for tensor in tensors.values():
            part = _bytes(tensor)
            if file.readinto(part) != len(part):
                return None
            sha.update(part)
    return tensors


def _order(tensors: dict[str, Tensor]) -> list[str]:
    kinds = list(TYPES)
    return sorted(tensors, key=lambda name: (-kinds.index(NAMES[tensors[name].dtype]), name))


def _header(tensors: dict[str, Tensor]) -> bytes:
    """Return the header after its length, filled up to a multiple of 8 bytes."""
    said, end = {}, 0
    for name in _order(tensors):
        start, end = end, end + tensors[name].nbytes
        shape = list(tensors[name].shape)
        said[name] = {"dtype": NAMES[tensors[name].dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: Tensor) -> memoryview:
    """Return a tensor's bytes, which are shared with it if it is contiguous and on the processor."""
    return memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def _parts(file: BinaryIO, whole: int, sha: "_Hash") -> Iterator[tuple[str, torch.dtype, list[int]]]:
    """Yield name, type and shape of each tensor in a file of `whole` bytes, in the order of their bytes.

    Raises ValueError and others where the header does not say so.
    """
    length = file.read(8)
    left = whole - 8 - int.from_bytes(length, "little")
    if left < 0:
        raise ValueError("the file ends within its header")
    header = file.read(whole - 8 - left)
    sha.update(length)
    sha.update(header)
    end = 0
    for name, said in sorted(json.loads(header).items(), key=lambda item: item[1]["data_offsets"]):
        kind, shape, (start, stop) = TYPES[said["dtype"]], said["shape"], said["data_offsets"]
        if start != end or stop - start != math.prod(shape) * kind.itemsize or min([0, *shape]) < 0:
            raise ValueError(f"{name} does not fit its bytes")
        end = stop
        if end > left:
            break
        yield name, kind, shape
    if end != left:
        raise ValueError("the file has other bytes than its header says")
