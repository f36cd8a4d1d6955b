"""Soft targets on one side, on both, on none: `python benchmarks/sides.py [docs/study/crossed]`.

Reads in that folder the table of where every arm stands, `standing.csv`, and draws `figure.svg` there: a column
for each distance, a row of panels for each recipe, a line for each arm. Prints the points in Markdown.
"""

from pathlib import Path

import matplotlib as mpl
from faces import FACES, RECIPES, Rows, arms_in, is_kept, way_left
from matplotlib import pyplot, ticker
from usage import call

ARMS = {
    ("relabel out_of_fold",): ("relabel", "teachers' probabilities", "own predictions"),
    ("relabel out_of_fold_forget",): ("relabel", "teachers' probabilities", "labels"),
    ("relabel out_of_fold_harden",): ("relabel", "teachers' argmax", "own predictions"),
    ("relabel out_of_fold_harden_forget",): ("relabel", "teachers' argmax", "labels"),
    ("scrub hard", "mu_algo.gamma=0"): ("scrub", "away from labels", "own predictions"),
    ("scrub hard", "mu_algo.alpha"): ("scrub", "away from labels", "own predictions and labels"),
    ("scrub hard", "mu_algo.alpha=0"): ("scrub", "away from labels", "labels"),
    ("l1_sparse hard",): ("l1_sparse", "–", "labels"),
    ("teachers",): ("teachers, a lookup", "–", "–"),
}
"""Algorithm, and what drives forget and retain set, by words of an arm's name."""
COLORS = {
    "teachers' probabilities": ("#d55e00", "soft targets on the forget set"),
    "own predictions": ("#009e73", "soft targets on the retain set alone"),
    "labels": ("#0072b2", "no soft targets"),
    "–": ("#555555", "for comparison"),
}
"""Color and its meaning, by the first of these words in what drives an arm."""


def main(folder: str = "docs/study/crossed") -> None:
    """Draw the figure and print its points."""
    points = {name: of_kinds(arms_in(Path(folder, "standing.csv"), name)) for name in RECIPES}
    figure(points, Path(folder, "figure.svg"))
    print(
        f"| recipe | algorithm | forget set | retain set | {' | '.join(FACES.values())} | utility |\n{8 * '|---'}|"
    )
    for name, recipe in RECIPES.items():
        for kind, faces in points[name].items():
            lefts = " | ".join("{:.0%} [{:.0%}, {:.0%}]".format(*way_left(faces[face])) for face in FACES)
            print(f"| {recipe} | {' | '.join(ARMS[kind])} | {lefts} | {'kept' if is_kept(faces) else 'lost'} |")


def of_kinds(arms: dict[str, Rows]) -> dict[tuple[str, ...], Rows]:
    """Return the rows by face of the arm of each kind that is there."""
    found = {kind_of(arm): faces for arm, faces in arms.items()}
    return {kind: found[kind] for kind in ARMS if kind in found}


def kind_of(arm: str) -> tuple[str, ...] | None:
    """Return the kind of an arm: of those whose words its name has the last one."""
    words = arm.split()
    named = " ".join(word for word in words if "=" not in word)
    fits = [
        (name, *settings)
        for name, *settings in ARMS
        if name == named and all(any(stated(word, setting) for word in words) for setting in settings)
    ]
    return max(fits, key=lambda kind: sum(map(len, kind)), default=None)


def stated(word: str, setting: str) -> bool:
    """Return whether a word is a setting, or has its name where no value is asked for."""
    return setting in (word, word.partition("=")[0])


def figure(points: dict[str, dict[tuple[str, ...], Rows]], file: Path) -> None:
    """Draw a row of panels for each recipe and a panel for each distance."""
    # equal bytes for equal numbers
    mpl.rcParams |= {"svg.hashsalt": "sides", "font.size": 9, "svg.fonttype": "path"}
    page, rows = pyplot.subplots(2, 3, figsize=(9.5, 6.6), sharey=True)
    for (name, recipe), panels in zip(RECIPES.items(), rows, strict=True):
        kinds = [*points[name]][::-1]
        panels[0].set_yticks(range(len(kinds)), [label(kind) for kind in kinds])
        panels[0].set_title(recipe, loc="left", fontsize=9, fontweight="bold", x=-0.85)
        for face, panel in zip(FACES, panels, strict=True):
            for place, kind in enumerate(kinds):
                draw(panel, place, kind, points[name][kind], face)
            frame(panel)
    for title, panel in zip(FACES.values(), rows[0], strict=True):
        panel.set_title(title, fontsize=9)
    page.supxlabel("way left: 0 % another retraining, 100 % doing nothing; hollow: loses utility", fontsize=9)
    lines = [
        pyplot.Line2D([], [], color=color, marker="o", markersize=5, label=what) for color, what in COLORS.values()
    ]
    page.legend(handles=lines, loc="upper center", ncols=4, frameon=False)
    page.tight_layout(rect=(0, 0, 1, 0.95))
    page.savefig(file, metadata={"Date": None})
    pyplot.close(page)


def label(kind: tuple[str, ...]) -> str:
    """Return what stands at the line of an arm."""
    algorithm, forget, retain = ARMS[kind]
    return "\nretain set: ".join(
        one for one in (f"{algorithm}: {forget}".removesuffix(": –"), retain) if one != "–"
    )


def draw(panel, place: int, kind: tuple[str, ...], faces: Rows, face: str) -> None:
    """Draw an arm with its 95 % interval; hollow where it loses utility."""
    drives = " ".join(ARMS[kind][1:])
    color = next(color for word, (color, _) in COLORS.items() if word in drives)
    left, *ends = way_left(faces[face])
    panel.plot(ends, [place, place], color=color, linewidth=1.4)
    panel.plot(left, place, "o", color=color, markerfacecolor=color if is_kept(faces) else "white", markersize=5)


def frame(panel) -> None:
    """Draw the lines of doing nothing and of another retraining."""
    panel.set_xlim(-0.05, 1.1)
    panel.xaxis.set_major_formatter(ticker.PercentFormatter(1))
    panel.axvline(1, color="black", linewidth=0.8, linestyle=":")
    panel.axvline(0, color="black", linewidth=0.8)
    panel.tick_params(labelsize=7)


if __name__ == "__main__":
    call(main, __doc__)
