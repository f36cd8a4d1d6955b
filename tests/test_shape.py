"""The shape of the code itself: lint, format, import layers, and where private names of libraries may stand."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

TOOLS = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["lint-imports"]], ids=" ".join
)
def test_tool_is_content(command):
    found = subprocess.run([TOOLS / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


OURS = ("softtargets", "hydra_plugins")
UNDOCUMENTED = ("clearml.backend_api", "joblib.externals", "joblib.parallel")
"""Modules that libraries neither document nor mark by an underscore."""
NAMEDTUPLE = {"_asdict", "_fields", "_make", "_replace"}
FRAMES = {"f_back", "f_code", "f_globals", "f_locals", "tb_frame", "extract_tb", "walk_tb"}
"""What decides by where an error was raised."""
ALLOWED = {
    # documented, though a library's attribute that is set: uninitialised memory is not filled, for speed
    (file, "torch.utils.deterministic.fill_uninitialized_memory = ")
    for file in ("execution/pipeline.py", "cli/from_python.py")
}


def private(name: str) -> bool:
    """Return whether a name is private by its underscore; `_target_` and `__file__` are not."""
    return name.startswith("_") and not name.endswith("_") and name not in NAMEDTUPLE


def origins(tree: ast.Module) -> dict[str, str]:
    """Return the dotted origin of every name that a module imports from a library: neither Python's nor ours."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(one.asname or one.name).partition(".")[0]: one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    known = {*sys.stdlib_module_names, *OURS}
    return {name: origin for name, origin in found.items() if origin.partition(".")[0] not in known}


def offences(source: str) -> Iterator[str]:
    """Yield every use of a library's private name, every attribute of a library that is set, and every frame."""
    tree = ast.parse(source)
    libraries = origins(tree)
    yield from (
        origin
        for origin in libraries.values()
        if any(map(private, origin.split("."))) or origin.startswith(UNDOCUMENTED)
    )
    standard = sys.stdlib_module_names & {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner, _, rest = ast.unparse(node).partition(".")
            if node.attr in FRAMES:
                yield node.attr
            elif private(node.attr) and owner not in {"self", "cls", *standard}:
                yield ast.unparse(node)
            elif isinstance(node.ctx, ast.Store) and owner in libraries:
                yield f"{owner}.{rest} = "


@pytest.mark.parametrize(
    "source",
    [
        "from hydra._internal.hydra import Hydra",
        "from torch import _C",
        "import torch\ntorch._dynamo",
        "import torch\ntorch.ops.mkldnn._linear_pointwise(1)",
        "from hydra.core.override_parser.types import Override\nOverride._get_value_element_as_str(1)",
        "def f(job):\n    return job._return_value",
        "def f():\n    from clearml.backend_api.services import tasks",
        "from hydra.core.hydra_config import HydraConfig\nHydraConfig.instance().cfg = None",
        "import joblib.parallel",
        "from hydra import main\nmain.compose = 1",
        "import traceback\ntraceback.walk_tb(None)",
        "def f(frame):\n    return frame.f_locals",
    ],
)
def test_a_private_name_is_seen(source):
    assert list(offences(source))


def test_only_compat_uses_private_names_of_libraries():
    files = [file for place in OURS for file in (ROOT / place).rglob("*.py")]
    seen = {
        (file.relative_to(ROOT / file.relative_to(ROOT).parts[0]).as_posix(), offence)
        for file in files
        for offence in offences(file.read_text())
        if file.parent.name != "compat"
    }
    assert seen == ALLOWED


LARGEST = 640_000
"""Bytes of a file that belongs to the project; images that a run unpacked are no part of it."""


def test_no_large_file_is_part_of_the_project():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git repository: an unpacked copy")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert [file for file in files if file.is_file() and file.stat().st_size > LARGEST] == []
