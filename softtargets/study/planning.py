"""`plan=true`: the plan of a sweep or of one run on the screen, instead of the work. Nothing is written."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

from omegaconf import DictConfig

from softtargets import store
from softtargets.errors import visible
from softtargets.execution.experiment import Experiment, monitored_subset
from softtargets.execution.load_data import load_data
from softtargets.execution.parts import Parts
from softtargets.resumable.arrays import described
from softtargets.resumable.starting import arrays_of, on_slurm
from softtargets.study.cells import SEED, SweepCell, by_data, checked, without_seed
from softtargets.study.composing import Composer
from softtargets.study.plan import Plan
from softtargets.study.records import Runs, Trainings, results_near
from softtargets.system.locks import is_held

OWN_RUNS = 3
"""Number of finished runs of each arm of a sweep from which others of the arm are estimated."""
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
    experiments = _experiments(unfinished, compose, on_slurm(config))
    _show(experiments, config.store.dir, Runs(results_near(Path(config.runs_dir), own)))
    if on_slurm(config):
        print(f"arrays: {described(arrays_of(config, unfinished))}")


def show_run(experiment: Experiment) -> None:
    """Print what one run would do and take."""
    print(f"plan of one run: {NOTHING}", flush=True)
    runs = Runs(results_near(Path(experiment.config["runs_dir"]), []))
    _show([experiment], experiment.settings.store.dir, runs)


def _show(experiments: Iterable[Experiment], folder: str | None, runs: Runs) -> None:
    plan = Plan(Trainings(store.store_folder(folder)), runs)
    for experiment in experiments:
        plan.add(experiment)
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


def _experiments(cells: list[SweepCell], compose: Composer, elsewhere: bool) -> Iterator[Experiment]:
    """Yield the experiment of every cell, those with equal data one after the other.

    One is built and checked for all that differ in the seed alone; the others are that one with other values.
    """
    parts, known = Parts(), {}
    for cell in by_data(cells):
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
        yield Experiment(**fields | {"config": config, "settings": settings}, data=data, monitored=monitored)


def _without_data(experiment: Experiment) -> dict[str, object]:
    """Return the fields of an experiment but its samples: of these there is room for one cell's."""
    names = {field.name for field in dataclasses.fields(experiment)} - {"data", "monitored"}
    return {name: getattr(experiment, name) for name in names}


def _seed(cell: SweepCell, usual: int) -> int:
    typed = [word for word in cell.overrides if SEED.fullmatch(word)]
    return int(typed[-1].partition("=")[2]) if typed else usual
