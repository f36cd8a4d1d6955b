"""Runs computed again from their results alone, and compared: the only check that shows that numbers are real."""

import math
import os
import tempfile
from pathlib import Path

from omegaconf import OmegaConf

from softtargets.cli.from_python import run as run_again
from softtargets.config.names import composed
from softtargets.errors import BadInput
from softtargets.report import endpoint
from softtargets.report.measures import FACES
from softtargets.report.runs import Run

ROOT = "SOFTTARGETS_DATA"
"""Variable with the folder of published datasets, which a result does not name."""


def compared(run: Run) -> str:
    """Compute a run again and say how near it comes; raises BadInput where it does not.

    The forget set must be the same. Where the models are the same bytes, so must be all numbers; on other hardware
    or other code the calibrated JS may differ by a tenth of the way from the floor to doing nothing.
    """
    again = _again(run)
    one, other = run.result, again
    if one["hashes"]["forget_set"] != other["hashes"]["forget_set"]:
        raise BadInput(f"{run.folder}: run again, it has another forget set than it says")
    face = FACES[0].name
    known, computed = (result["faces"][face] for result in (one, other))
    values = {name: (known[name], computed[name]) for name in ("unlearned", "nothing", "floor")}
    same = all(one["hashes"][name] == other["hashes"][name] for name in ("original", "retrained", "unlearned"))
    allowed = 1e-6 if same else endpoint.margin(known["nothing"], known["floor"])
    for name, (a, b) in values.items():
        if (a is None) != (b is None) or (a is not None and not math.isclose(a, b, rel_tol=0, abs_tol=allowed)):
            shown = ", and ".join("none" if value is None else f"{value:.5f}" for value in (a, b))
            said = f"faces.{face}.{name} is {shown} when run again"
            raise BadInput(f"{run.folder}: {said}; they may differ by {allowed:.2g}")
    a, b = values["unlearned"]
    models = "the same models, byte for byte" if same else f"other bytes, {face} {a:.5f} and {b:.5f}"
    return f"{run.folder.name}: run again, {models}"


def _again(run: Run) -> dict:
    """Run the config of a result in a temporary folder; raises BadInput for one that needs files of its author."""
    config = dict(run.result["config"]) | {"choices": _options(run)}
    option = config["choices"]["dataset"].partition(" ")[0]
    usual = composed("dataset", option) or {}
    if "root" in usual:
        config["dataset"] = config["dataset"] | {"root": os.environ.get(ROOT, "data")}
    if "sources" in config or "sha256:" in str(config):
        raise BadInput(f"{run.folder}: needs its author's own files; ask for them, and run it with rerun=DIR")
    with tempfile.TemporaryDirectory(prefix="softtargets-rerun-") as place:
        saved = Path(place, "saved")
        saved.mkdir()
        OmegaConf.save(OmegaConf.create(config), saved / "config.yaml")
        return run_again([f"rerun={saved}", f"hydra.run.dir={Path(place, 'again')}"])


def _options(run: Run) -> dict:
    """Return the options of the run's groups, without the seeds that a result has beside them."""
    return {name: value for name, value in run.result["choices"].items() if name not in ("seed", "forget_seed")}
