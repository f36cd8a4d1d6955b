"""Runs computed again from their results alone, and compared: the only check that shows that numbers are real."""

import math
import re
import tempfile
from pathlib import Path

from omegaconf import OmegaConf

from softtargets.cli.from_python import run as run_again
from softtargets.config.resolve import flat
from softtargets.errors import BadInput
from softtargets.report import endpoint
from softtargets.report.measures import FACES
from softtargets.report.runs import Run
from softtargets.table.drawn import with_root

JS_T = FACES[0].name
ALWAYS = ("data.", "cost.", "upper_bound", "ignores_targets")
"""Beginnings of the names of what does not depend on bytes of models."""
OF_MODELS = ("faces.", "metrics.", "distance.", "baseline.", "status", "matched")
"""Of what does."""
OF_A_PROCESS = re.compile(r"_s$|^cost\.(rte|share_seconds|peak_bytes|made|from_store)$")
"""Names of what depends on the process, or on who came first."""


def compared(run: Run) -> str:
    """Compute a run again and say how near it comes; raises BadInput where it does not.

    Data, forget set and costs in samples must be the same. Where the models are the same bytes, so must be all
    numbers; on other hardware or other code the calibrated JS may differ by a tenth of the way from the floor to
    doing nothing, and no other distance is compared.
    """
    one, other = run.result, _again(run)
    if one["hashes"]["forget_set"] != other["hashes"]["forget_set"]:
        raise BadInput(f"{run.folder}: run again, it has another forget set than it says")
    same = all(one["hashes"][name] == other["hashes"][name] for name in ("original", "retrained", "unlearned"))
    _require_equal(run, other, (*ALWAYS, *(OF_MODELS if same else ())), 1e-6)
    face = one["faces"][JS_T]
    _require_equal(
        run, other, (f"faces.{JS_T}.",), 1e-6 if same else endpoint.margin(face["nothing"], face["floor"])
    )
    a, b = (result["faces"][JS_T]["unlearned"] for result in (one, other))
    models = "the same models, byte for byte" if same else f"other bytes, {JS_T} {a:.5f} and {b:.5f}"
    return f"{run.folder.name}: run again, {models}"


def _require_equal(run: Run, again: dict, parts: tuple[str, ...], allowed: float) -> None:
    """Raise BadInput for a value below `parts` that differs, a number by more than is allowed."""
    values = [dict(flat({"": result})) for result in (run.result, again)]
    one, other = ({name.removeprefix("."): value for name, value in some.items()} for some in values)
    names = [
        name for name in one.keys() | other.keys() if name.startswith(parts) and not OF_A_PROCESS.search(name)
    ]
    for name in sorted(names):
        a, b = one.get(name), other.get(name)
        if a != b and not (_is_number(a) and _is_number(b) and math.isclose(a, b, rel_tol=0, abs_tol=allowed)):
            shown = ", and ".join(f"{value:.5f}" if _is_number(value) else str(value) for value in (a, b))
            raise BadInput(f"{run.folder}: {name} is {shown} when run again; they may differ by {allowed:.2g}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _again(run: Run) -> dict:
    """Run the config of a result in a temporary folder; raises BadInput for one that needs files of its author."""
    config = dict(run.result["config"]) | {"choices": _options(run)}
    config["dataset"] = with_root(config["dataset"])
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
