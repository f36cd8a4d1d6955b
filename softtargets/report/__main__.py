"""`python -m softtargets.report RUNS_DIR`: from the runs of a folder to a verdict."""

import argparse
import math
import sys
from pathlib import Path

from softtargets.config.validation import naming
from softtargets.errors import BadInput, to_type, visible
from softtargets.report.comparison import comparison
from softtargets.report.folders import require_folder
from softtargets.report.measures import MEASURES
from softtargets.report.summary import ENDPOINTS, PrimaryOptions, summarise
from softtargets.system.files import named_path, require_writable
from softtargets.system.terminal import steady


def main(words: list[str] | None = None) -> int:
    """Write the report and print its verdicts; return 2 for bad input, and for a folder without a single run.

    A folder where every run failed has a report, which names them: 0.
    """
    parser = argparse.ArgumentParser(to_type("report"), description="From the runs of a folder to a verdict.")
    parser.add_argument(
        "runs_dir", type=named_path, metavar="RUNS_DIR", help="a sweep's folder, or one of several"
    )
    metrics = (
        f"the three faces and js_forget unless given; {', '.join(MEASURES)}, or a measure of your own in the runs"
    )
    compared = "two values of any setting (mu_algo=npo,graddiff), or two folders; without, every arm with hard"
    parser.add_argument("--compare", metavar="SETTING=A,B", help=compared)
    named = "two arms, as the report names them, compared first and by the primary rule; once for each question"
    parser.add_argument("--primary", nargs=2, action="append", default=[], metavar=("ARM", "ARM"), help=named)
    tuning = "runs on tuning seeds, which fix the margins of --primary beforehand"
    parser.add_argument("--margins", type=named_path, metavar="RUNS_DIR", help=tuning)
    parser.add_argument("--metric", action="append", metavar="NAME", help=metrics)
    parser.add_argument("--margin", help="of equivalence, above zero; the floor unless given")
    parser.add_argument("--out", type=named_path, help="where to; RUNS_DIR unless given")
    given = parser.parse_args(words)
    out = given.out or given.runs_dir
    try:
        wanted = comparison(given.compare) if given.compare is not None else None
        width = margin_of_equivalence(given.margin)
        require_folder(given.runs_dir)
        check_out(out, "--out" if given.out else "without --out, RUNS_DIR")
        primary = PrimaryOptions([tuple(pair) for pair in given.primary], given.margins)
        summarise(given.runs_dir, out, wanted, tuple(given.metric or ENDPOINTS), width, primary)
    except BadInput as error:
        print(visible(f"softtargets.report: {error}"), file=sys.stderr)
        return 2
    return 0


def margin_of_equivalence(text: str | None) -> float | None:
    """Read a margin of equivalence; raises BadInput unless it is a number above zero."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise BadInput(f"--margin={text}: must be a finite number above zero, such as --margin=0.01")
    return value


def check_out(folder: Path, setting: str) -> None:
    """Raise BadInput if nothing can be written to a folder, before there is something to write."""
    with naming(f"{setting}={folder}", (OSError, ValueError)):
        require_writable(setting, folder)


if __name__ == "__main__":
    steady()
    sys.exit(main())
