"""`python -m softtargets.store list | verify | prune`: show, check or delete trained models."""

import argparse
import functools
import math
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from softtargets import store
from softtargets.errors import BadInput, visible
from softtargets.store import entries, load_entry, manifest, set_aside
from softtargets.system.files import clock
from softtargets.system.locks import Busy, locked
from softtargets.system.terminal import steady

DAY = 86400


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 1 where something is damaged or defies it, 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m softtargets.store", description="Show, check or delete trained models."
    )
    parser.add_argument("command", choices=("list", "verify", "prune"))
    parser.add_argument("--dir", help="the store's folder; default $SOFTTARGETS_STORE or the user's cache folder")
    parser.add_argument(
        "--older-than",
        type=_days,
        default=30.0,
        metavar="DAYS",
        help="prune: delete entries unused for this many days; default 30",
    )
    parser.add_argument("--dry-run", action="store_true", help="prune: only list what it would delete")
    options = parser.parse_args(arguments)
    try:
        folder = store.folder(options.dir)
    except BadInput as error:
        print(visible(error), file=sys.stderr)
        return 2
    if not folder.is_dir():
        print(f"--dir={folder}: no such store. Give the store folder of a run", file=sys.stderr)
        return 2
    code = name_strange(folder)
    if options.command == "prune":
        return max(code, prune(folder, options.older_than, options.dry_run))
    return max(code, {"list": list_entries, "verify": verify}[options.command](folder))


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be a number of days, at least 0")
    return days


def name_strange(folder: Path) -> int:
    """Name what lies in a store and is none of its own; return the exit code, 1 for links that lead nowhere."""
    lost = False
    for path in (path for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern))):
        if _is_own(path, top=path.parent == folder):
            continue
        nowhere = path.is_symlink() and not path.exists()
        reason = "a broken link" if nowhere else "not an entry of the store"
        print(visible(f"{path}: {reason}; not changed"), file=sys.stderr)
        lost |= nowhere
    return int(lost)


def _is_own(path: Path, top: bool) -> bool:
    """Return whether it is hidden, or what a store makes: a stage, or an entry, its lock or its remains."""
    if path.name.startswith("."):
        return True
    if top:
        return path.is_dir()
    return _is_debris(path) or store.is_entry(path) or (path.suffix == ".lock" and store.has_key(path.stem))


def _is_debris(path: Path) -> bool:
    return path.name.startswith(".new-") or ".damaged-" in path.name


def each(paths: Iterable[Path], act: Callable[[Path], bool]) -> list[bool]:
    """Do something with every path and return what came of it, False where the file system objects.

    What another process takes away meanwhile is passed over.
    """
    outcomes = []
    for path in paths:
        try:
            outcomes.append(act(path))
        except FileNotFoundError:
            continue
        except Busy:
            print(visible(f"in use: {path}"))
        except OSError as error:
            print(visible(f"{path}: {error.strerror}"), file=sys.stderr)
            outcomes.append(False)
    return outcomes


def list_entries(folder: Path) -> int:
    """Print stage, key, size, CPU seconds and day of last use of every entry, and the sum; read no tensors."""
    sizes: list[int] = []
    outcomes = each(entries(folder), functools.partial(_list, sizes))
    print(f"{sum(sizes) / 1e6:.1f} MB in {folder}")
    return 0 if all(outcomes) else 1


def _list(sizes: list[int], path: Path) -> bool:
    said, size = manifest(path), sum(file.lstat().st_size for file in path.iterdir())
    whole = said and (path / "tensors.safetensors").is_file()
    state = f"{said['cpu_seconds']:10.1f} s" if whole else "   damaged  "
    used = time.strftime("%Y-%m-%d", time.localtime(_used(path)))
    made = said["ingredients"] if whole else {}
    words = visible(" ".join(f"{name}={made[name]}" for name in ("name", "seed") if name in made))
    print(f"{path.parent.name:8} {path.name[:16]} {size / 1e6:9.2f} MB {state} {used}  {words}")
    sizes.append(size)
    return True


def verify(folder: Path) -> int:
    """Check every entry's content against its checksum; what is damaged is set aside."""
    outcomes = each(entries(folder), _verify)
    print(f"{sum(outcomes)} of {len(outcomes)} entries are whole")
    return 0 if all(outcomes) else 1


def _verify(path: Path) -> bool:
    if load_entry(path):
        return True
    with locked(path.with_suffix(".lock"), _refuse):
        if aside := set_aside(path):
            print(f"damaged: {aside}")
    return aside is None


def prune(folder: Path, days: float, dry_run: bool) -> int:
    """Remove entries not used for so many days, and after a day damaged ones and what killed processes left."""
    try:
        now = clock(folder)
    except OSError:  # a store that is only read from
        now = time.time()
    sizes: list[int] = []
    old = functools.partial(_prune, sizes, now - days * DAY, dry_run)
    abandoned = functools.partial(_prune, sizes, now - DAY, dry_run)
    debris = sorted(filter(_is_debris, folder.glob("*/*")))
    outcomes = each(entries(folder), old) + each(debris, abandoned)
    what = f"{len(sizes)} {'entry' if len(sizes) == 1 else 'entries'}, {sum(sizes) / 1e6:.1f} MB"
    print(f"{_removed(dry_run)} {what}")
    return 0 if all(outcomes) else 1


def _removed(dry_run: bool) -> str:
    return "would remove" if dry_run else "removed"


def _prune(sizes: list[int], limit: float, dry_run: bool, path: Path) -> bool:
    """Remove what was not used since `limit`, and add its bytes to `sizes`."""
    if _used(path) >= limit:
        return True
    size = _size(path)
    if not dry_run:
        lock = path.with_suffix(".lock")
        with locked(lock, _refuse):
            if _used(path) >= limit:  # used or made anew meanwhile
                return True
            _remove(path)
            lock.unlink(missing_ok=True)  # who waits for it notices, since this is under the lock
    print(visible(f"{_removed(dry_run)} {path}"))
    sizes.append(size)
    return True


def _size(path: Path) -> int:
    """Return the bytes of a folder's files, or of a file or a link in the place of one."""
    files = path.iterdir() if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in files)


def _remove(path: Path) -> None:
    """Remove a folder as a whole, which somebody may be reading, or a file or a link in the place of one."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    aside = path.with_name(f".new-{uuid.uuid4().hex}")
    os.utime(path)  # now young, it is no debris to another prune
    path.rename(aside)
    shutil.rmtree(aside)


def _refuse() -> None:
    raise Busy


def _used(path: Path) -> float:
    """Return when an entry was made or last used: use touches the manifest."""
    try:
        return (path / "manifest.json").lstat().st_mtime
    except OSError as error:
        if error.errno not in store.MISSING:
            raise
        return path.lstat().st_mtime


if __name__ == "__main__":
    steady()
    sys.exit(main())
