"""Verdicts as a table: CSV with everything, Markdown and LaTeX with what fits a page."""

import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from softtargets.errors import visible
from softtargets.report import alike
from softtargets.report.contrast import Contrast, headlines, say_contrast
from softtargets.report.costs import REQUESTS, Cost
from softtargets.report.counts import Runless
from softtargets.report.csv_files import csv_text
from softtargets.report.folders import Lost, aside, without_result
from softtargets.report.leaks import Leak
from softtargets.report.numbers import number, with_interval, written
from softtargets.report.ranking import CORRECTED, Ranked, common_settings, without
from softtargets.report.ranking import HEAD as HEAD_OF_ARMS
from softtargets.report.retraining import BreakEven, say_break_even
from softtargets.report.runs import typed
from softtargets.report.seeds import OverSeeds, Permuted
from softtargets.report.standing import APART, Standing, say_standing
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
NONE_FINISHED = "Arms of which no run finished"
NO_RUN = "No run finished: there is nothing to compare."
SIGNS = {
    "±": r"$\pm$",
    "×": r"$\times$",
    "δ": r"$\delta$",
    "−": r"$-$",
    "Δ": r"$\Delta$",
    "|": r"$|$",
    "<": r"$<$",
    ">": r"$>$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "→": r"$\to$",
    "←": r"$\gets$",
    "∞": r"$\infty$",
    "·": r"$\cdot$",
    "√": r"$\surd$",
    "‖": r"$\Vert$",
    "…": r"\dots{}",
    "–": "--",
    "—": "---",
    "’": "'",
    "“": "``",
    "”": "''",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "ø": r"\o{}",
    "ł": r"\l{}",
}
"""Letters that every TeX knows by a command: a table is ASCII alone, and compiles whatever its encoding."""
GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "ε": "epsilon", "η": "eta", "θ": "theta", "λ": "lambda"}
GREEK |= {"μ": "mu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "ω": "omega"}
SIGNS |= {letter: rf"$\{name}$" for letter, name in GREEK.items()}
ACCENTS = dict(
    zip(
        "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327\u0328",
        "`'^~=u.\"rHvck",
        strict=True,
    )
)
"""Combining accents, with the commands that set them over a letter."""


def cell_name(verdict: Verdict) -> str:
    """Name the cell of a verdict."""
    return verdict.cell.name


def verdict_row(verdict: Verdict) -> list[str]:
    """Return what a page shows of a verdict, under the names of the cell, the arms and `HEAD`."""
    paired, arms = verdict.paired, [_arm(arm, diverged(verdict)) for arm in verdict.arms]
    arms += ["–"] * (verdict.other is None)
    start = [cell_name(verdict), verdict.names, verdict.words]
    corrected = ", ".join(_number(arm.corrected if verdict.way else None, 2) for arm in verdict.arms)
    reference = (_number(verdict.floor, 4), _number(verdict.nothing, 4), corrected)
    if paired is None:
        return [*start, "0", *arms, *7 * ["–"], *reference]
    difference = "–" if paired.mean is None else with_interval(paired.mean, paired.low, paired.high, 4, "+")
    difference = f"log {difference}" if verdict.logarithms else difference
    tests = (_p(verdict.p), _p(verdict.equivalence_p), _number(paired.detectable, 4))
    sizes = (_number(paired.dz, 2, "+"), f"{paired.cliff:+.2f}", f"{paired.wins:.0%}")
    n = f"{paired.n} ({paired.measured} measured)" if paired.lost else str(paired.n)
    return [*start, n, *arms, difference, *tests, *sizes, *reference]


def _arm(arm: Arm, diverged: str) -> str:
    values = [value for value in (arm.mean, arm.sd) if value is not None]
    shown = " ± ".join(written(values, 4, arm.sd)) or "–"
    counts = {diverged: arm.diverged, "never matched": arm.censored, "without trajectory": arm.unwatched}
    counts |= {"not measured": arm.unmeasured}
    said = [f"{count} {name}" for name, count in counts.items() if count]
    if arm.diverged and arm.mean_with_diverged is not None:
        said.append(f"{_number(arm.mean_with_diverged, 4)} with the diverged")
    said += [f"status {status}: {count}" for status, count in arm.flags.items()]
    return f"{shown} ({', '.join(said)})" if said else shown


def _number(value: float | int | None, least: int, sign: str = "") -> str:
    return "–" if value is None else number(value, least, sign)


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


def rankings(standings: list[Standing]) -> dict[str, list[Standing]]:
    """Sort standings under titles, by their settings and by what they need from before a request."""
    groups: dict[str, list[Standing]] = {}
    for one in standings:
        said = (
            f"ranked apart, arms {APART[one.group]}" if one.group else "where every arm stands, the nearest first"
        )
        groups.setdefault(f"{one.setting.name}: {said}", []).append(one)
    return groups


def standing_row(one: Standing) -> list[str]:
    """Return what the screen shows of an arm's standing."""
    return [one.shown, _number(one.share, 3), _number(one.faces[0].mean, 4), say_standing(one)]


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], about: str = "") -> str:
    """Return a section with a table in Markdown."""
    lines = [f"## {_inline(title)}", "", *([about, ""] if about else [])]
    lines += [f"| {' | '.join(map(_cell, head))} |", f"|{len(head) * '---|'}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows)])


COMPARED = ("cell", "arms", "distances", "first less second", "n and p", "verdict")


def compared_row(verdict: Verdict) -> list[str]:
    """Return a comparison under `COMPARED`; `verdict_row` has every number."""
    cell, arms, words, n, first, second, difference, p, *_ = verdict_row(verdict)
    tested = "–" if verdict.paired is None else f"n = {n}, p {p}"
    return [cell, arms, f"{first} / {second}", difference, tested, words]


def markdown(
    verdicts: list[Verdict],
    rows: Sequence[Ranked],
    over: list[OverSeeds],
    lost: dict[str, Lost],
    costs: Sequence[Cost] = (),
    lines: Sequence[str] = (),
    tuning: Sequence[str] = (),
    runless: Mapping[str, Runless] = MappingProxyType({}),
) -> str:
    """Return tables of six columns: every arm, every comparison by measure and place; then what is left out.

    `lines` come first: the headline. `runless` are the planned arms of which no run finished.
    """
    parts = ["\n".join(f"- {_cell(line)}" for line in lines)] if lines and verdicts else []
    parts += [] if verdicts else [NO_RUN, *map(_cell, lines)]
    titles = {0: "Where every arm stands, the nearest first"}
    titles |= {at: f"Ranked apart: arms {why}" for at, why in APART.items()}
    for at, title in titles.items():
        shown = [_honoured(row) for row in rows if row.entry.standing.group == at]
        parts += [_table(title, HEAD_OF_ARMS, shown, "" if at else CORRECTED)] if shown else []
    parts += _lists({NONE_FINISHED: without_a_run(runless)})
    parts += [_table(title, COMPARED, map(compared_row, group)) for title, group in grouped(verdicts).items()]
    if over:
        about = (
            "Exchanged: mean where a seed's models are exchanged at random. p: one-sided, after Holm's correction."
        )
        parts += [_table("Over seeds", OVER_SHORT, map(_over_short, over), about)]
    if known := [cost for cost in costs if cost.share is not None]:
        about = (
            "As shares of what retraining costs; what is prepared before a request is spread over the requests."
        )
        parts += [_table("Cost", COST, map(_cost_row, known), about)]
    return "\n\n".join([*parts, *_notes(verdicts, lost, tuning)]) + "\n"


def _honoured(row: Ranked) -> list[str]:
    """Return the cells of an arm, of which the second names it and says what it is the best of."""
    setting, arm, *rest = row.cells
    return [setting, f"{arm} ({row.honour})" if row.honour else arm, *rest]


OVER = ("cell", "targets", "seeds", "Gaussian KLoM", "floor", "bounded KLoM", "exchanged", "p")
OVER += ("U-LiRA accuracy", "floor", "exchanged", "p")
OVER_SHORT = ("cell", "targets", "seeds", "Gaussian KLoM (floor)", "bounded KLoM (exchanged, p)")
OVER_SHORT += ("U-LiRA accuracy (floor, exchanged, p)",)


def _over_short(one: OverSeeds) -> list[str]:
    row = over_row(one)
    return [*row[:3], f"{row[3]} ({row[4]})", f"{row[5]} ({row[6]}, {row[7]})", f"{row[8]} ({', '.join(row[9:])})"]


def over_row(one: OverSeeds) -> list[str]:
    """Return what a page shows of margins over seeds, under `OVER`."""
    numbers = [_number(value, 3) for value in (one.klom, one.klom_floor)]
    numbers += [*_permuted(one.bounded), *(_number(value, 3) for value in (one.ulira, one.ulira_floor))]
    numbers += _permuted(one.attack)[1:]  # U-LiRA itself is in the table already
    return [one.cell.name, one.arm, str(one.seeds), *numbers]


def _permuted(test: Permuted | None) -> list[str]:
    if test is None:
        return ["–", "–", "–"]
    return [f"{test.value:.3f}", f"{test.null:.3f}", _p(test.p_holm)]


LEAK = ("arm", "attack", "models", "AUC [95 %]", "exchanged", "p", "accuracy")
LEAK += ("TPR at 1 % FPR [95 %] (exchanged)", "TPR at 0.1 % FPR (exchanged)", "ε ≥ (of at most)")
OF_MARGINS = ("arm", "models", "forgetting score", "exchanged", "binned KLoM", "exchanged")


def leak_row(leak: Leak) -> list[str]:
    """Return what a page shows of an attack per sample, under `LEAK`."""
    area = f"{leak.auc:.3f} [{leak.low:.3f}, {leak.high:.3f}]"
    null = f"{leak.null_low:.3f} to {leak.null_high:.3f}"
    rate = (
        f"{leak.tpr_at_01:.3f} [{leak.tpr_at_01_low:.3f}, {leak.tpr_at_01_high:.3f}] ({leak.tpr_at_01_null:.3f})"
    )
    low_rate = f"{leak.tpr_at_001:.3f} ({leak.tpr_at_001_null:.3f})"
    bound = "–" if leak.epsilon is None else f"{leak.epsilon:.2f} ({leak.epsilon_most:.2f})"
    first = (leak.shown, leak.attack, str(leak.models), area, null, _p(leak.p), f"{leak.balanced_accuracy:.3f}")
    return [*first, rate, low_rate, bound]


def of_margins_row(leak: Leak) -> list[str]:
    """Return what a page shows of the margins of an arm, whatever the attack, under `OF_MARGINS`."""
    numbers = (leak.forgetting_score, leak.forgetting_score_null, leak.klom, leak.klom_null)
    return [leak.arm, str(leak.models), *(f"{number:.3f}" for number in numbers)]


TOTAL = f"total over {', '.join(map(str, REQUESTS))} requests"
COST = ("cell", "targets", "runs", "share (in CPU seconds)", "prepared", TOTAL)


def _cost_row(cost: Cost) -> list[str]:
    spread = [_number(cost.total(count) if cost.prepared_share else None, 3) for count in REQUESTS]
    share = f"{_number(cost.share, 3)} ({_number(cost.share_seconds, 3)})"
    return [
        cost.cell.name,
        cost.arm,
        str(cost.runs),
        share,
        _number(cost.prepared_share, 3),
        ", ".join(spread),
    ]


def _cell(text: str) -> str:
    """Escape what Markdown would read as HTML, as a link or as the end of a cell."""
    return _inline(text).replace("|", "\\|")


def _inline(text: str) -> str:
    """Escape what Markdown would read as HTML or as a link."""
    shown = visible(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    return shown.replace("](", "]\\(")


def _notes(verdicts: list[Verdict], lost: dict[str, Lost], tuning: Sequence[str]) -> list[str]:
    titles = {"Tuned on what is judged here": tuning}
    titles |= {"Differs between the arms beside the targets": settings(verdicts), "Left out": refused(verdicts)}
    titles |= {"Set aside, since a file cannot be read": why_without_result(aside(lost))}
    titles |= {"Runs without a result": why_without_result(without_result(lost))}
    unlike = made_unlike(verdicts)
    return [*([f"{unlike}."] if unlike else []), *_lists(titles)]


def _lists(titles: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a list in Markdown under each title that has lines."""
    return [
        "\n".join([f"{title}:", "", *(f"- {_cell(line)}" for line in lines)])
        for title, lines in titles.items()
        if lines
    ]


def settings(verdicts: list[Verdict]) -> list[str]:
    """Say of every pair of arms what differs between them beside the targets."""
    lines_of = {(cell_name(v), " / ".join(arm.name for arm in v.arms)): v.settings for v in verdicts if v.settings}
    return [f"{cell}, {arms}: {', '.join(lines)}" for (cell, arms), lines in sorted(lines_of.items())]


def made_unlike(verdicts: list[Verdict]) -> str | None:
    """Say in a sentence how many pairs were not made alike; None if all were."""
    pairs_of = {(verdict.cell, verdict.names): verdict.unlike for verdict in verdicts}
    return alike.in_words([pair for pairs in pairs_of.values() for pair in pairs])


def without_a_run(runless: Mapping[str, Runless]) -> list[str]:
    """Say of every arm of which no run finished what became of its runs."""
    return [f"{arm}: {one.shown}" for arm, one in runless.items()]


def why_without_result(lost: dict[str, Lost]) -> list[str]:
    """Say of every run without a result why it has none."""
    return [f"{name}: {one.why}" for name, one in lost.items()]


def refused(verdicts: list[Verdict]) -> list[str]:
    """Return a sentence for everything that was left out."""
    return sorted({sentence for verdict in verdicts for sentence in verdict.refused})


def grouped(verdicts: list[Verdict]) -> dict[str, list[Verdict]]:
    """Sort verdicts by measure and place, under titles."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(f"{verdict.measure.label}, {WHERE[verdict.where]}", []).append(verdict)
    return groups


SHORT = {1: "with models from before the request", 2: "for comparison only"}
"""Groups of arms that are ranked apart, in a column's width."""
WIDTHS = (0.19, 0.035, 0.125, 0.175, 0.155, 0.22)
"""Of the columns for a paper, as shares of the width of its column."""
PAPER_ROWS = 10
"""Most arms in a table for a paper: one of them may take six lines, and a column has room for sixty."""
FOR_PAPER = ("arm", "n", "distance", "way left", "difference", "verdict")
OF_LOST = ("arm", "what became of its runs")
WIDTHS_OF_LOST = (0.3, 0.66)
"""Likewise, of arms of which no run finished."""
MOST_OF_REASON = 160
"""Letters of what became of an arm's runs that a table for a paper has."""


def latex(rows: Sequence[Ranked], label: str, runless: Mapping[str, Runless] = MappingProxyType({})) -> str:
    """Return a table of every setting that fits a column of a paper; they need the packages array and booktabs.

    The last one has the arms of which no run finished.
    """
    groups: dict[str, list[Ranked]] = {}
    for row in rows:
        groups.setdefault(row.entry.setting.name, []).append(row)
    commons = {name: common_settings([row.entry for row in group]) for name, group in groups.items()}
    cut = [
        (name + " (continued)" * bool(start), group[start : start + PAPER_ROWS], commons[name])
        for name, group in groups.items()
        for start in range(0, len(group), PAPER_ROWS)
    ]
    parts = [_paper_table(*one, label, at) for at, one in enumerate(cut, start=1)]
    lost = list(runless.items())
    parts += [
        _lost_table(lost[start : start + PAPER_ROWS], len(cut) + at)
        for at, start in enumerate(range(0, len(lost), PAPER_ROWS), start=1)
    ]
    return "\n\n".join(parts if rows else [f"% {NO_RUN}", *parts]) + "\n"


def _lost_table(lost: Sequence[tuple[str, Runless]], number: int) -> str:
    """Return the table of arms that have no number, with what became of their runs."""
    reasons = [textwrap.shorten(one.shown, MOST_OF_REASON, placeholder=" …") for _, one in lost]
    rows = [[_tex(arm, LONGEST), _tex(why, LONG_WORD)] for (arm, _), why in zip(lost, reasons, strict=True)]
    return _in_column(f"{NONE_FINISHED}.", OF_LOST, WIDTHS_OF_LOST, [_tex_row(row) for row in rows], number)


def _paper_table(name: str, rows: list[Ranked], common: Sequence[str], label: str, number: int) -> str:
    name += f"; all arms: {' '.join(common)}" if common else ""
    said = f"{name}. Distance: {label}. Way left: 0 is another retraining, 1 doing nothing. Verdict: nearer or "
    said += f"farther than doing nothing, or closer than the arm that it names. {CORRECTED}{_in_bold(rows)}"
    lines = []
    for at, row in enumerate(rows):
        group = row.entry.standing.group
        if group and (at == 0 or rows[at - 1].entry.standing.group != group):
            apart = _tex(f"Ranked apart: arms {SHORT[group]}")
            lines += [r"\midrule", rf"\multicolumn{{6}}{{@{{}}l}}{{{apart}}} \\"]
        lines.append(_tex_row(_paper_row(row, common)))
    return _in_column(said, FOR_PAPER, WIDTHS, lines, number)


def _in_column(said: str, head: Sequence[str], widths: Sequence[float], lines: Sequence[str], number: int) -> str:
    """Return a table in the width of a column, under its caption."""
    columns = "".join(rf">{{\raggedright\arraybackslash}}p{{{width}\columnwidth}}" for width in widths)
    start = [
        r"\begin{table}",
        r"\centering\scriptsize\setlength{\tabcolsep}{2pt}\setlength{\extrarowheight}{2pt}",
        r"\setlength{\belowcaptionskip}{4pt}",
        rf"\caption{{{_tex(said)}}}\label{{tab:softtargets-{number}}}",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        _tex_row(map(_tex, head)),
        r"\midrule",
    ]
    return "\n".join([*start, *lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _tex_row(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _in_bold(rows: Sequence[Ranked]) -> str:
    names = [row.honour.replace("best", "best arm", 1) for row in rows if row.honour]
    return f" In bold: the {' and the '.join(names)}." if names else ""


def _paper_row(row: Ranked, common: Sequence[str]) -> list[str]:
    arm, cells = _tex(without(row.brief[0], common), LONGEST), map(_tex, row.brief[1:])
    return [rf"\textbf{{{arm}}}" if row.honour else arm, *cells]


def _tex(text: str, longest: int | None = None) -> str:
    """Escape what LaTeX would read as a command, and let it break after `_` and other signs.

    After a dot and = it may break before a word alone, and not after what belongs to the next number. A word of
    more than `longest` letters breaks inside.
    """
    parts, since, shown = [], 0, visible(text)
    for letter, following in zip(shown, f"{shown[1:]} ", strict=True):
        parts.append(ESCAPED.get(letter) or SIGNS.get(letter) or _ascii(letter))
        since = 0 if letter == " " else since + 1
        # none where a space follows, which breaks anyway, and none that parts a sign from its word or number
        is_sign = not letter.isalnum() and letter not in " .=+-−([" and following not in " .,;:)]"
        if is_sign or (letter in ".=" and following.isalpha()) or since == longest:
            parts.append(r"\allowbreak{}")
            since = 0
    return "".join(parts)


def _ascii(letter: str) -> str:
    """Return a letter without a meaning to LaTeX in ASCII: an accent as a command, others by their number."""
    if letter.isascii():
        return letter
    base, *accents = unicodedata.normalize("NFD", letter)
    if base.isascii() and len(accents) == 1 and accents[0] in ACCENTS:
        return rf"\{ACCENTS[accents[0]]}{{{base}}}"
    return f"[U+{ord(letter):04X}]"


LONGEST = 11
"""Letters of an arm's name that its column has room for."""
LONG_WORD = 30
"""Letters of a word that the column of reasons has room for."""


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
