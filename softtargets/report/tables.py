"""Verdicts as a table: CSV with everything, Markdown and LaTeX with what fits a page."""

from collections.abc import Sequence

from softtargets.errors import visible
from softtargets.report import alike
from softtargets.report.contrast import Contrast, headlines, say_contrast
from softtargets.report.costs import REQUESTS, Cost
from softtargets.report.csv_files import csv_text
from softtargets.report.measures import FACES
from softtargets.report.retraining import BreakEven, say_break_even
from softtargets.report.runs import typed
from softtargets.report.seeds import OverSeeds, Permuted
from softtargets.report.standing import Standing, say_standing
from softtargets.report.verdicts import WHERE, Arm, Verdict, diverged

HEAD = (
    "verdict",
    "n",
    "mean of the first",
    "of the second",
    "difference",
    "p",
    "p of equivalence",
    "detectable",
    "dz",
    "δ",
    "wins",
    "floor",
    "nothing",
    "floor-corrected",
)
ESCAPED = {char: f"\\{char}" for char in "&%$#_{}"}
ESCAPED |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
NO_RUN = "No run finished: there is nothing to compare."
SIGNS = {"±": r"$\pm$", "δ": r"$\delta$", "−": r"$-$", "Δ": r"$\Delta$", "|": r"$|$", "<": r"$<$", ">": r"$>$"}


def cell_name(verdict: Verdict) -> str:
    """Name the cell of a verdict."""
    return verdict.cell.name


def verdict_row(verdict: Verdict) -> list[str]:
    """Return what a page shows of a verdict, under the names of the cell, the arms and `HEAD`."""
    paired, arms = verdict.paired, [_arm(arm, diverged(verdict)) for arm in verdict.arms]
    arms += ["–"] * (verdict.other is None)
    start = [cell_name(verdict), verdict.names, verdict.words]
    corrected = ", ".join(_number(arm.corrected, ".2f") for arm in verdict.arms)
    reference = (_number(verdict.floor, ".4f"), _number(verdict.nothing, ".4f"), corrected)
    if paired is None:
        return [*start, "0", *arms, *7 * ["–"], *reference]
    mean = ("log " if verdict.logarithms else "") + _number(paired.mean, "+.4f")
    between = "" if paired.low is None else f" [{paired.low:+.4f}, {paired.high:+.4f}]"
    tests = (_p(verdict.p), _p(paired.equivalence_p), _number(paired.detectable, ".4f"))
    sizes = (_number(paired.dz, "+.2f"), f"{paired.cliff:+.2f}", f"{paired.wins:.0%}")
    n = f"{paired.n} ({paired.measured} measured)" if paired.lost else str(paired.n)
    return [*start, n, *arms, f"{mean}{between}", *tests, *sizes, *reference]


def _arm(arm: Arm, diverged: str) -> str:
    shown = "–" if arm.mean is None else f"{arm.mean:.4f}" + ("" if arm.sd is None else f" ± {arm.sd:.4f}")
    counts = {diverged: arm.diverged, "never matched": arm.censored, "without trajectory": arm.unwatched}
    counts |= {"not measured": arm.unmeasured}
    said = [f"{count} {name}" for name, count in counts.items() if count]
    if arm.diverged and arm.mean_with_diverged is not None:
        said.append(f"{arm.mean_with_diverged:.4f} with the diverged")
    said += [f"status {status}: {count}" for status, count in arm.flags.items()]
    return f"{shown} ({', '.join(said)})" if said else shown


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def _p(value: float | None) -> str:
    return "–" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def primary_lines(contrasts: list[Contrast]) -> list[str]:
    """Return a line for every primary contrast, and one for every question that several recipes answer."""
    costs = ["" if one.cost is None else f" at cost {one.cost:g}" for one in contrasts]
    lines = [f"{one.setting.name}{at}: {say_contrast(one)}" for one, at in zip(contrasts, costs, strict=True)]
    return [*lines, *headlines(contrasts)]


def primary_section(contrasts: list[Contrast]) -> str:
    """Return what the primary rule says, as the first section; nothing where no arms were named for it."""
    lines = [f"- {_cell(line)}" for line in primary_lines(contrasts)]
    return "\n".join(["## Primary contrast", "", *lines, "", ""]) if lines else ""


def retraining_lines(least: list[BreakEven]) -> list[str]:
    """Return a line for every setting with retraining from scratch: from which cost on it is the answer."""
    return [f"{one.setting.name}: {say_break_even(one)}" for one in least]


def by_setting(standings: list[Standing]) -> dict[str, list[Standing]]:
    """Sort standings under the names of their settings."""
    groups: dict[str, list[Standing]] = {}
    for one in standings:
        groups.setdefault(one.setting.name, []).append(one)
    return groups


STANDING = (
    "arm",
    "n",
    "cost",
    "seconds",
    "prepared",
    *(face.label for face in FACES),
    "way left",
    "where it stands",
)


def standing_row(one: Standing, short: bool = False) -> list[str]:
    """Return what a page shows of an arm's standing, under `STANDING`; the screen is narrower."""
    faces = [_number(face.mean, ".4f") for face in one.faces]
    arm = f"{one.arm} (for comparison only)" if one.comparison_only else one.arm
    if short:
        return [arm, _number(one.share, ".3f"), faces[0], say_standing(one)]
    costs = [_number(value, ".3f") for value in (one.share, one.seconds, one.prepared)]
    return [arm, one.design.shown, *costs, *faces, _number(one.faces[0].left, ".2f"), say_standing(one)]


def _standing(standings: list[Standing]) -> list[str]:
    parts = []
    for name, group in by_setting(standings).items():
        title = f"## {_inline(name)}: where every arm stands, the nearest first"
        lines = [title, "", f"| {' | '.join(map(_cell, STANDING))} |", f"|{len(STANDING) * '---|'}"]
        lines += [f"| {' | '.join(map(_cell, standing_row(one)))} |" for one in group]
        parts.append("\n".join(lines))
    return parts


def markdown(
    verdicts: list[Verdict],
    standings: list[Standing],
    over: list[OverSeeds],
    missing: dict[str, str],
    costs: Sequence[Cost] = (),
    least: Sequence[BreakEven] = (),
    tuning: Sequence[str] = (),
) -> str:
    """Return where every arm stands, a table for every measure and place, one over seeds, and what is left out."""
    parts = _standing(standings)
    parts += ["\n".join(f"- {_cell(line)}" for line in retraining_lines(least))] if least else []
    for title, group in grouped(verdicts).items():
        head = ("cell", "arms", *HEAD)
        lines = [
            f"## {_inline(title)}",
            "",
            f"| {' | '.join(_cell(name) for name in head)} |",
            f"|{len(head) * '---|'}",
        ]
        lines += [f"| {' | '.join(map(_cell, verdict_row(verdict)))} |" for verdict in group]
        parts.append("\n".join(lines))
    parts += [_over(over)] if over else []
    parts += [_costs(known)] if (known := [cost for cost in costs if cost.share is not None]) else []
    parts += [] if verdicts else [NO_RUN]
    return "\n\n".join([*parts, *_notes(verdicts, missing, tuning)]) + "\n"


OVER = ("cell", "targets", "seeds", "Gaussian KLoM", "floor", "bounded KLoM", "exchanged", "p")
OVER += ("U-LiRA accuracy", "floor", "exchanged", "p")


def _over(over: list[OverSeeds]) -> str:
    about = "Exchanged: mean where a seed's models are exchanged at random. p: one-sided, after Holm's correction."
    lines = ["## Over seeds", "", about, "", f"| {' | '.join(OVER)} |", f"|{len(OVER) * '---|'}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(_cell, over_row(one)))} |" for one in over)])


def over_row(one: OverSeeds) -> list[str]:
    """Return what a page shows of margins over seeds, under `OVER`."""
    numbers = [_number(value, ".3f") for value in (one.klom, one.klom_floor)]
    numbers += [*_permuted(one.bounded), *(_number(value, ".3f") for value in (one.ulira, one.ulira_floor))]
    numbers += _permuted(one.attack)[1:]  # U-LiRA itself is in the table already
    return [one.cell.name, one.arm, str(one.seeds), *numbers]


def _permuted(test: Permuted | None) -> list[str]:
    if test is None:
        return ["–", "–", "–"]
    return [f"{test.value:.3f}", f"{test.null:.3f}", _p(test.p_holm)]


def _costs(costs: list[Cost]) -> str:
    totals = [f"total, {count} request{'s' * (count > 1)}" for count in REQUESTS]
    head = ("cell", "targets", "runs", "share", "share in CPU seconds", "prepared", *totals)
    about = "As shares of what retraining costs; what is prepared before a request is spread over the requests."
    lines = ["## Cost", "", about, "", f"| {' | '.join(head)} |", f"|{len(head) * '---|'}"]
    for cost in costs:
        spread = [cost.total(count) if cost.prepared_share else None for count in REQUESTS]
        numbers = (cost.share, cost.share_seconds, cost.prepared_share, *spread)
        row = (cost.cell.name, cost.arm, str(cost.runs), *(_number(value, ".3f") for value in numbers))
        lines.append(f"| {' | '.join(map(_cell, row))} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Escape what Markdown would read as HTML, as a link or as the end of a cell."""
    return _inline(text).replace("|", "\\|")


def _inline(text: str) -> str:
    """Escape what Markdown would read as HTML or as a link."""
    shown = visible(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    return shown.replace("](", "]\\(")


def _notes(verdicts: list[Verdict], missing: dict[str, str], tuning: Sequence[str]) -> list[str]:
    titles = {"Tuned on what is judged here": tuning}
    titles |= {"Differs between the arms beside the targets": settings(verdicts), "Left out": refused(verdicts)}
    titles |= {"Runs without a result": why_without_result(missing)}
    lists = [
        "\n".join([f"{title}:", "", *(f"- {_cell(line)}" for line in lines)])
        for title, lines in titles.items()
        if lines
    ]
    unlike = made_unlike(verdicts)
    return [f"{unlike}.", *lists] if unlike else lists


def settings(verdicts: list[Verdict]) -> list[str]:
    """Say of every pair of arms what differs between them beside the targets."""
    lines_of = {(cell_name(v), " / ".join(arm.name for arm in v.arms)): v.settings for v in verdicts if v.settings}
    return [f"{cell}, {arms}: {', '.join(lines)}" for (cell, arms), lines in sorted(lines_of.items())]


def made_unlike(verdicts: list[Verdict]) -> str | None:
    """Say in a sentence how many pairs were not made alike; None if all were."""
    pairs_of = {(verdict.cell, verdict.names): verdict.unlike for verdict in verdicts}
    return alike.in_words([pair for pairs in pairs_of.values() for pair in pairs])


def why_without_result(missing: dict[str, str]) -> list[str]:
    """Say of every run without a result why it has none."""
    return [f"{name}: {why}" for name, why in missing.items()]


def refused(verdicts: list[Verdict]) -> list[str]:
    """Return a sentence for everything that was left out."""
    return sorted({say_standing for verdict in verdicts for say_standing in verdict.refused})


def grouped(verdicts: list[Verdict]) -> dict[str, list[Verdict]]:
    """Sort verdicts by measure and place, under titles."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(f"{verdict.measure.label}, {WHERE[verdict.where]}", []).append(verdict)
    return groups


def latex(verdicts: list[Verdict]) -> str:
    """Return the same tables for a paper; they need the package booktabs."""
    parts = []
    for title, group in grouped(verdicts).items():
        head = ("cell", "arms", *HEAD)
        lines = [f"% {visible(title)}", f"\\begin{{tabular}}{{lll{'r' * (len(HEAD) - 1)}}}", r"\toprule"]
        lines += [f"{' & '.join(map(_tex, head))} \\\\", r"\midrule"]
        lines += [f"{' & '.join(map(_tex, verdict_row(verdict)))} \\\\" for verdict in group]
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}"]))
    parts += [] if verdicts else [f"% {NO_RUN}"]
    return "\n\n".join(parts) + "\n"


def _tex(text: str) -> str:
    return "".join(ESCAPED.get(char) or SIGNS.get(char) or char for char in visible(text))


def comma_separated(verdicts: list[Verdict]) -> str:
    """Return every number of every verdict, a line each."""
    return csv_text(map(_flat, verdicts))


def _flat(verdict: Verdict) -> dict:
    settings_of_cell = {name: typed(value) for name, value in verdict.cell.settings} | {
        "measure": verdict.measure.name,
        "where": verdict.where,
    }
    for side, arm in zip(("one", "other"), verdict.arms, strict=False):
        settings_of_cell |= {side: arm.name} | {f"{side}_{name}": value for name, value in _fields(arm).items()}
    paired = {} if verdict.paired is None else _fields(verdict.paired)
    rest = {"p_holm": verdict.p, "floor": verdict.floor, "nothing": verdict.nothing, "margin": verdict.margin}
    rest |= {"scale": "log" if verdict.logarithms else "difference"}
    notes = {"refused": "; ".join(verdict.refused), "settings": "; ".join(verdict.settings)}
    notes |= {"made": alike.in_words(verdict.unlike) or "alike"}
    return settings_of_cell | paired | rest | notes | {"verdict": verdict.words}


def _fields(record) -> dict:
    values = {name: getattr(record, name) for name in record.__dataclass_fields__ if name != "name"}
    return {
        name: "; ".join(f"{k} {v}" for k, v in x.items()) if isinstance(x, dict) else x
        for name, x in values.items()
    }
