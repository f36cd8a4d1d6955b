"""Files of tensors: safetensors writes them and reads their headers, with no second copy of the numbers."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

if TYPE_CHECKING:
    from hashlib import _Hash

BLOCK = 2**20
"""Bytes that are hashed at a time."""


def write(path: Path, tensors: dict[str, Tensor], sha: "_Hash") -> None:
    """Write tensors to a new file, and feed its bytes to a hash."""
    path.touch()
    rights = path.stat().st_mode
    with _os_errors():
        safetensors.torch.save_file(_apart(tensors), path)
    with contextlib.suppress(OSError):  # some file systems have no rights to set
        path.chmod(rights)  # the library's file is for its owner alone
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha.update(block)


def size(tensors: dict[str, Tensor]) -> int:
    """Return how many bytes the file of these tensors has.

    >>> size({"a": torch.zeros(3)})
    76
    """
    return len(safetensors.torch.save(_apart(tensors)))


def read(path: Path, sha: "_Hash") -> dict[str, Tensor] | None:
    """Return the tensors of a file, and feed its bytes to a hash; None for a file that is not whole.

    The library's tensors would lie in the file itself, and a process dies if somebody shortens that. So only their
    types and shapes are taken. Raises OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        try:
            with safe_open(path, "pt") as library:
                mapped = {name: library.get_tensor(name) for name in library.offset_keys()}
                tensors = {name: torch.empty_like(tensor) for name, tensor in mapped.items()}
        except SafetensorError:
            return None
        sha.update(file.read(path.stat().st_size - sum(tensor.nbytes for tensor in tensors.values())))
        for tensor in tensors.values():
            part = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
            if file.readinto(part) != len(part):
                return None
            sha.update(part)
    return tensors


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as the library takes them: contiguous, on the processor, none in the memory of another."""
    apart, places = {}, set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        apart[name] = own.clone() if place in places else own
        places.add(place)
    return apart


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Turn the library's error into the OSError that its text ends with, if it has one."""
    try:
        yield
    except SafetensorError as error:
        if number := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        raise
