"""Every benchmark says how it is called, and refuses words that it does not take."""

import json
import runpy
import sys

import efficient
import pytest
from conftest import CONF, ROOT, options
from omegaconf import OmegaConf

pytestmark = pytest.mark.long

SCRIPTS = sorted(file.name for file in (ROOT / "benchmarks").glob("*.py") if file.name != "usage.py")


@pytest.fixture
def called(monkeypatch, capsys):
    """`called(script, *words)`: exit code, stdout and stderr of a benchmark, run in this process."""

    def ended(script: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
        monkeypatch.setattr(sys, "argv", [str(ROOT / "benchmarks" / script), *words])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(sys.argv[0], run_name="__main__")
        return end.value.code, *capsys.readouterr()

    return ended


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_a_usage_text(called, script):
    code, out, err = called(script, "--help")
    assert (code, err) == (0, "")
    assert f"`python benchmarks/{script}" in out


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_word_that_is_not_taken_is_one_sentence(called, script):
    code, _, err = called(script, "--nonsense", "--more")
    assert code == 2
    assert err.count("\n") == 1
    assert err.startswith(f"{script}: ")


@pytest.mark.parametrize("recipe", [name for name in options("training") if name.endswith("_efficient")])
def test_an_efficient_recipe_is_the_winner_of_its_search(recipe):
    lines = (ROOT / "benchmarks/results/efficient.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if f"{row['architecture']}_efficient" == recipe]
    conf = OmegaConf.load(CONF / "training" / f"{recipe}.yaml")
    winner = efficient.chosen(efficient.means(rows))
    assert winner == efficient.Candidate(conf.epochs, conf.batch_size, conf.schedule.peak)
