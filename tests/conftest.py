"""What the tests share: a store, a data folder, and configs composed as the command line composes them."""

import copy
import functools
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
FASHION = Path("/usr/share/datasets/fashion-mnist")
ALLOWED_TO_SKIP = (
    "root may write anywhere",
    "only root may mount a disk",
    "only root may be two users",
    "no archive of CIFAR-10 (JPEG)",  # which cannot be installed
)
"""Reasons for which a test may be skipped where everything else must run."""

HANGS = 600.0
"""Seconds after which a process is taken to hang, however busy the machine; no test passes by waiting so long."""
SMALL = (
    "dataset.train_size=500",
    "architecture.hidden=32",
    "training.epochs=6",
    "training.batch_size=32",
    "mu_algo=graddiff",
    "unlearn.epochs=2",
)
"""A run in well under a second, on real digits."""


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell leaves it for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption(
        "--evidence",
        action="append",
        metavar="MEASURE",
        help="put a measure of your own through the contract: its path, as in mine.measure",
    )
    parser.addoption(
        "--mu-algo",
        action="append",
        metavar="ALGORITHM",
        help="put an algorithm of your own through the contract: a YAML of group mu_algo, or an import path",
    )


def pytest_collection_modifyitems(config, items):
    """With --mu-algo or --evidence keep that contract; keep in one worker what needs the machine for itself."""
    for item in items:
        if any(item.get_closest_marker(name) for name in ("slurm", "kill")):
            item.add_marker(pytest.mark.xdist_group("machine"))
    for option, fixture in (("mu_algo", "contender"), ("evidence", "measure")):
        if config.getoption(option):
            others = [item for item in items if fixture not in getattr(item, "fixturenames", ())]
            config.hook.pytest_deselected(items=others)
            items[:] = [item for item in items if item not in others]


def options(group: str) -> list[str]:
    """Names of a config group's options."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def suited(algorithm: str) -> tuple[str, ...]:
    """Overrides without which an algorithm of ours refuses to run."""
    from hydra.utils import get_method

    from softtargets.marks import Algorithm

    function = get_method(OmegaConf.load(CONF / "mu_algo" / f"{algorithm}.yaml")._target_)
    if algorithm == "ct":  # of convolutions
        return ("architecture=cnn", "architecture.channels=[2,2]", "architecture.hidden=8")
    return ("forget_set=class",) if Algorithm.of(function).whole_classes_only else ()


@pytest.fixture(scope="session", autouse=True)
def folders(tmp_path_factory):
    """Keep everything that tests leave in one temporary folder, for this process and those it starts."""
    home = tmp_path_factory.mktemp("home")
    for name in ("STORE", "DATA", "RUNS"):
        os.environ[f"SOFTTARGETS_{name}"] = str(home / name.lower())
    os.environ["OMP_NUM_THREADS"] = "1"
    return home


@pytest.fixture(scope="session")
def composed(folders):
    """`composed(*overrides)`: the resolved config of a command line; Hydra composes equal ones once."""
    from hydra import compose, initialize_config_dir

    from softtargets.execution.composed_run import resolved_config

    @functools.cache
    def once(overrides: tuple[str, ...], environment: tuple[str | None, ...]) -> DictConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", list(overrides), return_hydra_config=True)

    def config(*overrides: str) -> dict:
        environment = tuple(os.environ.get(f"SOFTTARGETS_{name}") for name in ("STORE", "DATA", "RUNS"))
        return resolved_config(copy.deepcopy(once(overrides, environment)))

    return config


@pytest.fixture
def run(composed, tmp_path):
    """`run(*overrides)`: the result of a run in this process, and the folder it is in."""
    from softtargets.console import Console
    from softtargets.execution import pipeline

    made = []

    def result(*overrides: str) -> tuple[dict, Path]:
        made.append(tmp_path / f"run{len(made)}")
        return pipeline.run_experiment(composed(*overrides), made[-1], Console()), made[-1]

    return result


@pytest.fixture
def here(elsewhere, monkeypatch, capfd):
    """`here(*arguments)`: how the program ends in this process, which has imported torch already."""

    from hydra._internal.hydra import Hydra

    import run
    from softtargets.cli.main import command

    # Hydra composes all once more to look for hydra.mode, which no test here sets
    monkeypatch.setattr(Hydra, "get_mode", lambda *arguments, **named: None)

    def ended(*arguments: str, cwd: Path = elsewhere) -> Ended:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        try:
            command(run.main)
            code = 0
        except SystemExit as end:
            code = end.code
        return Ended(code, *capfd.readouterr())

    return ended


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working folder in which runs are written, and nothing else is."""
    monkeypatch.setenv("SOFTTARGETS_RUNS", str(tmp_path / "runs"))
    return tmp_path


@pytest.fixture
def waits(monkeypatch):
    """The waits for locks, in seconds; they pass at once."""
    from softtargets.system import locks

    seconds = []
    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=seconds.append))
    return seconds


@pytest.fixture
def folder(tmp_path):
    """`folder(*results)`: a folder with these runs."""
    from results_by_hand import leave

    return lambda *results: leave(tmp_path, *results)


@pytest.fixture
def fashion():
    """Skip where the real Fashion-MNIST is not installed."""
    if not FASHION.is_dir():
        pytest.skip("needs Debian's dataset-fashion-mnist")


def pytest_terminal_summary(terminalreporter):
    """Name the skipped tests that may not be skipped in CI."""
    for report in _forbidden_skips(terminalreporter):
        terminalreporter.write_line(f"skipped without leave: {report.nodeid}: {report.longrepr[2]}", red=True)


def pytest_sessionfinish(session):
    """Fail where a test was skipped without leave."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.exitstatus == 0 and _forbidden_skips(reporter):
        session.exitstatus = 1


def _forbidden_skips(reporter) -> list:
    if "SOFTTARGETS_CI" not in os.environ or reporter is None:  # no reporter in a worker process
        return []
    skipped = reporter.stats.get("skipped", [])
    return [report for report in skipped if not any(reason in report.longrepr[2] for reason in ALLOWED_TO_SKIP)]
