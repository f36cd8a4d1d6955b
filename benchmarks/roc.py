"""Who can still tell? Table and ROC from what a report left: `python benchmarks/roc.py [docs/study/leaks]`.

Reads `attacks.csv` in that folder, draws the ROC of U-LiRA on logarithmic axes, `roc.svg`, beside it, and prints
every arm with its numbers in Markdown, each with its interval or with its null at the same number of models.
"""

import collections
import csv
from pathlib import Path

import matplotlib as mpl
import numpy
from matplotlib import pyplot
from usage import call

from softtargets.colours import colour, colours_of

HEAD = (
    "arm",
    "models a side",
    "attack",
    "AUC",
    "exchanged",
    "TPR at 1 % FPR",
    "exchanged",
    "TPR at 0.1 % FPR",
    "accuracy",
)
HEAD += ("ε ≥", "forgetting score", "binned KLoM")
RATES = numpy.logspace(-3, 0, 25)
"""False positive rates of the points of a curve."""
DASHES = ("-", "--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)), (0, (1, 3)), (0, (8, 3)))
MARKS = ("", "o", "s", "^")
"""Of arms with one algorithm and one colour."""


def main(folder: str = "docs/study/leaks") -> None:
    """Draw the figure and print the table."""
    with (Path(folder) / "attacks.csv").open() as opened:
        lines = list(csv.DictReader(opened))
    figure([line for line in lines if line["attack"] == "U-LiRA"], Path(folder) / "roc.svg")
    print(f"| {' | '.join(HEAD)} |\n{len(HEAD) * '|---'}|")
    for line in lines:
        print(f"| {' | '.join(row(line))} |")


def row(line: dict) -> tuple[str, ...]:
    """Return what the table shows of an attack on an arm."""
    number = {name: float(value) for name, value in line.items() if value and name not in TEXTS}
    interval = "{auc:.3f} [{low:.3f}, {high:.3f}]".format_map(number)
    null = "{null_low:.3f} to {null_high:.3f}".format_map(number)
    rate = "{tpr_at_01:.3f} [{tpr_at_01_low:.3f}, {tpr_at_01_high:.3f}]".format_map(number)
    more = ("{tpr_at_01_null:.3f}", "{tpr_at_001:.3f} ({tpr_at_001_null:.3f})", "{balanced_accuracy:.3f}")
    strongest = line["attack"] == "U-LiRA"
    last = ("{epsilon:.2f} of {epsilon_most:.2f}", "{forgetting_score:.3f} ({forgetting_score_null:.3f})")
    last += ("{klom:.2f} ({klom_null:.2f})",)
    shown = [text.format_map(number) for text in (*more, *(last if strongest else ()))]
    return (
        line["arm"] + (" (loses utility)" if line["keeps_utility"] == "False" else ""),
        line["models"],
        line["attack"],
        interval,
        null,
        rate,
        *shown,
        *("" for _ in last if not strongest),
    )


TEXTS = ("setting", "arm", "algorithm", "targets", "attack", "worst", "curve", "keeps_utility")


def figure(lines: list[dict], file: Path) -> None:
    """Draw the curve of every arm, the most surely recognised first: colours by targets, dashes by algorithm."""
    mpl.rcParams["svg.hashsalt"] = "softtargets"  # equal bytes for equal numbers
    drawn, plane = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    common = set.intersection(*([set(line["arm"].split()) for line in lines if "=" in line["arm"]] or [set()]))
    algorithms = sorted({line["algorithm"] for line in lines})
    colours, seen = colours_of([line["targets"] or None for line in lines]), collections.Counter()
    for line in sorted(lines, key=lambda line: -float(line["tpr_at_01"])):
        rates = numpy.array([float(rate) for rate in line["curve"].split()])
        look = colour(line["targets"] or None), DASHES[algorithms.index(line["algorithm"]) % len(DASHES)]
        name = " ".join(word for word in line["arm"].split() if word not in common)
        style = {"color": colours[look[0]][0], "ls": look[1], "marker": MARKS[seen[look] % len(MARKS)], "ms": 4}
        plane.plot(RATES, numpy.maximum(rates, RATES[0]), label=name, markevery=4, **style)
        seen[look] += 1
    plane.plot(RATES, RATES, color="grey", lw=0.7, label="a guess")
    plane.set(xscale="log", yscale="log", xlabel="false positive rate", ylabel="true positive rate")
    drawn.legend(fontsize=9, loc="outside right center", frameon=False)
    drawn.savefig(file, metadata={"Date": None})
    pyplot.close(drawn)


if __name__ == "__main__":
    call(main, __doc__)
