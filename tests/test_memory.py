"""The memory of whole runs, each in a process of its own, with a network whose activations are next to nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from softtargets.system import memory

RUN = """
from softtargets.cli.main import command
from softtargets.system.memory import peak_bytes
import run
try:
    command(run.main)
finally:
    print("peak", peak_bytes())
"""
COARSE = ("plugins=[own_parts]", "architecture._target_=own_parts.Coarse", "~architecture.hidden")


def output_of(folder: Path, script: str, *words: str) -> str:
    """Return what a script prints, in a process of its own, with store and runs in a folder."""
    places = {"SOFTTARGETS_STORE": str(folder / "store"), "SOFTTARGETS_RUNS": str(folder / "runs")}
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = (sys.executable, "-c", script, *words)
    done = subprocess.run(command, cwd=folder, env=os.environ | places | path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def peak_in(output: str) -> int:
    """Return the peak that `RUN` has printed, in bytes."""
    return int(output.split("peak")[-1])


@pytest.mark.long
@pytest.mark.parametrize(
    ("images", "size", "more"),
    [
        (60_000, 32, ("mu_algo=graddiff",)),
        (2_400, 224, ("mu_algo=graddiff",)),
        (2_400, 224, ("mu_algo=graddiff", "forget_set.fraction=0.5")),
        (2_400, 224, ("mu_algo=amun",)),
        (30_000, 32, ("mu_algo=graddiff", "forget_set.requests=5", "training.batch_size=512")),
    ],
)
def test_a_run_needs_six_times_its_pixels_and_a_gigabyte(images, size, more, tmp_path):
    words = (f"+dataset.images={images}", f"+dataset.size={size}", "dataset._target_=own_parts.any_number")
    words += (*COARSE, "training.epochs=1", "unlearn.epochs=1", "targets=out_of_fold", *more)
    peak = peak_in(output_of(tmp_path, RUN, *words))
    pixels = images * 3 * size * size
    assert 4 * pixels < peak < memory.COPIES * pixels + memory.BASE
