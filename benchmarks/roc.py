"""Who can still tell? Table and ROC from what a report left: `python benchmarks/roc.py [docs/study/leaks]`.

Reads `attacks.csv` in that folder, draws the ROC of U-LiRA on logarithmic axes, `roc.svg`, beside it, and prints
every arm with its numbers in Markdown, each with its interval or with its null at the same number of models.
"""

import csv
from pathlib import Path

import matplotlib as mpl
import numpy
from matplotlib import pyplot
from usage import call

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
        line["arm"],
        line["models"],
        line["attack"],
        interval,
        null,
        rate,
        *shown,
        *("" for _ in last if not strongest),
    )


TEXTS = ("setting", "arm", "algorithm", "targets", "attack", "worst", "curve")


def figure(lines: list[dict], file: Path) -> None:
    """Draw the curve of every arm, down to a true positive rate of 0.001."""
    mpl.rcParams["svg.hashsalt"] = "softtargets"  # equal bytes for equal numbers
    drawn, plane = pyplot.subplots(figsize=(6, 4.5), layout="constrained")
    for number, line in enumerate(lines):
        rates = numpy.array([float(rate) for rate in line["curve"].split()])
        plane.plot(RATES, numpy.maximum(rates, RATES[0]), label=line["arm"], ls=("-", "--", ":")[number // 3 % 3])
    plane.plot(RATES, RATES, color="grey", lw=0.7, label="a guess")
    plane.set(xscale="log", yscale="log", xlabel="false positive rate", ylabel="true positive rate")
    plane.legend(fontsize=8)
    drawn.savefig(file, metadata={"Date": None})
    pyplot.close(drawn)


if __name__ == "__main__":
    call(main, __doc__)
