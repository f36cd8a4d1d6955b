"""The study's figure and table, from what the report left: `python benchmarks/study.py [docs/study/first_study]`.

Reads `summary.csv` in that folder, draws `figure.svg` beside it and prints, in Markdown, every arm by the primary
endpoint: JS to the retrained model on the forget set, corrected for the floor (0 is another retraining, 1 is doing
nothing), at matched forgetting.
"""

import csv
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot
from usage import call

PRIMARY = ("js_forget", "matched")
NETWORKS = {"mlp 6,000": "o", "cnn 6,000": "s", "mlp 60,000": "D"}
COLORS = {
    "hard labels": "black",
    "closer to retrained than hard labels": "#009e73",
    "farther": "#d55e00",
    "equivalent within the floor": "#56b4e9",
    "no difference shown": "#999999",
    "no comparison: never matched, or alone": "#cc79a7",
}
EDGES = (0.02, 30.0)
"""What lies beyond is drawn at the edge."""


def main(folder: str = "docs/study/first_study") -> None:
    """Draw the figure and print the table."""
    arms = read(Path(folder) / "summary.csv")
    figure(arms, Path(folder) / "figure.svg")
    kinds = sorted({arm["forget_set"] for arm in arms}, reverse=True)
    head = ("network", "algorithm", "targets", *kinds)
    print(f"| {' | '.join(head)} |\n{len(head) * '|---'}|")
    for network in NETWORKS:
        for algorithm, targets in sorted({(a["mu_algo"], a["targets"]) for a in arms if a["network"] == network}):
            mine = [a for a in arms if (a["network"], a["mu_algo"], a["targets"]) == (network, algorithm, targets)]
            shown = [next((text(a) for a in mine if a["forget_set"] == kind), "") for kind in kinds]
            print(f"| {network} | {algorithm} | {targets} | {' | '.join(shown)} |")


def text(arm: dict) -> str:
    """Show an arm's mean, with a sign where it differs from hard labels."""
    sign = {"closer to retrained than hard labels": " ✓", "farther": " ✗", "equivalent within the floor": " ="}
    never = f" ({arm['never']} never matched)" if arm["never"] else ""
    return ("–" if arm["level"] is None else f"{arm['level']:.2f}") + sign.get(arm["said"], "") + never


def read(file: Path) -> list[dict]:
    """Return every arm once, hard labels first."""
    with file.open() as opened:
        lines = [line for line in csv.DictReader(opened) if (line["measure"], line["where"]) == PRIMARY]
    arms = {}
    for line in lines:
        said = verdict(line)
        sides = {"one": "hard labels", "other": said} if line["other"] else {"one": said}
        for side, said in sides.items():
            arm = of(line, side) | {"said": said}
            arms[tuple(arm[name] for name in ("network", "forget_set", "mu_algo", "targets"))] = arm
    return list(arms.values())


def of(line: dict, side: str) -> dict:
    """Turn one side of a comparison into numbers."""
    size = "60,000" if line["dataset.train_size"] == "null" else "6,000"  # empty where a cell has one size alone
    return {
        "network": f"{line['architecture']} {size}",
        "forget_set": line["forget_set"],
        "mu_algo": line["mu_algo"],
        "targets": line[side],
        "level": float(line[f"{side}_corrected"]) if line[f"{side}_corrected"] else None,
        "never": int(line[f"{side}_censored"]),
    }


def verdict(line: dict) -> str:
    """Sort a verdict's words."""
    _, closer, farther, equivalent, nothing, apart = COLORS
    words = line["verdict"]
    if " closer to retrained" in words:
        return farther if words.startswith(f"{line['one']} closer") else closer
    if words.startswith(("nothing to compare", "no verdict")):
        return apart
    return equivalent if words.startswith(("equivalent", "the same")) else nothing


def figure(arms: list[dict], file: Path) -> None:
    """Draw every arm: a row for an algorithm and its targets, a panel for a kind of forget set."""
    mpl.rcParams |= {"svg.hashsalt": "study", "font.size": 9, "svg.fonttype": "path"}
    names = sorted({(arm["mu_algo"], arm["targets"]) for arm in arms}, reverse=True)
    kinds = sorted({arm["forget_set"] for arm in arms}, reverse=True)
    page, panels = pyplot.subplots(1, len(kinds), figsize=(11, 1.6 + 0.24 * len(names)), sharey=True)
    for kind, panel in zip(kinds, panels, strict=True):
        panel.set(title=f"forget set: {kind}", xscale="log", xlim=EDGES, ylim=(-0.7, len(names) - 0.3))
        panel.axvline(1, color="black", linewidth=0.8, linestyle=":")
        for height, (algorithm, _) in enumerate(names):
            if names[height - 1][0] != algorithm:
                panel.axhline(height - 0.5, color="#dddddd", linewidth=0.8)
        for arm in arms:
            if arm["forget_set"] == kind:
                draw(panel, arm, names.index((arm["mu_algo"], arm["targets"])))
    panels[0].set_yticks(range(len(names)), [f"{algorithm}: {targets}" for algorithm, targets in names])
    legend(page)
    page.supxlabel(
        "JS to retrained on the forget set at matched forgetting; 0 another retraining, 1 doing nothing"
    )
    page.tight_layout(rect=(0, 0, 1, 1 - 0.75 / page.get_figheight()))
    page.savefig(file, metadata={"Date": None})


def draw(panel, arm: dict, height: float) -> None:
    """Draw an arm, or a cross at the edge where no run of it ever matched."""
    level = EDGES[1] if arm["level"] is None else min(max(arm["level"], EDGES[0]), EDGES[1])
    mark = "x" if arm["level"] is None else NETWORKS[arm["network"]]
    shift = 0.25 * (1 - list(NETWORKS).index(arm["network"]))
    panel.plot(level, height + shift, mark, color=COLORS[arm["said"]], markersize=4.5, clip_on=False)


def legend(page) -> None:
    """Say what markers and colours mean."""
    line = pyplot.Line2D
    marks = [line([], [], color="black", marker=mark, linestyle="", label=name) for name, mark in NETWORKS.items()]
    marks.append(line([], [], color="black", marker="x", linestyle="", label="never matched"))
    lines = [line([], [], color=color, linewidth=3, label=said) for said, color in COLORS.items()]
    page.legend(handles=[*marks, *lines], loc="upper center", ncols=5, frameon=False)


if __name__ == "__main__":
    call(main, __doc__)
