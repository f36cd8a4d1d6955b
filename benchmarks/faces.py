"""The figure of the answer: `python benchmarks/faces.py [docs/study/frontier] [docs/study/utility]`.

Reads `own.csv` and `efficient.csv` of the frontier in the first folder, and in the second `own_05.csv` and
`efficient_05.csv`, of arms that were searched with utility. Draws `figure.svg` in the first and prints its points
by all three faces in Markdown: of the frontier, for every kind of arm and cost, the one that is nearest to
retraining by JS_T; and the searched arms.
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
SEARCHED = {
    "scrub hard": ("searched: best hard labels (scrub)", "s", "#0072b2"),
    "relabel out_of_fold_harden_forget": ("searched: argmax of five teachers", "P", "#117733"),
    "relabel out_of_fold_forget": ("searched: soft targets of five teachers", "o", "#d55e00"),
}
"""Searched at .05 with utility in the score."""
APART = 1.09
"""Ratio between the places of searched arms, which all have one cost."""
MOST = 2.2
"""Share of the way at which a panel ends; what lies beyond is drawn at the edge, with its number."""
FAINT = 0.55
"""Opacity of the frontier behind the searched arms."""


def main(folder: str = "docs/study/frontier", searched: str = "docs/study/utility") -> None:
    """Draw the figure and print its points."""
    points = {name: nearest_of(arms_in(Path(folder) / f"{name}.csv")) for name in RECIPES}
    better = {name: searched_of(arms_in(Path(searched) / f"{name}_05.csv")) for name in RECIPES}
    figure(points, better, Path(folder) / "figure.svg")
    print(f"| recipe | arm | cost | {' | '.join(FACES.values())} | utility |\n{7 * '|---'}|")
    for name, recipe in RECIPES.items():
        for (algorithm, cost), faces in sorted(points[name].items()):
            print(row(recipe, ARMS[algorithm][0], cost, faces))
        for arm, faces in better[name].items():
            print(row(recipe, SEARCHED[arm][0], 0.05, faces))


def row(recipe: str, arm: str, cost: float, faces: dict[str, dict]) -> str:
    """Return a row of the table in Markdown."""
    lefts = " | ".join("{:.2f} [{:.2f}, {:.2f}]".format(*way_left(faces[face])) for face in FACES)
    return f"| {recipe} | {arm} | {cost} | {lefts} | {'kept' if is_kept(faces) else 'lost'} |"


def arms_in(file: Path) -> dict[str, dict[str, dict]]:
    """Return, for each arm, its rows by face, against doing nothing."""
    arms: dict[str, dict[str, dict]] = {}
    with file.open() as opened:
        for line in csv.DictReader(opened):
            if line["reference"] == "doing nothing":
                arms.setdefault(line["arm"], {})[line["face"]] = line
    return arms


def searched_of(arms: dict[str, dict[str, dict]]) -> dict[str, dict[str, dict]]:
    """Return the rows by face of every searched arm of the figure."""
    return {
        name: next(faces for arm, faces in arms.items() if arm.startswith(f"{name} unlearn.cost=0.05"))
        for name in SEARCHED
    }


def nearest_of(arms: dict[str, dict[str, dict]]) -> dict[tuple[str, float], dict[str, dict]]:
    """Return, for each algorithm and cost, the rows by face of its nearest arm."""
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


def figure(points: dict, searched: dict, file: Path) -> None:
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
            draw_searched(panel, searched[name], face)
    legend(page)
    page.supxlabel(
        "gradient samples of the request, as a share of retraining's (teachers not included)", fontsize=9
    )
    page.tight_layout(rect=(0, 0, 1, 0.89))
    page.savefig(file, metadata={"Date": None})
    pyplot.close(page)


def draw(panel, algorithm: str, arms: dict[float, dict], face: str) -> None:
    """Draw an arm over its costs with 95 % intervals; hollow where it loses utility."""
    _, mark, color = ARMS[algorithm]
    costs = sorted(arms)
    places = [min(way_left(arms[cost][face])[0], MOST) for cost in costs]
    panel.plot(costs, places, color=color, linewidth=1, alpha=FAINT)
    for cost, place in zip(costs, places, strict=True):
        left, *ends = way_left(arms[cost][face])
        panel.plot([cost, cost], [min(end, MOST) for end in ends], color=color, linewidth=1, alpha=FAINT)
        fill = color if is_kept(arms[cost]) else "white"
        style = {"color": color, "markerfacecolor": fill, "alpha": FAINT, "clip_on": False}
        panel.plot(cost, place, mark, markersize=4, **style)
        if left > MOST:
            panel.annotate(f"{left:.1f}", (cost, place), (-4, -13), textcoords="offset points", color=color)


def draw_searched(panel, arms: dict[str, dict], face: str) -> None:
    """Draw the searched arms side by side, with 95 % intervals; all of them keep utility."""
    for at, (arm, faces) in enumerate(arms.items()):
        if not is_kept(faces):
            raise ValueError(f"{arm}: loses utility, and the figure's legend says that searched arms keep it")
        (_, mark, color), place = SEARCHED[arm], 0.05 * APART ** (at - 1)
        left, *ends = way_left(faces[face])
        panel.plot([place, place], ends, color="black", linewidth=1.2, zorder=4)
        panel.plot(place, left, mark, color=color, markeredgecolor="black", markersize=6.5, zorder=5)


def legend(page) -> None:
    """Say what markers mean."""
    line = pyplot.Line2D
    lines = [
        line([], [], color=color, marker=mark, markersize=4, alpha=FAINT, label=label)
        for label, mark, color in ARMS.values()
    ]
    lines += [
        line([], [], color=color, marker=mark, markeredgecolor="black", markersize=6.5, linestyle="", label=label)
        for label, mark, color in SEARCHED.values()
    ]
    hollow = line([], [], color="black", marker="o", markerfacecolor="white", linestyle="", label="loses utility")
    nothing = line([], [], color="black", linewidth=0.8, linestyle=":", label="1: doing nothing")
    floor = line([], [], color="black", linewidth=0.8, label="0: another retraining")
    page.legend(handles=[*lines, hollow, nothing, floor], loc="upper center", ncols=3, frameon=False)


if __name__ == "__main__":
    call(main, __doc__)
