"""What the page keeps folded, without a browser: accuracies, trajectories, classes."""

import re

import numpy as np
import pytest
from page_by_hand import Page
from results_by_hand import WAY, both, leave
from test_standing import planted

from softtargets.report import figures
from softtargets.report.summary import ENDPOINTS, summarise

PARTS = ("accuracies", "trajectories", "Class by class")


def part(place, runs: list[dict], name: str) -> str:
    """Return the HTML of a folded part of the page on these runs."""
    text = summarise(leave(place, *runs), place, None, ENDPOINTS, None).read_text()
    return next(one for one in text.split('<details class="part"')[1:] if name in one[:300])


def data(text: str) -> list[tuple[str, list[list[float]]]]:
    """Return name and points of every line that has its values."""
    found = re.findall(r'data-name="([^"]*)" data-values="([^"]*)"', text)
    return [(name, [[float(x) for x in point.split(";")] for point in values.split()]) for name, values in found]


def of_way(runs: list[dict], *values: list[float | None]) -> list[dict]:
    """Give each run a trajectory of these forget accuracies."""
    ways = [WAY | {"step": [5 * at for at in range(len(one))], "forget_acc": one} for one in values]
    ways = [way | dict.fromkeys(("test_acc", "js_forget"), [0.1] * len(way["step"])) for way in ways]
    return [run | {"trajectory": way} for run, way in zip(runs, ways, strict=True)]


def test_a_line_is_the_mean_over_runs_that_keep_their_last_value(tmp_path):
    runs = of_way(planted("npo", 0.3, n=2), [1.0, 0.8, 0.6], [1.0, 0.6])
    (_, points), *_ = data(part(tmp_path, runs, "trajectories"))
    assert [(step, mean) for step, mean, *_ in points] == [(0, 1.0), (5, 0.7), (10, 0.6)]
    half = 12.706 * np.std([0.8, 0.6], ddof=1) / np.sqrt(2)
    assert points[1][2:] == pytest.approx([0.7 - half, 0.7 + half], rel=1e-3)


def test_a_line_ends_where_a_run_diverged_and_says_so(tmp_path):
    runs = of_way(planted("npo", 0.3, n=2), [1.0, 0.8, None], [1.0, 0.6, 0.5])
    lines = data(part(tmp_path, runs, "trajectories"))
    assert [(name, len(points)) for name, points in lines] == [("hard (until a run diverged)", 2), ("hard", 3)]


def test_a_diverged_run_does_not_keep_its_last_value(tmp_path):
    runs = of_way(planted("npo", 0.3, n=2), [1.0, 0.9, 0.8], [1.0, 0.6])
    runs[1] |= {"status": "diverged"}
    (name, points), *_ = data(part(tmp_path, runs, "trajectories"))
    assert (name, [step for step, *_ in points]) == ("hard (until a run diverged)", [0, 5])


def test_where_no_run_is_finite_a_sentence_stands_for_the_line(tmp_path):
    runs = of_way(planted("npo", 0.3, n=2), [None, None], [None, None])
    assert "npo: forget accuracy is not finite in any of its runs." in part(tmp_path, runs, "trajectories")


def test_lines_of_one_colour_have_other_dashes_each_with_a_piece_in_the_legend(tmp_path):
    runs = [*planted("npo", 0.3), *planted("npo", 0.2, targets="soft")]
    runs += [
        run | {"config": run["config"] | {"unlearn": {"cost": 0.3, "optimizer": {"lr": 0.1}}}}
        for run in planted("npo", 0.4)
    ]
    text = part(tmp_path, runs, "trajectories")
    pieces = re.findall(r'<line x2="26"[^>]*class="line( dashed)?"', text)
    assert sorted(pieces) == [*(4 * [""]), *(2 * [" dashed"])]
    assert len(re.findall(r'<polyline[^>]*class="line k-hard dashed"', text)) == 2
    assert "<use" not in text, "no marks, which are not drawn in these figures"


def test_an_algorithm_that_destroys_its_models_squeezes_no_other(tmp_path):
    runs = [*planted("npo", 0.3), *planted("gradasc", 9.0)]
    for run in runs[8:]:
        run["metrics"] = run["metrics"] | {"unlearned": run["metrics"]["unlearned"] | {"test_acc": 0.1}}
    planes = part(tmp_path, runs, "accuracies").split("<figure>")[1:]
    ticks = [[float(x) for x in re.findall(r'<text x="-5"[^>]*>([\d.]+)<', plane)] for plane in planes]
    assert [min(one) > 0.7 for one in ticks] == [True, False]
    assert all("retrained;" in plane and "original;" in plane for plane in planes)


def test_equal_accuracies_of_a_class_differ_by_0(tmp_path):
    runs = list(planted("npo", 0.3, n=3))
    for run, (one, other) in zip(runs, [(0.1, 0.0), (0.2, 0.0), (0.0, 0.3)], strict=True):
        gaps = {"unlearned": [one, 0.5], "retrained": [other, 0.7]}
        run["metrics"] = {
            name: run["metrics"][name] | {"class_acc": gaps.get(name, [0.5, 0.5])} for name in run["metrics"]
        }
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", part(tmp_path, runs, "Class by class"))
    assert cells == ["0.000", "−0.200"]


@pytest.mark.parametrize("name", PARTS)
def test_what_is_not_there_is_said_in_every_part(tmp_path, name):
    runs = list(planted("npo", 0.3, n=2))
    none = dict.fromkeys(runs[0]["metrics"]["unlearned"])
    for run in runs:
        run["metrics"] = dict.fromkeys(run["metrics"], none)
        run["trajectory"] = {column: [] for column in run["trajectory"]}
    text = Page(f"<p>{part(tmp_path, runs, name)}").text
    assert re.search(r"No (accuracy was measured|run kept a trajectory|run has a finite accuracy)", text)


@pytest.mark.parametrize(
    ("low", "high", "most"),
    [(0.003, 0.085, 4), (0.77, 0.99, 4), (-0.05, 10.6, 4), (0.0, 1.0, 6), (1e-9, 3.1e-9, 4)],
)
def test_an_axis_has_two_round_numbers_or_more(low, high, most):
    ticks = figures.round_ticks(low, high, most)
    assert 2 <= len(ticks) <= most + 1
    assert low <= min(ticks) <= max(ticks) <= high


@pytest.mark.long
def test_that_no_image_is_there_is_said_once_for_all_arms(tmp_path):
    text = part(tmp_path, both(10), "Who can still tell?")
    assert text.count("No images of the samples that leak most") == text.count("on this machine") == 1
