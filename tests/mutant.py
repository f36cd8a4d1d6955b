"""A copy of the tree with one error planted in it, and whether a test there sees it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from conftest import ROOT
from mutations import Mutation

COPIED = ("softtargets", "hydra_plugins", "conf", "tests", "benchmarks")
ASSERTED = re.compile("assert |AssertionError|Failed: DID NOT RAISE|jaxtyping.TypeCheckError")
"""How the message of a failure begins where a test, or a shape that is part of a type, has judged."""


class Outcome(NamedTuple):
    """What the test said of a mutant."""

    caught: bool
    said: str


def tried(mutation: Mutation) -> Outcome:
    """Plant an error in a copy of the tree and run its test there."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in COPIED:
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", place)
        file = place / mutation.file
        file.write_text(mutation.planted(file.read_text()))
        report = place / "report.xml"
        command = (sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider")
        done = subprocess.run(
            (*command, f"--basetemp={place / 'tmp'}", f"--junitxml={report}", mutation.test),
            cwd=place,
            env=os.environ | {"PYTHONPATH": folder},
            capture_output=True,
            text=True,
            timeout=900,
        )
        return Outcome(done.returncode == 1 and _asserted(report), done.stdout + done.stderr)


def _asserted(report: Path) -> bool:
    """Tell whether a test failed by a judgement; a setup or a collection that breaks down is no failure."""
    failures = ElementTree.parse(report).iter("failure")
    return any(ASSERTED.match(failure.get("message", "")) for failure in failures)
