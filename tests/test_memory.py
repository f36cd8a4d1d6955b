"""The memory of whole runs, each in a process of its own, with a network whose activations are next to nothing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from softtargets.split import CALIBRATION
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


READING = """
from softtargets.execution import load_data
from softtargets.system.memory import peak_bytes
read = load_data._images
def measured(*args):
    before, images = peak_bytes(), read(*args)
    print("grown by", peak_bytes() - before)
    return images
load_data._images = measured
"""


@pytest.mark.long
def test_images_of_a_folder_are_in_memory_once_and_those_that_a_run_takes_six_times(tmp_path):
    side, count = 300, {"train": 1300, "test": 10}
    for part, images in count.items():
        for place in range(images):
            folder = tmp_path / "images" / part / "ab"[place % 2]
            folder.mkdir(parents=True, exist_ok=True)
            small = np.random.default_rng([place, images]).integers(256, size=(8, 8, 3), dtype=np.uint8)
            Image.fromarray(small).resize((side, side)).save(folder / f"{place}.jpg")
    words = ("dataset=folder", f"dataset.path={tmp_path / 'images'}", "dataset.train_size=100", "stage=data")
    words += (*COARSE, "training.batch_size=32")
    image, read, taken = 3 * side * side, sum(count.values()), 100 + CALIBRATION + count["test"]
    for _ in range(2):  # from the folder, and from the store
        out = output_of(tmp_path, READING + RUN, *words)
        assert 0.9 < int(out.split("grown by")[1].split()[0]) / (read * image) < 1.2
        assert peak_in(out) < (read - taken + memory.COPIES * taken) * image + memory.BASE
