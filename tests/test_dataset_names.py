"""The name of a dataset: what its config declares in all that a reader sees, its option in what programs read."""

import contextlib
import csv
import io
import re

import pytest
from conftest import CONF, options
from omegaconf import OmegaConf
from results_by_hand import leave
from test_names import hydra_config
from test_table import everything

from softtargets.config import tuned_on
from softtargets.config.resolve import config_hash
from softtargets.errors import BadInput
from softtargets.execution import composed_run
from softtargets.report.__main__ import main as report
from softtargets.report.runs import read
from softtargets.table.__main__ import main as table

DECLARED = {
    option: OmegaConf.load(CONF / "dataset" / f"{option}.yaml").get("display_name")
    for option in options("dataset")
}


READ = ("report.html", "summary.md", "summary.tex", "table/index.html")
"""Files for readers."""
KEYS = {"arms.csv": "cell", "standing.csv": "setting", "contrasts.csv": "setting"}
KEYS |= dict.fromkeys(("table/table.csv", "runs.csv", "summary.csv"), "dataset")
"""Files for programs, and the column in which each has the dataset, in some before other parts of a setting."""


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory):
    """The folder of a report and a living table of all datasets, and what was on the screen."""
    folder, screen = leave(tmp_path_factory.mktemp("all"), *everything(tuple(DECLARED))), io.StringIO()
    with contextlib.redirect_stdout(screen):
        assert report([str(folder), "--primary", "npo soft", "npo hard"]) == 0
        assert table(["build", str(folder), "--out", str(folder / "table")]) == 0
    return folder, screen.getvalue()


@pytest.mark.long
@pytest.mark.parametrize("option", DECLARED)
def test_readers_see_the_declared_name_and_programs_the_option(option, everywhere):
    folder, screen = everywhere
    name = DECLARED[option] or option
    for where, text in {"screen": screen, **{file: (folder / file).read_text() for file in READ}}.items():
        plain = " ".join(text.replace(r"\_\allowbreak{}", "_").split())  # of TeX, and of a narrow screen
        assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", plain), where
        assert name == option or not re.search(rf"(?<!\w){option}(?!\w)", plain), where
    for file, column in KEYS.items():
        with (folder / file).open(newline="") as opened:
            assert option in {line[column].partition(" ")[0] for line in csv.DictReader(opened)}, file


def test_the_jpeg_files_of_cifar10_are_not_called_as_their_folder():
    assert DECLARED["cifar10_jpeg"] == "CIFAR-10 (JPEG)"


def names(folder, *choices: dict) -> list[str]:
    """Return how the cells of runs are called, each of a dataset with these choices."""
    results = [one for some in choices for one in everything((some["dataset"],))[:1]]
    for one, some in zip(results, choices, strict=True):
        one["choices"] |= some
    return [run.cell.name.partition(" mlp ")[0] for run in read(leave(folder, *results))]


def test_a_result_has_the_name_of_a_dataset_that_is_not_ours(tmp_path):
    birds = {"dataset": "birds", "dataset_name": "Birds of Kenya"}
    assert names(tmp_path, birds, {"dataset": "mine"}) == ["Birds of Kenya", "mine"]


def test_two_datasets_of_one_name_are_told_apart_and_one_of_two_names_is_called_by_its_option(tmp_path):
    two = ({"dataset": "mine", "dataset_name": "CIFAR-10 (JPEG)"}, {"dataset": "cifar10_jpeg"})
    assert names(tmp_path / "two", *two) == ["CIFAR-10 (JPEG) (mine)", "CIFAR-10 (JPEG) (cifar10_jpeg)"]
    one = ({"dataset": "birds", "dataset_name": "Birds"}, {"dataset": "birds"})
    assert names(tmp_path / "one", *one) == ["birds", "birds"]


def test_a_name_in_the_users_config_changes_no_hash_and_a_repeated_run_keeps_it(tmp_path):
    text = (
        (CONF / "dataset/mnist_5k.yaml").read_text().replace("softtargets.datasets.mnist_5k", "own_parts.images")
    )
    configs = []
    for folder, line in (("plain", ""), ("named", "display_name: Birds of Kenya\n")):
        (tmp_path / folder / "dataset").mkdir(parents=True)
        (tmp_path / folder / "dataset/birds.yaml").write_text(text + line)
        words = (f"hydra.searchpath=[file://{tmp_path / folder}]", "dataset=birds", "plugins=[own_parts]")
        configs.append(composed_run.resolved_config(hydra_config(*words)))
    plain, named = configs
    assert named["choices"] == plain["choices"] | {"dataset_name": "Birds of Kenya"}
    assert config_hash(named) == config_hash(plain)
    OmegaConf.save(OmegaConf.create(named), tmp_path / "config.yaml")
    again = composed_run.resolved_config(hydra_config(f"rerun={tmp_path}", "plugins=[own_parts]"))
    assert (again["choices"], config_hash(again)) == (named["choices"], config_hash(named))


def test_a_name_is_typed_for_a_folder_of_images_and_added_elsewhere():
    folder = hydra_config("dataset=folder", "dataset.path=images", "dataset.display_name=Birds of Kenya")
    assert folder.dataset.display_name == "Birds of Kenya"
    typed = composed_run.resolved_config(hydra_config("+dataset.display_name=My digits"))
    assert (typed["choices"]["dataset"], typed["choices"]["dataset_name"]) == ("mnist_5k", "My digits")


@pytest.mark.parametrize("value", ["3", "''", "[a]", "'a\tb'", "x" * 61])
def test_what_is_no_name_is_refused(value):
    with pytest.raises(
        BadInput, match=r"^dataset\.display_name=.*: must be a text of 1 to 60 characters in one line$"
    ):
        composed_run.resolved_config(hydra_config(f"+dataset.display_name={value}"))


def test_what_settings_were_tuned_on_has_its_name():
    there = {"dataset": "cifar10_jpeg", "images": 300}
    said = tuned_on.of_another_size(there, {"dataset": "birds", "dataset_name": "Birds"}, 20)
    assert said == "settings were tuned on 300 images of CIFAR-10 (JPEG), and are used with 20 of Birds"
