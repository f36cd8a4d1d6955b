"""Results of runs as reports read them, without the runs."""

from pathlib import Path

import numpy as np

from softtargets import RESULT_SCHEMA
from softtargets.report.runs import FACTORS
from softtargets.system.files import write_json

SHARED = ("original", "retrained", "forget_set", "batches")
STATE = ("target_distance", "sharpness", "target_entropy", "grad_cosine", "first_order")
ACCURACIES = {"forget_acc": 0.85, "retain_acc": 0.95, "test_acc": 0.85, "mia_auc": 0.5}
ACCURACIES |= {"class_acc": [0.8, 0.9], "forget_class_acc": [0.7, 0.8]}
WAY = {
    "step": [0, 5, 10],
    "forget_acc": [1.0, 0.9, 0.8],
    "test_acc": [0.9, 0.9, 0.8],
    "js_forget": [0.1, 0.2, 0.3],
}


def result(seed: int = 0, targets: str = "hard", js_forget: float = 0.02, choices: dict | None = None, **changes):
    """What matters to a report of a result.json."""
    usual = ("fashion_mnist", "mlp", "random", "gradasc", "mlp", "gradasc")
    chosen = dict(zip(FACTORS, usual, strict=True)) | {"forget_seed": 0, "seed": seed, "targets": targets}
    chosen |= choices or {}
    distance = {
        "js_forget": js_forget,
        "mia_gap": 0.01,
        "js_test": 0.01,
        "activation_distance_forget": 0.02,
        "disagreement_forget": 0.05,
        "avg_gap": 0.02,
        "accuracy_distance": 0.03,
    }
    return {
        "schema": RESULT_SCHEMA,
        "status": "ok",
        "choices": chosen,
        "config": {
            "seed": seed,
            "targets": {"forget": {"temperature": 1.0}},
            "unlearn": {"optimizer": {"lr": 0.1}},
        },
        "provenance": made(),
        "metrics": dict.fromkeys(("original", "retrained", "unlearned"), ACCURACIES),
        "distance": distance,
        "baseline": dict.fromkeys(distance, 0.04),
        "matched": {"js_forget": js_forget / 2, "mia_gap": 0.005, "js_test": 0.01},
        "hashes": {name: f"{name}{seed}" for name in SHARED} | {"forget_set": "forget_set"},
        "trajectory": WAY,
        "diagnosis": dict.fromkeys(STATE, 0.5),
        "cost": {"unlearn_s": 1.5},
        "data": {"classes": 2, "sizes": {"forget": 2}, "hashes": {"train": "train", "test": "test"}},
    } | changes


def diverged(seed: int = 0, targets: str = "hard") -> dict:
    """A run whose unlearned model is not finite, without a trajectory."""
    one = result(seed, targets, status="diverged", matched=None, trajectory={name: [] for name in WAY})
    one["metrics"] = one["metrics"] | {"unlearned": dict.fromkeys(ACCURACIES)}
    return one | {"distance": dict.fromkeys(one["distance"])}


def made(commit: str = "c0ffee", torch: str = "2.14.0", **machine) -> dict:
    """Where and with what a result was made."""
    usual = {
        "device": "cpu",
        "threads": 1,
        "precision": "float32",
        "processor": "one, AVX512",
        "plain_torch": False,
    }
    return {
        "git_commit": commit,
        "git_dirty": False,
        "versions": {"softtargets": "0.1.0", "torch": torch},
        "machine": usual | machine,
    }


def both(number: int, **changes) -> list[dict]:
    """Runs of hard and soft; hard is farther by .01 and a little more at every seed."""
    hard = [result(seed, js_forget=0.03 + 0.001 * seed, **changes) for seed in range(number)]
    return hard + [result(seed, "soft", js_forget=0.02, **changes) for seed in range(number)]


def leave(place: Path, *results: dict) -> Path:
    """Write these results, a folder each, into `place`; returns it."""
    for number, one in enumerate(results):
        folder = place / f"run{number}"
        folder.mkdir(parents=True)
        write_json(folder / "result.json", one)
        samples = one["data"]["sizes"]["forget"]
        p = np.array([[0.5, 0.5], [0.9, 0.1]]) if one["choices"]["seed"] % 2 else np.full((2, 2), 0.5)
        p = np.resize(p, (samples, one["data"]["classes"]))
        draw = np.random.default_rng(number)
        models = ("original", "retrained", "unlearned")
        margins = {f"forget_{model}": draw.normal(size=samples) for model in models}
        margins |= {f"test_{model}": draw.normal(size=5) for model in models}
        np.savez(folder / "margins.npz", forget_probs_retrained=p.astype(np.float32), **margins)
    return place
