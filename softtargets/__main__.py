"""The command `softtargets`, which `pip install` gives."""

import os
import sys

from softtargets.system.signals import heed
from softtargets.system.terminal import steady

USAGE = """softtargets: hard labels against soft targets in machine unlearning

  softtargets run [setting=value ...]            one run, as python run.py in a checkout
  softtargets run -m [setting=value,value ...]   one run for every combination
  softtargets run --help                         groups, options and examples; --help GROUP for one group
  softtargets search [setting=value ...]         find settings for one arm, as in mu_algo=npo unlearn.cost=0.1
  softtargets shadows [models=64 ...]            train models of many seeds, for attacks per sample
  softtargets report FOLDER                      tables, verdicts and a page from the runs in a folder
  softtargets table build|add                    one page from folders of results; take in others' results
  softtargets store list|verify|prune            show, check or delete trained models
  softtargets upload FOLDER                      send offline tracking sessions to a ClearML server
"""


def main(words: list[str] | None = None) -> int:
    """Run one command and return its exit code; 2 for an unknown command."""
    steady()
    heed()  # before imports that take a while
    # without words: in a task that ClearML's agent starts, the run; at a terminal, the help
    words = sys.argv[1:] if words is None else words
    name, *rest = words or (["run"] if "CLEARML_TASK_ID" in os.environ else ["--help"])
    if name in ("--help", "-h"):
        print(USAGE, end="")
    elif name == "run":
        return _run(rest)
    elif name == "search":
        from softtargets.tuning.command import main as search

        return search(rest)
    elif name == "shadows":
        from softtargets.cli.shadows import main as shadows

        return shadows(rest)
    elif name == "report":
        from softtargets.report.__main__ import main as report

        return report(rest)
    elif name == "table":
        from softtargets.table.__main__ import main as table

        return table(rest)
    elif name == "store":
        from softtargets.store.__main__ import main as store

        return store(rest)
    elif name == "upload":
        from softtargets.tracker.__main__ import main as tracker

        return tracker(["upload", *rest])
    else:
        print(
            f"softtargets {name}: no such command. Type run, search, shadows, report, table, store or upload",
            file=sys.stderr,
        )
        return 2
    return 0


def _run(words: list[str]) -> int:
    from softtargets.cli.main import command
    from softtargets.cli.main import main as run

    sys.argv[1:] = words  # Hydra reads them there
    command(run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
