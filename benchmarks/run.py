"""Everything about speed, as ratios of one run.

`python benchmarks/run.py [parts=peers_mlp,peers_cnn,memory,start,roofline,layouts,growth,workers] [images=60000]
[folder=benchmarks/results]` prints a table for every part and keeps the last of each in the folder's speed.json
and speed.md. CPU seconds are a process's own, with its children, on one thread; the wall time stands beside them.
The peer is `stand_in.py`; `images` is for it and for the runs on Fashion-MNIST.
"""

import inspect
import itertools
import json
import multiprocessing.dummy
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from usage import call

from softtargets.compat import torch_names

ROOT = Path(__file__).parents[1]
REFERENCE = ("unlearn=graddiff_reference", "tuned=none")
FASTEST = {"mlp": ("precision=float32",), "cnn": ()}
"""With 32 images a step, casting the mlp's weights to bf16 costs more than its products gain."""
ASKED = ("dataset=fashion_mnist", "mu_algo=graddiff", "targets=soft")
CELL = ("unlearn.stop=none", "unlearn.max_steps=20", "unlearn.evaluate_every=10", "tuned=none")
"""A run whose cost is the tool's, not the unlearning's."""
ADDED = {
    "seed": range(16),
    "mu_algo": ("graddiff", "neggrad_plus", "npo", "ugradsl_plus", "relabel", "finetune", "l1_sparse", "gradasc"),
    "targets": ("hard", "soft", "label_smoothing", "uniform", "random_label", "delete", "undial", "bad_teacher"),
}

FIRST, REST = {"mlp": 784 * 800, "cnn": 784 * 9 * 32}, {"mlp": 8000, "cnn": 196 * 9 * 32 * 64 + 49 * 9 * 64 * 128}
FLOPS = {name: 2 * (2 * FIRST[name] + 3 * REST[name]) for name in FIRST}
FLOPS["cnn"] += 6 * (1152 * 128 + 1280)
"""Of a step, for an image: forward, weights' gradients, and inputs' gradients but for the first layer."""


def main(
    parts: str = "peers_mlp,peers_cnn,memory,start,roofline,layouts,growth,workers",
    images: str = "60000",
    folder: str = str(ROOT / "benchmarks/results"),
) -> None:
    """Print and keep every part."""
    machine = f"{torch_names.cpu().get('cpu_name', platform.processor())}, {os.cpu_count()} cores"
    file = Path(folder, "speed.json")
    file.parent.mkdir(exist_ok=True)
    kept = json.loads(file.read_text()) if file.exists() else {}
    for name in parts.split(","):
        part = globals()[name]
        rows = part(int(images)) if inspect.signature(part).parameters else part()
        kept[name] = {"machine": machine, "torch": torch.__version__, "rows": rows}
        print(section(name, kept[name]), flush=True)
        file.write_text(json.dumps(kept, indent=1))
        file.with_suffix(".md").write_text("\n".join(section(*one) for one in kept.items()))


def on_fashion(images: int) -> tuple[str, ...]:
    """Return the settings of a run on so many images of Fashion-MNIST."""
    return ASKED if images == 60000 else (*ASKED, f"dataset.train_size={images}")


def section(name: str, part: dict) -> str:
    """Lay a part out with the command that makes it."""
    head = f"## {name}\n\n`python benchmarks/run.py parts={name}` on {part['machine']}, torch {part['torch']}:"
    return f"{head}\n\n{markdown(part['rows'])}\n"


def markdown(rows: list[dict]) -> str:
    """Lay rows out as a table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([*map(str, row.values())] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def peers_mlp(images: int) -> list[dict]:
    """Compare one cold run of the mlp."""
    return beside_peer("mlp", images)


def peers_cnn(images: int) -> list[dict]:
    """Compare one cold run of the cnn."""
    return beside_peer("cnn", images)


def beside_peer(architecture: str, images: int) -> list[dict]:
    """One cold run beside the stand-in: at its hyper-parameters, at our training's, and our unlearning's too."""
    peer = json.loads(
        measured("benchmarks/stand_in.py", f"architecture={architecture}", f"images={images}")["stdout"]
    )
    rows = [{"run": f"{architecture}, stand-in", "CPU s": round(peer["cpu"]), "wall s": round(peer["wall"])}]
    rows[-1] |= {"ratio": 1.0, "test accuracy": "", "forget - test": ""}
    recipes = {
        "the same": (f"training={architecture}_reference", *REFERENCE, *FASTEST[architecture]),
        "our training": REFERENCE,
        "our training and unlearning": (),
    }
    for name, recipe in recipes.items():
        with tempfile.TemporaryDirectory() as folder:
            spent = run(folder, *on_fashion(images), f"architecture={architecture}", *recipe)
            (result,) = Path(folder).glob("runs/*/result.json")
            original = json.loads(result.read_text())["metrics"]["original"]
        row = {"run": f"{architecture}, {name}", "CPU s": round(spent["cpu"]), "wall s": round(spent["wall"])}
        row |= {"ratio": round(peer["cpu"] / spent["cpu"], 1), "test accuracy": round(original["test_acc"], 4)}
        rows.append(row | {"forget - test": round(original["forget_acc"] - original["test_acc"], 4)})
    return rows


def memory(images: int) -> list[dict]:
    """What one cold run on all of Fashion-MNIST needs: of three, since pieces of memory fit together by chance."""
    rows = []
    for architecture in ("mlp", "cnn"):
        peaks = []
        for _ in range(3):
            with tempfile.TemporaryDirectory() as folder:
                peaks.append(run(folder, *on_fashion(images), f"architecture={architecture}")["MB"])
        rows.append({"run": architecture, "peak MB, least": round(min(peaks)), "greatest": round(max(peaks))})
    return rows


def start() -> list[dict]:
    """What is paid before any work: the least of three."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        run(folder)  # fills the store
        for words in (("--help",), ("--cfg", "job"), ()):
            found = [run(folder, *words) for _ in range(3)]
            rows.append({"command": f"python run.py {' '.join(words)}".strip() + (" (warm)" if not words else "")})
            rows[-1] |= {"CPU s": round(min(one["cpu"] for one in found), 2)}
    alone = [measured("-c", "import torch")["cpu"] for _ in range(3)]
    return [*rows, {"command": 'python -c "import torch"', "CPU s": round(min(alone), 2)}]


def roofline() -> list[dict]:
    """The share of the machine's own best matrix product that a training step reaches."""
    torch.set_num_threads(1)
    rows = []
    for name, batch, dtype in itertools.product(FLOPS, (32, 128, 256), precisions()):
        peak, (step, update) = best_product(dtype), step_seconds(name, batch, dtype)
        reached = FLOPS[name] * batch / step / 1e9
        row = {"network": name, "batch": batch, "precision": str(dtype).removeprefix("torch.")}
        row |= {"GFLOP/s": round(reached), "best product": round(peak), "share": f"{reached / peak:.2f}"}
        rows.append(row | {"ms a step": round(1e3 * step, 2), "of it AdamW": round(1e3 * update, 2)})
    return rows


def precisions() -> tuple[torch.dtype, ...]:
    """Return the number formats that this processor multiplies natively."""
    native = torch_names.cpu().get("avx512_bf16", False)  # elsewhere bfloat16 is emulated, and slower
    return (torch.float32, torch.bfloat16) if native else (torch.float32,)


def best_product(dtype: torch.dtype) -> float:
    """Return GFLOP per CPU second of a large square product, by MKL or oneDNN (if torch has it), best of 20."""
    n = 1024
    a, b = torch.randn(n, n, dtype=dtype), torch.randn(n, n, dtype=dtype)
    products = [lambda: a @ b]
    if torch_names.has_product():
        products.append(lambda: torch_names.product(a, b))
    return 2 * n**3 / min(min(timed(product)) for product in products) / 1e9


def step_seconds(name: str, batch: int, dtype: torch.dtype) -> tuple[float, float]:
    """Return the CPU seconds of a step of ours, forward, backward and AdamW, and those of AdamW alone."""
    from softtargets.architectures import cnn, mlp

    shape = {"input_shape": (1, 28, 28), "classes": 10}
    model = mlp(**shape, hidden=800) if name == "mlp" else cnn(**shape, channels=[32, 64, 128], hidden=128)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    step = train_step(model, optimizer, torch.randn(batch, 1, 28, 28), dtype)
    return sorted(timed(step))[5], sorted(timed(optimizer.step))[5]


def layouts() -> list[dict]:
    """Return whether resnet9, whose inputs are channels-last, trains faster where its weights are too."""
    torch.set_num_threads(1)
    rows = []
    for batch, dtype in itertools.product((32, 128), precisions()):
        steps = [resnet9_step(batch, dtype, layout) for layout in (torch.contiguous_format, torch.channels_last)]
        spent = [[], []]
        in_turn = 30 * list(zip(steps, spent, strict=True))  # so that both have the same machine
        for step, seconds in in_turn:
            seconds.append(two_steps(step))
        usual, last = (statistics.median(seconds[1:]) / 2 for seconds in spent)
        ratio = statistics.median(a / b for a, b in list(zip(*spent, strict=True))[1:])
        row = {"network": "resnet9", "batch": batch, "precision": str(dtype).removeprefix("torch.")}
        row |= {"ms a step": round(1e3 * usual), "weights channels-last": round(1e3 * last)}
        rows.append(row | {"times as fast": f"{ratio:.2f}"})
    return rows


def resnet9_step(batch: int, dtype: torch.dtype, layout: torch.memory_format) -> Callable[[], None]:
    """Return a step of resnet9 by SGD on images like CIFAR-10's, with its weights in a memory format."""
    from softtargets.architectures import resnet9

    model = resnet9(input_shape=(3, 32, 32), classes=10, width=32).to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    return train_step(model, optimizer, torch.randn(batch, 3, 32, 32), dtype)


def train_step(model, optimizer, images: torch.Tensor, dtype: torch.dtype) -> Callable[[], None]:
    """Return a step of training on images with labels of ten classes."""
    labels = torch.randint(10, (len(images),))

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def two_steps(step: Callable[[], None]) -> float:
    """Return the CPU seconds of two steps."""
    started = time.thread_time()
    step()
    step()
    return time.thread_time() - started


def timed(work) -> list[float]:
    """Return the CPU seconds of each of twenty goes, after two."""
    spent = []
    for _ in range(22):
        started = time.thread_time()
        work()
        spent.append(time.thread_time() - started)
    return spent[2:]


def growth() -> list[dict]:
    """CPU seconds of a sweep's further cells, everything but their unlearning in the store: the least of two."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for what, values in ADDED.items():
            run(folder, "-m", "stage=train", f"{what}={','.join(map(str, values))}")
            row = {"added": what}
            spent = {}
            for count in (2, len(values) // 2, len(values)):
                asked = ",".join(map(str, list(values)[:count]))
                words = ("-m", f"{what}={asked}", *CELL, *(() if what == "targets" else ("targets=soft",)))
                # folders of its own, since what has been run would not run again
                places = (f"runs_dir={folder}/{what}-{count}-{go}" for go in (1, 2))
                spent[count] = min(run(folder, *words, place)["cpu"] for place in places)
            for few, many in itertools.pairwise(spent):
                row[f"{'first' if few == 2 else 'second'} half, CPU s a cell"] = round(
                    (spent[many] - spent[few]) / (many - few), 2
                )
            rows.append(row)
    return rows


def workers() -> list[dict]:
    """The wall time of a cold sweep by one local worker and by two; and of two runs one by one, and at once."""
    asked = ("-m", "seed=range(8)", "mu_algo=graddiff,relabel", "targets=hard,soft", "hydra/launcher=local")
    rows = []
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(
                {"work": f"a sweep, {count} local worker{'s' * (count > 1)}"}
                | {"wall s": run(folder, *asked, f"hydra.launcher.n_jobs={count}")["wall"]}
            )
    rows += [{"work": f"two runs, {name}", "wall s": seconds} for name, seconds in two_runs().items()]
    for pair in (rows[:2], rows[2:]):
        for row in reversed(pair):
            row |= {
                "times as fast": round(pair[0]["wall s"] / row["wall s"], 2),
                "wall s": round(row["wall s"], 1),
            }
    return rows


def two_runs() -> dict[str, float]:
    """Return the wall seconds of two cold runs that share nothing: what two of this machine's cores can give."""
    seconds = {}
    for name, at_once in (("one by one", 1), ("at once", 2)):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            started = time.perf_counter()
            with multiprocessing.dummy.Pool(at_once) as pool:
                pool.map(run, (one, other))
            seconds[name] = time.perf_counter() - started
    return seconds


def run(folder: str, *words: str) -> dict:
    """Run `run.py` with a store and runs in a folder."""
    places = {f"SOFTTARGETS_{name.upper()}": f"{folder}/{name}" for name in ("runs", "store")}
    return measured("run.py", *words, **places)


def measured(*words: str, **environment: str) -> dict:
    """Run Python on one thread; returns its output, CPU and wall seconds, and its largest process in MB."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    # compiled modules are kept, as they are for everyone who has not said otherwise
    plain = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}
    variables = os.environ | plain | environment
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=variables, capture_output=True, text=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"stdout": done.stdout, "cpu": cpu, "wall": wall, "MB": after.ru_maxrss / 1024}


if __name__ == "__main__":
    call(main, __doc__)
