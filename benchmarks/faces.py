"""How far arms are from retraining, by cost, face and recipe: `python benchmarks/faces.py [docs/study/at_best]`.

Reads the tables of where every arm stands in that folder: `standing.csv`, which has one recipe, or the project's
and the efficient one, or `own.csv` and `efficient.csv`. Draws `figure.svg` there and prints its points in
Markdown. Of the arms of a kind and a cost the one that is nearest to retraining by JS_T is drawn.
"""

import csv
import math
from pathlib import Path

import matplotlib as mpl
from frontier import budget
from matplotlib import pyplot, ticker
from usage import call

RECIPES = {"own": "the project's recipe", "efficient": "the efficient recipe"}
FACES = {
    "js_t_forget": "probabilities: JS_T",
    "disagreement_forget": "decisions: disagreement",
    "mia_gap": "privacy: membership gap",
}
ARMS = {
    "relabel out_of_fold_forget": ("soft on the forget set: teachers' probabilities", "o", "#d55e00"),
    "relabel": ("soft on both sets: teachers' probabilities", "o", "#d55e00"),
    "scrub hard": ("soft on the retain set: scrub", "D", "#009e73"),
    "relabel out_of_fold_harden_forget": ("labels alone: teachers' argmax", "P", "#0072b2"),
    "scrub soft": ("soft on both sets: scrub", "D", "#009e73"),
    "npo soft": ("soft on both sets: npo", "v", "#cc79a7"),
    "l1_sparse hard": ("labels alone: l1_sparse", "X", "#56b4e9"),
    "finetune": ("labels alone: fine-tuning", "s", "#332288"),
    "retrain": ("labels alone: retraining from scratch", "^", "#555555"),
}
"""Kinds of arms by the first words of their names, with label, mark and colour."""
MOST = 2.2
"""Share of the way at which a panel ends; what lies beyond is drawn at the edge, with its number."""
SMALL = {"textcoords": "offset points", "fontsize": 7}
APART = 1.055
"""Ratio between the places of arms of one cost, so that their intervals can be told apart."""
Rows = dict[str, dict]
"""What is known of an arm, by face."""


def main(folder: str = "docs/study/at_best") -> None:
    """Draw the figure and print its points."""
    points = points_in(Path(folder))
    figure(points, Path(folder) / "figure.svg")
    print(f"| recipe | arm | cost | {' | '.join(FACES.values())} | utility |\n{7 * '|---'}|")
    for name, drawn in points.items():
        for (kind, cost), faces in sorted(drawn.items()):
            print(row(RECIPES[name], ARMS[kind][0], cost, faces))


def points_in(folder: Path) -> dict[str, dict[tuple[str, float], Rows]]:
    """Return the rows by face of what is drawn: by recipe that has arms, kind of arm and cost."""
    found = {name: nearest_of(arms_in(table_of(folder, name), name)) for name in RECIPES}
    return {name: drawn for name, drawn in found.items() if drawn}


def table_of(folder: Path, recipe: str) -> Path:
    """Return the table of where arms of a recipe stand."""
    own = folder / f"{recipe}.csv"
    return own if own.exists() else folder / "standing.csv"


def row(recipe: str, arm: str, cost: float, faces: Rows) -> str:
    """Return a row of the table in Markdown."""
    return f"| {recipe} | {arm} | {cost} | {standing(faces)} |"


def standing(faces: Rows) -> str:
    """Return the ways left by all faces and whether utility is kept, as cells of a table."""
    lefts = ["{:.2f} [{:.2f}, {:.2f}]".format(*way_left(faces[face])) for face in FACES]
    return " | ".join([*lefts, "kept" if is_kept(faces) else "lost"])


def arms_in(file: Path, recipe: str) -> dict[str, Rows]:
    """Return, for each arm of a recipe, its rows by face, against doing nothing."""
    arms: dict[str, Rows] = {}
    with file.open() as opened:
        for line in csv.DictReader(opened):
            of_recipe = line["setting"].endswith("training=mlp_efficient") == (recipe == "efficient")
            if of_recipe and line["reference"] == "doing nothing":
                arms.setdefault(line["arm"], {})[line["face"]] = line
    return arms


def nearest_of(arms: dict[str, Rows]) -> dict[tuple[str, float], Rows]:
    """Return, for each kind of arm and cost, the rows by face of its nearest arm."""
    nearest: dict[tuple[str, float], Rows] = {}
    for arm, faces in sorted(arms.items(), key=lambda item: -float(item[1]["js_t_forget"]["mean"])):
        if kind := kind_of(arm):
            nearest[kind, budget(faces["js_t_forget"])] = faces  # the last one is the nearest
    return nearest


def kind_of(arm: str) -> str | None:
    """Return the kind of an arm, by its algorithm, or by its algorithm and targets."""
    words = [word for word in arm.split() if "=" not in word]
    return next((kind for kind in (" ".join(words), words[0]) if kind in ARMS), None)


def is_kept(faces: Rows) -> bool:
    """Return whether an arm passes the utility gate."""
    return faces["js_t_forget"]["utility_kept"] == "True"


def is_searched(faces: Rows) -> bool:
    """Return whether a search chose an arm's settings."""
    return "tuned=searched" in faces["js_t_forget"]["arm"]


def way_left(row: dict) -> tuple[float, float, float]:
    """Return the share of the way that an arm leaves, and its 95 % interval from the pairs with doing nothing."""
    nothing, floor = float(row["nothing"]), float(row["floor"])
    whole = math.log(nothing / floor) if row["scale"] == "log" else nothing - floor
    low, high = (1 + float(row[f"difference_{end}"]) / whole for end in ("low", "high"))
    return float(row["left"]), low, high


def figure(points: dict[str, dict[tuple[str, float], Rows]], file: Path) -> None:
    """Draw a row of panels for each recipe and a panel for each face."""
    # equal bytes for equal numbers
    mpl.rcParams |= {"svg.hashsalt": "faces", "font.size": 9, "svg.fonttype": "path"}
    height = (12 + 22 * len(points)) / 10
    page, rows = pyplot.subplots(len(points), 3, figsize=(9.5, height), sharex=True, sharey=True, squeeze=False)
    top = min(
        MOST,
        max(way_left(rows[face])[2] for drawn in points.values() for rows in drawn.values() for face in FACES),
    )
    kinds = [kind for kind in ARMS if any(kind == one for drawn in points.values() for one, _ in drawn)]
    costs = sorted({cost for drawn in points.values() for _, cost in drawn})
    some_searched = any(is_searched(rows) for drawn in points.values() for rows in drawn.values())
    for name, panels in zip(points, rows, strict=True):
        recipe = f"{RECIPES[name]}\n" if len(points) > 1 else ""
        panels[0].set_ylabel(f"{recipe}way left (↓ nearer to retraining)")
        for face, panel in zip(FACES, panels, strict=True):
            frame(panel, top, costs)
            for at, kind in enumerate(kinds):
                arms = {cost: rows for (one, cost), rows in points[name].items() if one == kind}
                by_hand = {cost for cost, rows in arms.items() if some_searched and not is_searched(rows)}
                draw(panel, kind, arms, face, APART ** (at - (len(kinds) - 1) / 2), by_hand)
    for title, panel in zip(FACES.values(), rows[0], strict=True):
        panel.set_title(title)
    legend(page, kinds)
    cost = "cost of a request: gradient samples over retraining's (without the teachers, trained before)"
    page.supxlabel(cost, fontsize=9)
    page.tight_layout(rect=(0, 0, 1, 1 - 0.616 / height))
    page.savefig(file, metadata={"Date": None})
    pyplot.close(page)


def frame(panel, top: float, costs: list[float]) -> None:
    """Draw the axes of a panel, and the lines of doing nothing and of another retraining."""
    panel.set(xscale="log", xlim=(0.78 * costs[0], 1.28 * costs[-1]), ylim=(-0.15, top + 0.15))
    panel.set_xticks(costs, [f"{cost:g}" for cost in costs])
    panel.minorticks_off()
    panel.yaxis.set_major_formatter(ticker.PercentFormatter(1))
    panel.axhline(1, color="black", linewidth=0.8, linestyle=":")
    panel.axhline(0, color="black", linewidth=0.8)


def draw(panel, kind: str, arms: dict[float, Rows], face: str, aside: float, by_hand: set[float]) -> None:
    """Draw an arm over its costs with 95 % intervals; hollow where it loses utility."""
    _, mark, color = ARMS[kind]
    costs = sorted(arms)
    places = [min(way_left(arms[cost][face])[0], MOST) for cost in costs]
    panel.plot([cost * aside for cost in costs], places, color=color, linewidth=1, alpha=0.6)
    for cost, place in zip(costs, places, strict=True):
        left, *ends = way_left(arms[cost][face])
        panel.plot(2 * [cost * aside], [min(end, MOST) for end in ends], color=color, linewidth=1.2)
        fill = color if is_kept(arms[cost]) else "white"
        panel.plot(cost * aside, place, mark, color=color, markerfacecolor=fill, markersize=5, clip_on=False)
        if cost in by_hand:
            panel.annotate("by hand", (cost * aside, place), (-22, -12), **SMALL, color=color)
        if left > MOST:
            panel.annotate(f"{left:.0%}", (cost * aside, place), (-4, -13), **SMALL, color=color)


def legend(page, kinds: list[str]) -> None:
    """Say what markers mean."""
    line = pyplot.Line2D
    lines = [
        line([], [], color=color, marker=mark, markersize=5, label=label)
        for label, mark, color in (ARMS[kind] for kind in kinds)
    ]
    hollow = line(
        [], [], color="black", marker="o", markerfacecolor="white", linestyle="", label="hollow: loses utility"
    )
    nothing = line([], [], color="black", linewidth=0.8, linestyle=":", label="100 %: doing nothing")
    floor = line([], [], color="black", linewidth=0.8, label="0 %: another retraining")
    page.legend(handles=[*lines, hollow, nothing, floor], loc="upper center", ncols=3, frameon=False)


if __name__ == "__main__":
    call(main, __doc__)
