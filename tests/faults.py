"""Kill runs and sweeps at random moments, call them again, and hold what is on disk against undisturbed ones.

`python tests/faults.py trials=300` or `python tests/faults.py minutes=60 workers=2`, with `seed=N` to repeat the
moments. Every trial has folders of its own. Prints a line a trial, a table by signal, victim and state, and the
sums as one line of JSON; ends with 1 where a number was lost or wrong, or a file or a process leaked. Linux only.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from softtargets import store
from softtargets.system.files import read_json

ROOT = Path(__file__).parent.parent
TINY = (
    "dataset.train_size=200",
    "architecture.hidden=8",
    "training.epochs=1",
    "training.batch_size=64",
    "unlearn.epochs=1",
    "save_models=true",
)
CELLS = ("mu_algo=gradasc,graddiff", "targets=hard,out_of_fold", "seed=0,1")
"""All that is ever asked for."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
VICTIMS = {"run": ("parent",), "sweep": ("parent",), "local": ("parent", "worker", "group")}
"""By what is started: a run, a sweep in one process, a sweep in worker processes."""
GRACE = 15.0
"""Seconds within which a process that was signalled, and all that it started, must be gone."""
PATIENCE = 40
"""How many times the undisturbed duration a call may take, beside other work on the machine."""
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
UNEQUAL = ("rte", "share_seconds", "peak_bytes", "made", "from_store")
"""What of a result's cost depends on the process or on who came first. Names that end in `_s` are seconds."""


@dataclasses.dataclass(frozen=True)
class Attack:
    """What is started, and who is sent which signal when."""

    kind: str
    overrides: tuple[str, ...]
    signal: signal.Signals
    victim: str
    moment: float
    """As a share of the undisturbed duration; from the first written file on where it is `late`."""
    late: bool


@dataclasses.dataclass
class Outcome:
    """What came of an attack."""

    state: str
    losses: list[str]
    files: list[str]
    processes: list[str]
    messages: list[str]
    runs: int


@dataclasses.dataclass(frozen=True)
class Reference:
    """The undisturbed: numbers by config hash; seconds by kind, until the first file and in all."""

    numbers: dict[str, str]
    seconds: dict[str, tuple[float, float]]


class Place:
    """Folders of one trial, and the processes started in them."""

    def __init__(self, folder: Path, workers: int):
        self.folder, self.workers = folder, workers
        self.runs, self.store = folder / "runs", folder / "store"
        (folder / "tmp").mkdir(parents=True)

    def start(self, kind: str, overrides: tuple[str, ...], usual: tuple[str, ...] = TINY) -> subprocess.Popen:
        """Start a run or a sweep in a session of its own."""
        many = [] if kind == "run" else ["-m"]
        local = ["hydra/launcher=local", f"hydra.launcher.n_jobs={self.workers}"] if kind == "local" else []
        environment = os.environ | {
            "SOFTTARGETS_RUNS": str(self.runs),
            "SOFTTARGETS_STORE": str(self.store),
            "TMPDIR": str(self.folder / "tmp"),
            "OMP_NUM_THREADS": "1",
        }
        whole = [sys.executable, ROOT / "run.py", *many, *usual, *overrides, *local]
        with (self.folder / "stdout").open("w") as out, (self.folder / "stderr").open("w") as err:
            return subprocess.Popen(
                whole, cwd=self.folder, env=environment, start_new_session=True, stdout=out, stderr=err
            )

    @property
    def stderr(self) -> str:
        """Return what the last process said there."""
        return (self.folder / "stderr").read_text()

    def begun(self) -> bool:
        """Tell whether anything was written."""
        return self.runs.exists() or self.store.exists()

    def state(self) -> str:
        """Tell how far the work is, from the files alone."""
        names = [path.name for path in self.folder.rglob("*")]
        if any(TEMPORARY.fullmatch(name) or name.startswith(".new-") for name in names):
            return "writing"
        if "result.json" in names:
            return "with results"
        if "manifest.json" in names:
            return "with a store"
        return "begun" if self.begun() else "importing"

    def results(self) -> dict[str, str]:
        """Return numbers by config hash; raises ValueError on half a file."""
        found = (read(path) for path in self.runs.glob("**/result.json"))
        return dict(found)

    def damaged(self) -> list[str]:
        """Name store entries that do not verify, or did not."""
        aside = [path.name for path in self.store.glob("*/*.damaged-*")]
        return aside + [path.name for path in store.entries(self.store) if store.load_entry(path) is None]

    def leftovers(self, killed: bool) -> list[str]:
        """Name files that no design names.

        A process that was killed could not clear its half-made entry, which `prune` does later, nor the
        folder of its run, which is nobody's once another run was started.
        """
        found = [path for path in self.folder.rglob("*") if TEMPORARY.fullmatch(path.name)]
        found += [] if killed else self.store.glob("*/.new-*")
        found += self.folder.glob("tmp/*")
        return [str(path.relative_to(self.folder)) for path in found]


def read(path: Path) -> tuple[str, str]:
    """Return config hash and numbers of a result: what may not depend on when and how often it was asked for."""
    result = read_json(path)
    result["cost"] = {
        name: value for name, value in result["cost"].items() if name not in UNEQUAL and not name.endswith("_s")
    }
    provenance = result.pop("provenance")
    files = [path.with_name(f"{name}.safetensors") for name in ("original", "retrained", "unlearned")]
    contents = [file.read_bytes() for file in (path.with_name("margins.npz"), *files)]
    result["files"] = [hashlib.sha256(content).hexdigest() for content in contents]
    return provenance["config_hash"], json.dumps(result, sort_keys=True)


def members(session: int) -> dict[int, str]:
    """Return the living processes of a session and how they were started."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, *fields = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        if int(fields[2]) == session and state not in "ZX":
            found[int(folder.name)] = words
    return found


def workers(session: int) -> list[int]:
    """Return the worker processes of a sweep."""
    return [pid for pid, words in members(session).items() if "LokyProcess" in words]


def wait(seconds: float, until: Callable[[], object]) -> bool:
    """Wait until something holds; tells whether it does."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def strike(attack: Attack, place: Place, process: subprocess.Popen, seconds: tuple[float, float]) -> str:
    """Wait for the moment and send the signal; returns the state of the work then."""
    over = lambda: process.poll() is not None  # noqa: E731
    first, whole = seconds
    if attack.late:
        wait(whole * 3, lambda: over() or place.begun())
    wait(attack.moment * (whole - first if attack.late else whole), over)
    if attack.victim == "worker":
        wait(whole * 3, lambda: over() or workers(process.pid))
    if over():
        return "ended"
    with contextlib.suppress(ProcessLookupError):  # ended meanwhile
        if attack.victim == "group":  # at once, as by a terminal: else the parent might first see its workers die
            os.killpg(process.pid, attack.signal)
        for pid in {"parent": [process.pid], "worker": workers(process.pid)[:1]}.get(attack.victim, []):
            os.kill(pid, attack.signal)
    return place.state()


def allowed_codes(attack: Attack, state: str) -> set[int]:
    """Return how the first call may end.

    Python heeds signals neither before its first line nor after its last; a worker's death is told by the sweep.
    """
    if attack.victim == "worker":
        return {0, 1}
    if attack.signal == signal.SIGKILL:
        return {0, -attack.signal}
    deaf = {-attack.signal} if state in ("importing", "with results") else set()
    return {0, 128 + attack.signal} | deaf


def trial(attack: Attack, reference: Reference, folder: Path, workers: int) -> Outcome:
    """Disturb a first call, let a second one end the work, and note whatever is not as it must be."""
    place = Place(folder, workers)
    losses, messages = [], []
    first = place.start(attack.kind, attack.overrides)
    state = strike(attack, place, first, reference.seconds[attack.kind])
    limit = GRACE if attack.victim != "worker" else reference.seconds[attack.kind][1] * PATIENCE + GRACE
    leaked = ended(first, limit)
    messages += said(place, first.returncode, attack, state)
    losses += wrong(place, reference)
    second = place.start(attack.kind, attack.overrides)
    leaked += ended(second, reference.seconds[attack.kind][1] * PATIENCE + GRACE)
    if second.returncode or place.stderr:
        losses.append(f"second call: exit code {second.returncode}: {place.stderr.strip()[-300:]}")
    losses += wrong(place, reference)
    missing = expected(attack) - len(place.results())
    losses += [f"{missing} results are missing"] if missing > 0 else []
    files = place.leftovers(killed=attack.signal == signal.SIGKILL or attack.victim == "worker")
    # where all are killed at once, nobody is left to take joblib's semaphores away
    wiped = attack.signal == signal.SIGKILL and attack.victim == "group"
    asked = (second.pid,) if wiped else (first.pid, second.pid)
    shared = [path for pid in asked for path in Path("/dev/shm").glob(f"*[-_]{pid}[-_]*")]
    return Outcome(state, losses, files + [str(path) for path in shared], leaked, messages, 2)


def ended(process: subprocess.Popen, seconds: float) -> list[str]:
    """Wait for the end of a process and of its session; returns what did not end, after ending it."""
    wait(seconds, lambda: process.poll() is not None)
    wait(GRACE, lambda: not members(process.pid))
    left = members(process.pid)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    process.wait()
    return list(left.values())


def said(place: Place, code: int, attack: Attack, state: str) -> list[str]:
    """Return what is wrong with how the first call ended and with what it said: one sentence, or nothing."""
    text = place.stderr.strip()
    if code == -signal.SIGKILL or (attack.signal == signal.SIGINT and attack.victim != "parent"):
        # joblib's children say what they cleaned up after a kill; and of Ctrl-C in a child that is only starting
        # Python tells, before any code of ours runs there; its pieces may share a line with the sentence
        text = "\n".join(re.findall("run\\.py: .*", text))
    late = code == 0 and state == "with results" and "stopped by" in text  # while a finished process was leaving
    well = not text if code <= 0 and not late else text.startswith("run.py: ") and "\n" not in text
    return [] if well and code in allowed_codes(attack, state) else [f"exit code {code}: {text[-400:]}"]


def expected(attack: Attack) -> int:
    """Count the cells that an attack's sweep has."""
    sizes = [len(word.partition("=")[2].split(",")) for word in attack.overrides]
    count = 1
    for size in sizes:
        count *= size
    return count


def wrong(place: Place, reference: Reference) -> list[str]:
    """Name what was taken for whole and is not, and every number that differs from the undisturbed."""
    try:
        found = place.results()
    except (ValueError, OSError) as error:
        return [f"half a result: {error}"]
    differing = [digest for digest, numbers in found.items() if reference.numbers.get(digest) != numbers]
    return [f"another number: {digest[:12]}" for digest in differing] + [
        f"damaged: {name}" for name in place.damaged()
    ]


def undisturbed(folder: Path, workers: int) -> Reference:
    """Run everything once, and take the time of each kind."""
    numbers, seconds = {}, {}
    for kind, overrides in {"sweep": CELLS, "run": (), "local": ("seed=0,1,2",)}.items():
        place = Place(folder / kind, workers)
        started = time.monotonic()
        process = place.start(kind, overrides)
        wait(300, place.begun)
        first = time.monotonic() - started
        left = ended(process, 300)
        whole = time.monotonic() - started
        assert (process.returncode, place.stderr, left) == (0, "", []), kind
        seconds[kind] = (first, whole if kind != "sweep" else (whole + first) / 2)
        numbers |= place.results() if kind == "sweep" else {}
    return Reference(numbers, seconds)


def attacks(seed: int) -> Iterator[Attack]:
    """Yield random attacks for ever."""
    draw = random.Random(seed)
    while True:
        kind = draw.choice(tuple(VICTIMS))
        chosen = [word.partition("=") for word in CELLS]
        some = [(name, values.split(",")) for name, _, values in chosen]
        many = 1 if kind == "run" else 2
        overrides = [f"{name}={draw.choice(values)}" for name, values in some]
        if many > 1:
            varied = draw.sample(range(len(some)), draw.choice((1, 2)))
            overrides = [
                f"{name}={','.join(values)}" if index in varied else word
                for index, ((name, values), word) in enumerate(zip(some, overrides, strict=True))
            ]
        late = draw.random() < 0.5
        victim = draw.choice(VICTIMS[kind])
        yield Attack(kind, tuple(overrides), draw.choice(SIGNALS), victim, draw.random(), late)


def main(arguments: list[str]) -> int:
    """Run trials until their number or the time is up; returns the exit code."""
    asked = {"trials": 0, "minutes": 0.0, "workers": 2, "seed": random.SystemRandom().randrange(10**6)}
    for word in arguments:
        name, _, value = word.partition("=")
        if name not in asked:
            print(f"{word}: no such setting; allowed are {', '.join(asked)}", file=sys.stderr)
            return 2
        asked[name] = type(asked[name])(value)
    print(json.dumps(asked), flush=True)
    with tempfile.TemporaryDirectory(prefix="faults-") as home:
        return attack_until(asked, Path(home))


def attack_until(asked: dict, home: Path) -> int:
    """Attack until it is enough, and print what came of it."""
    reference = undisturbed(home / "undisturbed", asked["workers"])
    print(f"undisturbed: {len(reference.numbers)} cells; seconds {reference.seconds}", flush=True)
    table, found, end = collections.Counter(), [], time.monotonic() + 60 * asked["minutes"]
    for number, attack in enumerate(attacks(asked["seed"]), 1):
        outcome = trial(attack, reference, home / str(number), asked["workers"])
        found.append(outcome)
        table[attack.signal.name, f"{attack.kind} {attack.victim}", outcome.state] += 1
        bad = outcome.losses + outcome.files + outcome.processes + outcome.messages
        print(
            f"{number} {attack.signal.name} {attack.kind} {attack.victim}: {outcome.state}; {bad or 'well'}",
            flush=True,
        )
        shutil.rmtree(home / str(number))
        if number >= asked["trials"] and time.monotonic() >= end:
            break
    return account(table, found)


def account(table: collections.Counter, found: list[Outcome]) -> int:
    """Print the table and the sums; returns 1 where anything is not as it must be."""
    print("| signal | victim | state | trials |\n|---|---|---|---|")
    for (name, victim, state), count in sorted(table.items()):
        print(f"| {name} | {victim} | {state} | {count} |")
    sums = {
        "runs": sum(outcome.runs for outcome in found),
        "kills": sum(outcome.state != "ended" for outcome in found),
        "losses": sum(len(outcome.losses) for outcome in found),
        "leaked_files": sum(len(outcome.files) for outcome in found),
        "leaked_processes": sum(len(outcome.processes) for outcome in found),
        "bad_messages": sum(len(outcome.messages) for outcome in found),
    }
    print(json.dumps(sums))
    return int(any(value for name, value in sums.items() if name not in ("runs", "kills")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
