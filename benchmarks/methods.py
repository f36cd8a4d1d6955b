"""Every algorithm on three kinds of forget set, beside doing nothing and retraining.

`python benchmarks/methods.py [forget_set=random,class,mislabelled] [mu_algo=a,b] [seeds=5] [settings]` unlearns
from 10,000 images of Fashion-MNIST with the defaults of every algorithm, under the targets of its paper and a few
more. Means over run seeds, in Markdown: accuracies on forget, retain and test set, |ΔMIA AUC|, JS on the forget
set and ToW against the retrained model, seconds of unlearning. All are at matched forgetting where every run
reached it, and at the end where not; the last column says which.
"""

import statistics

from glance import result
from usage import call

DATA = ("dataset=fashion_mnist", "dataset.train_size=10000")
TARGETS = {
    "gradasc": ("hard",),
    "graddiff": ("hard", "soft", "ugradsl"),
    "neggrad_plus": ("hard",),
    "npo": ("hard",),
    "ugradsl_plus": ("hard",),
    "scrub": ("hard",),
    "relabel": ("random_label", "delete", "out_of_fold"),
    "salun": ("random_label", "out_of_fold"),
    "boundary_shrink": ("hard",),
    "rmu": ("hard",),
    "finetune": ("hard",),
    "l1_sparse": ("hard",),
    "cfk": ("hard",),
    "euk": ("hard",),
    "ct": ("hard",),
    "msg": ("hard",),
    "unilogit": ("hard",),
    "amun": ("hard",),
    "sfron": ("hard",),
    "ssd": ("hard",),
    "unsir": ("hard",),
}
HEAD = ("forget set", "algorithm", "targets", "forget", "retain", "test", "MIA gap", "JS", "ToW", "s", "at")
ACCURACIES = ("forget_acc", "retain_acc", "test_acc")


def main(*words: str) -> None:
    """Print the table."""
    given = dict(word.split("=", 1) for word in words)
    kinds = given.pop("forget_set", "random,class,mislabelled").split(",")
    seeds, chosen = range(int(given.pop("seeds", 5))), given.pop("mu_algo", ",".join(TARGETS)).split(",")
    common = (*DATA, *(f"{name}={value}" for name, value in given.items()))
    print(f"| {' | '.join(HEAD)} |\n|{len(HEAD) * '---|'}", flush=True)
    for kind in kinds:
        for number, (algorithm, preset) in enumerate((a, p) for a in chosen for p in TARGETS[a]):
            if algorithm == "unsir" and kind != "class":
                continue
            asked = (*common, f"forget_set={kind}", f"mu_algo={algorithm}", f"targets={preset}")
            found = [result(*asked, f"seed={seed}") for seed in seeds]
            if number == 0:
                print(line(kind, "*none*", "", *averages([nothing(one) for one in found]), ""))
                print(line(kind, "*retrain*", "", *averages([oracle(one) for one in found]), ""))
            ends = [one["matched"] is None for one in found]
            rows = [unlearned(one, any(ends)) for one in found]
            where = f"end ({sum(ends)} of {len(ends)} never matched)" if any(ends) else "matched"
            print(line(kind, algorithm, preset, *averages(rows), where), flush=True)


def nothing(one: dict) -> list[float]:
    """Return the columns of the original model."""
    far = one["baseline"]
    accuracies = [one["metrics"]["original"][name] for name in ACCURACIES]
    return [*accuracies, far["mia_gap"], far["js_forget"], far["tow"], 0.0]


def oracle(one: dict) -> list[float]:
    """Return the columns of the retrained model."""
    accuracies = [one["metrics"]["retrained"][name] for name in ACCURACIES]
    return [*accuracies, 0.0, 0.0, 1.0, one["cost"]["retrain_s"]]


def unlearned(one: dict, at_end: bool) -> list[float]:
    """Return the columns of the unlearned model, at matched forgetting or at the end."""
    seconds = one["cost"]["unlearn_s"]
    if at_end:
        far, accuracies = one["distance"], [one["metrics"]["unlearned"][name] for name in ACCURACIES]
        return [*accuracies, far["mia_gap"], far["js_forget"], far["tow"], seconds]
    point, tow = one["matched"], 1.0
    for name in ACCURACIES:
        tow *= 1 - abs(point[name] - one["metrics"]["retrained"][name])
    return [*(point[name] for name in ACCURACIES), point["mia_gap"], point["js_forget"], tow, seconds]


def averages(rows: list[list[float]]) -> list[float]:
    """Return the mean of each column."""
    return [statistics.mean(column) for column in zip(*rows, strict=True)]


def line(kind: str, algorithm: str, preset: str, *columns) -> str:
    """Print a row."""
    *numbers, seconds, where = columns
    shown = (*(f"{number:.3f}" for number in numbers), f"{seconds:.1f}", where)
    return f"| {' | '.join((kind, algorithm, preset, *shown))} |"


if __name__ == "__main__":
    call(main, __doc__)
