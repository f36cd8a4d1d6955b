"""The screen of a run: progress bars on a terminal, plain lines elsewhere."""

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator
from typing import TextIO

import rich.console
import rich.progress

from softtargets import run_summary
from softtargets.errors import visible
from softtargets.evaluation.diagnosis import Diagnosis
from softtargets.system import signals
from softtargets.system.words import counted, in_lines

REDRAW = 0.1
"""Shortest time between two updates of a progress bar, in seconds."""
WIDE = 75
"""Columns from which a progress bar has room for loss and pace."""
Progress = Callable[[int, int, float], None]


class Console:
    """The screen of one run, or a file instead of it."""

    def __init__(self, file: TextIO | None = None):
        self.rich = rich.console.Console(file=file, highlight=False, soft_wrap=True, emoji=False)
        self.watchers: list[Callable[[str, int, int, float], None]] = []
        """Functions called at every step with stage, step, steps and loss."""
        self.clock = Clock({})

    @classmethod
    def silent(cls) -> "Console":
        """Return a screen that shows nothing, but calls its watchers."""
        console = cls()
        console.rich.quiet = True
        return console

    def say(self, line: str) -> None:
        """Print a line of plain text; a command, which is copied, stays in one line."""
        self.rich.print(visible(line), markup=False)

    def say_sentence(self, sentence: str) -> None:
        """Print a sentence, which a terminal breaks between words."""
        for line in in_lines(visible(sentence), self.rich.width if self.rich.is_terminal else None):
            self.say(line)

    def choices(self, config: dict, sizes: dict[str, int]) -> None:
        """Print the choices of the run and the sizes of its sets."""
        chosen = config["choices"]
        words = [f"{group}={option}" for group, option in (chosen | {"seed": config["seed"]}).items()]
        self.say_sentence(" ".join(words))
        self.say("images: " + ", ".join(f"{name} {count:,}" for name, count in sizes.items()))

    def expect(self, stages: dict[str, int], may_stop: bool = False) -> None:
        """Take the stages to come with their gradient samples, for their numbers and the time that is left.

        With `may_stop` the last one may need fewer.
        """
        self.clock = Clock(stages, may_stop=may_stop)

    @contextlib.contextmanager
    def progress(self, stage: str) -> Iterator[Progress]:
        """Show the progress of a stage; yields `progress(step, steps, loss)`."""
        bar = self._bar(stage) if self.rich.is_terminal else contextlib.nullcontext(_nothing)
        seen = {"step": 0, "steps": 0, "loss": float("nan"), "drawn": 0.0}
        self.clock.begin(stage)
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
        self.clock.end(stage)
        self.say(f"{self.clock.numbered(stage)}: {_steps(seen)}, {seconds:.1f} s")

    @contextlib.contextmanager
    def _bar(self, stage: str) -> Iterator[Progress]:
        numbers = "{task.percentage:>3.0f}%  {task.fields[left]}"
        if self.rich.width >= WIDE:
            numbers += "  {task.fields[loss]}  {task.fields[pace]}"
        columns = ("{task.description}", rich.progress.BarColumn(bar_width=None), numbers)
        shown = rich.progress.Progress(*columns, console=self.rich, transient=True, expand=True)
        with signals.drawing(on_terminal=True), shown as bars:
            task = bars.add_task(self.clock.numbered(stage), total=None, loss="", pace="", left="")

            def draw(step: int, steps: int, loss: float) -> None:
                pace, left = self.clock.words(stage, step / steps)
                bars.update(task, completed=step, total=steps, loss=f"loss {loss:.4g}", pace=pace, left=left)

            yield draw

    def diagnosis(self, diagnosis: Diagnosis, flag: str) -> None:
        """Print the diagnosis of the targets in a line."""
        self.say_sentence(f"diagnosis: {flag}: {diagnosis_sentence(diagnosis)}")

    def result(self, result: dict) -> None:
        """Show the models and the distances side by side, and say in sentences how the run went and ended."""
        for line in run_summary.lines(result):
            self.say(line)


class Clock:
    """The stages of a run, and the time left at the pace so far."""

    def __init__(self, stages: dict[str, int], now: Callable[[], float] = time.monotonic, may_stop: bool = False):
        """`stages` has the gradient samples of every stage in the run's order; the last one `may_stop` early."""
        self.stages, self.now, self.most = stages, now, "up to " if may_stop else ""
        self.samples, self.seconds, self.began = 0, 0.0, 0.0

    def numbered(self, stage: str) -> str:
        """Return the stage with its number, where it was announced."""
        if stage not in self.stages:
            return stage
        return f"{list(self.stages).index(stage) + 1} of {len(self.stages)}, {stage}"

    def begin(self, stage: str) -> None:
        """Start the time of a stage."""
        self.began = self.now()

    def end(self, stage: str) -> None:
        """Add a stage to the pace."""
        self.samples += self.stages.get(stage, 0)
        self.seconds += self.now() - self.began

    def words(self, stage: str, share: float) -> tuple[str, str]:
        """Return the pace, and the time to the run's end, while a stage is done to this share."""
        if stage not in self.stages or not share:
            return "", ""
        current = self.stages[stage]
        pace = (self.samples + share * current) / max(self.seconds + self.now() - self.began, 1e-9)
        sizes = list(self.stages.values())
        left = (1 - share) * current + sum(sizes[list(self.stages).index(stage) + 1 :])
        return f"{pace:,.0f} images/s", f"{self.most}{datetime.timedelta(seconds=round(left / pace))} left"


def _steps(seen: dict) -> str:
    """Return the steps of a stage and its last loss in words."""
    if not seen["steps"]:
        return "no steps"
    return f"{seen['step']} of {counted(seen['steps'], 'step')}, last loss {seen['loss']:.4g}"


def _nothing(step: int, steps: int, loss: float) -> None:
    pass


def diagnosis_sentence(diagnosis: Diagnosis) -> str:
    """Return a line on the first update and on how the forget targets differ from the original's predictions."""
    order = diagnosis.first_order
    if order is None:
        words = "this algorithm has no first update"
    else:
        verb = "raises" if order > 0 else "lowers" if order < 0 else "keeps"
        words = f"the first update {verb} the hard loss on the forget set ({order:+.2g})"
    if diagnosis.direction is not None:
        error = run_summary.number(diagnosis.direction_se)
        words += f", direction {diagnosis.direction:+.2f} (standard error {error})"
    cosine = "–" if diagnosis.grad_cosine is None else f"{diagnosis.grad_cosine:.2f}"
    return (
        f"{words}. Forget targets: L1 distance {diagnosis.target_distance:.2g} to the original's predictions; "
        f"gradient {diagnosis.grad_norm:.2g} (hard labels {diagnosis.grad_norm_hard:.2g}; cosine {cosine}); "
        f"entropy {diagnosis.target_entropy:.2g}"
    )
