"""How near arms come when whole classes are forgotten: `python benchmarks/classes.py [docs/study/elsewhere]`.

Reads `standing.csv` in that folder, where each class is a setting of its own. Prints every arm's JS_T by class,
and its ratio to that of fine-tuning: the geometric mean over classes with a 95 % t interval, classes being the
sample. Below 1 the arm is nearer to retraining than fine-tuning.
"""

import csv
import math
import statistics
from pathlib import Path

from scipy import stats
from usage import call

CLASS = " class forget_set.classes=["
AGAINST = "finetune hard"


def main(folder: str = "docs/study/elsewhere") -> None:
    """Print the table in Markdown."""
    distances = distances_in(Path(folder, "standing.csv"))
    classes = sorted({one for arm in distances.values() for one in arm})
    head = ("arm", *map(str, classes), "ratio to fine-tuning", "nearer in")
    print(f"| {' | '.join(head)} |\n{len(head) * '|---'}|")
    usual = next(found for arm, found in distances.items() if arm.startswith(AGAINST))
    for arm, found in sorted(distances.items(), key=lambda item: statistics.fmean(item[1].values())):
        numbers = " | ".join(f"{found[one]:.3f}" for one in classes)
        ratios = [math.log(found[one] / usual[one]) for one in classes]
        nearer = sum(ratio < 0 for ratio in ratios)
        print(f"| {arm} | {numbers} | {ratio_with_ends(ratios)} | {nearer} of {len(classes)} |")


def distances_in(file: Path) -> dict[str, dict[int, float]]:
    """Return the mean JS_T on the forget set of every arm, without the words of its budget, by class."""
    found: dict[str, dict[int, float]] = {}
    with file.open() as opened:
        for line in csv.DictReader(opened):
            if CLASS in line["setting"] and (line["face"], line["reference"]) == ("js_t_forget", "doing nothing"):
                one = int(line["setting"].partition(CLASS)[2].partition("]")[0])
                found.setdefault(line["arm"].partition(" unlearn.cost=")[0], {})[one] = float(line["mean"])
    return found


def ratio_with_ends(logs: list[float]) -> str:
    """Return a geometric mean with the ends of its interval, from logarithms."""
    mean, error = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    half = stats.t.ppf(0.975, len(logs) - 1) * error
    return f"{math.exp(mean):.2f} [{math.exp(mean - half):.2f}, {math.exp(mean + half):.2f}]"


if __name__ == "__main__":
    call(main, __doc__)
