"""The store of trained models and other tensors on disk: each is computed once and used by all runs.

An entry is a folder `<stage>/<key>` with `tensors.safetensors` and `manifest.json`. It is written under a
temporary name and renamed when complete. The key is a hash of everything that can change the content. Each key has
a file lock: one process computes the entry while the others wait. The operating system frees the lock of a killed
process, and a waiting one takes over within a second. On a file system without locks two processes may compute the
same entry; the first rename wins, and both use its entry.
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
from typing import Any

import platformdirs

from softtargets.errors import BadInput
from softtargets.system.files import canonical, make_folder, may_write, naming_file, share_all
from softtargets.system.locks import locked

Tensors = dict[str, Any]
"""Tensors by name; their type is not named here, as a listing of the store should not import torch."""
MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
"""Error numbers for a missing file, or for something else in its place."""
NEEDED = {"stage": str, "ingredients": dict, "seconds": float, "cpu_seconds": float, "sha256": str}
"""Fields of every manifest, with their types."""


def store_folder(chosen: str | Path | None) -> Path:
    """Return the store's folder: `store.dir`, else $SOFTTARGETS_STORE, else the user's cache folder.

    Raises BadInput if none is set and the user has no home folder.
    """
    place = chosen or os.environ.get("SOFTTARGETS_STORE")
    try:
        return Path(place or platformdirs.user_cache_dir("softtargets")).expanduser()
    except RuntimeError as error:
        advice = "Set store.dir=DIR or SOFTTARGETS_STORE"
        raise BadInput(f"store.dir={place or 'null'}: this user has no home folder. {advice}") from error


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry of the store."""

    tensors: Tensors
    manifest: dict
    from_store: bool

    @property
    def seconds(self) -> float:
        """Return the wall time that computing it took, in seconds."""
        return self.manifest["seconds"]


@dataclasses.dataclass(frozen=True)
class Store:
    """A folder of entries. `say` is called with a line when the process must wait for another one."""

    folder: Path
    say: Callable[[str], None] = lambda line: None

    def get(self, stage: str, ingredients: dict, make: Callable[[], tuple[Tensors, dict]]) -> Entry:
        """Return the entry of `ingredients` (plain data), computed by `make() -> tensors, notes` if it is missing.

        A damaged entry is named in a warning, renamed and computed again.
        """
        path = self.folder / stage / key(stage, ingredients)
        with self._naming(path, "cannot be read"):
            if entry := used(path):
                return entry
        with self._naming(path.parent, "cannot be written to"):
            make_folder(path.parent)
        with contextlib.ExitStack() as held:
            with self._naming(path.parent, "cannot be written to"):
                held.enter_context(locked(path.with_suffix(".lock"), lambda: self.say(_waiting(path))))
            with self._naming(path, "cannot be read or renamed"):
                if entry := used(path):
                    return entry
                aside = rename_damaged(path)
            if aside:
                warnings.warn(f"{path} is damaged; renamed to {aside.name} and computed again", stacklevel=2)
            started, cpu = time.perf_counter(), time.process_time()
            tensors, notes = make()
            took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
            manifest = notes | took | {"stage": stage, "ingredients": ingredients}
            first = None if _write(path, tensors, manifest) else used(path)
        return first or Entry(tensors, manifest, from_store=False)

    @contextlib.contextmanager
    def _naming(self, path: Path, problem: str) -> Iterator[None]:
        """Turn an OSError into a BadInput that names the store, unless the disk is full."""
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
    """Return the key of an entry: a hash of all that it depends on."""
    return hashlib.sha256(canonical({"stage": stage} | ingredients).encode()).hexdigest()


def entries(folder: Path) -> Iterator[Path]:
    """Yield the folders of all entries, damaged ones included."""
    return filter(is_entry, sorted(folder.glob("*/*")))


def is_entry(path: Path) -> bool:
    """Return whether a path is the folder of an entry, perhaps a damaged one."""
    return path.is_dir() and has_key(path.name)


def has_key(name: str) -> bool:
    """Return whether a name has the form of a key."""
    return re.fullmatch("[0-9a-f]{64}", name) is not None


def manifest(path: Path) -> dict | None:
    """Return the manifest of an entry, without a check of its hash; None if it is missing or not complete."""
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
    """Return an entry; None if it is missing or damaged. Raises OSError if it cannot be read."""
    if (said := manifest(path)) is None:
        return None
    from softtargets.store import tensor_file

    sha = hashlib.sha256()
    try:
        tensors = tensor_file.read(path / "tensors.safetensors", sha)
    except OSError as error:
        if error.errno in MISSING:
            return None
        raise
    whole = tensors is not None and _seal(sha, said) == said.get("sha256")
    return Entry(tensors, said, from_store=True) if whole else None


def used(path: Path) -> Entry | None:
    """Load an entry and set the time of its last use, which `prune` reads."""
    if entry := load_entry(path):
        with contextlib.suppress(OSError):  # a read-only store keeps no times of use
            if may_write():
                os.utime(path / "manifest.json")
    return entry


def _seal(sha: "hashlib._Hash", manifest: dict) -> str:
    """Return the hash of the tensors, which `sha` has been fed, and of all other fields of the manifest."""
    sha.update(canonical({name: value for name, value in manifest.items() if name != "sha256"}).encode())
    return sha.hexdigest()


def rename_damaged(path: Path) -> Path | None:
    """Rename an entry that cannot be loaded; return its new path, or None if the entry is missing or loads.

    The entry is loaded once more here, because another process may have replaced it.
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
    """Write an entry under a temporary name and rename it; return whether no other process was faster."""
    from softtargets.store import tensor_file

    temporary, sha = path.with_name(f".new-{uuid.uuid4().hex}"), hashlib.sha256()
    try:
        with naming_file(path):
            temporary.mkdir()
            tensor_file.write(temporary / "tensors.safetensors", tensors, sha)
            manifest |= {"sha256": _seal(sha, manifest)}
            (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1))
            share_all(temporary)
        try:
            os.rename(temporary, path)
        except OSError:
            if not os.path.lexists(path):
                raise
            return False  # without a lock, another process has computed the same entry meanwhile
        return True
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
