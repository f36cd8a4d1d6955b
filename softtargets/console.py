"""The screen of a run: rich on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TextIO

import rich.box
import rich.console
import rich.progress
import rich.table

from softtargets.errors import visible
from softtargets.evaluation.diagnosis import Diagnosis

REDRAW = 0.1
"""Least seconds between two updates of a progress bar."""
Progress = Callable[[int, int, float], None]


class Console:
    """The screen of one run, or the file that stands in for it."""

    def __init__(self, file: TextIO | None = None):
        self.rich = rich.console.Console(file=file, highlight=False, soft_wrap=True, emoji=False)
        self.watchers: list[Callable[[str, int, int, float], None]] = []
        """Functions called at every step with stage, step, steps and loss."""

    def say(self, line: str) -> None:
        """Print a line of plain text."""
        self.rich.print(visible(line), markup=False)

    def choices(self, config: dict, sizes: dict[str, int]) -> None:
        """Print the choices of the run and the sizes of its sets."""
        chosen = config["choices"]
        self.say(" ".join(f"{group}={option}" for group, option in chosen.items()) + f" seed={config['seed']}")
        self.say("images: " + ", ".join(f"{name} {count:,}" for name, count in sizes.items()))

    @contextlib.contextmanager
    def progress(self, stage: str) -> Iterator[Progress]:
        """Show the progress of a stage; yields `progress(step, steps, loss)`."""
        bar = self._bar(stage) if self.rich.is_terminal else contextlib.nullcontext(_nothing)
        seen = {"step": 0, "steps": 0, "loss": float("nan"), "drawn": 0.0}
        started = time.perf_counter()
        with bar as draw:

            def progress(step: int, steps: int, loss: float) -> None:
                seen.update(step=step, steps=steps, loss=loss)
                for watcher in self.watchers:
                    watcher(stage, step, steps, loss)
                now = time.monotonic()
                if now - seen["drawn"] > REDRAW:  # drawing at every step would cost more than a small model's step
                    seen["drawn"] = now
                    draw(step, steps, loss)

            yield progress
        seconds = time.perf_counter() - started
        steps = (
            f"{seen['step']} of {seen['steps']} steps, last loss {seen['loss']:.4g}"
            if seen["steps"]
            else "no steps"
        )
        self.say(f"{stage}: {steps}, {seconds:.1f} s")

    @contextlib.contextmanager
    def _bar(self, stage: str) -> Iterator[Progress]:
        columns = (
            "{task.description}",
            rich.progress.BarColumn(),
            "{task.percentage:>3.0f}%",
            "loss {task.fields[loss]:.4g}",
        )
        with rich.progress.Progress(
            *columns, rich.progress.TimeRemainingColumn(), console=self.rich, transient=True
        ) as bars:
            task = bars.add_task(stage, total=None, loss=float("nan"))
            yield lambda step, steps, loss: bars.update(task, completed=step, total=steps, loss=loss)

    def diagnosis(self, found: Diagnosis, flag: str) -> None:
        """Say in a line what the targets will do."""
        self.say(f"diagnosis: {flag}: {in_words(found)}")

    def result(self, result: dict) -> None:
        """Show the three models side by side, the distances, and a sentence that says what happened."""
        self.rich.print(_models(result["metrics"]))
        self.rich.print(_distances(result))
        for line in sentences(result):
            self.say(line)


def _nothing(step: int, steps: int, loss: float) -> None:
    pass


ROWS = {
    "forget_acc": "forget accuracy",
    "retain_acc": "retain accuracy",
    "validation_acc": "validation accuracy",
    "test_acc": "test accuracy",
    "forget_loss": "forget loss",
    "test_loss": "test loss",
    "mia_auc": "membership AUC",
}


def _models(metrics: dict) -> rich.table.Table:
    table = rich.table.Table(box=rich.box.SIMPLE, title="models")
    table.add_column()
    for name in ("original", "retrained", "unlearned", "gap to retrained"):
        table.add_column(name, justify="right")
    for key, label in ROWS.items():
        original, retrained, unlearned = (metrics[name][key] for name in ("original", "retrained", "unlearned"))
        gap = None if unlearned is None or retrained is None else unlearned - retrained
        table.add_row(label, *map(number, (original, retrained, unlearned)), number(gap, sign=True))
    return table


def _distances(result: dict) -> rich.table.Table:
    table = rich.table.Table(box=rich.box.SIMPLE, title="distance to the retrained model")
    for name in ("", "unlearned", "doing nothing"):
        table.add_column(name, justify="right" if name else "left")
    for key, value in result["distance"].items():
        if key.startswith("class_"):  # a list, too long for a screen
            continue
        table.add_row(key, number(value), number(result["baseline"][key]))
    return table


def number(value: float | None, sign: bool = False) -> str:
    """Print four decimals, or a dash for what is not finite."""
    return "–" if value is None else f"{value:+.4f}" if sign else f"{value:.4f}"


def in_words(found: Diagnosis) -> str:
    """Say what the forget targets are to the original, and where the first update leads."""
    order = found.first_order
    if order is None:
        words = "there is no first update to judge by"
    else:
        verb = "raises" if order > 0 else "lowers" if order < 0 else "keeps"
        words = f"the first update {verb} the hard loss on the forget set ({order:+.2g})"
    cosine = "–" if found.grad_cosine is None else f"{found.grad_cosine:.2f}"
    return (
        f"{words}; the forget targets are {found.target_distance:.2g} (L1) from the original's predictions, their "
        f"gradient {found.grad_norm:.2g} (hard labels {found.grad_norm_hard:.2g}, cosine {cosine}), "
        f"entropy {found.target_entropy:.2g}"
    )


def sentences(result: dict) -> list[str]:
    """Say in words what a run did."""
    original, retrained, unlearned = (
        result["metrics"][m]["forget_acc"] for m in ("original", "retrained", "unlearned")
    )
    short = ["–" if value is None else f"{value:.3f}" for value in (original, unlearned, retrained)]
    lines = ["forget accuracy {} → {}, retrained {}".format(*short)]
    lines[0] += f"; parameters moved by {number(result['change']['relative_l2'])} of their norm"
    if result["status"] != "ok":
        lines.append(f"status {result['status']}: {result['explanation']}")
    if result["upper_bound"]:
        lines.append("an upper bound, no method: the targets are drawn from the retrained model")
    if result["trajectory"]["step"]:
        lines.append(_matched(result["matched"], result["matched_level"]))
    if result["cost"]["stopped"] and result["stop_rule"]:
        lines.append(_stopped(result["stop_rule"]))
    return [*lines, _cost(result["cost"])]


def _matched(found: dict | None, level: dict | None) -> str:
    if level is None:
        return "no matched forgetting: the retrained model diverged"
    names = f"the retrained model's forget accuracy, {level['forget_acc']:.3f} ± {level['standard_error']:.3f}"
    if found is None:
        return f"no matched forgetting: the run did not end at {names}"
    shown = {"forget_acc": "forget", "retain_acc": "retain", "test_acc": "test accuracy", "js_forget": "JS"}
    values = ", ".join(f"{words} {number(found[key])}" for key, words in shown.items())
    return f"matched forgetting from step {found['step']} on, at {names}: {values}"


def _stopped(rule: dict) -> str:
    error = rule["standard_error"]
    unseen = f"{rule['unseen_acc']:.3f}" + ("" if error is None else f" ± {error:.3f} (n = {rule['samples']})")
    looks = "1 look" if rule["looks"] == 1 else f"{rule['looks']} looks in a row"
    forget = f"{rule['forget_acc']:.3f}"
    return f"stopped: at {looks} no better on the forget set than on unseen data, {forget} and {unseen}"


def _cost(cost: dict) -> str:
    line = f"unlearning took {cost['unlearn_s'] + cost['targets_s']:.2f} s, retraining {cost['retrain_s']:.2f} s"
    if cost["teachers"]:
        count, seconds = len(cost["teachers"]), cost["teachers_s"]
        line += f"; {count} teachers took {seconds:.2f} s of training, amortised: they serve every request"
    return line
