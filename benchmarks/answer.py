"""The answer by what is forgotten, as a table of README: `python benchmarks/answer.py [STANDING.csv …]`.

Reads where the arms of studies stand. A row is a setting, a column a kind of arm at a tenth of retraining's
gradient samples, a field how many times as far from the retrained model as another retraining the arm ends by JS_T
(mean over mean; whole classes: the geometric mean over classes). Where two studies have a kind of arm in a
setting, the first counts. Bold is the nearest that keeps utility, if an arm does; whole classes have too few runs
to judge it.
"""

import csv
import statistics
from pathlib import Path

from frontier import budget
from settings import COST, NAMES
from usage import call

STUDIES = "labels_alone/standing every_arm/own_10 every_arm/efficient elsewhere/standing cifar/standing"
CLASS = " forget_set.classes="
KINDS = {
    "soft targets": ("relabel out_of_fold_forget", "relabel out_of_fold", "relabel masked/hard"),
    "their argmax": ("relabel out_of_fold_harden_forget", "relabel masked/hard forget.modifiers=[harden]"),
    "`scrub`": ("scrub hard", "scrub soft"),
    "`l1_sparse`": ("l1_sparse hard",),
    "fine-tuning": ("finetune hard",),
    "retraining from scratch": ("retrain",),
    "doing nothing": ("none",),
}
"""Arms of each column, without the words of their budget."""


def main(*files: str) -> None:
    """Print the table in Markdown."""
    found = {}
    for file in files or [f"docs/study/{name}.csv" for name in STUDIES.split()]:
        found = places_in(Path(file)) | found
    print(f"| to forget | of | {' | '.join(KINDS)} |\n{(2 + len(KINDS)) * '|---'}|")
    for setting, names in NAMES.items():
        if any(setting == at for at, _ in found):
            print(f"| {' | '.join((*names, *fields(setting, found)))} |")


def places_in(file: Path) -> dict[tuple[str, str], tuple[float, str]]:
    """Return, by setting and column, an arm's ratio to another retraining and whether it keeps utility."""
    ratios: dict[tuple[str, str], list[tuple[float, str]]] = {}
    with file.open() as opened:
        for line in csv.DictReader(opened):
            column = column_of(line["arm"])
            if column and (line["face"], line["reference"]) == ("js_t_forget", "doing nothing") and at_cost(line):
                place = float(line["mean"]) / float(line["floor"]), line["utility_kept"]
                ratios.setdefault((line["setting"].partition(CLASS)[0], column), []).append(place)
    return {
        key: (statistics.geometric_mean(ratio for ratio, _ in many), many[0][1]) for key, many in ratios.items()
    }


def column_of(arm: str) -> str | None:
    """Return the column of an arm, if it has one."""
    name = " ".join(word for word in arm.split() if not word.startswith(("unlearn.cost=", "tuned=")))
    return next((column for column, arms in KINDS.items() if name in arms), None)


def at_cost(line: dict) -> bool:
    """Return whether an arm has the cost of the table, or does nothing."""
    return line["arm"] == "none" or budget(line) == COST


def fields(setting: str, found: dict) -> list[str]:
    """Return the fields of a row: † where utility is lost, bold where an arm is the nearest that keeps it."""
    places = {column: found.get((setting, column)) for column in KINDS}
    arms = [place for column, place in places.items() if place and column != "doing nothing"]
    nearest = min((place for place in arms if place[1] != "False"), default=None)
    return [field(place, place is not None and place == nearest) for place in places.values()]


def field(place: tuple[float, str] | None, bold: bool) -> str:
    """Return a field of the table."""
    if place is None:
        return "–"
    ratio, utility = place
    text = f"{ratio:.1f}" + (" †" if utility == "False" else "")
    return f"**{text}**" if bold else text


if __name__ == "__main__":
    call(main, __doc__)
