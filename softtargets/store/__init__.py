"""Content-addressed tensors on disk: what a key names is made once, by whoever asks first.

An entry is a folder `<stage>/<key>` with `tensors.safetensors` and `manifest.json`, written under a temporary
name and renamed when whole. The key hashes everything that can change the content. A file lock per key lets any
number of processes ask at once: one makes, the others wait. The operating system frees the lock of a killed
maker, so a waiter takes over within a poll. On NFS this holds where flock is carried across clients (NFSv4, or
NFSv3 with a lock daemon); where it is not, two may make the same entry and the first rename wins.
"""

import contextlib
import dataclasses
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

import filelock
import platformdirs
import safetensors.torch
from torch import Tensor

from softtargets.disk import canonical, naming

Tensors = dict[str, Tensor]


def folder(chosen: str | None) -> Path:
    """Return where the store lies: `store.dir`, else $SOFTTARGETS_STORE, else the user's cache folder."""
    place = chosen or os.environ.get("SOFTTARGETS_STORE") or platformdirs.user_cache_dir("softtargets")
    return Path(place).expanduser()


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
        if entry := load(path):
            return entry
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(path):
            if entry := load(path):
                return entry
            if path.exists():
                warnings.warn(
                    f"{path} is damaged; set aside as {set_aside(path).name} and made anew", stacklevel=2
                )
            started, cpu = time.perf_counter(), time.process_time()
            tensors, notes = make()
            took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
            manifest = notes | took | {"stage": stage, "ingredients": ingredients}
            _write(path, tensors, manifest)
        return Entry(tensors, manifest, from_store=False)

    @contextlib.contextmanager
    def _lock(self, path: Path):
        lock = filelock.FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            self.say(f"waiting for another process that makes {path.parent.name} {path.name[:12]}")
            lock.acquire(poll_interval=0.2)
        try:
            yield
        finally:
            lock.release()


def key(stage: str, ingredients: dict) -> str:
    """Hash what an entry depends on."""
    return hashlib.sha256(canonical({"stage": stage} | ingredients).encode()).hexdigest()


def entries(folder: Path) -> Iterator[Path]:
    """Yield the folders of all entries, whole or not."""
    return (
        path for path in sorted(folder.glob("*/*")) if path.is_dir() and re.fullmatch("[0-9a-f]{64}", path.name)
    )


def load(path: Path) -> Entry | None:
    """Return a whole entry and mark it as used; None where there is none or it is damaged."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        content = (path / "tensors.safetensors").read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    if not isinstance(manifest, dict) or _seal(content, manifest) != manifest.get("sha256"):
        return None
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError:  # sealed by somebody, and yet none of ours
        return None
    with contextlib.suppress(OSError):  # a store that is only read from keeps no account of use
        os.utime(path / "manifest.json")
    return Entry(tensors, manifest, from_store=True)


def _seal(content: bytes, manifest: dict) -> str:
    """Hash the tensors together with all that the manifest says of them."""
    said = canonical({name: value for name, value in manifest.items() if name != "sha256"})
    return hashlib.sha256(content + said.encode()).hexdigest()


def set_aside(path: Path) -> Path:
    """Rename an entry that could not be loaded, and return its new path."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    path.rename(aside)
    return aside


def _write(path: Path, tensors: Tensors, manifest: dict) -> None:
    """Write the entry beside its place and rename it there."""
    content = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
    manifest |= {"sha256": _seal(content, manifest)}
    temporary = path.with_name(f".new-{uuid.uuid4().hex}")
    try:
        with naming(path):
            temporary.mkdir()
            (temporary / "tensors.safetensors").write_bytes(content)
            (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1))
        try:
            os.rename(temporary, path)
        except OSError:
            if not path.exists():
                raise
            # where locks do not hold, another has made the same entry meanwhile: the first wins
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
