"""The screen of a sweep: counts, times, failures as they happen, and the nearest arm so far."""

import io
import re
from pathlib import Path

import pytest
import rich.console

from softtargets.resumable.progress_marks import mark
from softtargets.study import progress
from softtargets.study.cells import Missing, SweepCell
from softtargets.study.nearest import Nearest
from softtargets.study.progress import Display, FailFast
from softtargets.system import signals
from softtargets.system.files import write_json, write_text


def result(
    algorithm: str, unlearned: float | None, nothing: float = 0.1, cost: float | None = None, **more
) -> dict:
    face = {"unlearned": unlearned, "nothing": nothing, "floor": None}
    return {
        "status": "ok",
        "ignores_targets": algorithm == "finetune",
        "comparison_only": False,
        "upper_bound": False,
        "choices": {"mu_algo": algorithm, "targets": "soft"},
        "config": {"unlearn": {} if cost is None else {"cost": cost}},
        "faces": {"js_t_forget": face},
        "provenance": {"config_hash": "h"},
    } | more


def test_the_nearest_arm_has_the_least_mean_share_of_doing_nothings_distance():
    nearest = Nearest()
    nearest.add(result("npo", 0.02))
    assert nearest.line() is None, "one arm is nearest to nobody"
    nearest.add(result("finetune", 0.03, cost=0.05))
    nearest.add(result("npo", 0.08))  # its mean is 0.5
    assert nearest.line().startswith(
        "nearest to retraining so far: finetune at cost 0.05, at 0.30 of the distance"
    )
    nearest.add(result("finetune", 0.09, cost=0.05))  # its mean is 0.6
    assert "npo soft, at 0.50" in nearest.line()
    assert "mean of 2 runs" in nearest.line()


@pytest.mark.parametrize(
    "other",
    [
        result("relabel", 0.0, status="diverged"),
        result("relabel", 0.0, comparison_only=True),
        result("relabel", 0.0, upper_bound=True),
        result("relabel", None),
        result("relabel", 0.0, nothing=0.0),
        {name: value for name, value in result("relabel", 0.0).items() if name != "faces"},
    ],
    ids=["diverged", "comparison only", "upper bound", "no distance", "nothing to forget", "older code"],
)
def test_what_is_no_arm_to_be_compared_is_left_out(other):
    nearest = Nearest()
    for one in (result("npo", 0.02), result("finetune", 0.03), other):
        nearest.add(one)
    assert "npo soft, at 0.20" in nearest.line()


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """`watched(names, terminal)`: the display of a sweep, what it printed, and a clock to set."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def display(names: str, terminal: bool = False) -> tuple[Display, io.StringIO, list[float]]:
        cells = [SweepCell((), tmp_path / name, "h", "all", ("", "")) for name in names]
        one, file = Display(cells, cells), io.StringIO()
        one.screen = rich.console.Console(file=file, force_terminal=terminal, width=80, soft_wrap=True)
        return one, file, now

    return display


def leave(folder: Path, name: str, content: dict | str) -> None:
    folder.mkdir(exist_ok=True)
    write = write_text if isinstance(content, str) else write_json
    write(folder / name, content)
    mark(folder, "began" if name == "run.log" else "ended")


def test_a_file_gets_a_line_a_minute_at_most_and_the_end(watched, tmp_path):
    display, file, now = watched("abc")
    with display:
        display.update()
        assert file.getvalue() == "", "nobody runs yet"
        leave(tmp_path / "a", "run.log", "begun")
        display.update()
        leave(tmp_path / "a", "result.json", result("npo", 0.1))
        for now[0] in (10.0, 59.0, 61.0, 70.0):
            display.update()
        now[0] = 80.0
        leave(tmp_path / "b", "result.json", result("npo", 0.1))
        display.update()
    assert file.getvalue().splitlines() == [
        "0 of 3 done (0 from an earlier call), 0 failed, 1 running; 0:00:00 so far",
        "1 of 3 done (0 from an earlier call), 0 failed, 0 running; 0:01:01 so far, 0:02:02 left",
        "2 of 3 done (0 from an earlier call), 0 failed, 0 running; 0:01:20 so far",
    ]
    display.update()
    leave(tmp_path / "c", "run.log", "begun")
    display.update()  # as of a run that Ctrl-C has stopped
    assert display.counts() == "2 of 3 done (0 from an earlier call), 0 failed, 1 begun"


def test_a_line_in_a_file_names_the_best_arm_so_far(watched, tmp_path):
    display, file, now = watched("abc")
    with display:
        for at, (name, arm) in enumerate([("a", "npo"), ("b", "finetune")], start=1):
            leave(tmp_path / name, "result.json", result(arm, 0.02 * at))
        now[0] = 70.0
        display.update()
    (line,) = file.getvalue().splitlines()
    assert "left; nearest to retraining so far: npo soft, at 0.20 of the distance of doing nothing" in line


def test_a_terminal_breaks_the_sentence_of_a_failure_between_words(watched, tmp_path):
    display, file, _ = watched("a", terminal=True)
    leave(tmp_path / "a", "error.json", {"error": "ValueError", "message": "word " * 40})
    with display:
        display.update()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    said = [line.strip() for line in text.splitlines() if "word" in line]
    assert len(said) == 3
    assert all(len(line) <= 80 and line.endswith("word") for line in said)


def test_the_first_failures_of_a_reason_are_said_at_once_with_the_path_of_their_error(watched, tmp_path):
    display, file, _ = watched("abcdef")
    for name, message in zip("abcdef", ["bad seed"] * 5 + ["no memory"], strict=True):
        leave(tmp_path / name, "error.json", {"error": "ValueError", "message": message})
        display.update()
    said = [line for line in file.getvalue().splitlines() if line.startswith("a run failed")]
    assert said == [
        *(f"a run failed: ValueError: bad seed ({tmp_path / name / 'error.json'})" for name in "abc"),
        f"a run failed: ValueError: no memory ({tmp_path / 'f' / 'error.json'})",
    ]


def test_a_run_that_failed_may_still_finish(watched, tmp_path):
    display, _, _ = watched("a")
    leave(tmp_path / "a", "error.json", {"error": "ValueError", "message": "of an earlier call"})
    display.update()
    assert "1 failed" in display.counts()
    (tmp_path / "a/error.json").unlink()
    leave(tmp_path / "a", "result.json", result("npo", 0.1))
    display.update()
    assert display.counts() == "1 of 1 done (0 from an earlier call), 0 failed, 0 running"


def test_a_terminal_shows_what_runs_now_and_wraps_whole_names(watched, tmp_path):
    display, file, _ = watched(["a" * 70, "b" * 70, "c", "d", "e"], terminal=True)
    for cell in display.cells[:4]:
        leave(cell.folder, "run.log", "begun")
    display.nearest.add(result("npo", 0.02))
    display.nearest.add(result("finetune", 0.03))
    with display:
        display.update()
        display.screen.print(display.page())
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue()).splitlines()]
    assert "0 of 5 done (0 from an earlier call), 0 failed, 4 running; 0:00:00 so far" in lines
    first = lines.index(f"running: {'a' * 70},")
    assert lines[first + 1 : first + 3] == [f"{'b' * 70}, c and 1", "more"]
    assert any(line.startswith("nearest to retraining so far: npo soft, at 0.20") for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_terminal_says_that_a_sweep_stops_and_then_how_far_it_came(watched, tmp_path, monkeypatch):
    display, file, _ = watched("ab", terminal=True)
    leave(tmp_path / "a", "result.json", result("npo", 0.1))
    with display:
        display.update()
        display.live.refresh()
        assert "stopping" not in file.getvalue()
        monkeypatch.setattr(signals, "code", 130)
        display.live.refresh()
        assert "stopping; this may take some seconds" in file.getvalue()
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue().splitlines()[-1])
    assert last == "1 of 2 done (0 from an earlier call), 0 failed, 0 running; 0:00:00 so far"


def test_a_watcher_asks_for_no_run_that_left_no_mark(watched, tmp_path, monkeypatch):
    display, _, _ = watched("abcd")
    asked = []
    state = SweepCell.state
    monkeypatch.setattr(SweepCell, "state", lambda cell: asked.append(cell.folder.name) or state(cell))
    for change, expected in (
        (None, ""),
        (("a", "run.log", "begun"), "a"),
        (None, ""),  # it runs still
        (("b", "result.json", result("npo", 0.1)), "b"),
        (("a", "result.json", result("npo", 0.1)), "a"),
        (None, ""),
    ):
        if change:
            name, file, content = change
            leave(tmp_path / name, file, content)
        display.update()
        assert "".join(asked) == expected
        asked.clear()


def test_a_sweep_ends_fast_when_so_many_runs_failed_for_one_reason(watched, tmp_path):
    display, _, _ = watched("abcd")
    display.fail_fast = 2
    for name, message in (("a", "one"), ("b", "two")):
        leave(tmp_path / name, "error.json", {"error": "KeyError", "message": message})
        display.update()
    leave(tmp_path / "c", "error.json", {"error": "KeyError", "message": "one"})
    with pytest.raises(FailFast, match=r"^fail_fast=2: 2 runs failed for the same reason.*: KeyError: one$"):
        display.update()


def test_models_are_counted_of_finished_runs_alone(watched, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "verdicts", lambda _: None)
    cells = watched("abc")[0].cells
    models = {"cost": {"made": ["original", "retrained"], "from_store": ["teacher"]}}
    for name in "ab":
        leave(tmp_path / name, "error.json", {"error": "KeyError", "message": "after the training"})
    lines = []
    for finished in ("", "c", "ab"):
        for name in finished:
            leave(tmp_path / name, "result.json", result("npo", 0.1) | models)
        progress.counts_of_runs(cells if finished else cells[:2], Missing({}, frozenset()))
        lines += [line for line in capsys.readouterr().out.splitlines() if " finished, " in line]
    assert lines == [
        "0 of 2 runs finished, 2 failed",
        "1 of 3 runs finished, 2 failed; the finished ones trained 2 models, reused 1 from the store",
        "3 of 3 runs finished, 0 failed; trained 6 models, reused 3 from the store",
    ]


def test_runs_that_cannot_write_into_their_folders_failed_for_one_reason(watched, tmp_path, capsys):
    display, _, _ = watched("abcde")
    display.fail_fast = 5
    for name in "abcde":
        message = f"[Errno 28] No space left on device: '{tmp_path / name / 'run.log'}'"
        leave(tmp_path / name, "error.json", {"error": "OSError", "message": message})
    with pytest.raises(FailFast, match=r"the same reason, .*: '…/run.log'$"):
        display.update()
    progress._print_failures(display.cells, Missing({}, frozenset()))
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed: ")]
    assert all(str(tmp_path / name / "run.log") in line for name, line in zip("abc", said[:3], strict=True))
    assert said[3:] == ["failed: 2 more runs: OSError: [Errno 28] No space left on device: '…/run.log'"]
    progress._print_failures(display.cells[1:], Missing({}, frozenset()))
    assert "\nfailed: 1 more run: OSError: [Errno 28]" in capsys.readouterr().out
