"""The figure of the frontier, by all three faces: `python benchmarks/faces.py [docs/study/frontier]`.

Reads `own.csv` and `efficient.csv` in that folder, draws `figure.svg` beside them and prints its points in
Markdown: for every kind of arm and cost the one that is nearest to retraining by JS_T.
"""

import csv
from pathlib import Path

import matplotlib as mpl
from frontier import COSTS, budget
from matplotlib import pyplot
from usage import call

RECIPES = {"own": "the project's recipe", "efficient": "an efficient recipe"}
FACES = {
    "js_t_forget": "probabilities: JS_T",
    "disagreement_forget": "decisions: disagreement",
    "mia_gap": "privacy: membership gap",
}
ARMS = {
    "finetune": ("fine-tuning, hard labels", "s", "#0072b2"),
    "relabel": ("descent to soft targets of five teachers", "o", "#d55e00"),
    "retrain": ("retraining from scratch", "^", "#555555"),
}
MOST = 2.2
"""Share of the way at which a panel ends; what lies beyond is drawn at the edge, with its number."""


def main(folder: str = "docs/study/frontier") -> None:
    """Draw the figure and print its points."""
    points = {name: read(Path(folder) / f"{name}.csv") for name in RECIPES}
    figure(points, Path(folder) / "figure.svg")
    print(f"| recipe | arm | cost | {' | '.join(FACES.values())} | utility |\n{7 * '|---'}|")
    for name, recipe in RECIPES.items():
        for (algorithm, cost), faces in sorted(points[name].items()):
            lefts = " | ".join("{:.2f} [{:.2f}, {:.2f}]".format(*way_left(faces[face])) for face in FACES)
            kept = "kept" if is_kept(faces) else "lost"
            print(f"| {recipe} | {ARMS[algorithm][0]} | {cost} | {lefts} | {kept} |")


def read(file: Path) -> dict[tuple[str, float], dict[str, dict]]:
    """Return, for each algorithm and cost, the rows by face of its nearest arm, against doing nothing."""
    with file.open() as opened:
        lines = [line for line in csv.DictReader(opened) if line["reference"] == "doing nothing"]
    arms: dict[str, dict[str, dict]] = {}
    for line in lines:
        arms.setdefault(line["arm"], {})[line["face"]] = line
    nearest: dict[tuple[str, float], dict[str, dict]] = {}
    for arm, faces in sorted(arms.items(), key=lambda item: -float(item[1]["js_t_forget"]["mean"])):
        algorithm = arm.split()[0]
        if algorithm in ARMS:
            nearest[algorithm, budget(faces["js_t_forget"])] = faces  # the last one is the nearest
    return nearest


def is_kept(faces: dict[str, dict]) -> bool:
    """Return whether an arm passes the utility gate."""
    return faces["js_t_forget"]["utility_kept"] == "True"


def way_left(row: dict) -> tuple[float, float, float]:
    """Return the share of the way that an arm leaves, and its 95 % interval from the pairs with doing nothing."""
    whole = float(row["nothing"]) - float(row["floor"])
    low, high = (1 + float(row[f"difference_{end}"]) / whole for end in ("low", "high"))
    return float(row["left"]), low, high


def figure(points: dict, file: Path) -> None:
    """Draw a row of panels for each recipe and a panel for each face."""
    mpl.rcParams |= {
        "svg.hashsalt": "faces",
        "font.size": 9,
        "svg.fonttype": "path",
    }  # equal bytes for equal numbers
    page, rows = pyplot.subplots(2, 3, figsize=(9.5, 5.6), sharex=True, sharey=True)
    for (name, recipe), panels in zip(RECIPES.items(), rows, strict=True):
        panels[0].set_ylabel(f"{recipe}\nway left to retraining")
        for (face, title), panel in zip(FACES.items(), panels, strict=True):
            panel.set(xscale="log", xlim=(0.016, 0.25), ylim=(-0.15, MOST + 0.15))
            panel.set_xticks(COSTS, [f"{cost:g}" for cost in COSTS])
            panel.minorticks_off()
            panel.axhline(1, color="black", linewidth=0.8, linestyle=":")
            panel.axhline(0, color="black", linewidth=0.8)
            if name == "own":
                panel.set_title(title)
            for algorithm in ARMS:
                draw(
                    panel,
                    algorithm,
                    {cost: rows for (one, cost), rows in points[name].items() if one == algorithm},
                    face,
                )
    legend(page)
    page.supxlabel(
        "gradient samples of the request, as a share of retraining's (teachers not included)", fontsize=9
    )
    page.tight_layout(rect=(0, 0, 1, 0.9))
    page.savefig(file, metadata={"Date": None})
    pyplot.close(page)


def draw(panel, algorithm: str, arms: dict[float, dict], face: str) -> None:
    """Draw an arm over its costs with 95 % intervals; hollow where it loses utility."""
    _, mark, color = ARMS[algorithm]
    costs = sorted(arms)
    places = [min(way_left(arms[cost][face])[0], MOST) for cost in costs]
    panel.plot(costs, places, color=color, linewidth=1)
    for cost, place in zip(costs, places, strict=True):
        left, *ends = way_left(arms[cost][face])
        panel.plot([cost, cost], [min(end, MOST) for end in ends], color=color, linewidth=1)
        fill = color if is_kept(arms[cost]) else "white"
        panel.plot(cost, place, mark, color=color, markerfacecolor=fill, markersize=5.5, clip_on=False)
        if left > MOST:
            panel.annotate(f"{left:.1f}", (cost, place), (-4, -13), textcoords="offset points", color=color)


def legend(page) -> None:
    """Say what markers mean."""
    line = pyplot.Line2D
    lines = [line([], [], color=color, marker=mark, label=label) for label, mark, color in ARMS.values()]
    hollow = line([], [], color="black", marker="o", markerfacecolor="white", linestyle="", label="loses utility")
    nothing = line([], [], color="black", linewidth=0.8, linestyle=":", label="1: doing nothing")
    floor = line([], [], color="black", linewidth=0.8, label="0: another retraining")
    page.legend(handles=[*lines, hollow, nothing, floor], loc="upper center", ncols=3, frameon=False)


if __name__ == "__main__":
    call(main, __doc__)
