"""The command `softtargets search`."""

from softtargets.cli.main import fail, refusing

USAGE = """softtargets search: settings for one arm, by tries on pairs that no study uses

  softtargets search mu_algo=npo targets=soft unlearn.cost=0.1 trials=60

  trials=60             tries, counted over all processes that share the search
  objective=retrained   retrained: share of the way to retrained models that is left; utility: that, and a price
                        where the report's utility gate is near; blind: sees no retrained model
  tuning_pairs=4        pairs on which a try is scored, from seed 1000 on
  fresh_pairs=10        pairs on which the winner is chosen among the finalists, from seed 2000 on
  finalists=3           best tries that are run again on the fresh pairs
  sampler_seed=0        random seed of the tries
  space=FILE            what is drawn, in place of search/ALGORITHM.yaml
  known=DIR             tables, as in conf/tuned: what they have for this arm, at any budget, size, network or
                        kind of forget set, is tried first

All other settings are those of a run. Type the same command again to resume, or at the same time to share the
work.
"""


def main(words: list[str]) -> int:
    """Search and return the exit code."""
    if {"--help", "-h"} & set(words):
        print(USAGE, end="")
        return 0
    try:
        with refusing():
            from softtargets.tuning.search import search

            search(words, say=lambda line: print(line, flush=True))
    except Exception as error:
        fail(error)
    return 0
