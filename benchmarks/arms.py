"""Settings of every arm at one budget, by `softtargets search`: 6,000 images of Fashion-MNIST, mlp, random 10 %.

`python benchmarks/arms.py [cost=0.1] [trials=60] [only=npo,relabel/delete] [tables=conf/tuned] [settings]`
searches one arm after the other and puts each winner into the tables, as an entry with a cost. Settings, such as
tuning_pairs=2, go to every search; other data or models need other `tables`. Type the same command again to
resume, with more `trials` to go on, or at the same time to share the tries: all state is in RUNS/search. An arm
that cannot be run at that budget is named and passed over.

An arm that has an entry of so many tries is not searched again. The noise of a search: `python benchmarks/arms.py
only=npo sampler_seed=1 tables=DIR`, then `python benchmarks/arms.py differ tables=DIR`, which prints how far the
winners in DIR are from those in conf/tuned on the same fresh pairs. Another objective: objective=blind in place of
sampler_seed=1, then `python benchmarks/arms.py again tables=DIR`, which scores all entries in DIR as others are.

`python benchmarks/arms.py table [tables=DIR]` prints the entries with a cost in Markdown, `… scores` their scores
alone, an arm a line, `… cells` their words, as cells of a study, and `… budgets` how many arms were searched, at
which cost and by how many tries.
"""

import contextlib
import shlex
import statistics
import sys
from pathlib import Path

from usage import call

import softtargets
from softtargets.config import tuned
from softtargets.errors import BadInput, Failed
from softtargets.layout import CONF
from softtargets.tuning.winner import row

DATA = {"dataset": "fashion_mnist", "dataset.train_size": "6000"}
ARMS = """
    retrain, finetune, relabel out_of_fold, relabel delete, npo hard, npo soft, gradasc hard, gradasc soft,
    graddiff hard, graddiff soft, neggrad_plus hard, neggrad_plus soft, scrub hard, scrub soft, salun random_label,
    salun out_of_fold, msg, ct, cfk, amun, sfron hard, rmu, relabel held_out, relabel random_label, head_reset,
    relabel out_of_fold_3, relabel out_of_fold_harden, relabel out_of_fold_sample, relabel held_out_nearest,
    relabel tilted, relabel marginal, relabel local_teacher, unilogit, l1_sparse, euk, boundary_shrink, ssd hard,
    ugradsl_plus hard, relabel uniform, relabel bad_teacher, npo ugradsl, scrub out_of_fold,
    npo soft_forget, npo soft_retain, graddiff soft_forget, graddiff soft_retain, salun out_of_fold_harden,
    relabel out_of_fold_forget, relabel out_of_fold_harden_forget, salun out_of_fold_forget,
    salun out_of_fold_harden_forget
"""
"""Algorithm and targets of each arm, the baselines and the best known first."""


def main(
    *, cost: str = "0.1", trials: str = "60", only: str = "", tables: str = str(CONF / "tuned"), **settings: str
) -> None:
    """Search every arm, or those in `only`: an algorithm, or an algorithm with its targets."""
    for algorithm, *targets in arms():
        names = {algorithm, "/".join([algorithm, *targets])}
        if only and names.isdisjoint(only.split(",")):
            continue
        words = [f"{name}={value}" for name, value in (DATA | settings).items()]
        words += [f"mu_algo={algorithm}", *(f"targets={one}" for one in targets), f"unlearn.cost={cost}"]
        print(" ".join(words), flush=True)
        if any(
            one["words"][: len(words)] == words and one["trials"] >= int(trials) for *_, one in searched(tables)
        ):
            continue
        with named():
            winner = softtargets.search([*words, f"trials={trials}"], say=say)
            tuned.add(Path(tables, f"{winner['table']}.yaml"), *winner["arm"], row(winner))


def say(line: str) -> None:
    """Print a line of a search below the words of its arm."""
    print(f"  {line}", flush=True)


@contextlib.contextmanager
def named():
    """Print why an arm cannot be searched, and go on."""
    try:
        yield
    except (BadInput, Failed) as error:
        print(f"  passed over: {error}", flush=True)


def arms() -> list[list[str]]:
    """Return algorithm and targets of each arm."""
    return [one.split() for one in ARMS.split(",")]


def searched(tables: str) -> list[tuple[str, str, str, dict]]:
    """Return table, algorithm, targets and entry of everything that was searched at a cost."""
    return [
        (name, algorithm, targets, entry)
        for name in tuned.names(Path(tables))
        for algorithm, entries in (tuned.read_table(Path(tables, f"{name}.yaml")) or {}).items()
        for targets, several in entries.items()
        for entry in several
        if "cost" in entry
    ]


def again(tables: str = str(CONF / "tuned")) -> None:
    """Score entries by the usual objective on the fresh pairs, by searches of one try with all settings typed."""
    for name, algorithm, targets, one in searched(tables):
        words = [word for word in one["words"] if not word.startswith(("tuned=", "unlearn.stop=", "+tuned."))]
        if words == ["mu_algo=none"]:
            print(f"{name} {algorithm} {targets}: does nothing, 1.000", flush=True)
            continue
        with named():
            scores = softtargets.search([*words, "trials=1"], say=lambda line: None)["fresh_scores"]
            (score,) = (value for tried, value in scores.items() if tried != "nothing")
            print(f"{name} {algorithm} {targets} at {one['cost']:g}: {score:.3f}", flush=True)


def differ(tables: str) -> None:
    """Print how far the winners of second searches are from those in conf/tuned, on the same fresh pairs."""
    first = {_place(one): one[-1] for one in searched(str(CONF / "tuned"))}
    both = [(place, first[place], one[-1]) for one in searched(tables) if (place := _place(one)) in first]
    if not both:
        raise BadInput(f"tables={tables}: no entry of an arm, a cost and a recipe that conf/tuned has too")
    print("| algorithm | targets | cost | tries | score: first search | second | second - first |")
    print(7 * "|---" + "|")
    gaps = []
    for (_, algorithm, targets, cost, *_), one, other in both:
        gaps.append(other["score"] - one["score"])
        tries = " and ".join(dict.fromkeys((str(one["trials"]), str(other["trials"]))))
        scores = " | ".join(map(_with_ends, (one, other)))
        print(f"| {algorithm} | {targets} | {cost:g} | {tries} | {scores} | {gaps[-1]:+.3f} |")
    sizes = [abs(gap) for gap in gaps]
    mean, most = statistics.fmean(sizes), max(sizes)
    print(f"\n{len(gaps)} arms: |second - first| is {mean:.3f} on average, {most:.3f} at most")


def _place(searched: tuple[str, str, str, dict]) -> tuple:
    """Return what two searches must have in common to be compared."""
    *names, one = searched
    return *names, one["cost"], one["tuned_on"]["images"], one["tuned_on"].get("recipe"), *tuned.parts(one)


def _with_ends(one: dict) -> str:
    """Return a score with its 95 % interval."""
    ends = " ({:.2f} to {:.2f})".format(*one["interval"]) if one.get("interval") else ""
    return f"{one['score']:.3f}{ends}"


def table(tables: str = str(CONF / "tuned")) -> None:
    """Print the entries with a cost: score on fresh pairs with its 95 % interval, 1 is doing nothing."""
    head = ("table", "recipe", "algorithm", "targets", "cost", "tries")
    head += ("objective", "CPU s", "score", "95 %", "settings")
    print(f"| {' | '.join(head)} |\n|{len(head) * '---|'}")
    for name, algorithm, targets, one in searched(tables):
        drawn = [word for word in one["words"] if word.startswith(("unlearn", "mu_algo.", "++"))]
        ends = "{:.2f} to {:.2f}".format(*one["interval"]) if one.get("interval") else "–"
        seconds = f"{one['cpu_s']:.0f}" if "cpu_s" in one else "–"
        numbers = (f"{one['cost']:g}", str(one["trials"]), objective(one), seconds, f"{one['score']:.3f}", ends)
        arm = (of_part(name, one), recipe(one), algorithm, targets)
        print(f"| {' | '.join((*arm, *numbers))} | `{' '.join(drawn) or 'mu_algo=none'}` |")


def scores(tables: str = str(CONF / "tuned")) -> None:
    """Print scores with their 95 % intervals: a table for each recipe, size and part, a column a cost."""
    found: dict[tuple, dict[tuple[str, str], dict[float, dict]]] = {}
    for name, algorithm, targets, one in searched(tables):
        place = (of_part(name, one), recipe(one), one["tuned_on"]["images"])
        arms_there = found.setdefault(place, {})
        arms_there.setdefault((algorithm, targets), {})[one["cost"]] = one
    for (name, trained, images), arms_there in found.items():
        costs = sorted({cost for entries in arms_there.values() for cost in entries})
        print(f"\n{name}, recipe {trained}, {images:,} images to train on\n")
        print(f"| algorithm | targets | {' | '.join(map(str, costs))} |\n|{(2 + len(costs)) * '---|'}")
        for arm, entries in arms_there.items():
            shown = (_with_ends(entries[cost]) if cost in entries else "–" for cost in costs)
            print(f"| {' | '.join((*arm, *shown))} |")


def budgets(tables: str = str(CONF / "tuned")) -> None:
    """Print how many arms were searched where, at which budget, by how many tries, and CPU hours."""
    groups: dict[tuple, list[dict]] = {}
    for name, _, _, one in searched(tables):
        known = one["tuned_on"]
        place = (of_part(name, one), known["images"], recipe(one), one["cost"], one["trials"], objective(one))
        groups.setdefault(place, []).append(one)
    head = ("table", "images to train on", "recipe", "cost", "tries", "objective", "arms", "CPU hours")
    print(f"| {' | '.join(head)} |\n|{len(head) * '---|'}")
    for (name, images, *place), entries in sorted(groups.items()):
        hours = sum(one.get("cpu_s", 0) for one in entries) / 3600
        print(f"| {name} | {images:,} | {' | '.join(map(str, place))} | {len(entries)} | {hours:.2f} |")


def recipe(one: dict) -> str:
    """Return the recipe of training that an entry was searched for."""
    return one["tuned_on"].get("recipe", "–").partition("-")[0]


def objective(one: dict) -> str:
    """Return the objective that an entry was searched by."""
    return one["tuned_on"].get("objective") or "retrained"


def of_part(name: str, one: dict) -> str:
    """Return the name of a table with how much was forgotten, where it was not the usual part."""
    return " ".join([name, *tuned.parts(one)])


def cells(tables: str = str(CONF / "tuned")) -> None:
    """Print the words of every entry with a cost."""
    for *_, one in searched(tables):
        print(f"- {shlex.join(one['words'])}")


PARTS = {one.__name__: one for one in (table, scores, cells, budgets, again, differ)}
"""What may be typed first, in place of a search."""

if __name__ == "__main__":
    part = PARTS.get(" ".join(sys.argv[1:2]))
    if part:
        del sys.argv[1]
    call(part or main, __doc__)
