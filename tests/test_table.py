"""The living table: its ranking, its page, and the door for other people's results."""

import csv
import datetime
import functools
import hashlib
import io
import itertools
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SMALL
from page_by_hand import Page
from results_by_hand import leave, result
from scipy import stats
from test_report_page import browsers  # noqa: F401, a fixture

from softtargets.errors import BadInput
from softtargets.execution import code_hash, provenance
from softtargets.report import runs
from softtargets.report.planned import write_plan
from softtargets.system.files import canonical, read_json, write_json
from softtargets.table import checks, improvement, rerun
from softtargets.table.__main__ import main
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
    assert head == [
        "algorithm and targets",
        *(f"{name}images unknownmlprecipe mlprandom fraction=0.1no budget" for name in ("kmnist", "mnist")),
    ]
    assert [row[0] for row in rows] == ["finetune hard", "npo hard", "npo soft"]
    assert rows[0][1] == "not run"
    assert rows[2][2].startswith("leaves 34% [33%, 35%], n = 5nearer than doing nothing")
    assert "floor 0.0100" in rows[2][2]
    assert "2026-11-29" in rows[2][2]
    assert code_hash.code_hash()[:12] in rows[2][2]
    assert "No run has another code." in page.text
    ranked = next(rows for caption, rows in page.tables.items() if caption.startswith("Arms without"))
    assert ranked[1] == ["1", "1 to 1", "npo soft", "1.00", "1", "2", "none"]


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


# other people's results


def digest(*parts: object) -> str:
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()


def honest(seed: int, mu_algo: str = "finetune", gap: float = 0.01) -> dict:
    """Return a result whose numbers follow from each other, as those of a run do; two arms share their models."""
    run = one(seed, mu_algo, "hard", 0.02)
    # the preset of the algorithm, so that names are those of the config
    config = {"seed": seed, "references": 2, "unlearn": {"cost": None}, "targets": {}, "dataset": {"seed": seed}}
    config |= {"mu_algo": {"_target_": f"softtargets.mu_algo.{mu_algo}.{mu_algo}", "_partial_": True}}
    config |= {"forget_set": {"_target_": "softtargets.forget_sets.random", "fraction": 0.1, "seed": seed}}
    config |= {"training": {"epochs": None, "batch_size": 8, "min_epochs": 2, "min_steps": 9}}  # 3 epochs of 20
    run["config"] = config
    run["data"] = run["data"] | {"sizes": {"train": 20, "forget": 2, "retain": 18}}
    run["cost"] = run["cost"] | {"budget": None, "share": 0.5, "forward_samples": 27.0, "backward_samples": 27.0}
    run["cost"] |= {"run_s": 50.0, "unlearn_s": 2.0, "targets_s": 0.5, "retrain_s": 5.0, "rte": 2.0}
    accuracies = {"retrained": 0.85, "original": 0.85 + 0.001 * (seed + 1), "unlearned": 0.85 + gap}
    models = {
        name: dict.fromkeys(("forget_acc", "retain_acc", "test_acc", "mia_auc"), value)
        | {"class_acc": [value] * 2}
        for name, value in accuracies.items()
    }
    gaps = {"unlearned": gap, "nothing": 0.001 * (seed + 1), "floor": 0.0}
    run["metrics"] = models
    run["faces"] = faces(0.02 + 0.001 * seed, 0.04 + 0.0001 * seed) | dict.fromkeys(
        ("mia_gap", "test_acc_gap"), gaps
    )
    run["faces"]["retrained"] = {"mia_auc": [0.85, 0.85], "test_acc": [0.85, 0.85]}
    for part, apart in (("distance", gap), ("baseline", 0.001 * (seed + 1))):
        accuracy = {"avg_gap": apart, "accuracy_distance": apart, "tow": (1 - apart) ** 3, "mia_gap": apart}
        run[part] = run[part] | accuracy
    names = ("original", "retrained", "forget_set", "batches", "targets")
    run["hashes"] = {name: digest(name, seed) for name in names}
    run["hashes"] |= {"unlearned": digest(mu_algo, seed), "further_retrained": [digest("further", seed)]}
    return with_hash(run)


def with_hash(run: dict) -> dict:
    """Return a result with the hash of its config, as whoever can run the code can write it."""
    run["provenance"] = run["provenance"] | {"config_hash": digest_of(run["config"]), "git_commit": None}
    return run


def digest_of(config: dict) -> str:
    return hashlib.sha256(canonical(config).encode()).hexdigest()


@pytest.fixture
def sent(tmp_path):
    """The folder that somebody sent: two arms of three pairs."""
    runs = [honest(seed, arm) for seed in range(3) for arm in ("finetune", "retrain")]
    return leave(tmp_path / "sent", *runs)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def edited(change, *numbers: int, right_hash: bool = False):
    """Return a forgery: these runs are changed and sealed again."""

    def forge(folder: Path) -> None:
        for number in numbers:
            file = folder / f"run{number}" / "result.json"
            run = read_json(file)
            change(run)
            write_json(file, with_hash(run) if right_hash else run)

    return forge


def put(*way: str, value):
    """Return a change of one value of a result."""

    def change(run: dict) -> None:
        *above, last = way
        functools.reduce(dict.__getitem__, above, run)[last] = value

    return change


def number_without_a_seal(folder: Path) -> None:
    file = folder / "run0/result.json"
    file.write_text(file.read_text().replace('"unlearned": 0.02', '"unlearned": 0.01'))


def truncated(folder: Path) -> None:
    file = folder / "run0/result.json"
    file.write_bytes(file.read_bytes()[:900])


def swapped_files(folder: Path) -> None:
    """Swap the seeds of two runs of one arm, in all places where a run says them."""
    for number, seed in ((0, 1), (2, 0)):
        file = folder / f"run{number}" / "result.json"
        run = read_json(file)
        run["choices"] |= {"seed": seed, "forget_seed": seed}
        run["config"] |= {"seed": seed, "forget_set": run["config"]["forget_set"] | {"seed": seed}}
        run["config"]["dataset"] = {"seed": seed}
        write_json(file, with_hash(run))


def copied_under_two_seeds(folder: Path) -> None:
    """Copy both arms of a pair to another seed, with new names for their forget set."""
    for number in (0, 1):
        run = read_json(folder / f"run{number}" / "result.json")
        run["choices"] |= {"seed": 7, "forget_seed": 7}
        run["config"] |= {"seed": 7, "forget_set": run["config"]["forget_set"] | {"seed": 7}}
        run["config"]["dataset"] = {"seed": 7}
        run["hashes"]["forget_set"] = digest("another")
        (folder / f"more{number}").mkdir()
        write_json(folder / f"more{number}" / "result.json", with_hash(run))


def the_same_file_twice(folder: Path) -> None:
    shutil.copytree(folder / "run0", folder / "again")


def a_link_out(folder: Path) -> None:
    shutil.move(folder / "run0", folder.parent / "elsewhere")
    (folder / "run0").symlink_to(folder.parent / "elsewhere")


def a_linked_file(folder: Path) -> None:
    (folder / "run0/notes.txt").symlink_to("/etc/passwd")


def unfinished(folder: Path) -> None:
    (folder / "run9").mkdir()
    (folder / "run9/run.log").write_text("")


def failed(folder: Path) -> None:
    (folder / "run9").mkdir()
    write_json(folder / "run9/error.json", {"error": "ValueError", "message": "no"})


def planned_and_missing(folder: Path) -> None:
    write_plan(folder, {name: ["seed=0"] for name in ("run0", "run77")})


def huge(folder: Path) -> None:
    put_in = edited(put("provenance", "more", value="x" * 1_100_000), 0)
    put_in(folder)


def with_seed(value: int):
    """Return a change of a result's seed, wherever it says it."""

    def change(run: dict) -> None:
        run["choices"]["seed"] = run["config"]["seed"] = value

    return change


def budget(value: float):
    """Return a change of a result to one with a budget, in its config too."""

    def change(run: dict) -> None:
        run["config"]["unlearn"]["cost"] = run["cost"]["budget"] = value

    return change


TUNED = {"dataset": "fashion_mnist", "images": 3800, "seeds": [1], "forget_sets": [], "classes": [], "fixed": None}
FORGERIES = {
    "a number, without a seal": (number_without_a_seal, "changed since it was written"),
    "an accuracy": (edited(put("metrics", "unlearned", "test_acc", value=0.9), 0), "its other numbers give"),
    "a mean gap": (
        edited(put("distance", "avg_gap", value=0.001), 0),
        "distance.avg_gap=0.001, and its",
    ),
    "a floor": (
        edited(put("faces", "js_t_forget", "floor", value=0.02), 0),
        "same models, so one was edited",
    ),
    "doing nothing": (edited(put("faces", "js_t_forget", "nothing", value=0.09), 1), "for the same models"),
    "an impossible distance": (edited(put("faces", "js_t_forget", "unlearned", value=0.8), 0), "at most 0.6931"),
    "a cost": (edited(put("cost", "share", value=0.1), 0), "cost.share=0.1, and its samples give 0.5"),
    "a cost over its budget": (
        edited(budget(0.2), 0, right_hash=True),
        "cost.share=0.5: more than its budget, unlearn.cost=0.2",
    ),
    "the seconds of retraining": (
        edited(put("cost", "retrain_s", value=50.0), 0),
        "cost.rte=2, and its seconds give 20: one of them was edited",
    ),
    "the seconds of unlearning": (
        edited(put("cost", "unlearn_s", value=60.0), 0),
        "cost.unlearn_s=60: more than cost.run_s=50, the whole run",
    ),
    "the seconds of a run": (
        edited(put("cost", "run_s", value=500.0), 0),
        "cost.run_s=500: longer than from its start",
    ),
    "another budget": (edited(put("cost", "budget", value=0.6), 0), "cost.budget=0.6, and its config has"),
    "a size": (edited(put("data", "sizes", "train", value=60000), 0), "are not the 60000 of the training set"),
    "a forget set of another size": (
        edited(put("data", "sizes", value={"train": 20, "forget": 1, "retain": 19}), 0),
        "data.sizes.forget=1: its config asks for 0.1 of 20",
    ),
    "a date to come": (edited(put("provenance", "finished", value="2999-01-01T00:00:00+00:00"), 0), "is to come"),
    "an end before the start": (
        edited(put("provenance", "started", value="2026-11-29T11:00:00+00:00"), 0),
        "before it started",
    ),
    "a negative distance": (edited(put("faces", "js_t_forget", "unlearned", value=-0.1), 0), "must be"),
    "a config": (edited(put("config", "references", value=3), 0), "its config is not the one of its config_hash"),
    "a config, with its hash": (
        edited(put("config", "references", value=3), 0, right_hash=True),
        "1 further retrained model, and references=3",
    ),
    "a seed": (edited(put("choices", "seed", value=2), 0), "choices.seed=2, and its config has 0"),
    "an algorithm's name": (
        edited(put("choices", "mu_algo", value="npo"), 0),
        "choices.mu_algo=npo, and",
    ),
    "a negative seed": (edited(with_seed(-1), 0, 1, right_hash=True), "seed -1: seeds are 0 or more"),
    "swapped seeds": (swapped_files, "or has another's seed"),
    "copied under two seeds": (copied_under_two_seeds, "so one is a copy"),
    "one file twice": (the_same_file_twice, "the same arm twice in one pair, seed 0"),
    "no retrained model": (edited(put("hashes", "retrained", value="none"), 0), "so the retrained is missing"),
    "no measured retrained model": (
        edited(put("metrics", "retrained", "class_acc", value=None), 0),
        "no retrained model that could be measured",
    ),
    "another retrained model": (edited(put("hashes", "retrained", value=digest(5)), 0), "the retrained of seed 0"),
    "no floor": (edited(put("faces", "js_t_forget", "floor", value=None), 0, 1), "run it with references=3"),
    "another version in one arm": (
        edited(put("provenance", "code_sha256", value="0" * 64), 0),
        "computed by two versions of the code",
    ),
    "no version": (edited(put("provenance", "code_sha256", value=None), 0), "no hash of the code"),
    "another version passed off as this one": (
        edited(put("provenance", "git_commit", value="GIVEN"), 0),
        "its code is not that of its commit",
    ),
    "truncated": (truncated, "damaged, not JSON"),
    "a link to another folder": (a_link_out, "a symbolic link"),
    "a link to another file": (a_linked_file, "a symbolic link"),
    "HTML": (edited(put("choices", "dataset", value="<b>x</b>"), 0), "a name has ASCII letters, digits"),
    "LaTeX": (edited(put("choices", "mu_algo", value="\\input{x}"), 0), "a name has ASCII letters, digits"),
    "a formula": (edited(put("choices", "targets", value="=1+1"), 0), "a name has ASCII letters, digits"),
    "a formula in the config": (
        edited(put("config", "mu_algo", "note", value="@SUM(A1)"), 0, right_hash=True),
        "a name has ASCII letters, digits",
    ),
    "unfinished": (unfinished, "it is running, or its process was killed"),
    "failed": (failed, "ValueError: no"),
    "planned and missing": (planned_and_missing, "planned, and never began"),
    "tuned on its own seed": (
        edited(put("tuned_on", value=TUNED | {"test_images": 0}), 2),
        "tuned on the seed of this very run (seed 1,",
    ),
    "a text for a number": (
        edited(put("config", "references", value="2"), 0, right_hash=True),
        "a value of another type than a run writes",
    ),
    "letters that look like others": (
        edited(put("choices", "mu_algo", value="n\N{CYRILLIC SMALL LETTER ER}o"), 0),
        "a name has ASCII letters",
    ),
    "a list for a text": (edited(put("config", "dataset", value=None), 0, right_hash=True), "config.dataset"),
    "texts for accuracies": (
        edited(put("faces", "retrained", "mia_auc", value=["a"]), 0),
        "a value of another type than a run writes",
    ),
    "huge": (huge, "a result has at most 1,000,000"),
}


def test_an_ensemble_has_models_of_its_own_in_a_pair(sent, tmp_path):
    own = honest(0, "sisa") | {"ensemble": {"shards": 5, "touched": 5}}
    own["hashes"] = own["hashes"] | {"original": digest("ensemble"), "retrained": digest("ensemble", 2)}
    leave(sent / "ensembles", own)
    assert main(["add", str(sent), "--to", str(tmp_path / "community")]) == 0


def test_arms_that_are_nearer_than_another_retrained_model_are_named(sent, tmp_path, capsys):
    edited(put("faces", "js_t_forget", "unlearned", value=0.002), 1, 3, 5)(sent)
    assert main(["add", str(sent), "--to", str(tmp_path / "community")]) == 0
    said = "retrain hard: nearer to retraining than another retrained model is, 0.002 for 0.01; compute it again"
    assert [line for line in capsys.readouterr().out.splitlines() if ": nearer" in line] == [said]


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused_in_one_sentence_and_nothing_is_written(name, sent, tmp_path, capsys, monkeypatch):
    forge, said = FORGERIES[name]
    if name == "another version passed off as this one":
        monkeypatch.setattr(checks, "code_of_commit", lambda commit: "1" * 64 if commit == "GIVEN" else None)
    forge(sent)
    before = files_below(sent)
    assert main(["add", str(sent), "--to", str(tmp_path / "community")]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert err.startswith("softtargets.table: ")
    assert said in err
    assert not (tmp_path / "community").exists()
    assert files_below(sent) == before


def test_honest_results_are_taken_in_byte_for_byte(sent, tmp_path, capsys):
    (sent / "run0/secret.txt").write_text("of its author")
    to = tmp_path / "community"
    assert main(["add", str(sent), "--to", str(to)]) == 0
    assert "added 6 runs of 2 arms" in capsys.readouterr().out
    results = {file.read_bytes() for file in sent.rglob("result.json")}
    assert sorted(files_below(to).values()) == sorted(results)
    assert {path.parent.parent.name for path in to.rglob("*.json")} == {"sent"}
    assert build(to, out=tmp_path / "out")["table.csv"]


def test_results_are_taken_in_once_and_fit_those_that_are_there(sent, tmp_path, capsys):
    to = tmp_path / "community"
    assert main(["add", str(sent), "--to", str(to)]) == 0
    before = files_below(to)
    assert main(["add", str(sent), "--to", str(to)]) == 2
    assert "already exists" in capsys.readouterr().err
    sent.rename(tmp_path / "renamed")
    assert main(["add", str(tmp_path / "renamed"), "--to", str(to)]) == 2
    assert "the table has this run already" in capsys.readouterr().err
    other = honest(1, "npo")
    other["hashes"]["forget_set"] = digest("elsewhere")
    assert main(["add", str(leave(tmp_path / "third", other)), "--to", str(to)]) == 2
    assert "two forget sets of the same seeds" in capsys.readouterr().err
    assert files_below(to) == before


SENT = sorted(folder for folder in ROOT.glob("community/*") if folder.is_dir())


@pytest.mark.parametrize("folder", SENT, ids=lambda folder: folder.name)
def test_the_results_in_community_verify(folder):
    assert checks.verified(folder)
    assert sum(map(len, files_below(folder).values())) < 200_000


def test_code_of_a_commit_is_known_by_git():
    head = provenance.provenance(MACHINE, None, datetime.datetime.now(datetime.UTC))
    if not head["git_commit"]:
        pytest.skip("not a git repository: an unpacked copy")
    code = provenance.code_of_commit(head["git_commit"])
    assert re.fullmatch("[0-9a-f]{64}", code)
    assert head["git_dirty"] or code == head["code_sha256"]
    assert provenance.code_of_commit("--help") is provenance.code_of_commit("0" * 40) is None


MACHINE = {"device": "cpu", "threads": 1, "precision": "float32"}


@pytest.mark.long
def test_a_run_is_computed_again_and_an_edited_number_is_seen(run, tmp_path, capsys, monkeypatch):
    small = [word for word in SMALL if not word.startswith("mu_algo=")]
    _, folder = run(*small, "mu_algo=finetune", "references=2")
    sent = tmp_path / "sent"
    (sent / "run0").mkdir(parents=True)
    shutil.copy(folder / "result.json", sent / "run0")
    edited(lambda one: one["provenance"].update(git_commit=None), 0)(sent)
    assert main(["add", str(sent), "--to", str(tmp_path / "to"), "--rerun", "1"]) == 0
    assert "run again, the same models, byte for byte" in capsys.readouterr().out
    whole, again = (sent / "run0" / "result.json").read_bytes(), rerun._again(runs.finished(sent)[0])
    monkeypatch.setattr(rerun, "_again", lambda _: again)
    for path in (
        ("faces", "js_t_forget", "unlearned"),
        ("faces", "js_t_test", "unlearned"),
        ("faces", "disagreement_forget", "unlearned"),
        ("cost", "share"),
        ("data", "sizes", "train"),
    ):
        (sent / "run0" / "result.json").write_bytes(whole)
        edited(put(*path, value=0.001), 0)(sent)
        with pytest.raises(BadInput, match=rf"{re.escape('.'.join(path))} is 0\.00100, and"):
            rerun.compared(runs.finished(sent)[0])
    assert main(["add", str(sent), "--to", str(tmp_path / "to2"), "--rerun", "1"]) == 2
    assert not (tmp_path / "to2").exists()
