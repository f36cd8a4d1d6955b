"""The winner of a search as a row of a table of tuned values, and what the search saw."""

import contextlib

from hydra.utils import get_object

from softtargets.config.resolve import decisive
from softtargets.config.tuned_on import TunedOn, fixed_hash, recipe_of
from softtargets.execution.experiment import Experiment
from softtargets.marks import ForgetSet


def seen_by(pairs: list[int], experiment: Experiment, *, trials: int, objective: str, start: str) -> dict:
    """Return what a search saw of these pairs, of which `experiment` is one; a score sees no test images."""
    forget_set = decisive(experiment.config)["forget_set"]
    is_fixed = ForgetSet.of(get_object(forget_set["_target_"])).fixed
    seen = TunedOn(
        dataset=experiment.config["choices"]["dataset"],
        images=len(experiment.data.train),
        seeds=pairs,
        forget_sets=pairs,
        classes=forget_set.get("classes", []),
        fixed=fixed_hash(forget_set) if is_fixed else None,
        recipe=recipe_of(experiment.config, experiment.config["choices"]),
        cost=experiment.config["unlearn"]["cost"],
        trials=trials,
        objective=objective,
        start=start,
    )
    return seen.model_dump()


def row(winner: dict) -> dict:
    """Return a winner, the content of winner.json, as an entry of a table of tuned values."""
    drawn = dict(word.lstrip("+").partition("=")[::2] for word in winner["drawn"])
    numbers = {name.rpartition(".")[2]: number(text) for name, text in drawn.items()}
    return {
        "values": {name: value for name, value in numbers.items() if value is not None},
        "cost": winner["budget"],
        "score": round(winner["score"], 4),
        "interval": winner["interval"],
        "before": round(winner["fresh_scores"]["nothing"], 4),
        "trials": winner["trials"],
        "cpu_s": winner["cpu_s"],
        "words": list(winner["words"]),
        "tuned_on": winner["tuned_on"],
    }


def number(text: str) -> int | float | None:
    """Return the number that a text is; None for another text."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        return float(text)
    return None
