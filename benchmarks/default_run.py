"""The default run, from an empty store: is it nearer to the retrained model than doing nothing, and at what cost?

`python benchmarks/default_run.py [pairs=5]` calls `python run.py` in a process of its own for each pair, with
equal seeds of run, forget set and dataset. Then it gives retraining from scratch (`mu_algo=retrain`) the cost of
the default run after the request, and the total over ten requests, teachers included. Prints rows in Markdown;
`a (b)` is the value of the unlearned model, and in brackets that of doing nothing.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
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
    """Print a row for each arm of so many pairs, then the mean of each arm."""
    print(f"| seed | arm | {' | '.join(FACES)} | cost | CPU s |\n|---{'|---' * (len(FACES) + 3)}|")
    rows = defaultdict(list)
    for seed in range(int(pairs)):
        for arm, result, seconds in arms(seed):
            values = [result["faces"][name][model] for name in FACES.values() for model in MODELS]
            rows[arm].append([*values, result["cost"]["share"], seconds])
            print(f"| {seed} | {arm} | {cells(rows[arm][-1])} |", flush=True)
    for arm, values in rows.items():
        print(f"| *mean* | {arm} | {cells([statistics.mean(column) for column in zip(*values, strict=True)])} |")


def cells(row: list[float]) -> str:
    """Return the cells of a row: unlearned model and doing nothing for each face, then the costs."""
    *values, share, seconds = row
    both = [f"{one:.4f} ({other:.4f})" for one, other in zip(values[::2], values[1::2], strict=True)]
    return " | ".join([*both, f"{share:.2f}", f"{seconds:.1f}"])


def arms(seed: int) -> list[tuple[str, dict, float]]:
    """Run the default from an empty store, then retraining at its costs; return results and CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        default, seconds = run(folder, seed)
        cost = default["cost"]
        budgets = {"cost": cost["share"], "total over 10 requests": cost["share"] + cost["prepared_share"] / 10}
        opponents = [
            (f"retrain at its {name}", *run(folder, seed, "mu_algo=retrain", f"unlearn.cost={budget:.6f}"))
            for name, budget in budgets.items()
        ]
    return [("default", default, seconds), *opponents]


def run(folder: str, seed: int, *words: str) -> tuple[dict, float]:
    """Run with a store in `folder`; return the result and the CPU seconds of the process."""
    output = Path(tempfile.mkdtemp(dir=folder))
    equal = [f"{name}={seed}" for name in ("seed", "forget_set.seed", "dataset.seed")]
    command = [sys.executable, ROOT / "run.py", *equal, *words, f"hydra.run.dir={output}"]
    environment = os.environ | {"SOFTTARGETS_STORE": f"{folder}/store"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads((output / "result.json").read_text()), seconds


if __name__ == "__main__":
    call(main, __doc__)
