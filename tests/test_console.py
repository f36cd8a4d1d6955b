"""The clock of a run's screen, and the stages it was told of."""

import io
import itertools
import re

import pytest
import rich.console
from conftest import SMALL

from softtargets.console import Clock, Console
from softtargets.execution.agenda import agenda
from softtargets.execution.experiment import build


def test_the_time_left_is_all_samples_to_come_at_the_pace_so_far():
    now = [0.0]
    clock = Clock({"original": 100, "retrained": 100, "unlearn": 50}, lambda: now[0])
    clock.begin("original")
    now[0] = 10.0
    assert clock.words("original", 0.5) == ("5 images/s", "0:00:40 left")  # 50 in 10 s; 200 to come
    now[0] = 20.0
    clock.end("original")
    now[0] = 1000.0  # time between stages is no part of the pace
    clock.begin("retrained")
    now[0] = 1005.0
    assert clock.words("retrained", 0.5) == ("6 images/s", "0:00:17 left")  # 150 in 25 s; 100 to come
    clock.most = Clock({}, may_stop=True).most
    assert clock.words("retrained", 0.5) == ("6 images/s", "up to 0:00:17 left")


def test_a_stage_that_nobody_announced_has_no_number_and_no_time():
    clock = Clock({"original": 100})
    assert clock.numbered("original") == "1 of 1, original"
    assert clock.numbered("fold 1 of 3") == "fold 1 of 3"
    assert clock.words("fold 1 of 3", 0.5) == ("", "") == clock.words("original", 0.0)


@pytest.mark.parametrize(
    ("overrides", "stages"),
    [
        (
            ["mu_algo=relabel", "targets=out_of_fold_3", "references=2"],
            {"original": 475, "retrained": 427, "retrained/2": 427}
            | {"fold 1 of 3": 316, "fold 2 of 3": 317, "fold 3 of 3": 317},
        ),
        (["mu_algo=early"], {"original": 475, "retrained": 427, "early_original": 475}),
        (["mu_algo=gradasc", "targets=hard", "stage=train"], {"original": 475, "retrained": 427}),
    ],
    ids=["teachers", "checkpoints", "trainings alone"],
)
def test_the_agenda_has_every_training_with_its_samples(composed, overrides, stages):
    experiment = build(composed(*SMALL, *overrides))
    found = {
        name: samples // experiment.epochs for name, samples in agenda(experiment).items() if name != "unlearn"
    }
    assert found == stages


def test_a_budget_is_the_size_of_the_unlearning(composed):
    experiment = build(composed(*SMALL, "mu_algo=finetune", "unlearn.cost=0.1"))
    assert agenda(experiment)["unlearn"] == pytest.approx(0.1 * experiment.retraining_samples, abs=1)


def test_every_stage_of_a_run_is_announced_in_its_order(run, capsys):
    run(*SMALL, "mu_algo=relabel", "targets=out_of_fold_3")
    said = [line for line in capsys.readouterr().out.splitlines() if " of 6, " in line]
    stages = ["original", "retrained", *(f"fold {i} of 3" for i in (1, 2, 3)), "unlearn"]
    assert [line.partition(":")[0] for line in said] == [f"{i} of 6, {name}" for i, name in enumerate(stages, 1)]


@pytest.mark.parametrize(("width", "loss"), [(40, False), (80, True)])
def test_the_bar_fits_the_terminal_and_shows_the_time_left(width, loss):
    console, file = Console(), io.StringIO()
    console.rich = rich.console.Console(file=file, force_terminal=True, width=width)
    console.expect({"original": 10})
    now = itertools.count()
    console.clock.now = lambda: next(now)  # a second at every look
    with console.progress("original") as progress:
        progress(5, 10, 0.25)  # what is shown last is drawn at the end
    drawn = re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue()))
    bars = [line.rstrip() for line in drawn if " left" in line]
    assert bars
    assert "nan" not in "".join(drawn), "before the first step there is no loss"
    assert max(map(len, bars)) <= width
    assert all(line.startswith("1 of 1, original") and ("loss 0.25" in line) == loss for line in bars)
