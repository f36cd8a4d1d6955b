"""`softtargets table`: one page from folders of results, and a door for other people's results."""

import argparse
import sys
from pathlib import Path

from softtargets.config.validation import naming
from softtargets.errors import BadInput, to_type, visible
from softtargets.report.__main__ import check_out
from softtargets.system.files import named_path, write_text
from softtargets.system.terminal import steady
from softtargets.system.words import counted
from softtargets.table import tidy
from softtargets.table.adding import add
from softtargets.table.fields import table
from softtargets.table.page import page

COMMUNITY = Path("community")
"""The folder of results of many people."""


def main(words: list[str] | None = None) -> int:
    """Build the table or add results to it; return 2 for bad input."""
    given = _parser().parse_args(words)
    try:
        given.work(given)
    except BadInput as error:
        print(visible(f"softtargets.table: {error}"), file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(to_type("table"), description="One table from many folders of results.")
    commands = parser.add_subparsers(required=True, metavar="build|add")
    build = commands.add_parser("build", help="write the page and its CSV files")
    folders = (
        "folders with results, community unless given; where two have the same arm and pair, the first counts"
    )
    build.add_argument("folders", nargs="*", type=named_path, metavar="DIR", default=[COMMUNITY], help=folders)
    build.add_argument(
        "--out", type=named_path, metavar="DIR", default=Path("table"), help="where to; table unless given"
    )
    build.set_defaults(work=_build)
    more = commands.add_parser("add", help="check somebody else's results and copy them")
    more.add_argument("folder", type=named_path, metavar="DIR", help="the folder of a finished sweep")
    more.add_argument(
        "--to", type=named_path, metavar="DIR", default=COMMUNITY, help="where to; community unless given"
    )
    again = "compute so many of its runs again, drawn at random, and compare"
    more.add_argument("--rerun", type=int, metavar="N", default=0, help=again)
    more.set_defaults(work=_add)
    return parser


def _add(given: argparse.Namespace) -> None:
    if given.rerun < 0:
        raise BadInput(f"--rerun={given.rerun}: must be 0 or more")
    for line in add(given.folder, given.to, given.rerun):
        print(visible(line))


def _build(given: argparse.Namespace) -> None:
    check_out(given.out, "--out")
    content = table(given.folders)
    texts = {
        "table.csv": tidy.table_csv(content),
        "ranking.csv": tidy.ranking_csv(content),
        "index.html": page(content),
    }
    with naming(f"--out={given.out}", (OSError,)):
        for name, text in texts.items():
            write_text(given.out / name, text)
    shown, left_out = counted(len(content.rows), "row"), counted(len(content.notes), "run")
    size = f"{shown}, {counted(len(content.columns), 'cell')}, {left_out} left out"
    print(visible(f"table: {given.out / 'index.html'} ({size}); table.csv and ranking.csv beside it"))


if __name__ == "__main__":
    steady()
    sys.exit(main())
