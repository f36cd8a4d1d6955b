"""The memory of whole runs, each in a process of its own, with a network whose activations are next to nothing."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

from softtargets.system import memory

RUN = """
import resource, sys
from softtargets.cli.main import command
import run
try:
    command(run.main)
finally:
    print("peak", 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("images", "size", "copies", "more"),
    [
        (60_000, 32, memory.COPIES, ()),
        (2_400, 224, memory.COPIES, ()),
        # 1.2 GB alone, 1.6 GB once beside other work; with copies for each request it was 4.3
        (30_000, 32, 8, ("forget_set.requests=5", "training.batch_size=512")),
    ],
)
def test_a_run_needs_six_times_its_pixels_and_a_gigabyte(images, size, copies, more, tmp_path):
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
    assert 4 * pixels < peak < copies * pixels + memory.BASE
