"""The page: what stands on it without script, and what it does in a real browser."""

import csv
import io
import itertools
import math
import re
import shutil
import subprocess
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from conftest import HANGS
from faults import wait
from page_by_hand import Page
from results_by_hand import both, diverged, leave, result
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from test_standing import FAR, FLOOR, NOTHING, planted

from softtargets import colours
from softtargets.report import numbers, palette, tables
from softtargets.report import page as building
from softtargets.report.comparison import comparison
from softtargets.report.markup import Markup, joined, tag
from softtargets.report.measures import MEASURES
from softtargets.report.runs import read
from softtargets.report.standing import standings
from softtargets.report.statistics import independent
from softtargets.report.summary import ENDPOINTS, summarise
from softtargets.report.way_left import best, entries
from softtargets.system.files import write_json

MARKUP = "<img src=x onerror=window.hacked=1><b>bold</b>"
NO_NUMBER = re.compile(r"\b(nan|inf|NaN|null|None|undefined|Infinity)\b")


def reported(place: Path, *runs: dict) -> Path:
    return summarise(leave(place, *runs), place, None, ENDPOINTS, None)


def arms() -> list[dict]:
    """Runs of two algorithms with hard and soft targets, and of all that they have to beat."""
    parts = [
        planted("npo", 0.6),
        planted("npo", 0.3, targets="soft"),
        planted("relabel", 0.5),
        planted("relabel", 0.23, targets="out_of_fold"),
        planted("relabel", 7.0, targets="uniform"),
        planted("early", 0.8, share=0.0, **NOTHING),
        planted("retrain", 0.4, **NOTHING),
        planted("none", 1.0, share=0.0, **NOTHING),
    ]
    return [_stirred(run, at) for at, run in enumerate(itertools.chain(*parts))]


def _stirred(run: dict, at: int) -> dict:
    """A run whose distances are a little off, so that no two arms differ by the same in every pair."""
    if run["choices"]["targets"] != "hard":
        for face in FAR:
            run["faces"][face]["unlearned"] += (0, 1e-4, -1e-4, 2e-4, -2e-4)[(3 * at) % 5] * (at % 8 < 5)
    return run


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A page on eight arms of one setting."""
    return reported(tmp_path_factory.mktemp("runs"), *arms())


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """A page on older results with markup for a name."""
    odd = result(99, MARKUP, choices={"mu_algo": "graddiff", "unlearn": "graddiff"})
    return reported(tmp_path_factory.mktemp("runs"), *both(5), *both(5, choices={"forget_set": MARKUP}), odd)


# without a browser


def test_markup_escapes_all_but_markup():
    assert tag("p", "a < b & \x1b", Markup("<br>"), class_='x"y', data_a=None) == (
        '<p class="x&quot;y">a &lt; b &amp; \\x1b<br></p>'
    )
    assert joined("<", None, tag("rect", width=1)) == '&lt;<rect width="1"/>'


def test_the_headline_has_the_best_arm_the_targets_and_how_far_to_trust_them(report):
    text = Page(report.read_text()).text
    assert "Best arm by probabilities: fashion_mnist mlp random: relabel out_of_fold leaves 23% [" in text
    assert (
        "of the way from doing nothing to retraining (n = 8, 8 forget sets; retraining at equal cost leaves 40%)"
        in text
    )
    assert (
        "Hard against soft by probabilities: npo: soft is closer than hard; "
        "relabel: out_of_fold is closer than hard, uniform is farther than hard." in text
    )
    assert (
        "Trust: 64 runs began, 64 finished, 0 failed, 0 diverged, 0 did not stay at matched forgetting; with n = 8"
        in text
    )
    assert text.count("JS: Jensen–Shannon divergence, in nats") == 1


def test_fine_tuning_at_equal_cost_stands_in_the_headline_and_in_the_table(tmp_path):
    runs = [*planted("npo", 0.2), *planted("finetune", 0.3)]
    text = Page(summarise(leave(tmp_path, *runs), tmp_path, None, ENDPOINTS, None).read_text()).text
    assert "; fine-tuning at equal cost leaves 30%)" in text
    assert "nearer than doing nothing; nearer than fine-tuning at equal cost" in text


def test_a_comparison_of_algorithms_is_called_so(tmp_path):
    runs = [*planted("npo", 0.6), *planted("relabel", 0.3)]
    page = summarise(leave(tmp_path, *runs), tmp_path, comparison("mu_algo=npo,relabel"), ENDPOINTS, None)
    text = Page(page.read_text()).text
    assert "Comparison by probabilities: relabel is closer than npo." in text
    assert re.search(
        r"with n = 8, the smallest mean difference that one comparison of two arms shows in 80 % of cases, "
        r"without correction for the others, is [\d.e-]+ by probabilities \(.*, nats\)\.",
        text,
    )
    assert "Figure 3. The compared arms, pair by pair" in text


def test_the_table_has_six_columns_and_every_arm_the_nearest_first(report):
    page = Page(report.read_text())
    rows = page.arms()
    assert [len(row) for row in rows] == 8 * [6]
    assert [row[1] for row in rows] == [
        "relabel out_of_fold",
        "npo soft",
        "retrain",
        "relabel hard",
        "npo hard",
        "early",
        "none",
        "relabel uniform",
    ]
    first = rows[0]
    assert first[0] == "fashion_mnist mlp random"
    mean = FLOOR["js_t_forget"] + 0.23 * (FAR["js_t_forget"] - FLOOR["js_t_forget"])
    assert first[2].startswith(f"{mean:.4f} ± ")
    assert first[3].startswith("leaves 23% [")
    assert re.match(r"−0\.0097 \[−0\.\d+, −0\.\d+\] than hard", first[4])
    assert first[5].startswith(
        "nearer than doing nothing; nearer than early stopping; nearer than retraining at equal cost; "
        "out_of_fold is closer to retrained than hard"
    )
    for detail in ("n = 8", "p (Holm)", "p of equivalence", "dz", "floor 0.004", "margin"):
        assert detail in first[5]
    assert rows[2][4] == "–"


def test_every_pair_is_a_dot_at_its_share_of_the_way(report):
    titles = Page(report.read_text()).titles
    assert titles.count("mean; 0.230") == 3  # by each face
    seeds = [title for title in titles if title.startswith("seed 3; ")]
    assert len(seeds) > 8 * 3
    assert "retrain at equal cost; 0.400" in titles


def test_ways_are_by_hand(tmp_path):
    runs = read(
        leave(tmp_path, *planted("npo", {"js_t_forget": 0.3, "disagreement_forget": 0.6, "mia_gap": -0.5}))
    )
    (entry,) = entries(runs, standings(runs), [MEASURES[name] for name in FAR])
    for name, left in (("js_t_forget", 0.3), ("disagreement_forget", 0.6), ("mia_gap", 0.5)):
        way = entry.ways[name]
        assert way.mean == pytest.approx(left)
        assert np.mean([x for _, x in way.points]) == pytest.approx(left)
        assert way.low < left < way.high
        sd = np.std([x for _, x in way.points], ddof=1)
        assert way.high - left == pytest.approx(2.3646 * sd / math.sqrt(8), rel=1e-3)  # t of 7 degrees of freedom
    assert best([entry]) is entry


def test_whole_classes_are_shares_of_the_logarithmic_way(tmp_path):
    runs = list(planted("npo", 0.5))
    for run in runs:
        run["choices"] = run["choices"] | {"forget_set": "class"}
    (entry,) = entries(read(leave(tmp_path, *runs)), standings(read(tmp_path)), [MEASURES["js_t_forget"]])
    values = [run["faces"]["js_t_forget"]["unlearned"] for run in runs]
    shares = np.log(np.array(values) / 0.004) / math.log(0.04 / 0.004)
    assert entry.ways["js_t_forget"].mean == pytest.approx(shares.mean())


def test_the_headline_gives_no_verdict_on_few_pairs(tmp_path):
    text = Page(reported(tmp_path, *list(planted("relabel", 0.2))[:4]).read_text()).text
    assert "mlp random: no verdict below 5 pairs; the lowest mean: relabel hard leaves" in text


@pytest.mark.parametrize("kinds", [["mine", "yours"], [f"mine{at}" for at in range(14)]], ids=len)
def test_own_kinds_have_the_colours_that_are_free(kinds):
    known = colours.colours_of(["hard", "soft", *kinds])
    own = [known[colours.colour(name)] for name in kinds]
    assert len(set(own)) == min(len(kinds), 11)  # ten of twelve are free, and grey
    assert own.count(colours.OTHER) == max(0, len(kinds) - 10)
    assert not {colours.COLOURS["hard"], colours.COLOURS["soft"]} & set(own)
    assert (
        colours.colours_of(reversed(kinds))[colours.colour(kinds[0])]
        == colours.colours_of(kinds)[colours.colour(kinds[0])]
    )
    alone = colours.colours_of([kinds[0]])[colours.colour(kinds[0])]
    assert alone not in (colours.OTHER, *(colours.COLOURS[kind] for kind in ("hard", "soft", "out_of_fold")))
    assert len(kinds) > 2 or own[0] == alone, "as in a figure of its own"
    text = palette.legend([("npo", name) for name in ["hard", *kinds]])
    assert (">mine<" in text or ">mine0<" in text, "other kinds" in text) == (True, len(kinds) > 11)


def test_only_an_arm_that_is_nearer_than_doing_nothing_is_called_best(tmp_path):
    for name, runs in {"far": planted("npo", 1.4), "few": list(planted("npo", 0.2))[:4]}.items():
        text = reported(tmp_path / name, *runs).read_text()
        assert 'class="best"' not in text
        assert text.count("<small>best") == (name == "far")  # by JS, of which these runs have another value
        assert r"\textbf" not in papers(tmp_path / name)
    text = reported(tmp_path / "near", *planted("npo", 0.2), *planted("relabel", 0.4)).read_text()
    assert text.count("<small>best") == 4, "once by each measure"
    assert text.count('<tr class="best"') == 1
    assert '<strong><a href="#arm-0">npo hard</a></strong> leaves 20%' in text
    assert re.search('<tr class="best" data-honour="best" id="arm-0"', text), "where the headline leads"


def test_baselines_alone_have_no_best_arm(tmp_path):
    text = Page(reported(tmp_path, *planted("none", 1.0)).read_text()).text
    assert "Best arm by JS on the forget set: none, since these runs are baselines alone." in text


def test_where_every_run_diverged_nothing_is_said_of_their_differences(tmp_path):
    runs = [diverged(seed, arm) for arm in ("hard", "soft") for seed in range(5)]
    text = Page(reported(tmp_path, *runs).read_text()).text
    assert "Best arm by JS on the forget set: none has a finite distance." in text
    assert "gradasc: soft has no verdict against hard." in text
    assert "10 diverged, 0 did not stay at matched forgetting; too few values are finite to show anything." in text


def test_a_plane_keeps_intervals_inside_and_marks_what_loses_utility(tmp_path):
    arms = [*planted("npo", 1.5, share=0.1), *planted("relabel", 0.3, share=0.2)]
    for run in arms[:8]:
        run["faces"]["js_t_forget"]["unlearned"] *= 1 + 1.0 * (run["choices"]["seed"] % 2 == 0) * (
            run["choices"]["seed"] < 3
        )
        run["faces"]["test_acc_gap"] = {"unlearned": -0.2, "nothing": 0.0, "floor": 0.0}
    text = reported(tmp_path, *arms).read_text()
    plane = re.search(r'<svg[^>]*class="plane">(.*?)</figure>', text, re.DOTALL)[1]
    ends = re.findall(r'y1="([-\d.]+)%" y2="([-\d.]+)%" class="between[^"]*"', plane)
    assert len(ends) == 2
    assert all(0 <= float(at) <= 100 for pair in ends for at in pair)
    assert plane.count(">↑</text>") == 1, "an interval that goes on above has a sign"
    assert re.findall(r'class="(k-hard[^"]*)"><title>npo', plane) == re.findall(
        r'class="(k-hard lossy)"><title>npo', plane
    )
    assert "lossy" not in "".join(re.findall(r"<use[^>]*>(?=<title>relabel)", plane))


def prepared(*left: float) -> list[dict]:
    """Runs of arms that need models from before the request."""
    runs = [run for at, one in enumerate(left) for run in planted("relabel", one, targets=f"soft{at or ''}")]
    return [run | {"cost": run["cost"] | {"prepared_share": 4.5}} for run in runs]


@pytest.mark.long
def test_arms_with_models_from_before_the_request_are_ranked_apart_under_a_word_why(tmp_path, capsys):
    served = planted("teachers", 0.05, comparison_only=True, **NOTHING)
    page = Page(reported(tmp_path, *prepared(0.1, 0.2), *served, *planted("npo", 0.6)).read_text())
    first = "Arms without prepared models"
    why = "Ranked apart: arms with models from before the request, whose cost the request does not pay"
    only = "Ranked apart: arms for comparison only, which are no answer to a request"
    assert [row[0] if len(row) == 1 else row[1].partition(" (")[0] for row in page.arms()] == [
        first,
        "npo hard",
        why,
        "relabel soft",
        "relabel soft1",
        only,
        "teachers",
    ]
    text = (tmp_path / "summary.md").read_text()
    assert text.index("## Where every arm stands") < text.index(f"## {why}") < text.index(f"## {only}")
    assert papers(tmp_path).index("npo") < papers(tmp_path).index(r"\multicolumn{6}{@{}l}{Ranked apart: arms with")
    assert "random: ranked apart, arms with models" in " ".join(capsys.readouterr().out.split())


def test_a_stranger_sees_the_best_arm_without_prepared_models_and_the_best_with(tmp_path, capsys):
    text = reported(tmp_path, *prepared(0.1), *planted("npo", 0.6)).read_text()
    page = Page(text)
    ends = r"\[.*?\] of the way from doing nothing to retraining \(n = 8, 8 forget sets(; \D+ \d+ requests on)?\)"
    said = f"without prepared models, npo hard leaves 60% {ends}; with prepared models, relabel soft leaves 10%"
    assert re.search(said, page.text), page.text[:800]
    assert re.search(said, capsys.readouterr().out), "on the terminal, too"
    assert re.findall('<tr class="best" data-honour="(.*?)"', text) == [
        "best without prepared models",
        "best with prepared models",
    ]
    assert (
        "Best without prepared models: npo hard Best with prepared models: relabel soft Ranked apart" in page.text
    )
    chart = page.tables["probabilities (calibrated JS on the forget set, nats): fashion_mnist mlp random"]
    named = {row[0]: row[-1] for row in chart if len(row) == 3}
    assert named["softprepared"].endswith("best with prepared models")
    assert named["hard"].endswith("best without prepared models")
    assert "relabel soft (prepared)" in page.text, "figure 2"
    written = (tmp_path / "summary.md").read_text()
    assert "| npo hard (best without prepared models) |" in written
    assert "(best with prepared models)" in written
    assert "In bold: the best arm without prepared models and the best arm with prepared models." in " ".join(
        papers(tmp_path).replace(r"\allowbreak{}", "").split()
    )


def test_where_no_arm_without_prepared_models_keeps_utility_the_headline_says_so(tmp_path):
    lossy = list(planted("npo", 0.3))
    for run in lossy:
        run["faces"]["test_acc_gap"] = {"unlearned": -0.2, "nothing": 0.0, "floor": 0.0}
    text = Page(reported(tmp_path, *prepared(0.5), *lossy).read_text()).text
    assert "without prepared models none keeps its utility; the nearest: npo hard leaves 30%" in text
    assert "with prepared models, relabel soft leaves 50%" in text


@pytest.mark.long
def test_the_headline_names_its_face_and_says_n_and_interval_where_no_arm_keeps_utility(tmp_path):
    left = {"js_t_forget": 0.3, "disagreement_forget": 0.6, "mia_gap": 0.5}
    other = dict(zip(left, (0.4, 0.2, 0.6), strict=True))
    runs = [*planted("npo", left), *planted("relabel", other)]
    text = Page(reported(tmp_path / "kept", *runs).read_text()).text
    for face, arm in (("probabilities", "npo"), ("decisions", "relabel"), ("privacy", "npo")):
        assert f"Best arm by {face}: fashion_mnist mlp random: {arm} hard leaves" in text
    said = "by decisions: none keeps its utility; the nearest: relabel hard leaves"
    for run in runs:
        run["faces"]["test_acc_gap"] = {"unlearned": -0.2, "nothing": 0.0, "floor": 0.0}
    text = Page(reported(tmp_path / "lost", *runs).read_text()).text
    assert re.search(
        rf"{said} 20% \[1\d%, 2\d%\] of the way from doing nothing to retraining \(n = 8, 8 forget sets\)\.", text
    )


@pytest.mark.long
def test_a_best_arm_that_is_worse_than_doing_nothing_is_called_so(tmp_path):
    near = [*planted("npo", 0.5)]
    for run in near:
        run["faces"]["test_acc_gap"] = {"unlearned": -0.2, "nothing": 0.0, "floor": 0.0}
    text = Page(reported(tmp_path / "many", *near, *planted("relabel", 1.4)).read_text()).text
    kept = "no arm of an unlearning algorithm that keeps utility is nearer on average"
    assert f"(n = 8, 8 forget sets; worse than doing nothing; {kept})" in text
    text = Page(reported(tmp_path / "one", *planted("relabel", 1.4, n=1)).read_text()).text
    assert re.search(r"relabel hard leaves 1\d\d% of .*; in these runs worse than doing nothing\)", text)
    assert kept not in text
    text = Page(reported(tmp_path / "apart", *prepared(0.3), *planted("npo", 1.4)).read_text()).text
    kept = "no arm of an unlearning algorithm without prepared models that keeps utility is nearer on average"
    assert re.search(
        rf"npo hard leaves 140% .*?; worse than doing nothing; {kept}\); with prepared models, ", text
    )


def lossy(runs) -> list[dict]:
    """These runs, without utility."""
    runs = list(runs)
    for run in runs:
        run["faces"]["test_acc_gap"] = {"unlearned": -0.2, "nothing": 0.0, "floor": 0.0}
    return runs


def baseline(name: str, left: float, share: float) -> list[dict]:
    return list(planted(name, left, share=share, **NOTHING))


@pytest.mark.long
def test_a_baseline_that_is_nearer_than_the_best_arm_is_named_beside_it(tmp_path):
    far = [*baseline("none_calibrated", 0.7, 0.01), *baseline("early", 0.8, 0.0), *baseline("retrain", 0.9, 0.05)]
    text = Page(reported(tmp_path / "far", *planted("npo", 0.6), *far).read_text()).text
    assert "npo hard leaves 60%" in text
    assert "simpler and nearer" not in text
    assert "; retraining at equal cost leaves 90%" in text
    near = [*baseline("none_calibrated", 0.5, 0.01), *baseline("early", 0.2, 0.0), *baseline("retrain", 0.3, 0.05)]
    text = Page(reported(tmp_path / "near", *planted("npo", 0.6), *near).read_text()).text
    assert "; but simpler and nearer: early leaves 20% and none_calibrated leaves 50%; " in text
    assert "; retraining at equal cost leaves 30%, so it is nearer" in text
    runs = [*lossy(baseline("early", 0.2, 0.0)), *lossy(baseline("retrain", 0.3, 0.05))]
    text = Page(reported(tmp_path / "lossy", *planted("npo", 0.6), *runs).read_text()).text
    assert "simpler and nearer" not in text
    assert "; retraining at equal cost leaves 30%, so it is nearer, but loses utility" in text


def test_of_two_arms_that_both_lose_utility_none_reads_like_a_win(tmp_path):
    runs = [
        _stirred(run, at) for at, run in enumerate([*planted("npo", 0.6), *planted("npo", 0.3, targets="soft")])
    ]
    page = Page(reported(tmp_path, *lossy(runs)).read_text())
    assert "npo: soft is closer than hard, and both lose utility." in page.text
    assert [row[1] for row in page.arms()] == ["npo soft (loses utility)", "npo hard (loses utility)"]
    assert "; both lose utility" in page.arms()[0][5]


def test_every_setting_is_in_the_headline_those_without_a_best_arm_too(tmp_path):
    other = [run | {"choices": run["choices"] | {"dataset": "mnist"}} for run in lossy(planted("npo", 0.3))]
    text = Page(reported(tmp_path, *planted("npo", 0.6), *other).read_text()).text
    assert "fashion_mnist mlp random: npo hard leaves 60%" in text
    assert "; mnist mlp random: none keeps its utility; the nearest: npo hard leaves 30%" in text


def test_where_the_way_is_not_measurably_above_0_no_share_of_it_is_said(tmp_path):
    runs = [*planted("npo", 0.6), *planted("npo", 0.3, targets="soft"), *baseline("early", 0.5, 0.0)]
    for run in runs:
        apart = 2e-6 + 1e-4 * (run["choices"]["seed"] % 2 - 0.5)
        run["faces"]["js_t_forget"]["nothing"] = FLOOR["js_t_forget"] + apart
    page = Page(reported(tmp_path, *runs).read_text())
    said = "no way to go: doing nothing is not measurably farther than another retraining"
    assert f"Best arm by probabilities: none, since there is {said}." in page.text
    assert "Best arm by decisions: fashion_mnist mlp random: npo soft leaves 30%" in page.text
    assert [row[3] for row in page.arms()] == [said] * 3
    assert "npo: soft does less harm than hard." in page.text
    texts = [(tmp_path / name).read_text() for name in ("summary.md", "summary.tex", "report.html")]
    assert not [share for text in texts for share in re.findall(r"\d{4,}(?:%|\.\d+ \[)", text)]
    with (tmp_path / "standing.csv").open() as file:
        shares = [float(row["left"]) for row in csv.DictReader(file) if row["face"] == "js_t_forget"]
    assert min(map(abs, shares)) > 100, "numbers for programs stay numbers"


def test_arms_of_which_no_run_finished_have_their_rows_with_the_reason(tmp_path):
    folder = leave(tmp_path, *planted("npo", 0.6))
    for seed in range(2):
        error = {"error": "ValueError", "message": f"50%_too {'far ' * 60}"}
        write_json(folder / f"mu_algo=scrub,targets=soft,seed={seed}-0123456789a{seed}/error.json", error)
    summarise(folder, folder, None, ENDPOINTS, None)
    with (folder / "arms.csv").open() as file:
        lost = [row for row in csv.DictReader(file) if row["mu_algo"] == "scrub"]
    assert {row["measure"] for row in lost} == {*FAR, "js_forget"}
    assert {(row["arm"], row["n"], row["runs"], row["mean"]) for row in lost} == {("soft", "0", "0", "")}
    assert lost[0]["verdict"].startswith(
        "no run finished: 2 runs began, 0 finished, 2 failed; the first: ValueError: 50%"
    )
    text = papers(folder).replace(r"\allowbreak{}", "")
    assert r"\caption{Arms of which no run finished.}\label{tab:softtargets-2}" in text
    row = text[text.index("mu_algo=scrub targets=soft".replace("_", r"\_")) :].partition(r"\\")[0]
    assert "2 failed; the first: ValueError: 50\\%\\_too far" in row
    assert row.rstrip().endswith(r"\dots{}")


def test_the_smallest_difference_that_is_shown_is_a_range_over_the_comparisons(tmp_path):
    runs = [*planted("npo", 0.6), *planted("npo", 0.3, targets="soft"), *planted("npo", 0.4, targets="mine")]
    for run in runs[8:]:
        scale = 1e-3 if run["choices"]["targets"] == "mine" else 1e-4
        run["faces"]["js_t_forget"]["unlearned"] += scale * (run["choices"]["seed"] % 3)
    text = Page(reported(tmp_path, *runs).read_text()).text
    least, most = (independent(scale * (np.arange(8) % 3)).detectable() for scale in (1e-4, 1e-3))
    assert f"without correction for the others, is between {least:.2g} and {most:.2g} by probabilities" in text


def test_small_effects_have_the_digits_of_their_interval_everywhere(tmp_path, capsys):
    runs = [*planted("npo", 0.5), *planted("npo", 0.5, targets="soft")]
    for run in runs[8:]:
        run["faces"]["js_t_forget"]["unlearned"] += 1e-6 * (1 + 0.1 * run["choices"]["seed"])
    page = Page(reported(tmp_path, *runs).read_text())
    row = next(row for row in page.arms() if row[1] == "npo soft")
    mean = re.match(r"\+(0\.0000\d+) \[\+(0\.0000\d+), \+(0\.0000\d+)\] than hard", row[4])
    assert [float(number) for number in mean.groups()] == pytest.approx([1.35e-6, 1.15e-6, 1.55e-6], abs=2e-7)
    assert re.search(r"(?<![+−])0\.0000\d+ \[0\.0000\d+, 0\.0000\d+\]", page.text)
    for text in ((tmp_path / "summary.md").read_text(), papers(tmp_path)):
        assert [line for line in text.splitlines() if "npo soft" in line and f"+{mean[1]} [" in line]


def test_equal_differences_are_not_called_infinite(tmp_path):
    hard = both(5)[:5]
    soft = [run | {"choices": run["choices"] | {"targets": "soft"}} for run in hard]
    page = Page(reported(tmp_path, *hard, *soft).read_text())
    assert "every pair has the same difference, so that none can be called detectable" in page.text


@pytest.mark.parametrize(
    ("numbers_of", "least", "width", "shown"),
    [
        ((0.23, 0.2, 0.27), 2, 0.07, ["0.23", "0.20", "0.27"]),
        ((0.0034, 0.0021, 0.0052), 2, 0.0031, ["0.003", "0.002", "0.005"]),
        ((-0.00004,), 4, None, ["−0.00004"]),
        ((-0.00004, -0.2, 0.2), 4, 0.4, ["0.0000", "−0.2000", "0.2000"]),
        ((3e-11,), 4, None, ["3e-11"]),
        ((0.0, -0.0), 2, None, ["0.00", "0.00"]),
        ((1e300,), 2, math.inf, ["1e+300"]),
    ],
)
def test_numbers_have_the_digits_that_show_their_interval(numbers_of, least, width, shown):
    assert numbers.written(numbers_of, least, width) == shown


def test_legends_name_what_is_drawn_alone(report, tmp_path):
    words = ("small triangle", "dashed line", "Pale arms", "Grey arms", "Costs before the request")
    text = Page(reported(tmp_path, *planted("npo", 0.3)).read_text()).text
    assert not [word for word in words if word in text]
    text = Page(report.read_text()).text
    assert [word for word in (*words, "The black bar") if word in text] == ["small triangle", "The black bar"]
    runs = [*planted("npo", 0.3), *retrains(0.05, 0.1)]
    assert "The dashed line" in Page(reported(tmp_path / "line", *runs).read_text()).text


def retrains(*costs: float) -> list[dict]:
    """Runs of retraining from scratch for several costs."""
    each = [(cost, run) for cost in costs for run in planted("retrain", 0.4, share=cost, **NOTHING)]
    return [run | {"config": run["config"] | {"unlearn": {"cost": cost}}} for cost, run in each]


@pytest.mark.long
def test_half_of_the_arms_are_on_the_axis_however_far(tmp_path):
    page = Page(
        reported(tmp_path, *planted("npo", 3.0), *planted("relabel", 5.0), *planted("scrub", 60)).read_text()
    )
    assert "60.0 →" in page.text
    assert "5.0 →" not in page.text
    assert page.text.count("↑ 60.0") == 3  # by each face
    drawn = re.findall(r'<g data-algorithm="scrub"[^>]*>(.*?)</g>', (tmp_path / "report.html").read_text())
    assert 'href="#m-plus"' in "".join(drawn)


@pytest.mark.long
def test_many_runs_have_their_means_alone_and_a_sentence_that_says_so(tmp_path, monkeypatch):
    runs = [*planted("npo", 0.6), *planted("npo", 0.3, targets="soft")]
    whole = Page(reported(tmp_path / "few", *runs).read_text())
    monkeypatch.setattr(building, "CROWDED", 15)
    crowded = Page(reported(tmp_path / "many", *runs).read_text())
    sentence = "runs only means are drawn; pairs.csv has every pair."
    assert (whole.text.count(sentence), crowded.text.count(sentence)) == (0, 3)
    assert [sum(title.startswith("seed ") for title in one.titles) for one in (whole, crowded)] == [4 * 3 * 8, 0]
    means = [title for title in whole.titles if title.startswith("mean; ")]
    assert [title for title in crowded.titles if title.startswith("mean; ")] == means
    shown = [[title for title in one.titles if title.startswith("soft; ")] for one in (whole, crowded)]
    assert [len(titles) for titles in shown] == [8, 1]  # accuracies


def test_a_far_arm_is_an_arrow_with_its_number_and_an_arm_without_utility_is_grey(tmp_path):
    runs = list(planted("npo", 7.0)) + list(planted("relabel", 0.2))
    for run in runs[8:]:
        run["faces"]["test_acc_gap"] = {"unlearned": -0.2, "nothing": 0.0, "floor": 0.0}
    text = reported(tmp_path, *runs).read_text()
    assert "7.0 →" in Page(text).text
    titles = Page(text).titles
    assert titles.count("mean; 7.000") == 3, "by each face, though no axis has it"
    assert len([title for title in titles if re.match(r"seed \d; [67]\.", title)]) == 3 * 8
    assert len([title for title in titles if re.match(r"95 % interval; 6\.\d+; 7\.", title)]) == 3
    rows = re.findall(r'<tr class="(k-hard[^"]*)"', text)
    assert sum("greyed" in row for row in rows) == sum("greyed" not in row for row in rows) > 0
    assert (
        Page(text).text.startswith("runs")
        or "Best arm by probabilities: fashion_mnist mlp random: npo hard" in Page(text).text
    )


HUGE = list(zip(both(5), [1e308, 1e300, *8 * [0.02]], strict=True))
"""Runs with distances of which two are nearly too large for a float."""
LOST = {
    "all diverged": [diverged(seed, arm) for arm in ("hard", "soft") for seed in range(3)],
    "an arm diverged": [diverged(seed) for seed in range(5)] + both(5)[5:],
    "few are measured": [diverged(seed) for seed in range(4)] + both(6)[4:],
    "one run": [diverged()],
    "one arm": both(10)[:10],
    "margins": both(10),
    "too far for a number": [one | {"distance": one["distance"] | {"js_forget": far}} for one, far in HUGE],
    "one is too far for a number": [
        one | {"distance": one["distance"] | {"js_forget": 1e300}} for one in both(1)[:1]
    ],
    "no way to go": [one | {"baseline": one["distance"]} for one in both(5)],
}


@pytest.fixture(scope="module", params=LOST)
def odd(request, tmp_path_factory):
    """A page on runs of which much is not there."""
    place = leave(tmp_path_factory.mktemp("runs"), *LOST[request.param])
    if request.param == "margins":
        for file in place.glob("*/margins.npz"):
            np.savez(file, **(dict(np.load(file)) | {"forget_unlearned": np.array([np.inf, np.nan])}))
    return summarise(place, place, None, ENDPOINTS, None)


@pytest.mark.long
def test_what_is_not_there_is_in_words(odd):
    page = Page(odd.read_text())
    assert page.arms()
    assert not NO_NUMBER.search(page.text)
    assert not re.search(r"\b0 of \d+ runs", page.text)
    assert not NO_NUMBER.search(" ".join(value or "" for _, name, value in page.attributes if name != "class"))


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """A page on runs that all failed."""
    place = tmp_path_factory.mktemp("runs")
    for seed in range(7):
        write_json(place / f"seed={seed}/error.json", {"error": "ValueError", "message": f"{MARKUP}{seed}"})
    return summarise(place, place, None, ENDPOINTS, None)


def test_where_no_run_finished_the_page_names_them(failed):
    page = Page(failed.read_text())
    assert "No run finished: there is nothing to compare." in page.text
    assert all(f"seed={seed}: ValueError: {MARKUP}{seed}" in page.text for seed in range(7))
    assert page.tags["img"] == page.tags["table"] == 0


def test_the_page_asks_nobody_for_more_and_names_are_no_markup(marked):
    text = marked.read_text()
    page = Page(text)
    assert MARKUP not in text
    assert MARKUP in page.text
    assert page.tags["img"] == 0
    addresses = [value for _, name, value in page.attributes if name in ("src", "href")]
    assert not [value for value in addresses if not value.startswith(("#", "data:"))]
    assert len(text) < 2e6


# Machado, Oliveira and Fernandes 2009, severity 1, in linear RGB
SEEN = {
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "neither": np.eye(3).tolist(),
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = XYZ @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eye", SEEN)
@pytest.mark.parametrize("dark", [0, 1], ids=["light", "dark"])
def test_colours_differ_for_every_eye(eye, dark):
    shown = [pair[dark] for pair in colours.COLOURS.values()]
    assert len(shown) == 12
    seen = [lab(np.array(SEEN[eye]) @ linear(colour)) for colour in shown]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) >= 20


@pytest.mark.parametrize(("ground", "dark"), [("#ffffff", 0), ("#14181d", 1)])
def test_colours_stand_out_from_their_ground(ground, dark):
    for pair in [*colours.COLOURS.values(), colours.OTHER]:
        high, low = sorted((XYZ[1] @ linear(colour) for colour in (ground, pair[dark])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 3


@pytest.mark.parametrize("name", ["less", "more"])
@pytest.mark.parametrize("dark", [0, 1], ids=["light", "dark"])
def test_numbers_are_read_on_the_strongest_colour_of_a_gap(name, dark):
    style = (Path(building.__file__).parent / "page.css").read_text()
    over, under, text = (re.findall(rf"--{one}: (#\w{{6}})", style)[dark] for one in (name, "ground", "text"))
    rgb = [[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in (over, under)]
    mixed = "#" + "".join(f"{round(255 * (0.6 * a + 0.4 * b)):02x}" for a, b in zip(*rgb, strict=True))
    high, low = sorted((XYZ[1] @ linear(colour) for colour in (mixed, text)), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_kinds_have_one_colour_wherever_they_appear():
    assert [
        colours.kind(name) for name in ("hard", "soft forget.temperature=2", "self/hard", "out_of_fold/hard")
    ] == [
        "hard",
        "soft",
        "soft",
        "out_of_fold",
    ]
    assert (colours.kind("mine"), colours.kind(None)) == ("other", "none")


# in a browser


@pytest.fixture(scope="module")
def browsers(tmp_path_factory):
    """`browsers(width, *arguments)`: headless Chromium of this width, with its own folder of downloads."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("needs chromium and chromium-driver")
    opened = []

    def browser(width: int, *arguments: str):
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for argument in ("headless=new", "no-sandbox", "disable-gpu", f"window-size={width},1000", *arguments):
            options.add_argument(f"--{argument}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        opened.append(webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)))
        opened[-1].set_script_timeout(HANGS)
        opened[-1].downloads = tmp_path_factory.mktemp("downloads")
        place = {"behavior": "allow", "downloadPath": str(opened[-1].downloads)}
        opened[-1].execute_cdp_cmd("Browser.setDownloadBehavior", place)
        return opened[-1]

    yield browser
    for one in opened:
        one.quit()


@pytest.fixture(scope="module")
def wide(browsers):
    return browsers(1280)


@pytest.fixture
def laptop(wide, report):
    """The page as it opens."""
    wide.get("about:blank")
    wide.get(report.as_uri())
    return wide


def rows(browser) -> list[str]:
    return [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#arms tbody tr") if row.is_displayed()]


def choose(browser, name: str, value: str) -> None:
    Select(browser.find_element(By.NAME, name)).select_by_value(value)


def switch(browser, measure: str) -> None:
    browser.find_element(By.CSS_SELECTOR, f"input[value={measure}]").click()


def saved(browser, file: str) -> str:
    """The content of a file once it is downloaded."""
    assert wait(HANGS, (browser.downloads / file).exists), f"{file} never came"
    return (browser.downloads / file).read_text()


def jump(browser, script: str) -> None:
    """Run a script that leads to a place of the page, and wait until the page has followed and is drawn."""
    jumped = "addEventListener('hashchange', () => requestAnimationFrame(() => setTimeout(done)), {once: true});"
    browser.execute_async_script(f"const done = arguments[0]; {jumped} {script}")


def wait_for_resize(browser) -> None:
    """Wait until the page has heard of its new size: of that it hears before it is drawn again."""
    drawn = "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))"
    browser.execute_async_script(f"const done = arguments[0]; {drawn}")


pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.mark.browser
class TestInABrowser:
    def test_it_opens_without_a_word_on_the_console(self, laptop):
        assert laptop.get_log("browser") == []
        assert len(rows(laptop)) == 8
        assert laptop.find_element(By.ID, "errors").text == ""

    def test_names_with_markup_run_nothing(self, wide, marked):
        wide.get(marked.as_uri())
        assert wide.get_log("browser") == []
        assert wide.execute_script("return window.hacked") is None
        assert wide.execute_script("return document.querySelectorAll('main img').length") == 0

    def test_what_is_not_there_leaves_no_blank_page(self, wide, odd, failed):
        for page in (odd, failed):
            wide.get(page.as_uri())
            assert wide.get_log("browser") == []
            assert not NO_NUMBER.search(wide.find_element(By.TAG_NAME, "body").text)
            assert "Notes" in wide.find_element(By.TAG_NAME, "main").text

    def test_an_error_of_the_script_is_shown(self, laptop):
        laptop.execute_script("dispatchEvent(new ErrorEvent('error', {message: 'no luck'}))")
        assert "The page's script failed: no luck." in laptop.find_element(By.ID, "errors").text

    def test_without_script_headline_figures_and_table_are_there(self, wide, report):
        wide.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            wide.get(report.as_uri())
            assert len(rows(wide)) == 8
            assert "Best arm by" in wide.find_element(By.TAG_NAME, "header").text
            assert [one for one in wide.find_elements(By.CSS_SELECTOR, "#figure1") if one.is_displayed()]
            assert not [one for one in wide.find_elements(By.CSS_SELECTOR, ".scripted") if one.is_displayed()]
            wide.find_element(By.CSS_SELECTOR, "#arms summary").click()
            assert wide.find_element(By.CSS_SELECTOR, "#arms dl").is_displayed()
        finally:
            wide.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

    def test_filters_and_measure_live_in_the_address(self, laptop):
        choose(laptop, "algorithm", "npo")
        assert len(rows(laptop)) == 2
        choose(laptop, "targets", "soft")
        switch(laptop, "mia_gap")
        assert len(rows(laptop)) == 1
        address = laptop.current_url
        assert address.endswith("#measure=mia_gap&algorithm=npo&targets=soft")
        laptop.get("about:blank")
        laptop.get(address)
        assert len(rows(laptop)) == 1
        (shown,) = [
            one
            for one in laptop.find_elements(By.CSS_SELECTOR, "section [data-measure]")
            if one.get_attribute("data-measure") and one.is_displayed()
        ][:1]
        assert shown.get_attribute("data-measure") == "mia_gap"
        labels = [
            one.text for one in shown.find_elements(By.CSS_SELECTOR, ".chart th[scope=row]") if one.is_displayed()
        ]
        assert labels == ["soft"]
        assert "Best arm by privacy" in laptop.find_element(By.TAG_NAME, "header").text

    def test_a_figure_of_which_filters_leave_nothing_says_so(self, wide, tmp_path):
        digits = [run | {"choices": run["choices"] | {"dataset": "mnist"}} for run in planted("npo", 0.4)]
        wide.get(reported(tmp_path, *planted("npo", 0.3), *planted("npo", 0.2, targets="soft"), *digits).as_uri())
        said = (
            "return ['figure1', 'figure3'].map((one) => getComputedStyle(document.querySelector("
            "`section[aria-labelledby=${one}] > [data-measure]:not([hidden])`), '::after').content)"
        )
        assert wide.execute_script(said) == ["none", "none"]
        choose(wide, "dataset", "mnist")
        assert wide.execute_script(said) == ["none", '"No arm that the filters leave is in this figure."']

    def test_filters_reach_the_folded_figures_and_tables(self, laptop):
        laptop.execute_script("for (const one of document.querySelectorAll('.part')) one.open = true")

        def shown(place: str) -> list[str]:
            return [one.text for one in laptop.find_elements(By.CSS_SELECTOR, place) if one.is_displayed()]

        planes = "[data-columns] .small figcaption b"
        assert len(shown(planes)) == 5 + 2 * 5
        choose(laptop, "algorithm", "npo")
        assert shown(planes) == 3 * ["npo"]
        outlines = "details[data-columns] .plane .outline"
        assert [one for one in laptop.find_elements(By.CSS_SELECTOR, outlines) if one.is_displayed()]
        choose(laptop, "targets", "soft")
        assert shown(".gaps th[scope=row]") == ["npo soft"]
        assert shown(".small .legend li") == 2 * ["soft"]
        assert [text for text in shown("#figure2 ~ * .legend li, section .legend li") if "soft" in text]
        choose(laptop, "targets", "uniform")
        assert not shown(planes)

    def test_folded_figures_give_their_data_and_their_pictures(self, laptop):
        laptop.execute_script("for (const one of document.querySelectorAll('.part')) one.open = true")
        choose(laptop, "algorithm", "npo")
        for name in ("accuracies", "trajectories"):
            for kind in ("csv", "svg"):
                (laptop.downloads / f"{name}.{kind}").unlink(missing_ok=True)
                laptop.find_element(By.CSS_SELECTOR, f"details:has(#{name}) [data-save={kind}]").click()
        lines = list(csv.DictReader(io.StringIO(saved(laptop, "trajectories.csv"))))
        first = [list(line.values()) for line in lines if line["step"] == "5"]
        assert ["forget accuracy", "fashion_mnist mlp random", "npo", "hard", "5", "0.9", "0.9", "0.9"] in first
        assert len(lines) == 2 * 2 * 3  # two measures, two arms, three steps
        lines = list(csv.DictReader(io.StringIO(saved(laptop, "accuracies.csv"))))
        assert {line["arm"] for line in lines} == {"hard", "soft", "retrained", "original"}
        assert {line["group"] for line in lines} == {"npo"}
        for name in ("accuracies", "trajectories"):
            assert "npo" in "".join(xml.etree.ElementTree.fromstring(saved(laptop, f"{name}.svg")).itertext())

    def test_data_of_a_figure_are_those_of_the_chosen_arms(self, laptop):
        choose(laptop, "algorithm", "npo")
        (laptop.downloads / "figure2.csv").unlink(missing_ok=True)
        laptop.find_element(By.CSS_SELECTOR, "section[aria-labelledby=figure2] [data-save=csv]").click()
        lines = list(csv.DictReader(io.StringIO(saved(laptop, "figure2.csv"))))
        assert {line["group"] for line in lines} == {"npo"}

    def test_a_link_of_the_page_leaves_what_is_chosen(self, wide, report):
        wide.get("about:blank")
        wide.get(f"{report.as_uri()}?from=here")
        choose(wide, "algorithm", "npo")
        jump(wide, "document.querySelector('.skip').click()")
        assert len(rows(wide)) == 2
        assert wide.current_url.endswith("?from=here#algorithm=npo")
        choose(wide, "algorithm", "")
        assert wide.current_url.endswith("?from=here")

    def test_a_filter_of_the_setting_leaves_its_rows_in_the_figures(self, wide, marked):
        wide.get("about:blank")
        wide.get(marked.as_uri())
        switch(wide, "js_forget")
        choose(wide, "forget", "random")
        assert 0 < len(rows(wide)) < len(wide.find_elements(By.CSS_SELECTOR, "#arms tbody tr"))
        shown = [
            one for one in wide.find_elements(By.CSS_SELECTOR, ".chart tr[data-algorithm]") if one.is_displayed()
        ]
        assert len(shown) >= 3  # two arms in figure 1, their difference in figure 3

    def test_a_column_sorts_both_ways_with_what_has_no_number_last(self, laptop):
        def column(at: int) -> list[str]:
            return [
                row.find_elements(By.TAG_NAME, "td")[at].text
                for row in laptop.find_elements(By.CSS_SELECTOR, "#arms tbody tr")
            ]

        button = laptop.find_elements(By.CSS_SELECTOR, "#arms thead button")[4]
        for reverse in (False, True):
            button.click()
            known = [float(text.split(" ")[0].replace("−", "-")) for text in column(4) if text != "–"]
            assert known == sorted(known, reverse=not reverse)
            assert column(4)[len(known) :] == ["–"] * 5
        heads = laptop.find_elements(By.CSS_SELECTOR, "#arms thead th")
        assert [head.get_attribute("aria-sort") for head in heads].count("none") == 5

    def test_a_row_opens_by_keyboard(self, laptop):
        summary = laptop.find_element(By.CSS_SELECTOR, "#arms summary")
        summary.send_keys(Keys.ENTER)
        assert "p (Holm)" in laptop.find_element(By.CSS_SELECTOR, "#arms dl").text

    @pytest.mark.parametrize("width", [1280, 1000, 390])
    def test_an_opened_row_has_room_for_its_words(self, laptop, width):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        laptop.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        try:
            laptop.execute_script("document.querySelector('#arms details').open = true")
            widths = laptop.execute_script(
                "return [...document.querySelectorAll('#arms dd')].map((a) => a.clientWidth)"
            )
            assert min(w for w in widths if w) > 130
            cut = "const a = document.querySelector('.wide'); return a.scrollWidth - a.clientWidth"
            assert laptop.execute_script(cut) <= 0, "no column is off the screen"
        finally:
            laptop.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    @pytest.mark.parametrize("width", [1400, 390])
    def test_no_column_of_the_comparisons_is_off_the_screen(self, laptop, width):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        laptop.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        try:
            laptop.execute_script(
                "for (const one of document.querySelectorAll('.part, .part details')) one.open = true"
            )
            boxes = laptop.execute_script(
                "return [...document.querySelectorAll('.stacked')].map((a) => [a.parentElement.scrollWidth, "
                "a.parentElement.clientWidth, a.querySelector('td.verdict').getBoundingClientRect().width])"
            )
            assert boxes
            assert all(there <= seen and verdict > 300 for there, seen, verdict in boxes)
        finally:
            laptop.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def test_sorting_leaves_arms_apart_that_are_ranked_apart(self, wide, tmp_path):
        wide.get(reported(tmp_path, *prepared(0.1, 0.2), *planted("npo", 0.6), *planted("scrub", 0.3)).as_uri())
        for _ in range(2):
            wide.find_elements(By.CSS_SELECTOR, "#arms thead button")[2].click()
        names = [text.split()[2 if text.startswith("Ranked") else 3] for text in rows(wide)]
        assert names == ["models", "npo", "scrub", "arms", "relabel", "relabel"]
        choose(wide, "algorithm", "npo")
        assert len(rows(wide)) == 2, "the title of its part, and the arm"

    def test_a_keyboard_comes_to_the_table_in_few_steps(self, laptop):
        body, reached = laptop.find_element(By.TAG_NAME, "body"), []
        for _ in range(25):
            body.send_keys(Keys.TAB)
            body = laptop.switch_to.active_element
            reached.append(body.get_attribute("name") or body.get_attribute("class") or body.tag_name)
        assert reached[0] == "skip"
        assert {"measure", "algorithm", "targets", "wide bounded"} <= set(reached)

    @pytest.mark.parametrize("width", [1280, 700, 1000])
    def test_nothing_lies_over_anything_after_a_resize(self, laptop, width):
        laptop.set_window_size(width, 900)
        try:
            assert laptop.execute_script("return document.documentElement.scrollWidth - innerWidth") <= 0
            boxes = laptop.execute_script(
                "return [...document.querySelectorAll('section')].map((a) => a.getBoundingClientRect().toJSON())"
            )
            assert all(a["bottom"] <= b["top"] for a, b in itertools.pairwise(boxes))
            inside = laptop.execute_script(
                "const foot = (one) => one.getBoundingClientRect().bottom;"
                "return [...document.querySelectorAll('section svg.plane')]"
                ".every((one) => foot(one) <= foot(one.closest('section')))"
            )
            assert inside
        finally:
            laptop.set_window_size(1280, 1000)

    @pytest.mark.parametrize("figure", ["figure1", "figure2", "figure3"])
    def test_a_figure_gives_its_data_and_its_picture(self, laptop, figure):
        section = laptop.find_element(By.CSS_SELECTOR, f"section[aria-labelledby={figure}]")
        for kind in ("csv", "svg"):
            (laptop.downloads / f"{figure}.{kind}").unlink(missing_ok=True)
            section.find_element(By.CSS_SELECTOR, f"[data-save={kind}]").click()
        lines = list(csv.DictReader(io.StringIO(saved(laptop, f"{figure}.csv"))))
        marks = section.find_elements(By.CSS_SELECTOR, "div:not([hidden]) > details[open] svg title")
        assert len(lines) == len(marks) > 4
        if figure == "figure1":
            means = [line for line in lines if line["what"] == "mean" and line["arm"] == "out_of_fold"]
            assert [(line["group"], line["value"]) for line in means] == [("relabel", "0.230")]
            (edges,) = [e for e in lines if e["what"] == "95 % interval" and e["arm"] == "out_of_fold"]
            assert float(edges["low"]) < 0.23 < float(edges["high"])
            assert not edges["value"]
            assert [e["value"] for e in lines if e["arm"] == "uniform" and e["what"] == "mean"] == ["7.000"]
        if figure == "figure2":
            (arm,) = [line for line in lines if line["arm"] == "relabel out_of_fold"]
            assert (arm["group"], arm["cost"], arm["share of the way left"]) == ("relabel", "0.05", "0.23")
            assert float(arm["low"]) < 0.23 < float(arm["high"])
        picture = xml.etree.ElementTree.fromstring(saved(laptop, f"{figure}.svg"))
        assert float(picture.get("width")) > 500
        assert "Figure" in "".join(picture.itertext())
        if figure == "figure2":
            assert len([one for one in picture.iter() if one.get("class") == "edge"]) == 2
            planes = [one for one in picture.iter() if one.get("class") in ("plane", "stretched")]
            assert [
                "overflow: " + how in one.get("style")
                for one, how in zip(planes, ("visible", "hidden"), strict=True)
            ] == [
                True,
                True,
            ]

    def test_a_spreadsheet_finds_no_formula_in_the_data(self, wide, tmp_path):
        page = reported(tmp_path, *both(5, choices={"mu_algo": "=1+1", "unlearn": "=1+1"}))
        wide.get(page.as_uri())
        (wide.downloads / "figure3.csv").unlink(missing_ok=True)
        switch(wide, "js_forget")
        wide.find_element(By.CSS_SELECTOR, "section[aria-labelledby=figure3] [data-save=csv]").click()
        assert '"\'=1+1"' in saved(wide, "figure3.csv")

    def test_no_button_uploads_anything(self, laptop):
        buttons = [one.text for one in laptop.find_elements(By.TAG_NAME, "button") if one.is_displayed()]
        assert not [text for text in buttons if re.search("share|upload|cloud", text, re.IGNORECASE)]

    @pytest.mark.parametrize("size", [(1280, 1000), (760, 900), (844, 390)], ids=["wide", "two lines", "sideways"])
    def test_headings_jumped_to_are_below_the_bar(self, laptop, size):
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        laptop.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        try:
            wait_for_resize(laptop)
            jump(laptop, "location.hash = 'figure2'")
            bar, heading = (
                laptop.execute_script(f"return document.querySelector('{one}').getBoundingClientRect().toJSON()")
                for one in ("nav", "#figure2")
            )
        finally:
            laptop.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert max(bar["bottom"], 0) <= heading["top"] < 0.4 * size[1]

    def test_a_picture_of_a_figure_that_is_scrolled_away_has_its_head_on_top(self, laptop):
        metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": False}
        laptop.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        try:
            laptop.execute_script("location.hash = 'figure2'")
            text = laptop.execute_script(
                "return figurePicture(document.getElementById('figure1').closest('section'))"
            )
        finally:
            laptop.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        pictures = [one for one in xml.etree.ElementTree.fromstring(text) if one.tag.endswith("svg")]
        named = [one for one in pictures if "another retraining" in "".join(one.itertext())]
        assert float(named[0].get("y")) == min(
            float(one.get("y")) for one in pictures if float(one.get("width")) > 100
        )

    def test_it_prints(self, laptop):
        pdf = laptop.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
        assert len(pdf) > 20_000
        laptop.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        try:
            laptop.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False},
            )
            cut = (
                "return [...document.querySelectorAll('.bounded, .wide')].filter((one) => "
                "one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1).length"
            )
            assert laptop.execute_script(cut) == 0
            assert not laptop.find_element(By.TAG_NAME, "nav").is_displayed()
            assert not [one for one in laptop.find_elements(By.CLASS_NAME, "part") if one.is_displayed()]
            arrow = "return getComputedStyle(document.querySelector('#arms thead button'), '::after').content"
            assert laptop.execute_script(arrow) == "none"
            split = (
                "return [...document.querySelectorAll('section p, #arms thead, tr, figure, .chart, .legend')]"
                ".filter((one) => getComputedStyle(one).breakInside !== 'avoid').length"
            )
            assert laptop.execute_script(split) == 0, "no paragraph or row is on two pages; heads are on each"
            button = "return getComputedStyle(document.querySelector('#arms thead button')).display"
            assert laptop.execute_script(button) == "contents", "a head with a button is on its first page alone"
            arm = "return document.querySelector('#arms tbody .arm').clientWidth"
            assert laptop.execute_script(arm) > 150, "words of its name are whole"
        finally:
            laptop.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
            laptop.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def test_a_table_that_scrolls_shows_a_shade_at_its_edge(self, laptop):
        metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        laptop.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        try:
            laptop.execute_script("for (const one of document.querySelectorAll('.part')) one.open = true")
            shades = laptop.execute_script(
                "return [...document.querySelectorAll('.wide')].filter((one) => one.scrollWidth > one.clientWidth)"
                ".map((one) => getComputedStyle(one).backgroundAttachment)"
            )
        finally:
            laptop.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert shades
        assert set(shades) == {"local, local, scroll, scroll"}

    def test_in_rows_of_arms_that_lose_utility_the_marks_alone_are_pale(self, wide, tmp_path):
        wide.get(reported(tmp_path, *lossy(planted("npo", 0.3)), *planted("relabel", 0.4)).as_uri())
        pale = (
            "const clear = (one) => one.matches('.greyed') ? 1 : getComputedStyle(one).opacity * "
            "clear(one.parentElement);"
            "return ['.zone', '.zero', '.mean'].map((one) => clear(document.querySelector(`.greyed ${one}`)))"
        )
        zone, line, mean = wide.execute_script(pale)
        assert zone == line == 1 > mean > 0.3

    @pytest.mark.parametrize("size", [(390, 844), (844, 390)], ids=["upright", "on its side"])
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_it_fits_a_phone_in_light_and_dark(self, laptop, size, dark):
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 2, "mobile": True}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        laptop.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        laptop.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        try:
            assert laptop.execute_script("return document.documentElement.scrollWidth - innerWidth") <= 0
            ground = laptop.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert ground == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
            track = laptop.execute_script("return document.querySelector('.chart td.track').clientWidth")
            assert track > 250
        finally:
            laptop.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
            laptop.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def test_everything_has_a_name_for_a_screen_reader(self, laptop):
        for one in laptop.find_elements(By.CSS_SELECTOR, "select, input, button, [role=img], [role=region]"):
            if one.is_displayed():
                assert one.accessible_name
        for table in laptop.find_elements(By.TAG_NAME, "table"):
            assert table.find_elements(By.TAG_NAME, "caption")
            assert table.find_elements(By.CSS_SELECTOR, "th[scope=col]")

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing_serious(self, laptop, scheme):
        package = pytest.importorskip("axe_core_python", reason="needs pip install axe-core-python")
        script = (Path(package.__file__).parent / "axe.min.js").read_text()
        shown = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        laptop.execute_cdp_cmd("Emulation.setEmulatedMedia", shown)
        try:
            laptop.execute_script("for (const one of document.querySelectorAll('details')) one.open = true;")
            laptop.execute_script(script)
            said = laptop.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        finally:
            laptop.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        assert said["passes"]
        serious = [one for one in said["violations"] if one["impact"] in ("serious", "critical")]
        assert not [(one["id"], one["nodes"][0]["html"]) for one in serious]


# tables for papers


def papers(place: Path) -> str:
    return (place / "summary.tex").read_text()


def test_a_table_for_a_paper_has_six_columns_and_the_best_arm_in_bold(report):
    text = papers(report.parent)
    assert (
        text.count(r"\begin{table}") == text.count(r"\caption{") == text.count(r"\label{tab:softtargets-1}") == 1
    )
    assert "farther than doing nothing, or closer than the arm that it names. Verdicts are corrected for" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and line.count(" & ") == 5]
    assert len(rows) == 1 + 8
    bold = [line for line in rows if r"\textbf{" in line]
    assert len(bold) == 1
    assert (
        bold[0].replace(r"\allowbreak{}", "").startswith(r"\textbf{relabel out\_of\_fold} & 8 & 0.0123 & 0.23 [")
    )
    assert bold[0].endswith(r"& nearer; closer than hard \\")


def test_a_figure_that_scrolls_is_reached_by_keyboard(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "SCROLLED", 1)
    text = reported(tmp_path, *planted("npo", 0.3), *planted("relabel", 0.4)).read_text()
    boxes = re.findall(r'<div class="bounded"[^>]*>', text)
    assert len(boxes) == 4, "figure 1 by each measure"
    assert all('tabindex="0" role="region" aria-label="' in box for box in boxes)


@pytest.mark.long
def test_lines_of_arms_that_lose_utility_are_pale(tmp_path):
    parts = [planted("npo", 0.3 + cost, share=cost, n=8) for cost in (0.1, 0.2)]
    runs = [
        run | {"config": run["config"] | {"unlearn": {"cost": run["cost"]["share"]}}}
        for part in parts
        for run in part
    ]
    kept = reported(tmp_path / "kept", *runs).read_text()
    for run in runs:
        run["faces"]["test_acc_gap"] = {"unlearned": -0.2, "nothing": 0.0, "floor": 0.0}
    lost = reported(tmp_path / "lost", *runs).read_text()
    figures = [text[text.index('id="figure2"') : text.index('id="figure3"')] for text in (kept, lost)]
    looks = [re.findall(r'class="(?:band|line) k-hard([^"]*)"', text) for text in figures]
    assert looks == [8 * [""], 8 * [" lossy"]]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("relabel out_of_fold", ["relabel out\\_", "of\\_", "fold"]),
        ("npo forget.temperature=0.25", ["npo forget.", "temperature", "=0.25"]),
        ("calibrated", ["calibrated"]),
        ("unlearn=npo", ["unlearn=", "npo"]),
        ("0.1 [−0.2, −0.1]; ≥", ["0.1 [$-$0.2, $-$0.1]; $\\geq$"]),
    ],
)
def test_names_break_between_their_words(name, parts):
    assert tables._tex(name, tables.LONGEST).split(r"\allowbreak{}") == parts


def test_verdicts_are_said_to_be_corrected_wherever_they_stand_beside_intervals(report, tmp_path, capsys):
    said = "Verdicts are corrected for the number of comparisons (Holm); intervals are not"
    assert said in Page(report.read_text()).text
    assert said in (report.parent / "summary.md").read_text()
    reported(tmp_path, *both(5))
    assert said in capsys.readouterr().out


@pytest.mark.long
def test_many_arms_are_several_tables_for_a_paper(tmp_path):
    names = ("npo", "relabel", "graddiff", "scrub", "salun", "rmu")
    runs = [
        planted(name, 0.3 + 0.1 * at, targets=arm, n=1)
        for at, name in enumerate(names)
        for arm in ("hard", "soft")
    ]
    reported(tmp_path, *itertools.chain(*runs))
    text = papers(tmp_path)
    assert [len(re.findall(r" & 1 & ", table)) for table in text.split(r"\begin{table}")[1:]] == [10, 2]
    assert text.count("random (continued). Distance") == 1
    assert all(f"tab:softtargets-{number}" in text for number in (1, 2))
    assert "continued" not in (tmp_path / "summary.md").read_text()


def test_a_setting_of_all_arms_stands_in_the_caption_of_a_table_for_a_paper_alone(tmp_path):
    runs = [*planted("npo", 0.3), *planted("npo", 0.2, targets="soft"), *planted("none", 1.0, share=0.0)]
    for run in runs[:16]:
        run["config"] = run["config"] | {"unlearn": {"cost": 0.2}}
    reported(tmp_path, *runs)
    text = papers(tmp_path).replace(r"\allowbreak{}", "")
    assert text.count("unlearn.cost") == text.count("; all arms: unlearn.cost=0.2. Distance") == 1


@pytest.mark.long
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex and booktabs")
def test_it_compiles_into_a_column(tmp_path):
    names = [" ^~|{}<>&%$#_" + "\\", "≤ ≥ é ñ ß ł ‖ α – 長", "a" * 20 + "_long_name"]
    names += ["npo", "scrub", "salun", "rmu"]
    arms = [planted(name, 0.5, targets=arm, n=5) for name in names for arm in ("hard", "soft")]
    runs = [_stirred(run, at) for at, run in enumerate(itertools.chain(*arms))]
    reported(tmp_path / "runs", *runs, *prepared(0.3))
    assert papers(tmp_path / "runs").isascii()
    head = r"\documentclass[twocolumn]{article}\usepackage{array,booktabs}\hbadness=10000\begin{document}"
    (tmp_path / "paper.tex").write_text(f"{head}\n{papers(tmp_path / 'runs')}\n\\end{{document}}\n")
    made = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert made.returncode == 0, made.stdout[-2000:]
    assert "Float too large" not in made.stdout
    wide = [float(size) for size in re.findall(r"Overfull .hbox \(([\d.]+)pt too wide", made.stdout)]
    assert max(wide, default=0) < 5
