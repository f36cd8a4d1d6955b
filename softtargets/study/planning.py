"""`plan=true`: the plan of a sweep or of one run on the screen, instead of the work. Nothing is written."""

import collections
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from omegaconf import DictConfig
from scipy.cluster.hierarchy import DisjointSet

from softtargets import store
from softtargets.errors import visible
from softtargets.execution.experiment import Experiment, monitored_subset
from softtargets.execution.load_data import load_data
from softtargets.execution.parts import Parts
from softtargets.resumable.arrays import described
from softtargets.resumable.starting import arrays_of, on_slurm
from softtargets.study.cells import SEED, SweepCell, by_data, checked, without_seed
from softtargets.study.composing import Composer
from softtargets.study.plan import Plan, Weight
from softtargets.study.records import Runs, Trainings, results_near
from softtargets.system.locks import is_held

OWN_RUNS = 3
"""Number of finished runs of each arm of a sweep from which others of the arm are estimated."""
DRAWS = 50
"""Most draws of an arm's data that are looked at: each takes a tenth of a second, or more."""
Arms = dict[tuple[str, ...], list[SweepCell]]
"""Cells by the arm that they belong to."""
NOTHING = "nothing runs, and nothing is written"


def show_sweep(config: DictConfig, cells: list[SweepCell], compose: Composer, folder: Path) -> None:
    """Check the cells without a result, and print what a sweep would do and take."""
    states = [_state(cell) for cell in cells]
    # one that stops after a stage looks at the store each time
    unfinished = [
        cell for cell, state in zip(cells, states, strict=True) if (cell.stage, state) != ("all", "finished")
    ]
    print(visible(f"plan of {folder}: {NOTHING}"))
    print(f"cells: {len(cells):,}: {_counts(states)}", flush=True)
    if not unfinished:
        return
    finished = [
        cell for cell, state in zip(cells, states, strict=True) if (cell.stage, state) == ("all", "finished")
    ]
    own = [cell.outcome for cell in _of_each_arm(finished)]
    weights = dict(_of_some_draws(unfinished))
    drawn, draws = (len({cell.data for cell in some}) for some in (weights, unfinished))
    if drawn < draws:
        print(f"data: {drawn:,} of {draws:,} draws looked at, and the others estimated from them", flush=True)
    _show(
        _experiments(weights, compose, on_slurm(config)),
        config.store.dir,
        Runs(results_near(Path(config.runs_dir), own)),
    )
    if on_slurm(config):
        print(f"arrays: {described(arrays_of(config, unfinished))}")


def show_run(experiment: Experiment) -> None:
    """Print what one run would do and take."""
    print(f"plan of one run: {NOTHING}", flush=True)
    runs = Runs(results_near(Path(experiment.config["runs_dir"]), []))
    _show([(experiment, Weight())], experiment.settings.store.dir, runs)


def _show(experiments: Iterable[tuple[Experiment, Weight]], folder: str | None, runs: Runs) -> None:
    plan = Plan(Trainings(store.store_folder(folder)), runs)
    for experiment, weight in experiments:
        plan.add(experiment, weight)
    for line in plan.lines():
        print(line)


def _counts(states: list[str]) -> str:
    """Return how many cells are in each state, as in "12 finished, 23 missing, 1 failed"."""
    number = collections.Counter(states)
    shown = ("finished", "missing", "failed", *(["running"] if number["running"] else []))
    return ", ".join(f"{number[state]:,} {state}" for state in shown)


def _state(cell: SweepCell) -> str:
    """Return the state of a cell. A run that was killed has begun, but nobody holds its lock: it is missing."""
    state = cell.state()
    killed = state == "running" and is_held(cell.folder / ".lock") is False
    return "missing" if killed or state == "waiting" else state


def _of_each_arm(cells: list[SweepCell]) -> list[SweepCell]:
    number: collections.Counter[tuple[str, ...]] = collections.Counter()
    few = []
    for cell in cells:
        arm = without_seed(cell)
        number[arm] += 1
        if number[arm] <= OWN_RUNS:
            few.append(cell)
    return few


def _of_some_draws(cells: list[SweepCell]) -> Iterator[tuple[SweepCell, Weight]]:
    """Yield the cells with at most `DRAWS` choices of seeds, or one of an arm without these; with their weights.

    All cells have weight 1 where no arm has more than `DRAWS` draws of its data.
    """
    arms: Arms = collections.defaultdict(list)
    for cell in cells:
        arms[without_seed(cell)].append(cell)
    if max(len({cell.data for cell in arm}) for arm in arms.values()) <= DRAWS:
        yield from ((cell, Weight()) for cell in cells)
        return
    seeds = list(dict.fromkeys(_seeds(cell) for cell in cells))
    # the same ones for all arms: arms share models, and only so is each looked at as often as any other
    chosen = {seeds[i * len(seeds) // DRAWS] for i in range(DRAWS)}
    few = {name: [cell for cell in arm if _seeds(cell) in chosen] or arm[:1] for name, arm in arms.items()}
    shared = (lambda cell: cell.models[0], lambda cell: cell.models[1], lambda cell: cell.data[0])
    behind = [_behind_each(arms, few, key) for key in shared]
    for name, arm in few.items():
        weight = Weight(len(arms[name]) / len(arm), *(numbers[name] for numbers in behind))
        yield from ((cell, weight) for cell in arm)


def _behind_each(arms: Arms, few: Arms, key: Callable[[SweepCell], str]) -> dict[tuple[str, ...], float]:
    """Return for each arm how many originals, say, stand behind one of `few`, in all arms that share some with it.

    `key` is that of a cell's original, retrained model or dataset. It needs no draw, so the sums are exact.
    """
    joined = DisjointSet({key(cell) for arm in arms.values() for cell in arm})
    for first, *others in arms.values():
        for other in others:
            joined.merge(key(first), key(other))
    seen = {key(cell) for arm in few.values() for cell in arm}
    number = collections.Counter(joined[one] for one in seen)
    of_arm = {name: key(arm[0]) for name, arm in arms.items()}
    return {name: joined.subset_size(one) / number[joined[one]] for name, one in of_arm.items()}


def _seeds(cell: SweepCell) -> tuple[str, ...]:
    """Return the seeds among the overrides of a cell."""
    return tuple(word for word in cell.overrides if SEED.fullmatch(word))


def _experiments(
    weights: dict[SweepCell, Weight], compose: Composer, elsewhere: bool
) -> Iterator[tuple[Experiment, Weight]]:
    """Yield the experiment of every cell with its weight, those with equal data one after the other.

    One is built and checked for all that differ in seeds alone; the others are that one with other values.
    """
    parts, known = Parts(), {}
    for cell in by_data(list(weights)):
        *overrides, device, precision = cell.overrides
        machine = dict(word.split("=") for word in (device, precision))
        arm = without_seed(cell)
        if arm not in known:
            known[arm] = _without_data(checked(cell, compose, parts, elsewhere)), cell.data
        fields, drawn = known[arm]
        config = fields["config"] | machine | {"seed": _seed(cell, fields["settings"].seed)}
        if cell.data != drawn:
            config = compose(overrides).resolved(machine, parts.sha256_of)
        data = load_data(config, "cpu" if elsewhere else machine["device"])
        most, drawn_by = fields["unlearning"].evaluate_samples, config["forget_set"]["seed"]
        settings = fields["settings"].model_copy(update={"seed": config["seed"], "device": machine["device"]})
        monitored = parts.sampled(monitored_subset, data, most, drawn_by)
        built = Experiment(**fields | {"config": config, "settings": settings}, data=data, monitored=monitored)
        yield built, weights[cell]


def _without_data(experiment: Experiment) -> dict[str, object]:
    """Return the fields of an experiment but its samples: of these there is room for one cell's."""
    names = {field.name for field in dataclasses.fields(experiment)} - {"data", "monitored"}
    return {name: getattr(experiment, name) for name in names}


def _seed(cell: SweepCell, usual: int) -> int:
    typed = [word for word in cell.overrides if re.fullmatch(r"seed=\d+", word)]
    return int(typed[-1].partition("=")[2]) if typed else usual
