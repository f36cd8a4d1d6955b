"""The seed project's grid in two tables, from what reports left: `python benchmarks/seed_grid.py [docs/study]`.

Reads `summary.csv` in the folders `seed_grid` (its own hyper-parameters, judged at the end) and
`seed_grid_matched` (ours, judged at matched forgetting) and prints every comparison of hard labels with soft
targets by JS to the retrained model on the forget set, in Markdown.
"""

import csv
from pathlib import Path

from usage import call

GRIDS = {"seed_grid": "end", "seed_grid_matched": "matched"}


def main(folder: str = "docs/study") -> None:
    """Print a table for either grid."""
    head = ("dataset", "network", "algorithm", "soft at", "hard", "soft", "doing nothing", "floor", "verdict")
    for grid, where in GRIDS.items():
        print(f"### {grid}, {where}\n\n| {' | '.join(head)} |\n{len(head) * '|---'}|")
        with (Path(folder) / grid / "summary.csv").open() as opened:
            lines = list(csv.DictReader(opened))
        for line in lines:
            if (line["measure"], line["where"]) == ("js_forget", where) and line["other"]:
                print(f"| {' | '.join(row(line))} |")
        print()


def row(line: dict) -> tuple[str, ...]:
    """Return what the table shows of a comparison."""
    temperature = line["other"].partition("forget.temperature=")[2] or "0.5"
    references = (f"{float(line[name]):.4f}" for name in ("nothing", "floor"))
    words = line["verdict"].replace(line["other"], "soft")
    return (
        line["dataset"],
        line["architecture"],
        line["mu_algo"],
        f"T = {temperature}",
        mean(line, "one"),
        mean(line, "other"),
        *references,
        words,
    )


def mean(line: dict, side: str) -> str:
    """Return an arm's mean, and how many of its runs never matched or are not in it since they diverged."""
    lost = {"never matched": line[f"{side}_censored"], "diverged": line[f"{side}_diverged"]}
    said = ", ".join(f"{count} {name}" for name, count in lost.items() if int(count))
    return (f"{float(line[f'{side}_mean']):.4f}" if line[f"{side}_mean"] else "–") + (f" ({said})" if said else "")


if __name__ == "__main__":
    call(main, __doc__)
