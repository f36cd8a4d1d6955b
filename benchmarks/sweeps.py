"""What large sweeps and stores cost: CPU seconds, memory, and calls to the file system.

`python benchmarks/sweeps.py [cells=5000] [watched=20000] [entries=10000] [seconds=30]` plans four sweeps, of
seeds, learning rates, lengths of training and networks, up to the launch of their first run. A stub then leaves
every cell a copy of one real result, and the sweep is called again, as if its report were there. Then it plans as
many pairs, watches a sweep for some seconds, in which four runs a second end, and lists a store.
"""

import collections
import contextlib
import copy
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from usage import call

from softtargets.errors import BadInput
from softtargets.resumable.progress_marks import mark
from softtargets.system.files import read_json, write_json

ROOT = Path(__file__).parents[1]
TINY = ("dataset.train_size=300", "architecture.hidden=8", "training.epochs=1", "unlearn.epochs=1")
SWEPT = {
    "seeds": "seed=range({})",
    "learning rates": "unlearn.optimizer.lr=range(1,{})",  # as many, since a rate of 0 is refused
    "lengths of training": "training.epochs=range(1,{})",
    "networks": "architecture.hidden=range(1,{})",
}
STUB = "import sys; sys.path.insert(0, 'benchmarks'); import sweeps; sweeps.stubbed()"
RATE = 4
"""Runs a second that end while a sweep is watched, as of 16 workers with runs of 4 s."""


def main(cells: str = "5000", watched: str = "20000", entries: str = "10000", seconds: str = "30") -> None:
    """Print a line on each cost."""
    numbers = [_number(text) for text in (cells, watched, entries, seconds)]
    with tempfile.TemporaryDirectory() as folder:
        for name, words in SWEPT.items():
            plan_and_resume(Path(folder) / name.replace(" ", "_"), name, numbers[0], words)
        plan_pairs(Path(folder) / "pairs", numbers[0])
        watch(Path(folder) / "watched", numbers[1], numbers[3])
        list_store(Path(folder) / "store", numbers[2])


def _number(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise BadInput(f"{text}: must be a whole number, at least 1")
    return int(text)


class Used(NamedTuple):
    """What a process took."""

    cpu: float
    """Seconds, system calls included."""
    memory: float
    """Most MB that it held at a time."""
    output: str


def used(*command: str, **more: str) -> Used:
    """Run a command of Python in the checkout, with `more` in its environment; return what it took."""
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | more
    )
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command[-3:])}: exit code {process.returncode}\n{output}")
    return Used(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)


def plan_and_resume(folder: Path, name: str, cells: int, words: str) -> None:
    """Print what the first and the second call of a sweep of `cells` cells take."""
    swept = words.format(cells + words.count("1,"))
    tiny = [word for word in TINY if word.partition("=")[0] != swept.partition("=")[0]]
    words = ["-m", *tiny, f"hydra.sweep.dir={folder}", swept]
    real = folder.parent / "real"
    if not real.exists():
        used("run.py", *TINY, f"hydra.run.dir={real}")
    first = used("-c", STUB, *words, REAL=str(real))
    planned = next(line for line in first.output.splitlines() if line.startswith("planned: "))
    print(f"{cells:,} cells of {name}, {planned}")
    (folder / "report.html").touch()  # a report on so many results takes long: benchmarks/reading.py measures it
    second = used("run.py", *words)
    assert f"{cells:,} of {cells:,} runs finished" in second.output, second.output
    print(f"{cells:,} cells of {name}, second call: {second.cpu:.1f} CPU s, {second.memory:.0f} MB", flush=True)


def plan_pairs(folder: Path, pairs: int) -> None:
    """Print what `plan=true` of a sweep takes in which each cell has a draw of the data."""
    places = (f"hydra.sweep.dir={folder}", f"store.dir={folder}/store")  # in which nothing is
    plan = used("run.py", "-m", *TINY, *places, f"pairs={pairs}", "plan=true")
    assert f"models: {2 * pairs:,} to train" in plan.output, plan.output
    print(f"plan=true of {pairs:,} pairs: {plan.cpu:.1f} CPU s, {plan.memory:.0f} MB", flush=True)


def stubbed() -> None:
    """Call the program with a stub of the work, which prints what came before it."""
    from softtargets.cli.main import command
    from softtargets.cli.main import main as run
    from softtargets.resumable.launching import LauncherEnd
    from softtargets.study import sweep

    def lay(start: Callable, look: Callable) -> LauncherEnd:
        own = resource.getrusage(resource.RUSAGE_SELF)
        print(f"planned: {own.ru_utime + own.ru_stime:.1f} CPU s, {own.ru_maxrss / 1024:.0f} MB", flush=True)
        for cell in look.__self__.unfinished:
            lay_result(Path(os.environ["REAL"]), cell)
        os._exit(0)

    sweep.launch = lay
    command(run)


def lay_result(real: Path, cell) -> None:
    """Leave a cell the copy of a real result, with what its overrides set."""
    result = copy.deepcopy(_result(real))
    words = dict(word.split("=", 1) for word in cell.overrides)
    result["provenance"]["config_hash"] = cell.hash
    if "seed" in words:
        result["choices"]["seed"] = result["config"]["seed"] = int(words["seed"])
        result["hashes"] |= {"original": words["seed"], "retrained": words["seed"]}
    for (group, *path, name), value in ((key.split("."), value) for key, value in words.items() if "." in key):
        node = result["config"][group]
        for step in path:
            node = node[step]
        if name in node:
            node[name] = type(node[name])(value)
    write_json(cell.outcome, result)
    (cell.folder / "margins.npz").hardlink_to(real / "margins.npz")


_results: dict[Path, dict] = {}


def _result(real: Path) -> dict:
    if real not in _results:
        _results[real] = read_json(real / "result.json")
    return _results[real]


def watch(folder: Path, cells: int, seconds: int) -> None:
    """Print what it takes to watch a sweep of which half the runs have ended, for some seconds."""
    from softtargets.resumable.launching import launch
    from softtargets.study.cells import SweepCell
    from softtargets.study.progress import Display

    names = [f"seed={number}-{number:012x}" for number in range(cells)]
    all_cells = [
        SweepCell((), folder / name, f"{number:064x}", "all", ("", "")) for number, name in enumerate(names)
    ]
    for cell in all_cells[: cells // 2]:
        end(cell)
    display = Display(all_cells, all_cells)
    display.update()
    ending: list[float] = []

    def work() -> dict:
        for cell in all_cells[cells // 2 :][: RATE * seconds]:
            end(cell)
            time.sleep(1 / RATE)
        ending.append(time.thread_time())
        return {}

    before = time.process_time()
    with counted() as calls:
        launch(work, display.update)
    share = (time.process_time() - before - ending[0]) / seconds
    asked = sum(number for thread, number in calls.items() if thread == threading.get_ident())
    print(f"{cells:,} cells watched: {share:.1%} of a core, {asked / seconds:.0f} calls a second", flush=True)


def end(cell) -> None:
    """Leave what a run leaves at its end."""
    cell.folder.mkdir(parents=True)
    (cell.folder / "run.log").write_text("began\n")
    write_json(cell.outcome, {"provenance": {"config_hash": cell.hash}, "choices": {}, "status": "ok"})
    mark(cell.folder, "ended")


@contextlib.contextmanager
def counted() -> Iterator[collections.Counter]:
    """Count by thread the calls of Python that go to the file system."""
    calls: collections.Counter[int] = collections.Counter()
    original = {name: getattr(os, name) for name in ("stat", "listdir", "scandir", "open", "lstat")}

    def counting(function: Callable) -> Callable:
        def counted(*given, **named):
            calls[threading.get_ident()] += 1
            return function(*given, **named)

        return counted

    for name, function in original.items():
        setattr(os, name, counting(function))
    try:
        yield calls
    finally:
        for name, function in original.items():
            setattr(os, name, function)


def list_store(folder: Path, entries: int) -> None:
    """Print what it takes to list a store."""
    for number in range(entries):
        entry = folder / "train" / f"{number:064x}"
        entry.mkdir(parents=True)
        (entry / "tensors.safetensors").write_bytes(bytes(1000))
        ingredients = {"name": "original", "seed": number, "dataset": {"train_size": 300}}
        known = {"stage": "train", "ingredients": ingredients, "seconds": 1.0, "cpu_seconds": 1.0, "sha256": "0"}
        write_json(entry / "manifest.json", known)
    listed = used("-m", "softtargets.store", "list", "--dir", str(folder))
    assert listed.output.count("\n") == entries + 1
    print(f"{entries:,} entries of a store, listed: {listed.cpu:.1f} CPU s, {listed.memory:.0f} MB")


if __name__ == "__main__":
    call(main, __doc__)
