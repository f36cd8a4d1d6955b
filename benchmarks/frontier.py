"""Every arm of a report by cost, from its standing.csv.

`python benchmarks/frontier.py [standing.csv]` prints a table for each setting in Markdown; docs/study/frontier.md
has those of `experiment=frontier`.
"""

import csv
from pathlib import Path

from usage import call

COSTS = (0.02, 0.05, 0.1, 0.2)
STEPLESS = 0.005
"""Most that an arm without steps costs: a prediction of some images."""
HEAD = (
    "arm",
    "n",
    "cost",
    "in seconds",
    "JS_T",
    "way left",
    "disagreement",
    "MIA gap",
    "test accuracy gap, lower end",
    "utility",
)
AGAINST = ("doing nothing", "early stopping", "best retraining")


def main(file: str = "docs/study/frontier/own.csv") -> None:
    """Print the arms of each setting by cost; differences are of JS_T, in bold where p < .05 after Holm."""
    with Path(file).open() as opened:
        lines = list(csv.DictReader(opened))
    for setting in sorted({line["setting"] for line in lines}):
        mine = [line for line in lines if line["setting"] == setting]
        print(f"\n{setting}\n\n| {' | '.join((*HEAD, *AGAINST))} |\n{'|---' * len((*HEAD, *AGAINST))}|")
        arms = {line["arm"]: [one for one in mine if one["arm"] == line["arm"]] for line in mine}
        for rows in sorted(arms.values(), key=lambda rows: (budget(rows[0]), short(rows[0]["arm"]))):
            print(f"| {' | '.join(cells(rows, arms))} |")


def budget(row: dict) -> float:
    """Return the least budget that pays for what an arm spent; 0 for an arm that takes no step."""
    spent = float(row["share"])
    return min(cost for cost in (0, *COSTS) if spent <= cost + (0 if cost else STEPLESS))


def short(arm: str) -> str:
    """Return the name of an arm without settings, but the batch size of a retraining."""
    name, *words = arm.split()
    sizes = [word.split("=")[1] for word in words if word.startswith("unlearn.batch_size=")]
    kinds = [word for word in words if "=" not in word]
    return " ".join([name, *kinds, *(f"batch {size}" for size in sizes if name == "retrain")])


def cells(rows: list[dict], arms: dict[str, list[dict]]) -> list[str]:
    """Return an arm's row of the table."""
    one, faces = rows[0], {row["face"]: row for row in rows}
    first = faces["js_t_forget"]
    against = {row["reference"]: row for row in rows if row["face"] == "js_t_forget"}
    equal = [name for name in against if name.startswith("retrain") and name.endswith(" at equal cost")]
    nearest = min(equal, key=lambda name: js_t_of(arms[name.removesuffix(" at equal cost")]), default="")
    return [
        short(one["arm"]),
        one["n"],
        *(f"{float(one[name]):.3f}" for name in ("share", "share_seconds")),
        f"{float(first['mean']):.4f}",
        f"{float(first['left']):.2f}",
        f"{float(faces['disagreement_forget']['mean']):.3f}",
        f"{abs(float(faces['mia_gap']['mean'])):.4f}",
        f"{float(one['test_acc_gap_low']):+.3f}" if one["test_acc_gap_low"] else "",
        {"True": "kept", "False": "lost", "": "unknown"}[one["utility_kept"]],
        *(difference(against.get(name)) for name in ("doing nothing", "early stopping", nearest)),
    ]


def js_t_of(rows: list[dict]) -> float:
    """Return an arm's mean JS_T."""
    return next(float(row["mean"]) for row in rows if row["face"] == "js_t_forget")


def difference(row: dict | None) -> str:
    """Return the arm less the reference with its 95 % interval; below 0 the arm is nearer to retraining."""
    if row is None or not row["difference_low"]:
        return "–"
    numbers = [float(row[name]) for name in ("difference", "difference_low", "difference_high")]
    shown = "{:+.4f} [{:+.4f}, {:+.4f}]".format(*numbers)
    return f"**{shown}**" if row["p_holm"] and float(row["p_holm"]) < 0.05 else shown


if __name__ == "__main__":
    call(main, __doc__)
