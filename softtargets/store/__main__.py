"""`python -m softtargets.store list | verify | prune`: look after the store."""

import argparse
import shutil
import sys
import time
from pathlib import Path

import filelock

from softtargets import store
from softtargets.errors import visible
from softtargets.store import entries, load, set_aside

DAY = 86400


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 1 where `verify` found damage, 2 where there is no store."""
    parser = argparse.ArgumentParser(prog="python -m softtargets.store", description="Look after trained models.")
    parser.add_argument("command", choices=("list", "verify", "prune"))
    parser.add_argument(
        "--dir", type=Path, default=store.folder(None), help="the store (store.dir); default %(default)s"
    )
    parser.add_argument(
        "--older-than", type=float, default=30.0, metavar="DAYS", help="prune: not used for so long"
    )
    parser.add_argument("--dry-run", action="store_true", help="prune: only say what would go")
    asked = parser.parse_args(arguments)
    folder = asked.dir.expanduser()
    if not folder.is_dir():
        print(f"--dir={folder}: no store there; it must be a folder that a run has made", file=sys.stderr)
        return 2
    if asked.command == "prune":
        return prune(folder, asked.older_than, asked.dry_run)
    return {"list": list_entries, "verify": verify}[asked.command](folder)


def list_entries(folder: Path) -> int:
    """Print stage, key, size, CPU seconds and day of last use of every entry, and the sum."""
    total = 0
    for path in entries(folder):
        entry = load(path)
        state = f"{entry.manifest['cpu_seconds']:10.1f} s" if entry else "   damaged  "
        total += (size := _size(path))
        used = time.strftime("%Y-%m-%d", time.localtime(_used(path)))
        print(f"{path.parent.name:8} {path.name[:16]} {size / 1e6:9.2f} MB {state} {used}  {_words(entry)}")
    print(f"{total / 1e6:.1f} MB in {folder}")
    return 0


def _words(entry) -> str:
    made = entry.manifest["ingredients"] if entry else {}
    return visible(" ".join(f"{name}={made[name]}" for name in ("name", "seed") if name in made))


def verify(folder: Path) -> int:
    """Check every entry's content against its checksum; what is damaged is set aside."""
    paths = list(entries(folder))
    damaged = [path for path in paths if load(path) is None]
    for path in damaged:
        with filelock.FileLock(path.with_suffix(".lock")):
            print(f"damaged: {set_aside(path)}")
    print(f"{len(paths) - len(damaged)} of {len(paths)} entries are whole")
    return 1 if damaged else 0


def prune(folder: Path, days: float, dry_run: bool) -> int:
    """Remove entries not used for so many days, damaged ones, and what killed processes left half-made."""
    limit = time.time() - days * DAY
    old = [path for path in entries(folder) if _used(path) < limit]
    debris = [path for path in folder.glob("*/*") if path.name.startswith(".new-") or ".damaged-" in path.name]
    debris = [path for path in debris if path.stat().st_mtime < time.time() - DAY]
    for path in old + debris:
        print(f"{'would remove' if dry_run else 'removed'} {path}")
        if not dry_run:
            _remove(path)
    return 0


def _remove(path: Path) -> None:
    """Remove an entry under its lock, so that nobody is reading or making it."""
    with filelock.FileLock(path.with_suffix(".lock")):
        shutil.rmtree(path)
    path.with_suffix(".lock").unlink(missing_ok=True)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())


def _used(path: Path) -> float:
    """Return when an entry was made or last loaded: loading touches the manifest."""
    manifest = path / "manifest.json"
    return manifest.stat().st_mtime if manifest.exists() else path.stat().st_mtime


if __name__ == "__main__":
    sys.exit(main())
