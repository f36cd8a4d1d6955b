"""How often each test finds a difference where there is none: 400 null studies, against a nominal level of 5 %.

`python benchmarks/levels.py [studies=400] [draws=199] [folder=benchmarks/results]` simulates studies, prints the
share of them in which each test is significant with its 95 % interval (Clopper and Pearson), and writes levels.md.
An interval must contain 5 %; that of a test which is conservative by design may lie below.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
from scipy import stats
from usage import call

from softtargets.report.endpoint import mean_difference, primary, sign_test
from softtargets.report.seeds import clipped_klom, permuted, ulira
from softtargets.report.statistics import LEVEL, compare, folded

PAIRS = 25
SIDE = 5
"""Forget sets and seeds of a crossed design."""
MODELS, SAMPLES = 10, 20
MARGINS = {"disagreement": 0.01, "mia_gap": 0.01}
Draws = numpy.random.Generator
HEAD = """# Levels of the tests, by simulation

`python benchmarks/levels.py`: the share of null studies in which each test is significant at a nominal 5 %. The
95 % interval must contain 5 %, or for a conservative test may lie below. A control is wrong on purpose.

"""


@dataclasses.dataclass(frozen=True)
class Level:
    """What a test did in null studies."""

    name: str
    kind: str
    """exact, conservative or control."""
    significant: int
    studies: int

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the level."""
        found = stats.binomtest(self.significant, self.studies).proportion_ci(method="exact")
        return float(found.low), float(found.high)

    @property
    def holds(self) -> bool:
        """Return whether the level is as it should be."""
        low, high = self.interval
        return low <= LEVEL and (high >= LEVEL or self.kind == "conservative")


def main(studies: str = "400", draws: str = "199", folder: str = str(Path(__file__).parent / "results")) -> None:
    """Print the table and write it."""
    lines = ["| test | kind | level | 95 % interval | as it should be |", "|---|---|---|---|---|"]
    for level in levels(int(studies), int(draws)):
        low, high = level.interval
        share = f"{level.significant / level.studies:.3f} | {low:.3f} to {high:.3f}"
        said = "yes" if level.holds else "no"
        lines.append(f"| {level.name} | {level.kind} | {share} | {said} |")
        print(lines[-1], flush=True)
    (Path(folder) / "levels.md").write_text(HEAD + "\n".join([*lines, ""]))


def levels(studies: int, draws: int, seed: int = 0) -> Iterator[Level]:
    """Simulate every test, each from a generator of its own; `draws` are permutations."""
    for place, (name, kind, study) in enumerate(tests(draws)):
        random = numpy.random.default_rng([seed, place])
        yield Level(name, kind, sum(study(random) for _ in range(studies)), studies)


def tests(draws: int) -> Iterator[tuple[str, str, Callable[[Draws], bool]]]:
    """Yield the name, kind and null study of each test; a study returns whether the test is significant."""
    yield f"paired t, {PAIRS} distinct pairs", "exact", paired_t
    yield f"sign test, {PAIRS} pairs", "conservative", signs
    for sets, seeds in itertools.product((0.0, 1.0), repeat=2):
        name = f"crossed {SIDE} × {SIDE}, sd of forget sets {sets:g}, of seeds {seeds:g}, of the rest 1"
        # where one of them has no spread, V counts the rest twice at times, and degrees of freedom have a least
        yield name, "conservative", functools.partial(in_crossed, sets, seeds, True)
    yield (
        f"crossed {SIDE} × {SIDE} as if its pairs were distinct",
        "control",
        functools.partial(in_crossed, 1.0, 1.0, False),
    )
    for measure in (clipped_klom, ulira):
        name = f"permutations of {measure.__name__}, {MODELS} models a side"
        yield name, "exact", functools.partial(permutation, measure, draws)
    yield "primary rule, arms that are the same", "conservative", same_arms
    for face in MARGINS:
        yield (
            f"primary rule, closer by JS_T, at the margin by {face}",
            "conservative",
            functools.partial(at_margin, face, 0.02),
        )
    yield (
        "primary rule, the same where the rival has no gap",
        "conservative",
        functools.partial(at_margin, "mia_gap", 0.0),
    )
    for gap in (0.02, 0.0):
        yield f"privacy, arms that are the same, gap {gap:g}", "conservative", functools.partial(gaps, gap)
    yield "privacy, the arm with a gap nearer than the one without", "conservative", nearer_with_a_gap


def paired_t(random: Draws) -> bool:
    """Two arms whose distances share what a pair has in common, with skewed noise of their own."""
    common = random.gamma(4, 0.005, PAIRS)
    one, other = (common + random.gamma(4, 0.001, PAIRS) for _ in range(2))
    return mean_difference(one, other).p < LEVEL


def signs(random: Draws) -> bool:
    """The same, by signs; every eighth run is lost."""
    one, other = (numpy.where(random.random(PAIRS) < 1 / 8, numpy.inf, random.random(PAIRS)) for _ in range(2))
    return sign_test(one, other).p < LEVEL


def in_crossed(sets: float, seeds: float, crossed: bool, random: Draws) -> bool:
    """Differences with an effect of the forget set, one of the seed, and noise."""
    cells = numpy.array(list(itertools.product(range(SIDE), repeat=2)))
    effects = sets * random.normal(size=SIDE)[cells[:, 0]] + seeds * random.normal(size=SIDE)[cells[:, 1]]
    one = effects + random.normal(size=len(cells))
    return mean_difference(one, numpy.zeros(len(cells)), cells if crossed else None).p < LEVEL


def permutation(measure: Callable, draws: int, random: Draws) -> bool:
    """Margins of unlearned models that are those of retrained ones; a model's margins move together."""
    place = random.normal(2, 3, SAMPLES)
    one, other = (
        place + random.normal(size=(MODELS, 1)) + random.standard_t(5, (MODELS, SAMPLES)) for _ in range(2)
    )
    return permuted(measure, one, other, draws, int(random.integers(2**31))).p <= LEVEL


def same_arms(random: Draws) -> bool:
    """Two arms of one distribution by every face."""
    common = random.gamma(4, 0.005, PAIRS)
    one, other = (
        {
            "js_t": common + random.gamma(4, 0.001, PAIRS),
            "disagreement": common + random.gamma(4, 0.002, PAIRS),
            "mia_gap": random.normal(0.02, 0.015, PAIRS),
        }
        for _ in range(2)
    )
    return primary(one, other, MARGINS).closer is not None


def gaps(gap: float, random: Draws) -> bool:
    """Two arms of the same signed gaps, compared as a report does."""
    one, other = (folded(random.normal(gap, 0.015, PAIRS)) for _ in range(2))
    return compare(one, other, 0.0).t_p < LEVEL


def nearer_with_a_gap(random: Draws) -> bool:
    """An arm with a small gap against one whose gaps are noise about 0: it must not be called nearer."""
    one, other = (folded(random.normal(gap, 0.015, PAIRS)) for gap in (0.002, 0.0))
    found = compare(one, other, 0.0)
    return found.t_p < LEVEL and found.mean < 0


def at_margin(face: str, gap: float, random: Draws) -> bool:
    """One arm is surely closer by JS_T, and by one face worse by just the margin: it must not be called closer."""
    worse = {"disagreement": -0.05, "mia_gap": -gap} | {face: MARGINS[face]}
    one, other = (
        {
            "js_t": 0.02 + 0.02 * rival + random.normal(0, 0.005, PAIRS),
            "disagreement": 0.1 + (0 if rival else worse["disagreement"]) + random.normal(0, 0.01, PAIRS),
            "mia_gap": gap + (0 if rival else worse["mia_gap"]) + random.normal(0, 0.015, PAIRS),
        }
        for rival in (False, True)
    )
    return primary(one, other, MARGINS).closer == "one"


if __name__ == "__main__":
    call(main, __doc__)
