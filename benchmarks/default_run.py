"""The default run, from an empty store: is it nearer to the retrained model than doing nothing, and at what cost?

`python benchmarks/default_run.py [pairs=5]` calls `python run.py` in a process of its own for each pair, with
equal seeds of run, forget set and dataset. Prints a row for each in Markdown; `a (b)` is the value of the
unlearned model, and in brackets that of doing nothing.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from usage import call

ROOT = Path(__file__).parent.parent
FACES = {
    "JS_T": "js_t_forget",
    "JS": "js_forget",
    "disagreement": "disagreement_forget",
    "MIA gap": "mia_gap",
    "test accuracy gap": "test_acc_gap",
}
MODELS = ("unlearned", "nothing")


def main(pairs: str = "5") -> None:
    """Print the table, a row for each of so many pairs."""
    print(f"| seed | status | {' | '.join(FACES)} | cost | CPU s |\n|---{'|---' * (len(FACES) + 3)}|")
    rows = []
    for seed in range(int(pairs)):
        result, seconds = default_run(seed)
        rows.append((faces(result), result["cost"]["share"], seconds))
        print(f"| {seed} | {result['status']} | {cells(*rows[-1])} |", flush=True)
    means = {
        model: [statistics.mean(row[0][model][i] for row in rows) for i in range(len(FACES))] for model in MODELS
    }
    share, seconds = (statistics.mean(row[i] for row in rows) for i in (1, 2))
    print(f"| *mean* | | {cells(means, share, seconds)} |")


def cells(values: dict[str, list[float]], share: float, seconds: float) -> str:
    """Return the cells of a row: the unlearned model's value and that of doing nothing, then what it took."""
    both = [f"{unlearned:.4f} ({nothing:.4f})" for unlearned, nothing in zip(*values.values(), strict=True)]
    return " | ".join([*both, f"{share:.2f}", f"{seconds:.1f}"])


def faces(result: dict) -> dict[str, list[float]]:
    """Return the faces of both models in the order of the columns."""
    return {model: [result["faces"][name][model] for name in FACES.values()] for model in MODELS}


def default_run(seed: int) -> tuple[dict, float]:
    """Run from an empty store; return the result and the CPU seconds of the process."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"{name}={seed}" for name in ("seed", "forget_set.seed", "dataset.seed")]
        command = [sys.executable, ROOT / "run.py", *words, f"hydra.run.dir={folder}/run"]
        environment = os.environ | {"SOFTTARGETS_STORE": f"{folder}/store"}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return json.loads(Path(folder, "run/result.json").read_text()), seconds


if __name__ == "__main__":
    call(main, __doc__)
