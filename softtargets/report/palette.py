"""One look for an arm wherever it is drawn: the colour says the kind of its targets, the shape its algorithm."""

from collections.abc import Iterable

from softtargets.colours import OTHER, colour, colours_of, forget_kind
from softtargets.report.markup import Markup, joined, tag

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


def shape(algorithm: str) -> str:
    """Return the name of an algorithm's shape; those without a shape of their own have a ring."""
    return ALGORITHMS.get(algorithm, "ring")


def styles(kinds: Iterable[str | None]) -> str:
    """Return the colours of these kinds of targets as CSS, for a light and for a dark ground."""
    colours = colours_of(kinds)
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
    return tag("svg", picture, width=14, height=14, aria_hidden="true", class_=f"mark k-{colour(targets)}")


def legend(arms: list[tuple[str, str | None]]) -> Markup:
    """Return what the colours and shapes of these arms, algorithm and targets, say."""
    kinds = dict.fromkeys(targets for _, targets in arms if targets is not None)
    known, by_look = colours_of(kinds), {colour(targets): targets for targets in reversed(kinds)}
    order = sorted(by_look, key=list(known).index)
    grey = [name for name in order if known[name] == OTHER]
    colours = [_entry("gradasc", by_look[name], forget_kind(by_look[name])) for name in order if name not in grey]
    colours += [_entry("gradasc", by_look[grey[0]], "other kinds")] if grey else []
    algorithms = [_entry(name, None, name) for name in dict.fromkeys(name for name, _ in arms)]
    parts = [("Colour, targets:", colours), ("Shape, algorithm:", algorithms)]
    return tag(
        "div", *(joined(tag("b", title), tag("ul", *each)) for title, each in parts if each), class_="legend"
    )


def _entry(algorithm: str, targets: str | None, text: str) -> Markup:
    return tag("li", mark(algorithm, targets), text)
