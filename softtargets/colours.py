"""The colour of an arm wherever it is drawn: that of the kind of its targets."""

import hashlib
from collections.abc import Iterable

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
"""Of further kinds where all colours are in use: their labels tell them apart."""
REFERENCE = ("#1b1f24", "#e6eaee")
"""Of the retrained model, and of arms without targets."""
FREQUENT = ("out_of_fold", "soft")
"""Kinds that most studies have: users' kinds take their colours last, and those of hard labels never."""
KIND_OF = {
    "self": "soft",
    "soft_forget": "soft",
    "soft_retain": "hard",
    "out_of_fold_3": "out_of_fold",
    "out_of_fold_forget": "out_of_fold",
    "out_of_fold_harden_forget": "out_of_fold_harden",
    "masked": "delete",
    "negative_smoothing": "ugradsl",
}
"""Presets whose forget targets are of a kind (`targets/forget`)."""


def kind(targets: str | None) -> str:
    """Return the kind of an arm's targets: a colour's name, "other", or "none" for an arm that ignores targets."""
    if targets is None:
        return "none"
    named = forget_kind(targets)
    return named if named in COLOURS else "other"


def forget_kind(targets: str) -> str:
    """Return the kind of an arm's forget targets, be it one without a colour of its own."""
    forget = targets.partition(" ")[0].partition("/")[0]
    return KIND_OF.get(forget, forget)


def colour(targets: str | None) -> str:
    """Return the name of a colour for a kind of targets; kinds of users have names of their own."""
    name = kind(targets)
    return f"own-{hashlib.sha256(forget_kind(targets).encode()).hexdigest()[:8]}" if name == "other" else name


def colours_of(kinds: Iterable[str | None]) -> dict[str, tuple[str, str]]:
    """Return the colours by their names, on a light and a dark ground.

    The name of a user's kind chooses its colour, so that it has the same one by itself; the next is taken where
    another of these kinds has that colour already, and grey where none is left.
    """
    named = {colour(targets): forget_kind(targets) for targets in kinds if targets is not None}
    taken, further = set(named), {}
    for name in sorted(named.keys() - COLOURS.keys(), key=named.get):
        free = [one for one in _preferred(name) if one not in taken]
        taken |= set(free[:1])
        further[name] = COLOURS[free[0]] if free else OTHER
    return COLOURS | {"none": REFERENCE} | further


def _preferred(name: str) -> list[str]:
    """Return kinds whose colours the name of a user's colour chooses, the first one first."""
    rare = [one for one in COLOURS if one not in ("hard", *FREQUENT)]
    start = int(name.removeprefix("own-"), 16) % len(rare)
    return [*rare[start:], *rare[:start], *FREQUENT]
