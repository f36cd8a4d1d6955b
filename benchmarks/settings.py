"""How far arms are from retraining, by setting: `python benchmarks/settings.py docs/study/elsewhere [FOLDER …]`.

Reads `standing.csv` in every folder, draws the arms of cost .1 of all their settings with five runs or more into
`by_setting.svg` in the first one, and prints its points in Markdown. Colours, marks and the way left are those of
benchmarks/faces.py.
"""

import csv
from pathlib import Path

import matplotlib as mpl
from faces import ARMS, FACES, MOST, SMALL, Rows, is_kept, legend, nearest_of, standing, way_left
from matplotlib import pyplot, ticker
from usage import call

NAMES = {
    "fashion_mnist mlp random": ("a random tenth", "6,000 images of Fashion-MNIST"),
    "fashion_mnist mlp random training=mlp_efficient": ("a random tenth", "the same, efficient recipe"),
    "fashion_mnist cnn random training=cnn_efficient": ("a random tenth", "the same, convolutional network"),
    "fashion_mnist mlp random dataset.train_size=null forget_set.fraction=0.1": (
        "a random tenth",
        "all of Fashion-MNIST",
    ),
    "mnist mlp random": ("a random tenth", "all of MNIST"),
    "cifar10_jpeg resnet9 random": ("a random tenth", "10,000 images of CIFAR-10, residual network"),
    "fashion_mnist mlp random dataset.train_size=6000 forget_set.fraction=0.01": (
        "a random 1 %",
        "6,000 images of Fashion-MNIST",
    ),
    "fashion_mnist mlp memorised": ("the most memorised tenth", "6,000 images of Fashion-MNIST"),
    "fashion_mnist mlp mislabelled": ("wrong labels, a tenth", "6,000 images of Fashion-MNIST"),
    "fashion_mnist mlp class": ("a whole class", "6,000 images of Fashion-MNIST"),
}
"""What is forgotten of what, by the name of a setting, in the order in which settings are shown."""
COST = 0.1
LEAST = 5
"""Fewest runs of a setting that is drawn: reports judge nothing below."""
SPREAD = 0.8
"""Share of a setting's height that its arms take."""


def main(*folders: str) -> None:
    """Draw the figure and print its points."""
    settings = {}
    for folder in folders or ("docs/study/elsewhere",):
        settings |= settings_in(Path(folder, "standing.csv"))
    settings = {setting: settings[setting] for setting in NAMES if setting in settings}
    figure(settings, Path(folders[0] if folders else "docs/study/elsewhere", "by_setting.svg"))
    print(f"| setting | arm | {' | '.join(FACES.values())} | utility |\n{6 * '|---'}|")
    for setting, arms in settings.items():
        for kind, faces in arms.items():
            print(f"| {', '.join(NAMES[setting])} | {ARMS[kind][0]} | {standing(faces)} |")


def settings_in(file: Path) -> dict[str, dict[str, Rows]]:
    """Return, for each setting, the rows by face of the nearest arm of each kind at the cost that is drawn."""
    found: dict[str, dict[str, Rows]] = {}
    with file.open() as opened:
        for line in csv.DictReader(opened):
            if line["reference"] == "doing nothing" and int(line["n"]) >= LEAST:
                found.setdefault(line["setting"], {}).setdefault(line["arm"], {})[line["face"]] = line
    return {setting: drawn for setting, arms in found.items() if (drawn := at_cost(arms))}


def at_cost(arms: dict[str, Rows]) -> dict[str, Rows]:
    """Return the nearest arm of each kind at the cost that is drawn, in the order of the legend."""
    nearest = {kind: rows for (kind, cost), rows in nearest_of(arms).items() if cost == COST}
    return {kind: nearest[kind] for kind in ARMS if kind in nearest}


def figure(settings: dict[str, dict[str, Rows]], file: Path) -> None:
    """Draw a panel for each face, in which a setting is a band and an arm a mark."""
    # equal bytes for equal numbers
    mpl.rcParams |= {"svg.hashsalt": "settings", "font.size": 9, "svg.fonttype": "path"}
    kinds = [kind for kind in ARMS if any(kind in arms for arms in settings.values())]
    height = 1.7 + 0.75 * len(settings)
    page, panels = pyplot.subplots(1, 3, figsize=(9.5, height), sharex=True, sharey=True)
    for (face, title), panel in zip(FACES.items(), panels, strict=True):
        frame(panel, title, [in_words(setting, arms) for setting, arms in settings.items()])
        for at, arms in enumerate(settings.values()):
            for rank, kind in enumerate(kinds):
                if kind in arms:
                    draw(panel, kind, arms[kind], face, at + SPREAD * ((rank + 0.5) / len(kinds) - 0.5))
    legend(page, kinds)
    page.supxlabel("way left at a tenth of retraining's gradient samples (← nearer to retraining)", fontsize=9)
    page.tight_layout(rect=(0, 0, 1, 1 - 0.85 / height))
    page.savefig(file, metadata={"Date": None})
    pyplot.close(page)


def in_words(setting: str, arms: dict[str, Rows]) -> str:
    """Return the name of a setting over lines, with the scale of its ways and its number of runs."""
    known = next(iter(arms.values()))["js_t_forget"]
    scale = ["in logarithms"] if known["scale"] == "log" else []
    names = [name.replace(", ", ",\n") for name in NAMES[setting]]
    return "\n".join([*names, *scale, f"n = {known['n']}"])


def frame(panel, title: str, names: list[str]) -> None:
    """Draw the axes of a panel, and the lines of doing nothing and of another retraining."""
    panel.set(xlim=(-0.15, MOST + 0.1), ylim=(len(names) - 0.5, -0.5), title=title)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.xaxis.set_major_formatter(ticker.PercentFormatter(1))
    panel.axvline(1, color="black", linewidth=0.8, linestyle=":")
    panel.axvline(0, color="black", linewidth=0.8)
    for edge in range(1, len(names)):
        panel.axhline(edge - 0.5, color="black", linewidth=0.3)


def draw(panel, kind: str, rows: Rows, face: str, height: float) -> None:
    """Draw an arm of a setting with its 95 % interval; hollow where it loses utility."""
    _, mark, color = ARMS[kind]
    left, *ends = way_left(rows[face])
    panel.plot([min(end, MOST) for end in ends], 2 * [height], color=color, linewidth=1.2)
    fill = color if is_kept(rows) else "white"
    panel.plot(min(left, MOST), height, mark, color=color, markerfacecolor=fill, markersize=5, clip_on=False)
    if left > MOST:
        panel.annotate(f"{left:.0%}", (MOST, height), (-30, -2), **SMALL, color=color)


if __name__ == "__main__":
    call(main, __doc__)
