"""The colour of an arm wherever it is drawn: that of the kind of its targets."""

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
KIND_OF = {"self": "soft", "out_of_fold_3": "out_of_fold", "masked": "delete", "negative_smoothing": "ugradsl"}
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
