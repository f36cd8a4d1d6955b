"""`python -m softtargets.report RUNS_DIR`: from the runs of a folder to a verdict."""

import argparse
import sys
from pathlib import Path

from softtargets.errors import BadInput, visible
from softtargets.report.measures import MEASURES
from softtargets.report.summary import ENDPOINTS, summarise


def main(words: list[str] | None = None) -> int:
    """Write the report and print its verdicts; 2 for bad input."""
    parser = argparse.ArgumentParser("python -m softtargets.report", description=__doc__)
    parser.add_argument("runs_dir", type=Path, metavar="RUNS_DIR", help="a sweep's folder, or one of several")
    parser.add_argument("--compare", metavar="targets=A,B", help="two arms; without, every arm with hard")
    parser.add_argument("--metric", action="append", choices=MEASURES, help="js_forget and mia_gap unless given")
    parser.add_argument("--margin", type=float, help="of equivalence; the floor unless given")
    parser.add_argument("--out", type=Path, help="where to; RUNS_DIR unless given")
    given = parser.parse_args(words)
    out = given.out or given.runs_dir
    try:
        summarise(given.runs_dir, out, arms(given.compare), tuple(given.metric or ENDPOINTS), given.margin)
    except BadInput as error:
        print(visible(f"softtargets.report: {error}"), file=sys.stderr)
        return 2
    return 0


def arms(text: str | None) -> tuple[str, str] | None:
    """Read `targets=A,B`; raises BadInput for anything else."""
    if text is None:
        return None
    name, _, value = text.partition("=")
    found = value.split(",")
    if name != "targets" or len(found) != 2:
        raise BadInput(f"--compare {text}: must be targets=A,B, the names of two arms")
    return found[0], found[1]


if __name__ == "__main__":
    sys.exit(main())
