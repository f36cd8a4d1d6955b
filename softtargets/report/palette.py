"""One look for an arm wherever it is drawn: the colour says the kind of its targets, the shape its algorithm."""

from softtargets.report.markup import Markup, joined, tag

COLOURS = {
    "hard": ("#555555", "#bbbbbb"),
    "soft": ("#3366ff", "#88ddff"),
    "out_of_fold": ("#cc7700", "#ff8800"),
    "label_smoothing": ("#11aa66", "#88ffbb"),
    "uniform": ("#445500", "#777722"),
    "delete": ("#dd22bb", "#ff00bb"),
    "random_label": ("#dd0033", "#ee8877"),
    "undial": ("#cc6699", "#bb5577"),
    "ugradsl": ("#332288", "#aa99ff"),
    "bad_teacher": ("#2200ff", "#aa11ff"),
    "teacher": ("#3399ee", "#55ff77"),
    "oracle": ("#004477", "#eeee00"),
}
"""Of a kind of targets on a light and on a dark ground: hard labels are neutral. Any two differ by ΔE76 ≥ 20 for
readers with deuteranopia, protanopia and neither (simulated as in Machado 2009)."""
OTHER = ("#8c8c8c", "#8c8c8c")
"""Of further kinds, which their labels tell apart."""
KIND_OF = {"self": "soft", "masked": "delete", "negative_smoothing": "ugradsl"}
"""Presets whose forget targets are of a kind (`targets/forget`)."""
SHAPES = {
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "square": "M-3.5-3.5h7v7h-7z",
    "diamond": "M0-5l5 5-5 5-5-5z",
    "up": "M0-5l4.8 8.4h-9.6z",
    "down": "M0 5l4.8-8.4h-9.6z",
    "right": "M5 0l-8.4 4.8v-9.6z",
    "left": "M-5 0l8.4 4.8v-9.6z",
    "plus": "M-1.5-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
    "star": "M0-5.5l1.6 3.7 4 .4-3 2.7.9 3.9-3.5-2-3.5 2 .9-3.9-3-2.7 4-.4z",
    "bow": "M-4.5-4.5l9 9v-9l-9 9z",
    "glass": "M-4.5-4.5h9l-9 9h9z",
    "bar": "M-1.5-5h3v10h-3z",
    "reference": "M0 1l3-5h-6z",
    "ring": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0zM-2 0a2 2 0 1 1 4 0a2 2 0 1 1-4 0z",
}
ALGORITHMS = {
    "gradasc": "circle",
    "graddiff": "square",
    "npo": "diamond",
    "relabel": "up",
    "finetune": "down",
    "scrub": "plus",
    "salun": "star",
    "rmu": "bow",
    "neggrad_plus": "right",
    "ugradsl_plus": "left",
    "l1_sparse": "glass",
    "retrain": "bar",
}


def kind(targets: str | None) -> str:
    """Return the kind of an arm's targets: a colour's name, "other", or "none" for an arm that ignores targets."""
    if targets is None:
        return "none"
    forget = targets.partition(" ")[0].partition("/")[0]
    named = KIND_OF.get(forget, forget)
    return named if named in COLOURS else "other"


def shape(algorithm: str) -> str:
    """Return the name of an algorithm's shape; those without a shape of their own have a ring."""
    return ALGORITHMS.get(algorithm, "ring")


def styles() -> str:
    """Return the colours as CSS, for a light and for a dark ground."""
    colours = COLOURS | {"other": OTHER, "none": ("#1b1f24", "#e6eaee")}
    light, dark = ("".join(f".k-{name}{{--c:{pair[at]}}}" for name, pair in colours.items()) for at in (0, 1))
    return f"{light}@media screen and (prefers-color-scheme:dark){{{dark}}}"


def shapes() -> Markup:
    """Return the shapes to refer to, `m-NAME` for a pair and the larger `M-NAME` for a mean."""
    paths = [tag("path", id=f"m-{name}", d=path) for name, path in SHAPES.items()]
    paths += [tag("path", id=f"M-{name}", d=path, transform="scale(1.5)") for name, path in SHAPES.items()]
    return tag("svg", tag("defs", *paths), width=0, height=0, aria_hidden="true", class_="defs")


def mark(algorithm: str, targets: str | None) -> Markup:
    """Return an arm's mark as a small picture for legends and tables."""
    picture = tag("use", href=f"#m-{shape(algorithm)}", x=7, y=7)
    return tag("svg", picture, width=14, height=14, aria_hidden="true", class_=f"mark k-{kind(targets)}")


def legend(arms: list[tuple[str, str | None]]) -> Markup:
    """Return what the colours and shapes of these arms, algorithm and targets, say."""
    kinds = dict.fromkeys(targets for _, targets in arms if targets is not None)
    by_kind = {kind(targets): targets for targets in reversed(kinds)}
    colours = [_entry("gradasc", t, "other kinds" if k == "other" else k) for k, t in by_kind.items()]
    algorithms = [_entry(name, None, name) for name in dict.fromkeys(name for name, _ in arms)]
    parts = [("Colour, targets:", colours), ("Shape, algorithm:", algorithms)]
    return tag(
        "div", *(joined(tag("b", title), tag("ul", *each)) for title, each in parts if each), class_="legend"
    )


def _entry(algorithm: str, targets: str | None, text: str) -> Markup:
    return tag("li", mark(algorithm, targets), text)
