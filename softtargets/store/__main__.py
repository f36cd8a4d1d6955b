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
from softtargets.errors import BadInput, to_type, visible
from softtargets.store import entries, load_entry, manifest, rename_damaged
from softtargets.system.files import clock_of_files, named_path
from softtargets.system.locks import Busy, locked
from softtargets.system.terminal import steady
from softtargets.system.words import counted

DAY = 86400


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code: 1 if an entry is damaged or cannot be handled, 2 for bad input."""
    parser = argparse.ArgumentParser(prog=to_type("store"), description="Show, check or delete trained models.")
    parser.add_argument("command", choices=("list", "verify", "prune"))
    where = "the store's folder; default $SOFTTARGETS_STORE or the user's cache folder"
    parser.add_argument("--dir", type=named_path, help=where)
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
        folder = store.store_folder(options.dir)
    except BadInput as error:
        print(visible(error), file=sys.stderr)
        return 2
    if not os.path.isdir(folder):
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
    """Print the paths in a store that do not belong to it; return the exit code, 1 if a link is broken."""
    broken = False
    for path in (path for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern))):
        if _is_own(path, top=path.parent == folder):
            continue
        is_broken = path.is_symlink() and not path.exists()
        reason = "a broken link" if is_broken else "not an entry of the store"
        print(visible(f"{path}: {reason}; not changed"), file=sys.stderr)
        broken |= is_broken
    return int(broken)


def _is_own(path: Path, top: bool) -> bool:
    """Return whether a path belongs to the store: a stage, an entry, its lock or its debris, or a hidden file."""
    if path.name.startswith("."):
        return True
    if top:
        return path.is_dir()
    return _is_debris(path) or store.is_entry(path) or (path.suffix == ".lock" and store.has_key(path.stem))


def _is_debris(path: Path) -> bool:
    return path.name.startswith(".new-") or ".damaged-" in path.name


def each(paths: Iterable[Path], act: Callable[[Path], bool]) -> list[bool]:
    """Call `act` with every path and return its results, False after an OSError.

    Paths that another process removes meanwhile, and entries in use, are skipped.
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
    """Print stage, key, size, CPU seconds and day of last use of every entry, and the total size."""
    sizes: list[int] = []
    outcomes = each(entries(folder), functools.partial(_list, sizes))
    print(f"{sum(sizes) / 1e6:.1f} MB in {folder}")
    return 0 if all(outcomes) else 1


def _list(sizes: list[int], path: Path) -> bool:
    said, size = manifest(path), sum(file.lstat().st_size for file in path.iterdir())
    whole = said and (path / "tensors.safetensors").is_file()
    state = f"{said['cpu_seconds']:10.1f} s" if whole else "   damaged  "
    used = time.strftime("%Y-%m-%d", time.localtime(_used(path)))
    ingredients = said["ingredients"] if whole else {}
    named = [name for name in ("name", "seed") if name in ingredients]
    words = visible(" ".join(f"{name}={ingredients[name]}" for name in named))
    print(f"{path.parent.name:8} {path.name[:16]} {size / 1e6:9.2f} MB {state} {used}  {words}")
    sizes.append(size)
    return True


def verify(folder: Path) -> int:
    """Check every entry against its hash and rename damaged ones; return the exit code."""
    outcomes = each(entries(folder), _verify)
    print(f"whole: {sum(outcomes):,} of {counted(len(outcomes), 'entry', 'entries')}")
    return 0 if all(outcomes) else 1


def _verify(path: Path) -> bool:
    if load_entry(path):
        return True
    with locked(path.with_suffix(".lock"), _refuse):
        if aside := rename_damaged(path):
            print(f"damaged: {aside}")
    return aside is None


def prune(folder: Path, days: float, dry_run: bool) -> int:
    """Remove entries unused for `days`, and debris unused for one day; return the exit code."""
    try:
        now = clock_of_files(folder)
    except OSError:  # a read-only store
        now = time.time()
    sizes: list[int] = []
    old = functools.partial(_prune, sizes, now - days * DAY, dry_run)
    abandoned = functools.partial(_prune, sizes, now - DAY, dry_run)
    debris = sorted(filter(_is_debris, folder.glob("*/*")))
    outcomes = each(entries(folder), old) + each(debris, abandoned)
    what = f"{counted(len(sizes), 'entry', 'entries')}, {sum(sizes) / 1e6:.1f} MB"
    print(f"{_removed(dry_run)} {what}")
    return 0 if all(outcomes) else 1


def _removed(dry_run: bool) -> str:
    return "would remove" if dry_run else "removed"


def _prune(sizes: list[int], limit: float, dry_run: bool, path: Path) -> bool:
    """Remove a path unused since `limit` and append its bytes to `sizes`; return whether all is well."""
    if _used(path) >= limit:
        return True
    size = _size(path)
    if not dry_run:
        lock = path.with_suffix(".lock")
        with locked(lock, _refuse):
            if _used(path) >= limit:  # used or computed again meanwhile
                return True
            _remove(path)
            lock.unlink(missing_ok=True)  # safe under the lock: waiting processes notice it
    print(visible(f"{_removed(dry_run)} {path}"))
    sizes.append(size)
    return True


def _size(path: Path) -> int:
    """Return the bytes of the files in a folder, or of a file or link instead of a folder."""
    files = path.iterdir() if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in files)


def _remove(path: Path) -> None:
    """Remove a folder at once, since another process may be reading it; or a file or link instead of a folder."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    aside = path.with_name(f".new-{uuid.uuid4().hex}")
    os.utime(path)  # so that another prune does not take it for debris
    path.rename(aside)
    shutil.rmtree(aside)


def _refuse() -> None:
    raise Busy


def _used(path: Path) -> float:
    """Return when an entry was written, last used or began to be removed: by manifest and folder."""
    try:
        manifest = (path / "manifest.json").lstat().st_mtime
    except OSError as error:
        if error.errno not in store.MISSING:
            raise
        manifest = -math.inf
    return max(manifest, path.lstat().st_mtime)


if __name__ == "__main__":
    steady()
    sys.exit(main())
