"""Runs and sweeps from Python are those of the command line."""

import subprocess
import sys

import pytest
import torch
from conftest import ROOT, SMALL
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import softtargets
from softtargets.errors import BadInput, Failed
from softtargets.system.files import read_json

MADE = ("metrics", "distance", "baseline", "change", "diagnosis", "trajectory", "matched", "hashes", "config")


@pytest.mark.long
def test_a_run_from_python_has_the_bytes_of_the_command(tmp_path):
    words = [*SMALL, "mu_algo=relabel", "targets=soft", f"store.dir={tmp_path / 'store'}"]
    found = softtargets.run([*words, f"hydra.run.dir={tmp_path / 'python'}"])
    assert found == read_json(tmp_path / "python" / "result.json")
    command = [sys.executable, ROOT / "run.py", *words, f"hydra.run.dir={tmp_path / 'command'}"]
    subprocess.run(command, check=True, capture_output=True)
    typed = read_json(tmp_path / "command" / "result.json")
    assert {name: found[name] for name in MADE} == {name: typed[name] for name in MADE}
    arrays = [(tmp_path / name / "margins.npz").read_bytes() for name in ("python", "command")]
    assert arrays[0] == arrays[1]


def test_it_works_twice_in_one_process_and_leaves_the_process_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["notebook", "-f", "kernel.json"])
    torch.set_num_threads(2)
    torch.set_deterministic_debug_mode("default")
    torch.utils.deterministic.fill_uninitialized_memory = True
    first, second = (softtargets.run([*SMALL, f"runs_dir={tmp_path}"]) for _ in range(2))
    assert first["hashes"] == second["hashes"]
    assert sys.argv == ["notebook", "-f", "kernel.json"]
    assert not GlobalHydra.instance().is_initialized()
    assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == (2, 0)
    assert torch.utils.deterministic.fill_uninitialized_memory
    torch.set_num_threads(1)


def test_it_works_inside_a_hydra_app_of_the_users(tmp_path):
    (tmp_path / "config.yaml").write_text("x: 1\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        with pytest.raises(BadInput):
            softtargets.run(["seed=x"])
        assert compose("config").x == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["seed=x"], "seed='x': must be a valid integer"),
        (["targets=hrad"], "did you mean hard"),
        (["seed=0,1"], "several values make a sweep"),
        (["--multirun"], "no dashes|call softtargets.sweep|-m"),
        (["experiment=quick"], "call softtargets.sweep"),
        (["unlearn.epochs=0"], "unlearn.epochs=0"),
        (["plugins=[no_such_module]"], "no such module"),
    ],
)
def test_what_the_command_refuses_is_an_exception(words, sentence, capsys):
    with pytest.raises(BadInput, match=sentence):
        softtargets.run(words)
    assert capsys.readouterr().err == ""


def test_overrides_that_are_no_list_of_texts_are_refused():
    """In a process of its own, where the annotations are not checked."""
    code = """
import softtargets
calls = [(softtargets.run, "targets=soft"), (softtargets.sweep, ["seed=1", 2]), (softtargets.sweep, 3)]
for call, overrides in calls:
    try:
        call(overrides)
    except ValueError as error:
        print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [
        "overrides='targets=soft': must be a list, as in ['targets=soft']",
        "overrides has 2; each must be a text, as in 'seed=1'",
        "overrides=3: must be a list, as in ['seed=1']",
    ]


def test_a_sweep_from_python_leaves_its_folder(tmp_path):
    words = [*SMALL, "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    assert softtargets.sweep(words) == tmp_path / "sweep"
    table = softtargets.results(tmp_path / "sweep")
    assert sorted(table["seed"]) == [0, 1]


def test_a_sweep_that_cannot_run_is_refused_before_any_work(tmp_path):
    with pytest.raises(BadInput, match="unlearn"):
        softtargets.sweep([*SMALL[:-1], "unlearn.epochs=1,0", f"hydra.sweep.dir={tmp_path / 'sweep'}"])
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_with_a_run_that_raises_is_an_exception(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTTARGETS_PLUGINS", "own_parts")
    own = ("mu_algo._target_=own_parts.broken", "~mu_algo.alpha", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    with pytest.raises(Failed, match="not every run"):
        softtargets.sweep([*SMALL, *own])


@pytest.mark.parametrize("call", [softtargets.run, softtargets.sweep])
def test_a_path_may_have_an_equals_sign_here_too(call):
    with pytest.raises(BadInput, match=r"^rerun=/no/such=run: not the folder of a run"):
        call(["rerun=/no/such=run"])
