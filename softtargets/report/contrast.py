"""The primary contrast of a report: two arms that its reader named beforehand, whatever their algorithms."""

import dataclasses
import math

import numpy

from softtargets.errors import BadInput, nearest
from softtargets.report import endpoint
from softtargets.report.measures import FACES, Floors
from softtargets.report.pairs import SHARED_MODELS, Design, by_pair, design, places_in, same
from softtargets.report.runs import Run
from softtargets.report.standing import Setting, gate, listed, placed

NAMES = dict(zip((face.name for face in FACES), ("js_t", "disagreement", "mia_gap"), strict=True))
"""What the primary rule calls the faces."""
SAID = {"confirms": "not farther", "unconfirmed": "not shown", "contradicts": "farther"}
WORDS = {"js_t": "probabilities", "disagreement": "decisions", "mia_gap": "privacy"}


@dataclasses.dataclass(frozen=True)
class Contrast:
    """What the primary rule says of two arms of a setting."""

    setting: Setting
    one: str
    other: str
    design: Design
    found: endpoint.Primary
    gates: tuple[bool | None, bool | None]
    """Whether each arm keeps its utility."""


def contrasts(runs: list[Run], one: str, other: str) -> list[Contrast]:
    """Judge two arms by the primary rule in every setting that has both.

    Margins are those of the runs that are judged: a tenth of the way from another retraining to doing nothing. To
    fix them beforehand, name the arms after a report on tuning pairs. Raises BadInput where no setting has both.
    """
    arms: dict[Setting, dict[str, list[Run]]] = {}
    for run in runs:
        setting, arm = placed(run)
        arms.setdefault(setting, {}).setdefault(arm, []).append(run)
    both = [(setting, there) for setting, there in arms.items() if one in there and other in there]
    if not both:
        names = sorted({arm for there in arms.values() for arm in there})
        meant = next((nearest(name, names) for name in (one, other) if name not in names), "")
        raise BadInput(
            f"--primary {one!r} {other!r}: no setting has both arms; the arms are {', '.join(names)}{meant}"
        )
    return [_contrast(setting, one, there[one], other, there[other]) for setting, there in both]


def _contrast(setting: Setting, one: str, ones: list[Run], other: str, others: list[Run]) -> Contrast:
    first, second = by_pair(ones), by_pair(others)
    pairs = [(first[key], second[key]) for key in sorted(first.keys() & second.keys())]
    pairs = [pair for pair in pairs if same(*pair, SHARED_MODELS)]
    if not pairs:
        raise BadInput(f"--primary {one!r} {other!r}: {setting.name}: no two runs of these arms make a pair")
    sides = [list(side) for side in zip(*pairs, strict=True)]
    shape = design(sides[0])
    cells = places_in(sides[0]) if shape.kind == "crossed" else None
    found = endpoint.primary(*map(_faces, sides), _margins(sides[0] + sides[1]), cells)
    return Contrast(setting, one, other, shape, found, tuple(gate(side).passed for side in sides))


def _faces(runs: list[Run]) -> endpoint.Faces:
    """Return the values of an arm by face; infinity where a run has none."""
    return {
        NAMES[face.name]: numpy.array([math.inf if (v := face.at_end(run)) is None else v for run in runs])
        for face in FACES
    }


def _margins(runs: list[Run]) -> dict[str, float]:
    """Return the margin of every face but the first."""
    floors = Floors()
    return {
        NAMES[face.name]: endpoint.margin(
            face.average([face.nothing(run) for run in runs]) or 0.0, floors.of(face, runs) or 0.0
        )
        for face in FACES[1:]
    }


def sentence(contrast: Contrast) -> str:
    """Say what the primary rule says: direction, size, other faces, and who loses utility."""
    found, names = contrast.found, {"one": contrast.one, "other": contrast.other}
    edges = found.js_t.error.interval(found.js_t.mean)
    low, high = edges if edges[0] < 0 < edges[1] else sorted(map(abs, edges))
    size = f"by {abs(found.js_t.mean):.2g} nats of JS_T [{low:.2g}, {high:.2g}], p = {found.js_t.p:.2g}"
    lost = [name for name, kept in zip(names.values(), contrast.gates, strict=True) if kept is False]
    utility = [f"{listed(lost)} without utility"] if lost else []
    if found.closer:
        second = names["other" if found.closer == "one" else "one"]
        said = [f"{names[found.closer]} is closer to retrained than {second} {size} ({contrast.design.shown})"]
    else:
        ahead = f"{names[found.ahead]} is ahead {size}" if found.ahead else "both are equal"
        said = [f"neither is shown to be closer to retrained: {ahead} ({contrast.design.shown})"]
    return "; ".join(
        [*said, *(f"by {WORDS[name]} {SAID[face.status]}" for name, face in found.faces.items()), *utility]
    )
