"""The living table: its ranking and its page."""

import csv
import functools
import io
import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from page_by_hand import Page
from results_by_hand import leave, result
from scipy import stats
from test_report_page import browsers  # noqa: F401, a fixture

from softtargets.execution import code_hash
from softtargets.table import improvement, page
from softtargets.table.__main__ import main
from softtargets.table.fields import Column
from softtargets.table.improvement import ranks

# the ranking


def cell(**distances) -> dict:
    return {name: dict(enumerate(map(float, values))) for name, values in distances.items()}


def known(found) -> dict[str, tuple]:
    return {one.name: (one.probability, one.rank, one.low, one.high) for one in found}


def test_probability_of_improvement_by_hand():
    one = cell(a=[1, 1, 1, 1, 1], b=[2, 2, 2, 1, 0])  # a is nearer in 3 of 5, equal in one
    found = known(ranks([one], replicates=10))
    assert [found[name][0] for name in "ab"] == pytest.approx([0.7, 0.3])


def test_an_arm_that_always_wins_is_first_in_every_replicate():
    found = known(ranks([cell(a=[1] * 6, b=[2] * 6, c=[3] * 6)] * 2, replicates=50))
    assert found == {"a": (1, 1, 1, 1), "b": (0.5, 2, 2, 2), "c": (0, 3, 3, 3)}


def test_equal_arms_share_their_rank():
    assert known(ranks([cell(a=[1] * 5, b=[1] * 5)], replicates=20)) == dict.fromkeys("ab", (0.5, 1.5, 1.5, 1.5))


def test_cells_count_alike_whatever_their_pairs():
    found = known(ranks([cell(a=[1] * 5, b=[2] * 5), cell(a=[2] * 20, b=[1] * 20)], replicates=10))
    assert found["a"][0] == found["b"][0] == 0.5


def test_rank_interval_is_that_of_all_resamples():
    # every one of the 5^5 samples of the pairs, where `ranks` draws at random
    table = np.array([[1, 1, 1, 1, 4], [2, 2, 2, 2, 2], [3, 3, 3, 3, 3]], dtype=float)
    some = table[:, list(itertools.product(range(5), repeat=5))]  # (arms, samples, pairs)
    one, other = some[:, None], some[None]
    shares = ((one < other) + (one == other) / 2).mean(3)
    scores = (shares.sum(1) - 0.5) / 2  # without the half that an arm has against itself
    exact = stats.rankdata(-scores.round(9), axis=0)
    low, high = np.percentile(exact, (2.5, 97.5), axis=1, method="inverted_cdf")
    found = known(ranks([cell(**dict(zip("abc", table, strict=True)))], replicates=4000))
    assert {name: found[name][2:] for name in "abc"} == dict(zip("abc", zip(low, high, strict=True), strict=True))
    assert found["a"][2:] == (1, 2), "it is second where the last pair is drawn three times"


def test_pairs_of_other_models_and_too_few_pairs_are_not_compared():
    apart = {"a": dict.fromkeys(range(5), 1.0), "b": dict.fromkeys(range(5, 10), 2.0)}
    assert ranks([apart], replicates=5) == ranks([cell(a=[1] * 4, b=[2] * 4)], replicates=5) == []


def test_a_run_that_lost_its_pair_loses_it():
    found = known(ranks([cell(a=[1, 1, 1, 1, np.inf], b=[2] * 5)], replicates=5))
    assert found["a"][0] == pytest.approx(0.8)


def test_pairs_that_an_arm_lost_are_counted_over_all_cells():
    lost = [cell(a=[np.inf] * 5, b=[np.inf] * 4 + [1]), cell(a=[1] * 5, b=[2] * 5)]
    assert {one.name: (one.lost, one.pairs) for one in ranks(lost, replicates=5)} == {"a": (5, 10), "b": (4, 10)}


def test_ranking_does_not_depend_on_the_order_of_arms_and_cells():
    draw = np.random.default_rng(1)
    cells = [cell(a=draw.random(7), b=draw.random(7), c=draw.random(7)) for _ in range(2)]
    turned = [dict(reversed(one.items())) for one in cells]
    assert ranks(turned, replicates=100) == ranks(cells, replicates=100)
    assert improvement.REPLICATES >= 1000


# the code that computed a result


def test_code_hash_is_that_of_the_commit():
    git = functools.partial(subprocess.run, cwd=ROOT, capture_output=True, text=True)
    listed = git(["git", "ls-tree", "-r", "HEAD", "softtargets"])
    dirty = git(["git", "status", "--porcelain", "softtargets"])
    if listed.returncode or dirty.stdout:
        pytest.skip("not a clean checkout")
    blobs = {
        name.removeprefix("softtargets/"): info.split()[2]
        for info, _, name in (line.partition("\t") for line in listed.stdout.splitlines())
    }
    assert code_hash.hash_of(blobs) == code_hash.code_hash()


@pytest.mark.parametrize(
    ("path", "changes"), [("mu_algo/npo.py", True), ("fit.py", True), ("report/page.py", False)]
)
def test_code_hash_changes_with_what_decides_numbers(path, changes):
    blobs = {"fit.py": "one", "mu_algo/npo.py": "one", "report/page.py": "one"}
    assert (code_hash.hash_of(blobs) != code_hash.hash_of(blobs | {path: "other"})) == changes


# CSV


def faces(unlearned: float, nothing: float = 0.04, floor: float = 0.01) -> dict:
    """Return the three faces and what the utility gate reads."""
    far = {"unlearned": unlearned, "nothing": nothing, "floor": floor}
    still = {"unlearned": 0.0, "nothing": 0.0, "floor": 0.0}
    return {
        "js_t_forget": far,
        "disagreement_forget": far,
        "mia_gap": still,
        "js_t_test": still,
        "test_acc_gap": still,
    }


def one(seed: int, mu_algo: str, targets: str, distance: float, dataset: str = "fashion_mnist", **changes) -> dict:
    """Return a result of one distinct pair."""
    chosen = {"mu_algo": mu_algo, "unlearn": mu_algo, "dataset": dataset, "forget_seed": seed}
    of_pair = result(seed, targets, choices=chosen, faces=faces(distance + 0.0001 * seed), **changes)
    of_pair["hashes"] = of_pair["hashes"] | {"forget_set": f"forget_set{seed}{dataset}"}
    of_pair["config"] = of_pair["config"] | {"forget_set": {"fraction": 0.1, "seed": seed}}
    times = {"started": "2026-11-29T09:59:00+00:00", "finished": "2026-11-29T10:00:00+00:00"}
    provenance = {"code_sha256": code_hash.code_hash()} | times
    return of_pair | {"provenance": of_pair["provenance"] | provenance | changes.get("provenance", {})}


ARMS = (("npo", "hard", 0.03), ("npo", "soft", 0.02), ("finetune", "hard", 0.025))


def everything(datasets=("mnist",), **changes) -> list[dict]:
    return [one(seed, *arm, dataset, **changes) for seed in range(5) for arm in ARMS for dataset in datasets]


def build(*folders, out) -> dict[str, list[dict]]:
    assert main(["build", *map(str, folders), "--out", str(out)]) == 0
    return {
        name: list(csv.DictReader(io.StringIO((out / name).read_text()))) for name in ("table.csv", "ranking.csv")
    }


def test_table_and_ranking_as_csv(tmp_path):
    texts = build(leave(tmp_path / "runs", *everything(("mnist", "kmnist"))), out=tmp_path / "out")
    fields = {(line["row"], line["dataset"]): line for line in texts["table.csv"]}
    assert len(fields) == 6
    field = fields["npo soft", "mnist"]
    assert (field["n"], field["forget_set"], field["cost"]) == ("5", "random fraction=0.1", "no budget")
    mean = 0.02 + 0.0001 * 2
    assert float(field["distance"]) == pytest.approx(mean)
    assert float(field["left"]) == pytest.approx((mean - 0.01) / 0.03)
    assert field["verdict"].startswith("nearer than doing nothing")
    assert (field["last_day"], field["older_runs"]) == ("2026-11-29", "0")
    ranked = [(line["row"], line["rank"], line["probability_of_improvement"]) for line in texts["ranking.csv"]]
    assert ranked == [("npo soft", "1.0", "1.0"), ("finetune hard", "2.0", "0.5"), ("npo hard", "3.0", "0.0")]


def test_simple_arms_of_equal_cost_have_columns_of_their_own(tmp_path):
    arms = (("npo", "soft", 0.02), ("finetune", "hard", 0.025), ("retrain", "hard", 0.03))
    runs = [one(seed, *arm, "mnist") for seed in range(5) for arm in arms]
    for run in runs:
        run["cost"] = run["cost"] | {"share": 0.1}
    lines = {
        line["row"]: line for line in build(leave(tmp_path / "runs", *runs), out=tmp_path / "out")["table.csv"]
    }
    npo = lines["npo soft"]
    assert (npo["retrain"], npo["finetune"]) == ("retrain hard at equal cost", "finetune hard at equal cost")
    assert [float(npo[f"against_{name}"]) for name in ("retrain", "finetune")] == pytest.approx([-0.01, -0.005])
    # equal differences: signed ranks over five pairs give 0.0625, and the family has eight comparisons like it
    assert float(npo["p_against_finetune"]) == pytest.approx(8 * 0.0625)
    assert lines["finetune hard"]["finetune"] == ""


@pytest.mark.parametrize("count", [2, 3])
def test_a_cell_in_which_most_runs_of_an_arm_are_degenerate_ranks_it_not(count, tmp_path):
    runs = everything()
    soft = [run for run in runs if run["choices"]["targets"] == "soft"]
    for run in soft[:count]:
        run["status"] = "degenerate"
    texts = build(leave(tmp_path / "runs", *runs), out=tmp_path / "out")
    assert len(texts["table.csv"]) == 3
    assert ("npo soft" in [line["row"] for line in texts["ranking.csv"]]) == (count == 2)


@pytest.mark.parametrize("others", [("kmnist",), ()])
def test_cells_of_results_without_faces_are_in_no_ranking(others, tmp_path):
    old = [run for run in everything() if run.pop("faces")]
    texts = build(leave(tmp_path / "runs", *old, *everything(others)), out=tmp_path / "out")
    assert [line["n"] for line in texts["table.csv"] if line["dataset"] == "mnist"] == ["5"] * 3
    assert [line["cells"] for line in texts["ranking.csv"]] == ["1"] * (3 * len(others))


def test_of_several_folders_with_an_arm_in_a_pair_the_first_counts(tmp_path):
    folders = [leave(tmp_path / name, *everything()) for name in ("first", "second")]
    worse = leave(tmp_path / "worse", *(one(seed, "npo", "soft", 0.9, "mnist") for seed in range(5)))
    texts = build(*folders, worse, folders[0], out=tmp_path / "out")
    assert texts == build(folders[0], out=tmp_path / "alone")


def test_what_a_killed_copy_left_is_passed_over(tmp_path):
    leave(tmp_path / "runs/.new-00", *(one(seed, "npo", "ugradsl", 0.001, "mnist") for seed in range(5)))
    texts = build(leave(tmp_path / "runs", *everything()), out=tmp_path / "out")
    assert {line["row"] for line in texts["table.csv"]} == {"finetune hard", "npo hard", "npo soft"}


def test_runs_of_older_code_are_counted(tmp_path):
    older = [run for run in everything(provenance={"code_sha256": "0" * 64}) if run["choices"]["seed"] < 2]
    newer = [run for run in everything() if run["choices"]["seed"] >= 2]
    lines = build(leave(tmp_path / "runs", *older, *newer), out=tmp_path / "out")["table.csv"]
    assert {line["older_runs"] for line in lines} == {"2"}
    assert {line["code_sha256"] for line in lines} == {f"{'0' * 64} {code_hash.code_hash()}"}


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    assert main(["build", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"softtargets.table: {tmp_path}: no result of a run below it\n"
    assert main(["build", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"softtargets.table: {tmp_path / 'none'}: no such folder\n"
    assert not (tmp_path / "out").exists()


# the page


def page_of(folder, out) -> Page:
    build(folder, out=out)
    return Page((out / "index.html").read_text())


def matrix(page: Page) -> list[list[str]]:
    return next(rows for caption, rows in page.tables.items() if caption.startswith("Way to retraining"))


def test_the_page_shows_every_arm_in_every_cell(tmp_path):
    runs = [*everything(), *(one(seed, *ARMS[0], "kmnist") for seed in range(5))]
    page = page_of(leave(tmp_path / "runs", *runs), tmp_path / "out")
    head, *rows = matrix(page)
    assert head == ["algorithm and targets", "kmnist", "mnist"]
    (caption,) = [name for name in page.tables if name.startswith("Way to retraining")]
    assert caption.endswith("All cells have images unknown, mlp, recipe mlp, random fraction=0.1, no budget")
    assert [row[0] for row in rows] == ["finetune hard", "npo hard", "npo soft"]
    assert rows[0][1] == "not run"
    assert rows[2][2].startswith("leaves 34% [33%, 35%], n = 5nearer than doing nothing")
    assert "floor 0.0100" in rows[2][2]
    assert "2026-11-29" in rows[2][2]
    assert code_hash.code_hash()[:12] in rows[2][2]
    assert "No run has another code." in page.text
    ranked = next(rows for caption, rows in page.tables.items() if caption.startswith("Arms without"))
    assert ranked[1] == ["1", "1 to 1", "npo soft", "1.00", "1", "2", "none"]


def at_cost(share: float, budget: float | None, runs: list[dict]) -> list[dict]:
    """Return the runs with a budget and with what they spent of retraining."""
    for run in runs:
        run["config"]["unlearn"] = {"cost": budget}
        run["cost"] = run["cost"] | {"share": share}
    return runs


@pytest.mark.parametrize("share", [0.001, 0.3])
def test_what_costs_next_to_nothing_stands_in_the_cells_of_every_budget(share, tmp_path):
    runs = at_cost(share, None, [one(seed, "early", "hard", 0.035, "mnist") for seed in range(5)])
    for budget in (0.1, 0.2):
        runs += at_cost(budget, budget, [one(seed, *ARMS[0], "mnist") for seed in range(5)])
    head, early, npo = matrix(page_of(leave(tmp_path / "runs", *runs), tmp_path / "out"))
    if share == 0.001:
        assert head[1:] == ["cost 0.1", "cost 0.2"]
        assert all(cell.startswith("leaves 84%") for cell in early[1:])
    else:
        assert head[1:] == ["no budget", "cost 0.1", "cost 0.2"]
        assert early[2:] == ["not run"] * 2
    assert all(cell.startswith("leaves 67%") for cell in npo[-2:])


def test_a_free_arm_gives_way_to_one_that_ran_in_the_cell(tmp_path):
    runs = at_cost(0.001, None, [one(seed, *ARMS[0], "mnist") for seed in range(5)])
    runs += at_cost(0.1, 0.1, [one(seed, "npo", "hard", 0.02, "mnist") for seed in range(5)])
    head, npo = matrix(page_of(leave(tmp_path / "runs", *runs), tmp_path / "out"))
    assert len(head) == 2
    assert npo[1].startswith("leaves 34%")


def test_a_cell_without_a_word_of_its_own_is_named_by_all_its_words():
    one, more = (Column((("dataset", "mnist"), ("cost", 0.1), *rest)) for rest in ((), (("references", 2),)))
    common = page._common([one, more])
    assert ["".join(map(str, page._head(column, common))) for column in (one, more)] == [
        "mnist<br/>cost 0.1",
        "references 2",
    ]


def test_a_bar_shows_the_way_that_is_left(tmp_path):
    arms = (("npo", "hard", 0.0175), ("npo", "soft", 0.049), ("finetune", "hard", 0.005))
    runs = [one(seed, *arm, "mnist") for seed in range(5) for arm in arms]
    page = page_of(leave(tmp_path / "runs", *runs), tmp_path / "out")
    assert [value for _, name, value in page.attributes if name == "style"] == [  # finetune, npo hard, npo soft
        "width: 0%",
        "width: 26%",
        "width: 100%",
    ]
    assert [value for _, name, value in page.attributes if value == "beyond"] == ["beyond"]


def test_the_page_has_no_script_and_nothing_from_elsewhere(tmp_path):
    page = page_of(leave(tmp_path / "runs", *everything()), tmp_path / "out")
    assert not page.tags["script"]
    assert not [value for _, name, value in page.attributes if name.startswith("on") or "://" in (value or "")]
    links = {value for tag, name, value in page.attributes if (tag, name) == ("a", "href")}
    assert links == {"#table", "table.csv", "ranking.csv"}
    assert "default-src &#x27;none&#x27;" in (tmp_path / "out/index.html").read_text()


def test_older_code_is_grey_and_says_so(tmp_path):
    runs = [
        *everything(provenance={"code_sha256": "0" * 64}),
        *(one(seed, *ARMS[0], "kmnist") for seed in range(5)),
    ]
    page = page_of(leave(tmp_path / "runs", *runs), tmp_path / "out")
    grey = [value for tag, name, value in page.attributes if (tag, name, value) == ("td", "class", "old")]
    assert len(grey) == 3
    said = [cell for row in matrix(page) for cell in row if "older code" in cell]
    assert len(said) == 3
    assert "Another code made 15 of 20 runs." in page.text


NAMES = ['"><script>alert(1)</script><img src=x onerror=alert(1)>', "=HYPERLINK(0)\n\x1b[31m"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_neither_markup_nor_formulas(name, tmp_path):
    runs = [one(seed, "npo", name, 0.02, name) for seed in range(5)]
    for run in runs:
        run["choices"] |= {"architecture": name, "training": name, "forget_set": name}
        run["config"]["unlearn"] = {"cost": [name]}
        run["data"]["sizes"]["train"] = name
        run["provenance"] |= {"code_sha256": name, "finished": name}
    page = page_of(leave(tmp_path / "runs", *runs), tmp_path / "out")
    assert not page.tags["script"]
    assert not page.tags["img"]
    assert name.split("\n")[0] in page.text
    for line in csv.reader(io.StringIO((tmp_path / "out/table.csv").read_text())):
        assert not [cell for cell in line if cell.startswith(("=", "+", "@", "-")) and not is_number(cell)]


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.browser
def test_axe_finds_nothing_serious_in_the_page(browsers, tmp_path):  # noqa: F811, the fixture
    package = pytest.importorskip("axe_core_python", reason="needs pip install axe-core-python")
    older = everything(provenance={"code_sha256": "0" * 64})
    runs = [*older, *(one(seed, *ARMS[0], "kmnist") for seed in range(5))]
    build(leave(tmp_path / "runs", *runs), out=tmp_path / "out")
    browser = browsers(1280)
    browser.get((tmp_path / "out/index.html").as_uri())
    browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true;")
    browser.execute_script((Path(package.__file__).parent / "axe.min.js").read_text())
    said = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    assert said["passes"]
    serious = [one for one in said["violations"] if one["impact"] in ("serious", "critical")]
    assert not [(one["id"], one["nodes"][0]["html"]) for one in serious]


@pytest.mark.browser
def test_a_phone_shows_one_field_below_the_other_under_the_name_of_its_cell(browsers, tmp_path):  # noqa: F811
    runs = [*everything(), *(one(seed, *ARMS[0], "kmnist") for seed in range(5))]
    build(leave(tmp_path / "runs", *runs), out=tmp_path / "out")
    browser = browsers(600)
    browser.get((tmp_path / "out/index.html").as_uri())
    fields = [one for one in browser.find_elements("css selector", "#table td") if one.is_displayed()]
    assert len(fields) == 4, "three arms of mnist, one of kmnist"
    assert len({one.location["x"] for one in fields}) == 1
    named = "return getComputedStyle(arguments[0], '::before').content"
    names = [browser.execute_script(named, one).strip('"').split(",")[0] for one in fields]
    assert names.count("mnist") == 3
    assert names.count("kmnist") == 1
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
