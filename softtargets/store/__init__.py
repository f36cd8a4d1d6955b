"""Content-addressed tensors on disk: what a key names is made once, by whoever asks first.

An entry is a folder `<stage>/<key>` with `tensors.safetensors` and `manifest.json`, written under a temporary
name and renamed when whole. The key hashes everything that can change the content. A file lock per key lets any
number of processes ask at once: one makes, the others wait. The operating system frees the lock of a killed
maker, so a waiter takes over within a second. Where a file system takes no locks, two may make the same entry: the
first rename wins, and both go on with the first.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs
import safetensors.torch
from torch import Tensor

from softtargets.errors import BadInput
from softtargets.system.files import canonical, make_folder, naming_file, share_all
from softtargets.system.locks import locked

Tensors = dict[str, Tensor]
MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
"""What is said where a file is not, or something else is in its place."""
NEEDED = {"stage": str, "ingredients": dict, "seconds": float, "cpu_seconds": float, "sha256": str}
"""What every manifest holds."""


def folder(chosen: str | None) -> Path:
    """Return where the store lies: `store.dir`, else $SOFTTARGETS_STORE, else the user's cache folder.

    Raises BadInput for a user without a home folder who has named none.
    """
    place = chosen or os.environ.get("SOFTTARGETS_STORE")
    try:
        return Path(place or platformdirs.user_cache_dir("softtargets")).expanduser()
    except RuntimeError as error:
        advice = "Set store.dir=DIR or SOFTTARGETS_STORE"
        raise BadInput(f"store.dir={place or 'null'}: this user has no home folder. {advice}") from error


@dataclasses.dataclass(frozen=True)
class Entry:
    """What the store holds under a key, and how it came."""

    tensors: Tensors
    manifest: dict
    from_store: bool

    @property
    def seconds(self) -> float:
        """Wall time its making took, when it was made."""
        return self.manifest["seconds"]


@dataclasses.dataclass(frozen=True)
class Store:
    """A folder of entries. `say` hears in a line what a waiting process waits for."""

    folder: Path
    say: Callable[[str], None] = lambda line: None

    def get(self, stage: str, ingredients: dict, make: Callable[[], tuple[Tensors, dict]]) -> Entry:
        """Return the entry of `ingredients` (plain data), made by `make() -> tensors, notes` if it is not there.

        A damaged entry is named in a warning, set aside, and made anew.
        """
        path = self.folder / stage / key(stage, ingredients)
        with self._naming(path, "cannot be read"):
            if entry := _used(path):
                return entry
        with self._naming(path.parent, "cannot be written to"):
            make_folder(path.parent)
        with contextlib.ExitStack() as held:
            with self._naming(path.parent, "cannot be written to"):
                held.enter_context(locked(path.with_suffix(".lock"), lambda: self.say(_waiting(path))))
            with self._naming(path, "cannot be read or renamed"):
                if entry := _used(path):
                    return entry
                aside = set_aside(path)
            if aside:
                warnings.warn(f"{path} is damaged; renamed to {aside.name} and computed again", stacklevel=2)
            started, cpu = time.perf_counter(), time.process_time()
            tensors, notes = make()
            took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
            manifest = notes | took | {"stage": stage, "ingredients": ingredients}
            first = None if _write(path, tensors, manifest) else _used(path)
        return first or Entry(tensors, manifest, from_store=False)

    @contextlib.contextmanager
    def _naming(self, path: Path, problem: str) -> Iterator[None]:
        """Turn what a file system says, unless a disk is full, into a sentence about the store."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            reason = f"{path} {problem} ({error.strerror})"
            raise BadInput(f"store.dir={self.folder}: {reason}. Give a folder of yours: store.dir=DIR") from error


def _waiting(path: Path) -> str:
    return f"waiting for another process that computes {path.parent.name} {path.name[:12]}"


def key(stage: str, ingredients: dict) -> str:
    """Hash what an entry depends on."""
    return hashlib.sha256(canonical({"stage": stage} | ingredients).encode()).hexdigest()


def entries(folder: Path) -> Iterator[Path]:
    """Yield the folders of all entries, whole or not."""
    return filter(is_entry, sorted(folder.glob("*/*")))


def is_entry(path: Path) -> bool:
    """Return whether this is the folder of an entry, whole or not."""
    return path.is_dir() and has_key(path.name)


def has_key(name: str) -> bool:
    """Return whether an entry may be called so."""
    return re.fullmatch("[0-9a-f]{64}", name) is not None


def manifest(path: Path) -> dict | None:
    """Return what an entry says of itself, unchecked but complete; None where there is none or it is damaged."""
    try:
        said = json.loads(_content(path / "manifest.json") or b"")
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and NEEDED.items() <= _types(said).items() else None


def _types(said: dict) -> dict:
    return {name: float if isinstance(value, int) else type(value) for name, value in said.items()}


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError as error:
        if error.errno in MISSING:
            return None
        raise


def load_entry(path: Path) -> Entry | None:
    """Return a whole entry; None where there is none or it is damaged. Raises OSError where it cannot be read."""
    said, content = manifest(path), _content(path / "tensors.safetensors")
    if said is None or content is None or _seal(content, said) != said.get("sha256"):
        return None
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError:  # sealed by somebody, and yet none of ours
        return None
    return Entry(tensors, said, from_store=True)


def _used(path: Path) -> Entry | None:
    """Load an entry and mark it as used, by which `prune` goes."""
    if entry := load_entry(path):
        with contextlib.suppress(OSError):  # a store that is only read from keeps no account of use
            os.utime(path / "manifest.json")
    return entry


def _seal(content: bytes, manifest: dict) -> str:
    """Hash the tensors together with all that the manifest says of them."""
    said = canonical({name: value for name, value in manifest.items() if name != "sha256"})
    return hashlib.sha256(content + said.encode()).hexdigest()


def set_aside(path: Path) -> Path | None:
    """Rename what lies at an entry's path and cannot be loaded; returns its new path, None if there is nothing.

    It is looked at again, since another process may have made it anew.
    """
    if not os.path.lexists(path) or load_entry(path):
        return None
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    try:
        path.rename(aside)
    except FileNotFoundError:  # another process was faster
        return None
    return aside


def _write(path: Path, tensors: Tensors, manifest: dict) -> bool:
    """Write the entry beside its place and rename it there; returns whether it was the first there."""
    content = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
    manifest |= {"sha256": _seal(content, manifest)}
    temporary = path.with_name(f".new-{uuid.uuid4().hex}")
    try:
        with naming_file(path):
            temporary.mkdir()
            (temporary / "tensors.safetensors").write_bytes(content)
            (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1))
            share_all(temporary)
        try:
            os.rename(temporary, path)
        except OSError:
            if not os.path.lexists(path):
                raise
            return False  # no lock held, and another process has made the same entry meanwhile
        return True
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
