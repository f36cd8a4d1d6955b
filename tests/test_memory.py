"""The memory of whole runs, each in a process of its own, with a network whose activations are next to nothing."""

import os
import subprocess
import sys

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


@pytest.mark.long
@pytest.mark.parametrize(
    ("images", "size", "more"),
    [
        (60_000, 32, ()),
        (2_400, 224, ()),
        (30_000, 32, ("forget_set.requests=5", "training.batch_size=512")),
    ],
)
def test_a_run_needs_six_times_its_pixels_and_a_gigabyte(images, size, more, tmp_path):
    words = ("plugins=[own_parts]", "dataset._target_=own_parts.any_number", f"+dataset.images={images}")
    words += (f"+dataset.size={size}", "architecture._target_=own_parts.Coarse", "~architecture.hidden")
    words += ("training.epochs=1", "unlearn.epochs=1", "mu_algo=graddiff", "targets=out_of_fold", *more)
    places = {"SOFTTARGETS_STORE": str(tmp_path / "store"), "SOFTTARGETS_RUNS": str(tmp_path / "runs")}
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = (sys.executable, "-c", RUN, *words)
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | places | path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.split("peak")[-1])
    pixels = images * 3 * size * size
    assert 4 * pixels < peak < memory.COPIES * pixels + memory.BASE
